import gzip
import html
import itertools
import re

import ftfy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("red\u2028top\u2029and\u3000hat", "red top and hat"),
        ("red\u0085top", "red\u2026top"),  # what Windows writes so is an ellipsis
        ("red&nbsp;top", "red top"),
        ("caf&eacute; &hellip; &copy; &#x2019;s &frac12;", "caf\u00e9 \u2026 \u00a9 's \u00bd"),
        ("the man\u00e2\u20ac\u2122s na\u00c3\u00afve top", "the man's na\u00efve top"),
        ("a\x00 red\x1b[0m\x7f top", "a red top"),
    ],
)
def test_captions_are_cleaned_as_openais_tokenizer_does(text, plain):
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    names = [*alphabet, *(c + "</w>" for c in alphabet), "<|startoftext|>", "<|endoftext|>"]
    words = _byte_pair({name: i for i, name in enumerate(names)}, [])
    assert words.count(text) == words.count(plain)
    assert words.ids([text]).tolist() == words.ids([plain]).tolist()
    assert words.end not in words.ids([text])[0, 1:-1], "every sign is known"


class OpenAI:
    """OpenAI's tokenizer from its description: cleaning, words, bytes as letters, merges by rank."""

    def __init__(self) -> None:
        lines = gzip.decompress(MERGES.read_bytes()).decode().split("\n")[1:48895]
        self.rank = {tuple(line.split()): i for i, line in enumerate(lines)}
        kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
        rest = [b for b in range(256) if b not in kept]
        self.letter = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(rest)}
        letters = [self.letter[b] for b in (*kept, *rest)]
        names = [*letters, *(x + "</w>" for x in letters), *("".join(pair) for pair in self.rank)]
        self.id = {name: i for i, name in enumerate(names)}

    def ids(self, text: str) -> list[int]:
        text = " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()).lower()
        return [i for word in WORDS.findall(text) for i in self.merged(word)]

    def merged(self, word: str) -> list[int]:
        parts = [self.letter[b] for b in word.encode()]
        parts[-1] += "</w>"
        while len(parts) > 1:
            pairs = list(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: self.rank.get(pair, 1 << 30))
            if best not in self.rank:
                break
            at, out = 0, []
            while at < len(parts):
                whole = tuple(parts[at : at + 2]) == best
                out.append("".join(best) if whole else parts[at])
                at += 2 if whole else 1
            parts = out
        return [self.id[part] for part in parts]


# letters, a digit, or other signs: as \p{L}, \p{N} and the rest
WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")
SIGNS = (
    "abcxyz ABC 019 .,;:!?'\"-_&#*()\u2019\u2018\u201c\u201d\u2026\u2014\u00e9\u00fc\ufb01\uff21\u00a0\t\n\u2028\u4e00"
)
PIECES = [
    *(
        "the man\u2019s",
        "&amp;",
        "&quot;",
        "&eacute;",
        "&#39;s",
        "&hellip;",
        "\u00e2\u20ac\u2122s",
        "hat",
        "\u2014",
        "it's",
    ),
    *("T-shirt,", "\ufeff", "42", "\U0001f642", "na\u00c3\u00afve"),
]
CAPTIONS = st.text(st.sampled_from(SIGNS), max_size=30) | st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join)


@pytest.fixture(scope="module")
def both():
    return openai_words(MERGES), OpenAI()


@needs_merges
@settings(max_examples=200, deadline=None)
@given(text=CAPTIONS)
def test_any_caption_has_the_ids_of_openais_tokenizer(both, text):
    words, reference = both
    assert words.ids([text])[0, 1:-1].tolist() == reference.ids(text)[: words.room]
    assert words.cut(text) == ""
