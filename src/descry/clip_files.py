"""CLIPs as they are found: folders of the transformers library, hub names in the local cache, OpenAI's weight names.

What is read becomes a `Clip` through `with_weights`, which loads strictly. Pickles are not opened here: `convert.py`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .clip import (
    CLIP_MEAN,
    CLIP_STD,
    Clip,
    ClipSpec,
    clip_config,
    plain_siglip,
    refuse_absurd,
    respecified,
    siglip_of,
    with_weights,
)
from .errors import ModelMissing, ModelRefused
from .safe_files import read_json
from .text import Words


def clip_and_words(
    name: str | Path, image_size: tuple[int, int] | None = None, allow_download: bool = False
) -> tuple[Clip, Words, Path]:
    """A CLIP in the transformers format with its own vocabulary, and its folder. See `load_clip` and `fitted`."""
    folder = find_clip(name, allow_download)
    clip = load_clip(folder, image_size)
    return *fitted(clip, Words.load(folder), str(folder)), folder


def fitted(clip: Clip, words: Words, source: str) -> tuple[Clip, Words]:
    """A CLIP and the vocabulary it is to read with, each of the other's length and tokens. Raises ModelRefused where
    they cannot belong together: another number of words, or another end of a text.
    """
    if len(words) != clip.vocabulary:
        raise ModelRefused(f"{source} has {clip.vocabulary} words and the vocabulary {len(words)}; give it its own")
    if clip.spec.end != words.end:
        raise ModelRefused(
            f"{source} reads a text at its token {clip.spec.end}, and in the vocabulary a text ends with {words.end}; "
            "give it its own"
        )
    words = words.of_length(clip.length)
    return respecified(clip, placeholder=words.placeholder), words


def load_clip(name: str | Path, image_size: tuple[int, int] | None = None) -> Clip:
    """A CLIP in the transformers format: a local folder, or a hub name found in the local cache.

    image_size: (H, W); left out, the square the model was trained on. The position grid is resized once, bilinear
    without antialias. Raises ModelMissing, ModelRefused.
    """
    folder = find_clip(name)
    try:
        raw = read_json(folder / "config.json")
        if not isinstance(raw, dict):
            raise TypeError("it holds no object")
        refuse_absurd(raw)
        kind = raw.get("model_type", "clip")
        if kind in ("siglip", "siglip2"):
            return _siglip(folder, raw, image_size)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelRefused(f"{folder / 'config.json'} is not a configuration of a CLIP: {error}") from None
    if kind != "clip":
        raise ModelRefused(
            f"{folder} holds a model of type {kind!r}; this version reads 'clip', 'siglip' and 'siglip2'"
        )
    config = clip_config(raw)
    vision, text = config["vision_config"], config["text_config"]
    end = text["eos_token_id"]
    if not isinstance(end, int) or isinstance(end, bool):
        raise ModelRefused(f"{folder / 'config.json'} gives eos_token_id {end!r}; it has to be one number")
    end = text["vocab_size"] - 1 if end == 2 else end  # early files say 2 and mean the last token
    mean, std = _pixel_statistics(folder)
    side = vision["image_size"]
    spec = ClipSpec(config, image_size or (side, side), mean, std, end)
    return with_weights(spec, _weights(folder), str(folder), (side // vision["patch_size"],) * 2)


def _siglip(folder: Path, raw: dict[str, Any], image_size: tuple[int, int] | None) -> Clip:
    """A SigLIP folder; image_size left out: its own square, or for a flexible one the square of its patches."""
    config = siglip_of(raw["model_type"])[0].from_dict(raw)
    vision, text = config.vision_config, config.text_config
    side = getattr(vision, "image_size", None) or math.isqrt(vision.num_patches) * vision.patch_size
    mean, std = _pixel_statistics(folder, (0.5, 0.5, 0.5))
    spec = ClipSpec(plain_siglip(config), image_size or (side, side), mean, std, text.eos_token_id, -1)
    words = folder / "tokenizer.json"
    if words.is_file():
        found = Words.load(folder)
        spec = replace(spec, end=found.end, placeholder=found.placeholder)
    return with_weights(spec, _weights(folder), str(folder), (side // vision.patch_size,) * 2)


def from_openai(
    state: dict[str, Tensor], image_size: tuple[int, int] | None = None, source: str = "the checkpoint"
) -> Clip:
    """A Clip from OpenAI's state-dict names; the architecture is read off the shapes.

    The number of heads, which shapes do not say, is width / 64, but 16 for the image encoder of open_clip's ViT-H-14
    (width 1280). A width of no published CLIP that 64 does not divide is refused.

    image_size: (H, W); left out, the square of the position grid. Raises ModelRefused.
    """
    state = {k: v for k, v in state.items() if k not in ("input_resolution", "context_length", "vocab_size")}
    if "positional_embedding_res" in state:  # Long-CLIP: its first 20 positions as they were, the rest trained anew
        rest = state.pop("positional_embedding_res")
        if rest.shape != state.get("positional_embedding", rest).shape:
            raise ModelRefused(f"{source} has two tables of positions of different shapes")
        state["positional_embedding"] = torch.cat([state["positional_embedding"][:20], rest[20:]])
    try:
        vision, text = state["visual.conv1.weight"], state["token_embedding.weight"]
        table, projection = state["visual.positional_embedding"], state["text_projection"]
        length = len(state["positional_embedding"])
    except KeyError as error:
        raise ModelRefused(
            f"{source} lacks {error}, so it is no CLIP with a vision transformer under OpenAI's names"
        ) from None
    image_width, patch, text_width = vision.shape[0], vision.shape[-1], text.shape[1]
    side = math.isqrt(len(table) - 1)
    spec = ClipSpec(
        {
            "projection_dim": projection.shape[1],
            "logit_scale_init_value": math.log(100),
            "vision_config": _side(image_width, _layers(state, "visual.transformer.resblocks."), wide=True)
            | {"patch_size": patch, "image_size": patch * side},
            "text_config": _side(text_width, _layers(state, "transformer.resblocks."))
            | {"vocab_size": len(text), "max_position_embeddings": length, "eos_token_id": len(text) - 1}
            | {"bos_token_id": len(text) - 2, "pad_token_id": 0},
        },
        image_size or (patch * side, patch * side),
        end=len(text) - 1,
    )
    return with_weights(spec, rename_openai(state), source, (side, side) if side * side == len(table) - 1 else None)


def rename_openai(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names → the transformers library's; joint query-key-value weights are taken apart."""
    fixed = {
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "ln_final": "text_model.final_layer_norm",
        "logit_scale": "logit_scale",
    }
    inner = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    inner |= {"attn.out_proj": "self_attn.out_proj"}
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        head, _, kind = key.rpartition(".")
        if key in ("visual.proj", "text_projection"):
            out["visual_projection.weight" if key == "visual.proj" else "text_projection.weight"] = value.T.contiguous()
        elif key in fixed or head in fixed:
            out[fixed[key] if key in fixed else f"{fixed[head]}.{kind}"] = (
                value.reshape(()) if key == "logit_scale" else value
            )
        elif ".resblocks." in f".{key}":
            side, _, rest = key.partition("resblocks.")
            number, _, part = rest.partition(".")
            base = f"{'vision' if side.startswith('visual') else 'text'}_model.encoder.layers.{number}."
            if part.startswith("attn.in_proj_"):
                for name, third in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
                    out[f"{base}self_attn.{name}.{part.removeprefix('attn.in_proj_')}"] = third.contiguous()
            else:
                module, _, kind = part.rpartition(".")
                out[f"{base}{inner.get(module, module)}.{kind}"] = value
        else:
            out[key] = value
    return out


_WIDE_HEADS = {1280: 16}
"""Widths whose heads are not 64 numbers wide: ViT-H-14 of open_clip has 16 heads of 80."""


def _heads(width: int, wide: bool) -> int:
    if width % 64 and width > 64:
        raise ModelRefused(
            f"an encoder {width} numbers wide belongs to no CLIP whose number of heads is known (multiples of 64); the "
            "weights do not say it: give a folder of the transformers library, whose config.json does"
        )
    return _WIDE_HEADS[width] if wide and width in _WIDE_HEADS else max(1, width // 64)


def _side(width: int, layers: int, wide: bool = False) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": _heads(width, wide),
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    }


def _layers(state: dict[str, Tensor], prefix: str) -> int:
    return len({k[len(prefix) :].split(".")[0] for k in state if k.startswith(prefix)})


def find_clip(name: str | Path, allow_download: bool = False) -> Path:
    """The folder of a CLIP: a local one, or a hub name in the local cache or, if allowed, from the network."""
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelMissing(f"{folder} holds no config.json; give a folder with a CLIP in the transformers format")
        return folder
    if folder.is_file():
        raise ModelMissing(f"{name} is a file; turn it into a run folder first: descry convert {name} --out RUN")
    if folder.is_absolute() or folder.suffix or str(name).count("/") != 1:
        raise ModelMissing(
            f"there is no folder {name}; give a folder, or a hub name such as openai/clip-vit-base-patch16"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        patterns = ["*.json", "*.safetensors", "*.txt"]
        return Path(snapshot_download(str(name), local_files_only=not allow_download, allow_patterns=patterns))
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        advice = (
            "it could not be fetched: check its name and the network; without a network, descry model get "
            f"{name} --offline says which files to bring"
            if allow_download
            else f"fetch it once with descry model get {name}, or add --allow-download (allow_download=True in Python)"
        )
        raise ModelMissing(
            f"{name} is neither a folder nor in the local cache of the hub; {advice} ({type(error).__name__})"
        ) from None


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = weight_files(folder)
    if not files:
        pickled = sorted(p.name for p in folder.glob("*.bin")) or sorted(p.name for p in folder.glob("*.pt"))
        advice = f"; {pickled[0]} is a pickle and is not opened here: run descry convert on it" if pickled else ""
        beside = sorted(p.name for p in folder.glob("*.safetensors"))
        advice = f"; {', '.join(beside)} is neither that nor named by an index" if beside else advice
        raise ModelMissing(f"{folder} holds no model.safetensors{advice}")
    state: dict[str, Tensor] = {}
    for file in files:
        try:
            state |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise ModelRefused(f"{file} cannot be read as safetensors: {error}") from None
    return state


def weight_files(folder: Path) -> list[Path]:
    """The files of weights that a folder itself names: model.safetensors, or those of its index; none where it has
    neither. Raises ModelMissing for a file that the index names and the folder lacks, ModelRefused for a bad index.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not index.is_file():
        return []
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        if not names or not all(isinstance(n, str) and Path(n).name == n for n in names):
            raise ValueError("it names no files beside it")
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise ModelRefused(f"{index} is not an index of weights: {error}") from None
    if lacking := [name for name in names if not (folder / name).is_file()]:
        raise ModelMissing(f"{folder} lacks {', '.join(lacking)}, which its index names; fetch the model again")
    return [folder / name for name in names]


PREPROCESSING = ("processor_config.json", "preprocessor_config.json")
"""Where the transformers library writes how pixels are made ready: since version 5, and before."""


_SAYS = (
    *("image_mean", "image_std", "do_normalize", "do_rescale", "rescale_factor"),
    *("resample", "do_flip_channel_order", "offset"),
)
_BICUBIC = 3
"""Pillow's number."""


def preparations(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The files of a folder that say how pixels are made ready, with what each says; the first is taken. A processor's
    file may be of the vocabulary alone, with the pixels in the other. Raises ModelRefused for a damaged one.
    """
    found = []
    for file in (folder / name for name in PREPROCESSING if (folder / name).is_file()):
        try:
            held = read_json(file)
            data = held.get("image_processor", held)
            if data.keys() & set(_SAYS):
                found.append((file, {key: data[key] for key in _SAYS if data.get(key) is not None}))
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise ModelRefused(f"{file} does not say how pixels are made ready: {error}") from None
    return found


UNSAID = "nothing says how pixels are normalised; CLIP's mean and deviation were taken (see descry convert --pixels)"


def unsaid(folder: Path) -> tuple[str, ...]:
    """What the files of a folder do not say of how pixels are normalised, a sentence each."""
    found, said = preparations(folder), []
    if len({str(data) for _, data in found}) > 1:
        names = " and ".join(file.name for file, _ in found)
        said.append(f"{names} differ in how pixels are normalised; the first was taken (see descry convert --pixels)")
    if not any(data.get("do_normalize") is False or "image_mean" in data for _, data in found):
        said.append(UNSAID)
    return tuple(said)


def resampled(folder: Path) -> tuple[str, ...]:
    """A sentence where the files of a folder resize pictures otherwise than by bicubic interpolation."""
    way = next((data.get("resample", _BICUBIC) for _, data in preparations(folder)), _BICUBIC)
    return not_bicubic(f"resample = {str(way)[:20]}") if way != _BICUBIC else ()


def not_bicubic(way: str) -> tuple[str, ...]:
    """The sentence on an interpolation that is not the one of descry."""
    return (f"the model's own pictures are resized by {way}; here bicubic interpolation is taken",)


def _pixel_statistics(folder: Path, usual: tuple[float, float, float] | None = None) -> tuple[Any, Any]:
    """Mean and deviation of the pixels in [0, 1], per channel, as the folder's own files say; else usual, or CLIP's.

    Raises ModelRefused for what is damaged, and for a preparation that differs from (value / 255 − mean) / deviation.
    """
    file, data = next(iter(preparations(folder)), (folder, {}))
    for name in ("do_normalize", "do_rescale", "do_flip_channel_order", "offset"):
        if type(data.get(name, False)) is not bool:
            raise ModelRefused(f"{file} says {name} = {str(data[name])[:40]!r}; it must be true or false")
    for name in ("do_flip_channel_order", "offset"):
        if data.get(name):
            raise ModelRefused(f"{file} says {name} = true; pixels that are made ready so are not read here")
    normal = data.get("do_normalize", True)
    lacking = {"image_mean", "image_std"} - data.keys()
    if normal and len(lacking) == 1:
        raise ModelRefused(f"{file} lacks {min(lacking)}; a mean and a deviation are needed")
    try:
        mean, std = (
            tuple(_number(x) for x in data.get(key, default))
            for key, default in (("image_mean", usual or CLIP_MEAN), ("image_std", usual or CLIP_STD))
        )
        factor = _number(data.get("rescale_factor", 1 / 255)) if data.get("do_rescale", True) else 1.0
    except (ValueError, TypeError) as error:
        raise ModelRefused(f"{file} does not say how pixels are made ready: {error}") from None
    if factor <= 0:
        raise ModelRefused(f"{file} gives rescale_factor {factor}; it must be above 0")
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ModelRefused(
            f"{file} gives mean {mean} and deviation {std}; three numbers each are needed, above 0 the latter"
        )
    if not normal:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    scale = 255 * factor  # of our pixels in [0, 1] to what the model was given before its mean was taken away
    return tuple(m / scale for m in mean), tuple(s / scale for s in std)


def _number(value: Any) -> float:
    """A finite number of JSON. ValueError for all else, also true and a number that is written as text."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} is no number")
    return float(value)
