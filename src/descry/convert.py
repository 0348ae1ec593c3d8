"""Published checkpoints → run folders: what others have trained can be used here.

Read are safetensors files, folders of the transformers library, and PyTorch archives (state dicts and TorchScript),
whose pickles a caged process reads without executing anything (`descry.pickles`). Known layouts:

  OpenAI's CLIP, open_clip       visual.…, transformer.…, token_embedding…   (open_clip also text.…)
  IRRA, VFE-TPS                  base_model.… with heads beside it, which inference does not need
  RDE                            base_model.… with its token selections visul_emb_layer.…, texual_emb_layer.…
  TBPS-CLIP, InteractReID        visual.…, encode_text.…; InteractReID's stage 2 under tbps_clip.… beside mapping.…
  the transformers library       vision_model.…, text_model.…

The architecture is read off the shapes, the number of heads off the width; the position grid is kept as it was trained.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import pickles
from .checkpoint import load_any, read_config, read_tensors, save_model
from .clip import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, Clip, check_fit, respecified
from .clip_files import (
    PREPROCESSING,
    UNSAID,
    find_clip,
    fitted,
    from_openai,
    load_clip,
    not_bicubic,
    resampled,
    unsaid,
    weight_files,
)
from .errors import ModelMissing, ModelRefused, UsageError, nearest
from .images import SUFFIXES, VIDEO_SUFFIXES
from .library import fetched, folder_of
from .methods import method_class, preset
from .methods.rde import rename_released
from .safe_files import CONFIG_BYTES, JSON_BYTES, child_environment, read_json, read_regular
from .text import Words

VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"

NOT_WEIGHTS = (".md", ".txt", ".json", ".jsonl", ".csv", ".py", ".html", ".pdf")
ACTIVATIONS = ("quick_gelu", "gelu")
PIXELS = {
    "clip": (CLIP_MEAN, CLIP_STD), "imagenet": (IMAGENET_MEAN, IMAGENET_STD), "inception": ((0.5,) * 3, (0.5,) * 3),
}  # fmt: skip
"""Mean and deviation of the pixels by their usual names; inception is that of some models of open_clip."""
OPEN_CLIP = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
SETTINGS = ("input_resolution", "context_length", "vocab_size", "logit_bias")
HEADS = (
    *("classifier.", "mlm_head.", "cross_attn.", "cross_modal_transformer."),
    *("ln_pre_t.", "ln_pre_i.", "ln_post.", "simclr_mlp."),
)
"""Beginnings of the names of what TBPS-CLIP and InteractReID train with and search without."""


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        out: the run folder.
        layout: as it was recognised.
        method: that reads it.
        fingerprint: of the weights.
        left_out: names of weights that inference does not need.
        assumed: what neither the checkpoint nor a file beside it says, and how it was taken, a sentence each.
    """

    out: Path
    layout: str
    method: str
    fingerprint: str
    left_out: tuple[str, ...]
    assumed: tuple[str, ...] = ()


def convert(
    source: str | Path,
    out: str | Path,
    tokenizer: str | Path | None = None,
    image_size: tuple[int, int] | None = None,
    activation: str = "",
    pixels: str = "",
    half: bool = False,
) -> Converted:
    """Write a run folder from a published checkpoint.

    tokenizer: OpenAI's bpe_simple_vocab_16e6.txt.gz or a folder with a vocabulary; a transformers folder brings its
    own.
    image_size: (H, W); needed where the position grid is not square. activation: "quick_gelu" (OpenAI's) or "gelu"
    (most of open_clip's). pixels: "clip", "imagenet" or "inception" statistics, or six numbers "R,G,B,R,G,B", mean and
    deviation. What is left out is taken from config.json, the processor's file or open_clip_config.json beside the
    weights, then from the layout; what is then still open is said in `Converted.assumed`. half: store 16-bit weights.
    Raises ModelMissing, ModelRefused, UsageError.
    """
    source, out = Path(source), Path(out)
    if (out / "config.json").exists():
        raise UsageError(f"{out} already holds a run; choose another --out")
    if activation and activation not in ACTIVATIONS:
        raise UsageError(f"activation={activation!r} was given; {nearest(activation, ACTIVATIONS)}")
    statistics = _statistics(pixels) if pixels else None
    words = _words(source, tokenizer)
    source = _weights_of(source)
    said: list[str] = []
    if source.is_dir():
        clip, layout, mapping, left = _folder(source, image_size, said)
    else:
        clip, layout, mapping, left = from_state(read_state(source, said), image_size, source.name)
    beside = _OpenClip.beside(source) if source.is_file() else None
    if beside:
        beside.check(clip)
    activation = activation or (beside.activation if beside else "")
    if activation:
        clip = _activated(clip, activation)
    statistics = statistics or (beside.statistics if beside else None)
    if not statistics and layout in ("TBPS-CLIP", "InteractReID"):
        statistics = PIXELS["imagenet"]
    if statistics:
        clip = respecified(clip, mean=statistics[0], std=statistics[1])
    assumed = (*said, *(beside.resized if beside else ()), *_assumed(source, layout, activation, statistics))
    clip, words = fitted(clip, words, str(source))
    method, name = _method(clip, words, mapping, str(source))
    about = {
        "weights": f"{layout} checkpoint {source.name}, converted, no training here",
        "pretrained": True,
        "layout": layout,
        "sha256": digest_of_files(source),
        "left_out": sorted({k.split(".")[0] for k in left}),
    }
    fingerprint = save_model(out, method, name, "released" if mapping else "recommended", about, half)
    return Converted(out, layout, name, fingerprint, tuple(sorted(left)), assumed)


def _weights_of(source: Path) -> Path:
    """The file of weights in a folder of open_clip, else the source itself."""
    if source.is_dir() and not (source / "config.json").is_file():
        return next((source / name for name in OPEN_CLIP_WEIGHTS if (source / name).is_file()), source)
    return source


def _statistics(text: str) -> tuple[Any, Any]:
    """Mean and deviation of the pixels by name, or of six numbers."""
    if text in PIXELS:
        return PIXELS[text]
    try:
        numbers = tuple(float(x) for x in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 6 or not np.isfinite(numbers).all() or min(numbers[3:]) <= 0:
        raise UsageError(
            f"pixels={text!r} was given; {nearest(text, list(PIXELS))}, or six numbers R,G,B,R,G,B: the mean, then the "
            "deviation, which is above 0"
        )
    return numbers[:3], numbers[3:]


def _assumed(source: Path, layout: str, activation: str, statistics: Any) -> tuple[str, ...]:
    """What nothing says of a checkpoint, and how it was taken."""
    said = []
    if layout in ("OpenAI", "open_clip") and not activation:
        said.append(
            "the weights do not say their activation; OpenAI's quick_gelu was taken. Most models of open_clip were "
            f"trained with gelu: put their {OPEN_CLIP} beside the weights, or add --activation gelu. Nor do they say "
            "their heads: 64 numbers each were taken, as in all published CLIPs but ViT-H-14, whose 80 are known"
        )
    if not statistics and source.is_dir():
        said += unsaid(source)
    elif not statistics and layout in ("OpenAI", "open_clip"):
        said.append(UNSAID)
    said += resampled(source) if source.is_dir() else ()
    return tuple(said)


_LINEAR: dict[str, tuple[Any, ...]] = {"act_kwargs": ({},), "norm_kwargs": ({}, {"eps": 1e-5})}
OPEN_CLIP_READ: dict[str, dict[str, tuple[Any, ...]]] = {
    "vision_cfg": _LINEAR | {"pool_type": ("tok",)},
    "text_cfg": _LINEAR
    | {"pool_type": ("argmax",), "no_causal_mask": (False,), "tokenizer_kwargs": ({}, {"clean": "lower"})},
}
"""What changes an answer of open_clip's models and no shape of a weight, with the values that are read here."""


@dataclass(frozen=True)
class _OpenClip:
    """What open_clip_config.json says.

    statistics: mean and deviation of the pixels; None where it says nothing. heads: of the image and the text encoder;
    None where it says nothing. resized: a sentence where pictures are resized in another way than here.
    """

    path: Path
    activation: str
    statistics: tuple[Any, Any] | None
    heads: tuple[int | None, int | None]
    resized: tuple[str, ...] = ()

    @classmethod
    def beside(cls, weights: Path) -> _OpenClip | None:
        """The configuration beside a file of weights; None where there is none. ModelRefused for a damaged one, and
        for one of a model that computes otherwise than CLIP.
        """
        path = weights.with_name(OPEN_CLIP)
        if not path.is_file():
            return None
        try:
            data = read_json(path, CONFIG_BYTES)
            model, prepared = data["model_cfg"], data.get("preprocess_cfg") or {}
            statistics = None
            if "mean" in prepared or "std" in prepared:
                statistics = _statistics(",".join(str(float(x)) for x in (*prepared["mean"], *prepared["std"])))
            vision, text = model["vision_cfg"], model.get("text_cfg") or {}
            width = vision.get("head_width")
            heads = int(vision["width"]) // int(width) if width is not None else None
            for side, read in OPEN_CLIP_READ.items():
                for name, values in read.items():
                    given = (vision if side == "vision_cfg" else text).get(name)
                    if given is not None and given not in values:
                        raise ModelRefused(
                            f"{path} says {side}.{name} = {str(given)[:60]}; read here is {values[-1]!r}"
                        )
            way = prepared.get("interpolation", "bicubic")
            resized = () if way == "bicubic" else not_bicubic(f"{str(way)[:20]} interpolation")
            activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
            return cls(path, activation, statistics, (heads, text.get("heads")), resized)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError, UsageError) as error:
            raise ModelRefused(f"{path} is not a configuration of open_clip: {error!r:.200}") from None

    def check(self, clip: Clip) -> None:
        """Raise ModelRefused where a number of heads is not the one that was read off the width."""
        for side, heads in zip(("vision_config", "text_config"), self.heads, strict=True):
            taken = clip.spec.config[side]["num_attention_heads"]
            if heads is not None and heads != taken:
                what = f"{heads} heads of the {side.removesuffix('_config')} encoder"
                raise ModelRefused(f"{self.path} gives {what}, and {taken} were read off the width")


# ---------------------------------------------------------------------- reading


def read_state(path: str | Path, said: list[str] | None = None) -> dict[str, Tensor]:
    """The weights of a file by name, of its largest group of tensors that holds a CLIP. No pickle is executed.

    Names of enclosing dicts ("model", "state_dict") are dropped; those of modules stay, joined by dots. said: takes a
    sentence where the file holds several models, such as one and its moving average: the first of the largest is read.
    Raises ModelMissing, ModelRefused with one line that says why.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelMissing(f"there is no file {path}; give a checkpoint (.pt, .pth, .bin, .safetensors) or a folder")
    if path.suffix == ".safetensors":
        return read_tensors(path)
    with open(path, "rb") as file:
        begins = file.read(4)
    if begins != b"PK\x03\x04":
        kind = "a bare pickle or an archive of PyTorch before 1.6" if begins[:1] == b"\x80" else "no PyTorch archive"
        raise ModelRefused(f"{path} is refused: it is {kind}; only zip archives of torch.save and safetensors are read")
    rows = _index(path)
    groups: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        for depth in range(min(len(row["path"]), 4)):
            groups.setdefault(tuple(row["path"][:depth]), {})[".".join(row["path"][depth:])] = row
    fitting = {group: found for group, found in groups.items() if _layout({_bare(k) for k in found})}
    if not fitting:
        raise ModelRefused(
            f"{path} is refused: none of its {len(rows)} tensors has the name of a CLIP's patch convolution, such as "
            f"visual.conv1.weight; it holds {_some_names(rows)}"
        )
    whole = max(fitting, key=len)  # the deepest dict: what encloses it holds the same tensors
    beside = [group for group in fitting if len(group) == len(whole)]
    largest = max(len(fitting[group]) for group in beside)
    whole = next(group for group in beside if len(fitting[group]) == largest)
    if said is not None and beside[1:]:
        others = ", ".join(repr(".".join(map(str, group))) for group in beside if group != whole)
        said.append(f"{path.name} holds {len(beside)} models; {'.'.join(map(str, whole))!r} was taken, not {others}")
    chosen = fitting[whole]
    with open(path, "rb") as file:
        return {name: _tensor(file, row) for name, row in chosen.items()}


def _some_names(rows: list[dict[str, Any]]) -> str:
    names = [".".join(map(str, row["path"])) for row in rows]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "no tensor"


def _index(path: Path) -> list[dict[str, Any]]:
    """Which tensors the archive holds, as the caged process says; ModelRefused with its reason."""
    command = [sys.executable, "-I", "-S", str(Path(pickles.__file__).resolve()), str(path.resolve())]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=pickles.SECONDS + 30, check=False, stdin=subprocess.DEVNULL,
            env=child_environment(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ModelRefused(f"{path} is refused: reading its table of contents takes too long") from None
    try:
        reply = json.loads(done.stdout)
    except ValueError:
        raise ModelRefused(
            f"{path} is refused: reading it ended the process that read it (status {done.returncode})"
        ) from None
    if "refused" in reply:
        raise ModelRefused(f"{path} is refused: {' '.join(str(reply['refused']).split())}")
    return list(reply["tensors"])


def _tensor(file: Any, row: dict[str, Any]) -> Tensor:
    """One tensor of the file; its bounds were checked against its storage, and the storage's against the file."""
    dtype = getattr(torch, row["dtype"])
    size = torch.empty(0, dtype=dtype).element_size()
    shape, stride = tuple(row["shape"]), tuple(row["stride"])
    if 0 in shape:
        return torch.empty(shape, dtype=dtype)
    count = 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    file.seek(row["begin"] + row["offset"] * size)
    raw = file.read(count * size)
    if len(raw) != count * size:
        raise ModelRefused(f"the file ends before its tensor {'.'.join(row['path'])}; fetch it again")
    flat = torch.from_numpy(np.frombuffer(raw, np.uint8).copy()).view(dtype)
    return flat.as_strided(shape, stride).contiguous()


def digest_of_files(source: Path) -> str:
    """SHA-256 (hex) over the files of weights of a checkpoint or folder."""
    files = [source] if source.is_file() else weight_files(source) or [source / "pytorch_model.bin"]
    total = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


# ---------------------------------------------------------------------- layouts


def _bare(name: str) -> str:
    """A name without what wrappers put before it (data parallel, InteractReID's stage 2)."""
    rest = ""
    while rest != name:
        rest = name
        for prefix in ("module.", "tbps_clip.", "_orig_mod.", "model.", "clip.", "clip_model."):
            name = name.removeprefix(prefix)
    return name


def _layout(names: set[str]) -> str:
    """Which of the known layouts these names have; "" for none."""
    if "base_model.visual.conv1.weight" in names:
        return "RDE" if any(n.startswith("visul_emb_layer.") for n in names) else "IRRA"
    if "vision_model.embeddings.patch_embedding.weight" in names:
        return "transformers"
    if "visual.conv1.weight" not in names:
        return ""
    if any(n.startswith("mapping.") for n in names):
        return "InteractReID"
    if "encode_text.token_embedding.weight" in names:
        return "TBPS-CLIP"
    return "open_clip" if "text.token_embedding.weight" in names else "OpenAI"


def from_state(
    state: dict[str, Tensor], image_size: tuple[int, int] | None, source: str
) -> tuple[Clip, str, dict[str, Tensor], list[str]]:
    """A Clip from weights of a known layout, the layout, the weights beside it that inference needs (of a mapping or of
    token selections; or none), and the names left out.
    """
    bare: dict[str, str] = {}
    for name in state:
        if bare.setdefault(_bare(name), name) != name:
            raise ModelRefused(
                f"{source} holds two models: {bare[_bare(name)]} and {name} are the same weight; keep one of them"
            )
    state = {short: state[name] for short, name in bare.items()}
    layout = _layout(set(state))
    if not layout:
        raise ModelRefused(
            f"{source} is of no known layout: it has no visual.conv1.weight or vision_model.embeddings.…, but "
            f"{', '.join(list(state)[:3])}{' …' if len(state) > 3 else ''}"
        )
    if layout == "transformers":
        raise ModelRefused(
            f"{source} has the transformers library's names; give the folder, whose config.json says its shape"
        )
    mapping = {k.removeprefix("mapping."): v for k, v in state.items() if k.startswith("mapping.")}
    openai: dict[str, Tensor] = {}
    left: list[str] = []
    if layout == "RDE":
        mapping, left = rename_released(state)
        state = {k: v for k, v in state.items() if not k.startswith(("visul_emb_layer.", "texual_emb_layer."))}
    for key, value in state.items():
        name = _openai_name(key, layout)
        if name:
            openai[name] = value
        elif not key.startswith("mapping.") and key not in SETTINGS:
            left.append(key)
    openai.setdefault("logit_scale", torch.tensor(np.log(100.0), dtype=torch.float32))
    grid = len(openai["visual.positional_embedding"]) - 1 if "visual.positional_embedding" in openai else 0
    if image_size is None and int(grid**0.5) ** 2 != grid:
        patch = openai["visual.conv1.weight"].shape[-1]
        raise UsageError(
            f"{source} was made for {grid} patches of {patch}×{patch} pixels, which are no square; say the size it was "
            f"trained at with --image-size, for people often {_likely(grid, patch)}"
        )
    try:
        return from_openai(openai, image_size, source), layout, mapping, left
    except (IndexError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise ModelRefused(
            f"{source} has weights whose shapes are those of no CLIP: {' '.join(str(error).split())}"
        ) from None


def _openai_name(key: str, layout: str) -> str:
    """OpenAI's name of a weight, or "" for one that inference does not need."""
    if layout in ("IRRA", "RDE"):
        return "" if not key.startswith("base_model.") else _openai_name(key.removeprefix("base_model."), "OpenAI")
    if key.startswith("mapping.") or key.endswith("attn_mask") or (layout != "OpenAI" and key.startswith(HEADS)):
        return ""
    for prefix in ("encode_text.", "text."):
        if layout in ("TBPS-CLIP", "InteractReID", "open_clip"):
            key = key.removeprefix(prefix)
    return "" if key in SETTINGS else key


def _likely(grid: int, patch: int) -> str:
    """The height and width of a grid three times as high as wide, else of its tallest divisors."""
    wide = next((w for w in range(int(grid**0.5), 0, -1) if grid % w == 0 and grid // w >= 2 * w), 1)
    return f"{grid // wide * patch} {wide * patch}"


def _folder(
    source: Path, image_size: tuple[int, int] | None, said: list[str]
) -> tuple[Clip, str, dict[str, Tensor], list[str]]:
    """A CLIP of the transformers library; its pickled weights are read like any other when it has no safetensors."""
    if weight_files(source) or not (source / "pytorch_model.bin").is_file():
        return load_clip(source, image_size), "transformers", {}, []
    import tempfile

    from safetensors.torch import save_file

    state = read_state(source / "pytorch_model.bin", said)
    with tempfile.TemporaryDirectory() as place:
        for name in ("config.json", *PREPROCESSING):
            if (source / name).is_file():
                (Path(place) / name).write_bytes(read_regular(source / name, JSON_BYTES))
        save_file({k: v.clone() for k, v in state.items()}, Path(place) / "model.safetensors")
        return load_clip(place, image_size), "transformers", {}, []


def _words(source: Path, tokenizer: str | Path | None) -> Words:
    if not source.exists():
        raise ModelMissing(f"there is no file or folder {source}; give the path of a checkpoint, or of a CLIP folder")
    if source.is_file() and source.suffix.lower() in (*SUFFIXES, *VIDEO_SUFFIXES, *NOT_WEIGHTS):
        raise UsageError(f"{source.name} is not a checkpoint; give a .pt, .pth, .bin or .safetensors file, or a folder")
    if (source / "config.json").is_file() and "method" in read_config(source):
        raise UsageError(f"{source} is a run folder already; use it as it is: descry model info {source}")
    if tokenizer is not None:
        return Words.load(tokenizer)
    if source.is_dir():
        return Words.load(source)
    raise UsageError(
        f"{source.name} holds no vocabulary; give it with --tokenizer: "
        "bpe_simple_vocab_16e6.txt.gz of OpenAI's CLIP, or a folder"
    )


def _activated(clip: Clip, activation: str) -> Clip:
    config = dict(clip.spec.config)
    for side in ("vision_config", "text_config"):
        config[side] = config[side] | {"hidden_act": activation}
    return respecified(clip, config=config)


def _method(clip: Clip, words: Words, mapping: dict[str, Tensor], source: str) -> tuple[Any, str]:
    """Zero-shot CLIP, InteractReID after its second stage where there is a mapping, RDE where there are selections."""
    if not mapping:
        config = replace(preset("zero_shot", "recommended"), image_size=clip.image_size)
        return method_class("zero_shot")(clip, words, config, 0).eval(), "zero_shot"
    if "image_selection.map.weight" in mapping:
        width = len(mapping["image_selection.map.weight"])
        config = replace(preset("rde", "released"), image_size=clip.image_size, width=width)
        method = method_class("rde")(clip, words, config, 0)
        mapping = {k: v.float() if v.is_floating_point() else v for k, v in mapping.items()}
        rest = {k: v for k, v in method.state_dict().items() if k.startswith("clip.")}
        check_fit(method, mapping | rest, f"the token selections of {source}")
        method.load_state_dict(mapping | rest)
        return method.eval(), "rde"
    if set(mapping) == {"weight", "bias"}:
        mapping = {f"fc_out.{k}": v for k, v in mapping.items()}
    layers = len([k for k in mapping if k.startswith("layers.") and k.endswith(".weight")])
    first = mapping.get("layers.0.0.weight")
    config = replace(
        preset("interactreid", "released"),
        stage=2,
        image_size=clip.image_size,
        mapping_layers=layers,
        mapping_hidden=768 if first is None or first.ndim != 2 else len(first),
    )
    method = method_class("interactreid")(clip, words, config, 0)
    mapping = {k: v.float() for k, v in mapping.items()}
    check_fit(method.mapping, mapping, f"the mapping of {source}")
    method.mapping.load_state_dict(mapping)
    return method.eval(), "interactreid"


@dataclass(frozen=True)
class Fetched:
    """What `get_model` did.

    Attributes:
        name: as it was asked for.
        folder: the run folder.
        layout: of the checkpoint it was made from.
        megabytes: of the weights.
        new: False where it was there already.
        assumed: see `Converted`.
    """

    name: str
    folder: Path
    layout: str
    megabytes: float
    new: bool = True
    assumed: tuple[str, ...] = ()


def get_model(source: str, name: str = "", image_size: tuple[int, int] | None = None, offline: bool = False) -> Fetched:
    """Fetch a pretrained CLIP, convert it to a run folder, check that it loads, and remember it.

    source: a hub name such as "openai/clip-vit-base-patch16", a folder in the transformers format, or a checkpoint file
    with OpenAI's vocabulary beside it. name: to remember it by; the source's own unless given. image_size: (H, W); that
    of the checkpoint unless given. offline: take a hub name from the local cache only. Raises ModelMissing with what to
    bring where, ModelRefused.
    """
    path = Path(source).expanduser()
    local = path.exists()
    name = name or (path.resolve().name if local else source)
    out = folder_of(name)
    if not fetched(name):
        if not local and (path.is_absolute() or source.startswith((".", "~"))):
            raise ModelMissing(f"there is no file or folder {source}; check the path")
        try:
            folder = path if local else find_clip(source, allow_download=not offline)
        except ModelMissing as error:
            raise ModelMissing(f"{error}. {_bring(source)}") from None
        partial = out.with_name(f"{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            vocabulary = folder.with_name(VOCABULARY) if folder.is_file() else None
            if vocabulary is not None and not vocabulary.is_file():
                raise ModelMissing(f"{vocabulary} does not exist; put OpenAI's vocabulary beside the checkpoint")
            assumed = convert(folder, partial, vocabulary, image_size).assumed
            load_any(partial)
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        new = True
    else:
        if image_size and read_config(out)["clip"].get("image_size") != list(image_size):
            raise UsageError(f"{name} is there already with another image size, in {out}; give another --name")
        if local or name != source:
            weights = _weights_of(path if local else find_clip(source, allow_download=not offline))
            if read_config(out).get("about", {}).get("sha256") != digest_of_files(weights):
                raise UsageError(
                    f"{name} is there already with other weights than {source} has, in {out}; give another --name, or "
                    "remove that folder to replace it"
                )
        new, assumed = False, ()
    try:
        layout = str(read_config(out)["about"].get("layout", ""))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ModelRefused(f"{out} is damaged ({error}); remove it and get the model again") from None
    return Fetched(name, out, layout, round((out / "model.safetensors").stat().st_size / 1e6, 1), new, assumed)


def _bring(source: str) -> str:
    return (
        "Without a network, bring config.json and model.safetensors of its page, with vocab.json and merges.txt and "
        "preprocessor_config.json, in one folder; "
        f"or OpenAI's ViT-B-16.pt and {VOCABULARY} in one folder. Then: descry model get FOLDER_OR_FILE --name {source}"
    )
