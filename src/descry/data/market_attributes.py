"""The attribute codes of Market-1501 and the sentence of feedback made from them, as the released InteractReID words
it.

The order of the fields differs between the file's `train` and `test` parts, so every field is read by its name.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import decoding
from ..errors import DataError, UsageError, install_hint
from ..safe_files import read_regular

UPPER = ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")
LOWER = ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown")
CARRIED = ("hat", "backpack", "bag", "handbag")
FIELDS: dict[str, int] = {
    **{"gender": 2, "hair": 2, "up": 2, "down": 2, "clothes": 2},
    **dict.fromkeys(CARRIED, 2),
    "age": 4,
    **{f"up{colour}": 2 for colour in UPPER},
    **{f"down{colour}": 2 for colour in LOWER},
}
"""The 27 fields with their highest code; the lowest is 1, and 0 means unknown."""

WORDINGS = ("interactreid", "bdg")
PARTS = ("train", "test")
MOST_BYTES = 16 << 20
"""Of the attribute file; the published one has 40 kB."""


def attribute_sentence(codes: Mapping[str, int], wording: str = "interactreid") -> str:
    """The sentence of one person's codes, by field name in any order.

    wording "bdg": as Beyond Domain Gap writes it ("teenage", accessories without articles).

    >>> codes = {"gender": 2, "hair": 2, "up": 2, "down": 2, "clothes": 1, "age": 2, "upwhite": 2, "downwhite": 2}
    >>> attribute_sentence(codes)
    'A teenager woman with long hair. She is in white short sleeve clothes, and wears white short dress.'
    """
    if wording not in WORDINGS:
        raise UsageError(f"there is no wording {wording!r}; allowed: {', '.join(WORDINGS)}")

    def said(field: str, *words: str) -> str:
        return ("", *words)[codes.get(field, 0)]

    ages = ("young", "teenager" if wording == "interactreid" else "teenage", "adult", "old")
    article = "An" if codes.get("age", 0) in (3, 4) else "A"
    noun = said("gender", "man", "woman") or "person"
    pronoun = said("gender", "He", "She") or "He or she"
    upper = " and ".join(c for c in UPPER if codes.get(f"up{c}", 0) == 2)
    lower = " and ".join(c for c in LOWER if codes.get(f"down{c}", 0) == 2)
    garment = said("clothes", "dress", "pants") or "clothes"
    articles = "a " if wording == "interactreid" else ""
    carried = " and ".join(articles + thing for thing in CARRIED if codes.get(thing, 0) == 2)
    first = f"{article} {said('age', *ages)} {noun} with {said('hair', 'short', 'long')} hair."
    top = f"{pronoun} is in {upper} {said('up', 'long', 'short')} sleeve clothes,"
    bottom = f"and wears {lower} {said('down', 'long', 'short')} {garment}"
    return " ".join(f"{first} {top} {bottom}{' with ' + carried if carried else ''}.".split())


def read_attributes(path: str | Path) -> dict[str, dict[str, int]]:
    """Four-digit id → codes by field name, of `market_attribute.mat`. Raises DataError for anything else.

    It is read in a process that can be ended: a file of a few bytes can unfold to more than the memory holds.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is missing; it comes with the Market-1501 attribute annotations (Lin et al.)")
    matlab()
    try:
        reply, _ = decoding.in_process(__name__, {"name": path.name}, read_regular(path, MOST_BYTES))
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}") from None
    except decoding.TooSlow:
        raise DataError(f"{path.name} takes too long, or too much memory, to be read as a MATLAB file") from None
    if "refusal" in reply:
        raise DataError(reply["refusal"])
    codes: dict[str, dict[str, int]] = reply["codes"]
    return codes


def _answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """What the other process says of a file: codes, or why there are none."""
    name = request["name"]
    try:
        return {"codes": _codes(matlab().loadmat(io.BytesIO(data), simplify_cells=True), name)}, b""
    except DataError as error:
        return {"refusal": str(error)}, b""
    except Exception as error:  # noqa: BLE001 - the reader raises a dozen kinds for a damaged file
        return {"refusal": f"{name} cannot be read as a MATLAB file: {error}"}, b""


def _codes(held: Mapping[str, Any], name: str) -> dict[str, dict[str, int]]:
    market = held.get("market_attribute")
    if not isinstance(market, dict):
        others = ", ".join(k for k in held if not k.startswith("_")) or "nothing"
        raise DataError(f"{name} holds no struct 'market_attribute'; it holds {others}")
    out: dict[str, dict[str, int]] = {}
    for part in PARTS:
        if not isinstance(market.get(part), dict):
            raise DataError(f"{name}: 'market_attribute' has no part '{part}'; it has {', '.join(market)}")
        out |= _part(market[part], f"{name}, {part}")
    return out


def _part(held: Mapping[str, Any], where: str) -> dict[str, dict[str, int]]:
    absent = [field for field in (*FIELDS, "image_index") if field not in held]
    if absent:
        raise DataError(f"{where}: the field {', '.join(absent)} is missing; it has {', '.join(held)}")
    ids = [_id(i, where) for i in _list(held["image_index"])]
    columns: dict[str, list[int]] = {}
    for field, highest in FIELDS.items():
        values = _list(held[field])
        if len(values) != len(ids):
            raise DataError(f"{where}: field '{field}' has {len(values)} values for {len(ids)} ids")
        columns[field] = [_code(v, field, highest, where) for v in values]
    return {pid: {field: column[i] for field, column in columns.items()} for i, pid in enumerate(ids)}


def _list(values: Any) -> list[Any]:
    """One value per id; a part with a single id arrives without its list."""
    return list(values) if hasattr(values, "__len__") and not isinstance(values, str) else [values]


def _id(given: Any, where: str) -> str:
    text = str(given).strip()
    if not text.isdecimal() or len(text) > 9:
        raise DataError(f"{where}: image_index holds {given!r}; ids are digits, like '0002'")
    return text.zfill(4)


def _code(given: Any, field: str, highest: int, where: str) -> int:
    try:
        code = int(given)
    except (TypeError, ValueError):
        raise DataError(f"{where}: field '{field}' holds {given!r}; codes are 0 to {highest}") from None
    if not 0 <= code <= highest:
        raise DataError(f"{where}: field '{field}' holds the code {code}; allowed are 0 to {highest}")
    return code


def matlab() -> ModuleType:
    """scipy.io, or DataError that names the extra."""
    try:
        import scipy.io
    except ImportError:
        raise DataError(f"reading .mat files needs scipy: {install_hint('data')}") from None
    module: ModuleType = scipy.io
    return module


if __name__ == "__main__":
    decoding.answer(_answer)
