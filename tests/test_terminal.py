"""The command line in a terminal: quiet and verbose, colours, narrow windows, completion, names of arguments."""

from __future__ import annotations

import doctest
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from account import crop
from conftest import write_run
from descry import errors
from descry.cli import EXITS, GROUPS, NOUNS, VERBS, completion, main, overview, parser_of
from descry.gallery import Gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> str:
    root = tmp_path_factory.mktemp("terminal")
    for i in range(6):
        crop(root / "crops", i)
    with Gallery.create(root / "gallery", str(write_run(root / "run"))) as made:
        made.index(root / "crops")
    return str(root / "gallery")


def run(capsys, *args: str) -> tuple[int, str, str]:
    status = main(list(args))
    return status, *capsys.readouterr()


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_quiet_prints_the_result_and_nothing_else(option, gallery, capsys):
    status, wanted, notes = run(capsys, "search", gallery, "red top")
    assert notes
    assert run(capsys, "search", option, gallery, "red top") == (status, wanted, "")


def test_quiet_tells_what_failed(gallery, capsys):
    status, out, err = run(capsys, "-q", "search", gallery, "--sketch", "nope.png")
    assert (status, out) == (2, "")
    assert "nope.png" in err
    status, _, err = run(capsys, "search", gallery, "--sketsh", "nope.png", "-q")
    assert status == 2
    assert "--sketch" in err


def test_verbose_says_what_it_cost(gallery, capsys):
    _, out, err = run(capsys, "gallery", "info", gallery, "-v")
    assert "items" in out
    assert re.search(r"^\d+\.\d s, \d+\.\d CPU seconds, at most \d+ MB of memory$", err, re.M)


def test_words_behind_two_dashes_are_no_options(gallery, capsys):
    status, _, err = run(capsys, "search", gallery, "red top", "--", "-v")
    assert "CPU seconds" not in err
    assert status in (0, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("setting", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_are_for_terminals_that_want_them(setting, coloured):
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color"} | setting
    done = subprocess.Popen(
        [sys.executable, "-m", "descry", "verify", "--help"], stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert done.wait() == 0
    assert b"usage" in shown
    assert (b"\x1b[" in shown) == coloured


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_help_keeps_within_the_window(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    for text in (overview(), overview("gallery")):
        assert max(map(len, text.splitlines())) <= columns
    assert all(re.search(rf"^  {verb}\b", overview(), re.M) for verb in VERBS)


@pytest.mark.parametrize("point", ["x", "-5", "²", "1e3", "9" * 5000, ""])
def test_completion_answers_whatever_a_shell_says_of_the_cursor(monkeypatch, capsys, point):
    monkeypatch.setenv("COMP_LINE", "descry gallery rel")
    monkeypatch.setenv("COMP_POINT", point)
    assert main(["--complete"]) == 0
    assert capsys.readouterr().out.split() == ["relocate"]


def test_completion_offers_commands_actions_options_and_choices():
    assert completion.candidates("descry ser") == ["serve"]
    assert completion.candidates("descry ") == list(dict.fromkeys(verb.split()[0] for verb in VERBS))
    for noun, verbs in NOUNS.items():
        assert completion.candidates(f"descry {noun} ") == [verb.split()[1] for verb in verbs]
    assert completion.candidates("descry search --ske") == ["--sketch"]
    assert completion.candidates("descry inquiry new g n --as") == ["--as-drawn"]
    assert completion.candidates("descry train --pre") == ["--preset", "--precision"]
    assert completion.candidates("descry search my-") == []  # the shell's files
    assert completion.candidates("descry nonsense ") == []
    assert doctest.testmod(completion).failed == 0


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_descry(tmp_path):
    """Bash itself, with the line that it is given, as after a press of Tab."""
    (tmp_path / "descry").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m descry "$@"\n')
    (tmp_path / "descry").chmod(0o755)
    script = (
        'eval "$(descry --completion bash)"; complete -p descry; '
        'COMP_LINE="descry gallery rel" COMP_POINT=18 descry --complete descry rel gallery'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=os.environ | {"PATH": path})
    assert done.stdout.splitlines()[-1] == "relocate", done.stderr
    assert "descry --complete" in done.stdout


def test_a_shell_that_is_not_known_is_named(capsys):
    status, _, err = run(capsys, "--completion", "tcsh")
    assert status == 2
    assert "allowed: bash, fish, zsh" in err


def test_arguments_are_named_by_what_they_are():
    """No type of Python and no {None} stands in the help of any command."""
    wrong = {}
    for verb in VERBS:
        for action in parser_of(verb)._actions:
            said = action.metavar if isinstance(action.metavar, str) else ""
            if re.search(r"\b(STR|INT|FLOAT)\b|None", said):
                wrong[f"{verb} {action.dest}"] = said
    assert wrong == {}


def test_the_gallery_comes_first_and_the_name_behind_it():
    for verb in VERBS:
        places = [a.metavar for a in parser_of(verb)._actions if not a.option_strings]
        if "GALLERY" in places:
            assert places[0] == "GALLERY", verb
        named = [place.strip("[]").removesuffix(" ...") for place in places]
        if {"NAME", "NAMES"} & {*named} and "GALLERY" in places:
            assert named[1] in ("NAME", "NAMES"), verb


def test_every_error_has_an_exit_status_of_the_table():
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.DescryError)]
    assert {kind.exit_status for kind in kinds} <= EXITS.keys()
    page = (Path(__file__).parents[1] / "docs" / "commands.md").read_text("utf-8")
    assert all(f"| {number} | {text} |" in page for number, text in EXITS.items())
    assert GROUPS
