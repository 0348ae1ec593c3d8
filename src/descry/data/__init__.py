"""Every data set behind one schema: `read("cuhk-pedes", root)` gives rows for training and benchmarks for evaluation.

To add a data set: one file with CARD, `table(root, …)` and `read(root, …)`, one line in DATASETS, one writer in
`descry_people.miniature`.
"""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NOT_NEGATIVE, SHARE, DataError, DataMissing, UsageError, nearest
from ..records import Dataset

DATASETS: dict[str, str] = {
    "cuhk-pedes": "descry.data.cuhk_pedes",
    "icfg-pedes": "descry.data.icfg_pedes",
    "rstpreid": "descry.data.rstpreid",
    "tri-pedes": "descry.data.tri_pedes",
    "market-sketch-1k": "descry.data.market_sketch_1k",
    "pku-sketch": "descry.data.pku_sketch",
    "market-1501": "descry.data.market_1501",
    "itcpr": "descry.data.itcpr",
    "table": "descry.data.own",
}
MARKERS = ("descry.json", "table.jsonl", "table.csv")


def module(name: str) -> Any:
    """The module of a data set: CARD, table(root, …), read(root, …). UsageError for an unknown name."""
    if name not in DATASETS:
        raise UsageError(f"there is no data set {name!r}; {nearest(name, tuple(DATASETS))}")
    return importlib.import_module(DATASETS[name])


def read(name: str, root: str | Path | None = None, **options: Any) -> Dataset:
    """A data set by name and folder, or by a folder alone that describes itself (`descry.json` or a table in it).

    options: what the reader of that set takes, such as variant=, split= (PKU-Sketch) or parts= (Tri-PEDES); they may
    also be written into the name: "pku-sketch:split=3", "tri-pedes:parts=CUHK+ICFG". Every set takes wrong_pairs= and
    wrong_pairs_seed=, a share of training captions that is shuffled ("cuhk-pedes:wrong_pairs=0.2"), to show what wrong
    pairs cost. Raises UsageError or DataError.
    """
    if root is None:
        if name.split(":")[0] in DATASETS:
            raise UsageError(f"{name} needs the folder it lies in: NAME and FOLDER")
        if not recognised(name):
            there = Path(name).is_dir()
            where = "holds none of " + ", ".join(MARKERS) if there else "is no folder"
            raise (DataError if there else DataMissing)(
                f"{name} {where}; name the data set and its folder, or write a table: {', '.join(DATASETS)}"
            )
        name, root = "table", name
    name, written = parse(name)
    given = written | options
    rate, seed = given.pop("wrong_pairs", 0.0), given.pop("wrong_pairs_seed", 0)
    dataset: Dataset = module(name).read(root, **given)
    return with_wrong_pairs(dataset, rate, seed) if rate else dataset


def with_wrong_pairs(data: Dataset, rate: float, seed: int = 0) -> Dataset:
    """The data set in which a share of the training captions is shuffled among their rows, as RDE's study does it.

    Args:
        data: benchmarks stay as they are.
        rate: 0 to 1; int(rate · N) of the N rows with a caption take part. A few may get their own caption back.
        seed: of the choice and the shuffle.

    Raises:
        UsageError: for a rate outside 0 … 1.
    """
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f"wrong_pairs={rate:g} was given; allowed: a share from 0 to 1, as in wrong_pairs=0.2")
    told = [i for i, row in enumerate(data.train) if row.caption]
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(told)[: int(rate * len(told))]
    rows = list(data.train)
    for to, source in zip(chosen, rng.permutation(chosen), strict=True):
        given = data.train[source]
        rows[to] = replace(rows[to], caption=given.caption, back_translation=given.back_translation)
    note = f"{data.source}; wrong_pairs={rate:g}, seed {seed}" if rate else data.source
    return replace(data, train=tuple(rows), source=note)


def parse(given: str, function: str = "read") -> tuple[str, dict[str, Any]]:
    """ "pku-sketch:split=3" → ("pku-sketch", {"split": 3}), checked against what the reader takes, or UsageError."""
    name, _, rest = given.partition(":")
    allowed = dict(inspect.signature(getattr(module(name), function)).parameters)
    allowed.pop("root")
    kinds = {key: str(parameter.annotation) for key, parameter in allowed.items()}
    if function == "read":
        kinds |= {"wrong_pairs": "float", "wrong_pairs_seed": "int"}
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if key not in kinds or not equals:
            raise UsageError(f"{name} takes no option {part!r}; {nearest(key, tuple(kinds))}, written key=value")
        if key in options:
            raise UsageError(f"{given}: {key} is given twice; leave one out")
        options[key] = _value(key, value, kinds[key])
    return name, options


def _value(key: str, text: str, kind: str) -> Any:
    if kind == "int":
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise UsageError(f"{key} must be a whole number; got {text!r:.80}")
        NOT_NEGATIVE.check(key, int(text))
        return int(text)
    if kind == "float":  # a share, in every reader that takes one
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"{key} must be a number; got {text!r:.80}") from None
        SHARE.check(key, value)
        return value
    if kind == "bool":
        if text not in ("true", "false"):
            raise UsageError(f"{key} must be true or false; got {text!r}")
        return text == "true"
    return tuple(text.split("+")) if "Sequence" in kind else text


def recognised(folder: str | Path) -> bool:
    """Whether a folder describes itself."""
    return any((Path(folder) / marker).is_file() for marker in MARKERS)
