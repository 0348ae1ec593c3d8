"""Memory and time of the papers' tables: counted as a step carried out has them, and every table has its figure."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode

from conftest import toy_words
from descry import cost as counts
from descry.clip import random_clip
from descry.methods import method_class, preset, propot
from descry.methods.vfe_tps import MaskedImageModelling
from descry_lab import cost
from descry_lab.papers import TABLES
from descry_lab.studies import STUDIES, study_of
from descry_lab.tracing import MOMENTS, image_macs, masked_word_macs, prototype_macs, text_macs, traced

ROWS = 24


def made(name, **changes):
    """A small method whose activations are more than its weights."""
    words = toy_words()
    torch.manual_seed(0)
    cls = method_class(name)
    config = replace(preset(name, "paper"), **(cls.small | changes))
    clip = random_clip((32, 16), 8, 32, 64, 6, 32, 6, len(words), 77, words.end, words.placeholder)
    return cls(clip, words, replace(config, image_size=clip.image_size), ROWS)


CASES = {
    "VFE-TPS": ("vfe_tps", {}),
    "Propot": ("propot", {"mlm": False}),
    "InteractReID, stage 1": ("interactreid", {}),
    "InteractReID, stage 2": ("interactreid", {"stage": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_counted_without_values_is_what_a_step_carried_out_needs(case):
    """And its peak is what autograd says that it keeps, by its own hooks, and little more."""
    name, changes = CASES[case]
    method, kept = made(name, **changes), {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        real = traced(method, ROWS, "fp32")
    with FakeTensorMode():
        counted = traced(made(name, **changes), ROWS, "fp32")
    assert counted.bytes == pytest.approx(real.bytes, rel=0.02)
    assert counted.flop == pytest.approx(real.flop, rel=0.02)
    assert (counted.parameters, counted.trained) == (real.parameters, real.trained)
    own = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in method.parameters()}
    peak = counted.bytes - MOMENTS * counted.trained
    assert 0.8 * peak < sum((kept | own).values()) < 1.1 * peak


def test_bfloat16_and_recomputed_activations_need_less():
    with FakeTensorMode():
        wide, half, again = (
            traced(made("interactreid"), ROWS, precision, checkpointed)
            for precision, checkpointed in (("fp32", False), ("bf16", False), ("bf16", True))
        )
    assert again.bytes < half.bytes < wide.bytes
    assert again.flop > half.flop == wide.flop


def test_one_of_two_processes_counts_alone(monkeypatch):
    """The other waits until it has ended, and would not answer."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with FakeTensorMode():
        assert traced(made("vfe_tps", heads=2, mask_unit=8, pairs=4), 4).bytes > 0


def test_every_paper_table_has_its_memory_and_time_and_a_full_step_is_still_the_same():
    held = cost.read()
    assert list(held["tables"]) == [name for name, study in STUDIES.items() if not study.world]
    assert all(found["gigabytes"] > 1 and found["hours"] > 0 for found in held["tables"].values())
    name, stage, data = cost.METHODS["InteractReID, stage 2"]
    found = cost.step_of(name, preset(name, "paper", data).with_stage(stage), cost.people_and_rows(data)[0])
    if held["torch"] == torch.__version__:
        assert asdict(found) == pytest.approx(held["methods"]["InteractReID, stage 2"]["bf16"], rel=1e-3)


def test_trainings_of_a_table_are_counted_once_with_their_steps(monkeypatch):
    four = list(cost.trainings(study_of("interactreid-4")))
    assert [t.stage for t in four].count(1) == 1, "all rows share what is adapted"
    assert len(four) == 12
    assert four[0].steps == 5 * (139_810 // 240)  # the last batch of an epoch is left out
    (pku,) = {t.steps for t in cost.trainings(study_of("interactreid-2")) if t.config.recipe.epochs == 40}
    assert pku == 10 * 40 * (300 // 16)
    assert [t.method for t in cost.trainings(study_of("vfe-tps-4"))] == ["vfe_tps"]
    monkeypatch.setattr(cost, "step_of", lambda *given: cost.Step(1, 0, 0, 2 * 10**9, int(cost.RATE)))
    steps = four[0].steps + 11 * four[1].steps
    expected = {"gigabytes": 2.0, "trainings": 12, "steps": steps, "hours": round(steps / 3600, 2)}
    assert cost.needs(study_of("interactreid-4")) == expected


def test_propots_table_4_comes_out_at_the_papers_size():
    """Parameters to the last printed digit, FLOPs within 0.2 %: how the paper counts the encoders is not stated."""
    with torch.device("meta"):
        clip = random_clip((384, 128), *cost.VIT_B16, cost.CLIP_VOCABULARY, cost.LENGTH)
    encoders = image_macs(clip, tokens=True) + text_macs(clip)
    words = masked_word_macs(clip)
    table = TABLES["propot-4"]
    for row, changes in propot.ROWS.items():
        config = replace(preset("propot", "paper"), **changes)
        with torch.device("meta"):
            method = method_class("propot")(clip, toy_words(), config, 11_003)
        parameters, flops = table.rows[row][-2:]
        assert sum(counts.parts(method)[0].values()) / 1e6 == pytest.approx(parameters, abs=0.006), row
        fields = ("prototypes", "dpp", "ipp_intra", "ipp_inter", "prompts", "sae_blocks", "cad_blocks", "heads")
        added = prototype_macs(11_003, 64, **{f: getattr(config, f) for f in fields})
        total = encoders + added + (words if config.mlm else 0)
        assert total / 1e9 == pytest.approx(flops, rel=0.002), row


def test_no_rule_gives_both_flops_of_vfe_tps():
    """What docs/methods-vfe-tps.md says was tried for the paper's 17 (training) and 12 (inference), in G."""
    with torch.device("meta"):
        clip = random_clip((384, 128), *cost.VIT_B16, cost.CLIP_VOCABULARY, cost.LENGTH)
        mim = MaskedImageModelling(clip, preset("vfe_tps", "paper"))
    patches = clip.grid[0] * clip.grid[1]
    convolution = 3 * clip.patch**2 * clip.image_width * patches

    def linear(model, tokens, part=""):
        named = model.named_modules()
        return tokens * sum(m.weight.numel() for n, m in named if type(m) is torch.nn.Linear and part in n)

    vision, text = clip.model.vision_model, clip.model.text_model
    photograph, words = image_macs(clip, tokens=True), text_macs(clip)
    mlp = convolution + linear(vision, 1 + patches, "mlp."), linear(text, cost.LENGTH, "mlp.")
    drawn = (
        sum(linear(x, 1 + patches) for b in mim.cross.blocks for x in (b.fc, b.proj))
        + patches * mim.head.conv.weight.numel()
    )
    projections = (1 + patches) * clip.model.visual_projection.weight.numel() + cost.LENGTH * clip.dim**2
    matrices = convolution + linear(vision, 1 + patches) + linear(text, cost.LENGTH) + projections
    found = [
        photograph + words, photograph, matrices, sum(mlp), sum(mlp) + mlp[0] + drawn, sum(mlp) + drawn,
    ]  # fmt: skip
    page = (Path(__file__).resolve().parents[2] / "docs" / "methods-vfe-tps.md").read_text("utf-8")
    told = [float(x) for x in re.findall(r"\*\*(\d+\.\d) G\*\*", page)]
    assert [round(x / 1e9, 1) for x in found] == told
    assert not any(round(a) == 12 and round(b) == 17 for a in told for b in told), "then the column can be filled"
