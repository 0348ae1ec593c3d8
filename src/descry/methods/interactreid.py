"""InteractReID: Interactive Sketch-based Person Re-identification with Text Feedback (Wu et al., ICME 2025).

The paper in its order: stage 1 adapts CLIP to people with photographs, sketches and captions (§III-B, eq. 1-4); stage 2
learns, without any text, a pseudo-word that stands for a sketch (§III-C, eq. 5-8); inference puts the pseudo-word and a
witness's words into one prompt (§III-D).

Letters: i, s, t are photo, sketch and caption features; V the image encoder, T the text encoder, Φ the mapping network;
s^v = V(S), s^w = Φ(s^v), s^t = T("a photo of s^w").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ..blocks import Mapping
from ..clip import Clip
from ..errors import POSITIVE, SHARE, Bound, UsageError
from ..losses import info_nce, reverse_kl, soft_contrastive
from ..text import Words
from . import Batch, MethodConfig, Progress, PseudoWords, Recipe, decay_groups, gather


@dataclass(frozen=True)
class Config(MethodConfig):
    """Every choice of the method. Where paper and released code differ, the presets hold both.

    Attributes:
        stage: 1 or 2 (§III-B, §III-C).
        stage1: how stage 1 is trained (§IV-A.2).
        stage2: how stage 2 is trained. Paper: 20 epochs; the released code trains PKU-Sketch for 40, in batches of 16.
        image_size: (H, W); 224×224 (§IV-A.2).
        pixels: "clip" or "imagenet" mean and deviation. Not in the paper; the released code takes ImageNet's.
        temperature: τ of eq. (1) and (6)-(8); 0 takes it from the checkpoint. Paper 0.07; released 0.01 (from CLIP).
        learn_temperature: in stage 1, never below 0.01. Paper: not stated; released code: yes.
        alpha: share of self-distilled soft labels in stage 1, ramped up over the first epoch. Paper 0 (eq. 3);
            released 0.5.
        reverse_kl: weight of R-ITC between photograph and caption. Paper 0; released 1.
        reverse_epsilon: ε of R-ITC.
        directions: "sum" of both directions as in eq. (4), (5), (8), or their "mean" as the released code.
        identity_targets: stage 2 treats all rows of one person as positives; eq. (6)-(7) only the pair. In neither
            source.
        train_patches: whether the patch convolution moves. Paper: not stated; the released code freezes it.
        text_dropout: attention dropout of T. Paper: not stated; released 0.05.
        frozen_text_dropout: keep that dropout active in stage 2, where T is frozen, as the released code does.
        mapping_layers: of Φ (Table IV); −1: none (the feature itself), 0: one linear map, 1-3: hidden layers.
        mapping_hidden: width of Φ's hidden layers.
        mapping_dropout: inside Φ, before the ReLU. Not in the paper; released 0.1.
        prompt: p^w with the place of the pseudo-word.
        join: what stands between it and each feedback text.
        image_rate: stage-2 learning rate of V relative to the recipe's: 1e-5 (§IV-A.2).
        mapping_rate: the same of Φ: 1e-4 (§IV-A.2).
        composed: weight in stage 1 of InfoNCE between T("a photo of s^w , and caption") and the photograph, so that T
            and Φ learn to compose where captions exist. Not in the paper (0); for models without an inherited grammar.
            In stage 2 the same over the rows that have a caption, with T frozen.
        composed_words: such a prompt keeps the beginning of the caption, a share of it drawn between this and 1, so
            that drawing and words complete each other.
        replay: weight in stage 2 of eq. (3) between photograph and caption, over the rows that have a caption: what
            stage 1 learnt is not forgotten. The paper's stage 2 reads no text (0).
        sketch_text: weight in stage 1 of the matching loss between sketch and caption, beside those of eq. (4). Not in
            the paper (0); words say at once what a line means, which a model from random weights finds out slowly.
        anchor: weight in stage 2 of 1 − cos between V(photo) and its value before stage 2, which keeps photographs
            where the words point. Not in the paper (0).
        direct: weight in stage 2 of InfoNCE(s^v, i^v). The paper has no direct sketch-photo loss in stage 2 (0).
    """

    bounds = {
        "stage": Bound(1, 2), "alpha": SHARE, "reverse_epsilon": POSITIVE, "text_dropout": Bound(0, 1, below=True),
        "mapping_layers": Bound(-1, 3), "mapping_hidden": Bound(1), "mapping_dropout": Bound(0, 1, below=True),
        "composed_words": SHARE,
    }  # fmt: skip
    choices = {"directions": ("sum", "mean"), "pixels": ("clip", "imagenet")}

    stage: int = 1
    stage1: Recipe = Recipe(epochs=5, batch_size=240, lr=1e-4, betas=(0.9, 0.98), weight_decay=0.02)
    stage2: Recipe = Recipe(epochs=20, batch_size=32, lr=1e-5, betas=(0.9, 0.98), weight_decay=0.02)
    image_size: tuple[int, int] = (224, 224)
    pixels: str = "clip"
    temperature: float = 0.0
    learn_temperature: bool = True
    alpha: float = 0.5
    reverse_kl: float = 1.0
    reverse_epsilon: float = 1e-2
    directions: str = "mean"
    identity_targets: bool = True
    train_patches: bool = False
    text_dropout: float = 0.05
    frozen_text_dropout: bool = False
    mapping_layers: int = 1
    mapping_hidden: int = 768
    mapping_dropout: float = 0.1
    prompt: str = "a photo of *"
    join: str = " , and "
    image_rate: float = 1.0
    mapping_rate: float = 10.0
    composed: float = 0.0
    composed_words: float = 0.3
    replay: float = 0.0
    sketch_text: float = 0.0
    anchor: float = 0.0
    direct: float = 0.0

    @property
    def recipe(self) -> Recipe:
        """How the present stage is trained."""
        return self.stage1 if self.stage == 1 else self.stage2

    def with_stage(self, stage: int) -> Config:
        """A copy for stage 1 or 2."""
        return replace(self, stage=stage)

    def with_recipe(self, recipe: Recipe) -> Config:
        """A copy in which the present stage is trained by this recipe."""
        return replace(self, stage1=recipe) if self.stage == 1 else replace(self, stage2=recipe)


_ADAPT = Recipe(
    epochs=5, batch_size=240, lr=1e-4, betas=(0.9, 0.98), weight_decay=0.02, warmup_epochs=1, warmup_from=1e-6,
    end_lr=5e-6, augment="two-of-six", back_translation=0.1, clean_queries=True,
)  # fmt: skip
_INVERT = replace(_ADAPT, epochs=20, batch_size=32, lr=1e-5, warmup_epochs=5, back_translation=0.0)

PRESETS: dict[str, Config] = {
    "paper": Config(
        stage1=replace(_ADAPT, augment="flip", back_translation=0.0, clean_captions=False, clean_queries=False),
        stage2=replace(_INVERT, augment="flip", clean_queries=False),
        temperature=0.07,
        learn_temperature=False,
        alpha=0.0,
        reverse_kl=0.0,
        directions="sum",
        identity_targets=False,
        train_patches=True,
        text_dropout=0.0,
        mapping_dropout=0.0,
    ),
    "released": Config(
        stage1=_ADAPT, stage2=_INVERT, pixels="imagenet", identity_targets=False, frozen_text_dropout=True
    ),
    "released/pku-sketch": Config(  # PKU_finetune.yaml
        stage1=_ADAPT, stage2=replace(_INVERT, epochs=40, batch_size=16), pixels="imagenet", identity_targets=False,
        frozen_text_dropout=True,
    ),
    "recommended": Config(stage1=_ADAPT, stage2=_INVERT),
}  # fmt: skip


class InteractReID(PseudoWords):
    """V, T and Φ, with the losses of both stages and the three ways of asking."""

    inference_keys = ("clip.", "mapping.")
    backbones = ("clip", "siglip")
    small = {"text_dropout": 0.0, "mapping_dropout": 0.0, "mapping_hidden": 16}
    forms = {
        "": {},
        "stage 1, composed": {"composed": 1.0, "composed_words": 1.0},
        "stage 2": {"stage": 2, "anchor": 1.0, "direct": 1.0},
        "stage 2 with captions": {"stage": 2, "replay": 1.0, "composed": 1.0, "composed_words": 1.0},
    }

    def __init__(self, clip: Clip, words: Words, config: Config, identities: int = 0):
        if config.stage not in (1, 2):
            raise UsageError(
                f"stage {config.stage} was asked for; InteractReID has stage 1 (adaptation) and 2 (pseudo-words)"
            )
        super().__init__(clip, words, config, identities)
        if config.composed and clip.kind != "clip":
            raise UsageError(f"composed={config.composed:g} needs a CLIP and was given a {clip.kind}; use composed=0")
        self.mapping = Mapping(
            clip.dim, config.mapping_hidden, clip.text_width, config.mapping_layers, config.mapping_dropout
        )
        clip.set_text_dropout(config.text_dropout)
        self.anchor: Clip | None = None
        self._freeze()

    def _freeze(self) -> None:
        if not self.config.train_patches:
            self.clip.freeze_patches()
        stage2, learn = self.config.stage == 2, self.config.learn_temperature and not self.config.temperature
        self.clip.logit_scale.requires_grad_(learn and not stage2)
        for _, parameter in self.clip.text_parameters():
            parameter.requires_grad_(not stage2)  # T is frozen to keep its grammar (§III-C)
        for parameter in self.mapping.parameters():
            parameter.requires_grad_(stage2 or self.config.composed > 0)
        if stage2 and self.config.image_rate == 0:
            for _, parameter in self.clip.image_parameters():
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.config.stage == 2 and not self.config.frozen_text_dropout:
            self.clip.model.text_model.eval()
        return self

    @property
    def answers(self) -> frozenset[str]:
        """What can be asked with. Pseudo-words exist after stage 2, or after a stage 1 that composes."""
        one = {"text", "sketch", "photo"}
        return frozenset(one | {"sketch+text", "photo+text"} if self.config.stage == 2 or self.config.composed else one)

    @property
    def needs(self) -> frozenset[str]:
        """What a batch must hold besides photographs and identities. Stage 2 reads no text, as the paper has it."""
        if self.config.stage == 1:
            return frozenset({"sketch", "text"})
        return frozenset({"sketch", "caption"} if self.config.replay or self.config.composed else {"sketch"})

    # ------------------------------------------------------------------ training

    def temperature(self) -> Tensor | float:
        """τ: the config's, or the checkpoint's."""
        return self.config.temperature or self.clip.temperature

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """Named losses of the present stage, already weighted."""
        return self._adaptation(batch, at) if self.config.stage == 1 else self._inversion(batch, at)

    def _adaptation(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """Stage 1: L_CM of eq. (4) between photograph and caption and between photograph and sketch."""
        self.clip.hold_temperature()
        c, pids, tau = self.config, gather(batch["pid"]), self.temperature()
        i, own_s = self._photo_and_sketch(batch)
        i, s = gather(i), gather(own_s)
        t = gather(self.clip.text_features(batch["text"]))
        alpha = c.alpha * min(1.0, at.step / at.steps_per_epoch) if at.epoch == 0 else c.alpha
        twice = 2.0 if c.directions == "sum" else 1.0
        stopped = (i, self._text_again(batch["text"], t)) if alpha else None
        out = {
            "image-text": twice * soft_contrastive(i, t, pids, tau, alpha, stopped),  # L_i2t + L_t2i
            "image-sketch": twice * soft_contrastive(i, s, pids, tau, alpha),  # L_i2s + L_s2i
        }
        if c.sketch_text:
            out["sketch-text"] = c.sketch_text * twice * soft_contrastive(s, t, pids, tau, alpha)
        if c.reverse_kl:
            out["r-itc"] = c.reverse_kl * reverse_kl(i, t, pids, tau, c.reverse_epsilon)
        if c.composed:
            composed = self._complete(own_s, batch, at.generator)
            out["composed"] = c.composed * info_nce(gather(composed), i, tau, pids)
        return out

    def _inversion(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """Stage 2: L_SCC (eq. 5-7) and L_ALIGN (eq. 8). No word of any caption is read but by `replay`, `composed`."""
        c = self.config
        i, own_s = self._photo_and_sketch(batch)
        st = gather(self.pseudo_text(own_s))
        photos, i, s = batch["image"], gather(i), gather(own_s)
        tau = torch.as_tensor(self.temperature()).detach()
        pids = gather(batch["pid"]) if c.identity_targets else None
        twice = 2.0 if c.directions == "sum" else 1.0
        out = {"scc": twice * info_nce(s, st, tau, pids)}  # eq. 5-7
        out["align"] = twice * info_nce(i, st, tau, pids)  # eq. 8
        if c.direct:
            out["direct"] = c.direct * info_nce(s, i, tau, pids)
        if c.anchor:
            with torch.no_grad():
                before = gather(self._anchored(photos))
            out["anchor"] = c.anchor * (1 - F.cosine_similarity(i, before)).mean()
        return out | self._captioned(batch, own_s, i, tau, at)

    def _captioned(self, batch: Batch, s: Tensor, i: Tensor, tau: Tensor, at: Progress) -> dict[str, Tensor]:
        """What stage 2 does with the rows that have a caption. s: (b, D) of this process; i: (B, D) of all."""
        c, texts = self.config, {}
        if c.replay:
            texts["replay"] = self.clip.text_features(batch["text"])
        if c.composed:
            texts["composed"] = self._complete(s, batch, at.generator)
        if not texts:
            return {}
        told = gather(batch["told"]).bool()
        pids, weights = gather(batch["pid"])[told], {"replay": c.replay, "composed": c.composed}
        gathered = {name: gather(t) for name, t in texts.items()}
        if not told.any():
            return {name: 0.0 * t.sum() for name, t in gathered.items()}
        return {name: weights[name] * info_nce(t[told], i[told], tau, pids) for name, t in gathered.items()}

    def _photo_and_sketch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One pass of V over photographs and sketches together."""
        both = self.clip.image_features(torch.cat([batch["image"], batch["sketch"]]))
        photo, sketch = both.split(len(batch["image"]))
        return photo, sketch

    def _text_again(self, ids: Tensor, first: Tensor) -> Tensor:
        """The "stopped" captions of the released code: the same network once more; only the dropout differs."""
        if not (self.training and self.config.text_dropout):
            return first.detach()
        with torch.no_grad():
            return gather(self.clip.text_features(ids))

    def prepare(self, batches: Any = None) -> None:
        """Before stage 2 with an anchor: keep a frozen copy of CLIP as it came out of stage 1."""
        self.restored()

    def restored(self) -> None:
        """Make room for the anchor; a saved state then fills it."""
        if self.config.stage == 2 and self.config.anchor and self.anchor is None:
            import copy

            self.anchor = copy.deepcopy(self.clip).requires_grad_(False).eval()

    def _anchored(self, photos: Tensor) -> Tensor:
        if self.anchor is None:
            raise UsageError("the anchor of stage 2 is missing; call prepare() before the first step")
        return self.anchor.image_features(photos)

    def _complete(self, s: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
        """T("a photo of s^w , and …") where … is the beginning of the row's caption: tokens are joined, texts never
        rebuilt. s: (b, D), the sketches' features, not scaled.
        """
        head = self._prompt_ids(len(s), self.config.prompt + self.config.join, s.device)[:, :-1]
        tail = batch["text"][:, 1:]
        ends = self.clip.text_end(batch["text"]) - 1
        draw = torch.rand(len(s), generator=generator, device=generator.device).to(s.device)
        keep = ((self.config.composed_words + (1 - self.config.composed_words) * draw) * ends).ceil().long()
        keep = keep.clamp(max=self.clip.length - head.shape[1] - 1)
        tail = tail[:, : int(keep.max()) + 1].clone()
        position = torch.arange(tail.shape[1], device=s.device)
        tail = torch.where(
            position == keep[:, None], self.words.end, torch.where(position > keep[:, None], self.words.pad, tail)
        )
        return self.clip.text_features(torch.cat([head, tail], dim=1), self.mapping(s))

    def param_groups(self) -> list[dict[str, Any]]:
        """Stage 1: all at the recipe's rate. Stage 2: V at image_rate, Φ at mapping_rate (§IV-A.2)."""
        c = self.config
        image, mapping = (1.0, 1.0) if c.stage == 1 else (c.image_rate, c.mapping_rate)
        named = ((n, p) for n, p in self.named_parameters() if not n.startswith("anchor."))
        decay = c.recipe.weight_decay
        return decay_groups(named, decay, lambda name: mapping if name.startswith("mapping.") else image)

    # ------------------------------------------------------------------ inference (§III-D): see PseudoWords

    def pseudo_words(self, pictures: Tensor) -> Tensor:
        """s^w = Φ(V(S)): (B, 3, H, W) in [0, 1] → (B, text width). Raises UsageError before stage 2."""
        if "sketch+text" not in self.answers:
            raise UsageError(
                "this model has no pseudo-words: train stage 2 first (descry train interactreid --stage 2)"
            )
        return super().pseudo_words(pictures)
