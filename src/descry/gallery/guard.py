"""What is given as crops and is none: full frames and videos get a note with the command that makes crops of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .. import images
from ..errors import ImageRejected

LOOKED_AT = 200  # pictures whose size is read, spread over all
WIDE = 1.15  # ratio of width to height above which a picture is no crop of somebody who stands or walks
LARGE = 1_500_000  # pixels above which it is none either


def full_frames(paths: Sequence[str], roots: Sequence[str]) -> str:
    """A note when most of the pictures have the shape or the size of full frames; "" when they look like crops.

    Only headers are read, of at most 200 files. paths: the picture files. roots: the folders that were given.
    """
    step = max(1, len(paths) // LOOKED_AT)
    sizes = [size for path in paths[::step][:LOOKED_AT] if (size := _size(path))]
    frames = [(w, h) for w, h in sizes if w > WIDE * h or w * h > LARGE]
    if 2 * len(frames) <= len(sizes):
        return ""
    wide, high = sorted(frames)[len(frames) // 2]
    share = (
        f"{len(frames)} of {len(sizes)} pictures"
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
        with images.header(path) as image:
            turned = image.getexif().get(274, 1) >= 5
            return (image.height, image.width) if turned else image.size
    except ImageRejected:  # indexing itself says what is wrong with a picture
        return None


def videos_in(root: str, suffixes: tuple[str, ...]) -> str:
    """A half sentence about the videos below a folder, with the command; "" when there are none."""
    count = sum(name.lower().endswith(suffixes) for _, _, names in os.walk(root) for name in names)
    return f" It holds {count} videos: cut the people out first, descry crop {root} --out CROPS." if count else ""
