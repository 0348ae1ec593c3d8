"""descry train."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, get_type_hints

import tyro

from ..errors import POSITIVE, Bound, UsageError, nearest
from .index import stopping
from .machine import Count, Flag, Json, Machine, Natural, OnMachine, OutFolder, Size
from .progress import progress


@dataclass(frozen=True)
class Changes:
    """Changes to the preset's recipe; what is not given stays as the preset has it.

    Args:
        epochs: how often all rows are seen.
        lr: base learning rate.
        set: any other field of the method's config or recipe, as FIELD=VALUE.
    """

    epochs: Count | None = None
    lr: Annotated[float, POSITIVE] | None = None
    set: tuple[str, ...] = ()


def train(
    method: tyro.conf.Positional[str],
    /,
    data: tuple[str, ...],
    from_: Annotated[str, tyro.conf.arg(name="from")],
    out: OutFolder,
    preset: str = "recommended",
    stage: Annotated[int, Bound(1, 2)] = 1,
    image_size: Size | None = None,
    resume: Flag = False,
    accumulate: Count = 1,
    save_every: Natural = 0,
    checkpoint_gradients: Flag = False,
    cache_gradients: Natural = 0,
    tensorboard: Flag = False,
    select_on_test: Flag = False,
    half: Flag = False,
    json_: Json = False,
    changes: Annotated[Changes, tyro.conf.arg(name="")] = Changes(),
    machine: OnMachine = Machine(),
) -> int:
    """Train a method and write a run folder. After Ctrl-C, --resume continues the run.

    A finished training is also recorded in the ledger.jsonl of its run folder.

    Args:
        method: interactreid, propot, vfe_tps, baseline, vit_bert, rde, pic2word, word4per, fafa.
        data: a data set folder, or NAME and its folder.
        from_: what to start from: a run folder, demo, a CLIP folder or hub name, a file ViT-B-16.pt, or random.
        out: the run folder to write.
        preset: paper (as the paper prints it), released (as the authors' code does it), or recommended (with the known
            faults of both corrected).
        stage: 1 or 2, for methods with two stages.
        image_size: height and width; if omitted, the preset's.
        resume: continue this run folder where it stopped.
        accumulate: micro-batches of one step; each has its own negatives.
        save_every: also save after this many steps.
        checkpoint_gradients: less memory, more time.
        cache_gradients: encode this many rows at a time; a batch too large for memory still uses all its negatives.
        tensorboard: also write curves for TensorBoard into the run folder.
        select_on_test: choose the epoch on the test split; this flatters the result, which says so.
        half: store the model in 16 bits.
    """
    import torch

    from ..embed import choose_device
    from ..studies.results import remember_training
    from ..training.loop import Settings, Step
    from ..training.loop import train as run
    from ..training.start import read_data, start, tell_unknown

    machine.settle()
    choose_device(machine.device, machine.precision)
    torch.manual_seed(machine.seed)
    dataset = read_data(data)
    made, about = start(
        method,
        preset,
        stage,
        from_,
        dataset,
        out,
        image_size,
        resume,
        machine.allow_download,
        machine.seed,
        change(changes, machine),
    )
    tell_unknown(made.words, (text for e in dataset.train for text in (e.caption, e.back_translation)))
    settings = Settings(
        machine.seed, machine.device, machine.precision, accumulate, save_every, select_on_test,
        machine.threads, half, resume, checkpoint_gradients, cache_gradients, tensorboard,
    )  # fmt: skip
    recipe = made.config.recipe
    if not recipe.warmup_share and recipe.warmup_epochs >= recipe.epochs:
        print(
            f"note: the warm-up of {recipe.warmup_epochs:g} epochs takes the whole run of {recipe.epochs}, so the rate "
            f"{recipe.lr:g} is never reached; add --set warmup_share=0.1",
            file=sys.stderr,
        )
    other = os.environ.get("RANK", "0") != "0"
    with (
        stopping("stopping after this step; once more stops at once") as stop,
        progress(f"training {method}, {recipe.epochs} epochs", quiet=other) as tick,
    ):

        def show(step: Step) -> None:
            shown = " ".join(f"{k} {v:.3f}" for k, v in step.losses.items())
            tick(step.step, step.steps, f"epoch {step.epoch + 1} {shown}")

        metrics = run(made, method, preset, dataset, out, settings, about, show, stop)
    if "interrupted" in metrics:
        print(
            f"stopped after step {metrics['interrupted']} of {metrics['steps']}; go on with --resume", file=sys.stderr
        )
        return 130
    if other:
        return 0
    remember_training(out, metrics, " ".join(["descry", *sys.argv[1:]]))
    if json_:
        print(json.dumps(metrics))
    else:
        chosen = f"epoch {metrics['kept_epoch']} of {metrics['epochs']} kept, selected on {metrics['selection']}"
        if scores := metrics["selection_scores"]:
            chosen += f" (mean R@1 {max(scores):.1f}; by epoch: {', '.join(f'{score:.1f}' for score in scores)})"
        given = " --data ".join(data)
        print(f"{out}: {chosen}", f"next: descry evaluate {out} --data {given}", sep="\n")
        if "composition" in metrics:
            scores = ", ".join(f"{how} {r1}" for how, r1 in metrics["composition R@1"].items())
            print(f"sketch and words are joined by {metrics['composition']}, chosen on validation (R@1: {scores})")
        print(f"then: descry model measure {out} --data {given}  (which words it reads, how it ranks and asks)")
    return 0


def change(changes: Changes, machine: Machine) -> Any:
    """From the options to a function that changes a config."""
    given = {"epochs": changes.epochs, "lr": changes.lr, "batch_size": machine.batch_size or None}
    given = {k: v for k, v in given.items() if v is not None}

    def apply(config: Any) -> Any:
        recipe, others = dict(given), dict[str, Any]()
        known = {f.name: f.type for f in fields(config)}
        recipe_known = {f.name for f in fields(config.recipe)}
        for text in changes.set:
            name, sign, value = text.partition("=")
            if not sign or (name not in known and name not in recipe_known):
                raise UsageError(f"--set {text}: expected FIELD=VALUE; {nearest(name, [*known, *recipe_known])}")
            owner = config if name in known else config.recipe
            if name in (others if name in known else recipe):
                raise UsageError(f"--set {text}: {name} is given twice; leave one out")
            (others if name in known else recipe)[name] = _typed(owner, name, value)
        config = replace(config, **others) if others else config
        return config.with_recipe(replace(config.recipe, **recipe)) if recipe else config

    return apply


def _typed(owner: Any, name: str, value: str) -> Any:
    """The text of --set as a value of the field's type."""
    kind, old = get_type_hints(type(owner))[name], getattr(owner, name)
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[value.lower()]
        if isinstance(old, tuple):
            return tuple(type(old[0])(v) for v in value.split(","))
        return kind(value)
    except (KeyError, ValueError, IndexError, TypeError):
        raise UsageError(f"--set {name}={value}: expected a value like {old!r}") from None
