"""Which route to the image encoder is taken: by the processor, by what is installed and by how much there is to do.

Nothing is timed for it, so the same machine always takes the same route. No route is taken whose vectors differ from
float32's by more than rounding (cosine below 0.999), int8 only when asked for by name. `measure` is for reports.
"""

from __future__ import annotations

import importlib.util
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import DescryError, UsageError, nearest
from .export import PARITY, ImageEncoder, noise
from .routes import BATCH, ROUTES, Encoder, Lane, build, compiler, in_half, overlapped, plain

INEXACT = ("int8",)
"""Routes whose vectors are not float32's; no gallery holds vectors of one beside others."""
ENOUGH = 500.0
WORTH, PATIENCE = 1e13, 4e14
"""Multiplications of a whole index run from which another route is worth getting ready: seconds for most, and half a
minute in every process for the compiled one. On a few cores WORTH is two minutes of float32 and PATIENCE an hour."""


def choose_encoder(model: Any, route: str = "auto", pictures: int = 1 << 40) -> str:
    """Give a model the named or the best route; its name. model: as `descry.embed.load` gives.

    pictures: how many are to be encoded; where that is little work, "auto" is float32 PyTorch. On a GPU, "auto" is half
    precision and "torch" the precision of the model. Raises UsageError for an unknown route, DescryError when a named
    one cannot work here.
    """
    if route != "auto" and route not in ROUTES:
        raise UsageError(f"there is no encoder {route!r}; {nearest(route, ['auto', *ROUTES])}")
    if model.device.type != "cpu":
        return _on_gpu(model, route)
    if route != "auto":
        model.encoder = None if route == "torch" else build(model, route)
        model.inexact = route if route in INEXACT else ""
        return route
    reference = None
    for name in preferred(pictures * multiplications(model)):
        sample = noise(model, 8)
        reference = plain(model)(sample) if reference is None else reference
        with suppress(DescryError, RuntimeError):  # what does not work here, or for this method, is passed over
            encoder = build(model, name)
            if _agreement(encoder(sample), reference) >= PARITY:
                model.encoder = encoder
                return name
    model.encoder = None
    return "torch"


def preferred(work: float) -> tuple[str, ...]:
    """The routes to try for so many multiplications, best first; after them comes float32 PyTorch.

    With bfloat16 instructions OpenVINO is the fastest, then compiled and plain bfloat16 (docs/gallery.md); without them
    bfloat16 is emulated and slower than float32, and OpenVINO's own float32 is what remains.
    """
    if work < WORTH:
        return ()
    found = ["openvino"] if importlib.util.find_spec("openvino") else []
    if has_bfloat16():
        if not found and work > PATIENCE and compiler():
            found.append("compiled")
        found.append("bf16")
    return tuple(found)


def multiplications(model: Any) -> float:
    """Roughly those of one picture: every weight of the image encoder for each token."""
    weights = sum(parameter.numel() for _, parameter in model.clip.image_parameters())
    return float(weights * (1 + model.clip.grid[0] * model.clip.grid[1]))


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 by itself: AVX512-BF16, AMX, or 64-bit ARM's BF16."""
    told = (
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    )
    return bool(told) or bool({"avx512_bf16", "amx_bf16", "bf16"} & set(processor().split()))


def _on_gpu(model: Any, route: str) -> str:
    """Half precision where it agrees with what the model computes, float16 before the coarser bfloat16."""
    if route == "torch":
        return "torch"
    if route != "auto":
        raise UsageError(f"--encoder {route} runs on a processor; on a GPU use auto or torch, or give --device cpu")
    sample = noise(model, 8)
    reference = model.embed_pixels(sample)
    for kind in (torch.float16, torch.bfloat16):
        encoder = overlapped(ImageEncoder(in_half(model.method, kind)), Lane(model.device))
        if _agreement(encoder(sample), reference) >= PARITY:
            model.encoder = encoder
            return f"{model.device.type} {str(kind).removeprefix('torch.')}"
    return "torch"


def _agreement(rows: np.ndarray, reference: np.ndarray) -> float:
    """Least cosine; 0 where a row is not finite."""
    return float(np.nan_to_num((rows * reference).sum(axis=1)).min())


def processor() -> str:
    """The processor's name and flags, as far as the system tells."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return platform.processor()


def measure(model: Any, routes: tuple[str, ...] | None = None) -> dict[str, float]:
    """Route → images per second, of those that work here and hold parity. For a report: no choice depends on it.

    A small model that float32 already runs faster than pictures can be decoded is measured no further.
    """
    sample = noise(model, BATCH)
    single = plain(model)
    reference = single(sample[:8])
    rates = {"torch": rate(single, sample)}
    if routes is None and rates["torch"] > ENOUGH:
        return rates
    for route in routes or available():
        try:
            encoder = build(model, route)
            if _agreement(encoder(sample[:8]), reference) >= PARITY:
                rates[route] = rate(encoder, sample)
        except (DescryError, RuntimeError):
            continue
    return rates


def available() -> tuple[str, ...]:
    """Exact routes that are quick to get ready here."""
    routes = ["autocast", "bf16"]
    if importlib.util.find_spec("openvino"):
        routes.append("openvino")
    return tuple(routes)


def rate(encoder: Encoder, sample: np.ndarray, seconds: float = 1.0) -> float:
    """Pictures per second of the quickest batch within so many seconds: a busy machine may delay any of them."""
    encoder(sample)
    best, begin = 0.0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        encoder(sample)
        best = max(best, len(sample) / (time.perf_counter() - start))
    return best
