"""VFE-TPS: Enhancing Visual Representation for Text-based Person Searching (Shen et al.).

The paper in its order: text-guided masked image modelling (§3.2.1, eq. 1-3, Algorithm 1) teaches the image encoder
details that words speak of; identity-supervised calibration (§3.2.2, eq. 4-5, Algorithm 2) draws one person's
photographs together; matching of distributions aligns photographs and captions (§3.3, eq. 6-9). Only CLIP searches.

The released code is not the paper's method: its masked image modelling attends from image to image, and in the place of
the calibration stands an image-only classifier of identities. The presets hold both.

Letters: B batch, C sampled images, D shared dimension, P patches of an image, H, W its height and width in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import CrossFormer, IdentityHead
from ..clip import Clip
from ..errors import POSITIVE, Bound, UsageError
from ..losses import cosine_logits, sdm
from ..text import Words
from . import Batch, Method, MethodConfig, Progress, Recipe, gather, optimiser_groups, same_everywhere
from .rivals import MaskedAutoencoder, triplet

CHOICES = {
    "mim": ("text", "image", "simmim", "mae", "off"),
    "masking": ("token", "pixels"),
    "attention_scale": ("head", "width"),
    "gvfc": ("sampled", "paired", "batch", "memory", "id", "triplet", "off"),
}


@dataclass(frozen=True)
class Config(MethodConfig):
    """Every choice of the method. Where paper and released code differ, the presets hold both.

    Attributes:
        recipe: how it is trained (§4.3).
        image_size: (H, W) (§4.3).
        temperature: τ of eq. (6). Not stated in the paper; the released code's 0.02.
        epsilon: ε of eq. (7). Not stated; the released code's 1e-8.
        mim: masked image modelling. "text": keys and values are the caption's tokens (eq. 1); "image": the masked
            image's own, as released; rivals of Fig. 5: "simmim" (no cross-attention), "mae"; or "off".
        mim_weight: of the mean over masked pixels and channels. Eq. (3) with weight 1 sums three channels: 3;
            released: 10.
        masking: hidden patches become a learnt "token" after the patch convolution (released) or zero "pixels" (paper).
        mask_unit: side of a hidden square in pixels; paper 16 (one patch), released 32. 0: two patches, or one where
            two do not fill the grid of patches.
        mask_ratio: share of hidden squares, rounded up; the paper's best is 0.5 to 0.6 (Fig. 6a), released 0.6.
        heads: of the cross-modal module, 8 (§3.2.1).
        layers: encoder layers, four (§4.3). The width is D = 512; the paper prints d = 768.
        attention_scale: eq. (2) divides by √d ("width"); standard multi-head attention by √d_h ("head").
        mask_pads: the padding of a caption is not read as a key. Paper: zero-padded to M = 77 tokens (§4.3), no mask
            stated; the released code has none. Where padding is read, every caption has the vocabulary's full length.
        gvfc: calibration. "sampled": C images of the batch, at random (paper); "paired": C images, half of them with a
            partner where there are any; "batch": all; "memory": all, and features of the same people from earlier in
            the epoch (released, unused); rivals of Fig. 7: "id" (the released default), "triplet"; "off".
        self_pairs: calibration compares each photograph with itself too, as eq. (4)-(5) are printed and released; it
            then has nearly no gradient. False: pairs of two photographs, which attract.
        gvfc_temperature: τ of eq. (5); 0 takes `temperature`. Not stated. At 0.02 a pair that is the nearest by 0.2
            of cosine no longer attracts; at 0.1 pairs attract up to a cosine of 0.8 and beyond.
        pairs: C = 20 (§4.3).
        gvfc_weight: weight of the calibration, 1 (eq. 10).
        margin: of the triplet rival; not stated.
        mask_captions: the losses read masked captions, as the released code does by a shared buffer. Paper: not
            mentioned.
        cross_rate: learning rate of the cross-modal module without its three outer norms, relative to the recipe's.
            Paper: one rate; released 5.
        head_rate: the same of the identity classifier.
        bias_rule: biases at twice the rate and without weight decay, as released.
    """

    bounds = {"temperature": POSITIVE, "epsilon": POSITIVE, "mask_ratio": Bound(0, 1, True, True), "pairs": Bound(2)}
    choices = CHOICES
    recipe: Recipe
    image_size: tuple[int, int] = (384, 128)
    temperature: float = 0.02
    epsilon: float = 1e-8
    mim: str = "text"
    mim_weight: float = 10.0
    masking: str = "token"
    mask_unit: int = 0
    mask_ratio: float = 0.6
    heads: int = 8
    layers: int = 4
    attention_scale: str = "head"
    mask_pads: bool = True
    gvfc: str = "batch"
    self_pairs: bool = False
    gvfc_temperature: float = 0.1
    pairs: int = 20
    gvfc_weight: float = 1.0
    margin: float = 0.3
    mask_captions: bool = True
    cross_rate: float = 5.0
    head_rate: float = 5.0
    bias_rule: bool = True


_RELEASED = Recipe(
    epochs=60, batch_size=100, lr=1e-5, optimiser="adam", eps=1e-3, weight_decay=4e-5, schedule="epoch",
    warmup_epochs=5, warmup_from=1e-6, augment="flip", mask_text=0.15, clean_captions=False, drop_last=False,
)  # fmt: skip
_PAPER = Recipe(  # one rate without a schedule is all that §4.3 states; betas and epsilon are Adam's own
    epochs=60, batch_size=100, lr=1e-5, end_lr=1e-5, optimiser="adam", augment="flip-crop", clean_captions=False,
    drop_last=False,
)  # fmt: skip

PRESETS: dict[str, Config] = {
    "paper": Config(
        _PAPER,
        mim_weight=3.0,
        masking="pixels",
        mask_unit=16,
        attention_scale="width",
        mask_pads=False,
        gvfc="sampled",
        self_pairs=True,
        gvfc_temperature=0.0,
        mask_captions=False,
        cross_rate=1.0,
        head_rate=1.0,
        bias_rule=False,
    ),
    "released": Config(
        _RELEASED, mim="image", mask_unit=32, gvfc="id", self_pairs=True, gvfc_temperature=0.0, mask_pads=False
    ),
    "recommended": Config(replace(_RELEASED, augment="flip-crop", sampler="pairs")),
}

ROWS: dict[str, dict[str, str]] = {
    "none": {"mim": "off", "gvfc": "off"},
    "+TG-MIM": {"gvfc": "off"},
    "+IS-GVFC": {"mim": "off"},
    "both": {},
}
"""The rows of Table 6: `replace(config, **ROWS[name])`."""


def random_mask(rows: int, grid: tuple[int, int], unit: int, ratio: float, generator: torch.Generator) -> Tensor:
    """(rows, P) bool, True = hidden: ⌈ratio · squares⌉ random squares of unit × unit patches in each image (Algorithm
    1).

    grid: (patches high, patches wide). Raises UsageError when the squares do not fill the grid, or none stays visible.
    """
    if unit < 1 or grid[0] % unit or grid[1] % unit:
        raise UsageError(
            f"squares of {unit} patches do not fill a grid of {grid[0]}×{grid[1]}; choose mask_unit so that they do"
        )
    high, wide = grid[0] // unit, grid[1] // unit
    hidden = math.ceil(ratio * high * wide)
    if not 0 < ratio < 1 or hidden >= high * wide:
        raise UsageError(
            f"mask_ratio={ratio:g} hides {hidden} of {high * wide} squares; allowed: above 0 and fewer than all"
        )
    order = torch.rand(rows, high * wide, generator=generator, device=generator.device).argsort(dim=1)
    squares = (order < hidden).view(rows, high, 1, wide, 1)
    return squares.expand(-1, -1, unit, -1, unit).reshape(rows, -1)


def masked_l1(predicted: Tensor, images: Tensor, mask: Tensor, patch: int) -> Tensor:
    """Mean |predicted − image| over the hidden pixels and channels (eq. 3). (B, 3, H, W) twice, mask (B, P) bool."""
    hidden = pixel_mask(mask, images, patch)[:, None].to(images)
    return ((predicted - images).abs() * hidden).sum() / (3 * hidden.sum() + 1e-5)


def pixel_mask(mask: Tensor, images: Tensor, patch: int) -> Tensor:
    """(B, P) bool over patches → (B, H, W) bool over the pixels of images (B, 3, H, W)."""
    high, wide = images.shape[2] // patch, images.shape[3] // patch
    return mask.view(-1, high, 1, wide, 1).expand(-1, -1, patch, -1, patch).reshape(-1, *images.shape[2:])


def calibration(features: Any, pids: Any, temperature: float, epsilon: float = 1e-8, self_pairs: bool = True) -> Tensor:
    """IS-GVFC (eq. 4-5): KL(p ‖ q) between the similarities of photographs and their identities, mean over the rows.

    features: (C, D), pids: (C,). self_pairs: every row is also compared with itself, as eq. (4)-(5) are printed and the
    released code computes. Its similarity of 1 then takes nearly all of the softmax, and two photographs of one person
    hardly attract: at τ = 0.02 and a cosine of 0.5, the gradient is about 1e-9. Without, pairs are of two photographs
    ("(I_i, I_j)" of Algorithm 2), and a row without a partner has no true distribution and is left out of the mean; 0
    where none has one.
    """
    features, pids = torch.as_tensor(features), torch.as_tensor(pids)
    logits = cosine_logits(features, features, temperature)
    same = (pids[:, None] == pids[None, :]).to(logits)
    if self_pairs:
        log_p, counted = F.log_softmax(logits, dim=1), torch.ones(len(pids), device=logits.device)
    else:
        itself = torch.eye(len(pids), dtype=torch.bool, device=logits.device)
        log_p = F.log_softmax(logits.masked_fill(itself, -1e4), dim=1)  # finite: −inf · 0 would be no number
        same = same.masked_fill(itself, 0.0)
        counted = (same.sum(dim=1) > 0).to(logits)
    log_q = torch.log(same / same.sum(dim=1, keepdim=True).clamp(min=1) + epsilon)
    rows = (log_p.exp() * (log_p - log_q)).sum(dim=1)
    return (rows * counted).sum() / counted.sum().clamp(min=1)


def sample_images(pids: Tensor, count: int, generator: torch.Generator, partners_first: bool = True) -> Tensor:
    """(count,) rows of the batch to calibrate on (Algorithm 2): drawn at random, as the paper says; or, with
    partners_first, at least half of them with a partner where there are any.

    Among many identities, rows drawn at random hold no two photographs of one person.
    """
    order = torch.randperm(len(pids), generator=generator, device=generator.device).to(pids.device)
    if len(pids) <= count or not partners_first:
        return order[:count]
    same = pids[order][:, None] == pids[order][None, :]
    partners = order[same.sum(dim=1) > 1]
    partners = partners[torch.argsort(pids[partners], stable=True)]
    groups = torch.unique_consecutive(pids[partners], return_counts=True)[1].tolist()
    chosen: list[Tensor] = []
    at, half = 0, (count + 1) // 2
    starts = [sum(groups[:i]) for i in range(len(groups))]
    for g in torch.randperm(len(groups), generator=generator, device=generator.device).tolist():
        take = min(groups[g], count - at)
        if at >= half or take < 2:
            break
        chosen.append(partners[starts[g] : starts[g] + take])
        at += take
    picked = torch.cat(chosen) if chosen else order[:0]
    rest = order[~torch.isin(order, picked)]
    return torch.cat([picked, rest[: count - len(picked)]])


class Memory:
    """Image features of this epoch by identity, without gradient (the released code's dictionary). Forgotten each
    epoch."""

    def __init__(self) -> None:
        self.epoch = -1
        self.kept: dict[int, list[Tensor]] = {}

    def extend(self, features: Tensor, pids: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """The batch with, for each of its rows, all kept features of that identity behind it; then the batch is kept.

        An identity that is in the batch twice brings its features twice, as released.
        """
        if epoch != self.epoch:
            self.epoch, self.kept = epoch, {}
        own = pids.tolist()
        extra = [(x, pid) for pid in own for x in self.kept.get(pid, ())]
        for row, pid in zip(features.detach(), own, strict=True):
            self.kept.setdefault(pid, []).append(row)
        if not extra:
            return features, pids
        more = torch.stack([x for x, _ in extra]).to(features)
        return torch.cat([features, more]), torch.cat([pids, pids.new_tensor([pid for _, pid in extra])])

    def state(self) -> dict[str, Tensor]:
        """What resuming inside an epoch needs: epoch (), pids (N,), features (N, D), of one person in their order."""
        rows = [(pid, row) for pid, kept in self.kept.items() for row in kept]
        if not rows:
            return {}
        pids, features = torch.tensor([pid for pid, _ in rows]), torch.stack([row for _, row in rows])
        return {"epoch": torch.tensor(self.epoch), "pids": pids, "features": features}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Remember what `state` returned; {} is an empty memory."""
        self.epoch, self.kept = int(state["epoch"]) if state else -1, {}
        for pid, row in zip(state["pids"].tolist(), state["features"], strict=True) if state else ():
            self.kept.setdefault(pid, []).append(row)


class PixelHead(nn.Module):
    """One convolution and a pixel shuffle: (B, P, D) patch tokens → (B, 3, H, W) pixels (Algorithm 1, line 9)."""

    def __init__(self, dim: int, patch: int, grid: tuple[int, int]):
        super().__init__()
        self.grid, self.shuffle = grid, nn.PixelShuffle(patch)
        self.conv = nn.Conv2d(dim, 3 * patch * patch, 1)
        nn.init.xavier_uniform_(self.conv.weight)
        self.conv.bias.data.zero_()  # type: ignore[union-attr]

    def forward(self, tokens: Tensor) -> Tensor:
        value: Tensor = self.shuffle(self.conv(tokens.transpose(1, 2).unflatten(2, self.grid)))
        return value


class MaskedImageModelling(nn.Module):
    """TG-MIM (§3.2.1) and its rivals: predict the hidden pixels of a photograph, in the encoder's normalised values."""

    def __init__(self, clip: Clip, config: Config):
        super().__init__()
        self.config, self.patch = config, clip.patch
        scale = clip.dim**-0.5 if config.attention_scale == "width" else None
        if config.mim in ("text", "image"):
            self.cross = CrossFormer(clip.dim, config.heads, config.layers, scale)
        elif config.mim == "mae":
            self.cross = MaskedAutoencoder(clip.dim, clip.grid[0] * clip.grid[1], config.heads, config.layers)  # type: ignore[assignment]
        if config.masking == "token" and config.mim != "mae":
            self.mask_token = nn.Parameter(torch.zeros(clip.image_width))
        self.head = PixelHead(clip.dim, clip.patch, clip.grid)

    def predict(self, clip: Clip, images: Tensor, mask: Tensor, text: Tensor | None, pads: Tensor | None) -> Tensor:
        """(B, 3, H, W) in [0, 1], mask (B, P) → predicted normalised pixels (B, 3, H, W). text: (B, L, D) tokens; pads
        (B, L)."""
        if self.config.mim == "mae":
            pixels: Tensor = self.head(self.cross(clip, images, mask))
            return pixels
        if self.config.masking == "pixels":
            hidden = pixel_mask(mask, images, self.patch)[:, None]
            z = clip.image_tokens(images.masked_fill(hidden, 0.0))
        else:
            z = clip.image_tokens(images, mask=mask, mask_token=self.mask_token)
        if self.config.mim == "text":
            z = self.cross(z, text, pads)  # eq. 1-2
        elif self.config.mim == "image":
            z = self.cross(z, z)
        value: Tensor = self.head(z[:, 1:])
        return value

    def forward(self, clip: Clip, images: Tensor, mask: Tensor, text: Tensor | None, pads: Tensor | None) -> Tensor:
        """Mean absolute error at the hidden pixels, a scalar."""
        return masked_l1(self.predict(clip, images, mask, text, pads), clip.normalise(images), mask, self.patch)


class VfeTps(Method):
    """CLIP with its auxiliary tasks. identities: 0 makes the model for inference, without what training needs."""

    needs = frozenset({"text"})
    memory: Memory
    small = {"heads": 2, "layers": 1, "mask_unit": 8}
    forms = {
        "": {},
        "self-pairs": {"self_pairs": True, "gvfc_temperature": 0.0},
        "sampled, P×K": {"gvfc": "paired", "pairs": 4, "sampler": "identity"},
        "memory": {"gvfc": "memory", "masking": "pixels"},
        "released": {"gvfc": "id", "mim": "image"},
        "rivals, P×K": {"gvfc": "triplet", "mim": "simmim", "sampler": "identity"},
    }

    def __init__(self, clip: Clip, words: Words, config: Config, identities: int = 0):
        super().__init__(clip, words, config, identities)
        clip.logit_scale.requires_grad_(False)  # τ is fixed
        self.memory = Memory()
        if identities and config.mim != "off":
            self.mim = MaskedImageModelling(clip, config)
        if identities and config.gvfc == "id":
            self.id_head = IdentityHead(clip.dim, identities)

    @property
    def reads_whole_batch(self) -> str:
        """Why gradients cannot be cached in chunks; "" where they can."""
        if self.config.mim != "mae":
            return ""
        return "mim=mae shows the encoder other patches of each photograph (allowed: any other mim)"

    # ------------------------------------------------------------------ losses

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """L = L_TG-MIM + L_IS-GVFC + L_CMPM (eq. 10), each already weighted."""
        c = self.config
        self.check_training(batch, c.mask_captions)
        read = batch["masked_text"] if c.mask_captions else batch["text"]
        if c.mim == "text" and not c.mask_pads:
            read = self.words.padded(read)
        local_v = self.clip.image_features(batch["image"])
        if c.mim == "text":
            text = self.clip.text_tokens(read)
            t = text[torch.arange(len(read), device=text.device), self.clip.text_end(read)]
        else:
            text, t = None, self.clip.text_features(read)
        pids, v, t = gather(batch["pid"]), gather(local_v), gather(t)
        out = {"cmpm": sdm(v, t, pids, c.temperature, epsilon=c.epsilon)}  # eq. 6-9
        if c.mim != "off":
            mask = batch["patch_mask"] if "patch_mask" in batch else self._mask(len(read), at.generator).to(v.device)
            pads = self.clip.text_pads(read) if c.mask_pads else None
            out["tg-mim" if c.mim == "text" else "mim"] = c.mim_weight * self.mim(
                self.clip, batch["image"], mask, text, pads
            )
        if c.gvfc == "id":
            out["id"] = c.gvfc_weight * self.id_head(batch["pid"], local_v)
        elif c.gvfc != "off":
            out["is-gvfc" if c.gvfc != "triplet" else "triplet"] = c.gvfc_weight * self._calibrate(v, pids, at)
        return out

    def _mask(self, rows: int, generator: torch.Generator) -> Tensor:
        if not self.config.mask_unit:
            unit = 1 if any(side % 2 for side in self.clip.grid) else 2
            return random_mask(rows, self.clip.grid, unit, self.config.mask_ratio, generator)
        unit, rest = divmod(self.config.mask_unit, self.clip.patch)
        if rest:
            raise UsageError(
                f"mask_unit={self.config.mask_unit} is not a multiple of the patch of {self.clip.patch} pixels"
            )
        return random_mask(rows, self.clip.grid, unit, self.config.mask_ratio, generator)

    def _calibrate(self, v: Tensor, pids: Tensor, at: Progress) -> Tensor:
        c = self.config
        if c.gvfc == "triplet":
            return triplet(v, pids, c.margin)
        if c.gvfc in ("sampled", "paired"):
            generator = same_everywhere(at.generator, pids.device)
            rows = sample_images(pids, c.pairs, generator, c.gvfc == "paired")
            v, pids = v[rows], pids[rows]
        elif c.gvfc == "memory":
            v, pids = self.memory.extend(v, pids, at.epoch)
        return calibration(v, pids, c.gvfc_temperature or c.temperature, c.epsilon, c.self_pairs)

    def param_groups(self) -> list[dict[str, Any]]:
        """CLIP, mask token, outer norms and pixel head at the recipe's rate; cross-modal module, classifier and biases
        as configured."""
        c = self.config

        def rule(name: str, parameter: nn.Parameter) -> tuple[float, float]:
            bias, head = name.endswith("bias"), name.startswith("id_head.")
            cross = name.startswith("mim.cross.") and not name.startswith("mim.cross.norm_")
            scale = c.head_rate if head else c.cross_rate if cross else 1.0
            if c.bias_rule and bias and not head:
                scale = 2.0  # the released rule for biases comes after that for "cross"
            return scale, 0.0 if c.bias_rule and bias else c.recipe.weight_decay

        return optimiser_groups(self.named_parameters(), rule)


# ---------------------------------------------------------------------- the measures of §4.5


def average_distance(predicted: Tensor, images: Tensor, mask: Tensor, patch: int) -> float:
    """avgDist (§4.5.3): mean |predicted hidden pixel − nearest visible pixel of the photograph| over pixels and
    channels.

    predicted, images: (B, 3, H, W) in the same values. mask: (B, P) bool with a visible patch in every row. Of equally
    near visible pixels, the one in the first patch counts.
    """
    height, width = images.shape[2:]
    wide = width // patch
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    total, count = 0.0, 0
    for guess, image, hidden in zip(predicted, images, mask.cpu(), strict=True):
        lost = pixel_mask(hidden[None], image[None], patch)[0]
        y, x = rows[lost][:, None], columns[lost][:, None]
        visible = (~hidden).nonzero()[:, 0]
        top, left = visible // wide * patch, visible % wide * patch
        near_y = torch.maximum(torch.minimum(y, top + patch - 1), top)
        near_x = torch.maximum(torch.minimum(x, left + patch - 1), left)
        nearest_patch = ((near_y - y) ** 2 + (near_x - x) ** 2).argmin(dim=1, keepdim=True)
        seen = image[:, near_y.gather(1, nearest_patch)[:, 0], near_x.gather(1, nearest_patch)[:, 0]]
        total += float((guess[:, lost] - seen).abs().sum())
        count += 3 * int(lost.sum())
    return total / count


def silhouette(features: Any, labels: Any) -> float:
    """Mean silhouette coefficient (§4.5.4) in −1 … 1 of features (N, D), scaled to unit length here, under identities
    (N,).

    (b − a) / max(a, b), a the mean Euclidean distance to the others of the identity, b to those of the nearest other
    one; 0 for a single row of an identity. Raises UsageError for fewer than two identities.
    """
    features, labels = F.normalize(torch.as_tensor(features).double(), dim=-1), torch.as_tensor(labels)
    names, of = labels.unique(return_inverse=True)
    if len(names) < 2:
        raise UsageError(f"a silhouette needs two identities or more; got {len(names)}")
    member = F.one_hot(of, len(names)).double()
    sizes = member.sum(dim=0)
    distance = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    sums = distance @ member
    own = member.bool()
    a = sums[own] / (sizes[of] - 1).clamp(min=1)
    b = (sums / sizes).masked_fill(own, torch.inf).amin(dim=1)
    score = torch.where(sizes[of] > 1, (b - a) / torch.maximum(a, b).clamp(min=1e-12), 0.0)
    return float(score.mean())
