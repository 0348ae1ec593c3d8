import numpy as np
import pytest
import torch

from descry.errors import UsageError
from descry.metrics import COUNTED, rank, rank_people

S = np.sin(0.7 * np.arange(36).reshape(4, 9) ** 1.5)
G = np.array([0, 0, 1, 1, 1, 2, 2, 2, 0])


def relevant(q):
    return np.array(q)[:, None] == G


def slow(similarity, wanted, ignored, missing):
    """The definitions, word by word."""
    firsts, aps, inps = [], [], []
    for s, w, ig in zip(similarity, wanted, ignored, strict=True):
        order = sorted((j for j in range(len(s)) if not ig[j]), key=lambda j: (-s[j], j))
        hits = [r + 1 for r, j in enumerate(order) if w[j]]
        firsts.append(hits[0] if hits else None)
        if hits:
            aps.append(sum((n + 1) / r for n, r in enumerate(hits)) / len(hits))
            inps.append(len(hits) / hits[-1])
    counted = len(firsts) if missing == "miss" else len(aps)
    at = [100 * sum(f is not None and f <= k for f in firsts) / counted for k in (1, 5, 10)]
    return [*at, 100 * np.mean(aps), 100 * np.mean(inps)]


def test_reference_values():
    r = rank(S, relevant([0, 1, 2, 2]))
    assert [r.r1, r.cmc[1], r.cmc[2], r.map, r.minp] == pytest.approx([25, 50, 100, 52.14286, 46.42857], rel=1e-4)


def test_reference_values_with_an_ignored_photograph_each():
    ignored = np.zeros((4, 9), bool)
    ignored[np.arange(4), [0, 3, 5, 7]] = True
    r = rank(torch.tensor(S), torch.tensor(relevant([0, 1, 2, 2])), torch.tensor(ignored))
    assert [r.r1, r.r5, r.map, r.minp] == pytest.approx([25, 100, 50.83334, 47.5], rel=1e-4)


def test_reference_values_with_an_absent_person():
    r = rank(S, relevant([0, 1, 2, 7]))
    assert [r.r1, r.r5, r.map, r.minp] == pytest.approx([25, 75, 54.709, 45.2381], rel=1e-4)
    assert r.without_relevant == 1
    assert rank(S, relevant([0, 1, 2, 7]), missing="drop").r1 == pytest.approx(100 / 3)


@pytest.mark.parametrize("seed", range(60))
def test_slow_loop_on_random_cases(seed):
    rng = np.random.default_rng(seed)
    q, g = rng.integers(1, 8), rng.integers(2, 40)
    similarity = (
        rng.integers(-3, 4, (q, g)) / 3 if seed % 2 else rng.normal(size=(q, g))
    )  # every other one full of ties
    wanted, ignored = rng.random((q, g)) < 0.2, rng.random((q, g)) < 0.2
    wanted[0, 0], ignored[0, 0] = True, False
    missing = "miss" if seed % 3 else "drop"
    r = rank(similarity, wanted, ignored, missing)
    assert [r.r1, r.r5, r.r10, r.map, r.minp] == pytest.approx(slow(similarity, wanted, ignored, missing))


def test_ties_keep_the_gallery_order():
    assert rank(np.zeros((1, 5)), [[True, False, False, False, False]]).r1 == 100
    assert rank(np.zeros((1, 5)), [[False, False, False, False, True]]).first[0] == 5


@pytest.mark.parametrize(
    ("similarity", "wanted", "text"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4), bool), "queries, photographs"),
        (np.full((1, 3), np.nan), np.ones((1, 3), bool), "not finite"),
        (np.zeros((1, 3)), np.zeros((1, 3), bool), "no query has a relevant"),
        (np.zeros((0, 3)), np.zeros((0, 3), bool), "nothing to rank"),
    ],
)
def test_refusals(similarity, wanted, text):
    with pytest.raises(UsageError, match=text):
        rank(similarity, wanted)
    with pytest.raises(UsageError, match="allowed"):
        rank(np.zeros((1, 1)), np.ones((1, 1), bool), missing="maybe")


def slow_case(seed):
    """A random case: every other one full of ties; ignored photographs, queries without a match, negative scores."""
    rng = np.random.default_rng(seed)
    q, g = rng.integers(1, 8), rng.integers(2, 60)
    similarity = rng.integers(-3, 4, (q, g)) / 3 if seed % 2 else rng.normal(size=(q, g))
    asked, people = rng.integers(0, 6, q), rng.integers(0, 5, g)
    asked[0] = people[0]
    hidden = rng.random((q, g)) < 0.2
    hidden[0, 0] = False
    return similarity, asked, people, hidden, "miss" if seed % 3 else "drop"


def check_case(seed):
    similarity, asked, people, hidden, missing = slow_case(seed)
    wanted = asked[:, None] == people[None, :]
    expected = slow(similarity, wanted, hidden, missing)
    lists = [np.flatnonzero(row) for row in hidden]
    for found in (
        rank(similarity, wanted, hidden, missing),
        rank_people(similarity, asked, people, lists, missing),
        rank_people(similarity, asked, people, lists, missing, cells=2 * len(people)),
    ):
        assert [found.r1, found.r5, found.r10, found.map, found.minp] == pytest.approx(expected)


@pytest.mark.parametrize("block", range(5))
def test_ranking_by_identity_equals_the_slow_loop(block):
    for seed in range(20 * block, 20 * (block + 1)):
        check_case(seed)


@pytest.mark.long
def test_1000_random_cases_equal_the_slow_loop():
    for seed in range(1000):
        check_case(seed)


@pytest.mark.parametrize("relevant_ones", [1, COUNTED, COUNTED + 1, 60])
@pytest.mark.parametrize("values", [3, 1000])
def test_few_and_many_relevant_ones_are_ranked_alike(relevant_ones, values):
    rng = np.random.default_rng(relevant_ones)
    similarity = rng.integers(-values, values, (4, 120)).astype(np.float32)
    wanted = np.zeros((4, 120), bool)
    for row in wanted:
        row[rng.choice(120, relevant_ones, replace=False)] = True
    found = rank(similarity, wanted)
    expected = slow(similarity, wanted, np.zeros_like(wanted), "miss")
    assert [found.r1, found.r5, found.r10, found.map, found.minp] == pytest.approx(expected)


def test_vectors_are_ranked_as_their_products_block_by_block():
    rng = np.random.default_rng(0)
    queries, photos = rng.normal(size=(23, 8)).astype(np.float32), rng.normal(size=(50, 8)).astype(np.float32)
    asked, people = rng.integers(0, 9, 23), rng.integers(0, 9, 50)
    ignored = [[i % 50] for i in range(23)]
    whole = rank_people(queries @ photos.T, asked, people, ignored)
    blocks = rank_people((queries, photos), asked, people, ignored, cells=150)
    assert (whole.first == blocks.first).all()
    assert whole.as_dict() == pytest.approx(blocks.as_dict())


def test_a_memory_map_is_ranked_and_not_changed(tmp_path):
    scores = np.random.default_rng(0).random((6, 9)).astype(np.float32)
    np.save(tmp_path / "s.npy", scores)
    held = np.load(tmp_path / "s.npy", mmap_mode="r")
    found = rank_people(held, np.arange(6) % 3, np.arange(9) % 3, [[0]] * 6)
    assert found.as_dict() == rank_people(scores, np.arange(6) % 3, np.arange(9) % 3, [[0]] * 6).as_dict()
    assert (scores == np.load(tmp_path / "s.npy")).all()


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        (np.zeros((2, 3)), "scores of shape"),
        ((np.zeros((3, 2)), np.zeros((4, 5))), "scores of shape"),
        (np.full((3, 4), np.inf), "not finite"),
        (np.zeros((3, 0)), "scores of shape"),
    ],
)
def test_ranking_by_identity_refuses(scores, text):
    with pytest.raises(UsageError, match=text):
        rank_people(scores, [0, 1, 2], [0, 1, 2, 3])
    with pytest.raises(UsageError, match="allowed"):
        rank_people(np.zeros((1, 1)), [0], [0], missing="maybe")
