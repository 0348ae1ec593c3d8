"""What numbers may be: one kind of bound for the options of the command line and the fields of configs."""

from __future__ import annotations

import math
from typing import NamedTuple

from .errors import UsageError


class Bound(NamedTuple):
    """What a number may be: from low to high, the ends included unless `above` or `below` says otherwise."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether a finite value lies inside."""
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
