"""The ledger: one JSON line for every finished run or result, never rewritten. What a table says, a line here says
first.

A user's runs write into their run folder only; `results/ledger.jsonl` of the project holds its own reference runs.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import DataError, UsageError, nearest
from ..safe_files import json_of
from ..tabular import lines_of, read_text

FORMAT = 1
SCALES = ("smoke", "small", "full", "own")


@dataclass(frozen=True)
class Entry:
    """One row of one table with one seed.

    table, row: where it stands. scale: "smoke" claims nothing, "small" is synthetic people, "full" the paper's data,
    "own" a user's evaluation, which no table of ours shows. figures: what was asked ("text", "sketch+text early",
    "cost") → measure → value, metrics in percent. intervals: the same keys → measure → (low, high), 95 %. data: name →
    fingerprint. config: hyper-parameters as they were. selection: by what the epoch was chosen. seconds: wall time of
    the run. at: UTC, ISO 8601.
    """

    table: str
    row: str
    scale: str
    seed: int
    figures: Mapping[str, Mapping[str, float]]
    split: str
    selection: str
    data: Mapping[str, str]
    command: str
    intervals: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    synthetic: bool = True
    commit: str = ""
    version: str = __version__
    hardware: str = ""
    seconds: float = 0.0
    at: str = ""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What a later line of the same key replaces in tables."""
        return self.table, self.row, self.scale, self.seed


def append(path: Path, entry: Entry) -> None:
    """Add one line, whole or not at all. Raises UsageError for an unknown scale or a value that JSON cannot hold."""
    if entry.scale not in SCALES:
        raise UsageError(f"there is no scale {entry.scale!r}; {nearest(entry.scale, SCALES)}")
    try:
        line = json.dumps({"format": FORMAT} | asdict(entry), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the ledger holds plain finite values only: {error}") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        file.write(line.encode() + b"\n")  # one write: two processes that append do not mix their lines
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Entry]:
    """All lines, oldest first; none where there is no file. Raises DataError, naming the line that cannot be read."""
    if not path.is_file():
        return []
    entries = []
    for number, line in enumerate(lines_of(read_text(path)), 1):
        if not line.strip():
            continue
        try:
            held = json_of(line)
            if held.pop("format") != FORMAT:
                raise DataError(
                    f"{path}, line {number}: another format than {FORMAT}; install the version that wrote it"
                )
            entries.append(Entry(**held))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}, line {number} is not a ledger line ({error}); restore the file from version control"
            ) from None
    return entries


def latest(entries: Iterable[Entry], table: str = "", scale: str = "") -> list[Entry]:
    """The last line of every key, in the order in which the keys first came."""
    kept: dict[tuple[str, str, str, int], Entry] = {}
    for entry in entries:
        if (not table or entry.table == table) and (not scale or entry.scale == scale):
            kept[entry.key] = entry
    return list(kept.values())


def now() -> str:
    """UTC to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def hardware(threads: int = 0, device: str = "") -> str:
    """The machine in words: a GPU's name, or the processor and how many threads were used."""
    cores = f"{threads or os.cpu_count()} of {os.cpu_count()} threads"
    return device or f"{platform.processor() or platform.machine()}, {cores}"


def own_commit() -> str:
    """The commit of the checkout that runs; "" for an installed package."""
    root = Path(__file__).resolve().parents[3]
    return commit(root) if (root / "src" / "descry").is_dir() else ""


def commit(folder: Path) -> str:
    """The commit that a checkout stands at, read from its .git; "" where there is none."""
    for root in (folder.resolve(), *folder.resolve().parents):
        git = root / ".git"
        if git.is_file():  # of `git worktree`, or of a submodule: it says where its own folder is
            git = root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        if not (git / "HEAD").is_file():
            continue
        said = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not said.startswith("ref: "):
            return said
        name = said.removeprefix("ref: ")
        shared = git / "commondir"
        common = git / shared.read_text(encoding="utf-8").strip() if shared.is_file() else git
        loose = common / name
        if loose.is_file():
            return loose.read_text(encoding="utf-8").strip()
        packed = common / "packed-refs"
        lines = packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else []
        return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "")
    return ""
