"""The order of training rows in which every batch holds several photographs of each of its people (P identities × K
rows).

Losses over identities (Propot's prototypes, VFE-TPS's calibration, triplets) have little to compare when a batch holds
thousands of identities' single photographs; the random order of the papers then only repels.
"""

from __future__ import annotations

import numpy as np

from .errors import UsageError


def identity_order(pids: np.ndarray, batch_size: int, instances: int, seed: int) -> np.ndarray:
    """Row numbers in an order whose consecutive batches hold batch_size / instances people with `instances` rows each.

    pids: (rows,) identity of each row. Every row comes at least once; a person whose rows are no multiple of
    `instances` has some of them twice, so an order may be longer than `pids`; its length does not depend on the seed. A
    batch repeats a person only when no other is left. The same seed gives the same order. Raises UsageError when the
    batch cannot be shared equally.
    """
    pids = np.asarray(pids)
    if instances < 1 or batch_size % instances:
        raise UsageError(
            f"a batch of {batch_size} cannot hold {instances} rows of each person; choose a divisor of the batch"
        )
    rng = np.random.default_rng(seed)
    groups = _groups(pids, instances, rng)
    people = batch_size // instances
    order: list[np.ndarray] = []
    waiting: list[tuple[int, np.ndarray]] = []
    coming = iter(groups)
    exhausted = False
    while not exhausted or waiting:
        batch: list[np.ndarray] = []
        seen: set[int] = set()
        later: list[tuple[int, np.ndarray]] = []
        while len(batch) < people and (waiting or not exhausted):
            group = waiting.pop(0) if waiting else next(coming, None)
            if group is None:
                exhausted = True
            elif group[0] in seen:
                later.append(group)
            else:
                seen.add(group[0])
                batch.append(group[1])
        while len(batch) < people and later:
            batch.append(later.pop(0)[1])
        waiting = later + waiting
        order += batch
    return np.concatenate(order) if order else np.zeros(0, np.int64)


def _groups(pids: np.ndarray, instances: int, rng: np.random.Generator) -> list[tuple[int, np.ndarray]]:
    """Groups of `instances` rows of one person, each person's groups spread evenly over the epoch."""
    by_person = np.argsort(pids, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(pids[by_person]) != 0]) if len(pids) else np.zeros(0, np.int64)
    keyed: list[tuple[float, int, np.ndarray]] = []
    for rows in np.split(by_person, starts[1:]):
        if not len(rows):
            continue
        count = -(-len(rows) // instances)
        full = np.concatenate([rng.permutation(rows) for _ in range(-(-count * instances // len(rows)))])[
            : count * instances
        ]
        for k, group in enumerate(full.reshape(count, instances)):
            keyed.append(((k + rng.random()) / count, int(pids[group[0]]), group))
    keyed.sort(key=lambda item: item[0])
    return [(pid, group) for _, pid, group in keyed]
