"""Studies of what the field has learnt since the three papers, on synthetic people: wrong pairs, a picture with words,
other domains, long texts.

    python -m descry_lab wrong-pairs --small
    python -m descry_lab composed --small
    python -m descry_lab other-domains --small
    python -m descry_lab long-texts --small
    python -m descry_lab across RUN [RUN …] --data NAME ROOT [--data NAME ROOT …]     runs that are there, on real sets

`across` is the protocol for real data: every run is judged on the test split of every data set, so that what a model
learnt on one set can be read on the others. Nothing is selected on any of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from descry import images
from descry.data import read, with_wrong_pairs
from descry.drawing.person import Person
from descry.embed import load
from descry.errors import UsageError, nearest
from descry.evaluate import evaluate_all, judged
from descry.methods import preset, rde
from descry.methods.fafa import nearest_tokens
from descry.query import Query
from descry.ranking import is_synthetic
from descry.records import Dataset, validate
from descry.studies.results import row_of
from descry.training.loop import Settings
from descry_people.benchmark import MIXTURE
from descry_people.folder import write_people
from descry_people.read import read_people, read_records
from descry_people.sentences import describe

from .engine import Cell, Figures, Study
from .scales import START, Budget, World, united, untrained
from .tables import SYNTHETIC

FIRST = Cell("the start, as it is")
POPULATION, ASKED_FIRST = 11, 500_000
SIZES = {"smoke": (16, 32), "small": (64, 128)}
"""(width, height) of the pictures drawn."""


def _people(root: Path, scale: str, people: int, asked: int, world: int, seed: int = POPULATION) -> Dataset:
    """Training people with two photographs, a sketch and a caption each, and other people who are asked for."""
    tell: dict[str, Any] = {"photos": 2, "sketches": 1, "captions": 1, "seed": seed, "world": world}
    tell["size"] = SIZES[scale]
    taught = write_people(root / "people", people, splits={"train": people, "val": 0, "test": 0}, **tell)
    sought = {"train": 0, "val": 0, "test": asked}
    tested = write_people(root / "asked", asked, splits=sought, first=ASKED_FIRST, mixture=MIXTURE, **tell)
    return replace(read_people(taught), test=read_people(tested).test)


def _start(root: Path, scale: str, origin: str, data: Dataset) -> str:
    """What every row begins with: the run that was given, the model that ships, or a tiny CLIP for a smoke run."""
    if origin or scale == "small":
        return origin or START
    if scale != "smoke":
        raise UsageError("this study is made on synthetic people: give --small or --smoke")
    return str(untrained(root / "start", [data], SIZES[scale][::-1]))


# ------------------------------------------------------------------ wrong pairs (RDE)

NOISED = {"smoke": Budget((32, 16), 6, 0, 5, 1, 6), "small": Budget((96, 48), 600, 0, 500, 3, 64)}
WRONG = {"20 %": 0.2, "50 %": 0.5}
PLAIN = "RDE without CCD, triplet loss"
"""RDE's own baseline: every pair is trusted, and the triplet loss takes the hardest negative."""


def _noised_rows() -> tuple[Cell, ...]:
    """RDE, the same without its division of the pairs, and its baseline, each with two shares of wrong pairs. The
    selection embeddings are narrower and learn at five times the rate, as a small CLIP learns twenty times faster.
    """
    return tuple(
        Cell(
            f"{row}, {share} wrong pairs", "rde", changes | {"width": 128, "new_rate": 5.0}, "recommended",
            against="" if row == PLAIN else f"{PLAIN}, {share} wrong pairs", stages=(1,), taught=(share,),
        )
        for share in WRONG
        for row, changes in reversed(rde.ROWS.items())
    )  # fmt: skip


def wrong_pairs(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People under cameras that the model which ships has not seen; a share of their captions is shuffled."""
    budget, root = NOISED[scale], work / scale / "wrong-pairs"
    data = _people(root, scale, budget.people, budget.asked, world=1)
    data = replace(data, test={"text": data.test["text"]})
    taught = {share: with_wrong_pairs(data, rate) for share, rate in WRONG.items()}
    return World(scale, _start(root, scale, origin, data), (data,), taught, work, settings, own=budget)


# ------------------------------------------------------------------ a picture with words

COMPOSED = {"smoke": Budget((32, 16), 6, 0, 5, 1, 6), "small": Budget((96, 48), 600, 0, 500, 3, 64)}
BOTH = ("photo+text", "sketch+text")
NEAREST = "photo+text nearest"
_FAFA = {"tokens": 8, "nearest": 3, "width": 128, "new_rate": 5.0}
"""FAFA is narrower, and what begins with random weights learns at five times the rate."""


def composed(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People under cameras that the model which ships has not seen; a picture asks together with a sentence."""
    budget, root = COMPOSED[scale], work / scale / "composed"
    data = _people(root, scale, budget.people, budget.asked, world=1)
    data = replace(data, test={kind: data.test[kind] for kind in BOTH})
    return World(scale, _start(root, scale, origin, data), (data,), {}, work, settings, own=budget)


def nearest_score(model: Any, world: World, run: Path) -> Figures:
    """FAFA by the paper's score, the mean cosine to the k nearest tokens of a photograph; nothing for other methods."""
    method, bench = model.method, world.data[0].test[BOTH[0]]
    if not hasattr(method, "tokens_of"):
        return {}
    words = [str(p.query.wanted[0].value) for p in bench.probes]
    queries = torch.from_numpy(model.compose([p.query.photos[0].value for p in bench.probes], words))
    paths = [p.path for p in bench.photos]
    parts = [paths[i : i + 64] for i in range(0, len(paths), 64)]
    with torch.inference_mode():
        tokens = torch.cat([method.tokens_of(_pixels(part, model.image_size).to(model.device)).cpu() for part in parts])
    scores = nearest_tokens(queries, tokens, method.config.nearest).numpy()
    return {NEAREST: {"R@1": judged(bench, scores).ranks.r1}}


def _pixels(paths: Sequence[str], size: tuple[int, int]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(images.load(path, size)) for path in paths]).float().div_(255)


# ------------------------------------------------------------------ other domains

ELSEWHERE = {"smoke": Budget((32, 16), 6, 0, 5, 2, 6), "small": Budget((96, 48), 600, 0, 500, 4, 64)}
_PLAIN = {"loss": "info_nce", "identity": False, "mask_captions": False}
PLACES = ("here", "there")
"""Two populations: other people, other cameras, another manner of drawing."""


def other_domains(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """Two populations to learn from, each judged on people of both who are nobody's training people."""
    budget, root = ELSEWHERE[scale], work / scale / "other-domains"
    sets = {
        name: _people(root / name, scale, budget.people, budget.asked, world=nth, seed=POPULATION + nth)
        for nth, name in enumerate(PLACES)
    }
    asked = {f"text, {name}": replace(held.test["text"], name=f"text, {name}") for name, held in sets.items()}
    data = replace(sets["here"], test=asked)
    start = _start(root, scale, origin, united(list(sets.values())))
    return World(scale, start, (data,), sets, work, settings, own=budget)


def _other_domains_rows() -> tuple[Cell, ...]:
    """One set, the other, and first the one and then the other, with as many steps in all."""
    taught: dict[str, tuple[str, ...]] = {
        "trained here": ("here",),
        "trained there": ("there",),
        "pre-trained here, fine-tuned there": ("here", "there"),
    }
    return tuple(
        Cell(
            row, "baseline", _PLAIN, "recommended", taught=sets, stages=(1,) * len(sets),
            against="trained there" if len(sets) > 1 else "",
        )
        for row, sets in taught.items()
    )  # fmt: skip


# ------------------------------------------------------------------ long texts

TOLD_LONG = {"smoke": Budget((32, 16), 6, 0, 5, 1, 6), "small": Budget((96, 48), 400, 0, 500, 3, 64)}
SENTENCES, POSITIONS = 10, 200
"""Sentences of a long text, vague and partial ones in turn, and positions of an encoder that reads it whole."""


def long_texts(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People who are told of in ten sentences, each of which names a part of what is worn: more than a CLIP reads."""
    budget, root = TOLD_LONG[scale], work / scale / "long-texts"
    data = _people(root, scale, budget.people, budget.asked, world=1)
    taught, sought = (read_records(root / name) for name in ("people", "asked"))
    train = tuple(replace(e, caption=_story(taught[e.pid], e.image_id)) for e in data.train)
    bench = data.test["text"]
    probes = tuple(
        replace(p, query=Query(wanted=_story(sought[p.pid], 0)), group="", attributes={}) for p in bench.probes
    )
    data = replace(data, train=train, test={"text": replace(bench, probes=probes)})
    return World(scale, _start(root, scale, origin, data), (data,), {}, work, settings, own=budget)


def _story(person: Person, nth: int) -> str:
    """Several sentences about one person."""
    told = ("vague", "partial") * (SENTENCES // 2)
    return " ".join(describe(person, 100 * nth + k, how, 0.0).text for k, how in enumerate(told))


def _long_text_rows() -> tuple[Cell, ...]:
    """The model as it is by three policies, then two that are trained on long captions."""
    plain, tuned = preset("zero_shot", "recommended").recipe, preset("baseline", "recommended").recipe
    more = {"text_length": POSITIONS}

    def as_it_is(row: str, **recipe: Any) -> Cell:
        return Cell(row, "zero_shot", {"recipe": replace(plain, **recipe)}, "recommended", stages=(1,))

    def trained(row: str, **recipe: Any) -> Cell:
        return Cell(row, "baseline", _PLAIN | {"recipe": replace(tuned, **recipe)}, "recommended", stages=(1,))

    return (
        as_it_is("cut"),
        as_it_is("windows", long_queries="windows"),
        as_it_is("more positions, not trained", **more),
        trained("trained on long texts, cut"),
        trained("trained on long texts, windows", long_queries="windows"),
        trained("trained on long texts, more positions", **more),
    )


def across(argv: Sequence[str]) -> int:
    """Every run on the test split of every data set, as a table; exit status 0."""
    parser = argparse.ArgumentParser("python -m descry_lab across", description=across.__doc__)
    parser.add_argument("runs", nargs="+", help="run folders, demo, or CLIP folders")
    named: dict[str, Any] = {"nargs": "+", "action": "append", "required": True, "metavar": ("NAME", "ROOT")}
    parser.add_argument("--data", **named, help="a data set and its folder, or a folder alone; may be repeated")
    parser.add_argument("--benchmark", default="text", help="what is asked with: text, sketch, photo+text …")
    parser.add_argument("--measure", choices=("R@1", "R@5", "R@10", "mAP", "mINP"), default="R@1")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    args = parser.parse_args(argv)
    sets = [validate(read(*given)) for given in args.data]
    for data in sets:
        if args.benchmark not in data.test:
            raise UsageError(
                f"{data.name} has no test benchmark {args.benchmark!r}; {nearest(args.benchmark, list(data.test))}"
            )
    names = [f"{data.name}, {given[-1]}" for data, given in zip(sets, args.data, strict=True)]
    print(f"| {args.measure}, {args.benchmark} | learnt from | " + " | ".join(names) + " |")
    print("|---|---|" + "---|" * len(sets))
    for run in args.runs:
        model = load(run, args.device)
        cells = []
        for data in sets:
            rows = [row_of(e) for e in evaluate_all(model, {args.benchmark: data.test[args.benchmark]})]
            best = [f"{r['composition']} {_with_span(r, args.measure)}".strip() for r in rows]
            cells.append(", ".join(best))
        learnt = " → ".join(step["data"] for step in model.about.get("history", [])) or model.about.get("weights", "")
        print(f"| {run} | {learnt} | " + " | ".join(cells) + " |", flush=True)
    print("\n[…] 95 % intervals by bootstrap over identities")
    if any(is_synthetic(data.source) for data in sets):
        print(SYNTHETIC)
    return 0


def _with_span(row: Mapping[str, Any], measure: str) -> str:
    span = row["intervals"].get(measure)
    return f"{row[measure]:.2f}" + (f" [{span[0]:.1f}, {span[1]:.1f}]" if span else "")


LATER_STUDIES = (
    Study(
        "wrong-pairs",
        "",
        "RDE loses less to wrong pairs than its baseline; figures in docs/results.md",
        (FIRST, *_noised_rows()),
        world=wrong_pairs,
        tested=("text",),
    ),
    Study(
        "composed",
        "",
        "InteractReID's pseudo-word and late fusion beside their rivals, by photograph and by sketch with words",
        (
            FIRST,
            Cell("InteractReID, stage 2", "interactreid", preset="recommended", stages=(2,)),
            Cell("Pic2Word", "pic2word", preset="recommended", stages=(1,)),
            Cell("Word4Per", "word4per", preset="recommended", stages=(1,)),
            Cell("FAFA, photographs", "fafa", _FAFA, "recommended", stages=(1,)),
            Cell("FAFA, sketches", "fafa", _FAFA | {"reference": "sketch"}, "recommended", stages=(1,)),
        ),
        measure=nearest_score,
        world=composed,
    ),
    Study(
        "other-domains",
        "",
        "what is learnt on one population is worth less on the other; figures in docs/results.md",
        (FIRST, *_other_domains_rows()),
        world=other_domains,
    ),
    Study(
        "long-texts",
        "",
        "a text beyond the limit is cut, read in windows, or read by more positions; figures in docs/results.md",
        _long_text_rows(),
        world=long_texts,
    ),
)
