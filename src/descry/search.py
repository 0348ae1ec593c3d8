"""One way to rank: from queries to terms, from terms to scores, from scores to leads.

Gallery, conversation, questions, absence, evaluation, training's validation, figures and simulation all call this
module, so what is measured is what is served. How a model ranks is one frozen value, `ranking.Ranking`.

Letters: D dimension, N items of a gallery, Q queries, T terms, R rows (terms, then the parts of composed terms), P
parts with a share of the score, k items shown.

A query becomes *terms*: vectors that are compared with every item. Similarities of different kinds do not compare (a
drawing lies farther from every photograph than a sentence does), so each term is first standardised over the whole
gallery, z = (s - mean) / spread, filters or not. Then, with weights w >= 0:

    base(i)  = Σ w z(i) / spread of that sum                  what is looked for: sketch, photo, text, compositions
    score(i) = base(i) + Σ w r f e(z(i)) + Σ w r n e(-z(i))    phrases as evidence; NOT; r: how well it is read
               + w s z(i)                                      a stick figure beside words
               + w l z(i) - w u max(0, z(i)) + closest(i)      liked, unliked, "closest of these"
    e(z)     = log(ε + (1 - 2ε) / (1 + exp(-a z - b)))         evidence of one answer that is wrong with probability ε,
               less its value at z = 0                         so that the average item gets nothing

A NOT phrase is scored by itself and never given to the encoder as negated English, which CLIP reads as the thing
itself. Evidence weighs in proportion to what the model can read (`Ranking.reading`). One wrong answer cannot bury a
person: phrases are added last, one after the other as they were said (`Query.said`), and each puts no item from place r
of the gallery behind place `Formula.worst_place(r)` (`Fall`), nor sets two items farther apart than `Formula.reach`.
Scores are not probabilities.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Protocol

import numpy as np

from .errors import UsageError, nearest
from .language import may_deny, read
from .query import Filters, Part, Query, digest
from .ranking import FORMULA, Curve, Formula, Prompts, Ranking, ranking_of

SHAPES = {"linear": 1, "stick": 1, "evidence": 1, "not": -1, "like": 1, "unlike": -1}
"""How a term counts, and its sign. "linear" terms make the base; "stick" adds `Formula.stick` of a sketch to it."""
PHRASE_SHAPES = ("evidence", "not")
LINEAR_SHAPES = ("linear", "stick", "like")
"""Terms whose score is in proportion to z: the factor is the constant of that name in `Formula`. "linear" ones make the
base, and are divided by its spread."""
CANDIDATES = 20_000
MARGIN = 64
DUPLICATE = 0.97
GATHER = 0.3
"""Share of a gallery up to which only the items that the filters let through are scored."""
CELLS = 4_000_000
MANY = 1 << 15
"""Scores that take longer to sort than a thread takes to wake."""
Choice = tuple[int, tuple[int, ...]]
"""An answer to "closest of these": the item chosen, and all items it was chosen from."""


# ---------------------------------------------------------------------------------------------- what a query means


def understood(query: Query) -> Query:
    """The query with negated words turned into NOT phrases: "a red top, no backpack" → "red top", NOT "backpack".

    A text without a negation stays as it is, and so does every text of a query that is `verbatim`. What of a negated
    text cannot be decided is left out (`told` says it). Applied twice, it changes nothing more. Raises UsageError for a
    NOT phrase that holds a negation itself, and for a query of which nothing is left.
    """
    if query.verbatim:
        return query
    wanted: list[Part] = []
    unwanted = list(query.unwanted)
    unclear: list[str] = []
    for part in query.wanted:
        if not may_deny(part.value) or not (said := read(part.value)).negated:
            wanted.append(part)
            continue
        unclear += said.unclear
        for phrase in said.phrases:
            found = Part(phrase.text, part.weight * phrase.weight, part.on)
            (wanted if phrase.wanted else unwanted).append(found)
    for part in query.unwanted:
        phrases = read(part.value).phrases if may_deny(part.value) else []
        if phrases and not any(p.wanted for p in phrases):
            raise UsageError(
                f"the NOT phrase {part.value!r} holds a negation itself; name the thing alone: {phrases[0].text!r}"
            )
    if wanted == list(query.wanted) and unwanted == list(query.unwanted):
        return query
    clear = query.replace(wanted=_once(wanted), unwanted=_once(unwanted))
    if unclear and not any((wanted, unwanted, query.sketches, query.photos, query.liked, query.closest)):
        raise UsageError(
            f"not understood: {', '.join(map(repr, unclear))}; say what is there (“short sleeves”) or what is not "
            "(“no bag”), or add --verbatim (verbatim=True in Python)"
        )
    return clear


def _once(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple({p.value: p for p in parts}.values())


def unread(model: Any, query: Query) -> list[str]:
    """What a model cannot read of a query, a sentence each: unknown words, and what lies beyond its limit.

    Also what was done to a sketch before it was read. Raises UsageError when the query is words alone and the model
    knows none of them.
    """
    words = getattr(model, "words", None)
    parts = [p for p in (*query.wanted, *query.unwanted) if p.on]
    said = fitting_notes(model, query, " (--as-drawn leaves it)")
    if words is None or not parts:
        return said
    unknown = list(dict.fromkeys(word for part in parts for word in words.unknown(part.value)))
    if unknown:
        more = f" and {len(unknown) - 20} more words" if len(unknown) > 20 else ""
        said.append(f"this model does not know {', '.join(map(repr, unknown[:20]))}{more}")
        asked = {word for part in parts for word in re.findall(r"\w+", part.value.lower())}
        if asked <= {word.lower() for word in unknown} and not (query.sketches or query.photos):
            raise UsageError(f"{said[-1]}; use other words, or a model with a larger vocabulary (descry model get)")
    taken = getattr(model, "prompt_tokens", 0) if query.sketches or query.photos else 0
    for part in parts:
        if cut := words.cut(part.value, taken):
            said.append(f"the text is too long; not read: {cut!r}")
    ranking = ranking_of(model)
    idle = [p.value for p in parts if ranking.curve(p.value) and not ranking.reads(p.value)]
    if idle:
        said.append(f"this model was found unable to read {', '.join(map(repr, idle))}; it hardly counts")
    return said


def fitting_notes(model: Any, query: Query, hint: str = "", memo: Memo | None = None) -> list[str]:
    """What was done to the sketches of a query before they were read, and how to draw them better, a sentence each.

    hint: added where something was done. memo: of `terms_of`; with it, a sketch that was read is not fitted again.
    """
    if query.as_drawn or not hasattr(model, "fit_sketch"):
        return []
    on = [p.value for p in query.sketches if p.on]
    rows = (memo or Memo()).rows(
        [("fit", f"{digest(sketch)} fitted") for sketch in on],
        lambda new: np.array([model.fit_sketch(on[i]).told for i in new]),
    )
    both = [(f"{done}{hint}" if done else "", stick) for done, stick in rows.values()]
    return list(dict.fromkeys(note for notes in both for note in notes if note))


def told(asked: Query, query: Query) -> str:
    """How a query was understood, where that differs from what was asked; "" otherwise."""
    unclear = (
        []
        if asked.verbatim
        else [repr(piece) for part in asked.wanted if may_deny(part.value) for piece in read(part.value).unclear]
    )
    said = [f"not understood and left out: {', '.join(unclear)}"] if unclear else []
    if [p.value for p in (*query.wanted, *query.unwanted)] != [p.value for p in (*asked.wanted, *asked.unwanted)]:
        phrases = [p.value for p in query.wanted] + [f"NOT {p.value}" for p in query.unwanted]
        said.insert(0, f"understood as {', '.join(phrases) or 'nothing'} (--verbatim keeps the words)")
    return "; ".join(said)


# ---------------------------------------------------------------------------------------------- terms


class Encoder(Protocol):
    """What is asked of a model: `descry.embed.Model` has it, and so has a small fake in a test.

    A `ranking` of its own, if it has one, says how it ranks; its `fit_sketch`, if it has one, is given every sketch
    that is not to be read as drawn. If its `sketch_method` is not its `method`, sketches are given to
    its `embed_sketches`, and to `pseudo_words` with `sketches=True`.
    """

    answers: frozenset[str]

    def embed_images(self, pictures: Sequence[Any]) -> np.ndarray: ...
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray: ...
    def pseudo_words(self, pictures: Sequence[Any]) -> np.ndarray: ...
    def compose_words(self, words: np.ndarray, texts: Sequence[str]) -> np.ndarray: ...


@dataclass(frozen=True, eq=False, slots=True)
class Term:
    """One vector that is compared with every item.

    Attributes:
        kind: what it came from, for the reader: "sketch", "photo", "text", "sketch+text", "not", "liked", "unliked",
            "closest".
        label: the phrase or file.
        weight: 0 or more.
        vector: (D,).
        shape: one of SHAPES.
        parts: (kind, label, vector) of a composition; the vectors sum to `vector`, so that its score can be shared out
            among them exactly.
        curve: (a, b) of the answer curve of a phrase; the formula's steepness where it is None.
        strength: 0 to 1, how far the model can read a phrase (`Ranking.reading`).
    """

    kind: str
    label: str
    weight: float
    vector: np.ndarray
    shape: str = "linear"
    parts: tuple[tuple[str, str, np.ndarray], ...] = ()
    curve: Curve | None = None
    strength: float = 1.0


def phrase_term(phrase: str, vector: np.ndarray, ranking: Ranking, wanted: bool = True, weight: float = 1.0) -> Term:
    """A phrase that is scored by itself, wanted or NOT. vector: (D,) of `phrase_vectors`."""
    strength, curve = ranking.reading(phrase, wanted)
    kind, shape = ("text", "evidence") if wanted else ("not", "not")
    return Term(kind, phrase, weight, vector, shape, curve=curve, strength=strength)


class Memo:
    """Vectors of pictures and texts that were embedded before, so that refining by words re-encodes no picture.

    limit: most entries kept; the oldest go first. One memo belongs to one model and is used by one thread at a time.
    """

    def __init__(self, limit: int = 4096):
        self.limit = limit
        self._rows: dict[tuple[str, ...], np.ndarray] = {}

    def rows(
        self, keys: Sequence[tuple[str, ...]], embed: Callable[[list[int]], np.ndarray]
    ) -> dict[tuple[str, ...], np.ndarray]:
        """The vector of each key; embed(positions) → (len(positions), D) is called once, for the keys not yet known."""
        new = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self._rows}
        if new:
            positions = sorted(new.values())
            for i, row in zip(positions, embed(positions), strict=True):
                self._rows[keys[i]] = row
        found = {key: self._rows[key] for key in keys}
        while len(self._rows) > self.limit:
            del self._rows[next(iter(self._rows))]
        return found


def terms_of(
    model: Encoder, queries: Sequence[Query], ranking: Ranking | None = None, memo: Memo | None = None
) -> list[list[Term]]:
    """The terms of queries: pictures, phrases and NOT, embedded in batches. Marks are added by `rank`.

    ranking: the model's own unless given. Raises UsageError when nothing of a query is on, ImageRejected for a picture
    that cannot be read.
    """
    ranking = usable(model, ranking or ranking_of(model))
    memo = memo or Memo(limit=1 << 40)
    plans = [_Plan(understood(query), ranking, hasattr(model, "fit_sketch")) for query in queries]
    pictures = {name: part.value for plan in plans for name, part in zip(plan.names, plan.pictures, strict=True)}
    names = list(pictures)
    fitted = dict.fromkeys(name for plan in plans for name in plan.fitted)
    fit_sketch: Any = getattr(model, "fit_sketch", None)
    fit_of: Any = cache(lambda name: fit_sketch(pictures[name]))

    def seen(name: str) -> Any:
        return fit_of(name).picture if name in fitted else pictures[name]

    each = list(fitted)
    fits = memo.rows([("fit", n) for n in each], lambda new: np.array([fit_of(each[i]).told for i in new]))
    sticks = {name for (_, name), (_, stick) in fits.items() if stick}
    for plan in plans:
        plan.set_aside(sticks)
    drawn = (
        {name for plan in plans for name in plan.sketches}
        if getattr(model, "sketch_method", None) is not getattr(model, "method", None)
        else set()
    )
    taken, drawings = [n for n in names if n not in drawn], [n for n in names if n in drawn]
    apart: Any = model  # what reads sketches in another way than photographs
    rows = memo.rows([("image", n) for n in taken], lambda new: model.embed_images([seen(taken[i]) for i in new]))
    rows |= memo.rows(
        [("image", n) for n in drawings], lambda new: apart.embed_sketches([seen(drawings[i]) for i in new])
    )
    texts = list(dict.fromkeys(text for plan in plans for text in plan.texts))
    rows |= memo.rows([("text", t) for t in texts], lambda new: model.embed_texts([texts[i] for i in new]))
    prompts = list(dict.fromkeys(prompt for plan in plans for prompt in plan.prompts))
    shown = list(dict.fromkeys(name for name, _ in prompts if name not in drawn))
    sketched = list(dict.fromkeys(name for name, _ in prompts if name in drawn))
    words = memo.rows([("word", n) for n in shown], lambda new: model.pseudo_words([seen(shown[i]) for i in new]))
    words |= memo.rows(
        [("word", n) for n in sketched], lambda new: apart.pseudo_words([seen(sketched[i]) for i in new], sketches=True)
    )
    rows |= memo.rows(
        [("composed", name, text) for name, text in prompts],
        lambda new: model.compose_words(
            np.stack([words["word", prompts[i][0]] for i in new]), [prompts[i][1] for i in new]
        ),
    )
    return [plan.terms(rows) for plan in plans]


def usable(model: Encoder, ranking: Ranking) -> Ranking:
    """The ranking with a composition that the model can make: "late" where it has no pseudo-words."""
    learnt = ranking.composition.how in ("early", "early+late", "pseudo")
    return ranking.using("late") if learnt and "sketch+text" not in model.answers else ranking


def phrase_vectors(model: Encoder, phrases: Sequence[str], ranking: Ranking | None = None) -> np.ndarray:
    """(P, D) of phrases that are scored by themselves: the mean of each one's texts less that of what it is told apart
    from (`Ranking.texts`). ranking: the model's own unless given.
    """
    ranking = ranking or ranking_of(model)
    texts = list(dict.fromkeys(t for p in phrases for side in ranking.texts(p) for t in side))
    if not texts:
        return model.embed_texts([])
    rows = Memo(len(texts)).rows([("text", t) for t in texts], lambda _: model.embed_texts(texts))
    return np.stack([_direction(ranking.texts(p), rows) for p in phrases])


def _direction(texts: Prompts, rows: Mapping[tuple[str, ...], np.ndarray]) -> np.ndarray:
    like, unlike = ([rows["text", text] for text in side] for side in texts)
    if not unlike and len(like) == 1:
        return like[0]
    mean = np.mean(like, axis=0)
    return unit(mean - np.mean(unlike, axis=0) if unlike else mean)


class _Plan:
    """What of one query has to be embedded, and how the vectors become terms.

    names: digests of its pictures, and how they are read. sketches: those of sketches. fitted: those that are fitted.
    said: phrases in another order than wanted ones first. prompt: the wanted phrases that one text holds. prompts:
    (picture, text) of the
    prompts with a pseudo-word. texts: all that is embedded as text. beside_words: whether a stick figure would be set
    aside. sticks: (digest, weight) of those that were.
    """

    def __init__(self, query: Query, ranking: Ranking, fits: bool):
        self.ranking, self.kind, how = ranking, query.kind, ranking.composition
        self.pictures = [p for p in (*query.sketches, *query.photos) if p.on]
        fitted = sum(p.on for p in query.sketches) if fits and not query.as_drawn else 0
        count = sum(p.on for p in query.sketches)
        read = [" fitted"] * fitted + [" as drawn"] * (count - fitted) + [""] * (len(self.pictures) - count)
        self.names = [digest(p.value) + how for p, how in zip(self.pictures, read, strict=True)]
        self.sketches, self.fitted = self.names[:count], self.names[:fitted]
        wanted = [p for p in query.wanted if p.on]
        self.unwanted = [p for p in query.unwanted if p.on]
        self.said = query.phrases if query.said else []
        if not (self.pictures or wanted or self.unwanted or query.liked or query.closest):
            raise UsageError(
                "the query is empty: give a sketch, a photograph, a phrase or a mark, and leave it switched on"
            )
        alone = [p for p in wanted if p.weight != 1.0 or ranking.alone(p.value)]
        together = [p.value for p in wanted if p not in alone] if how.phrases in ("one", "both") else []
        self.prompt = how.joiner.join(together)
        self.single = wanted if how.phrases in ("each", "both") else alone
        self.texts = [self.prompt] if self.prompt else []
        self.texts += [t for p in (*self.single, *self.unwanted) for side in ranking.texts(p.value) for t in side]
        self.prompts: list[tuple[str, str]] = []
        if how.how == "pseudo":
            self.prompts = [(name, "") for name in self.names]
        elif how.how in ("early", "early+late") and self.prompt:
            self.prompts = [(name, self.prompt) for name in self.names]
        self.beside_words = bool(wanted) and ranking.formula.version > 2
        self.sticks: list[tuple[str, float]] = []

    def set_aside(self, sticks: set[str]) -> None:
        """Take stick figures beside words out of the composition: each becomes a weak term of its own."""
        if not (self.beside_words and sticks.intersection(self.fitted)):
            return
        both = list(zip(self.names, self.pictures, strict=True))
        self.sticks = [(n, p.weight) for n, p in both if n in sticks]
        self.names = [n for n, _ in both if n not in sticks]
        self.pictures = [p for n, p in both if n not in sticks]
        self.prompts = [(n, text) for n, text in self.prompts if n not in sticks]
        if sticks.issuperset(self.fitted):
            self.kind = "+".join(k for k in self.kind.split("+") if k != "sketch")

    def terms(self, rows: Mapping[tuple[str, ...], np.ndarray]) -> list[Term]:
        out = self._base(rows)
        phrases = [(p, True) for p in self.single] + [(p, False) for p in self.unwanted]
        if self.said:
            phrases = [p for p in self.said if p in phrases]
        for part, wanted in phrases:
            vector = _direction(self.ranking.texts(part.value), rows)
            out.append(phrase_term(part.value, vector, self.ranking, wanted, part.weight))
        out += [Term("sketch", "stick figure", w, rows["image", n], "stick") for n, w in self.sticks]
        return out

    def _base(self, rows: Mapping[tuple[str, ...], np.ndarray]) -> list[Term]:
        how = self.ranking.composition
        kind = "+".join(k for k in self.kind.split("+") if k != "text")
        text = Term("text", self.prompt, 1.0, rows["text", self.prompt]) if self.prompt else None
        picture = self._mean(kind, [rows["image", n] for n in self.names]) if self.pictures else None
        if self.prompts:
            vectors = [rows["composed", name, said] for name, said in self.prompts]
            if how.how == "pseudo":
                picture = _shared(self._mean(kind, vectors), [picture] if picture else [])
            else:
                composed = _shared(self._mean(f"{kind}+text", vectors), [t for t in (picture, text) if t])
                if how.how == "early":
                    return [composed]
        if picture is None or text is None:
            return [t for t in (picture, text) if t]
        a, b = (1 - how.text) * max(p.weight for p in self.pictures), how.text
        if how.how in ("sum", "slerp"):
            return [_mixed(picture, text, how.how, b / (a + b) if a + b else 0.5)]
        side = [replace(picture, weight=a), replace(text, weight=b)]
        if how.how == "early+late":
            side = [replace(composed, weight=how.early), *(replace(t, weight=t.weight * (1 - how.early)) for t in side)]
        return side

    def _mean(self, kind: str, vectors: list[np.ndarray]) -> Term:
        weights = np.array([p.weight for p in self.pictures], np.float32)
        label = kind.split("+")[0] if len(vectors) == 1 else f"{len(vectors)} pictures"
        return Term(kind, label, 1.0, unit(weights @ np.stack(vectors)) if weights.any() else vectors[0])


def _mixed(picture: Term, text: Term, how: str, share: float) -> Term:
    """One vector between two: on the line, or on the great circle (Shoemake 1985), `share` of the way to the text."""
    a, b = 1 - share, share
    if how == "slerp":
        angle = float(np.arccos(np.clip(picture.vector @ text.vector, -1, 1)))
        if angle > 1e-4:
            a, b = np.sin((1 - share) * angle) / np.sin(angle), np.sin(share * angle) / np.sin(angle)
    vector = a * picture.vector + b * text.vector
    length = max(float(np.linalg.norm(vector)), 1e-12)
    parts = tuple((t.kind, t.label, t.vector * (c / length)) for t, c in ((picture, a), (text, b)))
    return Term(f"{picture.kind}+text", text.label, 1.0, vector / length, parts=parts)


def _shared(composed: Term, known: list[Term]) -> Term:
    """A composed term with its parts: the nearest mixture of the parts' own vectors, and what goes beyond it."""
    matrix = np.stack([t.vector for t in known], axis=1).astype(np.float64)
    shares = np.linalg.lstsq(matrix, composed.vector.astype(np.float64), rcond=None)[0]
    parts = [(t.kind, t.label, (s * t.vector).astype(np.float32)) for t, s in zip(known, shares, strict=True)]
    rest = composed.vector - np.sum([vector for _, _, vector in parts], axis=0)
    label = known[-1].label if known[-1].kind == "text" else composed.label
    return replace(composed, label=label, parts=(*parts, (composed.kind, "together", rest)))


def mark_terms(liked: np.ndarray, unliked: np.ndarray, closest: np.ndarray | None = None) -> list[Term]:
    """Rocchio's terms (Rocchio 1971) from the vectors of marked items: their mean direction, to be added or taken away.

    liked: (L, D); unliked: (U, D); closest: (C, D) choices of "closest of these", oldest first, each counting half as
    much as the one after it; only for choices whose rivals are unknown (`choice_evidence` takes those into account).
    """
    terms = []
    for kind, shape, vectors in (("liked", "like", liked), ("unliked", "unlike", unliked)):
        if len(vectors):
            terms.append(Term(kind, f"{len(vectors)} {kind}", 1.0, unit(np.mean(vectors, axis=0)), shape))
    if closest is not None and len(closest):
        ages = 0.5 ** np.arange(len(closest))[::-1]
        terms.append(Term("closest", f"{len(closest)} chosen", 1.0, unit(ages @ closest), "like"))
    return terms


def stored(vectors: np.ndarray) -> np.ndarray:
    """Vectors in the precision that a gallery keeps, float16, as float32 again."""
    return np.asarray(vectors, np.float32).astype(np.float16).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 along the last axis, float32; a zero vector stays zero."""
    vectors = np.asarray(vectors, np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


# ---------------------------------------------------------------------------------------------- scores


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that are kept from one search to the next, for they take long to start."""
    return ThreadPoolExecutor(threads, "descry-search")


if hasattr(os, "register_at_fork"):  # a copy of this process has none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_threads(work: Callable[..., Any], *pieces: Sequence[Any] | np.ndarray) -> list[Any]:
    """list(map(work, *pieces)) by as many threads as PyTorch uses, this one among them. Each takes the next piece when
    it is free; one that other programs hold up holds up no piece but its own."""
    import torch  # here, for commands that read a query and rank nothing

    done: list[Any] = [None] * len(pieces[0])
    left = iter(range(len(done)))

    def some() -> None:
        for i in left:
            done[i] = work(*(piece[i] for piece in pieces))

    threads = torch.get_num_threads()
    others = [_pool(threads).submit(some) for _ in range(min(threads, len(done)) - 1)]
    try:
        some()
    finally:  # after an error the pieces that are left stay undone; nothing returns while a thread still works
        for _ in left:
            pass
        wait(begun := [other for other in others if not other.cancel()])
    for other in begun:
        other.result()
    return done


@dataclass(frozen=True, eq=False, slots=True)
class Fall:
    """How low one phrase may put an item, by the score that the item had before it. The bound holds for any data.

    Let S(q) be the score at place q once the phrase is added. An item that stood at place r keeps at least S(q), q =
    worst_place(r) - r. Fewer than q items have more than that by themselves, and of those that are kept up likewise
    only the r - 1 that stood before it are kept higher: it stands at worst_place(r) or before, equal scores aside. The
    first `Formula.fall_places` places are as the phrase makes them. Between the places that are looked up the least
    score is a straight line, and it falls no faster than the score before; both only tighten the bound.

    Attributes:
        before: (K,) rising scores before the phrase.
        least: (K,) the least score that an item of each may have after it.
        drop: what most of a gallery may lose, and no more.
        low, high: items of scores from low to high before may lose `drop`; others what lies between the K.
    """

    before: np.ndarray
    least: np.ndarray
    drop: float
    low: float
    high: float

    @classmethod
    def of(cls, before: np.ndarray, part: np.ndarray, formula: Formula, weights: np.ndarray | None = None) -> Fall:
        """The bound over a gallery with (N,) scores before the phrase, of what the phrase gives, (N,). Items of equal
        score share their last place. weights: `Space.weights`."""
        n = len(before) if weights is None else round(float(weights.sum()))
        run = in_threads if n > MANY else map
        was, will = run(partial(_rising, weights=weights), (before.copy(), before + part))
        found, less = _standing(was, n - _looked_up(n))
        knots, first = np.unique(found, return_index=True)
        place = n - less[first]
        place = np.append(place[1:], place[-1] - 0.5)  # what stands between two knots stands behind the upper one
        worst = formula.fall_factor * place + formula.fall_places
        own = np.where(worst < n, np.clip(worst - place, 1, n), n).astype(np.int64)
        after = _standing(will, n - own)[0]
        drop = np.minimum.accumulate((knots - after)[::-1])[::-1]
        most = drop[np.argmax(place <= n / 2)]  # of the item in the middle
        same = np.flatnonzero(drop == most)
        low = float(knots[same[0]]) if same[0] else -np.inf
        return cls(knots, knots - drop, float(most), low, float(knots[same[-1]]))

    def held(self, before: np.ndarray, part: np.ndarray) -> np.ndarray:
        """(N,) what a phrase gives, held up where it would put an item too low: `part`, changed. The N may be any
        items."""
        some = np.flatnonzero((part < -self.drop) & (before > self.high) | (before < self.low))
        scores = before[some]
        at = np.minimum(np.searchsorted(self.before, scores, "right"), len(self.before) - 1)  # as np.interp, but faster
        rise = np.append(np.diff(self.least) / np.maximum(np.diff(self.before), np.finfo(np.float32).tiny), 0)
        ahead = np.maximum(self.before[at] - scores, 0)
        lowest = np.maximum(part[some], self.least[at] - ahead * rise[at - 1] - scores)
        np.maximum(part, -self.drop, out=part)[some] = lowest
        return part


@cache
def _looked_up(count: int) -> np.ndarray:
    """Places among so many items at which `Fall` looks scores up, close together at the top and the last one."""
    return np.append(np.geomspace(1, count, 12 + 10 * count.bit_length()).astype(np.int64), count)


def _rising(values: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """(N,) values in order, perhaps in place, and how many there are up to each. weights: (N,) how often each is there;
    None: once, and nothing is counted."""
    if weights is None:
        values.sort()  # by vector instructions in NumPy, and faster than anything that spares a part of it
        return values, None
    order = np.argsort(values)
    return values[order], np.cumsum(weights[order])


def _standing(ordered: tuple[np.ndarray, np.ndarray | None], at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values at some places, counted from 0, and how many values are less than each. ordered: of `_rising`."""
    rising, up_to = ordered
    if up_to is None:
        value = rising[at]
        return value, rising.searchsorted(value)
    value = rising[np.minimum(up_to.searchsorted(at + 1e-6, "right"), len(rising) - 1)]
    return value, np.append(0, up_to)[rising.searchsorted(value)]


def after_phrase(before: np.ndarray, part: np.ndarray, formula: Formula) -> np.ndarray:
    """(N,) scores of a whole gallery after one more phrase gave it (N,) `weighed_evidence`, as `Fit` adds it."""
    held = part if formula.version < 4 else Fall.of(before, part, formula).held(before, part.copy())
    return np.asarray(before + held)


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """A formula fitted to a gallery: the terms with the mean and spread of each row. Made by `fit`.

    Attributes:
        falls: row of a phrase → the bound on what it may take away.
    """

    terms: tuple[Term, ...]
    formula: Formula
    mean: np.ndarray
    spread: np.ndarray
    base_spread: float
    ladders: tuple[np.ndarray, ...] = field(default=())
    falls: Mapping[int, Fall] = field(default_factory=dict)

    def scores(self, similarity: np.ndarray) -> np.ndarray:
        """(R, N) similarities of `stack(terms)` → (N,) float32 scores. The N may be any items of the gallery."""
        return self._parts(similarity)[1]

    def _parts(self, similarity: np.ndarray) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """Row → what its term adds, phrases last, and the sum."""
        total, parts = np.zeros(similarity.shape[1], np.float32), dict[int, np.ndarray]()
        for row in _phrases_last(self.terms):
            part = self._term(row, similarity[row])
            if row in self.falls:
                part = self.falls[row].held(total, part)
            parts[row] = part
            total += part
        return parts, total

    def _summed(
        self,
        total: np.ndarray,
        order: Sequence[int],
        similarity: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[Fit, np.ndarray]:
        """The fit with the bounds on falls, and `total` with the terms of some rows added, phrases last.

        total: (N,) float32 of the other terms over a whole gallery. similarity: (T, N) cosines of those rows. Both are
        changed. weights: `Space.weights`. Raises UsageError for a term of an unknown shape and for numbers that are not
        finite.
        """
        for term in self.terms:
            if term.shape not in SHAPES:
                raise UsageError(f"a term of shape {term.shape!r} was given; {nearest(term.shape, list(SHAPES))}")
        if not (np.isfinite(self.spread).all() and np.isfinite(self.mean).all()):
            raise UsageError("a similarity is not a finite number; check the embeddings of the query and the gallery")
        falls, run = dict[int, Fall](), in_threads if len(total) > MANY else map
        for row, part in zip(order, run(self._term, order, similarity, similarity), strict=True):
            if self.formula.version > 3 and self.terms[row].shape in PHRASE_SHAPES:
                falls[row] = Fall.of(total, part, self.formula, weights)
                part = falls[row].held(total, part)
            total += part
        return replace(self, falls=falls), total

    def _sweep(self) -> tuple[np.ndarray, float, list[int]]:
        """What has to be compared with every item to score it: (S, D) vectors, a constant, and the rows of the terms
        that the last vectors belong to. All terms that are linear in a vector are one vector, the first, and the
        constant.
        """
        together = [row for row, term in enumerate(self.terms) if term.shape in LINEAR_SHAPES]
        apart = [row for row in _phrases_last(self.terms) if row not in together]
        vectors = [self.terms[row].vector for row in apart]
        if not together:
            return np.stack(vectors), 0.0, apart
        base, f = 1 / self.base_spread, self.formula
        chosen = [(self.terms[row], self.spread[row]) for row in together]
        factors = np.array([term.weight * getattr(f, term.shape, base) / spread for term, spread in chosen])
        one = factors @ np.stack([self.terms[row].vector for row in together]).astype(np.float64)
        return np.stack([one, *vectors]).astype(np.float32), -float(factors @ self.mean[together]), apart

    def contributions(self, similarity: np.ndarray) -> tuple[list[tuple[str, str]], np.ndarray]:
        """(R, k) similarities → the (kind, label) of each part and (P, k) shares whose columns sum to the scores.

        A composed term is shared out among its parts, measured from the average item. What the composition adds beyond
        its parts stands under the label "together".
        """
        names: list[tuple[str, str]] = []
        rows: list[np.ndarray] = []
        at = len(self.terms)
        parts = self._parts(similarity)[0]
        for row, term in enumerate(self.terms):
            whole = parts[row]
            if not term.parts or self.formula.fusion == "ranks":
                names.append((term.kind, term.label))
                rows.append(whole)
            else:
                scale = term.weight / (self.spread[row] * self.base_spread)
                for part, (kind, label, _) in enumerate(term.parts, at):
                    names.append((kind, label))
                    rows.append(((similarity[part] - self.mean[part]) * scale).astype(np.float32))
            at += len(term.parts)
        return names, np.stack(rows) if rows else np.zeros((0, similarity.shape[1]), np.float32)

    def _term(self, row: int, s: np.ndarray, room: np.ndarray | None = None) -> np.ndarray:
        """(N,) cosines with the vector of a row → float32, what its term gives, in `room` where there is one."""
        term, f = self.terms[row], self.formula
        if self.ladders:
            ladder = self.ladders[row]
            steps = 1.0 / (61.0 + np.arange(len(ladder)))
            ranks = np.minimum(len(ladder) - np.searchsorted(ladder, s, side="right"), len(ladder) - 1)
            z: np.ndarray = ((steps[ranks] - steps.mean()) / max(steps.std(), 1e-9)).astype(np.float32)
        else:  # in float32 where the cosines are: those are as many as the gallery
            kind = s.dtype.type
            z = np.subtract(s, kind(self.mean[row]), out=room if s.dtype == np.float32 else None)
            z = np.divide(z, kind(self.spread[row]), out=z).astype(np.float32, copy=False)
        if term.shape in PHRASE_SHAPES:
            return weighed_evidence(z, f, term.shape == "evidence", term.curve, term.weight * term.strength, out=z)
        if term.shape == "unlike":
            np.maximum(z, 0, out=z)
        z *= np.float32(term.weight) * np.float32(SHAPES[term.shape] * getattr(f, term.shape, 1 / self.base_spread))
        return z


def weighed_evidence(
    z: np.ndarray, formula: Formula, yes: bool, curve: Curve | None, weight: float, out: np.ndarray | None = None
) -> np.ndarray:
    """`evidence` times weight and strength of a "yes" or "no", held so that no two items are set farther apart than
    `Formula.reach`. weight: of the phrase, times its `Term.strength`.
    """
    amount = weight * (formula.evidence if yes else formula.negation)
    scores = evidence(z, formula, yes, curve, out)
    scores *= np.float32(amount)
    if formula.version == 1:
        return scores
    most = float(evidence(np.array([-1e9, 1e9]), formula, yes, curve).max())  # that any item can get
    np.maximum(scores, np.float32(amount * most - formula.reach), out=scores)
    return scores


def evidence(
    z: np.ndarray,
    formula: Formula = FORMULA,
    yes: bool = True,
    curve: tuple[float, float] | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """e(z) of the module's text: log-likelihood of "yes" (or "no") for an item with standard score z; 0 for the
    average.

    curve: (a, b) of the answer curve, where it is known; (steepness, 0) otherwise. out: as of NumPy's functions.

    >>> [round(float(v), 2) for v in evidence(np.array([-9.0, 0.0, 9.0]))]
    [-2.3, 0.0, 0.64]
    """
    a, b = curve or (formula.steepness, 0.0)

    def seen(x: np.ndarray) -> np.ndarray:
        x *= -1.0 if yes else 1.0  # each step in place: making room for a gallery's numbers takes longer than the step
        np.exp(np.minimum(x, 60, out=x), out=x)
        x += 1.0
        np.divide(1 - 2 * formula.error, x, out=x)
        x += formula.error
        return x

    value: np.ndarray = np.multiply(z, a, out=out)
    value += b
    value = seen(value)
    value /= float(seen(np.array(b, np.float64)))
    value = np.log(value, out=value).astype(np.float32, copy=False)
    return value


def stack(terms: Sequence[Term]) -> np.ndarray:
    """(R, D) float32: the vectors of the terms, then those of their parts: what a gallery is asked to compare."""
    rows = [t.vector for t in terms] + [vector for t in terms for _, _, vector in t.parts]
    if not rows:
        raise UsageError("there is nothing to rank by: give a sketch, a photograph, a phrase or a mark")
    return np.stack(rows).astype(np.float32)


def _phrases_last(terms: Sequence[Term]) -> list[int]:
    """The rows of terms in the order in which they are added up."""
    phrases = [row for row, term in enumerate(terms) if term.shape in PHRASE_SHAPES]
    return [*(row for row in range(len(terms)) if row not in phrases), *phrases]


def fit(terms: Sequence[Term], similarity: np.ndarray, formula: Formula = FORMULA) -> Fit:
    """The formula fitted to a gallery: `fit_scores` without the scores."""
    return fit_scores(terms, similarity, formula)[0]


def fit_scores(
    terms: Sequence[Term],
    similarity: np.ndarray,
    formula: Formula = FORMULA,
    sums: Sums | None = None,
    weights: np.ndarray | None = None,
) -> tuple[Fit, np.ndarray]:
    """The formula fitted to a gallery, and the (N,) float32 scores of its items.

    similarity: (R, N) of `stack(terms)` with every item that could be ranked. sums: over the same items; means and
    spreads are those of the similarities where it is None. weights: `Space.weights`. Raises UsageError when the rows do
    not fit the terms or a value is not finite.
    """
    similarity = np.asarray(similarity)
    wanted = len(terms) + sum(len(t.parts) for t in terms)
    if similarity.ndim != 2 or len(similarity) != wanted or not similarity.shape[1]:
        raise UsageError(f"similarity must be ({wanted} rows of stack(terms), N ≥ 1 items); got {similarity.shape}")
    terms = _weighed(terms, similarity, formula) or terms
    fitted = sums and _fitted(terms, formula, sums)
    if not fitted:
        if weights is None:
            mean, spread = similarity.mean(axis=1, dtype=np.float64), similarity.std(axis=1, dtype=np.float64)
        else:
            mean, spread = _mean_and_spread(similarity, weights)
        spread = np.maximum(spread, NO_SPREAD)
        ladders: tuple[np.ndarray, ...] = ()
        if formula.fusion == "ranks":
            ladders = tuple(np.sort(row) for row in similarity[: len(terms)])
        fitted = Fit(tuple(terms), formula, mean, spread, 1.0, ladders)
        linear = [fitted._term(i, similarity[i]) for i, t in enumerate(terms) if t.shape == "linear"]
        base = 1.0
        if linear:
            whole = np.sum(linear, axis=0)
            base = float(
                whole.std(dtype=np.float64) if weights is None else _mean_and_spread(whole[None], weights)[1][0]
            )
        fitted = replace(fitted, base_spread=base if base > NO_SPREAD else 1.0)
    order = _phrases_last(fitted.terms)
    return fitted._summed(np.zeros(similarity.shape[1], np.float32), order, similarity[order], weights)


def _mean_and_spread(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, N) → mean and standard deviation of each row, in float64."""
    mean = np.average(values, axis=1, weights=weights)
    return mean, np.sqrt(np.average((values - mean[:, None]) ** 2, axis=1, weights=weights))


NO_SPREAD = 1e-6
"""The least spread of cosines; items that differ less do not differ."""
SURE_SPREAD = 0.005
"""Spreads of a row of length 1 from which on they are taken from sums. Below, the rounding of single cosines is not
small beside them, and a mean of those very cosines is better than the true one."""


def _fitted(terms: Sequence[Term], formula: Formula, sums: Sums) -> Fit | None:
    """The formula fitted by sums, without comparing a vector; None where spreads are too small for that."""
    vectors = stack(terms).astype(np.float64)
    mean, spread = sums.of(vectors)
    fitted = Fit(tuple(terms), formula, mean, np.maximum(spread, NO_SPREAD), 1.0)
    if (spread < SURE_SPREAD * np.linalg.norm(vectors, axis=1)).any():
        return None
    linear = [row for row, term in enumerate(terms) if term.shape == "linear"]
    if not linear:
        return fitted
    base = float(sums.of(np.array([terms[row].weight / spread[row] for row in linear]) @ vectors[linear])[1][0])
    return replace(fitted, base_spread=base if base > NO_SPREAD else 1.0)


def _weighed(terms: Sequence[Term], similarity: np.ndarray | None, formula: Formula) -> Sequence[Term] | None:
    """The terms, those made of a sketch weaker where it stands near no item and the words have a term of their own, so
    that a drawing that says little leaves what the words say. None where that cannot be told without similarities.
    """
    alone = [i for i, t in enumerate(terms) if t.kind == "sketch" and t.shape == "linear"]
    if not (formula.decided and alone and any(t.kind == "text" for t in terms)):
        return terms
    if similarity is None:
        return None
    share = min(1.0, max(0.0, float(similarity[alone[0]].max())) / formula.decided) ** 8
    drawn = ("sketch", "sketch+text")
    return [replace(t, weight=t.weight * share) if t.shape == "linear" and t.kind in drawn else t for t in terms]


def choice_evidence(
    items: np.ndarray, choices: Sequence[tuple[np.ndarray, np.ndarray]], formula: Formula = FORMULA
) -> np.ndarray:
    """Bayesian update of "closest of these" (PicHunter, Cox et al. 2000, its softmax user model): (C,) log-likelihoods.

    items: (C, D) unit candidates. choices: (chosen (D,), shown (S, D) with the chosen one among them) for each
    answer. If item i were the person, a searcher takes a with probability exp(cos(i, a) / t) / Σ over the shown of
    exp(cos(i, b) / t). The same ε as for answers keeps one slip from deciding. The mean over the candidates is taken
    away.
    """
    total = np.zeros(len(items), np.float64)
    if not len(items):
        return total.astype(np.float32)
    for chosen, shown in choices:
        if len(shown) < 2:
            continue
        logits = (items @ shown.T).astype(np.float64) / formula.temperature
        top = logits.max(axis=1)
        log_all = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        taken = np.exp((items @ chosen) / formula.temperature - log_all)
        total += np.log(formula.error / len(shown) + (1 - formula.error) * taken)
    value: np.ndarray = (formula.closest * (total - total.mean())).astype(np.float32)
    return value


def near_duplicates(similarity: np.ndarray, threshold: float = 0.97) -> np.ndarray:
    """(U, N) cosines of unliked items to all → (N,) bool: the unliked ones and what is as good as the same picture."""
    value: np.ndarray = np.any(np.asarray(similarity) >= threshold, axis=0)
    return value


def top(
    scores: np.ndarray,
    ids: np.ndarray,
    k: int,
    *,
    allowed: np.ndarray | None = None,
    pinned: Sequence[int] = (),
    hidden: np.ndarray | None = None,
) -> np.ndarray:
    """Positions (≤ k,) best first: pinned ids, then by falling score; equal scores by rising id, so the order is one.

    scores, ids: (N,). allowed: (N,) bool, what filters let through. hidden: (N,) bool, left out unless pinned.
    Raises UsageError for k < 1.
    """
    if k < 1:
        raise UsageError(f"k={k} results were asked for; ask for at least 1")
    ahead = np.flatnonzero(np.isin(ids, np.asarray(pinned, ids.dtype))) if len(pinned) else np.arange(0)
    if allowed is not None:
        scores, ahead = np.where(allowed, scores, -np.inf), ahead[allowed[ahead]]
    open_to = scores if hidden is None else np.where(hidden, -np.inf, scores)
    rest = np.arange(len(scores))
    if (wanted := k + len(ahead)) < len(scores):  # those that are pinned may be among the best
        rest = np.flatnonzero(open_to >= kth_largest(open_to, wanted))
    rest = rest[(open_to[rest] > -np.inf) & ~np.isin(rest, ahead)]
    return np.concatenate([block[np.lexsort((ids[block], -scores[block]))] for block in (ahead, rest)])[:k]


def kth_largest(values: np.ndarray, k: int) -> Any:
    """The k-th largest of (N,) values, 1 ≤ k ≤ N."""
    if len(part := values[::8]) > 2 * k:  # what is among the best is as large as the k-th of a part
        values = values[values >= np.partition(part, len(part) - k)[len(part) - k]]
    return np.partition(values, len(values) - k)[len(values) - k]


# ---------------------------------------------------------------------------------------------- who stands out


@dataclass(frozen=True, slots=True)
class Heights:
    """How far scores lie above those of the whole gallery. A level is a number of spreads above the middle.

    The middle is the median. The spread is the scaled median deviation, which the leads themselves do not move, or
    the standard deviation where that is larger: where a third of a gallery wears red, a red jacket does not stand out.

    Attributes:
        middle: median score.
        spread: spread of the scores; above 0.
        count: how many items were scored.
    """

    middle: float
    spread: float
    count: int

    @classmethod
    def of(cls, scores: np.ndarray) -> Heights | None:
        """Heights over (N,) scores of all items (`Leads.everything`); None where there is none."""
        if not len(scores):
            return None
        middle = _median(scores)
        spread = max(1.4826 * _median(np.abs(scores - middle)), float(np.std(scores, dtype=np.float64)), 1e-6)
        return cls(middle, spread, len(scores))

    def score(self, level: float) -> float:
        """The score at a level."""
        return round(self.middle + self.spread * level, 4)

    @property
    def usual(self) -> float:
        """The level that is drawn at first: the height that the best of `count` draws of a bell curve would reach,
        √(2 log count), in steps of LEVELS. What lies above stands out from the gallery; it need not be the person."""
        return LEVELS[int(np.clip(np.ceil((np.sqrt(2 * np.log(max(self.count, 2))) - 1.0) / 0.25), 0, 16))]


def _median(values: np.ndarray) -> float:
    """np.median of (N,) values; where NumPy sorts with vector instructions, that is faster than its partition."""
    rising, half = np.sort(values), len(values) // 2
    return float(np.mean(rising[half - 1 + len(values) % 2 : half + 1]))


LEVELS = tuple(1.0 + 0.25 * step for step in range(17))
"""Levels at which a line may be drawn through a ranking, from one to five spreads over the middle."""
USUAL = "usual"


def checked_level(level: float | str) -> float | str:
    """A level as it was given: a finite number, 0 or more, or USUAL. UsageError for anything else."""
    number = isinstance(level, (int, float)) and not isinstance(level, bool)
    if level == USUAL or (number and 0 <= float(level) < float("inf")):
        return level
    raise UsageError(
        f"a level of {level!r} was given; it is a number of spreads over the gallery's middle, 0 or more, or {USUAL!r} "
        "(where the page draws its line)"
    )


# ---------------------------------------------------------------------------------------------- leads


class Sums(Protocol):
    """Sums over all vectors of a gallery, from which the mean and spread of any query follow without reading one."""

    def of(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(R, D) → mean and standard deviation (R,) of their cosines with all items."""


class Space(Protocol):
    """A gallery at one moment: N items of dimension D with unit vectors.

    ids: (N,) int64, rising. snapshot: names the moment; the same name, the same items and vectors.
    weights: (N,) for how many items of a larger gallery each stands; None: the N are the gallery.
    """

    ids: np.ndarray
    snapshot: str
    weights: np.ndarray | None

    def scores(self, vectors: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """(R, D) → (R, N) float32 cosines with every item, or (R, n) with those at the columns alone."""

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        """Item ids → (k, D) float32; UsageError for an unknown id."""

    def allowed(self, filters: Filters, marked: Sequence[int]) -> np.ndarray | None:
        """(N,) bool, what filters let through; None for everything."""

    def sums(self) -> Sums | None:
        """Sums over the vectors of this moment, where they are kept and save reading the vectors."""


class Arrays:
    """A Space of plain arrays. ids: (N,) rising; vectors: (N, D), unit length."""

    weights: np.ndarray | None = None

    def __init__(self, ids: np.ndarray, vectors: np.ndarray, snapshot: str = "arrays"):
        self.snapshot = snapshot
        self.ids = np.asarray(ids, np.int64)
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        if self._vectors.ndim != 2 or len(self.ids) != len(self._vectors) or (np.diff(self.ids) <= 0).any():
            raise UsageError(
                f"ids must rise and go with vectors (N, D); got {self.ids.shape} and {self._vectors.shape}"
            )

    def scores(self, vectors: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        rows = self._vectors if columns is None else self._vectors[columns]
        return np.asarray(vectors, np.float32) @ rows.T

    def vectors(self, ids: Sequence[int]) -> np.ndarray:
        value: np.ndarray = self._vectors[positions(self.ids, ids)]
        return value

    def allowed(self, filters: Filters, marked: Sequence[int]) -> np.ndarray | None:
        if filters.marked is None:
            return None
        value: np.ndarray | None = np.isin(self.ids, np.asarray(marked, np.int64)) == filters.marked
        return value

    def sums(self) -> Sums | None:
        return None


@dataclass(frozen=True, eq=False, slots=True)
class Leads:
    """What a search shows, best first. Never an identification, and no probability of a person.

    Attributes:
        ids: (k,) of the items shown.
        scores: (k,) of the formula.
        names: (kind, label) of each part that has a share of the scores.
        shares: (P, k), the part of the score each one gives; columns sum to scores.
        cosines: (k,) float32 of the first term with the items shown.
        pinned: how many at the top are there because they were liked.
        scored: gives `everything`.
        fit: the formula as it was fitted to the gallery; None when the filters let nothing through.
        considered: how many items the filters let through.
        whole: whether these are all that can be shown, however many are asked for.
        note: what must be said beside them, "" for nothing.
    """

    ids: np.ndarray
    scores: np.ndarray
    names: tuple[tuple[str, str], ...]
    shares: np.ndarray
    cosines: np.ndarray
    pinned: int
    scored: Callable[[], np.ndarray]
    fit: Fit | None
    considered: int
    whole: bool = False
    note: str = ""

    @property
    def everything(self) -> np.ndarray:
        """(N,) float32, all scores in the order of the gallery, for questions and for absence. Where filters let few
        items through, the others are scored when this is first asked for."""
        return self.scored()

    def why(self, a: int, b: int) -> list[tuple[str, str, float]]:
        """Why the item at rank a (from 1) stands above the one at b: (kind, label, difference), largest difference
        first."""
        for rank in (a, b):
            if not 1 <= rank <= len(self.ids):
                raise UsageError(f"rank {rank} was asked about; shown are 1 to {len(self.ids)}")
        gap = self.shares[:, a - 1] - self.shares[:, b - 1]
        order = np.argsort(-np.abs(gap), kind="stable")
        return [(*self.names[i], float(gap[i])) for i in order]


def rank(
    space: Space,
    terms: Sequence[Term],
    query: Query,
    k: int = 20,
    formula: Formula | None = None,
    choices: Sequence[Choice] = (),
    hide: bool = True,
    kept: bool = False,
) -> Leads:
    """Rank a space by the terms of a query (`terms_of`), its marks and its filters.

    All items are scored; what is shown is then scored again, item by item in double precision, so that the order does
    not depend on threads or batches. Equal scores (`TIE`) stand by rising id.

    choices: answers to "closest of these" whose rivals are known; ids of `query.closest` not among them count as plain
    likes that fade with age. hide: leave out unliked items and near-duplicates of them. kept: marks and choices were
    made before, perhaps in another state of the gallery; items that are gone since count for nothing, and the note says
    how many. Liked items that the filters let through come first. Raises UsageError for an empty query, an empty
    gallery, k < 1 or, unless kept, an id it does not hold.
    """
    formula = formula or FORMULA
    note = ""
    if k < 1:
        raise UsageError(f"k={k} results were asked for; ask for at least 1")
    if kept:
        query, choices, note = _held(space, query, choices)
    everyone = [*terms]
    if query.marks:
        weighed = {chosen for chosen, shown in choices if len(shown) > 1}
        plain = [i for i in query.closest if i not in weighed]
        everyone += mark_terms(*(space.vectors(ids) for ids in (query.liked, query.unliked, plain)))
    vectors = stack(everyone)
    if not len(space.ids):
        raise UsageError("the gallery holds no items; index a folder first (descry index FOLDER --out GALLERY)")
    allowed = None
    if query.filters != Filters() or space.weights is not None:
        allowed = space.allowed(query.filters, query.marks)
    considered = len(space.ids) if allowed is None else int(allowed.sum())
    if not considered:
        none = np.zeros(0, np.float32)
        return Leads(np.zeros(0, np.int64), none, (), np.zeros((0, 0)), none, 0, lambda: none, None, 0, True, note)
    columns = None
    if allowed is not None and considered <= GATHER * len(space.ids) and not choices:
        columns = np.flatnonzero(allowed)
    fitted, scores, ladder = _scored(space, everyone, formula, columns)
    ids, everything = space.ids, lambda: scores
    if len(scores) < len(ids):  # of the columns alone
        ids, allowed = ids[columns], None
        everything = cache(lambda: _scored(space, everyone, formula, None)[1])
    hidden: np.ndarray | None = None
    for count in (CANDIDATES,) if choices else (k + MARGIN, 20 * k):  # the second where doubles of unliked are many
        few = np.sort(top(scores, ids, max(count, k + MARGIN), allowed=allowed, pinned=query.liked))
        near = space.vectors(ids[few].tolist())
        if choices:
            chosen = _chosen(space, near, choices, formula)
            scores[few] += chosen
            outside = np.ones(len(scores), bool)
            outside[few] = False
            scores[outside] += chosen.min()
        if hide and query.unliked:
            hidden = near_duplicates(space.vectors(query.unliked) @ near.T, DUPLICATE)
        shown = top(scores[few], ids[few], k + MARGIN, pinned=query.liked, hidden=hidden)
        if hidden is None or len(shown) == k + MARGIN:
            break
    if ladder is not None:
        exact = ladder[:, few[shown]].astype(np.float64)  # a rank is a place among these very values
    else:
        exact = np.einsum("rd,kd->rk", vectors.astype(np.float64), near[shown].astype(np.float64))
    names, shares = fitted.contributions(exact)
    if choices:
        names, shares = [*names, ("closest", f"{len(choices)} chosen")], np.vstack([shares, chosen[shown]])
    total = shares.sum(axis=0, dtype=np.float64)
    ids = ids[few][shown]
    falling = np.argsort(-total, kind="stable")
    first = np.diff(total[falling], prepend=np.inf) < -TIE  # of those that steps below TIE lead down from
    level = np.empty_like(total)
    level[falling] = total[falling][first][np.cumsum(first) - 1]
    order = top(level, ids, k, pinned=query.liked)
    return Leads(
        ids=ids[order],
        scores=total[order],
        names=tuple(names),
        shares=shares[:, order],
        cosines=exact[0, order].astype(np.float32),
        pinned=int(np.isin(ids[order], np.asarray(query.liked, np.int64)).sum()),
        scored=everything,
        fit=fitted,
        considered=considered,
        whole=len(shown) <= k and len(few) == considered,
        note=note,
    )


TIE = 1e-5
"""Scores that differ by less are equal. `Fall` puts one item level with another, and the rounding of the similarities
that it is fitted to, which differs with threads and stores, must not decide which of the two stands first."""


def _scored(
    space: Space, terms: Sequence[Term], formula: Formula, columns: np.ndarray | None
) -> tuple[Fit, np.ndarray, np.ndarray | None]:
    """The fit, the (N,) scores of all items, and the cosines where the formula goes by their ranks. Only those of the
    columns, (n,), where they can be told without the others: no sketch is doubted, and there is no phrase, whose fall
    is bounded by what it does to the whole gallery.
    """
    if formula.fusion == "ranks":
        cosines = _precise(space, stack(terms))
        return *fit_scores(terms, cosines, formula, None, space.weights), cosines
    sums = space.sums()
    fitted = _fitted(terms, formula, sums) if sums and _weighed(terms, None, formula) else None
    if fitted is None:
        return *fit_scores(terms, space.scores(stack(terms)), formula, sums, space.weights), None
    vectors, constant, apart = fitted._sweep()
    if formula.version > 3 and any(term.shape in PHRASE_SHAPES for term in terms):
        columns = None
    cosines = space.scores(vectors, columns)
    first = len(cosines) - len(apart)
    total = cosines[0] + np.float32(constant) if first else np.zeros(cosines.shape[1], np.float32)
    return *fitted._summed(total, apart, cosines[first:], space.weights), None


def _precise(space: Space, vectors: np.ndarray, step: int = 16_384) -> np.ndarray:
    """(R, N) float32 cosines without the rounding of `Space.scores`, which could change places in a rank."""
    blocks = [space.vectors(space.ids[i : i + step].tolist()) for i in range(0, len(space.ids), step)]
    return np.concatenate([vectors @ block.T for block in blocks], axis=1)


def score_all(vectors: np.ndarray, queries: Sequence[Sequence[Term]], formula: Formula) -> np.ndarray:
    """(N, D) of a whole gallery and the terms of Q queries → (Q, N) float32 scores, those that `rank` ranks by."""
    out = np.empty((len(queries), len(vectors)), np.float32)
    at_once = max(1, CELLS // max(1, len(vectors)))
    for start in range(0, len(queries), at_once):
        whole = [[replace(t, parts=()) for t in terms] for terms in queries[start : start + at_once]]
        rows = [stack(terms) for terms in whole]
        similarity = np.concatenate(rows) @ vectors.T
        ends = np.cumsum([len(r) for r in rows])[:-1]
        for row, terms, block in zip(out[start : start + at_once], whole, np.split(similarity, ends), strict=True):
            row[:] = fit_scores(terms, block, formula)[1]
    return out


def positions(ids: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Where the wanted ids stand among the rising ids; UsageError names the first that is not there."""
    asked = np.asarray(wanted, np.int64)
    at = np.searchsorted(ids, asked)
    if (at >= len(ids)).any() or (ids[at] != asked).any():
        gone = missing(ids, wanted)
        raise UsageError(f"the gallery holds no item {gone[0]}; ids are shown beside every result")
    return at


def missing(ids: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Those of the wanted ids that are not among the rising ids, in the order given."""
    asked = np.asarray(wanted, np.int64)
    if not len(ids):
        return asked
    at = np.minimum(np.searchsorted(ids, asked), len(ids) - 1)
    value: np.ndarray = asked[ids[at] != asked]
    return value


def _held(space: Space, query: Query, choices: Sequence[Choice]) -> tuple[Query, list[Choice], str]:
    """Query and choices without the items that a space does not hold, and what is to be said of these."""
    marks = {name: getattr(query, name) for name in ("liked", "unliked", "closest")}
    named = {i for ids in (*marks.values(), *(shown for _, shown in choices)) for i in ids}
    gone = set(missing(space.ids, sorted(named)).tolist())
    if not gone:
        return query, list(choices), ""
    query = query.replace(**{name: tuple(i for i in ids if i not in gone) for name, ids in marks.items()})
    left = [(c, tuple(i for i in shown if i not in gone)) for c, shown in choices if c not in gone]
    counted = f"{len(gone)} of the {len(named)} items that marks and choices name"
    return query, left, f"{counted} left the gallery; what left has no effect"


def _chosen(space: Space, near: np.ndarray, choices: Sequence[Choice], formula: Formula) -> np.ndarray:
    pairs = []
    for chosen, shown in choices:
        if chosen not in shown:
            raise UsageError(f"item {chosen} was chosen as the closest of {list(shown)}, but it is not among them")
        pairs.append((space.vectors([chosen])[0], space.vectors(shown)))
    return choice_evidence(near, pairs, formula)
