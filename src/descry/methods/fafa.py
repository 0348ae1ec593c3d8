"""FAFA-style composition: Fine-grained Adaptive Feature Alignment for composed person retrieval (Liu et al., NeurIPS
2025), on the encoders of a CLIP.

The paper builds on BLIP-2: K query tokens read a picture, and read it together with the words that go with it; one
token of both is compared with the K tokens of each photograph. Here a small transformer of the same kind reads the
tokens of a CLIP. What is the paper's: dynamic alignment to the k nearest of the K tokens (FDA), diversity of the tokens
(FD), masked feature reasoning (MFR). What is not: the encoders, that the transformer begins with random weights, and
that a search compares one vector, the mean of a photograph's tokens (k = K); `nearest_tokens` gives the paper's score.

Letters: B batch, K query tokens, D shared dimension of the CLIP, E width of a vector, L tokens of a text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import Block
from ..clip import Clip
from ..errors import COUNT, POSITIVE, SHARE
from ..losses import matching, projections
from ..text import PLACEHOLDER, Words
from . import Batch, Method, MethodConfig, Progress, Recipe, decay_groups, gather

REFERENCES = ("photo", "sketch")


@dataclass(frozen=True)
class Config(MethodConfig):
    """Every choice of the method.

    Attributes:
        recipe: how it is trained; batch 256, 10 epochs, 2e-6.
        image_size: (H, W) in pixels.
        reference: the picture that goes with the words in training: another "photo" of the person in the batch (one
            that has none stands for itself), or the row's "sketch".
        tokens: K, 32.
        nearest: k of FDA, 6.
        same_person: label of another photograph of the person in FDA, beside 1 for the pair. Paper 0.5; the released
            code takes 1.
        temperature: τ of FDA at the beginning, 0.07; it is learnt.
        diversity: λ₁, weight of FD, 1.
        margin: m of FD, the cosine of two tokens that costs nothing, 0.5.
        reasoning: λ₂, weight of MFR, 0.5.
        mask_ratio: share of a feature that MFR hides, 0.3 in the released code.
        words: weight of FDA between the words alone and the photograph, so that a text can be asked without a picture.
            Not in the paper (0).
        width: E, 256.
        layers: of the transformer, for pictures and for both together.
        heads: of its attention.
        train_images: whether V moves; frozen in the paper.
        new_rate: learning rate of all that begins with random weights, relative to the recipe's. The paper begins with
            a trained transformer (1).
    """

    bounds = {
        "tokens": COUNT, "nearest": COUNT, "same_person": SHARE, "temperature": POSITIVE, "mask_ratio": SHARE,
        "width": COUNT, "layers": COUNT, "heads": COUNT,
    }  # fmt: skip
    choices = {"reference": REFERENCES}

    recipe: Recipe
    image_size: tuple[int, int] = (224, 224)
    reference: str = "photo"
    tokens: int = 32
    nearest: int = 6
    same_person: float = 0.5
    temperature: float = 0.07
    diversity: float = 1.0
    margin: float = 0.5
    reasoning: float = 0.5
    mask_ratio: float = 0.3
    words: float = 0.0
    width: int = 256
    layers: int = 2
    heads: int = 8
    train_images: bool = False
    new_rate: float = 1.0


_RECIPE = Recipe(
    epochs=10, batch_size=256, lr=2e-6, weight_decay=0.05, warmup_share=0.05, augment="flip", clean_captions=False,
    sampler="identity", instances=2,
)  # fmt: skip

PRESETS: dict[str, Config] = {
    "paper": Config(_RECIPE),
    "released": Config(_RECIPE, same_person=1.0),
    "recommended": Config(replace(_RECIPE, batch_size=64, lr=1e-5), words=1.0, new_rate=20.0),
}


class Former(nn.Module):
    """K learnt tokens that read a picture, and a picture's tokens together with words."""

    def __init__(self, dim: int, tokens: int, layers: int, heads: int):
        super().__init__()
        self.queries = nn.Parameter(torch.empty(tokens, dim).normal_(std=0.02))
        self.norm_image, self.norm_text = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.apart = nn.ModuleList(Block(dim, heads, layers) for _ in range(layers))
        self.reading = nn.ModuleList(Block(dim, heads, layers) for _ in range(layers))
        self.together = nn.ModuleList(Block(dim, heads, layers) for _ in range(layers))

    def picture(self, tokens: Tensor) -> Tensor:
        """(B, 1 + P, D) tokens of pictures → (B, K, D)."""
        x, keys = self.queries.repeat(len(tokens), 1, 1), self.norm_image(tokens)
        for apart, reading in zip(self.apart, self.reading, strict=True):
            x = reading(apart(x), keys)
        return x

    def both(self, states: Tensor, tokens: Tensor, pads: Tensor, ends: Tensor) -> Tensor:
        """(B, K, D) of pictures and (B, L, D) of texts → (B, D), read at the end of the text. pads: (B, L) bool, tokens
        that nothing reads. ends: (B,) positions.
        """
        x = torch.cat([self.norm_text(tokens), states], dim=1)
        hidden = F.pad(pads, (0, states.shape[1]))
        for block in self.together:
            x = block(x, hidden=hidden)
        return x[torch.arange(len(x), device=x.device), ends]


class Fafa(Method):
    """A CLIP and the transformer over its tokens. identities: 0 makes the model for inference."""

    inference_keys = ("clip.", "former.", "image_out.", "text_out.")
    backbones = ("clip", "siglip")
    answers = frozenset({"text", "sketch", "photo", "sketch+text", "photo+text"})
    small = {"tokens": 5, "nearest": 2, "width": 24, "layers": 1, "heads": 2, "mask_ratio": 1.0, "margin": 0.0}
    forms = {"": {"sampler": "identity"}, "sketches": {"reference": "sketch"}}

    def __init__(self, clip: Clip, words: Words, config: Config, identities: int = 0):
        super().__init__(clip, words, config, identities)
        self.former = Former(clip.dim, config.tokens, config.layers, config.heads)
        self.image_out, self.text_out = nn.Linear(clip.dim, config.width), nn.Linear(clip.dim, config.width)
        clip.logit_scale.requires_grad_(False)  # FDA has its own τ
        if not config.train_images:
            for _, parameter in clip.image_parameters():
                parameter.requires_grad_(False)
        if identities:
            self.temperature = nn.Parameter(torch.tensor(config.temperature))
            self.predictor = nn.Sequential(
                nn.Linear(2 * clip.dim, 2 * config.width), nn.ReLU(), nn.Linear(2 * config.width, clip.dim)
            )

    @property
    def needs(self) -> frozenset[str]:
        """Captions, and sketches where they go with them."""
        return frozenset({"text", "sketch"} if self.config.reference == "sketch" else {"text"})

    @property
    def dimension(self) -> int:
        """E."""
        value: int = self.config.width
        return value

    # ------------------------------------------------------------------ training

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """ "fda", "fd", "mfr", and "words" where the config has it, already weighted."""
        c = self.config
        states = self._picture(batch["image"])
        shown = self._picture(batch["sketch"]) if c.reference == "sketch" else states[partners(batch)]
        fused, alone = self._both(shown, batch["text"]), None
        targets = gather(F.normalize(self.image_out(states), dim=-1))
        out = {"fda": self._alignment(fused, targets, batch), "fd": c.diversity * spread(targets, c.margin)}
        out["mfr"] = c.reasoning * self._reasoning(fused, states.mean(dim=1), at.generator)
        if c.words:
            alone = self._both(self.former.queries.expand_as(shown), batch["text"])
            out["words"] = c.words * self._alignment(alone, targets, batch)
        return out

    def _alignment(self, fused: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """FDA: similarity to the k nearest tokens, matched to who is the same person; mean of both directions."""
        found = nearest_tokens(gather(F.normalize(self.text_out(fused), dim=-1)), targets, self.config.nearest)
        pids, photos = gather(batch["pid"]), gather(batch["image_id"])
        same = (pids[:, None] == pids[None, :]).float()
        pair = (photos[:, None] == photos[None, :]).float() * same
        labels = pair + self.config.same_person * (same - pair)
        return matching(found / self.temperature.clamp(min=0.01), labels) / 2

    def _reasoning(self, fused: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        """MFR: of the features (B, D) of query and photograph each is foretold where it is hidden, from what is left of
        it and the other; squared error there, mean of both.
        """
        losses = []
        for one, other in ((fused, target), (target, fused)):
            draw = torch.rand(one.shape, generator=generator, device=generator.device)
            hidden = (draw < self.config.mask_ratio).to(one)
            foretold = self.predictor(torch.cat([one * (1 - hidden), other], dim=1))
            losses.append(((foretold - one).square() * hidden).sum() / hidden.sum().clamp(min=1))
        return torch.stack(losses).mean()

    def _picture(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, K, D)."""
        value: Tensor = self.former.picture(self.clip.image_tokens(images))
        return value

    def _both(self, states: Tensor, ids: Tensor) -> Tensor:
        """(B, K, D) of pictures and (B, L) texts → (B, D)."""
        clip = self.clip
        value: Tensor = self.former.both(states, clip.text_tokens(ids), clip.text_pads(ids), clip.text_end(ids))
        return value

    def param_groups(self) -> list[dict[str, Any]]:
        """The encoders at the recipe's rate, the rest at new_rate times it; vectors and norms do not decay."""
        c = self.config
        decay = c.recipe.weight_decay
        return decay_groups(self.named_parameters(), decay, lambda n: 1.0 if n.startswith("clip.") else c.new_rate)

    # ------------------------------------------------------------------ inference

    def tokens_of(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, K, E), each of unit length: what `nearest_tokens` compares."""
        return F.normalize(self.image_out(self._picture(images)), dim=-1)

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, E), unit length: the mean of the tokens."""
        return F.normalize(self.tokens_of(images).mean(dim=1), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, E), unit length: words without a picture."""
        queries = self.former.queries.expand(len(ids), -1, -1)
        return F.normalize(self.text_out(self._both(queries, ids)), dim=-1)

    def pseudo_words(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, K · D): what the words will be read with."""
        return self._picture(pictures).flatten(1)

    def compose_words(self, word: Tensor, texts: list[str]) -> Tensor:
        """(B, K · D) of pictures and B texts, "" for none → (B, E) of both as one query, unit length."""
        ids = self.words.ids([" ".join(t.replace(PLACEHOLDER, " ").split()) for t in texts]).to(word.device)
        states = word.unflatten(1, (self.config.tokens, -1))
        return F.normalize(self.text_out(self._both(states, ids)), dim=-1)


def nearest_tokens(queries: Tensor, tokens: Tensor, nearest: int) -> Tensor:
    """FDA's score: (Q, E) queries and (N, K, E) tokens of photographs, all of unit length → (Q, N), the mean cosine to
    the `nearest` of a photograph's K tokens.
    """
    cosines = projections(queries, tokens.flatten(0, 1)).unflatten(1, tokens.shape[:2])
    value: Tensor = cosines.topk(min(nearest, tokens.shape[1]), dim=-1).values.mean(dim=-1)
    return value


def spread(tokens: Tensor, margin: float) -> Tensor:
    """FD: (B, K, E) of unit length → (), the mean over all pairs of different tokens of the batch of what their cosine
    exceeds the margin by. The released code draws 1,024 tokens of a batch; all are taken here.
    """
    flat = tokens.flatten(0, 1)
    over = F.relu(projections(flat, flat) - margin)
    return (over.sum() - over.diagonal().sum()) / len(flat) ** 2


def partners(batch: Batch) -> Tensor:
    """(B,) for each row the next one with another photograph of the person, itself where there is none."""
    pids, photos = batch["pid"], batch["image_id"]
    rows = torch.arange(len(pids), device=pids.device)
    other = (pids[:, None] == pids[None, :]) & (photos[:, None] != photos[None, :])
    steps = (rows[None, :] - rows[:, None]) % len(rows)
    return torch.where(other.any(dim=1), torch.where(other, steps, len(rows)).argmin(dim=1), rows)
