"""The way to a GPU, without one: the order in which parts travel and are computed, and what is chosen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from descry import encoders
from descry.clip import random_clip
from descry.embed import Model
from descry.errors import UsageError
from descry.export import PARITY, ImageEncoder
from descry.methods import method_class, preset


@pytest.fixture(scope="module")
def model():
    from conftest import toy_words

    words = toy_words()
    clip = random_clip(vocabulary=len(words), end=words.end, placeholder=words.placeholder, seed=0)
    method = method_class("zero_shot")(clip, words, preset("zero_shot", "recommended"), 0).eval()
    return Model(method, {"fingerprint": "f" * 64}, "tiny", device="cpu")


def pixels(model, count):
    return np.random.default_rng(1).integers(0, 256, (count, 3, *model.image_size), dtype=np.uint8)


class Recorder(encoders.Lane):
    """A lane on a processor that notes what happens when."""

    def __init__(self):
        super().__init__(torch.device("cpu"))
        self.seen = []

    def send(self, given):
        self.seen.append(f"send {len(given)}")
        return super().send(given)

    def take(self, sent):
        self.seen.append(f"take {len(sent[0])}")
        return super().take(sent)


def test_a_part_travels_while_the_one_before_is_computed(model):
    lane, given = Recorder(), pixels(model, 10)
    rows = encoders.overlapped(ImageEncoder(model.method), lane, size=4)(given)
    assert lane.seen == ["send 4", "send 4", "take 4", "send 2", "take 4", "take 2"]
    np.testing.assert_allclose(rows, model.embed_pixels(given), atol=1e-5)
    lane.seen.clear()
    encoders.overlapped(ImageEncoder(model.method), lane, size=4)(given[:3])
    assert lane.seen == ["send 3", "take 3"]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_the_order(model, kind):
    given = pixels(model, 6)
    encoder = encoders.overlapped(
        ImageEncoder(encoders.in_half(model.method, kind)), encoders.Lane(torch.device("cpu")), 4
    )
    assert (encoder(given) * model.embed_pixels(given)).sum(axis=1).min() >= PARITY


def test_pinned_copies_are_waited_for_and_kept(monkeypatch):
    """The calls that make copying on a stream of its own safe, on a GPU that only takes notes."""
    notes = []

    class Stream:
        def record_event(self):
            notes.append("event")
            return "arrived"

        def wait_event(self, event):
            notes.append(f"wait {event}")

        def __enter__(self):
            notes.append("copying stream")

        def __exit__(self, *error):
            pass

    class Pinned:
        def to(self, device, non_blocking):
            notes.append(f"to {device} {non_blocking}")
            return SimpleNamespace(
                record_stream=lambda stream: notes.append("kept"), float=lambda: notes.append("float") or "images"
            )

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: notes.append("pinned") or Pinned())
    lane = encoders.Lane(torch.device("cuda"))
    assert lane.take(lane.send(np.zeros((2, 3, 4, 4), np.uint8))) == "images"
    assert notes == ["copying stream", "pinned", "to cuda True", "event", "wait arrived", "kept", "float"]


def test_a_gpu_gets_half_precision_if_it_agrees(model, monkeypatch):
    pretended = SimpleNamespace(
        device=SimpleNamespace(type="cuda"), method=model.method, embed_pixels=model.embed_pixels, encoder=None,
        image_size=model.image_size,
    )  # fmt: skip
    lane, in_half = encoders.Lane, encoders.in_half
    monkeypatch.setattr(encoders, "Lane", lambda device: lane(torch.device("cpu")))
    assert encoders.choose_encoder(pretended) == "cuda float16"
    assert pretended.encoder is not None
    overflowing = lambda method, kind: in_half(method, kind) if kind == torch.bfloat16 else broken(method)  # noqa: E731
    monkeypatch.setattr(encoders, "in_half", overflowing)
    assert encoders.choose_encoder(pretended) == "cuda bfloat16"
    pretended.encoder = None
    assert encoders.choose_encoder(pretended, "torch") == "torch"
    assert pretended.encoder is None
    with pytest.raises(UsageError, match="--device cpu"):
        encoders.choose_encoder(pretended, "openvino")


def broken(method):
    return SimpleNamespace(encode_image=lambda images: torch.full((len(images), 32), torch.nan), eval=lambda: None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU is usable here")
def test_on_a_real_gpu(model):
    on_gpu = Model(model.method, {"fingerprint": "f" * 64}, "tiny", device="cuda")
    try:
        reference = on_gpu.embed_pixels(pixels(model, 200))
        assert encoders.choose_encoder(on_gpu).startswith("cuda")
        assert (on_gpu.embed_pixels(pixels(model, 200)) * reference).sum(axis=1).min() >= PARITY
    finally:
        model.method.to("cpu")
