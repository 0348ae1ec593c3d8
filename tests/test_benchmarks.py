"""The benchmarks run: on data so small that their times say nothing, which nobody asserts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from descry.interact.questions import vocabulary

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
    monkeypatch.setattr(module, "K", 20)
    got = module.measure(5000, 1, [1], [0, 1])
    for task, found in got["recall"].items():
        assert found["descry"] == 1.0, task
        assert found["NumPy"] > 0.99, task
    assert [(run["threads"], run["busy"]) for run in got["runs"]] == [(1, 0), (1, 1)]
    assert all(len(times["descry"]) == 1 for times in got["runs"][0]["ms"].values())
    assert module.table(got).count("| filter 10 % |") == 2


def test_who_is_far_behind_is_not_asked_again(benchmark, monkeypatch) -> None:
    module = benchmark("search")
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])

    def takes(seconds: float):
        return lambda: clock.__setitem__(0, clock[0] + seconds)

    got = module.alternate({"descry": takes(1.0), "near": takes(2.0), "far": takes(3.0)}, 8)
    assert {name: (len(times), times[0]) for name, times in got.items()} == {
        "descry": (8, 1000.0), "near": (8, 2000.0), "far": (5, 3000.0)
    }  # fmt: skip


def test_the_product_that_bounds_an_encoder_is_the_product(benchmark) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    a, b = rng.random((4, 8), np.float32), rng.random((8, 6), np.float32)
    (got,) = benchmark("encode").by_onnx(a, b)()
    assert np.allclose(got, a @ b, atol=1e-5)


def test_rounds_measures_every_answer(benchmark) -> None:
    got = benchmark("rounds").measure(2000, 32, 2)
    assert {"refine", "mark", "closest", f"next of {len(vocabulary())} questions"} <= set(got)


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
