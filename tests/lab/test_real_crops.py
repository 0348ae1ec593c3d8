"""The measure on real crops, on pictures of our own named like them; and on the crops where they are at hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from descry.embed import load
from descry.errors import DataError
from descry_lab import real_crops

ROOT = Path(__file__).resolve().parents[2]
CROPS = ROOT.parent / "shared" / "data" / "people_ccby"


@pytest.fixture(scope="module")
def recipe():
    return real_crops


def _folder(recipe, to: Path) -> Path:
    for number, walker in enumerate(recipe.WALKERS):
        for frame in (walker.first, walker.last):
            Image.new("RGB", (24, 48), (40 * number, 90, 200 - 30 * number)).save(to / f"f{frame:05d}_0.jpg")
    return to


def test_frames_tell_people_apart_and_other_folders_are_refused(recipe, tmp_path):
    files, people = recipe.crops(_folder(recipe, tmp_path))
    assert [f.name for f in files[:2]] == ["f00065_0.jpg", "f00185_0.jpg"]
    assert people.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    (tmp_path / "f00065_0.jpg").unlink()
    (tmp_path / "f00185_0.jpg").unlink()
    with pytest.raises(DataError, match="5 of the 6 people"):
        recipe.crops(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "f00200_0.jpg")
    with pytest.raises(DataError, match=r"f00200_0\.jpg"):
        recipe.crops(tmp_path)


def test_a_perfect_ranker_gets_everything_and_chance_a_sixth(recipe):
    people = np.repeat(np.arange(6), 5)
    own = people[None, :] == np.arange(6)[:, None]
    assert recipe._judge(own.astype(float), own, people) == {"R@1": 100, "mAP": 100, "own": 100}
    random = np.random.default_rng(0).random((1200, 30))
    assert recipe._judge(random, np.tile(own, (200, 1)), people)["own"] == pytest.approx(100 / 6, abs=2)


def test_the_table_has_every_way_of_asking(recipe, tmp_path):
    found = recipe.measure(load("demo"), _folder(recipe, tmp_path))
    assert list(found) == ["chance", "text", "sketch", "sketch+text"]
    assert recipe.table(found).count("\n") == 5


@pytest.mark.skipif(not CROPS.is_dir(), reason="the 202 real crops are not on this machine")
def test_the_page_shows_what_the_shipped_model_does_on_the_real_crops(recipe):
    found = recipe.measure(load("demo"), CROPS)
    assert recipe.table(found) in (ROOT / "docs" / "demo-model.md").read_text(encoding="utf-8")
