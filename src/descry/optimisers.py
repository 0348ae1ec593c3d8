"""Optimisers that torch does not offer in one piece.

Muon (Jordan et al., 2024) gives the matrices inside a transformer's layers updates of equal strength in all directions;
everything else (embeddings, projections, vectors) is AdamW's. Trained from nothing on a processor, a small CLIP leaves
its first plateau several times sooner this way (docs/demo-model.md). Fine-tuning a pretrained CLIP keeps AdamW, as the
papers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from .errors import UsageError


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
