"""Texts that are longer than an encoder reads: cut with notice, read in windows, or read by an encoder with more
positions; and texts in many languages."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from backbones import write_backbone
from conftest import quick, toy_clip, toy_words, write_run
from descry.checkpoint import load_method, save_model
from descry.clip import longer
from descry.clip_files import load_clip
from descry.embed import Model, load
from descry.errors import UsageError
from descry.evaluate import evaluate_all
from descry.methods import method_class, preset
from descry.query import Query
from descry.search import unread
from descry.text import Words
from descry.training.loop import Settings, train

SHORT = "a red top and blue trousers"
LONG = ". ".join(["a red top", "blue trousers", "a person", "no hat and no backpack", "white trousers", "a photo"] * 5)


def a_model(policy="cut", length=16):
    words = toy_words().of_length(length)
    clip = toy_clip(words)
    config = preset("zero_shot", "recommended")
    config = config.with_recipe(replace(config.recipe, long_queries=policy))
    return Model(method_class("zero_shot")(clip, words, config, 0), {}, "toy", device="cpu")


def test_windows_hold_every_word_once_and_fit():
    words = toy_words().of_length(16)
    for taken in (0, 6):
        parts = words.windows(LONG, taken)
        assert " ".join(parts).split() == LONG.split()
        assert max(map(words.count, parts)) <= words.room - taken
        assert taken or all(part.endswith(".") for part in parts[:-1]), "a window ends behind a sign where it can"
    assert words.windows(SHORT) == [SHORT]
    assert words.windows("") == [""]
    unsigned = "red top " * 20
    assert [words.count(part) for part in words.windows(unsigned)] == [14, 14, 12]
    assert all(part.split()[0] in ("red", "top") for part in words.windows(unsigned))


def test_what_is_cut_is_said_and_what_is_read_in_windows_is_not_cut():
    cutting, reading = a_model("cut"), a_model("windows")
    (said,) = [s for s in unread(cutting, Query(wanted=LONG)) if "too long" in s]
    assert LONG.endswith(said.split("not read: ")[1].strip("'"))
    assert not [s for s in unread(reading, Query(wanted=LONG)) if "too long" in s]
    first = cutting.words.windows(LONG)[0]
    assert np.allclose(cutting.embed_texts([SHORT]), reading.embed_texts([SHORT]), atol=1e-6)
    assert np.allclose(cutting.embed_texts([LONG]), cutting.embed_texts([LONG[: len(first) + 30]]), atol=1e-6)
    changed = LONG.replace("photo", "jacket")  # no photo stands in what is read of a text that is cut
    assert np.allclose(cutting.embed_texts([LONG]), cutting.embed_texts([changed]), atol=1e-6)
    assert not np.allclose(reading.embed_texts([LONG]), reading.embed_texts([changed]), atol=1e-4)


def test_windows_count_by_their_tokens():
    model = a_model("windows")
    parts = model.words.windows(LONG)
    vectors = model.embed_texts(parts)
    mean = sum(model.words.count(p) * v for p, v in zip(parts, vectors, strict=True))
    found = model.embed_texts([SHORT, LONG, "a person"])
    assert np.allclose(found[1], mean / np.linalg.norm(mean), atol=1e-5)
    assert np.allclose(found[[0, 2]], model.embed_texts([SHORT, "a person"]), atol=1e-6)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert model.embed_texts([]).shape == (0, model.dimension)


def test_words_beside_a_picture_leave_room_for_its_prompt(toy):
    words, cls = toy_words().of_length(16), method_class("pic2word")
    sketch = str(toy.test["sketch"].probes[0].query.sketches[0].value)
    models = []
    for policy in ("cut", "windows"):
        config = replace(preset("pic2word", "recommended"), **dict(cls.small))
        config = config.with_recipe(replace(config.recipe, long_queries=policy))
        torch.manual_seed(0)
        models.append(Model(cls(toy_clip(words), words, config, 0), {}, policy, device="cpu"))
    cutting, reading = models
    assert cutting.prompt_tokens == len(["a", "photo", "of", "*", ","])
    asked = "red top and blue trousers and white hat and jacket"  # fits alone, not beside the prompt
    assert words.cut(asked) == ""
    query = Query(sketches=sketch, wanted=asked)
    assert any("not read: " in s for s in unread(cutting, query))
    assert not any("too long" in s for s in unread(reading, query))
    assert not np.allclose(cutting.compose([sketch], [asked]), reading.compose([sketch], [asked]), atol=1e-4)
    word = reading.pseudo_words([sketch])
    parts = reading.words.windows(asked, reading.prompt_tokens)
    vectors = [reading.compose_words(word, [part])[0] * words.count(part) for part in parts]
    assert len(parts) == 2
    assert np.allclose(reading.compose([sketch], [asked])[0], sum(vectors) / np.linalg.norm(sum(vectors)), atol=1e-5)


def test_a_trained_model_keeps_its_policy(toy, tmp_path):
    words = toy_words()
    torch.manual_seed(0)
    config = quick(preset("baseline", "recommended"), epochs=1, long_queries="windows")
    method = method_class("baseline")(toy_clip(words), words, replace(config, image_size=(32, 16)), 16)
    train(method, "baseline", "recommended", replace(toy, val={}), tmp_path / "run", Settings(device="cpu", threads=1))
    model = load(tmp_path / "run", "cpu")
    assert model.words.reads_whole
    assert evaluate_all(model, {"text": toy.test["text"]})
    with pytest.raises(UsageError, match="long_queries='split' was given; allowed: cut, windows"):
        config.with_recipe(replace(config.recipe, long_queries="split")).check()


def test_more_positions_read_short_texts_as_before_and_long_ones_whole(tmp_path):
    words = toy_words()
    clip = toy_clip(words)
    more = longer(clip, 154)
    table, stretched = (c.model.text_model.embeddings.position_embedding.weight for c in (clip, more))
    assert torch.equal(stretched[:20], table[:20])
    assert torch.allclose(stretched[20], table[20])
    assert torch.allclose(stretched[-1], table[-1], atol=1e-6)
    assert stretched.shape == (154, 32)
    with torch.no_grad():
        ids = words.ids([SHORT])
        assert torch.equal(clip.text_features(ids), more.text_features(ids))
    assert words.cut(LONG)
    assert words.of_length(154).cut(LONG) == ""
    method = method_class("zero_shot")(more, words.of_length(154), preset("zero_shot", "recommended"), 0)
    save_model(tmp_path / "run", method, "zero_shot", "recommended", {})
    assert load_method(tmp_path / "run")[0].clip.length == 154
    assert longer(clip, 0) is clip
    with pytest.raises(UsageError, match="allowed: 0, or more than the 77 that it reads"):
        longer(clip, 60)
    write_backbone(tmp_path / "siglip", "siglip")
    with pytest.raises(UsageError, match="a siglip reads at its last position"):
        longer(load_clip(tmp_path / "siglip"), 128)


def test_training_stretches_the_positions_that_it_is_asked_for(tmp_path):
    from descry.cli import main
    from descry_people.miniature import write_miniature

    data = str(write_miniature("table", tmp_path / "data"))
    given = ["train", "baseline", "--data", data, "--from", str(write_run(tmp_path / "start")), "--epochs", "1"]
    given += ["--out", str(tmp_path / "run"), "--batch-size", "12", "--device", "cpu", "--threads", "1"]
    given += ["--image-size", "32", "16", "--set", "text_length=100"]
    assert main(given) == 0
    model = load(tmp_path / "run", "cpu")
    assert model.clip.length == model.words.length == 100


SAID = {
    "English": "a woman in a red jacket", "Deutsch": "eine Frau mit roter Jacke und grünem Rucksack",
    "Français": "une femme à la veste rouge", "中文": "穿红色外套的女人", "日本語": "赤い上着の女性",
    "العربية": "امرأة بسترة حمراء", "हिन्दी": "लाल जैकेट में एक महिला",
}  # fmt: skip


def pieces(folder, texts):
    """A small vocabulary in the manner of SigLIP 2's: byte-pair pieces, lower case, bytes for what it does not hold."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Replace("▁", " "), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "*", *(f"<0x{b:02X}>" for b in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special[:6], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    raw = json.loads(tokenizer.to_str())
    for name in special[6:]:
        raw["model"]["vocab"].setdefault(name, len(raw["model"]["vocab"]))
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    limits = {"text_config": {"max_position_embeddings": 64}, "model_type": "siglip"}
    (folder / "config.json").write_text(json.dumps(limits))
    return Tokenizer.from_str(json.dumps(raw))


def test_a_siglip_reads_many_languages(tmp_path):
    theirs = pieces(tmp_path, [SAID["English"], SAID["Deutsch"]])
    words = Words.load(tmp_path)
    for text in SAID.values():
        encoded = theirs.encode(text, add_special_tokens=False)
        assert words.ids([text])[0].tolist() == [*encoded.ids[:63], words.end]
        assert theirs.decode(encoded.ids) == text.lower(), "bytes stand for letters that it has never seen"
        assert words.unknown(text) == []
    assert len({tuple(words.ids([t])[0].tolist()) for t in SAID.values()}) == len(SAID)
    long = " ".join([SAID["日本語"]] * 8)
    assert words.cut(long)
    parts = words.windows(long)
    assert "".join("".join(parts).split()) == "".join(long.split())
    assert max(map(words.count, parts)) <= words.room
