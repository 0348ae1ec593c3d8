"""The page of the conversation shows what lies in results, for the model that ships."""

import json
import re

import numpy as np
import pytest

from descry.checkpoint import read_config
from descry.embed import load
from descry.interact.absence import FEATURES
from descry.interact.questions import vocabulary
from descry.interact.rounds import MAX_MARKS, MAX_ROUNDS
from descry.language import MAX_PARTS
from descry.library import DEMO
from descry.ranking import FORMULA, UNMEASURED
from descry.search import CANDIDATES
from descry_lab import conversation, misread, weights
from descry_lab.misread import AUROCS, SPOILT
from descry_people.benchmark import PARTS


def test_the_page_shows_the_results_and_they_are_of_the_shipped_model():
    found = json.loads(conversation.FOUND.read_text("utf-8"))
    assert conversation.section(found) in conversation.PAGE.read_text("utf-8")
    shipped = read_config(DEMO)
    assert found["model"] == shipped["fingerprint"]
    shown = {name: made for name, made in found["made with"].items() if name != "re-ranking"}
    assert {made["search_fingerprint"] for made in shown.values()} == {shipped["search_fingerprint"]}


def test_every_part_is_there():
    found = json.loads(conversation.FOUND.read_text("utf-8"))
    text = conversation.section(found)
    for name in conversation.ROWS.values():
        assert f"| {name} |" in text
    assert text.count("| no") == 0
    assert all(f"| {row['key']} |" in text for row in found["NOT"])
    assert all(f"| {kind} |" in text for kind in found["absence"])


def numbers(people: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Profiles of present and of absent people, told apart by their best cosine."""
    rng = np.random.default_rng(seed)
    here, gone = rng.normal(size=(2, people, len(FEATURES)))
    here[:, conversation.BEST_COSINE] += 2
    return here, gone


def asking(draws: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    here, gone = (np.concatenate(rows) for rows in zip(*draws, strict=True))
    return here, gone


def test_the_same_question_asked_three_times_tells_no_more_than_once():
    known, test = numbers(400, 0), numbers(300, 1)
    once = conversation.absence_row("sketch", known, test)
    low, high = once["interval of 5 %"]
    assert low < once["false alarms"] < high
    thrice = conversation.absence_row("sketch", asking([known] * 3), asking([test] * 3), 3)
    assert thrice["calibrated on"] == once["calibrated on"] == 400
    assert thrice["interval of 5 %"] == pytest.approx(once["interval of 5 %"], abs=0.6)
    assert thrice["detected, against best cosine"]["identities"] == 300
    others = asking([numbers(400, s) for s in (0, 2, 3)]), asking([numbers(300, s) for s in (1, 4, 5)])
    low, high = conversation.absence_row("sketch", *others, 3)["interval of 5 %"]
    assert high - low < 0.75 * np.ptp(once["interval of 5 %"]), "other questions do tell more"


def test_no_false_alarm_at_all_divides_by_nothing():
    known, (here, gone) = numbers(400, 0), numbers(300, 1)
    here[:, conversation.BEST_COSINE] += 50
    row = conversation.absence_row("sketch", asking([known] * 3), asking([(here, gone)] * 3), 3)
    assert row["false alarms"] == 0
    low, high = row["interval of 5 %"]
    assert 0 < low < 5 < high


def test_a_decision_that_is_refused_says_why():
    gone = numbers(100, 0)[1], numbers(100, 1)[1]
    assert "cannot be told apart" in conversation.absence_row("text", gone, gone)["refused"]


def results(name: str):
    return json.loads((conversation.ROOT / "results" / name).read_text("utf-8"))


def test_every_rate_lies_in_its_interval():
    for kind, row in results("conversation.json")["absence"].items():
        low, high = row["interval of 5 %"]
        assert low <= row["false alarms"] <= high, kind
        assert ("measured" in kind) == (row["false alarms"] > 5), "those with measured phrases lie in the upper half"


def test_a_page_quotes_the_absences_that_are_noticed():
    page = conversation.PAGE.with_name("responsible-use.md").read_text("utf-8")
    said = re.search(r"for sketches, the demo model\s+notices (\d+) of 100\s+absences", page)
    assert said
    assert int(said[1]) == round(results("conversation.json")["absence"]["sketch"]["absence detected"])


def test_what_is_said_of_not_and_questions_lies_in_results():
    found = results("conversation.json")
    rows = {row["key"]: row for row in found["NOT"]}
    assert all(row["median rank, interval"][0] <= 0 for row in rows.values()), "no true NOT worsens the median rank"
    assert all(row["median rank, before"] <= 2 for row in rows.values())
    for row in rows.values():
        assert row["people without"] == round(1000 * (1 - row["held by"])), "all test people are searched for"
    well = [row for row in rows.values() if row["AUROC"] > 0.9]
    assert len(well) >= 8
    assert all(abs(row["left"] - row["left, version 1"]) < 0.01 for row in well)
    assert rows["young"]["AUROC"] < 0.7
    assert rows["young"]["median rank, version 1"] > 10 > rows["young"]["median rank, NOT"]
    for row in found["questions"].values():
        assert abs(row["against version 1, R@1"]["difference"]) < 0.005


def test_what_is_said_of_badly_read_attributes_lies_in_results():
    """True phrases and answers worsen no median beyond chance, nobody falls beyond the bound, and the page shows it."""
    found = results("misread.json")
    rows = found["rows"]
    assert found["search_fingerprint"] == read_config(DEMO)["search_fingerprint"]
    assert len(rows) == 2 * len(SPOILT) * len(AUROCS) * 2 * 4
    assert not [row for row in rows if row["said"].startswith("true") and row["interval"][0] > 0]
    assert not [row for row in rows if row["over"]]
    assert misread.page(rows) in conversation.PAGE.read_text("utf-8")


def test_what_is_said_of_several_models_lies_in_results():
    found = results("weights.json")
    assert found["search_fingerprint"] == read_config(DEMO)["search_fingerprint"]
    assert weights.page(found) in conversation.PAGE.read_text("utf-8")
    assert (tuple(found["curve"]), found["strength"]) == (UNMEASURED, FORMULA.unmeasured)
    assert not [row for row in found["test"] if row["said"].startswith("true") and row["interval"][0] > 0]
    assert not [row for row in found["test"] if row["over"]]


NOTATION = {"0", "1", "2", "3", "5", "6", "19", "20", "40", "95"}
"""Numbers that are no figures: in formulas, names, levels of intervals, versions, and the rounds of the policies."""
KEPT_NOWHERE = {
    "Speed": {"19", "21", "13", "14", "63", "66", "2.4", "2.8", "1.2", "40", "100,000", "512"},
    "Measured with the demo model": {"25"},
}
"""Section → figures that belong to the machine on which they were measured, as the page says."""


def test_each_number_of_the_page_is_compared_or_named_as_not_kept():
    """Of the text around the tables. A number that is new here needs a comparison with a kept result, or with code."""
    chips = (conversation.ROOT / "tests" / "interact" / "feedback_sentences.jsonl").read_text("utf-8").splitlines()
    found, formula = results("conversation.json"), load("demo").ranking.formula
    misread_people = results("misread.json")["people"]
    held = {str(len(vocabulary())), f"{CANDIDATES:,}", str(MAX_ROUNDS), str(MAX_MARKS), str(MAX_PARTS)}
    held |= {
        f"{formula.reach:g}",
        "0.77",
        "0.53",
        f"{len(chips)}",
        "85",
        "84",
        "83",
        "98.8",
        "0.98",
        "0.9",
        "100",
        "0.5",
    }
    held |= {str(misread_people["val"]), str(2 * misread_people["test"]), f"{found['made with']['NOT']['people']:,}"}
    held |= {str(PARTS["val"][1])}
    text = re.sub(
        r"<!-- (misread|weights|figures):.*?<!-- end of \1 -->", "", conversation.PAGE.read_text("utf-8"), flags=re.S
    )
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.S)
    for part in text.split("\n## "):
        title = part.partition("\n")[0]
        numbers = {n.rstrip(".,") for n in re.findall(r"(?<![A-Za-z@])\d[\d.,]*", part)}
        assert numbers - held - NOTATION == KEPT_NOWHERE.get(title, set()) - held - NOTATION, title
    rows = {row["key"]: row for row in found["NOT"]}
    down = {key for key, row in rows.items() if row["rank, factor"] > 1}
    assert down == {key for key, row in rows.items() if row["AUROC"] < 0.98} - {"young"}, "the last column"
    assert weights.WRONG == 1 / 5, "one witness in five"
    assert (len(weights.CURVES), len(weights.STRENGTHS)) == (4, 3), "four curves and three strengths"


def test_counts_and_limits_of_the_page_are_those_of_the_code():
    page = " ".join(conversation.PAGE.read_text("utf-8").split())
    people = results("misread.json")["people"]
    assert f"among {2 * people['test']} photographs ({people['test']} test people; " in page
    assert f"measured on {people['val']} validation people" in page
    assert f"on the {PARTS['val'][1]} validation people and measured on the {PARTS['test'][1]:,} test people" in page
    assert f"`interact/attributes.json` ({len(vocabulary())} questions)" in page
    assert f"over the best {CANDIDATES:,} candidates" in page
    assert f"at most {MAX_ROUNDS} rounds, {MAX_MARKS} marks and {MAX_PARTS} phrases per round" in page
    formula = load("demo").ranking.formula
    assert f"**{formula.fall_factor:g} r + {formula.fall_places:g}**" in page
    assert f"by at most {formula.reach:g} times" in page
    for answer, weight in ("yes", formula.answer_yes * formula.evidence), ("no", formula.answer_no * formula.negation):
        most = weight * np.log((1 - formula.error) / formula.error)
        assert f'an answer "{answer}" by at most {most:.2f}' in page
