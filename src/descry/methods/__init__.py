"""The methods: each is one file in its paper's order. Here stands what they share: the contract, and how they are
found.

To add a method, write one file with a config, PRESETS and a class as below, and one line in METHODS; the tests cover
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..clip import Clip
from ..errors import UsageError, nearest
from ..text import Words

METHODS: dict[str, str] = {
    "zero_shot": "zero_shot:ZeroShot",
    "interactreid": "interactreid:InteractReID",
    "propot": "propot:Propot",
    "vfe_tps": "vfe_tps:VfeTps",
    "baseline": "baselines:Baseline",
    "vit_bert": "vit_bert:VitBert",
    "rde": "rde:Rde",
}

Batch = dict[str, Tensor]


class Progress(NamedTuple):
    """Where training stands: ramps, memories of an epoch and random masks depend on it. step counts from 0 over the
    run.
    """

    step: int
    epoch: int
    steps_per_epoch: int
    generator: torch.Generator


@dataclass(frozen=True)
class Recipe:
    """How a method is trained. Every value is the paper's or the released code's; see the presets.

    optimiser: "adamw", "adam", or "muon" for what starts from nothing (Muon for the matrices inside the layers at
    `muon_rate` times the rate, AdamW for the rest). schedule: "iteration" (linear warm-up, then cosine to end_lr, set
    before each step) or "epoch" (the same, once per epoch). warmup_from: learning rate at the start of the warm-up.
    selection: "val" (best R@1 on the validation split) or "last". sampler: "random", or "identity" with `instances`
    rows of each person.
    """

    epochs: int
    batch_size: int
    lr: float
    optimiser: str = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    schedule: str = "iteration"
    warmup_epochs: float = 0.0
    warmup_from: float = 0.0
    end_lr: float = 0.0
    augment: str = "flip"
    back_translation: float = 0.0
    mask_text: float = 0.0
    clean_captions: bool = True
    drop_last: bool = True
    sampler: str = "random"
    instances: int = 1
    selection: str = "val"
    clip_gradient: float = 0.0
    muon_rate: float = 20.0


class Method(Protocol):
    """What the trainer, the evaluator and the gallery ask of a method. A batch is a dict of tensors:

    image (B, 3, H, W) in [0, 1] and pid (B,) always; text (B, L) ids, sketch (B, 3, H, W), masked_text and token_labels
    (B, L), image_id (B,), patch_mask (B, P) where the method asks for them. Losses come already weighted, named as in
    the paper; the total is their sum. What a method remembers between steps beside its weights is its `memory`, with
    `state` and `restore` (vfe_tps.Memory), if it has one.
    """

    clip: Clip
    words: Words
    config: Any
    answers: frozenset[str]
    needs: frozenset[str]

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """Named, weighted losses of one batch."""

    def param_groups(self) -> list[dict[str, Any]]:
        """For torch.optim: params, lr_scale (times the recipe's rate), weight_decay. Frozen parameters are left out."""

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D), unit length."""

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, D), unit length."""


def method_class(name: str) -> Any:
    """The class of a method; UsageError with the nearest known name."""
    if name not in METHODS:
        raise UsageError(f"there is no method {name!r}; {nearest(name, list(METHODS))}")
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def preset(name: str, which: str) -> Any:
    """The config of a method's preset ("paper", "released", "recommended")."""
    presets = import_module(method_class(name).__module__).PRESETS
    if which not in presets:
        raise UsageError(f"{name} has no preset {which!r}; {nearest(which, list(presets))}")
    return presets[which]


def gather(x: Tensor) -> Tensor:
    """(b, …) of this process → (B, …) of all, in rank order, with gradient; the same tensor on one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    if torch.distributed.get_world_size() == 1:
        return x
    if not x.is_floating_point():
        parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)
    return torch.cat(list(_GatherWithGradient.apply(x.contiguous())))


def per_process(count: Tensor) -> Tensor:
    """A count () of this process → its mean over the processes, never below one in all.

    A sum divided by it is, after gradients are averaged over processes, the mean over what all of them counted.
    """
    counts = gather(count.reshape(1))
    return counts.sum().clamp(min=1) / len(counts)


def same_everywhere(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator that draws the same on every process, from the seed of the first process's."""
    seeds = gather(torch.tensor([generator.initial_seed()], device=device))
    return torch.Generator().manual_seed(int(seeds[0]) + 1)


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
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            plain = parameter.ndim < 2 or "bias" in name or "norm" in name
            groups.setdefault((scale(name), 0.0 if plain else weight_decay), []).append(parameter)
    return [{"params": p, "lr_scale": s, "weight_decay": d} for (s, d), p in groups.items()]
