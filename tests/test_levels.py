"""Which leads stand out from the gallery as a whole, and searches that show only these."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from descry import Gallery, Results
from descry.cli import main
from descry.errors import UsageError
from descry.query import Filters
from descry.search import LEVELS, Heights
from descry_people.person import make_person
from descry_people.sketch import draw_sketch


def heights(scores: np.ndarray) -> Heights:
    found = Heights.of(scores)
    assert found
    return found


def standing_out(scores: np.ndarray) -> int:
    found = heights(scores)
    return int((scores > found.score(found.usual)).sum())


def test_one_far_lead_stands_out_and_a_third_of_a_gallery_does_not() -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(0, 1, 2000)
    assert standing_out(plain) <= 2
    assert standing_out(np.append(plain, 8.0)) - standing_out(plain) in (1, 2)
    red = np.concatenate([rng.normal(0, 0.1, 1350), rng.normal(4, 0.1, 650)])
    assert standing_out(red) == 0


def test_a_gallery_of_equal_scores_has_no_lead_that_stands_out() -> None:
    assert standing_out(np.zeros(50)) == 0
    assert Heights.of(np.zeros(0)) is None


def test_a_level_counts_spreads_over_the_middle() -> None:
    found = heights(np.random.default_rng(1).normal(5.0, 2.0, 20_000))
    assert found.score(0) == pytest.approx(5.0, abs=0.1)
    assert found.score(3) == pytest.approx(11.0, abs=0.2)
    assert (LEVELS[0], LEVELS[-1], len(LEVELS)) == (1.0, 5.0, 17)
    assert found.usual in LEVELS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("levels")
    for i in range(12):
        (made / "photos").mkdir(exist_ok=True)
        draw_sketch(make_person(i), i).image.save(made / "photos" / f"{i:02}.png")
    assert main(["index", str(made / "photos"), "--model", "demo", "--out", str(made / "gallery")]) == 0
    return made / "gallery"


@pytest.fixture
def gallery(folder: Path) -> Iterator[Gallery]:
    with Gallery.open(folder) as opened:
        yield opened


def test_only_leads_above_the_level_are_shown_and_the_others_are_counted(gallery: Gallery) -> None:
    whole: Results = gallery.search("a hat", 12)
    assert whole.heights
    assert whole.left_out == 0
    line = whole.heights.score(1.0)
    kept = gallery.search("a hat", 12, least=1.0)
    assert 0 < len(kept) < 12
    assert kept.ids == tuple(i for i, s in zip(whole.ids, whole.scores, strict=True) if s > line)
    assert kept.left_out == 12 - len(kept)
    assert f"{kept.left_out} of 12 leads left out" in kept.note
    assert [lead.parts for lead in kept] == [lead.parts for lead in whole[: len(kept)]]
    assert gallery.search("a hat", 12, least="usual").ids == whole.above().ids
    assert gallery.search("a hat", 12, least=0.0).ids == whole.above(0).ids != whole.ids


def test_the_level_is_of_the_whole_gallery_whatever_the_filters_let_through(gallery: Gallery) -> None:
    whole = gallery.search("a hat", 12)
    some = gallery.search("a hat", 12, filters=Filters(path="*/0[0-4].png"))
    assert some.considered == 5
    assert some.heights == whole.heights


@pytest.mark.parametrize("level", [-0.1, float("nan"), float("inf"), "often", True])
def test_another_level_is_refused_before_anything_is_searched(gallery: Gallery, level: float) -> None:
    with pytest.raises(UsageError, match="spreads over the gallery's middle"):
        gallery.search("a hat", least=level)


def test_an_answer_over_candidates_has_no_level(gallery: Gallery) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="needs every item's score"):
        replace(gallery.search("a hat", 12), scored=None).above(2)


def test_the_command_says_how_many_were_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["search", str(folder), "a hat"]
    assert main([*asked, "--min", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["left_out"] == 12 - len(found["results"]) > 0
    assert f"{found['left_out']} of 12 leads left out: not above level 1 (score " in err
    assert main([*asked, "--min", "usual"]) == 0
    capsys.readouterr()
    assert main([*asked, "--min", "40"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "no results above the level: 12 left out among 12 items" in err
    for level in ("-1", "nan"):
        assert main([*asked, "--min", level]) == 2
        assert "a number of spreads" in capsys.readouterr().err
