"""Killed at any moment: a gallery is whole or not there, and the same command can be given again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from descry.errors import DescryError
from descry.gallery import Gallery, conversion, merge
from descry.gallery.local import LocalStore
from descry.gallery.upkeep import relocate
from descry.interact.rounds import Inquiry
from descry.interact.store import InquiryStore
from descry.purge import finish, pending, run
from descry.purge import plan as planned
from descry.query import Query
from descry_stores.migrate import migrate
from forked import child, ended, forks

from .plain_model import PlainModel, binding, draw, entries, unit_rows

pytestmark = forks


def killed(
    work: Callable[[], object], kills: int, seed: int, begin: Callable[[], None], look: Callable[[], None]
) -> None:
    """Kill the work in a forked process at moments spread over its whole length, and look at what is left. The length
    follows the work, which is quicker or slower as other programs leave it the processor."""
    begin()
    start = time.monotonic()
    assert ended(child(work)) == 0
    length, rng = time.monotonic() - start, random.Random(seed)
    for _ in range(kills):
        begin()
        pid = child(work)
        pause = rng.uniform(0.0, 1.1 * length)
        time.sleep(pause)
        os.kill(pid, signal.SIGKILL)
        length = max(length, pause) if ended(pid) < 0 else min(length, pause)
        look()


def many(short: int, long: int) -> pytest.MarkDecorator:
    """Few kills in every run, the full number in the long form."""
    return pytest.mark.parametrize("kills", [short, pytest.param(long, marks=pytest.mark.long)])


def shard(folder: Path, start: int, count: int) -> Path:
    """A gallery of so many items."""
    store = LocalStore.create(folder, binding())
    store.add(entries(count, start=start), unit_rows(count, seed=start))
    store.close()
    return folder


@many(4, 50)
def test_a_merge_is_whole_or_not_there(tmp_path, monkeypatch, kills) -> None:
    monkeypatch.setattr(merge, "STEP", 32)
    parts = [shard(tmp_path / "a", 0, 300), shard(tmp_path / "b", 1000, 300)]
    out = tmp_path / "out"

    def look() -> None:
        if out.exists():
            store = LocalStore(out)
            assert store.count() == 600
            assert store.verify() == []
            store.close()
        else:
            with pytest.raises(DescryError):
                LocalStore(out)
            assert merge.merge(parts, out) == 600

    killed(lambda: merge.merge(parts, out), kills, 1, lambda: shutil.rmtree(out, ignore_errors=True), look)
    assert not (tmp_path / "out.partial").exists()


@many(4, 40)
def test_a_conversion_is_whole_or_not_there(tmp_path, kills) -> None:
    with zipfile.ZipFile(Path(__file__).with_name("format1.zip")) as archive:
        archive.extractall(tmp_path / "old")
    old = next(p.parent for p in (tmp_path / "old").rglob("gallery.json"))
    out = tmp_path / "new"
    whole = conversion.convert(old, out)

    def look() -> None:
        if out.exists():
            store = LocalStore(out)
            assert store.count() == whole.items
            assert store.verify() == []
            store.close()
        else:
            assert conversion.convert(old, out) == whole

    killed(lambda: conversion.convert(old, out), kills, 2, lambda: shutil.rmtree(out, ignore_errors=True), look)


@many(6, 60)
def test_a_creation_that_was_killed_is_gone_on_with(tmp_path, kills) -> None:
    out = tmp_path / "g"

    def look() -> None:
        if (out / "gallery.json").exists():
            LocalStore(out).close()
        else:
            with pytest.raises(DescryError):
                LocalStore(out)
            made = LocalStore.create(out, binding())
            made.add(entries(2), unit_rows(2))
            assert made.verify() == []
            made.close()

    killed(lambda: LocalStore.create(out, binding()), kills, 3, lambda: shutil.rmtree(out, ignore_errors=True), look)


def test_a_folder_with_a_database_of_somebody_is_not_taken_for_a_creation(tmp_path) -> None:
    folder = shard(tmp_path / "g", 0, 3)
    (folder / "gallery.json").unlink()
    with pytest.raises(DescryError, match="not empty"):
        LocalStore.create(folder, binding())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    with pytest.raises(DescryError, match="not empty"):
        LocalStore.create(tmp_path / "other", binding())
    assert (tmp_path / "other" / "letter.txt").read_text() == "mine"


@many(4, 50)
def test_a_relocation_moves_all_or_nothing(tmp_path, kills) -> None:
    pictures = tmp_path / "there"
    for i in range(40):
        draw(pictures / f"{i:02d}.png", i)
    sound, work = tmp_path / "sound", tmp_path / "g"
    with Gallery.create(sound, PlainModel()) as gallery:
        gallery.index(pictures)
    moved = tmp_path / "moved"
    shutil.copytree(pictures, moved)

    def begin() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(sound, work)

    def move() -> None:
        store = LocalStore(work)
        relocate(store, pictures, moved)
        store.close()

    def look() -> None:
        store = LocalStore(work)
        roots = {os.path.dirname(item.path) for item in store.items(store.snapshot().ids)}
        assert roots in ({str(pictures)}, {str(moved)})
        assert store.count() == 40
        assert store.verify() == []
        store.close()

    killed(move, kills, 4, begin, look)


@many(3, 50)
def test_a_migration_says_that_it_is_unfinished_until_it_is_whole(tmp_path, monkeypatch, kills) -> None:
    """Killed at any moment, it can be repeated; until then the store is not there, or says what it lacks."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (pip install -e '.[milvus]')")
    monkeypatch.setattr(merge, "STEP", 16)
    here, file = shard(tmp_path / "here", 0, 60), tmp_path / "there" / "m.db"
    there = f"milvus:{file}#g"
    seen = {"not there": 0, "unfinished": 0, "whole": 0}

    def begin() -> None:
        shutil.rmtree(file.parent, ignore_errors=True)
        file.parent.mkdir()

    def whole() -> None:
        """In a process of its own: the engine's threads are no company for a fork."""
        try:
            with Gallery.open(there) as distant:
                state = "unfinished" if distant.info()["unfinished"] else "whole"
                assert state == "unfinished" or len(distant) == 60
        except DescryError:
            state = "not there"
        assert migrate(here, there).total == 60
        with Gallery.open(there) as distant:
            assert (len(distant), distant.info()["unfinished"]) == (60, False)
        (tmp_path / "state").write_text(state)

    def look() -> None:
        assert ended(child(whole)) == 0
        seen[(tmp_path / "state").read_text()] += 1

    killed(lambda: migrate(here, there), kills, 6, begin, look)
    print(seen)
    assert seen["unfinished"] or kills < 50


@many(4, 60)
def test_a_purge_is_done_or_was_not_begun_and_can_be_finished(tmp_path, kills) -> None:
    sound, work, secret = tmp_path / "sound", tmp_path / "g", "kingfisher"
    for i in range(20):
        draw(tmp_path / "crops" / f"{i:02d}.png", i)
    with Gallery.create(sound, PlainModel()) as gallery:
        gallery.index(tmp_path / "crops")
        inquiry = Inquiry("x")
        for i in range(5):
            inquiry.add(query=Query(wanted=f"{secret} {i}"), change="said", results=((1, 0.5),))
        InquiryStore(gallery.store.database).save(inquiry)

    def begin() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(sound, work)

    def purge() -> None:
        with Gallery.open(work, PlainModel()) as opened:
            store = InquiryStore(opened.store.database)
            run(opened, store, planned(opened, store, ["x"], [1, 2, 3]))

    def look() -> None:
        waits = pending(work)
        with Gallery.open(work, PlainModel()) as opened:
            store = InquiryStore(opened.store.database)
            if store.names():
                assert len(opened) == 20
                assert not waits
                return
            assert len(opened) == 17
            finish(opened, store)
            assert opened.verify() == []
        assert not pending(work)
        assert not [p.name for p in work.iterdir() if secret.encode() in p.read_bytes()]

    killed(purge, kills, 5, begin, look)
