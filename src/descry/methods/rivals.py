"""What the papers compare their own parts with: other aggregations (Propot Table 5), other masked image modelling and
other identity losses (VFE-TPS §4.5.3-4.5.4). None of them is a method's own path.

Letters: n prototypes, k kinds of them, B batch, D shared dimension, P patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import Block
from ..clip import Clip
from ..errors import UsageError, nearest
from ..losses import cosine_logits

AGGREGATIONS = ("sum", "mean", "mlp", "learned")


class Aggregation(nn.Module):
    """A rival of Propot's APA (Table 5): initial (n, D), prompted (k, n, D) → (n, D).

    "sum" and "mean" of all 1 + k; "learned": one weight per kind, a softmax over the k, trained with the network;
    "mlp": the weights are computed from the prompted prototypes by two linear layers. The initial prototype counts 1,
    as in eq. (6).
    """

    def __init__(self, kind: str, dim: int, kinds: int):
        super().__init__()
        self.kind = kind
        if kind == "learned":
            self.weights = nn.Parameter(torch.zeros(kinds))
        elif kind == "mlp":
            self.mlp = nn.Sequential(nn.Linear(kinds * dim, dim), nn.ReLU(), nn.Linear(dim, kinds))

    def forward(self, initial: Tensor, prompted: Tensor) -> Tensor:
        if self.kind == "sum":
            return initial + prompted.sum(dim=0)
        if self.kind == "mean":
            return (initial + prompted.sum(dim=0)) / (1 + len(prompted))
        if self.kind == "learned":
            return initial + (self.weights.softmax(dim=0)[:, None, None] * prompted).sum(dim=0)
        weights = self.mlp(prompted.transpose(0, 1).flatten(1)).softmax(dim=1)
        value: Tensor = initial + (weights.T[..., None] * prompted).sum(dim=0)
        return value


def aggregation(kind: str, dim: int, kinds: int) -> Aggregation:
    """A rival aggregation of `kinds` prompted prototypes; UsageError for an unknown name."""
    if kind not in AGGREGATIONS:
        raise UsageError(f"there is no aggregation {kind!r}; {nearest(kind, AGGREGATIONS)}")
    return Aggregation(kind, dim, kinds)


def triplet(features: Any, pids: Any, margin: float = 0.3) -> Tensor:
    """Batch-hard triplet loss on unit-length (B, D) features: the rival of IS-GVFC in VFE-TPS §4.5.4 (margin: not
    stated).

    For each row: the farthest row of its identity against the nearest of another; 0 for a row that lacks either.
    """
    features, pids = torch.as_tensor(features), torch.as_tensor(pids)
    squared = (2 - 2 * cosine_logits(features, features, 1.0)).clamp(min=1e-12)
    distance = squared.sqrt()
    same = pids[:, None] == pids[None, :]
    self_pair = torch.eye(len(pids), dtype=torch.bool, device=pids.device)
    positive = distance.masked_fill(~same | self_pair, -torch.inf).amax(dim=1)
    negative = distance.masked_fill(same, torch.inf).amin(dim=1)
    complete = torch.isfinite(positive) & torch.isfinite(negative)
    gap = torch.where(complete, positive, 0.0) - torch.where(complete, negative, 0.0)
    return (F.relu(gap + margin) * complete).mean()


class MaskedAutoencoder(nn.Module):
    """MAE (He et al. 2022), the rival of VFE-TPS's TG-MIM: the encoder sees only the visible patches.

    A learnt token stands for each hidden patch in the decoder, which is as deep as TG-MIM's, so that the comparison is
    between ideas and not between sizes. The encoder is CLIP's own.
    """

    def __init__(self, dim: int, patches: int, heads: int = 8, layers: int = 4):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(dim))
        self.positions = nn.Parameter(torch.empty(1 + patches, dim))
        nn.init.normal_(self.positions, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, heads, layers) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, clip: Clip, images: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], mask (B, P) bool with equally many True per row → (B, P, D) decoded patch tokens."""
        visible = (~mask).sum(dim=1)
        if int(visible.min()) != int(visible.max()):
            raise UsageError("MAE needs equally many visible patches in every image; draw the mask with random_mask()")
        kept = torch.cat([torch.zeros_like(visible)[:, None], 1 + _positions(~mask, int(visible[0]))], dim=1)
        with _only(clip, kept):
            seen = clip.image_tokens(images)
        full = self.token.to(seen).expand(len(images), len(self.positions), -1)
        x = full.scatter(1, kept[..., None].expand(-1, -1, seen.shape[-1]), seen) + self.positions
        for block in self.blocks:
            x = block(x)
        value: Tensor = self.norm(x)[:, 1:]
        return value


def _positions(chosen: Tensor, count: int) -> Tensor:
    """(B, P) bool with `count` True per row → (B, count) their positions, ascending."""
    return chosen.int().argsort(dim=1, descending=True, stable=True)[:, :count]


@contextmanager
def _only(clip: Clip, kept: Tensor) -> Iterator[None]:
    """Let the image encoder go on with these tokens only: kept (B, 1 + visible) token numbers."""

    def choose(module: nn.Module, args: tuple[Tensor]) -> Tensor:
        return args[0].gather(1, kept[..., None].expand(-1, -1, args[0].shape[-1]))

    handle = clip.model.vision_model.pre_layrnorm.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()
