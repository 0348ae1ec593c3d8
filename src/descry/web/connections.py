"""Connections are bounded: one that asks nothing is closed after a while, or sooner where another needs its place."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from .limits import Limits


def bounded(limits: Limits) -> Any:
    """A protocol class for uvicorn. limits: `connections` and `idle_seconds`."""
    waiting: dict[Any, None] = {}  # those between two requests, the longest idle first

    class Bounded(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
        """An HTTP connection that has a limited time until its next request is complete."""

        _end: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()
            while len(self.connections) > limits.connections and waiting:
                oldest = next(iter(waiting))
                oldest._leave()
                self.connections.discard(oldest)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._busy():
                self._go()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self._busy() and not self.transport.is_closing():
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._go()
            super().connection_lost(exc)

        def _busy(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _wait(self) -> None:
            self._go()
            waiting[self] = None
            self._end = self.loop.call_later(limits.idle_seconds, self._leave)

        def _go(self) -> None:
            waiting.pop(self, None)
            if self._end is not None:
                self._end.cancel()
                self._end = None

        def _leave(self) -> None:
            self._go()
            self.transport.close()

    return Bounded
