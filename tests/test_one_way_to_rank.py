"""What is measured is what is served: every caller ranks as the gallery does, with the demo model."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import descry.interact.absence as absence
from descry.cli import main
from descry.cli.inquiry import opened
from descry.embed import load
from descry.errors import DataError, UsageError
from descry.evaluate import Embedded, evaluate, scores_of
from descry.gallery import Gallery
from descry.gallery.account import Audit
from descry.gallery.scan import Rows
from descry.interact.questions import Asker, vocabulary
from descry.interact.session import Session
from descry.query import Query
from descry.ranking import COMPOSITIONS, SERVED
from descry_lab.simulation import absence_profiles, world_of
from descry_people.benchmark import benchmark, records_of

PEOPLE = 14
NEGATED = ["no backpack", "without a hat", "not wearing glasses"]
THINGS = ["backpack", "hat", "glasses"]


@pytest.fixture(scope="module")
def model():
    return load("demo", device="cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("one_way")


@pytest.fixture(scope="module")
def benches(root):
    return benchmark(root / "people", PEOPLE).test


@pytest.fixture(scope="module")
def folder(root, model, benches) -> Path:
    """A gallery of the benchmark's photographs, in the benchmark's order, without an account of these tests."""
    with Gallery.create(root / "gallery", model) as gallery:
        gallery.index(str(Path(benches["text"].photos[0].path).parent))
    return root / "gallery"


@pytest.fixture(scope="module")
def gallery(folder, model):
    with Gallery.open(folder, model) as opened_gallery:
        yield opened_gallery


@pytest.fixture(scope="module")
def column(gallery, benches) -> dict[int, int]:
    """Item id → the benchmark's row of the same photograph."""
    rows = {Path(p.path).name: i for i, p in enumerate(benches["text"].photos)}
    return {item.id: rows[Path(item.path).name] for item in gallery.listed()}


@pytest.fixture(scope="module")
def photos(model, benches) -> Embedded:
    return Embedded.of(model, benches["text"])


def agrees(results, row: np.ndarray, column: dict[int, int]) -> None:
    """Order, scores and first ten of a gallery's answer are those of a row of scores over the benchmark."""
    shown = [column[int(i)] for i in results.ids]
    np.testing.assert_allclose(results.scores, row[shown], rtol=5e-4, atol=5e-4)
    first = np.argsort(-row, kind="stable")[:10]
    np.testing.assert_allclose(row[shown[:10]], row[first], rtol=5e-4, atol=5e-4)
    decided = [a for a, b in pairwise(first) if row[a] - row[b] > 1e-3]
    assert [shown[list(first).index(a)] for a in decided] == decided


@pytest.mark.parametrize("kind", ["text", "sketch", "sketch+text", "photo"])
def test_evaluation_ranks_as_the_gallery(model, gallery, benches, photos, column, kind) -> None:
    ways = [None, SERVED, *COMPOSITIONS] if "+" in kind else [None]
    for how in ways:
        ranking = model.ranking.using(None if how in (None, SERVED) else how)
        rows = scores_of(model, benches[kind].probes[:4], photos, ranking)
        for probe, row in zip(benches[kind].probes, rows, strict=False):
            agrees(gallery.search(probe.query, 20, composition=None if how == SERVED else how), row, column)


def test_evaluate_reports_the_ranks_of_the_gallery(model, gallery, benches, photos) -> None:
    for how in (None, "early", "late", "pseudo"):
        bench = benches["sketch+text"]
        first = evaluate(model, bench, how, photos).ranks.first
        for probe, rank in zip(bench.probes, first, strict=True):
            own = {Path(p.path).name for p in bench.photos if p.pid == probe.pid}
            shown = [Path(p).name for p in gallery.search(probe.query, len(photos.pids), composition=how).paths]
            assert min(map(shown.index, own)) + 1 == rank


def test_an_epoch_is_chosen_by_the_ranking_that_is_served(model, benches, monkeypatch) -> None:
    from types import SimpleNamespace

    from lightning_fabric import Fabric

    from descry.training import loop as train

    bench = benches["sketch+text"]
    untrained = SimpleNamespace(val={"sketch+text": bench}, test={})
    bare = type(model)(model.method, {}, "in training", device="cpu")
    served = evaluate(bare, bench).ranks.r1
    settings = SimpleNamespace(device="cpu", select_on_test=False)
    fabric = Fabric(accelerator="cpu", devices=1)
    assert train._validate(model.method, untrained, settings, fabric) == pytest.approx(served, abs=1e-9)


def test_a_rank_grid_shows_what_the_gallery_shows(model, gallery, benches) -> None:
    from descry_lab.grids import shown

    bench = benches["sketch+text"]
    for probe in range(4):
        found = shown(model, bench, probe, most=10)[-1].found
        served = gallery.search(bench.probes[probe].query, 10).paths
        assert [Path(p).name for p in found] == [Path(p).name for p in served]


def test_the_notice_is_calibrated_with_the_formula_it_is_given_with(model, gallery, folder, benches, tmp_path) -> None:
    """`gallery calibrate`, the benchmark's calibration and the notice see the same profile of a query."""
    from descry.cli import absence as calibrating

    probe = benches["text"].probes[0]
    measured = next(iter(model.ranking.curves))
    for query in (Query(wanted=measured), probe.query, benches["sketch"].probes[0].query):
        session = Session(Rows(gallery.store, gallery.snapshot()), model)
        session.ask(query)
        noticed = {}

        def keep(calibration, one, noticed=noticed):
            noticed["profile"] = one
            return ""

        patch = pytest.MonkeyPatch()
        patch.setattr("descry.interact.absence.notice", keep)
        session.notice({})
        patch.undo()
        line = {"ids": [int(gallery.snapshot().ids[0])]}
        if query.wanted:
            line["text"] = query.wanted[0].value
        if query.sketches:
            line["sketch"] = str(query.sketches[0].value)
        file = tmp_path / "queries.jsonl"
        file.write_text(json.dumps(line) + "\n")
        ((kind, rows),) = calibrating._asked(gallery, file, 10, True).items()
        present, _, _ = calibrating._profiles(gallery, kind, rows, True)
        np.testing.assert_allclose(noticed["profile"], present[0], rtol=1e-6)
    here, *_ = absence_profiles(model, replace(benches["text"], probes=(probe,)), Embedded.of(model, benches["text"]))
    session.ask(probe.query)
    made = session.terms(absence.wanted_only(probe.query))
    from descry.search import stack

    np.testing.assert_allclose(
        here[0], absence.profile_of(made, session.space.scores(stack(made)), model.ranking), atol=2e-3
    )


def test_the_question_asked_is_the_one_that_was_simulated(model, gallery, benches, photos, column) -> None:
    from descry_lab.simulation import _Play
    from descry_lab.witness import FAITHFUL

    people = records_of(Path(benches["sketch"].photos[0].path).parents[2], PEOPLE)
    world = world_of(model, benches["sketch"], people, vocabulary(), photos)
    assert model.ranking.sharpness != 1.0, "otherwise this test cannot tell"
    simulated = _Play(world, FAITHFUL, 0).asker.gains(world.start)
    space = Rows(gallery.store, gallery.snapshot())
    asker = Asker.of(space, model, vocabulary())
    readable = [i for i, q in enumerate(world.questions) if model.ranking.reads(q.phrase)]
    assert [world.questions[i] for i in readable] == list(asker.questions), "only what can be read is asked"
    for probe, gains in zip(benches["sketch"].probes, simulated[:, readable], strict=True):
        session = Session(space, model)
        session.ask(probe.query)
        served = asker.gains(session.leads.everything)
        np.testing.assert_allclose(served, gains, atol=2e-3)
        first = asker.next(session.leads.everything, session.query, {})[0][0]
        assert gains.max() - gains[[q.key for q in asker.questions].index(first.key)] < 2e-3


def test_http_and_page_rank_as_the_gallery(model, folder, gallery, tmp_path) -> None:
    pytest.importorskip("fastapi", reason="the extra web is not installed")
    from web.in_process import Server, ask

    shutil.copytree(folder, tmp_path / "served")
    server = Server(tmp_path / "served", model)
    with server.client(Authorization=f"Bearer {server.token}") as client:
        inquiry = client.post("/api/v1/inquiries", json={"name": "test"}).json()["id"]
        asked = [["a red top"], ["backpack"], ["a woman", "-backpack"], ["a woman, no backpack"]]
        for said in asked:
            query = Query(wanted=[s for s in said if s[0] != "-"], unwanted=[s[1:] for s in said if s[0] == "-"])
            expected = gallery.search(query, 28)
            made = ask(client, inquiry, *said)
            leads = made["results"]["leads"]
            assert [lead["item"]["id"] for lead in leads[:10]] == list(expected.ids[:10])
            np.testing.assert_allclose([lead["score"] for lead in leads[:20]], expected.scores[:20], atol=1e-3)
            url = f"/api/v1/inquiries/{inquiry}/rounds/{made['number']}/results?cursor=20&limit=8"
            more = client.get(url).json()["leads"]
            assert [lead["item"]["id"] for lead in more] == list(expected.ids[20:28]), "what a scroll brings"
    server.gallery.close()


def test_command_line_and_chat_rank_as_the_gallery(
    model, folder, gallery, benches, tmp_path, capsys, monkeypatch
) -> None:
    shutil.copytree(folder, tmp_path / "g")
    probe = benches["sketch+text"].probes[0].query
    sketch, text = str(probe.sketches[0].value), probe.wanted[0].value
    expected = gallery.search(probe, 10)
    assert main(["search", str(tmp_path / "g"), "--sketch", sketch, "--text", text, "-k", "10", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["results"]
    assert [row["id"] for row in told] == list(expected.ids)
    np.testing.assert_allclose([row["score"] for row in told], expected.scores, atol=1e-4)
    monkeypatch.setattr("sys.stdin", io.StringIO("red top\n/quit\n"))
    assert main(["chat", str(tmp_path / "g"), "talk"]) == 0
    capsys.readouterr()
    with opened(tmp_path / "g", "talk") as session:
        made = session.inquiry.current
        assert made.ids[:10] == gallery.search(session.query, 10).ids
        assert session.query.wanted[0].value == "red top"
        assert made.ids[:10] == gallery.search(Query(wanted="red top"), 10).ids


@pytest.mark.parametrize(("said", "thing"), list(zip(NEGATED, THINGS, strict=True)))
def test_a_negation_means_not_by_every_entry(
    model, folder, gallery, tmp_path, capsys, monkeypatch, said, thing
) -> None:
    shutil.copytree(folder, tmp_path / "g")
    path = str(tmp_path / "g")
    expected = gallery.search(Query(unwanted=thing), 10)
    assert gallery.search(Query(wanted=said), 10).ids == expected.ids
    assert gallery.search(Query(wanted=said), 10).query.unwanted[0].value == thing
    assert gallery.search(Query(wanted=said, verbatim=True), 10).ids != expected.ids
    assert main(["search", path, "--text", said, "-k", "10", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["id"] for row in json.loads(out)["results"]] == list(expected.ids)
    assert f"NOT {thing}" in err
    assert main(["search", path, "--text", said, "--verbatim", "-k", "10", "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)["results"]] != list(expected.ids)
    assert main(["inquiry", "new", path, "case", "--text", said, "-k", "10", "--json"]) == 0
    assert [i for i, _ in json.loads(capsys.readouterr().out)["results"]] == list(expected.ids)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{said}\n/quit\n"))
    assert main(["chat", path, "talk"]) == 0
    capsys.readouterr()
    with opened(tmp_path / "g", "talk") as session:
        assert session.inquiry.current.ids[:10] == expected.ids
        session.ask(Query(wanted=said))
        assert session.inquiry.current.ids[:10] == expected.ids
        assert session.query.unwanted[0].value == thing


def test_compose_keep_changes_only_the_composition(benches, root, tmp_path, capsys) -> None:
    from descry.library import DEMO

    shutil.copytree(DEMO, tmp_path / "run")
    before = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    data = benchmark(root / "people", 8, part="val")
    assert data.val
    folder = Path(data.val["text"].photos[0].path).parents[1]
    while not (folder / "people.jsonl").exists():
        folder = folder.parent
    assert main(["model", "compose", str(tmp_path / "run"), "--data", str(folder), "--keep", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    after = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    changed = {*told["best"], "chosen_on", "R@1"}
    both = {"composition", "search_fingerprint"}
    assert {k: v for k, v in before.items() if k not in both} == {k: v for k, v in after.items() if k not in both}
    assert before["search_fingerprint"] != after["search_fingerprint"]
    kept = {k: v for k, v in before["composition"].items() if k not in changed}
    assert kept == {k: v for k, v in after["composition"].items() if k not in changed}
    assert kept["curves"]
    assert {k: after["composition"][k] for k in told["best"]} == told["best"]


def lines(folder: Path) -> list[dict]:
    """What the account says."""
    return [json.loads(line) for line in Audit(folder).read().splitlines()]


def test_every_act_adds_one_line_to_the_account_whoever_calls(model, folder, tmp_path, capsys) -> None:
    """index, search and delete from Python, command line and HTTP: one line each, and a failed one says so."""
    pytest.importorskip("fastapi", reason="the extra web is not installed")
    from web.in_process import Server, ask

    path = tmp_path / "g"
    crops = Path(next(iter(lines_of_items(folder, model)))).parent
    shutil.copytree(folder, path)
    with Gallery.open(path, model) as gallery:
        for act, what in (
            (lambda: gallery.search("a red top", 3), "search"),
            (lambda: gallery.delete([1]), "delete"),
            (lambda: gallery.purge([2]), "delete"),
            (lambda: gallery.index(str(crops)), "index"),
        ):
            before = len(lines(path))
            act()
            added = lines(path)[before:]
            assert [(row["what"], row.get("failed")) for row in added] == [(what, None)]
        before = len(lines(path))
        with pytest.raises(UsageError, match="nothing to rank by"):
            gallery.search(Query(), 3)
        with pytest.raises(DataError, match="no folder"):
            gallery.index(str(tmp_path / "nowhere"))
        assert [(row["what"], row["failed"]) for row in lines(path)[before:]] == [
            ("search", "usage"),
            ("index", "data"),
        ]
        before = len(lines(path))
        gallery.search("a red top", 3, record=False)
        assert len(lines(path)) == before
        gallery.search("a red top", 3)
        assert lines(path)[-1]["unrecorded_searches"] == 1, "that something was left out stands in the account"
        gallery.search("a red top", 3, record=False)
    assert (lines(path)[-1]["evaluation"], lines(path)[-1]["unrecorded_searches"]) == (True, 1)
    for args, what in (
        (["search", str(path), "a red top"], "search"),
        (["index", str(crops), "--out", str(path)], "index"),
        (["gallery", "delete", str(path), "--item", "3"], "purge"),
    ):
        before = len(lines(path))
        assert main(args) == 0, capsys.readouterr().err
        assert [row["what"] for row in lines(path)[before:]] == [what]
    server = Server(path, model)
    with server.client(Authorization=f"Bearer {server.token}") as client:
        inquiry = client.post("/api/v1/inquiries", json={"name": "test"}).json()["id"]
        before = len(lines(path))
        ask(client, inquiry, "a red top")
        assert [row["what"] for row in lines(path)[before:]] == ["search"]
    server.gallery.close()
    assert main(["audit", "verify", str(path)]) == 0


def lines_of_items(folder: Path, model) -> list[str]:
    with Gallery.open(folder, model) as gallery:
        return [item.path for item in gallery.listed()]
