"""Absence: the stated false-alarm rate is kept, and nobody is calibrated and tested on."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from descry.errors import DataError
from descry.interact import absence
from descry.interact.absence import (
    FEATURES,
    alarms,
    auroc,
    calibrate,
    calibration_error,
    check_apart,
    from_json,
    judged,
    notice,
    profile,
    to_json,
)
from descry.query import Query
from descry.ranking import Ranking
from descry.search import Term


def profiles(n: int, present: bool, seed: int) -> np.ndarray:
    """Rankings of 500 items by noise; where the person is present, two items stand out by a varying amount."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        scores = rng.normal(size=500)
        if present:
            scores[:2] += 2 + rng.gamma(4, 0.9)
        rows.append(profile(scores, 0.2 + 0.05 * scores))
    return np.array(rows)


@pytest.fixture(scope="module")
def fitted():
    return calibrate("sketch", profiles(600, True, 1), profiles(600, False, 2), [f"person c{i}" for i in range(600)])


def test_false_alarms_are_within_the_binomial_interval_of_the_stated_rate(fitted) -> None:
    n = 1500
    got = judged(fitted, profiles(n, True, 3), profiles(n, False, 4), [f"t{i}" for i in range(n)])
    low, high = (100 * share for share in alarms(300, 0.05, n))  # the threshold itself comes from 300 people
    assert low <= got["false alarms"] <= high
    assert low <= got["FPIR"] <= high
    assert got["AUROC"] > 90
    assert got["absence detected"] > 60
    assert got["ECE"] < 0.05


@pytest.mark.parametrize(("people", "alpha", "asked"), [(20, 0.05, 1000), (59, 0.05, 300), (400, 0.1, 200)])
def test_the_interval_of_the_rate_holds_19_of_20_calibrations(people: int, alpha: float, asked: int) -> None:
    """By drawing: the threshold is a low one of so many numbers, the alarms are counted on others."""
    rng, inside, tried = np.random.default_rng(0), 0, 4000
    low, high = alarms(people, alpha, asked)
    k = int(alpha * (people + 1))
    for _ in range(tried):
        threshold = np.sort(rng.random(people))[k - 1]
        inside += low <= (rng.random(asked) < threshold).mean() <= high
    assert 0.94 < inside / tried < 0.975
    assert low < alpha < high


def test_fewer_people_make_the_interval_wider_and_too_few_never_say_absent() -> None:
    widths = [np.ptp(alarms(people, 0.05)) for people in (20, 60, 200, 2000)]
    assert widths == sorted(widths, reverse=True)
    assert alarms(18, 0.05) == (0.0, 0.0)
    one_query_each = calibrate("text", profiles(40, True, 1), profiles(40, False, 2), range(40))
    three_each = calibrate("text", profiles(120, True, 1), profiles(120, False, 2), [i // 3 for i in range(120)])
    assert (three_each.alarms_low, three_each.alarms_high) == (one_query_each.alarms_low, one_query_each.alarms_high)
    assert "interval 0.1 to 16.9" in three_each.summary(), "queries of one person do not count as people"


def test_people_calibrated_on_are_refused_in_a_test(fitted) -> None:
    with pytest.raises(DataError, match=r"calibrated on .*person c7"):
        judged(fitted, profiles(1, True, 0), profiles(1, False, 0), ["person c7"])
    check_apart(fitted, ["someone else"])
    assert "person c7" not in json.dumps(to_json(fitted)), "people are kept as digests"


def test_noise_calibrates_to_saying_little() -> None:
    fitted = calibrate("text", profiles(300, False, 1), profiles(300, False, 2), range(300))
    got = judged(fitted, profiles(500, False, 3), profiles(500, False, 4), [f"t{i}" for i in range(500)])
    assert got["false alarms"] < 10
    assert got["absence detected"] < 15


def test_decisions_and_notices(fitted) -> None:
    clear, gone = (
        profile(np.r_[9.0, 8.5, np.random.default_rng(0).normal(size=498)], np.ones(500)),
        profiles(1, False, 5)[0],
    )
    assert fitted.decide(clear) == "stands out"
    assert "stand out" in notice(fitted, clear)
    assert fitted.decide(gone) in ("absent", "open")
    assert notice(None, gone).startswith("uncalibrated")
    for one in (clear, gone):
        words = notice(fitted, one)
        assert "%" not in words
        assert "match" not in words


def test_goes_through_json_and_refuses_another_version(fitted) -> None:
    back = from_json(json.loads(json.dumps(to_json(fitted))))
    assert back == fitted
    with pytest.raises(DataError, match="calibrate again"):
        from_json(to_json(fitted) | {"features": ["best"]})


def test_too_few_queries_are_refused() -> None:
    with pytest.raises(DataError, match="at least 40"):
        calibrate("text", np.zeros((39, len(FEATURES))), np.zeros((39, len(FEATURES))), range(39))


def test_small_galleries_have_profiles() -> None:
    for n in (1, 2, 6, 30):
        assert np.isfinite(profile(np.arange(n), np.ones(n))).all()


def test_auroc_and_calibration_error_against_slow_ones() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 40).astype(float), rng.integers(0, 5, 30).astype(float)
    slow = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
    assert auroc(a, b) == pytest.approx(slow)
    number = rng.random(5000)
    assert calibration_error(number, (rng.random(5000) < number).astype(float)) < 0.03
    assert calibration_error(np.full(100, 0.9), np.zeros(100)) == pytest.approx(0.9)


def test_a_calibration_of_another_model_or_ranking_says_nothing(fitted) -> None:
    """One without a fingerprint fits a model without one, as in tests; and no other."""

    def said(search_fingerprint: str) -> str:
        model = SimpleNamespace(search_fingerprint=search_fingerprint)
        kept = {"text": replace(fitted, search_fingerprint="one")}
        return absence.notice_of(space, model, Query(wanted="a hat"), kept, Ranking())

    space = SimpleNamespace(scores=lambda vectors: np.zeros((len(vectors), 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(absence, "terms_of", lambda *given: [[Term("text", "a hat", 1.0, np.ones(2))]])
        assert not said("one").startswith("uncalibrated")
        for other in ("two", ""):
            assert "another model" in said(other)
            assert "descry gallery calibrate again" in said(other)
    assert fitted.fits(SimpleNamespace())
    assert not fitted.fits(SimpleNamespace(search_fingerprint="one"))


@pytest.mark.parametrize("text", ["{", '{"text": {"format": 0}}'])
def test_an_old_or_broken_file_stops_no_search_and_is_replaced(tmp_path, fitted, text) -> None:
    (tmp_path / absence.FILE).write_text(text)
    with pytest.raises(DataError, match="descry gallery calibrate again"):
        absence.load(tmp_path)
    found, fault = absence.readable(tmp_path)
    assert found == {}
    assert "descry gallery calibrate again" in fault
    absence.save(tmp_path, {"text": fitted})
    assert absence.readable(tmp_path) == ({"text": fitted}, "")
