"""Orders of training rows in which batches hold several photographs of one person.

Losses over identities (Propot's prototypes, VFE-TPS's calibration, triplets) have little to compare when a batch is
drawn at random among thousands of identities: two of three batches of 100 of CUHK-PEDES hold no two photographs of one
person.
"""

from __future__ import annotations

from itertools import islice

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


def paired_order(pids: np.ndarray, image_ids: np.ndarray, batch_size: int, share: float, seed: int) -> np.ndarray:
    """A permutation of the rows in which each batch holds up to share · batch_size rows that are pairs: two
    photographs of one person, side by side.

    pids, image_ids: (rows,); a negative image id is unknown and counts as a photograph of its own. Every row comes
    exactly once, so an epoch is as long as in random order. Where there are fewer pairs than asked for, they are spread
    evenly over the batches. The same seed gives the same order.
    """
    pids, image_ids = np.asarray(pids), np.asarray(image_ids)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pids))
    order = order[np.argsort(pids[order], kind="stable")]
    pairs = list[tuple[int, int]]()
    waiting: int | None = None
    for row in order.tolist():
        if waiting is None or pids[waiting] != pids[row]:
            waiting = row
        elif image_ids[row] < 0 or image_ids[waiting] != image_ids[row]:
            pairs.append((waiting, row))
            waiting = None
    batches = -(-len(pids) // batch_size)
    wanted = min(len(pairs), batches * int(share * batch_size / 2))
    kept = [pairs[i] for i in rng.permutation(len(pairs))[:wanted]]
    used = {row for pair in kept for row in pair}
    single = iter([row for row in rng.permutation(len(pids)).tolist() if row not in used])
    out, given = list[int](), 0
    for number in range(batches):
        size = min(batch_size, len(pids) - number * batch_size)
        upto = min(round(wanted * (number + 1) / batches), given + size // 2)
        own = [row for pair in kept[given:upto] for row in pair]
        given = upto
        own += islice(single, size - len(own))
        out += own
    rest = [row for pair in kept[given:] for row in pair] + list(single)
    return np.array(out + rest, np.int64)
