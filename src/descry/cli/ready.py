"""descry ready: a process that has imported PyTorch, so that commands start faster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import Annotated, Any

from ..errors import Bound, UsageError
from ..escape import counted
from ..safe_files import child_environment
from .machine import Flag, Json, emit, refuse_unread
from .resident import ask, place, private, stamp


def ready(
    minutes: Annotated[int, Bound(1, 1440)] = 30,
    stop: Flag = False,
    status: Flag = False,
    json_: Json = False,
) -> int:
    """Keep a process ready that has imported PyTorch: searches and rounds then start in a copy of it (Linux only).

    What a command does, prints and returns is the same. DESCRY_READY=no in the environment lets a command start by
    itself.

    Args:
        minutes: the process ends when no command has come for that long.
        stop: end it, once the commands that run in its copies have ended.
        status: say whether there is one.
    """
    if stop or status:
        refuse_unread(ready, locals(), "minutes", "nothing is started")
    if stop and status:
        raise UsageError("--stop and --status were given; leave one out")
    if not hasattr(os, "pidfd_open") or sys.platform != "linux":
        raise UsageError("descry ready needs Linux and Python's os.pidfd_open; commands run without it here")
    folder = place()
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    private(folder)
    found = _asked("stop" if stop else "status")
    if not stop and not status and not (found and found["same"]):
        found = _started(minutes, found is not None)
    about = {"ready": bool(found and not stop)} | {k: v for k, v in (found or {}).items() if k != "same"}
    if not found:
        return emit(json_, about, "no process is ready")
    end = (
        "ends after its commands" if stop else f"ends when it was idle for {counted(round(found['minutes']), 'minute')}"
    )
    return emit(json_, about, f"process {found['pid']} {end}; {counted(found['served'], 'command')} so far")


def _asked(kind: str) -> dict[str, Any] | None:
    found = ask({"ask": kind, "stamp": stamp()})
    if found:
        found[1].close()
    return found[0] if found else None


def _started(minutes: int, another: bool) -> dict[str, Any]:
    """Start it, in place of one of another installation or with other settings."""
    if another:
        _asked("stop")
    begun = time.monotonic()
    while time.monotonic() < begun + 60:
        said = subprocess.run(
            [sys.executable, "-P", "-m", "descry.cli.resident", str(minutes)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd="/",
            env=child_environment(alike=True), start_new_session=True, check=False,
        ).stdout  # fmt: skip
        found = _asked("status")
        if found and found["same"]:
            return found
        if said != b"another\n":
            break
        time.sleep(0.5)
    raise UsageError("no process became ready; an earlier one may still run a command: descry ready --status")
