"""A query: the person to search for. Evaluation, command line, Python, HTTP and page all use this one frozen value.

Every part carries a weight and can be switched off, so that a searcher can see what each one contributes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from .errors import MOST_ID, ImageRejected, UsageError
from .safe_files import open_regular, unread
from .times import moment

FORMAT = 1
MAX_WEIGHT = 2.0
MOST, LONGEST, PATTERN = 1_000, 100_000, 4_096
"""So many parts of one kind, so many characters of one phrase, and so many of a path pattern, has a query at most."""
Parts: TypeAlias = Any  # given: a part, a picture or phrase, or several of them; held: always a tuple of Part


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a query: a picture (path, PIL image or (H, W, 3) uint8 array) or a phrase.

    weight: 0 to 2, how much it counts. on: a part that is off is kept but neither embedded nor scored.
    """

    value: Any
    weight: float = 1.0
    on: bool = True

    def __post_init__(self) -> None:
        if not (isinstance(self.weight, (int, float)) and 0.0 <= self.weight <= MAX_WEIGHT):
            raise UsageError(
                f"a weight of {self.weight} was given; allowed is 0 to {MAX_WEIGHT:g}; use on=False to leave a part out"
            )


def _refuse_half(*texts: str) -> None:
    """UsageError for a lone surrogate, which no file and no vocabulary can hold."""
    for text in texts:
        if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
            raise UsageError(f"a text holds half of a character: {text!r:.60}; is the terminal UTF-8?")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which items may be ranked at all. Empty fields do not restrict.

    cameras: names. since, until: inclusive, local time of the camera: a datetime, whose time zone is dropped, or a text
    that `times.parse_time` reads; a day alone means all of it. path: a glob over the item's path.
    marked: True only marked items, False only unmarked ones.
    """

    cameras: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    path: str = ""
    marked: bool | None = None

    def __post_init__(self) -> None:
        cameras = (self.cameras,) if isinstance(self.cameras, str) else tuple(self.cameras)
        if any(not isinstance(name, str) or (name and not name.strip()) for name in cameras):  # "": camera unknown
            raise UsageError(f"cameras are names; got {cameras!r:.80}; leave the filter out to search all of them")
        if not isinstance(self.path, str):
            raise UsageError(f"path is a pattern as text, such as north/*; got {self.path!r:.80}")
        if len(self.path) > PATTERN:
            raise UsageError(f"the path pattern has {len(self.path):,} characters; at most {PATTERN:,} are compared")
        if cameras or self.path:
            _refuse_half(*cameras, self.path)
        object.__setattr__(self, "cameras", cameras)
        for name in ("since", "until"):
            when = getattr(self, name)
            if isinstance(when, str):
                object.__setattr__(self, name, moment(when, name, end=name == "until"))
            elif isinstance(when, datetime):
                object.__setattr__(self, name, when.replace(tzinfo=None))  # the camera's own time, as parse_time
            elif when is not None:
                raise UsageError(f"{name} must be a datetime or a text such as 2026-01-31T14:05; got {when!r:.80}")
        if self.since and self.until and self.since > self.until:
            raise UsageError(f"the time range ends ({self.until}) before it begins ({self.since}); swap them")


_PARTS = ("sketches", "photos", "wanted", "unwanted")


INT64 = range(-MOST_ID - 1, MOST_ID + 1)
"""What an array of ids can hold."""


def ids_of(values: Iterable[Any], name: str = "ids") -> tuple[int, ...]:
    """Ids of items as plain whole numbers; UsageError for text, true, 1.5 or not a number."""
    values = (values,) if isinstance(values, (str, bytes)) else tuple(values)
    for value in values:
        if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) not in INT64:
            raise UsageError(f"{name} holds ids of items, which are whole numbers up to {MOST_ID}; got {value!r:.80}")
    return tuple(map(operator.index, values))


@dataclass(frozen=True, slots=True)
class Query:
    """The person to search for: pictures, phrases, marks and filters. Plain strings and paths are turned into parts.

    sketches: drawings of the person. photos: photographs of the person. wanted: phrases that are true of the person.
    unwanted: phrases that must not be, without a negation ("backpack", not "no backpack"). liked, unliked: item ids
    of a gallery. closest: item ids the searcher chose as the nearest of those shown, oldest first. verbatim: wanted
    texts go to the encoder as they are; otherwise a negation in them becomes a NOT phrase (`search.understood`).
    as_drawn: sketches go to the encoder as they are; otherwise each is cropped to its ink and fitted
    (`sketching.fit_to_ink`). said: phrases in the order in which they were said; those not named come before them,
    wanted ones first. How low a phrase may put an item is bounded by the ranking before it (`search.Fall`).

    >>> Query(sketches="drawing.png", wanted="a red jacket").kind
    'sketch+text'
    """

    sketches: Parts = ()
    photos: Parts = ()
    wanted: Parts = ()
    unwanted: Parts = ()
    liked: tuple[int, ...] = ()
    unliked: tuple[int, ...] = ()
    closest: tuple[int, ...] = ()
    filters: Filters = field(default_factory=Filters)
    verbatim: bool = False
    as_drawn: bool = False
    said: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in _PARTS:
            given = getattr(self, name)
            if isinstance(given, (str, bytes, Path, Part)) or not isinstance(given, Iterable) or hasattr(given, "size"):
                given = (given,)
            parts = tuple(v if isinstance(v, Part) else Part(v) for v in given)
            if len(parts) > MOST:
                raise UsageError(f"{len(parts):,} {name} were given; at most {MOST:,} is allowed")
            object.__setattr__(self, name, parts)
        for name in ("liked", "unliked", "closest"):
            marks = getattr(self, name)
            if not isinstance(marks, tuple) or marks:
                object.__setattr__(self, name, ids_of(marks, name))
        if not isinstance(self.filters, Filters):
            raise UsageError(f"filters must be Filters(cameras=…, since=…); got {type(self.filters).__name__}")
        for part in (*self.wanted, *self.unwanted):
            if isinstance(part.value, str) and len(part.value) > LONGEST:
                raise UsageError(
                    f"a phrase of {len(part.value):,} characters was given; at most {LONGEST:,} is allowed"
                )
            if not isinstance(part.value, str) or not part.value.strip():
                raise UsageError(f"a phrase must be text that is not empty; got {part.value!r}")
            if not part.value.isascii():
                _refuse_half(part.value)

    @property
    def kind(self) -> str:
        """The kind of query: "sketch", "photo", "text", or several joined by "+"; "" when no part is on."""
        names = {"sketch": self.sketches, "photo": self.photos, "text": self.wanted}
        return "+".join(name for name, parts in names.items() if any(p.on for p in parts))

    @property
    def phrases(self) -> list[tuple[Part, bool]]:
        """Every phrase and whether it is wanted, in the order in which they were said."""
        order = {text: n for n, text in enumerate(self.said)}
        both = [(p, True) for p in self.wanted] + [(p, False) for p in self.unwanted]
        return sorted(both, key=lambda phrase: order.get(phrase[0].value, -1))

    @property
    def marks(self) -> tuple[int, ...]:
        """The ids of all items that were marked."""
        return (*self.liked, *self.unliked, *self.closest)

    def after(self, before: Query) -> Query:
        """This query with its phrases in the order in which they were said: those that `before` holds just so, as
        there, then the others."""
        held, now = before.phrases, self.phrases
        order = [p for p in held if p in now] + [p for p in now if p not in held]
        return self.replace(said=tuple(p.value for p, _ in order) if order != self.replace(said=()).phrases else ())

    def replace(self, **changes: Any) -> Query:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values. Pictures appear as the SHA-256 of their content, never as content or path."""
        out: dict[str, Any] = {"format": FORMAT}
        for name in ("sketches", "photos"):
            out[name] = [{"sha256": digest(p.value), "weight": p.weight, "on": p.on} for p in getattr(self, name)]
        for name in ("wanted", "unwanted"):
            out[name] = [{"text": p.value, "weight": p.weight, "on": p.on} for p in getattr(self, name)]
        out |= {"liked": list(self.liked), "unliked": list(self.unliked), "closest": list(self.closest)}
        f = self.filters
        out["filters"] = {
            "cameras": list(f.cameras),
            "since": f.since.isoformat() if f.since else None,
            "until": f.until.isoformat() if f.until else None,
            "path": f.path,
            "marked": f.marked,
        }
        out |= {"said": list(self.said)} if self.said else {}
        return out | {name: True for name in ("verbatim", "as_drawn") if getattr(self, name)}

    @classmethod
    def from_json(cls, data: dict[str, Any], picture: Callable[[str], Any] | None = None) -> Query:
        """The query of `to_json`. picture: from a digest to a path or image; needed when the query holds pictures.

        Raises UsageError for another format or a picture without a resolver.
        """
        if data.get("format") != FORMAT:
            raise UsageError(f"a query of format {data.get('format')!r} was given; this version reads format {FORMAT}")

        def pictures(name: str) -> tuple[Part, ...]:
            rows = data.get(name, [])
            if rows and picture is None:
                raise UsageError(f"the query holds {len(rows)} pictures as digests; pass picture= to find them")
            return tuple(Part(picture(r["sha256"]), r["weight"], r["on"]) for r in rows)  # type: ignore[misc]

        def phrases(name: str) -> tuple[Part, ...]:
            return tuple(Part(r["text"], r["weight"], r["on"]) for r in data.get(name, []))

        if not all(isinstance(data.get(name, []), list) for name in (*_PARTS, "liked", "unliked", "closest", "said")):
            raise UsageError("a query was given whose parts or marks are no lists; make it with Query.to_json")
        f = data.get("filters") or {}
        since, until = (f.get(name) or None for name in ("since", "until"))
        filters = Filters(tuple(f.get("cameras", ())), since, until, f.get("path", ""), f.get("marked"))
        return cls(
            sketches=pictures("sketches"),
            photos=pictures("photos"),
            wanted=phrases("wanted"),
            unwanted=phrases("unwanted"),
            liked=tuple(data.get("liked", ())),
            unliked=tuple(data.get("unliked", ())),
            closest=tuple(data.get("closest", ())),
            filters=filters,
            verbatim=bool(data.get("verbatim", False)),
            as_drawn=bool(data.get("as_drawn", False)),
            said=tuple(map(str, data.get("said", ()))),
        )


def digest(picture: Any) -> str:
    """SHA-256 (hex) of a picture's content: a file's bytes, or mode, size and pixels of an image or array."""
    if isinstance(picture, (str, Path)):
        try:
            with open_regular(picture) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError) as error:
            reason, what = unread(picture, error)
            raise ImageRejected(
                f"the picture {str(picture)!r} cannot be read: {what}; check the path", reason
            ) from None
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).hexdigest()
    if hasattr(picture, "tobytes") and hasattr(picture, "mode"):
        head = f"{picture.mode} {picture.size[0]}x{picture.size[1]} "
    elif hasattr(picture, "tobytes"):
        head = f"{picture.dtype} {'x'.join(map(str, picture.shape))} "
    else:
        raise UsageError(f"a picture is a path, a PIL image or an array; got {type(picture).__name__}")
    return hashlib.sha256(head.encode() + picture.tobytes()).hexdigest()
