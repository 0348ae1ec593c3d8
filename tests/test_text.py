import gzip

import pytest
import torch

from conftest import SHARED
from descry.errors import ModelMissing, ModelRefused
from descry.text import Words, _byte_pair, clean_caption, mask_tokens, openai_words, word_level

MERGES = SHARED / "data" / "clip_bpe" / "bpe_simple_vocab_16e6.txt.gz"
needs_merges = pytest.mark.skipif(
    not MERGES.is_file(), reason="the merges file of OpenAI's CLIP is not on this machine"
)


@needs_merges
def test_openai_ids():
    words = openai_words(MERGES)
    assert len(words) == 49408
    assert words.ids(["a photo of * , and"])[0, 1:-1].tolist() == [320, 1125, 539, 265, 267, 537]
    assert 265 not in words.ids(["a photo of *, and"])[0].tolist()  # the placeholder must stand apart
    assert words.ids(["jekyll"]).shape[1] == 3
    assert words.unknown("xyzzy") == []
    assert torch.equal(words.ids(["A  Photo\nof"]), words.ids(["a photo of"]))


@needs_merges
def test_a_transformers_folder_gives_the_same_ids(tmp_path):
    import json

    lines = gzip.decompress(MERGES.read_bytes()).decode().split("\n")[1:48895]
    words = openai_words(MERGES)
    (tmp_path / "vocab.json").write_text(json.dumps(words.tokenizer.get_vocab()))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines))
    other = Words.load(tmp_path)
    sentences = ["A man's red café-jacket, 42 years!", "naïve … 日本"]
    assert torch.equal(other.ids(sentences), words.ids(sentences))
    assert other.specials == words.specials


def test_word_level_round_trip_and_unknown_words(tmp_path):
    words = word_level(["a red jacket", "a photo of * , and"])
    assert words.unknown("a Red tuxedo, and a tuxedo of Zebra") == ["tuxedo", "Zebra"]
    words.save(tmp_path)
    again = Words.load(tmp_path)
    assert torch.equal(again.ids(["a red jacket of *"]), words.ids(["a red jacket of *"]))
    assert (words.ids(["of * , and"]) == words.placeholder).sum() == 1


def test_batches_are_cut_at_the_longest_and_at_the_limit():
    words = word_level(["a b c d e f g h"], length=6)
    ids = words.ids(["a b", "a b c d e f g"])
    assert ids.shape == (2, 6)
    assert ids[1, -1] == words.end
    assert ids[0].tolist()[-2:] == [words.pad, words.pad]
    assert words.cut("a b c d e f g") == "e f g"
    assert words.cut("a b c d") == ""
    assert words.ids([""]).tolist() == [[words.start, words.end]]


def test_missing_and_damaged_vocabularies(tmp_path):
    with pytest.raises(ModelMissing, match=r"words\.json"):
        Words.load(tmp_path)
    (tmp_path / "words.json").write_text("{}")
    with pytest.raises(ModelRefused, match="cannot be read"):
        Words.load(tmp_path)
    bad = tmp_path / "x.txt.gz"
    bad.write_bytes(b"not gzip")
    with pytest.raises(ModelRefused, match="merges"):
        openai_words(bad)
    bad.write_bytes(gzip.compress(b"v\na b\n"))
    with pytest.raises(ModelRefused, match="holds"):
        openai_words(bad)


def test_captions_are_cleaned_as_the_released_code_does():
    assert clean_caption('A man. "Red" (jacket)*, #1: blue; shoes~!') == "a man red jacket , 1 blue shoes"
    assert len(clean_caption("word " * 100).split()) == 77


def test_masking_leaves_its_input_and_keeps_the_rates():
    words = word_level([" ".join(f"w{i}" for i in range(200))])
    ids = words.ids([" ".join(f"w{i}" for i in range(60))] * 400)
    before = ids.clone()
    masked, labels = mask_tokens(ids, words, torch.Generator().manual_seed(0), 0.15)
    assert torch.equal(ids, before)
    chosen = labels != 0
    assert torch.equal(labels[chosen], ids[chosen])
    assert not chosen[:, 0].any()
    assert float(chosen.sum() / (400 * 60)) == pytest.approx(0.15, abs=0.01)
    share = float((masked[chosen] == words.mask).sum() / chosen.sum())
    assert share == pytest.approx(0.8, abs=0.03)
    assert torch.equal(masked[~chosen], ids[~chosen])
    assert float((masked[chosen] == ids[chosen]).sum() / chosen.sum()) == pytest.approx(0.1, abs=0.03)
    again, _ = mask_tokens(ids, words, torch.Generator().manual_seed(0), 0.15)
    assert torch.equal(masked, again)


def test_a_row_without_a_draw_has_its_first_word_masked():
    words = word_level(["a b"])
    ids = words.ids(["a"] * 50)
    masked, labels = mask_tokens(ids, words, torch.Generator().manual_seed(0), 0.0)
    assert torch.equal(labels[:, 1], ids[:, 1])
    assert (masked[:, 1] == words.mask).all()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("the man\u2019s bag", "the man's bag"),
        ("\u201cred\u201d top", '"red" top'),
        ("black &amp; white", "black & white"),
        ("black &amp;amp; white", "black & white"),
        ("the man&#39;s &quot;bag&quot;", 'the man\'s "bag"'),
        ("\ufeffa red top", "a red top"),
        ("a \ufb02oral o\ufb03ce", "a floral office"),
        ("\uff32\uff25\uff24 top", "RED top"),
        ("red\u2028top\u0085and\u3000hat", "red top and hat"),
        ("red&nbsp;top", "red top"),
    ],
)
def test_captions_are_cleaned_as_openais_tokenizer_does(text, plain):
    alphabet = sorted(set("abcdefghijklmnopqrstuvwxyz'\"&;#*0123456789"))
    names = [*alphabet, *(c + "</w>" for c in alphabet), "<|startoftext|>", "<|endoftext|>"]
    words = _byte_pair({name: i for i, name in enumerate(names)}, [])
    assert words.ids([text]).tolist() == words.ids([plain]).tolist()
    assert words.end not in words.ids([text])[0, 1:-1], "every sign is known"
