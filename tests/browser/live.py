"""A real server on a real port, in a thread, that can be stopped and started again."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from descry.gallery import Gallery
from descry.images import UPLOAD, read
from descry.web.api.items import kept
from descry.web.app import create_app
from descry.web.desk import Desk
from descry.web.limits import LIMITS
from descry.web.safety import Tokens
from served import toy_model


class Live:
    """Serves a gallery folder on 127.0.0.1. example: a sketch file that the page offers to start from. folders: those
    that may be indexed."""

    def __init__(self, folder: Path, example: Path | None = None, model: Any = None, folders: Sequence[Path] = ()):
        self.folder, self.example, self.folders, self.port = folder, example, folders, 0
        self.model = model or toy_model()
        self.start()

    def start(self) -> None:
        self.gallery = Gallery.open(self.folder, self.model)
        self.tokens = Tokens.beside(self.folder)
        self.desk = Desk(self.gallery, replace(LIMITS, searches_per_minute=6000, burst=500), self.folders)
        if self.example:
            asset = kept(self.desk, read(self.example, UPLOAD))
            self.desk.example = {"asset": asset.id, "words": "a red jacket"}
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", self.port))
        self.port = self.socket.getsockname()[1]
        names = frozenset({f"127.0.0.1:{self.port}"})
        app = create_app(self.desk, self.tokens, lambda: names)
        self.server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", log_config=None, ws="none", timeout_graceful_shutdown=1)
        )
        self.desk.ending = lambda: self.server.should_exit
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while not (self.server.started and self.desk.loaded):
            time.sleep(0.02)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(60)
        self.socket.close()
        self.gallery.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def link(self) -> str:
        return f"{self.address}#token={self.tokens.make()}"
