"""Work that may never end, such as decoding a picture that somebody made for it, in a process that can be ended: with
limits on processor time and memory.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from .safe_files import child_environment

SECONDS, WALL, MEMORY = 2.0, 15.0, 3 << 30
"""Processor time, time on the clock and address space of one picture in a process of its own."""
PROCESSES = 2


class TooSlow(Exception):
    """The process was ended: the picture took too long, or too much memory."""


class _Child:
    """A Python process that answers requests one by one: a line of JSON and bytes in, the same out."""

    def __init__(self, module: str):
        self.module = module
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=child_environment(),
        )  # fmt: skip

    def ask(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        timer = threading.Timer(WALL, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            _send(self.process.stdin, request, data)
            return _receive(self.process.stdout)
        except (OSError, ValueError):
            raise TooSlow from None
        finally:
            timer.cancel()

    def end(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        self.process.wait()


_free: list[_Child] = []
_working: set[_Child] = set()
stopped = threading.Event()
"""Whether `interrupt` was called; a command that begins clears it."""
_owner, _guard, _turn = os.getpid(), threading.Lock(), threading.BoundedSemaphore(PROCESSES)


def in_process(module: str, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """Let `module`, run as a program that calls `answer`, do it. Raises TooSlow; the process is ended then. After
    `interrupt` it raises KeyboardInterrupt, whoever waits for it.

    At most PROCESSES run at once; they are kept for the next picture and end with this process.
    """
    with _turn:
        if stopped.is_set():
            raise KeyboardInterrupt
        child = _taken(module) or _Child(module)
        _working.add(child)
        try:
            answer = child.ask(request, data)
        except BaseException:
            child.end()
            if stopped.is_set():  # it was ended, and says nothing about the picture
                raise KeyboardInterrupt from None
            raise
        finally:
            _working.discard(child)
        with _guard:
            _free.append(child)
        return answer


def interrupt(number: int = 0, frame: Any = None) -> NoReturn:
    """Stop at once, as a handler of Ctrl-C: end the processes that work, so that no thread waits for one."""
    stopped.set()
    for child in list(_working):
        child.process.kill()
    raise KeyboardInterrupt


def _taken(module: str = "") -> _Child | None:
    """One that waits and runs the module; without a name any that waits."""
    global _owner
    with _guard:
        if _owner != os.getpid():  # forked: those processes are our parent's
            _owner = os.getpid()
            _free.clear()
        found = next((child for child in _free if module in ("", child.module)), None)
        if found:
            _free.remove(found)
        return found


@atexit.register
def close() -> None:
    """End the processes that wait."""
    while (child := _taken()) is not None:
        child.end()


def answer(work: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]) -> None:
    """Be such a process: answer requests until there are no more. work: request and bytes → reply and bytes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us decides
    if os.name != "nt":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    with suppress(OSError, ValueError):
        while True:
            request, data = _receive(incoming)
            _alarm(SECONDS)
            reply = work(request, data)
            _alarm(0)
            _send(outgoing, *reply)


def _alarm(seconds: float) -> None:
    """Let the system end this process after so much processor time; its default action needs no cooperation."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _send(pipe: Any, head: dict[str, Any], data: bytes) -> None:
    line = json.dumps(head).encode()
    pipe.write(struct.pack("<IQ", len(line), len(data)) + line)
    pipe.write(data)
    pipe.flush()


def _receive(pipe: Any) -> tuple[dict[str, Any], bytes]:
    sizes = pipe.read(12)
    if len(sizes) < 12:
        raise ValueError("the other process has ended")
    line, length = struct.unpack("<IQ", sizes)
    head, data = json.loads(pipe.read(line)), pipe.read(length)
    if len(data) != length:
        raise ValueError("the other process has ended")
    return head, data
