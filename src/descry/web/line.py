"""A line: work waits in it for a few threads, in the order asked; who finds it full is told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .limits import Limits
from .problems import Refusal


class Line:
    """What waits for one kind of work. what: its name, in the plural. threads: how many are worked on at once. limits:
    how many may be in the line, and how long an answer may take.

    Threads stay once they were started, so that what belongs to a thread (a connection to the database) is bounded.

    waiting: how many are in it. refused: how many found it full.
    """

    def __init__(self, what: str, threads: int, limits: Limits):
        self.what, self.limits = what, limits
        self.waiting = self.refused = 0
        self._workers = ThreadPoolExecutor(threads, what)

    async def do(self, work: Callable[..., Any], *args: Any, patience: float = 0.0) -> Any:
        """Run it in a worker. patience: seconds it may take, else as the limits say. Raises Refusal 503 when the line
        is full, 504 when it takes too long."""
        if self.waiting >= self.limits.queue:
            self.refused += 1
            raise Refusal(503, "busy", f"{self.waiting} {self.what} are waiting; try again in a moment", retry_after=2)
        self.waiting += 1
        try:
            future = asyncio.wrap_future(self._workers.submit(work, *args))
            return await asyncio.wait_for(future, patience or self.limits.request_seconds)
        except TimeoutError:
            raise Refusal(504, "too_slow", "it took too long; try again, or ask for less at once") from None
        finally:
            self.waiting -= 1

    def close(self, last: Callable[[], Any] | None = None) -> None:
        """Finish what is being done; last: what is done after everything else."""
        if last is not None:
            self._workers.submit(last).result()
        self._workers.shutdown()
