"""Caption statistics: how long captions are, and how many say more than the text encoder reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .table import SPLITS, Table


@dataclass(frozen=True, slots=True)
class Captions:
    """Of one split: how many captions, how many different, words per caption, and, with a tokenizer, tokens.

    cut: captions longer than `limit` tokens, so that their end is never read; None without a tokenizer.
    """

    split: str
    count: int
    different: int
    mean_words: float
    most_words: int
    back_translated: int
    mean_tokens: float | None = None
    most_tokens: int | None = None
    limit: int | None = None
    cut: int | None = None


def caption_statistics(
    table: Table, tokens: Callable[[Sequence[str]], Sequence[int]] | None = None, limit: int = 77
) -> list[Captions]:
    """One line per split that has captions. tokens: captions → tokens of each, start and end included, uncut."""
    out = []
    for split in SPLITS:
        rows = [r for r in table.rows if r.split == split]
        captions = [c for r in rows for c in r.captions]
        if not captions:
            continue
        words = [len(c.split()) for c in captions]
        lengths = list(tokens(captions)) if tokens else []
        out.append(
            Captions(
                split,
                len(captions),
                len(set(captions)),
                sum(words) / len(words),
                max(words),
                sum(len(r.back_translations) for r in rows),
                *(
                    (sum(lengths) / len(lengths), max(lengths), limit, sum(n > limit for n in lengths))
                    if lengths
                    else ()
                ),
            )
        )
    return out


def commonest(table: Table, count: int = 10) -> list[tuple[str, int]]:
    """The captions that stand for most pictures: a sentence shared by many people cannot find one of them."""
    return Counter(c for r in table.rows for c in r.captions).most_common(count)
