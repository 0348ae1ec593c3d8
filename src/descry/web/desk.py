"""The desk: gallery, model and inquiries, worked at by one thread, in the order asked.

Ranking uses every core by itself, SQLite connections belong to a thread, and an inquiry must not change under a
round: one worker makes all three simple. Others wait in a line of stated length. Pictures are decoded in a line of
their own, few at a time: one of the largest takes a quarter of a gigabyte while it is decoded. What only reads items
has a third line. The threads of a line stay, since each keeps a connection to the database.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from .. import purge as purging
from ..errors import DescryError, UsageError
from ..gallery import Gallery
from ..gallery.scan import Rows
from ..interact import absence
from ..interact.questions import Asker, vocabulary
from ..interact.rounds import Inquiry, Round
from ..interact.session import Session
from ..interact.store import InquiryStore, frozen
from ..search import Leads, Memo
from .folders import Folders
from .indexing import Indexing
from .limits import LIMITS, Limits
from .problems import Refusal

Answer = TypeVar("Answer")
UPLOADS = 64
"""Uploads of the largest size that are kept."""
SESSIONS, ROUNDS = 16, 1_000
"""Inquiries held in memory, and rounds of all of them: those used longest ago are read from the gallery again."""


class Least:
    """A dictionary that forgets what was used least lately. most: total bytes kept."""

    def __init__(self, most: int):
        self.most, self.bytes = most, 0
        self._rows: OrderedDict[Any, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Any) -> bytes | None:
        """What is kept under the key, or None."""
        with self._guard:
            found = self._rows.get(key)
            if found is not None:
                self._rows.move_to_end(key)
            return found

    def put(self, key: Any, data: bytes) -> None:
        """Keep it."""
        with self._guard:
            self.bytes += len(data) - len(self._rows.pop(key, b""))
            self._rows[key] = data
            while self.bytes > self.most and len(self._rows) > 1:
                self.bytes -= len(self._rows.popitem(last=False)[1])


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
        self.assets = Least(UPLOADS * 4_000_000)
        self.thumbs = Least(64_000_000)
        self.counts: dict[str, float] = {"rounds": 0, "round_seconds": 0.0}
        self.statuses: dict[int, int] = {}
        self.started = time.time()
        self.trouble: DescryError | None = None
        self.loaded = False
        self.done: OrderedDict[tuple[str, str], tuple[int, str]] = OrderedDict()
        self._tokens, self._filled = float(limits.burst), time.monotonic()
        self.searches = WorkQueue("searches", 1, limits)
        self.do = self.searches.do
        self.pictures = WorkQueue("pictures", limits.decoding, limits)
        self.lookups = WorkQueue("lookups", limits.lookups, limits)
        self._store: InquiryStore | None = None
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._deep: OrderedDict[tuple[str, int], Leads] = OrderedDict()
        self._spaces: OrderedDict[str, Rows] = OrderedDict()
        self._asker: tuple[str, Asker] | None = None
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

    def counted(self, status: int) -> None:
        """Count an answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

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
        if self._store is not None:
            self._store.close()

    # ------------------------------------------------------------------ inquiries

    @property
    def store(self) -> InquiryStore:
        """The inquiries of the gallery, opened by the worker."""
        if self._store is None:
            self._store = self.gallery.inquiries()
        return self._store

    def names(self) -> dict[str, str]:
        """Inquiry id → name. Ids tell nothing and are no paths, whatever a name holds."""
        return {identity(name): name for name in self.store.names()}

    def begin(self, name: str) -> Session:
        """A new inquiry; a name that is taken gets a number."""
        taken, n = set(self.store.names()), 1
        chosen = name
        while chosen in taken:
            n += 1
            chosen = f"{name} {n}"
        session = self._session(Inquiry(chosen))
        self.store.save(session.inquiry)
        return self._remember(identity(chosen), session)

    def session(self, number: str) -> Session:
        """The conversation of an inquiry as the file holds it: another process may have gone on with it. Raises
        Refusal 404."""
        held = self._sessions.pop(number, None)
        name = self.named(number)
        if held is None:
            held = self._session(self.store.load(name))
        elif held.refresh():
            self.dropped(number)
        return self._remember(number, held)

    def named(self, number: str) -> str:
        """The name of an inquiry. Raises Refusal 404."""
        name = next((name for name in self.store.names() if identity(name) == number), None)
        if name is None:
            raise Refusal(404, "not_found", "there is no such inquiry; it may have been deleted")
        return name

    def picture(self, asset: str) -> bytes:
        """An upload, or a picture that is kept with an inquiry. Raises Refusal 404."""
        held = self.assets.get(asset)
        if held is not None:
            return held
        try:
            found = self.store.picture(asset)
        except DescryError as error:
            raise Refusal(404, "asset_gone", "the picture is not held any more; upload it again") from error
        return found if isinstance(found, bytes) else frozen(found)[1]

    def purge(self, number: str) -> purging.Done:
        """Remove an inquiry for good, from the files and from what the server holds."""
        chosen = purging.plan(self.gallery, self.store, inquiries=[self.named(number)])
        try:
            return purging.run(self.gallery, self.store, chosen)
        finally:
            self.emptied()

    def finish_purge(self) -> purging.Done | None:
        """Go on with a purge that was interrupted."""
        try:
            return purging.finish(self.gallery, self.store)
        finally:
            self.emptied()

    def emptied(self) -> None:
        """Forget everything that can be made again, except the example that the page offers."""
        example = self.example.get("asset", "")
        kept = self.assets.get(example)
        for held in (self._sessions, self._deep, self._spaces, self.done):
            held.clear()
        self.assets, self.thumbs = Least(self.assets.most), Least(self.thumbs.most)
        self._memo, self._asker = Memo(), None
        if kept is not None:
            self.assets.put(example, kept)

    def _session(self, inquiry: Inquiry) -> Session:
        session = Session(self.space(), self.gallery.model, inquiry, self.store, self.limits.page)
        self.dropped(identity(inquiry.name))  # an earlier inquiry of that name may have left its rankings
        session.memo = self._memo
        return session

    def _remember(self, number: str, session: Session) -> Session:
        self._sessions[number] = session
        rounds = sum(len(held.inquiry.rounds) for held in self._sessions.values())
        while len(self._sessions) > 1 and (len(self._sessions) > SESSIONS or rounds > ROUNDS):
            rounds -= len(self._sessions.popitem(last=False)[1].inquiry.rounds)
        return session

    # ------------------------------------------------------------------ ranking

    def space(self) -> Rows:
        """The gallery as it is now; the last few moments are kept for rounds that were made of them."""
        rows = Rows(self.gallery.store, self.gallery.snapshot())
        known = self._spaces.setdefault(rows.snapshot, rows)
        self._spaces.move_to_end(rows.snapshot)
        while len(self._spaces) > 4:
            self._spaces.popitem(last=False)
        return known

    def refreshed(self, number: str) -> Session:
        """The session over the gallery as it is now: for a new round."""
        session = self.session(number)
        session.space = self.space()
        return session

    def round(self, session: Session, which: int) -> Round:
        """A round of an inquiry. Raises Refusal 404."""
        made = session.inquiry.rounds.get(which)
        if made is None:
            raise Refusal(404, "not_found", f"the inquiry has no round {which}")
        return made

    def fresh(self, made: Round) -> bool:
        """Whether the rows that the round was ranked among are still there to be read."""
        return made.snapshot in self._spaces or made.snapshot == self.space().snapshot

    def deep(self, session: Session, made: Round) -> Leads | None:
        """A round ranked to the deepest rank, on the rows it was made of (those of now, when these are gone). None when
        nothing is left that it could be ranked by, or among."""
        key = (identity(session.inquiry.name), made.number)
        if key not in self._deep:
            space = self._spaces.get(made.snapshot) or self.space()
            depth = min(self.limits.depth, max(1, len(space.ids)))
            try:
                found = session.rank(made, depth, space)
            except UsageError:  # it was ranked once, so it is no longer the searcher's to mend
                return None
            self._deep[key] = found
            while len(self._deep) > 12:
                self._deep.popitem(last=False)
        return self._deep[key]

    def dropped(self, number: str) -> None:
        """Forget the rankings of an inquiry: its rounds are not what they were."""
        for key in [key for key in self._deep if key[0] == number]:
            del self._deep[key]

    def ranking(self, session: Session, made: Round, count: int = 0) -> Leads | None:
        """A round with its shares and all scores: the ranking at hand where it holds `count` leads or all there are,
        else the deepest. None when nothing is left that it could be ranked by, or among."""
        at_hand = made.number == session.inquiry.head and made.snapshot == session.space.snapshot
        if at_hand and (identity(session.inquiry.name), made.number) not in self._deep:
            found = session.leads
            if found.whole or len(found.ids) >= count:
                return found
        return self.deep(session, made)

    def asker(self) -> Asker:
        """The questions over the gallery as it is now."""
        space = self.space()
        if self._asker is None or self._asker[0] != space.snapshot:
            self._asker = (space.snapshot, Asker.of(space, self.gallery.model, vocabulary()))
        return self._asker[1]

    def notice(self, number: str) -> tuple[str, bool]:
        """What may be said about absence, and whether anything was calibrated for this kind of query."""
        session = self.session(number)
        found, fault = absence.readable(self.gallery.path)
        calibrated = session.query.kind in found and found[session.query.kind].fits(self.gallery.model)
        return f"uncalibrated: {fault}" if fault else session.notice(found), calibrated


@lru_cache(maxsize=10_000)
def identity(name: str) -> str:
    """The id of an inquiry in addresses."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
