"""One writer at a time. The operating system frees the lock when its process ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from .errors import Locked
from .safe_files import open_own

NAME = "writer.lock"


class WriterLock:
    """Held from construction to `release`. Raises Locked, naming the process that holds it. name: of the file, for
    another kind of work that one process does at a time."""

    def __init__(self, folder: Path, name: str = NAME):
        self.path, self._process = folder / name, os.getpid()
        self._fd = open_own(self.path)
        try:
            _lock(self._fd)
        except OSError:
            owner = _owner(self._fd)
            os.close(self._fd)
            raise Locked(
                f"{folder} is being written by {owner}; wait for it to end, or stop it; searching is possible meanwhile"
            ) from None
        with suppress(OSError):  # a full disk must not keep a purge from making room; the name is a courtesy
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.write(self._fd, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())

    def release(self) -> None:
        """Give the lock back; harmless when done twice.

        A process that was forked meanwhile has the file open too, so closing it here would leave it locked.
        """
        if self._fd >= 0:
            if self._process == os.getpid():
                _unlock(self._fd)
            os.close(self._fd)
            self._fd = -1


def _owner(fd: int) -> str:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        owner = json.loads(os.read(fd, 200))
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        os.lseek(fd, 1 << 20, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _unlock(fd: int) -> None:
        os.lseek(fd, 1 << 20, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
