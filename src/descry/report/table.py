"""A report as a table. No cell can become a formula in a spreadsheet, whichever sign separates its cells there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from ..escape import cell

COLUMNS = (
    *("record", "round", "rank", "item", "score", "name", "camera", "time"),
    *("mark", "verdict", "text", "value"),
)


def to_csv(made: dict[str, Any]) -> bytes:
    """UTF-8 with a byte-order mark, which is how spreadsheets know it. The row "written" is the only one that differs
    between two reports of an inquiry."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in _rows(made):
        writer.writerow([cell(row.get(name, "")) for name in COLUMNS])
    return buffer.getvalue().encode("utf-8-sig")


def _rows(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    inquiry, gallery, model = made["inquiry"], made["gallery"], made["model"]
    yield {"record": "notice", "text": made["notice"]}
    yield {"record": "written", "text": json.dumps(made["written"])}
    for limit in made["limits"]:
        yield {"record": "limit", "text": limit}
    for record, held in (("option", made["options"]), ("inquiry", inquiry), ("gallery", gallery), ("model", model)):
        for name, value in held.items():
            if not isinstance(value, (dict, list)):
                yield {"record": record, "text": name, "value": value}
    for reason, count in gallery["skipped_by_reason"].items():
        yield {"record": "skipped", "text": reason, "value": count}
    for rate in model["error_rates"]:
        yield {"record": "error rate", "text": rate["asked_with"], "value": json.dumps(rate)}
    for finding in made["findings"]:
        ranks = ", ".join(f"rank {rank} in round {number}" for number, rank in finding["ranks"].items())
        yield {"record": "finding", **_item(finding), "text": finding["note"], "value": ranks}
    for lead in made["runner_ups"]:
        yield {"record": "runner-up", **_item(lead), "round": inquiry["on_show"]}
    for one in made["rounds"]:
        yield from _round(one)


def _round(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    number = one["number"]
    after = f"after round {one['parent']}; " if one["parent"] else ""
    said = ", ".join(f"{name} {count}" for name, count in one["difference"].items())
    yield {"record": "round", "round": number, "text": one["change"], "value": f"{after}{said}"}
    for kind in ("sketches", "photos"):
        for picture in one[kind]:
            text = f"weight {picture['weight']:g}, {'on' if picture['on'] else 'off'}"
            yield {"record": kind[:-2] if kind == "sketches" else "photograph", "round": number, "text": text} | {
                "value": f"sha256 {picture['sha256']}"
            }
    for chip in one["chips"]:
        text = ("" if chip["wanted"] else "NOT ") + chip["text"]
        yield {"record": "chip", "round": number, "text": text} | {
            "value": f"weight {chip['weight']:g}, {'on' if chip['on'] else 'off'}"
        }
    for name, value in {**one["marks"], **one["filters"], **one["answers"]}.items():
        if value not in (None, "", []):
            yield {"record": "asked", "round": number, "text": name, "value": json.dumps(value)}
    for name in ("model", "snapshot", "formula", "composition"):
        yield {"record": "ranked by", "round": number, "text": name, "value": json.dumps(one[name], sort_keys=True)}
    for lead in one["leads"]:
        yield {"record": "lead", **_item(lead), "round": number, "value": "new" if lead["new"] else ""}


def _item(row: dict[str, Any]) -> dict[str, Any]:
    state = f" ({row['state']})" if row["state"] else ""
    return {**row, "name": row["name"] + state}
