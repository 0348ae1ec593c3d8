"""Which epoch is reported, and how much choosing it on the test set would have flattered.

`Watch` listens to a training and evaluates after every epoch; what it writes is never used to choose. `flattery` reads
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descry.embed import Model
from descry.errors import DataError
from descry.evaluate import evaluate
from descry.records import Benchmark
from descry.tabular import json_lines


@dataclass(frozen=True, slots=True)
class Selection:
    """Test R@1 in percent of three choices of the epoch. val: chosen on validation, None where there is no such split.

    flattery: best on test minus the honest choice (val, else last): what choosing on the test set would have added.
    """

    last: float
    val: float | None
    best: float
    flattery: float
    last_epoch: int
    val_epoch: int | None
    best_epoch: int


class Watch:
    """Give it to `train(…, on_step=watch)`: after each epoch the mean R@1 on val and test goes into a file, one line.

    method: the one in training. epochs: of its recipe. then: whoever else listens.
    """

    def __init__(
        self,
        method: Any,
        val: Mapping[str, Benchmark],
        test: Mapping[str, Benchmark],
        out: Path,
        device: str = "auto",
        then: Any = lambda step: None,
    ):
        self.method, self.out, self.device, self.then = method, out, device, then
        self.benchmarks = {"val": val, "test": test}
        self.epochs = method.config.recipe.epochs

    def __call__(self, step: Any) -> None:
        """After a step; evaluates when it was the last of an epoch."""
        self.then(step)
        if step.step % (step.steps // self.epochs):
            return
        row = {"epoch": step.epoch + 1}
        for split, benchmarks in self.benchmarks.items():
            row[split] = self._score(benchmarks)
        self.method.train()
        with open(self.out, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _score(self, benchmarks: Mapping[str, Benchmark]) -> float | None:
        model = Model(self.method, {}, "in training", device=self.device)
        asked = [b for b in benchmarks.values() if b.probes[0].query.kind in self.method.answers]
        scores = [evaluate(model, b).ranks.r1 for b in asked]
        return sum(scores) / len(scores) if scores else None


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """What `Watch` wrote, one row an epoch; of an epoch that a resumed run repeated, the last. DataError for
    other files.
    """
    try:
        rows = [row for _, row in json_lines(path)]
        kept = {int(row["epoch"]): {"epoch": int(row["epoch"]), "val": row["val"], "test": row["test"]} for row in rows}
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        raise DataError(f"{path} holds no scores by epoch ({error}); train with a Watch") from None
    return [kept[e] for e in sorted(kept)]


def flattery(epochs: Sequence[Mapping[str, Any]]) -> Selection:
    """The three choices, from rows with epoch, val (or None) and test. Of equal scores the earliest epoch counts, as in
    training. Raises DataError for no rows.
    """
    if not epochs or any(row["test"] is None for row in epochs):
        raise DataError("scores on test are needed for every epoch")
    last = epochs[-1]
    best = max(epochs, key=lambda row: row["test"])
    judged = [row for row in epochs if row["val"] is not None]
    val = max(judged, key=lambda row: row["val"]) if judged else None
    honest = (val or last)["test"]
    return Selection(
        last["test"],
        val["test"] if val else None,
        best["test"],
        best["test"] - honest,
        last["epoch"],
        val["epoch"] if val else None,
        best["epoch"],
    )
