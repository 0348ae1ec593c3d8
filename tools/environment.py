"""Make the environment in .venv and install descry into it; run by make, with any Python ≥ 3.11, standard library only.

usage: python3 tools/environment.py [EXTRA ...]        e.g. dev

It says what it does, does nothing twice, and names what is missing. Without an NVIDIA GPU it looks at what pip would
take before taking it: if that were PyTorch's gigabytes for CUDA, it takes PyTorch's CPU wheels instead.
TORCH_INDEX=URL overrides.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "descry-installed"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def stop(text: str) -> None:
    sys.exit(f"descry cannot be installed: {text}")


def torch_requirement() -> str:
    """The line of pyproject.toml that names torch."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return next(d for d in project["project"]["dependencies"] if d.startswith("torch"))


def check_python() -> None:
    if sys.version_info < (3, 11):
        stop(
            f"this is Python {sys.version.split()[0]}; 3.11 or newer is needed. Name one with: make PYTHON=python3.11 …"
        )
    for module, package in (("venv", "python3-venv"), ("ensurepip", "python3-venv")):
        if importlib.util.find_spec(module) is None:
            stop(f"Python's module {module} is missing. On Debian and Ubuntu: sudo apt install {package}")


def make_venv() -> None:
    if not PYTHON.exists():
        say(f"making an environment in {VENV.name}/ (Python {sys.version.split()[0]})")
        if subprocess.run([sys.executable, "-m", "venv", str(VENV)]).returncode:
            stop("python3 -m venv failed; see the lines above. On Debian and Ubuntu: sudo apt install python3-venv")


def pip(*args: str, capture: bool = False, python: str = str(PYTHON)) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pip", "--disable-pip-version-check", *args]
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE if capture else None)


def torch_source(requirement: str, python: str = str(PYTHON)) -> list[str]:
    """Extra arguments for the pip of a Python so that no CUDA package comes to a machine without an NVIDIA GPU."""
    if os.environ.get("TORCH_INDEX"):
        return ["--index-url", os.environ["TORCH_INDEX"]]
    if shutil.which("nvidia-smi"):
        return []
    say("no NVIDIA GPU: looking at which PyTorch pip would take")
    looking = ("install", "-q", "--dry-run", "--report", "-", "-c", "constraints.txt", requirement)
    plan = pip(*looking, capture=True, python=python)
    if plan.returncode:
        return ["--index-url", CPU_WHEELS]
    names = {item["metadata"]["name"].lower() for item in json.loads(plan.stdout)["install"]}
    return ["--index-url", CPU_WHEELS] if any(n.startswith(("nvidia", "cuda", "triton")) for n in names) else []


def compile_installed() -> None:
    """Compile what was installed on every core, but for the tests of others: pip would do it on one, for most of its
    time. Files that cannot be compiled are left as they are, as pip leaves them.
    """
    code = (
        "import compileall, re, sysconfig; compileall.compile_dir(sysconfig.get_path('purelib'), quiet=2,"
        r" workers=0, rx=re.compile(r'site-packages.*[/\\]tests?[/\\]'))"
    )
    subprocess.run([str(PYTHON), "-c", code])


def install(extras: list[str]) -> None:
    wanted = [Path("pyproject.toml"), Path("constraints.txt"), Path("tools/environment.py")]
    state = hashlib.sha256(b"".join((ROOT / p).read_bytes() for p in wanted)).hexdigest()
    done = json.loads(STAMP.read_text()) if STAMP.exists() else {}
    have = set(done.get("extras", [])) if done.get("state") == state else set()
    if done.get("state") == state and set(extras) <= have:
        say("the environment is up to date")
        return
    requirement = torch_requirement()
    if subprocess.run([str(PYTHON), "-c", "import torch"], stderr=subprocess.DEVNULL).returncode:
        source = torch_source(requirement)
        say(f"installing PyTorch{' from ' + source[1] if source else ''} (the largest part: some minutes)")
        if pip("install", "-q", "--no-compile", *source, "-c", "constraints.txt", requirement).returncode:
            stop("pip could not install PyTorch; is the network up? Another source: make TORCH_INDEX=URL …")
    target = f".[{','.join(sorted(have | set(extras)))}]" if have | set(extras) else "."
    say(f"installing descry {target} with the versions of constraints.txt")
    if pip("install", "-q", "--no-compile", "-c", "constraints.txt", "-e", target).returncode:
        stop("pip failed; see the lines above")
    compile_installed()
    STAMP.write_text(json.dumps({"state": state, "extras": sorted(have | set(extras))}))


if __name__ == "__main__":
    check_python()
    make_venv()
    install(sys.argv[1:])
