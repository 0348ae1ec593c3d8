"""Figures for papers and reports: rank grids, curves, maps, bars, reconstructions; PNG, SVG or PDF by the file's name.

Arrays and paths in, a file out. Matplotlib is the extra `figures` and is only loaded when
something is drawn, without its global state. Colours are Okabe and Ito's, which people of any colour vision tell apart;
right and wrong are told by the frame's line as well as by its colour. SVG keeps text as text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descry import images
from descry.errors import ImageRejected, UsageError, install_hint, nearest

from .grids import Shown

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
RIGHT, WRONG = "#009E73", "#D55E00"
MARKERS = "os^Dv*PX"
CELL, PICTURE = (0.85, 1.95), (0.79, 1.72)  # of a rank grid, in inches
NOTE = "Search leads - not an identification"


def rank_grid(rows: Sequence[Shown], out: Path, most: int = 10, note: str = NOTE) -> Path:
    """Queries and their first photographs in rows: before and after refinement, or methods side by side.

    A photograph of the person looked for has a solid green frame, another a dashed orange one, an unknown one a dotted
    grey one.
    """
    if not rows:
        raise UsageError("a rank grid needs one row or more")
    lead = max(1, any(r.query for r in rows) + any(r.text for r in rows))
    columns = lead + min(most, max(len(r.found) for r in rows))
    width, height = columns * CELL[0] + 0.4, len(rows) * CELL[1] + 0.3
    figure = _figure((width, height), layout="none")
    axis = figure.add_axes((0, 0, 1, 1))  # one for all: an axis each takes most of the time
    axis.axis("off")
    for line, row in enumerate(rows):
        top = height - 0.15 - line * CELL[1]
        axis.text(0.2, top, row.name, fontsize=7, va="top")
        if row.query:
            _put(axis, row.query, 0, top)
        if row.text:
            said = textwrap.fill(row.text, 17, max_lines=14)
            middle = (0.2 + (lead - 0.54) * CELL[0], top - CELL[1] / 2)
            axis.text(*middle, said, fontsize=5.5, ha="center", va="center")
        for nth, (path, right) in enumerate(zip(row.found[:most], row.right, strict=False)):
            _framed(axis, lead + nth, top, nth + 1, path, right)
    axis.text(0.1, 0.03, note, fontsize=6, color="#555555")
    axis.set(xlim=(0, width), ylim=(0, height))
    return _save(figure, out, 150)  # pictures of 96 pixels hold no more


def _put(axis: Any, path: str, column: int, top: float) -> tuple[float, float, float, float]:
    """Show a picture in its cell; its (left, right, bottom, top) in inches."""
    left = 0.2 + column * CELL[0]
    at = (left, left + PICTURE[0], top - 0.15 - PICTURE[1], top - 0.15)
    axis.imshow(_picture(path), extent=at, aspect="auto")
    return at


def _framed(axis: Any, column: int, top: float, rank: int, path: str, right: bool | None) -> None:
    left, end, bottom, top = _put(axis, path, column, top)
    axis.text((left + end) / 2, top + 0.03, str(rank), fontsize=6, ha="center")
    style = "dotted" if right is None else "solid" if right else "dashed"
    colour = "#888888" if right is None else RIGHT if right else WRONG
    around = ([left, end, end, left, left], [bottom, bottom, top, top, bottom])
    axis.plot(*around, color=colour, linewidth=2.2, linestyle=style, solid_joinstyle="miter")


def curves(
    lines: Mapping[str, Sequence[float]],
    out: Path,
    x: Sequence[float] | None = None,
    labels: tuple[str, str] = ("rank k", "R@k (%)"),
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    log: bool = False,
    dashed: Mapping[str, float] | None = None,
) -> Path:
    """Named lines over x (default 1, 2, …): CMC, figures per round with bands, a hyper-parameter, losses.

    bands: name → (low, high), such as 95 % intervals or a deviation over seeds. dashed: levels to compare with.
    """
    if not lines:
        raise UsageError("curves need one line or more")
    figure = _figure((4.2, 2.9))
    axis = figure.subplots()
    for nth, (name, values) in enumerate(lines.items()):
        at = np.arange(1, len(values) + 1) if x is None else np.asarray(x, float)[: len(values)]
        colour, few = COLOURS[nth % len(COLOURS)], len(values) <= 20
        axis.plot(
            at, values, color=colour, marker=MARKERS[nth % len(MARKERS)] if few else "", ms=3.5, lw=1.3, label=name
        )
        if bands and name in bands:
            axis.fill_between(at, *bands[name], color=colour, alpha=0.18, lw=0)
    for nth, (name, level) in enumerate((dashed or {}).items()):
        axis.axhline(level, color="#666666", lw=0.8, ls=("--", ":", "-.")[nth % 3], label=name)
    if log:
        axis.set_xscale("log")
    _finish(axis, labels)
    return _save(figure, out)


def bars(
    values: Mapping[str, float],
    out: Path,
    label: str,
    errors: Mapping[str, tuple[float, float]] | None = None,
    papers: Mapping[str, float | None] | None = None,
) -> Path:
    """Horizontal bars, first on top: an ablation, silhouettes. errors: (low, high) ends. papers: a mark where a paper
    has its figure.
    """
    if not values:
        raise UsageError("bars need one value or more")
    names = list(values)
    figure = _figure((4.4, 0.34 * len(names) + 0.9))
    axis, at = figure.subplots(), np.arange(len(names))
    axis.barh(at, list(values.values()), color=COLOURS[0], height=0.62)
    for i, name in enumerate(names):
        if errors and name in errors:
            low, high = errors[name]
            axis.plot([low, high], [i, i], color="black", lw=1)
        if papers and papers.get(name) is not None:
            axis.plot(
                papers[name],
                i,
                marker="D",
                color=COLOURS[1],
                ms=5,
                label="paper" if i == _first(papers, names) else None,
            )
    axis.set_yticks(at, names, fontsize=7)
    axis.invert_yaxis()
    _finish(axis, (label, ""), legend=bool(papers))
    return _save(figure, out)


def scatter(
    points: Any, groups: Sequence[Any], out: Path, title: str = "", shapes: Sequence[str] | None = None
) -> Path:
    """A map of embeddings: points (N, 2), one colour for each group, one marker for each shape ("photo",
    "sketch", …).
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) != len(groups):
        raise UsageError(f"points {points.shape} and {len(groups)} groups were given; (N, 2) and N are needed")
    figure = _figure((3.6, 3.6))
    axis = figure.subplots()
    names, kinds = list(dict.fromkeys(groups)), list(dict.fromkeys(shapes or [""]))
    for n, name in enumerate(names):
        for k, kind in enumerate(kinds):
            chosen = [i for i, g in enumerate(groups) if g == name and (not shapes or shapes[i] == kind)]
            colour, label = COLOURS[n % 7], kind if n == 0 else None
            marker = MARKERS[k if shapes else n // 7 % len(MARKERS)]
            axis.scatter(*points[chosen].T, s=14, color=colour, marker=marker, label=label or None, lw=0)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=8)
    if shapes:
        axis.legend(fontsize=7, frameon=False)
    return _save(figure, out)


def heatmap(matrix: Any, out: Path, label: str, names: tuple[Sequence[str], Sequence[str]] | None = None) -> Path:
    """A matrix as colours: similarity of prototypes, of attributes, of rounds."""
    figure = _figure((4.0, 3.5))
    axis = figure.subplots()
    shown = axis.imshow(np.asarray(matrix, np.float64), cmap="cividis", interpolation="nearest")
    figure.colorbar(shown, ax=axis, shrink=0.85).set_label(label, fontsize=8)
    if names:
        axis.set_yticks(range(len(names[0])), names[0], fontsize=6)
        axis.set_xticks(range(len(names[1])), names[1], fontsize=6, rotation=90)
    axis.tick_params(labelsize=6)
    return _save(figure, out)


def reconstructions(groups: Sequence[Sequence[Any]], headings: Sequence[str], out: Path) -> Path:
    """Rows of (3, H, W) pictures in [0, 1], such as photograph, what was hidden, what each model drew there."""
    if not groups or any(len(g) != len(headings) for g in groups):
        raise UsageError("every row needs as many pictures as there are headings, and one row at least")
    figure = _figure((1.0 * len(headings) + 0.2, 1.9 * len(groups) + 0.3))
    axes = figure.subplots(len(groups), len(headings), squeeze=False)
    for n, (line, group) in enumerate(zip(axes, groups, strict=True)):
        for axis, heading, picture in zip(line, headings, group, strict=True):
            axis.imshow(np.clip(np.asarray(picture, np.float64).transpose(1, 2, 0), 0, 1))
            axis.axis("off")
            if n == 0:
                axis.set_title(heading, fontsize=7)
    return _save(figure, out)


# ---------------------------------------------------------------------- drawing


def _figure(size: tuple[float, float], layout: Any = "constrained") -> Any:
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(f"figures need Matplotlib: {install_hint('figures')}") from None
    rcParams["svg.fonttype"], rcParams["pdf.fonttype"] = "none", 42
    rcParams["svg.hashsalt"] = "descry"
    rcParams["image.composite_image"] = False  # every picture stays one of its own
    return Figure(figsize=size, layout=layout)


def _finish(axis: Any, labels: tuple[str, str], legend: bool = True) -> None:
    axis.set_xlabel(labels[0], fontsize=8)
    axis.set_ylabel(labels[1], fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25, lw=0.5)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if legend and axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7, frameon=False)


def _save(figure: Any, out: Path, dpi: int = 300) -> Path:
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"a figure cannot be written as {out.name!r}; {nearest(suffix, SUFFIXES)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}  # so that the same figure is the same file
    figure.savefig(out, dpi=dpi, metadata=dates.get(suffix))
    return out


def _picture(path: str) -> np.ndarray:
    try:
        return np.asarray(images.read(path).resize((96, 192)))
    except ImageRejected:
        return np.full((192, 96, 3), 230, np.uint8)


def _first(papers: Mapping[str, float | None], names: Sequence[str]) -> int:
    return next(i for i, n in enumerate(names) if papers.get(n) is not None)
