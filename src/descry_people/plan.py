"""What a folder of synthetic people depends on: how many, which population, which cameras, and how queries are
mixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from descry.drawing.person import Person
from descry.errors import UsageError, nearest

from .person import make_person
from .scene import cameras
from .sentences import COMPLETENESS
from .sketch import STYLES

GENERATOR_VERSION = 1
"""Raised whenever a person, a pixel or a word would come out differently."""
KIND = "synthetic people - no evidence of accuracy on real people"
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Mixture:
    """How queries are mixed. Shares are relative; error rates are probabilities per told or drawn attribute."""

    completeness: Mapping[str, float] = field(default_factory=lambda: {"complete": 0.6, "partial": 0.3, "vague": 0.1})
    styles: Mapping[str, float] = field(default_factory=lambda: {"line": 0.35, "pencil": 0.3, "sparse": 0.35})
    sketch_error: float = 0.15
    text_error: float = 0.04

    def __post_init__(self) -> None:
        for given, known, what in (
            (self.completeness, COMPLETENESS, "completeness"),
            (self.styles, (*STYLES,), "sketch style"),
        ):
            for name in given:
                if name not in known:
                    raise UsageError(f"a {what} of {name!r} was given; {nearest(name, known)}")
            if not given or min(given.values()) < 0 or sum(given.values()) <= 0:
                raise UsageError(f"the shares of {what} were {dict(given)}; give at least one above 0 and none below")
        for rate in (self.sketch_error, self.text_error):
            if not 0.0 <= rate <= 1.0:
                raise UsageError(f"an error rate of {rate} was given; allowed is 0 to 1")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a folder of people depends on. first: number of the first person in the population of the seed."""

    identities: int
    photos: int
    sketches: int
    captions: int
    seed: int
    world: int
    size: tuple[int, int]
    splits: Mapping[str, int]
    first: int
    mixture: Mixture

    def __post_init__(self) -> None:
        for name, least in (("photos", 1), ("sketches", 0), ("captions", 0), ("first", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} was {getattr(self, name)}; allowed is {least} or more")
        if not all(16 <= side <= 2048 for side in self.size):
            raise UsageError(f"a size of {self.size[0]}x{self.size[1]} pixels was given; each side may have 16 to 2048")
        cameras(self.world)

    def split_of(self, number: int) -> str:
        """The split of the person with this number in the folder: train first, then val, then test."""
        for name in SPLITS:
            number -= self.splits.get(name, 0)
            if number < 0:
                return name
        raise UsageError(f"the folder holds {self.identities} people")

    def person(self, number: int) -> Person:
        """The person with this number in the folder."""
        return make_person(self.first + number, self.seed)
