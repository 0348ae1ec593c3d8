"""CLIP over the transformers library: one module with what the three papers need, and no copy of the model's code.

The library's CLIPModel is used through its sub-modules and forward hooks. Added here: images that are not square, local
tokens of both sides in the shared space, masked patches with a mask token, and a pseudo-word at a placeholder.

Letters: B batch, D shared dimension, W width of an encoder, P patches (grid height × grid width, row by row), L tokens.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

from .errors import ModelRefused, UsageError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SHORT = 64  # tokens of an image up to which plain attention trains faster on a processor than the fused kernel
OPENAI_PLACEHOLDER = 265  # "*" in the vocabulary of OpenAI's CLIP
SHARPEST = math.log(100)  # logit_scale of the lowest τ, 0.01; OpenAI's CLIP ended its training there


@dataclass(frozen=True)
class ClipSpec:
    """All that is needed to build an empty Clip: the library's configuration, and what it does not hold.

    config: CLIPConfig as a dict. image_size: (H, W) in pixels. mean, std: of the pixels in [0, 1], per channel.
    end, placeholder: token ids of the end of a text and of the pseudo-word's place.
    """

    config: dict[str, Any]
    image_size: tuple[int, int]
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    end: int = 49407
    placeholder: int = OPENAI_PLACEHOLDER

    def to_json(self) -> dict[str, Any]:
        """Plain values for config.json."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ClipSpec:
        """The spec of `to_json`; ModelRefused when a field is missing or unknown."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise ModelRefused(f"the configuration of a CLIP does not fit this version: {error}") from None


def _own_positions(self: Any, embeddings: Tensor, height: int, width: int) -> Tensor:
    """Stands in for the library's interpolation: the table already has the grid of this image size."""
    return self.position_embedding.weight[None]


class Clip(nn.Module):
    """CLIP for images of a fixed (H, W). Features are projected into the shared space and not scaled to unit length."""

    kind = "clip"  # what methods name in `backbones`
    mean: Tensor
    std: Tensor

    def __init__(self, spec: ClipSpec):
        super().__init__()
        self.spec = spec
        config: Any = CLIPConfig.from_dict(spec.config)
        self.model = CLIPModel(config)
        self.patch: int = config.vision_config.patch_size
        height, width = spec.image_size
        if height % self.patch or width % self.patch:
            raise UsageError(f"an image size of {height}×{width} does not divide into patches of {self.patch} pixels")
        self.image_size = (height, width)
        self.grid = (height // self.patch, width // self.patch)
        self.dim: int = config.projection_dim
        self.image_width: int = config.vision_config.hidden_size
        self.text_width: int = config.text_config.hidden_size
        self.length: int = config.text_config.max_position_embeddings
        self.vocabulary: int = config.text_config.vocab_size
        embeddings = self.model.vision_model.embeddings
        embeddings.position_embedding = nn.Embedding(1 + self.grid[0] * self.grid[1], self.image_width)
        embeddings.position_ids = None
        nn.init.normal_(embeddings.position_embedding.weight, std=config.vision_config.initializer_range)
        embeddings.interpolate_pos_encoding = types.MethodType(_own_positions, embeddings)
        if 1 + self.grid[0] * self.grid[1] <= SHORT:
            self.model.set_attn_implementation("eager")
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    @property
    def logit_scale(self) -> nn.Parameter:
        """Logarithm of 1 / τ, a scalar parameter."""
        return self.model.logit_scale

    @property
    def temperature(self) -> Tensor:
        """τ = exp(−logit_scale), never below 0.01 (OpenAI's clamp). At the bound its gradient lives, beyond it not."""
        return torch.exp(-self.logit_scale.clamp(max=SHARPEST))

    def hold_temperature(self) -> None:
        """Put a trained logit_scale that went beyond the bound back onto it, so that τ can rise again at once.

        For each training step before τ is read, as OpenAI's clamp; one that is not trained stays as it is.
        """
        if self.logit_scale.requires_grad:
            with torch.no_grad():
                self.logit_scale.clamp_(max=SHARPEST)

    def fit_positions(self, table: Tensor, grid: tuple[int, int] | None) -> Tensor:
        """A position table (1 + h·w, W) of another grid on the grid of this image size; see `resize_positions`."""
        return resize_positions(table, self.grid, grid)

    def image_features(self, images: Any, normalised: bool = False) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D). normalised: the pixels already carry the model's mean and deviation."""
        vision = self.model.vision_model
        return self.model.visual_projection(vision.post_layernorm(self._image_states(images, normalised)[:, 0]))

    def image_tokens(
        self, images: Any, normalised: bool = False, mask: Tensor | None = None, mask_token: Tensor | None = None
    ) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, 1 + P, D): the whole image first, then its patches row by row.

        mask: (B, P) bool; masked patches are replaced after the patch convolution by mask_token (W,), or by zeros.
        """
        with self._masked_patches(mask, mask_token):
            states = self._image_states(images, normalised)
        return self.model.visual_projection(self.model.vision_model.post_layernorm(states))

    def text_features(self, ids: Any, word: Any = None) -> Tensor:
        """(B, L) token ids → (B, D), read at the first end-of-text token. word: (B, W) pseudo-words, see
        `text_tokens`.
        """
        ids = torch.as_tensor(ids, device=self.logit_scale.device)
        states = self._text_states(ids, word)
        return self.model.text_projection(states[torch.arange(len(ids), device=ids.device), self.text_end(ids)])

    def text_tokens(self, ids: Any, word: Any = None) -> Tensor:
        """(B, L) token ids → (B, L, D).

        word: (B, W) or (1, W); takes the place of the token embedding at the one placeholder of each prompt
        (InteractReID §III-C), before positions are added. Raises UsageError for a prompt without or with several
        placeholders.
        """
        return self.model.text_projection(self._text_states(torch.as_tensor(ids, device=self.logit_scale.device), word))

    def text_end(self, ids: Tensor) -> Tensor:
        """(B,) position of the first end-of-text token; UsageError for a text without one."""
        ends = ids == self.spec.end
        if not bool(ends.any(dim=1).all()):
            raise UsageError(
                f"a text has no end-of-text token (id {self.spec.end}); make ids with the model's own Words"
            )
        return ends.int().argmax(dim=1)

    def text_pads(self, ids: Tensor) -> Tensor:
        """(B, L) token ids → (B, L) bool, True behind the end of a text; UsageError for a text without an end."""
        return torch.arange(ids.shape[1], device=ids.device) > self.text_end(ids)[:, None]

    def thaw(self) -> None:
        """Undo what a method froze and how it dropped: all moves, and the text encoder has no dropout."""
        self.requires_grad_(True)
        self.set_text_dropout(0.0)

    def freeze_patches(self) -> None:
        """Freeze the patch convolution, as the released InteractReID does."""
        self.model.vision_model.embeddings.patch_embedding.requires_grad_(False)

    def set_text_dropout(self, share: float) -> None:
        """Attention dropout of the text encoder; only active in training mode."""
        for layer in self.model.text_model.encoder.layers:
            layer.self_attn.dropout = share

    def checkpoint_gradients(self) -> None:
        """Trade time for memory: keep the activations of one layer at a time."""
        self.model.activation_checkpointing_enable()

    def image_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Named parameters of the image encoder with its projection."""
        for name, parameter in self.named_parameters():
            if name.startswith(("model.vision_model.", "model.visual_projection.")):
                yield name, parameter

    def text_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Named parameters of the text encoder with its projection."""
        for name, parameter in self.named_parameters():
            if name.startswith(("model.text_model.", "model.text_projection.")):
                yield name, parameter

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → with the model's mean and deviation."""
        return (images - self.mean) / self.std

    def _image_states(self, images: Any, normalised: bool) -> Tensor:
        images = torch.as_tensor(images, device=self.logit_scale.device)
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, *self.image_size):
            raise UsageError(
                f"images must be (B, 3, {self.image_size[0]}, {self.image_size[1]}); got {tuple(images.shape)}"
            )
        images = images if normalised else self.normalise(images)
        return self.model.vision_model(pixel_values=images, interpolate_pos_encoding=True).last_hidden_state

    def _text_states(self, ids: Tensor, word: Any) -> Tensor:
        if ids.ndim != 2 or not ids.shape[0] or ids.shape[1] > self.length:
            raise UsageError(f"token ids must be (B, up to {self.length}); got {tuple(ids.shape)}")
        with self._pseudo_word(ids, word):
            return self.model.text_model(input_ids=ids).last_hidden_state

    @contextmanager
    def _masked_patches(self, mask: Tensor | None, token: Tensor | None) -> Iterator[None]:
        if mask is None:
            yield
            return

        def replace(module: nn.Module, args: Any, patches: Tensor) -> Tensor:
            hidden = mask.view(len(patches), 1, *self.grid).to(patches)
            return (
                patches * (1 - hidden)
                if token is None
                else torch.lerp(patches, token.to(patches).view(1, -1, 1, 1), hidden)
            )

        handle = self.model.vision_model.embeddings.patch_embedding.register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _pseudo_word(self, ids: Tensor, word: Any) -> Iterator[None]:
        if word is None:
            yield
            return
        word = torch.as_tensor(word, device=ids.device)
        places = ids == self.spec.placeholder
        counts = places.sum(dim=1)
        if not bool((counts == 1).all()):
            found = sorted({int(c) for c in counts})
            raise UsageError(
                f"a prompt must hold the placeholder (token {self.spec.placeholder}) exactly once; found {found}. "
                'Write it apart from other signs, as in "a photo of * , and a red jacket"'
            )
        if word.ndim != 2 or word.shape[1] != self.text_width or len(word) not in (1, len(ids)):
            raise UsageError(f"pseudo-words must be (1 or {len(ids)}, {self.text_width}); got {tuple(word.shape)}")

        def replace(module: nn.Module, args: Any, embedded: Tensor) -> Tensor:
            return torch.where(places[..., None], word[:, None].to(embedded), embedded)

        handle = self.model.text_model.embeddings.token_embedding.register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()


def random_clip(
    image_size: tuple[int, int] = (32, 16),
    patch: int = 8,
    dim: int = 32,
    image_width: int = 64,
    image_layers: int = 2,
    text_width: int = 32,
    text_layers: int = 2,
    vocabulary: int = 64,
    length: int = 77,
    end: int | None = None,
    placeholder: int = 3,
    seed: int = 0,
    head: int = 64,
    mean: tuple[float, float, float] = CLIP_MEAN,
    std: tuple[float, float, float] = CLIP_STD,
    activation: str = "quick_gelu",
) -> Clip:
    """A Clip with random weights, for tests and for training from nothing. head: width of an attention head (64 in
    CLIP).
    """
    side = {
        "hidden_act": activation,
        "projection_dim": dim,
    }
    config = CLIPConfig.from_dict(
        {
            "projection_dim": dim,
            "vision_config": side
            | {
                "hidden_size": image_width,
                "intermediate_size": 4 * image_width,
                "num_hidden_layers": image_layers,
                "num_attention_heads": max(1, image_width // head),
                "patch_size": patch,
                "image_size": patch,
            },
            "text_config": side
            | {
                "hidden_size": text_width,
                "intermediate_size": 4 * text_width,
                "num_hidden_layers": text_layers,
                "num_attention_heads": max(1, text_width // head),
                "vocab_size": vocabulary,
                "max_position_embeddings": length,
                "eos_token_id": vocabulary - 1 if end is None else end,
                "bos_token_id": 0,
                "pad_token_id": 0,
            },
        }
    )
    spec = ClipSpec(plain_config(config), image_size, mean, std, vocabulary - 1 if end is None else end, placeholder)
    return build(spec, seed)


def build(spec: ClipSpec, seed: int = 0) -> Clip:
    """An untrained Clip of this spec, its random weights drawn from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return empty(spec)


def empty(spec: ClipSpec) -> Clip:
    """A Clip, or a Siglip where the configuration says so, with the random weights that the library gives it."""
    if spec.config.get("model_type", "clip") == "clip":
        return Clip(spec)
    from .siglip import Siglip

    return Siglip(spec)


def plain_config(config: CLIPConfig) -> dict[str, Any]:
    """The configuration as the few values that shape the network."""
    keys = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "hidden_act",
        "layer_norm_eps",
    )
    vision: Any = config.vision_config
    text: Any = config.text_config
    return {
        "projection_dim": config.projection_dim,
        "logit_scale_init_value": config.logit_scale_init_value,
        "vision_config": {k: getattr(vision, k) for k in (*keys, "patch_size", "image_size")},
        "text_config": {
            k: getattr(text, k)
            for k in (*keys, "vocab_size", "max_position_embeddings", "eos_token_id", "bos_token_id", "pad_token_id")
        },
    }


def with_weights(spec: ClipSpec, state: dict[str, Tensor], source: str, grid: tuple[int, int] | None = None) -> Clip:
    """A Clip with these weights (names of the transformers library), the position grid resized where it must be.

    grid: (height, width) of the weights' position table in patches; left out, it is taken to be square.
    Raises ModelRefused that names every missing, unexpected, misshapen or not finite weight.
    """
    state = {k: v.float() for k, v in state.items() if not k.endswith("position_ids")}
    with torch.device("meta"):
        clip = empty(spec)
    key = "vision_model.embeddings.position_embedding.weight"
    if key in state and state[key].ndim == 2:
        state[key] = clip.fit_positions(state[key], grid)
    load_strictly(clip.model, state, source)
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        setattr(clip, name, torch.tensor(values).view(1, 3, 1, 1))
    text = clip.model.text_model.embeddings
    text.position_ids = torch.arange(clip.length).expand((1, -1))
    return clip


def respecified(clip: Clip, **changes: Any) -> Clip:
    """The same weights under a spec with some fields changed (image_size, mean, std); the position grid is resized if
    it must be.
    """
    spec = replace(clip.spec, **changes)
    return clip if spec == clip.spec else with_weights(spec, clip.model.state_dict(), "the model", clip.grid)


def load_strictly(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Put every weight in its place (also into a module on the meta device), or raise ModelRefused as `check_fit`
    does.
    """
    check_fit(module, state, source)
    module.load_state_dict(state, strict=True, assign=True)


def check_fit(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Raise ModelRefused that names the weights which are missing, unexpected, of another shape or not finite."""
    wanted = module.state_dict()
    faults = [f"missing: {k}" for k in wanted.keys() - state.keys()] + [
        f"unexpected: {k}" for k in state.keys() - wanted.keys()
    ]
    for k in sorted(wanted.keys() & state.keys()):
        if wanted[k].shape != state[k].shape:
            faults.append(f"shape of {k}: {tuple(state[k].shape)}, expected {tuple(wanted[k].shape)}")
        elif state[k].is_floating_point() and not bool(torch.isfinite(state[k]).all()):
            faults.append(f"not finite: {k}")
    if faults:
        shown = "\n  ".join(sorted(faults)[:12]) + (f"\n  … and {len(faults) - 12} more" if len(faults) > 12 else "")
        raise ModelRefused(f"{source} does not fit this model ({len(faults)} weights):\n  {shown}")


def resize_positions(table: Tensor, grid: tuple[int, int], old: tuple[int, int] | None = None) -> Tensor:
    """(1 + h·w, W) position table → (1 + gh·gw, W): bilinear, without antialias, as IRRA and its heirs do.

    old: (h, w) of the table; left out, it is taken to be square, or to have the new grid already when it has as many
    rows.
    """
    if old == grid or (old is None and len(table) == 1 + grid[0] * grid[1]):
        return table
    old = old or (math.isqrt(len(table) - 1),) * 2
    if old[0] * old[1] != len(table) - 1:
        raise ModelRefused(
            f"a position table of {len(table)} rows is no square grid; give the image size it was made for"
        )
    square = table[1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=grid, mode="bilinear", align_corners=False, antialias=False)
    return torch.cat([table[:1], resized.permute(0, 2, 3, 1).reshape(grid[0] * grid[1], -1)])
