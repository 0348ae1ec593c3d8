"""descry people and descry data miniature: data sets of synthetic people, and the frozen benchmark of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import tyro

from descry.cli.machine import Count, Flag, Json, Natural, OutFolder, Seed, emit, refuse_unread
from descry.cli.progress import progress
from descry.errors import MOST_THREADS, Bound
from descry.escape import counted

Folder = tyro.conf.Positional[OutFolder]
NOTE = "Synthetic people: no evidence of accuracy on real people."


def people(
    out: Folder,
    /,
    identities: Count = 1000,
    photos: Count = 4,
    sketches: Natural = 3,
    captions: Natural = 2,
    seed: Seed = 0,
    world: Annotated[int, Bound(0, 1)] = 0,
    val: Natural | None = None,
    test: Natural | None = None,
    width: Annotated[int, Bound(8, 8192)] = 128,
    height: Annotated[int, Bound(8, 8192)] = 256,
    first: Natural = 0,
    processes: Annotated[int, Bound(1, MOST_THREADS)] | None = None,
    benchmark: Literal["none", "test", "val", "calibration"] = "none",
    benchmark_version: Annotated[int, Bound(1, 2)] = 1,
    oracle: Flag = False,
    train: Path | None = None,
    videos: Annotated[float, Bound(0, 86_400)] = 0.0,
    json_: Json = False,
) -> int:
    """Write a data set of synthetic people, or the frozen benchmark, and say where it is. The same command continues a
    run that was stopped.

    Args:
        out: a new folder; with --benchmark the folder under which the benchmark is kept.
        identities: how many people.
        photos: photographs of each person, from different cameras.
        sketches: sketches of each person.
        captions: sentences for each photograph.
        seed: another population.
        world: set of cameras, places and drawing style: 0 or 1.
        val: people kept for validation; a tenth when left out.
        test: people kept for testing; a tenth when left out.
        width: width of a picture, in pixels.
        height: height of a picture, in pixels.
        first: number of the first person in the population; ranges that do not overlap share nobody.
        processes: how many draw at once; one per core when left out.
        benchmark: write and check the frozen benchmark instead: its test part (1,000 people), its val part (500), or
            its calibration part (4,000).
        benchmark_version: 1; or 2, the same people with three sketches in ten drawn as by people who cannot draw.
        oracle: with --benchmark, also print R@1 of rankers that use no learned model of people.
        train: with --oracle, a folder of synthetic training people, for the linear baseline.
        videos: write videos of this many seconds instead, one for each of three fixed cameras, in which these people
            walk, with their boxes and tracks.
    """
    if videos:
        unread = "photos sketches captions val test width height processes benchmark benchmark_version oracle train"
        refuse_unread(people, locals(), unread, "--videos draws nothing but videos")
        return _videos(out, videos, identities, seed, world, first, json_)
    if benchmark != "none":
        unread = "identities photos sketches captions seed world val test width height first"
        refuse_unread(people, locals(), unread, "the --benchmark is frozen, with people of its own")
        if not oracle:
            refuse_unread(people, locals(), "train", "only --oracle reads it")
        return _benchmark(out, benchmark, benchmark_version, oracle, train, processes, json_)
    refuse_unread(people, locals(), "benchmark_version oracle train", "it is read with --benchmark only")
    from .folder import write_people

    held_out = {"val": identities // 10 if val is None else val, "test": identities // 10 if test is None else test}
    splits = {"train": identities - sum(held_out.values()), **held_out}
    with progress("drawing people", identities, json_) as tick:
        write_people(
            out,
            identities,
            photos,
            sketches,
            captions,
            seed=seed,
            world=world,
            splits=splits,
            size=(width, height),
            first=first,
            processes=processes,
            progress=tick,
        )
    if json_:
        emit(True, {"folder": str(out), "identities": identities, "splits": splits, "note": NOTE})
        return 0
    print(
        f"{counted(identities, 'person', 'people')} in {out}: "
        f"{', '.join(f'{count:,} {name}' for name, count in splits.items())}. {NOTE}"
    )
    print(f"photographs to index: descry index {out / 'photos'} --model demo --out GALLERY")
    return 0


def _videos(out: Path, seconds: float, identities: int, seed: int, world: int, first: int, json_: bool) -> int:
    from .video import write_videos

    with progress("drawing frames", None, json_) as tick:
        folder = write_videos(out, identities, seconds, seed=seed, world=world, first=first, progress=tick)
    names = sorted(path.name for path in folder.glob("*.mp4"))
    if json_:
        emit(True, {"folder": str(folder), "videos": names, "note": NOTE})
        return 0
    print(f"{', '.join(names)} in {folder}, with boxes and tracks beside them. {NOTE}")
    print(f"to cut the people out: descry crop {folder} --out CROPS")
    return 0


def _benchmark(
    out: Path,
    part: str,
    version: int,
    oracle: bool,
    train: Path | None,
    processes: int | None,
    json_: bool,
) -> int:
    from descry.errors import UsageError

    from .benchmark import BENCHMARK_VERSION, PARTS, baseline_table, check, write_part
    from .read import read_people

    if oracle and version != BENCHMARK_VERSION:
        raise UsageError(f"--oracle measures benchmark version {BENCHMARK_VERSION}; version {version} was asked for")
    count = PARTS[part][1]
    with progress("drawing the benchmark", count, json_) as tick:
        folder = write_part(out, part, processes=processes, progress=tick, version=version)
    check(folder, part, version=version)
    table = {}
    if oracle:
        table = baseline_table(out, count, part, train=read_people(train) if train else None)
    if json_:
        found = {"folder": str(folder), "version": version, "people": count, "r1": table, "note": NOTE}
        emit(True, found)
        return 0
    print(f"benchmark version {version}, {part}: {counted(count, 'person', 'people')} in {folder}, as frozen. {NOTE}")
    for ranker, row in table.items():
        print(f"  {ranker:<18} R@1  " + "   ".join(f"{kind} {value:.1f}" for kind, value in row.items()))
    return 0


def miniature(
    name: tyro.conf.Positional[str], out: Folder, /, variant: str = "", seed: Seed = 0, json_: Json = False
) -> int:
    """Write a tiny, valid tree of a data set's format from synthetic people, to try its reader without any agreement.

    Args:
        name: the data set, or all.
        out: a new folder.
        variant: which circulating form; the first of the set's variants when left out.
        seed: other synthetic people.
    """
    from descry.data import DATASETS
    from descry.data.check import MARKER

    from .miniature import write_miniature

    told = []
    for one in DATASETS if name == "all" else (name,):
        made = write_miniature(one, out / one if name == "all" else out, variant or None, seed)
        if not json_:
            print(made)
        about = json.loads((made / MARKER).read_text("utf-8"))
        told.append({"name": one, "folder": str(made), "variant": about["variant"], "counts": about["counts"]})
    if json_:
        emit(True, told)
    return 0
