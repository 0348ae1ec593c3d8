"""Synthetic people as an ordinary data-set folder: photos/, sketches/, table.jsonl, people.jsonl, descry.json.

Everything is a function of the parameters, so a run that was stopped goes on where it was, and the number of
processes changes nothing. `descry.json` is written last: a folder that has it is whole.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from descry.drawing.person import Person
from descry.errors import DataError, UsageError, nearest
from descry.safe_files import read_json, refuse_linked_folders, refuse_links

from .person import to_json
from .photo import draw_photo
from .plan import GENERATOR_VERSION, KIND, SPLITS, Mixture, Plan
from .scene import cameras
from .sentences import Sentence, describe
from .sketch import Sketch, draw_sketch

FORMAT = 1
QUALITY = 90  # of JPEG


def _checked(identities: int, splits: Mapping[str, int] | None) -> dict[str, int]:
    """The splits, or the default ones; UsageError for numbers that do not fit."""
    if identities < 1:
        raise UsageError(f"{identities} people were asked for; give 1 or more")
    if splits is None:
        held_out = identities // 10
        return {"train": identities - 2 * held_out, "val": held_out, "test": held_out}
    for name in splits:
        if name not in SPLITS:
            raise UsageError(f"a split of {name!r} was given; {nearest(name, SPLITS)}")
    if sum(splits.values()) != identities or min(splits.values()) < 0:
        raise UsageError(f"the splits {dict(splits)} must be 0 or more and add up to the {identities} people asked for")
    return dict(splits)


def _seed(plan: Plan, person: Person, what: str, k: int) -> int:
    return Random(f"{what} {plan.seed} {person.pid} {k}").getrandbits(48)


def _pick(shares: Mapping[str, float], key: str) -> str:
    return Random(key).choices(tuple(shares), tuple(shares.values()))[0]


def photo_camera(plan: Plan, person: Person, k: int) -> int:
    """The camera of a person's k-th photograph; a person's photographs come from different cameras while there are
    any left."""
    order = list(range(len(cameras(plan.world))))
    Random(f"cameras {plan.seed} {person.pid}").shuffle(order)
    return order[k % len(order)]


def make_photo(plan: Plan, person: Person, k: int) -> Image.Image:
    """A person's k-th photograph."""
    return draw_photo(person, _seed(plan, person, "photo", k), photo_camera(plan, person, k), plan.size, plan.world)


def make_sketch(plan: Plan, person: Person, k: int) -> tuple[Sketch, str]:
    """A person's k-th sketch, and its style."""
    style = _pick(plan.mixture.styles, f"style {plan.seed} {person.pid} {k}")
    return draw_sketch(person, _seed(plan, person, "sketch", k), style, plan.mixture.sketch_error, plan.size), style


def make_sentence(plan: Plan, person: Person, k: int) -> tuple[Sentence, str]:
    """A person's k-th sentence, and its completeness."""
    told = _pick(plan.mixture.completeness, f"told {plan.seed} {person.pid} {k}")
    return describe(person, _seed(plan, person, "words", k), told, plan.mixture.text_error), told


def _save(image: Image.Image, path: Path, **options: Any) -> None:
    """Write a picture so that it is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    image.save(part, **options)
    os.replace(part, path)


def _whole(path: Path, size: tuple[int, int]) -> bool:
    """Whether a picture written before can be kept."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size == size
    except OSError:
        return False


def _write_person(job: tuple[Plan, Path, int]) -> list[dict[str, Any]]:
    """Draw one person's pictures that are not there yet; the rows of the table."""
    plan, out, number = job
    person, split, rows = plan.person(number), plan.split_of(number), []
    for k in range(plan.photos):
        path = f"photos/{number:06d}_{k}.jpg"
        if not _whole(out / path, plan.size):
            _save(make_photo(plan, person, k), out / path, format="JPEG", quality=QUALITY)
        said = [make_sentence(plan, person, k * plan.captions + c) for c in range(plan.captions)]
        rows.append(
            {
                "split": split,
                "pid": number,
                "path": path,
                "camera": cameras(plan.world)[photo_camera(plan, person, k)].name,
                "captions": [sentence.text for sentence, _ in said],
                "caption_expressed": [
                    {"completeness": told, "expressed": sentence.expressed} for sentence, told in said
                ],
            }
        )
    for k in range(plan.sketches):
        path = f"sketches/{number:06d}_{k}.png"
        sketch, style = make_sketch(plan, person, k)
        if not _whole(out / path, plan.size):
            _save(sketch.image.convert("L"), out / path, format="PNG")
        rows.append({"split": split, "pid": number, "sketch": path, "style": style, "expressed": sketch.expressed})
    return rows


def _all(plan: Plan, out: Path, processes: int) -> Iterator[list[dict[str, Any]]]:
    jobs = ((plan, out, number) for number in range(plan.identities))
    if processes <= 1:
        yield from map(_write_person, jobs)
        return
    # spawn: forking a process that runs threads (torch, a progress bar) can hang
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(_write_person, jobs, chunksize=16)


def describe_plan(plan: Plan) -> dict[str, Any]:
    """What `descry.json` holds."""
    parameters = json.loads(json.dumps(asdict(plan)))
    return {"format": FORMAT, "generator": GENERATOR_VERSION, "kind": KIND, "parameters": parameters}


def write_people(
    out: str | Path,
    identities: int,
    photos: int = 4,
    sketches: int = 3,
    captions: int = 2,
    seed: int = 0,
    world: int = 0,
    splits: Mapping[str, int] | None = None,
    size: tuple[int, int] = (128, 256),
    first: int = 0,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    mixture: Mixture | None = None,
) -> Path:
    """Write a folder of synthetic people and return its path; a folder begun with the same parameters is finished.

    identities: how many people, numbered from 0. photos, sketches: for each person; captions: for each photograph.
    splits: people for "train", "val", "test", adding up to identities (default 80, 10 and 10 per cent). first: number
    of the first person in the population of the seed; ranges that do not overlap share nobody. size: (width, height)
    in pixels. processes: None for one per core. progress: called with (people done, people in all).

    Raises UsageError for impossible numbers, DataError where the folder holds something else.
    """
    splits = _checked(identities, splits)
    shape, mixture = (int(size[0]), int(size[1])), mixture or Mixture()
    plan = Plan(identities, photos, sketches, captions, seed, world, shape, splits, first, mixture)
    out = Path(out)
    if _finished(out, plan):
        if progress:
            progress(identities, identities)
        return out
    refuse_linked_folders(out, ("photos", "sketches"), "data set")
    for name in ("photos", "sketches"):
        (out / name).mkdir(parents=True, exist_ok=True)
        refuse_links(out / name, ("*",), "data set")
    (out / "descry.part.json").write_text(json.dumps(describe_plan(plan), indent=1) + "\n")
    processes = processes or min(os.cpu_count() or 1, max(1, identities // 32))
    with (out / "table.jsonl").open("w") as table, (out / "people.jsonl").open("w") as people:
        for number, rows in enumerate(_all(plan, out, processes)):
            table.writelines(json.dumps(row) + "\n" for row in rows)
            people.write(json.dumps({"number": number, **to_json(plan.person(number))}) + "\n")
            if progress:
                progress(number + 1, identities)
    os.replace(out / "descry.part.json", out / "descry.json")
    return out


def _finished(out: Path, plan: Plan) -> bool:
    """Whether the folder is already whole; DataError if it holds other people or other things."""
    refuse_links(out, ("descry.json", "descry.part.json", "table.jsonl", "people.jsonl"), "data set")
    wanted = describe_plan(plan)
    for name in ("descry.json", "descry.part.json"):
        if (out / name).is_file():
            try:
                found = read_json(out / name)
            except (OSError, ValueError) as error:
                raise DataError(f"{out / name} is damaged ({error}); give another folder") from None
            found = found if isinstance(found, dict) else {}
            if found != wanted:
                before, now = ({**given.get("parameters", {}), **given} for given in (found, wanted))
                differs = [
                    f"{k} {before.get(k)} there, {now[k]} now"
                    for k in now
                    if before.get(k) != now[k] and k != "parameters"
                ]
                raise DataError(
                    f"{out} holds people made with other parameters ({'; '.join(differs)}); give the same ones, or "
                    "another folder"
                )
            return name == "descry.json"
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out} is not empty and holds no descry.json; give a new or an empty folder")
    return False


def digest_records(root: str | Path) -> str:
    """SHA-256 of table.jsonl and people.jsonl: who is there and what is said; does not depend on Pillow."""
    root = Path(root)
    return hashlib.sha256(b"".join((root / name).read_bytes() for name in ("table.jsonl", "people.jsonl"))).hexdigest()


def digest_pixels(root: str | Path) -> str:
    """SHA-256 of every picture's decoded pixels in the order of their names; the same with the same Pillow."""
    total = hashlib.sha256()
    for path in sorted(p for folder in ("photos", "sketches") for p in (Path(root) / folder).iterdir()):
        with Image.open(path) as image:
            total.update(path.name.encode() + image.tobytes())
    return total.hexdigest()
