"""Start the server on this machine's own address, say where it is, open the browser, stop on Ctrl+C."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from html import escape
from pathlib import Path
from typing import Any

from ..errors import UsageError, install_hint
from ..escape import counted
from ..images import UPLOAD, read
from ..safe_files import address_of, write_private
from .limits import LIMITS, Limits

HOST = "127.0.0.1"
PORT = 8642


def serve(
    gallery: str | Path | Any,
    model: Any = None,
    browser: bool = True,
    port: int | None = None,
    tour: bool = False,
    example: tuple[str | Path, str] | None = None,
    limits: Limits = LIMITS,
    folders: Sequence[str | Path] = (),
) -> None:
    """Serve the page of one gallery until interrupted. gallery: a folder, or an open `descry.Gallery`. model: another
    way to its model. port: 0 for any free one; unless given, 8642 or, if that is taken, any. tour: begin with the
    guided tour. example: a sketch and words that the page offers to start from. folders: what may be indexed from the
    page, with all below; where any is named, a gallery that is not there is made, so that indexing can begin in the
    page.

    Raises UsageError where the extra "web" is not installed or the port is taken.
    """
    try:
        import uvicorn

        from .api.items import kept
        from .app import create_app
        from .desk import Desk
        from .safety import Tokens
    except ModuleNotFoundError as error:
        raise UsageError(f"the page needs {error.name}: {install_hint('web')}") from None
    from ..gallery import Gallery

    address = address_of(gallery.path if isinstance(gallery, Gallery) else gallery)
    if address.startswith("milvus"):
        raise UsageError(
            f"{address} is a Milvus store, which keeps no inquiries for a page; serve the local gallery that it was "
            "migrated from, or migrate that to PostgreSQL"
        )
    opened = gallery if isinstance(gallery, Gallery) else _opened(gallery, model, bool(folders))
    desk = Desk(opened, limits, folders)
    listener = _listener(port)
    address = f"{HOST}:{listener.getsockname()[1]}"
    tokens = Tokens.beside(opened.path, limits.token_hours)
    names = frozenset({address, address.replace(HOST, "localhost")})
    if example is not None:
        asset = kept(desk, read(Path(example[0]).read_bytes(), UPLOAD))
        desk.example = {"asset": asset.id, "words": example[1]}
    app = create_app(desk, tokens, lambda: names)
    link = f"http://{address}/#token={tokens.code()}{'&tour=1' if tour else ''}"
    logging.basicConfig(level=logging.WARNING, format="descry: %(message)s", stream=sys.stderr)
    config = uvicorn.Config(
        app, log_level="warning", log_config=None, access_log=False, server_header=False, timeout_keep_alive=30,
        limit_concurrency=4 * limits.connections, timeout_graceful_shutdown=3, ws="none", http=bounded(limits),
    )  # fmt: skip
    print(f"{counted(len(opened), 'crop')} of {address_of(opened.path) or opened.path}")
    print(f"the page: {link}")
    print(f"that link opens once; for scripts: http://{address}/#token={tokens.make()}")
    if opened.read_only:
        print("the gallery is read-only: rounds end with the server, and no line is written to the account")
    print("only this machine can reach it; Ctrl+C ends it", flush=True)
    server = uvicorn.Server(config)
    first = server.handle_exit

    def leave(number: int, frame: Any) -> None:
        if server.should_exit:  # a second Ctrl+C: what was committed is safe, what is being done is given up
            os._exit(130)
        first(number, frame)

    server.handle_exit = leave  # type: ignore[assignment, method-assign]
    desk.ending = lambda: server.should_exit
    with _opening(opened.path, link) as start:
        if browser and not webbrowser.open(start.as_uri()):
            print("no browser could be opened here; open the link above", file=sys.stderr)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            pass
        finally:
            listener.close()
            if opened is not gallery:
                opened.close()


@contextmanager
def _opening(folder: Path, link: str) -> Iterator[Path]:
    """A file that leads a browser to the link: others of this machine can read the command line of a browser, but not
    this file. It is gone when the server ends."""
    text = f'<!doctype html><title>descry</title><meta http-equiv="refresh" content="0;url={escape(link)}">'
    with ExitStack() as stack:
        path = folder / f"opening-{secrets.token_hex(8)}.html"
        try:
            write_private(path, text)
        except OSError:  # a gallery that cannot be written
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="descry-"))) / "opening.html"
            write_private(path, text)
        try:
            yield path.resolve()
        finally:
            path.unlink(missing_ok=True)


def _opened(folder: str | Path, model: Any, new: bool) -> Any:
    from ..gallery import Gallery

    if new and not address_of(folder) and not (Path(folder) / "gallery.json").exists():
        return Gallery.create(folder, model or "demo")
    return Gallery.open(folder, model)


def _listener(port: int | None) -> socket.socket:
    if port is not None and not 0 <= port <= 65_535:
        raise UsageError(f"port {port} was given; a port lies between 1 and 65535, and 0 takes any that is free")
    for wanted in (PORT, 0) if port is None else (port,):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((HOST, wanted))
            return made
        except OSError:
            made.close()
    raise UsageError(f"port {port} is taken or not allowed; choose another, or --port 0 for any that is free")


def bounded(limits: Limits) -> Any:
    """A protocol class for uvicorn whose connections are bounded: one that asks nothing is closed after a while, or
    sooner where another needs its place. limits: `connections` and `idle_seconds`."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

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
