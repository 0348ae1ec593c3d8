"""What a run must remember to go on as if it had never stopped: weights, optimiser, position, and the epoch kept.

Batches and random numbers need no memory: they follow from the seed and the number of a step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .checkpoint import load_training, save_training
from .clip import check_fit


class Kept:
    """Which epoch is kept: the one with the best validation score, or the last."""

    def __init__(self, epoch: int = -1, best: float | None = None, scores: list[float] | None = None):
        self.epoch, self.best, self.last = epoch, best, best
        self.scores = scores or []

    def consider(self, epoch: int, score: float | None) -> None:
        """Take this epoch when its score is the best so far, or when there are no scores."""
        self.last = score
        if score is None:
            self.epoch = epoch
            return
        self.scores.append(score)
        if self.best is None or score > self.best:
            self.epoch, self.best = epoch, score


def save_state(path: Path, method: Any, optimiser: Any, step: int, kept: Kept) -> None:
    """Write all weights, the optimiser's state by the names of its parameters, and the position: after `step` steps."""
    tensors = {f"method.{k}": v for k, v in method.state_dict().items()}
    names = {id(p): n for n, p in method.named_parameters()}
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            tensors[f"optimiser.{names[id(parameter)]}|{key}"] = torch.as_tensor(value)
    save_training(path, tensors, {"step": step, "epoch": kept.epoch, "best": kept.best, "scores": kept.scores})


def load_state(path: Path, method: Any, optimiser: torch.optim.Optimizer) -> tuple[int, Kept]:
    """Put back what `save_state` wrote; how many steps were done, and which epoch is kept.

    Raises ModelMissing where there is nothing to resume and ModelRefused for a method of another shape.
    """
    tensors, position = load_training(path)
    device = next(method.parameters()).device
    weights = {k.removeprefix("method."): v for k, v in tensors.items() if k.startswith("method.")}
    check_fit(method, weights, str(path))
    method.load_state_dict(weights, strict=True)
    parameters = dict(method.named_parameters())
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            name, _, kind = key.removeprefix("optimiser.").rpartition("|")
            optimiser.state[parameters[name]][kind] = value if kind == "step" else value.to(device)
    return position["step"], Kept(position["epoch"], position["best"], position["scores"])
