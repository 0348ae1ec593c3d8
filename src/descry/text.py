"""Words: cleaning captions, turning them into token ids, saying what is cut or unknown, masking.

A vocabulary is plain JSON of the tokenizers library. Ids of a batch are cut at its longest text, which halves the time:
the encoder reads at the end-of-text token and attends only backwards, and what attends both ways hides the padding. A
loss that reads the padding on purpose asks for all of it (`Words.padded`).
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tokenizers import Encoding, Regex, Tokenizer, models, normalizers, pre_tokenizers

from .errors import ModelMissing, ModelRefused
from .safe_files import json_of, read_json, read_regular, write_whole

if TYPE_CHECKING:  # imported where ids are made: which words a model knows is said without it
    import torch
    from torch import Tensor

_T = TypeVar("_T")
PLACEHOLDER = "*"
OPENAI_MERGES = 48_894
MERGES_BYTES = 64 << 20
_OPENAI_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class Specials:
    """Ids of the tokens with a meaning of their own. length: most tokens of a text, start and end included.

    start: −1 where a text has none (SigLIP). unknown: −1 where every text can be spelt (byte-pair vocabularies).
    """

    start: int
    end: int
    pad: int
    mask: int
    placeholder: int
    length: int = 77
    unknown: int = -1


class Words:
    """A vocabulary at work. Made by `Words.load`, `openai_words` or `word_level`."""

    def __init__(self, tokenizer: Tokenizer, specials: Specials):
        self.tokenizer, self.specials = tokenizer, specials
        byte_pairs = isinstance(tokenizer.model, models.BPE) and tokenizer.model.end_of_word_suffix == "</w>"
        self.repairs = byte_pairs  # CLIP's: a text is repaired first (`repaired`)
        self.reads_whole = False  # whether long texts are read in windows, so that nothing of them is cut
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.start, self.end, self.pad, self.mask = specials.start, specials.end, specials.pad, specials.mask
        self.placeholder, self.length = specials.placeholder, specials.length
        self.room = self.length - (2 if self.start >= 0 else 1)
        """Most tokens of a text beside its start and end."""

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Texts → (B, L) long, L the longest of them and at most `length`; the last token of a cut text is the end."""
        import torch

        first = [self.start] if self.start >= 0 else []
        rows = [[*first, *e.ids[: self.room], self.end] for _, e in self._read(*texts)]
        out = torch.full((len(rows), max((len(r) for r in rows), default=0)), self.pad, dtype=torch.long)
        for i, row in enumerate(rows):
            out[i, : len(row)] = torch.tensor(row)
        return out

    def of_length(self, length: int) -> Words:
        """The same vocabulary for an encoder that reads at most `length` tokens, start and end included."""
        if length == self.length:
            return self
        own = Tokenizer.from_str(self.tokenizer.to_str())
        return Words(own, replace(self.specials, length=length))

    def padded(self, ids: Tensor) -> Tensor:
        """(B, L) ids → (B, length): with all the padding that a text can have."""
        from torch.nn import functional as F

        return F.pad(ids, (0, max(0, self.length - ids.shape[1])), value=self.pad)

    def in_windows(self) -> Words:
        """The same vocabulary of a model that reads long texts in windows: nothing is cut."""
        other = copy(self)
        other.reads_whole = True
        return other

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without start and end."""
        return [len(e.ids) for _, e in self._read(*texts)]

    def count(self, text: str) -> int:
        """Tokens of a text, without start and end."""
        return self.counts([text])[0]

    def _read(self, *texts: str) -> list[tuple[str, Encoding]]:
        """Each text as it is read, and its tokens with their places in it."""
        read = [repaired(text) for text in texts] if self.repairs else list(texts)
        encoded = _unbroken(self.tokenizer.encode_batch, read, add_special_tokens=False)
        return list(zip(read, encoded, strict=True))

    def cut(self, text: str, taken: int = 0) -> str:
        """What of a text lies beyond the limit and is not read; "" when all of it is. taken: tokens of a prompt around
        it.
        """
        ((text, encoded),) = self._read(text)
        room = max(1, self.room - taken)
        if self.reads_whole or len(encoded.ids) <= room:
            return ""
        return text[encoded.offsets[room][0] :]

    def windows(self, text: str, taken: int = 0) -> list[str]:
        """A text in parts that are each read whole, in order; itself where it is. taken: tokens of a prompt around a
        part.

        A part ends behind the last sign (. , ; : ! ?) in its second half, else behind a word.
        """
        ((text, encoded),) = self._read(text)
        room, parts, first = max(1, self.room - taken), list[str](), 0
        starts = [a for a, _ in encoded.offsets]
        while len(starts) - first > room:
            last = first + room  # the first token that does not fit
            signs = [i for i in range(first + room // 2, last) if text[starts[i] : starts[i] + 1] in tuple(".,;:!?")]
            words = [i for i in range(first + 1, last + 1) if text[: starts[i]][-1:].isspace()]
            last = signs[-1] + 1 if signs else words[-1] if words else last
            parts.append(text[starts[first] : starts[last]].strip())
            first = last
        return [*parts, text[starts[first] :].strip() if parts else text]

    def unknown(self, text: str) -> list[str]:
        """The words of a text that this vocabulary has never seen, in order, each once."""
        if self.specials.unknown < 0:
            return []
        ((text, encoded),) = self._read(text)
        pairs = zip(encoded.ids, encoded.offsets, strict=True)
        return list(dict.fromkeys(text[a:b] for i, (a, b) in pairs if i == self.specials.unknown))

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and words.json."""
        folder = Path(folder)
        write_whole(folder / "tokenizer.json", self.tokenizer.to_str())
        write_whole(folder / "words.json", json.dumps(asdict(self.specials), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Words:
        """From a folder of `save`, a transformers folder (vocab.json and merges.txt), or OpenAI's
        bpe_simple_vocab_16e6.txt.gz.
        """
        path = Path(path)
        if path.is_file():
            return openai_words(path)
        if (path / "words.json").is_file():
            try:
                tokenizer, ids = _tokenizer(path / "tokenizer.json"), Specials(**read_json(path / "words.json"))
                size, numbers = tokenizer.get_vocab_size(), asdict(ids)
                length, free = numbers.pop("length"), ("start", "unknown")
                for name, number in numbers.items():
                    if type(number) is not int or not (-1 if name in free else 0) <= number < size:
                        given = str(number)[:40]
                        raise ValueError(f"words.json says {name} = {given!r}, and the vocabulary has {size} tokens")
                if type(length) is not int or not 2 <= length <= 1 << 16:
                    raise ValueError(f"words.json says length = {str(length)[:40]!r}; 2 to {1 << 16} is read")
                return Words(tokenizer, ids)
            except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
                raise ModelRefused(f"the vocabulary in {path} cannot be read: {error}") from None
        if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
            words = _early_words(path)
            other = _transformers_words(path / "tokenizer.json") if (path / "tokenizer.json").is_file() else None
            if other and other.tokenizer.get_vocab() != words.tokenizer.get_vocab():
                raise ModelRefused(
                    f"{path} holds two vocabularies that differ, tokenizer.json and vocab.json; remove the one "
                    "that the model was not trained with"
                )
            return words
        if (path / "tokenizer.json").is_file():
            found = _transformers_words(path / "tokenizer.json")
            if found or (path / "config.json").is_file():
                return found or _sentence_pieces(path)
        raise ModelMissing(
            f"{path} holds no vocabulary; expected tokenizer.json (with words.json or alone), or vocab.json with "
            "merges.txt, or the file bpe_simple_vocab_16e6.txt.gz of OpenAI's CLIP"
        )


CASED = "A man's RED Jacket, 2 bags!"
"""A text that every vocabulary of CLIP reads in one way."""
_CALLS = re.compile(r"\\[gk\dcCM]|\(\?(?!i?:|[=!])")
"""What an expression may not hold: calls, references to what was found, control characters, modes of reading it."""
_PLAIN = re.compile(r"\\(?:[pP]\{[^}]*\}|.)|\[(?:\\.|[^\]\\])*\]", re.DOTALL)
_REPEATS = re.compile(r"\?(?!i?:|[=!])|[*+{|]")
MOST_EXPRESSIONS = 600
"""Characters of all expressions of a tokenizer."""
GROWTH, STAGES = 16, 100
"""The steps of a tokenizer may make a text so many times as long, and may be so many."""


def _endless(expression: str) -> bool:
    """Whether an expression might read a text in very many ways: it repeats a group, or one of the alternatives that
    it consists of has more than one repetition or choice, beside a few characters that may be missing."""
    plain = _PLAIN.sub("x", expression)
    if _CALLS.search(expression) or re.search(r"\)[*+{]", plain):
        return True
    alternatives, inside = [""], list[bool]()  # of each group around a sign, whether it has alternatives
    for sign in plain:
        if sign == "(":
            inside.append(False)
        elif sign == ")" and inside:
            inside.pop()
        elif sign == "|" and not inside:
            alternatives.append("")
        if sign != "|" or (inside and not inside[-1]):
            alternatives[-1] += sign
        if sign == "|" and inside:
            inside[-1] = True
    found = [_REPEATS.findall(one) for one in alternatives]
    return any(len(one) > 4 or len(one) - one.count("?") > 1 for one in found)


def _tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json of others. Raises ValueError, or the bare Exception of the tokenizers library."""
    text = read_regular(path, MERGES_BYTES).decode("utf-8")
    held = json_of(text)
    growth, stages, expressions = 1.0, 0, 0  # growth: how many times as long all steps may make a text
    todo: list[Any] = (
        [v for k, v in held.items() if k not in ("model", "added_tokens")] if isinstance(held, dict) else []
    )
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            expression = str(value.get("Regex", ""))
            expressions += len(expression)
            if expressions > MOST_EXPRESSIONS or _endless(expression):
                raise ValueError(f"its expression {expression[:40]!r} may take very long to read a text")
            stages += "type" in value
            if value.get("type") == "ByteLevel":
                growth *= 2.0
            elif value.get("type") == "Replace":
                content, pattern = str(value.get("content", "")), value.get("pattern")
                replaced = str(pattern["String"]) if isinstance(pattern, dict) and "String" in pattern else ""
                growth *= max(1.0, len(content) / len(replaced) if replaced else len(content) + 1.0)
            if growth > GROWTH or stages > STAGES:
                raise ValueError(f"it has more than {STAGES} steps, or makes texts more than {GROWTH} times as long")
        if isinstance(value, (dict, list)):
            inner = value.values() if isinstance(value, dict) else value
            todo += [one for one in inner if isinstance(one, (dict, list))]
    try:
        return _unbroken(Tokenizer.from_str, text)
    except ModelRefused as error:
        raise ValueError(error) from None


def _unbroken(call: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """A call of the tokenizers library. ModelRefused where it breaks off, which no `except Exception` sees."""
    try:
        return call(*args, **options)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ModelRefused(f"the tokenizers library broke off: {str(error)[:100]}; use another model") from None


def _early_words(folder: Path) -> Words:
    """CLIP's vocabulary in vocab.json and merges.txt, as transformers wrote it before version 5."""
    try:
        vocabulary = read_json(folder / "vocab.json")
        lines = read_regular(folder / "merges.txt", MERGES_BYTES).decode("utf-8").split("\n")
        return _byte_pair(vocabulary, [tuple(x.split()) for x in lines if x and not x.startswith("#version")])
    except ModelRefused:
        raise
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
        raise ModelRefused(f"the vocabulary in {folder} cannot be read: {error}") from None


def _transformers_words(path: Path) -> Words | None:
    """CLIP's vocabulary in a tokenizer.json, which is all that transformers writes since version 5; None for others."""
    try:
        said = read_json(path)
        model = said["model"]
        if model["type"] != "BPE" or model.get("end_of_word_suffix") != "</w>":
            return None
        merges = [tuple(pair.split()) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
        words = _byte_pair(dict(model["vocab"]), merges)
        if not said.get("normalizer") and not said.get("pre_tokenizer"):
            return words  # a vocabulary alone
        own = _unbroken(_tokenizer(path).encode, CASED, add_special_tokens=False).ids
        if own != words.tokenizer.encode(CASED, add_special_tokens=False).ids:
            raise ModelRefused(
                f"{path} reads texts otherwise than CLIP, such as {CASED!r} (letters in capitals, or what a word is); "
                "it is not read here"
            )
        return words
    except ModelRefused:
        raise
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
        raise ModelRefused(f"the vocabulary in {path} cannot be read: {error}") from None


def openai_words(path: str | Path) -> Words:
    """The vocabulary of OpenAI's CLIP from its merges file (gzip or plain). "a photo of * , and" → 320 1125 539 265
    267 537.
    """
    path = Path(path)
    try:
        raw = read_regular(path, MERGES_BYTES)
        raw = _unpacked(raw) if path.suffix == ".gz" else raw
        lines = raw.decode("utf-8").split("\n")[1 : OPENAI_MERGES + 1]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ModelRefused(f"{path} is not the merges file of OpenAI's CLIP: {error}") from None
    merges = [tuple(line.split()) for line in lines]
    if len(merges) != OPENAI_MERGES or any(len(m) != 2 for m in merges):
        raise ModelRefused(
            f"{path} holds {len(merges)} merges; the file of OpenAI's CLIP holds at least {OPENAI_MERGES}"
        )
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    names = (
        letters + [x + "</w>" for x in letters] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    )
    return _byte_pair({name: i for i, name in enumerate(names)}, merges)


def _unpacked(data: bytes) -> bytes:
    """A gzip file's content. OSError for more than `MERGES_BYTES` of it."""
    with gzip.open(io.BytesIO(data)) as file:
        raw = file.read(MERGES_BYTES + 1)
    if len(raw) > MERGES_BYTES:
        raise OSError(f"it unpacks to more than {MERGES_BYTES:,} bytes")
    return raw


def _sentence_pieces(folder: Path) -> Words:
    """The vocabulary of a SigLIP folder: tokenizer.json, ids and length by config.json. Texts have no start."""
    try:
        text = read_json(folder / "config.json").get("text_config", {})
        tokenizer = _tokenizer(folder / "tokenizer.json")
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
        raise ModelRefused(f"the vocabulary in {folder} cannot be read: {error}") from None
    found = {name: tokenizer.token_to_id(name) for name in ("</s>", "<eos>", "<pad>", "<unk>", "<mask>", "▁*", "*")}
    end = next((found[n] for n in ("<eos>", "</s>") if found[n] is not None), None)
    place = next((found[n] for n in ("▁*", "*") if found[n] is not None), None)
    if end is None or place is None:
        raise ModelRefused(f"{folder / 'tokenizer.json'} lacks an end of text (</s>, <eos>) or the sign {PLACEHOLDER}")
    pad = found["<pad>"] if found["<pad>"] is not None else end
    mask = found["<mask>"] if found["<mask>"] is not None else found["<unk>"]
    length = int(text.get("max_position_embeddings", 64))
    return Words(tokenizer, Specials(-1, end, pad, end if mask is None else mask, place, length))


def repaired(text: str) -> str:
    """A text as OpenAI's tokenizer takes it: mended by ftfy (curly quotes, ligatures, letters of full width, wrong
    decodings, control characters), and HTML's entities replaced twice.

    >>> repaired("the man\u2019s bag &amp;amp; hat")
    "the man's bag & hat"
    """
    if text.isascii() and text.isprintable() and "&" not in text:
        return text
    import html

    from ftfy import fix_text

    return html.unescape(html.unescape(fix_text(text))).strip()


def _byte_pair(vocabulary: dict[str, int], merges: Any) -> Words:
    needed = ("<|startoftext|>", "<|endoftext|>", f"{PLACEHOLDER}</w>")
    if missing := [token for token in needed if token not in vocabulary]:
        raise ModelRefused(f"the vocabulary lacks {', '.join(missing)}; it is not one of CLIP's")
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>", fuse_unk=False
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_OPENAI_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    end = vocabulary["<|endoftext|>"]
    mask = vocabulary.get("<|mask|>", end - 2)  # IRRA and its heirs give up the last merge ("jekyll") for the mask
    return Words(tokenizer, Specials(vocabulary["<|startoftext|>"], end, 0, mask, vocabulary[f"{PLACEHOLDER}</w>"]))


def word_level(sentences: Iterable[str], length: int = 77) -> Words:
    """A small vocabulary of whole words and signs, for models trained from nothing; words it has not seen become
    unknown.
    """
    special = ["<|pad|>", "<|startoftext|>", "<|unknown|>", "<|mask|>", PLACEHOLDER]
    tokenizer = Tokenizer(models.WordLevel({}, unk_token="<|unknown|>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    seen: set[str] = set()
    for sentence in sentences:
        text = tokenizer.normalizer.normalize_str(sentence)
        seen.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    names = [*special, *sorted(seen - set(special)), "<|endoftext|>"]
    tokenizer.model = models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<|unknown|>")
    return Words(tokenizer, Specials(1, len(names) - 1, 0, 3, 4, length, unknown=2))


def clean_caption(text: str, words: int = 77) -> str:
    """A caption as the released InteractReID cleans it: lower case, the signs . ! " ( ) * # : ; ~ become spaces, at
    most `words` words.
    """
    return " ".join(re.sub(r'[.!"()*#:;~]', " ", text.lower()).split()[:words])


def mask_tokens(ids: Tensor, words: Words, generator: torch.Generator, share: float = 0.15) -> tuple[Tensor, Tensor]:
    """Masked-word augmentation of IRRA, VFE-TPS and Propot: (B, L) ids → masked ids and labels (0 = not masked).

    Each ordinary token is chosen with probability `share`; of the chosen, 80 % become the mask, 10 % a random token,
    10 % stay. A row in which none was chosen has its first word masked, whatever the draw. The input is left as it was.
    """
    import torch

    kinds = (words.pad, words.start, words.end, words.mask)
    ordinary = ~torch.isin(ids, torch.tensor(kinds, device=ids.device)) & (ids != words.placeholder)
    draw = torch.rand(ids.shape, generator=generator, device=generator.device).to(ids.device)
    chosen = ordinary & (draw < share)
    empty = ~chosen.any(dim=1) & ordinary[:, 1]
    chosen[empty, 1] = True
    how = torch.rand(ids.shape, generator=generator, device=generator.device).to(ids.device)
    how[empty, 1] = 0.0
    low, high = (1, words.mask) if words.mask > words.placeholder else (words.placeholder + 1, words.end)
    random = torch.randint(low, high, ids.shape, generator=generator, device=generator.device).to(ids.device)
    masked = torch.where(chosen & (how < 0.8), torch.full_like(ids, words.mask), ids)
    masked = torch.where(chosen & (how >= 0.8) & (how < 0.9), random, masked)
    return masked, torch.where(chosen, ids, torch.zeros_like(ids))
