"""The formula by sums over all vectors: the same means, spreads, scores and leads as by comparing every vector."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from descry import search
from descry.gallery import scan
from descry.gallery.contract import Binding, Entry
from descry.gallery.local import LocalStore
from descry.query import Filters, Query
from descry.ranking import Formula
from descry.search import Term, fit_scores, rank, stack, unit

D, N = 16, 1500
RNG = np.random.default_rng(11)
MIDDLE = RNG.normal(size=D)
V = unit(RNG.normal(size=(12, D)) + MIDDLE / 2)


def entries(numbers: range) -> list[Entry]:
    return [Entry(f"/c/{i:05d}.jpg", i.to_bytes(32, "big"), 1, 1, camera=f"cam{i % 50 and 1 + i % 7}") for i in numbers]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """1,500 items of which some were removed and some came later, some of them equal."""
    made = LocalStore.create(tmp_path_factory.mktemp("sums") / "gallery", Binding("stub", "0" * 64, D, {}))
    vectors = unit(np.random.default_rng(3).normal(size=(N + 60, D)) + MIDDLE / 2)
    vectors[700:720] = vectors[7]
    ids = made.add(entries(range(N)), vectors[:N])
    made.delete(ids[30:90])
    made.add(entries(range(N, N + 60)), vectors[N:])
    yield made
    made.close()


PARTS = (("sketch", "drawing", V[0] * 0.6), ("text", "red jacket", V[1] * 0.5))
BASES = {
    "composed": [Term("sketch+text", "red", 1.0, unit(V[0] * 0.6 + V[1] * 0.5), parts=PARTS)],
    "two": [Term("photo", "photo", 0.5, V[0]), Term("text", "red", 0.5, V[1])],
    "sketch beside words": [Term("sketch", "sketch", 0.5, V[0]), Term("text", "red", 0.5, V[1])],
    "stick": [Term("text", "red", 1.0, V[1]), Term("sketch", "stick figure", 1.0, V[2], "stick")],
    "phrases alone": [],
    "a part that hardly differs": [
        dataclasses.replace(Term("photo", "p", 1.0, V[0]), parts=(("a", "b", V[0] * 1e-6),))
    ],
}
PHRASES = [
    Term("text", "hat", 1.0, V[3], "evidence"),
    Term("text", "bag", 0.5, V[4], "evidence", curve=(2.5, 0.3)),
    Term("not", "coat", 1.0, V[5], "not", strength=0.4),
]
FORMULAS = [Formula(), Formula(decided=0.9), Formula(version=3), Formula(fusion="ranks")]


def cases() -> Any:
    for name, base in BASES.items():
        for phrases in (PHRASES, []):
            if base or phrases:
                for formula in FORMULAS:
                    yield pytest.param(
                        [*base, *phrases], formula, id=f"{name}-{len(phrases)}-{formula.version}{formula.fusion}"
                    )


def test_mean_and_spread_of_the_gallery_are_exact(store) -> None:
    with store.reading() as rows:
        exact = V.astype(np.float64) @ rows.vectors(np.arange(len(rows))).astype(np.float64).T
        mean, spread = store.moments(rows).of(V)
    np.testing.assert_allclose(mean, exact.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(spread, exact.std(axis=1), rtol=1e-9)


@pytest.mark.parametrize(("terms", "formula"), list(cases()))
def test_leads_by_sums_are_those_of_a_pass(store, monkeypatch, terms, formula) -> None:
    """Also with marks, and with filters that let few items through, whose vectors alone are compared then."""
    space = scan.Rows(store, store.snapshot())
    assert space.sums() is not None
    ids = space.ids.tolist()
    plain = Query(wanted="red")
    marks = plain.replace(liked=(ids[40],), unliked=(ids[700],), closest=(ids[9],))
    few = Filters(cameras=("cam0", "cam3"))
    queries = [plain, marks, plain.replace(filters=few), marks.replace(filters=few)]
    queries.append(marks.replace(filters=Filters(marked=False)))
    by_sums = [rank(space, terms, query, 12, formula) for query in queries]
    everything = [leads.everything for leads in by_sums]
    monkeypatch.setattr(space, "sums", lambda: None)
    for query, found, scores in zip(queries, by_sums, everything, strict=True):
        wanted = rank(space, terms, query, 12, formula)
        gaps = np.diff(wanted.scores, prepend=np.inf, append=-np.inf)
        clear = (np.abs(gaps[:-1]) > 1e-3) & (np.abs(gaps[1:]) > 1e-3)  # others may change places by rounding
        assert found.ids[clear].tolist() == wanted.ids[clear].tolist()
        assert set(found.ids[:-2].tolist()) <= set(wanted.ids.tolist())
        assert found.names == wanted.names
        np.testing.assert_allclose(found.scores, wanted.scores, atol=2e-3)
        np.testing.assert_allclose(found.shares[:, clear], wanted.shares[:, clear], atol=2e-3)
        np.testing.assert_allclose(found.shares.sum(axis=0), found.scores, atol=1e-5)
        np.testing.assert_allclose(scores, wanted.everything, atol=2e-2)
        assert (found.considered, found.pinned, found.whole) == (wanted.considered, wanted.pinned, wanted.whole)


def test_filters_change_no_score(store) -> None:
    space = scan.Rows(store, store.snapshot())
    terms, few = BASES["two"], Filters(cameras=("cam0",))
    narrow, wide = (rank(space, terms, Query(wanted="red", filters=f), N) for f in (few, Filters()))
    scores = dict(zip(wide.ids.tolist(), wide.scores.tolist(), strict=True))
    assert 0 < len(narrow.ids) < 100
    assert narrow.scores.tolist() == [scores[i] for i in narrow.ids.tolist()]
    np.testing.assert_array_equal(narrow.everything, wide.everything)


class Counting:
    """A space that counts what is compared."""

    def __init__(self, space: Any):
        self.space, self.compared = space, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.space, name)

    def scores(self, vectors: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        self.compared.append((len(vectors), len(self.ids) if columns is None else len(columns)))
        return self.space.scores(vectors, columns)


def test_a_round_of_nine_vectors_is_one_pass_of_six(store) -> None:
    """A composition of two parts, two phrases, two NOT, like, unlike: what is linear is one vector."""
    space = Counting(scan.Rows(store, store.snapshot()))
    ids = space.ids.tolist()
    terms = [*BASES["composed"], *PHRASES, dataclasses.replace(PHRASES[2], vector=V[6])]
    query = Query(wanted="red", liked=(ids[4],), unliked=(ids[9],))
    assert len(stack([*terms, *search.mark_terms(V[:1], V[1:2])])) == 9
    rank(space, terms, query)
    assert space.compared == [(6, len(ids))]


def test_a_filter_that_lets_few_through_compares_only_those(store) -> None:
    space = Counting(scan.Rows(store, store.snapshot()))
    found = rank(space, BASES["two"], Query(wanted="red", filters=Filters(cameras=("cam0",))))
    assert space.compared == [(1, found.considered)]
    found.everything  # noqa: B018  (the others are compared when they are asked for)
    assert space.compared[1:] == [(1, len(space.ids))]


def test_sums_belong_to_one_moment(tmp_path) -> None:
    store = LocalStore.create(tmp_path / "gallery", Binding("stub", "0" * 64, D, {}))
    vectors = unit(np.random.default_rng(5).normal(size=(N, D)))
    store.add(entries(range(600)), vectors[:600])
    before = store.snapshot()
    first = store.moments(before)
    assert first
    assert first.count == 600
    store.add(entries(range(600, 700)), vectors[600:700])
    assert store.moments(before) is first  # kept
    fresh = LocalStore(store.folder)
    assert fresh.moments(before) is None  # moved on: a space of then compares its own vectors
    assert scan.Rows(fresh, before).sums() is None
    assert fresh.moments(fresh.snapshot()).count == 700
    store.delete([1, 2, 3])
    assert store.moments().count == 697
    fresh.rows.moments = lambda connection: dataclasses.replace(first, count=698)  # of other rows: verify tells of it
    assert fresh.moments() is None
    fresh.close()
    store.close()


def test_small_galleries_are_compared(store, tmp_path) -> None:
    small = LocalStore.create(tmp_path / "gallery", Binding("stub", "0" * 64, D, {}))
    small.add(entries(range(100)), unit(np.random.default_rng(5).normal(size=(100, D))))
    assert scan.Rows(small, small.snapshot()).sums() is None
    small.close()


def test_equal_items_are_compared_and_not_summed(tmp_path) -> None:
    """Spreads that are no larger than the rounding of a cosine are taken from those cosines."""
    store = LocalStore.create(tmp_path / "gallery", Binding("stub", "0" * 64, D, {}))
    store.add(entries(range(600)), np.repeat(V[:1], 600, axis=0))
    space = scan.Rows(store, store.snapshot())
    terms = [Term("text", "t", 1.0, V[1]), *PHRASES]
    leads = rank(space, terms, Query(wanted="red"), 5)
    assert leads.ids.tolist() == [1, 2, 3, 4, 5]
    space.sums = lambda: None
    np.testing.assert_array_equal(leads.scores, rank(space, terms, Query(wanted="red"), 5).scores)
    store.close()


def test_a_filter_is_asked_of_the_database_once(store) -> None:
    asked: list[str] = []
    rows = store.snapshot()
    with store.database.reading() as connection:
        connection.set_trace_callback(lambda sql: asked.append(sql) if "camera IN" in sql else None)
        filters = Filters(cameras=("cam5",))
        first = store.allowed(rows, filters)
        for marked in (None, True, False):
            again = store.allowed(rows, dataclasses.replace(filters, marked=marked), rows.ids[:90].tolist())
            among = np.arange(len(rows)) < 90
            np.testing.assert_array_equal(again, first if marked is None else first & (among == marked))
        connection.set_trace_callback(None)
    assert len(asked) == 1
    number = store.add(entries(range(5000, 5001)), V[:1])[0]  # any change of the items: asked again
    later = store.snapshot()
    assert store.allowed(later, Filters(cameras=(f"cam{1 + 5000 % 7 if 5000 % 50 else 0}",)))[-1]
    store.delete([number])


def test_fit_by_sums_refuses_what_a_pass_refuses() -> None:
    class Nothing:
        def of(self, query: np.ndarray) -> Any:
            return np.full(len(query), np.nan), np.full(len(query), np.nan)

    from descry.errors import UsageError

    with pytest.raises(UsageError, match="finite"):
        fit_scores([Term("text", "t", 1.0, V[0])], np.ones((1, 3)), Formula(), Nothing())
