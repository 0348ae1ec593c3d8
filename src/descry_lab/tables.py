"""Tables made from the ledger, and the check that what stands in the docs is what the ledger says.

A document marks where a table goes: `<!-- ledger: NAME SCALE -->` … `<!-- end -->`. Only what is between is replaced.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from descry.errors import DataError, UsageError, nearest
from descry.studies.intervals import over_seeds
from descry.studies.ledger import Entry, latest
from descry.studies.ledger import read as read_ledger

from .papers import OWN, TABLES, Column, Figures, Table

MARK = re.compile(r"<!-- ledger: (?P<name>\S+) (?P<scale>\S+) -->\n.*?<!-- end -->", re.DOTALL)
STUDY_MARK = re.compile(r"<!-- studies -->\n.*?<!-- end -->", re.DOTALL)
COST_MARK = re.compile(r"<!-- cost -->\n.*?<!-- end -->", re.DOTALL)
ROOT = Path(__file__).resolve().parents[2]
SHOWN = ("small", "full")
KEPT = {"last": "the last", "nothing (as given)": "none, the model as given"}
SYNTHETIC = "Synthetic people: no evidence of accuracy on real people."


def parser_of(command: str, says: str | None) -> argparse.ArgumentParser:
    """The options of a command, described in words whose lines stay as they are."""
    of = f"python -m descry_lab {command}".strip()
    return argparse.ArgumentParser(of, description=says, formatter_class=argparse.RawDescriptionHelpFormatter)


def laid_out(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of a page, in Markdown."""
    first, *others = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return "\n".join([first, "|---" * len(heads) + "|", *others])


def table_of(name: str) -> Table:
    """A paper's table or one of our own; UsageError with the nearest known name."""
    known = TABLES | OWN
    if name not in known:
        raise UsageError(f"there is no table {name!r}; {nearest(name, list(known))}")
    return known[name]


def markdown(entries: Iterable[Entry], name: str, scale: str) -> str:
    """One table: the paper's figure before ours in each cell, ours as mean ± standard deviation over seeds, and with
    one seed the 95 % interval. Rows that nobody ran show the paper's figures only. A table of our own has ours alone,
    and the interval always: with several seeds the mean of theirs.
    """
    table = table_of(name)
    if scale not in SHOWN:
        raise UsageError(
            f"a table of scale {scale!r} was asked for; {nearest(scale, SHOWN)}; a smoke run claims nothing"
        )
    found = latest(entries, name, scale)
    rows = list(dict.fromkeys([*table.rows, *(e.row for e in found)]))
    lines = []
    for row in rows:
        ours = [e for e in found if e.row == row]
        paper: Figures = table.rows.get(row, (None,) * len(table.columns))
        lines.append([row, *(_cell(p, ours, c, table.ours) for p, c in zip(paper, table.columns, strict=True))])
    shown = laid_out([table.title, *(c.label for c in table.columns)], lines)
    return f"{shown}\n\n{_said(found, table.ours)}\n"


def _cell(paper: float | None, ours: Sequence[Entry], column: Column, alone: bool) -> str:
    left = "–" if paper is None else f"{paper:.2f}"
    values = [e.figures.get(column.asked, {}).get(column.measure) for e in ours]
    held = [{"x": v} for v in values if v is not None]
    if not held:
        return left
    mean, spread = over_seeds(held)["x"]
    digits = 4 if column.measure == "p" else 2
    text = f"{mean:.{digits}f}" if spread is None else f"{mean:.{digits}f} ± {spread:.2f}"
    spans = [s for e in ours if (s := e.intervals.get(column.asked, {}).get(column.measure))]
    if spans and (spread is None or alone):
        low, high = (sum(s[k] for s in spans) / len(spans) for k in (0, 1))
        text += f" [{low:.1f}, {high:.1f}]"
    return text if alone else f"{left} · **{text}**"


def preset_of(entry: Entry) -> str:
    """By which preset a row was trained; "" for a model as it was given. Lines of before presets were written down are
    of "recommended", but for the rows that name the paper's or the released."""
    if "preset" in entry.config:
        return str(entry.config["preset"])
    ends = {"as printed": "paper", "as released": "released"}
    as_given = entry.selection.startswith("nothing")
    return next((name for end, name in ends.items() if entry.row.endswith(end)), "" if as_given else "recommended")


def _said(found: Sequence[Entry], alone: bool = False) -> str:
    """The line below a table: what ours were measured on, so that no figure stands without its provenance."""
    if not found and alone:
        return "Nothing was run here at this scale."
    if not found:
        return "The paper's figures only: nothing was run here at this scale."
    seeds = sorted({s for e in found for s in e.config.get("seeds", [e.seed])})  # a line may speak of several
    seconds = sum(e.seconds for e in found)
    parts = [
        *([] if alone else ["paper · **ours**"]),
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
        "preset " + ", ".join(sorted({preset_of(e) for e in found} - {""}) or ["none"]),
        "split " + ", ".join(sorted({e.split for e in found})),
        "epoch kept: " + ", ".join(sorted({KEPT.get(e.selection, e.selection) for e in found})),
        "; ".join(sorted({e.hardware for e in found})),
        *([f"{seconds:,.0f} s in all"] if seconds >= 1 else []),
        "commit " + ", ".join(sorted({e.commit[:10] or "unknown" for e in found})),
    ]
    label = f"**{SYNTHETIC}** " if any(e.synthetic for e in found) else ""
    return f"{label}{'; '.join(parts)}."


def commands(entries: Sequence[Entry]) -> str:
    """Every study: its command, the preset of each row, what it needs, and what was run here for how long."""
    from . import cost
    from .studies import STUDIES, command_of

    needs = cost.read()["tables"]
    lines = []
    for study in STUDIES.values():
        rows: dict[str, list[str]] = {}
        for cell, named in zip(study.cells, study.by().cells, strict=True):
            which = "as it is" if not cell.method else cell.preset or f"{named.preset}, or `--preset`"
            rows.setdefault(which, []).append(cell.row)
        every = len(rows) == 1
        told = "; ".join(f"{which}: {'every row' if every else ', '.join(of)}" for which, of in rows.items())
        small = latest(entries, study.table, "small")
        seconds = sum(e.seconds for e in small)
        runs = f"{len(small)} run{'s' * (len(small) > 1)}"
        ran = f"`--smoke`; `--small`: {runs}, {seconds:,.0f} s" if small else "`--smoke`"
        size = "a study of ours, small alone" if study.world else cost.told(needs[study.table])
        lines.append([table_of(study.table).title, f"`{command_of(study)}`", told, size, ran])
    heads = ("table", "command", "preset of each row", "memory and time expected", "run here")
    return laid_out(heads, lines) + "\n"


def renewed(text: str, entries: Sequence[Entry]) -> str:
    """A document with every marked table made anew."""
    from . import cost

    def table(found: re.Match[str]) -> str:
        name, scale = found["name"], found["scale"]
        return f"<!-- ledger: {name} {scale} -->\n{markdown(entries, name, scale)}<!-- end -->"

    text = STUDY_MARK.sub(lambda _: f"<!-- studies -->\n{commands(entries)}<!-- end -->", text)
    text = COST_MARK.sub(lambda _: f"<!-- cost -->\n{cost.markdown(cost.read()['methods'])}<!-- end -->", text)
    return MARK.sub(table, text)


def regenerate(documents: Iterable[Path], ledger: Path, write: bool = True) -> list[Path]:
    """The documents whose tables differ from the ledger; with `write` they are brought up to date."""
    entries, changed = read_ledger(ledger), []
    for path in documents:
        old = path.read_text(encoding="utf-8")
        if old.count("<!-- ledger: ") != len(MARK.findall(old)):
            raise DataError(f"{path}: a table is opened with <!-- ledger: … --> and not closed with <!-- end -->")
        new = renewed(old, entries)
        if new != old:
            changed.append(path)
            if write:
                path.write_text(new, encoding="utf-8")
    return changed


def put(page: Path, marks: tuple[str, str], text: str) -> None:
    """Write what stands between two marks of a page anew."""
    before, _, rest = page.read_text("utf-8").partition(marks[0])
    page.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{rest.partition(marks[1])[2]}", "utf-8")


def beside(table: Table, row: str, figures: dict[str, dict[str, float]]) -> str:
    """A line for a terminal: each column with the paper's figure and ours."""
    paper: Figures = table.rows.get(row, (None,) * len(table.columns))
    cells = []
    for p, column in zip(paper, table.columns, strict=True):
        ours = figures.get(column.asked, {}).get(column.measure)
        theirs = "–" if p is None else f"{p:.2f}"
        cells.append(f"{column.label} {theirs} → {'–' if ours is None else f'{ours:.2f}'}")
    return f"{row}: " + ", ".join(cells)


def documents() -> list[Path]:
    """All that may hold a table."""
    return [*sorted((ROOT / "docs").glob("**/*.md")), ROOT / "README.md"]


def main(argv: Sequence[str]) -> int:
    """Write the documents that differ from results/ledger.jsonl; with --check only say which, exit status 1 if any."""
    parser = argparse.ArgumentParser("python -m descry_lab tables", description=main.__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    changed = regenerate(documents(), ROOT / "results" / "ledger.jsonl", write=not args.check)
    for path in changed:
        print(f"{path.relative_to(ROOT)}: {'differs from the ledger; run make tables' if args.check else 'renewed'}")
    return 1 if args.check and changed else 0
