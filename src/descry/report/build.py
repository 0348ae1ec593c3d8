"""What a report says, as plain values: from the inquiry, the gallery as it is now, and what is known of its model."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

from ..errors import ImageRejected
from ..escape import path_text
from ..footage.origin import origin_of
from ..gallery import Gallery
from ..gallery.account import canonical
from ..gallery.contract import Item
from ..gallery.reading import as_indexed
from ..gallery.upkeep import content_digest
from ..interact.rounds import Round, difference, to_json
from ..interact.store import Finding, InquiryStore
from .error_rates import about_model
from .redaction import Redactor

NOTICE = "Search leads, not an identification"
FORMAT = 1
TOP = 10
LIMITS = (
    "A rank orders the pictures of one gallery for one query. It does not say who anyone is.",
    "Somebody is always first, also when the person is not in the gallery.",
    "A sketch ranks by drawn shape: what was remembered or drawn wrongly puts the wrong people first.",
    "Scores order the leads of one round. They are no probabilities, and scores of two rounds do not compare.",
    "Clothes, light, camera and the people a model learnt from move ranks; so some people are found less often.",
    "A finding is a searcher's judgement of a lead. Nothing may follow from it before it was verified by other means.",
)


class Crops:
    """The pictures of items as they lie on the disk now, told apart from those that were indexed."""

    def __init__(self, gallery: Gallery, ids: Iterable[int] = ()):
        self.gallery = gallery
        self.items = {item.id: item for item in gallery.items(list(dict.fromkeys(ids)))}
        self._states: dict[int, str] = {}

    def item(self, number: int) -> Item | None:
        """An item, or None for one that is not in the gallery any more."""
        if number not in self.items:
            self.items |= {item.id: item for item in self.gallery.items([number])}
        return self.items.get(number)

    def read(self, number: int) -> bytes | None:
        """The file as it was indexed; None when it is gone, is another one now or lies outside the folders named."""
        item = self.item(number)
        self._states[number] = "" if item else "removed"
        try:
            return as_indexed(item) if item else None
        except ImageRejected as error:
            self._states[number] = error.reason
            return None

    def state(self, number: int) -> str:
        """ "" as indexed, "removed" from the gallery, or the reason why `as_indexed` gives no bytes."""
        if number not in self._states:
            self.read(number)
        return self._states[number]


def gather(
    gallery: Gallery, store: InquiryStore, name: str, blur_others: bool = False, redact_paths: bool = False
) -> dict[str, Any]:
    """The report without its time block. redact_paths: also out of notes, names and phrases, as far as they are known
    or look like paths. Raises UsageError for an unknown inquiry."""
    inquiry, about, findings = store.load(name), store.about(name), store.findings(name)
    rounds = [inquiry.rounds[n] for n in sorted(inquiry.rounds)]
    crops = Crops(gallery, [*(i for r in rounds for i in r.ids[:TOP]), *(f.item for f in findings)])
    whole = [to_json(r) for r in rounds]
    told = [f.to_json() for f in findings]
    digest = hashlib.sha256(canonical({"name": name, "rounds": whole, "findings": told}).encode()).hexdigest()
    kept = {"begun": about.begun, "keep_until": about.keep_until, "digest": digest}
    teller = _Teller(crops, findings, redact_paths)
    info, current = gallery.info(), inquiry.current
    others: list[dict[str, Any]] = []  # those of the round on show who stand highest and are in no finding
    if current is not None:
        ranks = [rank for rank, item in enumerate(current.ids, 1) if item not in teller.verdicts][:TOP]
        others = [teller.lead(current, rank, inquiry.rounds.get(current.parent)) for rank in ranks]
    made = {
        "format": FORMAT,
        "notice": NOTICE,
        "options": {"blur_others": blur_others, "redact_paths": redact_paths},
        "inquiry": {"name": name, **kept, "rounds": len(rounds), "on_show": inquiry.head},
        "model": about_model(gallery.binding, redact_paths),
        "gallery": {
            "name": gallery.name,
            "items": info["items"],
            "generation": info["commits"],
            "digest": content_digest(gallery.store),
            "skipped": sum(info["skipped"].values()),
            "skipped_by_reason": info["skipped"],
        },
        "findings": [teller.finding(f, rounds) for f in findings],
        "runner_ups": others,
        "rounds": [teller.round(r, row, inquiry.rounds.get(r.parent)) for r, row in zip(rounds, whole, strict=True)],
        "limits": list(LIMITS),
    }
    return Redactor(item.path for item in crops.items.values()).within(made) if redact_paths else made


class _Teller:
    """Items, leads, rounds and findings as rows."""

    def __init__(self, crops: Crops, findings: list[Finding], redact: bool):
        self.crops, self.redact = crops, redact
        self.verdicts = {f.item: f.verdict for f in findings}

    def item(self, number: int) -> dict[str, Any]:
        found = self.crops.item(number)
        origin = origin_of(found.path) if found and not self.redact else None
        path = path_text(found.path) if found else ""
        return {
            "name": path if path and not self.redact else f"item {number}",
            "camera": found.camera if found else "",
            "time": found.time.isoformat() if found and found.time else "",
            "track": found.track if found else "",
            "footage": origin.told if origin else "",
            "state": self.crops.state(number),
        }

    def lead(self, made: Round, rank: int, before: Round | None) -> dict[str, Any]:
        number, score = made.results[rank - 1]
        marks = {"liked": made.query.liked, "unliked": made.query.unliked, "closest": made.query.closest}
        mark = next((name for name, ids in marks.items() if number in ids), "")
        new = before is not None and number not in before.ids
        row = {"rank": rank, "item": number, "score": round(score, 6), "mark": mark, "new": new}
        return row | {"verdict": self.verdicts.get(number, "")} | self.item(number)

    def round(self, made: Round, row: dict[str, Any], before: Round | None) -> dict[str, Any]:
        query = row["query"]
        chips = [
            {"text": c["text"], "wanted": wanted, "weight": c["weight"], "on": c["on"]}
            for wanted, rows in ((True, query["wanted"]), (False, query["unwanted"]))
            for c in rows
        ]
        filters = dict(query["filters"])
        if self.redact and filters["path"]:
            filters["path"] = "(redacted)"
        return {
            **{name: row[name] for name in ("number", "parent", "change")},
            "difference": difference(before, made),
            "sketches": query["sketches"],
            "photos": query["photos"],
            "chips": chips,
            "marks": {name: query[name] for name in ("liked", "unliked", "closest")},
            "answers": row["asked"],
            "filters": filters,
            **{name: row[name] for name in ("formula", "composition", "model", "snapshot")},
            "shown": len(made.results),
            "leads": [self.lead(made, rank, before) for rank in range(1, min(TOP, len(made.results)) + 1)],
        }

    def finding(self, finding: Finding, made: list[Round]) -> dict[str, Any]:
        ranks = {str(r.number): r.ids.index(finding.item) + 1 for r in made if finding.item in r.ids}
        row = dataclasses.asdict(finding) | {"ranks": ranks} | self.item(finding.item)
        item = self.crops.item(finding.item)
        if item is not None and finding.sha256 and finding.sha256 != item.sha256:
            row["state"] = "changed"
        return row
