"""Tokens: a time and a seal made with a secret, so that nothing has to be remembered about them.

The secret lies beside the gallery, readable by its owner alone, so that an open page survives a restart of the server.
Whoever can read it can read the gallery anyway.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

FILE = "page.key"
TOUCH = 300
"""Seconds between two notes that the secret is in use."""


class Tokens:
    """Makes and checks tokens. secret: 32 bytes. hours: how long one holds. clock: seconds, for tests. file: where the
    secret is kept; its time of change says when it was last used."""

    def __init__(
        self, secret: bytes, hours: float = 12.0, clock: Callable[[], float] = time.time, file: Path | None = None
    ):
        self.secret, self.seconds, self.clock, self.file = secret, hours * 3600, clock, file
        self._touched = -float("inf")
        self._used()

    @classmethod
    def beside(cls, folder: Path, hours: float = 12.0, clock: Callable[[], float] = time.time) -> Tokens:
        """With the secret of a gallery folder: a new one where there is none, or where it was unused too long."""
        path = folder / FILE
        if path.is_file() and clock() - path.stat().st_mtime < hours * 3600:
            secret = path.read_bytes()
            if len(secret) == 32:
                return cls(secret, hours, clock, path)
        path.unlink(missing_ok=True)
        secret = secrets.token_bytes(32)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
        return cls(secret, hours, clock, path)

    def make(self) -> str:
        """A token that holds from now on."""
        issued = format(int(self.clock()), "x")
        return f"{issued}.{self._seal(issued)}"

    def check(self, token: str) -> str:
        """ "ok", "old" (it holds, but should be renewed), "expired" or "wrong"."""
        issued, _, seal = token.partition(".")
        if not token.isascii() or not hmac.compare_digest(seal, self._seal(issued)):
            return "wrong"
        age = self.clock() - int(issued, 16)
        if age > self.seconds:
            return "expired"
        self._used()
        return "old" if age > self.seconds / 24 else "ok"

    def _used(self) -> None:
        """Note at the secret, once in some minutes, that it is in use."""
        now = self.clock()
        if self.file is not None and now - self._touched >= TOUCH:
            self._touched = now
            with suppress(OSError):  # purged with the gallery, or kept where nothing can be written
                os.utime(self.file, (now, now))

    def _seal(self, issued: str) -> str:
        return hmac.new(self.secret, issued.encode(), sha256).hexdigest()
