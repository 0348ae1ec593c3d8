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


WHEN_IT_COMES = """
import os, sys

class Seen:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["WATCHED"]:
            print(os.environ.get(os.environ["ASKED"], "nothing"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Seen())
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "OPENBLAS_"))} | environment
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)


READ = {"torch": ("OMP_WAIT_POLICY", "passive"), "numpy": ("OPENBLAS_THREAD_TIMEOUT", "4")}


@pytest.mark.parametrize("library", READ)
@pytest.mark.parametrize("start", STARTS)
def test_waiting_threads_sleep(start: str, library: str) -> None:
    """OpenMP and OpenBLAS read their variables when the library is first imported, so that is when they have to be
    set."""
    name, value = READ[library]
    said = run(f"{WHEN_IT_COMES}\n{STARTS[start]}\nimport {library}", WATCHED=library, ASKED=name).stdout
    assert said.splitlines()[-1] == value


@pytest.mark.parametrize(("library", "value"), [("torch", "active"), ("numpy", "30")])
def test_the_user_may_say_otherwise(library: str, value: str) -> None:
    name = READ[library][0]
    said = run(f"{WHEN_IT_COMES}\nimport descry\nimport {library}", WATCHED=library, ASKED=name, **{name: value})
    assert said.stdout.splitlines()[-1] == value


def test_openmp_itself_says_so() -> None:
    told = run("import descry\nimport torch", OMP_DISPLAY_ENV="TRUE").stderr
    lines = [line for line in told.splitlines() if "OMP_WAIT_POLICY" in line]
    if not lines:
        pytest.skip("this build of PyTorch has an OpenMP that does not describe itself")
    assert lines[-1].split("=")[1].strip().strip("'").lower() == "passive"
