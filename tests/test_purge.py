"""After a purge no byte of what went is in the gallery's folder, also when it was killed on the way and finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import account
from account import NAME, NOTE, WORDS, ask, converse, crop, make, opened, sketch
from descry import purge, report, safe_files
from descry.errors import DescryError, Locked, UsageError
from descry.gallery import Gallery
from descry.gallery import account as audit
from descry.gallery.account import ref_of
from descry.interact.store import Finding, InquiryStore
from descry.query import digest
from forked import child, ended, forks
from gallery.plain_model import PlainModel

PNG = 64  # bytes at either end of a PNG that all of them may share


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A gallery with two inquiries that share no picture; not to be written to."""
    root = tmp_path_factory.mktemp("made")
    with opened(make(root)) as (gallery, store):
        converse(gallery, store)
        ask(gallery, store, "another", sketches=sketch(8), wanted="a yellow hat")
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "gallery", tmp_path / "gallery")
    return tmp_path / "gallery"


def pieces(data: bytes, size: int = 12) -> list[bytes]:
    """Parts of some bytes, so that a half overwritten copy is found as well."""
    return [data[at : at + size] for at in range(0, len(data) - size, max(size, len(data) // 64))]


def secrets_of(folder: Path, name: str) -> dict[str, list[bytes]]:
    """What must not be found once the inquiry is gone, by kind."""
    with opened(folder) as (_, store):
        pictures = [p.value for r in store.load(name).rounds.values() for p in (*r.query.sketches, *r.query.photos)]
        texts = [p.value for r in store.load(name).rounds.values() for p in (*r.query.wanted, *r.query.unwanted)]
        key = store.key(name)
        notes = [f.note for f in store.findings(name)]
    digests = [digest(p) for p in pictures]
    return {
        "sketch": [piece for p in pictures for piece in pieces(p[PNG:-PNG])],
        "text": [t.encode() for t in {*texts, *notes, name}],
        "digest": [d.encode() for d in digests] + [bytes.fromhex(d) for d in digests],
        "key": [key, key.hex().encode()],
    }


def item_secrets(folder: Path, ids: list[int]) -> dict[str, list[bytes]]:
    """What must not be found once these items are gone."""
    with opened(folder) as (gallery, _):
        items, vectors = gallery.items(ids), gallery.store.vectors(ids)
    return {
        "vector": [piece for row in vectors for piece in pieces(row.tobytes())],
        "path": [os.path.basename(i.path).encode() for i in items],
        "digest": [d for i in items for d in (i.sha256.encode(), bytes.fromhex(i.sha256))],
    }


def found(folder: Path, secrets: dict[str, list[bytes]]) -> set[str]:
    """Which kinds of them are in any byte of the folder."""
    whole = b"\0".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())
    return {kind for kind, needles in secrets.items() if any(n in whole for n in needles)}


def test_an_inquiry_leaves_no_byte_and_the_others_everything(folder: Path) -> None:
    gone, stays = secrets_of(folder, NAME), secrets_of(folder, "another")
    assert found(folder, gone) == set(gone), "the search must be able to find"
    with opened(folder) as (gallery, store):
        ref = store.about(NAME).ref
        before = len(audit.Audit(folder).read())
        plan = purge.plan(gallery, store, [NAME])
        assert plan.to_json()["inquiries"] == [NAME]
        assert plan.findings == 2
        done = purge.run(gallery, store, plan)
        assert (done.inquiries, done.items, done.findings) == (1, 0, 2)
        assert store.names() == ["another"]
        assert found(folder, gone) == set(), "also while the files are open"
        report.export(gallery, store, "another", "html")
    files_of = {p.name for p in folder.iterdir()} - {"gallery.db-wal", "gallery.db-shm"}
    assert files_of == {
        *("gallery.json", "gallery.db", "head", "vectors.cache", "writer.lock"),
    }, "no thumbnail, report or journal stays"
    assert found(folder, gone) == set()
    assert found(folder, stays) == set(stays)
    verdict = audit.Audit(folder).verify(done.head)
    assert verdict.ok
    last = json.loads(audit.Audit(folder).read()[before:].splitlines()[0])
    assert (last["what"], last["inquiries"], last["findings"]) == ("purge", [ref], 2)
    with opened(folder) as (gallery, store):
        assert len(gallery) == 24
        assert not gallery.verify()
        assert len(store.load("another").rounds) == 1


def test_an_item_leaves_no_byte(folder: Path) -> None:
    with opened(folder) as (gallery, store):
        chosen = [f.item for f in store.findings(NAME)]
        kept = [i.id for i in gallery.listed() if i.id not in chosen]
    gone, stays = item_secrets(folder, chosen), item_secrets(folder, kept)
    assert found(folder, gone) == set(gone)
    with opened(folder) as (gallery, store):
        done = purge.run(gallery, store, purge.plan(gallery, store, items=chosen))
        assert (done.items, done.findings, done.still_on_disk) == (2, 2, 2)
        assert not gallery.store.held, "the writer's lock is given back"
        assert store.findings(NAME) == []
        assert found(folder, gone) == set()
        assert not gallery.verify()
        leads = report.preview(gallery, store, NAME)["rounds"][0]["leads"]
        assert {lead["state"] for lead in leads if lead["item"] in chosen} <= {"removed"}
    assert found(folder, gone) == set()
    assert found(folder, stays) == set(stays)
    assert audit.Audit(folder).verify().ok


def test_rounds_asked_with_a_picture_of_the_item_go_with_it(folder: Path) -> None:
    with opened(folder) as (gallery, store):
        item = next(iter(gallery.listed()))
        example = Path(item.path).read_bytes()
        session = ask(gallery, store, "by example", wanted="a green coat")
        session.ask(session.query.replace(photos=(account.Query(photos=example).photos)))
        session.refine("no hat")
        plan = purge.plan(gallery, store, items=[item.id])
        assert plan.rounds == (("by example", 2), ("by example", 3))
        gone = {"picture": pieces(example[PNG:-PNG]), "digest": [digest(example).encode()]}
        assert found(folder, gone) == set(gone)
        done = purge.run(gallery, store, plan)
        assert done.rounds == 2
        left = store.load("by example")
        assert (sorted(left.rounds), left.head, left.last) == ([1], 1, 3)
        assert len(store.load(NAME).rounds) == 3
        assert found(folder, gone) == set()
        with pytest.raises(UsageError, match="deleted meanwhile"):
            session.refine("no bag")


def test_everything_before_a_date(folder: Path) -> None:
    with opened(folder) as (gallery, store):
        ask(gallery, store, "old", wanted="an olive parka")
        ask(gallery, store, "done with", wanted="a teal scarf")
        store.keep_until("done with", date(2026, 3, 31))
        store._db.execute("UPDATE inquiries SET touched = '2026-11-04T10:00:00+00:00' WHERE name = 'old'")
        store._db.execute("INSERT INTO days VALUES ('2026-11-04', ?)", (bytes(32),))
        expired = purge.plan(gallery, store, expired_on=date(2026, 3, 31))
        assert expired.inquiries == (), "it is kept through its last day"
        assert purge.plan(gallery, store, expired_on=date(2026, 4, 1)).inquiries == ("done with",)
        plan = purge.plan(gallery, store, before=date(2026, 11, 5))
        assert (plan.inquiries, plan.days) == (("old",), 1)
        early = [i.id for i in gallery.listed() if i.time.date() < date(2026, 11, 5)]
        assert len(early) == 4
        assert list(plan.items) == early
        purge.run(gallery, store, plan)
        assert sorted(store.names()) == sorted([NAME, "another", "done with"])
        assert len(gallery) == 20
        assert store._db.execute("SELECT count(*) FROM days").fetchone() == (0,)


def test_a_plan_changes_nothing_and_refuses_what_is_not_there(folder: Path) -> None:
    account = len(audit.Audit(folder).read())
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with opened(folder) as (gallery, store):
        purge.plan(gallery, store, [NAME], [1], date(2027, 1, 1))
        with pytest.raises(UsageError, match="nothing was named"):
            purge.plan(gallery, store)
        with pytest.raises(UsageError, match="did you mean 'another'"):
            purge.plan(gallery, store, ["anothr"])
        with pytest.raises(UsageError, match="no item 999"):
            purge.plan(gallery, store, items=[1, 999])
        assert purge.finish(gallery, store) is None
    after = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert {n for n in before if before[n] != after.get(n)} <= {"gallery.db-shm"}
    assert len(audit.Audit(folder).read()) == account


def test_a_shared_picture_stays_while_one_inquiry_needs_it(folder: Path) -> None:
    with opened(folder) as (gallery, store):
        ask(gallery, store, "second look", sketches=sketch(), wanted="a brown bag")
        purge.run(gallery, store, purge.plan(gallery, store, [NAME]))
        assert {"sketch"} == found(
            folder, {"sketch": pieces(sketch()[PNG:-PNG]), "text": [WORDS.encode(), NOTE.encode()]}
        )
        purge.run(gallery, store, purge.plan(gallery, store, ["second look"]))
        assert not found(folder, {"sketch": pieces(sketch()[PNG:-PNG])})


def test_nothing_goes_while_the_gallery_is_written(folder: Path) -> None:
    with opened(folder) as (writer, _), opened(folder) as (gallery, store):
        writer.store.hold()
        with pytest.raises(Locked):
            purge.run(gallery, store, purge.plan(gallery, store, [NAME], [1]))
        assert not purge.pending(folder)
        assert NAME in store.names()
        writer.store.release()


def test_two_purges_wait_for_each_other(folder: Path, monkeypatch) -> None:
    real = purge._scrub

    def second(*args: object) -> None:
        with opened(folder) as (gallery, store), pytest.raises(Locked):
            purge.finish(gallery, store)
        real(*args)

    monkeypatch.setattr(purge, "_scrub", second)
    with opened(folder) as (gallery, store):
        assert purge.run(gallery, store, purge.plan(gallery, store, [NAME], [1])).inquiries == 1
    assert not purge.pending(folder)


def test_a_reader_that_keeps_old_pages_is_named_and_the_purge_finished_later(folder: Path, monkeypatch) -> None:
    gone = item_secrets(folder, [1])
    with opened(folder) as (reader, _), opened(folder) as (gallery, store):
        gallery.store.database.connection().execute("PRAGMA busy_timeout = 50")
        with reader.store.database.reading() as connection:
            connection.execute("SELECT count(*) FROM items").fetchone()
            with pytest.raises(Locked):
                purge.run(gallery, store, purge.plan(gallery, store, items=[1]))
        assert purge.pending(folder)
        done = purge.finish(gallery, store)
        assert done.items == 1
    assert not purge.pending(folder)
    assert found(folder, gone) == set()


@pytest.mark.parametrize(
    ("where", "begun"),
    [
        ("descry.purge.erase", False),
        ("descry.gallery.local.LocalStore.delete", False),
        ("descry.purge.add_line", False),
        ("descry.gallery.local.LocalStore.compact", True),
        ("descry.gallery.local.LocalStore._tidy", True),
        ("descry.gallery.database.Database.scrub", True),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_step_that_fails_is_done_again(folder: Path, monkeypatch, where: str, begun: bool, late: bool) -> None:
    """Before the commit nothing has happened; after it, only bytes are left to go."""
    with opened(folder) as (gallery, store):
        chosen = [f.item for f in store.findings(NAME)]
        gone = secrets_of(folder, NAME) | {f"item {k}": v for k, v in item_secrets(folder, chosen).items()}
        plan = purge.plan(gallery, store, [NAME], chosen)
        with monkeypatch.context() as patch:
            _failing(patch, where, late)
            with pytest.raises(DescryError):
                purge.run(gallery, store, plan)
        assert purge.pending(folder) == begun
        assert (NAME in store.names()) != begun
        assert len(gallery) == (22 if begun else 24)
    with opened(folder) as (gallery, store):
        done = purge.finish(gallery, store) or purge.run(gallery, store, purge.plan(gallery, store, [NAME], chosen))
        assert (done.inquiries, done.items, done.findings) == (1, 2, 2)
    _is_gone(folder, gone)


def _failing(patch: pytest.MonkeyPatch, where: str, late: bool) -> None:
    from importlib import import_module

    owner, _, name = where.rpartition(".")
    module, _, cls = owner.rpartition(".")
    holder = getattr(import_module(module), cls) if cls[0].isupper() else import_module(owner)
    real = getattr(holder, name)

    def failing(*args: object, **kwargs: object) -> object:
        if late:
            real(*args, **kwargs)
        raise DescryError("the disk is full")

    patch.setattr(holder, name, failing)


def _is_gone(folder: Path, gone: dict[str, list[bytes]]) -> None:
    assert not purge.pending(folder)
    assert found(folder, gone) == set()
    account = audit.Audit(folder)
    assert account.verify().ok
    assert account.read().decode().count('"what":"purge"') == 1, "said once, however often it was begun"
    with opened(folder) as (gallery, store):
        assert store.names() == ["another"]
        assert len(gallery) == 22
        assert not gallery.verify()


def dying(folder: Path, last: int, told: Path) -> None:
    """Purge, be killed before the `last`-th step, or write down how many there were: for a process of its own."""
    gallery, store = Gallery.open(folder), InquiryStore(folder)
    plan = purge.plan(gallery, store, [NAME], [f.item for f in store.findings(NAME)])
    steps = 0

    def step(*what: object) -> None:
        nonlocal steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def first(real: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **kwargs: Any) -> Any:
            step()
            return real(*args, **kwargs)

        return done

    safe_files.os_write, safe_files.os_fsync = first(os.write), first(os.fsync)
    os.replace, os.unlink = first(os.replace), first(os.unlink)
    Path.unlink = first(Path.unlink)
    gallery.store.database.connection().set_trace_callback(step)
    purge.run(gallery, store, plan)
    told.write_text(str(steps))


def killed(folder: Path, at: int) -> int:
    """Purge in a forked process that is killed before its `at`-th step; the number of steps, 0 when killed."""
    told = folder.with_name("steps")
    status = ended(child(lambda: dying(folder, at, told)))
    assert status in (0, -signal.SIGKILL)
    return 0 if status else int(told.read_text())


def _every(made: Path, tmp_path: Path, points: list[int]) -> None:
    with opened(made / "gallery") as (_, store):
        chosen = [f.item for f in store.findings(NAME)]
    gone = secrets_of(made / "gallery", NAME)
    gone |= {f"item {k}": v for k, v in item_secrets(made / "gallery", chosen).items()}
    for at in points:
        folder = tmp_path / str(at)
        shutil.copytree(made / "gallery", folder)
        assert killed(folder, at) == 0
        with opened(folder) as (gallery, store):
            if not purge.finish(gallery, store) and NAME in store.names():  # killed before the commit
                purge.run(gallery, store, purge.plan(gallery, store, [NAME], chosen))
        _is_gone(folder, gone)
        shutil.rmtree(folder)


@forks
def test_killed_anywhere_it_can_be_finished(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "gallery", tmp_path / "whole")
    steps = killed(tmp_path / "whole", 10**6)
    assert steps > 40
    _every(made, tmp_path, np.linspace(1, steps, 10).round().astype(int).tolist())


@pytest.mark.long
@forks
def test_killed_at_every_step_it_can_be_finished(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "gallery", tmp_path / "whole")
    _every(made, tmp_path, list(range(1, killed(tmp_path / "whole", 10**6) + 1)))


def test_everything_of_a_gallery_goes_and_nothing_else(folder: Path) -> None:
    (folder / "mine.txt").write_text("not descry's")
    with opened(folder) as (gallery, store):
        store.close()
        purge.everything(gallery)
    assert [p.name for p in folder.iterdir()] == ["mine.txt"]


def test_a_gallery_that_is_being_written_stays_whole(folder: Path) -> None:
    with opened(folder) as (writer, store), opened(folder) as (gallery, _):
        writer.store.hold()
        before = sorted(p.name for p in folder.iterdir())
        with pytest.raises(Locked):
            purge.everything(gallery)
        assert sorted(p.name for p in folder.iterdir()) == before
        assert NAME in store.names()


def test_what_was_searched_for_goes_before_the_gallery_does(folder: Path, monkeypatch) -> None:
    gone = secrets_of(folder, NAME)
    with opened(folder) as (gallery, store):
        store.close()
        with monkeypatch.context() as patch:
            _failing(patch, "descry.gallery.Gallery.erase", False)
            with pytest.raises(DescryError):
                purge.everything(gallery)
    assert found(folder, gone) == set()
    with Gallery.open(folder) as gallery:
        purge.everything(gallery)
    assert not folder.exists()


def test_items_that_are_deleted_from_a_gallery_are_purged(folder: Path) -> None:
    with opened(folder) as (gallery, store):
        item = store.findings(NAME)[0].item
        assert purge.items(gallery, {item, 10**6}) == 1
        assert purge.items(gallery, {item}) == 0
        assert len(store.findings(NAME)) == 1
    assert '"what":"purge"' in audit.Audit(folder).read().decode()


def test_the_refs_of_an_interrupted_purge_tell_nothing(folder: Path, monkeypatch) -> None:
    secrets = secrets_of(folder, NAME)
    with opened(folder) as (gallery, store):
        ref = ref_of(store.key(NAME))
        monkeypatch.setattr(purge, "_scrub", lambda *args: None)
        purge.run(gallery, store, purge.plan(gallery, store, [NAME]))
    assert purge.pending(folder)
    raw = audit.Audit(folder).read()
    assert ref.encode() in raw
    assert not any(needle in raw for needles in secrets.values() for needle in needles)


def test_a_finding_can_be_made_again_after_a_purge(folder: Path) -> None:
    with opened(folder) as (gallery, store):
        item = store.findings(NAME)[0].item
        purge.run(gallery, store, purge.plan(gallery, store, items=[item]))
        crop(folder.parent / "new", 99)
        gallery.index(folder.parent / "new", model=PlainModel())
        new = max(i.id for i in gallery.listed())
        assert new != item, "numbers of purged items are not given again"
        store.find(NAME, Finding(new, "set aside"))
        assert [f.item for f in store.findings(NAME)][-1] == new
        assert safe_files.read_sealed(folder / "gallery.json")
