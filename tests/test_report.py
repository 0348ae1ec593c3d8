"""A report: the same bytes each time but for one block, whole, harmless whatever it quotes, and without a network."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import sqlite3
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from account import NAME, NOTE, WORDS, ask, converse, crop, make, opened, sketch
from descry import report
from descry.errors import DescryError, UsageError
from descry.gallery import Gallery
from descry.gallery.account import Audit, canonical, commitment
from descry.gallery.database import Database
from descry.gallery.sources import Sources
from descry.interact.rounds import to_json
from descry.interact.store import Finding
from descry.report import table
from descry.report.redaction import Redactor
from gallery.plain_model import PlainModel
from payloads import PAYLOADS

TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "section",
        "article",
        "div",
        "h1",
        "h2",
        "h3",
    ),
    *("p", "b", "span", "small", "code", "figure", "figcaption", "img", "ul", "ol", "li", "dl", "dt", "dd"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "id", "src", "alt", "value", "scope"}


class Read(HTMLParser):
    """What a browser would make of a report: tags, attributes, text, pictures."""

    def __init__(self, data: bytes):
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[bytes] = []
        self.texts: list[str] = []
        self.feed(data.decode())
        self.close()
        self.text = "".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert tag in TAGS, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES, attrs
        held = dict(attrs)
        if "src" in held:
            kind, _, data = held["src"].partition(";base64,")
            assert kind in ("data:image/jpeg", "data:image/png")
            self.pictures.append(base64.b64decode(data, validate=True))

    def handle_data(self, data):
        if self.tags[-1:] != ["style"]:
            self.texts.append(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A gallery with one inquiry of three rounds and two findings."""
    root = tmp_path_factory.mktemp("made")
    with opened(make(root)) as (gallery, store):
        converse(gallery, store)
    return root / "gallery"


@pytest.fixture
def account(made: Path):
    with opened(made) as pair:
        yield pair


def without_time(data: bytes, kind: str) -> bytes:
    """The report without its time block, which must be there once."""
    patterns = {
        "html": rb'<section id="written">.*?</section>',
        "json": rb'"written": \{.*?\}',
        "csv": rb'"written",[^\r]*\r\n',
    }
    rest, count = re.subn(patterns[kind], b"", data, flags=re.DOTALL)
    assert count == 1
    return rest


@pytest.mark.parametrize("kind", report.FORMATS)
@pytest.mark.parametrize("options", [(False, False), (True, True)])
def test_the_same_inquiry_gives_the_same_bytes_but_for_the_time_block(made, monkeypatch, kind, options) -> None:
    written = []
    for zone in ("UTC", "Asia/Kolkata"):
        monkeypatch.setenv("TZ", zone)
        with opened(made) as (gallery, store):
            written.append(report.export(gallery, store, NAME, kind, *options).data)
    assert written[0] != written[1], "the head of the account grew"
    assert without_time(written[0], kind) == without_time(written[1], kind)


def test_it_holds_every_round_and_what_it_was_ranked_by(account) -> None:
    gallery, store = account
    inquiry = store.load(NAME)
    made = json.loads(report.export(gallery, store, NAME, "json").data)
    assert made["notice"] == "Search leads, not an identification"
    assert [r["number"] for r in made["rounds"]] == [1, 2, 3]
    for told in made["rounds"]:
        real = inquiry.rounds[told["number"]]
        assert [lead["item"] for lead in told["leads"]] == list(real.ids[:10])
        assert told["shown"] == len(real.ids)
        assert told["chips"] == [{"text": WORDS, "wanted": True, "weight": 1.0, "on": True}]
        assert told["sketches"][0]["sha256"] == hashlib.sha256(sketch()).hexdigest()
        assert told["formula"] == to_json(real)["formula"]
    second, third = made["rounds"][1:]
    assert len(second["marks"]["liked"]) == len(second["marks"]["unliked"]) == 1
    assert third["filters"]["cameras"] == ["cam1"]
    assert third["parent"] == 1
    assert third["difference"] == {"new": 0, "gone": 20 - third["shown"], "kept": third["shown"]} or third["shown"]
    whole = {"name": NAME, "rounds": [to_json(r) for _, r in sorted(inquiry.rounds.items())]}
    whole["findings"] = [f.to_json() for f in store.findings(NAME)]
    assert made["inquiry"]["digest"] == hashlib.sha256(canonical(whole).encode()).hexdigest()
    assert made["model"]["fingerprint"] == gallery.binding.fingerprint
    assert (made["gallery"]["items"], made["gallery"]["skipped"]) == (24, 1)
    assert made["gallery"]["skipped_by_reason"] == {"too_small": 1}


def test_findings_come_with_ranks_and_runner_ups_are_in_none(account) -> None:
    gallery, store = account
    made, inquiry = report.preview(gallery, store, NAME), store.load(NAME)
    found = {f["item"]: f for f in made["findings"]}
    assert sorted(f["verdict"] for f in found.values()) == ["set aside", "worth following"]
    for item, row in found.items():
        assert row["note"] == NOTE
        assert row["state"] == ""
        assert row["ranks"] == {str(n): r.ids.index(item) + 1 for n, r in inquiry.rounds.items() if item in r.ids}
    shown = inquiry.current.ids
    assert [r["item"] for r in made["runner_ups"]] == [i for i in shown if i not in found][:10]
    assert [r["rank"] for r in made["runner_ups"]] == [shown.index(r["item"]) + 1 for r in made["runner_ups"]]


def test_the_page_shows_all_of_it_without_a_network(account) -> None:
    gallery, store = account
    exported = report.export(gallery, store, NAME, "html")
    page, made = Read(exported.data), report.preview(gallery, store, NAME)
    assert b"http" not in re.sub(rb"http-equiv", b"", exported.data), "no address of anything elsewhere"
    assert "default-src 'none'" in exported.data.decode()
    for text in (report.NOTICE, NAME, NOTE, WORDS, made["inquiry"]["digest"], made["gallery"]["digest"]):
        assert text in page.text
    for text in (made["model"]["fingerprint"], "Runner-ups", "files skipped", "too_small 1", *report.preview(
        gallery, store, NAME)["limits"]):  # fmt: skip
        assert text in page.text
    leads = sum(len(r["leads"]) for r in made["rounds"]) + len(made["runner_ups"]) + len(made["findings"])
    assert len(page.pictures) == leads + len(made["rounds"])
    for word in ("match", "%", "identified", "suspect"):
        assert word not in page.text.lower().replace("not an identification", "")


def test_pictures_are_small_and_made_of_pixels_only(account, tmp_path) -> None:
    gallery, store = account
    for data in Read(report.export(gallery, store, NAME, "html").data).pictures:
        image = Image.open(io.BytesIO(data))
        assert image.height <= 320
        assert not image.getexif()


def detail(data: bytes) -> float:
    """How much neighbouring pixels differ."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L"), np.float32)
    return float(np.abs(np.diff(pixels, axis=0)).mean())


def test_everyone_not_in_a_finding_is_blurred_beyond_recovery(account) -> None:
    gallery, store = account
    sharp = Read(report.export(gallery, store, NAME, "html").data).pictures
    exported = report.export(gallery, store, NAME, "html", blur_others=True)
    blurred, found = Read(exported.data).pictures, {f.item for f in store.findings(NAME)}
    made = report.preview(gallery, store, NAME)
    items = [f["item"] for f in made["findings"]] + [r["item"] for r in made["runner_ups"]]
    for one in made["rounds"]:
        items += [None, *(lead["item"] for lead in one["leads"])]
    assert len(items) == len(sharp) == len(blurred)
    for item, before, after in zip(items, sharp, blurred, strict=True):
        if item is None or item in found:
            assert after == before
        else:
            assert detail(after) < 0.5 * detail(before)
    assert "blurred" in Read(exported.data).text


def test_a_photograph_searched_with_is_blurred_too(tmp_path) -> None:
    with opened(make(tmp_path)) as (gallery, store):
        ask(gallery, store, photos=(tmp_path / "crops/cam0/p002_20261103T120000.png").read_bytes())
        sharp, blurred = (Read(report.export(gallery, store, NAME, "html", b).data).pictures[10] for b in (False, True))
        assert detail(blurred) < 0.5 * detail(sharp)


@pytest.mark.parametrize("kind", report.FORMATS)
def test_redacted_paths_are_nowhere(account, made, kind) -> None:
    gallery, store = account
    whole = report.export(gallery, store, NAME, kind).data
    redacted = report.export(gallery, store, NAME, kind, redact_paths=True).data
    for secret in (str(made.parent / "crops"), "p003_", ".png", "*p*"):
        assert secret.encode() in whole or json.dumps(secret)[1:-1].encode() in whole
        assert secret.encode() not in redacted
    assert b"item " in redacted


@pytest.mark.parametrize("kind", report.FORMATS)
def test_redacted_paths_are_not_in_free_text_either(tmp_path, kind) -> None:
    root = tmp_path / "my case"
    with opened(make(root)) as (gallery, store):
        item = next(iter(gallery.listed()))
        name = f"as in {Path(item.path).name}"
        session = ask(gallery, store, name, wanted="grey/blue coat as in D:\\evidence\\box7")
        note = f"see {item.path}, the folder {root}, {Path(item.path).name}; ~/private/list and n/a, and/or 1/2 of them"
        store.find(name, Finding(session.inquiry.current.ids[0], "set aside", note))
        whole = report.export(gallery, store, name, kind).data
        redacted = report.export(gallery, store, name, kind, redact_paths=True).data
    for secret in ("my case", Path(item.path).name, "box7", "private"):
        assert secret.encode() in whole
        assert secret.encode() not in redacted
    for kept in ("n/a, and/or 1/2 of them", "grey/blue coat as in", "the folder"):
        assert kept.encode() in redacted


@given(st.text(max_size=60), st.sampled_from(["/data/crops/a b/x.jpg", "C:\\crops\\x.png", "crops/é ü.webp"]))
def test_no_known_path_outlives_redaction(text: str, path: str) -> None:
    redact = Redactor([path])
    assert path not in redact(f"{text} {path} {text}")
    assert redact(redact(text)) == redact(text)


def test_what_became_of_the_files_is_said_and_no_other_picture_shown(tmp_path) -> None:
    with opened(make(tmp_path)) as (gallery, store):
        session = converse(gallery, store)
        ids = session.inquiry.rounds[1].ids
        paths = {i.id: Path(i.path) for i in gallery.items(ids)}
        paths[ids[1]].write_bytes(paths[ids[2]].read_bytes())
        paths[ids[3]].unlink()
        if hasattr(os, "mkfifo"):
            os.mkfifo(paths[ids[3]])  # reading it would wait for ever
        gallery.purge([ids[4]])
        states = {lead["item"]: lead["state"] for lead in report.preview(gallery, store, NAME)["rounds"][0]["leads"]}
        assert [states[i] for i in ids[:5]] == ["", "changed", "", "missing", "removed"]
        text = Read(report.export(gallery, store, NAME, "html").data).text
        for said in ("file changed since indexing", "file missing", "removed from the gallery"):
            assert said in text
        paths[ids[3]].unlink(missing_ok=True)
        gallery.index(tmp_path / "crops", model=PlainModel(), sources=Sources("dirname", r"(\d{8}T\d{6})", "", ""))
        row = next(f for f in report.preview(gallery, store, NAME)["findings"] if f["item"] == ids[1])
        assert row["state"] == "changed", "the item has another picture than when the finding was made"


def test_an_inquiry_without_rounds_or_findings_has_a_report_too(tmp_path) -> None:
    from descry.interact.rounds import Inquiry

    with opened(make(tmp_path, 2)) as (gallery, store):
        store.save(Inquiry("empty"))
        for kind in report.FORMATS:
            assert b"not an identification" in report.export(gallery, store, "empty", kind).data
        with pytest.raises(UsageError, match="did you mean 'html'"):
            report.export(gallery, store, "empty", "htm")
        with pytest.raises(UsageError, match="no inquiry 'x'"):
            report.export(gallery, store, "x", "html")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A gallery whose file names, cameras, inquiry, chips and notes are the payloads."""
    root = tmp_path_factory.mktemp("hostile")
    rows = ["path,camera"]
    for i, text in enumerate(PAYLOADS):
        name = re.sub(r"[/\0]|^\.", "_", text)[:80] + f"_{i}.png"
        try:
            crop(root / "crops", i).rename(root / "crops" / name)
        except OSError:
            name = f"{i}.png"
            crop(root / "crops", i).rename(root / "crops" / name)
        line = io.StringIO()
        csv.writer(line).writerow([name, text.replace("\0", "")[:100]])
        rows.append(line.getvalue().rstrip("\r\n"))
    (root / "list.csv").write_text("\n".join(rows), encoding="utf-8", newline="")
    with Gallery.create(root / "gallery", PlainModel()) as gallery:
        gallery.index(root / "crops", sources=Sources("csv", "", "", str(root / "list.csv")))
    with opened(root / "gallery") as (gallery, store):
        for i, text in enumerate(PAYLOADS):
            said = text if text.strip() else "x"
            session = ask(gallery, store, f"{i} {text}", wanted=said, sketches=sketch())
            for item in session.inquiry.current.ids[:2]:
                store.find(session.inquiry.name, Finding(item, "set aside", text))
    return root / "gallery"


def test_a_hundred_payloads_are_text_and_nothing_else(hostile) -> None:
    with opened(hostile) as (gallery, store):
        assert len({i.path for i in gallery.listed()}) == len(PAYLOADS) == 100
        shapes = set()
        for i, text in enumerate(PAYLOADS):
            page = Read(report.export(gallery, store, f"{i} {text}", "html").data)
            shapes.add(tuple(page.tags))
            if text.isprintable():
                assert page.text.count(text) >= 4, "in the title, as a name, as a chip and as a note"
        assert len(shapes) == 1, "no text changed the tree"


def test_no_cell_can_become_a_formula(hostile) -> None:
    with opened(hostile) as (gallery, store):
        for i, text in enumerate(PAYLOADS):
            data = report.export(gallery, store, f"{i} {text}", "csv").data.decode("utf-8-sig")
            for separator in ",;\t|":
                for row in csv.reader(io.StringIO(data, newline=""), delimiter=separator):
                    for cell in row:
                        for part in cell.split("\n") if separator == "," else [cell]:
                            begin = part.strip().lstrip('"').strip()
                            number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", begin)
                            assert number or begin[:1] not in tuple("=+-@＝＋－＠"), (separator, cell)


BEGINS = "=+-@＝＋－＠"


@given(
    st.text(alphabet=st.sampled_from([*BEGINS, *";,|\t\r\n'\" ", "a", "1", "\u00a0", "\u202e", "\x00"]), max_size=12)
)
def test_whatever_is_written_no_cell_begins_like_a_formula(text: str) -> None:
    for part in re.split(r"[;,|\t\r\n]", table.cell(text)):
        assert part.strip().lstrip('"').lstrip()[:1] not in tuple(BEGINS), (text, part)


def test_cells_keep_what_they_say() -> None:
    assert table.cell("a red jacket; grey-blue, 1-2") == "a red jacket; grey-blue, 1-2"
    assert table.cell(-1.5) == "-1.5"
    assert table.cell("=1+1") == "'=1+1"
    assert table.cell(True) == "yes"


def test_an_export_is_accounted_for_before_it_leaves(account, made, monkeypatch) -> None:
    gallery, store = account
    exported = report.export(gallery, store, NAME, "csv", redact_paths=True)
    last = json.loads(Audit(made).read().splitlines()[-1])
    assert exported.head == Audit(made).head() == f"{last['n']}:{last['hash']}"
    assert (last["what"], last["format"], last["redact_paths"]) == ("export", "csv", True)
    assert last["file"] == commitment(store.key(NAME), "report", exported.data)
    lines = last["n"]
    report.preview(gallery, store, NAME)
    assert Audit(made).verify(exported.head).lines == lines

    def fail(database: Database, *_: object, **facts: object) -> None:
        with database.writing():
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("descry.report.add_line", fail)
    with pytest.raises(DescryError, match="is full; what was committed before is kept"):
        report.export(gallery, store, NAME, "html")


def test_known_errors_are_those_of_the_very_weights(tmp_path) -> None:
    from descry.gallery.contract import Binding
    from descry.report.error_rates import DEMO, about_model
    from descry.safe_files import allow
    from descry.studies.ledger import Entry, append

    config = json.loads((DEMO / "config.json").read_text())
    demo = about_model(Binding("demo", config["fingerprint"], 128, {}))
    text = next(r for r in demo["error_rates"] if r["asked_with"] == "text")
    mean, *interval = json.loads((DEMO / "metrics.json").read_text())["test"]["text"]["R@1"]
    assert (text["R@1"], text["interval"], text["synthetic"]) == (mean, interval, True)
    assert 0 < mean < 100
    assert "synthetic people" in demo["note"]
    other = about_model(Binding("demo", "0" * 64, 128, {}))
    assert other["error_rates"] == []
    assert "Nothing is known" in other["error_rates_note"]
    config = {"about": {"note": "a toy"}, "fingerprint": "a" * 64, "search_fingerprint": "1" * 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    figures = {"text": {"R@1": 12.5, "R@5": 20.0, "R@10": 30.0, "mAP": 15.0, "mINP": 9.0}}
    asked = {
        "intervals": {"text": {"R@1": (10.0, 15.0)}},
        "split": "test",
        "selection": "val",
        "data": {},
        "command": "",
    }
    entry = Entry("evaluation", "zero_shot", "own", 0, figures, **asked)
    for weights, all_of_it in (("a", "1"), ("a", "2"), ("b", "1")):  # the last two: ranked otherwise, other weights
        marks = {"fingerprint": weights * 64, "search_fingerprint": all_of_it * 64}
        first = {"text": figures["text"] | {"R@1": {"a1": 12.5, "a2": 90.0, "b1": 80.0}[weights + all_of_it]}}
        append(tmp_path / "ledger.jsonl", replace(entry, config=marks, figures=first))
    append(tmp_path / "ledger.jsonl", replace(entry, table="training", config={"fingerprint": "a" * 64}))
    assert about_model(Binding(str(tmp_path), "a" * 64, 8, {}))["note"] == "", "it lies where nobody named it"
    allow(tmp_path)
    own = about_model(Binding(str(tmp_path), "a" * 64, 8, {}), redact=True)
    assert own["source"] == tmp_path.name
    assert own["note"] == "a toy"
    assert [(r["R@1"], r["interval"]) for r in own["error_rates"]] == [(12.5, [10.0, 15.0])]
    (tmp_path / "config.json").write_text(json.dumps(config | {"search_fingerprint": "3" * 64}))
    assert about_model(Binding(str(tmp_path), "a" * 64, 8, {}))["error_rates"] == []
    gone = about_model(Binding(str(tmp_path), "c" * 64, 8, {}))
    assert (gone["search_fingerprint"], gone["error_rates"]) == ("", [])


def test_what_ranks_otherwise_than_the_demo_model_has_not_its_error_rates(tmp_path) -> None:
    import shutil

    from descry.gallery.contract import Binding
    from descry.report.error_rates import DEMO, about_model
    from descry.safe_files import allow

    for name in ("config.json", "metrics.json"):
        shutil.copy(DEMO / name, tmp_path)
    config = json.loads((DEMO / "config.json").read_text())
    binding = Binding(str(tmp_path), config["fingerprint"], 128, {})
    allow(tmp_path)
    assert about_model(binding)["error_rates"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"search_fingerprint": "0" * 64}))
    assert about_model(binding)["error_rates"] == []


def test_a_report_needs_no_torch() -> None:
    import subprocess

    code = "import descry.report, descry.purge, descry.gallery.account, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
