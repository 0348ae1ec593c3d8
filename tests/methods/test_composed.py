"""Rivals that compose a picture and words: losses against plain loops, what moves, and that they are asked like any
other method."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import quick, toy_clip, toy_words
from descry.embed import Model, load
from descry.errors import UsageError
from descry.evaluate import evaluate_all
from descry.losses import info_nce, sdm
from descry.methods import Progress, method_class, preset, presets
from descry.methods.fafa import nearest_tokens, partners, spread
from descry.training.loop import Settings, train

AT = Progress(0, 0, 1, torch.Generator().manual_seed(0))
CPU = Settings(device="cpu", threads=1)


def made(name, **changes):
    words, cls = toy_words(), method_class(name)
    torch.manual_seed(0)
    config = preset(name, "recommended")
    slower = {"new_rate": 1.0} if hasattr(config, "new_rate") else {}
    config = replace(config, **(dict(cls.small) | slower | changes))
    return cls(toy_clip(words), words, quick(config, augment="none", lr=1e-2), 16)


def a_batch(method, rows=6):
    generator = torch.Generator().manual_seed(3)
    pixels = torch.rand(2, rows, 3, 32, 16, generator=generator)
    text = method.words.ids(["a red top and blue trousers", "a green top", "a person"] * (rows // 3))
    return {
        "image": pixels[0], "sketch": pixels[1], "text": text, "pid": torch.tensor([0, 1, 1, 2, 0, 1]),
        "image_id": torch.tensor([0, 1, 2, 3, 4, 2]),
    }  # fmt: skip


def test_the_presets_of_two_methods_of_one_file_are_their_own():
    pic2word, word4per = presets("pic2word")["paper"], presets("word4per")["paper"]
    assert (pic2word.target, pic2word.loss, pic2word.recipe.batch_size) == ("image", "info_nce", 1024)
    assert (word4per.target, word4per.loss, word4per.recipe.batch_size) == ("text", "sdm", 128)
    assert (pic2word.mapping_layers, word4per.mapping_hidden) == (2, 512)


@torch.no_grad()
def test_pic2word_reads_no_text_and_word4per_the_caption():
    method = made("pic2word").eval()
    batch = a_batch(method)
    i = method.clip.image_features(batch["image"])
    prompt = method.clip.text_features(method.words.ids(["a photo of *"] * 6), method.mapping(i))
    found = method.losses({k: v for k, v in batch.items() if k in ("image", "pid")}, AT)
    assert found["image"] == pytest.approx(float(info_nce(prompt, i, method.clip.temperature)), rel=1e-5)
    assert method.needs == frozenset()
    method = made("word4per").eval()
    t = method.clip.text_features(batch["text"])
    prompt = method.clip.text_features(method.words.ids(["a photo of *"] * 6), method.mapping(i))
    assert method.losses(batch, AT)["text"] == pytest.approx(float(sdm(prompt, t, batch["pid"], 0.02)), rel=1e-5)


@pytest.mark.parametrize("name", ["pic2word", "word4per"])
def test_only_the_mapping_is_trained_and_the_prompt_comes_nearer(name, toy, tmp_path):
    method = made(name)
    method.config = method.config.with_recipe(replace(method.config.recipe, epochs=6))
    before = {k: v.clone() for k, v in method.state_dict().items()}
    train(method, name, "recommended", replace(toy, val={}), tmp_path / "run", CPU)
    moved = {k for k, v in method.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {k for k in before if k.startswith("mapping.")}
    lines = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line[method.config.target] for line in lines if method.config.target in line]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_the_score_of_fafa_is_the_mean_of_the_nearest_tokens():
    queries = F.normalize(torch.randn(3, 8, dtype=torch.float64), dim=-1)
    tokens = F.normalize(torch.randn(4, 5, 8, dtype=torch.float64), dim=-1)
    found = nearest_tokens(queries, tokens, 2)
    for q in range(3):
        for n in range(4):
            cosines = sorted((float(queries[q] @ tokens[n, k]) for k in range(5)), reverse=True)
            assert float(found[q, n]) == pytest.approx(sum(cosines[:2]) / 2, abs=1e-12)
    assert torch.allclose(nearest_tokens(queries, tokens, 9), nearest_tokens(queries, tokens, 5))


def test_spread_counts_what_is_above_the_margin_between_different_tokens():
    tokens = F.normalize(torch.randn(3, 2, 4, dtype=torch.float64), dim=-1)
    flat, total = tokens.flatten(0, 1), 0.0
    for i in range(6):
        for j in range(6):
            if i != j:
                total += max(0.0, float(flat[i] @ flat[j]) - 0.2) / 36
    assert float(spread(tokens, 0.2)) == pytest.approx(total, abs=1e-12)
    assert float(spread(torch.eye(4)[None], 0.0)) == 0.0


def test_partners_are_other_photographs_of_the_person():
    pids, photos = torch.tensor([0, 0, 1, 2, 0, 1, 1]), torch.tensor([5, 5, 7, 8, 9, 7, 6])
    assert partners({"pid": pids, "image_id": photos}).tolist() == [4, 4, 6, 3, 0, 6, 2]


def test_the_labels_of_fafa_give_other_photographs_of_the_person_less():
    whole, half = made("fafa", same_person=1.0).eval(), made("fafa", same_person=0.0).eval()
    batch = a_batch(whole)
    with torch.no_grad():
        states = whole._picture(batch["image"])
        targets = F.normalize(whole.image_out(states), dim=-1)
        fused = whole._both(states, batch["text"])
        scores = nearest_tokens(F.normalize(whole.text_out(fused), dim=-1), targets, 2) / 0.07
        for method, kept in ((whole, "pid"), (half, "image_id")):
            labels = (batch[kept][:, None] == batch[kept][None, :]).double().numpy()
            q, s, total = labels / labels.sum(1, keepdims=True), scores.double().numpy(), 0.0
            for logits in (s, s.T):
                p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
                total += (p * (np.log(p) - np.log(q + 1e-8))).sum(1).mean() / 2
            assert float(method._alignment(fused, targets, batch)) == pytest.approx(total, rel=1e-4)


def test_padding_does_not_change_what_fafa_reads():
    method = made("fafa").eval()
    ids = method.words.ids(["a red top"])
    with torch.no_grad():
        assert torch.allclose(method.encode_text(ids), method.encode_text(method.words.padded(ids)), atol=1e-5)


def test_fafa_hides_features_and_foretells_them():
    method = made("fafa", mask_ratio=0.5)
    fused, target = torch.randn(6, 32), torch.randn(6, 32)
    for layer in method.predictor:
        if hasattr(layer, "weight"):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    draws = torch.Generator().manual_seed(1)
    hidden = [torch.rand(6, 32, generator=draws) < 0.5 for _ in range(2)]
    wanted = sum(float(x[h].square().mean()) for x, h in zip((fused, target), hidden, strict=True)) / 2
    found = method._reasoning(fused, target, torch.Generator().manual_seed(1))
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["pic2word", "word4per", "fafa"])
def test_a_rival_is_asked_by_picture_words_and_both(name, toy, tmp_path):
    method = made(name)
    train(method, name, "recommended", replace(toy, val={}), tmp_path / "run", CPU)
    model = load(tmp_path / "run", "cpu")
    wanted = Model(method.eval(), {}, name, device="cpu")
    sketch = [str(p.query.sketches[0].value) for p in toy.test["sketch"].probes[:2]]
    for words in (["a red top", "a person"], ["", ""]):
        found = model.compose(sketch, words)
        assert np.allclose(found, wanted.compose(sketch, words), atol=1e-5)
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert not np.allclose(model.compose(sketch, ["a red top"] * 2), model.compose(sketch, [""] * 2), atol=1e-3)
    rows = evaluate_all(model, {k: toy.test[k] for k in ("photo+text", "sketch+text")})
    asked = [(r.benchmark, r.composition) for r in rows]
    assert asked == [(b, c) for b in ("photo+text", "sketch+text") for c in ("early", "late", "pseudo")]


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="target='photo' was given"):
        made("pic2word", target="photo")
    with pytest.raises(UsageError, match="reference='face' was given"):
        made("fafa", reference="face")
