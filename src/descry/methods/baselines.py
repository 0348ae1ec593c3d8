"""CLIP with one plain objective: the left-most rows of the papers' tables, which a method must beat.

Linear probe and CMPM (VFE-TPS Table 5), SDM with and without an identity classifier (Propot Table 4), InfoNCE, and the
recipe of IRRA (Jiang and Ye, CVPR 2023: SDM, identities, masked words), on which VFE-TPS and Propot build.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import IdentityHead, MaskedWordHead
from ..clip import Clip
from ..errors import COUNT, POSITIVE, UsageError
from ..losses import info_nce, projections, sdm, sigmoid_pairs
from ..text import Words
from . import Batch, Method, MethodConfig, Progress, Recipe, gather, optimiser_groups, per_process

LOSSES = ("sdm", "cmpm", "info_nce", "sigmoid")


@dataclass(frozen=True)
class Config(MethodConfig):
    """CLIP and an objective.

    Attributes:
        recipe: how it is trained; IRRA's.
        image_size: (H, W).
        loss: "sdm", "cmpm" (Zhang and Lu's, without a temperature), "info_nce" (only the pair is a positive) or
            "sigmoid" (SigLIP's own, with its learnt temperature and bias; for a SigLIP).
        temperature: τ = 0.02 of SDM and InfoNCE, fixed.
        identity: also classify identities.
        mlm: also predict masked words.
        probe: CLIP stays as it is and one linear map after each encoder is trained; it begins as the identity.
        mask_captions: all losses read the masked caption, as IRRA's code does by a shared buffer.
        heads: of the masked-word head.
        new_rate: learning rate of new parts, relative to the recipe's.
        bias_rule: as in IRRA's code, biases without weight decay and, outside the heads, at twice the rate; the three
            norms around the cross-modal blocks at CLIP's rate.
    """

    bounds = {"temperature": POSITIVE, "heads": COUNT}
    choices = {"loss": LOSSES}

    recipe: Recipe
    image_size: tuple[int, int] = (384, 128)
    loss: str = "sdm"
    temperature: float = 0.02
    identity: bool = True
    mlm: bool = False
    probe: bool = False
    mask_captions: bool = True
    heads: int = 8
    new_rate: float = 5.0
    bias_rule: bool = True


_IRRA = Recipe(
    epochs=60, batch_size=64, lr=1e-5, optimiser="adam", eps=1e-3, weight_decay=4e-5, schedule="epoch", warmup_epochs=5,
    warmup_from=1e-6, augment="flip-crop-erase", mask_text=0.15, clean_captions=False, drop_last=False,
)  # fmt: skip

PRESETS: dict[str, Config] = {
    "paper": Config(replace(_IRRA, warmup_epochs=6), new_rate=10.0, bias_rule=False),  # Propot Table 4, "Baseline"
    "released": Config(_IRRA, mlm=True),  # IRRA as its authors train it
    "recommended": Config(_IRRA),
}

ROWS: dict[str, dict[str, Any]] = {
    "linear probe": {"probe": True, "identity": False, "loss": "cmpm"},
    "CLIP + CMPM": {"identity": False, "loss": "cmpm"},
    "CLIP + InfoNCE": {"identity": False, "loss": "info_nce"},
    "CLIP + SDM": {"identity": False},
    "CLIP + SDM + ID": {},
    "IRRA (SDM + ID + MLM)": {"mlm": True},
}
"""Rows of the papers' tables: `replace(config, **ROWS[name])`."""


def cmpm(v: Any, t: Any, pids: Any, epsilon: float = 1e-8) -> Tensor:
    """Cross-modal projection matching (Zhang and Lu, ECCV 2018), both directions summed, as IRRA's code computes it.

    v, t: (B, D); each is projected on the unit direction of the other, without a temperature. pids: (B,). The labels of
    a row are divided by their Euclidean norm, not their sum.
    """
    v, t, pids = (torch.as_tensor(x) for x in (v, t, pids))
    forward, backward = projections(v, t), projections(t, v)
    labels = (pids[:, None] == pids[None, :]).to(forward)
    log_q = torch.log(labels / labels.norm(dim=1, keepdim=True) + epsilon)

    def one_way(logits: Tensor) -> Tensor:
        log_p = F.log_softmax(logits, dim=1)
        return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()

    return one_way(forward) + one_way(backward)


class Baseline(Method):
    """CLIP and an objective. identities: 0 makes the model for inference, without what training needs."""

    inference_keys: tuple[str, ...] = ("clip.", "image_probe.", "text_probe.")
    backbones = ("clip", "siglip")
    needs = frozenset({"text"})
    small = {"heads": 2}
    forms = {
        "": {},
        "CMPM": ROWS["CLIP + CMPM"],
        "InfoNCE": ROWS["CLIP + InfoNCE"],
        "IRRA": ROWS["IRRA (SDM + ID + MLM)"],
    }

    def __init__(self, clip: Clip, words: Words, config: Config, identities: int = 0):
        super().__init__(clip, words, config, identities)
        if config.loss == "sigmoid" and clip.kind != "siglip":
            raise UsageError(f"loss=sigmoid needs a siglip, whose bias it learns; this is a {clip.kind}: use info_nce")
        clip.logit_scale.requires_grad_(config.loss == "sigmoid")  # τ is fixed otherwise
        if config.probe:
            clip.requires_grad_(False)
            self.image_probe, self.text_probe = nn.Linear(clip.dim, clip.dim), nn.Linear(clip.dim, clip.dim)
            for layer in (self.image_probe, self.text_probe):
                nn.init.eye_(layer.weight)
                nn.init.zeros_(layer.bias)
        if identities and config.identity:
            self.id_head = IdentityHead(clip.dim, identities)
        if identities and config.mlm:
            self.word_head = MaskedWordHead(clip.dim, clip.vocabulary, config.heads)

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """The objective, and "id" and "mlm" where the config has them."""
        c = self.config
        self.check_training(batch, c.mask_captions or c.mlm)
        read = batch["masked_text"] if c.mask_captions else batch["text"]
        image_tokens, text_tokens = self.clip.image_tokens(batch["image"]), self.clip.text_tokens(read)
        v = image_tokens[:, 0]
        t = text_tokens[torch.arange(len(read), device=v.device), self.clip.text_end(read)]
        v, t = (self.image_probe(v), self.text_probe(t)) if c.probe else (v, t)
        out = {c.loss: self._alignment(gather(v), gather(t), gather(batch["pid"]))}
        if c.identity:
            out["id"] = self.id_head(batch["pid"], v, t)
        if c.mlm:
            masked = text_tokens if c.mask_captions else self.clip.text_tokens(batch["masked_text"])
            labels, pads = batch["token_labels"], self.clip.text_pads(batch["masked_text"])
            count = per_process((labels != 0).sum())
            out["mlm"] = self.word_head(masked, image_tokens, labels, pads, count)
        return out

    def _alignment(self, v: Tensor, t: Tensor, pids: Tensor) -> Tensor:
        if self.config.loss == "cmpm":
            return cmpm(v, t, pids)
        if self.config.loss == "sigmoid":
            bias: Any = self.clip.logit_bias
            return sigmoid_pairs(v, t, pids, self.clip.temperature, bias)
        if self.config.loss == "info_nce":
            return info_nce(v, t, self.config.temperature)
        return sdm(v, t, pids, self.config.temperature)

    def param_groups(self) -> list[dict[str, Any]]:
        """CLIP at the recipe's rate, new parts at new_rate times it, biases as configured."""
        c = self.config

        def rule(name: str, parameter: nn.Parameter) -> tuple[float, float]:
            bias = c.bias_rule and name.endswith("bias")
            head = name.startswith(("id_head.", "word_head.words", "word_head.dense", "word_head.norm"))
            scale = 1.0 if name.startswith("clip.") else c.new_rate
            if c.bias_rule and name.startswith("word_head.cross.norm_"):
                scale = 1.0
            return (2.0 if bias and not head else scale), 0.0 if bias else c.recipe.weight_decay

        return optimiser_groups(self.named_parameters(), rule)

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D), unit length."""
        v = self.clip.image_features(images)
        return F.normalize(self.image_probe(v) if self.config.probe else v, dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, D), unit length."""
        t = self.clip.text_features(ids)
        return F.normalize(self.text_probe(t) if self.config.probe else t, dim=-1)
