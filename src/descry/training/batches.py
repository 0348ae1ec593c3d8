"""From training rows to batches of tensors. Every draw is a function of (seed, epoch, row) or (seed, step), so a
resumed run, another number of workers or of decoding threads sees the same data.

The second half of the file says in which order rows come where batches must hold several photographs of one person.
Losses over identities (Propot's prototypes, VFE-TPS's calibration, triplets) have little to compare when a batch is
drawn at random among thousands of identities: two of three batches of 100 of CUHK-PEDES hold no two photographs of one
person.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from .. import images
from ..augment import augmentation
from ..errors import DataError, UsageError, nearest
from ..methods import Batch, Recipe
from ..methods.contract import SAMPLERS
from ..records import Example
from ..sketching import fit_to_ink
from ..text import Words, clean_caption, mask_tokens

AHEAD = 2
"""Batches that are decoded in advance."""
MEMORY = 2_000_000_000  # bytes of decoded pictures kept, so that small data sets are decoded once


def mix(*numbers: int) -> int:
    """One seed from several numbers, without correlation between neighbours."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "big")


class Batches:
    """Batches of a data set for one process of `world`, in an order that the seed alone decides.

    steps: batches of an epoch. In one process the last may be incomplete, where drop_last is off or none is complete.
    needs: which of "text" and "sketch" a batch holds beside image, pid, image_id and row (its number).
    Rows without them are left out.
    "caption" instead of "text" keeps rows without one: their text is empty, and told (B,) is 0 there and 1 elsewhere.
    """

    def __init__(
        self,
        rows: Sequence[Example],
        words: Words,
        size: tuple[int, int],
        recipe: Recipe,
        needs: frozenset[str],
        seed: int,
        rank: int = 0,
        world: int = 1,
        threads: int = 4,
        device: torch.device | str = "cpu",
    ):
        self.rows = [r for r in rows if ("text" not in needs or r.caption) and ("sketch" not in needs or r.sketches)]
        if len(self.rows) < len(rows) and not self.rows:
            raise DataError(
                f"none of the {len(rows)} training rows has {' and '.join(sorted(needs))}, which this method needs"
            )
        if recipe.batch_size % world:
            raise UsageError(f"a batch of {recipe.batch_size} cannot be shared by {world} processes; choose a multiple")
        if recipe.sampler not in SAMPLERS:
            raise UsageError(f"sampler={recipe.sampler!r} was given; {nearest(recipe.sampler, SAMPLERS)}")
        self.words, self.size, self.recipe, self.needs = words, size, recipe, needs
        self.seed, self.rank, self.world, self.threads, self.device = seed, rank, world, threads, device
        self._pids = np.array([r.pid for r in self.rows])
        self.augment = augmentation(recipe.augment)
        if not self.rows:
            raise DataError("there are no training rows")
        count = len(self.order(0))  # the same in every epoch
        full, rest = divmod(count, recipe.batch_size)
        if world > 1 and not full:  # processes must hold equally many rows of a batch
            raise UsageError(
                f"{count} rows do not fill a batch of {recipe.batch_size}, which {world} processes share; "
                "choose a smaller --batch-size, or train in one process"
            )
        whole = bool(full) and (recipe.drop_last or world > 1)
        self.steps = full if whole else full + bool(rest)
        self._kept: dict[tuple[str, bool], np.ndarray] = {}

    def order(self, epoch: int) -> np.ndarray:
        """The order of the rows in an epoch, as the recipe's sampler says."""
        recipe, seed = self.recipe, mix(self.seed, 1, epoch)
        if recipe.sampler == "identity":
            return identity_order(self._pids, recipe.batch_size, recipe.instances, seed)
        if recipe.sampler == "pairs":
            images = np.array([r.image_id for r in self.rows])
            return paired_order(self._pids, images, recipe.batch_size, recipe.paired, seed)
        return np.random.default_rng(mix(self.seed, 1, epoch)).permutation(len(self.rows))

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from the one numbered `skip`; the next AHEAD are decoded while one is being used."""
        order, size = self.order(epoch), self.recipe.batch_size
        with ThreadPoolExecutor(max(1, self.threads)) as pool, ThreadPoolExecutor(AHEAD) as ahead:

            def read(step: int) -> Batch:
                return self._pinned(self._read(order[step * size : (step + 1) * size], epoch, step, pool))

            coming: deque[Future[Batch]] = deque()
            try:
                for step in range(skip, self.steps):
                    while len(coming) <= AHEAD and step + len(coming) < self.steps:
                        coming.append(ahead.submit(read, step + len(coming)))
                    yield self._finish(coming.popleft().result(), epoch, step)
            finally:
                for waiting in coming:
                    waiting.cancel()

    def _pinned(self, batch: Batch) -> Batch:
        """In page-locked memory, where the batch goes to a GPU."""
        return {k: v.pin_memory() for k, v in batch.items()} if torch.device(self.device).type == "cuda" else batch

    def whole(self, order: np.ndarray | None = None) -> Iterator[Batch]:
        """Every row once, in this order or their own, without augmentation, on every process: for what a method
        prepares in advance.
        """
        order = np.arange(len(self.rows)) if order is None else order
        with ThreadPoolExecutor(max(1, self.threads)) as pool:
            for first in range(0, len(order), self.recipe.batch_size):
                batch = self._rows(order[first : first + self.recipe.batch_size], 0, 0, pool)
                batch = {k: v.to(self.device) for k, v in batch.items()}
                yield batch | {k: v.float().div_(255) for k, v in batch.items() if k in ("image", "sketch")}

    def share(self) -> Iterator[Batch]:
        """`whole`, but each process reads only its share of the rows. All rows of one photograph come to one process,
        so that it is known there which come for the first time; a process may come by no row.
        """
        owner = np.array([r.image_id if r.image_id >= 0 else i for i, r in enumerate(self.rows)]) % self.world
        return self.whole(np.flatnonzero(owner == self.rank))

    def _finish(self, batch: Batch, epoch: int, step: int) -> Batch:
        """Onto the device, pixels to [0, 1], augmentation: here rather than in the reading thread, which would fight
        for cores. On a GPU the reader has put the rows into page-locked memory, so that the copy waits for nothing.
        """
        generator = torch.Generator().manual_seed(mix(self.seed, 3, epoch, step, self.rank))
        batch = {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
        for name in ("image", "sketch"):
            if name in batch:
                batch[name] = self.augment(batch[name].float().div_(255), generator)
        return batch

    def _read(self, numbers: np.ndarray, epoch: int, step: int, pool: ThreadPoolExecutor) -> Batch:
        """One batch as it lies on disk: pictures as uint8, texts as ids."""
        share = -(-len(numbers) // self.world)
        return self._rows(numbers[self.rank * share : (self.rank + 1) * share], epoch, step, pool)

    def _rows(self, numbers: np.ndarray, epoch: int, step: int, pool: ThreadPoolExecutor) -> Batch:
        rows = [self.rows[i] for i in numbers]
        draws = [np.random.default_rng(mix(self.seed, 2, epoch, int(i))) for i in numbers]
        chosen = [r.images[d.integers(len(r.images))] for r, d in zip(rows, draws, strict=True)]
        batch = {
            "image": self._pictures(chosen, pool),
            "pid": torch.tensor([r.pid for r in rows]),
            "image_id": torch.tensor([r.image_id for r in rows]),
            "row": torch.tensor(numbers),
        }
        if "sketch" in self.needs:
            sketches = [r.sketches[d.integers(len(r.sketches))] for r, d in zip(rows, draws, strict=True)]
            batch["sketch"] = self._pictures(sketches, pool, self.recipe.fit_sketches)
        if "caption" in self.needs:
            batch["told"] = torch.tensor([int(bool(r.caption)) for r in rows])
        if self.needs & {"text", "caption"}:
            generator = torch.Generator().manual_seed(mix(self.seed, 6, epoch, step, self.rank))
            batch |= self._texts(rows, draws, generator)
        return batch

    def _texts(self, rows: list[Example], draws: list[np.random.Generator], generator: torch.Generator) -> Batch:
        texts = []
        for row, draw in zip(rows, draws, strict=True):
            back = draw.random() < self.recipe.back_translation and row.back_translation
            text = row.back_translation if back else row.caption
            texts.append(clean_caption(text, self.words.length) if self.recipe.clean_captions else text)
        ids = self.words.ids(texts)
        if not self.recipe.mask_text:
            return {"text": ids}
        masked, labels = mask_tokens(ids, self.words, generator, self.recipe.mask_text)
        return {"text": ids, "masked_text": masked, "token_labels": labels}

    def _pictures(self, paths: list[str], pool: ThreadPoolExecutor, fit: bool = False) -> Tensor:
        kept = [self._kept.get((p, fit)) for p in paths]
        missing = iter(
            pool.map(lambda p: self._picture(p, fit), [p for p, k in zip(paths, kept, strict=True) if k is None])
        )
        return torch.from_numpy(np.stack([next(missing) if k is None else k for k in kept]))

    def _picture(self, path: str, fit: bool) -> np.ndarray:
        pixels = images.resize(fit_to_ink(path).picture, self.size) if fit else images.load(path, self.size)
        if len(self._kept) * pixels.nbytes < MEMORY:
            self._kept[path, fit] = pixels
        return pixels


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
