"""python -m descry_lab small: what it plans, in which order and time. Cells are tested by test_tables_smoke."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import pytest

from descry.errors import DataError
from descry.training.loop import Settings
from descry_lab import small
from descry_lab.papers import TABLES
from descry_lab.studies import study_of


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return replace(
        small.worlds("smoke", tmp_path_factory.mktemp("w"), "", [], None, Settings(device="cpu")), mark="start"
    )


class Inline:
    """A pool that does the work when it is asked to."""

    def __init__(self):
        self.asked = []

    def submit(self, function, *args):
        self.asked.append(args)
        future = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


def test_no_training_is_planned_twice_and_every_cell_is_planned(world):
    todo = small.jobs(world, list(TABLES), 2)
    last = [str(job.needs[-1].folder) for job in todo]
    assert len(last) == len(set(last))
    for table in TABLES:
        for cell in study_of(table).cells:
            for seed in (0, 1) if table in small.SEEDED else (0,):
                needs = small.trainings(cell, seed, world, world.data[0])
                assert not needs or str(needs[-1].folder) in last
    assert {job.table for job in todo if job.seed} <= set(small.SEEDED)
    assert max(i for i, job in enumerate(todo) if not job.seed) < min(i for i, job in enumerate(todo) if job.seed)


def test_equal_trainings_of_different_tables_are_one(world):
    def folder(table, row):
        cell = next(c for c in study_of(table).cells if c.row == row)
        return small.trainings(cell, 0, world, world.data[0])[-1].folder

    assert folder("propot-figure3", "K = 4") == folder("propot-1", "Propot")
    assert folder("vfe-tps-figure7", "IS-GVFC") == folder("vfe-tps-6", "+IS-GVFC")
    assert folder("interactreid-4", "1 layer, 768") == folder("interactreid-1", "InteractReID")
    assert folder("interactreid-4", "2 layers, 768") != folder("interactreid-1", "InteractReID")


def test_a_recipe_without_time_left_waits_for_the_next_call_and_a_failure_stops_no_other(world, monkeypatch, capsys):
    def work_on(cell, seed):
        if cell.row == "+TG-MIM":
            raise DataError("broken")
        return 100.0

    monkeypatch.setattr(small, "work_on", work_on)
    todo = small.jobs(world, ["vfe-tps-6"], 1)
    assert small.train_all(Inline(), todo, 1, minutes=10.0) == 1
    said = capsys.readouterr().out
    assert "broken" in said
    assert "[4/4]" in said
    pool = Inline()
    assert small.train_all(pool, todo, 1, minutes=1.0) == 0
    assert [cell.row for cell, _ in pool.asked] == [todo[0].cell.row]
    assert "left for the next call" in capsys.readouterr().out


def test_two_jobs_that_write_one_folder_do_not_run_at_once(world):
    first = next(j for j in small.jobs(world, ["interactreid-4"], 1))
    assert not list(small.ready([first], {}, first.folders, 60.0))
    assert list(small.ready([first], {}, set(), 60.0)) == [first]
