"""The commands over a gallery indexed with a tiny model: what is printed, kept, and refused."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from conftest import write_joining_run
from descry.cli import main
from descry.cli.chat import HELP
from descry.cli.inquiry import opened


@pytest.fixture(scope="module")
def place(tmp_path_factory, toy):
    """A folder with a run, a gallery of the toy's photographs (a track per person) and one sketch."""
    from descry.checkpoint import write_config
    from descry.embed import load
    from descry.gallery import Gallery
    from descry.gallery.sources import Sources
    from descry.interact.questions import vocabulary
    from descry.ranking import Ranking

    root = tmp_path_factory.mktemp("cli")
    write_joining_run(root / "run")
    config = json.loads((root / "run" / "config.json").read_text())
    ranking = Ranking(
        curves={q.phrase: (1.0, 0.0) for q in vocabulary()}
    )  # as if it had been measured, so that it asks
    write_config(root / "run", ranking.saved(config))
    crops = Path(toy.test["sketch"].photos[0].path).parent
    with Gallery.create(root / "gallery", load(root / "run")) as gallery:
        gallery.index(crops, sources=Sources("", "", r"(\d\d)_\d", ""), exclude=["*sketch*"])
        assert len(gallery) == 32
    return root, next(crops.glob("00_sketch.png"))


def run(capsys, *args) -> tuple[int, str, str]:
    status = main([str(a) for a in args])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_a_whole_inquiry(place, capsys, tmp_path) -> None:
    root, sketch = place
    gallery = root / "gallery"
    status, out, err = run(
        capsys, "inquiry", "new", gallery, "case", "--sketch", sketch, "--text", "a red top", "-k", 6, "--json"
    )
    assert status == 0, err
    first = json.loads(out)
    assert len(first["results"]) == len(first["paths"]) == 6
    assert [p["text"] for p in first["query"]["wanted"]] == ["red top"]
    status, out, err = run(
        capsys, "inquiry", "refine", gallery, "case", "--text", "blue top, no hat", "--replace", "--json"
    )
    second = json.loads(out)
    assert "replaces" in err
    assert [p["text"] for p in second["query"]["wanted"]] == ["blue top"]
    assert [p["text"] for p in second["query"]["unwanted"]] == ["hat"]
    liked, unliked = second["results"][3][0], second["results"][0][0]
    status, out, _ = run(capsys, "inquiry", "mark", gallery, "case", "--like", liked, "--unlike", unliked, "--json")
    third = json.loads(out)
    assert third["results"][0][0] == liked
    assert unliked not in [i for i, _ in third["results"]]
    assert run(capsys, "inquiry", "mark", gallery, "case", "--closest", third["results"][1][0])[0] == 0
    status, out, err = run(capsys, "inquiry", "undo", gallery, "case", "--sheet", tmp_path / "sheet.png")
    assert status == 0
    assert "→     3. liked" in err
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert "NOT hat" in run(capsys, "inquiry", "why", gallery, "case", "--ranks", 1, 4)[1]
    status, out, _ = run(capsys, "inquiry", "replay", gallery, "case")
    assert (status, out.count("the same order")) == (0, 4)
    status, out, _ = run(capsys, "inquiry", "ask", gallery, "case", "--json")
    question = json.loads(out)[0]
    assert question["question"].endswith("?")
    assert run(capsys, "inquiry", "answer", gallery, "case", "--answer", f"{question['key']}=no")[0] == 0
    exported = json.loads(run(capsys, "inquiry", "export", gallery, "case")[1])
    assert [r["number"] for r in exported["rounds"]] == [1, 2, 3, 4, 5]
    assert str(sketch) not in json.dumps(exported), "pictures leave as digests"
    listed = run(capsys, "inquiry", "list", gallery)[1]
    assert re.fullmatch(r"case  \(\d+ rounds?, last used \d{4}-\d\d-\d\d\)\n", listed)
    assert "match" not in out + err
    assert run(capsys, "inquiry", "delete", gallery, "case", "--round", 2)[1].strip() == "deleted rounds 2, 3, 4, 5"
    assert run(capsys, "inquiry", "delete", gallery, "case")[0] == 0
    assert run(capsys, "inquiry", "list", gallery)[1].strip() == "no inquiry yet"


def test_each_action_is_a_verb_of_its_own(place, capsys, monkeypatch) -> None:
    """Words stand on the line, the gallery comes first everywhere, and counts agree with their nouns."""
    root, sketch = place
    gallery = root / "gallery"
    status, _, err = run(capsys, "inquiry", "new", gallery, "verbs", "a red top", "no hat", "--sketch", sketch, "-k", 3)
    assert status == 0, err
    assert "→ 1. 1 sketch, red top, NOT hat" in err, "the first round says what was asked"
    assert run(capsys, "inquiry", "refine", gallery, "verbs", "blue trousers")[0] == 0
    assert run(capsys, "inquiry", "answer", gallery, "verbs", "jeans=unknown")[0] == 0
    status, _, err = run(capsys, "inquiry", "answer", gallery, "verbs", "jeens=no")
    assert status == 2
    assert "did you mean 'jeans'" in err
    assert "Is the person" in run(capsys, "inquiry", "show", gallery, "verbs")[2]
    assert run(capsys, "finding", gallery, "verbs", "--item", 3)[0] == 0
    earlier = run(capsys, "finding", "verbs", "--gallery", gallery)
    assert earlier[0] == 0, "the earlier order is still read"
    assert "write descry finding GALLERY NAME" in earlier[2]
    assert earlier[1] == run(capsys, "finding", gallery, "verbs")[1]
    assert "(3 rounds, 1 finding, last used" in run(capsys, "keep", gallery)[1]
    assert run(capsys, "inquiry", "refine", "--help")[1].count("GALLERY [NAME] [WORDS ...]") == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("like 1\ngo 1\nquit\n"))
    status, _, err = run(capsys, "chat", gallery, "verbs", "-k", 3)
    assert status == 0
    assert "liked" in err, "commands with numbers need no slash"
    assert run(capsys, "inquiry", "delete", gallery, "verbs")[0] == 0


def test_an_old_round_shows_as_many_leads_as_are_asked_for(place, capsys, tmp_path) -> None:
    root, sketch = place
    at = (root / "gallery", "short")
    assert run(capsys, "inquiry", "new", *at, "--sketch", sketch, "-k", 5, "--json")[0] == 0
    told = {k: json.loads(run(capsys, "inquiry", "show", *at, *k, "--json")[1]) for k in ((), ("-k", 3), ("-k", 12))}
    kept, fewer, more = (row["results"] for row in told.values())
    assert (len(kept), len(fewer), len(more)) == (5, 3, 12)
    assert kept[:3] == fewer
    assert [i for i, _ in more[:5]] == [i for i, _ in kept]
    assert len(told["-k", 12]["paths"]) == 12
    out = run(capsys, "inquiry", "go", *at, "--round", 1, "-k", 8, "--sheet", tmp_path / "sheet.png")[1]
    assert len(out.splitlines()) == 8


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("begin", "G"), "there is no action 'begin'"),
        (("show", "G", "nobody"), "there is no inquiry 'nobody'"),
        (("new", "G", "empty"), "the query is empty"),
    ],
)
def test_refusals(place, capsys, args, says) -> None:
    root, _ = place
    status, _, err = run(capsys, "inquiry", *[root / "gallery" if a == "G" else a for a in args])
    assert status == 2
    assert says in err


def test_a_chat_that_another_process_goes_on_with(place, capsys, monkeypatch) -> None:
    root, _ = place
    said = iter(["red top", "blue hat", "/tree", "/quit"])

    def line() -> str:
        now = next(said)
        if now == "blue hat":
            with opened(root / "gallery", "shared") as other:
                other.refine("no bag")
        return now

    monkeypatch.setattr("descry.cli.chat._line", line)
    status, out, err = run(capsys, "chat", root / "gallery", "shared")
    assert status == 0, err
    assert "another process continued this inquiry" in err
    assert "→   2. NOT bag" in out, "nothing was asked of a round that was not seen"
    assert "blue hat" not in out


def test_a_chat(place, capsys, monkeypatch) -> None:
    root, sketch = place
    lines = ["red top, no hat", "/nonsense", "yes", "/like 2", "/chips", "/flip 2", "/why 1 3", "/off 9", "/tree"]
    lines += ["/undo", "/help", "/ask off", "I don't know", "like 1", "undo", "help", "quit", "never read"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    status, out, err = run(capsys, "chat", root / "gallery", "talk", "--sketch", sketch)
    assert status == 0, err
    assert out.count("?") >= 3, "a question after every round"
    assert "there is no /nonsense" in err
    assert "chips are 1 to" in err
    assert "NOT hat" in out
    assert "nothing to search for" in err
    assert not {"help", "quit", "undo", "like 1", "never read"} & set(re.findall(r"\d\. (.*)", err))
    assert max(map(len, HELP.splitlines())) <= 80
    assert out.count(HELP) == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("/undo\n"))
    assert run(capsys, "chat", root / "gallery", "talk")[0] == 0, "goes on where it stopped"


def test_calibrate_on_ones_own_gallery(place, capsys, monkeypatch, tmp_path) -> None:
    from descry.gallery import Gallery
    from descry.interact import absence

    root, sketch = place
    gallery = root / "gallery"
    status, _, err = run(capsys, "gallery", "calibrate", gallery)
    assert status == 1
    assert "at least 40" in err
    monkeypatch.setattr(absence, "ENOUGH", 10)
    status, out, err = run(capsys, "gallery", "calibrate", gallery, "--json")
    assert status == 0, err
    assert json.loads(out)["kind"] == "photo"
    rows = [{"text": "a red top", "ids": [1, 2]}] * 12 + [{"sketch": str(sketch), "ids": [3]}] * 12
    queries = tmp_path / "queries.jsonl"
    queries.write_text("\n".join(json.dumps(r) for r in rows))
    assert run(capsys, "gallery", "calibrate", gallery, "--queries", queries)[0] == 0
    assert sorted(absence.load(gallery)) == ["photo", "sketch", "text"]
    status, out, err = run(capsys, "search", gallery, "a red top", "--json")
    said = json.loads(out)["absence"]
    assert said.startswith(("this person is probably not", "the first leads stand out", "no lead stands out")), said
    run(capsys, "inquiry", "new", gallery, "told", "--text", "a red top")
    assert json.loads(run(capsys, "inquiry", "show", gallery, "told", "--json")[1])["absence"] == said, "said alike"
    found = json.loads(run(capsys, "gallery", "info", gallery, "--json")[1])["calibrated"]
    assert sorted(found) == ["photo", "sketch", "text"]
    assert all("false alarms in 100" in text for text in found.values())
    kept = (gallery / absence.FILE).read_text()
    (gallery / absence.FILE).write_text(re.sub(r'("search_fingerprint": ").*?"', r'\1another"', kept))
    for told in (
        run(capsys, "search", gallery, "a red top", "--json")[1],
        run(capsys, "inquiry", "show", gallery, "told", "--json")[1],
    ):
        assert "uncalibrated: this gallery was calibrated with another model" in json.loads(told)["absence"]
    listed = json.loads(run(capsys, "gallery", "info", gallery, "--json")[1])["calibrated"]
    assert {kind: text.split(":")[0] for kind, text in listed.items()} == dict.fromkeys(sorted(found), "no longer")
    (gallery / absence.FILE).write_text(kept)
    run(capsys, "inquiry", "delete", gallery, "told")
    assert said[1:] in run(capsys, "search", gallery, "a red top")[2]
    queries.write_text("\n")
    assert run(capsys, "gallery", "calibrate", gallery, "--queries", queries)[::2] == (
        1,
        f"descry: {queries} holds no query; write one on each line\n",
    )
    queries.write_text('{"text": "x"}')
    status, _, err = run(capsys, "gallery", "calibrate", gallery, "--queries", queries)
    assert "line 1" in err
    with Gallery.open(gallery) as opened:
        held = [item.id for item in opened.listed()]
    queries.write_text(json.dumps({"text": "a red top", "ids": held}))
    status, _, err = run(capsys, "gallery", "calibrate", gallery, "--queries", queries)
    assert status == 1
    assert f"line 1 of {queries}: ids names all {len(held)} items" in err
    assert run(capsys, "gallery", "calibrate", gallery, "--alpha", 0.9)[0] == 2
    (gallery / absence.FILE).unlink()
    assert json.loads(run(capsys, "search", gallery, "a red top", "--json")[1])["absence"] == "", (
        "nothing is calibrated"
    )


def test_simulate_on_synthetic_people(place, capsys, tmp_path) -> None:
    folder = pytest.importorskip("descry_people.folder")
    root, _ = place
    people = tmp_path / "people"
    folder.write_people(
        people, identities=8, photos=2, sketches=1, captions=1, splits={"test": 8}, first=0, processes=1, size=(32, 64)
    )
    out_file = tmp_path / "out.json"
    status, out, err = run(
        capsys,
        "simulate",
        people,
        "--model",
        root / "run",
        "--rounds",
        2,
        "--seeds",
        1,
        "--err",
        0.1,
        "--out",
        out_file,
    )
    assert status == 0, err
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(
        __import__("descry_lab.simulation", fromlist=["x"]).POLICIES
    )
    result = json.loads(out_file.read_text())
    assert result["courses"][0]["answerer"]["habits"]["err"] == 0.1
    few = ("--model", root / "run", "--rounds", 1, "--seeds", 1, "--policy", "none", "--json")
    told = json.loads(run(capsys, "simulate", people, *few)[1])
    assert [(c["policy"], len(c["ranks"])) for c in told["courses"]] == [("none", 8)]
    assert run(capsys, "simulate", people, "--model", root / "run", "--part", "tset")[0] == 2
