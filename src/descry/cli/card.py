"""descry model card."""

from __future__ import annotations

from pathlib import Path

import tyro


def card(run: tyro.conf.Positional[Path], /, results: str = "", licence: str = "", out: Path | None = None) -> int:
    """A model card from a run folder and its results: data, protocol, metrics with intervals, uses, provenance.

    Args:
        run: a run folder.
        results: a file that descry evaluate wrote with --json (with --slices for parts) or --per-query.
        licence: of the weights.
        out: the file to write; if omitted, README.md in the run folder, which is where a hub looks for it.
    """
    from ..safe_files import write_whole
    from ..studies.card import model_card
    from ..studies.results import read_results

    text = model_card(run, read_results(results) if results else None, licence)
    path = out or run / "README.md"
    if out:
        path.write_text(text, encoding="utf-8")
    else:  # a run folder may be somebody else's, and its README.md a link
        write_whole(path, text)
    print(path)
    return 0
