"""What is given as crops and is none: full frames and videos get a note with the command that makes crops of them, and
crops that show nobody can be left out where the model can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from .. import images
from ..errors import ImageRejected, UsageError
from ..escape import counted
from ..listing import files_under

LOOKED_AT = 200  # pictures whose size is read, spread over all
WIDE = 1.15  # ratio of width to height above which a picture is no crop of somebody who stands or walks
LARGE = 1_500_000  # pixels above which it is none either


def full_frames(paths: Sequence[str], roots: Sequence[str]) -> str:
    """A note when at least a quarter of the pictures look like full frames by shape or size; "" otherwise.

    Only headers are read, of at most 200 files. paths: the picture files. roots: the folders that were given.
    """
    step = max(1, len(paths) // LOOKED_AT)
    sizes = [size for path in paths[::step][:LOOKED_AT] if (size := _size(path))]
    frames = [(w, h) for w, h in sizes if w > WIDE * h or w * h > LARGE]
    if 4 * len(frames) < len(sizes) or not frames:
        return ""
    wide, high = sorted(frames)[len(frames) // 2]
    share = (
        f"{len(frames)} of {counted(len(sizes), 'picture')}"
        if step == 1
        else f"{100 * len(frames) // len(sizes)} % of the pictures"
    )
    return (
        f"{share} have the shape of full frames ({wide}×{high}), and only crops of one person each can be found again. "
        f"Cut the people out first: descry crop {' '.join(roots)} --out CROPS, then descry index CROPS --table "
        "CROPS/crops.csv"
    )


def _size(path: str) -> tuple[int, int] | None:
    try:
        said = images.header(path)
        return said.width, said.height
    except ImageRejected:  # indexing itself says what is wrong with a picture
        return None


def videos_in(root: str, suffixes: tuple[str, ...]) -> str:
    """A half sentence about the videos below a folder, with the command; "" when there are none."""
    count = sum(entry.name.lower().endswith(suffixes) for entry in files_under(root))
    said = f" It holds {counted(count, 'video')}: cut the people out first, descry crop {root} --out CROPS."
    return said if count else ""


SOMEBODY = ("a person", "a photo of a person", "a man", "a woman")
NOBODY = ("an empty scene", "a photo of a place without people", "a wall", "a floor", "furniture")


class EmptyScenes:
    """Which vectors of pictures a model reads as a scene without people: one of `NOBODY` lies nearer than all of
    `SOMEBODY`.

    A model that learned from people alone cannot tell. So the model is asked first about 16 plain surfaces and 8 drawn
    figures; UsageError for one that does not read 14 of the former as empty, or more than one of the latter.
    """

    def __init__(self, model: Any):
        texts = np.asarray(model.embed_texts([*SOMEBODY, *NOBODY]), np.float32)
        self.somebody, self.nobody = texts[: len(SOMEBODY)], texts[len(SOMEBODY) :]
        known = [int(self(np.asarray(model.embed_images(part))).sum()) for part in (_surfaces(), _figures())]
        if known[0] < 14 or known[1] > 1:
            raise UsageError(
                f"this model cannot tell whether somebody is in a picture: of 16 plain surfaces it reads {known[0]} as "
                f"empty, of 8 figures {known[1]}. Leave out --leave-out-empty, or take a model of general pictures "
                "(descry model get)"
            )

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) → (N,) bool."""
        vectors = np.asarray(vectors, np.float32)
        value: np.ndarray = (vectors @ self.nobody.T).max(1) > (vectors @ self.somebody.T).max(1)
        return value


def _surfaces() -> list[Image.Image]:
    """Walls and floors: four colours, each grainy, shaded, tiled and as bricks."""
    y, x = np.mgrid[0:128, 0:64]
    grain = np.random.default_rng(0).normal(0, 0.03, (128, 64))
    bricks = ((x + y // 12 % 2 * 12) % 24 < 2) | (y % 12 < 2)
    shades = (1 + grain, 0.6 + 0.4 * y / 128, np.where((x // 8 + y // 8) % 2, 1, 0.8), np.where(bricks, 0.7, 1))
    colours = ((200, 200, 200), (60, 60, 60), (130, 100, 70), (90, 120, 80))
    return [
        Image.fromarray((shade[..., None] * colour).clip(0, 255).astype(np.uint8))
        for colour in colours
        for shade in shades
    ]


def _figures() -> list[Image.Image]:
    from ..drawing.composing import compose_sketch

    tops, bottoms = ("jacket", "t-shirt", "coat", "sweater"), ("trousers", "shorts")
    return [compose_sketch({"top": top, "bottom": bottom}, (64, 128)).sketch for top in tops for bottom in bottoms]
