"""Three rankers without a learned model of people: the ceiling, and two that any model should beat.

The oracle reads the records of the gallery's people and what each query expresses, and nothing else: no picture, no
word. What it cannot know (attributes that were left unsaid, memories that are wrong) nobody can. S: (Q, G) float32,
higher is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image

from descry.drawing.person import ATTRIBUTES, Person
from descry.errors import DataError
from descry.records import Benchmark, Example

from .paint import RGB
from .person import TONED, held, values_of
from .plan import Mixture

Scores = np.ndarray
FLOOR = 1e-3
"""Least probability of a wrong value, so that an error rate of 0 excludes nobody for good."""


def _expressed(benchmark: Benchmark, part: str) -> list[Mapping[str, str]]:
    rows = []
    for i, probe in enumerate(benchmark.probes):
        known = probe.attributes.get("expressed")
        if known is None:
            raise DataError(
                f"probe {i} of {benchmark.name} does not say what it expresses; read the folder with people.read"
            )
        rows.append(known.get(part, {}))
    return rows


def oracle_scores(
    benchmark: Benchmark, people: Mapping[int, Person], mixture: Mixture | None = None, jitter: int | None = None
) -> Scores:
    """(Q, G) float32: log-likelihood of what each query expresses, given the record of the person in each photograph.

    Every expressed attribute is right with probability 1 − e, else one of its other values, all equally likely; e is
    the mixture's error rate for words or drawings. Photographs of one person, and people who agree in all that is
    expressed, tie. jitter: seed of a random order among people that tie (a person's photographs stay together), which
    makes a strict ranker's R@1 the expected one.
    """
    mixture = mixture or Mixture()
    pids = sorted({photo.pid for photo in benchmark.photos})
    missing = [pid for pid in pids if pid not in people]
    if missing:
        raise DataError(
            f"{len(missing)} people of the gallery have no record, the first is {missing[0]}; "
            "pass read.read_records(root)"
        )
    codes = _codes([people[pid] for pid in pids])
    scores = np.zeros((len(benchmark.probes), len(pids)))
    for part, rate in (("text", mixture.text_error), ("sketch", mixture.sketch_error)):
        for q, expressed in enumerate(_expressed(benchmark, part)):
            for name, value in expressed.items():
                options = values_of(name)
                wrong = max(rate / max(1, len(options) - 1), FLOOR)
                right = codes[name] == options.index(value)
                scores[q] += np.where(right, np.log(max(1.0 - rate, FLOOR)), np.log(wrong))
    if jitter is not None:
        scores += np.random.default_rng(jitter).random(scores.shape) * 1e-3
    column = {pid: i for i, pid in enumerate(pids)}
    return scores[:, [column[photo.pid] for photo in benchmark.photos]].astype(np.float32)


def _codes(people: list[Person]) -> dict[str, np.ndarray]:
    rows = [held(person) for person in people]
    return {name: np.array([values_of(name).index(row[name]) for row in rows]) for name in (*ATTRIBUTES, *TONED)}


# where the parts of a person mostly are, as shares of the picture's height and width: top, bottom, left, right
_ZONES = {"upper": (0.22, 0.50, 0.30, 0.70), "lower": (0.55, 0.86, 0.32, 0.68)}
_NAMES = tuple(RGB)


def _zone_histograms(path: str) -> np.ndarray:
    """(zones, colours): for each zone, the share of pixels nearest to each named colour."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((48, 96), Image.Resampling.BOX)).astype(np.int32)
    table = np.array([RGB[name] for name in _NAMES], dtype=np.int32)
    nearest = ((pixels[:, :, None, :] - table) ** 2).sum(-1).argmin(-1)
    rows = []
    for top, bottom, left, right in _ZONES.values():
        zone = nearest[round(96 * top) : round(96 * bottom), round(48 * left) : round(48 * right)]
        rows.append(np.bincount(zone.ravel(), minlength=len(_NAMES)) / zone.size)
    return np.stack(rows)


def histogram_scores(benchmark: Benchmark) -> Scores:
    """(Q, G) float32: a ranker that sees nothing but colours in two fixed zones, upper body and legs.

    A photograph as query: histogram intersection of the zones. Words: the share of each zone's pixels that are
    nearest to the colour the words give to the outer or upper garment and to the lower garment (read from what the
    sentence expresses). A sketch has no colour: it adds nothing, and a benchmark of sketches alone ties everywhere.
    """
    gallery = np.stack([_zone_histograms(photo.path) for photo in benchmark.photos])
    scores = np.zeros((len(benchmark.probes), len(gallery)))
    for q, (probe, told) in enumerate(zip(benchmark.probes, _expressed(benchmark, "text"), strict=True)):
        for part in probe.query.photos:
            scores[q] += np.minimum(_zone_histograms(str(part.value)), gallery).sum(axis=(1, 2))
        for zone, names in enumerate((("outer_colour", "upper_colour"), ("lower_colour",))):
            for name in names:
                if told.get(name) in RGB:
                    scores[q] += gallery[:, zone, _NAMES.index(told[name])]
    return scores.astype(np.float32)


def _pixels(paths: Iterable[str]) -> np.ndarray:
    """(N, 16·32·3 + 1) float32: pictures at 16 by 32 pixels in [0, 1], and a constant."""
    rows = []
    for path in paths:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((16, 32), Image.Resampling.BOX)
        rows.append(np.append(np.asarray(small, dtype=np.float32).ravel() / 255, 1.0))
    return np.stack(rows).astype(np.float32)


Linear = dict[tuple[str, str], np.ndarray]


def linear_attributes(train: Iterable[Example], people: Mapping[int, Person], ridge: float = 30.0) -> Linear:
    """(attribute, value) → (16·32·3 + 1,) weights: ridge regression from 16x32-pixel photographs to attribute values.

    train, people: photographs of training people and their records. Raises DataError if there are none.
    """
    paths = {path: row.pid for row in train for path in row.images}
    if not paths:
        raise DataError("the linear baseline needs training people; the data set given has none")
    names = [(name, value) for name in (*ATTRIBUTES, *TONED) for value in values_of(name)]
    records = {pid: held(people[pid]) for pid in set(paths.values())}
    targets = np.array([[records[pid][n] == v for n, v in names] for pid in paths.values()], dtype=np.float32)
    x = _pixels(paths)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1], dtype=np.float32), x.T @ targets)
    return dict(zip(names, weights.T, strict=True))


def linear_scores(benchmark: Benchmark, fitted: Linear) -> Scores:
    """(Q, G) float32: the linear attribute baseline, scored against what each query expresses.

    A value counts by its regressed share less its mean over the gallery. Queries are read through what they express, so
    this stands for the best a linear view of the photographs can do; a photograph as query says nothing here.
    """
    seen = _pixels(photo.path for photo in benchmark.photos) @ np.stack(list(fitted.values()), axis=1)
    seen -= seen.mean(axis=0)
    column = {name: i for i, name in enumerate(fitted)}
    scores = np.zeros((len(benchmark.probes), len(benchmark.photos)), dtype=np.float32)
    for part in ("text", "sketch"):
        for q, expressed in enumerate(_expressed(benchmark, part)):
            for item in expressed.items():
                scores[q] += seen[:, column[item]]
    return scores
