"""Zero-shot CLIP: the backbone as it was given, no training (VFE-TPS Table 5, first row). What every method must
beat."""

from __future__ import annotations

from dataclasses import dataclass

from . import Method, MethodConfig, Recipe


@dataclass(frozen=True)
class Config(MethodConfig):
    """There is nothing to train.

    Attributes:
        recipe: for the contract only.
        image_size: (H, W) of the pictures.
    """

    recipe: Recipe = Recipe(epochs=1, batch_size=1, lr=1.0, clean_captions=False)
    image_size: tuple[int, int] = (224, 224)


PRESETS: dict[str, Config] = {"paper": Config(), "recommended": Config()}


class ZeroShot(Method):
    """CLIP alone. Sketches go through the image encoder like photographs."""

    trained = False
    backbones = ("clip", "siglip")
