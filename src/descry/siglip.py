"""SigLIP and SigLIP 2 over the transformers library, with the interface of `descry.clip.Clip`.

They differ from CLIP where a method must know it: a photograph is pooled by attention and has no class token, a text is
read at its last position and always padded to full length, and pairs are judged by a sigmoid with a learnt bias.

Letters: B batch, D shared dimension, W width of an encoder, P patches, L tokens.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel

from .clip import Clip, ClipSpec, resize_positions
from .errors import UsageError

_LAYERS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
_VISION = (*_LAYERS, "layer_norm_eps", "patch_size", "image_size", "num_patches", "num_channels")
_TEXT = (*_LAYERS, "layer_norm_eps", "vocab_size", "max_position_embeddings", "projection_size")
_IDS = ("eos_token_id", "bos_token_id", "pad_token_id")
MODELS: dict[str, tuple[Any, Any]] = {
    "siglip": (SiglipConfig, SiglipModel),
    "siglip2": (Siglip2Config, Siglip2Model),
}


def plain_siglip(config: Any) -> dict[str, Any]:
    """The configuration as the few values that shape the network."""
    sides = {"vision_config": _VISION, "text_config": (*_TEXT, *_IDS)}
    plain = {
        side: {k: getattr(getattr(config, side), k) for k in keys if hasattr(getattr(config, side), k)}
        for side, keys in sides.items()
    }
    return {"model_type": config.model_type, **plain}


def _own_positions(self: Any, embeddings: Tensor, height: int, width: int) -> Tensor:
    """Stands in for the library's interpolation: the table already has the grid of this image size."""
    value: Tensor = self.position_embedding.weight[None]
    return value


class Siglip(Clip):
    """A SigLIP for images of a fixed (H, W). Features are not scaled to unit length.

    The checkpoints named "siglip2-…-patch16-224" are of the type "siglip" in the transformers library; those of
    flexible size ("naflex") are of the type "siglip2". Both are read.
    """

    kind = "siglip"

    def __init__(self, spec: ClipSpec):
        nn.Module.__init__(self)
        self.spec = spec
        configured, model = MODELS[spec.config["model_type"]]
        config: Any = configured.from_dict(spec.config)
        self.model = model(config)
        self.flexible = spec.config["model_type"] == "siglip2"
        self.patch = config.vision_config.patch_size
        height, width = spec.image_size
        if height % self.patch or width % self.patch:
            raise UsageError(f"an image size of {height}×{width} does not divide into patches of {self.patch} pixels")
        self.image_size, self.grid = (height, width), (height // self.patch, width // self.patch)
        self.image_width, self.text_width = config.vision_config.hidden_size, config.text_config.hidden_size
        self.dim = config.text_config.projection_size
        self.length, self.vocabulary = config.text_config.max_position_embeddings, config.text_config.vocab_size
        self.pad: int = config.text_config.pad_token_id
        if not self.flexible:
            embeddings = self.model.vision_model.embeddings
            embeddings.position_embedding = nn.Embedding(self.grid[0] * self.grid[1], self.image_width)
            embeddings.position_ids = None
            nn.init.normal_(embeddings.position_embedding.weight, std=self.image_width**-0.5)
            embeddings.interpolate_pos_encoding = types.MethodType(_own_positions, embeddings)
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    @property
    def logit_bias(self) -> nn.Parameter:
        """b of the sigmoid, (1,): a pair matches with probability sigmoid(cos / τ + b)."""
        bias: nn.Parameter = self.model.logit_bias
        return bias

    def fit_positions(self, table: Tensor, grid: tuple[int, int] | None) -> Tensor:
        """The position table on this grid, resized once; a flexible model keeps its own and resizes it at work."""
        if self.flexible:
            return table
        return resize_positions(torch.cat([table[:1], table]), self.grid, grid)[1:]

    def image_features(self, images: Any, normalised: bool = False) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D), pooled by attention."""
        value: Tensor = self._vision(images, normalised).pooler_output
        return value

    def image_tokens(
        self, images: Any, normalised: bool = False, mask: Tensor | None = None, mask_token: Tensor | None = None
    ) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, 1 + P, D): the pooled image first, then its patches. Masks are refused."""
        if mask is not None:
            raise UsageError("masked patches were asked of a SigLIP; this is done with a CLIP only")
        found = self._vision(images, normalised)
        return torch.cat([found.pooler_output[:, None], found.last_hidden_state], dim=1)

    def text_features(self, ids: Any, word: Any = None) -> Tensor:
        """(B, L) token ids → (B, D), read at the last of all positions. word: (B, W) pseudo-words."""
        ids = self._full(ids)
        value: Tensor = self.model.text_model.head(self._text_states(ids, word)[:, -1])
        return value

    def text_tokens(self, ids: Any, word: Any = None) -> Tensor:
        """(B, L) token ids → (B, full length, D)."""
        ids = self._full(ids)
        value: Tensor = self.model.text_model.head(self._text_states(ids, word))
        return value

    def text_end(self, ids: Tensor) -> Tensor:
        """(B,) the position at which a text is read: the last of its full length."""
        return torch.full((len(ids),), self.length - 1, device=ids.device)

    def text_pads(self, ids: Tensor) -> Tensor:
        """(B, L) token ids → (B, full length) bool, True behind the end of a text."""
        return torch.arange(self.length, device=ids.device) > super().text_end(self._full(ids))[:, None]

    def checkpoint_gradients(self) -> None:
        """Trade time for memory: keep the activations of one layer at a time."""
        self.model.activation_checkpointing_enable()

    def _text(self, ids: Tensor, one: Tensor | int | None = None) -> Tensor:
        value: Tensor = self.model.text_model(input_ids=ids).last_hidden_state
        return value

    def _full(self, ids: Any) -> Tensor:
        ids = torch.as_tensor(ids, device=self.logit_scale.device)
        return F.pad(ids, (0, max(0, self.length - ids.shape[-1])), value=self.pad)

    def _vision(self, images: Any, normalised: bool) -> Any:
        images = self._pixels(images, normalised)
        if not self.flexible:
            return self.model.vision_model(pixel_values=images, interpolate_pos_encoding=True)
        high, wide = self.grid
        cut = images.unflatten(3, (wide, self.patch)).unflatten(2, (high, self.patch))
        patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(len(images), high * wide, -1)
        seen = torch.ones(patches.shape[:2], dtype=torch.long, device=images.device)
        shapes = torch.tensor([self.grid] * len(images), device=images.device)
        return self.model.vision_model(pixel_values=patches, pixel_attention_mask=seen, spatial_shapes=shapes)
