"""How far a drawing gets, by how it was drawn: by lay people, small in a corner, as a dressed figure, beside words.

    python recipes/drawings.py WORK [--people 200] [--model demo] [--only "stick figure"] [--out results]
    python recipes/drawings.py WORK --version-2     the sketches of version 2 of the benchmark, by style

--out keeps the figures in drawings.json of that folder, and a test holds docs/demo-model.md to them.

The photographs are the test part of the frozen benchmark under WORK (all 2,000; written if absent); the questions are
asked for its first people. Each line is before (as drawn) and after (fitted to its ink, as `descry search` reads it),
with 95 % intervals of 1,000 resamplings of the people. Synthetic people: no evidence about real ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from descry import Query, compose_sketch, load
from descry.drawing.person import Person
from descry.errors import UsageError, nearest
from descry.evaluate import Embedded, scores_of
from descry.records import Probe
from descry.search import Memo
from descry_people.benchmark import MIXTURES, PARTS, SEED, SIZE, benchmark, records_of
from descry_people.folder import make_sketch
from descry_people.person import to_json
from descry_people.plan import Plan
from descry_people.sentences import describe
from descry_people.sketch import STYLES, draw_sketch, misremember


def in_corner(drawing: Image.Image) -> Image.Image:
    """The same drawing at 35 per cent of its size in the lower left corner of a paper of the same size."""
    small = drawing.resize((round(drawing.width * 0.35), round(drawing.height * 0.35)), Image.Resampling.LANCZOS)
    paper = Image.new("RGB", drawing.size, "white")
    paper.paste(small, (2, drawing.height - small.height - 2))
    return paper


def dressed(person: Person, seed: int) -> Image.Image:
    """The figure of a record of which 15 per cent of what a drawing shows is wrong."""
    wrong = misremember(person, STYLES["line"], Random(f"dressed {seed}"), 0.15)
    return compose_sketch({k: v for k, v in to_json(wrong).items() if not k.endswith("_colour")}).sketch


def stick(person: Person, seed: int) -> Image.Image:
    """A stick figure, the same for everybody but for the hand."""
    from PIL import ImageDraw

    rng = Random(f"stick {seed} {person.pid}")
    paper = Image.new("RGB", (256, 512), "white")
    pen = ImageDraw.Draw(paper)

    def at(x: float, y: float) -> tuple[float, float]:
        return x + rng.uniform(-6, 6), y + rng.uniform(-6, 6)

    neck, hip = at(128, 150), at(128, 300)
    pen.ellipse((*at(98, 50), *at(158, 130)), outline=20, width=8)
    for line in ((neck, hip), (hip, at(80, 480)), (hip, at(176, 480)), (neck, at(60, 260)), (neck, at(196, 260))):
        pen.line(line, fill=(20, 20, 20), width=8)
    return paper


def scribble(person: Person, seed: int) -> Image.Image:
    """Twelve strokes from anywhere to anywhere, which show nobody."""
    from PIL import ImageDraw

    rng = Random(f"scribble {seed} {person.pid}")
    paper = Image.new("RGB", (256, 512), "white")
    pen = ImageDraw.Draw(paper)
    for _ in range(12):
        points = [(rng.uniform(20, 236), rng.uniform(20, 492)) for _ in range(rng.randint(2, 5))]
        pen.line(points, fill=(20, 20, 20), width=rng.randint(2, 8), joint="curve")
    return paper


def version_2(work: str, model: Any) -> dict[str, Any]:
    """R@10 of the test sketches of version 2 of the benchmark by style, and of the same people's without an error, read
    by the image encoder as photographs are (before) and as sketches are (after)."""
    people = records_of(work)
    bench = benchmark(work, pixels=False).test["text"]
    photos, (first, count) = Embedded.of(model, bench), PARTS["test"]
    plan = Plan(count, 2, 1, 1, SEED, 0, SIZE, {"test": count}, first, MIXTURES[2])
    drawn: dict[str, list[tuple[int, Image.Image]]] = {}
    found: dict[str, Any] = {}
    for pid, person in people.items():
        sketch, style = make_sketch(plan, person, 0)
        drawn.setdefault(style, []).append((pid, sketch.image))
        if style == "lay":
            right = draw_sketch(person, pid, "lay", 0.0, SIZE).image
            drawn.setdefault("lay, nothing wrong", []).append((pid, right))
    for style, rows in drawn.items():
        owners = np.array([pid for pid, _ in rows])
        fitted = [model.fit_sketch(picture).picture for _, picture in rows]
        for when, embed in (("before", model.embed_images), ("after", model.embed_sketches)):
            scores = embed(fitted) @ photos.vectors.T
            best = np.where(photos.pids == owners[:, None], scores, -2).max(axis=1)
            name = f"{style} ({len(rows)}), {when}"
            found[name] = told(f"version 2, {name}", (scores > best[:, None]).sum(axis=1) + 1)
    return found


def kept(out: str, which: str, found: dict[str, Any], model: Any) -> None:
    """Put one of the two measurements beside the other in drawings.json of a folder. Figures that were not made this
    time stay, if they are of the same model."""
    path = Path(out) / "drawings.json"
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if before.get(which, {}).get("search_fingerprint") == model.search_fingerprint:
        found = before[which]["figures"] | found
    figures = {"search_fingerprint": model.search_fingerprint, "figures": found}
    path.write_text(json.dumps(before | {which: figures}, indent=1) + "\n", "utf-8")


def told(name: str, row: np.ndarray) -> dict[str, Any]:
    """One line of the table, printed. row: ranks."""
    again = np.random.default_rng(0).integers(len(row), size=(1000, len(row)))
    hit = (row <= 10) * 100.0
    low, high = np.quantile(hit[again].mean(axis=1), (0.025, 0.975))
    found = {"R@1": float((row == 1).mean() * 100), "R@10": float(hit.mean()), "interval": [low, high],
             "median": float(np.median(row))}  # fmt: skip
    print(
        f"{name:<50} R@1 {found['R@1']:5.1f}  R@10 {hit.mean():5.1f} ({low:.1f} to {high:.1f})  "
        f"median {np.median(row):g}",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--out", default="", help="folder in which drawings.json is kept")
    parser.add_argument("--only", default="", help="this kind of drawing alone, beside words alone")
    parser.add_argument("--version-2", action="store_true", help="the sketches of version 2 of the benchmark alone")
    args = parser.parse_args()
    model = load(args.model)
    if args.version_2:
        table = version_2(args.work, model)
        if args.out:
            kept(args.out, "version 2", table, model)
        return
    data, people = benchmark(args.work, pixels=False), records_of(args.work)
    bench = data.test["text"]
    photos = Embedded.of(model, bench)
    pids = photos.pids
    chosen = [probe.pid for probe in bench.probes][: args.people]
    drawn = {
        "lay": {i: draw_sketch(people[i], i, "lay", 0.15, (256, 512)).image for i in chosen},
        "lay, nothing wrong": {i: draw_sketch(people[i], i, "lay", 0.0, (256, 512)).image for i in chosen},
        "lay, full size": {i: draw_sketch(people[i], 7 * i, "lay", 0.15, (256, 512)).image for i in chosen},
        "dressed, 15 % wrong": {i: dressed(people[i], i) for i in chosen},
        "stick figure": {i: stick(people[i], i) for i in chosen},
        "scribble": {i: scribble(people[i], i) for i in chosen},
        "shipped (v1)": {p.pid: p.query.sketches[0].value for p in data.test["sketch"].probes if p.pid in set(chosen)},
    }
    drawn["lay, small in a corner"] = {i: in_corner(d) for i, d in drawn["lay, full size"].items()}
    if args.only:
        if args.only not in drawn:
            raise UsageError(f"there is no drawing {args.only!r}; {nearest(args.only, list(drawn))}")
        drawn = {args.only: drawn[args.only]}
    said = {i: describe(people[i], i, "vague", 0.04).text for i in chosen}
    memo, found = Memo(1 << 20), {}

    def ranks(queries: list[Query]) -> np.ndarray:
        probes = [Probe(q, i) for q, i in zip(queries, chosen, strict=True)]
        scores = scores_of(model, probes, photos, memo=memo)
        best = np.array([row[pids == i].max() for row, i in zip(scores, chosen, strict=True)])
        return (scores > best[:, None]).sum(axis=1) + 1

    found["vague words"] = ranks([Query(wanted=said[i]) for i in chosen])
    for name, pictures in drawn.items():
        for when, raw in (("before", True), ("after", False)):
            found[f"{name}, {when}"] = ranks([Query(sketches=pictures[i], as_drawn=raw) for i in chosen])
            found[f"vague words + {name}, {when}"] = ranks(
                [Query(sketches=pictures[i], wanted=said[i], as_drawn=raw) for i in chosen]
            )
    table = {name: told(name, row) for name, row in found.items()}
    alone, again = found["vague words"] <= 10, np.random.default_rng(0).integers(len(chosen), size=(1000, len(chosen)))
    for name in drawn:
        gained = 100.0 * (found[f"vague words + {name}, after"] <= 10) - 100.0 * alone
        low, high = np.quantile(gained[again].mean(axis=1), (0.025, 0.975))
        table[f"vague words + {name}, after"]["gained"] = [float(gained.mean()), low, high]
        print(f"{name}: R@10 {gained.mean():+.1f} ({low:+.1f} to {high:+.1f}) beside words alone, person by person")
    if args.out:
        kept(args.out, f"{args.people} people", table, model)


if __name__ == "__main__":
    main()
