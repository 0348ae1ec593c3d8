"""How an image encoder begins when it starts from nothing.

Random weights see in neighbouring pixels little but their common brightness, and in a position almost nothing; a small
vision transformer then spends hundreds of steps on a plateau. Two known remedies that leave the architecture as it is:
the patch projection starts as a whitening of real patches (its mean moves into the positions, as CLIP's projection has
no bias), and positions start as sines and cosines of row and column. With Muon this pays at once; under AdamW it did
not within a few hundred steps (docs/demo-model.md has both).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .clip import Clip
from .images import load
from .records import Example

PICTURES = 1000
LONGEST = 50.0
"""Slowest wave of a position, in patches over 2π; a person fills far fewer."""


def begin(clip: Clip, rows: Sequence[Example], seed: int = 0) -> None:
    """Whiten the patch projection on about 1,000 photographs and as many sketches of `rows`, and set the positions."""
    paths = [path for chosen in (_some([r.images for r in rows]), _some([r.sketches for r in rows])) for path in chosen]
    if not paths:
        return
    pixels = torch.stack([torch.from_numpy(load(path, clip.image_size)) for path in paths])
    pixels = (pixels.float() / 255 - clip.mean) / clip.std
    embeddings = clip.model.vision_model.embeddings
    with torch.no_grad():
        places: Tensor = embeddings.position_embedding.weight
        places.zero_()
        places[1:] = waves(*clip.grid, places.shape[1])
        places[1:] -= whiten(embeddings.patch_embedding, pixels, seed)


def _some(lists: Sequence[Sequence[str]]) -> list[str]:
    first = [paths[0] for paths in lists if paths]
    return first[:: max(1, len(first) // PICTURES)][:PICTURES]


def waves(rows: int, columns: int, width: int) -> Tensor:
    """(rows · columns, width), variance 1: sines and cosines of the row, then of the column, in falling frequencies."""
    quarter = max(1, width // 4)
    speed = LONGEST ** -(torch.arange(quarter) / quarter)
    y, x = torch.meshgrid(torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
    table = torch.cat([wave(a.flatten()[:, None] * speed) for a in (y, x) for wave in (torch.sin, torch.cos)], dim=1)
    table = nn.functional.pad(table / table.std(), (0, max(0, width - table.shape[1])))
    return table[:, :width]


def whiten(conv: nn.Conv2d, pixels: Tensor, seed: int = 0, floor: float = 1e-2) -> Tensor:
    """Set a patch projection so that the patches of `pixels` come out uncorrelated and with variance 1.

    pixels: (N, 3, H, W), as the network gets them. floor: variance below which a direction counts as noise and is not
    blown up. Returns the mean of the output, (width,), for the caller to take away.
    """
    size = int(conv.kernel_size[0])
    patches = nn.functional.unfold(pixels, size, stride=size).transpose(1, 2).reshape(-1, 3 * size * size)
    mean = patches.mean(dim=0)
    centred = (patches - mean).double()
    values, axes = torch.linalg.eigh(centred.T @ centred / len(patches))
    width = min(conv.out_channels, len(values))
    weight = (axes[:, -width:] / (values[-width:].clamp(min=0) + floor).sqrt()).T.float()
    generator = torch.Generator().manual_seed(seed)
    mixing, _ = torch.linalg.qr(torch.randn(conv.out_channels, conv.out_channels, generator=generator))
    weight = mixing[:, :width] @ weight  # every channel carries something of every direction
    weight /= ((patches - mean) @ weight.T).std()
    with torch.no_grad():
        conv.weight.copy_(weight.view_as(conv.weight))
    value: Tensor = weight @ mean
    return value
