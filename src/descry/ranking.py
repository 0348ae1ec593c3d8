"""How a model ranks: everything that is chosen or measured on validation, as one frozen value.

Made from a model's configuration, checked when it is loaded, saved by merging. `search` turns it into leads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

from .errors import SHARE, Bound, ModelRefused, UsageError, nearest
from .language import words_of

SYNTHETIC = "trained on synthetic people only: no evidence of accuracy on real people"
COMPOSITIONS = ("early", "late", "sum", "slerp", "ranks", "early+late", "pseudo")
PHRASES = ("one", "each", "both")
SERVED = "served"
"""The name of the composition that a model serves, beside the names of COMPOSITIONS."""


MEASURED, LONGEST = 10_000, 1_000
"""So many phrases may have curves or prompts, and so many characters has a phrase or a text of a prompt at most."""
STEEPEST = 1e4
"""The largest constant and the steepest curve: with larger ones scores would lose their last digits."""


_CONSTANT, _SHARPNESS = Bound(0, STEEPEST), Bound(0, STEEPEST, above=True)


@dataclass(frozen=True, slots=True)
class Formula:
    """The constants of the formula.

    Attributes:
        version: changes whenever the same constants would rank differently. Rounds that were kept under version 1,
            which weighed every phrase alike, version 2, which weighed a stick figure like any sketch, or version 3,
            which did not count how many places a phrase costs, are ranked again as they were.
        evidence: strength f of a phrase that is scored by itself, in units of the base's spread.
        negation: strength n of a NOT phrase that the model reads well.
        unmeasured: strength of a NOT phrase whose answer curve was not measured.
        reach: by how many spreads of the base one phrase may set two items apart, whatever its weight; above 0.
        fall_factor: one phrase puts no item from place r behind place fall_factor · r + fall_places, whatever it says
            and however wrong it is; 1 or more.
        fall_places: the bound's second number; so many places at the top are left as the phrase makes them.
        answer_yes: weight of a phrase that only answers a question with yes; less than one said unasked, because
            witnesses err more often where they did not choose to speak.
        answer_no: the same for no.
        like: strength l of liked items.
        unlike: strength u of unliked items.
        steepness: a of the answer curve of a term that has none; above 0.
        error: ε, how often an answer is wrong; above 0 and below 0.5.
        closest: strength of "closest of these".
        temperature: of that choice, in cosine; above 0.
        decided: cosine of the nearest item from which a sketch beside words counts in full; below, its weight falls
            with the eighth power. 0 gives every sketch its full weight.
        stick: strength of a sketch that is a stick figure beside words, in units of the base's spread.
        fusion: "z" adds standardised similarities, "ranks" adds standardised reciprocal ranks 1 / (60 + rank).
    """

    version: int = 4
    evidence: float = 1.0
    negation: float = 4.0
    unmeasured: float = 0.25
    reach: float = 4.0
    fall_factor: float = 3.0
    fall_places: float = 40.0
    answer_yes: float = 0.5
    answer_no: float = 0.125
    like: float = 0.75
    unlike: float = 0.5
    steepness: float = 1.7
    error: float = 0.05
    closest: float = 1.0
    temperature: float = 0.1
    decided: float = 0.0
    stick: float = 0.05
    fusion: str = "z"

    def __post_init__(self) -> None:
        if self.fusion not in ("z", "ranks"):
            raise UsageError(f"fusion={self.fusion!r} was given; {nearest(self.fusion, ['z', 'ranks'])}")
        for name, value in asdict(self).items():
            if name != "fusion" and not _CONSTANT.holds(value):
                raise UsageError(
                    f"{name}={value!r} was given in the formula; it must be a number from 0 to {STEEPEST:g}"
                )
        if not 0.0 < self.error < 0.5 or min(self.steepness, self.temperature, self.reach) <= 0:
            raise UsageError(f"error must lie in (0, 0.5), steepness, temperature, reach above 0; got {asdict(self)}")
        if self.fall_factor < 1:
            raise UsageError(f"fall_factor={self.fall_factor!r} was given in the formula; it must be 1 or more")

    def worst_place(self, place: int) -> int:
        """The last place to which one phrase can put an item that stood at a place (from 1) without it."""
        return int(self.fall_factor * place + self.fall_places)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Formula:
        """The formula of `dataclasses.asdict`; UsageError for another version or an unknown constant."""
        if data.get("version") not in range(1, FORMULA.version + 1):
            raise UsageError(
                f"a formula of version {data.get('version')!r} was given; this descry ranks with versions 1 to "
                f"{FORMULA.version}"
            )
        known = set(asdict(FORMULA))
        for name in data:
            if name not in known:
                raise UsageError(f"the formula has no constant {name!r}; {nearest(name, sorted(known))}")
        return cls(**data)


FORMULA = Formula()
WELL_READ = 2.5
"""Slope of an answer curve from which on a NOT has its full strength: about 94 of 100 pairs told apart."""
READABLE = 0.35
"""Slope of an answer curve below which the model cannot read a phrase: about 60 of 100 pairs told apart."""
UNMEASURED = (1.5, 2.0)
"""Answer curve of a phrase whose own was not measured: it counts only against items that clearly contradict it."""


@dataclass(frozen=True, slots=True)
class Composition:
    """How the pictures and phrases of a query become terms.

    Learned composition (a pseudo-word inside a prompt, InteractReID §III-D) and the training-free ones stand side by
    side, since only validation can say which is better.

    Attributes:
        how: "early", one prompt with a pseudo-word for the picture; "late", the scores of picture and words side by
            side; "sum" and "slerp", one vector on the line or the great circle between the two; "ranks", reciprocal
            ranks of the two; "early+late", all three; "pseudo", the picture's pseudo-word, with the words side by
            side. Without a pseudo-word in the model, "early", "early+late" and "pseudo" become "late".
        phrases: "one" prompt of all wanted phrases, "each" by itself as evidence, or "both". A phrase whose weight is
            not 1 is always scored by itself, because a prompt knows no weights; so is one whose answer curve says
            that the model can read it.
        text: share of the words in late, sum, slerp and ranks, 0 to 1.
        early: share of the composed prompt in "early+late", 0 to 1.
        neutral: what a phrase that is scored by itself is compared with ("a person"); "" for nothing.
        joiner: what stands between the phrases of one prompt.
    """

    how: str = "early"
    phrases: str = "one"
    text: float = 0.5
    early: float = 0.5
    neutral: str = "a person"
    joiner: str = ", "

    def __post_init__(self) -> None:
        if self.how not in COMPOSITIONS:
            raise UsageError(f"there is no composition {self.how!r}; {nearest(str(self.how), COMPOSITIONS)}")
        if self.phrases not in PHRASES:
            raise UsageError(f"phrases={self.phrases!r} was given; {nearest(str(self.phrases), PHRASES)}")
        for name in ("text", "early"):
            if not SHARE.holds(value := getattr(self, name)):
                raise UsageError(f"{name}={value!r} was given; a share lies between 0 and 1")
        for name in ("neutral", "joiner"):
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) > LONGEST:
                raise UsageError(
                    f"{name}={str(value)[:60]!r} was given; it must be text of at most {LONGEST} characters"
                )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in a model's configuration; `how` is called "default" there."""
        data = asdict(self)
        return {"default": data.pop("how")} | data


Curve = tuple[float, float]
Prompts = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Ranking:
    """How a model ranks: all that is chosen or measured on validation, in one value that every caller takes.

    Attributes:
        composition: how pictures and phrases become terms.
        formula: the constants that turn terms into scores. Its `fusion` follows from the composition.
        curves: phrase → (a, b) of its answer curve 1 / (1 + exp(-(a z + b))), for phrases where it was measured.
        prompts: phrase → (texts that stand for it, texts it is told apart from), where validation found better words
            than the phrase itself.
        sharpness: factor from scores to log-odds in the posterior that chooses questions; above 0.
    """

    composition: Composition = field(default_factory=Composition)
    formula: Formula = field(default_factory=Formula)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    prompts: Mapping[str, Prompts] = field(default_factory=dict)
    sharpness: float = 1.0

    def __post_init__(self) -> None:
        for name, held in (("curves", self.curves), ("prompts", self.prompts)):
            if len(held) > MEASURED or any(len(str(phrase)) > LONGEST for phrase in held):
                raise UsageError(f"the {name} are of more than {MEASURED} phrases, or of longer ones than {LONGEST}")
        fusion = "ranks" if self.composition.how == "ranks" else "z"
        if self.formula.fusion != fusion:
            object.__setattr__(self, "formula", replace(self.formula, fusion=fusion))
        curves = {str(phrase): _curve(phrase, curve) for phrase, curve in self.curves.items()}
        prompts = {str(phrase): _prompts(phrase, texts) for phrase, texts in self.prompts.items()}
        object.__setattr__(self, "curves", MappingProxyType(curves))
        object.__setattr__(self, "prompts", MappingProxyType(prompts))
        if not _SHARPNESS.holds(self.sharpness):
            raise UsageError(
                f"a sharpness of {self.sharpness!r} was given; above 0 and at most {STEEPEST:g} is allowed"
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Ranking:
        """The ranking in a run's configuration, under "composition"; the default one where nothing stands there.

        Raises ModelRefused for values that are not allowed.
        """
        data = config.get("composition") or {}
        try:
            ranking = cls.from_json(data)
            return replace(ranking, formula=replace(ranking.formula, version=FORMULA.version))
        except (UsageError, TypeError, ValueError, AttributeError) as error:
            raise ModelRefused(
                f"the model's configuration says how it ranks, but {error}; train or convert it again"
            ) from None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ranking:
        """The ranking of `to_json`; keys that say something else (figures, where it was chosen) are left."""
        keys = {f.name: f.name for f in fields(Composition)} | {"how": "default" if "default" in data else "how"}
        return cls(
            composition=Composition(**{name: data[key] for name, key in keys.items() if key in data}),
            formula=Formula.from_json(data["formula"]) if data.get("formula") else Formula(),
            curves=data.get("curves") or {},
            prompts=data.get("prompts") or data.get("readings") or {},
            sharpness=data.get("sharpness", 1.0),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in a model's configuration under "composition"."""
        return self.composition.to_json() | {
            "formula": asdict(self.formula),
            "curves": {phrase: list(curve) for phrase, curve in self.curves.items()},
            "prompts": {phrase: [list(like), list(unlike)] for phrase, (like, unlike) in self.prompts.items()},
            "sharpness": self.sharpness,
        }

    def saved(self, config: Mapping[str, Any], **notes: Any) -> dict[str, Any]:
        """A run's configuration with this ranking: only what differs from the one that stands there is written.

        notes: further plain values to keep beside it, such as where it was chosen.
        """
        before, kept = Ranking.from_config(config).to_json(), dict(config.get("composition") or {})
        changed = {key: value for key, value in self.to_json().items() if value != before[key]}
        if "prompts" in changed:
            kept.pop("readings", None)
        return dict(config) | {"composition": kept | changed | notes}

    def using(self, composition: Composition | str | None) -> Ranking:
        """The same ranking with another composition. A name changes only `how`; None changes nothing."""
        if composition is None:
            return self
        if isinstance(composition, str):
            composition = replace(self.composition, how=composition)
        return replace(self, composition=composition)

    def only(self, phrases: Sequence[str]) -> Ranking:
        """The same ranking with the curves and prompts of these phrases alone: what a round keeps to be repeated."""
        known = {self.known(p) for p in phrases}
        curves = {p: c for p, c in self.curves.items() if p in known}
        prompts = {p: t for p, t in self.prompts.items() if p in known}
        return replace(self, curves=curves, prompts=prompts)

    def known(self, phrase: str) -> str:
        """The measured phrase that says the same ("a backpack" for "Backpack"), or the phrase itself.

        Articles, case, number, spelling and words of wearing do not matter (`phrase_key`).
        """
        if phrase in self.curves or phrase in self.prompts:
            return phrase
        return self._by_key.get(phrase_key(phrase), phrase)

    def curve(self, phrase: str) -> Curve | None:
        """The measured answer curve of a phrase, if there is one."""
        return self.curves.get(self.known(phrase))

    def reads(self, phrase: str) -> bool:
        """Whether measurement found that the model can read a phrase; False also for one that was not measured."""
        curve = self.curve(phrase)
        return curve is not None and curve[0] >= READABLE

    def alone(self, phrase: str) -> bool:
        """Whether a wanted phrase of weight 1 is scored by itself rather than inside a prompt."""
        return self.reads(phrase) if self.formula.version > 1 else self.curve(phrase) is not None

    def reading(self, phrase: str, wanted: bool = True) -> tuple[float, Curve | None]:
        """How much a phrase counts as evidence, as a factor of `Formula.evidence` or `negation`, and its answer curve.

        A NOT counts in proportion to the squared slope of its curve, up to `WELL_READ`. A NOT that was not
        measured has the strength `Formula.unmeasured`. Wanted or NOT, what was not measured has the curve `UNMEASURED`,
        turned so that it only takes away from items that clearly contradict it.
        """
        curve, f = self.curve(phrase), self.formula
        if f.version == 1:
            return 1.0, curve
        if curve is None:
            a, b = UNMEASURED
            return (1.0, (a, b)) if wanted else (min(1.0, f.unmeasured / max(f.negation, 1e-9)), (a, -b))
        return 1.0 if wanted else min(1.0, max(0.0, curve[0]) / WELL_READ) ** 2, curve

    def texts(self, phrase: str) -> Prompts:
        """The texts whose mean stands for a phrase, and those whose mean is taken away."""
        known = self.known(phrase)
        like, unlike = self.prompts.get(known, ((known,), ()))
        return like, unlike or ((self.composition.neutral,) if self.composition.neutral else ())

    @cached_property
    def _by_key(self) -> dict[str, str]:
        return {phrase_key(p): p for p in reversed([*self.curves, *(p for p in self.prompts if p not in self.curves)])}


_ARTICLES = frozenset(
    ("a", "an", "the", "some", "any", "his", "her", "their", "coloured", "colored", "colour", "color")
)
_BEFORE = frozenset(
    ("wearing", "wears", "wear", "wore", "carrying", "carries", "carry", "carried", "holding", "holds", "having", "has",
     "have", "had", "with", "in", "dressed", "is", "was", "who", "that", "someone", "somebody", "person", "people",
     "he", "she", "they")
)  # fmt: skip
_SPELLINGS = {"gray": "grey", "blonde": "blond", "tshirt": "t shirt", "tee": "t shirt", "checkered": "checked"}
_PLURALS = {"ves": "f", "ies": "y", "sses": "ss", "xes": "x", "ches": "ch", "shes": "sh"}
_COLOUR_LAST = re.compile(r"(?P<thing>.+?) (?:in|that is|which is|that are|which are) (?P<colour>[a-z]+(?: [a-z]+)?)")


@lru_cache(maxsize=4096)
def phrase_key(phrase: str) -> str:
    """What phrases are looked up by, so that the same thing said otherwise finds its curve, prompts and question.

    Case, hyphens, articles, number, American spelling, words of wearing before the thing, and where its colour stands
    do not matter. A phrase of nothing else stays as it is.

    >>> phrase_key("A red  Jacket"), phrase_key("wearing red-coloured jackets"), phrase_key("a jacket in red")
    ('red jacket', 'red jacket', 'red jacket')
    """
    plain = " ".join(_SPELLINGS.get(w, w) for w in re.findall(r"[^\W_]+", phrase.casefold())).split()
    words = [w for w in plain if w not in _ARTICLES]
    start = next((n for n, w in enumerate(words) if w not in _BEFORE), len(words))
    text = " ".join(words[start:] or words or plain)
    turned = _COLOUR_LAST.fullmatch(text)
    if turned and set(turned["colour"].split()) <= words_of("colours", "shades"):
        text = f"{turned['colour']} {turned['thing']}"
    words = text.split()
    for n, word in enumerate(words):
        plural = next((end for end in _PLURALS if word.endswith(end) and len(word) > len(end) + 2), "")
        if word == "shorts":  # which are not short
            continue
        if plural:
            words[n] = word.removesuffix(plural) + _PLURALS[plural]
        elif len(word) > 3 and word.endswith("s") and word[-2] not in "sui":
            words[n] = word[:-1]
    return " ".join(words)


def is_synthetic(source: str) -> bool:
    """Whether a data set's `source` says that its people were drawn."""
    return "synthetic people" in source.lower()


def note_of(about: Mapping[str, Any]) -> str:
    """What must be said beside a model's results; "" for nothing. about: of its configuration.

    The note is the model's own: one taken over from a start that saw only synthetic people is not said of a model that
    was trained on photographs.
    """
    note, source = str(about.get("note", "")), str(about.get("source", ""))
    return "" if is_synthetic(note) and source and not is_synthetic(source) else note


def ranking_of(model: Any) -> Ranking:
    """The model's own ranking: its `ranking`, or what its configuration says."""
    found = getattr(model, "ranking", None)
    return found if isinstance(found, Ranking) else Ranking.from_config(getattr(model, "config", {}))


def _curve(phrase: str, curve: Any) -> Curve:
    steep = Bound(-STEEPEST, STEEPEST)
    if not (isinstance(curve, (list, tuple)) and len(curve) == 2 and all(map(steep.holds, curve))):
        raise UsageError(
            f"the answer curve of {phrase!r} is {str(curve)[:60]}; it must be two numbers up to {STEEPEST:g}, slope "
            f"and offset"
        )
    return float(curve[0]), float(curve[1])


def _prompts(phrase: str, texts: Any) -> Prompts:
    sides = texts if isinstance(texts, (list, tuple)) and len(texts) == 2 else ((), ())
    like, unlike = (tuple(side) if isinstance(side, (list, tuple)) else () for side in sides)
    both = (*like, *unlike)
    if not like or len(both) > 100 or not all(isinstance(t, str) and t.strip() and len(t) <= LONGEST for t in both):
        raise UsageError(
            f"the prompts of {phrase!r} are {str(texts)[:60]}; they must be two lists of at most 100 texts in all, of "
            f"up to {LONGEST} characters, the first not empty"
        )
    return like, unlike
