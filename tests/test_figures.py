"""Figures: what they are made of, that the same input gives the same file, and that maps keep neighbours together."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from conftest import toy_clip, toy_words
from descry.checkpoint import save_model
from descry.cli import main
from descry.errors import UsageError
from descry_lab.grids import Shown
from descry_lab.maps import pca, tsne

figures = pytest.importorskip("descry_lab.figures")
pytest.importorskip("matplotlib", reason="figures need the extra `figures`")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for i in range(4):
        Image.new("RGB", (16, 32), (60 * i, 30, 200)).save(root / f"{i}.png")
    return [str(root / f"{i}.png") for i in range(4)]


def texts(path):
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()) + re.findall(
        r"<tspan[^>]*>([^<]*)</tspan>", path.read_text()
    )


def test_a_rank_grid_frames_right_and_wrong_differently_and_says_what_it_is(photos, tmp_path):
    row = Shown(photos, [True, False, None, False], photos[0], "a person in a red jacket", "early")
    out = figures.rank_grid([row, Shown(photos, [False] * 4, photos[1], "", "late")], tmp_path / "g.svg", most=3)
    svg = out.read_text()
    assert {"early", "late", "1", "3"} <= set(texts(out))
    assert "4" not in texts(out)
    assert any("not an identification" in t for t in texts(out))
    assert figures.RIGHT.lower() in svg
    assert figures.WRONG.lower() in svg
    assert "stroke-dasharray" in svg  # wrong is told by the line as well as by the colour


def test_a_missing_photograph_leaves_a_grey_tile(photos, tmp_path):
    row = Shown([str(tmp_path / "absent.png")], [True])
    assert figures.rank_grid([row], tmp_path / "g.png").stat().st_size > 500


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_figure_is_the_same_file(tmp_path, suffix):
    paths = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for path in paths:
        figures.curves({"a": [1, 2, 3]}, path, bands={"a": ([0, 1, 2], [2, 3, 4])}, dashed={"paper": 2.0})
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_bars_curves_maps_and_reconstructions_name_what_they_show(tmp_path):
    out = figures.bars(
        {"none": 1.0, "both": 2.0}, tmp_path / "b.svg", "R@1 (%)", {"both": (1.5, 2.5)}, {"both": 2.2, "none": None}
    )
    assert {"none", "both", "R@1 (%)", "paper"} <= set(texts(out))
    out = figures.curves({"K": [1.0, 2.0]}, tmp_path / "c.svg", [0.1, 10], ("K", "R@1"), log=True)
    assert {"K", "R@1"} <= set(texts(out))
    out = figures.scatter(np.eye(4)[:, :2], [0, 0, 1, 1], tmp_path / "s.svg", "a map", ["photo", "sketch"] * 2)
    assert {"a map", "photo", "sketch"} <= set(texts(out))
    out = figures.heatmap(np.eye(3), tmp_path / "h.svg", "cosine", (["a", "b", "c"], ["a", "b", "c"]))
    assert {"cosine", "a"} <= set(texts(out))
    picture = np.random.default_rng(0).random((3, 8, 4))
    out = figures.reconstructions([[picture, picture]], ["photograph", "drawn"], tmp_path / "r.svg")
    assert {"photograph", "drawn"} <= set(texts(out))


@pytest.mark.parametrize(
    "call",
    [
        lambda p: figures.rank_grid([], p / "a.png"),
        lambda p: figures.curves({}, p / "a.png"),
        lambda p: figures.bars({}, p / "a.png", ""),
        lambda p: figures.curves({"a": [1]}, p / "a.jpeg"),
        lambda p: figures.scatter(np.zeros((3, 3)), [0, 0, 0], p / "a.png"),
        lambda p: figures.reconstructions([[1]], ["a", "b"], p / "a.png"),
        lambda p: tsne(np.zeros((3, 2))),
    ],
)
def test_refusals(call, tmp_path):
    with pytest.raises(UsageError):
        call(tmp_path)


def blobs():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(8 * k, 1, (12, 10)) for k in range(4)]), np.repeat(np.arange(4), 12)


def test_pca_keeps_distances_in_a_plane_and_does_not_flip():
    plane = np.random.default_rng(1).normal(size=(20, 2)) @ np.random.default_rng(2).normal(size=(2, 6))
    points = pca(plane)
    gaps = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (plane, points)]
    assert np.allclose(*gaps)
    assert np.allclose(pca(plane[::-1])[::-1], points)


def test_tsne_keeps_neighbours_together():
    vectors, whose = blobs()
    points = tsne(vectors, perplexity=8, steps=300)
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    assert (whose[gaps.argmin(axis=1)] == whose).all()
    assert np.array_equal(points, tsne(vectors, perplexity=8, steps=300))


def test_plot_of_results_runs_and_rounds(toy, tmp_path, capsys):
    row = {"benchmark": "text", "composition": "", "photos": 30, "R@1": 50.0, "intervals": {"R@1": [30.0, 70.0]}}
    row["queries"] = {"identities": [0, 1], "first": [1, 3], "ap": [1.0, 0.3], "inp": [1.0, 0.3]}
    held = {"kind": "descry results", "format": 1, "results": [row]}
    (tmp_path / "a.json").write_text(json.dumps(held))
    (tmp_path / "b.json").write_text(json.dumps(held))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text(
        '{"step": 0, "epoch": 0, "lr": 0.1, "sdm": 2.0}\n{"epoch": 0, "val": 3.0}\n'
    )
    courses = [{"policy": "gain", "curve": {"R@1": [10, 20, s]}} for s in (30, 40)]
    (tmp_path / "c.json").write_text(json.dumps(courses))
    for kind, *sources in (
        ("cmc", "a.json", "b.json"),
        ("bars", "a.json", "b.json"),
        ("losses", "run"),
        ("rounds", "c.json"),
    ):
        out = tmp_path / f"{kind}.svg"
        assert main(["plot", kind, *(str(tmp_path / s) for s in sources), "--out", str(out)]) == 0, (
            capsys.readouterr().err
        )
        assert out.stat().st_size > 1000
    assert {"a", "b"} <= set(texts(tmp_path / "bars.svg"))
    assert {"sdm", "loss"} <= set(texts(tmp_path / "losses.svg"))
    assert "gain" in texts(tmp_path / "rounds.svg")
    assert main(["plot", "pie", "a.json", "--out", "x.png"]) == 2
    assert main(["plot", "cmc", "--out", "x.png"]) == 2
    assert main(["plot", "losses", str(tmp_path), "--out", "x.png"]) == 1
    assert main(["plot", "rounds", str(tmp_path / "a.json"), "--out", "x.png"]) == 1
    assert main(["plot", "bars", str(tmp_path / "a.json"), "--measure", "R@7", "--out", "x.png"]) == 2
    assert main(["plot", "cmc", str(tmp_path / "a.json"), "--benchmark", "photo", "--out", "x.png"]) == 2


def test_plot_of_a_model(tmp_path, capsys):
    from descry.methods.interactreid import PRESETS, InteractReID
    from descry_people.folder import write_people

    data = write_people(
        tmp_path / "data", 6, 2, 1, 1, splits={"train": 0, "val": 0, "test": 6}, size=(16, 32), processes=1
    )
    words = toy_words()
    save_model(
        tmp_path / "run",
        InteractReID(toy_clip(words), words, PRESETS["recommended"]),
        "interactreid",
        "recommended",
        {},
    )
    given = ["--data", str(data), "--device", "cpu"]
    out = tmp_path / "g.svg"
    args = ["plot", "grid", str(tmp_path / "run"), *given, "--benchmark", "sketch+text", "--probes", "1", "--most", "3"]
    assert main([*args, "--out", str(out)]) == 0, capsys.readouterr().err
    assert out.read_text().count("<image") == 8  # the sketch and three photographs, without and with words
    for kind in ("map", "map-pca"):
        assert main(["plot", kind, str(tmp_path / "run"), *given, "--out", str(tmp_path / "m.png")]) == 0
    assert main([*args, "--probes", "77", "--out", str(out)]) == 2
    assert main(["plot", "grid", str(tmp_path / "run"), "--out", str(out)]) == 2


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"\[figures\]"):
        figures.curves({"a": [1]}, tmp_path / "a.png")


def test_the_running_mean():
    from descry_lab.cli.plot import smoothed

    assert smoothed([1.0, 3.0, 5.0], over=2) == [1.0, 2.0, 4.0]


def test_a_missing_result_is_a_data_error(tmp_path):
    assert main(["plot", "cmc", str(tmp_path / "absent.json"), "--out", str(tmp_path / "x.png")]) == 2
