"""One tree of exceptions, and what numbers and names are allowed: of options of the command line, of fields of configs.

Every message says what was given, what is allowed and what to do next.

`code` is stable: the HTTP API returns it, scripts may compare it. `exit_status` is what the command line exits with.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class DescryError(Exception):
    """Anything descry refuses or cannot do. Catch this one to catch all of them."""

    code = "failed"
    exit_status = 1


class UsageError(DescryError):
    """A value that is not allowed: an unknown name, an option out of range, an empty query."""

    code = "usage"
    exit_status = 2


class ImageRejected(DescryError):
    """A picture that is not read: `reason` is one of format, too_many_bytes, too_many_pixels, too_small, too_complex,
    too_slow, corrupt, missing, unreadable; of an item also changed or outside.
    """

    code = "image_rejected"

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason
        if reason == "missing":
            self.exit_status = 2


class DataError(DescryError):
    """A data set, table or folder that does not hold what it should."""

    code = "data"


class DataMissing(DataError):
    """A file or folder of data that was named and is not there."""

    exit_status = 2


class ModelRefused(DescryError):
    """A checkpoint that is missing, incomplete, of another shape, or not safe to open."""

    code = "model_refused"
    exit_status = 4


class ModelMissing(ModelRefused):
    """There is no model where one was named."""

    code = "model_missing"


class TrainingStopped(DescryError):
    """Training cannot go on (a loss is not a number); the last good checkpoint is kept."""

    code = "training_stopped"


class IndexMismatch(DescryError):
    """A gallery made by another model, dimension or preprocessing."""

    code = "index_mismatch"
    exit_status = 5


class IndexCorrupt(DescryError):
    """A gallery whose bytes are not the ones that were written."""

    code = "index_corrupt"
    exit_status = 5


class Locked(DescryError):
    """Another process is writing."""

    code = "locked"
    exit_status = 6


class ReadOnly(DescryError):
    """A gallery that may be read and not written."""

    code = "read_only"


class LimitExceeded(DescryError):
    """More than a stated limit: bytes, pixels, characters, parts, items."""

    code = "limit_exceeded"


class StoreUnavailable(DescryError):
    """A remote store that does not answer."""

    code = "store_unavailable"


def nearest(given: str, allowed: list[str] | tuple[str, ...]) -> str:
    """A half sentence for an error: the nearest known name, and all of them. `nearest("serch", ["search"])`."""
    import difflib

    close = difflib.get_close_matches(given, allowed, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(sorted(allowed))}"


class Bound(NamedTuple):
    """What a number may be: from low to high, the ends included unless `above` or `below` says otherwise."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value is a finite number inside; true and false are none."""
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return False
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return (isinstance(value, int) or math.isfinite(value)) and over and under

    @property
    def told(self) -> str:
        """`0 or more and at most 1`."""
        ends = [str(end) if isinstance(end, int) else f"{end:.12g}" for end in (self.low, self.high)]
        low = (f"above {ends[0]}" if self.above else f"{ends[0]} or more") if math.isfinite(self.low) else ""
        high = f"{'below' if self.below else 'at most'} {ends[1]}" if math.isfinite(self.high) else ""
        return " and ".join(x for x in (low, high) if x) or "a finite number"

    def check(self, name: str, value: float) -> None:
        """UsageError that names the option or field, the value given and what is allowed."""
        if not self.holds(value):
            raise UsageError(f"{name} {value} was given; allowed: {self.told}")


COUNT, POSITIVE, NOT_NEGATIVE = Bound(1), Bound(0, above=True), Bound(0)
SHARE, PART = Bound(0, 1), Bound(0, 1, below=True)
MOST_THREADS, MOST_SEED, MOST_ID = 1024, 2**63 - 1, 2**63 - 1
SEED, THREADS, SIDE = Bound(0, MOST_SEED), Bound(0, MOST_THREADS), Bound(1, 65_536)
MOST_FIELD = 1e9
"""No number of a method's config is larger."""
ITEM = Bound(1, MOST_ID)
"""The id of an item."""


DISTRIBUTION = "descry-search"
"""The name on the package index; the import name is descry."""


def install_hint(extra: str = "") -> str:
    """The command that installs descry, or one of its extras, where this copy of it runs."""
    from pathlib import Path

    checkout = Path(__file__).resolve().parents[2]
    brackets = f"[{extra}]" if extra else ""
    if (checkout / "pyproject.toml").is_file():
        return f"pip install -e '{checkout}{brackets}'"
    return f"pip install '{DISTRIBUTION}{brackets}'"
