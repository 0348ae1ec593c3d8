"""Moving a gallery to Milvus: resumable, counted, compared, and its answers say that they are approximate."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from descry.cli import main
from descry.errors import IndexMismatch, UsageError
from descry.gallery import Gallery, merge
from descry.gallery.local import LocalStore
from descry.gallery.sources import Sources
from descry.query import Filters, Query
from descry_stores import milvus_search
from descry_stores.migrate import migrate
from descry_stores.milvus import expression
from descry_stores.milvus_schema import Layout, parse
from forked import child, ended, forks

from .plain_model import FILTERS, PlainModel, asked, binding, draw, entries, filled, unit_rows


@pytest.fixture
def milvus():
    """The name of a store in a folder of its own, where the engine is there."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed (pip install -e '.[milvus]')")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (pip install -e '.[milvus]')")
    from descry_stores.migrate import migrate

    return migrate


@pytest.fixture
def local(tmp_path, crops, model):
    """24 crops of two cameras and twelve days, indexed."""
    for i, path in enumerate(sorted(crops.rglob("*.png"))):
        path.rename(path.with_name(f"202601{1 + i % 12:02d}_120000_{path.name}"))
    gallery = Gallery.create(tmp_path / "g", model)
    gallery.index(crops, sources=Sources("dirname", r"(\d{8}_\d{6})"))
    gallery.store.release()
    yield gallery
    gallery.close()


def test_a_gallery_is_copied_completed_and_searched(tmp_path, crops, model, milvus):
    there = f"milvus:{tmp_path / 'm.db'}"
    with Gallery.create(tmp_path / "g", model) as local:
        local.index(crops)
        local.store.release()
        first = milvus(tmp_path / "g", there, "my crops")
        assert (first.total, first.copied, first.present) == (24, 24, 0)
        assert (first.partition_by, first.index) == ("none", "flat")
        draw(crops / "cam0" / "p000.png", 500)
        (crops / "cam1" / "p001.png").unlink()
        draw(crops / "new.png", 501)
        local.index(crops)
        local.store.release()
        again = milvus(tmp_path / "g", there, "my crops")
        assert (again.total, again.copied, again.present, again.removed) == (24, 2, 22, 1)
        query = Query(photos=str(crops / "cam1" / "p005.png"), unwanted="a hat")
        here = local.search(query, 24)
        with Gallery.open(f"{there}#my_crops", model) as distant:
            found = distant.search(query, 24)
            assert found.ids == here.ids
            assert (found.exact, found.considered) == (False, 24)
            assert "approximate: ranked among 24 candidates" in found.note
            few = distant.search(query.replace(filters=Filters(path="cam0/*")), 24)
            assert len(few) == 12
            none = distant.search(query.replace(filters=Filters(cameras=("cam9",))), 24)
            assert (len(none), none.removed) == (0, {"cameras": 24})
        with pytest.raises(IndexMismatch):
            Gallery.open(f"{there}#my_crops", PlainModel("other", 1))


CONTROLS = ["a\nb", "a\rb", "a\tb", "a\x00b", "a\x07b", "a\bb", "\x1b[2J"]
CAMERAS = [*CONTROLS, 'q"x', "it's", "a\\b", "\\u0041", "%_", "\u2028", "ü", " "]


def test_a_camera_of_any_name_is_copied_counted_and_asked_for(tmp_path, crops, model, milvus):
    """Names come from folders and tables: control characters, quotes and backslashes too."""
    there = f"milvus:{tmp_path / 'm.db'}#g"
    with closing(LocalStore.create(tmp_path / "g", binding())) as store:
        made = [replace(entry, camera=name) for entry, name in zip(entries(len(CAMERAS)), CAMERAS, strict=True)]
        store.add(made, unit_rows(len(made)))
    assert milvus(tmp_path / "g", there).total == len(CAMERAS)
    with Gallery.open(there) as distant:
        assert {item.camera for item in distant.items(range(1, len(made) + 1))} == set(CAMERAS)
        for name in filter(str.strip, CAMERAS):
            assert distant.store.count(expression(Filters(cameras=(name,)))) == 1, name


@pytest.mark.parametrize("name", ["g", "g_about", "g_moments"])
@pytest.mark.parametrize("left", [[], ["schema.json.tmp"]])
def test_a_collection_that_was_half_made_is_made(tmp_path, crops, model, local, milvus, name, left):
    """The embedded engine, killed while it made a collection, leaves a folder that it takes for none."""
    folder = tmp_path / "m.db" / "collections" / name
    folder.mkdir(parents=True)
    for part in left:
        (folder / part).write_text("{")
    assert milvus(tmp_path / "g", f"milvus:{tmp_path / 'm.db'}#g").total == 24


def test_a_file_that_was_only_read_again_is_not_sent_again(tmp_path, milvus):
    """When a file was last read is no part of what a store beyond this machine answers with."""
    there = f"milvus:{tmp_path / 'm.db'}#g"
    with closing(LocalStore.create(tmp_path / "g", binding())) as store:
        store.add(entries(5), unit_rows(5))
    assert milvus(tmp_path / "g", there).copied == 5
    with closing(LocalStore(tmp_path / "g")) as store:
        store.add([replace(entry, checked=entry.checked + 1) for entry in entries(5)], unit_rows(5))
        store.add([replace(entries(1)[0], camera="another")], unit_rows(1))
    again = milvus(tmp_path / "g", there)
    assert (again.copied, again.present) == (1, 4)


@pytest.mark.parametrize("layout", [Layout("camera", "ivf_sq8"), Layout("day", "hnsw_sq"), Layout("none", "flat")])
def test_partitions_and_quantised_indexes_answer_alike(tmp_path, crops, model, local, milvus, monkeypatch, layout):
    there = f"milvus:{tmp_path / 'm.db'}#g"
    report = milvus(tmp_path / "g", there, layout=layout)
    assert (report.partition_by, report.index) == (layout.partition_by, layout.index)
    query = Query(photos=str(next((crops / "cam1").iterdir())))
    when = Filters(since=datetime(2026, 1, 3), until=datetime(2026, 1, 5, 23))
    for everything in (milvus_search.ALL, 0):
        monkeypatch.setattr(milvus_search, "ALL", everything)
        with Gallery.open(there, model) as distant:
            divided = len(distant.store.client.list_partitions("g")) > 1
            assert divided == (layout.partition_by != "none")
            assert distant.info()["index"] == layout.index
            for filters in (Filters(), Filters(cameras=("cam1",)), when):
                asked = query.replace(filters=filters)
                found, expected = distant.search(asked, 24), local.search(asked, 24)
                assert set(found.ids) == set(expected.ids)
                assert found.ids[0] == expected.ids[0]
    with pytest.raises(UsageError, match="cannot be divided anew"):
        milvus(tmp_path / "g", there, layout=Layout("day" if layout.partition_by != "day" else "camera"))


@pytest.mark.parametrize("everything", [milvus_search.ALL, 0])
def test_marks_that_the_filters_keep_out_are_not_shown(tmp_path, crops, model, local, milvus, monkeypatch, everything):
    monkeypatch.setattr(milvus_search, "ALL", everything)
    there = f"milvus:{tmp_path / 'm.db'}#g"
    milvus(tmp_path / "g", there)
    cameras = {item.id: item.camera for item in local.listed()}
    inside, outside = ([i for i, camera in cameras.items() if camera == name] for name in ("cam1", "cam0"))
    photo = str(next((crops / "cam1").iterdir()))
    query = Query(photos=photo, liked=(inside[5], outside[0]), unliked=(outside[1],), closest=(outside[2],))
    query = query.replace(filters=Filters(cameras=("cam1",)))
    with Gallery.open(there, model) as distant:
        found, expected = distant.search(query, 24), local.search(query, 24)
        assert {cameras[i] for i in found.ids} == {"cam1"}
        assert found.ids[0] == expected.ids[0] == inside[5]
        assert (set(found.ids), found.considered) == (set(expected.ids), expected.considered)
        assert {kind for kind, _ in found.parts} == {kind for kind, _ in expected.parts}
        none = distant.search(query.replace(filters=Filters(cameras=("cam9",))), 24)
        assert (len(none), none.removed) == (0, {"cameras": 24})


@pytest.mark.parametrize(
    "filters",
    [
        *(Filters(("cam1",)), Filters(("cam0", "cam1")), Filters(("",)), Filters(("", "cam1")), Filters()),
        *(Filters(since="2026-01-05"), Filters(until="2026-01-05"), Filters(("cam1",), "2026-01-05")),
    ],
)
def test_what_a_filter_cannot_know_is_said_of_a_distributed_gallery_too(untimed, filters) -> None:
    here, there = untimed
    query = Query(photos=np.zeros((32, 16, 3), np.uint8), filters=filters)
    found, expected = there.search(query, 30), here.search(query, 30)
    said = [part for part in found.note.split("; ") if part and not part.startswith("approximate")]
    assert said == [part for part in expected.note.split("; ") if part and not part.startswith("did you mean")]
    assert len(found) == len(expected)


@pytest.fixture(scope="module")
def untimed(tmp_path_factory):
    """A gallery and its distributed copy: three cameras, a third of unknown camera, a third of unknown time."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (pip install -e '.[milvus]')")
    root, model = tmp_path_factory.mktemp("untimed"), PlainModel()
    lines = ["path,camera,time"]
    for i in range(9):
        draw(root / "crops" / f"{i}.png", i)
        lines.append(f"{i}.png,{f'cam{i % 3}' if i % 3 else ''},{f'2026-01-{i + 1:02d}' if i < 6 else ''}")
    (root / "t.csv").write_text("\n".join(lines))
    with Gallery.create(root / "g", model) as here:
        here.index(root / "crops", sources=Sources(table=str(root / "t.csv")))
        here.store.release()
        migrate(root / "g", f"milvus:{root / 'm.db'}#g")
        with Gallery.open(f"milvus:{root / 'm.db'}#g", model) as there:
            yield here, there


def test_the_index_grows_with_the_gallery_and_partitions_are_chosen(tmp_path, local, milvus, monkeypatch):
    from descry_stores import milvus_schema

    there = f"milvus:{tmp_path / 'm.db'}#g"
    first = milvus(tmp_path / "g", there)
    assert (first.partition_by, first.index) == ("camera", "flat")
    monkeypatch.setattr(milvus_schema, "FLAT_UP_TO", 10)
    again = milvus(tmp_path / "g", there)
    assert (again.present, again.partition_by, again.index) == (24, "camera", "hnsw_sq")
    monkeypatch.setattr(milvus_schema, "FLAT_UP_TO", 100)
    assert milvus(tmp_path / "g", there).index == "hnsw_sq"


def test_a_migration_that_was_cut_off_goes_on_where_it_stopped(tmp_path, local, milvus, monkeypatch):
    monkeypatch.setattr("descry.gallery.merge.STEP", 5)
    there = f"milvus:{tmp_path / 'm.db'}#g"

    def cut(done: int, total: int) -> None:
        assert total == 48  # each is sent and compared
        if done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        milvus(tmp_path / "g", there, progress=cut)
    report = milvus(tmp_path / "g", there)
    assert (report.total, report.present, report.copied) == (24, 10, 14)


def test_an_item_that_only_moved_or_got_another_camera_is_sent_again(tmp_path, crops, local, milvus, model):
    there = f"milvus:{tmp_path / 'm.db'}#g"
    milvus(tmp_path / "g", there)
    crops.rename(tmp_path / "moved")
    local.relocate(crops, tmp_path / "moved")
    local.store.release()
    assert milvus(tmp_path / "g", there).copied == 24
    with Gallery.open(there) as distant:
        assert [i.path for i in distant.listed()] == [i.path for i in local.listed()]
    assert milvus(tmp_path / "g", there).copied == 0


def test_a_vector_that_arrives_changed_is_noticed(tmp_path, local, milvus, monkeypatch):
    from descry.errors import StoreUnavailable
    from descry_stores.milvus import MilvusStore

    honest = MilvusStore.vectors
    monkeypatch.setattr(MilvusStore, "vectors", lambda self, ids: -honest(self, ids))
    with pytest.raises(StoreUnavailable, match="differ from those sent"):
        milvus(tmp_path / "g", f"milvus:{tmp_path / 'm.db'}#g")


def test_info_list_delete_of_a_distributed_gallery(tmp_path, local, milvus, capsys):
    there = f"milvus:{tmp_path / 'm.db'}#g"
    milvus(tmp_path / "g", there)
    assert main(["gallery", "info", there, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["items"], facts["cameras"]) == (24, {"cam0": 12, "cam1": 12})
    assert (facts["from"], facts["to"]) == ("2026-01-01T12:00:00", "2026-01-12T12:00:00")
    assert (facts["partitions"], facts["model"]) == ("camera", "plain")
    assert main(["gallery", "list", there, "--camera", "cam1", "--until", "2026-01-06"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert main(["gallery", "delete", there, "--item", lines[0].split("\t")[0], "--path", "cam0/*"]) == 0
    assert "removed 13 items" in capsys.readouterr().out
    assert main(["gallery", "delete", there, "--everything"]) == 2
    assert main(["gallery", "delete", there, "--everything", "--confirm", "g"]) == 0
    capsys.readouterr()
    assert main(["gallery", "info", there]) == 2
    assert "descry migrate" in capsys.readouterr().err


def test_what_only_a_local_gallery_does_is_refused_with_the_way(tmp_path, crops, model, local, milvus, capsys):
    there = f"milvus:{tmp_path / 'm.db'}#g"
    milvus(tmp_path / "g", there)
    assert main(["index", str(crops), "--out", there]) == 2
    assert f"descry migrate gallery --to {there}" in capsys.readouterr().err
    with Gallery.open(there, model) as distant:
        with pytest.raises(UsageError, match="descry migrate GALLERY --to"):
            distant.index(crops)
        for work in (distant.verify, distant.compact, distant.skipped, distant.snapshot):
            with pytest.raises(UsageError, match="local gallery"):
                work()


# ---------------------------------------------------------------------- without an engine


def test_filters_name_the_partitions():
    """An engine looks into partitions only for = and IN over the field that divides them."""
    week = Filters(since=datetime(2026, 1, 30, 8), until=datetime(2026, 2, 1, 9))
    assert 'day in ["2026-01-30", "2026-01-31", "2026-02-01"]' in expression(week, "day")
    assert "day in" not in expression(week, "camera")
    assert expression(Filters(cameras=("a", "é")), "camera") == 'camera in ["a", "é"]'
    assert "day in" not in expression(Filters(since=datetime(2026, 1, 1)), "day")
    assert "day in" not in expression(Filters(since=datetime(2000, 1, 1), until=datetime(2026, 1, 1)), "day")


def test_the_index_follows_the_number_of_items():
    assert [Layout().kind(n) for n in (0, 100_000, 100_001, 10**9)] == ["flat", "flat", "hnsw_sq", "hnsw_sq"]
    assert Layout(index="ivf_sq8").kind(5) == "ivf_sq8"
    with pytest.raises(UsageError, match="did you mean 'hnsw_sq'"):
        Layout(index="hnsw_sqq")
    with pytest.raises(UsageError, match="did you mean 'camera'"):
        Layout("cameras")


@pytest.mark.parametrize("address", ["postgres://x", "milvus://h:1#bad name"])
def test_addresses_that_cannot_be_meant(address):
    with pytest.raises(UsageError, match="milvus://HOST:PORT"):
        parse(address)


def test_an_address_says_where_and_which():
    assert parse("milvus://h:19530#crops") == ("http://h:19530", "crops")
    assert parse("milvus+https://h") == ("https://h", "gallery")
    assert parse("milvus:a.db#x") == (str(Path("a.db").absolute()), "x")


# ---------------------------------------------------------------------- repairs that a real server asked for


@pytest.fixture(scope="module")
def clustered(tmp_path_factory):
    """1,185 items in clusters, locally and in an embedded collection, opened for search."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (pip install -e '.[milvus]')")
    from descry_stores.migrate import migrate
    from descry_stores.milvus import MilvusStore

    folder = tmp_path_factory.mktemp("clustered")
    here = filled(folder / "local", 1200)
    migrate(folder / "local", f"milvus:{folder / 'm.db'}#g")
    there = MilvusStore(f"milvus:{folder / 'm.db'}#g")
    yield here, there
    here.close()
    there.close()


@pytest.mark.parametrize("kind", ["sketch", "two phrases", "sketch and words", "sketch, words and no", "round", "no"])
def test_composed_queries_keep_the_local_leads(clustered, monkeypatch, kind):
    """Candidates and sample are few here, so that a part of the collection is in neither."""
    from descry.gallery.scan import answer
    from descry.ranking import FORMULA
    from descry_stores import milvus

    here, there = clustered
    for name, value in {"ALL": 0, "LEAST": 200, "FACTOR": 1, "STEPS": 400}.items():
        monkeypatch.setattr(milvus_search, name, value)
    monkeypatch.setattr(milvus, "SAMPLE", 600)
    monkeypatch.setattr(there, "_sample", None)
    ask, known = there.near, {}

    def near(vectors, k, filters=None):
        """As the store's; what does not depend on the filters of a query is asked of the engine once."""
        key = vectors.tobytes(), k, filters
        if key not in known:
            known[key] = ask(vectors, k, filters)
        return dict(known[key])

    monkeypatch.setattr(there, "near", near)
    kept: dict[Filters, list[float]] = {filters: [] for filters in FILTERS}
    for filters, found in kept.items():
        rng = np.random.default_rng(5)
        for _ in range(8):
            terms, query = asked(kind, rng, here.snapshot().ids, here.binding.dimension)
            query = query.replace(filters=filters)
            one, other = answer(here, terms, query, 20, FORMULA), milvus_search.answer(there, terms, query, 20, FORMULA)
            assert other.considered < other.total
            assert "approximate: ranked among" in other.note
            found.append(len({*one.ids} & {*other.ids}) / 20)
    assert np.mean(kept[Filters()]) >= 0.99, kept
    assert np.mean(list(kept.values())) >= 0.99, kept


def test_a_sample_is_about_as_large_as_asked_for_and_tells_of_the_collection(clustered, monkeypatch):
    from descry_stores import milvus

    here, there = clustered
    monkeypatch.setattr(milvus, "SAMPLE", 300)
    monkeypatch.setattr(there, "_sample", None)
    sample = there.sample(there.count())
    assert 240 < len(sample) < 360
    held = here.vectors(list(sample))
    np.testing.assert_array_equal(np.stack(list(sample.values())), held)


def test_filters_are_counted_after_migrating(tmp_path, local, milvus, monkeypatch):
    from descry.errors import StoreUnavailable
    from descry_stores.milvus import MilvusStore

    honest = MilvusStore.count
    there = f"milvus:{tmp_path / 'm.db'}#g"
    monkeypatch.setattr(
        MilvusStore, "count", lambda self, asked="": honest(self, asked) // (2 if "camera" in asked else 1)
    )
    with pytest.raises(StoreUnavailable, match="finds 6 of the 12 items of camera 'cam"):
        milvus(tmp_path / "g", there)
    monkeypatch.undo()
    with Gallery.open(there) as distant:
        assert distant.info()["unfinished"]
        assert "has not finished" in distant.search("a hat", model=PlainModel()).note
    milvus(tmp_path / "g", there)
    with Gallery.open(there) as distant:
        assert not distant.info()["unfinished"]
        assert "has not finished" not in distant.search("a hat", model=PlainModel()).note


@forks
def test_a_migration_that_was_killed_says_so_until_it_is_repeated(tmp_path, local, milvus, monkeypatch):
    """Killed before each part that it sends, and before it says that it is done."""
    from descry_stores.milvus import MilvusStore

    monkeypatch.setattr(merge, "STEP", 8)
    honest = {name: getattr(MilvusStore, name) for name in ("put", "settle")}
    said = []
    for at in (1, 3):
        there, left = f"milvus:{tmp_path / f'm{at}.db'}#g", iter(range(at))

        def dies(name, left=left):
            def call(self, *args, **options):
                if next(left, None) is None:
                    os._exit(9)
                return honest[name](self, *args, **options)

            return call

        with monkeypatch.context() as patched:
            for name in honest:
                patched.setattr(MilvusStore, name, dies(name))
            pid = child(lambda: milvus(tmp_path / "g", there))  # noqa: B023 - used before the next round
        assert ended(pid) == 9
        with Gallery.open(there) as distant:
            said.append((len(distant), distant.info()["unfinished"]))
        report = milvus(tmp_path / "g", there)
        assert (report.total, report.present) == (24, 8 * at)
        with Gallery.open(there) as distant:
            assert (len(distant), distant.info()["unfinished"]) == (24, False)
    assert said == [(8 * at, True) for at in (1, 3)]


def test_an_index_that_the_server_cannot_build_changes_nothing(tmp_path, local, milvus, monkeypatch):
    """Servers refuse a kind that they do not know when it is made; the embedded engine does not look at it."""
    from pymilvus.exceptions import MilvusException

    from descry_stores import milvus_schema

    there = f"milvus:{tmp_path / 'm.db'}#g"
    milvus(tmp_path / "g", there)
    honest = milvus_schema._index

    def index(client, kind):
        if kind == "hnsw_sq":
            raise MilvusException(1100, "invalid index type: HNSW_SQ")
        return honest(client, kind)

    monkeypatch.setattr(milvus_schema, "_index", index)
    with pytest.raises(UsageError, match="cannot build the index hnsw_sq"):
        milvus(tmp_path / "g", there, layout=Layout(index="hnsw_sq"))
    with Gallery.open(there, PlainModel()) as distant:
        assert (distant.info()["index"], len(distant.search("a hat"))) == ("flat", 20)


def test_an_index_change_that_fails_half_way_is_taken_back(tmp_path, local, milvus, monkeypatch):
    from descry_stores import milvus_schema

    there = f"milvus:{tmp_path / 'm.db'}#g"
    milvus(tmp_path / "g", there)
    honest, made = milvus_schema._index, []

    def index(client, kind):
        made.append(kind)
        if made == ["ivf_sq8", "ivf_sq8"]:  # the trial is well, the change itself is not
            raise KeyboardInterrupt
        return honest(client, kind)

    monkeypatch.setattr(milvus_schema, "_index", index)
    with Gallery.open(there) as distant, pytest.raises(KeyboardInterrupt):
        milvus_schema.reindex(distant.store.client, "g", "ivf_sq8", 32)
    monkeypatch.undo()
    with Gallery.open(there, PlainModel()) as distant:
        assert (distant.info()["index"], len(distant.search("a hat"))) == ("flat", 20)


def test_a_collection_that_lost_its_index_is_mended_and_can_be_erased(tmp_path, local, milvus):
    there = f"milvus:{tmp_path / 'm.db'}#g"
    milvus(tmp_path / "g", there)
    with Gallery.open(there) as distant:
        client = distant.store.client
        client.release_collection("g")
        client.drop_index("g", client.list_indexes("g")[0])
    with Gallery.open(there, PlainModel()) as distant:
        assert len(distant.search("a hat")) == 20
    assert main(["gallery", "delete", there, "--everything", "--confirm", "g"]) == 0
    assert main(["gallery", "info", there]) == 2


def test_items_that_somebody_deletes_during_a_search_are_left_out(tmp_path, local, milvus, monkeypatch):
    from descry_stores.milvus import MilvusStore

    there = f"milvus:{tmp_path / 'm.db'}#g"
    milvus(tmp_path / "g", there)
    honest = MilvusStore.items

    def items(self, ids):
        self.delete(ids[:3])
        return honest(self, ids)

    with Gallery.open(there, PlainModel()) as distant:
        before = distant.search("a hat").ids
        monkeypatch.setattr(MilvusStore, "items", items)
        assert distant.search("a hat").ids == before[3:]
        monkeypatch.undo()
        assert "scores are scaled by the 24 items of the last migration" in distant.search("a hat").note
        with pytest.raises(UsageError, match="holds no item"):
            distant.search(Query(wanted="a hat", liked=(before[0],)))


def test_a_not_phrase_alone_has_leads(tmp_path, local, milvus, monkeypatch):
    monkeypatch.setattr(milvus_search, "ALL", 0)
    there = f"milvus:{tmp_path / 'm.db'}#g"
    milvus(tmp_path / "g", there)
    with Gallery.open(there, PlainModel()) as distant:
        asked = Query(unwanted="a hat")
        assert distant.search(asked, 24).ids == local.search(asked, 24, model=PlainModel()).ids


def test_a_password_does_not_stand_in_the_address():
    with pytest.raises(UsageError, match="MILVUS_TOKEN") as error:
        parse("milvus://root:secret@h:19530#g")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("auth check failure, please check username and password", "refused: .* put USER:PASSWORD into MILVUS_TOKEN"),
        ("Fail connecting to server on h:1", "does not answer .* is it running"),
        ("cannot parse expression: like", "could not do it: cannot parse"),
    ],
)
def test_one_line_says_what_happened(tmp_path, milvus, said, told):
    from pymilvus.exceptions import MilvusException

    from descry.errors import StoreUnavailable
    from descry_stores.milvus import MilvusStore

    store = MilvusStore.__new__(MilvusStore)
    store.address = "milvus://h:1#g"
    with pytest.raises(StoreUnavailable, match=told) as error, store._translated():
        raise MilvusException(1, f"{said}\nmore of it")
    assert "\n" not in str(error.value)
