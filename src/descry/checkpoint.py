"""A run folder: plain files, versioned, loaded strictly, refused with a reason when they do not fit.

config.json           method, preset, config, CLIP's shape, fingerprint, where it comes from
model.safetensors     what inference needs, at the selected epoch
training.safetensors  what resuming needs: all weights, optimiser, what a method remembers, position; one file, so that
                      it is always of one step
tokenizer.json, words.json   the vocabulary
sketches.safetensors  where sketches are read apart: what is added to the image encoder's weights for them
log.jsonl, metrics.json      what happened, what was measured
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import os
import typing
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from . import __version__
from .adapters import merged_state
from .clip import ClipSpec, check_fit, empty
from .clip_files import clip_and_words, resampled, unsaid
from .errors import ModelMissing, ModelRefused, UsageError
from .library import DEMO, fetched
from .methods import Method, method_class, preset, presets
from .ranking import note_of
from .safe_files import json_of, read_json, read_regular, refuse_links, write_whole
from .text import Words

FORMAT = 1
CONFIG_BYTES, VOCABULARY_BYTES = 4 << 20, 64 << 20
NOTE = 10_000
"""Characters of what a model says beside every result, at most."""
SKETCHES, SKETCHES_BYTES = "sketches.safetensors", 1 << 30
KINDS = {
    **dict.fromkeys(("method", "preset", "fingerprint", "vocabulary", "search_fingerprint"), str),
    **dict.fromkeys(("config", "clip", "about", "composition"), dict),
}
"""What stands in a run's config.json."""
POSITION = {"step": int, "epoch": int, "scores": list, "bound": dict}
"""What the position of a training holds."""
MAKERS = frozenset(("empty", "zeros", "ones", "randn", "rand", "full", "arange", "linspace", "eye", "tensor"))
SPARE, MODULES = 64 << 20, 50_000
"""Numbers beside those of the weights, and tensors, that a model may ask for while it is made."""
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def save_model(
    folder: Path,
    method: Method,
    name: str,
    which: str,
    about: dict[str, Any],
    half: bool = False,
    bound: bool = True,
    sketches: bytes = b"",
) -> str:
    """Write config.json, model.safetensors and the vocabulary; the fingerprint (hex) of the model is returned.

    name, which: method and preset. about: provenance, plain values. half: store weights as fp16.
    bound: whether the vocabulary belongs to the fingerprint, as in all but runs of version 0.1.
    sketches: sketches.safetensors of this model (`sketches_of`); if it has none, that of an earlier model is removed.
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
    method.words.save(folder)
    if bound:
        config["vocabulary"] = vocabulary_of(folder)
    config["fingerprint"] = fingerprint(config, raw)
    write_whole(folder / "model.safetensors", raw)
    if sketches:
        write_whole(folder / SKETCHES, sketches)
    else:
        (folder / SKETCHES).unlink(missing_ok=True)
    write_config(folder, config)
    return str(config["fingerprint"])


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json, with the `search_fingerprint` of what it says now."""
    config = config | {"search_fingerprint": search_fingerprint(config, folder)}
    write_whole(folder / "config.json", (json.dumps(config, indent=1) + "\n").encode())


def fingerprint(config: dict[str, Any], weights: bytes) -> str:
    """SHA-256 over the weights and everything of the configuration that changes a vector.

    The vocabulary belongs to it in runs that name its hash; those of version 0.1 do not.
    """
    parts = [config["method"], config["config"], config["clip"], *filter(None, [config.get("vocabulary")])]
    bound = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(weights + bound.encode()).hexdigest()


def search_fingerprint(config: dict[str, Any], folder: Path) -> str:
    """SHA-256 (hex) over everything that changes an answer: the model's fingerprint, its vocabulary, and how it ranks
    (composition, formula, answer curves, prompts), and what it reads sketches with, if that is apart."""
    parts = [config.get("fingerprint", ""), vocabulary_of(folder), config.get("composition") or {}]
    if sketches := sketches_of(folder):
        parts.append(hashlib.sha256(sketches).hexdigest())
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def sketches_of(folder: Path) -> bytes:
    """sketches.safetensors of a model; b"" where it reads sketches as it reads photographs."""
    file = folder / SKETCHES
    return read_regular(file, SKETCHES_BYTES) if file.is_file() else b""


def vocabulary_of(folder: Path) -> str:
    """SHA-256 (hex) over the files of a model's vocabulary."""
    made = hashlib.sha256()
    for name in ("tokenizer.json", "words.json", "vocab.json", "merges.txt"):
        there = (folder / name).is_file()
        data = read_regular(folder / name, VOCABULARY_BYTES) if there else b""
        if there or name in ("tokenizer.json", "words.json"):  # as it was before the others were known
            made.update(b"%d " % len(data) + data)
    return made.hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a run folder; ModelMissing or ModelRefused when it is none."""
    path = folder / "config.json"
    files = ("config.json*", "model.safetensors*", "words.json*", "tokenizer.json*", f"{SKETCHES}*")
    refuse_links(folder, files, "run folder")
    if not path.is_file():
        raise ModelMissing(
            f"{folder} is not a run folder: it holds no config.json; make one with descry train or descry convert"
        )
    try:
        config: dict[str, Any] = read_json(path, CONFIG_BYTES)
        if not isinstance(config, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{path} is damaged: {_line(error)}") from None
    wrong = next((k for k, kind in KINDS.items() if k in config and not isinstance(config[k], kind)), "")
    about = config.get("about")
    if isinstance(about, dict) and not (isinstance(about.get("note", ""), str) and len(about.get("note", "")) <= NOTE):
        wrong = "about"
    if wrong and "method" in config:
        raise ModelRefused(
            f"{path} says {wrong} = {str(config[wrong])[:40]!r}, which is not a possible value; fetch it again"
        )
    if "format" in config and config["format"] != FORMAT:
        raise ModelRefused(f"{path} has format {config['format']}; this version of descry reads format {FORMAT}")
    return config


def load_method(folder: Path, config: dict[str, Any] | None = None) -> tuple[Method, dict[str, Any]]:
    """The method of a run folder with its inference weights, in eval mode on the CPU, and its config.json.

    config: of `read_config`, if at hand. Raises ModelMissing, ModelRefused (missing, extra, misshapen or not finite
    weights are named).
    """
    config = read_config(folder) if config is None else config
    file = folder / "model.safetensors"
    if not file.is_file():
        raise ModelMissing(f"{folder} holds no model.safetensors; was the training ended before its first checkpoint?")
    if lacking := next((k for k in ("config", "clip") if k not in config), ""):
        raise ModelRefused(f"{folder / 'config.json'} has no entry {lacking!r}; fetch or train the model again")
    tensors = read_tensors(file)
    raw = file.read_bytes()
    if fingerprint(config, raw) != config.get("fingerprint"):
        raise ModelRefused(
            f"{file} is not the file that {folder / 'config.json'} was written with; fetch or train it again"
        )
    if config.get("vocabulary", "") not in ("", vocabulary_of(folder)):
        raise ModelRefused(
            f"the vocabulary in {folder} is not the one that {folder / 'config.json'} was written with; fetch or train "
            "it again"
        )
    if config.get("search_fingerprint", "") not in ("", search_fingerprint(config, folder)):
        raise ModelRefused(
            f"the vocabulary or {SKETCHES} in {folder}, or how {folder / 'config.json'} says that the model ranks, is "
            "not what was written; fetch or train it again (descry model compose and descry model measure change how "
            "it ranks)"
        )
    held = sum(v.numel() for v in tensors.values())
    with _Budget(4 * held + SPARE, f"the configuration of {folder} describes more weights than {file.name} holds"):
        method = empty_method(folder, config, drawn=False)
        if not all(k.startswith(method.inference_keys) for k in method.state_dict()):  # it has weights not saved
            method = empty_method(folder, config)
    state = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    keys = method.inference_keys
    rest = {k: v for k, v in method.state_dict().items() if not k.startswith(keys)}
    check_fit(method, state | rest, str(file))
    method.load_state_dict(state | rest, assign=True)
    return method.eval(), config


def write_sketches(folder: Path, method: Method, reader: Method, rank: int) -> None:
    """Make a model read sketches with the image encoder of another method, and photographs as before.

    Written is the difference of each weight, in 16 bits: of a matrix the nearest one of this rank, as two factors. The
    fingerprint, and with it every gallery, stays valid; the search fingerprint changes.

    Args:
        folder: of the model, packed or a run.
        method: the model's.
        reader: the same method, whose image encoder was trained further to read sketches.
        rank: of the difference of a matrix; one with a side no longer than that is kept whole.
    """
    parts, config = {}, read_config(folder)
    for (name, old), (_, new) in zip(method.clip.image_parameters(), reader.clip.image_parameters(), strict=True):
        change = (new - old).detach().cpu().float()
        if change.ndim == 2 and min(change.shape) > rank:
            left, sizes, right = torch.linalg.svd(change, full_matrices=False)
            root = sizes[:rank].sqrt()
            parts[f"{name}.left"] = (left[:, :rank] * root).half().contiguous()
            parts[f"{name}.right"] = (root[:, None] * right[:rank]).half().contiguous()
        else:
            parts[name] = change.half().contiguous()
    write_whole(folder / SKETCHES, save(parts))
    write_config(folder, config)


def sketch_reader(method: Method, folder: Path) -> Method:
    """What embeds sketches: the method itself, or, where the folder holds sketches.safetensors, a copy of it with that
    added to its image encoder and all other weights shared. Raises ModelRefused for a file that does not fit the model.
    """
    file = folder / SKETCHES
    if not file.is_file():
        return method
    own = {id(weight) for _, weight in method.clip.image_parameters()}
    shared = {id(weight): weight for weight in method.parameters() if id(weight) not in own}
    parts = {name: part.float() for name, part in read_tensors(file).items()}
    reader = copy.deepcopy(method, {**shared, id(method.words): method.words})
    for name, weight in reader.clip.image_parameters():
        factors = [parts.pop(f"{name}.{side}", torch.zeros(0)) for side in ("left", "right")]
        change = parts.pop(name, torch.zeros(0))
        if all(f.ndim == 2 for f in factors) and factors[0].shape[1] == factors[1].shape[0] <= min(weight.shape):
            change = factors[0] @ factors[1]
        if change.shape != weight.shape or not bool(torch.isfinite(change).all()):
            raise ModelRefused(f"{file} does not fit this model: {name}; fetch or train the model again")
        with torch.no_grad():
            weight.add_(change.to(weight))
    if parts:
        raise ModelRefused(f"{file} does not fit this model: unexpected {min(parts)}; fetch or train the model again")
    return reader.eval()


class _Budget(TorchFunctionMode):
    """Inside, only so many numbers are made room for, and only so many times: ModelRefused beyond."""

    def __init__(self, numbers: int, refusal: str):
        super().__init__()
        self.left, self.calls, self.refusal = numbers, MODULES, refusal

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in MAKERS:
            size = args[0] if args and isinstance(args[0], (tuple, list)) else args
            self.left -= math.prod(abs(n) for n in size if isinstance(n, int))
            self.calls -= 1
            if self.left < 0 or self.calls < 0:
                raise ModelRefused(f"{self.refusal}; fetch or train it again")
        return function(*args, **(kwargs or {}))


def empty_method(folder: Path, config: dict[str, Any], drawn: bool = True) -> Method:
    """The method of a run's config.json with fresh weights. drawn: also those of its Clip; else that has none yet."""
    try:
        cls = method_class(config["method"])
        made = config_from_json(type(presets(config["method"])["recommended"]), config["config"])
        spec, words = ClipSpec.from_json(config["clip"]), Words.load(folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            value: Method = cls(empty(spec, drawn), words, made, 0)
            return value
    except (UsageError, TypeError, ValueError, KeyError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise ModelRefused(
            f"{folder / 'config.json'} does not describe a valid model: {_line(error)}; fetch or train it again"
        ) from None


def config_from_json(cls: type, data: dict[str, Any]) -> Any:
    """A (nested) config dataclass from its plain values; ModelRefused for a field it does not know or lacks."""
    hints = typing.get_type_hints(cls)
    values = {}
    if not isinstance(data, dict):
        raise ModelRefused(f"the run's config holds {str(data)[:40]!r} where a table of values belongs")
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


def _line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file; ModelRefused when its bytes are damaged, or more than the memory of this machine by its
    header."""
    try:
        if not path.is_file():
            raise OSError("it is no regular file")
        with safe_open(path, framework="pt") as file:
            held = sum(int(math.prod(file.get_slice(name).get_shape())) for name in list(file.keys()))
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 40
        if 4 * held > memory or path.stat().st_size > memory:
            raise ModelRefused(
                f"{path} holds {held:,} weights in {path.stat().st_size:,} bytes, more than the memory of this "
                "machine; use a smaller model"
            )
        return load_file(path)
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise ModelRefused(f"{path} cannot be read as safetensors: {_line(error)}") from None


def save_training(path: Path, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
    """All that resuming needs, in one atomic file. position: plain values, kept in the header."""
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_whole(path, save(plain, metadata={"descry": json.dumps({"format": FORMAT, "position": position})}))


def load_training(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_training` wrote; ModelMissing when there is nothing to resume from, ModelRefused for anything else."""
    refuse_links(path.parent, (path.name,), "run folder")
    if not path.is_file():
        raise ModelMissing(f"there is nothing to resume: {path} does not exist; start without --resume")
    tensors = read_tensors(path)
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get("descry", "{}")
    try:
        header = json_of(text)
        position: dict[str, Any] = {"bound": {}} | header["position"]
        wrong = header["format"] != FORMAT or any(type(position[k]) is not kind for k, kind in POSITION.items())
    except (ValueError, TypeError, LookupError):
        wrong = True
    if wrong:
        raise ModelRefused(f"{path} was not written by this version of descry; start without --resume")
    return tensors, position


def load_any(
    name: str | Path, image_size: tuple[int, int] | None = None, allow_download: bool = False
) -> tuple[Method, dict[str, Any], Path]:
    """A method from "demo", a run folder, or any CLIP in the transformers format (as zero_shot); its config and
    folder.
    """
    folder = DEMO if str(name) == "demo" else Path(name)
    if not folder.exists():
        folder = fetched(str(name)) or folder
    config = read_config(folder) if folder.is_dir() and (folder / "config.json").is_file() else {}
    if "method" in config:
        method, config = load_method(folder, config=config)
        if not config.get("search_fingerprint"):  # otherwise `load_method` has compared it
            config["search_fingerprint"] = search_fingerprint(config, folder)
        if (folder / "training.safetensors").is_file() and not (folder / "metrics.json").is_file():
            told = note_of(config["about"]), "its training has not finished: go on with the same command and --resume"
            config["about"] = config["about"] | {"note": "; ".join(filter(None, told))}
        return method, config, folder
    if (folder / "training.safetensors").is_file():
        raise ModelMissing(
            f"the training in {folder} has not finished an epoch, so it holds no model yet; go on with the same "
            "command and --resume"
        )
    if str(name) == "demo":
        raise ModelMissing("the demo model is not part of this installation; name another with --model")
    clip, words, beside = clip_and_words(name, image_size, allow_download)
    method = method_class("zero_shot")(clip, words, preset("zero_shot", "recommended"), 0).eval()
    raw = save({k: v.detach().cpu().contiguous() for k, v in method.state_dict().items()})
    config = {
        "method": "zero_shot",
        "preset": "recommended",
        "config": dataclasses.asdict(method.config),
        "clip": clip.spec.to_json(),
        "about": {"weights": f"CLIP {Path(name).name}, as it was given, no training here", "pretrained": True}
        | {"note": "; ".join((*unsaid(beside), *resampled(beside)))},
    }
    config["fingerprint"] = fingerprint(config, raw)
    config["search_fingerprint"] = search_fingerprint(config, beside)
    return method, config, folder
