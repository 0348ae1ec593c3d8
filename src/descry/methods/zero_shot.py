"""Zero-shot CLIP: the backbone as it was given, no training (VFE-TPS Table 5, first row). What every method must
beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ..clip import Clip
from ..errors import UsageError
from ..text import Words
from . import Batch, Progress, Recipe

_NONE = Recipe(epochs=0, batch_size=1, lr=0.0)


@dataclass(frozen=True)
class Config:
    """recipe: for the contract only; there is nothing to train. image_size: (H, W) of the pictures."""

    recipe: Recipe = _NONE
    image_size: tuple[int, int] = (224, 224)

    def with_recipe(self, recipe: Recipe) -> Config:
        """A copy with this recipe, by which nothing is trained either."""
        return replace(self, recipe=recipe)


PRESETS: dict[str, Config] = {"paper": Config(), "released": Config(), "recommended": Config()}


class ZeroShot(nn.Module):
    """CLIP alone. Sketches go through the image encoder like photographs."""

    inference_keys = ("clip.",)
    answers = frozenset({"text", "sketch", "photo"})
    needs: frozenset[str] = frozenset()

    def __init__(self, clip: Clip, words: Words, config: Config, identities: int = 0):
        super().__init__()
        self.clip, self.words, self.config = clip, words, config

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """There are none: UsageError."""
        raise UsageError(
            "zero-shot CLIP is not trained; train 'baseline', 'interactreid', 'propot' or 'vfe_tps' instead"
        )

    def param_groups(self) -> list[dict[str, Any]]:
        """Nothing to train."""
        return []

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D), unit length."""
        return F.normalize(self.clip.image_features(images), dim=-1)

    encode_sketch = encode_image

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, D), unit length."""
        return F.normalize(self.clip.text_features(ids), dim=-1)
