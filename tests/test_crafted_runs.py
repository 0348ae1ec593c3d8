"""Run folders that somebody crafted: each is refused in one line, before it costs memory or time."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save

from conftest import hub_folder, write_joining_run
from crafted import DEEP, instead, sparse
from descry import Gallery
from descry.checkpoint import SKETCHES, fingerprint, load_training, search_fingerprint, vocabulary_of
from descry.cli import main
from descry.embed import load
from descry.errors import ModelRefused, UsageError
from descry.ranking import Ranking
from descry.text import _OPENAI_WORDS, Words

Change = Callable[[Path], None]
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def sealed(folder: Path) -> None:
    """The right fingerprint, which anybody can compute."""
    path = folder / CONFIG
    config = json.loads(path.read_text())
    config["vocabulary"] = vocabulary_of(folder)
    config["fingerprint"] = fingerprint(config, (folder / WEIGHTS).read_bytes())
    config["search_fingerprint"] = search_fingerprint(config, folder)
    path.write_text(json.dumps(config))


def config(change: Callable[[dict[str, Any]], Any]) -> Change:
    """config.json with other values, or another text."""

    def changed(folder: Path) -> None:
        path = folder / CONFIG
        body = json.loads(path.read_text())
        text = change(body)
        path.write_text(text if isinstance(text, str) else json.dumps(body))
        if not isinstance(text, str) and {"method", "config", "clip"} <= set(body):
            sealed(folder)

    return changed


def clip(**values: Any) -> Change:
    """Other sizes of both encoders."""

    def change(body: dict[str, Any]) -> None:
        for side in ("vision_config", "text_config"):
            body["clip"]["config"][side].update({k: v for k, v in values.items() if k in body["clip"]["config"][side]})

    return config(change)


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    """Other weights, with their fingerprint."""

    def changed(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        change(state)
        (folder / WEIGHTS).write_bytes(save(state))
        sealed(folder)

    return changed


def raw(header: Any, data: bytes = b"", length: int | None = None) -> Change:
    """A file of weights with this header."""

    def changed(folder: Path) -> None:
        text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
        length_ = len(text) if length is None else length
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", length_) + text + data)
        sealed(folder)

    return changed


def words(**values: Any) -> Change:
    """Other numbers of the tokens with a meaning of their own."""

    def changed(folder: Path) -> None:
        path = folder / "words.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        sealed(folder)

    return changed


def tokens(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Another tokenizer."""

    def changed(folder: Path) -> None:
        path = folder / "tokenizer.json"
        body = json.loads(path.read_text())
        text = change(body)
        path.write_text(text if isinstance(text, str) else json.dumps(body))
        sealed(folder)

    return changed


def sketches(make: Change) -> Change:
    """A file of what sketches are read with, with the seal that belongs to it where there is one."""

    def changed(folder: Path) -> None:
        make(folder / SKETCHES)
        if (folder / SKETCHES).is_file() and (folder / SKETCHES).stat().st_size < 1 << 30:
            sealed(folder)

    return changed


def first(state: dict[str, torch.Tensor]) -> str:
    return next(k for k in sorted(state) if state[k].ndim == 2)


def split(pattern: str) -> dict[str, Any]:
    """Words are taken apart by this expression."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": False}


def recipe(body: dict[str, Any]) -> dict[str, Any]:
    """The first recipe of the method's config."""
    return next(value for value in body["config"].values() if isinstance(value, dict) and "lr" in value)


MANY = {str(i): (1, 0) for i in range(20_000)}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
GROWS = {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 16}
F32 = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
CASES: dict[str, Change] = {
    "config is no JSON": config(lambda c: "{"),
    "config is nested deeply": config(lambda c: DEEP),
    "config is a list": config(lambda c: "[1]"),
    "config says NaN": config(lambda c: '{"method": "interactreid", "config": NaN}'),
    "config of a terabyte": instead(CONFIG, sparse),
    "config is a pipe": instead(CONFIG, os.mkfifo),
    "config is a folder": instead(CONFIG, Path.mkdir),
    "another format": config(lambda c: c.update(format="9" * 1000)),
    "method is a path": config(lambda c: c.update(method="../../evil")),
    "method is a number": config(lambda c: c.update(method=7)),
    "config of the method is a list": config(lambda c: c.update(config=[1])),
    "a field nobody knows": config(lambda c: c["config"].update(run="rm")),
    "a field is text": config(lambda c: c["config"].update(mapping_hidden="12")),
    "a field is negative": config(lambda c: c["config"].update(mapping_hidden=-12)),
    "a layer of a billion": config(lambda c: c["config"].update(mapping_hidden=900_000_000)),
    "a recipe without a rate": config(lambda c: recipe(c).update(lr=None)),
    "a recipe of text": config(lambda c: recipe(c).update(lr="fast")),
    "no shape": config(lambda c: c.pop("clip") and None),
    "a shape of text": config(lambda c: c.update(clip="large")),
    "a million layers": clip(num_hidden_layers=10**6),
    "layers are text": clip(num_hidden_layers="two"),
    "width of ten million": clip(hidden_size=10**7),
    "width of a trillion": clip(hidden_size=10**12),
    "inner width of ten million": clip(intermediate_size=10**7),
    "a vocabulary of a trillion": clip(vocab_size=10**12),
    "texts of ten million": clip(max_position_embeddings=10**7),
    "heads that divide nothing": clip(num_attention_heads=7),
    "an activation that is none": clip(hidden_act="__import__('os').system('touch marker')"),
    "code for attention": config(lambda c: c["clip"]["config"].update(_attn_implementation="someone/kernel")),
    "pictures of a billion pixels": config(lambda c: c["clip"].update(image_size=[10**9, 10**9])),
    "pictures of text": config(lambda c: c["clip"].update(image_size="large")),
    "a deviation of zero": config(lambda c: c["clip"].update(std=[0, 0, 0])),
    "a mean of text": config(lambda c: c["clip"].update(mean="grey")),
    "curves without end": config(lambda c: c.update(composition={"curves": {"red": [1e308, 1e308]}})),
    "curves of text": config(lambda c: c.update(composition={"curves": {"red": "steep"}})),
    "a formula of infinity": config(lambda c: c.update(composition={"formula": {"version": 3, "reach": 1e308}})),
    "a composition nobody knows": config(lambda c: c.update(composition={"default": "magic"})),
    "prompts that are no lists": config(lambda c: c.update(composition={"prompts": {"red": 7}})),
    "another fingerprint": config(lambda c: json.dumps(c | {"fingerprint": "0" * 64})),
    "weights are gone": lambda folder: (folder / WEIGHTS).unlink(),
    "weights are a pipe": instead(WEIGHTS, os.mkfifo),
    "weights are empty": instead(WEIGHTS, lambda path: path.write_bytes(b"")),
    "weights of a terabyte": instead(WEIGHTS, sparse),
    "a header beyond the file": raw("{}", length=1 << 62),
    "a header nested deeply": raw(DEEP),
    "a header that is a list": raw([1]),
    "a tensor of four terabytes": raw({"a": F32}),
    "a tensor of a negative size": raw({"a": F32 | {"shape": [-1]}}, bytes(4)),
    "tensors over one another": raw({n: F32 | {"shape": [1], "data_offsets": [0, 4]} for n in "ab"}, bytes(4)),
    "a weight is missing": weights(lambda s: s.pop(first(s))),
    "a weight too many": weights(lambda s: s.update(more=torch.zeros(3))),
    "a weight of another shape": weights(lambda s: s.update({first(s): torch.zeros(2, 3)})),
    "weights are not finite": weights(lambda s: s[first(s)].fill_(float("nan"))),
    "vocabulary is gone": lambda folder: (folder / "tokenizer.json").unlink(),
    "vocabulary is no JSON": tokens(lambda t: "{"),
    "vocabulary is nested deeply": tokens(lambda t: DEEP),
    "vocabulary without a model": tokens(lambda t: t.pop("model") and None),
    "an expression without end": tokens(
        lambda t: t.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Removed", "invert": False}
        )
    ),
    "an expression that reads a text in many ways": tokens(lambda t: t.update(pre_tokenizer=split(r"(\w|\w|\s)*\d"))),
    "an expression among a thousand steps": tokens(
        lambda t: t.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [*([BYTES] * 5), split("(a+)+$")] * 300})
    ),
    "a text that grows": tokens(lambda t: t.update(normalizer={"type": "Sequence", "normalizers": [GROWS] * 12})),
    "a text that doubles": tokens(
        lambda t: t.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTES] * 30})
    ),
    "a hundred thousand steps": tokens(
        lambda t: t.update(normalizer={"type": "Sequence", "normalizers": [{"type": "Lowercase"}] * 100_000})
    ),
    "20,000 curves": config(lambda c: c.update(composition={"curves": MANY})),
    "a configuration of five megabytes": config(lambda c: c.update(about={"source": "x" * 5_000_000})),
    "prompts of 20,000 texts": config(lambda c: c.update(composition={"prompts": {"red": [["a text"] * 20_000, []]}})),
    "a prompt of a megabyte": config(lambda c: c.update(composition={"prompts": {"red": [["x" * 10**6], []]}})),
    "a phrase of a megabyte": config(lambda c: c.update(composition={"curves": {"x" * 10**6: [1, 0]}})),
    "a neutral text of a megabyte": config(lambda c: c.update(composition={"neutral": "x" * 10**6})),
    "a note of a megabyte": config(lambda c: c.update(about={"note": "x" * 10**6})),
    "a note that is a list": config(lambda c: c.update(about={"note": [1]})),
    "an expression that is none": tokens(
        lambda t: t.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "(["}, "behavior": "Removed", "invert": False}
        )
    ),
    "a token beyond the vocabulary": words(end=10**6),
    "a token of text": words(end="last"),
    "texts of a trillion tokens": words(length=10**12),
    "NaN in a header": raw('{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', bytes(4)),
    "infinity in a header": raw('{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}', bytes(4)),
    "a huge number in a header": raw('{"a": {"dtype": "F32", "shape": [%s], "data_offsets": [0, 4]}}' % ("9" * 400)),
    "a dtype nobody knows": raw({"a": F32 | {"dtype": "O", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "sketches are a pipe": sketches(os.mkfifo),
    "sketches are a link": sketches(lambda path: path.symlink_to("/dev/zero")),
    "sketches of a terabyte": sketches(sparse),
    "sketches are no safetensors": sketches(lambda path: path.write_bytes(b"PK")),
    "sketches of another shape": sketches(lambda path: path.write_bytes(save({"a": torch.zeros(3)}))),
    "sketches nested deeply": sketches(lambda path: path.write_bytes(struct.pack("<Q", len(DEEP)) + DEEP.encode())),
    "tokens are a list": instead("words.json", lambda path: path.write_text("[1, 2]")),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = write_joining_run(tmp_path_factory.mktemp("runs") / "run")
    assert main(["model", "info", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("name", ["tokenizer.json", "words.json"])
def test_another_vocabulary_is_another_model(run, tmp_path, capsys, name) -> None:
    """Two words exchanged, which an encoder would read without a word: refused, and with a new seal another model."""
    shutil.copytree(run, tmp_path / "run")
    before = json.loads((run / CONFIG).read_text())["fingerprint"]
    path = tmp_path / "run" / name
    if name == "words.json":
        path.write_text(json.dumps(json.loads(path.read_text()) | {"mask": 2}))
    else:
        text = path.read_text()
        path.write_text(text.replace('"red"', '"swap"').replace('"blue"', '"red"').replace('"swap"', '"blue"'))
    assert main(["model", "info", str(tmp_path / "run")]) == 4
    assert "the vocabulary in" in capsys.readouterr().err
    sealed(tmp_path / "run")
    assert main(["model", "info", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / CONFIG).read_text())["fingerprint"] != before


@pytest.mark.parametrize(
    "expression",
    [
        _OPENAI_WORDS, r"\s+", " {2,}",
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", r"\p{N}{1,3}",
        r"[!\"\#\$%\&'\(\)\*\+,\-.:;=\?@\[\\\]\^_`\{\|\}\~]",
    ],
)  # fmt: skip
def test_an_expression_of_a_usual_tokenizer_is_read(run, tmp_path, expression) -> None:
    shutil.copytree(run, tmp_path / "run")
    tokens(lambda t: t.update(pre_tokenizer=split(expression)))(tmp_path / "run")
    assert len(Words.load(tmp_path / "run"))


@pytest.mark.parametrize(
    "expression",
    [
        r"a{0,150}a{0,150}a{0,150}(?!a|.|$)", r"a*a*(?!a)", r"(?x)(a+) +b", r"(?<n>a+)\g<n>*b", r"\c[(a+)+b]",
        "a?" * 30,
        r"(?<n>a\g<n>?\g<n>?|aa)b", r"(a*)\1b", r"(a*|b)(c*|d)", r"[a](a+)\*+a+", "x" + "|a*" * 400,
        "(?:a|a)" * 22 + "b", "((a|a)c?|a)(a|b)",
    ],
)  # fmt: skip
def test_an_expression_that_may_take_for_ever_is_refused(run, tmp_path, expression) -> None:
    """Some of these keep the library busy for minutes with a sentence, and nothing can end it."""
    shutil.copytree(run, tmp_path / "run")
    tokens(lambda t: t.update(pre_tokenizer=split(expression)))(tmp_path / "run")
    with pytest.raises(ModelRefused, match="may take very long"):
        Words.load(tmp_path / "run")


def test_an_expression_that_breaks_the_library_off_is_one_line(run, tmp_path, monkeypatch) -> None:
    """Its error is no Exception, and comes with a text."""
    monkeypatch.setattr("descry.text._endless", lambda expression: False)
    shutil.copytree(run, tmp_path / "run")
    tokens(lambda t: t.update(pre_tokenizer=split(r"\w*" * 12 + r"\d")))(tmp_path / "run")
    with pytest.raises(ModelRefused, match="broke off"):
        load(tmp_path / "run", device="cpu").embed_texts(["r" * 200])


RANKED = {
    "default": "late", "joiner": " and ", "text": 0.9, "neutral": "nobody", "sharpness": 3.0, "early": 0.9,
    "phrases": "each",
    "curves": {"red": [0.0, 0.0]}, "prompts": {"red": [["blue"], []]}, "formula": {"version": 4, "evidence": 0.0},
}  # fmt: skip
"""One value of everything that says how a model ranks."""


@pytest.mark.parametrize("key", RANKED)
def test_another_way_to_rank_is_another_search(run, tmp_path, capsys, key) -> None:
    """What is changed behind its seal is refused; with a new seal the search fingerprint is another."""
    assert set(Ranking().to_json()) == set(RANKED)
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / CONFIG
    body = json.loads(path.read_text())
    body["composition"] = (body.get("composition") or {}) | {key: RANKED[key]}
    path.write_text(json.dumps(body))
    assert main(["model", "info", str(tmp_path / "run")]) == 4
    assert "says that the model ranks" in capsys.readouterr().err
    sealed(tmp_path / "run")
    before, after = load(run, device="cpu"), load(tmp_path / "run", device="cpu")
    assert before.fingerprint == after.fingerprint
    assert before.search_fingerprint != after.search_fingerprint


@pytest.fixture
def crops(tmp_path) -> Path:
    (tmp_path / "crops").mkdir()
    for i in range(3):
        Image.new("RGB", (32, 64), (80 * i, 90, 120)).save(tmp_path / "crops" / f"{i}.png")
    return tmp_path / "crops"


def told_of_a_change(gallery: Path, capsys) -> list[bool]:
    """Whether a search, an inquiry and Python say that the model searches otherwise than when it was indexed."""
    said = []
    shutil.rmtree(gallery.parent / "copy", ignore_errors=True)
    shutil.copytree(gallery, gallery.parent / "copy")
    for command in (["search", "G", "red"], ["inquiry", "new", "G", "x", "--text", "red"]):
        capsys.readouterr()
        assert main([str(gallery.parent / "copy") if word == "G" else word for word in command]) == 0
        said.append("changed since this gallery was last indexed" in capsys.readouterr().err)
    with Gallery.open(gallery) as opened:
        said.append("changed since this gallery was last indexed" in opened.search("red").note)
    return said


@pytest.mark.parametrize("key", ["default", "prompts", "curves", "formula"])
def test_a_gallery_tells_when_its_model_ranks_otherwise(run, tmp_path, crops, capsys, key) -> None:
    shutil.copytree(run, tmp_path / "run")
    index = ["index", str(crops), "--out", str(tmp_path / "g"), "--model", str(tmp_path / "run")]
    assert main(index) == 0
    assert told_of_a_change(tmp_path / "g", capsys) == [False] * 3
    path = tmp_path / "run" / CONFIG
    body = json.loads(path.read_text())
    body["composition"] = (body.get("composition") or {}) | {key: RANKED[key]}
    path.write_text(json.dumps(body))
    sealed(tmp_path / "run")
    assert told_of_a_change(tmp_path / "g", capsys) == [True] * 3
    assert main(["merge", str(tmp_path / "g"), "--out", str(tmp_path / "m")]) == 0
    assert told_of_a_change(tmp_path / "m", capsys) == [True] * 3
    capsys.readouterr()
    with Gallery.open(tmp_path / "g") as opened:
        assert "changed since this gallery was last indexed" in opened.search("red").note
        assert main(index) == 0
        assert "changed since this gallery was last indexed" not in capsys.readouterr().err, "said by what ends it"
        assert "changed since" not in opened.search("red").note, "a gallery that stays open learns of it"
    assert told_of_a_change(tmp_path / "g", capsys) == [False] * 3


def test_a_gallery_tells_when_the_words_of_a_plain_clip_change(tmp_path, crops, capsys) -> None:
    """Its fingerprint is that of the weights alone."""
    folder = hub_folder(tmp_path / "clip")
    assert main(["index", str(crops), "--out", str(tmp_path / "g"), "--model", str(folder)]) == 0
    assert told_of_a_change(tmp_path / "g", capsys) == [False] * 3
    words = json.loads((folder / "vocab.json").read_text())
    words["r"], words["b"] = words["b"], words["r"]
    (folder / "vocab.json").write_text(json.dumps(words))
    assert told_of_a_change(tmp_path / "g", capsys) == [True] * 3


@pytest.mark.parametrize("case", CASES)
def test_a_crafted_run_folder_is_refused_in_one_line(run, tmp_path, capsys, monkeypatch, case) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "run")
    CASES[case](tmp_path / "run")
    capsys.readouterr()
    assert main(["model", "info", str(tmp_path / "run")]) in (1, 2, 4), case
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1, err
    assert "unexpected" not in err.split(":")[1], err
    assert len(err) < 2000
    assert not (tmp_path / "marker").exists()


POSITION = {"step": 3, "epoch": 0, "best": None, "scores": [], "bound": {}}
TRAININGS: dict[str, Any] = {
    "no JSON": "{", "deep": DEEP, "a list": "[1]", "a number": "7", "NaN": '{"format": 1, "position": NaN}',
    "no position": {"format": 1}, "a position of text": {"format": 1, "position": "x"},
    "a list for a position": {"format": 1, "position": []}, "another format": {"format": 99, "position": POSITION},
    "a step of text": {"format": 1, "position": POSITION | {"step": "3"}},
    "scores are text": {"format": 1, "position": POSITION | {"scores": "x"}},
}  # fmt: skip


@pytest.mark.parametrize("case", TRAININGS)
def test_a_crafted_state_of_a_training_is_refused(tmp_path, case) -> None:
    held = TRAININGS[case]
    text = held if isinstance(held, str) else json.dumps(held)
    (tmp_path / "training.safetensors").write_bytes(save({"a": torch.zeros(1)}, metadata={"descry": text}))
    with pytest.raises(ModelRefused, match="start without --resume"):
        load_training(tmp_path / "training.safetensors")


def test_a_state_of_a_training_is_no_link_or_pipe(tmp_path) -> None:
    path = tmp_path / "training.safetensors"
    for make in (lambda: path.symlink_to("/dev/zero"), lambda: os.mkfifo(path)):
        make()
        with pytest.raises(UsageError, match="regular files of their owner"):
            load_training(path)
        path.unlink()


FIGURES: dict[str, str] = {
    "a list": "[1]", "deep": DEEP, "huge": "9" * 5000, "no figures": '{"format": 1}',
    "figures are text": '{"figures": "x"}', "figures of text": '{"figures": {"text": "x"}}',
    "a rate of text": '{"figures": {"text": {"R@1": "high"}}}', "infinity": '{"figures": {"text": {"R@1": 1e999}}}',
    "intervals are numbers": '{"figures": {"text": {"R@1": 5.0}}, "intervals": {"text": {"R@1": 7}}}',
    "data are numbers": '{"figures": {"text": {"R@1": 5.0}}, "data": 7}',
}  # fmt: skip


@pytest.mark.parametrize("case", FIGURES)
@pytest.mark.parametrize("file", ["ledger.jsonl", "metrics.json"])
def test_figures_of_a_received_run_folder_are_read_or_left_out(tmp_path, file, case) -> None:
    """A report says what is known of a model's errors, by its folder."""
    from dataclasses import MISSING, fields

    from descry.gallery.contract import Binding
    from descry.report.error_rates import about_model, markdown
    from descry.safe_files import allow
    from descry.studies.ledger import FORMAT, Entry

    whole: dict[str, Any] = {f.name: "" for f in fields(Entry) if f.default is MISSING and f.default_factory is MISSING}
    marks = {"fingerprint": "0" * 64, "search_fingerprint": "1" * 64}
    whole |= {"format": FORMAT, "config": marks} | marks
    text = FIGURES[case]
    if text.startswith("{"):
        given = json.loads(text)
        text = json.dumps(whole | given | {"test": given.get("figures", {})})
    (tmp_path / file).write_text(text)
    binding = Binding(str(tmp_path), "0" * 64, 4, {})
    (tmp_path / "config.json").write_text(json.dumps({"about": {"note": "secret"}} | marks))
    assert about_model(binding)["note"] == "", "a folder that nobody named is not read"
    allow(tmp_path)
    about = about_model(binding)
    assert about["note"] == "secret"
    markdown(about["error_rates"])
