"""RDE: Noisy-Correspondence Learning for Text-to-Image Person Re-identification (Qin et al., CVPR 2024).

Two embeddings of each side: the global one of CLIP, and token selection embeddings (TSE), pooled from the tokens that
the last layer attends to. A confident consensus division (CCD) says before each epoch which pairs are trusted: those
that a mixture of two Gaussians finds clean by both embeddings' losses. The triplet alignment loss (TAL) is a triplet
loss over all negatives by log-sum-exp.

A search compares one vector: both embeddings side by side, each of length √½, so that an inner product is the mean of
the two cosines, as the paper scores.

Letters: B batch, D shared dimension, E = 1024 dimension of a selection embedding, K selected tokens, L tokens, S tokens
of either side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..clip import Clip
from ..errors import COUNT, POSITIVE, SHARE, Bound
from ..losses import cosine_logits
from ..text import Words
from . import Batch, Method, MethodConfig, Progress, Recipe, gather, optimiser_groups

CHOICES = {"loss": ("tal", "triplet"), "reduction": ("sum", "mean")}


@dataclass(frozen=True)
class Config(MethodConfig):
    """Every choice of the method. Where paper and released code differ, the presets hold both.

    Attributes:
        recipe: batch 64, 60 epochs of Adam, warm-up of five epochs.
        image_size: (H, W) in pixels.
        loss: "tal", or "triplet" with the hardest negative of each row (the paper's comparison).
        temperature: τ of TAL, 0.015.
        margin: m of TAL, 0.1.
        ratio: R, the share of tokens that are selected, 0.3.
        width: E, the dimension of a selection embedding; its hidden layer has half of it.
        division: whether the pairs are divided (CCD); False trusts all.
        threshold: δ, a pair is clean for one embedding when its probability is above it.
        mixture_steps: most iterations of expectation maximisation.
        mixture_tolerance: change of the mean log-likelihood that ends it.
        mixture_floor: added to each variance. The released code takes 100 steps, 1e-4 and 1e-6 for noisier sets.
        least_doubted: share of pairs that is doubted when every pair is found clean; released 0.01, not in the paper.
        count_pads: padding takes part in the statistics of the batch norm, as in the released code, whose captions
            always have 77 tokens.
        reduction: over the pairs of a batch; the released code sums.
        word_noise: share of a caption's words that are disturbed in training: 60 % masked, 20 % replaced, 20 % removed.
        new_rate: learning rate of the selection embeddings relative to the recipe's; released 1e-3 to 1e-5.
        bias_rule: biases of CLIP at twice the rate and all biases without weight decay, as released.
    """

    bounds = {
        "temperature": POSITIVE, "ratio": Bound(0, 1, above=True), "width": Bound(2), "threshold": SHARE,
        "mixture_steps": COUNT, "least_doubted": SHARE, "word_noise": SHARE,
    }  # fmt: skip
    choices = CHOICES
    recipe: Recipe
    image_size: tuple[int, int] = (384, 128)
    loss: str = "tal"
    temperature: float = 0.015
    margin: float = 0.1
    ratio: float = 0.3
    width: int = 1024
    division: bool = True
    threshold: float = 0.5
    mixture_steps: int = 100
    mixture_tolerance: float = 1e-4
    mixture_floor: float = 1e-6
    least_doubted: float = 0.0
    count_pads: bool = False
    reduction: str = "sum"
    word_noise: float = 0.2
    new_rate: float = 100.0
    bias_rule: bool = True


_RECIPE = Recipe(
    epochs=60, batch_size=64, lr=1e-5, optimiser="adam", eps=1e-3, weight_decay=4e-5, schedule="epoch", warmup_epochs=5,
    warmup_from=1e-6, augment="flip-crop-erase", clean_captions=False, drop_last=False,
)  # fmt: skip

PRESETS: dict[str, Config] = {
    "paper": Config(_RECIPE, count_pads=True, bias_rule=False),
    "released": Config(
        _RECIPE,
        mixture_steps=10,
        mixture_tolerance=1e-2,
        mixture_floor=5e-4,
        least_doubted=0.01,
        count_pads=True,
    ),
    "recommended": Config(_RECIPE),
}

ROWS: dict[str, dict[str, Any]] = {
    "RDE": {},
    "RDE without CCD": {"division": False},
    "RDE without CCD, triplet loss": {"division": False, "loss": "triplet"},
}
"""What each part is worth when pairs are wrong: `replace(config, **ROWS[name])`."""


# ---------------------------------------------------------------------- losses


def alignment(v: Any, t: Any, pids: Any, temperature: float = 0.015, margin: float = 0.1) -> Tensor:
    """TAL of each pair, both directions summed: (B, D) twice, pids (B,) → (B,), nothing below 0.

    [m − Σ_j α_ij s_ij + τ log Σ_{j of others} exp(s_ij / τ)]₊ with α the softmax of s / τ over the pairs of the same
    person, held constant. A row without another person in the batch counts 0.
    """
    return _both(v, t, pids, lambda s, same: _soft_gap(s, same, temperature, margin))


def hardest(v: Any, t: Any, pids: Any, temperature: float = 0.015, margin: float = 0.1) -> Tensor:
    """The triplet loss of each pair with its hardest negative, which TAL replaces; arguments as of `alignment`."""

    def gap(scores: Tensor, same: Tensor) -> Tensor:
        worst = scores.masked_fill(same, 0.0).amax(dim=1)  # a row's own people count as similarity 0, as released
        return F.relu(margin + worst - _positive(scores, same, temperature))

    return _both(v, t, pids, gap)


def _both(v: Any, t: Any, pids: Any, gap: Any) -> Tensor:
    scores, pids = cosine_logits(t, v, 1.0), torch.as_tensor(pids)
    same = pids[:, None] == pids[None, :]
    total: Tensor = gap(scores, same) + gap(scores.T, same)
    return total


def _positive(scores: Tensor, same: Tensor, temperature: float) -> Tensor:
    alpha = (scores.detach() / temperature).masked_fill(~same, -torch.inf).softmax(dim=1)
    return (alpha * scores).sum(dim=1)


def _soft_gap(scores: Tensor, same: Tensor, temperature: float, margin: float) -> Tensor:
    others = (~same).any(dim=1)
    logits = (scores / temperature).masked_fill(same & others[:, None], -torch.inf)
    negative = temperature * torch.logsumexp(logits, dim=1)
    return F.relu(margin - _positive(scores, same, temperature) + negative) * others


# ---------------------------------------------------------------------- token selection


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over the rows of all processes: (N, C) → (N, C). weights (N,): 1 for rows that count, 0 for others."""

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        if not self.training:
            return super().forward(x)
        counted = x.new_ones(len(x), 1) if weights is None else weights[:, None].to(x)
        count = gather(counted.sum(dim=0, keepdim=True).detach()).sum()
        mean = gather((x * counted).sum(dim=0, keepdim=True)).sum(dim=0) / count
        variance = gather(((x - mean).square() * counted).sum(dim=0, keepdim=True)).sum(dim=0) / count
        with torch.no_grad():
            step = self.momentum or 0.1
            self.running_mean.lerp_(mean.to(self.running_mean), step)  # type: ignore[union-attr]
            unbiased = variance * count / (count - 1).clamp(min=1)
            self.running_var.lerp_(unbiased.to(self.running_var), step)  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias


class TokenSelection(nn.Module):
    """Selected tokens → one embedding: the maximum over tokens of MLP(x) + FC(x). (B, K, D) → (B, E).

    Parameters: D·E + E of the map, D·E/2 + E/2 and E·E/2 + E of the MLP, E of its batch norm.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.map = nn.Linear(dim, width)
        self.fc1, self.norm, self.fc2 = nn.Linear(dim, width // 2), BatchNorm(width // 2), nn.Linear(width // 2, width)

    def forward(self, tokens: Tensor, valid: Tensor | None = None, counted: Tensor | None = None) -> Tensor:
        """tokens: (B, K, D). valid: (B, K) bool, tokens that are pooled. counted: (B, K) bool, tokens whose statistics
        the batch norm takes; left out, all.
        """
        x = tokens / (tokens.norm(dim=-1, keepdim=True) + 1e-8)
        hidden = self.norm(self.fc1(x).flatten(0, 1), None if counted is None else counted.flatten())
        x = self.fc2(F.relu(hidden)).unflatten(0, x.shape[:2]) + self.map(x)
        if valid is not None:
            x = x.masked_fill(~valid[..., None], -torch.inf)
        value: Tensor = x.amax(dim=1)
        return value


@contextmanager
def _last_input(attention: nn.Module) -> Iterator[list[Tensor]]:
    """What enters an attention while the block runs."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: Any, kwargs: Any) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    handle = attention.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


@torch.no_grad()
def attention_of(attention: Any, states: Tensor, rows: Tensor, causal: bool = False) -> Tensor:
    """How much one token attends to each: states (B, S, W) that enter an attention, rows (B,) token numbers → (B, S),
    mean over the heads. causal: what stands behind the row is not read.
    """
    heads = attention.num_heads
    one = states[torch.arange(len(states), device=states.device), rows]
    q = attention.q_proj(one).unflatten(-1, (heads, -1))
    k = attention.k_proj(states).unflatten(-1, (heads, -1))
    logits = torch.einsum("bhd,bshd->bhs", q, k) * attention.scale
    if causal:
        behind = torch.arange(states.shape[1], device=states.device) > rows[:, None]
        logits = logits.masked_fill(behind[:, None], -torch.inf)
    value: Tensor = logits.softmax(dim=-1).mean(dim=1)
    return value


# ---------------------------------------------------------------------- division of the pairs


def clean_probability(losses: np.ndarray, steps: int = 100, tolerance: float = 1e-4, floor: float = 1e-6) -> np.ndarray:
    """(N,) losses → (N,) probability of the component with the lower mean, in a mixture of two Gaussians.

    Losses are scaled to [0, 1] first. Expectation maximisation begins with the two means of a split at the middle, so
    that the same losses always give the same answer (scikit-learn's begins at random). Equal losses are all clean.
    """
    low, high = losses.min(), losses.max()
    if high <= low:
        return np.ones(len(losses))
    x = (losses.astype(np.float64) - low) / (high - low)
    centres = np.array([0.0, 1.0])
    for _ in range(100):  # two means
        near = np.abs(x[:, None] - centres).argmin(axis=1)
        moved = np.array([x[near == i].mean() for i in (0, 1)])
        if np.allclose(moved, centres):
            break
        centres = moved
    resp = np.eye(2)[near]
    before = -np.inf
    for _ in range(max(1, steps)):
        mass = resp.sum(axis=0) + 10 * np.finfo(float).eps
        mean = (resp * x[:, None]).sum(axis=0) / mass
        variance = (resp * (x[:, None] - mean) ** 2).sum(axis=0) / mass + floor
        log = np.log(mass / len(x)) - 0.5 * (np.log(2 * np.pi * variance) + (x[:, None] - mean) ** 2 / variance)
        total = np.logaddexp(log[:, 0], log[:, 1])
        resp = np.exp(log - total[:, None])
        if abs(total.mean() - before) < tolerance:
            break
        before = total.mean()
    value: np.ndarray = resp[:, mean.argmin()]
    return value


def consensus(
    first: np.ndarray, second: np.ndarray, rng: np.random.Generator, threshold: float = 0.5, least: float = 0.0
) -> Tensor:
    """Which pairs are trusted (N,) float: 1 where both probabilities are above the threshold, 0 where neither is, and a
    toss of a coin where they disagree. least: this share is doubted by an embedding that would trust all.
    """
    votes = np.zeros(len(first), int)
    for p in (first, second):
        bound = threshold
        if least and p.min() > threshold:
            bound = np.sort(p)[int(len(p) * least)]
        votes += p > bound
    coin = rng.integers(0, 2, len(first))
    return torch.from_numpy(np.where(votes == 1, coin, votes // 2)).float()


class Division:
    """Which training pairs are trusted in this epoch: what a run must remember to go on inside it."""

    def __init__(self) -> None:
        self.trusted: Tensor | None = None

    def of(self, rows: Tensor) -> Tensor:
        """(B,) row numbers → (B,) 1 or 0; 1 for all before the first division."""
        return torch.ones(len(rows), device=rows.device) if self.trusted is None else self.trusted.to(rows.device)[rows]

    def state(self) -> dict[str, Tensor]:
        """The division, or nothing before the first."""
        return {} if self.trusted is None else {"trusted": self.trusted}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Remember what `state` returned."""
        self.trusted = state["trusted"].cpu() if state else None


# ---------------------------------------------------------------------- the method


def noisy_words(ids: Tensor, words: Words, generator: torch.Generator, share: float = 0.2) -> Tensor:
    """RDE's text augmentation: (B, L) ids → (B, L). Of the ordinary tokens a `share` is disturbed: 60 % become the
    mask, 20 % a random token, 20 % are removed and the rest moves up. The input is left as it was.
    """
    special = torch.tensor([words.pad, words.start, words.end], device=ids.device)
    ordinary = ~torch.isin(ids, special)
    draw = torch.rand(ids.shape, generator=generator, device=generator.device).to(ids.device) / share
    random = torch.randint(1, words.end, ids.shape, generator=generator, device=generator.device).to(ids.device)
    out = torch.where(ordinary & (draw < 0.6), torch.full_like(ids, words.mask), ids)
    out = torch.where(ordinary & (draw >= 0.6) & (draw < 0.8), random, out)
    removed = ordinary & (draw >= 0.8) & (draw < 1.0)
    order = removed.int().argsort(dim=1, stable=True)  # kept tokens first, in their order
    out = torch.where(removed, torch.full_like(ids, words.pad), out)
    return out.gather(1, order)


class Rde(Method):
    """CLIP and two token selections. identities: 0 makes the model for inference; training needs no more parts."""

    inference_keys = ("clip.", "image_selection.", "text_selection.")
    needs = frozenset({"text"})
    small = {"width": 24, "word_noise": 0.0, "margin": 0.5}
    forms = {"": {}, "released": {"count_pads": True, "loss": "triplet"}}
    memory: Division
    encoders = ("_image_tokens", "_text_tokens")

    def __init__(self, clip: Clip, words: Words, config: Config, identities: int = 0):
        super().__init__(clip, words, config, identities)
        self.image_selection = TokenSelection(clip.dim, config.width)
        self.text_selection = TokenSelection(clip.dim, config.width)
        clip.logit_scale.requires_grad_(False)  # TAL has its own, fixed τ
        self.memory = Division()

    @property
    def dimension(self) -> int:
        """Numbers in an embedding: D + E."""
        value: int = self.clip.dim + self.config.width
        return value

    # ------------------------------------------------------------------ training

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """ "global" and "selection": the loss of the trusted pairs by each embedding."""
        text = batch["text"]
        if self.config.word_noise:
            text = noisy_words(text, self.words, at.generator, self.config.word_noise)
        v, t, v_s, t_s = self._embeddings(batch["image"], text)
        pids = gather(batch["pid"])
        trusted = self.memory.of(gather(batch["row"])) if "row" in batch else torch.ones_like(pids)
        out = {}
        for name, a, b in (("global", v, t), ("selection", v_s, t_s)):
            each = self._each(gather(a), gather(b), pids)
            total = (each * trusted.to(each)).sum()
            out[name] = total if self.config.reduction == "sum" else total / trusted.sum().clamp(min=1)
        return out

    def begin_epoch(self, epoch: int, batches: Any) -> None:
        """CCD: divide the training pairs by their losses under both embeddings, without augmentation.

        Every process divides all pairs, in one shuffled order, and comes to the same division.
        """
        c = self.config
        if not c.division:
            return
        training, device = self.training, self.clip.logit_scale.device
        rng = np.random.default_rng([batches.seed, epoch])
        order = rng.permutation(len(batches.rows))
        found = torch.zeros(2, len(order), dtype=torch.float64)
        self.eval()
        with torch.no_grad():
            for batch in batches.whole(order):
                batch = {k: x.to(self.clip.mean) if x.is_floating_point() else x for k, x in batch.items()}
                v, t, v_s, t_s = self._embeddings(batch["image"].to(device), batch["text"].to(device))
                for i, (a, b) in enumerate(((v, t), (v_s, t_s))):
                    found[i, batch["row"].cpu()] = self._each(a, b, batch["pid"]).double().cpu()
        self.train(training)
        first, second = (
            clean_probability(x.numpy(), c.mixture_steps, c.mixture_tolerance, c.mixture_floor) for x in found
        )
        self.memory.trusted = consensus(first, second, rng, c.threshold, c.least_doubted)

    def _each(self, v: Tensor, t: Tensor, pids: Tensor) -> Tensor:
        loss = alignment if self.config.loss == "tal" else hardest
        return loss(v, t, pids, self.config.temperature, self.config.margin)

    def _embeddings(self, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Global embeddings (B, D) of photographs and captions, then selection embeddings (B, E) of both."""
        image, text = self._image_tokens(images), self._text_tokens(ids)
        return image[:, 0], text[:, 0], self.image_selection(image[:, 1:]), self._text_selection(text[:, 1:], ids)

    def _image_tokens(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1 + K, D): the whole image, then its K most attended patches."""
        attention = self.clip.model.vision_model.encoder.layers[-1].self_attn
        with _last_input(attention) as seen:
            tokens = self.clip.image_tokens(images)
        weights = attention_of(attention, seen[0], torch.zeros(len(tokens), dtype=torch.long, device=tokens.device))
        count = max(1, int((tokens.shape[1] - 1) * self.config.ratio))
        chosen = 1 + weights[:, 1:].topk(count, dim=1).indices
        chosen = torch.cat([torch.zeros_like(chosen[:, :1]), chosen], dim=1)
        return tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[-1]))

    def _text_tokens(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, 1 + K, D): the whole text, then its most attended words, of which a short text has fewer; behind
        them stand padding, the start and the end.
        """
        ids = self.words.padded(ids) if self.config.count_pads else ids
        attention = self.clip.model.text_model.encoder.layers[-1].self_attn
        with _last_input(attention) as seen:
            tokens = self.clip.text_tokens(ids)
        ends = self.clip.text_end(ids)
        position = torch.arange(ids.shape[1], device=ids.device)
        weights = attention_of(attention, seen[0], ends, causal=True)
        weights = weights.masked_fill((position == ends[:, None]) | (position == 0), -1.0)
        chosen = weights.topk(min(self._words_read, ids.shape[1]), dim=1).indices
        chosen = torch.cat([ends[:, None], chosen], dim=1)
        return tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[-1]))

    @property
    def _words_read(self) -> int:
        """K of a text: the share of the longest text without its start and end."""
        return max(1, int((self.clip.length - 2) * self.config.ratio))

    def _text_selection(self, tokens: Tensor, ids: Tensor) -> Tensor:
        words = (self.clip.text_end(ids) - 1).clamp(min=1, max=self._words_read)
        valid = torch.arange(tokens.shape[1], device=ids.device) < words[:, None]
        value: Tensor = self.text_selection(tokens, valid, None if self.config.count_pads else valid)
        return value

    def param_groups(self) -> list[dict[str, Any]]:
        """CLIP at the recipe's rate, the selections at new_rate times it, biases as configured."""
        c = self.config

        def rule(name: str, parameter: nn.Parameter) -> tuple[float, float]:
            bias, new = c.bias_rule and name.endswith("bias"), not name.startswith("clip.")
            return c.new_rate if new else 2.0 if bias else 1.0, 0.0 if bias else c.recipe.weight_decay

        return optimiser_groups(self.named_parameters(), rule)

    # ------------------------------------------------------------------ inference

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D + E), unit length."""
        tokens = self._image_tokens(images)
        return _joined(tokens[:, 0], self.image_selection(tokens[:, 1:]))

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, D + E), unit length."""
        tokens = self._text_tokens(ids)
        return _joined(tokens[:, 0], self._text_selection(tokens[:, 1:], ids))


def rename_released(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The selection embeddings of the released code under our names, and what it holds but never computes with: the
    image side's second map and the last batch norm of both.
    """
    parts = {"mlp.layers.0": "fc1", "mlp.layers.1": "fc2", "mlp.bns.0": "norm"}
    sides = {"visul_emb_layer.": ("image_selection", "fc"), "texual_emb_layer.": ("text_selection", "linear")}
    named, unused = {}, []
    for key, value in state.items():
        for prefix, (ours, given) in sides.items():
            if key.startswith(prefix):
                part, _, kind = key.removeprefix(prefix).rpartition(".")
                name = {**parts, given: "map"}.get(part)
                if name:
                    named[f"{ours}.{name}.{kind}"] = value
                else:
                    unused.append(key)
    return named, unused


def _joined(whole: Tensor, selected: Tensor) -> Tensor:
    """Two embeddings side by side, so that an inner product is the mean of their cosines."""
    value: Tensor = torch.cat([F.normalize(whole, dim=-1), F.normalize(selected, dim=-1)], dim=-1) * 0.5**0.5
    return value
