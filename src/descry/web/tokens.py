"""Tokens: a time and a seal made with a secret, so that nothing has to be remembered about them.

The secret lies beside the gallery, readable by its owner alone, so that an open page survives a restart of the server.
A secret that came with a received gallery is not used: the file names its own inode, which no giver can know.

Three things open the API, and none of them stands for another: a token is shown as a Bearer by scripts; a cookie's
value is bound to the cookie's name, and so to the port; the code of an opening link is exchanged for a cookie once.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from ..safe_files import open_own

FILE = "page.key"
TOUCH = 300
"""Seconds between two notes that the secret is in use."""
SKEW = 120
"""Seconds that a token may seem to come from the future."""
CODES = 16
"""Links that wait to be opened."""


class Tokens:
    """Makes and checks tokens. secret: 32 bytes. hours: how long one holds. clock: seconds, for tests. file: where the
    secret is kept; its time of change says when it was last used."""

    def __init__(
        self, secret: bytes, hours: float = 12.0, clock: Callable[[], float] = time.time, file: Path | None = None
    ):
        self.secret, self.seconds, self.clock, self.file = secret, hours * 3600, clock, file
        self._touched = -float("inf")
        self._codes: dict[str, float] = {}
        self._guard = threading.Lock()
        self._used()

    @classmethod
    def beside(cls, folder: Path, hours: float = 12.0, clock: Callable[[], float] = time.time) -> Tokens:
        """With the secret of a gallery folder: a new one where there is none, or where it was unused too long."""
        path = folder / FILE
        secret = _kept(path, clock() - hours * 3600, clock() + SKEW)
        if secret:
            return cls(secret, hours, clock, path)
        try:
            path.unlink(missing_ok=True)
            secret = secrets.token_bytes(32)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secret + _place(os.fstat(file.fileno())))
        except OSError:  # a gallery that cannot be written: its pages end with the server
            return cls(secrets.token_bytes(32), hours, clock)
        return cls(secret, hours, clock, path)

    def make(self, use: str = "") -> str:
        """A token that holds from now on. use: the name of a cookie, of which it becomes the value and nothing else."""
        issued = format(int(self.clock()), "x")
        return f"{issued}.{self._seal(issued, use)}"

    def code(self) -> str:
        """A code for one opening link: `redeem` takes it once."""
        code = secrets.token_urlsafe(24)
        with self._guard:
            self._codes[code] = self.clock() + self.seconds
            while len(self._codes) > CODES:
                del self._codes[next(iter(self._codes))]
        return code

    def redeem(self, code: str) -> str:
        """ "ok" for a code that was not used before, or a token that holds; "expired" or "wrong"."""
        with self._guard:
            ends = self._codes.pop(code, None)
        if ends is not None:
            return "ok" if self.clock() <= ends else "expired"
        return "ok" if self.check(code) == "old" else self.check(code)

    def check(self, token: str, use: str = "") -> str:
        """ "ok", "old" (it holds, but should be renewed), "expired" or "wrong". use: as in `make`."""
        issued, _, seal = token.partition(".")
        if len(token) > 200 or not token.isascii() or not hmac.compare_digest(seal, self._seal(issued, use)):
            return "wrong"
        age = self.clock() - int(issued, 16)
        if age > self.seconds or age < -SKEW:
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

    def _seal(self, issued: str, use: str) -> str:
        return hmac.new(self.secret, f"{use} {issued}".strip().encode(), sha256).hexdigest()


def _kept(path: Path, since: float, until: float) -> bytes:
    """The secret of a file that this machine wrote, that its owner alone can read and that was in use lately; else
    nothing."""
    try:
        with open(open_own(path, os.O_RDONLY), "rb") as file:
            found, data = os.fstat(file.fileno()), file.read(64)
    except OSError:
        return b""
    private = os.name == "nt" or not stat.S_IMODE(found.st_mode) & 0o077
    whole = len(data) == 48 and data[32:] == _place(found)
    return data[:32] if private and whole and since < found.st_mtime <= until else b""


def _place(found: os.stat_result) -> bytes:
    return (found.st_dev % 2**64).to_bytes(8, "big") + (found.st_ino % 2**64).to_bytes(8, "big")
