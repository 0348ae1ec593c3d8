"""What a run remembers beside its weights: the optimiser's state, a memory of the epoch, the scale of its losses."""

import json
import shutil
from dataclasses import fields, replace

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from conftest import quick, toy_clip, toy_words
from descry.checkpoint import load_training
from descry.errors import ModelRefused, UsageError
from descry.methods import method_class, preset
from descry.training import loop as training
from descry.training.loop import Settings, train
from descry.training.optimisers import optimiser_of
from descry.training.state import Kept, load_state, save_state

CPU = Settings(device="cpu", threads=1)


def made(name="baseline", optimiser="adamw", **changes):
    """A tiny method, the same each time."""
    words = toy_words()
    torch.manual_seed(0)
    config = replace(preset(name, "recommended"), image_size=(32, 16), **changes)
    return method_class(name)(toy_clip(words), words, quick(config, optimiser=optimiser), 16)


def memorising():
    """VFE-TPS that remembers the features of an epoch."""
    return made("vfe_tps", gvfc="memory", mim="off")


def run(method, data, out, settings=CPU, steps=None):
    left = iter([False] * (steps - 1) + [True]) if steps else iter(lambda: False, True)
    name = "vfe_tps" if method.memory is not None else "baseline"
    train(method, name, "recommended", replace(data, val={}), out, settings, stop=lambda: next(left))
    return method


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.filterwarnings("ignore:.*which is a no-op")  # weights on the meta device have no values
@pytest.mark.parametrize(("optimiser", "fused"), [("adamw", True), ("adam", True), ("muon", True), ("adamw", False)])
def test_an_optimisers_state_comes_back_where_torch_wants_it(toy, tmp_path, optimiser, fused):
    """The meta device stands in for a GPU: nothing is computed on it, but every tensor says that it is there."""
    run(made(optimiser=optimiser), toy, tmp_path / "run", steps=1)
    method = made(optimiser=optimiser).to("meta")
    restored = optimiser_of(method, method.config.recipe)
    for group in restored.param_groups:
        if "fused" in group:
            group["fused"] = fused
    assert load_state(tmp_path / "run" / "training.safetensors", method, restored)[0] == 1
    places = {(key, value.device.type) for state in restored.state.values() for key, value in state.items()}
    assert {place for key, place in places if key != "step"} == {"meta"}
    assert {place for key, place in places if key == "step"} == {"meta" if fused else "cpu"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimiser", ["adamw", "adam", "muon"])
def test_resuming_on_a_gpu_takes_the_next_step(toy, tmp_path, optimiser):
    settings = Settings(device="cuda", threads=1)
    run(made(optimiser=optimiser), toy, tmp_path / "run", settings, steps=3)
    run(made(optimiser=optimiser), toy, tmp_path / "run", replace(settings, resume=True))
    assert load_training(tmp_path / "run" / "training.safetensors")[1]["step"] == 8


def test_a_memory_of_the_epoch_is_not_lost(toy, tmp_path):
    whole = run(memorising(), toy, tmp_path / "whole")
    for steps in (2, 3, 4, 6):
        out = tmp_path / str(steps)
        run(memorising(), toy, out, steps=steps)
        resumed = run(memorising(), toy, out, replace(CPU, resume=True))
        assert same_weights(whole, resumed), steps
        files = [(part / "training.safetensors").read_bytes() for part in (tmp_path / "whole", out)]
        assert files[0] == files[1], steps


def test_a_training_written_without_a_memory_goes_on_with_an_empty_one(toy, tmp_path):
    method = memorising()
    optimiser = optimiser_of(method, method.config.recipe)
    save_state(tmp_path / "a", method, optimiser, 1, Kept())  # before the first step: nothing to remember yet
    assert not [name for name in load_training(tmp_path / "a")[0] if name.startswith("memory.")]
    method.memory.extend(torch.ones(2, 4), torch.tensor([3, 3]), 0)
    load_state(tmp_path / "a", method, optimiser)
    assert (method.memory.epoch, method.memory.kept) == (-1, {})


def scaling(scale):
    """From settings to Fabric with a scaler of losses on a processor: its scale doubles after three good steps."""

    def fabric(settings):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3)
        made = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
        made.launch()
        return made

    return fabric


@pytest.mark.parametrize("scale", [2.0**10, 2.0**124])  # with the second the first steps overflow and are left out
def test_the_scale_of_16_bit_losses_is_not_lost(toy, tmp_path, monkeypatch, scale):
    monkeypatch.setattr(training, "_fabric", scaling(scale))
    whole = run(made(), toy, tmp_path / "whole")
    first = load_training(tmp_path / "whole" / "training.safetensors")[1]
    assert first["scaling"]["scale"] != scale
    for steps in (2, 4, 5):
        out = tmp_path / str(steps)
        run(made(), toy, out, steps=steps)
        resumed = run(made(), toy, out, replace(CPU, resume=True))
        assert same_weights(whole, resumed), steps
        assert load_training(out / "training.safetensors")[1]["scaling"] == first["scaling"], steps


def test_a_training_of_another_precision_scales_anew(toy, tmp_path, monkeypatch):
    run(made(), toy, tmp_path / "run", steps=2)
    assert "scaling" not in load_training(tmp_path / "run" / "training.safetensors")[1]
    monkeypatch.setattr(training, "_fabric", scaling(1.0))
    run(made(), toy, tmp_path / "run", replace(CPU, resume=True), steps=1)  # from 32 bits to 16
    assert load_training(tmp_path / "run" / "training.safetensors")[1]["scaling"]
    monkeypatch.undo()
    run(made(), toy, tmp_path / "run", replace(CPU, resume=True))  # and back
    assert load_training(tmp_path / "run" / "training.safetensors")[1]["step"] == 8


@pytest.fixture(scope="module")
def stopped(toy, tmp_path_factory):
    """A run that was stopped after three steps."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    run(made(), toy, out, steps=3)
    return out


@pytest.fixture
def begun(stopped, tmp_path):
    """A copy of it."""
    return shutil.copytree(stopped, tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "recipe", "said"),  # the baseline's schedule is "epoch"
    [
        ({}, {"batch_size": 4}, r"batch_size=8, and 4 was given"),
        ({}, {"batch_size": 2}, r"batch_size=8, and 2 was given"),
        ({}, {"epochs": 3}, r"epochs=2, and 3 was given"),
        ({}, {"lr": 0.1}, r"lr=0.001, and 0.1 was given"),
        ({}, {"schedule": "iteration"}, "schedule='epoch', and 'iteration' was given"),
        ({"seed": 1}, {}, r"seed=0, and 1 was given"),
        ({"accumulate": 2}, {}, r"accumulate=1, and 2 was given"),
        ({"select_on_test": True}, {}, "select_on_test=False, and True was given"),
    ],
)
def test_a_run_goes_on_only_as_it_was_begun(toy, begun, settings, recipe, said):
    before = {p.name: p.read_bytes() for p in begun.iterdir()}
    method = made()
    method.config = quick(method.config, **recipe)
    with pytest.raises(UsageError, match=said):
        run(method, toy, begun, replace(CPU, resume=True, **settings))
    assert {p.name: p.read_bytes() for p in begun.iterdir()} == before


def test_a_run_does_not_go_on_with_other_data(toy, begun):
    a, b, *rest = toy.train
    exchanged = replace(toy, train=(replace(a, caption="a blue top"), b, *rest))
    with pytest.raises(UsageError, match="begun with data="):
        run(made(), exchanged, begun, replace(CPU, resume=True))


def test_a_run_does_not_go_on_in_another_number_of_processes(toy, begun, monkeypatch):
    method = made()
    optimiser = optimiser_of(method, method.config.recipe)
    bound = training._bound("baseline", method, replace(toy, val={}), CPU, 2)
    with pytest.raises(UsageError, match="processes=1, and 2 was given"):
        load_state(begun / "training.safetensors", method, optimiser, None, bound)


def test_weights_that_are_not_finite_are_not_gone_on_with(tmp_path):
    method = made()
    optimiser = optimiser_of(method, method.config.recipe)
    with torch.no_grad():
        method.id_head.classifier.weight[0, 0] = float("nan")
    save_state(tmp_path / "a", method, optimiser, 1, Kept())
    with pytest.raises(ModelRefused, match="not finite: id_head"):
        load_state(tmp_path / "a", method, optimiser)


def test_what_was_prepared_is_not_prepared_again(toy, tmp_path, monkeypatch):
    """A resumed run takes the prototypes from its state: those that CLIP would give now are others."""
    from descry.methods.propot import Propot

    whole = made("propot", heads=2)
    train(whole, "propot", "recommended", replace(toy, val={}), tmp_path / "whole", CPU)
    left = iter([False, False, True])
    stopped = made("propot", heads=2)
    train(stopped, "propot", "recommended", replace(toy, val={}), tmp_path / "run", CPU, stop=lambda: next(left))
    monkeypatch.setattr(Propot, "prepare", lambda self, batches: pytest.fail("prepared again"))
    resumed = made("propot", heads=2)
    train(resumed, "propot", "recommended", replace(toy, val={}), tmp_path / "run", replace(CPU, resume=True))
    assert same_weights(whole, resumed)


ALLOWED = {
    *("device", "precision", "save_every", "threads", "half", "resume", "checkpoint_gradients", "cache_gradients"),
    "tensorboard",
}
"""Settings that change how a run is carried out and not what is learnt; they may be others when it goes on."""


def test_every_setting_and_field_is_bound_or_known_to_change_nothing(toy):
    method = made()
    bound = training._bound("baseline", method, toy, CPU, 1)
    assert {f.name for f in fields(Settings)} == ALLOWED | (set(bound) & {f.name for f in fields(Settings)})
    assert set(bound["config"]) == {f.name for f in fields(method.config)}
    assert set(bound["config"]["recipe"]) == {f.name for f in fields(method.config.recipe)}
    assert set(bound["encoders"]) == {f.name for f in fields(method.clip.spec)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m, d: setattr(m, "words", m.words.of_length(20)), "vocabulary="),
        (lambda m, d: setattr(m.clip, "spec", replace(m.clip.spec, mean=(0.1, 0.2, 0.3))), "encoders.mean="),
        (lambda m, d: [replace(e, back_translation="b") for e in d.train], "back_translations="),
        (lambda m, d: [replace(e, pid=1 - e.pid if e.pid < 2 else e.pid) for e in d.train], "data="),
    ],
)
def test_a_run_does_not_go_on_with_other_words_pixels_or_rows(toy, begun, change, said):
    method = made()
    rows = change(method, toy)
    data = replace(toy, train=tuple(rows)) if rows else toy
    with pytest.raises(UsageError, match=f"begun with {said}"):
        run(method, data, begun, replace(CPU, resume=True))


def test_the_epoch_is_not_chosen_on_another_validation_set(toy, tmp_path):
    first = training._bound("baseline", made(), replace(toy, val=toy.test), CPU, 1)
    fewer = {k: replace(b, probes=b.probes[1:]) for k, b in toy.test.items()}
    other = training._bound("baseline", made(), replace(toy, val=fewer), CPU, 1)
    assert first["validation"] != other["validation"]
    assert {k: v for k, v in first.items() if k != "validation"} == {
        k: v for k, v in other.items() if k != "validation"
    }


@pytest.mark.parametrize(
    ("saved", "precision", "says", "not_said"),
    [
        (False, "fp32", "nothing was saved", "--resume"),
        (True, "fp32", "leads there again; train anew", "--resume"),
        (True, "fp16", "--resume --precision fp32", "nothing"),
    ],
)
def test_the_advice_after_a_loss_that_is_no_number_can_be_followed(tmp_path, saved, precision, says, not_said):
    if saved:
        (tmp_path / "training.safetensors").touch()
    told = training._advice(tmp_path / "training.safetensors", precision, 1e30)
    assert says in told
    assert not_said not in told
    assert "smaller learning rate than 1e+30" in told


def test_a_run_begun_before_captions_were_mended_says_so(toy, tmp_path, capsys):
    """What an older state does not hold is unknown, not equal."""
    curly = replace(toy, train=tuple(replace(e, caption="the man’s red top") for e in toy.train))
    method = made()
    method.words.repairs = True
    begun_with = training._bound("baseline", method, curly, CPU, 1)
    assert begun_with["mended texts"] == training._digest(["the man's red top"] * len(toy.train))
    plain = training._bound("baseline", made(), toy, CPU, 1)
    assert "mended texts" not in plain
    optimiser = optimiser_of(method, method.config.recipe)
    older = {k: v for k, v in begun_with.items() if k != "mended texts"}
    save_state(tmp_path / "run.safetensors", method, optimiser, 1, Kept(), bound=older)
    load_state(tmp_path / "run.safetensors", method, optimiser, None, begun_with)
    assert "was begun by a version that did not write down mended texts" in capsys.readouterr().err
    load_state(tmp_path / "run.safetensors", method, optimiser, None, older)
    assert not capsys.readouterr().err
    other = begun_with | {"mended texts": "other"}
    save_state(tmp_path / "run.safetensors", method, optimiser, 1, Kept(), bound=other)
    with pytest.raises(UsageError, match="begun with mended texts='other'"):
        load_state(tmp_path / "run.safetensors", method, optimiser, None, begun_with)


def test_half_a_line_that_a_killed_run_left_in_its_log_ends_nothing(toy, begun):
    log = begun / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 3, "lo')
    run(made(), toy, begun, replace(CPU, resume=True))
    assert [json.loads(line).get("step") for line in log.read_text().split("\n") if "loss" in line or "step" in line]
    assert all(json.loads(line) for line in log.read_text().split("\n") if line)
