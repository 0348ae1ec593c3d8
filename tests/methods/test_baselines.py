"""Baselines: CMPM three ways, IRRA's parameters, every row of the tables, and the ViT with BERT."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from conftest import quick, toy_clip
from descry.checkpoint import load_method, save_model
from descry.clip import random_clip
from descry.errors import ModelMissing, ModelRefused, UsageError
from descry.methods import Progress, vfe_tps, vit_bert
from descry.methods.baselines import PRESETS, ROWS, Baseline, cmpm
from descry.methods.vit_bert import VitBert, bert_words
from descry.methods.zero_shot import PRESETS as ZERO
from descry.methods.zero_shot import ZeroShot

K = torch.arange(48, dtype=torch.float32).reshape(6, 8)
I, T = torch.sin(1 + K), torch.cos(0.5 + 1.3 * K)  # noqa: E741
PID = torch.tensor([0, 0, 1, 2, 2, 3])
AT = Progress(0, 0, 10, torch.Generator())


def make_batch(words):
    ids = words.ids(
        ["a red top and blue trousers", "a white top", "a green top", "a blue top", "a person", "white trousers"]
    )
    masked, labels = ids.clone(), torch.zeros_like(ids)
    masked[:, 1], labels[:, 1] = words.mask, ids[:, 1]
    images = torch.rand(6, 3, 32, 16, generator=torch.Generator().manual_seed(3))
    return {"image": images, "pid": PID, "text": ids, "masked_text": masked, "token_labels": labels}


def make(words, **changes):
    torch.manual_seed(0)
    return Baseline(toy_clip(words), words, replace(PRESETS["recommended"], heads=4, **changes), 4)


def test_cmpm_reference():
    assert float(cmpm(I, T, PID)) == pytest.approx(21.142117, rel=1e-4)


def test_cmpm_slow_loop():
    total = 0.0
    for a, b in ((I.double().numpy(), T.double().numpy()), (T.double().numpy(), I.double().numpy())):
        b = b / np.linalg.norm(b, axis=1, keepdims=True)
        for i in range(6):
            e = np.exp(a[i] @ b.T)
            same = [float(PID[i] == PID[j]) for j in range(6)]
            for j in range(6):
                p, q = e[j] / e.sum(), same[j] / math.sqrt(sum(same))
                total += p * (math.log(p) - math.log(q + 1e-8)) / 6
    assert float(cmpm(I, T, PID)) == pytest.approx(total, rel=1e-5)


def test_cmpm_of_one_pair_is_zero():
    assert float(cmpm(I[:1], T[:1], PID[:1])) == pytest.approx(0.0, abs=1e-6)


def test_parameters_of_irra():
    with torch.device("meta"):
        clip = random_clip((384, 128), 16, 512, 768, 12, 512, 12, 49408, 77)
        model = Baseline(clip, None, PRESETS["released"], 11003)
    assert sum(p.numel() for name, p in model.named_parameters() if not name.endswith("logit_scale")) == 194_535_419


@pytest.mark.parametrize("row", ROWS)
def test_every_row(words, row):
    model = make(words, **ROWS[row])
    losses = model.losses(make_batch(words), AT)
    sum(losses.values()).backward()
    moved = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None}
    assert ("clip" in moved) == (row != "linear probe")
    assert ("mlm" in losses, "id" in losses) == ("MLM" in row, "ID" in row)
    held = {id(p) for g in model.param_groups() for p in g["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}


def test_linear_probe_begins_at_zero_shot(words):
    batch = make_batch(words)
    probe = make(words, **ROWS["linear probe"]).eval()
    zero = ZeroShot(toy_clip(words), words, ZERO["recommended"])
    assert torch.allclose(probe.encode_image(batch["image"]), zero.encode_image(batch["image"]), atol=1e-6)
    assert torch.allclose(probe.encode_text(batch["text"]), zero.encode_text(batch["text"]), atol=1e-6)


def test_identity_loss_closed_form(words):
    model = make(words)
    model.id_head.classifier.weight.data.zero_()
    assert model.losses(make_batch(words), AT)["id"].item() == pytest.approx(math.log(4), rel=1e-6)


def test_masked_words_only_count_where_masked(words):
    model = make(words, mlm=True).eval()
    batch = make_batch(words)
    head = model.word_head
    text, image = model.clip.text_tokens(batch["masked_text"]), model.clip.image_tokens(batch["image"])
    states = head.cross(text, image, pads=model.clip.text_pads(batch["masked_text"]))
    logits = head.words(head.norm(head.activation(head.dense(states))))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["token_labels"].flatten(), ignore_index=0)
    assert model.losses(batch, AT)["mlm"].item() == pytest.approx(expected.item(), rel=1e-5)
    none = batch | {"token_labels": torch.zeros_like(batch["text"])}
    assert model.losses(none, AT)["mlm"].item() == 0.0


def test_rates_of_irra(words):
    """Rules by parts of the released names, in their order: "cross", then "bias", then "classifier" and "mlm_head"."""
    model = make(words, mlm=True)
    names = {id(p): n for n, p in model.named_parameters()}
    rate = {names[id(p)]: (g["lr_scale"], g["weight_decay"]) for g in model.param_groups() for p in g["params"]}
    for part in ("word_head.cross.attention.in_proj", "word_head.cross.blocks.0.norm1", "word_head.cross.blocks.3.fc"):
        assert (rate[f"{part}.weight"], rate[f"{part}.bias"]) == ((5.0, 4e-5), (2.0, 0.0))
    for part in ("queries", "keys", "out"):
        assert rate[f"word_head.cross.norm_{part}.weight"] == (1.0, 4e-5)
        assert rate[f"word_head.cross.norm_{part}.bias"] == (2.0, 0.0)
    for part in ("id_head.classifier", "word_head.dense", "word_head.norm", "word_head.words"):
        assert (rate[f"{part}.weight"], rate[f"{part}.bias"]) == ((5.0, 4e-5), (5.0, 0.0))
    plain = make(words, mlm=True, bias_rule=False, new_rate=10.0)  # Propot's: every new module at ten times the rate
    assert {g["lr_scale"] for g in plain.param_groups()} == {1.0, 10.0}
    new = sum(p.numel() for n, p in plain.named_parameters() if not n.startswith("clip."))
    assert sum(p.numel() for g in plain.param_groups() if g["lr_scale"] == 10.0 for p in g["params"]) == new


def test_cmpm_keeps_its_precision_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert float(cmpm(I, T, PID)) == pytest.approx(21.142117, rel=1e-4)
        rounded = float(cmpm(I.bfloat16(), T.bfloat16(), PID))
    exact = float(cmpm(I.bfloat16().float(), T.bfloat16().float(), PID))
    assert rounded == pytest.approx(exact, rel=1e-6)


def test_refusals(words):
    with pytest.raises(UsageError, match="did you mean 'sdm'"):
        make(words, loss="sdms")
    batch = {k: v for k, v in make_batch(words).items() if k != "masked_text"}
    with pytest.raises(UsageError, match="mask_text"):
        make(words).losses(batch, AT)
    with pytest.raises(UsageError, match="not trained"):
        ZeroShot(toy_clip(words), words, ZERO["recommended"]).losses(batch, AT)


def test_zero_shot_is_the_clip(words):
    clip, batch = toy_clip(words), make_batch(words)
    model = ZeroShot(clip, words, ZERO["recommended"])
    v = clip.image_features(batch["image"])
    assert torch.allclose(model.encode_image(batch["image"]), v / v.norm(dim=1, keepdim=True), atol=1e-6)
    assert model.param_groups() == []


@pytest.mark.parametrize("row", ["CLIP + SDM", "linear probe"])
def test_it_learns_the_toy(toy, words, tmp_path, row):
    from descry.training.loop import Settings, train

    config = replace(PRESETS["recommended"], **ROWS[row])
    config = quick(config, epochs=12, batch_size=16, eps=1e-8, augment="none", lr=1e-3 if row == "CLIP + SDM" else 2e-2)
    torch.manual_seed(0)
    model = Baseline(toy_clip(words), words, config, toy.identities)
    metrics = train(model, "baseline", "recommended", toy, tmp_path / "run", Settings(threads=1))
    assert max(metrics["selection_scores"]) > 2 * 100 / 16


# ---------------------------------------------------------------------- ViT and BERT

SIZE = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 128}


def vit_bert_config(**changes):
    return replace(vit_bert.PRESETS["paper"], width=32, layers=1, heads=4, **changes)


@pytest.fixture
def towers(tmp_path):
    """Two tiny folders in the transformers format, and a WordPiece vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "*", "a", "red", "top", "##s"]
    tokenizer = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    torch.manual_seed(5)
    ViTModel(ViTConfig(**SIZE, image_size=32, patch_size=8), add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    BertModel(BertConfig(**SIZE, vocab_size=len(names)), add_pooling_layer=False).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "tokenizer.json").write_text(tokenizer.to_str())
    return tmp_path


def test_vit_and_bert_from_their_own_weights(towers, words):
    config = vit_bert_config(image_encoder=str(towers / "vit"), text_encoder=str(towers / "bert"))
    model = VitBert(toy_clip(words), words, config, 4)
    model.prepare()
    saved = BertModel.from_pretrained(towers / "bert", add_pooling_layer=False).state_dict()
    assert all(torch.equal(v, saved[k]) for k, v in model.bert.state_dict().items())
    ids = model.words.ids(["a red tops", "a"])
    assert ids.tolist() == [[2, 6, 7, 8, 9, 3], [2, 6, 3, 0, 0, 0]]
    assert torch.allclose(model.eval().encode_text(ids)[1:], model.encode_text(ids[1:, :3]), atol=1e-6)
    batch = make_batch(words) | {"text": model.words.ids(["a red top", "a top", "red", "a", "top", "red top"])}
    model.losses(batch, AT)["cmpm"].backward()
    assert model.vit.embeddings.position_embeddings.shape == (1, 9, 32)
    assert model.image_projection.weight.grad.abs().sum() > 0


def test_vit_and_bert_are_trained_as_vfe_tps_is(words):
    """The paper's baseline "shares the same architecture": both auxiliary tasks and one recipe, other encoders."""
    printed = vit_bert.PRESETS["paper"]
    assert (printed.recipe, printed.new_rate) == (vfe_tps.PRESETS["paper"].recipe, 1.0)
    torch.manual_seed(0)
    model, batch = VitBert(toy_clip(words), words, vit_bert_config(), 6), make_batch(words)
    mask = torch.stack([torch.arange(8).roll(i) < 5 for i in range(len(batch["pid"]))])
    losses = model.losses(batch | {"patch_mask": mask}, AT)
    assert list(losses) == ["cmpm", "tg-mim", "is-gvfc"]
    assert set(VitBert(toy_clip(words), words, vit_bert_config(auxiliary=False), 6).losses(batch, AT)) == {"cmpm"}
    for name in ("tg-mim", "is-gvfc"):
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.vit.parameters()), name
    assert model.bert.embeddings.word_embeddings.weight.grad is None, "the calibration reads no text"
    images, text = batch["image"], model._text_tokens(batch["text"])
    hidden = vfe_tps.pixel_mask(mask, images, 8)[:, None]
    drawn = model.mim.predict(model, images, mask, text, ~model._read(batch["text"]))
    away = (drawn - (images - 0.5) / 0.5).abs().masked_select(hidden.expand_as(images)).mean()
    assert losses["tg-mim"].item() == pytest.approx(3 * away.item(), rel=1e-4)  # eq. 3 sums three channels


def test_vit_and_bert_are_saved_without_the_clip(towers, words, tmp_path):
    model = VitBert(toy_clip(words), words, vit_bert_config(), 4).eval()
    assert not any(k.startswith("clip.") for k in model.state_dict())
    saved = {k: v for k, v in model.state_dict().items() if k.startswith(model.inference_keys)}
    assert {k.partition(".")[0] for k in model.state_dict().keys() - saved} == {"mim"}, "only the auxiliary task"
    images = make_batch(words)["image"]
    reloaded = VitBert(toy_clip(words, seed=9), words, vit_bert_config()).eval()
    reloaded.load_state_dict(saved)
    assert torch.equal(model.encode_image(images), reloaded.encode_image(images))


def test_encoders_that_do_not_fit(towers, words, tmp_path):
    with pytest.raises(ModelMissing):
        bert_words(towers / "vit")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "tokenizer.json").write_text(
        (towers / "bert" / "tokenizer.json").read_text().replace("[CLS]", "[CLX]")
    )
    with pytest.raises(ModelRefused, match=r"\[CLS\]"):
        bert_words(tmp_path / "bad")
    model = VitBert(toy_clip(words), words, vit_bert_config(image_encoder=str(towers / "nothing")), 4)
    with pytest.raises(ModelMissing):
        model.prepare()
    wide = json.loads((towers / "vit" / "config.json").read_text()) | {"hidden_size": 64}
    torch.manual_seed(0)
    ViTModel(ViTConfig(**(SIZE | {"hidden_size": wide["hidden_size"]}), image_size=32, patch_size=8)).save_pretrained(
        towers / "wide"
    )
    with pytest.raises(ModelRefused, match="width=32"):
        VitBert(toy_clip(words), words, vit_bert_config(image_encoder=str(towers / "wide")), 4).prepare()


def test_a_probe_survives_its_run_folder(words, tmp_path):
    model = make(words, **ROWS["linear probe"]).eval()
    model.image_probe.weight.data.mul_(1.5)
    model.image_probe.bias.data.add_(0.1)
    save_model(tmp_path / "run", model, "baseline", "recommended", {})
    loaded, _ = load_method(tmp_path / "run")
    images = make_batch(words)["image"]
    assert torch.allclose(model.encode_image(images), loaded.encode_image(images), atol=1e-6)
