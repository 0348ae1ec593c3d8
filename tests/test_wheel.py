"""The built wheel in an environment of its own, away from the checkout: demo, search and the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import hub_folder

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--wheel-dir", str(out), "--quiet"],
        capture_output=True,
        text=True,
    )
    finished(done)
    return next(out.glob("*.whl"))


def outside(home: Path) -> dict[str, str]:
    """The variables of a user who has no checkout, no models and nothing of this environment."""
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "DESCRY_MODELS")
    return {k: v for k, v in os.environ.items() if k not in ours} | {"HOME": str(home), "HF_HUB_OFFLINE": "1"}


OFFLINE = re.compile(
    "NewConnectionError|ConnectTimeout|ReadTimeout|Network is unreachable|name resolution|Name or service not known"
)
"""What pip says where there is no network."""


def finished(done: subprocess.CompletedProcess[str]) -> None:
    """Fail unless a command of pip succeeded; without a network, and not in CI, skip."""
    said = done.stdout + done.stderr
    if done.returncode and OFFLINE.search(said) and os.environ.get("CI") != "true":
        pytest.skip("packages cannot be installed here: there is no network")
    assert done.returncode == 0, said


def installed(command: list[str], **options) -> None:
    """Run an installation."""
    finished(subprocess.run(command, capture_output=True, text=True, **options))


@pytest.fixture(scope="module")
def descry(wheel, tmp_path_factory) -> list[str]:
    """The command of an environment that held nothing before the wheel was installed with the extra web."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(place / "env")], check=True)
    folder = place / "env" / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(folder / "python"), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import environment
    finally:
        sys.path.remove(str(ROOT / "tools"))
    torch = environment.torch_requirement()
    installed([*pip, *environment.torch_source(torch, str(folder / "python")), torch])
    installed([*pip, f"{wheel}[web]"])
    return [str(folder / "descry")]


def test_the_metadata_say_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        text = files.read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert re.search(r"^Name: descry-search$", text, re.M)
    for kind in ("Development Status", "Operating System", "Topic"):
        assert f"Classifier: {kind} ::" in text
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert {n.split("/")[0] for n in names if not n.startswith("descry_search-")} == {
        "descry",
        "descry_people",
        "descry_lab",
        "descry_stores",
    }


def test_demo_search_and_page_work_outside_the_checkout(descry, tmp_path):
    environment = outside(tmp_path / "home")

    def run(*args: str) -> str:
        done = subprocess.run([*descry, *args], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version").startswith("descry ")
    assert "id " in run("demo", "shop", "--identities", "20", "--no-browser")
    assert len(run("search", "shop/gallery", "red jacket", "-k", "2").splitlines()) == 2
    server = subprocess.Popen(
        [*descry, "serve", "shop/gallery", "--no-browser", "--port", "0"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(2)]
        address = re.search(r"http://127\.0\.0\.1:\d+", lines[1])
        assert address, lines
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"{address[0]}/healthz") as answer:
                    assert answer.read() == b"alive"
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("the page does not answer")
        with urllib.request.urlopen(address[0]) as answer:
            assert b"<title>" in answer.read()
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


def test_from_a_fresh_clone_to_a_search_over_own_photographs_in_four_commands(tmp_path):
    """Clone; then install, take a model, index, search: no other step, and nothing of this environment."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (64, 32, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{i}.jpg")
    hub = hub_folder(tmp_path / "clip")
    clone = tmp_path / "descry"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(clone)], check=True)
    environment = outside(tmp_path / "home")
    installed([sys.executable, "tools/environment.py", "web"], cwd=clone, env=environment)
    command = str(clone / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "descry")
    for words in (
        ["model", "get", str(hub)],
        ["index", str(photos), "--out", "gallery"],
        ["search", "gallery", "a cap"],
    ):
        done = subprocess.run([command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
