"""What this machine can do for descry, and one line of advice for each problem found."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import __version__
from .embed import load
from .encoders import BATCH, choose_encoder, has_bfloat16, measure, preferred, processor, rate
from .errors import DescryError, install_hint
from .export import noise

LITTLE_DISK, SLOW_MEMORY, SLOW_ENCODER = 5e9, 8e9, 5.0
DEMO = Path(__file__).parent / "models" / "demo" / "model.safetensors"
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "f16c", "asimd", "bf16", "sve")


@dataclass(frozen=True)
class Finding:
    """One fact. advice: what to do about it, "" when it is well. refused: a model that was named cannot be loaded."""

    name: str
    value: str
    advice: str = ""
    refused: bool = False


def examine(model: str = "", folder: Path = Path("."), quick: bool = False) -> list[Finding]:
    """All findings, in reading order. model: load it and time its encoder, else the demo model's. quick: leave out
    measurements.
    """
    found = [_python(), _torch(), *_processor(), _gpu(), _disk(folder), *_extras()]
    if not quick:
        found.append(_memory())
    found.append(_demo())
    if model:
        found += _model(model, quick)
    elif not quick and DEMO.is_file():
        found.append(_encoder(load("demo")))
    return found


def _python() -> Finding:
    advice = "" if sys.version_info >= (3, 11) else "descry needs Python 3.11 or newer; make a new environment with one"
    return Finding(
        "python",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, descry {__version__}",
        advice,
    )


def _torch() -> Finding:
    cuda = torch.version.cuda
    wasted = cuda and not torch.cuda.is_available()
    advice = "this PyTorch carries CUDA and finds no GPU; the CPU wheel is much smaller" if wasted else ""
    if importlib.util.find_spec("torchvision"):
        try:
            import torchvision  # noqa: F401
        except Exception:  # noqa: BLE001 - a torchvision of another build raises what it likes, and breaks transformers with it
            advice = (
                "torchvision does not fit this PyTorch and breaks transformers; remove it: pip uninstall torchvision"
            )
    return Finding("torch", f"{torch.__version__}{f', CUDA {cuda}' if cuda else ''}", advice)


def _processor() -> list[Finding]:
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    advice = f"only {threads} of {cores} cores are used; give --threads {cores}" if threads < cores // 2 else ""
    words = set(processor().split())
    flags = [f for f in FLAGS if f in words]
    slow = (
        ""
        if has_bfloat16() or not words
        else "no bfloat16 arithmetic: encoders run at float32 speed; a GPU would help most"
    )
    return [
        Finding("threads", f"{threads} of {cores} cores", advice),
        Finding("processor", ", ".join(flags) or "features unknown", slow),
    ]


def _gpu() -> Finding:
    if not torch.cuda.is_available():
        return Finding("gpu", "none that is usable")
    properties = torch.cuda.get_device_properties(0)
    return Finding("gpu", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder if folder.exists() else ".").free
    advice = "a million crops need about 1.3 GB; free some space before indexing" if free < LITTLE_DISK else ""
    return Finding("disk", f"{free / 1e9:.0f} GB free in {folder}", advice)


def _extras() -> list[Finding]:
    wanted = {"openvino": "fast", "onnxruntime": "fast", "fastapi": "web", "pymilvus": "milvus", "av": "video"}
    wanted |= {"matplotlib": "figures", "scipy": "data", "peft": "lora", "tensorboard": "tensorboard"}
    wanted |= {"psycopg": "postgres"}
    present = [name for name in wanted if importlib.util.find_spec(name)]
    absent = sorted({extra for name, extra in wanted.items() if name not in present})
    advice = f"not needed, but there are more: {install_hint(','.join(absent))}" if absent else ""
    return [Finding("extras", ", ".join(present) or "none", advice)]


def _memory() -> Finding:
    import time

    data = torch.ones(1 << 25, dtype=torch.int64)
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        data.sum()
        times.append(time.perf_counter() - begin)
    speed = data.numel() * 8 / min(times)
    seconds = 1e6 * 512 * 2 / speed
    advice = (
        "memory reads slowly; is the machine busy? Searching takes as long as reading all vectors once"
        if speed < SLOW_MEMORY
        else ""
    )
    return Finding(
        "memory", f"reads {speed / 1e9:.0f} GB/s: a million crops of 512 numbers in {1e3 * seconds:.0f} ms", advice
    )


def _demo() -> Finding:
    there = DEMO.is_file()
    return Finding(
        "demo model",
        "there" if there else "missing",
        "" if there else "train it with recipes/demo.sh, or name a run folder with --model",
    )


def _model(name: str, quick: bool) -> list[Finding]:
    try:
        model = load(name)
    except DescryError as error:
        return [Finding("model", name, str(error), refused=True)]
    size = "×".join(map(str, model.image_size))
    found = [
        Finding(
            "model",
            f"{name}: {size} pixels, {model.dimension} numbers, answers {', '.join(sorted(model.answers))}",
            model.note,
        )
    ]
    return found if quick else [*found, _encoder(model)]


def _encoder(model: Any) -> Finding:
    if model.device.type != "cpu":
        route, speed = choose_encoder(model), rate(model.embed_pixels, noise(model, 256))
        return Finding("encoder", f"{route}, {speed:.0f} pictures/s of the model {model.name}")
    rates = measure(model)
    route = next((name for name in preferred(float("inf")) if name in rates), "torch")
    others = ", ".join(f"{name} {speed:.0f}" for name, speed in rates.items())
    advice = (
        f"indexing will be slow; a GPU, or {install_hint('fast')}, helps most" if rates[route] < SLOW_ENCODER else ""
    )
    size = "×".join(map(str, model.image_size))
    value = f"{route}, {rates[route]:.0f} pictures/s of the model {model.name} at {size} (batches of {BATCH}; {others})"
    return Finding("encoder", value, advice)
