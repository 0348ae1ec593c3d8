"""The documentation as a site: it builds without a warning, and no page asks anybody else for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from descry.cli import VERBS

from .reading import PAGES, ROOT

pytest.importorskip("mkdocs", reason="the site needs the extra `docs`")
LOADS = re.compile(
    r"""(?:\bsrc|<link[^>]+href|srcset|data-url|action)\s*=\s*["']?(https?:)?//[^"'\s>]+""", re.IGNORECASE
)
STYLES = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])(https?:)?//""")
CALLS = re.compile(r"""["'`](?:https?:)?//(?!www\.w3\.org/)[\w.-]+\.[a-z]{2,}/""")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    made = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert (made.returncode, made.stdout + made.stderr) == (0, "")
    return out


def test_every_page_is_there(site):
    for page in PAGES:
        assert page.name == "README.md" or (site / page.with_suffix(".html").name).is_file(), page.name
    assert (site / "commands.html").is_file()
    assert (site / "notebook.html").is_file()


def test_nothing_is_loaded_from_elsewhere(site):
    for path in [*site.rglob("*.html"), *site.rglob("*.svg")]:
        assert not LOADS.findall(path.read_text("utf-8")), path.name
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        assert not STYLES.findall(path.read_text("utf-8")), path.name


def test_no_script_names_another_host(site):
    for path in site.rglob("*.js"):
        code = re.sub(r"/\*.*?\*/|^\s*//.*$|(?<=\s)// .*$", "", path.read_text("utf-8"), flags=re.S | re.M)
        assert not CALLS.findall(code), path.name


def test_the_browser_is_told_to_ask_nobody_else(site):
    for path in site.rglob("*.html"):
        assert "default-src 'self'" in path.read_text("utf-8"), path.name


def test_equations_are_mathml(site):
    for name in ("protocol", "interactreid", "methods-propot", "methods-vfe-tps"):
        text = (site / f"{name}.html").read_text("utf-8")
        assert "<math" in text, name
        assert not re.search(r"\$\$|\\frac|\\mathrm", text), name


def test_the_command_reference_holds_every_command_and_option(site):
    text = (site / "commands.html").read_text("utf-8")
    for verb in VERBS:
        assert f"descry {verb}<" in text, verb
    assert "<code>--tensorboard</code>" in text


def test_the_python_reference_shows_docstrings(site):
    text = (site / "reference.html").read_text("utf-8")
    assert "descry.gallery.gallery.Gallery" in text
    assert ">Queries" in text
