"""The edges that a newcomer meets first: mistyped paths, missing extras, a real model, results in Python."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from conftest import hub_folder, write_joining_run
from descry import Gallery, Query, Results
from descry.cli import GROUPS, VERBS, function_of, main
from descry.embed import load
from descry.errors import ImageRejected, UsageError
from descry.library import default_model, fetched


@pytest.fixture(scope="module")
def place(tmp_path_factory, toy) -> Path:
    """run/, gallery/ of the toy's photographs and drawn.png."""
    root = tmp_path_factory.mktemp("edges")
    write_joining_run(root / "run", "a toy: no evidence of accuracy")
    crops = Path(toy.test["sketch"].photos[0].path).parent
    with Gallery.create(root / "gallery", load(root / "run", device="cpu")) as gallery:
        gallery.index(crops, exclude=["*sketch*"])
    (root / "drawn.png").write_bytes((crops / "00_sketch.png").read_bytes())
    return root


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DESCRY_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def run(capsys, *args) -> tuple[int, str, str]:
    status = main([str(a) for a in args])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return status, out, err


BAD_PATHS = ["nope.png", "", "/", "~/nope.png", "a\x00b.png", "x" * 300 + ".png"]


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize(
    "command", ["search --sketch", "search --image", "inquiry new --sketch", "inquiry new --image"]
)
def test_a_mistyped_picture_is_one_line_and_nothing_is_kept(place, capsys, command, path) -> None:
    verb, *rest = command.split()
    before = sorted(p.name for p in (place / "gallery").iterdir() if p.suffix not in (".jsonl", ".db-wal", ".db-shm"))
    args = [verb, *rest[:-1], place / "gallery", *(["x"] if verb == "inquiry" else []), rest[-1], path]
    status, out, err = run(capsys, *args)
    assert status == 2
    assert not out
    assert len(err.strip().splitlines()) == 1
    assert "cannot be read" in err
    status, out, _ = run(capsys, "inquiry", "list", place / "gallery")
    assert (status, out.strip()) == (0, "no inquiry yet")
    assert before


def test_a_mistyped_picture_in_python_is_named(place) -> None:
    with Gallery.open(place / "gallery") as gallery, pytest.raises(ImageRejected, match=re.escape("'nope.png'")):
        gallery.search(sketch="nope.png")


PATHS = {
    "search": [
        *(["NOPE"], ["G", "red", "--csv", "NOPE/dir/x.csv"]),
        *(["G", "red", "--sheet", "x.foo"], ["G", "red", "--sheet", "/"]),
    ],
    "verify": [["NOPE"]],
    "serve": [["NOPE", "--no-browser"], *(["G", "--no-browser", "--port", port] for port in ("80801", "-1"))],
    "gallery info": [["NOPE"]],
    "gallery list": [["NOPE"]],
    "index": [
        *(["NOPE", "--out", "NEW"], ["FILE", "--out", "NEW"]),
        *(["CROPS", "--out", "FILE"], ["CROPS", "--out", "NEW", "--table", "NOPE"]),
    ],
    "train": [["zero_shot", "--data", "NOPE", "--out", "NEW"]],
    "evaluate": [["NOPE", "--data", "NOPE"], ["R", "--data", "NOPE"]],
    "model info": [["NOPE"], ["FILE"]],
    "convert": [["NOPE", "--out", "NEW"], ["FILE", "--out", "NEW"]],
    "compare": [["NOPE", "NOPE"], ["/", "/"]],
    "report": [["NOPE", "--gallery", "G"]],
    "simulate": [["NOPE"]],
    "data check": [["NOPE"]],
    "export": [["NOPE", "--out", "NEW"]],
    "audit verify": [["NOPE"]],
    "purge": [["NOPE"]],
    "chat": [["NOPE"]],
    "merge": [["NOPE", "--out", "NEW"]],
}  # fmt: skip


@pytest.mark.parametrize(("verb", "args"), [(v, a) for v, rows in PATHS.items() for a in rows])
def test_a_wrong_path_is_one_line_with_a_status(place, tmp_path, capsys, verb, args) -> None:
    (tmp_path / "file.txt").write_text("nothing to read here")
    named = {"NOPE": tmp_path / "nope", "G": place / "gallery", "R": place / "run", "NEW": tmp_path / "new"}
    named |= {"FILE": tmp_path / "file.txt", "CROPS": place}
    words = [re.sub(r"^(NOPE|G|R|NEW|FILE|CROPS)(?=$|/)", lambda m: str(named[m[0]]), a) for a in args]
    status, _, err = run(capsys, *verb.split(), *words)
    assert status in ((2, 4) if "NOPE" in args else (1, 2, 4, 5)), err
    assert "unexpected" not in err, err
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "nope").exists()


NUMBERS = {
    "--threads": [-1, 5000],
    "--batch-size": [-5],
    "--seed": [-1],
}


@pytest.mark.parametrize(("option", "value"), [(o, v) for o, values in NUMBERS.items() for v in values])
@pytest.mark.parametrize("verb", ["search", "index", "train", "evaluate", "model info", "model compose"])
def test_numbers_have_bounds_before_anything_is_done(place, tmp_path, capsys, verb, option, value) -> None:
    needed = {
        "search": [place / "gallery", "red"],
        "index": [place],
        "train": ["baseline", "--data", "x", "--out", tmp_path / "o", "--from", "demo"],
    }
    needed |= {
        "evaluate": [place / "run"],
        "model info": [place / "run"],
        "model compose": [place / "run", "--data", "x"],
    }
    status, out, err = run(capsys, *verb.split(), *needed[verb], option, value)
    assert (status, out) == (2, "")
    assert option in err


def test_the_web_extra_is_named_where_it_is_missing(place) -> None:
    code = (
        "import sys\nfor name in ('fastapi', 'uvicorn', 'starlette'): sys.modules[name] = None\n"
        f"from descry.cli import main\nsys.exit(main(['serve', {str(place / 'gallery')!r}, '--no-browser']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "pip install" in done.stderr
    assert "web]" in done.stderr


def test_words_stand_alone_on_the_command_line(place, capsys) -> None:
    status, out, err = run(capsys, "search", place / "gallery", "a red top", "-k", 3)
    assert status == 0, err
    assert len(out.splitlines()) == 3
    again = run(capsys, "search", place / "gallery", "--text", "a red top", "-k", 3)[1]
    assert again == out
    assert "Leads are not identifications" in err


def test_every_search_says_what_the_model_is_no_evidence_of_and_what_it_cannot_read(place, capsys, monkeypatch) -> None:
    import io

    gallery = place / "gallery"
    for args in (("search", gallery, "red xyzzy"), ("inquiry", "new", gallery, "notes", "--text", "red xyzzy top")):
        status, _, err = run(capsys, *args)
        assert status == 0, err
        assert "no evidence of accuracy" in err
        assert "'xyzzy'" in err
    told = json.loads(run(capsys, "inquiry", "show", gallery, "notes", "--json")[1])
    assert "no evidence of accuracy" in told["note"]
    monkeypatch.setattr("sys.stdin", io.StringIO("red xyzzy\nhelp\nquit\n"))
    status, _, err = run(capsys, "chat", gallery, "talk")
    assert status == 0
    assert "no evidence of accuracy" in err
    assert "'xyzzy'" in err
    assert [line.split()[0] for line in run(capsys, "inquiry", "list", gallery)[1].splitlines()] == ["notes", "talk"]
    for name in ("notes", "talk"):
        assert run(capsys, "inquiry", "delete", gallery, name)[0] == 0


def test_words_that_the_model_does_not_know_at_all_are_refused(place, capsys) -> None:
    status, out, err = run(capsys, "search", place / "gallery", "xyzzy flibbertigibbet")
    assert (status, out) == (2, "")
    assert "does not know 'xyzzy', 'flibbertigibbet'" in err
    assert run(capsys, "inquiry", "new", place / "gallery", "odd", "--text", "xyzzy")[0] == 2
    assert run(capsys, "inquiry", "list", place / "gallery")[1].strip() == "no inquiry yet"
    assert run(capsys, "search", place / "gallery", "xyzzy", "--sketch", place / "drawn.png")[0] == 0


def test_from_a_real_model_to_a_search_over_own_photographs_in_three_commands(tmp_path, models, capsys) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(6):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (64, 32, 3), np.uint8)).save(photos / f"{i}.jpg")
    assert default_model() == "demo"
    status, out, err = run(capsys, "model", "get", hub_folder(tmp_path / "clip"), "--name", "openai/clip-tiny")
    assert status == 0, err
    assert "ready" in out
    assert fetched("openai/clip-tiny") == Path(default_model())
    assert not [p for p in models.iterdir() if "partial" in p.name]
    status, _, err = run(capsys, "index", photos, "--out", tmp_path / "gallery")
    assert status == 0, err
    assert "clip-tiny" in err
    status, out, err = run(capsys, "search", tmp_path / "gallery", "a man in a red jacket", "-k", 3, "--json")
    assert status == 0, err
    assert len(json.loads(out)["results"]) == 3
    assert load("openai/clip-tiny", device="cpu").pretrained
    again = run(capsys, "model", "get", "openai/clip-tiny", "--json")
    assert json.loads(again[1])["new"] is False


def test_a_model_that_cannot_be_fetched_says_what_to_bring_and_where(tmp_path, models, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    status, _, err = run(capsys, "model", "get", "openai/clip-vit-base-patch16", "--offline")
    assert status == 4
    for name in ("config.json", "model.safetensors", "ViT-B-16.pt", "descry model get"):
        assert name in err
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (32, 64)).save(photos / "a.jpg")
    status, _, err = run(capsys, "index", photos, "--out", tmp_path / "g", "--model", "openai/clip-vit-base-patch16")
    assert status == 4
    assert "descry model get openai/clip-vit-base-patch16" in err
    assert not (tmp_path / "g").exists()
    assert run(capsys, "model", "get", tmp_path / "nowhere")[0] == 4
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    assert run(capsys, "model", "get", tmp_path / "broken")[0] == 4
    assert not models.exists() or not list(models.iterdir())
    weights = tmp_path / "fake.pt"
    weights.write_bytes(b"no model")
    assert "descry convert" in run(capsys, "model", "info", weights)[2]


def test_results_are_what_python_people_expect(place, tmp_path) -> None:
    with Gallery.open(place / "gallery") as gallery:
        found = gallery.search("a red top", sketch=str(place / "drawn.png"), exclude=["hat"], k=8)
        same = gallery.search(Query(str(place / "drawn.png"), (), "a red top", "hat"), 8)
        with pytest.raises(UsageError, match="put them into the Query"):
            gallery.search(Query(wanted="red"), exclude="hat")
        assert "32 items" in repr(gallery)
        assert "Model(" in repr(gallery.model)
        vector = gallery.model.encode_text("a red top")
        assert vector.shape == gallery.model.encode_image(str(place / "drawn.png")).shape
        assert gallery.model.encode_text(["a red top", "a hat"]).shape == (2, len(vector))
        session = gallery.inquiry("from python")
        assert session.ask(Query(wanted="a red top")).ids
        assert gallery.inquiry("from python").inquiry.current.change == "new query"
    assert found.ids == same.ids
    assert isinstance(found[:3], Results)
    assert found[:3].ids == found.ids[:3]
    assert [lead.rank for lead in found] == list(range(1, 9))
    assert found[-1].path == found.paths[-1]
    assert sum(found[0].parts.values()) == pytest.approx(found[0].score, abs=1e-4)
    with pytest.raises(IndexError):
        found[8]
    text = repr(found)
    assert len(text) < 2000
    assert "not identifications" in text
    html = found._repr_html_()
    assert html.count("<img") == 8
    assert "http" not in html
    found.to_csv(tmp_path / "leads.csv")
    assert len((tmp_path / "leads.csv").read_text().splitlines()) == 9
    sheet = found.sheet(tmp_path / "leads.png")
    with Image.open(tmp_path / "leads.png") as written:
        assert written.size == sheet.size
    with pytest.raises(UsageError, match="png"):
        found.sheet(tmp_path / "leads.foo")


@pytest.mark.parametrize("args", [["help"], ["--help"], ["help", "search"], ["version"], ["-V"], ["--version"]])
def test_help_and_version_under_their_usual_names(capsys, args) -> None:
    status, out, _ = run(capsys, *args)
    assert status == 0
    assert "descry" in out


def test_a_mistyped_command_suggests_one_and_lists_none(capsys) -> None:
    status, _, err = run(capsys, "serch")
    assert status == 2
    assert "did you mean 'search'" in err
    assert len(err) < 120


def test_the_overview_is_grouped_and_says_the_exit_statuses(capsys) -> None:
    _, out, _ = run(capsys, "--help")
    headings = [line[:-1] for line in out.splitlines() if line.endswith(":")]
    assert headings == [*GROUPS, "with every command", "exit status"]
    assert all(re.search(rf"^  {verb} ", out, re.M) for verb in VERBS)
    assert re.search(r"^exit status:\n +0 +done$", out, re.M)


def test_output_that_cannot_hold_a_name_is_escaped(place, tmp_path) -> None:
    import os
    import shutil

    crops = tmp_path / "日本語"
    crops.mkdir()
    Image.new("RGB", (32, 64), "red").save(crops / "фото.jpg")
    with Gallery.create(tmp_path / "g", load(place / "run", device="cpu")) as gallery:
        gallery.index(str(crops))
    for args in (["gallery", "list", str(tmp_path / "g")], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "descry", *args], capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}
        )
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
    assert shutil


def test_an_unexpected_error_is_one_line_unless_the_place_is_asked_for(capsys, monkeypatch, place) -> None:
    monkeypatch.setattr("descry.gallery.Gallery.open", lambda *a, **k: 1 / 0)
    status, _, err = run(capsys, "search", place / "gallery", "red")
    assert status == 1
    assert "--traceback" in err
    with pytest.raises(ZeroDivisionError):
        main(["search", str(place / "gallery"), "red", "--traceback"])


def test_what_is_no_checkpoint_is_said_before_a_vocabulary_is_asked_for(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("words")
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "config.json").write_text('{"format": 1, "method": "propot"}')
    for given, says in (
        (tmp_path / "nope.pt", "there is no file or folder"),
        (page, "is not a checkpoint"),
        (run_folder, "is a run folder already"),
    ):
        status, _, err = run(capsys, "convert", given, "--out", tmp_path / "out")
        assert status in (2, 4)
        assert says in err, err


def test_a_model_that_does_not_load_fails_the_examination(tmp_path, capsys):
    status, out, _ = run(capsys, "doctor", "--model", tmp_path / "nope", "--quick")
    assert status == 4
    assert "there is no folder" in out


def test_a_pattern_that_fits_no_path_is_named(tmp_path, capsys):
    import numpy as np
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(3):
        pixels = np.random.default_rng(n).integers(0, 255, (96, 48, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"north_{n}.png")
    command = ("index", photos, "--model", "demo", "--out", tmp_path / "g")
    status, _, err = run(capsys, *command, "--dry-run", "--camera-from", r"cam(\d+)", "--track-from", r"_(\d)")
    assert status == 0
    assert "--camera-from 'cam(\\d+)' fits none of the 3 paths" in err
    assert "--track-from" not in err


NOT_TRIED = ("serve", "demo", "doctor", "people", "data miniature", "data list", "sketch compose", "model get", "ready")
"""Commands that need no file, or write where they are told to."""


def arguments(verb: str, bad: str) -> list[str]:
    """The fewest arguments that a command takes, with a bad path wherever one is needed."""
    out: list[str] = []
    signature = inspect.signature(function_of(verb)).parameters
    hints = get_type_hints(function_of(verb))
    for place, (name, parameter) in enumerate(signature.items()):
        value = "1" if hints[name] is int else bad
        if parameter.kind is parameter.POSITIONAL_ONLY:
            out += [value] if parameter.default is parameter.empty or not place else []
        elif parameter.default is parameter.empty:
            option = {"from_": "--from", "round_": "--round"}.get(name, f"--{name.replace('_', '-')}")
            out += [option, value if name not in ("out", "to") else "NEW.png"]
    return out


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in NOT_TRIED])
def test_every_command_refuses_every_bad_path_in_one_line(verb, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DESCRY_MODELS", str(tmp_path / "models"))
    (tmp_path / "file.txt").write_bytes(b"nothing\xff")
    for bad in ("nope", "", "a\x00b", "file.txt", "x" * 300):
        status, out, err = run(capsys, *verb.split(), *arguments(verb, bad))
        if (verb, bad) in {("gallery inspect", "file.txt"), ("gallery inspect", "nope")}:
            continue  # it says what a folder is, whatever it is
        assert status in (1, 2, 4, 5), (bad, out, err)
        assert "unexpected" not in err
        lines = [line for line in err.splitlines() if not line.startswith(("note:", "model:"))]
        assert len(lines) == 1 or "usage" in err or "Unrecognized" in err, (bad, err)


def test_what_is_no_gallery_has_no_inquiries(tmp_path, capsys) -> None:
    status, out, err = run(capsys, "inquiry", "list", tmp_path)
    assert (status, out) == (2, "")
    assert "is not a gallery" in err
    (tmp_path / "account.jsonl").write_text("no account")
    status, out, err = run(capsys, "audit", "verify", tmp_path / "account.jsonl")
    assert (status, out) == (2, "")
    assert "holds no line of an account" in err


def test_a_name_of_a_model_stands_for_one(tmp_path, models, capsys) -> None:
    """A second `model get` under the same name, of other weights, does not answer with those of the first."""
    assert run(capsys, "model", "get", hub_folder(tmp_path / "a" / "clip"))[0] == 0
    status, out, _ = run(capsys, "model", "get", tmp_path / "a" / "clip")
    assert (status, "was there already" in out) == (0, True)
    other = hub_folder(tmp_path / "b" / "clip")
    weights = load_file(other / "model.safetensors")
    save_file({k: v + 1 for k, v in weights.items()}, other / "model.safetensors")
    capsys.readouterr()
    status, _, err = run(capsys, "model", "get", other)
    assert (status, len(err.strip().splitlines())) == (2, 1), err
    assert "clip is there already with other weights" in err
    assert run(capsys, "model", "get", other, "--name", "another")[0] == 0
    assert run(capsys, "model", "get", tmp_path / "a" / "clip", "--name", "another")[0] == 2


def test_a_run_that_began_with_another_checkpoint_is_not_gone_on_with(tmp_path) -> None:
    from descry.convert import digest_of_files
    from descry.training.start import VOCABULARY, _converted

    def write(name: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / VOCABULARY).touch()
        (tmp_path / name / "w.pt").write_bytes(name.encode())
        return tmp_path / name / "w.pt"

    first, second = write("a"), write("b")
    (tmp_path / "run" / "start").mkdir(parents=True)
    held = {"about": {"sha256": digest_of_files(first)}}
    (tmp_path / "run" / "start" / "config.json").write_text(json.dumps(held))
    assert _converted(first, tmp_path / "run") == tmp_path / "run" / "start"
    with pytest.raises(UsageError, match="was made of other weights"):
        _converted(second, tmp_path / "run")
