"""`descry ready`: a command in a copy of the process that waits is the command itself, and nobody else is served."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from account import crop
from conftest import write_run
from descry.cli import main, resident
from descry.gallery import Gallery
from forked import child, ended

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(os, "pidfd_open"), reason="needs Linux and os.pidfd_open"
)
DESCRY = [sys.executable, "-m", "descry"]


@pytest.fixture(scope="module")
def env(tmp_path_factory) -> Iterator[dict[str, str]]:
    """An environment in which a process is ready."""
    folder = tmp_path_factory.mktemp("r")
    folder.chmod(0o700)
    environment = {k: v for k, v in os.environ.items() if k != "DESCRY_READY"}
    environment |= {"XDG_RUNTIME_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    usual = [signal.default_int_handler, *[signal.SIG_DFL] * 3]  # what runs in the background ignores some of them
    handlers = [signal.signal(*both) for both in zip(resident.FORWARDED, usual, strict=True)]
    assert run(environment, "ready").returncode == 0
    yield environment
    run(environment, "ready", "--stop")
    for both in zip(resident.FORWARDED, handlers, strict=True):
        signal.signal(*both)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("gallery")
    for i in range(6):
        crop(root / "crops", i)
    with Gallery.create(root / "gallery", str(write_run(root / "run"))) as made:
        made.index(root / "crops")
    return root / "gallery"


def run(env: dict[str, str], *args: object, **more: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*DESCRY, *map(str, args)], env=env, capture_output=True, check=False, **more)


def status(env: dict[str, str]) -> dict[str, object]:
    """What `descry ready --status --json` says, asked from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", env["XDG_RUNTIME_DIR"])
        found = resident.ask({"ask": "status", "stamp": resident.stamp()})
    if not found:
        return {"ready": False}
    found[1].close()
    return {"ready": True} | {name: value for name, value in found[0].items() if name != "same"}


def served(env: dict[str, str]) -> int:
    return int(status(env)["served"])


def both(env: dict[str, str], *args: object, **more: object) -> subprocess.CompletedProcess[bytes]:
    """A command in its own process and in a copy, which must not differ; the latter."""
    before = served(env)
    alone = run(env | {"DESCRY_READY": "no"}, *args, **more)
    assert served(env) == before
    copied = run(env, *args, **more)
    assert served(env) == before + 1
    assert (copied.returncode, copied.stdout, copied.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    return copied


def test_the_command_says_what_this_file_asks(env) -> None:
    said, found = json.loads(run(env, "ready", "--status", "--json").stdout), status(env)
    assert said.pop("seconds") <= found.pop("seconds")
    assert said == found


@pytest.mark.parametrize(
    ("args", "ends"),
    [
        (["search", "GALLERY", "red top", "-k", "3"], 0),
        (["search", "GALLERY", "red top", "no hat", "--json", "--threads", "2"], 0),
        (["-q", "search", "GALLERY", "red top"], 0),
        (["search", "GALLERY", "--sketsh", "a.png"], 2),
        (["search", "GALLERY", "red", "-k", "0"], 2),
        (["search", "GALLERY", "--sketch", "nothing\u00e9.png"], 2),
        (["search", "nowhere", "red"], 2),
        (["inquiry", "refine", "GALLERY", "nobody", "red"], 2),
        (["gallery", "calibrate", "GALLERY", "--limit", "many"], 2),
        (["evaluate", "RUN", "--data", "nowhere"], 2),
        (["model", "info", "nowhere"], 4),
    ],
)
def test_a_command_says_and_returns_the_same(env, gallery, args, ends) -> None:
    names = {"GALLERY": str(gallery), "RUN": str(gallery.parent / "run")}
    assert both(env, *(names.get(word, word) for word in args)).returncode == ends


def test_rounds_and_the_account_are_the_same(env, gallery, tmp_path) -> None:
    """Both kinds of process work on one gallery each, a copy of the other."""
    told = []
    for name, environment in (("alone", env | {"DESCRY_READY": "no"}), ("copied", env)):
        place = tmp_path / name / "gallery"
        shutil.copytree(gallery, place)
        commands = (
            ["inquiry", "new", place, "case", "--text", "red top"],
            ["inquiry", "refine", place, "case", "blue"],
        )
        said = [run(environment, *command) for command in commands]
        assert {done.returncode for done in said} == {0}, said
        account = run(environment, "audit", "export", place, "--json")
        texts = [done.stdout + done.stderr for done in said] + [account.stdout]
        told.append([re.sub(rb'[0-9a-f]{16,}|\d{4}-\d\d-\d\dT[^",]*|/alone|/copied', b"", text) for text in texts])
    assert told[0] == told[1]
    assert served(env) > 0


def test_it_takes_folder_umask_and_streams_of_the_caller(env, gallery, tmp_path) -> None:
    done = both(env, "search", "../gallery", "red", "--csv", "t.csv", cwd=gallery.parent / "run")
    assert done.returncode == 0
    assert b"table: t.csv" in done.stderr
    made = gallery.parent / "run" / "t.csv"
    assert made.stat().st_mode & 0o777 == 0o600
    made.unlink()
    with open(tmp_path / "out", "wb") as out:
        assert subprocess.run([*DESCRY, "search", gallery, "red"], env=env, stdout=out, check=True).stdout is None
    assert (tmp_path / "out").read_bytes()
    gone = subprocess.Popen(
        [*DESCRY, "search", gallery, "red"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    gone.stdout.close()
    assert gone.wait() == done.returncode
    gone.stderr.close()


@pytest.mark.parametrize("setting", [{}, {"NO_COLOR": "1"}])
def test_colours_are_the_same_in_a_terminal(env, setting) -> None:
    shown = []
    for more in ({"DESCRY_READY": "no"}, {}):
        ours, theirs = pty.openpty()
        environment = {k: v for k, v in env.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color"} | setting | more
        done = subprocess.Popen(
            [*DESCRY, "search", "g", "--sketsh", "a"], stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        text = b""
        try:
            while part := os.read(ours, 4096):
                text += part
        except OSError:  # Linux says so at the end
            pass
        os.close(ours)
        shown.append((done.wait(), text))
    assert shown[0] == shown[1]
    assert (b"\x1b[" in shown[0][1]) == (not setting)


WRONG = ("search", "GALLERY", "red", "-k", "0")
"""A command that a copy would run as any other, and that ends before PyTorch is imported."""


@pytest.mark.parametrize(
    ("setting", "args", "ends", "begin"),
    [
        ({"OMP_NUM_THREADS": "2"}, WRONG[:3], 0, None),
        ({"OMP_WAIT_POLICY": "active"}, WRONG, 2, None),
        ({"LC_ALL": "POSIX"}, WRONG, 2, None),
        ({}, (*WRONG, "--traceback"), 1, None),
        ({}, WRONG, 2, lambda: os.nice(1)),
        ({}, WRONG, 2, lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)),
    ],
)
def test_what_is_read_at_the_start_makes_a_process_of_its_own(env, gallery, setting, args, ends, begin) -> None:
    before = served(env)
    assert run(env | setting, args[0], gallery, *args[2:], preexec_fn=begin).returncode == ends
    assert served(env) == before


def test_fifty_commands_leave_nothing_open(env, gallery) -> None:
    process = status(env)["pid"]
    before, opened = served(env), len(os.listdir(f"/proc/{process}/fd"))
    for _ in range(25):
        assert run(env, "search", "nowhere", "red").returncode == 2
    with ThreadPoolExecutor(4) as four:
        assert {done.returncode for done in four.map(lambda _: run(env, "search", "nowhere", "red"), range(25))} == {2}
    assert served(env) == before + 50
    assert status(env)["running"] == 0
    assert len(os.listdir(f"/proc/{process}/fd")) == opened
    assert (
        not os.path.exists(f"/proc/{process}/task/{process}/children")
        or not Path(f"/proc/{process}/task/{process}/children").read_text().split()
    )


# ---------------------------------------------------------------------------------------------------- ends of all kinds


def stuck(env: dict[str, str], gallery: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A search whose output nobody reads, stuck in the middle; and the end of the pipe that would be read."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writes, b"." * 1024)
    os.set_blocking(writes, True)
    caller = subprocess.Popen([*DESCRY, "search", gallery, "red"], env=env, stdout=writes, stderr=subprocess.PIPE)
    os.close(writes)
    assert b"toy" in caller.stderr.readline()
    time.sleep(0.2)
    return caller, reads


def rest(caller: subprocess.Popen[bytes], reads: int) -> tuple[int, bytes, bytes]:
    """Status of the caller, and what it said from now on."""
    time.sleep(0.5)  # a signal comes before there is room in the pipe
    with os.fdopen(reads, "rb") as out, caller.stderr as error:
        told = out.read().lstrip(b"."), error.read()
    return caller.wait(60), *told


def copies(env: dict[str, str]) -> list[int]:
    process = status(env)["pid"]
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def gone(process: int) -> bool:
    """Whether a process ends within ten seconds."""
    for _ in range(500):
        if not os.path.exists(f"/proc/{process}"):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_caller_ends_the_command_as_it_ends_alone(env, gallery, number) -> None:
    ways = []
    for more in ({"DESCRY_READY": "no"}, {}):
        caller, reads = stuck(env | more, gallery)
        assert len(copies(env)) == (not more)
        caller.send_signal(number)
        ways.append(rest(caller, reads))
    assert ways[0] == ways[1]
    assert ways[0][0] == (130 if number == signal.SIGINT else -number)


def test_a_copy_that_is_killed_takes_its_caller_along(env, gallery) -> None:
    caller, reads = stuck(env, gallery)
    os.kill(copies(env)[0], signal.SIGKILL)
    assert rest(caller, reads) == (-signal.SIGKILL, b"", b"")


def test_a_caller_that_is_killed_takes_its_copy_along(env, gallery) -> None:
    caller, reads = stuck(env, gallery)
    (copy,) = copies(env)
    caller.kill()
    rest(caller, reads)
    assert gone(copy)
    assert status(env)["running"] == 0


def test_one_that_is_killed_is_told_of_and_started_again(env, gallery) -> None:
    caller, reads = stuck(env, gallery)
    (copy,), process = copies(env), int(status(env)["pid"])
    os.kill(process, signal.SIGKILL)
    line = b"descry: the process of `descry ready` ended in the middle of this command; repeat it\n"
    assert rest(caller, reads) == (1, b"", line)
    assert gone(copy)
    assert (Path(env["XDG_RUNTIME_DIR"]) / "descry" / "ready.sock").exists()
    assert status(env) == {"ready": False}
    assert run(env, "search", gallery, "red").returncode == 0
    assert run(env, "ready").returncode == 0
    assert status(env)["pid"] != process


def test_two_that_start_at_once_are_one(tmp_path) -> None:
    tmp_path.chmod(0o700)
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    with ThreadPoolExecutor(2) as two:
        done = list(two.map(lambda _: run(environment, "ready", "--json"), range(2)))
    assert [one.returncode for one in done] == [0, 0], done
    assert len({json.loads(one.stdout)["pid"] for one in done}) == 1
    other = json.loads(run(environment | {"OMP_NUM_THREADS": "3"}, "ready", "--json").stdout)
    assert other["pid"] not in {json.loads(one.stdout)["pid"] for one in done}  # started with other settings
    assert run(environment, "ready", "--stop").returncode == 0
    assert gone(int(other["pid"]))
    assert not (tmp_path / "descry" / "ready.sock").exists()


def test_a_program_that_starts_it_has_no_process_left_to_wait_for(tmp_path) -> None:
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    code = """if True:
        import os, warnings
        from descry.cli import main
        warnings.simplefilter("error")
        assert main(["ready"]) == 0
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print("none")
        assert main(["ready", "--stop"]) == 0
    """
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (done.stdout.splitlines()[1:2], done.stderr) == ([b"none"], b""), done


def test_it_ends_when_nobody_asks(tmp_path) -> None:
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    (tmp_path / "descry").mkdir(mode=0o700)
    command = [sys.executable, "-P", "-m", "descry.cli.resident", "0.01"]
    assert subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=60, check=True).stdout == b"ready\n"
    until = time.monotonic() + 60
    while (tmp_path / "descry" / "ready.sock").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert sorted(path.name for path in (tmp_path / "descry").iterdir()) == ["ready.lock"]


# ---------------------------------------------------------------------------------------------------- who is not served


@pytest.mark.parametrize("kind", ["link", "open", "file"])
def test_a_folder_that_is_not_private_is_refused(env, gallery, tmp_path, kind) -> None:
    folder = tmp_path / "descry"
    if kind == "link":
        folder.symlink_to(Path(env["XDG_RUNTIME_DIR"]) / "descry")
    elif kind == "file":
        folder.touch(mode=0o700)
    else:
        folder.mkdir()
        folder.chmod(0o750)
    before, environment = served(env), env | {"XDG_RUNTIME_DIR": str(tmp_path)}
    refused = run(environment, "ready")
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert b"only you can enter" in refused.stderr
    assert run(environment, "search", gallery, *WRONG[2:]).returncode == 2
    assert served(env) == before


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_not_answered(env) -> None:
    path = Path(env["XDG_RUNTIME_DIR"]) / "descry" / "ready.sock"

    def call() -> None:
        os.chdir(path.parent)
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path.name)
            with suppress(OSError):
                resident.send(peer, {"ask": "stop", "stamp": "0"})
                assert peer.recv(1) == b""

    try:
        path.chmod(0o777)
        path.parent.chmod(0o711)
        assert ended(child(call)) == 0
    finally:
        path.parent.chmod(0o700)
        path.chmod(0o600)
    assert status(env)["ready"]


def test_a_file_that_changed_is_noticed(tmp_path, monkeypatch) -> None:
    source = tmp_path / "descry" / "cli" / "resident.py"
    source.parent.mkdir(parents=True)
    source.write_text("1")
    monkeypatch.setattr(resident, "__file__", str(source))
    before = resident.stamp()
    assert resident.stamp() == before
    source.write_text("12")
    assert resident.stamp() != before


def test_what_speaks_otherwise_is_left_alone(env) -> None:
    for said in (b"", b"\0\0\0\1x", b"\0\0\0\2[]", b"\xff\xff\xff\xff"):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(os.path.join(env["XDG_RUNTIME_DIR"], "descry", "ready.sock"))
            peer.sendall(said)
    assert status(env)["ready"]


def test_other_systems_are_told(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main(["ready"]) == 2
    assert "needs Linux" in capsys.readouterr().err
    assert resident.elsewhere(["search", "gallery", "red"]) is None
