"""From a photograph to a line drawing, by classical image processing: dark strokes on white paper, several styles.

So a set of photographs that somebody may use becomes a set of sketches without another licence. These are no drawings
by witnesses: nothing measured on them tells how well a person draws from memory. `dropout` and `distortion` go a step
that way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from .errors import UsageError, install_hint, nearest
from .images import read

HEIGHT = 256
"""Working and resulting height in pixels: crops of 60 to 400 pixels all get strokes of the same width."""


def sketch(
    source: Any, style: str = "xdog", seed: int = 0, dropout: float = 0.0, distortion: float = 0.0, height: int = HEIGHT
) -> np.ndarray:
    """A photograph as a drawing, (height, W) uint8, 255 paper; the same bytes for the same input and seed.

    source: path, PIL image or (H, W, 3) array. style: one of STYLES. dropout: share of strokes that are left out, 0
    to 1. distortion: how far strokes wander, as a share of the height (0.02: a shaky hand).
    Raises UsageError and ImageRejected.
    """
    if style not in STYLES:
        raise UsageError(f"there is no sketch style {style!r}; {nearest(style, tuple(STYLES))}")
    if not 0.0 <= dropout <= 1.0 or not 0.0 <= distortion <= 0.2:
        raise UsageError(f"dropout {dropout} and distortion {distortion} were given; allowed are 0 to 1 and 0 to 0.2")
    image = read(source)
    width = max(8, round(image.size[0] * height / image.size[1]))
    grey = np.asarray(image.convert("L").resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255.0
    random = np.random.default_rng(seed)
    ink = STYLES[style](_stretch(grey), random)
    if dropout:
        ink = _drop(ink, dropout, random)
    if distortion:
        ink = _wander(ink, distortion * height, random)
    return (np.clip(1.0 - ink, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _edge(grey: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Thin contours: Canny's detector (gradient, thinning across the contour, two thresholds)."""
    del random
    return _blur(_contours(grey, 1.4, 0.90).astype(np.float32), 0.6) * 1.9


def _xdog(grey: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Extended difference of Gaussians (Winnemöller 2011): sharpened tone through a soft threshold."""
    del random
    sigma, ratio, sharpness, threshold, steepness = 1.2, 1.6, 16.0, 0.42, 10.0
    tone = (1.0 + sharpness) * _blur(grey, sigma) - sharpness * _blur(grey, ratio * sigma)
    white = np.where(tone >= threshold, 1.0, 1.0 + np.tanh(steepness * (tone - threshold)))
    return (1.0 - white) * 0.95


def _pencil(grey: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Pencil: the tone divided by its own blur leaves contours; light shading and the paper's grain are added."""
    lines = 1.0 - np.minimum(1.0, (grey + 0.02) / (_blur(grey, 5.0) + 0.02))
    grain = _blur(random.standard_normal(grey.shape, np.float32), 0.7)
    shading = 0.30 * np.clip(0.75 - _blur(grey, 2.0), 0.0, 1.0) * (1.0 + 0.9 * grain)
    return np.clip(1.6 * lines + shading, 0.0, 0.92)


def _sparse(grey: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A few long strokes, each a little thicker or thinner: what somebody draws who has little time."""
    pieces, count = _label(_contours(grey, 2.6, 0.88))
    lengths = np.bincount(pieces.ravel(), minlength=count + 1)
    lengths[0] = 0
    kept = np.argsort(-lengths, kind="stable")[:24]
    kept = kept[lengths[kept] >= 14]
    width = np.zeros(count + 1, np.float32)
    width[kept] = random.uniform(0.75, 1.25, len(kept))
    return np.clip(_blur(width[pieces], 0.9) * 2.6, 0.0, 1.0)


STYLES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "edge": _edge,
    "xdog": _xdog,
    "pencil": _pencil,
    "sparse": _sparse,
}
"""Style → (H, W) grey in [0, 1] to ink in [0, 1]."""


def _contours(grey: np.ndarray, sigma: float, quantile: float) -> np.ndarray:
    """Canny: where the gradient is largest across its own direction and linked to a strong one. (H, W) bool."""
    filters = _ndimage()
    smooth = _blur(grey, sigma)
    down, right = filters.sobel(smooth, 0), filters.sobel(smooth, 1)
    size = np.hypot(down, right)
    angle = np.round(np.arctan2(down, right) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(size, 1)
    height, width = size.shape
    peak = np.zeros(size.shape, bool)
    for turn, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        peak |= (angle == turn) & (size >= ahead) & (size > behind)
    high = max(float(np.quantile(size, quantile)), 1e-3)
    pieces, count = _label(peak & (size > 0.4 * high))
    strong = np.zeros(count + 1, bool)
    strong[np.unique(pieces[peak & (size > high)])] = True
    strong[0] = False
    return strong[pieces]


def _drop(ink: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Leave strokes out: pieces of connected ink, cut by a coarse and crooked grid, each with probability `share`."""
    pieces, count = _label(ink > 0.12)
    bent = np.stack([_blur(random.standard_normal(ink.shape, np.float32), 8) for _ in range(2)])
    bent *= 9.0 / max(float(bent.std()), 1e-6)
    down, right = np.maximum(0, np.indices(ink.shape) + bent).astype(int) // 24
    columns = int(right.max()) + 1
    gone = random.random((count + 1, (int(down.max()) + 1) * columns)) < share
    keep = ~gone[pieces, down * columns + right]
    return ink * _blur(keep.astype(np.float32), 1.2)


def _wander(ink: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Move every point by a smooth random field whose root mean square is half of `amount` pixels."""
    field = [_blur(random.standard_normal(ink.shape, np.float32), ink.shape[0] / 14) for _ in range(2)]
    down, right = (f / max(float(f.std()), 1e-6) * amount / 2 for f in field)
    rows, columns = np.indices(ink.shape, np.float32)
    return _ndimage().map_coordinates(ink, [rows + down, columns + right], order=1, mode="constant")


def _stretch(grey: np.ndarray) -> np.ndarray:
    """Contrast from the 2nd to the 98th percentile, so that dark crops are drawn too."""
    low, high = np.quantile(grey, (0.02, 0.98))
    return np.clip((grey - low) / max(float(high - low), 0.05), 0.0, 1.0).astype(np.float32)


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    return _ndimage().gaussian_filter(values, sigma, mode="nearest", truncate=3.0)


def _label(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Connected pieces (diagonals count) numbered from 1."""
    pieces, count = _ndimage().label(mask, np.ones((3, 3), int))
    return pieces, int(count)


def _ndimage() -> Any:
    """scipy.ndimage, or UsageError that names the extra."""
    try:
        from scipy import ndimage
    except ImportError:
        raise UsageError(f"drawing sketches needs scipy: {install_hint('data')}") from None
    return ndimage
