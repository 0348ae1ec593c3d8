"""NOT and answers on attributes that a model reads badly, from AUROC 0.5 to 0.95.

    python recipes/misread.py --model demo --data BENCHMARK --out results [--people 200] [--page]

Validation people measure the curves, test people are looked for. --page writes the tables of docs/conversation.md.
Three minutes of one core with 200 people, the drawing of the benchmark not counted. Synthetic people are no evidence of
accuracy on real people.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from descry.embed import load
from descry.evaluate import Embedded
from descry.interact.questions import vocabulary
from descry_lab.misread import FOUND, MARKS, PAGE, misread_of, page
from descry_lab.tables import put
from descry_people.benchmark import PARTS, benchmark, held_in, records_of


def part(model: Any, root: Path, name: str, identities: int) -> tuple[Any, Embedded, Any]:
    """Sketches, photographs and records of one part of the benchmark."""
    bench = getattr(benchmark(root, part=name, identities=identities), held_in(name))["sketch"]
    return bench, Embedded.of(model, bench), records_of(root, part=name, identities=identities)


def line(row: dict[str, Any]) -> str:
    """One row for people."""
    low, high = row["interval"]
    curve = "measured" if row["measured"] else "unmeasured"
    return (
        f"{row['said']:<9} {curve:<10} {row['spoilt']:<7} AUROC {row['AUROC']:.2f}: median rank "
        f"{row['median before']:5.0f} → {row['median after']:5.0f} ({low:+.1f} to {high:+.1f}), ten times worse "
        f"{row['ten times worse']:4.1f} %, worst {row['worst'][0]} → {row['worst'][1]} (bound {row['worst'][2]}), "
        f"over the bound {row['over']}"
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--data", type=Path, required=True, help="where the frozen benchmark lies or is written")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, default=0, help="only so many people of each part")
    parser.add_argument("--page", action="store_true", help="write the tables of docs/conversation.md")
    args = parser.parse_args()
    model = load(args.model)
    sizes = {name: min(args.people or PARTS[name][1], PARTS[name][1]) for name in ("val", "test")}
    known, test = (part(model, args.data, name, size) for name, size in sizes.items())
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, weight in (("phrase", 1.0), ("answer", 0.0)):
        print(f"as a {name} {'that was typed' if weight else 'to a question'}:")
        for row in misread_of(model, known, test, vocabulary(), weight=weight):
            print(line(row), flush=True)
            rows.append({"as": name} | row)
    made = {"search_fingerprint": model.search_fingerprint, "people": sizes, "rows": rows}
    (args.out / FOUND.name).write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    if args.page:
        put(PAGE, MARKS, page(rows))


if __name__ == "__main__":
    main()
