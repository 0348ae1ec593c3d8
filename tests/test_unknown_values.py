"""Unknown is not equal: ids, cameras, times and tracks are compared as what they are, and what is missing is said."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import descry
from conftest import write_small_gallery, write_toy
from descry.cli import main
from descry.data import parse
from descry.data.sketches import Drawing, draw_sketches
from descry.errors import DescryError, UsageError
from descry.gallery import Gallery
from descry.gallery.sources import Sources
from descry.images import SUFFIXES
from descry.metrics import summarise
from descry.query import Filters, Part, Query
from descry.studies.matrices import read_order
from descry.web.api.items import near as near_items
from gallery.plain_model import PlainModel, draw

MARKS = ("liked", "unliked", "closest")


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("value", [True, 1.5, 1.0, float("nan"), "7", None, [1]])
def test_an_id_that_is_no_whole_number_is_refused(name, value) -> None:
    with pytest.raises(UsageError, match=f"{name} holds ids"):
        Query(wanted="red", **{name: [value]})


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_ids_come_back_as_they_were(ids) -> None:
    query = Query(wanted="red", liked=ids, unliked=np.array(ids, np.int64), closest=tuple(ids))
    assert query.liked == query.unliked == query.closest == tuple(ids)
    again = Query.from_json(query.to_json())
    assert (again.liked, again.unliked, again.closest) == (query.liked, query.unliked, query.closest)


@given(st.datetimes(), st.datetimes(), st.text(max_size=5).filter(str.strip))
def test_a_query_comes_back_as_it_was(since, until, camera) -> None:
    since, until = sorted((since, until))
    query = Query(wanted="red", filters=Filters((camera,), since, until, "cam*"))
    assert Query.from_json(query.to_json()) == query


@pytest.mark.parametrize("name", ["wanted", "unwanted"])
@pytest.mark.parametrize("text", ["a \udcff hat", "\ud800", "hat \ud83d"])
def test_half_of_a_character_is_refused(name, text) -> None:
    with pytest.raises(UsageError, match="half of a character"):
        Query(**{name: text})


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.1, 2.1, "1", None])
def test_a_weight_that_is_none_is_refused(weight) -> None:
    with pytest.raises(UsageError, match="weight"):
        Part("red", weight)


def test_filters_read_times_and_cameras_as_all_others_do() -> None:
    assert Filters("north").cameras == ("north",)
    read = Filters(since="20260131", until="2026-01-31")
    assert (read.since, read.until) == (datetime(2026, 1, 31), datetime(2026, 1, 31, 23, 59, 59, 999999))
    assert Filters(since=datetime(2026, 1, 31, 14, tzinfo=UTC)).since == datetime(2026, 1, 31, 14)
    for wrong in (
        {"since": "2026-W05"},
        {"until": 1769868420},
        {"cameras": [None]},
        {"cameras": [" "]},
        {"cameras": [7]},
    ):
        with pytest.raises(UsageError):
            Filters(**wrong)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Two of three pictures have a camera and a time."""
    root = tmp_path_factory.mktemp("seen")
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        draw(root / "crops" / name, i)
    (root / "t.csv").write_text("path,camera,time,track\na.png,north,2026-01-31,1\nb.png,north 1,2026-02-01,1\n")
    with Gallery.create(root / "g", PlainModel()) as gallery:
        gallery.index(root / "crops", sources=Sources(table=str(root / "t.csv")))
        yield gallery


@pytest.mark.parametrize(
    ("filters", "shown", "says"),
    [
        (Filters(("north",)), 1, ["1 item of unknown camera is not searched"]),
        (Filters(("north", "nroth")), 1, ["no item has the camera 'nroth'; did you mean 'north'?", "unknown camera"]),
        (Filters(since="2026-02-01"), 1, ["1 item of unknown time is not searched"]),
        (Filters(("",)), 1, []),
        (Filters(("", "north")), 2, []),
        (Filters(path="*.png"), 3, []),
        (Filters(), 3, []),
    ],
)
def test_what_a_filter_cannot_know_is_said(seen, filters, shown, says) -> None:
    found = seen.search(Query(photos=np.zeros((32, 16, 3), np.uint8), filters=filters))
    assert len(found) == shown
    assert all(said in found.note for said in says)
    assert bool(found.note) == bool(says)


def test_a_track_belongs_to_its_camera(seen) -> None:
    """Camera "north" with track "1 1" is not camera "north 1" with track "1"; nor is a missing track one of any."""
    ids = seen.snapshot().ids.tolist()
    items = {os.path.basename(i.path): i for i in seen.items(ids)}
    assert items["a.png"].track == items["b.png"].track == "1"
    assert seen.groups(ids, distance=0) == ids


@pytest.mark.parametrize(
    "text",
    [
        *("split=²", "split=--5", "split=-1", "split=1.5", "split=" + "9" * 5000, "split=", "split", "split=1,split=2"),
        *("hold_out=nan", "hold_out=inf", "hold_out=-0.1", "hold_out=1.5", "hold_out=x", "holdout=0.1"),
        *("wrong_pairs=nan", "wrong_pairs=2", "wrong_pairs=-1", "wrong_pairs_seed=-1", "wrong_pairs_seed=²"),
    ],
)
def test_an_option_of_a_data_set_is_a_number_within_its_bounds(text) -> None:
    with pytest.raises(UsageError, match=text.partition("=")[0].replace("holdout", "hold_out")):
        parse(f"pku-sketch:{text}")


@given(st.text(max_size=12), st.sampled_from(["split", "hold_out", "wrong_pairs", "variant"]))
def test_options_of_a_data_set_are_read_or_refused(text, key) -> None:
    try:
        _, options = parse(f"pku-sketch:{key}={text}")
    except DescryError:
        return
    assert list(options) == [key]


def test_no_relevant_photograph_names_all_that_may_be_the_cause() -> None:
    with pytest.raises(UsageError, match="own camera"):
        summarise(np.zeros(2, int), np.full(2, np.nan), np.full(2, np.nan), 3)


def test_a_sketch_is_drawn_of_every_format_and_anew_of_another_photograph(tmp_path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    photos = tmp_path / "imgs"
    photos.mkdir()
    kinds = {".heic": "HEIF", ".heif": "HEIF", ".jpe": "JPEG", ".jfif": "JPEG"}
    for suffix in SUFFIXES:
        draw(tmp_path / "one.png", 3)
        Image.open(tmp_path / "one.png").save(photos / f"p{suffix}", kinds.get(suffix))
    drawn = draw_sketches(tmp_path, Drawing("edge", 0.0, 0.0, 0), threads=1)
    assert (drawn.made, drawn.kept, drawn.skipped) == (len(SUFFIXES), 0, ())
    for suffix in SUFFIXES:
        with Image.open(tmp_path / "imgs-sketch" / f"p{suffix}") as made:
            assert made.format == kinds.get(suffix, made.format)
    assert draw_sketches(tmp_path, Drawing("edge", 0.0, 0.0, 0), threads=1).kept == len(SUFFIXES)
    later = (tmp_path / "imgs-sketch" / "p.png").stat().st_mtime + 10
    draw(photos / "p.png", 4)
    os.utime(photos / "p.png", (later, later))
    again = draw_sketches(tmp_path, Drawing("edge", 0.0, 0.0, 0), threads=1)
    assert (again.made, again.kept) == (1, len(SUFFIXES) - 1)


# ---------------------------------------------------------------------- every place that compares what may be unknown

UNCERTAIN = {"camera", "track", "time", "drawn_from", "caption", "captions", "back_translation", "image_id", "sha256"}
SQL = re.compile(
    r"\b(camera|track|time)\b\s*(=|!=|<|>|IN\b|in\b|IS\b)|(GROUP BY|DISTINCT|ORDER BY)\s[\w ,]*(camera|track)"
)
JUDGED = {
    "cli/absence.py _tracks": "items without a track are left out; a track is named with its camera",
    "data/assemble.py train_rows": "looked up by a photograph's path, which is never empty",
    "data/assemble.py Split.photo": "an unknown camera ignores nothing",
    "data/assemble.py Split.ignored": "no photograph has the empty path",
    "data/assemble.py Split.words_for": "no photograph has the empty path",
    "data/faults.py _unresolved": "of rows that name a photograph only",
    "data/faults.py unlike": "spellings of names in a set, in which a missing camera stands once",
    "gallery/merge.py _take": "what two galleries say of one path and one content; unknown beside known is refused",
    "footage/cropping.py clock_of": "words of a note; no time is compared",
    "footage/reading.py Video.__post_init__": "a way of reading the clock, by name",
    "footage/tracking.py Passes._take": "seconds of the footage, always known",
    "gallery/filters.py clauses": 'the camera "" asks for unknown ones; no time passes a bound',
    "gallery/filters.py untold": "counts what is unknown, to say it",
    "descry_stores/migrate.py _check_filters": "the unknown camera is counted as such; no time is left out",
    "descry_stores/migrate.py _divisible": "how a collection is divided; nothing is compared",
    "descry_stores/milvus.py MilvusStore.overview": "unknown cameras and times are told apart; a missing track is none",
    "descry_stores/milvus.py expression": "as filters.clauses; NEVER stands for no time and is shut out",
    "descry_stores/milvus.py item_of": "NEVER is read as no time",
    "descry_stores/milvus_search.py _untold": "counts what is unknown, to say it",
    "gallery/sources.py Sources.needs_exif": "names of sources",
    "gallery/sources.py Sources._unfit": "words of a note; what is no time is counted",
    "gallery/sources.py read_table": "a time that is no time is refused",
    "gallery/upkeep.py overview": "a missing track is none; the unknown camera is counted as such",
    "purge.py _before": "no time lies before any day; it counts those, to say it",
    "web/api/items.py facets": "the unknown camera is counted as such; no time is left out",
    "web/api/items.py near": "only for an item of a known camera",
    "web/api/jobs.py expression": "a regular expression with a group of that name",
    "training/loop.py mended_texts": "a caption with itself, as it is read",
    "data/assemble.py Split.words_of_drawings": "captions that are there, and people, who are never unknown there",
    "data/check.py commonest": "captions that are there, counted",
    "footage/detecting.py _coco": "numbers of a file of boxes, refused where they are none",
    "training/batches.py Batches.share": "a row without one has a number of its own",
    "training/batches.py Batches._texts": "an empty back translation is none",
    "cli/search.py search": "every item has one",
    "gallery/indexing.py Indexer._is": "every item and every file that was read has one",
    "gallery/reading.py as_indexed": "every item has one",
    "interact/store.py pictures_of": "every picture of an inquiry has one",
    "report/build.py _Teller.finding": "every item has one; that of a file that is gone is told",
    "web/api/inquiries.py _told": "every item has one; a file that is gone is told",
    "web/api/items.py _picture": "every item has one",
}


def compared(names: set[str], sql: re.Pattern[str], *roots: Path) -> Iterator[str]:
    """The functions of packages that compare, look up, count or ask SQL for a value that may be unknown."""

    def uncertain(node: ast.AST) -> bool:
        return any(
            (isinstance(n, ast.Attribute) and n.attr in names)
            or (isinstance(n, ast.Subscript) and isinstance(n.slice, ast.Constant) and n.slice.value in names)
            for n in ast.walk(node)
        )

    def found(node: ast.AST) -> bool:
        match node:
            case ast.Compare(left, _, others):
                return any(map(uncertain, (left, *others)))
            case ast.Subscript(_, key) if not isinstance(key, ast.Constant):
                return uncertain(key)
            case ast.SetComp(element) | ast.DictComp(element):
                return uncertain(element)
            case ast.Call(ast.Attribute(_, "get" | "setdefault" | "add" | "unique"), [first, *_]):
                return uncertain(first)
            case ast.Call(ast.Name("Counter" | "set"), [first, *_]):
                return uncertain(first)
            case ast.Constant(str() as text):
                return bool(sql.search(text))
        return False

    for root, file in [(folder, file) for folder in roots for file in sorted(folder.rglob("*.py"))]:
        name = file.relative_to(root.parent).as_posix().removeprefix("descry/")
        waiting: list[tuple[ast.AST, str]] = [(ast.parse(file.read_text("utf-8")), "")]
        while waiting:
            node, within = waiting.pop()
            for child in ast.iter_child_nodes(node):
                if isinstance(node, ast.Expr) and isinstance(child, ast.Constant):
                    continue  # a docstring
                named = isinstance(child, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
                inside = f"{within}.{child.name}".strip(".") if named else within
                if inside and found(child):
                    yield f"{name} {inside}"
                waiting.append((child, inside))


def test_every_place_that_compares_what_may_be_unknown_was_judged() -> None:
    """A new one is to be judged too: two missing cameras, times, tracks or sources are not equal."""
    product = Path(descry.__file__).parent
    assert set(compared(UNCERTAIN, SQL, product, product.with_name("descry_stores"))) == set(JUDGED)


PEOPLE = {
    *("data/annotations.py _apart", "data/market_1501.py read", "data/market_sketch_1k.py _with_sketch"),
    *("data/own.py _shared_out", "data/pku_sketch.py table", "data/check.py counts", "data/leaks.py without_leaks"),
    *(f"data/faults.py {name}" for name in ("_nameless", "_unanswerable", "_unresolved", "faults", "numbered")),
    *("data/faults.py unlike", "data/assemble.py held_out", "data/assemble.py train_rows"),
    *(
        f"data/assemble.py Split.{name}"
        for name in ("_of_person", "asked_with", "both", "many", "of", "photo", "sketch")
    ),
    *("data/assemble.py Split.text", "data/assemble.py Split.words_for", "data/assemble.py Split.words_of_drawings"),
    *(
        "evaluate.py probes_of",
        "records.py Dataset.identities",
        "records.py validate",
        "studies/matrices.py read_order",
    ),
}
"""A table refuses a row without a pid, and one of a distractor (-1, a person whom nobody knows) that is asked for or
trained on; these places compare what is left."""


def test_every_place_that_compares_people_was_judged() -> None:
    product = Path(descry.__file__).parent
    assert set(compared({"pid"}, re.compile("(?!)"), product, product.with_name("descry_stores"))) == PEOPLE


def test_a_query_of_a_person_whom_nobody_knows_is_refused(tmp_path) -> None:
    (tmp_path / "order.csv").write_text("role,pid\nquery,1\nphoto,1\nphoto,-1\nphoto,-1\n")
    assert len(read_order(tmp_path / "order.csv").photos) == 3
    (tmp_path / "order.csv").write_text("role,pid\nquery,-1\nphoto,-1\n")
    with pytest.raises(DescryError, match="line 2: a query of pid -1, which stands for people that nobody knows"):
        read_order(tmp_path / "order.csv")


def test_an_item_of_unknown_camera_has_no_neighbours(tmp_path) -> None:
    lines = ["path,camera,time"]
    for i, camera in enumerate(("", "", "north", "north")):
        draw(tmp_path / "crops" / f"{i}.png", i)
        lines.append(f"{i}.png,{camera},2026-01-31T14:0{i}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with Gallery.create(tmp_path / "g", PlainModel()) as gallery:
        gallery.index(tmp_path / "crops", sources=Sources(table=str(tmp_path / "t.csv")))
        desk = SimpleNamespace(gallery=gallery, name="g")
        near = [
            near_items.__wrapped__(desk, "g", item.id, 4)
            for item in sorted(gallery.listed(), key=lambda item: item.path)
        ]
    assert [[i.name for i in n.after] for n in near] == [[], [], ["3.png"], []]
    assert [[i.name for i in n.before] for n in near] == [[], [], [], ["2.png"]]


def test_a_purge_by_date_says_whom_it_cannot_reach(seen, capsys) -> None:
    seen.store.release()
    assert main(["purge", str(seen.path), "--before", "2026-01-31", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "1 item of unknown time may be older" in err
    assert "would remove 0 items" in out


HALF = "north\udcff"
COMMANDS = [
    *("search GALLERY red --camera HALF", "search GALLERY red --path HALF", "search GALLERY HALF"),
    *("inquiry new GALLERY HALF --text red", "inquiry show GALLERY HALF", "keep GALLERY HALF --until 2027-01-31"),
    *("finding GALLERY HALF --item 1", "gallery list GALLERY --camera HALF", "purge GALLERY HALF"),
    "search GALLERY --not HALF",
]


@pytest.fixture(scope="module")
def toy_gallery(tmp_path_factory):
    """A gallery of six pictures, and a model that reads words."""
    root = tmp_path_factory.mktemp("toys")
    (root / "data").mkdir()
    return write_small_gallery(root, write_toy(root / "data"))


@pytest.mark.parametrize("command", COMMANDS)
def test_half_of_a_character_on_the_command_line_is_one_line(toy_gallery, capsys, command) -> None:
    """What a terminal of another encoding makes of a letter."""
    words = [{"GALLERY": str(toy_gallery / "gallery"), "HALF": HALF}.get(w, w) for w in command.split()]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "half of a character" in err or "no inquiry" in err
    assert "unexpected" not in err


@pytest.mark.parametrize("name", ["", "  ", "\u2003"])
def test_an_inquiry_needs_a_name(toy_gallery, capsys, name) -> None:
    assert main(["inquiry", "new", str(toy_gallery / "gallery"), name, "--text", "a red top"]) == 2
    assert "needs a name" in capsys.readouterr().err


def test_a_search_does_not_like_and_unlike_one_item(toy_gallery, capsys) -> None:
    command = ["search", str(toy_gallery / "gallery"), "a red top", "--like", "1", "--unlike", "1"]
    assert main(command) == 2
    assert "item 1 was liked and unliked at once" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"cameras": (HALF,)}, {"path": HALF}, {"path": 7}, {"path": None}])
def test_a_filter_that_no_item_can_have_is_refused(wrong) -> None:
    with pytest.raises(UsageError):
        Filters(**wrong)


@pytest.mark.parametrize(
    "wrong", [[1.7], [1.0], ["1"], "1", [True], [None], [float("nan")], np.array([1.0]), [2**63], [-(10**30)]], ids=repr
)
@pytest.mark.parametrize("act", ["items", "vectors", "groups", "delete", "purge"])
def test_an_id_is_a_whole_number_for_every_act_of_a_gallery(seen, act, wrong) -> None:
    before = len(seen)
    with pytest.raises(UsageError, match="whole numbers"):
        getattr(seen, act)(wrong)
    assert len(seen) == before


@pytest.mark.parametrize("field", ["liked", "unliked", "closest"])
def test_a_mark_of_an_id_beyond_any_is_refused(field) -> None:
    with pytest.raises(UsageError, match=f"{field} holds ids of items, which are whole numbers up to"):
        Query(wanted="red", **{field: (10**30,)})


@pytest.mark.parametrize("k", [2.5, "3", True, None, float("nan")])
def test_a_number_of_results_is_a_whole_number(seen, k) -> None:
    with pytest.raises(UsageError, match="results were asked for"):
        seen.search(Query(photos=np.zeros((32, 16, 3), np.uint8)), k)


def test_filters_are_filters_and_shards_whole_numbers(seen, tmp_path) -> None:
    with pytest.raises(UsageError, match="Filters"):
        Query(wanted="red", filters={"cameras": "north"})
    draw(tmp_path / "a.png", 0)
    with pytest.raises(UsageError, match=r"shard 1\.5/2"):
        seen.index(tmp_path, shard=(1.5, 2))
