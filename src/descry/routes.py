"""The image encoder by every route this project keeps: PyTorch in float32, half precision or compiled, ONNX Runtime,
OpenVINO, and a GPU.

A route is a function from (B, 3, H, W) uint8 pixels to (B, D) float32 unit rows.

Letters: B batch, D dimension, (H, W) image size.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .errors import DescryError
from .export import ImageEncoder, converted, need, noise, quantised, quiet, unit_rows, write_onnx

Encoder = Callable[[np.ndarray], np.ndarray]
ROUTES = ("torch", "autocast", "bf16", "compiled", "onnx", "openvino", "int8")
BATCH = 32


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
    vision.embeddings.register_forward_pre_hook(lambda module, args: (args[0].to(kind), *args[1:]))
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
    need("openvino")
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        settings["INFERENCE_PRECISION_HINT"] = "bf16"
    compiled = core.compile_model(converted(ImageEncoder(model.method), noise(model, 2)), "CPU", settings)
    return lambda pixels: unit_rows(np.array(compiled(pixels.astype(np.float32))[0]))
