"""`descry data miniature`: a tiny, valid tree of every format from synthetic people, so that every reader can be tried.

Nothing in it is a real person, and no number measured on it says anything about real people.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from descry.data import module
from descry.data.check import MARKER, counts
from descry.data.market_attributes import FIELDS, matlab
from descry.data.market_sketch_1k import STYLES
from descry.data.pku_sketch import write_splits
from descry.data.table import Row, write_table
from descry.errors import DataError, UsageError, nearest

from .person import make_person
from .photo import draw_photo
from .sentences import describe
from .sketch import draw_sketch

NOTE = "Synthetic people, drawn to try the format. No evidence of accuracy on real people."


def write_miniature(name: str, out: str | Path, variant: str | None = None, seed: int = 0) -> Path:
    """Write the miniature of a data set in one of its variants into an empty folder; its path.

    Every data set has other people. Raises UsageError for an unknown name or variant, DataError for a full folder.
    """
    card = module(name).CARD
    variant = variant or card.variants[0]
    if variant not in card.variants:
        raise UsageError(f"{name} has no variant {variant!r}; {nearest(variant, card.variants)}")
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} is not empty; a miniature is written into a new folder")
    out.mkdir(parents=True, exist_ok=True)
    WRITERS[name](out, variant, Cast(100 * seed + list(WRITERS).index(name)))
    held = counts(module(name).table(out, variant))
    marker = {"format": 1, "name": name, "variant": variant, "seed": seed, "note": NOTE, "counts": held}
    (out / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    return out


@dataclass(frozen=True, slots=True)
class Plan:
    """A small text data set: people per split, photographs and captions, the first id, key and form of paths."""

    people: dict[str, int]
    photos: int
    captions: int
    first: int
    key: str
    path: Callable[[int, int], str]


def _annotations(folder: Path, cast: Cast, plan: Plan, sketches: str = "") -> list[dict[str, Any]]:
    """Draw the photographs of a text data set below `folder` and give its annotations, each with its split."""
    made = []
    splits = [split for split, people in plan.people.items() for _ in range(people)]
    for pid, split in enumerate(splits, plan.first):
        for camera in range(plan.photos):
            path = plan.path(pid, camera)
            save(cast.photo(pid, camera), folder / "imgs" / path)
            if sketches:
                save(cast.sketch(pid, 0), folder / sketches / path)
            captions = [cast.caption(pid, 10 * camera + i) for i in range(plan.captions)]
            made.append({"split": split, "captions": captions, plan.key: path, "id": pid})
    return made


_CUHK_FOLDERS = ("cam_a", "cam_b", "CUHK01", "CUHK03", "Market", "train_query", "test_query")
PLANS = {
    "CUHK-PEDES": Plan(
        {"train": 7, "val": 2, "test": 3}, 2, 2, 1, "file_path", lambda p, c: f"{_CUHK_FOLDERS[p % 7]}/{p:04d}_{c}.jpg"
    ),
    "ICFG-PEDES": Plan(
        {"train": 5, "test": 3},
        3,
        1,
        0,
        "file_path",
        lambda p, c: f"{('train', 'test')[p % 2]}/{p:04d}/{p:04d}_{c:03d}.jpg",
    ),
    "RSTPReid": Plan({"train": 4, "val": 2, "test": 2}, 5, 2, 0, "img_path", lambda p, c: f"{p:04d}_c{c + 1}_0001.jpg"),
}
_NAMES = {"reid_raw": "reid_raw.json", "caption_all": "caption_all.json", "hyphen": "ICFG-PEDES.json"}
_NAMES |= {"underscore": "ICFG_PEDES.json", "data_captions": "data_captions.json"}


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _text_set(folder_name: str) -> Callable[[Path, str, Cast], None]:
    def write(out: Path, variant: str, cast: Cast) -> None:
        rows = _annotations(out, cast, PLANS[folder_name])
        if variant != "reid":
            _dump(out / _NAMES[variant], rows)
            return
        for split in PLANS[folder_name].people:
            mine = [r for r in rows if r["split"] == split]
            _dump(out / f"{split}_reid.json", [_renamed(r, PLANS[folder_name].key, cast) for r in mine])

    return write


def _renamed(row: dict[str, Any], key: str, cast: Cast) -> dict[str, Any]:
    """An annotation as in `*_reid.json`: no split, the path under `file_path`, back-translations."""
    back = [cast.caption(row["id"], 100 + i) for i, _ in enumerate(row["captions"])]
    return {"id": row["id"], "file_path": row[key], "captions": row["captions"], "captions_bt": back}


def _tri_pedes(out: Path, variant: str, cast: Cast) -> None:
    for nth, (folder, plan) in enumerate(PLANS.items()):
        rows = _annotations(out / folder, Cast(cast.seed + 10 * (nth + 1)), plan, variant)
        name = ("reid_raw.json", "ICFG-PEDES.json", "data_captions.json")[nth]
        _dump(out / folder / name, rows)


def _market_sketch(out: Path, variant: str, cast: Cast) -> None:
    people = {"train": range(2, 8), "query": range(8, 12)}
    for folder, pids in people.items():
        for pid in pids:
            for camera in range(3):
                save(cast.photo(pid, camera), out / f"photo/{folder}/{pid:04d}_c{camera + 1}s1_{pid:06d}_00.jpg")
            for style, letter in enumerate(STYLES):
                if not (letter == "F" and pid == 8):
                    save(cast.sketch(pid, style), out / f"sketch/{letter}/{folder}/{pid:04d}.jpg")
    if variant == "attributes":
        write_attributes(
            out / "market_attribute.mat",
            {f: list(p) for f, p in zip(("train", "test"), people.values(), strict=True)},
            cast,
        )


def write_attributes(path: Path, people: dict[str, list[int]], cast: Cast) -> None:
    """The attribute file; the fields stand in another order in its two parts, as in the original."""
    import numpy as np

    parts: dict[str, Any] = {}
    for part, pids in people.items():
        codes = [cast.codes(pid) for pid in pids]
        order = list(FIELDS) if part == "train" else list(reversed(FIELDS))
        held: dict[str, Any] = {name: np.array([[c[name] for c in codes]], dtype=float) for name in order}
        held["image_index"] = np.array([[f"{pid:04d}" for pid in pids]], dtype=object)
        parts[part] = held
    matlab().savemat(str(path), {"market_attribute": parts}, do_compression=True)


def _pku(out: Path, variant: str, cast: Cast) -> None:
    sizes = {"a": 4, "b": 4, "c": 4, "d": 4, "e": 4}
    styles: dict[str, tuple[str, ...]] = {}
    lines: list[str] = []
    pid = 1
    for letter, count in sizes.items():
        styles[letter] = tuple(str(p) for p in range(pid, pid + count))
        pid += count
        (out / "styleAnnotation").mkdir(exist_ok=True)
        (out / f"styleAnnotation/{letter}_{count}.txt").write_text("\n".join(styles[letter]) + "\n", encoding="utf-8")
    for p in range(1, pid):
        for camera in range(2):
            save(cast.photo(p, camera), out / "photo" / _pku_photo(p, camera))
        save(cast.sketch(p, p % 3), out / f"sketch/{p}.jpg")
        lines += [f"{p}/{_pku_photo(p, i)}@{cast.caption(p, i).capitalize()}" for i in range(2)]
    (out / "TriReID.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if variant == "given splits":
        write_splits(out, out, styles)


def _pku_photo(pid: int, camera: int) -> str:
    return f"{pid}_0{camera + 1}_{100 + pid}.{'bmp' if pid % 5 == 0 and camera else 'jpg'}"


def _market(out: Path, variant: str, cast: Cast) -> None:
    if variant == "attributes":
        write_attributes(out / "market_attribute.mat", {"train": list(range(2, 7)), "test": list(range(7, 11))}, cast)
    for pid in range(2, 7):
        for camera in range(1, 4):
            save(cast.photo(pid, camera), out / f"bounding_box_train/{pid:04d}_c{camera}s1_{pid:06d}_01.jpg")
    for pid in range(7, 11):
        save(cast.photo(pid, 1), out / f"query/{pid:04d}_c1s1_{pid:06d}_00.jpg")
        for camera in range(1, 4):
            save(cast.photo(pid, camera), out / f"bounding_box_test/{pid:04d}_c{camera}s1_{pid:06d}_02.jpg")
    for nth in range(3):
        save(cast.photo(90 + nth, nth), out / f"bounding_box_test/-1_c{nth + 1}s1_00000{nth}_00.jpg")
        save(cast.photo(95 + nth, nth), out / f"bounding_box_test/0000_c{nth + 1}s1_00000{nth}_00.jpg")


def _itcpr(out: Path, variant: str, cast: Cast) -> None:
    queries: list[dict[str, Any]] = []
    gallery: list[dict[str, Any]] = []
    folders = {"Celeb-reID": "{0:03d}", "PRCC": "train/{0:03d}", "LAST": "{0:06d}"}
    for nth, (source, folder) in enumerate(folders.items()):
        for pid in range(1, 4):
            who = 10 * nth + pid
            named = {"datasets": source, "person_id": pid}
            at = f"{source}/{folder.format(pid)}/{pid}_"
            save(cast.photo(who, 0), out / f"{at}0.jpg")
            queries.append({"file_path": f"{at}0.jpg", **named, "instance_id": who, "caption": cast.caption(who, 0)})
            shown = [(1, who), (2, -1)] + [(3, who)] * (who == 1)  # one query has two targets
            for camera, instance in shown:
                save(cast.photo(who, camera), out / f"{at}{camera}.jpg")
                gallery.append({"file_path": f"{at}{camera}.jpg", **named, "instance_id": instance})
    _dump(out / "query.json", queries)
    _dump(out / "gallery.json", gallery)


def _own(out: Path, variant: str, cast: Cast) -> None:
    rows: list[Row] = []
    for split, pids in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 12))):
        for pid in pids:
            for camera in range(2):
                path = f"photos/{pid}_{camera}.jpg"
                save(cast.photo(pid, camera), out / path)
                captions = (cast.caption(pid, camera),)
                rows.append(Row(split, f"p{pid}", path, camera=f"c{camera}", captions=captions))
            save(cast.sketch(pid, pid), out / f"sketches/{pid}.png")
            rows.append(Row(split, f"p{pid}", sketch=f"sketches/{pid}.png", style="line"))
    asked = "photos/ask_8.jpg"
    save(cast.photo(8, 4), out / asked)
    rows.append(Row("test", "p8", asked, camera="c4", role="query"))
    write_table(out / f"table.{variant}", rows)


WRITERS: dict[str, Callable[[Path, str, Cast], None]] = {
    "cuhk-pedes": _text_set("CUHK-PEDES"),
    "icfg-pedes": _text_set("ICFG-PEDES"),
    "rstpreid": _text_set("RSTPReid"),
    "tri-pedes": _tri_pedes,
    "market-sketch-1k": _market_sketch,
    "pku-sketch": _pku,
    "market-1501": _market,
    "itcpr": _itcpr,
    "table": _own,
}


SIZE = (64, 128)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who appears: synthetic people by number, drawn on demand, always the same for the same seed."""

    seed: int

    def photo(self, pid: int, camera: int) -> Image.Image:
        """A photograph, 64 × 128."""
        return draw_photo(make_person(pid, self.seed), seed=self.seed + 31 * pid + camera, camera=camera % 6, size=SIZE)

    def sketch(self, pid: int, style: int) -> Image.Image:
        """A sketch, 64 × 128, white paper."""
        style_name = ("line", "pencil", "sparse")[style % 3]
        return draw_sketch(
            make_person(pid, self.seed), seed=self.seed + 17 * pid + style, style=style_name, size=SIZE
        ).image

    def caption(self, pid: int, nth: int) -> str:
        """A sentence about the person."""
        return describe(make_person(pid, self.seed), seed=self.seed + 13 * pid + nth).text

    def codes(self, pid: int) -> dict[str, int]:
        """Attribute codes of Market-1501 that agree with the person as far as the two vocabularies meet."""
        p = make_person(pid, self.seed)
        codes = dict.fromkeys(FIELDS, 1)
        codes |= {"gender": 2 if p.sex == "woman" else 1, "hair": 2 if p.hair_length == "long" else 1}
        codes |= {"up": 1 if p.sleeves == "long" else 2, "down": 2 if p.lower in ("shorts", "short skirt") else 1}
        codes |= {"clothes": 1 if p.upper == "dress" or "skirt" in p.lower else 2}
        codes["age"] = {"young": 2, "middle-aged": 3, "elderly": 4}[p.age]
        codes |= {
            "hat": 1 + (p.headwear != "none"),
            "backpack": 1 + (p.bag == "backpack"),
            "handbag": 1 + (p.bag == "handbag"),
        }
        for part, colour in (("up", p.upper_colour), ("down", p.lower_colour)):
            field = part + colour.split()[-1].replace("grey", "gray")
            if field in codes:
                codes[field] = 2
        return codes


def save(image: Image.Image, path: Path) -> None:
    """Write a picture with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":
        image.convert("RGB").save(path, quality=90)
    else:
        image.convert("RGB").save(path)
