"""What a model costs: parameters by part, multiply-adds, time of a query, memory of a training step.

The columns of Propot's Table 4, VFE-TPS's Table 4 and InteractReID's Table IV. Multiply-adds count matrix products,
convolutions and attention once per product, and normalisations at 5 per element, which reproduces Propot's increments.
"""

from __future__ import annotations

import copy
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .embed import Model
from .errors import UsageError
from .methods import Batch, Progress, method_class
from .text import mask_tokens

NORM_OPERATIONS = 5
QUERIES = 7


@dataclass(frozen=True)
class Cost:
    """inference, training: parameters by part; sketches that are read apart have an encoder of their own.

    image_macs, text_macs: of one image and one full-length text.

    text_ms, image_ms: median of one query, batch of one, on `device`. step_ms, peak_bytes: of one training step of
    `batch` rows; 0 where none was taken. peak_bytes is the GPU's allocation, or on a processor the resident memory of
    the process.
    """

    method: str
    image_size: tuple[int, int]
    inference: dict[str, int]
    training: dict[str, int] = field(default_factory=dict)
    image_macs: int = 0
    text_macs: int = 0
    text_ms: float = 0.0
    image_ms: float = 0.0
    batch: int = 0
    step_ms: float = 0.0
    peak_bytes: int = 0
    device: str = ""
    precision: str = "fp32"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        totals = {"inference_total": sum(self.inference.values()), "training_total": sum(self.training.values())}
        return asdict(self) | totals

    def text(self) -> str:
        """A small table for people."""
        lines = [f"{self.method}, images {self.image_size[0]}×{self.image_size[1]}, {self.device}, {self.precision}"]
        for title, parts in (("inference", self.inference), ("training only", self.training)):
            if parts:
                lines.append(f"parameters, {title}: {sum(parts.values()) / 1e6:,.2f} M")
                lines += [f"  {name:<22}{count:>14,}" for name, count in parts.items()]
        lines.append(
            f"multiply-adds: image {self.image_macs / 1e9:.3f} G, text of full length {self.text_macs / 1e9:.3f} G"
        )
        lines.append(f"one query: words {self.text_ms:.1f} ms, picture {self.image_ms:.1f} ms")
        if self.step_ms:
            lines.append(
                f"one training step of {self.batch}: {self.step_ms:.0f} ms, peak memory {self.peak_bytes / 1e9:.2f} GB"
            )
        return "\n".join(lines)


def report(model: Model, identities: int = 0, training: bool = False, batch: int = 8, seed: int = 0) -> Cost:
    """The cost of a model on its device. identities: also count what training with so many people needs.

    training: also take one step of `batch` random rows on a copy. Raises UsageError where the method is not trained.
    """
    method = model.method
    inference, _ = parts(method)
    if model.sketch_method is not method:
        inference["image encoder of sketches"] = inference["image encoder"]
    fresh: Any = None
    if identities or training:
        fresh = method_class(model.config["method"])(
            copy.deepcopy(model.clip), model.words, method.config, identities or batch
        )
    step_ms, peak = training_step(fresh.to(model.device), batch, seed) if training else (0.0, 0)
    picture = np.zeros((1, 3, *model.image_size), np.uint8)
    sample = {k: v[:1].to(model.device) for k, v in example_batch(method, 2, seed, method.clip.length).items()}
    return Cost(
        method=str(model.config["method"]),
        image_size=model.image_size,
        inference=inference,
        training={k: v for k, v in parts(fresh)[0].items() if k not in inference} if fresh is not None else {},
        image_macs=multiply_adds(lambda: method.encode_image(sample["image"]), [method]),
        text_macs=multiply_adds(lambda: method.encode_text(sample["text"]), [method]),
        text_ms=_median_ms(lambda: model.embed_texts(["a person in a red jacket and blue jeans"])),
        image_ms=_median_ms(lambda: model.embed_pixels(picture)),
        batch=batch if training else 0,
        step_ms=step_ms,
        peak_bytes=peak,
        device=torch.cuda.get_device_name(model.device)
        if model.device.type == "cuda"
        else f"{platform.machine()} processor",
        precision=model.precision,
    )


def parts(method: nn.Module) -> tuple[dict[str, int], dict[str, int]]:
    """Parameters by part: all, and those that are trained. CLIP is taken apart; its temperature is a part of its
    own."""
    every: dict[str, int] = {}
    moving: dict[str, int] = {}
    for name, parameter in method.named_parameters():
        part = name.split(".")[0]
        if part == "clip":
            vision = name.startswith(("clip.model.vision_model.", "clip.model.visual_projection."))
            part = "temperature" if name.endswith("logit_scale") else "image encoder" if vision else "text encoder"
        every[part] = every.get(part, 0) + parameter.numel()
        if parameter.requires_grad:
            moving[part] = moving.get(part, 0) + parameter.numel()
    return every, moving


def multiply_adds(run: Callable[[], Any], modules: Iterable[nn.Module]) -> int:
    """Multiply-adds of a call. modules: those whose LayerNorms are counted. Works on the meta device, where nothing is
    computed."""
    norms = 0

    def count(module: nn.Module, args: Any, out: Tensor) -> None:
        nonlocal norms
        norms += NORM_OPERATIONS * out.numel()

    with ExitStack() as stack:
        for module in modules:
            for part in module.modules():
                if isinstance(part, nn.LayerNorm):
                    stack.callback(part.register_forward_hook(count).remove)
        counter = stack.enter_context(FlopCounterMode(display=False))
        stack.enter_context(torch.no_grad())
        run()
    value: int = counter.get_total_flops() // 2 + norms
    return value


def example_batch(method: Any, rows: int, seed: int = 0, length: int = 24) -> Batch:
    """Random rows with two of each person and texts of `length` tokens: for measuring only. On the CPU."""
    g = torch.Generator().manual_seed(seed)
    words, length = method.words, min(method.clip.length, length)
    low, high = 5, max(6, words.end - 1)
    ids = torch.randint(low, high, (rows, length), generator=g)
    ids = torch.where(ids == words.placeholder, torch.full_like(ids, low + 1 if words.placeholder == low else low), ids)
    ids[:, 0], ids[:, -1] = words.start, words.end
    masked, labels = mask_tokens(ids, words, g)
    size = (rows, 3, *method.clip.image_size)
    return {
        "image": torch.rand(size, generator=g),
        "sketch": torch.rand(size, generator=g),
        "pid": torch.arange(rows) // 2,
        "image_id": torch.arange(rows),
        "text": ids,
        "masked_text": masked,
        "token_labels": labels,
        "told": torch.ones(rows, dtype=torch.long),
    }


def training_step(method: Any, rows: int, seed: int = 0) -> tuple[float, int]:
    """(milliseconds, peak bytes) of one step: losses, gradients, Adam. Two steps are taken and the second is timed."""
    if not method.param_groups():
        raise UsageError("this method is not trained; leave --training out")
    device = next(method.parameters()).device
    batch = {k: v.to(device) for k, v in example_batch(method, rows, seed).items()}
    method.train()
    method.prepare(lambda: _covering(method, batch))
    groups = [{k: v for k, v in g.items() if k in ("params", "weight_decay")} for g in method.param_groups()]
    optimiser = torch.optim.Adam(groups, lr=1e-8)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    taken = 0.0
    for step in range(2):
        begun = time.perf_counter()
        optimiser.zero_grad()
        generator = torch.Generator().manual_seed(seed + step)
        sum(method.losses(batch, Progress(step, 0, 2, generator)).values()).backward()
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken = time.perf_counter() - begun
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident()
    return 1000 * taken, peak


def _covering(method: Any, batch: Batch) -> Iterable[Batch]:
    """The batch again and again until every identity has been seen, for methods that prepare something for each."""
    rows = len(batch["pid"])
    for first in range(0, method.identities, rows):
        pids = (first + torch.arange(rows, device=batch["pid"].device)) % method.identities
        yield batch | {"pid": pids, "image_id": torch.full_like(pids, -1)}


def _resident() -> int:
    try:
        import resource
    except ImportError:  # only on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def _median_ms(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(QUERIES):
        begun = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times[1:])
