"""What a new user meets in the first ten minutes, and was told wrongly or not at all: a test for each."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from account import crop
from conftest import write_run
from descry.cli import main
from descry.errors import DISTRIBUTION

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(p for p in (ROOT / "src").rglob("*") if p.suffix in (".py", ".js", ".html")),
]


@pytest.fixture
def place(tmp_path, monkeypatch, capsys) -> Path:
    """Six crops in two folders of cameras, and a gallery of them."""
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        crop(tmp_path / "crops", i)
    run = write_run(tmp_path / "run")
    assert main(["index", "crops", "--model", str(run), "--out", "g", "--camera-from", "dirname"]) == 0
    capsys.readouterr()
    return tmp_path


def run(capsys, *args: object) -> tuple[int, str, str]:
    status = main([str(a) for a in args])
    return status, *capsys.readouterr()


def test_every_hint_installs_this_package_and_not_a_stranger_s():
    wrong = re.compile(rf"pip install (?:-e )?['\"]?(?!{DISTRIBUTION})descry\b")
    assert [p.name for p in TEXTS if wrong.search(p.read_text("utf-8"))] == []


def test_a_folder_that_was_moved_is_followed_by_the_command_that_is_named(place, capsys):
    (place / "crops").rename(place / "moved")
    status, _, err = run(capsys, "search", "g", "red", "-k", "2", "--sheet", "s.png", "--copy-to", "copies")
    assert status == 0
    assert "descry gallery relocate GALLERY OLD NEW" in err
    assert "copied 0 pictures" in err
    assert run(capsys, "gallery", "relocate", "g", place / "crops", place / "moved")[0] == 0
    assert "relocate" not in run(capsys, "search", "g", "red")[2]


def test_a_folder_that_was_moved_and_indexed_again_is_told_and_joined(place, capsys):
    (place / "crops").rename(place / "moved")
    _, out, err = run(capsys, "index", "moved", "--out", "g")
    assert "g holds 12 items" in out
    assert "if it was moved here, join both: descry gallery relocate g OLD NEW" in err
    assert run(capsys, "gallery", "relocate", "g", place / "crops", place / "moved")[0] == 0
    assert "6 items" in run(capsys, "search", "g", "red")[2]
    assert "relocate" not in run(capsys, "index", "moved", "--out", "g")[2]


def test_negated_words_are_understood_and_said(place, capsys):
    assert "NOT hat (--verbatim keeps the words)" in run(capsys, "search", "g", "red top, no hat")[2]


def test_a_search_takes_words_as_one_phrase_and_an_inquiry_as_several(place, capsys):
    """As docs/first-search.md says, where both stand in one tutorial."""
    words = "red top, blue trousers"
    searched = json.loads(run(capsys, "search", "g", words, "--json")[1])
    assert list(searched["results"][0]["parts"]) == [f"text: {words}"]
    run(capsys, "inquiry", "new", "g", "case", words)
    _, _, tree = run(capsys, "inquiry", "show", "g", "case")
    assert "1. red top, blue trousers" in tree
    exported = json.loads(run(capsys, "inquiry", "export", "g", "case")[1])
    assert [part["text"] for part in exported["rounds"][0]["query"]["wanted"]] == ["red top", "blue trousers"]


def test_filters_that_leave_nothing_say_which_and_how_many(place, capsys):
    status, out, err = run(capsys, "search", "g", "red", "--camera", "nowhere")
    assert (status, out) == (0, "")
    assert "--camera excluded all of 6 items" in err
    assert "no item has the camera 'nowhere'" in err
    assert "no item fits; g holds 6 items" in run(capsys, "gallery", "list", "g", "--camera", "nowhere")[2]


def test_outputs_are_named_where_they_were_written(place, capsys):
    files = ["--csv", "out.csv", "--sheet", "new/out.png", "--copy-to", "copies"]
    _, _, err = run(capsys, "search", "g", "red", "-k", "2", *files)
    for said in ("table: out.csv", "contact sheet: new/out.png", "copied 2 pictures to copies"):
        assert said in err


def test_an_item_that_is_not_there_is_not_deleted_in_silence(place, capsys):
    status, _, err = run(capsys, "gallery", "delete", "g", "--item", 99999)
    assert status == 2
    assert "holds no item 99999" in err


def test_a_device_that_is_not_here_is_refused(place, capsys):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    status, _, err = run(capsys, "search", "g", "red", "--device", "cuda")
    assert status == 2
    assert "--device cpu" in err


def test_a_dry_run_says_what_it_cannot_know(place, capsys):
    (place / "crops" / "broken.jpg").write_bytes(b"no picture")
    _, out, err = run(capsys, "index", "crops", "--out", "g", "--dry-run")
    assert "would be added 1" in out
    assert "a dry run opens no picture" in err
    _, out, err = run(capsys, "index", "crops", "--out", "g")
    assert "skipped 1" in out
    assert "a dry run" not in err


def test_the_photograph_that_was_given_is_marked_where_it_comes_back(place, capsys):
    photo = next((place / "crops").rglob("*.png"))
    _, _, err = run(capsys, "search", "g", "--image", photo)
    assert "note: rank 1 is the file that was given with --image" in err
    (place / "crops").rename(place / "elsewhere")
    other = place / "other.png"
    other.write_bytes(next((place / "elsewhere").rglob("*.png")).read_bytes() + b"\0")
    assert "was given with --image" not in run(capsys, "search", "g", "--image", other)[2]


def test_info_says_whether_absence_can_be_told(place, capsys):
    assert re.search(r"^calibrated +none$", run(capsys, "gallery", "info", "g")[1], re.M)


def test_the_page_shows_heads():
    style = (ROOT / "src" / "descry" / "web" / "static" / "style.css").read_text("utf-8")
    tile = re.search(r"\.card img \{[^}]*\}", style)
    assert tile
    assert "object-fit: contain" in tile[0]


def test_the_metadata_name_platforms_topic_and_state():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for kind in ("Development Status", "Operating System", "Topic", "Intended Audience", "Typing"):
        assert f'"{kind} ::' in text
    assert 'authors = [{ name = "' in text


def test_the_examination_names_every_extra_that_is_not_there(monkeypatch):
    from descry import doctor

    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    (finding,) = doctor._extras()
    for extra in ("data", "fast", "figures", "lora", "milvus", "tensorboard", "video", "web"):
        assert re.search(rf"[\[,]{extra}[\],]", finding.advice), extra


@pytest.mark.parametrize(
    ("command", "extra"), [("plot", "figures"), ("data sketch", "data"), ("crop", "video"), ("export", "fast")]
)
def test_a_tutorial_names_the_extra_that_its_commands_need(command, extra):
    """Every page with such a line in a block of commands says how to install what it needs."""
    pages = [p for p in (ROOT / "docs").glob("*.md") if p.name not in ("commands.md", "results.md")]
    lacking = [
        p.name
        for p in pages
        if re.search(rf"^descry {command} ", p.read_text("utf-8"), re.M)
        and not re.search(rf"\[[a-z,]*\b{extra}\b[a-z,]*\]'|extra `{extra}`", p.read_text("utf-8"))
    ]
    assert lacking == []


def test_ctrl_c_is_an_interruption_whatever_a_library_makes_of_it(capsys, monkeypatch):
    import signal

    from descry import cli
    from descry.errors import ModelRefused

    def load(args: list[str]) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ModelRefused("model.safetensors cannot be read as safetensors") from None
        return 0

    monkeypatch.setattr(cli, "_run", load)
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)
    assert run(capsys, "search")[::2] == (130, "descry: interrupted; what was committed is kept\n")


def test_what_came_before_the_first_step_says_nothing_about_the_time_that_is_left(capsys, monkeypatch):
    """Loading, or looking for the best encoder, took a minute; then 16 pictures a second."""
    from types import SimpleNamespace

    from descry.cli import progress

    now = iter([0.0, 60.0, 60.0, 72.0, 72.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(now)))
    tick = progress._lines("indexing")
    tick("indexing", 8, 400)
    tick("indexing", 200, 400)
    assert capsys.readouterr().err.splitlines() == ["indexing: 8/400", "indexing: 200/400, 16.0/s, 12 s left"]


def test_a_table_of_ones_own_is_counted_without_a_column_of_unknown(place, capsys):
    (place / "own").mkdir()
    crop(place / "own", 0)
    photo = next((place / "own").rglob("*.png"))
    table = place / "own" / "table.csv"
    table.write_text(f"split,pid,path,caption\ntrain,1,{photo.relative_to(place / 'own')},a red coat\n")
    status, out, err = run(capsys, "data", "check", "table", "own")
    assert status == 0, err
    assert "train captions" in out
    assert "unknown" not in out


def test_one_is_no_plural(place, capsys):
    _, _, err = run(capsys, "search", "g", "red", "-k", "1")
    assert "1 lead of 6 items" in err
    _, out, _ = run(capsys, "audit", "verify", "g")
    assert not re.search(r"\b1 [a-z]+s\b", out)
    assert run(capsys, "keep", "g")[1] == "no inquiry yet\n"


def test_a_few_full_frames_among_crops_are_told(place, capsys):
    from PIL import Image

    for i in range(2):
        Image.new("RGB", (640, 360), (40 * i, 90, 90)).save(place / "crops" / f"frame{i}.png")
    said = run(capsys, "index", "crops", "--out", "g")[2]
    assert "2 of 8 pictures have the shape of full frames" in said
    assert "descry crop" in said


def test_a_pattern_is_shown_as_it_was_typed(place, capsys):
    assert (
        r"--camera-from 'cam_(\d+)_' fits none"
        in run(capsys, "index", "crops", "--out", "g", "--camera-from", r"cam_(\d+)_")[2]
    )


def test_info_says_none_where_nothing_is_known(place, capsys):
    out = run(capsys, "gallery", "info", "g")[1]
    assert re.search(r"^times from +none$", out, re.M)
    assert re.search(r"^read-only +no$", out, re.M)


GONE = (
    "turns three published systems",
    "no CUDA package is taken",
    "need the environment in their terminal",
    "it is no evidence of accuracy on real people, and every search with it says so",
    "say of a lead",
    "decide whether it may be used",
    "people at work",
    "keeps out",
    "leads to be looked at",
    "are to be looked at",
    "said wrongly of",
    "false alarms of at most 0.05",
    "trade names",
    "nothing finer in the file to bring back",
    "(path)` stands there then",
    "what it had frozen moves again",
    "who has fewer rows than",
    "the very list",
    "mark has no effect any more",
    "Who is looked for",
    "What stands before it is a detector",
    "look so",
    "left the house",
    "leave the house",
    "leaves the house",
    "he has not seen",
    "Asks with",
    "bear its seal",
    "must not hold",
    "terms hold",
    "should work",
    "by clothes and colours",
    "several times faster",
)
"""Sentences that a reader had to read twice, and their kind."""


def test_sentences_that_had_to_be_read_twice_are_gone():
    found = {}
    for path in TEXTS:
        text = " ".join(path.read_text("utf-8").split())
        if wrong := [phrase for phrase in GONE if phrase in text]:
            found[str(path.relative_to(ROOT))] = wrong
    assert found == {}
