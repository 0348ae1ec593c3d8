"""The image encoder by every route this project keeps (PyTorch in float32, half precision or compiled, ONNX Runtime,
OpenVINO, and a GPU), and which one is taken: by the processor, by what is installed and by how much there is to do.

Nothing is timed for it, so the same machine always takes the same route. No route is taken whose vectors differ from
float32's by more than rounding (cosine below 0.999), int8 only when asked for by name. `measure` is for reports.

A route is a function from (B, 3, H, W) uint8 pixels to (B, D) float32 unit rows.

Letters: B batch, D dimension, (H, W) image size.
"""

from __future__ import annotations

import copy
import importlib.util
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .errors import DescryError, UsageError, nearest
from .export import PARITY, ImageEncoder, converted, need, noise, openvino, quantised, quiet, unit_rows, write_onnx

Encoder = Callable[[np.ndarray], np.ndarray]
ROUTES = ("torch", "autocast", "bf16", "compiled", "onnx", "openvino", "int8")
BATCH = 32
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


def measure(model: Any) -> dict[str, float]:
    """Route → images per second, of those that work here and hold parity. For a report: no choice depends on it.

    A small model that float32 already runs faster than pictures can be decoded is measured no further.
    """
    sample = noise(model, BATCH)
    single = plain(model)
    reference = single(sample[:8])
    rates = {"torch": rate(single, sample)}
    if rates["torch"] > ENOUGH:
        return rates
    for route in available():
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


# ---------------------------------------------------------------------- the routes


def build(model: Any, route: str) -> Encoder:
    """The encoder of one route. DescryError when something it needs is missing or it does not work here."""
    if route == "torch":
        return plain(model)
    if route == "autocast":
        return _torch_encoder(ImageEncoder(model.method), autocast=True)
    if route in ("bf16", "compiled"):
        module = ImageEncoder(in_half(model.method, torch.bfloat16))
        return _torch_encoder(module) if route == "bf16" else _compiled(module, noise(model, BATCH))
    if route == "openvino":
        return _openvino(model)
    return _onnx(model, int8=route == "int8")


def plain(model: Any) -> Encoder:
    """Float32 PyTorch."""
    return _torch_encoder(ImageEncoder(model.method))


def _torch_encoder(module: Any, autocast: bool = False) -> Encoder:
    def encode(pixels: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(np.ascontiguousarray(pixels)).float()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return unit_rows(module(images).float().numpy())

    return encode


def in_half(method: Any, kind: torch.dtype) -> Any:
    """A copy whose image transformer holds and computes a half precision, with pixels normalised in float32 before and
    the projection in float32 behind: storing the weights rounded saves casting them for every batch.
    """
    short = copy.deepcopy(method)
    vision = short.clip.model.vision_model
    vision.to(kind)
    vision.post_layernorm.float()
    vision.post_layernorm.register_forward_pre_hook(lambda module, args: (args[0].float(), *args[1:]))
    return short


# ---------------------------------------------------------------------- compiled


def compiler() -> str:
    """A C++ compiler, which torch.compile needs; "" for none."""
    return next((found for name in ("g++", "clang++", "cl") if (found := shutil.which(name))), "")


def _compiled(module: nn.Module, sample: np.ndarray) -> Encoder:
    """Compiled for batches of BATCH; others are filled up to it, since every other size would be compiled anew."""
    if not compiler():
        raise DescryError("the compiled encoder needs a C++ compiler (g++); install one, or use --encoder bf16")
    try:
        with quiet():
            encoder = _filled(_torch_encoder(torch.compile(module, dynamic=False)), len(sample))
            encoder(sample)
    except Exception as error:
        first = str(error).strip().split("\n")[0]
        raise DescryError(f"torch.compile does not work here ({first}); use --encoder bf16") from error
    return encoder


def _filled(encoder: Encoder, size: int) -> Encoder:
    """An encoder that only ever sees batches of one size."""

    def encode(pixels: np.ndarray) -> np.ndarray:
        rows = []
        for i in range(0, len(pixels), size):
            part = pixels[i : i + size]
            missing = np.zeros((size - len(part), *part.shape[1:]), part.dtype)
            rows.append(encoder(np.concatenate([part, missing]))[: len(part)])
        return np.concatenate(rows)

    return encode


# ---------------------------------------------------------------------- a GPU


class Lane:
    """The way to a GPU: pixels travel as bytes from pinned memory, on a stream of their own.

    On a processor the same calls do the same work without streams, so that what uses a lane can be tested anywhere.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, pixels: np.ndarray) -> tuple[Tensor, Any]:
        """Start copying (n, 3, H, W) uint8 pixels: the tensor they become, and the event that says it is there."""
        images = torch.from_numpy(np.ascontiguousarray(pixels))
        if self.stream is None:
            return images, None
        with torch.cuda.stream(self.stream):
            images = images.pin_memory().to(self.device, non_blocking=True)
            return images, self.stream.record_event()

    def take(self, sent: tuple[Tensor, Any]) -> Tensor:
        """What was sent, as float32, ready for the stream that computes; that stream waits, this thread does not."""
        images, arrived = sent
        if arrived is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(arrived)
            images.record_stream(computing)
        return images.float()


def overlapped(module: nn.Module, lane: Lane, size: int = 64) -> Encoder:
    """An encoder that works through a batch in parts: while one is computed, the next is on its way."""

    def encode(pixels: np.ndarray) -> np.ndarray:
        parts = [pixels[i : i + size] for i in range(0, len(pixels), size)]
        rows: list[Tensor] = []
        with torch.inference_mode():
            ahead = lane.send(parts[0])
            for following in [*parts[1:], None]:
                now, ahead = ahead, lane.send(following) if following is not None else ahead
                rows.append(module(lane.take(now)).float())
            return unit_rows(torch.cat(rows).cpu().numpy())

    return encode


# ---------------------------------------------------------------------- other engines


def _onnx(model: Any, int8: bool) -> Encoder:
    need("onnxruntime", "onnx", "onnxscript")
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = write_onnx(ImageEncoder(model.method), noise(model, 2), Path(folder) / "image.onnx")
        if int8:
            path = quantised(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: unit_rows(session.run(None, {name: pixels.astype(np.float32)})[0])


def _openvino(model: Any) -> Encoder:
    core = openvino().Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        settings["INFERENCE_PRECISION_HINT"] = "bf16"
    compiled = core.compile_model(converted(ImageEncoder(model.method), noise(model, 2)), "CPU", settings)
    return lambda pixels: unit_rows(np.array(compiled(pixels.astype(np.float32))[0]))
