"""The methods: each is one file in its paper's order; contract.py says what such a file holds and lists the methods.

This module has what their losses need when several processes train together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from .contract import (
    METHODS,
    Batch,
    Method,
    MethodConfig,
    Progress,
    PseudoWords,
    Recipe,
    check_backbone,
    method_class,
    optimiser_groups,
    preset,
    presets,
)

__all__ = [
    "METHODS",
    "Batch",
    "Method",
    "MethodConfig",
    "Progress",
    "PseudoWords",
    "Recipe",
    "alone",
    "check_backbone",
    "decay_groups",
    "gather",
    "method_class",
    "optimiser_groups",
    "per_process",
    "preset",
    "presets",
    "same_everywhere",
    "summed",
]


_ALONE = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """What happens within concerns this process only: nothing is gathered from the others, who would never answer."""
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def _several() -> bool:
    """Whether a step is shared with other processes."""
    distributed = torch.distributed
    return not _ALONE.get() and (
        distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    )


def gather(x: Tensor) -> Tensor:
    """(b, …) of this process → (B, …) of all, in rank order, with gradient; the same tensor on one process."""
    if not _several():
        return x
    if not x.is_floating_point():
        parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)
    return torch.cat(list(_GatherWithGradient.apply(x.contiguous())))  # type: ignore[no-untyped-call]


def per_process(count: Tensor) -> Tensor:
    """A count () of this process → its mean over the processes, never below one in all.

    A sum divided by it is, after gradients are averaged over processes, the mean over what all of them counted.
    """
    counts = gather(count.reshape(1))
    return counts.sum().clamp(min=1) / len(counts)


def summed(x: Tensor) -> Tensor:
    """The sum over all processes, in place, without gradient."""
    if _several():
        torch.distributed.all_reduce(x)
    return x


def same_everywhere(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator that draws the same on every process, from the seed of the first process's."""
    seed = generator.initial_seed()
    if _several():
        seed = int(gather(torch.tensor([seed], device=device))[0])
    return torch.Generator().manual_seed(seed + 1)


class _GatherWithGradient(torch.autograd.Function):
    """all_gather whose backward sums each process's gradient of every part, so that all terms of the loss reach all
    encoders.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, ...]:
        parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, x)
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        stacked = torch.stack(gradients).contiguous()
        torch.distributed.all_reduce(stacked)
        return stacked[torch.distributed.get_rank()]


def decay_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float, scale: Callable[[str], float] = lambda name: 1.0
) -> list[dict[str, Any]]:
    """Parameter groups by rate and decay; vectors, biases and normalisations carry no weight decay.

    scale: from a parameter's name to the factor of its learning rate. Parameters without gradient are left out.
    """

    def rule(name: str, parameter: nn.Parameter) -> tuple[float, float]:
        plain = parameter.ndim < 2 or "bias" in name or "norm" in name
        return scale(name), 0.0 if plain else weight_decay

    return optimiser_groups(named, rule)
