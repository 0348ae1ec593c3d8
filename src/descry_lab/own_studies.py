"""Our own studies, on synthetic people: every method and its parts from one CLIP, what stage 2 of InteractReID does to
the demo model, how a CLIP should begin, and what the field has learnt since the three papers (wrong pairs, a picture
with words, other domains, long texts). They show whether a part does what its paper says and how far seeds lie apart,
never how well people are found.

    python -m descry_lab comparison --small --start work/demo/stage0
    python -m descry_lab demo-stage2 --small --start demo
    python -m descry_lab demo-start --small
    python -m descry_lab wrong-pairs|composed|other-domains|long-texts --small
    python -m descry_lab across RUN [RUN …] --data NAME ROOT [--data NAME ROOT …]     runs that are there, on real sets

Every row takes the same steps with the same batch, rate and seeds. The last epoch counts. R@1, as the mean over seeds,
is compared with the start and with the row that a row extends, by the paired test over people, corrected for the number
of rows (Holm). `across` is the protocol for real data: every run is judged on the test split of every data set, so that
what a model learnt on one set can be read on the others. Nothing is selected on any of them.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from descry.checkpoint import SKETCHES, load_any, sketches_of, write_config
from descry.data import read, with_wrong_pairs
from descry.drawing.person import Person
from descry.embed import load
from descry.errors import UsageError, nearest
from descry.evaluate import evaluate_all, judged
from descry.methods import Recipe, baselines, interactreid, preset, propot, rde, vfe_tps
from descry.methods.fafa import nearest_tokens
from descry.query import Query
from descry.ranking import is_synthetic
from descry.records import Benchmark, Dataset, validate
from descry.studies.results import row_of
from descry.tabular import json_lines
from descry.training.loop import Settings
from descry_people.benchmark import write_part
from descry_people.folder import write_people
from descry_people.read import read_people, read_records
from descry_people.sentences import describe

from .engine import Cell, Figures, Study
from .internals import pixels
from .scales import SIZES, Budget, Network, World, beginning, population, train_only, united, untrained
from .tables import SYNTHETIC

FIRST = Cell("the start, as it is")
ASKED = ("text", "sketch", "sketch+text")


def _only(benches: Mapping[str, Benchmark], kinds: tuple[str, ...] = ASKED) -> dict[str, Benchmark]:
    return {kind: benches[kind] for kind in kinds}


# ------------------------------------------------------------------ every method from one CLIP

POPULATION = 7
COMPARED = {
    "smoke": Budget((32, 16), 6, 0, 5, 1, 6),
    "small": Budget((96, 48), 3600, 0, 1000, 2, 64, warmup=0.2),
}


def _rows() -> list[Cell]:
    """Every method, its ablations, and what the papers put in the place of their own parts; each is trained by its
    recommended losses."""
    table = {f"baseline: {name}": Cell("", "baseline", changes) for name, changes in baselines.ROWS.items()}
    extends = {
        "baseline: IRRA (SDM + ID + MLM)": "baseline: CLIP + SDM + ID",
        "baseline: CLIP + SDM + ID": "baseline: CLIP + SDM",
    }
    table |= {f"Propot {name}": Cell("", "propot", changes) for name, changes in propot.ROWS.items()}
    table |= {
        f"Propot, {k} for APA": Cell("", "propot", {"aggregation": k}, against="Propot +DPP+IPP+MLM")
        for k in ("sum", "mean", "mlp", "learned")
    }
    table |= {f"VFE-TPS {name}": Cell("", "vfe_tps", changes) for name, changes in vfe_tps.ROWS.items()}
    for plain in ("Propot baseline", "VFE-TPS none"):
        of_method = plain.partition(" ")[0]
        extends |= {n: plain for n in table if n.startswith(f"{of_method} ") and n != plain}
    for kind in ("simmim", "mae"):
        changes = {"mim": kind, "gvfc": "off"}
        table[f"VFE-TPS, {kind} for TG-MIM"] = Cell("", "vfe_tps", changes, against="VFE-TPS +TG-MIM")
    for kind in ("id", "triplet"):
        changes = {"mim": "off", "gvfc": kind}
        table[f"VFE-TPS, {kind} for IS-GVFC"] = Cell("", "vfe_tps", changes, against="VFE-TPS +IS-GVFC")
    first = "InteractReID stage 1"
    table |= {
        first: Cell("", "interactreid", stages=(1,)),
        "InteractReID stage 1, hard labels": Cell("", "interactreid", {"alpha": 0.0}, against=first, stages=(1,)),
        "InteractReID stage 1, no R-ITC": Cell("", "interactreid", {"reverse_kl": 0.0}, against=first, stages=(1,)),
        "InteractReID stages 1 and 2": Cell("", "interactreid", against=first, stages=(1, 2)),
    }
    return [
        replace(cell, row=name, against=cell.against or extends.get(name, ""), preset="recommended")
        for name, cell in table.items()
    ]


def other_world(source: str) -> int:
    """The world whose cameras the start has not seen, from what it says of its data; UsageError when it knows both."""
    seen = {int(w) for w in re.findall(r"\bworld (\d)", source)}
    if seen >= {0, 1} or re.search(rf"\bseed {POPULATION}\b", source):
        raise UsageError(f"the start has seen these people or both worlds ({source}); give another --start")
    return 0 if 1 in seen else 1


def comparison(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People of another population, under cameras and drawn in a manner that the start has not seen."""
    if scale != "smoke" and not origin:
        raise UsageError("comparison begins with the first stage of recipes/demo.sh: give --start RUN, or --smoke")
    budget, root = COMPARED[scale], work / scale / "comparison"
    world = other_world(str(load_any(origin)[1]["about"].get("source", ""))) if origin else 1
    data = population(root, scale, budget, world, POPULATION)
    data = replace(data, test=_only(data.test))
    return World(scale, beginning(root, scale, origin, [data]), (data,), {}, work, settings, own=budget)


# ------------------------------------------------------------------ stage 2 of the demo model

SKETCHED_FIRST = 900_000
PLAIN = "one rate for all"
CONTINUED = {
    "smoke": Budget((32, 16), 6, 0, 5, 2, 6, narrow=1),
    "small": Budget((96, 48), 1500, 0, 0, 4, 64, 1e-4, narrow=1),
}
TAKEN = ("mapping_layers", "mapping_hidden", "temperature", "pixels", "prompt", "join")
"""What every row takes over from the config of the start, so that Φ and τ go on where they were."""


def _stage2_rows() -> list[Cell]:
    """Ways of not forgetting stage 1. Rates are relative to the budget's, which is the paper's for Φ."""

    def row(name: str, taught: str = "", **changes: Any) -> Cell:
        base = {"image_rate": 1.0, "mapping_rate": 1.0, "composed": 0.0}
        return Cell(
            name,
            "interactreid",
            base | changes,
            "recommended",
            against=PLAIN,
            stages=(2,),
            taught=(taught,) if taught else (),
        )

    printed = {k: getattr(interactreid.PRESETS["paper"], k) for k in TAKEN if not k.startswith("mapping_")}
    every: dict[str, Any] = {"direct": 1.0, "replay": 1.0, "composed": 1.0}
    return [
        Cell("paper's preset as it is", "interactreid", printed, "paper", "", PLAIN, (2,), own_rates=True),
        row("the paper's ratio of rates (1e-5 : 1e-4)", image_rate=0.1),
        replace(row(PLAIN), against=""),
        row("frozen image encoder", image_rate=0.0),
        row("anchored image encoder", anchor=3.0),
        row("direct sketch-photo term", direct=1.0),
        row("replay of stage 1", "replayed", replay=1.0),
        row("pseudo-words in captions of stage 1", "replayed", composed=1.0),
        row("direct, replay and pseudo-words", "replayed", **every),
        row("anchor, direct, replay and pseudo-words", "replayed", anchor=3.0, **every),
    ]


def demo_stage2(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People with sketches and without a word, and captioned people drawn like those of stage 1; asked for are people
    of the validation part of the frozen benchmark."""
    if scale != "smoke" and not origin:
        raise UsageError("demo-stage2 goes on from a stage 1: give --start RUN or --start demo, or --smoke")
    budget, root = CONTINUED[scale], work / scale / "demo-stage2"
    size = (128, 256) if scale == "small" else SIZES[scale]
    many: dict[str, Any] = {"photos": 2, "captions": 1, "splits": train_only(budget.people), "size": size}
    captioned = read_people(write_people(root / "captioned", budget.people, sketches=3, **many))
    sketched = silent(
        read_people(write_people(root / "sketched", budget.people, sketches=3, first=SKETCHED_FIRST, **many))
    )
    asked = read_people(write_part(root, "val", budget.asked or None)).val
    begin = (
        one_encoder(origin, root / "one encoder") if origin else str(untrained(root / "start", [captioned], size[::-1]))
    )
    data = replace(sketched, test=_only(asked))
    budget = replace(budget, size=load(begin, "cpu").image_size)
    config = load_any(begin)[1]["config"]
    return World(
        scale, begin, (data,), {"replayed": united([sketched, captioned])}, work, settings, own=budget, split="val",
        taken={k: config[k] for k in TAKEN if k in config},
    )  # fmt: skip


def one_encoder(origin: str, folder: Path) -> str:
    """The start itself, or, where it reads sketches with weights of their own, a copy that reads them as photographs:
    stage 2 goes on from the image encoder that both share."""
    _, config, start = load_any(origin)
    if not sketches_of(start):
        return origin
    shutil.copytree(start, folder, ignore=shutil.ignore_patterns(SKETCHES, "metrics.json"), dirs_exist_ok=True)
    write_config(folder, config)
    return str(folder)


def silent(data: Dataset) -> Dataset:
    """The training rows without their captions, one for each photograph."""
    return replace(data, train=tuple({e.image_id: replace(e, caption="") for e in data.train}.values()))


# ------------------------------------------------------------------ how a CLIP begins

BEGUN_FIRST, LAST = 500_000, 50
BEGUN = {"smoke": Budget((32, 16), 6, 0, 5, 1, 8), "small": Budget((96, 48), 3000, 0, 0, 3, 96)}
_STAGE0 = Recipe(
    epochs=3, batch_size=96, lr=1e-3, end_lr=1e-4, eps=1e-8, weight_decay=0.05, warmup_epochs=0.3, warmup_from=5e-5,
    selection="last",
)  # fmt: skip
_CONTRASTIVE = {"loss": "info_nce", "temperature": 0.05, "identity": False, "mask_captions": False, "bias_rule": False}


def _begun_rows() -> tuple[Cell, ...]:
    """Two optimisers and two beginnings; each rate is the one its optimiser was tried best with in short runs."""
    return tuple(
        Cell(
            f"{name}, {words}", "baseline", _CONTRASTIVE | {"recipe": replace(_STAGE0, optimiser=name.lower())},
            "recommended", own_rates=True, origin=origin,
        )
        for name in ("AdamW", "Muon")
        for origin, words in (("", "random patches and positions"), ("whitened", "whitened patches and waves"))
    )  # fmt: skip


def demo_start(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """Stage 0 of the demo model on a smaller scale, from random weights; asked for are sentences of the validation part
    of the frozen benchmark."""
    if origin:
        raise UsageError("demo-start begins with random weights; leave --start out")
    budget, root = BEGUN[scale], work / scale / "demo-start"
    people = write_people(
        root / "people", identities=budget.people, photos=2, sketches=1, captions=2, first=BEGUN_FIRST,
        splits={"train": budget.people},
    )  # fmt: skip
    data = read_people(people)
    asked = read_people(write_part(root, "val", budget.asked or None)).val
    net = Network(128, 192, 6, 4, "gelu") if scale == "small" else Network()
    assert budget.size
    begins = [
        str(untrained(root / name, [data], budget.size, net._replace(whitened=w)))
        for name, w in (("random", False), ("whitened", True))
    ]
    data = replace(data, val={}, test=_only(asked, ("text",)))
    return World(
        scale, begins[0], (data,), {}, work, settings, own=budget, origins={"whitened": begins[1]}, split="val"
    )


def last_loss(model: Any, world: World, run: Path) -> Figures:
    """The training loss, mean over the last steps."""
    lines = [row for _, row in json_lines(run / "log.jsonl")]
    losses = [line["info_nce"] for line in lines if "info_nce" in line][-LAST:]
    return {"training": {"loss": round(sum(losses) / len(losses), 4)}}


# ------------------------------------------------------------------ wrong pairs (RDE)

ELSEWHERE = 11
"""Population of the studies from here on: people under cameras that the model which ships has not seen."""


def _budget(scale: str, people: int = 600, epochs: tuple[int, int] = (1, 3)) -> Budget:
    """epochs: of a smoke run, and of synthetic people."""
    if scale == "smoke":
        return Budget((32, 16), 6, 0, 5, epochs[0], 6)
    return Budget((96, 48), people, 0, 500, epochs[1], 64)


WRONG = {"20 %": 0.2, "50 %": 0.5}
TRUSTING = "RDE without CCD, triplet loss"
"""RDE's own baseline: every pair is trusted, and the triplet loss takes the hardest negative."""


def _noised_rows() -> tuple[Cell, ...]:
    """RDE, the same without its division of the pairs, and its baseline, each with two shares of wrong pairs. The
    selection embeddings are narrower and learn at five times the rate, as a small CLIP learns twenty times faster.
    """
    return tuple(
        Cell(
            f"{row}, {share} wrong pairs", "rde", changes | {"width": 128, "new_rate": 5.0}, "recommended",
            against="" if row == TRUSTING else f"{TRUSTING}, {share} wrong pairs", stages=(1,), taught=(share,),
        )
        for share in WRONG
        for row, changes in reversed(rde.ROWS.items())
    )  # fmt: skip


def wrong_pairs(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People under cameras that the model which ships has not seen; a share of their captions is shuffled."""
    budget, root = _budget(scale), work / scale / "wrong-pairs"
    data = population(root, scale, budget, 1, ELSEWHERE)
    data = replace(data, test={"text": data.test["text"]})
    taught = {share: with_wrong_pairs(data, rate) for share, rate in WRONG.items()}
    return World(scale, beginning(root, scale, origin, [data]), (data,), taught, work, settings, own=budget)


# ------------------------------------------------------------------ a picture with words

BOTH = ("photo+text", "sketch+text")
NEAREST = "photo+text nearest"
_FAFA = {"tokens": 8, "nearest": 3, "width": 128, "new_rate": 5.0}
"""FAFA is narrower, and what begins with random weights learns at five times the rate."""


def composed(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People under cameras that the model which ships has not seen; a picture asks together with a sentence."""
    budget, root = _budget(scale), work / scale / "composed"
    data = population(root, scale, budget, 1, ELSEWHERE)
    data = replace(data, test={kind: data.test[kind] for kind in BOTH})
    return World(scale, beginning(root, scale, origin, [data]), (data,), {}, work, settings, own=budget)


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
        tokens = torch.cat([method.tokens_of(pixels(part, model.image_size).to(model.device)).cpu() for part in parts])
    scores = nearest_tokens(queries, tokens, method.config.nearest).numpy()
    return {NEAREST: {"R@1": judged(bench, scores).ranks.r1}}


# ------------------------------------------------------------------ other domains

_PLAIN = {"loss": "info_nce", "identity": False, "mask_captions": False}
PLACES = ("here", "there")
"""Two populations: other people, other cameras, another manner of drawing."""


def other_domains(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """Two populations to learn from, each judged on people of both who are nobody's training people."""
    budget, root = _budget(scale, epochs=(2, 4)), work / scale / "other-domains"
    sets = {name: population(root / name, scale, budget, nth, ELSEWHERE + nth) for nth, name in enumerate(PLACES)}
    asked = {f"text, {name}": replace(held.test["text"], name=f"text, {name}") for name, held in sets.items()}
    data = replace(sets["here"], test=asked)
    start = beginning(root, scale, origin, [united(list(sets.values()))])
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

SENTENCES, POSITIONS = 10, 200
"""Sentences of a long text, vague and partial ones in turn, and positions of an encoder that reads it whole."""


def long_texts(scale: str, work: Path, origin: str, settings: Settings) -> World:
    """People who are told of in ten sentences, each of which names a part of what is worn: more than a CLIP reads."""
    budget, root = _budget(scale, 400), work / scale / "long-texts"
    data = population(root, scale, budget, 1, ELSEWHERE)
    taught, sought = (read_records(root / name) for name in ("people", "asked"))
    train = tuple(replace(e, caption=_story(taught[e.pid], e.image_id)) for e in data.train)
    bench = data.test["text"]
    probes = tuple(
        replace(p, query=Query(wanted=_story(sought[p.pid], 0)), group="", attributes={}) for p in bench.probes
    )
    data = replace(data, train=train, test={"text": replace(bench, probes=probes)})
    return World(scale, beginning(root, scale, origin, [data]), (data,), {}, work, settings, own=budget)


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


OWN_STUDIES = (
    Study(
        "comparison",
        "RUN",
        "whether a part does more than the row that it extends; figures in docs/results.md",
        (FIRST, *_rows()),
        world=comparison,
        tested=("text", "sketch"),
    ),
    Study(
        "demo-stage2",
        "RUN",
        "what stage 2 forgets of stage 1, and what keeps it; figures in docs/demo-model.md",
        (FIRST, *_stage2_rows()),
        world=demo_stage2,
        tested=("text", "sketch", "sketch+text early"),
    ),
    Study(
        "demo-start",
        "",
        "Muon and whitened patches learn faster; figures in docs/demo-model.md",
        _begun_rows(),
        measure=last_loss,
        world=demo_start,
    ),
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
