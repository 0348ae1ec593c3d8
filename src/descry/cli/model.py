"""descry model get, convert, model info, model card, model pack, export."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import UsageError, nearest
from ..escape import counted
from .machine import Flag, Json, Machine, Natural, OnMachine, OutFile, OutFolder, Size, emit


def get(
    source: tyro.conf.Positional[str],
    /,
    name: str = "",
    image_size: Size | None = None,
    offline: Flag = False,
    json_: Json = False,
) -> None:
    """Fetch a pretrained CLIP for real photographs, convert and check it, and remember it for descry index.

    Args:
        source: a hub name such as openai/clip-vit-base-patch16 (600 MB, MIT licence), a folder in the transformers
            format, or a checkpoint file with OpenAI's vocabulary beside it.
        name: to remember it by; its own unless given.
        image_size: height and width of the pictures it reads; the checkpoint's own unless given.
        offline: take a hub name from the local cache only.
    """
    from ..convert import get_model

    done = get_model(source, name, image_size, offline)
    for said in done.assumed:
        print(f"note: {said}", file=sys.stderr)
    said = f"{done.name}: {'ready' if done.new else 'was there already'} in {done.folder} ({done.megabytes:g} MB)"
    emit(json_, asdict(done), said, "descry index PHOTOS now takes it; name another model with --model")


def convert(
    file: tyro.conf.Positional[Path],
    /,
    out: OutFolder,
    tokenizer: Path | None = None,
    image_size: Size | None = None,
    activation: str = "",
    pixels: str = "",
    half: Flag = False,
    json_: Json = False,
) -> None:
    """Turn a published checkpoint into a run folder. Nothing in the file is executed.

    Args:
        file: a checkpoint (.pt, .pth, .bin, .safetensors) or a folder of the transformers library.
        out: the run folder to write.
        tokenizer: bpe_simple_vocab_16e6.txt.gz of OpenAI's CLIP, or a folder with a vocabulary.
        image_size: height and width; needed where the checkpoint's position grid is not square.
        activation: quick_gelu (OpenAI) or gelu (most of open_clip); if omitted, what the checkpoint's own files say.
        pixels: clip, imagenet or inception statistics, or six numbers R,G,B,R,G,B for mean and deviation; left out,
            what the checkpoint's own files say.
        half: store the weights in 16 bits.
    """
    from ..convert import convert as run

    done = run(file, out, tokenizer, image_size, activation, pixels, half)
    for said in done.assumed:
        print(f"note: {said}", file=sys.stderr)
    unused = f"; {counted(len(done.left_out), 'weight')} left out that search does not need" if done.left_out else ""
    said = f"{done.out}: {done.layout} checkpoint as {done.method}{unused}"
    emit(json_, asdict(done), said, f"next: descry model info {done.out}")


def info(
    run: tyro.conf.Positional[str],
    /,
    identities: Natural = 0,
    training: Flag = False,
    json_: Json = False,
    machine: OnMachine = Machine(),
) -> None:
    """What a run folder holds and costs: parameters by part, multiply-adds, time of a query on this device.

    Args:
        run: a run folder, "demo", or a CLIP folder.
        identities: also count the parts that training this method on this many people needs.
        training: also take one training step and say its time and peak memory.
    """
    from ..cost import report

    machine.settle()
    model = machine.load(run)
    cost = report(model, identities, training, machine.batch_size or 8, machine.seed)
    emit(json_, cost.as_dict(), *cost.text().split("\n"))


def card(run: tyro.conf.Positional[Path], /, results: str = "", licence: str = "", out: OutFile | None = None) -> int:
    """A model card from a run folder and its results: data, protocol, metrics with intervals, uses, provenance.

    Args:
        run: a run folder.
        results: a file that descry evaluate wrote with --json (with --slices for parts) or --per-query.
        licence: licence of the weights.
        out: the file to write; if omitted, README.md in the run folder, which is where a hub looks for it.
    """
    from ..safe_files import write_whole
    from ..studies.card import model_card
    from ..studies.results import read_results

    text = model_card(run, read_results(results) if results else None, licence)
    path = out or run / "README.md"
    write_whole(path, text)  # a run folder may be somebody else's, and its README.md a link
    print(path)
    return 0


def pack(
    run: tyro.conf.Positional[str],
    /,
    out: OutFolder,
    half: Flag = False,
    note: str = "",
    json_: Json = False,
) -> int:
    """Write a model for sharing: configuration, inference weights and vocabulary, without optimiser or log.

    Args:
        run: a run folder.
        out: a new folder.
        half: store the weights in 16 bits; they are computed with in 32.
        note: what must be said beside every result of this model; if omitted, the run's own.
    """
    from ..checkpoint import load_any, read_config, save_model, sketches_of, write_config

    if out.exists() and any(out.iterdir()) and not (out / "config.json").is_file():
        raise UsageError(f"{out} holds other things; choose a new folder")
    method, config, folder = load_any(run)
    about = config["about"] | ({"note": note} if note else {})
    if "history" in about:  # folders of this machine are nobody's business
        about["history"] = [step | {"from": Path(step["from"]).name} for step in about["history"]]
    bound, sketches = "vocabulary" in config, sketches_of(folder)
    fingerprint = save_model(out, method, config["method"], config["preset"], about, half, bound, sketches)
    packed = read_config(out)
    if "composition" in config:
        packed["composition"] = config["composition"]
    write_config(out, packed)
    size = sum(p.stat().st_size for p in out.iterdir())
    said = f"{out}: {size / 1e6:.1f} MB, fingerprint {fingerprint[:16]} (from {folder})"
    return emit(json_, {"out": str(out), "fingerprint": fingerprint, "bytes": size}, said)


def export(
    run: tyro.conf.Positional[str],
    /,
    out: OutFolder,
    format_: Annotated[str, tyro.conf.arg(name="format")] = "onnx",
    precision: str = "fp32",
    json_: Json = False,
) -> int:
    """Write a model's encoders as files that others can run, with their preprocessing and a parity check.

    Args:
        run: a run folder, a CLIP folder or demo.
        out: a new folder.
        format_: onnx or openvino.
        precision: fp32, fp16 (openvino), or int8.
    """
    from ..embed import load
    from ..export import export as write

    if format_ not in ("onnx", "openvino"):
        raise UsageError(f"there is no format {format_!r}; {nearest(format_, ['onnx', 'openvino'])}")
    report = write(load(run, "cpu"), out, format_, precision)
    agreement = ", ".join(f"{part} {cosine:.4f}" for part, cosine in report["least_cosine_to_fp32"].items())
    said = f"{out}: {', '.join(report['files'])} in {report['precision']}; least cosine to fp32: {agreement}"
    emit(json_, report, said)
    if report["note"] and not json_:
        print(f"note: {report['note']}", file=sys.stderr)
    return 0
