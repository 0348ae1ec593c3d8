"""The built wheel in an environment of its own, away from the checkout: demo, search and the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

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
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("hatchling, which builds the wheel, is not here and cannot be fetched")
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def descry(wheel, tmp_path_factory) -> list[str]:
    """The command of an environment that holds the wheel; what it depends on is lent by this one."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(place / "env")], check=True)
    folder = place / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = str(folder / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
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
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HOME": str(tmp_path / "home")}

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
