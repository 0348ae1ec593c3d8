"""Starting: the address, the link, the browser, the secret beside the gallery."""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from pathlib import Path

import pytest

from descry import cli
from descry.errors import UsageError
from descry.web.safety import FILE, Tokens
from descry.web.serving import serve
from served import toy_model


@pytest.fixture
def started(monkeypatch):
    """What a server was started with; none runs. Links that a browser was asked to open."""
    seen = {"links": [], "sockets": [], "pages": []}

    def page(link):
        path = Path(link.removeprefix("file://"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return path.read_text()

    def run(server, sockets):
        seen["sockets"] += [s.getsockname() for s in sockets]

    monkeypatch.setattr("uvicorn.Server.run", run)
    monkeypatch.setattr("webbrowser.open", lambda link: seen["links"].append(link) or seen["pages"].append(page(link)))
    monkeypatch.setattr("descry.embed.load", lambda *args, **kwargs: toy_model())
    return seen


def test_it_listens_on_this_machine_alone_and_opens_the_link(folder, started, capsys):
    assert cli.main(["serve", str(folder), "--port", "0"]) == 0
    host, port = started["sockets"][0]
    assert host == "127.0.0.1"
    said = capsys.readouterr().out
    assert "72 crops" in said
    link = re.search(r"the page: (\S+)", said)[1]
    assert link.startswith(f"http://127.0.0.1:{port}/#token=")
    assert f"url={link}" in started["pages"][0]
    assert "token" not in started["links"][0], "others can read the command line of a browser"
    assert not list(folder.glob("opening-*")), "gone with the server"


def test_no_browser_opens_none(folder, started):
    assert cli.main(["serve", str(folder), "--port", "0", "--no-browser"]) == 0
    assert started["links"] == []


def test_the_demo_hands_over_an_example_and_the_tour(folder, drawn, started, capsys):
    sketch = sorted((drawn / "people" / "sketches").iterdir())[0]
    serve(folder, toy_model(), browser=False, port=0, tour=True, example=(sketch, "a red jacket"))
    assert "&tour=1" in capsys.readouterr().out


def test_a_gallery_that_is_not_there_is_made_where_folders_may_be_indexed(tmp_path, started, capsys):
    assert cli.main(["serve", str(tmp_path / "new"), "--port", "0"]) != 0
    assert not (tmp_path / "new").exists()
    assert cli.main(["serve", str(tmp_path / "new"), "--port", "0", "--folder", str(tmp_path)]) == 0
    assert "0 crops" in capsys.readouterr().out
    assert cli.main(["serve", str(tmp_path / "new"), "--port", "0", "--folder", str(tmp_path / "nowhere")]) != 0


def test_a_port_that_is_taken_is_named(folder, started):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)):
            serve(folder, toy_model(), browser=False, port=port)


def test_the_secret_is_the_owners_and_outlives_a_restart(tmp_path):
    first = Tokens.beside(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    token = first.make()
    assert Tokens.beside(tmp_path).check(token) == "ok"
    long_ago = time.time() - 13 * 3600
    os.utime(tmp_path / FILE, (long_ago, long_ago))
    assert Tokens.beside(tmp_path).check(token) == "wrong"


def test_a_secret_in_steady_use_outlives_a_restart_after_13_hours(tmp_path):
    now = time.time()
    first = Tokens.beside(tmp_path, clock=lambda: now)
    for _ in range(13):
        now += 3600
        token = first.make()
        assert first.check(token) == "ok"
    written = (tmp_path / FILE).stat().st_mtime
    now += 60
    first.check(token)
    assert (tmp_path / FILE).stat().st_mtime == written, "not with every request"
    assert first.check("1." + "0" * 64) == "wrong"
    assert Tokens.beside(tmp_path, clock=lambda: now).check(token) == "ok"
    now += 12.5 * 3600
    assert first.check(token) == "expired"
    assert Tokens.beside(tmp_path, clock=lambda: now).check(first.make()) == "wrong"
    (tmp_path / FILE).unlink()
    assert first.check(first.make()) == "ok", "a page goes on when its gallery was purged"


@pytest.mark.parametrize("token", ["", ".", "x", "66f0c3a1.", "zz.zz", "é.é", "1." + "0" * 64, " ", "." + "0" * 64])
def test_what_is_no_token_is_wrong(token):
    assert Tokens(b"k" * 32).check(token) == "wrong"
