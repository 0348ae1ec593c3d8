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
from hashlib import sha256
from pathlib import Path

FILE = "page.key"


class Tokens:
    """Makes and checks tokens. secret: 32 bytes. hours: how long one holds. clock: seconds, for tests."""

    def __init__(self, secret: bytes, hours: float = 12.0, clock: Callable[[], float] = time.time):
        self.secret, self.seconds, self.clock = secret, hours * 3600, clock

    @classmethod
    def beside(cls, folder: Path, hours: float = 12.0) -> Tokens:
        """With the secret of a gallery folder: a new one where there is none, or where it was unused too long."""
        path = folder / FILE
        if path.is_file() and time.time() - path.stat().st_mtime < hours * 3600:
            secret = path.read_bytes()
            if len(secret) == 32:
                os.utime(path)
                return cls(secret, hours)
        path.unlink(missing_ok=True)
        secret = secrets.token_bytes(32)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
        return cls(secret, hours)

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
        return "old" if age > self.seconds / 24 else "ok"

    def _seal(self, issued: str) -> str:
        return hmac.new(self.secret, issued.encode(), sha256).hexdigest()
