"""The model that ships: small, whole, offline, and as good as its page says, on a slice that is measured here."""

import json
import re
import socket
from pathlib import Path

import pytest

from descry.checkpoint import load_method, read_config
from descry.cli import main
from descry.embed import load
from descry.gallery.account import Audit
from descry.library import DEMO
from descry.studies import ledger
from descry_lab import demo_report

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGE = DOCS / "demo-model.md"


def test_it_is_small_and_whole():
    assert sum(p.stat().st_size for p in DEMO.iterdir()) <= 12_000_000
    method, config = load_method(DEMO)
    assert "no evidence of accuracy on real people" in config["about"]["note"]
    assert config["about"]["pretrained"] is False
    assert config["about"]["history"][0]["from"] == "random"
    assert "sketch+text" in method.answers
    page = PAGE.read_text("utf-8")
    assert f"{sum(p.numel() for p in method.parameters()) / 1e6:.1f} million parameters" in page
    assert f"({(DEMO / 'sketches.safetensors').stat().st_size / 1e6:.1f} MB)" in page


def test_it_loads_without_a_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    model = load("demo", device="cpu")
    assert model.words.unknown("a red jacket and a zyzzyva") == ["zyzzyva"]
    assert model.embed_texts(["a red jacket"]).shape == (1, model.dimension)


def test_its_figures_hold_on_a_slice(tmp_path):
    """R@1 on the first 100 people of the benchmark, recomputed; one query more or less may fall to rounding."""
    from descry.evaluate import Embedded, evaluate
    from descry.search import Memo
    from descry_people.benchmark import benchmark

    said = json.loads((DEMO / "metrics.json").read_text("utf-8"))
    assert [said[name] for name in ("fingerprint", "search_fingerprint")] == [
        read_config(DEMO)[name] for name in ("fingerprint", "search_fingerprint")
    ]
    model = load("demo", device="cpu")
    benches = benchmark(tmp_path, 100, processes=1).test
    photos, memo = Embedded.of(model, benches["text"]), Memo()
    asked = {"text": ("text", None), "sketch": ("sketch", None)}
    asked["sketch+text, early"] = ("sketch+text", "early")
    for name, (kind, how) in asked.items():
        assert evaluate(model, benches[kind], how, photos, memo=memo).ranks.r1 == pytest.approx(
            said["first 100 people"][name], abs=1.01
        ), name


def test_its_page_shows_the_figures_that_were_measured():
    page = PAGE.read_text("utf-8")
    said = json.loads((DEMO / "metrics.json").read_text("utf-8"))
    assert demo_report.markdown(said) in page
    assert said["test"]["sketch"]["R@1"] == said["readers of sketches"]["sketches apart"]["test, sketch"]
    sketch, words, both = (said["test"][name]["R@1"][0] for name in ("sketch", "text", "sketch+text, served"))
    first_search = (DOCS / "first-search.md").read_text("utf-8")
    told = f"first for {sketch:.0f} of 100 sketches, {words:.0f} of 100 sentences, and {both:.0f} of 100 pairs of both"
    assert told in " ".join(first_search.split())


def test_its_page_shows_what_sketches_read_apart_changed():
    """Read by one encoder, the model has the figures from which the table of stage 2 starts: one path measured both."""
    page = " ".join(PAGE.read_text("utf-8").split())
    readers = json.loads((DEMO / "metrics.json").read_text("utf-8"))["readers of sketches"]
    before, now = readers["one encoder"], readers["sketches apart"]
    for name, row in (("stage 1", before), ("(what ships)", now)):
        cells = " | ".join(f"{value:.1f}" for value in row["val R@1"].values())
        assert f"{name} | {cells} |" in page
    (alone, both) = ((before[k], now[k]) for k in ("test, sketch", "test, sketch+text, served"))
    for old, new in (alone, both):
        assert "from {:.1f} ({:.1f}–{:.1f}) to {:.1f} ({:.1f}–{:.1f})".format(*old, *new) in page
    start = next(e for e in ledger.read(ROOT / "results" / "ledger.jsonl")
                 if (e.table, e.row) == ("demo-stage2", "the start, as it is"))  # fmt: skip
    figures = {k: start.figures[k]["R@1"] for k in start.figures}
    assert {round(v, 1) for v in before["val R@1"].values()} <= {round(v, 1) for v in figures.values()}


def test_its_page_shows_how_drawings_were_read():
    """Both tables of drawings, against what the recipe kept."""
    page = PAGE.read_text("utf-8")
    kept = json.loads((ROOT / "results" / "drawings.json").read_text("utf-8"))
    assert {part["search_fingerprint"] for part in kept.values()} == {read_config(DEMO)["search_fingerprint"]}

    def cell(row):
        return "{:.1f} ({:.1f}–{:.1f})".format(row["R@10"], *row["interval"])

    few = kept["150 people"]["figures"]
    named = {"dressed, 15 % wrong": "composed with `compose_sketch`", "shipped (v1)": "sketch of the benchmark",
             "lay, nothing wrong": "lay, nothing remembered wrongly", "lay, full size": "lay, another hand",
             "lay, small in a corner": "the same, small in a corner"}  # fmt: skip
    for name in {n.rsplit(", ", 1)[0] for n in few if not n.startswith("vague words")}:
        asked = [f"{kind}{name}, {when}" for kind in ("", "vague words + ") for when in ("before", "after")]
        assert f"| {named.get(name, name)} | {' | '.join(cell(few[a]) for a in asked)} |" in page, name
    beside = {name: row["R@10"] for name, row in few.items() if name.startswith("vague words + ") and "after" in name}
    assert len(beside) >= 8
    assert min(beside.values()) >= few["vague words"]["interval"][0], "no drawing makes words worse beyond chance"
    text, words = " ".join(page.split()), few["vague words"]["R@10"]
    scribble, still = (few[f"vague words + {name}, after"]["gained"] for name in ("scribble", "stick figure"))
    told = "{:+.1f} ({:+.1f} to {:+.1f})".format(*scribble).replace("-", "−")
    assert f"a fitted scribble changes it by {told}; with a fitted stick figure it stays the same on average" in text
    assert still[0] == 0
    others = [value for name, value in beside.items() if "scribble" not in name and "stick" not in name]
    assert f"every other drawing adds {int(min(others) - words)} points or more" in text
    worse = {name for name, row in few.items() if name.endswith("before") and "+" in name and row["R@10"] < words}
    assert worse == {f"vague words + {n}, before" for n in ("stick figure", "scribble", "lay, small in a corner")}
    assert "can make words worse: a stick figure, a scribble, or one small in a corner" in text
    styles = kept["version 2"]["figures"]
    for name in {n.rsplit(", ", 1)[0] for n in styles}:
        style, count = name.removesuffix(")").rsplit(" (", 1)
        drawn = {"lay": "by lay people, 15 % wrong", "lay, nothing wrong": "by lay people, nothing wrong"}
        cells = " | ".join(cell(styles[f"{name}, {when}"]) for when in ("before", "after"))
        assert f"| {drawn.get(style, f'{style}, 15 % wrong')} | {count} | {cells} |" in page, name


def test_the_demo_ends_with_a_ranked_answer_and_can_be_repeated(tmp_path, capsys):
    assert main(["demo", str(tmp_path / "demo"), "--identities", "14", "--json", "--threads", "1"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert len(first["results"]) == 10
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f'"{first["words"]}"' in " ".join(readme.split())
    assert (tmp_path / "demo" / "leads.png").stat().st_size > 10_000
    assert main(["demo", str(tmp_path / "demo"), "--identities", "14", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    assert len(out.strip().splitlines()) >= 10
    shown = [
        line.split("demo/people/photos/") for line in re.search(r"```text\n(.*?)```", readme, re.S)[1].splitlines()
    ]
    printed = [line.split("demo/people/photos/") for line in out.splitlines()]
    assert min(len(shown), len(printed)) >= 2
    for (start, name), (begun, file) in zip(shown[:2], printed[:2], strict=True):  # scores are those of more people
        assert (start.split()[0], start.split()[2:4], name) == (begun.split()[0], begun.split()[2:4], file)
        assert start.index("id") == begun.index("id"), "columns as they are printed"
    assert "     descry index PHOTOS --out my-gallery" in err.splitlines()
    assert "no evidence of accuracy on real people" in err
    account = Audit(tmp_path / "demo" / "gallery")
    told = [json.loads(line)["what"] for line in account.read().splitlines()]
    assert told == ["index", "search", "index", "search"]
    assert main(["demo", str(tmp_path / "other"), "--identities", "3"]) == 2


def test_what_is_evaluated_as_served_is_what_a_gallery_serves(tmp_path):
    """The ranks of `descry evaluate` and those of a search in a gallery of the same photographs."""
    from descry.evaluate import evaluate, ways
    from descry.gallery import Gallery
    from descry_people.benchmark import benchmark

    model = load("demo", device="cpu")
    bench = benchmark(tmp_path / "people", 12).test["sketch+text"]
    assert "served" in ways(model, bench)
    ranks = evaluate(model, bench, "served").ranks
    with Gallery.create(tmp_path / "gallery", model) as gallery:
        gallery.index((str(next((tmp_path / "people").iterdir()) / "photos"),))
        for probe, first in zip(bench.probes, ranks.first, strict=True):
            own = {p.path.rsplit("/", 1)[-1] for p in bench.photos if p.pid == probe.pid}
            shown = [path.rsplit("/", 1)[-1] for path in gallery.search(probe.query, k=24).paths]
            assert min(shown.index(name) for name in own) + 1 == first
