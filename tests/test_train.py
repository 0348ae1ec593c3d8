"""The loop: rates, resuming after a kill, two processes, selection, and what stops it."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import quick, toy_clip, toy_words, write_toy
from descry.checkpoint import load_training
from descry.embed import Model, load
from descry.errors import DataError, ModelRefused, TrainingStopped, UsageError
from descry.evaluate import evaluate
from descry.methods import Recipe
from descry.methods.interactreid import PRESETS, InteractReID
from descry.records import Example
from descry.training import loop
from descry.training.batches import AHEAD, Batches, mix
from descry.training.loop import Settings, _validate, train
from descry.training.optimisers import learning_rates

CPU = Settings(device="cpu")


def toy_method(stage=1, seed=0, **changes):
    words = toy_words()
    torch.manual_seed(seed)
    config = quick(replace(PRESETS["recommended"], stage=stage, composed=1.0, **changes))
    return InteractReID(toy_clip(words), words, config, 16)


def run(data, out, settings=CPU, method=None, **kwargs):
    method = method or toy_method()
    return method, train(method, "interactreid", "recommended", data, Path(out), settings, **kwargs)


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """A training that nothing stops: its folder, the method and what was measured."""
    out = tmp_path_factory.mktemp("whole")
    return out, *run(toy, out)


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_the_iteration_schedule():
    rate = learning_rates(Recipe(3, 1, 1e-4, warmup_epochs=1, warmup_from=1e-6, end_lr=5e-6), 10)
    assert rate(0) == pytest.approx(1e-6)
    assert rate(9) == pytest.approx(1e-4)
    assert rate(10) == pytest.approx(1e-4)
    assert rate(20) == pytest.approx(5e-6 + (1e-4 - 5e-6) / 2)
    assert 5e-6 < rate(29) < 6e-6
    assert rate(29) == pytest.approx(5e-6 + (1e-4 - 5e-6) * (1 + math.cos(math.pi * 19 / 20)) / 2)


def test_a_warm_up_may_be_a_share_of_the_run():
    for epochs in (4, 40):
        share = Recipe(epochs, 1, 1e-4, warmup_share=0.25, warmup_from=1e-6)
        same = Recipe(epochs, 1, 1e-4, warmup_epochs=epochs / 4, warmup_from=1e-6)
        ours, theirs = learning_rates(share, 10), learning_rates(same, 10)
        assert [ours(i) for i in range(10 * epochs)] == [theirs(i) for i in range(10 * epochs)]


def test_the_epoch_schedule_is_irras():
    """Linear from 0.1× over 5 epochs, then cosine to 0 at epoch 60; values per epoch from the released code's log."""
    rate = learning_rates(Recipe(60, 1, 1e-5, schedule="epoch", warmup_epochs=5, warmup_from=1e-6), 7)
    expected = [1.0e-6, 2.8e-6, 4.6e-6, 6.4e-6, 8.2e-6, 1.0e-5, 9.99e-6, 9.97e-6]
    assert [rate(7 * e) for e in range(8)] == pytest.approx(expected, rel=1e-3)
    assert rate(7 * 59) == pytest.approx(8.2e-9, rel=1e-2)
    assert rate(6) == rate(0)
    with pytest.raises(UsageError, match="schedule"):
        learning_rates(Recipe(1, 1, 1.0, schedule="weekly"), 1)


def test_a_run_folder_is_written_and_can_be_loaded(toy, tmp_path):
    heard = []
    method, metrics = run(toy, tmp_path / "run", on_step=heard.append)
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "training.safetensors",
        "tokenizer.json",
        "words.json",
        "log.jsonl",
        "metrics.json",
    }
    assert metrics["selection"] == "val"
    assert len(metrics["selection_scores"]) == 2
    assert heard[-1].step == heard[-1].steps == 8
    lines = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if "step" in x] == list(range(8))
    model = load(tmp_path / "run", device="cpu")
    if metrics["kept_epoch"] == 2:
        assert same_weights(model.method, method)
    assert model.about["data"] == "toy"
    assert model.about["seed"] == 0


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(toy, tmp_path, whole):
    _, a, _ = whole
    b, _ = run(toy, tmp_path / "b")
    c, _ = run(toy, tmp_path / "c", replace(CPU, seed=1))
    assert same_weights(a, b)
    assert not same_weights(a, c)


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_stopped_and_resumed_ends_with_the_same_weights(toy, tmp_path, steps, whole):
    folder, method, expected = whole
    left = iter([False] * (steps - 1) + [True])
    _, stopped = run(toy, tmp_path / "parts", stop=lambda: next(left))
    assert stopped == {"interrupted": steps, "steps": 8}
    resumed, metrics = run(toy, tmp_path / "parts", replace(CPU, resume=True))
    assert same_weights(method, resumed)
    assert metrics["selection_scores"] == expected["selection_scores"]
    for file in ("model.safetensors", "training.safetensors"):
        assert (folder / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()
    lines = [json.loads(x).get("step") for x in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [s for s in lines if s is not None] == list(range(8))


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = {path}
from test_train import run, CPU
from conftest import write_toy
from dataclasses import replace
import torch
torch.set_num_threads(1)
data = write_toy(Path({data!r}))
print("ready", flush=True)
run(data, {out!r}, replace(CPU, save_every=1), on_step=lambda s: (print(s.step, flush=True), time.sleep(0.2)))
"""


def test_killed_without_warning_and_resumed_ends_with_the_same_weights(tmp_path, whole):
    (tmp_path / "data").mkdir()
    data = write_toy(tmp_path / "data")
    code = KILLED.format(path=[str(Path(__file__).parent)], data=str(tmp_path / "data"), out=str(tmp_path / "parts"))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.strip() == "4":
            time.sleep(0.05)
            child.send_signal(signal.SIGKILL)
            break
    child.wait()
    child.stdout.close()
    _, position = load_training(tmp_path / "parts" / "training.safetensors")
    assert 0 < position["step"] < 8
    resumed, _ = run(data, tmp_path / "parts", replace(CPU, resume=True))
    assert same_weights(whole[1], resumed)


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_good_state(toy, tmp_path):
    method = toy_method()
    good = method.losses

    def losses(self, batch, at):
        out = good(batch, at)
        return out | {"image-text": out["image-text"] * float("nan")} if at.step == 5 else out

    method.losses = types.MethodType(losses, method)
    with pytest.raises(TrainingStopped, match=r"'image-text' became nan at step 5"):
        run(toy, tmp_path / "run", replace(CPU, save_every=2), method)
    tensors, position = load_training(tmp_path / "run" / "training.safetensors")
    assert position["step"] == 4
    assert all(bool(torch.isfinite(v).all()) for v in tensors.values() if v.is_floating_point())
    load(tmp_path / "run", device="cpu")  # the first epoch's model is there


def test_selection_is_on_validation_or_last_and_on_test_only_by_name(toy, tmp_path):
    without = replace(toy, val={})
    metrics = run(without, tmp_path / "a")[1]
    assert (metrics["selection"], metrics["kept_epoch"]) == ("last", 2)
    assert "flatters" in run(without, tmp_path / "b", replace(CPU, select_on_test=True))[1]["selection"]
    method = toy_method()
    method.config = quick(method.config, selection="last")
    assert run(toy, tmp_path / "c", method=method)[1]["selection"] == "last"


class _Met(Exception):
    """A process has come to a sum whose other parts are not known yet."""


def in_turn(world, act):
    """What `act` gives in each of `world` processes, played one after the other: each begins anew and is stopped at the
    first sum that not all have reached."""
    totals = []
    while True:
        parts, results = [], []
        for rank in range(world):
            known = iter(totals)

            def all_reduce(x, reduce_op, known=known, parts=parts):
                assert reduce_op == "sum"
                total = next(known, None)
                if total is None:
                    parts.append(x.clone())
                    raise _Met
                return total

            try:
                results.append(act(types.SimpleNamespace(
                    global_rank=rank, world_size=world, device=torch.device("cpu"), all_reduce=all_reduce
                )))  # fmt: skip
            except _Met:
                continue
        if len(results) == world:
            return results
        totals.append(sum(parts))


def test_processes_share_photographs_and_queries_of_validation(toy, monkeypatch):
    method, seen = toy_method(), []
    embed = Model.embed_images
    monkeypatch.setattr(
        Model, "embed_images", lambda self, p, *a, **k: seen.append([str(x) for x in p]) or embed(self, p, *a, **k)
    )
    (one,) = in_turn(1, lambda fabric: _validate(method, toy, CPU, fabric))
    photos = {str(p.path) for b in toy.val.values() for p in b.photos}
    assert sorted(seen[0]) == sorted(photos), "each photograph once, for all benchmarks"
    expected = [evaluate(Model(method, {}, "", device="cpu"), b).ranks.r1 for b in toy.val.values()]
    assert one == pytest.approx(sum(expected) / len(expected))
    seen.clear()
    assert in_turn(2, lambda fabric: _validate(method, toy, CPU, fabric)) == [pytest.approx(one)] * 2
    shares = seen[:2]
    assert abs(len(shares[0]) - len(shares[1])) <= 1
    assert {*shares[0], *shares[1]} == photos
    assert not {*shares[0]} & {*shares[1]}


def test_the_machine_says_how_many_threads_decode(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert Settings().readers == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert (Settings().readers, Settings(threads=3).readers) == (8, 3)


@pytest.mark.parametrize(("able", "means"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_trains_in_bfloat16_where_it_can(monkeypatch, able, means):
    monkeypatch.setattr(loop, "choose_device", lambda *given: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: able)
    assert loop._precision(Settings()) == means
    assert loop._precision(Settings(precision="fp16")) == "fp16"


def test_batches_are_read_ahead_and_pinned_for_a_gpu(toy, words, monkeypatch):
    reader = Batches(toy.train, words, (32, 16), Recipe(1, 4, 1e-3), frozenset(), 0, threads=1)
    seen, enough, read = [], threading.Event(), reader._read

    def watched(numbers, epoch, step, pool):
        seen.append(step)
        if len(seen) == AHEAD + 1:
            enough.set()
        return read(numbers, epoch, step, pool)

    monkeypatch.setattr(reader, "_read", watched)
    epoch = reader.epoch(0)
    next(epoch)
    assert enough.wait(60), "two more are being read while the first is used"
    assert sorted(seen) == list(range(AHEAD + 1)) != list(range(reader.steps))
    epoch.close()
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: x + 1)
    held = {"pid": torch.tensor([1])}
    assert reader._pinned(held) is held
    reader.device = "cuda"
    assert reader._pinned(held)["pid"].item() == 2


def test_caching_gradients_changes_no_step(toy, tmp_path):
    run(toy, tmp_path / "whole", method=toy_method(text_dropout=0.0, mapping_dropout=0.0))
    parts = toy_method(text_dropout=0.0, mapping_dropout=0.0)
    seen = []
    parts.clip.model.vision_model.register_forward_hook(lambda m, a, out: seen.append(len(out)))
    run(toy, tmp_path / "parts", replace(CPU, cache_gradients=3), parts)
    losses = [
        [
            json.loads(x)["image-text"]
            for x in (tmp_path / n / "log.jsonl").read_text().splitlines()
            if "image-text" in x
        ]
        for n in ("whole", "parts")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert {3} <= set(seen)
    with pytest.raises(UsageError, match="1 or more"):
        run(toy, tmp_path / "none", replace(CPU, cache_gradients=-1))


def heard_by(method, seen):
    """The method with one loss that is a mean over rows; what it is given is written into `seen`."""

    def losses(self, batch, at):
        seen.append(batch["pid"].tolist())
        return {"loss": self.clip.image_features(batch["image"]).square().mean()}

    method.losses = types.MethodType(losses, method)
    return method


def test_micro_batches_may_be_uneven_and_weigh_by_their_rows(toy, tmp_path):
    """32 rows in batches of 6: the last holds 2, fewer than there are parts."""
    seen, shown = {1: [], 4: []}, {}
    for accumulate in seen:
        method, out = heard_by(toy_method(), seen[accumulate]), tmp_path / str(accumulate)
        method.config = quick(method.config, batch_size=6, drop_last=False, augment="none", epochs=1)
        run(toy, out, replace(CPU, accumulate=accumulate), method)
        shown[accumulate] = [json.loads(x).get("loss") for x in (out / "log.jsonl").read_text().splitlines()]
    assert [len(x) for x in seen[1]] == [6] * 5 + [2]
    assert [len(x) for x in seen[4]] == [2, 2, 1, 1] * 5 + [1, 1]
    assert [pid for part in seen[4] for pid in part] == [pid for whole in seen[1] for pid in whole]
    assert shown[4][:6] == pytest.approx(shown[1][:6], rel=1e-4)


def test_micro_batches_keep_the_people_of_the_identity_sampler_together(toy, tmp_path):
    seen = []
    method = heard_by(toy_method(), seen)
    method.config = quick(method.config, epochs=1, sampler="identity", instances=2)
    run(toy, tmp_path / "run", replace(CPU, accumulate=4), method)
    assert len(seen) == 16
    assert all(a == b for a, b in seen)


def test_fewer_than_one_micro_batch_is_refused_before_the_first_step(toy, tmp_path):
    with pytest.raises(UsageError, match=r"accumulate=0.*1 or more"):
        run(toy, tmp_path / "run", replace(CPU, accumulate=0))


def test_resuming_refuses_another_shape(toy, tmp_path, whole):
    shutil.copytree(whole[0], tmp_path / "a")
    with pytest.raises((ModelRefused, UsageError), match="mapping_hidden"):
        run(toy, tmp_path / "a", replace(CPU, resume=True), toy_method(mapping_hidden=16))


def test_batches_depend_on_the_seed_alone(toy, words):
    recipe = Recipe(1, 8, 1e-3, augment="two-of-six", mask_text=0.2)

    def batches(threads, seed=0):
        return Batches(toy.train, words, (32, 16), recipe, frozenset({"text", "sketch"}), seed, threads=threads)

    first, again, other = (list(b.epoch(0)) for b in (batches(1), batches(4), batches(1, seed=1)))
    assert len(first) == 4
    assert all(torch.equal(a[k], b[k]) for a, b in zip(first, again, strict=True) for k in a)
    assert not torch.equal(first[0]["image"], other[0]["image"])
    tail = list(batches(2).epoch(0, skip=2))
    assert torch.equal(tail[0]["image"], first[2]["image"])
    assert torch.equal(tail[0]["token_labels"], first[2]["token_labels"])
    halves = [
        next(iter(Batches(toy.train, words, (32, 16), recipe, frozenset(), 0, rank, 2, 1).epoch(0)))["pid"]
        for rank in (0, 1)
    ]
    assert torch.equal(torch.cat(halves), first[0]["pid"])


@pytest.mark.parametrize(
    ("rows", "instances", "drop_last", "steps"), [(32, 4, True, 8), (26, 2, False, 4), (26, 4, False, 7)]
)
def test_an_epoch_of_the_identity_sampler_is_as_long_as_its_order(toy, words, rows, instances, drop_last, steps):
    """Two photographs of each person: filled up to four rows, an epoch is twice as long as the data set."""
    recipe = Recipe(1, 8, 1e-3, sampler="identity", instances=instances, drop_last=drop_last)
    batches = Batches(toy.train[:rows], words, (32, 16), recipe, frozenset(), 0, threads=1)
    assert batches.steps == steps
    for epoch in (0, 1):
        read = [b["image_id"] for b in batches.epoch(epoch)]
        assert len(read) == steps
        assert set(torch.cat(read).tolist()) == set(range(rows))


def test_several_processes_take_whole_batches_only(toy, words):
    recipe = Recipe(1, 8, 1e-3, drop_last=False)

    def batches(rows, world, recipe=recipe):
        return Batches(toy.train[:rows], words, (32, 16), recipe, frozenset(), 0, 0, world, 1)

    assert [batches(20, world).steps for world in (1, 2)] == [3, 2]
    assert batches(5, 1).steps == 1
    for drop_last in (True, False):
        with pytest.raises(UsageError, match="5 rows do not fill a batch of 8, which 2 processes share"):
            batches(5, 2, replace(recipe, drop_last=drop_last))


def test_batches_refuse_what_cannot_be(toy, words):
    recipe = Recipe(1, 8, 1e-3)
    with pytest.raises(UsageError, match="cannot be shared by 3"):
        Batches(toy.train, words, (32, 16), recipe, frozenset(), 0, 0, 3)
    with pytest.raises(DataError, match="none of the 1 training rows has sketch"):
        Batches([Example(("a.png",), 0, "words")], words, (32, 16), recipe, frozenset({"sketch"}), 0)
    with pytest.raises(DataError, match="no training rows"):
        Batches([], words, (32, 16), recipe, frozenset(), 0)


def test_back_translation_only_where_the_partner_exists(words):
    rows = [Example(("a",), 0, "a red top", back_translation="a green top"), Example(("a",), 1, "a blue top")]
    batches = Batches(rows, words, (32, 16), Recipe(1, 2, 1e-3, back_translation=1.0), frozenset({"text"}), 0)
    import numpy as np

    ids = batches._texts(rows, [np.random.default_rng(0)] * 2, torch.Generator())["text"]
    assert torch.equal(ids, words.ids(["a green top", "a blue top"]))


def test_mixing_seeds():
    assert mix(1, 2) == mix(1, 2)
    assert len({mix(a, b) for a in range(30) for b in range(30)}) == 900


def test_one_process_trains_in_the_precision_that_was_asked_for(toy, tmp_path, monkeypatch):
    """An unwrapped module enters no autocast by itself."""
    seen = set()
    losses = InteractReID.losses

    def watched(self, batch, at):
        seen.add(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32)
        return losses(self, batch, at)

    monkeypatch.setattr(InteractReID, "losses", watched)
    run(toy, tmp_path / "run", replace(CPU, precision="bf16"))
    assert seen == {torch.bfloat16}


def whole_epoch(data, out):
    """One epoch without chance."""
    data.mkdir(parents=True, exist_ok=True)
    method = toy_method(text_dropout=0.0, mapping_dropout=0.0)
    method.config = quick(method.config, epochs=1, augment="none", selection="last")
    method.config = replace(method.config, composed_words=1.0)
    run(replace(write_toy(data), val={}), out, CPU, method)


NODES = """
import os, sys
from pathlib import Path
sys.path[:0] = {path}
import torch
torch.set_num_threads(1)
from forked import together
from test_train import whole_epoch
together(lambda: whole_epoch(Path({data!r}) / os.environ["RANK"], {out!r}), nodes=2)
"""


def test_two_nodes_have_the_losses_of_one_process(tmp_path):
    """Two nodes of one process each, which meet over the loopback; every step of an epoch, as log.jsonl has it."""
    places = {"data": str(tmp_path / "data"), "out": str(tmp_path / "two")}
    code = NODES.format(path=[str(Path(__file__).parent)], **places)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stderr[-2000:]
    whole_epoch(tmp_path / "alone", tmp_path / "one")
    one, two = ([json.loads(x) for x in (tmp_path / n / "log.jsonl").read_text().splitlines()] for n in ("one", "two"))
    assert [x.get("step") for x in one] == [x.get("step") for x in two] == [0, 1, 2, 3, None]
    for a, b in zip(one[:4], two[:4], strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_a_run_that_composes_serves_the_best_composition_on_validation(toy, tmp_path):
    """`early` is only the default; what validation people say is written down, and `evaluate` serves it."""
    both = toy.test["sketch+text"]
    data = replace(toy, val={"sketch+text": both})
    method = toy_method(stage=2)
    _, metrics = run(data, tmp_path / "run", method=method)
    scores = metrics["composition R@1"]
    assert list(scores) == ["early", "late", "early+late"]
    model = load(str(tmp_path / "run"), device="cpu")
    assert model.ranking.composition.how == metrics["composition"]
    assert model.config["composition"]["chosen_on"] == both.fingerprint()[:16]
    found = {how: evaluate(model, both, how).ranks for how in scores}
    assert {how: round(r.r1, 2) for how, r in found.items()} == scores
    assert evaluate(model, both).ranks.map == max(r.map for r in found.values())
    assert "composition" not in run(replace(toy, val={}), tmp_path / "other", method=toy_method(stage=2))[1]
