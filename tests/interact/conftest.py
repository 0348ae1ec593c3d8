"""A gallery of plain vectors and the toy model."""

from __future__ import annotations

import numpy as np
import pytest

from descry.search import Arrays, unit

from .toy import D, ToyModel


@pytest.fixture
def model() -> ToyModel:
    return ToyModel()


@pytest.fixture
def space() -> Arrays:
    """300 items; every third has a duplicate, item 3 i and item 3 i + 1."""
    vectors = unit(np.random.default_rng(0).normal(size=(300, D)))
    vectors[1::3] = vectors[0::3]
    return Arrays(np.arange(10, 310), vectors)
