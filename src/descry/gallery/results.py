"""A ranked answer, and the sizes from which a gallery is too large for one machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..errors import LimitExceeded, UsageError
from ..escape import cell, counted, path_text, plain
from ..escape import line as one_line
from ..listing import TABLE
from ..query import Query
from ..safe_files import address_of
from ..tabular import write_rows
from .contract import Item
from .reading import as_indexed

if TYPE_CHECKING:
    from ..search import Heights

MANY, TOO_MANY = 2_000_000, 5_000_000


@dataclass(frozen=True, eq=False)
class Lead:
    """One row of a ranked answer: something to look at, never an identification.

    Attributes:
        rank: from 1.
        score: orders the items of one answer; it is not a probability.
        item: the crop, with path, camera, time and track.
        cosine: of the query's first term with the crop.
        parts: what each part of the query gave to the score, as {"kind: label": share}.
    """

    rank: int
    score: float
    item: Item
    cosine: float
    parts: Mapping[str, float]

    @property
    def path(self) -> str:
        """The crop's file."""
        return self.item.path

    @property
    def footage(self) -> str:
        """From which footage `descry crop` cut it, and when in it; "" for any other picture."""
        if not any(os.path.isfile(folder / TABLE) for folder in list(Path(self.item.path).parents)[:3]):
            return ""
        from ..footage.origin import origin_of  # reads video

        origin = origin_of(self.item.path)
        return origin.told if origin else ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `descry search --json` prints them."""
        item = self.item
        return {
            "rank": self.rank,
            "id": item.id,
            "path": path_text(item.path),
            "score": round(self.score, 6),
            "cosine": round(self.cosine, 6),
            "camera": item.camera,
            "time": item.time.isoformat() if item.time else "",
            "track": item.track,
            "footage": self.footage,
            "parts": {name: round(value, 6) for name, value in self.parts.items()},
        }

    def __repr__(self) -> str:
        item, footage = self.item, self.footage
        said = (item.camera, item.time.isoformat() if item.time else "", footage and f"from {footage}")
        where = " ".join(filter(None, said))
        return one_line(f"{self.rank:>4}  {self.score:8.3f}  id {item.id:<8} {path_text(item.path)}  {where}".rstrip())


@dataclass(frozen=True, eq=False)
class Results(Sequence[Lead]):
    """A ranked answer: leads to look at, best first. Scores order the items of one answer and are not probabilities.

    A sequence of `Lead`: it has a length, an order, and slices, which are Results again.

    Attributes:
        items: (k,) with their metadata.
        scores: (k,) float32.
        cosines: (k,) of the query's first term.
        parts: (kind, label) of each part of the query.
        contributions: (parts, k), whose columns sum to the scores.
        considered: how many items passed the filters.
        total: how many items there are.
        removed: how many each filter excludes by itself, when nothing was left.
        exact: whether every item was compared.
        generation: the commit that was searched.
        note: what must be said beside the answer.
        query: as it was understood, with negated words as NOT phrases.
        outside: refuses a file to write to that is the gallery's own or one of its pictures; None where not known.
        scored: gives the (N,) scores of all the gallery, for `heights`; None where not all of it was compared.
        left_out: how many of the leads asked for `above` left out.
    """

    items: tuple[Item, ...]
    scores: np.ndarray
    cosines: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    parts: tuple[tuple[str, str], ...] = ()
    contributions: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    considered: int = 0
    total: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    exact: bool = True
    generation: int = 0
    note: str = ""
    query: Query = field(default_factory=Query)
    outside: Callable[[str | Path], None] | None = None
    scored: Callable[[], np.ndarray] | None = None
    left_out: int = 0

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """(k,) of the items."""
        return tuple(item.id for item in self.items)

    @property
    def paths(self) -> tuple[str, ...]:
        """(k,) of the files of the items."""
        return tuple(item.path for item in self.items)

    @cached_property
    def heights(self) -> Heights | None:
        """How far scores lie above the middle of all scores; None if not every item was compared."""
        from ..search import Heights

        return Heights.of(self.scored()) if self.scored else None

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, at: int) -> Lead: ...
    @overload
    def __getitem__(self, at: slice) -> Results: ...
    def __getitem__(self, at: int | slice) -> Lead | Results:
        if isinstance(at, slice):
            return self._rows(range(len(self))[at])
        j = range(len(self))[at]
        names = [f"{kind}: {label}" for kind, label in self.parts]
        shares = self.contributions[:, j].tolist() if names else []
        return Lead(
            j + 1, float(self.scores[j]), self.items[j], float(self.cosines[j]), dict(zip(names, shares, strict=True))
        )

    def _rows(self, kept: Sequence[int]) -> Results:
        return replace(
            self,
            items=tuple(self.items[j] for j in kept),
            scores=self.scores[list(kept)],
            cosines=self.cosines[list(kept)],
            contributions=self.contributions[:, list(kept)] if len(self.parts) else self.contributions,
        )

    def above(self, level: float | str = "usual") -> Results:
        """The leads above a level; `left_out` and `note` give the number of leads below it.

        level: spreads over the middle of all the gallery's scores (`heights`), 0 or more; "usual" is where the page
        draws its line at first. A lead above it need not be the person. Raises UsageError for another level, and for
        an answer in which not the whole gallery was scored.
        """
        from ..search import USUAL, checked_level

        level = checked_level(level)
        if not self.total or not self.considered:
            return self
        if self.heights is None:
            raise UsageError(
                f"a level of {level!r} was given, but {self.considered} of {counted(self.total, 'item')} were "
                "scored; a level needs every item's score: leave it out, or search a gallery on this machine"
            )
        height = self.heights.usual if level == USUAL else float(level)
        line = self.heights.score(height)
        kept = np.flatnonzero(self.scores > line).tolist()
        gone = len(self) - len(kept)
        said = f"{gone} of {counted(len(self), 'lead')} left out: not above level {height:g} (score {line:g})"
        found = self._rows(kept)
        return replace(
            found, left_out=self.left_out + gone, note="; ".join(filter(None, (self.note, said * bool(gone))))
        )

    def __repr__(self) -> str:
        lines = [repr(lead) for lead in self[:20]]
        more = [f"      … and {len(self) - 20} more"] if len(self) > 20 else []
        said = f"{counted(len(self), 'lead')} of {counted(self.considered, 'item')}. Leads are not identifications."
        return "\n".join([*lines, *more, said, *([self.note] if self.note else [])])

    def _repr_html_(self) -> str:
        """Thumbnails in a notebook, the first 20."""
        return sheet_html(self)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `descry search --json` prints them."""
        return {
            "results": [lead.to_json() for lead in self],
            "considered": self.considered,
            "total": self.total,
            "exact": self.exact,
            "removed_by_filter": self.removed,
            "left_out": self.left_out,
            "note": self.note,
        }

    def to_pandas(self) -> Any:
        """A pandas DataFrame, one row a lead, the parts of the score as columns. Needs pandas."""
        try:
            import pandas
        except ModuleNotFoundError:
            raise UsageError("to_pandas needs pandas: pip install pandas; to_csv needs nothing") from None
        rows = [lead.to_json() for lead in self]
        return pandas.DataFrame([{k: v for k, v in row.items() if k != "parts"} | row["parts"] for row in rows])

    def to_csv(self, path: str | Path) -> None:
        """Write a table; cells that a spreadsheet would take for a formula get a quote in front. UsageError for a place
        in the gallery's own folder, and for one of its pictures."""
        if self.outside is not None:
            self.outside(path)
        names = ("rank", "id", "path", "score", "cosine", "camera", "time", "track", "footage")
        told = (lead.to_json() for lead in self)
        write_rows(path, [names, *([cell(row[name]) for name in names] for row in told)])

    def sheet(self, path: str | Path | None = None) -> Any:
        """A contact sheet of the leads as a PIL image, also written to `path` where one is given. UsageError as in
        `to_csv`."""
        if path is not None and self.outside is not None:
            self.outside(path)
        return contact_sheet([(lead.item, lead.score) for lead in self], path)


TILE, COLUMNS = (128, 256), 5


def contact_sheet(leads: Sequence[tuple[Item, float]], path: str | Path | None = None) -> Any:
    """A picture of (item, score) in rows, each with rank, score and id, under the line that says what they are."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    from .. import images
    from ..errors import ImageRejected

    width, height, label = *TILE, 38
    rows = max(1, -(-len(leads) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (width + 8) + 8, rows * (height + label + 8) + 28), "white")
    draw = ImageDraw.Draw(sheet)
    draw.font = ImageFont.load_default(14)
    draw.text((8, 5), "Search leads - not an identification", fill="black")
    for j, (item, score) in enumerate(leads):
        x, y = 8 + j % COLUMNS * (width + 8), 28 + j // COLUMNS * (height + label + 8)
        try:
            picture = ImageOps.contain(images.read(as_indexed(item)), TILE)
            sheet.paste(picture, (x + (width - picture.width) // 2, y))
        except ImageRejected as error:
            draw.rectangle((x, y, x + width, y + height), outline="grey")
            draw.text((x + 4, y + height // 2), f"file {error.reason}", fill="grey")
        draw.text((x, y + height + 2), f"{j + 1}   {score:.2f}\nid {item.id}", fill="black")
    if path is not None:
        check_picture(path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        images.write(sheet, path)
    return sheet


def check_picture(path: str | Path) -> None:
    """UsageError for a file name that no picture can be written to."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"):
        raise UsageError(f"a picture named {path} was asked for; end its name in .png, .jpg or .webp")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it, such as {path / 'leads.png'}")


def sheet_html(results: Results) -> str:
    """The first 20 leads as a strip of thumbnails for a notebook; nothing is loaded from elsewhere."""
    from base64 import b64encode
    from html import escape
    from io import BytesIO

    from .. import images
    from ..errors import ImageRejected

    tiles = []
    for lead in results[:20]:
        buffer = BytesIO()
        try:
            picture = images.read(as_indexed(lead.item))
            picture.thumbnail(TILE)
            picture.convert("RGB").save(buffer, "JPEG")
            shown = f'<img alt="" src="data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}">'
        except ImageRejected as error:
            shown = f"<em>file {error.reason}</em>"
        title = escape(plain(path_text(lead.path)), quote=True)
        tiles.append(
            f'<figure style="display:inline-block;margin:4px;text-align:center" title="{title}">{shown}'
            f"<figcaption>{lead.rank} · {lead.score:.2f} · id {lead.item.id}</figcaption></figure>"
        )
    said = f"{counted(len(results), 'lead')} of {counted(results.considered, 'item')}. "
    said += f"Leads are not identifications. {results.note}"
    return f"<div>{''.join(tiles)}<p>{escape(plain(said))}</p></div>"


def check_size(gallery: str, items: int, large: bool) -> str:
    """What must be said about a gallery of that many items, "" for nothing. LimitExceeded above TOO_MANY unless large
    galleries were allowed.
    """
    instead = f"migrate it to Milvus (descry migrate {gallery} --to milvus://HOST:PORT)"
    if address_of(gallery):
        instead = "divide it into several galleries"
    if items > TOO_MANY and not large:
        raise LimitExceeded(
            f"{gallery} would hold {counted(items, 'item')}; more than {TOO_MANY:,} are searched slowly by one "
            f"machine. Either {instead}, or allow it with --large"
        )
    if items > MANY:
        return (
            f"{counted(items, 'item')} are more than the {MANY:,} that one machine searches comfortably: every search "
            f"reads all vectors. You can {instead}"
        )
    return ""
