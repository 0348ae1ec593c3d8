"""What stage 2 does to a demo model: the paper's way and ways of not forgetting stage 1, with one budget.

    python recipes/demo_stage2.py --start work/demo/stage1 --work work/stage2 --jobs 4
    … the same with --write, then make tables                       (into the ledger and docs/demo-model.md)
    python recipes/demo_stage2.py --smoke --work work/smoke-stage2                     (a minute; claims nothing)

Every row goes on from the same stage 1, with the same steps, batch and seeds. It learns from people with sketches and
without a word; where a row replays stage 1, half of what it sees are captioned people, drawn like those of stage 1,
instead. Judged on the validation part of the frozen benchmark, by words, by sketch, and by both joined early and late.
The last epoch counts. R@1, as the mean over seeds, is compared with the start and with "one rate for all" by the paired
sign-flip test over people, corrected for the number of rows (Holm).

Hardware and time: one thread a run; the ledger keeps the seconds. Expected: docs/demo-model.md. Synthetic people are no
evidence of accuracy on real people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contest import Budget, Contest, Row, finished, options, run, scaled, wanted
from verdict import ROOT, differences, entries, write_down

from descry.checkpoint import load_any
from descry_lab.scales import untrained
from descry_people.benchmark import write_part
from descry_people.folder import write_people
from descry_people.read import read_people

SKETCHED_FIRST = 900_000
TABLE, TESTS = "demo-stage2", "demo-stage2-tests"
PLAIN = "one rate for all"
COMMAND = "python recipes/demo_stage2.py --start work/demo/stage1"
BUDGET = Budget(epochs=4, lr=1e-4, warmup=0.5)


@dataclass(frozen=True)
class Scale:
    """people: with sketches, and as many of stage 1 to replay. asked: validation people. size: (width, height)."""

    people: int = 1500
    asked: int | None = None
    size: tuple[int, int] = (128, 256)
    budget: Budget = BUDGET
    seeds: tuple[int, ...] = (0, 1, 2)


SMOKE = Scale(12, 8, (16, 32), Budget(epochs=2, batch=6), (0,))


def rows(like: dict[str, Any]) -> dict[str, Row]:
    """Name → row. like: what all take over from the config of the start, so that Φ and τ go on where they were.

    Rates are relative to the budget's, which is the paper's for Φ.
    """

    def row(data: str = "", **changes: Any) -> Row:
        base = {"image_rate": 1.0, "mapping_rate": 1.0, "composed": 0.0}
        return Row("interactreid", like | base | changes, PLAIN, (2,), data)

    kept: dict[str, Any] = {k: v for k, v in like.items() if k.startswith("mapping_")}
    table = {
        "paper's preset as it is": Row("interactreid", kept, PLAIN, (2,), preset="paper", as_is=True),
        "the paper's ratio of rates (1e-5 : 1e-4)": row(image_rate=0.1),
        PLAIN: replace(row(), against=""),
        "frozen image encoder": row(image_rate=0.0),
        "anchored image encoder": row(anchor=3.0),
        "direct sketch-photo term": row(direct=1.0),
        "replay of stage 1": row("replayed", replay=1.0),
        "pseudo-words in captions of stage 1": row("replayed", composed=1.0),
        "direct, replay and pseudo-words": row("replayed", direct=1.0, replay=1.0, composed=1.0),
        "anchor, direct, replay and pseudo-words": row("replayed", anchor=3.0, direct=1.0, replay=1.0, composed=1.0),
    }
    return table


def contest(work: Path, origin: str, scale: Scale) -> Contest:
    """The people, drawn where they are not yet, and the rows."""
    many = {"photos": 2, "captions": 1, "splits": {"train": scale.people, "val": 0, "test": 0}, "size": scale.size}
    sketched = write_people(work / "sketched", scale.people, sketches=3, first=SKETCHED_FIRST, **many)
    captioned = write_people(work / "captioned", scale.people, sketches=3, **many)
    asked = write_part(work, "val", scale.asked)
    begin = origin or str(untrained(work / "start", [read_people(captioned)], scale.size[::-1]))
    config = load_any(begin)[1]["config"]
    taken = ("mapping_layers", "mapping_hidden", "temperature", "pixels", "prompt", "join")
    like = {k: config[k] for k in taken if k in config}
    people = {"": (sketched,), "replayed": (sketched, captioned)}
    return Contest(
        TABLE, begin, rows(like), people, asked, "val", work, scale.budget, scale.seeds, silent=(sketched,)
    )  # fmt: skip


def main() -> None:
    """The command line."""
    parser = options(
        __doc__, "run folder of the stage 1 that all rows go on from (the second stage of recipes/demo.sh), or demo"
    )
    parser.add_argument("--write", action="store_true", help="write finished rows into the ledger")
    parser.add_argument("--ledger", type=Path, default=ROOT / "results" / "ledger.jsonl")
    args = parser.parse_args()
    scale = scaled(parser, args, Scale(), SMOKE)
    held = contest(args.work, args.start, scale)
    run(held, wanted(dict(held.rows), args.only), args.jobs)
    print("\n".join(differences(held, ("text", "sketch", "sketch+text early"))))
    if args.smoke:
        print("a smoke run: no figure above claims anything")
    elif args.write:
        count = write_down(entries(held, finished(held), COMMAND, TESTS), args.ledger)
        print(f"{count} lines were added to {args.ledger}; next: make tables")


if __name__ == "__main__":
    main()
