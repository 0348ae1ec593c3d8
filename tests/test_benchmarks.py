"""The benchmarks run: on data so small that their times say nothing, which nobody asserts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """A benchmark's module by name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_search_finds_what_a_float64_product_finds(benchmark, monkeypatch) -> None:
    module = benchmark("search")
    monkeypatch.setattr(module, "bandwidth", lambda: 1e10)
    got = module.measure(5000, 1)
    assert got["results"]["descry"]["recall"] == 1.0
    assert got["results"]["descry"]["order_exact"] is True
    assert got["results"]["NumPy float32"]["recall"] > 0.99
    assert "| descry |" in module.markdown([got])


def test_the_product_that_bounds_an_encoder_is_the_product(benchmark) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    a, b = rng.random((4, 8), np.float32), rng.random((8, 6), np.float32)
    (got,) = benchmark("encode").by_onnx(a, b)()
    assert np.allclose(got, a @ b, atol=1e-5)


def test_rounds_measures_every_answer(benchmark) -> None:
    got = benchmark("rounds").measure(2000, 32, 2)
    assert {"refine", "mark", "closest"} <= set(got)


def test_footage_measures_from_video_to_leads(benchmark, tmp_path) -> None:
    pytest.importorskip("trackers")
    module = benchmark("footage")
    got = module.measure(tmp_path, 3, 14, 1, "background", (320, 180))
    assert got["recall"] > 0.8
    assert got["precision"] > 0.8
    assert got["passes found"] == got["passes"] == 1
    assert got["ideal"]["tracks"] == 1
    assert "| recall of boxes" in module.markdown(got)


def test_a_training_step_and_the_plain_one_have_equal_losses(benchmark, capsys) -> None:
    rows = benchmark("train").main(["--batch", "4", "--steps", "2", "--warm", "1"])
    assert len(rows) == 4
    for row in rows:
        assert row["first losses differ by"] < 1e-4
        assert row["last loss"]["ours"] == pytest.approx(row["last loss"]["plain"], rel=1e-3)
        assert sum(row["share of ours"].values()) == pytest.approx(1)
    assert capsys.readouterr().out.count("| ") > 4


def test_commands_are_timed_in_processes_of_their_own(benchmark) -> None:
    module = benchmark("commands")
    assert module.seconds(module.HERE, ["--help"]) > 0
    shown = module.markdown({"before": {"--help": 1.5}, "now": {"--help": 0.25}})
    assert shown.splitlines()[-1] == "| `descry --help` | 1.50 | 0.25 |"
