"""What the conversation must hold with the demo model on the frozen benchmark. Minutes: run by `make test-long`.

Synthetic people: no evidence of accuracy on real people. DESCRY_BENCHMARK may name a folder where the benchmark is
already written.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from descry.embed import load
from descry.errors import ModelMissing
from descry.evaluate import Embedded
from descry.interact import absence
from descry.interact.questions import vocabulary
from descry.studies.intervals import paired
from descry_lab import conversation
from descry_lab.choosing import negation
from descry_lab.simulation import absence_profiles, share_of_gain, simulate, withheld, world_of
from descry_lab.witness import FAITHFUL, Habits
from descry_people.benchmark import PARTS, benchmark, held_in, records_of

pytestmark = pytest.mark.long
SEEDS = range(3)
HARD = Habits(err=0.2, forget=0.2)


@pytest.fixture(scope="module")
def model():
    try:
        return load("demo")
    except ModelMissing as error:
        pytest.skip(f"the demo model is not there: {error}")


@pytest.fixture(scope="module")
def parts(model, tmp_path_factory):
    """Part → (benchmarks, photographs embedded, records)."""
    root = Path(os.environ.get("DESCRY_BENCHMARK") or tmp_path_factory.mktemp("benchmark"))
    out = {}
    for name, (_, identities) in PARTS.items():
        benches = getattr(benchmark(root, part=name, identities=identities), held_in(name))
        photos = Embedded.of(model, benches["sketch"])
        out[name] = benches, photos, records_of(root, part=name, identities=identities)
    return out


@pytest.fixture(scope="module", params=["whole", "a third withheld"])
def courses(request, model, parts):
    """Five questions by gain, by the encoder (faithful and hard witnesses) and by true attributes."""
    benches, photos, people = parts["test"]
    table = vocabulary() if request.param == "whole" else withheld(vocabulary())
    world = world_of(model, benches["sketch"], people, table, photos)
    ideal = world_of(model, benches["sketch"], people, table, photos, truth=True, witness_error=0.01)
    knowing = replace(ideal, witness_error=HARD.err)

    def run(where, policy, habits):
        return [simulate(where, policy, habits, 5, seed) for seed in SEEDS]

    return {
        "faithful": run(world, "gain", FAITHFUL),
        "hard": run(world, "gain", HARD),
        "ideal": run(ideal, "gain", FAITHFUL),
        "ideal, hard": run(knowing, "gain", HARD),
        "random": run(world, "random", FAITHFUL),
        "fixed": run(world, "fixed", FAITHFUL),
    }


def test_five_questions_reach_half_of_the_ideal_gain(courses) -> None:
    got = share_of_gain(courses["faithful"], courses["ideal"])
    assert got["share"] >= 0.5, got


def test_a_witness_who_errs_and_forgets_still_gains_a_quarter(courses) -> None:
    got = share_of_gain(courses["hard"], courses["ideal, hard"])
    assert got["share"] >= 0.25, got


@pytest.mark.parametrize("witness", ["faithful", "hard"])
def test_never_below_the_start_on_average(courses, witness) -> None:
    for k in (1, 10):
        first, last = (np.mean([np.mean(c.ranks[t] <= k) for c in courses[witness]]) for t in (0, -1))
        assert last >= first


@pytest.mark.parametrize("other", ["random", "fixed"])
def test_gain_needs_fewer_rounds(courses, other) -> None:
    rounds = {p: np.mean([c.rounds_to(10) for c in courses[p]], axis=0) for p in ("faithful", other)}
    got = paired(rounds["faithful"], rounds[other])
    assert got.high < 0, got


def test_not_halves_the_share_of_all_but_what_is_badly_read(model, parts) -> None:
    """Of all that 30 to 70 % of the people hold, one phrase is badly read: with full weight, as in version 1, a true
    "not young" would put those who are not young more than six times as far down."""
    benches, photos, people = parts["test"]
    rows = {row["key"]: row for row in negation(model, benches["sketch"], photos, people, vocabulary())}
    assert len(rows) >= 14
    assert {key for key, row in rows.items() if row["left"] > 0.5} == {"young"}
    assert rows["young"]["AUROC"] < 0.7
    assert rows["young"]["median rank, version 1"] > 6 * rows["young"]["median rank, before"]
    failing = {key: row["left, interval"] for key, row in rows.items() if row["left, interval"][1] >= 1}
    assert not failing, f"the share of these is not lowered: {failing}"
    failing = {key: row["median rank, interval"] for key, row in rows.items() if row["median rank, interval"][0] > 0}
    assert not failing, f"a true NOT worsens the median rank: {failing}"


@pytest.mark.parametrize("kind", ["sketch", "text", "sketch+text", "photo"])
def test_absence_keeps_its_false_alarm_rate_and_beats_the_best_cosine(model, parts, kind) -> None:
    benches, photos, _ = parts["calibration"]
    here, gone = absence_profiles(model, benches[kind], photos, people=500)
    fitted = absence.calibrate(kind, here, gone, [f"calibration {p.pid}" for p in benches[kind].probes])
    benches, photos, _ = parts["test"]
    here, gone = absence_profiles(model, benches[kind], photos, people=500)
    best, best_gone = (rows[:, absence.FEATURES.index("best cosine")] for rows in (here, gone))
    got = absence.judged(fitted, here, gone, [f"test {p.pid}" for p in benches[kind].probes])
    low, high = (100 * share for share in absence.alarms(fitted.present, 0.05, len(here)))
    assert low <= got["false alarms"] <= high, got
    assert got["ECE"] <= 0.05, got
    number, number_gone = fitted.number(here), fitted.number(gone)
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(500):
        i = rng.integers(len(here), size=len(here))
        gaps.append(absence.auroc(number[i], number_gone[i]) - absence.auroc(best[i], best_gone[i]))
    assert np.quantile(gaps, 0.025) > 0, got


@pytest.mark.parametrize("kind", sorted(conversation.PHRASED))
def test_absence_keeps_its_false_alarm_rate_with_measured_phrases(model, parts, kind) -> None:
    sides = []
    for name in ("calibration", "test"):
        part = SimpleNamespace(**dict(zip(("benches", "photos", "people"), parts[name], strict=True)))
        asked = [
            conversation.phrased(model, part, kind, conversation.PHRASED[kind], draw)
            for draw in range(conversation.DRAWS)
        ]
        sides.append(conversation.profiles(model, part, asked))
    row = conversation.absence_row(kind, sides[0], sides[1], conversation.DRAWS)
    low, high = row["interval of 5 %"]
    assert low <= row["false alarms"] <= high, row
    assert row["AUROC, against best cosine"]["low"] > 0, row
