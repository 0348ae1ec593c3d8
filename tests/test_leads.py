"""One search: order, pins, hidden duplicates, choices and the sum of the shares."""

from __future__ import annotations

import numpy as np
import pytest

from descry.errors import UsageError
from descry.query import Filters, Query
from descry.ranking import Formula
from descry.search import Arrays, Fall, Term, _rising, _standing, in_threads, kth_largest, unit
from descry.search import rank as search


@pytest.fixture
def space() -> Arrays:
    vectors = unit(np.random.default_rng(3).normal(size=(400, 12)))
    vectors[101] = vectors[100]
    return Arrays(np.arange(0, 800, 2), vectors)


def text(seed: int = 0) -> list[Term]:
    return [Term("text", "red", 1.0, unit(np.random.default_rng(seed).normal(size=12)))]


def test_plain_search_is_the_order_of_cosines_and_ties_go_by_id(space: Arrays) -> None:
    twin = [Term("photo", "p", 1.0, space.vectors([200])[0])]
    leads = search(space, twin, Query(photos=b"p"), k=5)
    assert leads.ids[:2].tolist() == [200, 202]
    assert leads.scores[0] == leads.scores[1]
    similarity = space.scores(text()[0].vector[None])[0]
    leads = search(space, text(), Query(wanted="red"), k=400)
    assert (np.diff(similarity[leads.ids // 2]) <= 1e-6).all()
    np.testing.assert_allclose(leads.shares.sum(axis=0), leads.scores, atol=1e-6)
    np.testing.assert_allclose(leads.everything[leads.ids // 2], leads.scores, atol=1e-4)


def test_liked_stay_on_top_unliked_and_their_doubles_vanish(space: Arrays) -> None:
    plain = search(space, text(), Query(wanted="red"), k=10)
    last, first = int(search(space, text(), Query(wanted="red"), k=400).ids[-1]), int(plain.ids[0])
    leads = search(space, text(), Query(wanted="red", liked=(last,), unliked=(first, 200)), k=400)
    assert (leads.ids[0], leads.pinned) == (last, 1)
    assert not {first, 200, 202} & set(leads.ids.tolist())
    kept = search(space, text(), Query(wanted="red", unliked=(first,)), k=400, hide=False)
    assert first in kept.ids
    assert kept.ids.tolist().index(first) > 0


def test_marks_alone_are_a_query(space: Arrays) -> None:
    leads = search(space, [], Query(liked=(200,)), k=3)
    assert leads.ids[:2].tolist() == [200, 202]


def test_closest_of_these_moves_its_neighbours_up(space: Arrays) -> None:
    shown = tuple(search(space, text(), Query(wanted="red"), k=8).ids.tolist())
    choice = (shown[5], shown)
    before = search(space, text(), Query(wanted="red"), k=400).ids.tolist()
    after = search(space, text(), Query(wanted="red"), k=400, choices=[choice])
    assert after.ids.tolist().index(shown[5]) < before.index(shown[5])
    assert after.names[-1] == ("closest", "1 chosen")
    np.testing.assert_allclose(after.shares.sum(axis=0), after.scores, atol=1e-6)
    faded = search(space, text(), Query(wanted="red", closest=(shown[5],)), k=400)
    assert faded.ids.tolist().index(shown[5]) < before.index(shown[5])
    with pytest.raises(UsageError, match="not among them"):
        search(space, text(), Query(wanted="red"), choices=[(1, (2, 4))])


def test_what_left_the_gallery_is_left_out_of_what_was_said_before(space: Arrays) -> None:
    said = Query(wanted="red", liked=(4, 5), unliked=(7,), closest=(8, 9))
    choices = [(8, (8, 10, 11)), (9, (9, 8))]
    with pytest.raises(UsageError, match="holds no item 5"):
        search(space, text(), said, choices=choices)
    leads = search(space, text(), said, k=400, choices=choices, kept=True)
    assert leads.note.startswith("4 of the 7 items ")
    left = search(space, text(), Query(wanted="red", liked=(4,), closest=(8,)), k=400, choices=[(8, (8, 10))])
    assert leads.ids.tolist() == left.ids.tolist()
    np.testing.assert_array_equal(leads.scores, left.scores)
    assert left.note == search(space, text(), Query(wanted="red"), kept=True).note == ""
    with pytest.raises(UsageError, match="nothing to rank by"):
        search(space, [], Query(liked=(5,)), kept=True)


def test_leads_say_whether_they_are_all_there_are(space: Arrays) -> None:
    unliked = Query(wanted="red", unliked=(200,))
    hidden = 2  # the item and its double
    for query, there in ((Query(wanted="red"), 400), (unliked, 400 - hidden)):
        for k in (10, there - 1, there, 400):
            leads = search(space, text(), query, k=k)
            assert (len(leads.ids), leads.whole) == (min(k, there), k >= there)
    marked = Query(wanted="red", liked=(4, 8), filters=Filters(marked=True))
    assert [search(space, text(), marked, k=k).whole for k in (1, 2, 3)] == [False, True, True]


def test_filters_narrow_what_is_ranked_but_not_the_scores(space: Arrays) -> None:
    full = search(space, text(), Query(wanted="red", liked=(4, 8)), k=400)
    marked = search(space, text(), Query(wanted="red", liked=(4, 8), filters=Filters(marked=True)), k=400)
    assert sorted(marked.ids.tolist()) == [4, 8]
    score = dict(zip(full.ids.tolist(), full.scores.tolist(), strict=True))
    assert all(s == score[i] for i, s in zip(marked.ids.tolist(), marked.scores.tolist(), strict=True))


def test_why_names_the_largest_difference_first(space: Arrays) -> None:
    terms = [*text(), Term("not", "bag", 1.0, unit(np.random.default_rng(9).normal(size=12)), "not")]
    leads = search(space, terms, Query(wanted="red", unwanted="bag"), k=10)
    why = leads.why(1, 10)
    assert {kind for kind, _, _ in why} == {"text", "not"}
    assert sum(gap for *_, gap in why) == pytest.approx(leads.scores[0] - leads.scores[9], abs=1e-6)
    assert abs(why[0][2]) >= abs(why[1][2])
    with pytest.raises(UsageError, match="shown are 1 to 10"):
        leads.why(1, 11)


def test_refusals(space: Arrays) -> None:
    with pytest.raises(UsageError, match="holds no item 3"):
        search(space, text(), Query(wanted="red", liked=(3,)))
    with pytest.raises(UsageError, match="holds no items"):
        search(Arrays(np.zeros(0), np.zeros((0, 12))), text(), Query(wanted="red"))
    with pytest.raises(UsageError, match="ids must rise"):
        Arrays(np.array([2, 1]), np.zeros((2, 3)))


def test_candidates_beyond_the_closer_look_do_not_change_the_order(
    monkeypatch: pytest.MonkeyPatch, space: Arrays
) -> None:
    shown = tuple(search(space, text(), Query(wanted="red"), k=8).ids.tolist())
    whole = search(space, text(), Query(wanted="red"), k=10, choices=[(shown[2], shown)], formula=Formula(closest=0.1))
    monkeypatch.setattr("descry.search.CANDIDATES", 150)
    part = search(space, text(), Query(wanted="red"), k=10, choices=[(shown[2], shown)], formula=Formula(closest=0.1))
    assert whole.ids.tolist() == part.ids.tolist()


@pytest.mark.parametrize("kind", ["spread", "equal", "tied", "far", "double"])
@pytest.mark.parametrize("count", [1, 2, 700, 30_000])
def test_values_at_places_are_those_of_a_sort(kind: str, count: int) -> None:
    values = np.random.default_rng(4).normal(size=count).astype(np.float64 if kind == "double" else np.float32)
    values = {"equal": values * 0 + 0.3, "tied": np.round(values), "far": values**9}.get(kind, values)
    rising, at = np.sort(values), np.append(count - np.geomspace(1, count, 90).astype(int), 0)
    found, less = _standing(_rising(values.copy(), None), at)
    np.testing.assert_array_equal(found, rising[at])
    np.testing.assert_array_equal(less, np.searchsorted(rising, found))
    often = np.arange(count) % 3 + 1
    weighed, fewer = _standing(_rising(values, often), np.arange(int(often.sum())))
    every = np.sort(np.repeat(values, often))
    np.testing.assert_array_equal(weighed, every)
    np.testing.assert_array_equal(fewer, np.searchsorted(every, every))
    for k in {1, min(20, count), count}:
        assert kth_largest(values, k) == rising[-k]


def test_a_bound_on_falls_looks_few_of_a_gallery_up() -> None:
    """Also where a phrase raises the lowest item, which may then lose less than all others."""
    draws = np.random.default_rng(4)
    before = draws.normal(size=100_000).astype(np.float32)
    part = np.maximum(draws.normal(size=100_000).astype(np.float32) - 1, -2)
    part[before.argmin()] = 1.0
    given = before.copy(), part.copy()
    fall = Fall.of(before, part, Formula())
    np.testing.assert_array_equal((before, part), given)
    assert ((part < -fall.drop) & (before > fall.high) | (before < fall.low)).mean() < 0.1
    assert (fall.held(before, part.copy()) >= part).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_work_on_every_piece_once_and_an_error_is_raised(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    seen: list[int] = []
    assert in_threads(lambda i: seen.append(i) or i * i, range(100)) == [i * i for i in range(100)]
    assert sorted(seen) == list(range(100))
    assert in_threads(str, []) == []
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda i: 1 // (i - 40), range(100))
