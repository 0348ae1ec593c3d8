"""What a method keeps for itself while it learns, for figures: hidden patches drawn anew, and prototypes.

It needs all weights of the last step (`training.safetensors`), not only those that a search needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descry import images
from descry.checkpoint import load_training
from descry.embed import Model
from descry.errors import DataError, UsageError
from descry.methods import method_class
from descry.methods.vfe_tps import pixel_mask, random_mask
from descry.records import Benchmark, Dataset, Example, Photo


@dataclass(frozen=True)
class Hidden:
    """Photographs of which parts were hidden. photos: (B, 3, H, W) in [0, 1]; predicted: the same, normalised; mask:
    (B, patches), True where hidden; patch: side in pixels.
    """

    photos: Tensor
    predicted: Tensor
    mask: Tensor
    patch: int


def whole(model: Model, run: Path) -> Any:
    """The method with all weights of its last step. Raises ModelMissing where the run folder does not hold them."""
    tensors, _ = load_training(run / "training.safetensors")
    identities = int(model.config["about"]["identities"])
    held = method_class(model.config["method"])(model.clip, model.words, model.method.config, identities).eval()
    held.load_state_dict({k.removeprefix("method."): v for k, v in tensors.items() if k.startswith("method.")})
    return held


def hidden(model: Model, run: Path, bench: Benchmark, rows: int = 32) -> Hidden:
    """Masked image modelling (VFE-TPS §3.2.1) of the first photographs that a benchmark's words ask for."""
    if model.config["method"] != "vfe_tps" or model.method.config.mim == "off":
        raise UsageError(f"{run} hides nothing when it learns: give a run of vfe_tps whose mim is not off")
    held = whole(model, run)
    first = {p.pid: p.path for p in reversed(bench.photos)}
    asked = [p for p in bench.probes if p.query.wanted and p.pid in first][:rows]
    if not asked:
        raise DataError(f"{bench.name} asks with no words for anybody in its gallery; give --benchmark text")
    photos = pixels([first[p.pid] for p in asked], model.image_size)
    c, patch = held.config, held.clip.patch
    generator = torch.Generator().manual_seed(0)
    mask = random_mask(len(photos), held.clip.grid, max(1, c.mask_unit // patch), c.mask_ratio, generator)
    ids = held.words.ids([str(p.query.wanted[0].value) for p in asked])
    ids = ids if c.mask_pads else held.words.padded(ids)
    with torch.inference_mode():
        pads = held.clip.text_pads(ids) if c.mask_pads else None
        text = held.clip.text_tokens(ids) if c.mim == "text" else None
        predicted = held.mim.predict(held.clip, photos, mask, text, pads).float()
    return Hidden(photos, predicted, mask, patch)


def redrawn(models: Iterable[tuple[Model, Path]], bench: Benchmark, rows: int) -> list[list[np.ndarray]]:
    """A line for each photograph, of (3, H, W): as it is, with its hidden parts grey, and with what each model of a run
    folder drew there."""
    lines: list[list[np.ndarray]] = []
    for model, run in models:
        found = hidden(model, run, bench, rows)
        where = pixel_mask(found.mask, found.photos, found.patch)[:, None]
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.clip.spec.mean, model.clip.spec.std))
        finished = torch.where(where, found.predicted * std + mean, found.photos)
        if not lines:
            grey = found.photos.masked_fill(where, 0.5)
            lines = [[photo, hid] for photo, hid in zip(found.photos.numpy(), grey.numpy(), strict=True)]
        for line, picture in zip(lines, finished.numpy(), strict=True):
            line.append(picture)
    return lines


def of_first(bench: Benchmark, people: int) -> list[Photo]:
    """The photographs of the first people of a gallery."""
    photos = [p for p in bench.photos if p.pid >= 0]
    chosen = set(list(dict.fromkeys(p.pid for p in photos))[:people])
    return [p for p in photos if p.pid in chosen]


def prototype_similarity(model: Model, run: Path, data: Dataset, people: int = 10) -> np.ndarray:
    """(N, N) cosines of Propot's enriched prototypes (§3.3-3.5) of the first N training people: words down, pictures
    across. The instances are one row of each person. The data must be what the run was trained on.
    """
    if model.config["method"] != "propot" or not model.method.config.prototypes:
        raise UsageError(f"{run} has no prototypes: give a run of propot with prototypes")
    if data.identities != model.config["about"]["identities"]:
        known = model.config["about"]["identities"]
        raise DataError(
            f"{run} learnt from {known} people, {data.name} holds {data.identities}; give what it learnt from"
        )
    held = whole(model, run)
    rows: dict[int, Example] = {}
    for row in data.train:
        rows.setdefault(row.pid, row)
    pids = sorted(rows)[:people]
    with torch.inference_mode():
        v = held.clip.image_features(pixels([rows[p].images[0] for p in pids], model.image_size))
        t = held.clip.text_features(held.words.ids([rows[p].caption for p in pids]))
        seen, said = held.prototypes(torch.tensor(pids), v, t)
        unit = [torch.nn.functional.normalize(x.float(), dim=-1) for x in (said, seen)]
    return (unit[0] @ unit[1].T).numpy()


def pixels(paths: Sequence[str], size: tuple[int, int]) -> Tensor:
    """(N, 3, H, W) in [0, 1] of pictures, brought to size (H, W)."""
    return torch.from_numpy(np.stack([images.load(p, size) for p in paths])).float().div(255)
