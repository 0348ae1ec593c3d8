"""Exact means exact: every route, shape of segments, filter and tie gives the order of a float64 product."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from descry.errors import UsageError
from descry.gallery import scan
from descry.gallery.contract import Snapshot

from .plain_model import unit_rows


def snapshot(
    rows: np.ndarray, cuts: tuple[int, ...] = (), dead: tuple[int, ...] = (), ids: np.ndarray | None = None
) -> Snapshot:
    half = rows.astype(np.float16)
    live = np.ones(len(rows), bool)
    live[list(dead)] = False
    numbers = np.arange(1, len(rows) + 1) if ids is None else ids
    blocks = tuple(np.ascontiguousarray(part) for part in np.split(half, cuts))
    order = np.argsort(numbers[live])
    straight = live.all() and (np.diff(numbers) > 0).all()
    return Snapshot(1, 0, numbers[live][order], blocks, None if straight else np.flatnonzero(live)[order])


def truth(rows: np.ndarray, query: np.ndarray, k: int, live: np.ndarray, ids: np.ndarray) -> np.ndarray:
    scores = (rows.astype(np.float16).astype(np.float64) * query.astype(np.float64)).sum(axis=1)[live]
    return ids[live][np.lexsort((ids[live], -scores))[:k]]


@pytest.mark.parametrize(
    ("queries", "kind"), [(1, None), (3, None), (9, None), (17, None), (17, torch.bfloat16), (17, torch.float16)]
)
def test_nearest_is_the_float64_order(monkeypatch, kind, queries):
    monkeypatch.setattr(scan, "batch_kind", lambda: kind)
    rows, asked = unit_rows(9000, 64), unit_rows(queries, 64, seed=5)
    asked[0] *= 1e6  # beyond what float16 can hold
    rows[100:140] = rows[7]
    for cuts, dead in [((), ()), ((5000, 5001), ()), ((100, 4000), (0, 7, 8999))]:
        shot = snapshot(rows, cuts, dead)
        ids, scores = scan.nearest(shot, asked, 50)
        live = np.ones(9000, bool)
        live[list(dead)] = False
        for row, query in zip(ids, asked, strict=True):
            assert row.tolist() == truth(rows, query, 50, live, np.arange(1, 9001)).tolist()
        assert (np.diff(scores, axis=1) <= 0).all()


def test_equal_vectors_come_by_rising_id():
    rows = np.repeat(unit_rows(1, 64), 6000, axis=0)
    ids = np.random.default_rng(0).permutation(6000) + 1
    for queries in (1, 8):
        found, _ = scan.nearest(snapshot(rows, (1000,), ids=ids), unit_rows(queries, 64, seed=3), 30)
        assert found.tolist() == [list(range(1, 31))] * queries


@pytest.mark.parametrize(("queries", "kind"), [(8, None), (20, torch.bfloat16), (20, torch.float16)])
def test_sorted_rows_do_not_fool_the_batch(monkeypatch, queries, kind):
    monkeypatch.setattr(scan, "BLOCK", 512)
    monkeypatch.setattr(scan, "batch_kind", lambda: kind)
    asked = unit_rows(queries, 64, seed=2)
    rows = unit_rows(9000, 64)
    rows = rows[np.argsort(rows @ asked[0])]
    ids, _ = scan.nearest(snapshot(rows), asked, 10)
    for row, query in zip(ids, asked, strict=True):
        assert row.tolist() == truth(rows, query, 10, np.ones(9000, bool), np.arange(1, 9001)).tolist()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("queries", [1, 7, 20])
def test_filters_do_not_lose_exactness(monkeypatch, share, queries):
    """Rows that are let through are gathered where they are few, and masked where they are many; the answer is one."""
    monkeypatch.setattr(scan, "SMALL", 50)
    monkeypatch.setattr(scan, "batch_kind", lambda: torch.bfloat16)
    rows, asked = unit_rows(9000, 64), unit_rows(queries, 64, seed=1)
    allowed = np.random.default_rng(0).random(9000) < share
    for cuts, dead in [((), ()), ((2000, 5000), (0, 7, 8999))]:
        shot = snapshot(rows, cuts, dead)
        live = np.ones(9000, bool)
        live[list(dead)] = False
        ids, _ = scan.nearest(shot, asked, 20, allowed[live])
        for row, query in zip(ids, asked, strict=True):
            assert row.tolist() == truth(rows, query, 20, allowed & live, np.arange(1, 9001)).tolist()
    none, _ = scan.nearest(snapshot(rows), asked, 20, np.zeros(9000, bool))
    assert none.shape == (queries, 0)


def test_a_selective_filter_reads_only_what_it_lets_through(monkeypatch):
    read: list[int] = []
    monkeypatch.setattr(scan.numkong, "cdist", lambda query, rows, metric: read.append(len(rows)) or query @ rows.T)
    rows = unit_rows(60_000, 16)
    allowed = np.random.default_rng(0).random(60_000) < 0.1
    scan.nearest(snapshot(rows), unit_rows(1, 16, seed=1), 20, allowed)
    assert sum(read) == allowed.sum()


@pytest.mark.parametrize("count", [1, 4, 5, 6])
@pytest.mark.parametrize(("cuts", "dead"), [((), ()), ((300, 2100), (5, 700))])
def test_chosen_columns_are_compared_as_among_all(count, cuts, dead):
    rows, asked = unit_rows(5000, 32), unit_rows(count, 32, seed=3)
    shot = snapshot(rows, cuts, dead)
    chosen = np.flatnonzero(np.random.default_rng(2).random(len(shot)) < 0.4)
    np.testing.assert_array_equal(scan.similarities(shot, asked, chosen), scan.similarities(shot, asked)[:, chosen])


@pytest.mark.parametrize("length", [1e-6, 1.0, 1e6])
def test_bounds_hold_for_queries_of_any_length(length):
    rows, asked = unit_rows(3000, 128), unit_rows(3, 128, seed=4) * np.float32(length)
    exact = asked.astype(np.float64) @ rows.astype(np.float16).astype(np.float64).T
    for queries in (1, 3):
        found = scan.similarities(snapshot(rows), asked[:queries])
        assert np.abs(found - exact[:queries]).max() < scan.half_bound(length, 128)


def test_bounds_hold_on_the_worst_of_many():
    rows, asked = unit_rows(4000, 512), unit_rows(8, 512, seed=4)
    half = rows.astype(np.float16)
    exact = half.astype(np.float64) @ asked.T.astype(np.float64)
    block, queries = torch.from_numpy(half), torch.from_numpy(asked)
    one = np.stack([scan.similarities(snapshot(rows), q[None])[0] for q in asked], axis=1)
    swept = scan.similarities(snapshot(rows), asked).T
    for kind in (torch.bfloat16, torch.float16):
        many = scan._many(block, queries, kind).double().numpy()
        assert np.abs(many - exact).max() < scan.batch_bound(kind, 1.0, 512)
    assert np.abs(one - exact).max() < scan.half_bound(1.0, 512)
    assert np.abs(swept - exact).max() < scan.half_bound(1.0, 512)


def test_similarities_are_those_of_all_live_rows():
    rows, asked = unit_rows(5000, 64), unit_rows(3, 64, seed=9)
    shot = snapshot(rows, (2048,), (1, 2, 3))
    found = scan.similarities(shot, asked)
    live = np.delete(rows, [1, 2, 3], axis=0)
    assert found.shape == (3, 4997)
    np.testing.assert_allclose(found, asked @ live.T, atol=2e-3)


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize(("cuts", "dead"), [((), ()), ((300,), (5, 700)), ((1, 299, 556), (0, 1, 2, 899))])
def test_one_pass_compares_every_vector_with_every_row(count, cuts, dead):
    rows, asked = unit_rows(900, 32), unit_rows(count, 32, seed=3)
    found = scan.similarities(snapshot(rows, cuts, dead), asked)
    live = np.delete(rows.astype(np.float16).astype(np.float64), list(dead), axis=0)
    np.testing.assert_allclose(found, asked @ live.T, atol=scan.half_bound(1.0, 32))


def test_answers_do_not_depend_on_threads():
    rows, asked = unit_rows(20000, 64), unit_rows(8, 64, seed=6)
    shot = snapshot(rows, (7000,))
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            found.append((*scan.nearest(shot, asked, 40), scan.similarities(shot, asked[:2])))
    finally:
        torch.set_num_threads(before)
    assert (found[0][0] == found[1][0]).all()
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-6)
    np.testing.assert_allclose(found[0][2], found[1][2], atol=1e-3)


@pytest.mark.parametrize(
    ("vectors", "k"), [(np.zeros((1, 3)), 5), (np.full((1, 64), np.nan), 5), (np.zeros((1, 64)), 0)]
)
def test_what_cannot_be_asked_is_refused(vectors, k):
    with pytest.raises(UsageError):
        scan.nearest(snapshot(unit_rows(10, 64)), vectors, k)


def test_an_empty_gallery_answers_nothing():
    ids, scores = scan.nearest(Snapshot(0, 0, np.zeros(0, np.int64), (), None), unit_rows(2), 5)
    assert ids.shape == scores.shape == (2, 0)
