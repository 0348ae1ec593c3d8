"""Studies of what the field has learnt since the three papers, on synthetic people: wrong pairs, a picture with words,
other domains.

    python -m descry_lab wrong-pairs --small
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from descry.data.noise import with_wrong_pairs
from descry.errors import UsageError
from descry.methods import rde
from descry.records import Dataset
from descry.training.loop import Settings
from descry_people.benchmark import MIXTURE
from descry_people.folder import write_people
from descry_people.read import read_people

from .engine import Cell, Study
from .scales import START, Budget, World, untrained

FIRST = Cell("the start, as it is")
POPULATION, ASKED_FIRST = 11, 500_000
SIZES = {"smoke": (16, 32), "small": (64, 128)}
"""(width, height) of the pictures drawn."""


def _people(root: Path, scale: str, people: int, asked: int, world: int, seed: int = POPULATION) -> Dataset:
    """Training people with two photographs, a sketch and a caption each, and other people who are asked for."""
    tell: dict[str, Any] = {"photos": 2, "sketches": 1, "captions": 1, "seed": seed, "world": world}
    tell["size"] = SIZES[scale]
    taught = write_people(root / "people", people, splits={"train": people, "val": 0, "test": 0}, **tell)
    sought = {"train": 0, "val": 0, "test": asked}
    tested = write_people(root / "asked", asked, splits=sought, first=ASKED_FIRST, mixture=MIXTURE, **tell)
    return replace(read_people(taught), test=read_people(tested).test)


def _start(root: Path, scale: str, origin: str, data: Dataset) -> str:
    """What every row begins with: the run that was given, the model that ships, or a tiny CLIP for a smoke run."""
    if origin or scale == "small":
        return origin or START
    if scale != "smoke":
        raise UsageError("this study is made on synthetic people: give --small or --smoke")
    return str(untrained(root / "start", [data], SIZES[scale][::-1]))


# ------------------------------------------------------------------ wrong pairs (RDE)

NOISED = {"smoke": Budget((32, 16), 12, 0, 8, 1, 6), "small": Budget((96, 48), 600, 0, 500, 3, 64)}
WRONG = {"20 %": 0.2, "50 %": 0.5}
PLAIN = "RDE without CCD, triplet loss"
"""RDE's own baseline: every pair is trusted, and the triplet loss takes the hardest negative."""


def _noised_rows() -> tuple[Cell, ...]:
    """RDE, the same without its division of the pairs, and its baseline, each with two shares of wrong pairs. The
    selection embeddings are narrower and learn at five times the rate, as a small CLIP learns twenty times faster.
    """
    return tuple(
        Cell(
            f"{row}, {share} wrong pairs", "rde", changes | {"width": 128, "new_rate": 5.0}, "recommended",
            against="" if row == PLAIN else f"{PLAIN}, {share} wrong pairs", stages=(1,), taught=share,
        )
        for share in WRONG
        for row, changes in reversed(rde.ROWS.items())
    )  # fmt: skip


def wrong_pairs(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People under cameras that the model which ships has not seen; a share of their captions is shuffled."""
    budget, root = NOISED[scale], work / scale / "wrong-pairs"
    data = _people(root, scale, budget.people, budget.asked, world=1)
    data = replace(data, test={"text": data.test["text"]})
    taught = {share: with_wrong_pairs(data, rate) for share, rate in WRONG.items()}
    return World(scale, _start(root, scale, origin, data), (data,), taught, work, settings, own=budget)


LATER_STUDIES = (
    Study(
        "wrong-pairs",
        "",
        "RDE loses less to wrong pairs than its baseline; figures in docs/results.md",
        (FIRST, *_noised_rows()),
        world=wrong_pairs,
        tested=("text",),
    ),
)
