"""Waiting threads sleep, whatever starts descry, unless the user says otherwise."""

import os
import subprocess
import sys

import pytest

STARTS = {
    "python": "import descry",
    "command line": "import descry.cli; descry.cli.main(['--version'])",
    "one module": "import descry.embed",
    "laboratory": "import descry_lab",
    "its command": "import runpy, sys; sys.argv = ['descry_lab', 'list']; runpy.run_module('descry_lab')",
    "synthetic people": "import descry_people.photo",
}


def policy(start: str, **environment: str) -> str:
    """What OpenMP says of itself once PyTorch has loaded it."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")} | environment
    said = subprocess.run(
        [sys.executable, "-c", f"{start}\nimport torch"],
        env=env | {"OMP_DISPLAY_ENV": "TRUE"},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    lines = [line for line in said.splitlines() if "OMP_WAIT_POLICY" in line]
    if not lines:
        pytest.skip("this build of PyTorch has an OpenMP that does not describe itself")
    return lines[-1].split("=")[1].strip().strip("'").lower()


@pytest.mark.parametrize("start", STARTS)
def test_waiting_threads_sleep(start: str) -> None:
    assert policy(STARTS[start]) == "passive"


def test_the_user_may_say_otherwise() -> None:
    assert policy("import descry", OMP_WAIT_POLICY="active") == "active"
