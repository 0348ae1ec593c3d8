"""The command line: instant help, near misses, one clear line for what cannot be done."""

import json
import re
import subprocess
import sys

import pytest

from conftest import SHARED, quick, toy_clip, toy_words, write_toy
from descry.checkpoint import save_model
from descry.cli import VERBS, main, overview
from descry.methods.interactreid import PRESETS, InteractReID


@pytest.fixture
def run(tmp_path):
    from dataclasses import replace

    words = toy_words()
    config = quick(replace(PRESETS["recommended"], stage=2, mapping_hidden=16))
    save_model(
        tmp_path / "run",
        InteractReID(toy_clip(words), words, config, 0),
        "interactreid",
        "recommended",
        {"note": "toy"},
    )
    return tmp_path / "run"


def said(capsys, *args):
    status = main([str(a) for a in args])
    out, err = capsys.readouterr()
    return status, out, err


def test_help_imports_no_torch():
    code = (
        "import sys; from descry.cli import main; main(['--help']); sys.exit(bool({'torch', 'tyro'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "descry search" not in done.stderr
    assert "search" in done.stdout


def test_help_lists_every_verb(capsys):
    assert said(capsys, "--help")[0] == 0
    assert all(verb in overview() for verb in VERBS)
    assert "gallery info" in overview("gallery")
    assert "train" not in overview("gallery").split("usage")[1]
    assert said(capsys)[0] == 2
    assert said(capsys, "--version")[1].startswith("descry ")


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_a_function_and_help(verb, capsys):
    status, out, err = said(capsys, *verb.split(), "--help")
    assert status == 0, err
    assert "usage" in out


def test_near_misses(capsys):
    status, _, err = said(capsys, "serch")
    assert status == 2
    assert "did you mean 'search'" in err
    status, _, err = said(capsys, "gallery", "inffo")
    assert status == 2
    assert "'gallery info'" in err
    status, _, err = said(capsys, "search", "g", "--sketsh", "a.png")
    assert status == 2
    assert "--sketch" in err


def test_repeated_options_append(capsys, monkeypatch, tmp_path):
    import descry.cli.search as module

    seen = {}
    monkeypatch.setattr(
        "descry.query.Query.__post_init__", lambda self: seen.update(texts=self.wanted, nots=self.unwanted)
    )
    said(capsys, "search", tmp_path, "--text", "a", "--text", "b", "--not", "c", "--not", "d")
    assert seen == {"texts": ("a", "b"), "nots": ("c", "d")}
    assert module.search


def test_train_evaluate_index_search(capsys, tmp_path, monkeypatch):
    """The first journey on a toy: every command as a user types it."""
    from descry_people.folder import write_people

    data = write_people(
        tmp_path / "people",
        24,
        photos=2,
        sketches=1,
        captions=1,
        splits={"train": 16, "val": 4, "test": 4},
        processes=1,
    )
    common = ("--data", data, "--precision", "fp32", "--device", "cpu", "--threads", "1", "--set", "composed=1")
    small = ("--image-size", 32, 16, "--epochs", 1, "--batch-size", 8, "--set", "mapping_hidden=16")
    status, out, err = said(
        capsys, "train", "interactreid", "--from", "random", "--out", tmp_path / "one", *common, *small
    )
    assert status == 0, err
    assert re.search(r"selected on val.* \(mean R@1 \d+\.\d; by epoch: \d+\.\d\)", out), out
    assert f"then: descry model measure {tmp_path / 'one'} --data {data}" in out
    status, out, err = said(
        capsys, "train", "interactreid", "--stage", 2, "--from", tmp_path / "one", "--out", tmp_path / "two", "--json",
        *common, "--epochs", 1, "--batch-size", 8, "--set", "mapping_hidden=16",
    )  # fmt: skip
    assert status == 0, err
    assert json.loads(out)["about"]["history"][1]["stage"] == 2
    status, out, err = said(
        capsys, "train", "interactreid", "--from", "random", "--out", tmp_path / "one", *common, *small
    )
    assert status == 2
    assert "--resume" in err
    status, out, err = said(capsys, "evaluate", tmp_path / "two", "--data", data, "--json", "--device", "cpu")
    assert status == 0, err
    results = json.loads(out)["results"]
    assert {(r["benchmark"], r["composition"]) for r in results} >= {
        ("text", ""),
        ("sketch+text", "early"),
        ("photo+text", "pseudo"),
    }
    status, out, err = said(
        capsys, "index", data / "photos", "--model", tmp_path / "two", "--out", tmp_path / "gallery"
    )
    assert status == 0, err
    sketch = next((data / "sketches").iterdir())
    status, out, err = said(
        capsys, "search", tmp_path / "gallery", "--sketch", sketch, "--text", "a red jacket", "--text", "zyzzyva",
        "-k", 5, "--json", "--csv", tmp_path / "a.csv", "--sheet", tmp_path / "a.png", "--copy-to", tmp_path / "copies",
    )  # fmt: skip
    assert status == 0, err
    assert len(json.loads(out)["results"]) == 5
    assert "zyzzyva" in err
    assert (tmp_path / "a.csv").read_text().count("\n") == 6
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert len(list((tmp_path / "copies").iterdir())) >= 5


def test_what_cannot_be_done_is_one_clear_line(capsys, tmp_path, run):
    toy = tmp_path / "toy"
    toy.mkdir()
    write_toy(toy, people=4)
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out"
    cases = [
        (("index", tmp_path / "absent", "--model", run, "--out", out), "absent"),
        (("index", empty, "--model", run, "--out", out), "empty"),
        (("index", toy, "--model", tmp_path / "nothing", "--out", out), "nothing"),
        (("index", toy, "--model", "some-one/some-clip", "--out", out), "allow-download"),
        (("search", tmp_path / "absent", "--text", "a"), "absent"),
        (("evaluate", run, "--data", tmp_path / "absent"), "absent"),
        (("evaluate", tmp_path / "nothing", "--data", toy), ""),
        (("train", "interactrid", "--data", toy, "--from", "random", "--out", out), ""),
        (("train", "interactreid", "--data", toy, "--from", tmp_path / "x.pt", "--out", out), ""),
    ]
    for args, text in cases:
        status, stdout, err = said(capsys, *args)
        assert status != 0, args
        assert text in err, (args, err)
        assert "Traceback" not in err
        assert len(err.strip().splitlines()) <= 3, err
        assert not out.exists(), args
        assert stdout == ""


def test_set_refuses_unknown_fields_and_wrong_types(capsys, tmp_path):
    from descry_people.folder import write_people

    data = write_people(tmp_path / "people", 4, photos=1, sketches=1, captions=1, splits={"train": 4}, processes=1)
    base = ("train", "interactreid", "--data", data, "--from", "random", "--out", tmp_path / "out")
    status, _, err = said(capsys, *base, "--set", "alhpa=1")
    assert status == 2
    assert "did you mean 'alpha'" in err
    status, _, err = said(capsys, *base, "--set", "alpha=much")
    assert status == 2
    assert "expected a value like" in err
    status, _, err = said(capsys, *base, "--preset", "papper")
    assert status == 2
    assert "did you mean 'paper'" in err


@pytest.mark.skipif(
    not (SHARED / "data" / "people_ccby").is_dir(), reason="the CC BY photographs are not on this machine"
)
def test_real_photographs_can_be_indexed_and_searched(capsys, tmp_path):
    photos = SHARED / "data" / "people_ccby"
    status, out, err = said(capsys, "index", photos, "--model", "demo", "--out", tmp_path / "g", "--device", "cpu")
    assert status == 0, err
    assert "holds 202 items" in out
    status, out, err = said(capsys, "search", tmp_path / "g", "--text", "a person in a dark jacket", "-k", 3)
    assert status == 0, err
    assert len(out.strip().splitlines()) == 3
    assert "no evidence of accuracy" in err


@pytest.mark.skipif(not (SHARED / "data" / "clip_bpe").is_dir(), reason="the merges file of OpenAI's CLIP is not here")
def test_training_starts_from_the_file_the_released_readme_names(capsys, tmp_path):
    """checkpoint/ViT-B-16.pt with its vocabulary beside it, as a state dict under OpenAI's names (a tiny one)."""
    import shutil

    import torch

    from descry.clip import random_clip
    from descry_people.folder import write_people
    from test_clip import openai_names

    data = write_people(tmp_path / "people", 8, photos=1, sketches=1, captions=1, splits={"train": 8}, processes=1)
    clip = random_clip((32, 32), 8, vocabulary=49408, end=49407, placeholder=265)
    file = tmp_path / "checkpoint" / "ViT-B-16.pt"
    file.parent.mkdir()
    torch.save(openai_names(clip), file)
    base = ("train", "interactreid", "--data", data, "--from", file, "--image-size", 32, 16, "--epochs", 1)
    base = (*base, "--batch-size", 4, "--device", "cpu", "--threads", 1, "--out", tmp_path / "run")
    status, _, err = said(capsys, *base)
    assert status == 4
    assert "bpe_simple_vocab_16e6.txt.gz" in err
    shutil.copy(SHARED / "data" / "clip_bpe" / "bpe_simple_vocab_16e6.txt.gz", file.parent)
    status, _, err = said(capsys, *base)
    assert status == 0, err
    about = json.loads((tmp_path / "run" / "config.json").read_text())["about"]
    assert about["pretrained"] is True
    assert about["history"][0]["from"] == "ViT-B-16.pt"
