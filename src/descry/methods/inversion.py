"""Pictures as words of frozen encoders: Pic2Word (Saito et al., CVPR 2023) and Word4Per (Liu et al., 2023), the rivals
of InteractReID's second stage.

Both leave a CLIP as it is and train Φ alone, which maps the feature of a photograph to a word w of the prompt
"a photo of w". Pic2Word brings that prompt to the photograph itself and reads no text. Word4Per begins with a CLIP that
was fine-tuned on people (`descry train baseline`) and brings it to the caption. Asked is with "a photo of w , words".

Letters: i, t are photo and caption features, p those of the prompt; V, T the encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from ..blocks import Mapping
from ..clip import Clip
from ..errors import Bound
from ..losses import info_nce, sdm
from ..text import Words
from . import Batch, MethodConfig, Progress, PseudoWords, Recipe, decay_groups, gather

TARGETS = ("image", "text", "both")
LOSSES = ("info_nce", "sdm")


@dataclass(frozen=True)
class Config(MethodConfig):
    """Every choice of both methods.

    Attributes:
        recipe: how Φ is trained.
        image_size: (H, W) in pixels.
        target: what the prompt is brought to: the "image" (Pic2Word), the "text" of its caption (Word4Per), or "both".
        loss: "info_nce" (Pic2Word; only the pair is a positive) or "sdm" (Word4Per; all rows of a person are).
        temperature: τ; 0 takes the checkpoint's. Pic2Word 0; Word4Per 0.02.
        mapping_layers: hidden layers of Φ, 2 in both.
        mapping_hidden: width of Φ's hidden layers, 512 in both.
        mapping_dropout: inside Φ, before the ReLU, 0.1 in both released codes.
        prompt: with the place of the word.
        join: what stands between the word and the words that follow.
    """

    bounds = {"mapping_layers": Bound(0, 3), "mapping_hidden": Bound(1), "mapping_dropout": Bound(0, 1, below=True)}
    choices = {"target": TARGETS, "loss": LOSSES}

    recipe: Recipe
    image_size: tuple[int, int] = (224, 224)
    target: str = "image"
    loss: str = "info_nce"
    temperature: float = 0.0
    mapping_layers: int = 2
    mapping_hidden: int = 512
    mapping_dropout: float = 0.1
    prompt: str = "a photo of *"
    join: str = " , "


_PIC2WORD = Recipe(
    epochs=30, batch_size=1024, lr=1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1, warmup_share=0.1,
    augment="flip", clean_captions=False,
)  # fmt: skip
_WORD4PER = Recipe(
    epochs=60, batch_size=128, lr=1e-4, weight_decay=4e-5, schedule="epoch", warmup_epochs=5, warmup_from=1e-5,
    augment="flip-crop-erase", clean_captions=False,
)  # fmt: skip


class Inversion(PseudoWords):
    """A frozen CLIP and Φ. identities: not used; Φ is all that is trained."""

    inference_keys = ("clip.", "mapping.")
    backbones = ("clip", "siglip")
    answers = frozenset(
        {"text", "sketch", "photo", "sketch+text", "photo+text"}
    )  # a sketch goes through V like a photo
    small = {"mapping_hidden": 16, "mapping_dropout": 0.0}

    def __init__(self, clip: Clip, words: Words, config: Config, identities: int = 0):
        super().__init__(clip, words, config, identities)
        clip.requires_grad_(False)
        self.mapping = Mapping(
            clip.dim, config.mapping_hidden, clip.text_width, config.mapping_layers, config.mapping_dropout
        )

    @property
    def needs(self) -> frozenset[str]:
        """Captions, where the prompt is brought to them."""
        return frozenset() if self.config.target == "image" else frozenset({"text"})

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.clip.eval()  # frozen, also its dropout
        return self

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """ "image" and "text": p against i and against t, as the target says."""
        with torch.no_grad():
            own = self.clip.image_features(batch["image"])
            t = gather(self.clip.text_features(batch["text"])) if self.config.target != "image" else None
        p, pids = gather(self.pseudo_text(own)), gather(batch["pid"])
        out = {}
        if self.config.target != "text":
            out["image"] = self._distance(p, gather(own), pids)
        if t is not None:
            out["text"] = self._distance(p, t, pids)
        return out

    def _distance(self, p: Tensor, other: Tensor, pids: Tensor) -> Tensor:
        tau = self.config.temperature or self.clip.temperature
        return info_nce(p, other, tau) if self.config.loss == "info_nce" else sdm(p, other, pids, tau)

    def param_groups(self) -> list[dict[str, Any]]:
        """Φ at the recipe's rate."""
        return decay_groups(self.named_parameters(), self.config.recipe.weight_decay)


class Pic2Word(Inversion):
    """The prompt is brought to the photograph; no text is read."""

    presets = {
        "paper": Config(_PIC2WORD),
        "released": Config(_PIC2WORD),
        "recommended": Config(replace(_PIC2WORD, batch_size=128)),
    }


class Word4Per(Inversion):
    """The prompt is brought to the caption of the photograph."""

    forms = {"": {}, "to both": {"target": "both"}}
    presets = {
        which: Config(_WORD4PER, (384, 128), "text", "sdm", 0.02) for which in ("paper", "released", "recommended")
    }
