"""From an earlier run only its weights are taken: what that run froze, and its dropout, stay behind."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from conftest import quick, toy_clip, toy_words
from descry.checkpoint import read_tensors, save_model
from descry.errors import UsageError
from descry.methods import method_class, preset
from descry.training.start import start

EARLIER = {
    "stage 1": ("interactreid", {}),
    "stage 2": ("interactreid", {"stage": 2}),
    "stage 2, frozen image encoder": ("interactreid", {"stage": 2, "image_rate": 0.0}),
    "stage 2, dropout in the frozen text": ("interactreid", {"stage": 2, "frozen_text_dropout": True}),
    "probe": ("baseline", {"probe": True, "identity": False}),
    "propot": ("propot", {}),
    "zero-shot": ("zero_shot", {}),
}
LATER = {
    "stage 1": ("interactreid", "recommended", 1),
    "stage 1, paper": ("interactreid", "paper", 1),
    "stage 2": ("interactreid", "recommended", 2),
    "stage 2, released": ("interactreid", "released", 2),
    "propot": ("propot", "recommended", 1),
    "vfe_tps": ("vfe_tps", "recommended", 1),
    "baseline": ("baseline", "recommended", 1),
}
PATCHES = "clip.model.vision_model.embeddings.patch_embedding.weight"


def small(config):
    """For the toy CLIP, whose grid is 4 × 2 patches of 8 pixels."""
    fitting = {"heads": 2, "layers": 1, "mask_unit": 8, "mapping_hidden": 16, "image_size": (32, 16)}
    return quick(replace(config, **{k: v for k, v in fitting.items() if hasattr(config, k)}))


def earlier(which, folder):
    """The run folder of a method that was trained earlier."""
    name, changes = EARLIER[which]
    config = replace(preset(name, "recommended"), **changes)
    method = method_class(name)(toy_clip(toy_words()), toy_words(), config if name == "zero_shot" else small(config), 0)
    save_model(folder, method, name, "recommended", {})
    return str(folder)


def later(which, origin, data, out):
    name, kind, stage = LATER[which]
    return start(name, kind, stage, origin, data, out, None, False, False, 0, small)[0]


def state(method):
    """What moves, and the attention dropout of the text encoder's layers."""
    layers = method.clip.model.text_model.encoder.layers
    return {n: p.requires_grad for n, p in method.named_parameters()}, [x.self_attn.dropout for x in layers]


@pytest.mark.parametrize("then", LATER)
@pytest.mark.parametrize("first", EARLIER)
def test_a_run_lends_its_weights_and_nothing_else(first, then, toy, tmp_path):
    """Whatever it starts from, a method moves and drops what it does over a CLIP that nobody trained before."""
    started = later(then, earlier(first, tmp_path / "run"), toy, tmp_path / "out")
    name, kind, stage = LATER[then]
    config = preset(name, kind)
    config = small(replace(config, stage=stage) if hasattr(config, "stage") else config)
    fresh = method_class(name)(toy_clip(toy_words()), toy_words(), config, toy.identities)
    assert state(started) == state(fresh)
    for a, b in zip(started.clip.state_dict().values(), fresh.clip.state_dict().values(), strict=True):
        assert torch.equal(a, b)  # the toy CLIP is the same everywhere, and no weight was lost on the way


def test_after_stage_2_all_of_the_clip_is_trained_again(toy, tmp_path):
    moving, dropout = state(later("propot", earlier("stage 2", tmp_path / "run"), toy, tmp_path / "out"))
    assert [n for n, moves in moving.items() if not moves] == ["clip.model.logit_scale"]
    assert dropout == [0.0, 0.0]


def test_after_stage_1_the_paper_trains_the_patches(toy, tmp_path):
    moving, dropout = state(later("stage 1, paper", earlier("stage 1", tmp_path / "run"), toy, tmp_path / "out"))
    assert moving[PATCHES]
    assert dropout == [0.0, 0.0]


@pytest.mark.parametrize("then", ["stage 2", "stage 2, released"])
def test_stage_2_after_stage_1_freezes_what_it_should_and_keeps_the_mapping(then, toy, tmp_path):
    origin = earlier("stage 1", tmp_path / "run")
    method = later(then, origin, toy, tmp_path / "out").train()
    moving, dropout = state(method)
    frozen = {n for n, moves in moving.items() if not moves}
    text = {f"clip.{n}" for n, _ in method.clip.text_parameters()}
    assert frozen == text | {PATCHES, "clip.model.logit_scale"}
    assert dropout == [0.05, 0.05]
    assert method.clip.model.text_model.training == (then == "stage 2, released")
    lent = read_tensors(tmp_path / "run" / "model.safetensors")
    held = method.state_dict()
    assert any(k.startswith("mapping.") for k in lent)
    assert all(torch.equal(held[k], v) for k, v in lent.items())


def test_a_run_without_a_clip_is_refused_as_a_start(toy, tmp_path):
    words = toy_words()
    config = replace(preset("vit_bert", "paper"), width=32, layers=1, heads=4)
    save_model(tmp_path / "run", method_class("vit_bert")(toy_clip(words), words, config, 4), "vit_bert", "paper", {})
    with pytest.raises(UsageError, match="no CLIP to begin with"):
        later("propot", str(tmp_path / "run"), toy, tmp_path / "out")


def test_the_note_is_of_what_this_model_learnt_from() -> None:
    """A start that saw only synthetic people is named apart, and not said of a model trained on photographs."""
    from descry.ranking import SYNTHETIC, note_of

    drawn = {"note": SYNTHETIC, "source": "big: generator 1; synthetic people - no evidence of accuracy"}
    assert note_of(drawn) == SYNTHETIC
    assert note_of(drawn | {"source": "the CUHK-PEDES of its authors"}) == ""
    assert note_of({"note": "a toy", "source": "photographs"}) == "a toy"
    assert note_of({}) == ""


@pytest.mark.parametrize(
    ("origin", "source", "note", "said"),
    [
        ("demo", "photographs of 226 people", "", "synthetic"),
        ("demo", "people: generator 1; synthetic people - no evidence", "synthetic", "synthetic"),
        ("random", "people: generator 1; synthetic people - no evidence", "synthetic", ""),
        ("random", "photographs of 226 people", "", ""),
    ],
)
def test_training_says_what_it_learnt_from(tmp_path, origin: str, source: str, note: str, said: str) -> None:
    from descry.records import Dataset, Example

    picture = tmp_path / "0.png"
    Image.new("RGB", (48, 96)).save(picture)
    rows = tuple(Example((str(picture),), i, "a red top") for i in range(2))
    data = Dataset("own", rows, source=source)
    _, about = start(
        "baseline", "recommended", 1, origin, data, tmp_path / "run", (96, 48), False, False, 0, lambda c: c
    )
    assert note in about["note"]
    assert bool(about["note"]) == bool(note)
    assert said in about["start"]["note"]
    assert about["start"]["from"] == origin


def test_a_run_goes_on_only_from_the_weights_it_began_with(toy, tmp_path) -> None:
    """Its saved state holds all weights, but what it says of itself would name a start that it never had."""
    from descry.training.loop import Settings, train

    method = method_class("zero_shot")(toy_clip(toy_words()), toy_words(), preset("zero_shot", "recommended"), 0)
    for name in ("a", "b"):
        save_model(tmp_path / name, method, "zero_shot", "recommended", {})
        with torch.no_grad():
            method.clip.model.visual_projection.weight.mul_(1.1)
    left = iter([False, True])

    def go(origin: str, resume: bool) -> None:
        made, about = start(
            "baseline", "recommended", 1, origin, toy, tmp_path / "run", (32, 16), resume, False, 0, small
        )
        settings = Settings(device="cpu", threads=1, resume=resume)
        train(made, "baseline", "recommended", replace(toy, val={}), tmp_path / "run", settings, about,
              stop=lambda: next(left, False))  # fmt: skip

    go(str(tmp_path / "a"), False)
    with pytest.raises(UsageError, match="begun with weights of --from="):
        go(str(tmp_path / "b"), True)
    (tmp_path / "a").rename(tmp_path / "moved")
    go(str(tmp_path / "moved"), True)
