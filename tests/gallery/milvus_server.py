"""A Milvus server that tests start themselves, out of the package `milvus`. It listens on every interface, so it runs
in a network namespace that has only a loopback; a relay on one loopback port leads to it.

Run as a program, this file is the relay and the server's parent: it ends with its standard input.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NEW_NETWORK, NEW_USER = 0x40000000, 0x10000000
DIE_WITH_PARENT = 1
TOKEN = "root:Milvus"


class MilvusServer:
    """One server with users and passwords. `pytest.skip` where it cannot be had."""

    def __init__(self) -> None:
        import pytest

        if sys.platform != "linux" or not find_spec("pymilvus"):
            pytest.skip("a Milvus server is started on Linux only, and needs pymilvus (pip install -e '.[milvus]')")
        if not find_spec("milvus"):
            pytest.skip("no Milvus server: pip install --target DIR --no-deps milvus==2.3.5, and PYTHONPATH=DIR")
        self.folder = Path(tempfile.mkdtemp(prefix="milvus"))
        self.relay = subprocess.Popen(
            [sys.executable, __file__, self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        port = self._told()
        if not port.isdecimal():
            self.stop()
            pytest.skip(f"no Milvus server: {port}")
        self.place = f"milvus://127.0.0.1:{port}"
        os.environ["MILVUS_TOKEN"] = TOKEN
        self.start()

    def _told(self) -> str:
        assert self.relay.stdout is not None
        return self.relay.stdout.readline().strip()

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert self.relay.stdin is not None
        self.relay.stdin.write("start\n")
        self.relay.stdin.flush()
        self.pid = int(self._told() or "0")
        assert self.pid, (self.folder / "log").read_text()[-2000:]

    def signal(self, number: int) -> None:
        """A signal to the server, and after SIGKILL its end."""
        os.kill(self.pid, number)
        while number == signal.SIGKILL and os.path.exists(f"/proc/{self.pid}"):
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and remove its folder."""
        assert self.relay.stdin is not None
        assert self.relay.stdout is not None
        self.relay.stdin.close()
        self.relay.wait(60)
        self.relay.stdout.close()
        os.environ.pop("MILVUS_TOKEN", None)
        shutil.rmtree(self.folder, ignore_errors=True)


# ---------------------------------------------------------------------- in a process of its own


def main(folder: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))  # it stays in the network that it was made in
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NETWORK | (0 if os.geteuid() == 0 else NEW_USER)):
        print(f"no network namespace may be made here ({os.strerror(ctypes.get_errno())})", flush=True)
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        up = struct.pack("16sh14x", b"lo", 0x1 | 0x40)
        fcntl.ioctl(plain, 0x8914, up)  # SIOCSIFFLAGS: up and running
    config, command, environment = prepared(folder)
    threading.Thread(target=accept, args=(listener, config.get("proxy_port")), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    server: Any = None
    for _ in sys.stdin:  # each line is a wish to start
        if server:
            server.wait()
        with open(folder / "log", "ab") as log:
            server = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=log, stderr=log,
                preexec_fn=lambda: libc.prctl(DIE_WITH_PARENT, signal.SIGKILL),
            )  # fmt: skip
        threading.Thread(target=server.wait, daemon=True).start()
        print(server.pid if healthy(server) else "", flush=True)
    if server:
        server.kill()
        server.wait()


def prepared(folder: Path) -> tuple[Any, list[str], dict[str, str]]:
    """The server's files below `folder`: configuration, command and environment."""
    import milvus

    config = milvus.MilvusServerConfig(data_dir=str(folder))
    config.set("authorization_enabled", True)
    config.resolve()
    milvus._initialize_data_files(str(folder))
    environment = {"DEPLOY_MODE": "STANDALONE", "METRICS_PORT": "9091", "MILVUS_RUN_DIR": str(folder / "run")}
    environment |= {"LD_LIBRARY_PATH": str(folder / "bin"), "GOMAXPROCS": str(os.cpu_count())}
    return config, [str(folder / "bin" / "milvus"), "run", "standalone"], os.environ | environment


def healthy(server: Any) -> bool:
    """Whether it is well within three minutes."""
    for _ in range(900):
        if server.poll() is not None:
            return False
        with suppress(OSError), urllib.request.urlopen("http://127.0.0.1:9091/healthz", timeout=5) as answer:
            if b"OK" in answer.read():
                return True
        time.sleep(0.2)
    return False


def accept(listener: socket.socket, port: int) -> None:
    """Lead each connection to the server; where none is, close it."""
    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            client.close()
            continue
        for ends in ((client, server), (server, client)):
            for end in ends:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=pump, args=ends, daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(1 << 18):
            sink.sendall(part)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
