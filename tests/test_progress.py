"""Progress: what is seen on a narrow terminal, and times for people."""

from __future__ import annotations

import io

import pytest
import rich.console

from descry.cli.progress import _bars, span


def test_steps_and_time_left_are_seen_on_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, kind = io.StringIO(), rich.console.Console

    def narrow(**options: object) -> rich.console.Console:
        return kind(file=seen, width=80, force_terminal=True, color_system=None)

    monkeypatch.setattr(rich.console, "Console", narrow)
    with _bars("training propot, 2 epochs", 200) as tick:
        tick(
            "training propot, 2 epochs",
            12,
            200,
            "epoch 1 sdm 25.123 p2i 3.111 i2p 4.123 and some more losses with long names 1.234",
        )
    lines = [line for line in seen.getvalue().split("\n") if "training propot, 2 epochs" in line]
    assert lines
    assert "12/200" in lines[-1]
    assert ":" in lines[-1].split("12/200")[1][:12], "time left"
    assert "epoch 1" in lines[-1]


def test_times_are_told_as_people_tell_them() -> None:
    assert [span(s) for s in (0.4, 59, 60, 3599, 9527)] == ["0 s", "59 s", "1 min", "1 h 0 min", "2 h 39 min"]
