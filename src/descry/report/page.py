"""A report as one HTML file: pictures inside, no script, nothing fetched; built as a tree, so that no text can become
markup."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from PIL import Image

from .. import images
from ..errors import DescryError
from ..escape import counted, plain
from ..footage.origin import Origin, origin_of
from ..interact.store import InquiryStore
from .build import Crops

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CELLS = 5  # across, of a blurred picture: what is left of a face is less than one of them
STATES = {
    "removed": "removed from the gallery",
    "missing": "file missing",
    "unreadable": "file cannot be read",
    "changed": "file changed since indexing",
    "outside": "file outside the folders that were indexed here",
}

STYLE = """
:root { color-scheme: light; font: 16px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
.notice { border: 2px solid #8a3b00; padding: .6rem 1rem; font-weight: 700; font-size: 1.15rem; }
h2 { border-bottom: 1px solid #767676; margin-top: 2.2rem; }
article { break-inside: avoid; margin: 1.2rem 0; }
.finding { display: flex; gap: 1.2rem; }
.finding img, .finding .gone { flex: none; max-height: 20rem; max-width: 45%; }
.note { white-space: pre-wrap; }
.asked { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; }
figure img { max-height: 15rem; border: 1px solid #767676; display: block; }
figcaption code { display: block; }
.chips { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem; padding: 0; }
.chips li { border: 1px solid #1a5fb4; border-radius: 1rem; padding: 0 .7rem; }
.chips li.unwanted { border-color: #a51d2d; border-style: dashed; }
.leads { list-style: none; padding: 0; display: grid; gap: .8rem; }
.leads { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
.leads li { display: flex; flex-direction: column; }
.leads img { height: 8rem; max-width: 100%; object-fit: contain; align-self: flex-start; }
.gone { height: 8rem; width: 5rem; border: 1px dashed #767676; display: grid; place-items: center; text-align: center; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { color: #545454; }
dd { margin: 0; }
table { border-collapse: collapse; }
th, td { border: 1px solid #767676; padding: .2rem .6rem; text-align: left; }
@media (max-width: 40rem) {
 .finding { flex-direction: column; }
 dl { grid-template-columns: 1fr; }
 dd { margin-bottom: .4rem; }
}
"""
"""How a report looks: on screen and on paper."""


def to_html(made: dict[str, Any], crops: Crops, store: InquiryStore) -> bytes:
    """UTF-8. made: of `build.gather`, with its time block. crops, store: where pictures come from."""
    root = Element("html", lang="en")
    head = SubElement(root, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": POLICY})
    SubElement(head, "meta", name="viewport", content="width=device-width")
    SubElement(head, "meta", name="referrer", content="no-referrer")
    _add(head, "title", f"{made['notice']}: {made['inquiry']['name']}")
    _add(head, "style", STYLE)
    _Page(SubElement(root, "body"), made, crops, store).write()
    value: bytes = b"<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="utf-8", method="html") + b"\n"
    return value


class _Page:
    """The parts of the page, in order."""

    def __init__(self, body: Element, made: dict[str, Any], crops: Crops, store: InquiryStore):
        self.body, self.made, self.crops, self.store = body, made, crops, store
        self.blur = bool(made["options"]["blur_others"])
        self.found = {f["item"] for f in made["findings"]}
        self._drawn: dict[tuple[int, int], str] = {}

    def write(self) -> None:
        inquiry = self.made["inquiry"]
        header = SubElement(self.body, "header")
        _add(header, "p", self.made["notice"], {"class": "notice"})
        _add(header, "h1", f"Inquiry “{inquiry['name']}”")
        dates = [f"begun {inquiry['begun']}" * bool(inquiry["begun"]), f"{counted(inquiry['rounds'], 'round')}"]
        dates += [f"kept until {inquiry['keep_until']}" * bool(inquiry["keep_until"])]
        _add(header, "p", "; ".join(filter(None, dates)))
        for name, text in _OPTIONS.items():
            if self.made["options"][name]:
                _add(header, "p", text)
        main = SubElement(self.body, "main")
        limits = SubElement(_section(main, "limits", "What this cannot tell"), "ul")
        for text in self.made["limits"]:
            _add(limits, "li", text)
        self._findings(_section(main, "findings", "Findings"))
        others = _section(main, "runner-ups", "Runner-ups")
        _add(others, "p", "The highest leads of the current round that have no finding.")
        self._leads(others, self.made["runner_ups"])
        rounds = _section(main, "rounds", "Rounds")
        for one in self.made["rounds"]:
            self._round(SubElement(rounds, "article"), one)
        self._sources(_section(main, "sources", "What it was ranked by, and among what"))
        written = _section(main, "written", "Written")
        _facts(written, {name.replace("_", " "): value for name, value in self.made["written"].items()})

    def _findings(self, section: Element) -> None:
        if not self.made["findings"]:
            _add(section, "p", "None.")
        for finding in self.made["findings"]:
            article = SubElement(section, "article", {"class": "finding"})
            self._crop(article, finding["item"], 320, f"item {finding['item']}, a finding")
            words = SubElement(article, "div")
            _add(words, "h3", f"Item {finding['item']}: {finding['verdict']}")
            _add(words, "p", finding["note"], {"class": "note"})
            ranks = ", ".join(f"{rank} in round {number}" for number, rank in finding["ranks"].items())
            _facts(words, {**_about(finding), "rank": ranks or "not among those shown", "said": finding["at"]})
            self._frame(words, finding)

    def _frame(self, parent: Element, finding: dict[str, Any]) -> None:
        """The frame that the item was cut from; not where paths are redacted, for it may show where a camera hangs."""
        item = self.crops.item(finding["item"])
        origin = origin_of(item.path) if item and finding["footage"] and not self.crops.state(finding["item"]) else None
        if origin and (address := frame(origin, 320, self.blur)):
            figure = SubElement(parent, "figure")
            SubElement(figure, "img", src=address, alt=f"the frame that item {finding['item']} was cut from")
            clock = f"; clock time: {origin.clock}" if origin.clock else ""
            _add(figure, "figcaption", f"{origin.told}, a box around the person{clock}")

    def _round(self, article: Element, one: dict[str, Any]) -> None:
        after = f", made from round {one['parent']}" if one["parent"] else ""
        _add(article, "h3", f"Round {one['number']}{after}: {one['change']}")
        shown = SubElement(article, "div", {"class": "asked"})
        for kind, rows, blur in (("sketch", one["sketches"], False), ("photograph", one["photos"], self.blur)):
            for row in rows:
                self._asked(shown, row, kind, blur)
        chips = SubElement(article, "ul", {"class": "chips"})
        for chip in one["chips"]:
            text = ("" if chip["wanted"] else "NOT ") + chip["text"]
            _add(chips, "li", text + _weight(chip), {"class": "wanted" if chip["wanted"] else "unwanted"})
        asked = {name: ", ".join(map(str, ids)) for name, ids in one["marks"].items() if ids}
        for name, value in one["filters"].items():
            if value not in (None, "", []):
                asked[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        asked |= {f"question {name}": value for name, value in one["answers"].items()}
        change = one["difference"]
        moved = f"{change['new']} new, {change['gone']} gone, {change['kept']} kept of the {one['shown']} shown"
        _facts(article, {**asked, "what changed": moved if one["parent"] else "", "rows searched": one["snapshot"]})
        self._leads(article, one["leads"])

    def _asked(self, parent: Element, row: dict[str, Any], kind: str, blur: bool) -> None:
        figure = SubElement(parent, "figure")
        try:
            address = picture(self.store.picture(row["sha256"]), 240, blur, images.UPLOAD, "PNG")
        except DescryError:
            address = ""
        if address:
            SubElement(figure, "img", src=address, alt=f"{kind} searched with")
        caption = SubElement(figure, "figcaption")
        _add(caption, "span", kind + _weight(row))
        _add(caption, "code", f"sha256 {row['sha256'][:16]}…")

    def _leads(self, parent: Element, leads: list[dict[str, Any]]) -> None:
        rows = SubElement(parent, "ol", {"class": "leads"})
        for lead in leads:
            row = SubElement(rows, "li", value=str(lead["rank"]))
            self._crop(row, lead["item"], 128, f"rank {lead['rank']}, item {lead['item']}")
            _add(row, "b", f"{lead['rank']} · {lead['score']:.3f}")
            marks = [lead["mark"], "new" if lead["new"] else "", lead["verdict"]]
            _add(row, "span", " · ".join(filter(None, [f"item {lead['item']}", *marks])))
            about = _about(lead) | {"name": re.split(r"[/\\]", lead["name"])[-1]}
            _add(row, "small", " · ".join(v for v in about.values() if v and v != f"item {lead['item']}"))

    def _crop(self, parent: Element, item: int, height: int, text: str) -> None:
        if (item, height) not in self._drawn:
            data = self.crops.read(item)
            blur = self.blur and item not in self.found
            self._drawn[item, height] = picture(data, height, blur) if data is not None else ""
        address = self._drawn[item, height]
        if address:
            SubElement(parent, "img", src=address, alt=text)
        else:
            state = STATES.get(self.crops.state(item), "cannot be read")
            _add(parent, "div", state, {"class": "gone"})

    def _sources(self, section: Element) -> None:
        model, gallery = self.made["model"], self.made["gallery"]
        reasons = ", ".join(f"{reason} {n}" for reason, n in gallery["skipped_by_reason"].items())
        skipped = f"{gallery['skipped']}{f' ({reasons})' if reasons else ''}; nobody in them could be found"
        _facts(
            section,
            {
                "inquiry, SHA-256": self.made["inquiry"]["digest"],
                "gallery": f"{gallery['name']}: {counted(gallery['items'], 'item')}, commit {gallery['generation']}",
                "gallery, SHA-256": gallery["digest"],
                "files skipped": skipped,
                "model": model["source"],
                "model, SHA-256": model["fingerprint"],
                "model with vocabulary and ranking, SHA-256": model["search_fingerprint"] or "not known",
                "said of the model": model["note"],
            },
        )
        _add(section, "h3", "Known errors of the model")
        if model["error_rates_note"]:
            _add(section, "p", model["error_rates_note"])
        else:
            _rates(section, model["error_rates"])
        formulas = {json.dumps(r["formula"], sort_keys=True): r["number"] for r in reversed(self.made["rounds"])}
        for formula, number in sorted(formulas.items(), key=lambda pair: pair[1]):
            _add(section, "p", f"The formula from round {number} on:")
            _add(section, "code", formula)


_OPTIONS = {
    "blur_others": "In pictures, everyone who is in no finding has been blurred.",
    "redact_paths": "Paths and names of files were left out, also of notes; items are named by number.",
}


def _rates(section: Element, rates: list[dict[str, Any]]) -> None:
    _add(section, "p", "Of 100 test queries, in how many the person sought stood first, and among the first ten.")
    table = SubElement(section, "table")
    row = SubElement(SubElement(table, "thead"), "tr")
    for name in ("asked with", "first", "95 in 100 intervals hold it", "first ten", "measured on"):
        _add(row, "th", name, {"scope": "col"})
    body = SubElement(table, "tbody")
    for rate in rates:
        row = SubElement(body, "tr")
        span = rate["interval"]
        on = f"{rate['data']}, {rate['split']}" + (": no evidence about real people" if rate["synthetic"] else "")
        cells = (rate["asked_with"], _figure(rate["R@1"]), f"{span[0]:.1f} to {span[1]:.1f}" if span else "–")
        for text in (*cells, _figure(rate["R@10"]), on):
            _add(row, "td", text)


def _figure(value: Any) -> str:
    return "–" if value is None else f"{value:.1f}"


def _section(parent: Element, name: str, title: str) -> Element:
    section = SubElement(parent, "section", id=name)
    _add(section, "h2", title)
    return section


def _facts(parent: Element, facts: dict[str, Any]) -> None:
    rows = SubElement(parent, "dl")
    for name, value in facts.items():
        if value not in ("", None):
            _add(rows, "dt", name)
            _add(rows, "dd", value)


def _about(row: dict[str, Any]) -> dict[str, str]:
    names = ("name", "camera", "time", "track", "footage")
    return {name: str(row[name]) for name in names} | {"state": STATES.get(row["state"], "")}


def _weight(part: dict[str, Any]) -> str:
    return (f" × {part['weight']:g}" if part["weight"] != 1 else "") + ("" if part["on"] else " (off)")


def _add(parent: Element, name: str, text: Any, attributes: dict[str, str] | None = None) -> Element:
    made = SubElement(parent, name, attributes or {})
    made.text = text if name == "style" else plain(text)
    return made


# ------------------------------------------------------------------------------------- pictures: small and written anew


def picture(source: Any, height: int, blur: bool, limits: images.Limits = images.LARGEST, kind: str = "JPEG") -> str:
    """A picture, at most `height` pixels high, as a data address; "" when it cannot be read. kind: its format, unless
    it is blurred."""
    try:
        image = _fitted(images.read(source, limits), height)
    except DescryError:
        return ""
    return _address(_blurred(image), "JPEG") if blur else _address(image, kind)


def frame(origin: Origin, height: int, blur: bool) -> str:
    """The frame that a crop was cut from, with its box, as a data address; "" when it cannot be read any more. blur:
    all but the box, so that nobody else can be seen."""
    try:
        image = origin.still()
    except DescryError:
        return ""
    if blur:
        left, top, wide, high = (round(v) for v in origin.box)
        inside = image.crop((left, top, left + wide, top + high))
        image = _blurred(image)
        image.paste(inside, (left, top))
    return _address(_fitted(image, height), "JPEG")


def _fitted(image: Image.Image, height: int) -> Image.Image:
    if image.height <= height:
        return image
    return image.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.LANCZOS)


def _blurred(image: Image.Image) -> Image.Image:
    """The mean colours of a few cells, drawn softly: nothing finer is in the file, so nothing can be brought back."""
    rows = max(1, round(CELLS * image.height / image.width))
    few = image.resize((CELLS, min(rows, 4 * CELLS)), Image.Resampling.BOX)
    return few.resize(image.size, Image.Resampling.BICUBIC)


def _address(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 80} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
