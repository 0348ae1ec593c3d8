"""LoRA in a training: a run folder like any other, resumed bit for bit, refused where PEFT is missing."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from conftest import quick, toy_clip, toy_words, write_run
from descry.checkpoint import load_method, read_tensors
from descry.cli import main
from descry.errors import UsageError
from descry.methods import method_class, preset
from descry.training.loop import Settings, train

CPU = Settings(device="cpu", threads=1)


def made(**recipe):
    words = toy_words()
    torch.manual_seed(0)
    config = replace(preset("baseline", "recommended"), image_size=(32, 16))
    config = quick(config, adapter="lora", adapter_rank=2, adapter_dropout=0.1, **recipe)
    return method_class("baseline")(toy_clip(words), words, config, 16)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(toy, tmp_path):
    data = replace(toy, val={})
    whole, parted = made(), made()
    train(whole, "baseline", "recommended", data, tmp_path / "whole", CPU)
    left = iter([False, False, True])
    stopped = train(parted, "baseline", "recommended", data, tmp_path / "parted", CPU, stop=lambda: next(left))
    assert stopped["interrupted"] == 3
    assert any("lora_A" in k for k in read_tensors(tmp_path / "parted" / "training.safetensors"))
    train(made(), "baseline", "recommended", data, tmp_path / "parted", replace(CPU, resume=True))
    first, second = (read_tensors(tmp_path / run / "model.safetensors") for run in ("whole", "parted"))
    plain = set(toy_clip(toy_words()).state_dict())
    assert {k.removeprefix("clip.") for k in first} == plain, "the names of a run without adapters"
    assert all(torch.equal(first[k], second[k]) for k in first)
    other = made()
    other.config = other.config.with_recipe(replace(other.config.recipe, adapter_rank=4))
    with pytest.raises(UsageError, match="adapter_rank=2, and 4 was given"):
        train(other, "baseline", "recommended", data, tmp_path / "parted", replace(CPU, resume=True))


def test_the_command_line_trains_and_goes_on_from_a_merged_run(toy, tmp_path, capsys):
    from descry_people.miniature import write_miniature

    data = str(write_miniature("table", tmp_path / "data"))
    start = str(write_run(tmp_path / "start"))
    given = ["train", "baseline", "--data", data, "--epochs", "1", "--batch-size", "8", "--device", "cpu"]
    given += ["--image-size", "32", "16", "--threads", "1"]
    lora = ["--set", "adapter=lora", "--set", "adapter_rank=2", "--set", "adapter_targets=q_proj,v_proj"]
    run, after = str(tmp_path / "run"), str(tmp_path / "after")
    assert main([*given, "--from", start, "--out", run, *lora]) == 0
    assert main([*given, "--from", run, "--out", after]) == 0
    begun, ended = (load_method(tmp_path / name)[0].clip.state_dict() for name in ("start", "run"))
    moved = {k.split(".")[-2] for k in ended if not torch.equal(begun[k], ended[k])}
    assert moved == {"q_proj", "v_proj"}
    assert main([*given, "--from", start, "--out", str(tmp_path / "no"), "--set", "adapter=dora"]) == 2
    assert "adapter='dora' was given" in capsys.readouterr().err


def test_without_peft_it_is_said_how_to_install_it(toy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"adapter=lora needs PEFT.*lora\]"):
        train(made(), "baseline", "recommended", toy, tmp_path / "run", CPU)
