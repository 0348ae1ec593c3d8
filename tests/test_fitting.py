"""One drawing has one picture for the model: wherever it stands on its paper, however large, in whatever pen."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import descry
from descry import images
from descry.cli import main
from descry.embed import load
from descry.errors import ImageRejected
from descry.query import Query
from descry.ranking import Formula, Ranking
from descry.search import Memo, Term, fit, fitting_notes, stack, terms_of, unit, unread
from descry.sketching import STICKS, fit_to_ink
from descry_people.person import make_person
from descry_people.sketch import draw_sketch

OUTLINE = (
    [(40, 0), (60, 0), (66, 14), (60, 28), (40, 28), (34, 14), (40, 0)],  # head
    [(26, 32), (74, 32), (90, 90), (80, 94), (72, 60), (72, 100), (28, 100), (28, 60), (20, 94), (10, 90), (26, 32)],
    [(28, 100), (72, 100), (74, 196), (54, 196), (50, 110), (46, 196), (26, 196), (28, 100)],
)


def outline(paper: tuple[int, int], at: tuple[float, float], tall: float, pen: float, ink: int = 20) -> Image.Image:
    """An outlined person `tall` pixels tall whose upper left corner stands at a place of white paper."""
    image, k = Image.new("RGB", (paper[0] * 2, paper[1] * 2), "white"), tall / 200 * 2
    for line in OUTLINE:
        points = [(at[0] * 2 + x * k, at[1] * 2 + y * k) for x, y in line]
        ImageDraw.Draw(image).line(points, fill=(ink, ink, ink), width=max(1, round(pen * 2)), joint="curve")
    return image.reduce(2)


def tensor(drawing: Image.Image) -> np.ndarray:
    """(H, W) in 0 to 1: what the demo model would see."""
    return images.resize(fit_to_ink(drawing).picture, (96, 48))[0].astype(float) / 255


USUAL = tensor(outline((400, 600), (60, 40), 500, 5))


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(300, 1400),
    height=st.integers(400, 1000),
    share=st.floats(0.25, 0.8),
    x=st.floats(0.05, 0.95),
    y=st.floats(0.05, 0.95),
    pen=st.floats(2.5, 20),
)
def test_place_size_paper_and_pen_change_little(
    width: int, height: int, share: float, x: float, y: float, pen: float
) -> None:
    tall = min(share * height, 1.6 * width)
    pen = min(pen, 0.03 * tall)
    at = (5 + x * max(0.0, width - tall / 2 - 10), 10 + y * max(0.0, height - tall - 20))
    seen = tensor(outline((width, height), at, tall, pen))
    assert np.abs(seen - USUAL).mean() < 0.08
    assert np.corrcoef(seen.ravel(), USUAL.ravel())[0, 1] > 0.6


@pytest.mark.parametrize(
    ("paper", "at", "tall"), [((800, 600), (10, 380), 200), ((300, 600), (25, 10), 560), ((2000, 500), (1500, 20), 460)]
)
def test_small_in_a_corner_large_and_on_a_wide_canvas_are_one_drawing(
    paper: tuple[int, int], at: tuple[int, int], tall: int
) -> None:
    seen = tensor(outline(paper, at, tall, 0.01 * tall))
    assert np.abs(seen - USUAL).mean() < 0.05
    squeezed = images.resize(outline(paper, at, tall, 0.01 * tall), (96, 48))[0].astype(float) / 255
    assert np.abs(squeezed - USUAL).mean() > 0.08  # as drawn it is another picture


def test_the_box_and_what_was_done_are_stated() -> None:
    found = fit_to_ink(outline((400, 600), (100, 300), 200, 2))
    assert found.fitted
    assert found.box == pytest.approx((0.275, 0.5, 0.475, 0.827), abs=0.02)
    assert found.picture.size == (128, 256)
    rows = np.flatnonzero((np.asarray(found.picture.convert("L")) < 200).any(axis=1))
    assert np.ptp(rows) / 256 == pytest.approx(0.95, abs=0.02)
    assert found.note == "cropped to its ink and fitted"
    assert found.told == ("the sketch was cropped to its ink and fitted", "")
    said = "the sketch was cropped to its ink and fitted (--as-drawn leaves it)"
    assert unread(load("demo", "cpu"), Query(outline((400, 600), (100, 300), 200, 2))) == [said]
    assert "usual width" in fit_to_ink(outline((400, 600), (100, 300), 200, 7)).note


def test_proportions_are_kept() -> None:
    drawing = outline((500, 700), (50, 50), 300, 3)
    slim = drawing.resize((350, 700))
    broad, narrow = (np.asarray(fit_to_ink(d).picture.convert("L")) < 200 for d in (drawing, slim))
    share = np.ptp(np.flatnonzero(narrow.any(axis=0))) / np.ptp(np.flatnonzero(broad.any(axis=0)))
    assert share == pytest.approx(0.7, abs=0.04)


def test_fitting_twice_changes_nothing_more() -> None:
    once = fit_to_ink(outline((900, 600), (100, 300), 200, 8)).picture
    assert fit_to_ink(once).picture.tobytes() == once.tobytes()


def test_light_lines_on_dark_paper_are_turned_over() -> None:
    dark = Image.eval(outline((500, 700), (100, 100), 400, 4), lambda v: 255 - v)
    assert np.abs(tensor(dark) - tensor(outline((500, 700), (100, 100), 400, 4))).mean() < 0.02


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (Image.new("RGB", (100, 200), "white"), "no line"),
        (Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 100, 3), np.uint8)), "no plain paper"),
    ],
)
def test_what_cannot_be_fitted_is_left_and_said(picture: Image.Image, why: str) -> None:
    found = fit_to_ink(picture)
    assert not found.fitted
    assert why in found.note
    assert found.told == ("", "")
    assert found.picture.tobytes() == picture.tobytes()


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("nothing")
    with pytest.raises(ImageRejected):
        fit_to_ink(tmp_path / "a.png")


def stick() -> Image.Image:
    image = Image.new("RGB", (300, 600), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((110, 40, 190, 130), outline=0, width=8)
    for line in (
        (150, 130, 150, 350),
        (150, 350, 90, 570),
        (150, 350, 215, 560),
        (150, 180, 70, 290),
        (150, 180, 230, 300),
    ):
        pen.line(line, fill=0, width=8)
    return image


def test_a_stick_figure_gets_a_hint_and_an_outline_none() -> None:
    assert fit_to_ink(stick()).sticks
    assert STICKS in fit_to_ink(stick()).told
    for style in ("line", "pencil", "sparse", "lay"):
        hinted = [fit_to_ink(draw_sketch(make_person(i), i, style).image).sticks for i in range(40)]
        assert sum(hinted) <= 2, style
    assert not fit_to_ink(outline((400, 600), (60, 40), 500, 5)).sticks
    assert not fit_to_ink(descry.compose_sketch({"top": "jacket", "bottom": "jeans"}).sketch).sticks


def test_a_composed_sketch_and_those_of_synthetic_people_are_left_as_they_stand() -> None:
    for record in ({}, {"headwear": "hat"}, {"top": "jacket", "bag": "suitcase"}):
        made = descry.compose_sketch(record).sketch
        assert fit_to_ink(made).picture.tobytes() == made.tobytes()


def test_search_reads_the_fitted_drawing_unless_it_is_to_be_read_as_drawn() -> None:
    model = load("demo", "cpu")
    small, large = outline((800, 600), (10, 380), 200, 2), outline((400, 600), (60, 40), 500, 5)

    def vector(drawing: Image.Image, as_drawn: bool) -> np.ndarray:
        return terms_of(model, [Query(drawing, as_drawn=as_drawn)])[0][0].vector

    assert vector(small, False) @ vector(large, False) > 0.9
    assert vector(small, True) @ vector(small, False) < 0.9
    np.testing.assert_allclose(vector(small, True), model.embed_sketches([small])[0], atol=1e-5)
    np.testing.assert_allclose(vector(small, False), model.embed_sketches([fit_to_ink(small).picture])[0], atol=1e-5)
    assert (
        vector(large, False) @ terms_of(model, [Query(photos=large)])[0][0].vector < 0.9999
    )  # a photograph is no drawing
    assert unread(model, Query(stick()))[-1] == STICKS
    assert unread(model, Query(stick(), as_drawn=True)) == []


def test_a_sketch_is_fitted_once_for_its_vector_and_its_notes(monkeypatch) -> None:
    model, query, memo = load("demo", "cpu"), Query(stick(), wanted="a red jacket"), Memo()
    fitted: list[object] = []
    monkeypatch.setattr(model, "fit_sketch", lambda sketch: fitted.append(sketch) or fit_to_ink(sketch))
    terms_of(model, [query], memo=memo)
    assert fitting_notes(model, query, memo=memo) == fit_told(query)
    assert len(fitted) == 1
    assert fitting_notes(model, query) == fit_told(query)
    assert len(fitted) == 2


def fit_told(query: Query) -> list[str]:
    return [note for note in fit_to_ink(query.sketches[0].value).told if note]


def test_the_query_says_that_it_is_read_as_drawn() -> None:
    assert Query(wanted="a hat", as_drawn=True).to_json()["as_drawn"] is True
    assert "as_drawn" not in Query(wanted="a hat").to_json()
    assert Query.from_json(Query(wanted="a hat", as_drawn=True).to_json()).as_drawn


def test_the_command_says_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(3):
        draw_sketch(make_person(i), i).image.save(tmp_path / "photos" / f"{i}.png")
    stick().save(tmp_path / "stick.png")
    gallery = str(tmp_path / "gallery")
    assert main(["index", str(tmp_path / "photos"), "--model", "demo", "--out", gallery]) == 0
    capsys.readouterr()
    assert main(["search", gallery, "--sketch", str(tmp_path / "stick.png")]) == 0
    assert STICKS in capsys.readouterr().err
    assert main(["search", gallery, "--sketch", str(tmp_path / "stick.png"), "--as-drawn"]) == 0
    assert STICKS not in capsys.readouterr().err


def test_a_sketch_that_comes_near_nobody_leaves_what_the_words_say() -> None:
    """Beside words a drawing weighs as much as it comes near an item; alone it keeps its weight."""
    rng = np.random.default_rng(0)
    items = unit(rng.standard_normal((200, 16)))
    words = Term("text", "a hat", 0.5, items[3])
    near, far = Term("sketch", "s", 0.5, items[7]), Term("sketch", "s", 0.5, unit(rng.standard_normal(16)))

    def fitted(terms: list[Term], decided: float) -> np.ndarray:
        similarity = stack(terms) @ items.T
        return fit(terms, similarity, Formula(decided=decided)).scores(similarity)

    alone = fitted([words], 0.9)
    np.testing.assert_allclose(fitted([near, words], 0.9), fitted([near, words], 0.0), atol=1e-5)
    kept = [np.corrcoef(alone, fitted([far, words], decided))[0, 1] for decided in (0.0, 0.9, 1.5)]
    assert kept[0] < kept[1] < kept[2]
    np.testing.assert_allclose(fitted([far], 1.5), fitted([far], 0.0), atol=1e-5)
    assert np.argmax(fitted([far, words], 1.5)) == 3


def test_the_demo_model_has_the_number_and_keeps_it() -> None:
    ranking = load("demo", "cpu").ranking
    assert ranking.formula.decided == 0.4
    assert type(ranking).from_json(ranking.to_json()).formula == ranking.formula
    with pytest.raises(descry.DescryError, match="decided"):
        Formula(decided=-1.0)


def test_a_stick_figure_beside_words_leaves_what_the_words_say() -> None:
    model = load("demo", "cpu")
    rng = np.random.default_rng(0)
    items = unit(rng.standard_normal((300, model.dimension)))

    def scores(query: Query, version: int = 3) -> np.ndarray:
        ranking = replace(model.ranking, formula=replace(model.ranking.formula, version=version, decided=0.0))
        terms = terms_of(model, [query], ranking)[0]
        similarity = stack(terms) @ items.T
        return fit(terms, similarity, ranking.formula).scores(similarity)

    for words in ("a red jacket", "a tall man in a long coat, walking"):
        alone, both = scores(Query(wanted=words)), scores(Query(stick(), wanted=words))
        assert np.corrcoef(alone, both)[0, 1] > 0.99
        assert (alone != both).any()
        assert np.corrcoef(alone, scores(Query(stick(), wanted=words, as_drawn=True)))[0, 1] < 0.9
    drawing = outline((400, 600), (60, 40), 500, 5)
    with_stick = Query((stick(), drawing), wanted="a red jacket")
    assert np.corrcoef(scores(with_stick), scores(Query(drawing, wanted="a red jacket")))[0, 1] > 0.99
    assert scores(Query(stick())).std() > 0.9  # alone it ranks, and so beside NOT
    assert terms_of(model, [Query(stick(), unwanted="bag")])[0][0].shape == "linear"


def test_rounds_of_earlier_formulas_weigh_a_stick_figure_as_they_did() -> None:
    model, query = load("demo", "cpu"), Query(stick(), wanted="a red jacket")
    assert [t.shape for t in terms_of(model, [query])[0] if t.kind == "sketch"] == ["stick"]
    for version in (1, 2):
        data = model.ranking.to_json()
        data["formula"] = {k: v for k, v in data["formula"].items() if k != "stick"} | {"version": version}
        terms = terms_of(model, [query], Ranking.from_json(data))[0]
        assert {t.shape for t in terms if "sketch" in t.kind} == {"linear"}


def test_a_memo_knows_which_sketches_are_stick_figures() -> None:
    model, memo = load("demo", "cpu"), Memo()
    for words in ("a red jacket", "a hat"):
        assert terms_of(model, [Query(stick(), wanted=words)], memo=memo)[0][-1].shape == "stick"


def test_an_inquiry_says_what_was_done_and_can_read_as_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    (tmp_path / "photos").mkdir()
    for i in range(3):
        draw_sketch(make_person(i), i).image.save(tmp_path / "photos" / f"{i}.png")
    stick().save(tmp_path / "stick.png")
    gallery, sketch = str(tmp_path / "gallery"), ["--sketch", str(tmp_path / "stick.png")]
    assert main(["index", str(tmp_path / "photos"), "--model", "demo", "--out", gallery]) == 0
    for command in (["inquiry", "new", gallery], ["chat", gallery]):
        capsys.readouterr()
        assert main([*command, f"{command[0]} fitted", *sketch]) == 0
        assert STICKS in capsys.readouterr().err
        assert main([*command, f"{command[0]} drawn", *sketch, "--as-drawn"]) == 0
        assert STICKS not in capsys.readouterr().err
        assert main(["inquiry", "refine", gallery, f"{command[0]} drawn", "a red hat"]) == 0
        assert STICKS not in capsys.readouterr().err
