"""A gallery to serve: synthetic people seen by three cameras, embedded by a model of random weights."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import torch

from descry.clip import random_clip
from descry.embed import Model
from descry.gallery import Gallery
from descry.gallery.sources import Sources
from descry.interact.questions import vocabulary
from descry.methods.interactreid import PRESETS, InteractReID
from descry.text import word_level
from descry_people.folder import write_people

BEGIN = datetime(2026, 3, 2, 8, 0)
SAID = ["a photo of * , and a person in a red blue green black white grey jacket shirt coat trousers skirt"]
SAID += ["hat backpack bag handbag short long hair man woman carrying wearing with no"]


def toy_model() -> Model:
    """Random weights: it ranks, and means nothing."""
    words = word_level(SAID)
    config = replace(PRESETS["recommended"], stage=2)
    torch.manual_seed(0)
    clip = random_clip(vocabulary=len(words), end=words.end, placeholder=words.placeholder, seed=0)
    made = Model(InteractReID(clip, words, config, 0).eval(), {}, "toy", device="cpu")
    made.fingerprint = "0" * 64
    # It asks, as if it had been measured; "red jacket", which tests search for, stays inside the prompt.
    made.ranking = replace(made.ranking, curves={q.phrase: (1.0, 0.0) for q in vocabulary() if q.key != "red-outer"})
    return made


def make_gallery(
    folder: Path,
    people: int = 24,
    photos: int = 3,
    names: dict[int, str] | None = None,
    cameras: Sequence[str] = ("north gate", "south gate", "car park"),
) -> Gallery:
    """people × photos crops in folder/crops with a table of cameras, times and tracks.

    names: other file names, by number. cameras: take turns.
    """
    drawn = write_people(
        folder / "people", people, photos=photos, sketches=1, captions=1, splits={"test": people}, first=7
    )
    crops = folder / "crops"
    crops.mkdir()
    rows = []
    for i, path in enumerate(sorted(p for p in (drawn / "photos").rglob("*") if p.is_file())):
        target = crops / (names or {}).get(i, f"crop_{i:04d}{path.suffix}")
        target.write_bytes(path.read_bytes())
        camera = cameras[i % len(cameras)]
        seen = BEGIN + timedelta(minutes=17 * i)
        rows.append({"path": target.name, "camera": camera, "time": seen.isoformat(), "track": ""})
    with open(folder / "seen.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "camera", "time", "track"])
        writer.writeheader()
        writer.writerows(rows)
    gallery = Gallery.create(folder / "gallery", toy_model())
    gallery.index(crops, sources=Sources(table=str(folder / "seen.csv")))
    return gallery
