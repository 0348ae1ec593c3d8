"""descry simulate: let simulated witnesses answer, and measure."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import tyro

from descry.cli.machine import Count, Flag, Json, Natural, OutFile, Share
from descry.errors import UsageError
from descry.escape import counted
from descry.safe_files import write_whole


def simulate(
    data: tyro.conf.Positional[Path],
    /,
    model: str = "demo",
    part: str = "test",
    policy: tuple[str, ...] = (),
    rounds: Natural = 5,
    seeds: Count = 3,
    forget: Share = 0.0,
    err: Share = 0.0,
    vague: Share = 0.0,
    contradict: Share = 0.0,
    questions: Path | None = None,
    withhold: Share = 0.0,
    probes: Natural = 0,
    truth: Flag = False,
    out: OutFile | None = None,
    json_: Json = False,
) -> int:
    """Rank of the person after every round, for witnesses who know a record of the person and never a picture.

    Args:
        data: a folder of synthetic people, or a folder in which the frozen benchmark is written when it is not there.
        model: demo or a run folder.
        part: test (1,000 people of the frozen benchmark), val (500, for choosing anything) or calibration (4,000).
        policy: none, sentence (one fixed sentence), feedback (things said unasked), gain, random or fixed
            (questions by gain, at random, or in one order), closest (of those shown), or all (feedback, gain and
            closest in turn); if omitted, each of them.
        rounds: how many after the start.
        seeds: how many witnesses of each person.
        forget: share of the answers that are "don't know", 0 to 1.
        err: share of the answers that are the opposite of the record, 0 to 1.
        vague: how often a colour is not known, 0 to 1.
        contradict: how often an earlier answer is taken back, 0 to 1.
        questions: a JSON table of your own, with key, question and phrase in each row; if omitted, the package's.
        withhold: share of the attributes left out of the table.
        probes: use only the first N people; 0 for all.
        truth: questions about the gallery are answered from the records instead of the pictures, as a ceiling.
        out: write all ranks to this file, as JSON.
    """
    from descry.embed import load
    from descry.evaluate import Embedded
    from descry.interact.questions import vocabulary
    from descry_people.benchmark import PARTS, benchmark, held_in, records_of
    from descry_people.read import read_people, read_records

    from .. import simulation
    from ..simulation import withheld, world_of
    from ..witness import Habits

    if not data.is_dir():
        raise UsageError(f"there is no folder {data}; make one, and the benchmark is drawn into it (descry people)")
    if part not in PARTS:
        raise UsageError(f"there is no part {part!r}; allowed: {', '.join(sorted(PARTS))}")
    habits = Habits(forget, err, vague, contradict)
    whole = (data / "people.jsonl").exists()
    people = read_people(data) if whole else benchmark(data, part=part, identities=PARTS[part][1])
    known = read_records(data) if whole else records_of(data, part=part, identities=PARTS[part][1])
    benches = getattr(people, held_in(part))
    if "sketch" not in benches:
        raise UsageError(f"{data} has no {held_in(part)} people with sketches; choose another --part")
    loaded = load(model)
    print(f"embedding {counted(len(benches['sketch'].photos), 'photograph')}", file=sys.stderr)
    table = vocabulary(questions)
    if withhold:
        table = tuple(withheld(table, withhold))
    photos = Embedded.of(loaded, benches["sketch"])
    asked = replace(benches["sketch"], probes=benches["sketch"].probes[: probes or None])
    world = world_of(loaded, asked, known, table, photos, benches.get("sketch+text"), truth=truth)
    courses = [
        simulation.simulate(world, name, habits, rounds, seed)
        for name in policy or simulation.POLICIES
        for seed in range(seeds)
    ]
    rows = [simulation.to_json(c) for c in courses]
    told = json.dumps({"model": loaded.fingerprint, "part": part, "courses": rows})
    if out:
        write_whole(out, told + "\n")
    print(*(told.split("\n") if json_ else simulation.table(courses)), sep="\n")
    if loaded.note:
        print(loaded.note, file=sys.stderr)
    return 0
