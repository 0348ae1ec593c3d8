"""A process that has imported PyTorch and waits: `descry ready` starts it, and commands run in copies of it.

A command that imports PyTorch asks it over a Unix socket in a folder that only this user can enter. It forks; the copy
takes over the caller's streams, folder, environment, umask and arguments, and runs `descry.cli.entry` as the caller
would have. No state is shared, and whatever stands in the way (nobody listens, other files, other settings) means that
the command runs in its own process as if there were no other. Linux only: elsewhere a fork after imports is unsafe.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import stat
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Locked, UsageError
from . import function_of, main

if TYPE_CHECKING:
    from socket import socket

VERBS = {"search", "evaluate", "gallery calibrate", "model info"} | {
    f"inquiry {action}" for action in ("new", "refine", "mark", "ask", "answer", "why", "replay")
}
"""Commands that import PyTorch, end by themselves and ask nothing."""
READ_AT_IMPORT = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "TORCH", "PYTORCH_", "ATEN_", "DNNL_", "TBB_"),
    *("ONEDNN_", "CUDA_", "NVIDIA_", "PYTHON", "LD_", "MALLOC_", "GLIBC_", "LC_", "LANG"),
)  # fmt: skip
"""How the variables begin that Python and libraries read once, when they start."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP, signal.SIGQUIT) if sys.platform != "win32" else ()))
SOCKET = "ready.sock"
SECONDS = 5.0
"""Longest wait for one message of the other side, which has it ready."""


def place() -> Path:
    """The folder of the socket: descry in XDG_RUNTIME_DIR, else in the user's state folder. It need not be there."""
    base = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "descry"


def private(folder: Path) -> Path:
    """The socket in a folder; UsageError for a folder that is not this user's alone."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise UsageError(
            f"{folder} is no folder that only you can enter (a link, of another user, or open to others); remove it"
        )
    return folder / SOCKET


def stamp() -> str:
    """A digest of all that a process takes on when it starts: files of the installation, variables, limits."""
    import hashlib
    import resource

    root = Path(__file__).resolve().parents[2]
    files = sorted(path for package in root.glob("descry*") for path in package.rglob("*.py"))
    places = sorted(Path(entry) for entry in sys.path if entry.endswith("-packages") and os.path.isdir(entry))
    times = [(str(path), (found := path.stat()).st_mtime_ns, found.st_size) for path in (*files, *places)]
    limits = [resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if "RLIMIT_" in name]
    settings = sorted(item for item in os.environ.items() if item[0].startswith(READ_AT_IMPORT))
    flags = [getattr(sys.flags, name) for name in ("optimize", "dev_mode", "utf8_mode", "bytes_warning", "isolated")]
    process = (
        limits,
        os.getpriority(os.PRIO_PROCESS, 0),
        sorted(os.sched_getaffinity(0)),
        os.getgroups(),
        os.getegid(),
    )
    start = (sys.executable, sys.version, sys.prefix, flags, sys.warnoptions, sys.getfilesystemencoding())
    return hashlib.sha256(repr((times, settings, process, start)).encode("utf-8", "backslashreplace")).hexdigest()


# ----------------------------------------------------------------------------------------------------------- messages


def send(peer: socket, message: Any, files: tuple[int, ...] = ()) -> None:
    """One message as JSON behind its length, with open files."""
    import json
    import socket

    data = json.dumps(message).encode()
    socket.send_fds(peer, [len(data).to_bytes(4, "big")], files)
    peer.sendall(data)


def receive(peer: socket) -> tuple[Any, list[int]]:
    """The next message and its files. Raises OSError where the other side is gone or does not speak this way."""
    import json
    import socket

    head, files, _, _ = socket.recv_fds(peer, 4, 4, socket.MSG_CMSG_CLOEXEC)
    try:
        data, size = b"", int.from_bytes(head, "big")
        while len(head) == 4 and len(data) < size and (part := peer.recv(size - len(data))):
            data += part
        return json.loads(data), files
    except (OSError, ValueError) as error:
        for file in files:
            os.close(file)
        raise OSError("the connection ended") from error


def same_user(peer: socket) -> bool:
    """Whether the other side is a process of this user."""
    import socket
    import struct

    _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(user == os.geteuid())


def ask(question: dict[str, Any]) -> tuple[dict[str, Any], socket] | None:
    """The answer of the process that waits, and the connection to it; None where there is none that answers."""
    import socket

    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.settimeout(SECONDS)
        peer.connect(os.fspath(private(place())))
        if not same_user(peer):
            raise OSError("it is of another user")
        send(peer, question)
        answer, _ = receive(peer)
        return answer, peer
    except (OSError, UsageError):
        peer.close()
        return None


# ---------------------------------------------------------------------------------------------------------- the caller


def elsewhere(args: list[str]) -> int | None:
    """Run a command in a copy of the process that waits; its exit status. None: it has to run in this one."""
    words = [word for word in args if not word.startswith("-")]
    if (
        sys.platform != "linux"
        or not {*words[:1], " ".join(words[:2])} & VERBS
        or not os.path.lexists(place() / SOCKET)
    ):
        return None
    plain = not {*args} & {"-h", "--help", "--traceback"} and not any("/fd/" in a or "/proc/" in a for a in args)
    streams = [_about(number) for number in range(3)]
    handlers = [signal.getsignal(number) for number in FORWARDED]
    ordinary = handlers == [signal.default_int_handler, *[signal.SIG_DFL] * 3]
    if os.environ.get("DESCRY_READY") == "no" or not plain or None in streams or not ordinary:
        return None
    found = ask({"ask": "run", "stamp": stamp()})
    if not found or not found[0]["same"]:
        return None
    return _followed(found[1], {"args": args, "env": dict(os.environ), "streams": streams})


def _about(number: int) -> list[Any] | None:
    """How one of the three streams of this process writes; None where it is not the usual one."""
    stream: Any = (sys.stdin, sys.stdout, sys.stderr)[number]
    try:
        usual = stream.fileno() == number
        return [stream.encoding, stream.errors, stream.line_buffering, stream.write_through] if usual else None
    except (AttributeError, OSError, ValueError):
        return None


def _followed(peer: socket, command: dict[str, Any]) -> int:
    """Hand a command over, pass signals on, and end as it ends."""

    def passed_on(number: int, frame: Any) -> None:
        if number == signal.SIGTSTP:  # Ctrl-Z: both stop, and go on together
            send(peer, {"signal": signal.SIGSTOP})
            os.kill(os.getpid(), signal.SIGSTOP)
            send(peer, {"signal": signal.SIGCONT})
        else:
            send(peer, {"signal": number})

    os.umask(mask := os.umask(0))
    folder = os.open(".", os.O_PATH)
    try:
        for number in (*FORWARDED, signal.SIGTSTP):
            signal.signal(number, passed_on)
        send(peer, command | {"umask": mask}, (0, 1, 2, folder))
        peer.settimeout(None)
        answer, _ = receive(peer)
    except OSError:
        print("descry: the process of `descry ready` ended in the middle of this command; repeat it", file=sys.stderr)
        return 1
    status = int(answer["exit"])
    if status < 0:  # by a signal: so does this process
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


# -------------------------------------------------------------------------------------------------- the one that waits


class Waiting:
    """The process that waits, with the commands that run in its copies. Raises Locked where another waits already."""

    def __init__(self, minutes: float):
        import selectors
        import socket

        from ..lock import WriterLock

        self.path, self.minutes, self.served = private(place()), minutes, 0
        self.lock, self.stamp = WriterLock(self.path.parent, "ready.lock"), stamp()
        _import_all()
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.fspath(self.path))
        self.listener.listen(16)
        self.running: dict[socket.socket, tuple[int, int]] = {}  # connection → process and its descriptor
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)

    def serve(self) -> dict[str, Any]:
        """Until nobody has asked for `minutes`: {}. In each copy it returns the command that the copy has to run."""
        ends, listens = time.monotonic() + self.minutes * 60, True
        while listens or self.running:
            events = self.selector.select(None if self.running else max(0.0, ends - time.monotonic()))
            listens = listens and bool(events)
            for key, _ in events:
                ends = time.monotonic() + self.minutes * 60
                if key.fileobj is not self.listener:
                    self._heard(key.data, key.fileobj is key.data)
                    continue
                peer, command, files, more = self._asked()
                if not more:  # those that run go on, and nothing else begins
                    listens, self.stamp = False, ""
                if len(files) != 4:
                    peer.close()
                elif self._forked(peer):
                    return command | {"files": files}
                for file in files:
                    os.close(file)
        self.path.unlink(missing_ok=True)
        return {}

    def _asked(self) -> tuple[socket, dict[str, Any], list[int], bool]:
        """A new connection, the command it brings with its files (none: it brings none), and whether to go on."""
        peer, more = self.listener.accept()[0], True
        try:
            peer.settimeout(SECONDS)
            if not same_user(peer):
                return peer, {}, [], more
            question: dict[str, Any] = receive(peer)[0]
            kind, same = question.get("ask"), question.get("stamp") == self.stamp
            more = kind != "stop" and (same or stamp() == self.stamp)
            about = {
                "pid": os.getpid(),
                "running": len(self.running),
                "served": self.served,
                "minutes": self.minutes,
                "seconds": sum(os.times()[:4]),
            }
            send(peer, about | {"same": same})
            return peer, *(receive(peer) if kind == "run" and same else ({}, [])), more
        except (OSError, AttributeError):
            return peer, {}, [], more

    def _forked(self, peer: socket) -> bool:
        """Make a copy for a connection; whether this is the copy, which keeps nothing of the others open."""
        import selectors

        process = os.fork()
        if process:
            self.served += 1
            self.running[peer] = process, os.pidfd_open(process)
            for file in (peer, self.running[peer][1]):
                self.selector.register(file, selectors.EVENT_READ, peer)
            return False
        self.selector.close()
        for other, (_, descriptor) in self.running.items():
            other.close()
            os.close(descriptor)
        peer.close()
        self.listener.close()
        self.lock.release()
        return True

    def _heard(self, peer: socket, caller: bool) -> None:
        """A caller sent a signal or is gone, or its command ended."""
        if peer not in self.running:
            return
        process, descriptor = self.running[peer]
        if caller:
            try:
                signal.pidfd_send_signal(descriptor, receive(peer)[0]["signal"])
                return
            except (OSError, LookupError, TypeError):  # the caller was killed, and so is what it called
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        for file in (peer, descriptor):
            self.selector.unregister(file)
        del self.running[peer]
        os.close(descriptor)
        with suppress(OSError):
            send(peer, {"exit": status})
        peer.close()


def _import_all() -> None:
    """What the commands import, so that their copies have it. Nothing is computed: threads would not be copied."""
    from .machine import Machine

    Machine(device="cpu").settle()
    for name in (
        "gallery.scan",
        "gallery.results",
        "footage.origin",
        "interact.session",
        "interact.absence",
        "evaluate",
    ):
        import_module(f"descry.{name}")
    for verb in VERBS:
        function_of(verb)
    gc.freeze()


def _take_over(command: dict[str, Any], parent: int) -> None:
    """Become the caller's process: its streams, folder, umask and environment; and end if the one that waits does."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
    os.setpgid(0, 0)
    for number, file in enumerate(command["files"][:3]):
        os.dup2(file, number)
    os.fchdir(command["files"][3])
    for file in command["files"]:
        os.close(file)
    os.umask(command["umask"])
    os.environ.clear()
    os.environ.update(command["env"])
    time.tzset()
    for number, (name, about) in enumerate(zip(("stdin", "stdout", "stderr"), command["streams"], strict=True)):
        encoding, errors, lines, through = about
        raw: Any = io.FileIO(number, "w" if number else "r", closefd=False)
        raw = raw if number and through else io.BufferedWriter(raw) if number else io.BufferedReader(raw)
        stream = io.TextIOWrapper(raw, encoding, errors, line_buffering=lines, write_through=through)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _leave(status: int) -> None:
    """End this copy as Python ends a process, but without taking apart what was imported: that would write to most of
    the memory that it shares, and so copy it.
    """
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends its copies
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads: Python has words and a status for it
        sys.exit(status)
    os._exit(status)


def run(minutes: float) -> None:
    """Wait, tell on stdout once commands are taken, and run in each copy its command. The process that was started ends
    at once and leaves this to its child: nobody has to wait for it.
    """
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    try:
        waiting = Waiting(minutes)
    except Locked:
        print("another", flush=True)
        return
    print("ready", flush=True)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.close(nothing)
    for number in FORWARDED:
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    parent = os.getpid()
    if command := waiting.serve():
        _take_over(command, parent)
        _leave(main(command["args"]))


if __name__ == "__main__":
    run(float(sys.argv[1]))
