"""Indexing from the page: one job at a time, in a thread of its own, with its own connection to the gallery.

Pausing is stopping with a commit: the gallery is whole and can be written by others meanwhile, and going on is indexing
the same folder again, which takes up where it was left. So nothing is lost whenever the server ends.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from glob import escape
from typing import Any

from ..errors import DescryError
from ..gallery import Gallery
from ..gallery.indexing import Step
from ..gallery.sources import Sources
from .folders import Place, leading_out
from .problems import PLAIN, Refusal
from .shapes import Counts, JobOut, State

log = logging.getLogger("descry.web")
LATELY = 15.0
KEPT = 20
ENDED = ("done", "stopped", "failed")


@dataclass
class Job:
    """One folder on its way into the gallery. want: what the searcher asked for last."""

    place: Place
    sources: Sources
    dry: bool
    key: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "running"
    want: str = "running"
    before: int | None = None
    done: int = 0
    total: int | None = None
    links: int = 0
    seconds: float = 0.0
    counts: Counts = field(default_factory=Counts)
    taken: Counts = field(default_factory=Counts)
    trouble: str = ""
    warning: str = ""
    version: int = 0
    begun: float = 0.0
    lately: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=1000))

    def out(self, now: float) -> JobOut:
        """The job as the API tells of it."""
        running = self.state in ("running", "pausing", "stopping") and self.begun
        rate, left = 0.0, (self.total or 0) - self.done
        while len(self.lately) > 2 and self.lately[0][0] < now - LATELY:
            self.lately.popleft()
        if running and self.lately and now - self.lately[0][0] >= 0.2:
            rate = (self.done - self.lately[0][1]) / (now - self.lately[0][0])
        eta = round(left / rate) if rate > 0 and self.total and left > 0 else None
        seconds = round(self.seconds + (now - self.begun if running else 0.0), 1)
        reckoned = {"folder": self.place.name, "rate": round(rate, 1), "eta": eta, "seconds": seconds}
        return JobOut.model_validate(vars(self) | reckoned)


class Indexing:
    """The jobs of one server. gallery: the one that is served; a job opens it for itself."""

    def __init__(self, gallery: Callable[[], Gallery]):
        self.gallery = gallery
        self.jobs: dict[str, Job] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self, place: Place, sources: Sources, dry: bool, key: str, model: Any) -> JobOut:
        """A job for a folder; the same key again gives the job it was given before. Raises Refusal 409."""
        with self._changed:
            known = next((j for j in self.jobs.values() if key and j.key == key), None)
            if known:
                if (known.place, known.sources, known.dry) != (place, sources, dry):
                    raise Refusal(422, "key_reused", "this Idempotency-Key was used for another folder or mapping")
                return self.told(known.id)
            if any(j.state not in ENDED for j in self.jobs.values()):
                raise Refusal(409, "indexing", "a folder is being indexed; wait until it is done, or stop it first")
            job = Job(place, sources, dry, key)
            self.jobs[job.id] = job
            for old in list(self.jobs)[:-KEPT]:
                del self.jobs[old]
        self._thread = threading.Thread(target=self._work, args=(job, model), name="index")
        self._thread.start()
        return self.told(job.id)

    def told(self, number: str) -> JobOut:
        """How a job stands. Raises Refusal 404."""
        with self._changed:
            if number not in self.jobs:
                raise Refusal(404, "not_found", "there is no such index job; the server may have been started anew")
            return self.jobs[number].out(time.monotonic())

    def wish(self, number: str, want: str) -> JobOut:
        """Let it pause, go on ("running") or stop. Raises Refusal 404, and 409 for a job at its end."""
        with self._changed:
            self.told(number)
            job = self.jobs[number]
            if job.state in ENDED:
                raise Refusal(409, "ended", "the job is at its end; index the folder again to bring it up to date")
            job.want = want
            paused = job.state == "paused"
            if not (paused and want == "paused"):
                self._to(job, "running" if want == "running" else "pausing" if want == "paused" else "stopping")
            self._changed.notify_all()
            return self.told(number)

    def close(self) -> None:
        """Stop after the batch at hand, and wait for that."""
        with self._changed:
            for job in self.jobs.values():
                job.want = "stopped"
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    # ------------------------------------------------------------------ in the job's thread

    def _work(self, job: Job, model: Any) -> None:
        end: State = "failed"
        try:
            while (interrupted := self._run(job, model)) and self._goes_on(job):
                pass
            end = "stopped" if interrupted else "done"
        except Refusal as refusal:
            job.trouble = str(refusal)
        except DescryError as error:
            log.error("index job: %s: %s", error.code, error)
            job.trouble = self._plain(job, error)
        except Exception:
            log.exception("index job")
            job.trouble = PLAIN["failed"]
        with self._changed:
            if job.begun:
                job.seconds += time.monotonic() - job.begun
                job.begun = 0.0
            if end == "done" and job.total is None:
                job.total = job.done
            self._to(job, end)

    def _run(self, job: Job, model: Any) -> bool:
        """Index until the end, or until something else is wanted; whether it was interrupted."""
        with self._changed:
            job.begun, job.before = time.monotonic(), None
            job.lately.clear()
            job.lately.append((job.begun, job.done))
            self._to(job, "running" if job.want == "running" else job.state)
        links = leading_out(job.place)
        gallery = self.gallery()
        with Gallery.open(gallery.path, None if job.dry else model) as own:
            report = own.index(
                job.place.path, sources=job.sources, exclude=[escape(path) for path in links], dry_run=job.dry,
                progress=lambda step: self._step(job, step), stop=lambda: job.want != "running",
            )  # fmt: skip
        with self._changed:
            job.links = len(links)
            job.seconds += time.monotonic() - job.begun
            job.begun = 0.0
            warning = report.warning.replace(str(gallery.path), "the gallery")
            job.warning = warning.replace(job.place.path, job.place.name).removesuffix(".")
            # the plan of this run took the items of those before it for unchanged
            before, names = job.taken, ("added", "changed", "moved", "removed")
            sums = {name: getattr(before, name) + getattr(report, name) for name in names}
            known = before.added + before.changed + before.moved
            job.taken = Counts(**sums)
            job.counts = Counts(**sums, unchanged=max(0, report.unchanged - known), skipped=len(report.skipped))
            job.version += 1
        return report.interrupted

    def _step(self, job: Job, step: Step) -> None:
        with self._changed:
            if job.before is None:  # a file that is read again after a pause does not count twice
                job.before = max(0, (job.total or 0) - step.total)
            job.done, job.total = job.before + step.done, job.before + step.total
            job.counts = job.counts.model_copy(update={"skipped": step.skipped})
            job.lately.append((time.monotonic(), job.done))
            job.version += 1

    def _goes_on(self, job: Job) -> bool:
        """Whether to run again; waits while the job is to be paused."""
        with self._changed:
            if job.want == "paused":
                self._to(job, "paused")
            while job.want == "paused":
                self._changed.wait()
            return job.want == "running"

    def _to(self, job: Job, state: State) -> None:
        job.state = state
        job.version += 1

    def _plain(self, job: Job, error: DescryError) -> str:
        """The message, with folders by the names the page knows; a general sentence where it names others."""
        if error.code not in ("usage", "data", "limit_exceeded"):
            return PLAIN.get(error.code, PLAIN["failed"])
        said = str(error).replace(job.place.path, job.place.name)
        return said.replace(str(self.gallery().path), "the gallery")
