"""Every method and its ablations on synthetic people, from one stage-0 CLIP, with one budget and the same seeds.

    python recipes/compare_synthetic.py --start work/demo/stage0 --work work/compare --jobs 4
    python recipes/note_comparison.py work/compare && make tables
    python recipes/compare_synthetic.py --smoke --work work/smoke-compare       (a minute; claims nothing)

The start is a CLIP trained on people of one world (the first stage of recipes/demo.sh). Rows train on, and are judged
on, people of another population under the other world's cameras and manner of drawing people, so nobody and no camera
is known to the start. Every row gets the same steps, batch, rate and seeds with its method's recommended losses; a row
of two stages shares them between the two. No validation: the last epoch counts. R@1, as the mean over seeds, is
compared with the start as it is and with the row that a row extends, by the paired sign-flip test over people; p-values
are corrected for the number of rows (Holm). Finished runs are kept, so an interrupted comparison goes on.

Hardware and time: one thread a run, in float32, one to two minutes each; the ledger keeps the seconds.
Expected: docs/results.md. Synthetic people are no evidence of accuracy on real people; what the table can show is
whether a part does what its paper says, and how far seeds lie apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from contest import Budget, Contest, Row, options, run, scaled, wanted
from verdict import differences

from descry.checkpoint import load_any
from descry.errors import UsageError
from descry.methods import baselines, propot, vfe_tps
from descry_lab.scales import untrained
from descry_people.benchmark import MIXTURE
from descry_people.folder import write_people
from descry_people.read import read_people

POPULATION, ASKED_FIRST = 7, 500_000
TABLE, TESTS = "comparison", "comparison-tests"
BUDGET = Budget()


@dataclass(frozen=True)
class Scale:
    """people, photos: to learn from, and photographs of each. asked: people searched for. size: (width, height)."""

    people: int = 3600
    photos: int = 2
    asked: int = 1000
    size: tuple[int, int] = (64, 128)
    budget: Budget = BUDGET
    seeds: tuple[int, ...] = (0, 1, 2)


SMOKE = Scale(12, 2, 8, (16, 32), Budget(epochs=1, batch=6), (0, 1))


def rows(rivals: bool = True) -> dict[str, Row]:
    """Name → row, in the order of the table. rivals: also what the papers put in the place of their own parts."""
    table = {f"baseline: {name}": Row("baseline", changes) for name, changes in baselines.ROWS.items()}
    table["baseline: IRRA (SDM + ID + MLM)"] = replace(
        table["baseline: IRRA (SDM + ID + MLM)"], against="baseline: CLIP + SDM + ID"
    )
    table["baseline: CLIP + SDM + ID"] = replace(table["baseline: CLIP + SDM + ID"], against="baseline: CLIP + SDM")
    table |= {f"Propot {name}": Row("propot", changes, "Propot baseline") for name, changes in propot.ROWS.items()}
    full = "Propot +DPP+IPP+MLM"
    table |= {
        f"Propot, {k} for APA": Row("propot", {"aggregation": k}, full) for k in ("sum", "mean", "mlp", "learned")
    }
    table |= {f"VFE-TPS {name}": Row("vfe_tps", changes, "VFE-TPS none") for name, changes in vfe_tps.ROWS.items()}
    for plain in ("Propot baseline", "VFE-TPS none"):
        table[plain] = replace(table[plain], against="")
    for kind in ("simmim", "mae"):
        table[f"VFE-TPS, {kind} for TG-MIM"] = Row("vfe_tps", {"mim": kind, "gvfc": "off"}, "VFE-TPS +TG-MIM")
    for kind in ("id", "triplet"):
        table[f"VFE-TPS, {kind} for IS-GVFC"] = Row("vfe_tps", {"mim": "off", "gvfc": kind}, "VFE-TPS +IS-GVFC")
    first = "InteractReID stage 1"
    table |= {
        first: Row("interactreid"),
        "InteractReID stage 1, hard labels": Row("interactreid", {"alpha": 0.0}, first),
        "InteractReID stage 1, no R-ITC": Row("interactreid", {"reverse_kl": 0.0}, first),
        "InteractReID stages 1 and 2": Row("interactreid", {}, first, (1, 2)),
    }
    return {name: row for name, row in table.items() if rivals or " for " not in name}


def other_world(source: str) -> int:
    """The world whose cameras the start has not seen, from what it says of its data; UsageError when it knows both."""
    seen = {int(w) for w in re.findall(r"\bworld (\d)", source)}
    if seen >= {0, 1} or re.search(rf"\bseed {POPULATION}\b", source):
        raise UsageError(f"the start has seen these people or both worlds ({source}); give another --start")
    return 0 if 1 in seen else 1


def contest(work: Path, origin: str, scale: Scale, rivals: bool) -> Contest:
    """The people, drawn where they are not yet, and the rows."""
    world = 1 if not origin else other_world(str(load_any(origin)[1]["about"].get("source", "")))
    tell = {"sketches": 1, "captions": 1, "seed": POPULATION, "world": world, "size": scale.size}
    taught = write_people(
        work / "people", scale.people, scale.photos, splits={"train": scale.people, "val": 0, "test": 0}, **tell
    )
    sought = {"train": 0, "val": 0, "test": scale.asked}
    asked = write_people(work / "asked", scale.asked, 2, splits=sought, first=ASKED_FIRST, mixture=MIXTURE, **tell)
    begin = origin or str(untrained(work / "start", [read_people(taught)], scale.size[::-1]))
    return Contest(TABLE, begin, rows(rivals), {"": (taught,)}, asked, "test", work, scale.budget, scale.seeds)


def main() -> None:
    """The command line."""
    parser = options(__doc__, "run folder of the CLIP that all rows begin with: the first stage of recipes/demo.sh")
    parser.add_argument("--rivals", action="store_true", help="also the papers' rivals")
    args = parser.parse_args()
    scale = scaled(parser, args, Scale(), SMOKE)
    held = contest(args.work, args.start, scale, args.rivals)
    run(held, wanted(dict(held.rows), args.only), args.jobs)
    print("\n".join(differences(held)))
    if args.smoke:
        print("a smoke run: no figure above claims anything")


if __name__ == "__main__":
    main()
