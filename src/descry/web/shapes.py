"""What goes in and out of the API, with an example of each."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..escape import path_text
from ..gallery.contract import Item
from ..interact.store import MAX_NOTE
from ..times import is_day, parse_time
from .limits import LIMITS

Number = Annotated[int, Field(ge=0, le=2**53, strict=True)]  # neither "7" nor true is the item 7
Weight = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Ids = Annotated[list[Number], Field(max_length=LIMITS.marks)]


class Shape(BaseModel):
    """Unknown fields are refused: a misspelt one would otherwise be ignored in silence."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """A refusal (RFC 9457). `code` is stable."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str = ""
    request_id: str = ""
    errors: list[dict[str, Any]] = []


class Login(Shape):
    token: Annotated[str, Field(max_length=200, examples=["66f0c3a1.9b2e…"])]


class Picture(Shape):
    """A sketch or photograph of a query, by the id its upload was given."""

    asset: Digest
    weight: Weight = 1.0
    on: bool = True


class Phrase(Shape):
    """A chip. wanted: false for NOT."""

    text: Annotated[str, Field(min_length=1, max_length=LIMITS.characters, pattern=r"\S", examples=["red jacket"])]
    wanted: bool = True
    weight: Weight = 1.0
    on: bool = True


def _moment(given: Any, end: bool = False) -> Any:
    """A time as every other way in reads it; a day alone is all of that day. ValueError for what is none."""
    if given is None or isinstance(given, datetime):
        return given
    time = parse_time(given) if isinstance(given, str) else None
    if time is None:
        raise ValueError("this is no time; write it as 2026-01-31 or 2026-01-31T14:05")
    return time + timedelta(days=1, microseconds=-1) if end and is_day(given) else time


class FilterSet(Shape):
    """Which items may be ranked. since, until: inclusive, local time of the cameras. marked: only marked or unmarked
    ones."""

    cameras: Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=200)] = []
    since: Annotated[datetime | None, BeforeValidator(_moment)] = None
    until: Annotated[datetime | None, BeforeValidator(partial(_moment, end=True))] = None
    marked: bool | None = None


class NewRound(Shape):
    """A whole query. parent: the round it follows (the one on show unless given). replace: remove the round on show
    if it is that one and nothing was made from it (search as I draw). liked, unliked: null keeps those of the parent.
    as_drawn: read the sketches as they are instead of cropped to their ink and fitted."""

    sketches: Annotated[list[Picture], Field(max_length=LIMITS.pictures)] = []
    photos: Annotated[list[Picture], Field(max_length=LIMITS.pictures)] = []
    phrases: Annotated[list[Phrase], Field(max_length=LIMITS.parts)] = []
    filters: FilterSet = FilterSet()
    liked: Ids | None = None
    unliked: Ids | None = None
    as_drawn: bool = False
    parent: Number | None = None
    replace: Number | None = None
    change: Annotated[str, Field(max_length=200)] = ""
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"phrases": [{"text": "red jacket"}, {"text": "backpack", "wanted": False}]}]},
    )


class NewInquiry(Shape):
    name: Annotated[str, Field(min_length=1, max_length=120, pattern=r"\S", examples=["north gate, Tuesday"])] = (
        "inquiry"
    )


class Head(Shape):
    """Exactly one: a round's number, or a step."""

    round: Number | None = None
    step: Literal["undo", "redo"] | None = None


class Seen(Shape):
    """parent: the round that was looked at; left out, the one on show."""

    parent: Annotated[int, Field(ge=1, le=2**53)] | None = None


class Mark(Seen):
    mark: Literal["like", "unlike"]


class Marks(Seen):
    like: Ids = []
    unlike: Ids = []
    clear: Ids = []


class Closest(Seen):
    item: Number


class Answer(Seen):
    key: Annotated[str, Field(min_length=1, max_length=100, examples=["backpack"])]
    answer: Literal["yes", "no", "unknown"]


class Words(Shape):
    """Free text, and the chips held already (to say what contradicts)."""

    text: Annotated[str, Field(max_length=LIMITS.characters, examples=["wearing a red jacket, no backpack"])]
    held: Annotated[list[Phrase], Field(max_length=LIMITS.parts)] = []


class Remembered(Shape):
    """What is known of a person: name → value, as GET /figure lists them; what is left out or "" is not remembered."""

    known: Annotated[
        dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=40)]], Field(max_length=60)
    ] = {}
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"known": {"top": "jacket", "top.colour": "red"}}]}
    )


# ---------------------------------------------------------------------- out: search


class FigureAttribute(BaseModel):
    name: str
    values: list[str]


class FigurePart(BaseModel):
    name: str
    attributes: list[FigureAttribute]


class FigureParts(BaseModel):
    views: list[str]
    parts: list[FigurePart]


class FigurePhrase(BaseModel):
    text: str
    part: str


class Figure(BaseModel):
    """known: what was understood. picture: the line drawing, PNG in base64. phrases: what is known in words, with the
    part that each belongs to. blank: the drawing shows nothing but the neutral figure."""

    known: dict[str, str]
    picture: str
    phrases: list[FigurePhrase]
    blank: bool


class Chip(BaseModel):
    """cut: what the model does not read. unknown: words it never saw."""

    text: str
    wanted: bool
    weight: float
    on: bool
    cut: str = ""
    unknown: list[str] = []


class Conflict(BaseModel):
    old: Chip
    new: Chip
    why: str


class Chips(BaseModel):
    """unclear: what of the text could not be read as wanted or unwanted."""

    chips: list[Chip]
    conflicts: list[Conflict]
    unclear: list[str] = []


class ItemOut(BaseModel):
    """One crop. name: of the file, as text that can be shown whatever bytes it holds."""

    id: int
    name: str
    camera: str
    track: str
    time: str

    @classmethod
    def of(cls, item: Item) -> ItemOut:
        """An item without its path."""
        name, time = path_text(os.path.basename(item.path)), item.time.isoformat() if item.time else ""
        return cls(id=item.id, name=name, camera=item.camera, track=item.track, time=time)


class Footage(BaseModel):
    """Where an item was cut by descry crop. source: name of the video or folder of frames. seconds: from its beginning.
    clock: where the item's time comes from and how far it can be trusted. box: left, top, width, height in pixels of
    the frame. playable: whether browsers may play it (`…/video`); `…/still` shows the frame in any case."""

    source: str
    frame: int
    seconds: float
    clock: str
    box: tuple[float, float, float, float]
    playable: bool


class ItemDetail(ItemOut):
    """missing: the file is gone. stale: it has changed since it was indexed. footage: null for a picture that descry
    crop did not make."""

    sha256: str
    bytes: int
    missing: bool
    stale: bool
    footage: Footage | None


class Near(BaseModel):
    """Neighbours in time on the same camera, and others of the same track."""

    before: list[ItemOut]
    after: list[ItemOut]
    track: list[ItemOut]


class Lead(BaseModel):
    """One result. score orders; it is no probability. shares: what each of `parts` gives to the score. group: the id of
    the best lead that shows nearly the same picture or the same track (itself, if none)."""

    rank: int
    item: ItemOut
    score: float
    shares: list[float]
    group: int
    mark: Literal["like", "unlike", ""]


class PartName(BaseModel):
    kind: str
    label: str


class Results(BaseModel):
    """A page of leads. cursor: for the next page, "" at the end. available: ranks that can be reached."""

    round: int
    leads: list[Lead]
    parts: list[PartName]
    cursor: str
    available: int
    snapshot: str


class PhraseName(BaseModel):
    text: str
    wanted: bool


class Fits(BaseModel):
    """Which phrases a lead seems to fulfil. leads: item → for each of `phrases` 1 (fits), -1 (does not), 0 (cannot be
    told). A NOT phrase fits where the thing is not to be seen."""

    phrases: list[PhraseName]
    leads: dict[int, list[int]]


class Level(BaseModel):
    score: float
    above: int


class Difference(BaseModel):
    new: int
    gone: int
    kept: int


class RoundOut(BaseModel):
    """A round. levels: lines that may be drawn through its ranking; level: the one drawn at first. newer: items that
    were indexed since. replayable: whether the rows it was ranked among can still be read. removed: how many items each
    filter excludes, when nothing was left. note: what must be said beside the leads, "" for nothing. notes: what was
    done to the sketches before they were read, and how to draw them better, a sentence each."""

    inquiry: str
    number: int
    parent: int
    change: str
    query: dict[str, Any]
    considered: int
    total: int
    levels: list[Level]
    level: int
    difference: Difference
    answers: dict[str, str]
    newer: int
    replayable: bool
    removed: dict[str, int]
    note: str
    notes: list[str] = []
    results: Results | None


class Step(BaseModel):
    """A round in the tree of an inquiry. first: its best items, for a thumbnail."""

    number: int
    parent: int
    depth: int
    change: str
    first: list[int]
    difference: Difference


class InquiryOut(BaseModel):
    """begun: UTC. keep_until: the last day it is kept, "" for no day."""

    id: str
    name: str
    begun: str
    keep_until: str
    head: int
    undo: bool
    redo: bool
    rounds: list[Step]


class InquiryLine(BaseModel):
    id: str
    name: str
    keep_until: str


class Inquiries(BaseModel):
    inquiries: list[InquiryLine]


class Asset(BaseModel):
    id: str
    width: int
    height: int


class Count(BaseModel):
    name: str
    count: int


class Facets(BaseModel):
    """Cameras and days (YYYY-MM-DD) with their numbers of items."""

    total: int
    cameras: list[Count]
    days: list[Count]
    untimed: int


class GalleryOut(BaseModel):
    """answers: the kinds of query its model can be asked. note: what must be said beside every result. read_only: that
    rounds are kept in memory only, and nothing can be indexed, exported or purged."""

    id: str
    items: int
    model: str
    answers: list[str]
    pretrained: bool
    note: str
    read_only: bool = False
    ready: bool
    trouble: str
    trouble_code: str


class Galleries(BaseModel):
    galleries: list[GalleryOut]


class Items(BaseModel):
    items: list[ItemOut]
    cursor: str


class QuestionOut(BaseModel):
    """question: null when there is nothing left worth asking."""

    key: str
    text: str
    phrase: str


class Questions(BaseModel):
    """The next question. why: why there is none at all for this model; "" where there may be one."""

    question: QuestionOut | None
    asked: dict[str, str]
    why: str = ""


class Absence(BaseModel):
    text: str
    calibrated: bool


class Share(BaseModel):
    """Why one lead stands where it stands: parts with their shares, the largest first."""

    kind: str
    label: str
    share: float
    against: float | None = None


class Why(BaseModel):
    item: int
    score: float
    rank: int
    parts: list[Share]


class About(BaseModel):
    """What the page needs to begin. example: the asset of a sketch to start from, and words that go with it; empty
    if none."""

    version: str
    limits: dict[str, int | float]
    demo: bool
    example: dict[str, str]


# ---------------------------------------------------------------------- the account

Verdict = Literal["worth following", "set aside"]


class NewFinding(Shape):
    """What the searcher says of an item: a judgement about a lead, never an identification. round: the one on show."""

    verdict: Verdict
    note: Annotated[str, Field(max_length=MAX_NOTE, examples=["same bag as on Tuesday"])] = ""
    round: Number = 0


class Keep(Shape):
    """keep_until: the last day the inquiry is kept; null for no day."""

    keep_until: date | None


class NewReport(Shape):
    """blur_others: in pictures, everyone not in a finding is blurred. redact_paths: items are named by number."""

    format: Literal["html", "json", "csv"] = "html"
    blur_others: bool = False
    redact_paths: bool = False


class FindingOut(BaseModel):
    """item: null when it is not in the gallery any more. changed: its picture is another one than was judged."""

    id: int
    item: ItemOut | None
    changed: bool
    verdict: Verdict
    note: str
    round: int
    at: str


class Findings(BaseModel):
    findings: list[FindingOut]


class ReportPreview(BaseModel):
    """The report as values; nothing is written into the account."""

    report: dict[str, Any]


class PurgePlan(BaseModel):
    """What goes for good with an inquiry. assets: its pictures, of which a page may hold copies. what_stays: what a
    purge does not reach."""

    name: str
    rounds: int
    pictures: int
    findings: int
    assets: list[str]
    what_stays: list[str]


class Purged(BaseModel):
    """What went. head: of the account, after the line that says so."""

    inquiries: int
    items: int
    rounds: int
    findings: int
    head: str


class Pending(BaseModel):
    """Whether a purge was interrupted and has to be finished."""

    pending: bool


class AccountFault(BaseModel):
    line: int
    what: str


class AccountOut(BaseModel):
    """The append-only account of what was indexed, searched, exported and purged. head: "lines:hash"; kept elsewhere
    it shows later whether lines were cut off. torn: an exported file ends in the middle of a line."""

    lines: int
    head: str
    ok: bool
    torn: bool
    faults: list[AccountFault]


# ---------------------------------------------------------------------- indexing

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
