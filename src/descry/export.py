"""A model's encoders as files that others can run, with all that a reader needs beside them.

Letters: B batch, D dimension, (H, W) image size.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .errors import DescryError, UsageError, install_hint, nearest

PARITY = 0.999


class ImageEncoder(nn.Module):
    """Pixels to unit vectors in one module, so that a file of it needs no further explanation."""

    def __init__(self, method: Any):
        super().__init__()
        self.method = method

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in 0 … 255, any type → (B, D) unit length."""
        value: Tensor = self.method.encode_image(pixels / 255.0)
        return value


class TextEncoder(nn.Module):
    """Token ids to unit vectors, written without the checks and lookups that a file cannot hold."""

    def __init__(self, method: Any):
        super().__init__()
        self.method = method

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) int64 → (B, D) unit length, read at the first end-of-text token."""
        clip = self.method.clip
        ends = ids == clip.spec.end
        first = ends & (ends.int().cumsum(dim=1) == 1)
        return nn.functional.normalize((clip.text_tokens(ids) * first[..., None]).sum(dim=1), dim=1)


def quantised(path: Path) -> Path:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    out = path.with_name(path.stem + "-int8.onnx")
    made = onnx.load(path)
    del made.graph.value_info[:]  # the exporter's own shapes trip the quantiser's shape inference
    onnx.save(made, path)
    with quiet():
        quantize_dynamic(path, out, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    return out


def openvino() -> Any:
    """The package openvino. As it comes it reports imports and conversions to its makers over the network; without the
    package that sends them it reports nothing.
    """
    need("openvino")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def converted(module: nn.Module, sample: np.ndarray) -> Any:
    with torch.no_grad(), quiet():
        return openvino().convert_model(
            module.eval(), example_input=torch.from_numpy(sample).float(), input=[(-1, *sample.shape[1:])]
        )


def write_onnx(module: nn.Module, sample: Any, path: Path) -> Path:
    """One module as an ONNX file with a free batch size; the path."""
    example = torch.from_numpy(np.asarray(sample))
    example = example.float() if example.dtype == torch.uint8 else example
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    with torch.no_grad(), quiet():
        torch.onnx.export(
            module.eval(), (example,), str(path), dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False
        )
    return path


def export(model: Any, out: Path, file_format: str = "onnx", precision: str = "fp32") -> dict[str, Any]:
    """Write image and text encoder, that of sketches where it is another, the vocabulary and `preprocessing.json` to a
    new folder; what was written and how well it agrees with PyTorch in float32.

    file_format: "onnx" or "openvino". precision: "fp32", "fp16" (openvino) or "int8" (onnx, encoders of pictures only).
    The text encoder takes ids padded to the full length. Raises UsageError for what does not exist, DescryError when a
    package is missing or the files disagree with the model.
    """
    kinds = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "fp16")}
    if file_format not in kinds:
        raise UsageError(f"there is no format {file_format!r}; {nearest(file_format, list(kinds))}")
    if precision not in kinds[file_format]:
        raise UsageError(f"{file_format} is not written in {precision!r}; {nearest(precision, kinds[file_format])}")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} exists and is not empty; name a new folder")
    need(*(("onnx", "onnxscript", "onnxruntime") if file_format == "onnx" else ("openvino",)))
    out.mkdir(parents=True, exist_ok=True)
    pixels, ids = noise(model, 2), full_ids(model, ["a person", "a red jacket"])
    names = _write(model, out, file_format, precision, pixels, ids)
    agreement = _agreement(
        model, out, names, file_format, noise(model, 8), full_ids(model, ["a person in a blue coat"] * 3)
    )
    about = {
        "format": 1,
        "files": names,
        "precision": precision,
        "fingerprint": model.fingerprint,
        "image": {
            "input": f"float32 (B, 3, {model.image_size[0]}, {model.image_size[1]}), RGB, 0 to 255; the "
            f"mean and deviation are inside",
            "resize": "to (height, width) without keeping the ratio, bicubic with antialias (Pillow)",
            **model.preprocessing,
        },
        "sketch": f"as photographs, by {names.get('sketch', names['image'])}; "
        + ("fit each drawing to its ink first (descry.fit_to_ink)" if model.fits_sketches else "as it was drawn"),
        "text": {
            "input": f"int64 (B, {model.clip.length}), ids of tokenizer.json, padded after the end",
            "length": model.clip.length,
        },
        "output": f"float32 (B, {model.dimension}), unit length; compare by inner product",
        "least_cosine_to_fp32": agreement,
        "note": model.note,
    }
    (out / "preprocessing.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    model.words.save(out)
    if precision != "int8" and min(agreement.values()) < PARITY:
        raise DescryError(
            f"the files in {out} disagree with the model (least cosine {min(agreement.values()):.4f}); do not use them"
        )
    return about


def full_ids(model: Any, texts: list[str]) -> Tensor:
    """(B, full length) token ids: exported files know no shorter batch."""
    ids = model.words.ids(texts)
    return nn.functional.pad(ids, (0, model.clip.length - ids.shape[1]), value=model.words.pad)


def _encoders(model: Any) -> dict[str, nn.Module]:
    """Name of a file → the encoder in it; "sketch" only where sketches are read apart."""
    found: dict[str, nn.Module] = {"image": ImageEncoder(model.method), "text": TextEncoder(model.method)}
    return found | ({"sketch": ImageEncoder(model.sketch_method)} if model.sketch_method is not model.method else {})


def _write(model: Any, out: Path, file_format: str, precision: str, pixels: np.ndarray, ids: Tensor) -> dict[str, str]:
    names = {}
    for name, module in _encoders(model).items():
        sample = ids.numpy() if name == "text" else pixels
        if file_format == "onnx":
            path = write_onnx(module, sample, out / f"{name}.onnx")
            if precision == "int8" and name != "text":
                os.replace(quantised(path), path)
        else:
            path = out / f"{name}.xml"
            with torch.no_grad(), quiet():
                example = torch.from_numpy(sample)
                example = example if name == "text" else example.float()
                made = openvino().convert_model(module.eval(), example_input=example, input=[(-1, *sample.shape[1:])])
            openvino().save_model(made, path, compress_to_fp16=precision == "fp16")
        names[name] = path.name
    return names


def _agreement(
    model: Any, out: Path, names: dict[str, str], file_format: str, pixels: np.ndarray, ids: Tensor
) -> dict[str, float]:
    """Least cosine between what the files give and float32 PyTorch, for each file."""
    found = {}
    for name, module in _encoders(model).items():
        given = ids if name == "text" else torch.from_numpy(pixels).float()
        with torch.inference_mode():
            reference = (model.method.encode_text(given) if name == "text" else module(given)).float().numpy()
        rows = run_file(out / names[name], file_format, given.numpy())
        found[name] = round(float((unit_rows(rows) * unit_rows(reference)).sum(axis=1).min()), 6)
    return found


def run_file(path: Path, file_format: str, given: np.ndarray) -> np.ndarray:
    """An exported file on one batch."""
    if file_format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {session.get_inputs()[0].name: given})[0])
    compiled = openvino().Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(given)[0])


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn about their own inner life."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def noise(model: Any, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, *model.image_size), dtype=np.uint8)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    value: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return value


def need(*packages: str) -> None:
    missing = [name for name in packages if not importlib.util.find_spec(name)]
    if missing:
        raise DescryError(f"{', '.join(missing)} is not installed: {install_hint('fast')}")
