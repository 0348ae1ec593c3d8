"""Drawings as pictures: a drawing fitted to its ink (`fit_to_ink`), and a line drawing from a photograph (`sketch`).

A drawing may be anywhere on its paper, of any size and in any pen. `fit_to_ink` gives it the size, margins and line
width of the sketches that models are trained on. Search, evaluation and training all call it.

`sketch` draws a photograph by classical image processing: dark strokes on white paper, several styles.

With it, photographs that you may use give you sketches under the same licence. They are not drawings by witnesses, and
figures measured on them say nothing about drawing from memory; `dropout` and `distortion` only come a little closer to
that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from .errors import UsageError, install_hint, nearest
from .images import read

HEIGHT = 256
"""Working and resulting height in pixels: crops of 60 to 400 pixels all get strokes of the same width."""


FITTED = (128, 256)
"""Width and height of a fitted drawing in pixels."""
STICKS = "outlines of clothes are read, stick figures are not"
"""What to tell somebody whose drawing `Fitted.sticks`."""
_TALL, _WIDE, _TOP = 0.95, 0.94, 0.033  # share of the paper that the ink of the synthetic people's sketches fills
_LINE = 0.0081  # width of their lines, as a share of the paper's height
_OVER = 2  # lines are measured and drawn at twice the size
_PLAIN, _FAINT = 0.7, 0.12


@dataclass(frozen=True, eq=False, slots=True)
class Fitted:
    """What `fit_to_ink` makes of a drawing.

    Attributes:
        picture: the drawing to search with; RGB. The picture that was given, where it could not be fitted.
        note: what was done, in one sentence; why nothing was done, if so.
        fitted: whether it was cropped and fitted.
        box: (left, top, right, bottom) of the ink on the paper given, as shares of its width and height.
        line: width of its lines after fitting, as a share of the height, before they were drawn anew; 0 where unknown.
        redrawn: whether its lines were too thin or too thick and were drawn in the usual width.
        sticks: whether it looks like a stick figure, which models read badly.
    """

    picture: Image.Image
    note: str
    fitted: bool = False
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    line: float = 0.0
    redrawn: bool = False
    sticks: bool = False

    @property
    def told(self) -> tuple[str, str]:
        """What is worth saying beside an answer: that the drawing was moved far or redrawn, and the hint for sticks;
        each is "" if there is nothing to say."""
        moved = self.redrawn or self.box[3] - self.box[1] < 0.85
        return (f"the sketch was {self.note}" if self.fitted and moved else "", STICKS if self.sticks else "")


def fit_to_ink(source: Any, size: tuple[int, int] = FITTED) -> Fitted:
    """A drawing cropped to its ink and fitted to white paper, like the sketches that models are trained on.

    Its proportions stay. The ink fills 95 % of the height, or 94 % of the width where it is wider than tall. Lines much
    thinner or thicker than those of the sketches are redrawn in their width; filled areas stay filled. A light drawing
    on dark paper is inverted. If the edge of the picture is not plain paper (a photograph, a drawing cut by its edge),
    or if there is no ink, nothing is done and `note` says so. A drawing that is already fitted, on paper of `size`, is
    not changed either.

    source: path, bytes, PIL image or (H, W, 3) array. size: (width, height) of the result in pixels.
    Raises UsageError and ImageRejected.
    """
    image = read(source)
    width, height = image.size
    step = max(1, max(width, height) // 1200)
    grey = image.convert("L").reduce(step) if step > 1 else image.convert("L")
    values = np.asarray(grey, np.float32)
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    paper = float(np.median(edge))
    if (np.abs(edge - paper) <= 24).mean() < _PLAIN:
        return Fitted(image, "the picture has no plain paper at its edge; used as it is")
    ink = np.abs(values - paper) / max(paper, 255.0 - paper)
    seen = ink > _FAINT
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    if not len(rows):
        return Fitted(image, "the picture holds no line; used as it is")
    left, top, right, bottom = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    box = (left / grey.width, top / grey.height, right / grey.width, bottom / grey.height)
    head = np.flatnonzero(seen[top : top + max(1, round(0.13 * (bottom - top))), left:right].any(axis=0))
    middle = (int(head[0]) + int(head[-1]) + 1) / 2  # of the head: a bag at one side does not move the body
    # paper of the very size on which a person stands as those of the synthetic people do, who vary a little
    if image.size == size and paper > 250 and box[3] - box[1] >= 0.88 and abs((left + middle) / size[0] - 0.5) < 0.08:
        sheet = image.convert("L").resize((size[0] * _OVER, size[1] * _OVER), Image.Resampling.BICUBIC)
        _, line, odd = _usual_lines(sheet)
        if not odd:
            sticks = _sticks(np.asarray(sheet) < 128)
            return Fitted(image, "found to stand as it should; used as it is", True, box, line, False, sticks)
    drawn = Image.fromarray(((1.0 - np.clip(ink[top:bottom, left:right], 0, 1)) * 255).astype(np.uint8))
    scale = _OVER * min(_TALL * size[1] / drawn.height, _WIDE * size[0] / drawn.width)
    inside = (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale)))
    sheet = Image.new("L", (size[0] * _OVER, size[1] * _OVER), 255)
    slack = sheet.height - inside[1]
    down = round(slack * _TOP / (1 - _TALL)) if inside[1] >= _TALL * sheet.height - 2 else slack // 2
    across = min(max(round(sheet.width / 2 - middle * scale), 0), sheet.width - inside[0])
    sheet.paste(drawn.resize(inside, Image.Resampling.BICUBIC), (across, down))
    sheet, line, redrawn = _usual_lines(sheet)
    pixels = np.asarray(sheet) < 128
    note = "cropped to its ink and fitted" + (", its lines drawn in the usual width" if redrawn else "")
    return Fitted(sheet.reduce(_OVER).convert("RGB"), note, True, box, line, redrawn, _sticks(pixels))


def _usual_lines(sheet: Image.Image) -> tuple[Image.Image, float, bool]:
    """The drawing with lines of the usual width, the width that they had, and whether they were drawn anew."""
    values = np.asarray(sheet)
    dark = float(np.quantile(values[values < 225], 0.1)) if (values < 225).any() else 0.0
    ink = values < (255 + dark) / 2
    reach = round(0.022 * sheet.height)
    solid = _near(_deep(ink, reach), reach + 1) & ink
    lines = ink & ~solid
    width, usual = _width(lines), _LINE * sheet.height
    if not width or _THIN * usual <= width <= _THICK * usual:
        return sheet, width / sheet.height, False
    drawn = _near(_core(lines), round((_DRAWN * usual - 1) / 2)) | solid
    smooth = Image.fromarray(np.where(drawn, 30, 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(0.5))
    return smooth, width / sheet.height, True


_THIN, _THICK, _DRAWN = 0.6, 1.6, 1.0


def _width(lines: np.ndarray) -> float:
    """Mean width of lines in pixels: twice their area by the length of their edges; 0 without lines."""
    area = np.count_nonzero(lines)
    edges = np.count_nonzero(lines[1:] != lines[:-1]) + np.count_nonzero(lines[:, 1:] != lines[:, :-1])
    return 2.0 * area / (edges * np.pi / 4) if area and edges else 0.0


def _core(ink: np.ndarray) -> np.ndarray:
    """The middle of lines (Lantuéjoul's skeleton): what each erosion leaves that an opening would lose."""
    out = np.zeros_like(ink)
    while ink.any():
        less = _deep(ink, 1)
        out |= ink & ~_near(less, 1)
        ink = less
    return out


def _deep(ink: np.ndarray, reach: int) -> np.ndarray:
    """Erosion: the pixels around which all within reach, in a square, is ink."""
    return ~_near(~ink, reach)


def _near(ink: np.ndarray, reach: int) -> np.ndarray:
    """Dilation: the pixels with ink within reach, in a square. Spans double until they are 2·reach + 1 pixels long."""
    padded = np.zeros([n + 2 * reach for n in ink.shape], bool)
    padded[reach : padded.shape[0] - reach, reach : padded.shape[1] - reach] = ink
    ink = padded
    for turned in (False, True):
        rows, have = ink.T if turned else ink, 1
        while have < 2 * reach + 1:
            step = min(have, 2 * reach + 1 - have)
            rows, have = rows[:-step] | rows[step:], have + step
        ink = rows.T if turned else rows
    return ink


def _sticks(ink: np.ndarray) -> bool:
    """Whether a fitted drawing has the lines of a stick figure: one for each leg, one for each arm and one between."""

    def crossed(top: float, bottom: float, share: float) -> float:
        rows = ink[int(top * len(ink)) : int(bottom * len(ink))]
        return float(np.quantile((rows[:, 1:] & ~rows[:, :-1]).sum(axis=1), share))

    thin = ink[int(0.3 * len(ink)) : int(0.9 * len(ink))].mean() < 0.08
    return bool(thin and crossed(0.72, 0.9, 0.5) <= 2 and crossed(0.3, 0.6, 0.75) <= 3 and crossed(0.3, 0.6, 0.5) != 2)


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
    value: np.ndarray = strong[pieces]
    return value


def _drop(ink: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Leave strokes out: pieces of connected ink, cut by a coarse and crooked grid, each with probability `share`."""
    pieces, count = _label(ink > 0.12)
    bent = np.stack([_blur(random.standard_normal(ink.shape, np.float32), 8) for _ in range(2)])
    bent *= 9.0 / max(float(bent.std()), 1e-6)
    down, right = np.maximum(0, np.indices(ink.shape) + bent).astype(int) // 24
    columns = int(right.max()) + 1
    gone = random.random((count + 1, (int(down.max()) + 1) * columns)) < share
    keep = ~gone[pieces, down * columns + right]
    value: np.ndarray = ink * _blur(keep.astype(np.float32), 1.2)
    return value


def _wander(ink: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Move every point by a smooth random field whose root mean square is half of `amount` pixels."""
    field = [_blur(random.standard_normal(ink.shape, np.float32), ink.shape[0] / 14) for _ in range(2)]
    down, right = (f / max(float(f.std()), 1e-6) * amount / 2 for f in field)
    rows, columns = np.indices(ink.shape, np.float32)
    value: np.ndarray = _ndimage().map_coordinates(ink, [rows + down, columns + right], order=1, mode="constant")
    return value


def _stretch(grey: np.ndarray) -> np.ndarray:
    """Contrast from the 2nd to the 98th percentile, so that dark crops are drawn too."""
    low, high = np.quantile(grey, (0.02, 0.98))
    value: np.ndarray = np.clip((grey - low) / max(float(high - low), 0.05), 0.0, 1.0).astype(np.float32)
    return value


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    value: np.ndarray = _ndimage().gaussian_filter(values, sigma, mode="nearest", truncate=3.0)
    return value


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
