"""Progress on stderr: a bar with rate and ETA on a terminal, one line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 10.0  # seconds between lines where there is no terminal


@contextmanager
def progress(what: str, total: int | None = None, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """`with progress("indexing", 5000) as tick: tick(done, note="3 skipped")`; total may also be given to tick."""
    if quiet:
        yield lambda done, total=None, note="": None
    elif sys.stderr.isatty():
        with _bar(what, total) as tick:
            yield tick
    else:
        yield _lines(what, total)


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[..., None]]:
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
    with Progress(*columns, console=Console(file=behind(sys.stderr)), expand=True) as bar:
        task = bar.add_task(what, total=total, note="")
        rate = _rate()

        def tick(done: int, total: int | None = total, note: str = "") -> None:
            speed = rate(done)
            bar.update(task, completed=done, total=total, note=line(f"{speed:.1f}/s {note}" if speed else note))

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


def _rate() -> Callable[[int], float]:
    """done → how many a second since the first call, 0 while that is not known. What was done before the first call,
    and the time it took (loading a model, resuming a run), say nothing about the rest.
    """
    begun, first = 0.0, -1

    def rate(done: int) -> float:
        nonlocal begun, first
        now = time.monotonic()
        if first < 0:
            begun, first = now, done
        return (done - first) / max(1e-6, now - begun)

    return rate


def _lines(what: str, total: int | None) -> Callable[..., None]:
    last, rate = time.monotonic(), _rate()

    def tick(done: int, total: int | None = total, note: str = "") -> None:
        nonlocal last
        now, speed = time.monotonic(), rate(done)
        if now - last < EVERY:
            return
        last = now
        said = [f"{what}: {done}{f'/{total}' if total else ''}"]
        if speed:
            said += [f"{speed:.1f}/s", *([f"{span((total - done) / speed)} left"] if total else [])]
        print(f"{', '.join(said)} {note}".rstrip(), file=sys.stderr, flush=True)

    return tick
