"""The image encoder by the fastest route of this machine, and as files that others can run.

A route is a function from (B, 3, H, W) uint8 pixels to (B, D) float32 unit rows. Which one is fastest depends on the
processor and on what is installed, so a short measurement decides, once per machine and kind of model. No route is
taken whose vectors differ from float32's by more than rounding (cosine below 0.999), int8 only when asked for by
name.

Letters: B batch, D dimension, (H, W) image size.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .errors import DescryError, UsageError, nearest

Encoder = Callable[[np.ndarray], np.ndarray]
ROUTES = ("torch", "autocast", "bf16", "compiled", "onnx", "openvino", "int8")
PARITY = 0.999
ENOUGH, WORTH = 500.0, 120.0
BATCH = 32


class ImageEncoder(nn.Module):
    """Pixels to unit vectors in one module, so that a file of it needs no further explanation."""

    def __init__(self, method: Any):
        super().__init__()
        self.method = method

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in 0 … 255, any type → (B, D) unit length."""
        return self.method.encode_image(pixels / 255.0)


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


# ---------------------------------------------------------------------- choosing


def choose_encoder(model: Any, route: str = "auto", cache: Path | None = None, pictures: int = 1 << 40) -> str:
    """Give a model on a processor the named or the fastest route; its name. model: as `descry.embed.load` gives.

    cache: a file where measurements are kept; the user's cache folder if left out. pictures: how many are to be
    encoded; where float32 takes less than WORTH seconds for them, nothing else is measured. On a GPU there is one
    route. Raises UsageError for an unknown route, DescryError when a named one cannot work here.
    """
    if route != "auto" and route not in ROUTES:
        raise UsageError(f"there is no encoder {route!r}; {nearest(route, ['auto', *ROUTES])}")
    if model.device.type != "cpu":
        model.encoder = pinned(model)
        return "cuda"
    if route == "auto":
        route = _remembered(model, cache or default_cache(), pictures)
    if route != "torch":
        model.encoder = build(model, route)
    return route


def default_cache() -> Path:
    """Where measurements are kept for this user."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or str(Path.home() / ".cache")
    return Path(root) / "descry" / "encoders.json"


def _remembered(model: Any, cache: Path, pictures: int) -> str:
    key = _key(model)
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        known = json.loads(cache.read_text("utf-8"))
    found = known.get(key, {}).get("route") if isinstance(known, dict) else None
    if found in ROUTES and found not in ("int8",):
        return str(found)
    if pictures < BATCH or pictures / _rate(plain(model), _sample(model, 8), 0.2) < WORTH:
        return "torch"
    rates = measure(model)
    route = max(rates, key=lambda name: rates[name])
    with suppress(OSError):  # a machine without a writable cache measures each time
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({**known, key: {"route": route, "rates": rates}}, indent=1), "utf-8")
        os.replace(partial, cache)
    return route


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
    sample = _sample(model, BATCH)
    single = plain(model)
    reference = single(sample[:8])
    rates = {"torch": _rate(single, sample)}
    if routes is None and rates["torch"] > ENOUGH:
        return rates
    for route in routes or available():
        try:
            encoder = build(model, route)
            agreement = float((encoder(sample[:8]) * reference).sum(axis=1).min())
            if agreement >= PARITY:
                rates[route] = _rate(encoder, sample)
        except DescryError:
            continue
    return rates


def available() -> tuple[str, ...]:
    """Exact routes worth measuring here. Compiling takes half a minute, so it has to be named."""
    routes = ["autocast", "bf16"]
    if importlib.util.find_spec("openvino"):
        routes.append("openvino")
    return tuple(routes)


def _rate(encoder: Encoder, sample: np.ndarray, seconds: float = 1.0) -> float:
    encoder(sample)
    best, begin = 0.0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        encoder(sample)
        best = max(best, len(sample) / (time.perf_counter() - start))
    return best


def _sample(model: Any, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, *model.image_size), dtype=np.uint8)


# ---------------------------------------------------------------------- routes


def build(model: Any, route: str) -> Encoder:
    """The encoder of one route. DescryError when something it needs is missing."""
    if route == "torch":
        return plain(model)
    if route == "autocast":
        return _torch_encoder(ImageEncoder(model.method), autocast=True)
    if route in ("bf16", "compiled"):
        module = ImageEncoder(_in_brain_floats(model.method))
        return _torch_encoder(_compiled(module) if route == "compiled" else module)
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
            return _unit(module(images).float().numpy())

    return encode


def _in_brain_floats(method: Any) -> Any:
    """A copy whose image transformer holds and computes bfloat16, with pixels normalised in float32 before and the
    projection in float32 behind: storing the weights rounded saves casting them for every batch.
    """
    short = copy.deepcopy(method)
    vision = short.clip.model.vision_model
    vision.to(torch.bfloat16)
    vision.embeddings.register_forward_pre_hook(_to_brain)
    vision.post_layernorm.float()
    vision.post_layernorm.register_forward_pre_hook(_to_single)
    return short


def _to_brain(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0].to(torch.bfloat16), *args[1:])


def _to_single(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0].float(), *args[1:])


def _compiled(module: nn.Module) -> Any:
    if not (shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")):
        raise DescryError("the compiled encoder needs a C++ compiler (g++); install one, or use --encoder bf16")
    return torch.compile(module, dynamic=False)


def _onnx(model: Any, int8: bool) -> Encoder:
    _need("onnxruntime", "onnx", "onnxscript")
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = write_onnx(ImageEncoder(model.method), _sample(model, 2), Path(folder) / "image.onnx")
        if int8:
            path = _quantised(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: _unit(session.run(None, {name: pixels.astype(np.float32)})[0])


def _quantised(path: Path) -> Path:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    out = path.with_name(path.stem + "-int8.onnx")
    made = onnx.load(path)
    del made.graph.value_info[:]  # the exporter's own shapes trip the quantiser's shape inference
    onnx.save(made, path)
    with _quiet():
        quantize_dynamic(path, out, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    return out


def _openvino(model: Any) -> Encoder:
    _need("openvino")
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        settings["INFERENCE_PRECISION_HINT"] = "bf16"
    compiled = core.compile_model(_converted(ImageEncoder(model.method), _sample(model, 2)), "CPU", settings)
    return lambda pixels: _unit(np.array(compiled(pixels.astype(np.float32))[0]))


def _converted(module: nn.Module, sample: np.ndarray) -> Any:
    import openvino

    with torch.no_grad(), _quiet():
        return openvino.convert_model(
            module.eval(), example_input=torch.from_numpy(sample).float(), input=[(-1, *sample.shape[1:])]
        )


def pinned(model: Any) -> Encoder:
    """On a GPU: pixels travel as bytes from pinned memory while the last batch is still computed; half precision."""
    module = ImageEncoder(model.method)
    kind = torch.bfloat16 if model.precision == "bf16" else torch.float16

    def encode(pixels: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(np.ascontiguousarray(pixels)).pin_memory().to(model.device, non_blocking=True).float()
        with torch.inference_mode(), torch.autocast("cuda", kind, enabled=model.precision != "fp32"):
            return _unit(module(images).float().cpu().numpy())

    return encode


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _need(*packages: str) -> None:
    missing = [name for name in packages if not importlib.util.find_spec(name)]
    if missing:
        raise DescryError(f"{', '.join(missing)} is not installed; pip install 'descry[fast]', or use --encoder bf16")


# ---------------------------------------------------------------------- files


def write_onnx(module: nn.Module, sample: Any, path: Path) -> Path:
    """One module as an ONNX file with a free batch size; the path."""
    example = torch.from_numpy(np.asarray(sample))
    example = example.float() if example.dtype == torch.uint8 else example
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            module.eval(), (example,), str(path), dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False
        )
    return path


def export(model: Any, out: Path, file_format: str = "onnx", precision: str = "fp32") -> dict[str, Any]:
    """Write image and text encoder, the vocabulary and `preprocessing.json` to a new folder; what was written and how
    well it agrees with PyTorch in float32.

    file_format: "onnx" or "openvino". precision: "fp32", "fp16" (openvino) or "int8" (onnx, image encoder only). The
    text encoder takes ids padded to the full length. Raises UsageError for what does not exist, DescryError when a
    package is missing or the files disagree with the model.
    """
    kinds = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "fp16")}
    if file_format not in kinds:
        raise UsageError(f"there is no format {file_format!r}; {nearest(file_format, list(kinds))}")
    if precision not in kinds[file_format]:
        raise UsageError(f"{file_format} is not written in {precision!r}; {nearest(precision, kinds[file_format])}")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} exists and is not empty; name a new folder")
    _need(*(("onnx", "onnxscript", "onnxruntime") if file_format == "onnx" else ("openvino",)))
    out.mkdir(parents=True, exist_ok=True)
    pixels, ids = _sample(model, 2), full_ids(model, ["a person", "a red jacket"])
    names = _write(model, out, file_format, precision, pixels, ids)
    agreement = _agreement(
        model, out, names, file_format, _sample(model, 8), full_ids(model, ["a person in a blue coat"] * 3)
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


def _write(model: Any, out: Path, file_format: str, precision: str, pixels: np.ndarray, ids: Tensor) -> dict[str, str]:
    modules = {"image": (ImageEncoder(model.method), pixels), "text": (TextEncoder(model.method), ids.numpy())}
    names = {}
    for name, (module, sample) in modules.items():
        if file_format == "onnx":
            path = write_onnx(module, sample, out / f"{name}.onnx")
            if precision == "int8" and name == "image":
                os.replace(_quantised(path), path)
        else:
            import openvino

            path = out / f"{name}.xml"
            with torch.no_grad(), _quiet():
                example = torch.from_numpy(sample)
                example = example.float() if name == "image" else example
                made = openvino.convert_model(module.eval(), example_input=example, input=[(-1, *sample.shape[1:])])
            openvino.save_model(made, path, compress_to_fp16=precision == "fp16")
        names[name] = path.name
    return names


def _agreement(
    model: Any, out: Path, names: dict[str, str], file_format: str, pixels: np.ndarray, ids: Tensor
) -> dict[str, float]:
    """Least cosine between what the files give and float32 PyTorch, for images and texts."""
    with torch.inference_mode():
        texts = model.method.encode_text(ids).float().numpy()
    wanted = {"image": (pixels.astype(np.float32), plain(model)(pixels)), "text": (ids.numpy(), texts)}
    found = {}
    for name, (given, reference) in wanted.items():
        rows = run_file(out / names[name], file_format, given)
        found[name] = round(float((_unit(rows) * _unit(reference)).sum(axis=1).min()), 6)
    return found


def run_file(path: Path, file_format: str, given: np.ndarray) -> np.ndarray:
    """An exported file on one batch."""
    if file_format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {session.get_inputs()[0].name: given})[0])
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(given)[0])


@contextmanager
def _quiet() -> Iterator[None]:
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
