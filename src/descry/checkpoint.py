"""A run folder: plain files, versioned, loaded strictly, refused with a reason when they do not fit.

config.json           method, preset, config, CLIP's shape, fingerprint, where it comes from
model.safetensors     what inference needs, at the selected epoch
training.safetensors  what resuming needs: all weights, optimiser, what a method remembers, position; one file, so that
                      it is always of one step
tokenizer.json, words.json   the vocabulary
log.jsonl, metrics.json      what happened, what was measured
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from . import __version__
from .adapters import merged_state
from .clip import ClipSpec, check_fit, empty, hollow
from .clip_files import load_clip
from .errors import ModelMissing, ModelRefused
from .library import DEMO, fetched
from .methods import Method, method_class, preset, presets
from .safe_files import json_of, read_json, refuse_links, write_whole
from .text import Words

FORMAT = 1
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def save_model(folder: Path, method: Method, name: str, which: str, about: dict[str, Any], half: bool = False) -> str:
    """Write config.json, model.safetensors and the vocabulary; the fingerprint (hex) of the model is returned.

    name, which: method and preset. about: provenance, plain values. half: store weights as fp16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        k: v.detach().cpu().contiguous() for k, v in merged_state(method).items() if k.startswith(method.inference_keys)
    }
    raw = save({k: v.half() if half and v.is_floating_point() else v for k, v in state.items()})
    config = {
        "format": FORMAT,
        "descry": __version__,
        "method": name,
        "preset": which,
        "config": dataclasses.asdict(method.config),
        "clip": method.clip.spec.to_json(),
        "about": about,
    }
    config["fingerprint"] = fingerprint(config, raw)
    method.words.save(folder)
    write_atomically(folder / "model.safetensors", raw)
    write_atomically(folder / "config.json", (json.dumps(config, indent=1) + "\n").encode())
    return str(config["fingerprint"])


def fingerprint(config: dict[str, Any], weights: bytes) -> str:
    """SHA-256 over the weights and everything of the configuration that changes a vector."""
    bound = json.dumps([config["method"], config["config"], config["clip"]], sort_keys=True)
    return hashlib.sha256(weights + bound.encode()).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Either the old file or the whole new one is there, also after a power cut."""
    write_whole(path, data)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a run folder; ModelMissing or ModelRefused when it is none."""
    path = folder / "config.json"
    refuse_links(folder, ("config.json*", "model.safetensors*", "words.json*", "tokenizer.json*"), "run folder")
    if not path.is_file():
        raise ModelMissing(
            f"{folder} is no run folder: it holds no config.json; make one with descry train or descry convert"
        )
    try:
        config: dict[str, Any] = read_json(path)
    except ValueError as error:
        raise ModelRefused(f"{path} is damaged: {error}") from None
    if "format" in config and config["format"] != FORMAT:
        raise ModelRefused(f"{path} has format {config['format']}; this version of descry reads format {FORMAT}")
    return config


def load_method(folder: Path, identities: int = 0, verify: bool = True) -> tuple[Method, dict[str, Any]]:
    """The method of a run folder with its inference weights, in eval mode on the CPU, and its config.json.

    verify: check the weights against the fingerprint. Raises ModelMissing, ModelRefused (missing, extra, misshapen or
    not finite weights are named).
    """
    config = read_config(folder)
    file = folder / "model.safetensors"
    if not file.is_file():
        raise ModelMissing(f"{folder} holds no model.safetensors; was the training ended before its first checkpoint?")
    raw = file.read_bytes()
    if verify and fingerprint(config, raw) != config.get("fingerprint"):
        raise ModelRefused(
            f"{file} is not the file that {folder / 'config.json'} was written with; fetch or train it again"
        )
    method = empty_method(folder, config, identities, bool(identities))
    if any(not k.startswith(method.inference_keys) for k in method.state_dict()):  # it has weights that are not saved
        method = empty_method(folder, config, identities)
    state = {k: v.float() if v.is_floating_point() else v for k, v in read_tensors(file).items()}
    keys = method.inference_keys
    rest = {k: v for k, v in method.state_dict().items() if not k.startswith(keys)}
    check_fit(method, state | rest, str(file))
    method.load_state_dict(state | rest, assign=True)
    return method.eval(), config


def empty_method(folder: Path, config: dict[str, Any], identities: int = 0, drawn: bool = True) -> Method:
    """The method of a run's config.json with fresh weights. drawn: also those of its Clip; else that has none yet."""
    cls = method_class(config["method"])
    made = config_from_json(type(presets(config["method"])["recommended"]), config["config"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = (empty if drawn else hollow)(ClipSpec.from_json(config["clip"]))
        value: Method = cls(clip, Words.load(folder), made, identities)
        return value


def config_from_json(cls: type, data: dict[str, Any]) -> Any:
    """A (nested) config dataclass from its plain values; ModelRefused for a field it does not know or lacks."""
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in data.items():
        if key not in hints:
            raise ModelRefused(
                f"the run's config has a field {key!r} unknown to this version; install the one that wrote it"
            )
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, dict):
            value = config_from_json(typing.cast(type, hints[key]), value)
        values[key] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**values)
    except TypeError as error:
        raise ModelRefused(f"the run's config does not fit this version: {error}") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file; ModelRefused when its bytes are damaged."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelRefused(f"{path} cannot be read as safetensors: {error}") from None


def save_training(path: Path, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
    """All that resuming needs, in one atomic file. position: plain values, kept in the header."""
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_atomically(path, save(plain, metadata={"descry": json.dumps({"format": FORMAT, "position": position})}))


def load_training(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_training` wrote; ModelMissing when there is nothing to resume from."""
    if not path.is_file():
        raise ModelMissing(f"there is nothing to resume: {path} does not exist; start without --resume")
    tensors = read_tensors(path)
    with safe_open(path, framework="pt") as file:
        header = json_of((file.metadata() or {}).get("descry", "{}"))
    if header.get("format") != FORMAT:
        raise ModelRefused(f"{path} was not written by this version of descry; start without --resume")
    return tensors, header["position"]


def load_any(
    name: str | Path, image_size: tuple[int, int] | None = None, allow_download: bool = False
) -> tuple[Method, dict[str, Any], Path]:
    """A method from "demo", a run folder, or any CLIP in the transformers format (as zero_shot); its config and
    folder.
    """
    folder = DEMO if str(name) == "demo" else Path(name)
    if not folder.exists():
        folder = fetched(str(name)) or folder
    if folder.is_dir() and (folder / "config.json").is_file() and "method" in read_config(folder):
        method, config = load_method(folder)
        return method, config, folder
    if (folder / "training.safetensors").is_file():
        raise ModelMissing(
            f"the training in {folder} has not finished an epoch, so it holds no model yet; go on with the same "
            "command and --resume"
        )
    if str(name) == "demo":
        raise ModelMissing("the demo model is not part of this installation; name another with --model")
    clip = load_clip(name, image_size, allow_download)
    words = Words.load(folder) if folder.is_dir() else Words.load(_cached(name))
    words = words.of_length(clip.length)
    method = method_class("zero_shot")(clip, words, preset("zero_shot", "recommended"), 0).eval()
    raw = save({k: v.detach().cpu().contiguous() for k, v in method.state_dict().items()})
    config = {
        "method": "zero_shot",
        "preset": "recommended",
        "config": dataclasses.asdict(method.config),
        "clip": clip.spec.to_json(),
        "about": {"weights": f"CLIP {Path(name).name}, as it was given, no training here", "pretrained": True},
    }
    config["fingerprint"] = fingerprint(config, raw)
    return method, config, folder


def _cached(name: str | Path) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(name), local_files_only=True))
