"""Shared by all tests: one torch thread, a tiny CLIP with its vocabulary, and a toy data set of coloured blocks."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from descry.checkpoint import save_model
from descry.clip import Clip, random_clip
from descry.methods import method_class, preset
from descry.query import Query
from descry.records import Benchmark, Dataset, Example, Photo, Probe
from descry.text import Words, word_level

torch.set_num_threads(1)
ROOTS = tempfile.TemporaryDirectory(prefix="descry-roots-")  # what tests allow is not what this user allows
os.environ["DESCRY_ROOTS"] = ROOTS.name

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (240, 240, 240)}
SHARED = Path(__file__).resolve().parents[2] / "shared"


def toy_words() -> Words:
    sentences = [f"a {a} top and {b} trousers" for a in COLOURS for b in COLOURS]
    return word_level([*sentences, "a photo of * , and a person no hat jacket backpack"])


def toy_clip(words: Words, seed: int = 0) -> Clip:
    return random_clip(vocabulary=len(words), end=words.end, placeholder=words.placeholder, seed=seed)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What was imported stays: the collector of cycles need not walk through it again and again (5 % of the time)."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="module")
def _engines_end():
    """Milvus's embedded engine would serve on, in threads of this process, until it ends."""
    yield
    if engine := sys.modules.get("milvus_lite.server_manager"):
        engine.server_manager_instance.release_all()


@pytest.fixture
def words() -> Words:
    return toy_words()


@pytest.fixture
def clip(words: Words) -> Clip:
    return toy_clip(words)


def write_run(folder: Path, seed: int = 0) -> Path:
    """A run folder that searches with a toy's random weights."""
    words = toy_words()
    method = method_class("zero_shot")(toy_clip(words, seed), words, preset("zero_shot", "recommended"), 0)
    save_model(folder, method, "zero_shot", "recommended", {"note": "a toy, no evidence of anything"})
    return folder


def write_joining_run(folder: Path, note: str = "") -> Path:
    """A run folder with random weights that answers sketches, words and both."""
    from descry.methods.interactreid import PRESETS, InteractReID

    words = toy_words()
    method = InteractReID(toy_clip(words), words, replace(PRESETS["released"], stage=2, mapping_hidden=12), 3).eval()
    save_model(folder, method, "interactreid", "released", {"note": note})
    return folder


def write_small_gallery(root: Path, toy: Dataset) -> Path:
    """run/, crops/ of six of the toy's photographs and gallery/ of them below root; root."""
    from descry import Gallery
    from descry.embed import load

    (root / "crops").mkdir()
    for photo in toy.test["sketch"].photos[:6]:
        shutil.copy(photo.path, root / "crops")
    with Gallery.create(root / "gallery", load(write_joining_run(root / "run"), device="cpu")) as gallery:
        gallery.index(root / "crops")
    return root


def write_toy(root: Path, people: int = 16, photos: int = 2) -> Dataset:
    """A person is a top and trousers of one colour each; a sketch is their lines; the same people in every split."""
    rng = np.random.default_rng(0)
    names = list(COLOURS)
    rows, gallery, probes = [], [], {k: [] for k in ("text", "sketch", "photo", "sketch+text", "photo+text")}
    for pid in range(people):
        top, legs = names[pid % 4], names[pid // 4 % 4]
        paths = [str(root / f"{pid:02d}_{k}.png") for k in range(photos)]
        for path in paths:
            pixels = np.zeros((32, 16, 3))
            pixels[:16], pixels[16:] = COLOURS[top], COLOURS[legs]
            Image.fromarray((pixels + rng.normal(0, 15, pixels.shape)).clip(0, 255).astype(np.uint8)).save(path)
        sketch = str(root / f"{pid:02d}_sketch.png")
        lines = np.full((32, 16, 3), 255, np.uint8)
        lines[:: pid % 4 + 2] = 0
        lines[:, :: pid // 4 % 4 + 2] = 0
        Image.fromarray(lines).save(sketch)
        caption = f"a {top} top and {legs} trousers"
        own = tuple(range(len(gallery), len(gallery) + photos))
        for k, path in enumerate(paths):
            rows.append(Example((path,), pid, caption, (sketch,), image_id=pid * photos + k))
            gallery.append(Photo(path, pid, camera=str(k)))
        probes["text"].append(Probe(Query(wanted=caption), pid))
        probes["sketch"].append(Probe(Query(sketches=sketch), pid, group="AB"[pid % 2]))
        probes["photo"].append(Probe(Query(photos=paths[0]), pid, ignore=own[:1]))
        probes["sketch+text"].append(Probe(Query(sketches=sketch, wanted=caption), pid))
        probes["photo+text"].append(Probe(Query(photos=paths[0], wanted=caption), pid, ignore=own[:1]))
    benches = {k: Benchmark(k, tuple(v), tuple(gallery)) for k, v in probes.items()}
    return Dataset("toy", tuple(rows), benches, benches, source="written by the tests")


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> dict[str, OSError]:
    """Folders that cannot be listed, whoever asks: path → error."""
    errors: dict[str, OSError] = {}
    scandir = os.scandir

    def refuse(path):
        if error := errors.get(os.fspath(path)):
            error.filename = os.fspath(path)
            raise error
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return errors


def quick(config, **changes):
    """A config that trains a tiny model in a second."""
    recipe = replace(config.recipe, **({"epochs": 2, "batch_size": 8, "lr": 1e-3, "warmup_epochs": 0.5} | changes))
    return config.with_recipe(recipe)


def hub_folder(folder: Path) -> Path:
    """A tiny CLIP as the hub serves one: config, safetensors, vocabulary and preprocessor."""
    from transformers import CLIPConfig, CLIPModel

    letters = [*map(chr, range(97, 123)), "*", ","]
    symbols = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({s: i for i, s in enumerate(symbols)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    last = len(symbols) - 1
    side = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = side | {
        "vocab_size": len(symbols),
        "max_position_embeddings": 32,
        "eos_token_id": last,
        "bos_token_id": last - 1,
    }
    config = CLIPConfig(text_config=text, vision_config=side | {"image_size": 32, "patch_size": 8}, projection_dim=24)
    CLIPModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    return folder
