"""Progress on stderr: a bar with rate and ETA on a terminal, one line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EVERY = 10.0  # seconds between lines where there is no terminal


@contextmanager
def progress(what: str, total: int | None = None, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """`with progress("indexing", 5000) as tick: tick(done, note="3 skipped")`; total may also be given to tick."""
    with several(quiet, what, total) as tick:
        yield lambda done, total=total, note="": tick(what, done, total, note)


@contextmanager
def several(quiet: bool = False, *first: Any) -> Iterator[Callable[..., None]]:
    """`tick(what, done, total, note)` for works side by side. first: one that begins at once, and its total."""
    if quiet:
        yield lambda *said: None
    elif sys.stderr.isatty():
        with _bars(*first) as tick:
            yield tick
    else:
        yield _lines(*first)


@contextmanager
def _bars(*first: Any) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    from ..escape import behind, line

    whole = Column(no_wrap=True)
    rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)  # the note alone gives way in a narrow terminal
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=whole),
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", markup=False, table_column=rest),
    )
    with Progress(*columns, console=Console(file=behind(sys.stderr)), expand=True) as bars:
        tasks = {first[0]: bars.add_task(line(first[0]), total=first[1], note="")} if first else {}
        rate = _rate()

        def tick(what: str, done: float, total: float | None = None, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(line(what), total=total, note="")
            speed = rate(what, done)
            said = line(f"{speed:.1f}/s {note}" if speed else note)
            bars.update(tasks[what], completed=round(done), total=total and round(total), note=said)

        yield tick


def span(seconds: float) -> str:
    """A time for people.

    >>> span(42), span(95), span(9527)
    ('42 s', '2 min', '2 h 39 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _rate() -> Callable[[str, float], float]:
    """(what, done) → how many a second since the first call for it, 0 while that is not known. What was done before the
    first call, and the time it took (loading a model, resuming a run), say nothing about the rest.
    """
    begun: dict[str, tuple[float, float]] = {}

    def rate(what: str, done: float) -> float:
        now = time.monotonic()
        at, first = begun.setdefault(what, (now, done))
        return (done - first) / max(1e-6, now - at)

    return rate


def _lines(*first: Any) -> Callable[..., None]:
    told, rate = dict.fromkeys(first[:1], time.monotonic()), _rate()

    def tick(what: str, done: float, total: float | None = None, note: str = "") -> None:
        now, speed = time.monotonic(), rate(what, done)
        if now - told.setdefault(what, now) < EVERY:
            return
        told[what] = now
        said = [f"{what}: {done:.0f}{f'/{total:.0f}' if total else ''}"]
        if speed:
            said += [f"{speed:.1f}/s", *([f"{span((total - done) / speed)} left"] if total else [])]
        print(f"{', '.join(said)} {note}".rstrip(), file=sys.stderr, flush=True)

    return tick
