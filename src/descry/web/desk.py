"""The desk: gallery, model and inquiries, worked at by one thread, in the order asked.

Ranking uses every core by itself, SQLite connections belong to a thread, and an inquiry must not change under a
round: one worker makes all three simple. Others wait in a line of stated length. Pictures are decoded in a line of
their own, few at a time: one of the largest takes a quarter of a gigabyte while it is decoded. What only reads items
has a third line. The threads of a line stay, since each keeps a connection to the database.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DescryError, UsageError
from ..escape import numbered
from ..gallery import Gallery
from ..gallery.scan import Rows
from ..interact.questions import Asker, vocabulary
from ..interact.rounds import Inquiry, Round
from ..interact.session import Session
from ..interact.store import InquiryStore, frozen
from ..search import Leads, Memo
from .folders import Folders
from .indexing import Indexing
from .limits import LIMITS, Least, Limits
from .problems import Refusal

Answer = TypeVar("Answer")
UPLOADS = 64
"""Uploads of the largest size that are kept."""
SESSIONS, ROUNDS = 16, 1_000
"""Inquiries held in memory, and rounds of all of them: those used longest ago are read from the gallery again."""


class WorkQueue:
    """Work of one kind that waits for a few threads, in the order asked; who finds it full is told to come back.

    what: its name, in the plural. threads: how many are worked on at once. limits: how many may wait, and how long an
    answer may take.

    Threads stay once they were started, so that what belongs to a thread (a connection to the database) is bounded.

    waiting: how many wait. refused: how many found it full.
    """

    def __init__(self, what: str, threads: int, limits: Limits):
        self.what, self.limits = what, limits
        self.waiting = self.refused = 0
        self._workers = ThreadPoolExecutor(threads, what)

    async def do(self, work: Callable[..., Answer], *args: Any, patience: float = 0.0) -> Answer:
        """Run it in a worker. patience: seconds it may take, else as the limits say. Raises Refusal 503 when the queue
        is full, 504 when it takes too long."""
        if self.waiting >= self.limits.queue:
            self.refused += 1
            raise Refusal(503, "busy", f"{self.waiting} {self.what} are waiting; try again in a moment", retry_after=2)
        self.waiting += 1
        try:
            future = asyncio.wrap_future(self._workers.submit(work, *args))
            return await asyncio.wait_for(future, patience or self.limits.request_seconds)
        except TimeoutError:
            raise Refusal(504, "too_slow", "it took too long; try again, or ask for less at once") from None
        finally:
            self.waiting -= 1

    def close(self, last: Callable[[], Any] | None = None) -> None:
        """Finish what is being done; last: what is done after everything else."""
        if last is not None:
            self._workers.submit(last).result()
        self._workers.shutdown()


class Desk:
    """Everything the server works with. gallery: open. limits: see limits.py. folders: what may be indexed from the
    page, with all below.

    `do`, `pictures.do`, `lookups.do` and `paced` are called from the event loop; every other method runs in the worker.
    """

    def __init__(self, gallery: Gallery, limits: Limits = LIMITS, folders: Sequence[str | Path] = ()):
        self.gallery, self.limits = gallery, limits
        self.folders = Folders(folders)
        self.indexing = Indexing(lambda: self.gallery)
        self.ending: Callable[[], bool] = lambda: self._shut
        self.name = gallery.name or "gallery"
        self.example: dict[str, str] = {}
        self.assets = Least(UPLOADS * 4_000_000, len)
        self.thumbs = Least(64_000_000, len)
        self.counts: dict[str, float] = {"rounds": 0, "round_seconds": 0.0}
        self.statuses: Counter[int] = Counter()
        self.started = time.time()
        self.trouble: DescryError | None = None
        self.loaded = False
        self.done = Least(256)  # (inquiry id, key of a request) → (round made, its body)
        self._tokens, self._filled = float(limits.burst), time.monotonic()
        self.searches = WorkQueue("searches", 1, limits)
        self.do = self.searches.do
        self.pictures = WorkQueue("pictures", limits.decoding, limits)
        self.lookups = WorkQueue("lookups", limits.lookups, limits)
        self.spaces = Least(4)  # snapshot → rows
        self._deep = Least(12)  # (inquiry, round number) → leads; an inquiry that was read again is another one
        self._askers = Least(1)  # snapshot → questions
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._memo = Memo()
        self._shut = False

    # ------------------------------------------------------------------ pace and end

    def paced(self) -> None:
        """Take one search from the allowance. Raises Refusal 429."""
        now = time.monotonic()
        rate = self.limits.searches_per_minute / 60
        self._tokens = min(float(self.limits.burst), self._tokens + (now - self._filled) * rate)
        self._filled = now
        if self._tokens < 1:
            raise Refusal(429, "too_often", "more searches than one person makes; wait a second", retry_after=1)
        self._tokens -= 1

    def warm(self) -> None:
        """Load the model, so that the first search does not wait for it; what is wrong is kept in `trouble`."""
        try:
            self.loaded = self.gallery.model is not None
        except DescryError as error:
            self.trouble = error

    def close(self) -> None:
        """Finish what is being done, release files. Twice is once."""
        if not self._shut:
            self._shut = True
            self.indexing.close()
            self.pictures.close()
            self.lookups.close()
            self.searches.close(self._closed)

    def _closed(self) -> None:
        if "store" in vars(self):
            self.store.close()

    # ------------------------------------------------------------------ inquiries

    @cached_property
    def store(self) -> InquiryStore:
        """The inquiries of the gallery, opened by the worker."""
        return self.gallery.inquiries()

    def names(self) -> dict[str, str]:
        """Inquiry id → name. Ids tell nothing and are no paths, whatever a name holds."""
        return {identity(name): name for name in self.store.names()}

    def begin(self, name: str) -> Session:
        """A new inquiry; a name that is taken gets a number."""
        chosen = numbered(name, set(self.store.names()))
        session = self.session(identity(chosen), Inquiry(chosen))
        self.store.save(session.inquiry)
        return session

    def session(self, number: str, begun: Inquiry | None = None) -> Session:
        """The conversation of an inquiry as the file holds it: another process may have gone on with it. begun: the
        inquiry, where the file does not hold it yet. Raises Refusal 404."""
        held = self._sessions.pop(number, None)
        name = begun.name if begun else self.named(number)
        if held is None or begun:
            inquiry = begun or self.store.load(name)
            held = Session(self.space(), self.gallery.model, inquiry, self.store, self.limits.page)
            held.memo = self._memo
        else:
            held.refresh()
        self._sessions[number] = held
        rounds = sum(len(one.inquiry.rounds) for one in self._sessions.values())
        while len(self._sessions) > 1 and (len(self._sessions) > SESSIONS or rounds > ROUNDS):
            rounds -= len(self._sessions.popitem(last=False)[1].inquiry.rounds)
        return held

    def named(self, number: str) -> str:
        """The name of an inquiry. Raises Refusal 404."""
        name = next((name for name in self.store.names() if identity(name) == number), None)
        if name is None:
            raise Refusal(404, "not_found", "there is no such inquiry; it may have been deleted")
        return name

    def picture(self, asset: str) -> bytes:
        """An upload, or a picture that is kept with an inquiry. Raises Refusal 404."""
        held: bytes | None = self.assets.get(asset)
        if held is not None:
            return held
        try:
            found = self.store.picture(asset)
        except DescryError as error:
            raise Refusal(404, "asset_gone", "the picture is not held any more; upload it again") from error
        return found if isinstance(found, bytes) else frozen(found)[1]

    def emptied(self) -> None:
        """Forget everything that can be made again, except the example that the page offers."""
        example = self.example.get("asset", "")
        kept = self.assets.get(example)
        self._sessions.clear()
        for held in (self.spaces, self._deep, self._askers, self.done, self.assets, self.thumbs):
            held.clear()
        self._memo = Memo()
        if kept is not None:
            self.assets.put(example, kept)

    # ------------------------------------------------------------------ ranking

    def space(self) -> Rows:
        """The gallery as it is now; the last few moments are kept for rounds that were made of them."""
        rows = Rows(self.gallery.store, self.gallery.snapshot())
        return self.spaces.get(rows.snapshot) or self.spaces.put(rows.snapshot, rows)

    def round(self, session: Session, which: int) -> Round:
        """A round of an inquiry. Raises Refusal 404."""
        made = session.inquiry.rounds.get(which)
        if made is None:
            raise Refusal(404, "not_found", f"the inquiry has no round {which}")
        return made

    def ranking(self, session: Session, made: Round, count: int = 0) -> Leads | None:
        """A round with its shares and all scores: the ranking at hand where it holds `count` leads or all there are,
        else to the deepest rank, on the rows it was made of (those of now, when these are gone). None when nothing is
        left that it could be ranked by, or among."""
        key = (session.inquiry, made.number)
        deep: Leads | None = self._deep.get(key)
        if deep is not None:
            return deep
        if made.number == session.inquiry.head and made.snapshot == session.space.snapshot:
            found = session.leads
            if found.whole or len(found.ids) >= count:
                return found
        space = self.spaces.get(made.snapshot) or self.space()
        try:
            return self._deep.put(key, session.rank(made, min(self.limits.depth, max(1, len(space.ids))), space))
        except UsageError:  # it was ranked once, so it is no longer the searcher's to mend
            return None

    def asker(self) -> Asker:
        """The questions over the gallery as it is now."""
        space = self.space()
        found = self._askers.get(space.snapshot)
        return found or self._askers.put(space.snapshot, Asker.of(space, self.gallery.model, vocabulary()))


@lru_cache(maxsize=10_000)
def identity(name: str) -> str:
    """The id of an inquiry in addresses."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
