"""Which leads stand out from the gallery as a whole."""

from __future__ import annotations

import numpy as np

from descry.web.levels import levels, usual_level


def standing_out(scores: np.ndarray) -> int:
    return levels(scores)[usual_level(len(scores))][1]


def test_one_far_lead_stands_out_and_a_third_of_a_gallery_does_not():
    rng = np.random.default_rng(0)
    plain = rng.normal(0, 1, 2000)
    assert standing_out(plain) <= 2
    assert standing_out(np.append(plain, 8.0)) - standing_out(plain) in (1, 2)
    red = np.concatenate([rng.normal(0, 0.1, 1350), rng.normal(4, 0.1, 650)])
    assert standing_out(red) == 0


def test_a_gallery_of_equal_scores_has_no_lead_that_stands_out():
    assert standing_out(np.zeros(50)) == 0
