"""One training step of every method, for tests that take it in two ways: whole or in chunks, in one process or in two.

Run as a program it takes the step of every case in two processes, each with its share of the batch, and process 0
writes down the losses (mean over processes) and gradients.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conftest import quick, toy_clip, toy_words, write_toy
from descry.blocks import cache_gradients_of
from descry.methods import METHODS, Progress, method_class, preset
from descry.training.batches import Batches
from descry.training.loop import Settings, _fabric
from forked import together

PEOPLE, BATCH = 16, 8


@dataclass(frozen=True)
class Case:
    """A method in one of the forms that it names: changes of its config, and the sampler."""

    method: str
    changes: Mapping[str, Any]

    @property
    def sampler(self) -> str:
        return self.changes.get("sampler", "random")


CASES = {
    f"{name}, {form}".removesuffix(", "): Case(name, changes)
    for name in METHODS
    if method_class(name).trained
    for form, changes in method_class(name).forms.items()
}


def small(case: Case) -> Any:
    """The config of a case for the toy CLIP."""
    config = preset(case.method, "recommended")
    known = {f.name for f in fields(config)}
    changes = {k: v for k, v in case.changes.items() if k in known}
    return replace(config, **dict(method_class(case.method).small) | changes)


def made(case: Case) -> Any:
    """The method as a case asks for it, the same each time; no dropout, so that a step has one outcome."""
    words = toy_words()
    torch.manual_seed(0)
    sampling = {"sampler": case.sampler, "instances": 2 if case.sampler == "identity" else 1}
    config = quick(small(case), augment="none", mask_text=0.0, batch_size=BATCH, **sampling)
    return method_class(case.method)(toy_clip(words), words, config, PEOPLE)


@cache
def people(data: Path) -> Any:
    """The people of all cases, written once."""
    return write_toy(data, PEOPLE)


def batches(case: Case, method: Any, data: Path, rank: int = 0, world: int = 1) -> Batches:
    """What one process of `world` reads."""
    recipe, rows = method.config.recipe, people(data).train
    if "caption" in method.needs:
        rows = tuple(replace(e, caption="") if e.pid % 3 == 0 else e for e in rows)
    return Batches(rows, method.words, (32, 16), recipe, method.needs, 0, rank, world, 1)


def completed(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With what is drawn at random in training, here a function of each row alone: masked words and masked patches.

    Rows lose different numbers of words, so that a mean over processes of means over words would not be the mean.
    """
    patches = torch.stack([torch.arange(8).roll(int(i)) < 4 for i in batch["image_id"]])
    if "text" not in batch:
        return batch | {"patch_mask": patches}
    position = torch.arange(batch["text"].shape[1])
    lost = (position > 0) & (position <= 1 + batch["image_id"][:, None] ** 2 % 5)
    labels = torch.where(lost, batch["text"], 0)
    return batch | {"patch_mask": patches, "masked_text": torch.where(lost, 3, batch["text"]), "token_labels": labels}


def step(
    case: Case, data: Path, fabric: Any = None, chunk: int = 0
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Losses by name and gradients by parameter of one step, in 64 bits."""
    method = made(case).double()
    if chunk:
        cache_gradients_of(method, chunk)
    rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    read = batches(case, method, data, rank, world)
    method.prepare(read.share)
    method.begin_epoch(0, read)
    model = fabric.setup(method) if fabric else method
    if fabric:
        model.mark_forward_method("losses")
    batch = {k: v.double() if v.is_floating_point() else v for k, v in completed(next(iter(read.epoch(0)))).items()}
    losses = model.losses(batch, Progress(3, 1, 4, torch.Generator().manual_seed(rank)))
    total = torch.stack(list(losses.values())).sum()
    fabric.backward(total) if fabric else total.backward()
    mean = {k: v.detach() for k, v in losses.items()}
    mean = fabric.all_reduce(mean, reduce_op="mean") if fabric else mean
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    return {k: float(v) for k, v in mean.items()}, gradients


def main(data: Path, out: Path, chunks: Iterable[int]) -> None:
    """All cases in one group of processes, for each size of a chunk; 0 is the whole batch."""
    torch.set_num_threads(1)
    fabric = _fabric(Settings(device="cpu"))
    own = data / str(fabric.global_rank)
    own.mkdir(parents=True, exist_ok=True)
    found = {chunk: {name: step(case, own, fabric, chunk) for name, case in CASES.items()} for chunk in chunks}
    if fabric.is_global_zero:
        torch.save(found, out)


if __name__ == "__main__":
    together(lambda: main(Path(sys.argv[1]), Path(sys.argv[2]), [int(n) for n in sys.argv[3:]]))
