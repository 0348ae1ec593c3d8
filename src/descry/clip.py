"""CLIP (Radford et al. 2021) and SigLIP: two transformers with a shared space, and what the papers need of them.

Weights of a CLIP carry the names of the transformers library, and tests hold the results equal to that library's. It
is not imported for them, because that takes longer than a search. Beyond it: images that are not square, local tokens
of both sides in the shared space, masked patches with a mask token, and a pseudo-word at a placeholder.

SigLIP and SigLIP 2 are the transformers library's, with the interface of `Clip`. They differ where a method must know
it: a photograph is pooled by attention and has no class token, a text is read at its last position and always padded to
full length, and pairs are judged by a sigmoid with a learnt bias.

Letters: B batch, D shared dimension, W width of an encoder, P patches (grid height × grid width, row by row), L tokens,
S tokens of either side.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from .errors import ModelRefused, UsageError, nearest

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SHORT = 64  # tokens of an image up to which plain attention trains faster on a processor than the fused kernel
OPENAI_PLACEHOLDER = 265  # "*" in the vocabulary of OpenAI's CLIP
CODE = ("attn_implementation", "attn_implementation_internal", "auto_map", "trust_remote_code")
"""Values by which the transformers library finds code to run."""
DEEPEST, LARGEST = 256, 1 << 24
"""Most layers of an encoder, and the largest of all other numbers of a configuration."""
SHARPEST = math.log(100)  # logit_scale of the lowest τ, 0.01; OpenAI's CLIP ended its training there


@dataclass(frozen=True)
class ClipSpec:
    """All that is needed to build an empty Clip: the library's configuration, and what it does not hold.

    config: as `clip_config` gives it. image_size: (H, W) in pixels. mean, std: of the pixels in [0, 1], per channel.
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
            made = cls(**values)
        except TypeError as error:
            raise ModelRefused(f"the configuration of a CLIP does not fit this version: {error}") from None
        refuse_absurd(made.config)
        bounds = [("image_size", 2, 8, 4096), ("mean", 3, -1e3, 1e3), ("std", 3, 1e-3, 1e3)]
        bounds += [("end", 1, 0, 1 << 24), ("placeholder", 1, 0, 1 << 24)]
        faults = []
        for name, count, least, most in bounds:
            value, kinds = getattr(made, name), (int, float) if name in ("mean", "std") else (int,)
            numbers = value if isinstance(value, tuple) else (value,)
            whole = isinstance(value, tuple) == (count > 1) and len(numbers) == count
            if not whole or not all(type(x) in kinds and least <= x <= most for x in numbers):
                faults.append(name)
        if faults:
            raise ModelRefused(
                f"the configuration of a CLIP says {faults[0]} = {str(getattr(made, faults[0]))[:60]}, which cannot be "
                "meant"
            )
        return made


def refuse_absurd(config: Any) -> None:
    """ModelRefused for a configuration that is no table, names code to be run, or a size that no model has."""
    if not isinstance(config, Mapping):
        raise ModelRefused(f"the configuration of a CLIP is {str(config)[:40]!r}; it must be a table of values")
    for name, value in config.items():
        if str(name).lstrip("_") in CODE:
            raise ModelRefused(f"the configuration of a CLIP has {name!r}, which names code; remove it")
        most = DEEPEST if "layers" in str(name) else LARGEST
        if type(value) in (int, float) and not abs(value) <= most:
            raise ModelRefused(f"the configuration of a CLIP says {name} = {value!r}; at most {most:,} is read")
        if isinstance(value, Mapping):
            refuse_absurd(value)


_SIDE = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_VISION |= {"patch_size": 32, "image_size": 224}
_TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
_TEXT |= {"vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407, "bos_token_id": 49406}
_TEXT |= {"pad_token_id": 1}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "gelu": F.gelu,
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


def clip_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The few values of a CLIP's configuration that shape the network; what is not given is as in CLIP ViT-B/32.

    config: as in config.json of the transformers library. Raises ModelRefused for a size that is no number above 0 or
    an activation that is not known here.
    """
    sides = [config] if isinstance(config, Mapping) else []
    sides += [config.get(name) or {} for name in ("vision_config", "text_config")] if sides else []
    if len(sides) < 3 or not all(isinstance(side, Mapping) for side in sides):
        raise ModelRefused("the configuration of a CLIP must hold vision_config and text_config, tables of values")
    shape: dict[str, Any] = {"projection_dim": config.get("projection_dim", 512)}
    shape["logit_scale_init_value"] = config.get("logit_scale_init_value", 2.6592)
    for name, plain in (("vision_config", _VISION), ("text_config", _TEXT)):
        given = dict(config.get(name) or {}) | dict(config.get(f"{name}_dict") or {})  # older files have both
        shape[name] = {key: given.get(key, value) for key, value in (plain | _SIDE).items()}
        if shape[name]["hidden_act"] not in ACTIVATIONS:
            act = str(shape[name]["hidden_act"])
            raise ModelRefused(f"{name} has the activation {act!r}; {nearest(act, list(ACTIVATIONS))}")
    for name, value in [("projection_dim", shape["projection_dim"]), *shape["vision_config"].items(),
                        *shape["text_config"].items()]:  # fmt: skip
        least = 0 if name.endswith("_id") else 1
        if name not in ("hidden_act", "layer_norm_eps") and (type(value) is not int or value < least):
            raise ModelRefused(f"the configuration of a CLIP says {name} = {value!r}; it must be {least} or more")
    for name in ("vision_config", "text_config"):
        eps = shape[name]["layer_norm_eps"]
        if type(eps) not in (int, float) or not 0 <= eps < 1:
            raise ModelRefused(f"{name} says layer_norm_eps = {eps!r}; it must be 0 or more and below 1")
        width, heads = shape[name]["hidden_size"], shape[name]["num_attention_heads"]
        if width % heads:
            raise ModelRefused(f"{name} has a width of {width}, which {heads} attention heads do not divide")
    return shape


class Attention(nn.Module):
    """Self-attention of several heads. dropout: of the attention weights, in training mode only."""

    def __init__(self, width: int, heads: int, causal: bool, fused: bool):
        super().__init__()
        self.num_heads, self.causal, self.fused = heads, causal, fused
        self.scale = (width // heads) ** -0.5
        self.dropout = 0.0
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, states: Tensor, asking: Tensor, one: Tensor | int | None = None) -> Tensor:
        """(B, S, W) → (B, S, W). asking: the same states, or (B, 1, W) those of `one` (a place, or (B,) of them), which
        alone are answered then.
        """
        pairs = ((self.q_proj, asking), (self.k_proj, states), (self.v_proj, states))
        q, k, v = (project(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for project, x in pairs)
        share = self.dropout if self.training else 0.0
        if self.fused and one is None:
            out = F.scaled_dot_product_attention(q, k, v, dropout_p=share, is_causal=self.causal, scale=self.scale)
        else:
            weights = q @ k.transpose(-1, -2) * self.scale
            if self.causal:
                place = torch.arange(k.shape[-2], device=weights.device)
                own = place[:, None] if one is None else torch.as_tensor(one, device=k.device).view(-1, 1, 1, 1)
                weights = weights.masked_fill(place > own, torch.finfo(weights.dtype).min)
            weights = F.softmax(weights, dim=-1, dtype=torch.float32).to(q.dtype)
            out = F.dropout(weights, share, self.training) @ v
        value: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return value


class Layer(nn.Module):
    """One layer of a transformer: attention, then two linear layers, each after a normalisation."""

    def __init__(self, side: Mapping[str, Any], causal: bool, fused: bool):
        super().__init__()
        width = side["hidden_size"]
        self.self_attn = Attention(width, side["num_attention_heads"], causal, fused)
        self.layer_norm1 = nn.LayerNorm(width, eps=side["layer_norm_eps"])
        inner, self.activation = side["intermediate_size"], ACTIVATIONS[side["hidden_act"]]
        self.mlp: Any = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})
        self.layer_norm2 = nn.LayerNorm(width, eps=side["layer_norm_eps"])

    def forward(self, states: Tensor, one: Tensor | int | None = None) -> Tensor:
        """(B, S, W) → (B, S, W). one: place, or (B,) of them, that alone is wanted: (B, 1, W)."""
        own, normed = states, self.layer_norm1(states)
        asking = normed
        if isinstance(one, int):  # what is exported has no index that is made for one size of batch
            own, asking = states[:, one : one + 1], normed[:, one : one + 1]
        elif one is not None:
            places = one.view(-1, 1, 1).expand(-1, 1, states.shape[-1])
            own, asking = states.gather(1, places), normed.gather(1, places)
        own = own + self.self_attn(normed, asking, one)
        value: Tensor = own + self.mlp.fc2(self.activation(self.mlp.fc1(self.layer_norm2(own))))
        return value


class Encoder(nn.Module):
    """The layers of one side. checkpointed: activations inside a layer are computed again for its gradient."""

    def __init__(self, side: Mapping[str, Any], causal: bool, fused: bool):
        super().__init__()
        self.layers: Any = nn.ModuleList(Layer(side, causal, fused) for _ in range(side["num_hidden_layers"]))
        self.checkpointed = False

    def forward(self, states: Tensor, one: Tensor | int | None = None) -> Tensor:
        """(B, S, W) → (B, S, W). one: place, or (B,) of them, that alone is wanted, (B, 1, W): the last layer then
        computes no other, which is most of its work."""
        for layer in self.layers:
            wanted = one if layer is self.layers[-1] else None
            if self.checkpointed and self.training:
                states = checkpoint(layer, states, wanted, use_reentrant=False)
            else:
                states = layer(states, wanted)
        return states


class VisionModel(nn.Module):
    """The image encoder without its projection: patches behind a class token, with a position for each place."""

    def __init__(self, side: Mapping[str, Any], fused: bool):
        super().__init__()
        width, eps, patch = side["hidden_size"], side["layer_norm_eps"], side["patch_size"]
        self.embeddings: Any = nn.Module()
        self.embeddings.class_embedding = nn.Parameter(torch.randn(width))
        self.embeddings.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        self.embeddings.position_embedding = nn.Embedding(1 + (side["image_size"] // patch) ** 2, width)
        self.pre_layrnorm = nn.LayerNorm(width, eps=eps)  # the library's spelling
        self.encoder = Encoder(side, False, fused)
        self.post_layernorm = nn.LayerNorm(width, eps=eps)
        if not self.embeddings.class_embedding.is_meta:
            _draw(self)

    def forward(self, images: Tensor, first: bool = False) -> Tensor:
        """(B, 3, H, W) normalised → (B, 1 + P, W), before `post_layernorm`. first: the class token alone, (B, 1, W)."""
        made = self.embeddings
        states = made.patch_embedding(images.to(made.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        states = torch.cat([made.class_embedding.expand(images.shape[0], 1, -1), states], dim=1)
        states = self.pre_layrnorm(states + made.position_embedding.weight)  # one name: what is done with is freed
        value: Tensor = self.encoder(states, 0 if first else None)
        return value


class TextModel(nn.Module):
    """The text encoder without its projection; a token attends to itself and what stands before it."""

    def __init__(self, side: Mapping[str, Any], fused: bool):
        super().__init__()
        tables = {"token_embedding": side["vocab_size"], "position_embedding": side["max_position_embeddings"]}
        self.embeddings: Any = nn.ModuleDict({n: nn.Embedding(rows, side["hidden_size"]) for n, rows in tables.items()})
        self.encoder = Encoder(side, True, fused)
        self.final_layer_norm = nn.LayerNorm(side["hidden_size"], eps=side["layer_norm_eps"])
        if not self.final_layer_norm.weight.is_meta:
            _draw(self)

    def forward(self, ids: Tensor, one: Tensor | int | None = None) -> Tensor:
        """(B, L) → (B, L, W). one: place, or (B,) of them, that alone is wanted: (B, 1, W)."""
        places = self.embeddings.position_embedding.weight[: ids.shape[1]]
        value: Tensor = self.final_layer_norm(self.encoder(self.embeddings.token_embedding(ids) + places, one))
        return value


@torch.no_grad()
def _draw(side: Any) -> None:
    """Random weights of one side, drawn as the transformers library draws them and in its order, so that a seed means
    the same network. What it draws twice is drawn twice.
    """
    deep = (2 * len(side.encoder.layers)) ** -0.5

    def draw(module: Any) -> None:
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Embedding)):
            module.weight.normal_(std=0.02)
            bias: Any = getattr(module, "bias", None)
            if bias is not None:
                bias.zero_()
        elif "token_embedding" in module._modules:
            module.token_embedding.weight.normal_(std=0.02)
            module.position_embedding.weight.normal_(std=0.02)
        elif "class_embedding" in module._parameters:
            module.class_embedding.normal_(std=len(module.class_embedding) ** -0.5)
            module.patch_embedding.weight.normal_(std=0.02)
            module.position_embedding.weight.normal_(std=0.02)
        elif isinstance(module, Attention):
            width = module.out_proj.in_features
            for project in (module.q_proj, module.k_proj, module.v_proj):
                project.weight.normal_(std=width**-0.5 * deep)
            module.out_proj.weight.normal_(std=width**-0.5)
        elif "fc1" in module._modules:
            width = module.fc1.in_features
            module.fc1.weight.normal_(std=(2 * width) ** -0.5)
            module.fc2.weight.normal_(std=width**-0.5 * deep)

    side.apply(draw)


class Network(nn.Module):
    """Both encoders with their projections, under the names that the transformers library gives its weights.

    patches: P of the image size, which need not be the square of the configuration.
    """

    def __init__(self, config: Mapping[str, Any], patches: int):
        super().__init__()
        vision, text, dim = config["vision_config"], config["text_config"], config["projection_dim"]
        fused = 1 + patches > SHORT
        self.text_model = TextModel(text, fused)
        self.vision_model = VisionModel(vision, fused)
        self.visual_projection = nn.Linear(vision["hidden_size"], dim, bias=False)
        self.text_projection = nn.Linear(text["hidden_size"], dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config["logit_scale_init_value"])))
        with torch.no_grad():
            for project in (self.visual_projection, self.text_projection):
                project.weight.normal_()
            for project in (self.text_projection, self.visual_projection):
                project.weight.normal_(std=project.in_features**-0.5)
        positions = nn.Embedding(1 + patches, vision["hidden_size"])
        nn.init.normal_(positions.weight, std=0.02)
        self.vision_model.embeddings.position_embedding = positions


class _Undrawn(TorchFunctionMode):
    """Inside, weights are not drawn but zero, which also ends every loop that draws until values lie within bounds."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name == "randn":
            return torch.zeros(*args, **(kwargs or {}))
        if name in ("normal_", "uniform_", "kaiming_uniform_"):
            tensor: Tensor = args[0] if args else kwargs["tensor"]
            return tensor.detach().zero_()
        return function(*args, **(kwargs or {}))


class Clip(nn.Module):
    """CLIP for images of a fixed (H, W). Features are projected into the shared space and not scaled to unit length."""

    kind = "clip"  # what methods name in `backbones`
    model: Any
    """A `Network`, or another library's model under the same names."""
    mean: Tensor
    std: Tensor

    def __init__(self, spec: ClipSpec, drawn: bool = True):
        """drawn: with random weights; otherwise with places for those that will be loaded, and no memory."""
        super().__init__()
        self.spec = spec
        config = clip_config(spec.config)
        vision, text = config["vision_config"], config["text_config"]
        self.patch: int = vision["patch_size"]
        height, width = spec.image_size
        if height % self.patch or width % self.patch:
            raise UsageError(f"an image size of {height}×{width} does not divide into patches of {self.patch} pixels")
        self.image_size = (height, width)
        self.grid = (height // self.patch, width // self.patch)
        self.dim: int = config["projection_dim"]
        self.image_width: int = vision["hidden_size"]
        self.text_width: int = text["hidden_size"]
        self.length: int = text["max_position_embeddings"]
        self.vocabulary: int = text["vocab_size"]
        if drawn:
            self.model = Network(config, self.grid[0] * self.grid[1])
        else:
            # shapes without memory; drawing them would load PyTorch's compiler and SymPy
            with torch.device("meta"), _Undrawn():
                self.model = Network(config, self.grid[0] * self.grid[1])
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    @property
    def logit_scale(self) -> nn.Parameter:
        """Logarithm of 1 / τ, a scalar parameter."""
        value: nn.Parameter = self.model.logit_scale
        return value

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

    def image_features(self, images: Any) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D)."""
        vision = self.model.vision_model
        states = vision(self.normalise(images), first=True)[:, 0]
        value: Tensor = self.model.visual_projection(vision.post_layernorm(states))
        return value

    def image_tokens(self, images: Any, mask: Tensor | None = None, mask_token: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, 1 + P, D): the whole image first, then its patches row by row.

        mask: (B, P) bool; masked patches are replaced after the patch convolution by mask_token (W,), or by zeros.
        """
        with nullcontext() if mask is None else self._masked_patches(mask, mask_token):
            states = self.model.vision_model(self.normalise(images))
        value: Tensor = self.model.visual_projection(self.model.vision_model.post_layernorm(states))
        return value

    def text_features(self, ids: Any, word: Any = None) -> Tensor:
        """(B, L) token ids → (B, D), read at the first end-of-text token.

        word: (B, W) or (1, W); takes the place of the token embedding at the one placeholder of each prompt
        (InteractReID §III-C), before positions are added. Raises UsageError for a prompt without or with several
        placeholders.
        """
        value: Tensor = self.model.text_projection(self._text_states(ids, word, at_end=True)[:, 0])
        return value

    def text_tokens(self, ids: Any) -> Tensor:
        """(B, L) token ids → (B, L, D)."""
        value: Tensor = self.model.text_projection(self._text_states(ids))
        return value

    def text_end(self, ids: Tensor) -> Tensor:
        """(B,) position of the first end-of-text token; UsageError for a text without one.

        In training on a GPU texts come from the model's own Words and are not looked at: every step would have to wait
        for the device.
        """
        ends = ids == self.spec.end
        if not (self.training and ids.is_cuda) and not bool(ends.any(dim=1).all()):
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
        self.model.vision_model.encoder.checkpointed = self.model.text_model.encoder.checkpointed = True

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

    def normalise(self, images: Any) -> Tensor:
        """(B, 3, H, W) in [0, 1] → with the model's mean and deviation; UsageError for another size than it reads."""
        pixels: Tensor = torch.as_tensor(images, device=self.mean.device)
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, *self.image_size):
            raise UsageError(
                f"images must be (B, 3, {self.image_size[0]}, {self.image_size[1]}); got {tuple(pixels.shape)}"
            )
        return (pixels - self.mean) / self.std

    def _text_states(self, ids: Any, word: Any = None, at_end: bool = False) -> Any:
        """What the text model makes of ids and a pseudo-word. at_end: of a CLIP, at the end of each text alone."""
        ids = torch.as_tensor(ids, device=self.mean.device)
        if ids.ndim != 2 or not ids.shape[0] or ids.shape[1] > self.length:
            raise UsageError(f"token ids must be (B, up to {self.length}); got {tuple(ids.shape)}")
        with nullcontext() if word is None else self._pseudo_word(ids, word):
            return self.model.text_model(ids, self.text_end(ids) if at_end else None)

    @contextmanager
    def _masked_patches(self, mask: Tensor, token: Tensor | None) -> Iterator[None]:
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
        word = torch.as_tensor(word, device=ids.device)
        places = ids == self.spec.placeholder
        counts = places.sum(dim=1)
        if not (self.training and ids.is_cuda) and not bool((counts == 1).all()):
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
    config = clip_config(
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
    spec = ClipSpec(config, image_size, mean, std, vocabulary - 1 if end is None else end, placeholder)
    return build(spec, seed)


def build(spec: ClipSpec, seed: int = 0) -> Clip:
    """An untrained Clip of this spec, its random weights drawn from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return empty(spec)


def empty(spec: ClipSpec, drawn: bool = True) -> Clip:
    """A Clip, or a Siglip where the configuration says so, with the random weights that the library gives it. drawn:
    False where weights are loaded next, by assignment: none are drawn to be thrown away."""
    if spec.config.get("model_type", "clip") == "clip":
        return Clip(spec, drawn)
    with nullcontext() if drawn else _Undrawn():
        return Siglip(spec)


def with_weights(spec: ClipSpec, state: dict[str, Tensor], source: str, grid: tuple[int, int] | None = None) -> Clip:
    """A Clip with these weights (names of the transformers library), the position grid resized where it must be.

    grid: (height, width) of the weights' position table in patches; left out, it is taken to be square.
    Raises ModelRefused that names every missing, unexpected, misshapen or not finite weight.
    """
    state = {k: v.float() for k, v in state.items() if not k.endswith("position_ids")}
    clip = empty(spec, drawn=False)
    key = "vision_model.embeddings.position_embedding.weight"
    if key in state and state[key].ndim == 2:
        state[key] = clip.fit_positions(state[key], grid)
    check_fit(clip.model, state, source)
    clip.model.load_state_dict(state, assign=True)
    return clip


def respecified(clip: Clip, **changes: Any) -> Clip:
    """The same weights under a spec with some fields changed (image_size, mean, std); the position grid is resized if
    it must be.
    """
    spec = replace(clip.spec, **changes)
    return clip if spec == clip.spec else with_weights(spec, clip.model.state_dict(), "the model", clip.grid)


def longer(clip: Clip, length: int, kept: int = 20) -> Clip:
    """The same weights for texts of up to `length` tokens: the first `kept` positions stay, those behind them are
    stretched by linear interpolation (Long-CLIP, Zhang et al., ECCV 2024). To be trained before it reads longer texts
    well. 0 leaves it as it is.

    Raises UsageError for a SigLIP, which reads a text at its last position, and for fewer tokens than it has.
    """
    if length in (0, clip.length):
        return clip
    if clip.kind != "clip":
        raise UsageError(f"text_length={length} was given; a {clip.kind} reads at its last position: leave it out")
    if length < clip.length:
        raise UsageError(f"text_length={length} was given; allowed: 0, or more than the {clip.length} that it reads")
    config = deepcopy(clip.spec.config)
    config["text_config"]["max_position_embeddings"] = length
    state, key = clip.model.state_dict(), "text_model.embeddings.position_embedding.weight"
    first, rest = state[key][:kept], state[key][kept:]
    rest = F.interpolate(rest.T[None], size=length - kept, mode="linear", align_corners=True)[0].T
    table = torch.cat([first, rest]).contiguous()
    return with_weights(replace(clip.spec, config=config), state | {key: table}, "the model", clip.grid)


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
        shown = "; ".join(sorted(faults)[:12]) + (f"; and {len(faults) - 12} more" if len(faults) > 12 else "")
        raise ModelRefused(f"{source} does not fit this model ({len(faults)} weights): {shown}")


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


# ------------------------------------------------------------------------------------------- SigLIP


_SIGLIP_LAYERS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
_SIGLIP_VISION = (*_SIGLIP_LAYERS, "layer_norm_eps", "patch_size", "image_size", "num_patches", "num_channels")
_SIGLIP_TEXT = (*_SIGLIP_LAYERS, "layer_norm_eps", "vocab_size", "max_position_embeddings", "projection_size")
_IDS = ("eos_token_id", "bos_token_id", "pad_token_id")


def siglip_of(kind: str) -> tuple[Any, Any]:
    """Configuration and model of the transformers library, which takes longer to import than a search."""
    import transformers

    name = {"siglip": "Siglip", "siglip2": "Siglip2"}[kind]
    return getattr(transformers, f"{name}Config"), getattr(transformers, f"{name}Model")


def plain_siglip(config: Any) -> dict[str, Any]:
    """The configuration as the few values that shape the network."""
    sides = {"vision_config": _SIGLIP_VISION, "text_config": (*_SIGLIP_TEXT, *_IDS)}
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
        configured, model = siglip_of(spec.config["model_type"])
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

    def image_features(self, images: Any) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, D), pooled by attention."""
        value: Tensor = self._vision(images).pooler_output
        return value

    def image_tokens(self, images: Any, mask: Tensor | None = None, mask_token: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, 1 + P, D): the pooled image first, then its patches. Masks are refused."""
        if mask is not None:
            raise UsageError("masked patches were asked of a SigLIP; this is done with a CLIP only")
        found = self._vision(images)
        return torch.cat([found.pooler_output[:, None], found.last_hidden_state], dim=1)

    def text_features(self, ids: Any, word: Any = None) -> Tensor:
        """(B, L) token ids → (B, D), read at the last of all positions. word: (B, W) pseudo-words."""
        value: Tensor = self.model.text_model.head(self._text_states(ids, word)[:, -1])
        return value

    def text_tokens(self, ids: Any) -> Tensor:
        """(B, L) token ids → (B, full length, D)."""
        value: Tensor = self.model.text_model.head(self._text_states(ids))
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

    def _text_states(self, ids: Any, word: Any = None, at_end: bool = False) -> Any:
        return super()._text_states(self._full(ids), word).last_hidden_state

    def _full(self, ids: Any) -> Tensor:
        ids = torch.as_tensor(ids, device=self.logit_scale.device)
        return F.pad(ids, (0, max(0, self.length - ids.shape[-1])), value=self.pad)

    def _vision(self, images: Any) -> Any:
        images = self.normalise(images)
        if not self.flexible:
            return self.model.vision_model(pixel_values=images, interpolate_pos_encoding=True)
        high, wide = self.grid
        cut = images.unflatten(3, (wide, self.patch)).unflatten(2, (high, self.patch))
        patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(len(images), high * wide, -1)
        seen = torch.ones(patches.shape[:2], dtype=torch.long, device=images.device)
        shapes = torch.tensor([self.grid] * len(images), device=images.device)
        return self.model.vision_model(pixel_values=patches, pixel_attention_mask=seen, spatial_shapes=shapes)
