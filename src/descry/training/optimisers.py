"""What moves the weights: a recipe's learning rates and its optimiser, torch's own or Muon beside AdamW.

Muon (Jordan et al., 2024) gives the matrices inside a transformer's layers updates of equal strength in all directions;
everything else (embeddings, projections, vectors) is AdamW's. Trained from nothing, a small CLIP leaves its first
plateau sooner this way (measured in docs/demo-model.md). Fine-tuning a pretrained CLIP keeps AdamW, as the papers do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from ..errors import UsageError, nearest
from ..methods import Method, Recipe
from ..methods.contract import OPTIMISERS, SCHEDULES


def learning_rates(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """From a step's number to the base learning rate: linear warm-up, then cosine to end_lr.

    schedule "iteration": warm-up of W steps is linspace(warmup_from, lr, W); then end + ½(lr − end)(1 + cos(πk/K)).
    schedule "epoch": the same once per epoch, as IRRA: from warmup_from, reaching lr after the warm-up's epochs.
    """
    if recipe.schedule not in SCHEDULES:
        raise UsageError(f"schedule={recipe.schedule!r} was given; {nearest(recipe.schedule, SCHEDULES)}")
    per_epoch = recipe.schedule == "epoch"
    warm = recipe.warmup if per_epoch else round(recipe.warmup * steps)
    total = recipe.epochs if per_epoch else recipe.epochs * steps

    def rate(step: int) -> float:
        at = step // steps if per_epoch else step
        if at < warm:
            share = at / warm if per_epoch else at / max(1, warm - 1)
            return recipe.warmup_from + (recipe.lr - recipe.warmup_from) * share
        turn = (at - warm) / max(1, total - warm)
        return recipe.end_lr + (recipe.lr - recipe.end_lr) * (1 + math.cos(math.pi * turn)) / 2

    return rate


def optimiser_of(method: Method, recipe: Recipe, fused: bool = True) -> torch.optim.Optimizer:
    """The optimiser that a recipe names, over what the method trains. Raises UsageError where either is missing.

    fused: one kernel for all parameters; off where losses are scaled and gradients are clipped, which needs them apart.
    """
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    if recipe.optimiser not in OPTIMISERS:
        raise UsageError(f"optimiser={recipe.optimiser!r} was given; {nearest(recipe.optimiser, OPTIMISERS)}")
    groups = method.param_groups()
    if not groups:
        raise UsageError(
            "this method has nothing to train; it is used as it is: give its weights to descry evaluate or descry index"
        )
    if recipe.optimiser == "muon":
        inner = inner_matrices(method.named_parameters())
        return MuonAdamW(groups, inner, recipe.lr, recipe.muon_rate, recipe.betas, recipe.eps, recipe.weight_decay)
    value: torch.optim.Optimizer = kinds[recipe.optimiser](
        groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay, fused=fused
    )
    return value


def inner_matrices(named: Iterable[tuple[str, nn.Parameter]]) -> set[int]:
    """The ids of the two-dimensional weights inside transformer layers, which Muon is made for."""
    return {id(parameter) for name, parameter in named if parameter.ndim == 2 and ".layers." in name}


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the groups marked "inner", AdamW for the others, with one state and one list of groups.

    groups: as of Method.param_groups. inner: ids of the parameters for Muon. rate: Muon's learning rate as a multiple
    of a group's own. Raises UsageError where torch is older than 2.9.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        inner: set[int],
        lr: float,
        rate: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ):
        if not hasattr(torch.optim, "Muon"):
            raise UsageError(f"optimiser='muon' was given; it needs torch 2.9 or later, this is {torch.__version__}")
        mine, others = list[dict[str, Any]](), list[dict[str, Any]]()
        for group in groups:
            scale = group.get("lr_scale", 1.0)
            for wanted, kept, scaled in ((True, mine, scale * rate), (False, others, scale)):
                params = [p for p in group["params"] if (id(p) in inner) == wanted]
                if params:
                    kept.append(group | {"params": params, "lr_scale": scaled, "inner": wanted})
        plain = torch.optim.AdamW(others, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)
        matrices = torch.optim.Muon(mine, lr=lr * rate, weight_decay=weight_decay, momentum=0.95) if mine else None
        self.parts: tuple[torch.optim.Optimizer | None, torch.optim.Optimizer] = (matrices, plain)
        super().__init__([*(matrices.param_groups if matrices else ()), *plain.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both."""
        loss = closure() if closure else None
        for inner, part in zip((True, False), self.parts, strict=True):
            if part is not None:
                part.state = self.state  # loading a state puts new objects here
                part.param_groups = [group for group in self.param_groups if group["inner"] == inner]
                part.step()
        return loss
