"""descry evaluate and descry compare: intervals, values per query, slices, foreign scores, leaks, runs that are
averaged.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from descry.cli import main
from descry.data.leaks import Leaks, Pair
from descry.embed import load
from descry.errors import DataError
from descry.evaluate import Embedded, averaged, evaluate, evaluate_all, judged, scores_of
from descry.studies import ledger
from descry.studies.matrices import read_order, read_scores, write_order
from descry.studies.results import asked_of, compare, differences, labels, read_results, remember, row_of, slices
from descry_people.read import read_people


def said(capsys, *args):
    status = main([str(a) for a in args])
    out = capsys.readouterr()
    return status, out.out, out.err


@pytest.fixture(scope="module")
def results(bench, tmp_path_factory):
    """Two results files: the model, and scores that know the answer."""
    root = tmp_path_factory.mktemp("results")
    status = main(
        ["evaluate", str(bench.run), "--data", str(bench.data), "--per-query", str(root / "a.json"), "--device", "cpu"]
    )
    assert status == 0
    data = read_people(bench.data)
    asked = data.test["sketch"]
    truth = np.array([[float(p.pid == q.pid) for p in asked.photos] for q in asked.probes], np.float32)
    np.save(root / "truth.npy", truth)
    args = ["--data", str(bench.data), "--benchmark", "sketch", "--scores", str(root / "truth.npy")]
    assert main(["evaluate", *args, "--per-query", str(root / "b.json")]) == 0
    return root


def test_a_result_has_intervals_slices_and_where_it_comes_from(bench, tmp_path, capsys):
    args = ("evaluate", bench.run, "--data", bench.data, "--device", "cpu")
    status, out, err = said(capsys, *args, "--json", "--slices", "--csv", tmp_path / "t.csv")
    assert status == 0, err
    held = json.loads(out)
    assert (held["data"], held["split"], held["note"]) == ("people", "test", "never trained")
    row = next(r for r in held["results"] if r["benchmark"] == "sketch")
    assert row["identities"] == row["probes"] == 14
    low, high = row["intervals"]["mAP"]
    assert low < row["mAP"] < high
    styles = [s for s in held["slices"] if s["benchmark"] == "sketch" and s["slice"] == "group"]
    assert sum(s["queries"] for s in styles) == 14
    assert sum(s["queries"] * s["mAP"] for s in styles) / 14 == pytest.approx(row["mAP"], abs=0.01)
    with open(tmp_path / "t.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert float(table[0]["mAP low"]) <= float(table[0]["mAP"])
    status, out, err = said(capsys, *args, "--slices")
    assert status == 0
    assert "caption length" in out
    assert "never trained" in out
    assert "95 %" in err


def test_values_per_query_give_the_same_figures_again(bench, results):
    held = read_results(results / "a.json")
    model, data = load(bench.run, device="cpu"), read_people(bench.data)
    for row in held["results"]:
        found = evaluate(model, data.test[row["benchmark"]], row["composition"] or None)
        assert row["queries"]["first"] == found.ranks.first.tolist()
        assert row["queries"]["ap"] == pytest.approx(found.ranks.ap.tolist())
        assert row["R@1"] == round(found.ranks.r1, 2)


def test_an_evaluation_is_written_down_in_its_own_run_folder_only(bench, results):
    entries = ledger.read(bench.run / "ledger.jsonl")
    assert entries
    rows = {asked_of(r): r for r in read_results(results / "a.json")["results"]}
    last = entries[-1]
    assert (last.scale, last.row, last.split) == ("own", "interactreid", "test")
    assert {k: v["R@1"] for k, v in last.figures.items()} == {k: r["R@1"] for k, r in rows.items()}
    assert not remember(bench.data, [], {}, "", 0.0)


def test_compare_finds_what_is_there_and_nothing_in_itself(results, capsys):
    status, out, err = said(capsys, "compare", results / "b.json", results / "a.json", "--json")
    assert status == 0, err
    held = json.loads(out)
    lines = {line["measure"]: line for line in held["lines"]}
    assert set(lines) == {"R@1", "mAP"}
    assert lines["mAP"]["difference"] > 10
    assert lines["mAP"]["p"] < 0.01
    assert lines["mAP"]["low"] > 0
    assert any("selection" in x for x in held["differences"])
    status, out, err = said(capsys, "compare", results / "a.json", results / "a.json", "--measure", "mINP")
    assert status == 0
    assert "1.0000" in out
    assert "Holm" in err
    assert "R@1" not in out


def test_compare_two_ways_of_composing(bench, results, capsys):
    held = read_results(results / "a.json")
    lines = compare(held, held, ("early", "late"))
    assert {line["composition"] for line in lines} == {"early / late"}
    rows = {(r["benchmark"], r["composition"]): r for r in held["results"]}
    gap = rows["sketch+text", "early"]["mAP"] - rows["sketch+text", "late"]["mAP"]
    assert next(x for x in lines if x["benchmark"] == "sketch+text" and x["measure"] == "mAP")[
        "difference"
    ] == pytest.approx(gap, abs=0.011)
    assert said(capsys, "compare", results / "a.json", results / "a.json", "--ways", "early", "latte")[0] == 2


def test_compare_without_values_per_query_gives_no_test(results):
    held = read_results(results / "a.json")
    bare = held | {"results": [{k: v for k, v in r.items() if k != "queries"} for r in held["results"]]}
    assert {line["p"] for line in compare(held, bare)} == {None}
    assert differences(held, held | {"split": "val"}) == ["split: A 'test', B 'val'"]


def test_compare_refuses_other_questions(results, tmp_path, capsys):
    held = read_results(results / "a.json")
    other = held | {"results": [r | {"data": "0" * 16} for r in held["results"]]}
    with pytest.raises(DataError, match="other questions"):
        compare(held, other)
    with pytest.raises(DataError, match="nothing to compare"):
        compare(held, held | {"results": []})
    turned = json.loads(json.dumps(held))
    turned["results"][0]["queries"]["identities"].reverse()
    with pytest.raises(DataError, match="different orders"):
        compare(held, turned)
    (tmp_path / "x.json").write_text('{"kind": "something"}')
    assert said(capsys, "compare", tmp_path / "x.json", results / "a.json")[0] == 1
    assert said(capsys, "compare", tmp_path / "absent.json", results / "a.json")[0] == 2
    assert said(capsys, "compare", results / "a.json", results / "a.json", "--measure", "R@2")[0] == 2


def test_foreign_scores_are_judged_as_ours(bench, results, tmp_path, capsys):
    model, data = load(bench.run, device="cpu"), read_people(bench.data)
    for name in ("text", "photo"):  # photo: each query's own photograph is ignored
        np.save(tmp_path / "s.npy", scores_of(model, data.test[name].probes, Embedded.of(model, data.test[name])))
        args = ("evaluate", "--scores", tmp_path / "s.npy", "--json")
        status, out, err = said(capsys, *args, "--data", bench.data, "--benchmark", name)
        assert status == 0, err
        ours = next(r for r in read_results(results / "a.json")["results"] if r["benchmark"] == name)
        figures = {k: ours[k] for k in ("R@1", "R@5", "R@10", "mAP", "mINP", "intervals")}
        row = json.loads(out)["results"][0]
        assert {k: row[k] for k in figures} == figures
        status, out, err = said(
            capsys, "evaluate", "--data", bench.data, "--benchmark", name, "--write-order", tmp_path / "o.csv"
        )
        assert status == 0
        assert "next:" in out
        status, out, err = said(capsys, *args, "--benchmark", tmp_path / "o.csv")
        assert status == 0, err
        row = json.loads(out)["results"][0]
        assert {k: row[k] for k in figures} == figures


def test_the_order_survives_a_round_trip(bench, tmp_path):
    asked = read_people(bench.data).test["photo"]
    write_order(asked, tmp_path / "o.csv")
    again = read_order(tmp_path / "o.csv")
    assert [p.ignore for p in again.probes] == [p.ignore for p in asked.probes]
    names = {}
    for old, new in zip((*asked.probes, *asked.photos), (*again.probes, *again.photos), strict=True):
        assert names.setdefault(old.pid, new.pid) == new.pid


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("role,pid\nquery,1\nfoto,1\n", "line 3"),
        ("role,pid\nquery,1\n", "role photo"),
        ("role,pid,ignore\nquery,1,3\nphoto,1,\n", "photograph 3"),
        ("role,pid,ignore\nquery,1,x\nphoto,1,\n", "numbers of photographs"),
    ],
)
def test_broken_orders_are_named(tmp_path, lines, text):
    (tmp_path / "o.csv").write_text(lines)
    with pytest.raises(DataError, match=text):
        read_order(tmp_path / "o.csv")


def test_broken_scores_are_named(bench, tmp_path):
    asked = read_people(bench.data).test["text"]
    (tmp_path / "a.npy").write_bytes(b"not an array")
    np.save(tmp_path / "b.npy", np.zeros((2, 2)))
    np.save(tmp_path / "c.npy", np.zeros((len(asked.probes), len(asked.photos)), bool))
    np.save(tmp_path / "d.npy", np.array([{}], object), allow_pickle=True)
    for name, text in (("a", "cannot be read"), ("b", "needs"), ("c", "must be numbers"), ("d", "cannot be read")):
        with pytest.raises(DataError, match=text):
            read_scores(tmp_path / f"{name}.npy", asked)


@pytest.mark.parametrize(
    "args",
    [
        ("evaluate",),
        ("evaluate", "--data", "D"),
        ("evaluate", "demo", "--benchmark", "o.csv"),
        ("evaluate", "--scores", "x.npy"),
        ("evaluate", "--data", "D", "--benchmark", "tex", "demo"),
        ("evaluate", "demo", "--data", "D", "--split", "tset"),
        ("evaluate", "demo", "--data", "D", "--scores", "x", "--benchmark", "text"),
    ],
)
def test_usage_errors(bench, capsys, args):
    assert said(capsys, *[bench.data if a == "D" else a for a in args])[0] == 2


def test_without_leaked_identities(bench):
    data, model = read_people(bench.data), load(bench.run, device="cpu")
    asked = {"text": data.test["text"]}
    leaked = data.test["text"].photos[3]
    pair = Pair("a.png", "/".join(leaked.path.split("/")[-2:]), "1", "1", "train", "test", 0)
    whole, clean = evaluate_all(model, asked, leaks=Leaks("a", "b", (pair,)))
    assert (whole.note, clean.note) == ("", "without leaked identities")
    assert (clean.probes, clean.photos) == (13, 26)
    assert leaked.pid not in clean.identities
    assert [row_of(e)["note"] for e in (whole, clean)] == ["", "without leaked identities"]
    assert len(evaluate_all(model, asked, leaks=Leaks("a", "b", ()))) == 1


def test_runs_of_one_benchmark_are_averaged(bench):
    text = read_people(bench.data).test["text"]
    rng = np.random.default_rng(0)
    shape = (len(text.probes), len(text.photos))
    one, two = (judged(replace(text, name=f"text/{k}"), rng.random(shape)) for k in (1, 2))
    (mean,) = averaged([one, two])
    assert (mean.benchmark, mean.note, mean.probes) == ("text", "mean of 2 runs", 28)
    for name, value in mean.ranks.as_dict().items():
        assert value == pytest.approx((one.ranks.as_dict()[name] + two.ranks.as_dict()[name]) / 2)
    assert row_of(mean)["identities"] == 14
    assert averaged([one]) == []


def test_slices_name_what_divides_the_queries(bench):
    data = read_people(bench.data)
    assert set(labels(data.test["sketch"])) == {"group"}
    assert set(labels(data.test["text"])) >= {"group", "caption length"}
    assert "camera" in labels(data.test["photo"])
    probes = tuple(
        replace(p, attributes={"bag": "bag" if i % 2 else ""}) for i, p in enumerate(data.test["text"].probes)
    )
    assert "bag" not in labels(replace(data.test["text"], probes=probes))  # one value divides nothing
    probes = tuple(replace(p, attributes={"bag": i % 3}) for i, p in enumerate(data.test["text"].probes))
    cut = replace(data.test["text"], probes=probes)
    rows = slices(cut, judged(cut, np.random.default_rng(0).random((14, 28))))
    assert [(r["value"], r["queries"]) for r in rows if r["slice"] == "bag"] == [("0", 5), ("1", 5), ("2", 4)]
