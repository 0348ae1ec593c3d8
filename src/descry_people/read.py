"""Read a folder of synthetic people written by `folder.write_people`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from descry.drawing.person import Person
from descry.errors import DataError
from descry.query import Part, Query
from descry.records import Benchmark, Dataset, Example, Photo, Probe, validate
from descry.safe_files import json_of, read_json, read_regular
from descry.tabular import TABLE_BYTES

from .folder import FORMAT
from .person import from_json
from .plan import SPLITS

Row = dict[str, Any]


def _lines(path: Path) -> list[Row]:
    try:
        return [json_of(line) for line in read_regular(path, TABLE_BYTES).decode("utf-8").split("\n") if line]
    except FileNotFoundError:
        raise DataError(f"{path} is missing; write the folder with `descry people`") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); write the folder again with `descry people`") from None


def read_records(root: str | Path) -> dict[int, Person]:
    """Number in the folder → record, for every person of a folder; DataError where the folder is not one."""
    rows = _lines(Path(root) / "people.jsonl")
    return {row["number"]: from_json({k: v for k, v in row.items() if k != "number"}) for row in rows}


def read_people(root: str | Path) -> Dataset:
    """A folder of synthetic people as a data set, validated.

    train: one row for each photograph and caption, with all sketches of the person. val and test: benchmarks
    "text", "sketch", "sketch+text", "photo", "photo+text" as far as the folder has what they ask with, one probe for
    each person: the person's first sketch, the first photograph's first sentence, the first photograph. A photograph
    that is part of the query is ignored. `probe.attributes["expressed"]` says what the query expresses.
    """
    root = Path(root)
    about = root / "descry.json"
    if not about.is_file():
        begun = (
            " (it was begun and not finished: give the same command again)"
            if (root / "descry.part.json").is_file()
            else ""
        )
        raise DataError(f"{root} has no descry.json{begun}; write the folder with `descry people`")
    try:
        description = read_json(about)
        if not isinstance(description, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise DataError(f"{about} is damaged ({error}); write the folder again with `descry people`") from None
    if description.get("format") != FORMAT:
        raise DataError(f"{about} is of format {description.get('format')!r}; this version reads format {FORMAT}")
    split: dict[str, list[Row]] = {name: [] for name in SPLITS}
    for row in _lines(root / "table.jsonl"):
        split[row["split"]].append(row)
    made = description["parameters"]
    source = f"{root.name}: generator {description['generator']}, seed {made['seed']}, world {made['world']}"
    return validate(
        Dataset(
            "people",
            train=tuple(_examples(root, split["train"])),
            val=_benchmarks(root, split["val"]),
            test=_benchmarks(root, split["test"]),
            source=f"{source}; {description['kind']}",
        )
    )


def _sketches(rows: list[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        if "sketch" in row:
            found.setdefault(row["pid"], []).append(row)
    return found


def _examples(root: Path, rows: list[Row]) -> list[Example]:
    sketches, out = _sketches(rows), []
    for image_id, row in enumerate(row for row in rows if "path" in row):
        drawn = tuple(str(root / s["sketch"]) for s in sketches.get(row["pid"], ()))
        for caption in row["captions"] or [""]:
            out.append(Example((str(root / row["path"]),), row["pid"], caption, drawn, image_id=image_id))
    return out


def _benchmarks(root: Path, rows: list[Row]) -> dict[str, Benchmark]:
    shots = [row for row in rows if "path" in row]
    photos = tuple(Photo(str(root / row["path"]), row["pid"], row["camera"]) for row in shots)
    first: dict[int, int] = {}
    for i, row in enumerate(shots):
        first.setdefault(row["pid"], i)
    sketches = _sketches(rows)
    probes: dict[str, list[Probe]] = {}
    for pid, i in first.items():
        said = (shots[i]["captions"][0], shots[i]["caption_expressed"][0]) if shots[i]["captions"] else None
        drawn = sketches[pid][0] if pid in sketches else None
        for name, probe in _probes(root, pid, i, photos[i].path, said, drawn).items():
            probes.setdefault(name, []).append(probe)
    return {name: Benchmark(name, tuple(asked), photos) for name, asked in probes.items()}


def _probes(
    root: Path, pid: int, i: int, photo: str, said: tuple[str, Row] | None, drawn: Row | None
) -> dict[str, Probe]:
    """Every question that can be asked about one person. group: a sketch's style, a sentence's completeness, or
    both."""
    asked: dict[str, Any] = {"photo": {"photos": (Part(photo),)}}
    group, expressed = dict[str, str](), dict[str, Any]()
    if said:
        asked["text"], group["text"] = {"wanted": (Part(said[0]),)}, said[1]["completeness"]
        expressed["text"] = said[1]["expressed"]
    if drawn:
        asked["sketch"], group["sketch"] = {"sketches": (Part(str(root / drawn["sketch"])),)}, drawn["style"]
        expressed["sketch"] = drawn["expressed"]
    out = {}
    for name in ("text", "sketch", "sketch+text", "photo", "photo+text"):
        kinds = name.split("+")
        if all(kind in asked for kind in kinds):
            query = Query(**{field: value for kind in kinds for field, value in asked[kind].items()})
            groups = ", ".join(group[kind] for kind in kinds if kind in group)
            note = {"expressed": {kind: value for kind, value in expressed.items() if kind in kinds}}
            out[name] = Probe(query, pid, (i,) if "photo" in kinds else (), groups, note)
    return out
