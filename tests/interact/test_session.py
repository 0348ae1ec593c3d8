"""Rounds, marks, answers, replay and the file they are kept in."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from descry.errors import DataError, LimitExceeded, UsageError
from descry.interact import rounds
from descry.interact.rounds import Inquiry
from descry.interact.session import Session
from descry.interact.store import InquiryStore
from descry.language import Chip
from descry.query import Query
from descry.ranking import Composition, Formula, Ranking
from descry.search import Arrays


@pytest.fixture
def store(tmp_path: Path) -> InquiryStore:
    opened = InquiryStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def session(space, model, store) -> Session:
    return Session(space, model, Inquiry("case 1"), store, k=20)


def test_a_conversation_from_sketch_to_marks(session: Session) -> None:
    first = session.ask(Query(sketches=b"drawing"))
    second = session.refine("red jacket, no backpack")
    assert second.parent == first.number
    assert [p.value for p in second.query.unwanted] == ["backpack"]
    third = session.mark(like=[second.ids[4]], unlike=[second.ids[0]])
    assert third.ids[0] == second.ids[4]
    assert second.ids[0] not in third.ids
    fourth = session.closest(third.ids[3])
    assert fourth.choices == ((third.ids[3], third.ids),)
    assert session.mark(clear=[third.ids[3]]).choices == ()
    assert rounds.difference(second, third)["gone"] >= 1
    kinds = {kind for kind, _ in session.leads.names}
    assert {"not", "liked", "unliked"} <= kinds


def test_items_that_left_stop_no_conversation_and_strangers_are_refused(session: Session, space) -> None:
    first = session.ask(Query(wanted="red jacket"))
    second = session.mark(like=[first.ids[1]], unlike=[first.ids[2]])
    third = session.closest(second.ids[3])
    gone = {first.ids[1], first.ids[2], third.choices[0][0]}
    stay = [i for i in space.ids.tolist() if i not in gone]
    session.space = Arrays(np.array(stay), space.vectors(stay), "later")
    made = session.refine("no hat")
    assert not gone & set(made.ids)
    assert session.leads.note.startswith("3 of the ")
    assert len(session.replay()) == 4
    session.go(2)
    assert session.ask(session.query.replace(wanted=["a coat"])).query.liked == (first.ids[1],)
    session.go(1)
    assert session.ask(third.query).query.closest == third.query.closest, "another branch has these marks"
    stranger = int(space.ids.max()) + 1
    for query in (Query(wanted="hat", liked=(stranger,)), Query(wanted="hat", closest=(stranger,))):
        with pytest.raises(UsageError, match=f"holds no item {stranger}"):
            session.ask(query)
    with pytest.raises(UsageError, match=f"holds no item {first.ids[1]}"):
        session.mark(like=[first.ids[1]])
    session.go(2)
    with pytest.raises(UsageError, match=f"holds no item {first.ids[1]}"):
        session.closest(first.ids[1])
    assert session.mark(clear=[first.ids[1], first.ids[2]]).query.liked == ()


def test_answers_become_chips_and_do_not_know_only_a_note(session: Session) -> None:
    session.ask(Query(sketches=b"drawing"))
    bag = SimpleNamespace(key="bag", text="Is the person carrying a bag?", phrase="carrying a bag")
    assert [p.value for p in session.answer(bag, "yes").query.wanted] == ["carrying a bag"]
    assert [p.value for p in session.answer(bag, "no").query.unwanted] == ["carrying a bag"]
    before = session.query
    made = session.answer(SimpleNamespace(key="hat", text="Is there a hat?", phrase="a hat"), "unknown")
    assert made.query == before
    assert made.asked == {"bag": "no", "hat": "unknown"}
    with pytest.raises(UsageError, match="yes"):
        session.answer(bag, "perhaps")


def test_refining_by_words_or_marks_embeds_no_picture_again(session: Session, model) -> None:
    session.ask(Query(sketches=b"drawing", wanted="a man"))
    model.calls.clear()
    made = session.refine("red jacket")
    session.mark(like=[made.ids[0]])
    assert set(model.calls) == {"text", "compose"}


def test_undo_redo_branch_delete(session: Session) -> None:
    one = session.ask(Query(wanted="red"))
    two = session.refine("hat")
    assert session.undo() == one
    assert session.redo() == two
    session.undo()
    branch = session.refine("scarf")
    assert [r.number for r in session.inquiry.children(one.number)] == [two.number, branch.number]
    assert session.go(two.number) == two
    session.undo()
    assert session.redo() == two, "redo goes where one was last"
    assert session.delete(two.number) == [two.number]
    assert session.inquiry.head == one.number
    made = session.refine("boots")
    assert made.number == 4, "a number is never given twice"
    with pytest.raises(UsageError, match="there is no round 2"):
        session.go(2)
    session.go(one.number)
    with pytest.raises(UsageError, match="nothing to undo"):
        session.undo()


def test_replay_gives_the_same_order_also_after_reopening_and_on_four_threads(
    session: Session, space, model, store, tmp_path
) -> None:
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    file = tmp_path / "sketch.png"
    picture.save(file)
    session.ask(Query(sketches=b"drawing", photos=(picture,)))
    session.refine("red jacket, no backpack, maybe a scarf")
    session.mark(like=[session.inquiry.current.ids[2]], unlike=[session.inquiry.current.ids[0]])
    session.closest(session.inquiry.current.ids[5])
    assert all(same for _, same in session.replay())
    again = InquiryStore(tmp_path)
    reopened = again.load("case 1")
    again.close()
    assert [rounds.to_json(r) for r in reopened.path()] == [rounds.to_json(r) for r in session.inquiry.path()]
    model.embed_images = lambda pictures: np.stack(
        [session.memo._rows[key] for key in session.memo._rows if key[0] == "image"][: len(pictures)]
    )
    torch.set_num_threads(4)
    try:
        replayed = Session(space, model, session.inquiry, k=20).replay()
    finally:
        torch.set_num_threads(1)
    assert all(same for _, same in replayed)


def test_replay_uses_the_formula_of_the_round(session: Session, space, model) -> None:
    session.ranking = Ranking(formula=Formula(negation=0.3))
    session.ask(Query(wanted="red", unwanted="bag"))
    other = Session(space, model, session.inquiry, k=20, ranking=Ranking(Composition("late"), Formula(negation=5.0)))
    assert all(same for _, same in other.replay())


def test_chips_and_conflicts(session: Session) -> None:
    session.ask(Query(wanted="red jacket"))
    found = session.conflicts("blue jacket")
    assert [str(c.old) for c in found] == ["red jacket"]
    made = session.refine("blue jacket", replace=[c.old for c in found])
    assert [p.value for p in made.query.wanted] == ["blue jacket"]
    off = session.set_chips([Chip("blue jacket", on=False), Chip("hat", weight=2.0)])
    assert not off.query.wanted[0].on
    with pytest.raises(UsageError, match="nothing to search for"):
        session.refine("I don't know")


def test_refusals(session: Session) -> None:
    with pytest.raises(UsageError, match="no round yet"):
        session.closest(10)
    session.ask(Query(wanted="red"))
    with pytest.raises(UsageError, match="holds no item 5"):
        session.mark(like=[5])
    with pytest.raises(UsageError, match="was not among the 20 shown"):
        session.closest(next(i for i in range(10, 310) if i not in session.inquiry.current.ids))
    with pytest.raises(UsageError, match="no item was named"):
        session.mark()
    with pytest.raises(UsageError, match="at once"):
        session.mark(like=[10], unlike=[10])


def test_limits(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.ask(Query(wanted="red"))
    monkeypatch.setattr(rounds, "MAX_MARKS", 3)
    session.mark(like=[10, 11, 12])
    with pytest.raises(LimitExceeded, match="4 items are marked"):
        session.mark(like=[13])
    monkeypatch.setattr(rounds, "MAX_ROUNDS", 2)
    with pytest.raises(LimitExceeded, match="2 rounds"):
        session.refine("hat")


def test_deleting_an_inquiry_removes_its_pictures_and_no_others(space, model, store, tmp_path: Path) -> None:
    for name, sketches in (("a", (b"only-a", b"shared")), ("b", (b"shared",))):
        Session(space, model, Inquiry(name), store).ask(Query(sketches=sketches))
    store.delete("a")
    assert store.names() == ["b"]
    held = [bytes(d) for (d,) in store._db.execute("SELECT data FROM pictures")]
    assert held == [b"shared"]
    store.close()
    assert b"only-a" not in (tmp_path / "gallery.db").read_bytes(), "freed pages are overwritten"


def test_arrays_images_and_files_come_back_with_their_digest(session: Session, store, tmp_path) -> None:
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    file = tmp_path / "p.bin"
    file.write_bytes(b"some file")
    query = Query(sketches=(pixels, Image.fromarray(pixels)), photos=(file,))
    session.model.embed_images = lambda pictures: np.eye(24, dtype=np.float32)[: len(pictures)]
    session.ask(query)
    back = store.load("case 1").current.query
    assert back.to_json() == query.to_json()


def test_the_store_refuses_what_is_not_its_own(tmp_path: Path, store) -> None:
    with pytest.raises(UsageError, match="no inquiry 'x'"):
        store.load("x")


def test_a_damaged_round_is_named(session: Session, store) -> None:
    session.ask(Query(wanted="red"))
    store._db.execute("UPDATE rounds SET data = ?", (json.dumps({"number": 1}),))
    with pytest.raises(DataError, match="damaged"):
        store.load("case 1")


def test_the_tree_can_be_printed(session: Session) -> None:
    session.ask(Query(wanted="red"))
    session.refine("hat")
    session.refine("bag")
    session.go(1)
    session.refine("scarf")
    assert [(depth, r.number) for depth, r in session.inquiry.shown()] == [(0, 1), (1, 2), (2, 3), (1, 4)]
