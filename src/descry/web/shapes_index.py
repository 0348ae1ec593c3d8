"""What goes in and out when a folder is indexed from the page."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .shapes import Shape

PlaceId = Annotated[str, Field(pattern="^[0-9a-f]{24}$", description="a folder or table, as /folders listed it")]
State = Literal["running", "pausing", "paused", "stopping", "done", "stopped", "failed"]


class Mapping(Shape):
    """Where camera, time and track come from: "" (unknown), the folder's name, the picture's EXIF data, the time of the
    file, a CSV table with a column `path`, or a pattern of the path such as `{camera}/{time}_*`."""

    camera: Literal["", "dirname", "exif", "csv", "pattern"] = ""
    time: Literal["", "exif", "mtime", "csv", "pattern"] = ""
    track: Literal["", "dirname", "csv", "pattern"] = ""
    pattern: Annotated[str, Field(max_length=200, examples=["{camera}/{time}_*"])] = ""
    table: PlaceId | None = None


class Preview(Shape):
    """A folder and how to read it."""

    folder: PlaceId
    mapping: Mapping = Mapping()


class NewJob(Preview):
    """dry: count only, write nothing."""

    dry: bool = False


class JobState(Shape):
    state: Literal["paused", "running"]


# ---------------------------------------------------------------------- out


class PlaceOut(BaseModel):
    """name: from the allowed folder on."""

    id: str
    name: str


class FoldersOut(BaseModel):
    """here: null for the list of allowed folders. above: the way to it. pictures: by their names, directly in it.
    left_out: entries beyond the most that are listed."""

    here: PlaceOut | None
    above: list[PlaceOut]
    folders: list[PlaceOut]
    tables: list[PlaceOut]
    pictures: int
    left_out: int


class PreviewRow(BaseModel):
    """What is read for one file. path: below the folder. Empty where nothing was found."""

    path: str
    camera: str
    time: str
    track: str


class PreviewOut(BaseModel):
    """rows: a dozen files. looked_at: pictures among the first files; more may follow. problem: why the mapping cannot
    be meant as it stands; a job would refuse it."""

    rows: list[PreviewRow]
    looked_at: int
    problem: str = ""


class Counts(BaseModel):
    """What was done; with a dry run, what would be. skipped: files of the folder that cannot be read."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: int = 0


class JobOut(BaseModel):
    """An index job. done, total: files that are new or changed; total is null while they are counted. rate: files a
    second lately. eta: seconds, null where it cannot be told. links: files left out, being links that lead out of the
    allowed folder. trouble: why it failed. warning: about the gallery's size. version: grows with every change."""

    id: str
    folder: str
    dry: bool
    state: State
    done: int
    total: int | None
    rate: float
    eta: int | None
    seconds: float
    links: int
    counts: Counts
    trouble: str
    warning: str
    version: int


class Jobs(BaseModel):
    """Newest first; at most one of them is not at its end."""

    jobs: list[JobOut]


class SkippedRow(BaseModel):
    """path: from the allowed folder on, or the file's name. reason: a stable word; detail: a sentence."""

    path: str
    reason: str
    detail: str


class Skipped(BaseModel):
    """reasons: how many files for each reason. cursor: for the next page, "" at the end."""

    total: int
    reasons: dict[str, int]
    rows: list[SkippedRow]
    cursor: str
