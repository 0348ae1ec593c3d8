"""InteractReID: both stages, the presets, Table IV's counts, and what stage 2 may not do."""

import hashlib
import math
from dataclasses import replace

import pytest
import torch

from conftest import quick, toy_clip
from descry.clip import Clip, ClipSpec
from descry.errors import UsageError
from descry.losses import info_nce, reverse_kl, soft_contrastive
from descry.methods import Progress, interactreid
from descry.methods.interactreid import PRESETS, InteractReID, Mapping


def batch(words, rows=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    captions = ["a red top and blue trousers", "a green top", "a blue top and white trousers"] * 2
    return {
        "image": torch.rand(rows, 3, 32, 16, generator=g),
        "sketch": torch.rand(rows, 3, 32, 16, generator=g),
        "pid": torch.tensor([0, 1, 2, 0, 3, 4]),
        "text": words.ids(captions),
    }


def at(step=0, epoch=0):
    return Progress(step, epoch, 10, torch.Generator().manual_seed(step))


def stage(clip, words, number, preset="recommended", **changes):
    return InteractReID(clip, words, replace(PRESETS[preset], stage=number, **changes), 5)


def test_mapping_reference():
    mapping = Mapping(4, 3, 4, 1).eval()
    with torch.no_grad():
        for p in mapping.parameters():
            p.copy_(torch.sin(0.5 + torch.arange(p.numel(), dtype=torch.float32)).reshape(p.shape))
    out = mapping(torch.cos(torch.arange(8.0)).reshape(2, 4))
    expected = torch.tensor([[2.7941, -1.3891, 3.0092, -2.7374], [3.1875, -1.5660, 2.9661, -2.4751]])
    assert torch.allclose(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layers", "hidden", "millions"),
    [
        (-1, 0, 86.19), (0, 0, 86.46), (1, 512, 86.72), (1, 768, 86.98), (1, 1024, 87.24), (2, 512, 86.98),
        (2, 768, 87.57), (2, 1024, 88.29), (3, 512, 87.24), (3, 768, 88.16), (3, 1024, 89.34),
    ],
)  # fmt: skip
def test_parameters_of_table_iv(layers, hidden, millions):
    """The paper counts all of V with its frozen patch convolution and logit_scale, plus Φ."""
    side = {"num_hidden_layers": 12, "hidden_act": "quick_gelu"}
    config = {
        "projection_dim": 512,
        "vision_config": side
        | {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "patch_size": 16},
        "text_config": side
        | {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "vocab_size": 49408},
    }
    with torch.device("meta"):
        clip = Clip(ClipSpec(config, (224, 224)))
        count = sum(p.numel() for _, p in clip.image_parameters()) + clip.logit_scale.numel()
        count += sum(p.numel() for p in Mapping(512, hidden, 512, layers).parameters())
    assert round(count / 1e6, 2) == millions


def test_losses_of_the_paper_preset(clip, words):
    """Hard labels, both directions summed, no R-ITC, τ = 0.07: eq. (3)-(8) from the features."""
    b = batch(words)
    one = stage(clip, words, 1, "paper").eval()
    with torch.no_grad():
        i, s, t = clip.image_features(b["image"]), clip.image_features(b["sketch"]), clip.text_features(b["text"])
        got = one.losses(b, at(3))
    assert set(got) == {"image-text", "image-sketch"}
    assert float(got["image-text"]) == pytest.approx(2 * float(soft_contrastive(i, t, b["pid"], 0.07)), rel=1e-5)
    assert float(got["image-sketch"]) == pytest.approx(2 * float(soft_contrastive(i, s, b["pid"], 0.07)), rel=1e-5)
    two = stage(clip, words, 2, "paper").eval()
    with torch.no_grad():
        st = two.pseudo_text(s)
        got = two.losses(b, at(3))
    assert float(got["scc"]) == pytest.approx(2 * float(info_nce(s, st, 0.07)), rel=1e-5)
    assert float(got["align"]) == pytest.approx(2 * float(info_nce(i, st, 0.07)), rel=1e-5)


def test_losses_of_the_released_preset(clip, words):
    b = batch(words)
    method = stage(clip, words, 1, "released", text_dropout=0.0)
    with torch.no_grad():
        i, t = clip.image_features(b["image"]), clip.text_features(b["text"])
        tau = float(clip.temperature)
        later = method.losses(b, at(12, 1))
        ramp = method.losses(b, at(5, 0))  # half of the first epoch: α = 0.25
    assert float(later["image-text"]) == pytest.approx(float(soft_contrastive(i, t, b["pid"], tau, 0.5)), rel=1e-5)
    assert float(later["r-itc"]) == pytest.approx(float(reverse_kl(i, t, b["pid"], tau, 1e-2)), rel=1e-5)
    assert float(ramp["image-text"]) == pytest.approx(float(soft_contrastive(i, t, b["pid"], tau, 0.25)), rel=1e-5)


def test_the_stopped_pass_differs_by_dropout_alone(clip, words):
    method = stage(clip, words, 1, "released", text_dropout=0.3).train()
    first = clip.text_features(batch(words)["text"])
    again = method._text_again(batch(words)["text"], first)
    assert not again.requires_grad
    assert not torch.equal(again, first)
    method.eval()
    assert torch.equal(method._text_again(batch(words)["text"], first), first)


class NoText(dict):
    """A batch that fails the test when its words are touched."""

    def __getitem__(self, key):
        assert key not in ("text", "masked_text"), "stage 2 read a caption"
        return super().__getitem__(key)


@pytest.mark.parametrize("preset", PRESETS)
def test_stage_2_reads_no_text_and_leaves_the_text_encoder(clip, words, preset):
    method = stage(clip, words, 2, preset)
    assert method.needs == {"sketch"}
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for _, p in clip.text_parameters())).hexdigest()
    optimiser = torch.optim.AdamW(method.param_groups(), lr=1e-2)
    before = {n: p.detach().clone() for n, p in method.named_parameters()}
    for step in range(2):
        optimiser.zero_grad()
        sum(method.train().losses(NoText(batch(words, seed=step)), at(step)).values()).backward()
        optimiser.step()
    moved = {n for n, p in method.named_parameters() if not torch.equal(p, before[n])}
    assert (
        hashlib.sha256(b"".join(p.detach().numpy().tobytes() for _, p in clip.text_parameters())).hexdigest() == digest
    )
    assert all(p.grad is None for _, p in clip.text_parameters())
    assert {"mapping.fc_out.weight", "mapping.layers.0.0.weight"} <= moved
    assert "clip.model.vision_model.encoder.layers.0.mlp.fc1.weight" in moved
    assert ("clip.model.vision_model.embeddings.patch_embedding.weight" in moved) == (preset == "paper")
    assert "clip.model.logit_scale" not in moved


def test_rates_and_decay(clip, words):
    groups = stage(clip, words, 2).param_groups()
    assert {(g["lr_scale"], g["weight_decay"]) for g in groups} == {(1.0, 0.0), (1.0, 0.02), (10.0, 0.0), (10.0, 0.02)}
    mapped = [p for g in groups if g["lr_scale"] == 10 for p in g["params"]]
    assert sum(p.numel() for p in mapped) == sum(p.numel() for p in Mapping(32, 768, 32).parameters())
    assert all(p.ndim < 2 for g in groups if g["weight_decay"] == 0 for p in g["params"])


def test_composition_joins_picture_and_words(clip, words):
    method = stage(clip, words, 2).eval()
    picture = torch.rand(2, 3, 32, 16)
    with torch.no_grad():
        out = method.compose(picture, ["a red top", "a green top"])
        assert torch.allclose(out.norm(dim=1), torch.ones(2), atol=1e-5)
        assert not torch.allclose(
            method.compose(picture[:1], ["a red top"]), method.compose(picture[:1], ["a green top"])
        )
        assert not torch.allclose(
            method.compose(picture[:1], ["a red top"]), method.compose(picture[1:], ["a red top"])
        )
        # a placeholder in a witness's words does not become a second one
        assert torch.allclose(method.compose(picture[:1], ["* a red top"]), out[:1], atol=1e-6)
        alone = torch.nn.functional.normalize(method.pseudo_text(clip.image_features(picture)), dim=-1)
        assert torch.allclose(method.compose(picture, ["", ""]), alone, atol=1e-6)
    assert method.composed_prompt("red") == "a photo of * , and red"


def test_stage_1_with_composition_builds_prompts_from_captions(clip, words):
    method = stage(clip, words, 1, composed=1.0, composed_words=1.0).eval()
    b = batch(words)
    with torch.no_grad():
        features = clip.image_features(b["sketch"])
        got = method._complete(features, b, torch.Generator().manual_seed(0))
        texts = ["a red top and blue trousers", "a green top", "a blue top and white trousers"] * 2
        prompts = words.ids([f"a photo of * , and {t}" for t in texts])
        assert torch.allclose(got, clip.text_features(prompts, method.mapping(features)), atol=1e-5)
    assert "sketch+text" in method.answers
    assert "sketch+text" not in stage(clip, words, 1).answers
    method.train().losses(b, at())["composed"].backward()
    assert method.mapping.fc_out.weight.grad.abs().sum() > 0


def test_sketch_text_is_the_matching_loss_between_sketch_and_caption(clip, words):
    b = batch(words)
    method = stage(clip, words, 1, sketch_text=0.5, alpha=0.0, temperature=0.1).eval()
    with torch.no_grad():
        got = method.losses(b, at())["sketch-text"]
        s, t = clip.image_features(b["sketch"]), clip.text_features(b["text"])
        assert torch.allclose(got, 0.5 * soft_contrastive(s, t, b["pid"], 0.1, 0.0))
        assert "sketch-text" not in stage(clip, words, 1).eval().losses(b, at())


def test_anchor_keeps_photographs_where_they_were(clip, words):
    method = stage(clip, words, 2, anchor=1.0)
    with pytest.raises(UsageError, match="prepare"):
        method.losses(batch(words), at())
    method.prepare()
    assert method.eval().losses(batch(words), at())["anchor"].item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        clip.model.visual_projection.weight.add_(torch.randn(32, 64, generator=torch.Generator().manual_seed(0)))
    assert method.losses(batch(words), at())["anchor"].item() > 1e-3


def test_what_cannot_be_is_refused(clip, words):
    with pytest.raises(UsageError, match="stage 3"):
        stage(clip, words, 3)
    with pytest.raises(UsageError, match="directions"):
        stage(clip, words, 1, directions="up")
    with pytest.raises(UsageError, match="mapping layers"):
        Mapping(4, 4, 4, 7)
    with pytest.raises(UsageError, match="as wide"):
        Mapping(4, 4, 5, -1)
    with pytest.raises(UsageError, match="pseudo-words"):
        stage(clip, words, 1).compose(torch.rand(1, 3, 32, 16), ["a red top"])


def test_it_learns_the_toy(words):
    """Sixteen fixed rows can be learnt by heart: losses fall and each sketch finds its photograph."""
    clip = toy_clip(words)
    method = stage(clip, words, 1, text_dropout=0.0, alpha=0.0)
    b = batch(words)
    optimiser = torch.optim.AdamW(method.param_groups(), lr=2e-3)
    first = last = None
    for step in range(60):
        optimiser.zero_grad()
        total = method.losses(b, at(step))["image-sketch"]
        total.backward()
        optimiser.step()
        first, last = first or total.item(), total.item()
    assert last < first / 2
    assert quick(method.config).recipe.batch_size == 8


def test_a_temperature_at_its_floor_comes_back_and_never_drifts_beyond(clip, words, monkeypatch):
    """CLIP starts at the floor. Twenty steps that ask for a lower τ, then twenty that ask for a higher one."""
    method = stage(clip, words, 1, text_dropout=0.0, alpha=0.0, reverse_kl=0.0).train()
    clip.logit_scale.data.fill_(math.log(100))
    asked = iter([1.0] * 40 + [-1.0] * 40)  # two losses a step
    monkeypatch.setattr(interactreid, "soft_contrastive", lambda i, t, pids, tau, *more: next(asked) * tau)
    optimiser = torch.optim.AdamW([clip.logit_scale], lr=1e-2, weight_decay=0.0)
    read, scales = [], []
    for step in range(40):
        optimiser.zero_grad()
        losses = method.losses(batch(words), at(step))
        sum(losses.values()).backward()
        read.append(abs(losses["image-text"].item()))
        optimiser.step()
        scales.append(clip.logit_scale.item())
    assert read[:20] == pytest.approx([0.01] * 20)
    assert max(scales) < math.log(100) + 0.011  # one step of the optimiser at most
    assert scales[-1] < math.log(100) - 0.05
    assert read[-1] > 0.0104


def test_hard_pairs_raise_the_temperature_that_clip_starts_with(clip, words):
    method = stage(clip, words, 1, text_dropout=0.0).train()
    clip.logit_scale.data.fill_(math.log(100))
    optimiser = torch.optim.AdamW([clip.logit_scale], lr=1e-2)
    for step in range(3):
        sum(method.losses(batch(words), at(step)).values()).backward()
        optimiser.step()
        optimiser.zero_grad()
    assert clip.temperature.item() > 0.0101


@pytest.mark.parametrize("preset", PRESETS)
def test_stage_two_reads_captions_only_where_it_is_told_to(clip, words, preset):
    config = PRESETS[preset]
    assert (config.replay, config.composed, config.direct, config.anchor) == (0.0, 0.0, 0.0, 0.0)
    assert stage(clip, words, 2, preset).needs == {"sketch"}
    assert stage(clip, words, 2, preset, replay=1.0).needs == {"sketch", "caption"}
    assert stage(clip, words, 2, preset, composed=1.0).needs == {"sketch", "caption"}
    assert stage(clip, words, 1, preset, composed=1.0).needs == {"sketch", "text"}


def test_replay_is_eq_3_over_the_rows_that_have_a_caption(clip, words):
    method = stage(clip, words, 2, replay=2.0, temperature=0.1, text_dropout=0.0).eval()
    rows = batch(words) | {"told": torch.tensor([1, 0, 1, 1, 0, 1])}
    found = method.losses(rows, at())
    kept = rows["told"].bool()
    i, t = clip.image_features(rows["image"]), clip.text_features(rows["text"])
    expected = 2.0 * info_nce(t[kept], i[kept], 0.1, rows["pid"][kept])
    assert found["replay"].item() == pytest.approx(expected.item(), rel=1e-5)
    found["replay"].backward()
    assert all(p.grad is None for _, p in clip.text_parameters())  # T stays as it is; V moves
    assert clip.model.visual_projection.weight.grad.abs().sum() > 0
    other = rows | {"text": rows["text"].roll(1, 0)}
    assert method.losses(other, at())["replay"].item() != pytest.approx(expected.item(), rel=1e-2)


def test_composed_prompts_of_stage_two_teach_the_mapping_and_without_captions_nothing(clip, words):
    method = stage(clip, words, 2, composed=1.0, replay=1.0, text_dropout=0.0, mapping_dropout=0.0)
    rows = batch(words) | {"told": torch.tensor([1, 0, 1, 1, 0, 1])}
    method.losses(rows, at())["composed"].backward()
    assert method.mapping.fc_out.weight.grad.abs().sum() > 0
    method.zero_grad()
    silent = method.losses(rows | {"told": torch.zeros(6, dtype=torch.long)}, at())
    assert silent["composed"].item() == silent["replay"].item() == 0.0
    torch.stack(list(silent.values())).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in method.parameters() if p.grad is not None)


def test_the_direct_term_is_infonce_between_sketch_and_photograph(clip, words):
    method = stage(clip, words, 2, direct=3.0, temperature=0.1).eval()
    rows = batch(words)
    i, s = clip.image_features(rows["image"]), clip.image_features(rows["sketch"])
    expected = 3.0 * info_nce(s, i, 0.1, rows["pid"])
    assert method.losses(rows, at())["direct"].item() == pytest.approx(expected.item(), rel=1e-5)
