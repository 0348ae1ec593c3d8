"""The frozen benchmark of synthetic people. What is here may not be tuned to a model; to change any of it, raise the
version.

Test: 1,000 people nobody trains on, two photographs each in the gallery (2,000), one sketch and one sentence for
each, by the mixture below. Validation, for choosing weights: 500 other people in the same manner. Calibration: 4,000
more, for thresholds with a stated rate, which need many. Training people are those below TRAIN_LIMIT of the same
population; `check_training` refuses any other.

Version 2 holds the same people, photographs and sentences, and draws three sketches in ten by lay people (the style
"lay"). It stands beside version 1, which is the one meant where no version is named.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import PIL

from descry.drawing.person import Person
from descry.errors import DataError, UsageError
from descry.metrics import rank
from descry.records import Benchmark, Dataset

from .folder import digest_pixels, digest_records, write_people
from .oracle import histogram_scores, linear_attributes, linear_scores, oracle_scores
from .plan import Mixture
from .read import read_people, read_records

BENCHMARK_VERSION = 1
SEED = 0
SIZE = (128, 256)
MIXTURE = Mixture(
    completeness={"complete": 0.6, "partial": 0.3, "vague": 0.1},
    styles={"line": 0.35, "pencil": 0.3, "sparse": 0.35},
    sketch_error=0.15,
    text_error=0.04,
)
MIXTURES: dict[int, Mixture] = {
    BENCHMARK_VERSION: MIXTURE,
    2: dataclasses.replace(MIXTURE, styles={"line": 0.25, "pencil": 0.2, "sparse": 0.25, "lay": 0.3}),
}
"""Version → how its queries are mixed."""
PARTS: dict[str, tuple[int, int]] = {
    "test": (1_000_000, 1000),
    "val": (2_000_000, 500),
    "calibration": (3_000_000, 4000),
}
"""Part → number of its first person in the population, and how many people."""
TRAIN_LIMIT = 1_000_000
SLICE = 40
"""The first so many people of the test part have hashes of their own, for a quick check."""
PHOTOS = 2


def check_training(first: int, identities: int, seed: int = SEED) -> None:
    """UsageError if people number first … first + identities − 1 of a population are, or could be, people of the
    benchmark."""
    if seed == SEED and (first < 0 or first + identities > TRAIN_LIMIT):
        raise UsageError(
            f"people {first} to {first + identities - 1} were asked for to train on; the benchmark's people begin at "
            f"{TRAIN_LIMIT}; use numbers from 0 to {TRAIN_LIMIT - 1}"
        )


def manifest() -> dict[str, dict[str, str | int]]:
    """Part → the hashes that its full folder must have, and the versions they belong to; read from the package."""
    found: dict[str, dict[str, str | int]] = json.loads(
        resources.files(__package__).joinpath("benchmark.json").read_text()
    )
    return found


def held_in(part: str) -> str:
    """Which field of the data set holds a part's benchmarks: "test" or "val"."""
    return "test" if part == "test" else "val"


def write_part(
    root: str | Path,
    part: str = "test",
    identities: int | None = None,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    version: int = BENCHMARK_VERSION,
) -> Path:
    """Write (or finish, or find) the folder of one part under root and return its path, which names version and
    size."""
    if version not in MIXTURES:
        raise UsageError(f"version {version} of the benchmark was asked for; allowed: {', '.join(map(str, MIXTURES))}")
    if part not in PARTS:
        raise UsageError(f"the benchmark has the parts {', '.join(PARTS)}; got {part!r}")
    first, full = PARTS[part]
    count = full if identities is None else identities
    if not 1 <= count <= full:
        raise UsageError(f"{count} people of the {part} part were asked for; allowed is 1 to {full}")
    out = Path(root) / f"people-{part}-v{version}-{count}"
    return write_people(
        out,
        count,
        photos=PHOTOS,
        sketches=1,
        captions=1,
        seed=SEED,
        splits={held_in(part): count},
        size=SIZE,
        first=first,
        processes=processes,
        progress=progress,
        mixture=MIXTURES[version],
    )


def check(folder: str | Path, part: str, pixels: bool = True, version: int = BENCHMARK_VERSION) -> None:
    """DataError unless a folder is the one that was frozen: a whole part, or its first SLICE people.

    The pixels are compared only under the Pillow release they were drawn with; another release may round differently,
    and the records, which do not depend on it, still have to agree. A folder of any other size passes unchecked.
    """
    expected = manifest().get(_name(part, int(Path(folder).name.rpartition("-")[2]), version))
    if expected is None:
        return
    found = {"records": digest_records(folder)}
    if pixels and PIL.__version__ == expected["pillow"]:
        found["pixels"] = digest_pixels(folder)
    for what, value in found.items():
        if value != expected[what]:
            raise DataError(
                f"{folder} is not benchmark version {version} ({part}): its {what} differ from the frozen "
                "ones; remove the folder and write it again; if they still differ, the generator was changed without "
                "a new version"
            )


def _name(part: str, identities: int, version: int) -> str:
    name = part if version == BENCHMARK_VERSION else f"{part}-v{version}"
    return name if identities == PARTS[part][1] else f"{name}-{identities}"


def benchmark(
    root: str | Path,
    identities: int | None = None,
    part: str = "test",
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    pixels: bool = True,
    version: int = BENCHMARK_VERSION,
) -> Dataset:
    """The frozen benchmark as a data set: `.test` (`.val` for other parts) holds "text", "sketch", "sketch+text", ….

    Written under root if it is absent, then checked against the manifest. identities: only the first so many people, a
    quick slice whose numbers are not the benchmark's; of slices only the one of SLICE people is checked. pixels=False
    leaves out the slower half of the check.
    """
    folder = write_part(root, part, identities, processes, progress, version)
    check(folder, part, pixels, version)
    return dataclasses.replace(read_people(folder), name=f"people-{part}-v{version}")


def records_of(root: str | Path, identities: int | None = None, part: str = "test") -> dict[int, Person]:
    """Number → record for the people of a part that `benchmark` wrote under root."""
    return read_records(Path(root) / f"people-{part}-v{BENCHMARK_VERSION}-{identities or PARTS[part][1]}")


def baseline_table(
    root: str | Path, identities: int | None = None, part: str = "test", train: Dataset | None = None
) -> dict[str, dict[str, float]]:
    """Ranker → query kind → R@1 in percent: the oracle, the colour histogram and, with training people, the linear one.

    The oracle's figure is the mean over five random orders of the people that tie. train: a folder of training
    people as `read_people` gives it, its people's records beside it.
    """
    data, people = benchmark(root, identities, part), records_of(root, identities, part)
    benches = getattr(data, held_in(part))
    table: dict[str, dict[str, float]] = {"oracle": {}, "colour histogram": {}}
    for kind in ("text", "sketch", "sketch+text"):
        scores = [oracle_scores(benches[kind], people, MIXTURE, jitter=k) for k in range(5)]
        table["oracle"][kind] = float(np.mean([hit_rate(benches[kind], s) for s in scores]))
    for kind in ("text", "photo", "photo+text"):
        table["colour histogram"][kind] = hit_rate(benches[kind], histogram_scores(benches[kind]))
    if train is not None:
        known = read_records(Path(train.train[0].images[0]).parent.parent)
        fitted = linear_attributes(train.train, known)
        kinds = ("text", "sketch", "sketch+text")
        table["linear attributes"] = {k: hit_rate(benches[k], linear_scores(benches[k], fitted)) for k in kinds}
    return {ranker: {kind: round(value, 2) for kind, value in row.items()} for ranker, row in table.items()}


def hit_rate(bench: Benchmark, scores: np.ndarray) -> float:
    """R@1 in percent of a (Q, G) score matrix."""
    pids = np.array([photo.pid for photo in bench.photos])
    relevant = np.array([probe.pid for probe in bench.probes])[:, None] == pids
    ignored = np.zeros_like(relevant)
    for row, probe in zip(ignored, bench.probes, strict=True):
        row[list(probe.ignore)] = True
    return rank(scores, relevant, ignored).r1
