"""Indexing: what is new, changed, moved, gone or unreadable, and that resuming equals never having stopped."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from descry.errors import DataError, IndexMismatch, LimitExceeded, UsageError
from descry.gallery import Gallery
from descry.gallery.sources import Sources
from descry.query import Filters, Query
from descry.times import parse_time

from .plain_model import PlainModel, draw


@pytest.fixture
def gallery(tmp_path, model):
    with Gallery.create(tmp_path / "gallery", model) as made:
        yield made


def content(gallery: Gallery) -> list[tuple]:
    """Everything about every item except ids and places."""
    shot = gallery.snapshot()
    items = gallery.items(shot.ids)
    return sorted((i.path, i.sha256, i.camera, i.time, i.look, gallery.store.vectors([i.id]).tobytes()) for i in items)


def test_new_changed_moved_and_deleted(gallery, crops, model):
    report = gallery.index(crops)
    assert (report.added, report.encoded, report.skipped) == (24, 24, [])
    ids = {Path(i.path).name: i.id for i in gallery.items(gallery.snapshot().ids)}
    draw(crops / "cam0" / "p000.png", 1000)
    os.rename(crops / "cam0" / "p002.png", crops / "cam1" / "renamed.png")
    (crops / "cam0" / "p004.png").unlink()
    draw(crops / "new.jpg", 2000)
    shutil.copy(crops / "cam0" / "p006.png", crops / "copy.png")
    model.calls = 0
    report = gallery.index(crops)
    assert (report.added, report.changed, report.moved, report.removed, report.unchanged) == (2, 1, 1, 1, 21)
    assert model.calls == report.encoded == 2
    after = {Path(i.path).name: i.id for i in gallery.items(gallery.snapshot().ids)}
    assert after["renamed.png"] == ids["p002.png"]
    assert after["p000.png"] == ids["p000.png"]
    assert "p004.png" not in after
    again = gallery.index(crops)
    assert (again.added, again.changed, again.moved, again.removed, again.encoded, again.unchanged) == (
        0,
        0,
        0,
        0,
        0,
        25,
    )
    assert gallery.verify() == []


def test_touching_a_file_encodes_nothing(gallery, crops, model):
    gallery.index(crops)
    for path in crops.rglob("*.png"):
        os.utime(path, (10**9, 10**9))
    model.calls = 0
    assert gallery.index(crops).unchanged == 24
    assert model.calls == 0


def test_a_change_within_the_clocks_grain_is_seen(gallery, tmp_path):
    path = draw(tmp_path / "c" / "a.png", 1)
    gallery.index(path.parent)
    stat = path.stat()
    data = bytearray(path.read_bytes())
    Image.fromarray(np.zeros((40, 20, 3), np.uint8)).save(tmp_path / "other.png")
    data = (tmp_path / "other.png").read_bytes()
    path.write_bytes(data.ljust(stat.st_size, b"\0")[: max(stat.st_size, len(data))])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert gallery.index(path.parent).changed == 1


def test_bad_files_are_listed_with_their_reason_and_harm_nobody(gallery, crops, tmp_path, model):
    with Gallery.create(tmp_path / "clean", model) as clean:
        clean.index(crops)
        good = content(clean)
    (crops / "empty.png").write_bytes(b"")
    (crops / "cam0" / "text.jpg").write_text("no picture")
    (crops / "cam0" / "half.png").write_bytes((crops / "cam0" / "p000.png").read_bytes()[:60])
    Image.new("RGB", (1, 1)).save(crops / "tiny.png")
    report = gallery.index(crops)
    assert report.added == 24
    assert {Path(p).name: why.split(":")[0] for p, why in report.skipped} == {
        "empty.png": "format", "text.jpg": "format", "half.png": "corrupt", "tiny.png": "too_small",
    }  # fmt: skip
    assert content(gallery) == good
    for path in crops.rglob("*"):
        os.utime(path, (10**9, 10**9))
    gallery.index(crops)
    assert len(gallery.index(crops).skipped) == 4
    (crops / "empty.png").unlink()
    draw(crops / "tiny.png", 77)
    report = gallery.index(crops)
    assert (report.added, len(report.skipped)) == (1, 2)


def test_a_picture_that_went_bad_does_not_answer_any_more(gallery, crops):
    gallery.index(crops)
    (crops / "cam0" / "p000.png").write_bytes(b"gone bad")
    report = gallery.index(crops)
    assert (report.removed, len(report.skipped), len(gallery)) == (1, 1, 23)


def rename_by(folder: Path, step: int) -> None:
    """Every file takes the name of the one `step` places further on, in a circle."""
    names = sorted(folder.iterdir())
    contents = [name.read_bytes() for name in names]
    for i, name in enumerate(names):
        name.write_bytes(contents[i - step])


@pytest.mark.parametrize("step", [1, 4])
def test_names_that_rotate_among_files_take_their_vectors_along(gallery, tmp_path, model, monkeypatch, step):
    """A commit replaces the content that a later file brings again: the stored vector is another picture's by then."""
    from descry.gallery import indexing

    monkeypatch.setattr(indexing, "MOST_PENDING", 6)
    monkeypatch.setattr(indexing, "COMMIT_ITEMS", 1)
    for i in range(20):
        draw(tmp_path / "c" / f"{i:02d}.png", i)
    gallery.index(tmp_path / "c", batch_size=3)
    draw(tmp_path / "c" / "00.png", 500)
    rename_by(tmp_path / "c", step)
    assert gallery.index(tmp_path / "c", batch_size=3).changed == 20
    with Gallery.create(tmp_path / "anew", model) as anew:
        anew.index(tmp_path / "c")
        assert content(gallery) == content(anew)


def test_the_content_of_a_file_that_went_bad_turns_up_under_another_name(gallery, tmp_path, model, monkeypatch):
    from descry.gallery import indexing

    monkeypatch.setattr(indexing, "COMMIT_ITEMS", 1)
    names = [draw(tmp_path / "c" / f"{i}.png", i) for i in range(8)]
    gallery.index(tmp_path / "c", batch_size=1)
    names[7].write_bytes(names[0].read_bytes())
    names[0].write_bytes(b"gone bad")
    draw(names[1], 900)  # fills a batch, so that the loss of the first is committed
    report = gallery.index(tmp_path / "c", batch_size=1)
    assert (report.changed, report.removed) == (2, 1)
    with Gallery.create(tmp_path / "anew", model) as anew:
        anew.index(tmp_path / "c")
        assert content(gallery) == content(anew)


def test_stopped_and_resumed_equals_never_stopped(tmp_path, crops, model, monkeypatch):
    from descry.gallery import indexing

    monkeypatch.setattr(indexing, "COMMIT_ITEMS", 6)
    with Gallery.create(tmp_path / "a", model) as straight, Gallery.create(tmp_path / "b", model) as stopped:
        straight.index(crops, batch_size=3)
        asked = iter([False, False, True])
        report = stopped.index(crops, batch_size=3, stop=lambda: next(asked, True))
        assert report.interrupted
        assert 0 < len(stopped) < 24
        stopped.index(crops, batch_size=3)
        assert content(stopped) == content(straight)
        assert stopped.snapshot().ids.tolist() == straight.snapshot().ids.tolist()


def test_a_dry_run_counts_and_writes_nothing(gallery, crops, model):
    report = gallery.index(crops, dry_run=True)
    assert (report.added, report.dry, len(gallery), model.calls) == (24, True, 0, 0)


def test_folders_within_folders_are_indexed_once(gallery, crops):
    assert gallery.index([crops, crops / "cam0", str(crops) + "/"]).added == 24
    assert gallery.index(crops / "cam0").unchanged == 12
    assert len(gallery) == 24


def test_a_gallery_inside_the_crops_and_hidden_files_are_left_out(crops, model):
    draw(crops / ".hidden" / "x.png", 3)
    with Gallery.create(crops / "gallery", model) as made:
        assert made.index(crops, exclude=["p00*", "*/cam1/*"]).added == 7


def test_odd_file_names_survive(gallery, tmp_path):
    folder = os.fsencode(tmp_path / "odd")
    os.mkdir(folder)
    names = [b"latin-\xe9.png", "ä ö\n.png".encode(), b"=cmd.png", b"<b>.png"]
    for i, name in enumerate(names):
        made = draw(tmp_path / "made.png", i)
        os.rename(made, os.path.join(folder, name))
    assert gallery.index(os.fsdecode(folder)).added == 4
    assert {os.fsencode(os.path.basename(i.path)) for i in gallery.items(gallery.snapshot().ids)} == set(names)
    assert gallery.index(os.fsdecode(folder)).unchanged == 4
    assert gallery.verify() == []


def test_an_unmounted_folder_deletes_nothing(gallery, crops):
    gallery.index(crops)
    shutil.rmtree(crops)
    with pytest.raises(DataError, match="there is no folder"):
        gallery.index(crops)
    crops.mkdir()
    with pytest.raises(DataError, match="no picture files"):
        gallery.index(crops)
    assert len(gallery) == 24


def test_shards_share_the_files_among_them(tmp_path, crops, model):
    counts, paths = [], set()
    for i in (1, 2, 3):
        with Gallery.create(tmp_path / f"part{i}", model) as part:
            counts.append(part.index(crops, shard=(i, 3)).added)
            paths |= {item.path for item in part.items(part.snapshot().ids)}
            assert part.index(crops, shard=(i, 3)).unchanged == counts[-1]
    assert sum(counts) == len(paths) == 24
    with Gallery.create(tmp_path / "x", model) as x, pytest.raises(UsageError, match="shard 4/3"):
        x.index(crops, shard=(4, 3))


def test_a_shard_leaves_the_items_of_the_others_alone(gallery, crops):
    gallery.index(crops)
    first = gallery.index(crops, shard=(1, 2))
    second = gallery.index(crops, shard=(2, 2))
    assert (first.removed, second.removed, len(gallery)) == (0, 0, 24)
    assert first.unchanged + second.unchanged == 24
    for path in crops.rglob("p00[0-7].png"):
        path.unlink()
    (crops / "cam0" / "p008.png").write_bytes(b"gone bad")
    assert sum(gallery.index(crops, shard=(i, 2)).removed for i in (1, 2)) == 9
    assert [len(gallery.index(crops, shard=(i, 2)).skipped) for i in (1, 2)] in ([0, 1], [1, 0])
    assert len(gallery.skipped()) == 1


@pytest.mark.parametrize("parts", [2, 4])
def test_shards_divide_numbered_names_evenly(parts):
    """A checksum that is linear in the bits of a name puts names that differ in a digit into one part."""
    from descry.gallery.walk import in_shard

    names = [f"/data/crops/{i:04d}.jpg" for i in range(400)]
    counts = [sum(in_shard(name, (i + 1, parts)) for name in names) for i in range(parts)]
    assert sum(counts) == 400
    assert min(counts) > 0.8 * 400 / parts
    few = [sum(in_shard(f"/data/crops/{i}.jpg", (part, 2)) for i in range(8)) for part in (1, 2)]
    assert min(few) > 0


def test_an_empty_shard_is_a_gallery_that_merge_takes(tmp_path, crops, model):
    from descry.gallery.merge import merge

    one = crops / "cam0" / "p000.png"
    for path in crops.rglob("*.png"):
        if path != one:
            path.unlink()
    counts = []
    for i in (1, 2):
        with Gallery.create(tmp_path / f"part{i}", model) as part:
            counts.append(part.index(crops, shard=(i, 2)).added)
            assert part.index(crops, shard=(i, 2)).unchanged == counts[-1]
    assert sorted(counts) == [0, 1]
    assert merge([tmp_path / "part1", tmp_path / "part2"], tmp_path / "whole") == 1


def test_another_model_is_refused(gallery, crops):
    gallery.index(crops)
    with pytest.raises(IndexMismatch, match="rebuild"):
        gallery.index(crops, model=PlainModel("other", seed=1))
    with pytest.raises(IndexMismatch):
        Gallery.open(gallery.path, PlainModel("other", seed=1))


def test_too_many_items_are_refused_unless_allowed(gallery, crops, monkeypatch):
    from descry.gallery import results

    monkeypatch.setattr(results, "TOO_MANY", 20)
    with pytest.raises(LimitExceeded, match="--large"):
        gallery.index(crops)
    assert gallery.index(crops, large=True).added == 24


def test_a_large_gallery_is_told_where_to_go(gallery, crops, monkeypatch):
    from descry.gallery import results

    assert gallery.index(crops).warning == ""
    monkeypatch.setattr(results, "MANY", 23)
    assert f"descry migrate {gallery.path} --to milvus://" in gallery.index(crops).warning
    monkeypatch.undo()
    assert results.check_size("g", 2_000_000, False) == ""
    assert "2,000,001 items" in results.check_size("g", 2_000_001, False)
    assert results.check_size("g", 5_000_000, False)
    with pytest.raises(LimitExceeded, match="--large"):
        results.check_size("g", 5_000_001, False)
    for items in (2_000_001, 5_000_001):  # a database is migrated nowhere
        said = results.check_size("postgresql://u@h/d#g", items, True)
        assert "divide it into several galleries" in said
        assert "ilvus" not in said


# ---------------------------------------------------------------------- camera, time, track


def test_fields_from_path_table_and_exif(tmp_path):
    sources = Sources(camera=r"cam(\d+)", time=r"(?P<time>\d{8}_\d{6})", track="dirname")
    fields = sources.fields("/data/cam12/t7/20260131_140509.jpg", 0)
    assert fields == {"camera": "12", "time": datetime(2026, 1, 31, 14, 5, 9), "track": "t7"}
    assert sources.fields("/x.jpg", 0)["time"] is None
    table = tmp_path / "t.csv"
    table.write_text("Path,camera,time\nsub/a.jpg,east,2026-01-31T14:05:09+02:00\nb.jpg,west,\n")
    listed = Sources(table=str(table), camera="dirname")
    assert listed.fields("/q/sub/a.jpg", 0) == {"camera": "east", "time": datetime(2026, 1, 31, 14, 5, 9), "track": ""}
    assert listed.fields("/q/z/b.jpg", 0)["camera"] == "west"
    assert listed.fields("/q/z/c.jpg", 0)["camera"] == "z"


def test_exif_reaches_the_gallery(gallery, tmp_path):
    exif = Image.Exif()
    exif[272] = "Camera 9"
    exif.get_ifd(34665)[36867] = "2026:01:31 14:05:09"
    (tmp_path / "c").mkdir()
    Image.new("RGB", (20, 40), "red").save(tmp_path / "c" / "a.jpg", exif=exif)
    gallery.index(tmp_path / "c", sources=Sources(camera="exif", time="exif"))
    (item,) = gallery.items([1])
    assert (item.camera, item.time) == ("Camera 9", datetime(2026, 1, 31, 14, 5, 9))


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ({"camera": "dirnam"}, "did you mean 'dirname'"),
        ({"time": "("}, "not a regular expression"),
        ({"time": "csv"}, "--table"),
    ],
)
def test_sources_that_cannot_be_meant(kind, error):
    with pytest.raises(UsageError, match=error):
        Sources(**kind)


@pytest.mark.parametrize("text", ["name,camera\na,b\n", "path,camera,time\na.jpg,x,yesterday\n"])
def test_tables_that_cannot_be_used(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=r"t\.csv"):
        Sources(table=str(tmp_path / "t.csv"))


def test_times_are_read_and_nonsense_is_none():
    assert parse_time("2026-01-31 14:05:09.5") == datetime(2026, 1, 31, 14, 5, 9, 500000)
    assert parse_time("soon") is None


# ---------------------------------------------------------------------- searching


def test_a_photograph_finds_itself_and_its_path(gallery, crops):
    gallery.index(crops, sources=Sources(camera="dirname"))
    photo = str(crops / "cam1" / "p005.png")
    found = gallery.search(Query(photos=photo), k=5)
    assert found.paths[0] == photo
    assert found.cosines[0] == pytest.approx(1, abs=1e-3)
    assert (len(found), found.considered, found.total, found.exact) == (5, 24, 24, True)
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_allclose(found.contributions.sum(axis=0), found.scores, atol=1e-5)
    here = gallery.search(Query(photos=photo, filters=Filters(cameras=("cam0",))), k=50)
    assert len(here) == here.considered == 12
    none = gallery.search(Query(photos=photo, filters=Filters(cameras=("cam9",), path="*cam1*")))
    assert (len(none), none.removed) == (0, {"cameras": 24, "path": 12})


def test_the_order_is_that_of_the_cosines_for_one_photograph(gallery, crops, model):
    gallery.index(crops)
    photo = str(crops / "cam1" / "p005.png")
    found = gallery.search(Query(photos=photo), k=24)
    ids, cosines = gallery.nearest(model.embed_images([photo]), 24)
    assert found.ids == tuple(ids[0].tolist())
    np.testing.assert_allclose(found.cosines, cosines[0], atol=1e-6)


def test_marks_and_words_count(gallery, crops):
    gallery.index(crops)
    photo = str(crops / "cam1" / "p005.png")
    plain = gallery.search(Query(photos=photo), k=24)
    last = plain.ids[-1]
    marked = gallery.search(
        Query(photos=photo, wanted="a red jacket", unwanted="hat", liked=(last,), unliked=(plain.ids[0],)), k=24
    )
    assert marked.ids[0] == last
    assert {kind for kind, _ in marked.parts} == {"photo", "text", "not", "liked", "unliked"}
    only = gallery.search(Query(liked=(last,)), k=3)
    assert only.ids[0] == last
    shown = gallery.search(Query(photos=photo, liked=(last,), filters=Filters(marked=True)))
    assert shown.ids == (last,)
    hidden = gallery.search(Query(photos=photo, liked=(last,), filters=Filters(marked=False)), k=24)
    assert last not in hidden.ids
    assert len(hidden) == 23


@pytest.mark.parametrize(("query", "error"), [(Query(), "nothing to rank by"), (Query(liked=(99,)), "no item 99")])
def test_what_cannot_be_searched_is_refused(gallery, crops, query, error):
    gallery.index(crops)
    with pytest.raises(UsageError, match=error):
        gallery.search(query)


def test_searching_an_earlier_snapshot(gallery, crops):
    gallery.index(crops / "cam0")
    old = gallery.snapshot()
    gallery.index(crops / "cam1")
    query = Query(photos=str(crops / "cam1" / "p005.png"))
    assert gallery.search(query, k=50, snapshot=old).total == 12
    assert gallery.search(query, k=50).total == 24


def test_opening_a_gallery_needs_no_torch(gallery, crops):
    import subprocess
    import sys

    gallery.index(crops)
    code = (
        f"import sys; from descry import Gallery; g = Gallery.open({str(gallery.path)!r}); "
        "assert len(g) == len(g.items(range(1, 25))) == 24 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("seconds", [2**40, -(2**40), 2**62 // 10**9 * 4])
def test_a_time_of_change_that_no_database_holds_ends_nothing(gallery, tmp_path, seconds):
    from descry.gallery.contract import EARLIEST, LATEST

    path = draw(tmp_path / "crops" / "a.png", 1)
    try:
        os.utime(path, (seconds, seconds))
    except OverflowError:
        pytest.skip("the system has no such time")
    sources = Sources(time="mtime")
    report = gallery.index(tmp_path / "crops", sources=sources)
    assert (report.added, report.skipped) == (1, [])
    held = path.stat().st_mtime_ns
    item = next(gallery.listed())
    assert item.mtime == max(EARLIEST, min(LATEST, held))
    assert (item.time is None) == (not EARLIEST < held < LATEST)
    assert gallery.index(tmp_path / "crops", sources=sources).encoded == 0


def test_vectors_of_an_encoder_that_is_not_exact_stay_by_themselves(crops, model, tmp_path):
    import copy

    from descry.gallery.merge import merge

    coarse = copy.copy(model)
    coarse.inexact = "int8"
    for first, then in ((coarse, model), (model, coarse)):
        place = tmp_path / getattr(first, "inexact", "exact")
        with Gallery.create(place, first) as made:
            made.index(crops)
            made.index(crops)
        draw(crops / f"new-{place.name}.png", 99)
        with Gallery.open(place, then) as opened, pytest.raises(IndexMismatch, match="their vectors do not compare"):
            opened.index(crops)
        with Gallery.open(place, first) as opened:
            assert opened.index(crops).added == 1
    with pytest.raises(IndexMismatch, match="int8 and"):
        merge([tmp_path / "int8", tmp_path / "exact"], tmp_path / "both")
    assert merge([tmp_path / "int8"], tmp_path / "one")
    with Gallery.open(tmp_path / "one", model) as opened:
        draw(crops / "more.png", 97)
        with pytest.raises(IndexMismatch, match="int8"):
            opened.index(crops)


def test_galleries_that_contradict_each_other_are_not_merged(crops, model, tmp_path):
    from descry.gallery.merge import merge

    for name, camera in (("a", "north"), ("b", "south")):
        (tmp_path / f"{name}.csv").write_text(f"path,camera\n{next(crops.rglob('*.png')).name},{camera}\n")
        with Gallery.create(tmp_path / name, model) as made:
            made.index(crops, sources=Sources(table=str(tmp_path / f"{name}.csv")), shard=(1, 1))
    with pytest.raises(UsageError, match=r"another camera, time or track in two galleries .*north.*south"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert not (tmp_path / "both").exists()
