"""Which route to the image encoder is the fastest on this machine: measured once, and kept.

That depends on the processor and on what is installed. No route is taken whose vectors differ from float32's by more
than rounding (cosine below 0.999), int8 only when asked for by name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
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

ENOUGH, WORTH, PATIENCE = 500.0, 120.0, 900.0


def choose_encoder(model: Any, route: str = "auto", cache: Path | None = None, pictures: int = 1 << 40) -> str:
    """Give a model the named or the fastest route; its name. model: as `descry.embed.load` gives.

    cache: a file where measurements are kept; the user's cache folder if left out. pictures: how many are to be
    encoded; where float32 takes less than WORTH seconds for them, nothing else is measured. On a GPU, "auto" is half
    precision and "torch" the precision of the model. Raises UsageError for an unknown route, DescryError when a named
    one cannot work here.
    """
    if route != "auto" and route not in ROUTES:
        raise UsageError(f"there is no encoder {route!r}; {nearest(route, ['auto', *ROUTES])}")
    if model.device.type != "cpu":
        return _on_gpu(model, route)
    if route == "auto":
        route = _remembered(model, cache or default_cache(), pictures)
    if route != "torch":
        model.encoder = build(model, route)
    return route


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


def default_cache() -> Path:
    """Where measurements are kept for this user."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or str(Path.home() / ".cache")
    return Path(root) / "descry" / "encoders.json"


def _remembered(model: Any, cache: Path, pictures: int) -> str:
    """The fastest route by what was measured before, measuring what is missing. Compiling takes half a minute in every
    process, so it counts only for more than PATIENCE seconds of work.
    """
    key, known = _key(model), _known(cache)
    rates: dict[str, float] = known.get(key, {})
    if not rates:
        if pictures < BATCH or pictures / rate(plain(model), noise(model, 8), 0.2) < WORTH:
            return "torch"
        rates = measure(model)
        _keep(cache, known, key, rates)
    patient = pictures / max(rates.values()) > PATIENCE
    if patient and "compiled" not in rates and "openvino" not in rates and compiler():
        rates = {**rates, "compiled": 0.0, **measure(model, ("compiled",))}
        _keep(cache, known, key, rates)
    allowed = {name: speed for name, speed in rates.items() if patient or name != "compiled"}
    return max(allowed, key=lambda name: allowed[name])


def _known(cache: Path) -> dict[str, Any]:
    """Key → route → images per second; nothing where the file is missing or damaged."""
    try:
        known = json.loads(cache.read_text("utf-8"))
        return {
            key: {name: float(speed) for name, speed in rates.items() if name in ROUTES and name != "int8"}
            for key, rates in known.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(cache: Path, known: dict[str, Any], key: str, rates: dict[str, float]) -> None:
    with suppress(OSError):  # a machine without a writable cache measures each time
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({**known, key: rates}, indent=1), "utf-8")
        os.replace(partial, cache)


def _key(model: Any) -> str:
    """What the fastest route depends on: the encoder's shape, the processor, threads and what is installed."""
    packages = [name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name)]
    spec = model.clip.spec
    shape = [spec.config.get("vision_config"), list(spec.image_size), type(model.method).__name__]
    facts = [shape, platform.machine(), processor(), torch.get_num_threads(), torch.__version__, packages]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def processor() -> str:
    """The processor's name and flags, as far as the system tells."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return platform.processor()


def measure(model: Any, routes: tuple[str, ...] | None = None) -> dict[str, float]:
    """Route → images per second, of those that work here and hold parity. A small model that float32 already runs
    faster than pictures can be decoded is measured no further.
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
        except DescryError:
            continue
    return rates


def available() -> tuple[str, ...]:
    """Exact routes that are quick to get ready here; see `_remembered` for the compiled one."""
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
