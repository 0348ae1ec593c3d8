"""Training: one loop, top to bottom, for every method, on one process or many.

A step is a function of its number: batches, augmentation, dropout and masks are seeded by (seed, step). So a run that
was killed and resumed ends with the same weights, bit for bit, as one that was not (on one process).
"""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..adapters import attach
from ..blocks import cache_gradients_of
from ..checkpoint import read_config, save_model, write_config
from ..embed import Model, choose_device, load
from ..errors import TrainingStopped, UsageError
from ..evaluate import Embedded, evaluate
from ..methods import Batch, Progress, Recipe
from ..ranking import Composition
from ..records import Dataset
from ..safe_files import write_whole
from ..search import Memo
from ..text import repaired
from .batches import Batches, mix
from .optimisers import learning_rates, optimiser_of
from .state import Kept, Log, load_state, provenance, save_state

PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""From the name of a precision to Fabric's; "auto" is bf16 on a GPU that has it, else fp32."""
MOST_READERS = 16
"""Threads that decode in one process, unless the settings say otherwise."""


@dataclass(frozen=True)
class Settings:
    """How a run is carried out; nothing here changes what is learnt but seed, precision, accumulate and select_on_test.

    Attributes:
        seed: of everything random.
        device: "auto", "cpu" or "cuda".
        precision: "fp32", "bf16", "fp16", or "auto": bf16 on a GPU that has it, else fp32.
        accumulate: micro-batches of one step, of neighbouring rows; each has its own negatives.
        save_every: also save each so many steps; 0: only after an epoch.
        select_on_test: choose the epoch on the test split; stamped on the result.
        threads: for decoding; 0 takes the cores of this machine, shared by its processes, and 16 at most.
        half: store the model as fp16.
        resume: go on from the run folder's saved state.
        checkpoint_gradients: keep the activations of one layer at a time: less memory, more time.
        cache_gradients: rows that are encoded at a time, 0 for all: a batch that memory does not hold keeps all its
            negatives.
        tensorboard: also write what TensorBoard shows.
    """

    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    accumulate: int = 1
    save_every: int = 0
    select_on_test: bool = False
    threads: int = 0
    half: bool = False
    resume: bool = False
    checkpoint_gradients: bool = False
    cache_gradients: int = 0
    tensorboard: bool = False

    def check(self) -> None:
        """Raise UsageError for a number out of its bounds."""
        for name, least in (("accumulate", 1), ("threads", 0), ("save_every", 0), ("seed", 0), ("cache_gradients", 0)):
            value = getattr(self, name)
            if value < least:
                zero = " (0 for all rows at once), or 1 or more" if name == "cache_gradients" else ""
                raise UsageError(f"{name}={value} was given; allowed: {least} or more{zero}")

    @property
    def readers(self) -> int:
        """Threads that decode in this process."""
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return self.threads or max(1, min(MOST_READERS, (os.cpu_count() or 1) // here))


@dataclass
class Step:
    """What the caller is told after each step.

    Attributes:
        step: steps done, from 1.
        steps: steps of the whole run.
        epoch: number of the epoch, from 0.
        losses: by name.
        left: seconds to the end of the run, by the steps so far.
    """

    step: int
    steps: int
    epoch: int
    losses: dict[str, float]
    left: float


@contextmanager
def _no_denormals() -> Iterator[None]:
    """Gradients near zero would make a processor many times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_no_denormals()
def train(
    method: Any,
    name: str,
    preset: str,
    data: Dataset,
    out: Path,
    settings: Settings,
    about: dict[str, Any] | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train a method on a data set into a run folder and return its metrics.json.

    The epoch kept is the best mean R@1 over the validation benchmarks that the method answers, or the last where the
    data set has none or the recipe says so. on_step: called after each step. stop: asked after
    every step; True ends the run resumably. Raises TrainingStopped when a loss is not finite (the last saved state is
    kept) and UsageError for settings that cannot be.
    """
    recipe: Recipe = method.config.recipe
    settings.check()
    fabric = _fabric(settings)
    batches = Batches(
        data.train, method.words, method.clip.image_size, recipe, method.needs, settings.seed,
        fabric.global_rank, fabric.world_size, settings.readers, fabric.device,
    )  # fmt: skip
    attach(method, name, mix(settings.seed, 7))
    scaled = settings.precision == "fp16" and recipe.clip_gradient  # Fabric clips only after unscaling each by itself
    optimiser = optimiser_of(method.to(fabric.device), recipe, fused=not scaled)
    state, start, kept = out / "training.safetensors", 0, Kept()
    lent = (about or {}).get("start", {}).get("weights")
    bound = _bound(name, method, data, settings, fabric.world_size) | ({"weights of --from": lent} if lent else {})
    if settings.resume:
        method.restored()
        start, kept = load_state(state, method, optimiser, fabric.strategy.precision, bound)
    out.mkdir(parents=True, exist_ok=True)
    if settings.checkpoint_gradients:
        method.clip.checkpoint_gradients()
    if settings.cache_gradients:
        cache_gradients_of(method, settings.cache_gradients)
    if not settings.resume:
        method.prepare(batches.share)
    model, optimiser = fabric.setup(method, optimiser)
    model.mark_forward_method("losses")
    rates = learning_rates(recipe, batches.steps)
    precision = _precision(settings)
    about = (about or {}) | provenance(data, len(batches.rows), settings.seed, precision, batches.device)
    log = Log(out, start, fabric.is_global_zero, settings.tensorboard)
    begun, total, halted = time.monotonic(), batches.steps * recipe.epochs, False

    waiting: list[Reading] = []  # on a GPU the losses of a step are read after the next was sent off

    def save(step: int) -> None:
        report()
        if fabric.is_global_zero:
            save_state(state, method, optimiser, step, kept, fabric.strategy.precision, bound)

    def report(leave: int = 0) -> None:
        while len(waiting) > leave:
            done = waiting.pop(0)
            losses = done.values(_advice(state, precision, rates(done.step)))
            log.write({"step": done.step, "epoch": done.epoch, "lr": rates(done.step)} | losses)
            left = (time.monotonic() - begun) / (done.step + 1 - log.start) * (total - done.step - 1)
            on_step(Step(done.step + 1, total, done.epoch, losses, left))

    for epoch in range(start // batches.steps, recipe.epochs):
        model.train()
        first = start % batches.steps
        if not first:
            method.begin_epoch(epoch, batches)
        for number, batch in enumerate(batches.epoch(epoch, first), first):
            step = epoch * batches.steps + number
            torch.manual_seed(mix(settings.seed, 4, step, fabric.global_rank))
            for group in optimiser.param_groups:
                group["lr"] = rates(step) * group["lr_scale"]
            generator = torch.Generator().manual_seed(mix(settings.seed, 5, step, fabric.global_rank))
            losses = _step(fabric, model, optimiser, batch, Progress(step, epoch, batches.steps, generator), settings)
            waiting.append(Reading(step, epoch, losses))
            report(leave=fabric.device.type == "cuda")
            halted = stop()
            if number + 1 < batches.steps:  # the last step of an epoch is saved with what its validation found
                if halted or (settings.save_every and (step + 1) % settings.save_every == 0):
                    save(step + 1)
                if halted:
                    return {"interrupted": step + 1, "steps": total}
        start = 0
        report()
        kept.consider(epoch, _validate(method, data, settings, fabric) if _selects(recipe, data, settings) else None)
        if fabric.is_global_zero and kept.epoch == epoch:
            save_model(out, method, name, preset, about | {"epoch": epoch + 1}, settings.half)
        log.write({"epoch": epoch, "val": kept.last})
        save((epoch + 1) * batches.steps)
        if halted and epoch + 1 < recipe.epochs:
            return {"interrupted": (epoch + 1) * batches.steps, "steps": total}
    return _finish(out, fabric, kept, recipe, data, settings, about, time.monotonic() - begun)


def _fabric(settings: Settings) -> Fabric:
    device = choose_device(settings.device, settings.precision)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32: what stays in 32 bits goes through the tensor cores
    world = int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun, like the processes of this node
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    strategy: Any = "auto"
    if world > 1:
        from lightning_fabric.strategies.ddp import DDPStrategy

        strategy = DDPStrategy(
            find_unused_parameters=True, process_group_backend="nccl" if device.type == "cuda" else "gloo"
        )
    fabric = Fabric(
        accelerator=device.type, devices=local, num_nodes=max(1, world // local), strategy=strategy,
        precision=PRECISION[_precision(settings)],  # type: ignore[arg-type]
    )  # fmt: skip
    fabric.launch()
    if world > 1:
        atexit.register(part)
    return fabric


def part() -> None:
    """Close this process's connections to the others; a process that ends with them open may be aborted."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _precision(settings: Settings) -> str:
    """The precision that "auto" means on this device; any other as it is named."""
    if settings.precision != "auto":
        return settings.precision
    on_gpu = choose_device(settings.device).type == "cuda"
    return "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "fp32"


def _bound(name: str, method: Any, data: Dataset, settings: Settings, world: int) -> dict[str, Any]:
    """What the meaning of a saved state depends on: a run goes on only where all of it is the same."""
    config = asdict(method.config)
    chosen_on = data.test if settings.select_on_test else data.val
    spec = getattr(getattr(method, "clip", None), "spec", None)
    return {
        "method": name,
        "data": data.fingerprint(),
        "seed": settings.seed,
        "processes": world,
        "accumulate": settings.accumulate,
        "select_on_test": settings.select_on_test,
        "validation": {name: bench.fingerprint() for name, bench in chosen_on.items()},
        "back_translations": _digest([e.back_translation for e in data.train]),
        **mended_texts(data, method.words),
        "vocabulary": _digest([method.words.tokenizer.to_str(), asdict(method.words.specials)]),
        "encoders": json.loads(json.dumps(spec.to_json())) if spec else {},
        "config": json.loads(json.dumps(config)),
    }


def mended_texts(data: Dataset, words: Any) -> dict[str, str]:
    """Which captions the vocabulary reads otherwise than they are written, such as typographic quotes; nothing where it
    reads all as they are."""
    read = [repaired(e.caption) for e in data.train if words.repairs and repaired(e.caption) != e.caption]
    return {"mended texts": _digest(read)} if read else {}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _advice(state: Path, precision: str, rate: float) -> str:
    """What to do after a loss that is not finite. rate: the learning rate of that step."""
    anew = f"train anew into another --out with a smaller learning rate than {rate:g} (--lr)"
    if not state.is_file():
        return f"nothing was saved before it; {anew}"
    if precision == "fp32":
        return f"the state saved before it is kept, but leads there again; {anew}"
    return f"the state saved before it is kept; go on from it in fp32 (--resume --precision fp32), or {anew}"


class Reading:
    """The losses of a step on their way from the device to the processor.

    step, epoch: where they belong. losses: () each, on the device.
    """

    def __init__(self, step: int, epoch: int, losses: dict[str, Tensor]):
        self.step, self.epoch, self.names = step, epoch, list(losses)
        self.numbers = torch.stack([x.float() for x in losses.values()]).to("cpu", non_blocking=True)
        self.event = None
        if next(iter(losses.values())).is_cuda:
            self.event = torch.cuda.Event()
            self.event.record()

    def values(self, advice: str = "") -> dict[str, float]:
        """By name, waiting for them where they are still on their way. Raises TrainingStopped for one not finite, with
        the advice.
        """
        if self.event is not None:
            self.event.synchronize()
        shown = dict(zip(self.names, self.numbers.tolist(), strict=True))
        bad = [key for key, value in shown.items() if not math.isfinite(value)]
        if bad:
            raise TrainingStopped(f"the loss {bad[0]!r} became {shown[bad[0]]} at step {self.step}; {advice}")
        return shown


def _step(
    fabric: Fabric, model: Any, optimiser: Any, batch: Batch, at: Progress, settings: Settings
) -> dict[str, Tensor]:
    """One optimiser step; the losses () on the device: means over processes, and over micro-batches by their rows."""
    shown: dict[str, Tensor] = {}
    optimiser.zero_grad()
    for part in _split(batch, settings.accumulate):
        with fabric.autocast():  # an unwrapped module enters no autocast of its own
            losses: dict[str, Tensor] = model.losses(part, at)
        share = len(part["pid"]) / len(batch["pid"])
        for key, value in losses.items():
            shown[key] = shown.get(key, 0.0) + value.detach() * share
        fabric.backward(torch.stack(list(losses.values())).sum() * share)
    clip = model.config.recipe.clip_gradient
    if clip:
        fabric.clip_gradients(model, optimiser, max_norm=clip)
    optimiser.step()
    if fabric.world_size > 1:
        mean = fabric.all_reduce(torch.stack([x.float() for x in shown.values()]), reduce_op="mean")
        shown = dict(zip(shown, mean.unbind(), strict=True))  # type: ignore[union-attr]
    return shown


def _split(batch: Batch, parts: int) -> list[Batch]:
    """Neighbouring rows, as the sampler put them; uneven where they must be, and fewer parts than asked for at most."""
    parts = min(parts, len(batch["pid"]))
    cut = {k: v.tensor_split(parts) for k, v in batch.items()}
    return [{k: v[i] for k, v in cut.items()} for i in range(parts)]


def _selects(recipe: Recipe, data: Dataset, settings: Settings) -> bool:
    return settings.select_on_test or (recipe.selection == "val" and bool(data.val))


def _validate(method: Any, data: Dataset, settings: Settings, fabric: Fabric) -> float:
    """Mean R@1 over the benchmarks that the method answers. Every photograph is embedded once, and processes share
    photographs and queries."""
    model = Model(method, {}, "in training", device=settings.device)
    benchmarks = data.test if settings.select_on_test else data.val
    asked = [b for b in benchmarks.values() if b.probes[0].query.kind in method.answers]
    rank, world = fabric.global_rank, fabric.world_size
    places = {path: i for i, path in enumerate(dict.fromkeys(p.path for b in asked for p in b.photos))}
    vectors = torch.zeros(len(places), model.dimension)
    vectors[rank::world] = torch.from_numpy(model.embed_images(list(places)[rank::world]))
    vectors = _summed(fabric, vectors)
    hits = torch.zeros(len(asked), dtype=torch.float64)
    for i, bench in enumerate(asked):
        if share := bench.probes[rank::world]:
            photos = vectors[[places[p.path] for p in bench.photos]].numpy()
            found = evaluate(model, replace(bench, probes=share), photos=photos)
            hits[i] = float((found.ranks.first == 1).sum())
    method.train()
    many = torch.tensor([len(b.probes) for b in asked], dtype=torch.float64)
    return float((100 * _summed(fabric, hits) / many).mean()) if asked else 0.0


def _summed(fabric: Fabric, x: Tensor) -> Tensor:
    """The sum over processes of what each holds, on the processor."""
    if fabric.world_size == 1:
        return x
    return fabric.all_reduce(x.to(fabric.device), reduce_op="sum").cpu()  # type: ignore[union-attr]


def _finish(
    out: Path,
    fabric: Fabric,
    kept: Kept,
    recipe: Recipe,
    data: Dataset,
    settings: Settings,
    about: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    rule = "val" if _selects(recipe, data, settings) else "last"
    if settings.select_on_test:
        rule = "test (asked for by name; flatters the result)"
    metrics = {
        "epochs": recipe.epochs,
        "kept_epoch": kept.epoch + 1,
        "selection": rule,
        "selection_scores": kept.scores,
        "seconds": round(seconds, 1),
        "recipe": asdict(recipe),
        "about": about,
    }
    if fabric.is_global_zero:
        metrics |= _compose(out, data, settings)
        write_whole(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    return metrics


COMPOSED = tuple(Composition(how) for how in ("early", "late", "early+late"))
"""What is compared at the end of a training; `descry model compose` compares more, with other shares."""


def _compose(out: Path, data: Dataset, settings: Settings) -> dict[str, Any]:
    """Have the run serve the best way of joining sketch and words on validation people: R@1 of each, by name.

    Nothing where the method does not join them in a prompt, or no validation benchmark asks with both. The mean
    average precision decides.
    """
    bench, model = data.val.get("sketch+text"), load(str(out), device=settings.device)
    if bench is None or "sketch+text" not in model.answers:
        return {}
    photos, memo = Embedded.of(model, bench), Memo(limit=1 << 20)
    found = {c: evaluate(model, bench, c, photos, memo=memo).ranks for c in COMPOSED}
    best = max(found, key=lambda c: found[c].map)
    chosen = {"chosen_on": bench.fingerprint()[:16], "R@1": round(found[best].r1, 2)}
    config = model.ranking.using(best).saved(read_config(out), **chosen)
    write_config(out, config)
    return {"composition": best.how, "composition R@1": {c.how: round(r.r1, 2) for c, r in found.items()}}
