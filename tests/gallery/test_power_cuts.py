"""The power fails at any moment: what was acknowledged is there, and what is there is whole.

A preloaded library notes every write, sync, truncation and change of a name, in order. Each cut replays them up to a
moment: what was synced is kept; of what was not, any sectors of 512 bytes may be there and others not, and names may
have changed or not, in order.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from descry.gallery.account import Audit
from descry.gallery.local import LocalStore
from descry.interact.rounds import Inquiry
from descry.interact.store import InquiryStore
from descry.query import Query

from .plain_model import binding, entries, unit_rows

SECTOR = 512
SAID = "acknowledged"
"""The file in which the workload says what it was told is done."""


def work(folder: str, steps: int, seed: int) -> None:
    """Rounds, items, deletions, compactions, closing and opening again; after each what stands is written down."""
    place, rng, number = Path(folder), random.Random(seed), 1000
    said = os.open(place.parent / SAID, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    store = LocalStore(place)
    inquiries = InquiryStore(store.database)
    inquiry = inquiries.load("x")
    for step in range(steps):
        what = rng.choice(["round", "round", "round", "add", "delete", "compact", "finding", "reopen", "fold"])
        if what == "round":
            inquiry.add(query=Query(wanted=f"red {step}"), change="said", results=((1, 0.5),))
            inquiries.save(inquiry)
        elif what == "add":
            store.add(entries(5, start=number), unit_rows(5, seed=step))
            number += 5
        elif what == "delete":
            store.delete(store.snapshot().ids[-2:].tolist())
        elif what == "compact":
            store.compact()
        elif what == "fold":
            store.database.fold()
        elif what == "reopen":
            store.close()
            store = LocalStore(place)
            inquiries = InquiryStore(store.database)
            inquiry = inquiries.load("x")
        else:
            from descry.interact.store import Finding

            inquiries.find("x", Finding(1, "worth following", f"note {step}"))
        state = store.database.state()
        held = {"rounds": sorted(inquiry.rounds), "lines": state.lines, "last": state.last, "commits": state.commits}
        os.write(said, (json.dumps(held) + "\n").encode())
    store.close()


@dataclass
class Inode:
    """A file: what is on the disk, and what was written since and not synced."""

    kept: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data), or (length, None) for a truncation."""


class Disk:
    """What a disk holds after each event, and what it may hold when the power fails then."""

    def __init__(self, start: Path):
        self.names = {str(p): Inode(bytearray(p.read_bytes())) for p in start.iterdir() if p.is_file()}
        self.kept = dict(self.names)
        self.waiting: list[tuple[str, str, Inode | None]] = []
        """(path, new path or "", file): changes of names that are not synced."""
        self.said = b""

    def happen(self, what: str, path: str, at: int, data: bytes) -> None:
        """One event of the record."""
        if Path(path).name == SAID:
            self.said += data
        elif what == "s":
            if path in self.names:
                self._settle(self.names[path])
            else:  # a folder
                for name in self.waiting:
                    self._rename(self.kept, *name)
                self.waiting.clear()
        elif what == "c":
            self._name(path, "", Inode())
        elif what == "u":
            self._name(path, "", None)
        elif what == "r":
            self._name(path, data.decode(), None)
        elif path in self.names:
            self.names[path].waiting.append((at, data if what == "w" else None))

    def _name(self, path: str, to: str, file: Inode | None) -> None:
        self._rename(self.names, path, to, file)
        self.waiting.append((path, to, file))

    @staticmethod
    def _rename(names: dict[str, Inode], path: str, to: str, file: Inode | None) -> None:
        if to:
            if path in names:
                names[to] = names.pop(path)
        elif file is None:
            names.pop(path, None)
        else:
            names[path] = file

    @staticmethod
    def _settle(file: Inode) -> None:
        for at, data in file.waiting:
            Disk._write(file.kept, at, data)
        file.waiting.clear()

    @staticmethod
    def _write(held: bytearray, at: int, data: bytes | None) -> None:
        if data is None:
            del held[at:]
            held.extend(bytes(max(0, at - len(held))))
        else:
            held.extend(bytes(max(0, at - len(held))))
            held[at : at + len(data)] = data

    def cut(self, to: Path, rng: random.Random) -> None:
        """A folder as it may be found when the power is there again."""
        names = dict(self.kept)
        for name in self.waiting[: rng.randint(0, len(self.waiting))]:
            self._rename(names, *name)
        share = rng.choice([0.0, 0.5, 0.9, 1.0])
        for path, file in names.items():
            held = bytearray(file.kept)
            for at, data in file.waiting:
                if data is None:
                    if rng.random() < share:
                        self._write(held, at, None)
                    continue
                start = 0
                while start < len(data):
                    end = min(len(data), start + SECTOR - (at + start) % SECTOR)
                    if rng.random() < share:
                        self._write(held, at + start, data[start:end])
                    start = end
            (to / Path(path).name).write_bytes(held)


def events(log: Path):
    """What the library noted."""
    data, at = log.read_bytes(), 0
    while at < len(data):
        what = chr(data[at])
        path, offset, size = struct.unpack_from("<3q", data, at + 1)
        at += 25
        yield what, data[at : at + path].decode(), offset, data[at + path : at + path + size]
        at += path + size


def recorded(tmp_path: Path, steps: int, seed: int) -> tuple[Path, Path]:
    """A gallery before the work, and the record of the work."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler to note the writes below SQLite")
    library, place, log = tmp_path / "record.so", tmp_path / "disk" / "g", tmp_path / "log"
    source = Path(__file__).with_name("record_writes.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"], check=True)
    place.parent.mkdir()
    store = LocalStore.create(place, binding())
    store.add(entries(12), unit_rows(12))
    inquiry = Inquiry("x")
    inquiry.add(query=Query(wanted="red"), change="said", results=((1, 0.5),))
    InquiryStore(store.database).save(inquiry)
    store.close()
    shutil.copytree(place, tmp_path / "before")
    here = Path(__file__).parents[1]
    environment = os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": f"{here}:{os.pathsep.join(sys.path)}"}
    environment |= {"RECORD_TO": str(log), "RECORD_BELOW": str(place.parent)}
    code = f"import gallery.test_power_cuts as t; t.work({str(place)!r}, {steps}, {seed})"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return place, log


def cut_often(tmp_path: Path, steps: int, cuts: int, seed: int) -> dict[str, int]:
    """Replay the record, cut the power so often, and look at what is left; what was looked at."""
    place, log = recorded(tmp_path, steps, seed)
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "before", place)
    disk, rng, noted = Disk(place), random.Random(seed), list(events(log))
    moments = sorted(rng.choices(range(len(noted) + 1), k=cuts))
    seen = {"cuts": 0, "syncs": sum(what == "s" for what, *_ in noted), "writes": len(noted), "rounds": 0, "lines": 0}
    for n in range(len(noted) + 1):
        while moments and moments[0] == n:
            moments.pop(0)
            left = tmp_path / "left"
            shutil.rmtree(left, ignore_errors=True)
            left.mkdir()
            disk.cut(left, rng)
            said = [json.loads(line) for line in disk.said.splitlines()]
            looked_at(left, said[-1] if said else {"rounds": [1], "lines": 1, "last": "", "commits": 1}, seen)
        if n < len(noted):
            disk.happen(*noted[n])
    return seen


def looked_at(left: Path, said: dict, seen: dict[str, int]) -> None:
    """Nothing acknowledged is lost, and what is there is whole."""
    store = LocalStore(left)
    try:
        state = store.database.check_head()
        assert state.commits >= said["commits"]
        assert store.verify() == []
        inquiries = InquiryStore(store.database)
        rounds = set(inquiries.load("x").rounds)
        assert set(said["rounds"]) <= rounds
        assert len(rounds) - len(said["rounds"]) <= 1
        verdict = Audit(store.database).verify(f"{said['lines']}:{said['last']}" if said["last"] else "")
        assert verdict.ok
        assert verdict.lines >= said["lines"]
        store.add(entries(1, start=99_000), unit_rows(1))
        assert store.verify() == []
    finally:
        store.close()
    seen["cuts"] += 1
    seen["rounds"] += len(said["rounds"])
    seen["lines"] += said["lines"]


def test_30_power_cuts_lose_nothing_that_was_acknowledged(tmp_path):
    seen = cut_often(tmp_path, 25, 30, seed=0)
    assert seen["cuts"] == 30
    assert seen["syncs"] > 25


@pytest.mark.long
def test_1000_power_cuts_lose_nothing_that_was_acknowledged(tmp_path, capsys):
    seen = cut_often(tmp_path, 300, 1000, seed=1)
    with capsys.disabled():
        print(f"\n1000 power cuts: {seen}")
    assert seen["cuts"] == 1000
