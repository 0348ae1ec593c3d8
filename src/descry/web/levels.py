"""Lines through a ranking: which leads stand out from the gallery as a whole."""

from __future__ import annotations

import numpy as np


def levels(scores: np.ndarray) -> list[tuple[float, int]]:
    """Lines that may be drawn through a ranking: (score, how many lie above), from one to five spreads over the middle.

    The middle is the median. The spread is the scaled median deviation, which the leads themselves do not move, or
    the standard deviation where that is larger: where a third of a gallery wears red, a red jacket does not stand out.
    """
    middle = float(np.median(scores))
    spread = max(1.4826 * float(np.median(np.abs(scores - middle))), float(np.std(scores)), 1e-6)
    steps = [middle + spread * z for z in np.arange(1.0, 5.01, 0.25)]
    return [(round(float(s), 4), int((scores > s).sum())) for s in steps]


def usual_level(count: int) -> int:
    """Which of `levels` is drawn at first: the height that the best of `count` draws of a bell curve would reach,
    √(2 log count) spreads. What lies above stands out from the gallery as a whole; it need not be the person."""
    return int(np.clip(np.ceil((np.sqrt(2 * np.log(max(count, 2))) - 1.0) / 0.25), 0, 16))
