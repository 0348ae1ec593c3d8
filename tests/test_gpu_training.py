"""One training step of each method at its paper's size on a GPU; on a processor the same code with a tiny CLIP.

Only sizes and the device differ. Weights and data are random, nothing is downloaded. Images a second are printed and
not judged: `pytest tests/test_gpu_training.py -rP` shows them.
"""

from __future__ import annotations

import gc
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from conftest import toy_clip, toy_words
from descry.clip import random_clip
from descry.cost import _covering, example_batch
from descry.embed import Model
from descry.encoders import choose_encoder
from descry.export import PARITY
from descry.methods import Progress, method_class, preset
from descry.training import loop
from descry.training.optimisers import learning_rates, optimiser_of
from descry.training.state import Kept, load_state, save_state
from descry_lab import cost
from descry_lab.tracing import Counted, traced

CASES = cost.METHODS | {"RDE": ("rde", 1, "cuhk-pedes")}
ROWS = 4
"""Of a batch, and people, on a processor."""
MARGIN = 1.25
"""Most that a step may take, as a multiple of what was counted without a GPU."""
TOLERANCE = {"rel": 0.05, "abs": 0.02}
"""How far a loss in bfloat16, which has three significant digits, may be from the same in 32 bits."""

no_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU on this machine: a step of the paper's size needs one"
)
on_both = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=no_gpu)])


@pytest.fixture(autouse=True)
def _as_before():
    """Training on a GPU multiplies in TF32 from then on; other tests do not. What a step took is given back."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def made(title, device, seed=0, **changes):
    """A method by its preset `paper`, on the processor: of the paper's size for a GPU, else tiny."""
    name, stage, data = CASES[title]
    cls, config = method_class(name), preset(name, "paper", data).with_stage(stage)
    if device == "cuda":
        words, people = (
            cost.vocabulary(cost.BERT_VOCABULARY if name == "vit_bert" else 0),
            cost.people_and_rows(data)[0],
        )
        size = (config.image_size, *cost.VIT_B16, cost.CLIP_VOCABULARY, cost.LENGTH)
        clip = random_clip(*size, words.end, words.placeholder, seed)
    else:
        words, people = toy_words(), ROWS
        clip = toy_clip(words, seed)
        config = replace(config, **(cls.small | {"image_size": clip.image_size}))
        config = config.with_recipe(replace(config.recipe, batch_size=ROWS))
    torch.manual_seed(seed)
    return cls(clip, words, replace(config, **changes), people)


def counted(title, device, precision):
    """Bytes of a step, counted without carrying it out: as results/cost.json has it, or counted here."""
    held = cost.read()["methods"].get(title, {}) if device == "cuda" else {}
    if precision in held:
        return held[precision]["bytes"]
    with FakeTensorMode():
        with Counted(checks=False):
            method = made(title, device)
        return traced(method, precision=precision).bytes


class Training:
    """A method on its device with a batch of random rows, each of another person, and texts of the greatest length.

    saved: go on from this state.
    """

    def __init__(self, method, device, precision, saved=None):
        self.settings = loop.Settings(device=device, precision=precision, threads=1)
        self.fabric = loop._fabric(self.settings)
        self.rows, self.method = method.config.recipe.batch_size, method
        optimiser = optimiser_of(method.to(self.fabric.device), method.config.recipe)
        batch = example_batch(method, self.rows, length=method.clip.length) | {"pid": torch.arange(self.rows)}
        needed = {"image", "pid", "image_id", *method.needs}
        needed |= {"masked_text", "token_labels"} if "text" in needed else set()
        self.batch = {k: v.to(self.fabric.device) for k, v in batch.items() if k in needed}
        if saved:
            method.restored()
            load_state(saved, method, optimiser, self.fabric.strategy.precision)
        else:
            method.prepare(lambda: _covering(method, self.batch))
        self.rates = learning_rates(method.config.recipe, steps=8)
        self.model, self.optimiser = self.fabric.setup(method, optimiser)
        self.model.mark_forward_method("losses")
        self.model.train()

    def at(self, number):
        torch.manual_seed(number)
        return Progress(number, 0, 8, torch.Generator().manual_seed(number))

    def step(self, number):
        """Losses by name of one whole step, when the device is done with it."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rates(number) * group["lr_scale"]
        found = loop._step(self.fabric, self.model, self.optimiser, self.batch, self.at(number), self.settings)
        return loop.Reading(number, 0, found).values()

    def losses(self):
        """Those of the first step, without taking it."""
        with torch.no_grad(), self.fabric.autocast():
            found = self.model.losses(self.batch, self.at(0))
        return loop.Reading(0, 0, found).values()

    def peak(self, number):
        """(losses, bytes): the most that lived at once in a step; on a processor the storages that torch made."""
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return self.step(number), torch.cuda.max_memory_allocated()
        mode = Counted()
        moments = [x for state in self.optimiser.state.values() for x in state.values()]
        for tensor in (*self.method.parameters(), *self.method.buffers(), *self.batch.values(), *moments):
            mode.hold(tensor)
        with mode:
            return self.step(number), mode.peak


def three_steps(title, device, precision):
    """(losses, peak bytes, images a second): the first step makes Adam's moments, the next is measured, then timed."""
    training = Training(made(title, device), device, precision)
    first = training.step(0)
    second, peak = training.peak(1)
    begun = time.perf_counter()
    third = training.step(2)
    return [first, second, third], peak, training.rows / (time.perf_counter() - begun)


@pytest.mark.parametrize(
    ("device", "precision"),  # on a processor one is enough to try the code
    [("cpu", "bf16"), pytest.param("cuda", "bf16", marks=no_gpu), pytest.param("cuda", "fp32", marks=no_gpu)],
)
@pytest.mark.parametrize("title", CASES)
def test_a_step_is_finite_and_takes_the_memory_that_was_counted(title, precision, device):
    expected, lacking = counted(title, device, precision), ""
    most = MARGIN * expected
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else math.inf
    try:
        losses, peak, speed = three_steps(title, device, precision)
    except torch.cuda.OutOfMemoryError:
        if free >= most:
            raise
        lacking = f"this GPU has {free / 1e9:.0f} GB free; this step may take {most / 1e9:.0f} GB"
    if lacking:  # outside of the handler, which would keep the step's tensors
        pytest.skip(lacking)
    print(f"{title}, {precision} on {device}: {speed:.0f} images/s, peak {peak / 1e9:.3f} of {most / 1e9:.3f} GB")
    assert losses[0]
    assert all(math.isfinite(value) for found in losses for value in found.values())
    assert expected / 2 < peak <= most


@on_both
@pytest.mark.parametrize("title", CASES)
def test_losses_in_bfloat16_are_near_those_in_32_bits(title, device):
    still = {"text_dropout": 0.0, "mapping_dropout": 0.0} if "InteractReID" in title else {}
    half, whole = (Training(made(title, device, **still), device, p).losses() for p in ("bf16", "fp32"))
    print(f"{title} on {device}: bf16 {half}, fp32 {whole}")
    assert half != whole
    assert half == pytest.approx(whole, **TOLERANCE)


@on_both
@pytest.mark.parametrize("title", ["InteractReID, stage 2", "Propot"])
def test_a_training_goes_on_from_its_saved_state(title, device, tmp_path):
    """Weights and moments come back bit for bit on their device, and the next step has the same losses."""
    saved = tmp_path / "training.safetensors"
    first = Training(made(title, device), device, "fp32")
    for number in range(2):
        first.step(number)
    save_state(saved, first.method, first.optimiser, 2, Kept(), first.fabric.strategy.precision)
    again = Training(made(title, device, seed=1), device, "fp32", saved)
    saved.unlink()  # gigabytes at the paper's size
    for name, value in first.method.state_dict().items():
        assert torch.equal(value, again.method.state_dict()[name]), name
    for (name, one), other in zip(first.method.named_parameters(), again.method.parameters(), strict=True):
        moments = first.optimiser.state.get(one, {})
        assert moments or not one.requires_grad or one.grad is None, name
        for key, value in moments.items():
            assert torch.equal(value, again.optimiser.state[other][key]), (name, key)
            assert value.device == again.optimiser.state[other][key].device
    assert again.step(2) == pytest.approx(first.step(2), rel=1e-3)


@on_both
def test_the_image_encoder_keeps_its_vectors_on_the_route_that_is_chosen(device):
    clip = made("Propot", device).clip
    method = method_class("zero_shot")(clip, toy_words(), preset("zero_shot", "recommended"), 0).eval()
    model = Model(method, {"fingerprint": "f" * 64}, "random weights", device=device)
    count = 1024 if device == "cuda" else 8
    pixels = np.random.default_rng(1).integers(0, 256, (count, 3, *model.image_size), dtype=np.uint8)
    whole = model.embed_pixels(pixels)
    route = choose_encoder(model, pictures=count)
    model.embed_pixels(pixels)  # the first pass chooses kernels
    begun = time.perf_counter()
    found = model.embed_pixels(pixels)
    print(f"encoder, {route} on {device}: {count / (time.perf_counter() - begun):.0f} images/s")
    assert (found * whole).sum(axis=1).min() >= PARITY
