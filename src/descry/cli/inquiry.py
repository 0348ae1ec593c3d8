"""descry inquiry: rounds of search that are kept beside the gallery."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import UsageError, nearest
from .absence import calibrate
from .chat import chat
from .report import refuse_address

__all__ = ["calibrate", "chat", "inquiry"]

ACTIONS = (
    *("new", "refine", "mark", "answer", "ask", "undo", "redo", "go"),
    *("show", "list", "why", "replay", "export", "delete"),
)
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Json = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]
Not = Annotated[tuple[str, ...], tyro.conf.arg(name="not")]


def inquiry(
    action: tyro.conf.Positional[str],
    gallery: tyro.conf.Positional[Path],
    name: tyro.conf.Positional[str] = "inquiry",
    /,
    sketch: tuple[str, ...] = (),
    image: tuple[str, ...] = (),
    text: tuple[str, ...] = (),
    not_: Not = (),
    replace: Flag = False,
    like: tuple[int, ...] = (),
    unlike: tuple[int, ...] = (),
    clear: tuple[int, ...] = (),
    closest: int = 0,
    answer: tuple[str, ...] = (),
    round_: Annotated[int, tyro.conf.arg(name="round")] = 0,
    ranks: tuple[int, int] = (1, 2),
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 20,
    model: str = "",
    sheet: Path | None = None,
    json_: Json = False,
) -> int:
    """Search in rounds that can be undone, branched and replayed. An inquiry is kept in the gallery's inquiries.db.

    Args:
        action: new, refine, mark, answer, ask, undo, redo, go, show, list, why, replay, export or delete.
        gallery: a folder made by descry index.
        name: name of the inquiry; list needs none.
        sketch: for new, a drawing of the person; may be repeated.
        image: for new, a photograph of the person; may be repeated.
        text: for new and refine, free words such as "red jacket, no backpack"; may be repeated.
        not_: for new and refine, a phrase that must not hold, without a negation, as --not backpack; may be repeated.
        replace: for refine, let new phrases stand for old ones that contradict them.
        like: for mark, id of an item that is close; may be repeated.
        unlike: for mark, id of an item that is not the person; may be repeated.
        clear: for mark, id of an item whose mark is taken back; may be repeated.
        closest: for mark, id of the item that is the closest of those shown.
        answer: for answer, key=yes, key=no or key=unknown, with a key that ask shows; may be repeated.
        round_: for go, number of the round to show; for delete, of the round to remove with all that was made from it,
            and the whole inquiry when left out.
        ranks: for why, two ranks of the round on show.
        k: how many leads to show.
        model: where the gallery's model now lies, if it was moved.
        sheet: also write a contact sheet to this picture.
        json_: print JSON.
    """
    if action not in ACTIONS:
        raise UsageError(f"there is no action {action!r}; {nearest(action, ACTIONS)}")
    if action == "list":
        return _list(gallery, json_)
    if sheet:
        from .report import outside

        outside(sheet, gallery)
    from ..search import unread

    fresh = action == "new"
    with opened(gallery, name, model, k, fresh) as session:
        if action in ("replay", "export", "delete", "ask", "why"):
            return _ACTIONS[action](session, name, round_, ranks, json_)
        if fresh:
            query = _query(sketch, image, text, not_)
            unread(session.model, query)  # words that the model does not know at all are refused
            session.ask(query)
        elif action == "refine":
            _refine(session, text, not_, replace)
        elif action == "mark":
            _mark(session, like, unlike, clear, closest)
        elif action == "answer":
            _answer(session, answer)
        elif action == "go":
            session.go(round_)
        elif action in ("undo", "redo"):
            getattr(session, action)()
        tell(session, json_, sheet)
    return 0


@contextmanager
def opened(path: Path, name: str, model: str = "", k: int = 20, fresh: bool = False) -> Iterator[Any]:
    """A session over a gallery's rows as they are now, with the named inquiry; UsageError when a fresh name is
    taken."""
    from ..gallery import Gallery
    from ..gallery.searching import Rows
    from ..interact.rounds import Inquiry
    from ..interact.session import Session
    from ..interact.store import InquiryStore

    refuse_address(path)
    with Gallery.open(path, model or None) as gallery:
        store = InquiryStore(path)
        try:
            if fresh and name in store.names():
                raise UsageError(f"there is an inquiry {name!r} already; choose another name, or delete it first")
            found = Inquiry(name) if fresh else store.load(name)
            session: Any = Session(Rows(gallery.store, gallery.snapshot()), gallery.model, found, store, k)
            session.gallery = gallery
            yield session
        finally:
            store.close()


def _list(gallery: Path, as_json: bool) -> int:
    from ..interact.store import FILE, InquiryStore

    names = []
    if (gallery / FILE).exists():
        store = InquiryStore(gallery)
        names = store.names()
        store.close()
    print(json.dumps(names) if as_json else "\n".join(names) or "no inquiry yet")
    return 0


def _query(sketch: tuple[str, ...], image: tuple[str, ...], text: tuple[str, ...], unwanted: tuple[str, ...]) -> Any:
    from .. import language as chips
    from ..query import Part, Query

    query = Query(
        sketches=tuple(Part(Path(p).expanduser()) for p in sketch),
        photos=tuple(Part(Path(p).expanduser()) for p in image),
    )
    tell_unclear(text)
    said = [c for t in text for c in chips.parse(t)] + [chips.Chip(t, False) for t in unwanted]
    return chips.added(query, said)


def tell_unclear(texts: tuple[str, ...]) -> None:
    """Say what of the texts could not be read as wanted or unwanted."""
    from ..language import read

    for piece in (piece for text in texts for piece in read(text).unclear):
        print(f"not understood and left out: “{piece}”; say what is there, or “no …”", file=sys.stderr)


def _refine(session: Any, text: tuple[str, ...], unwanted: tuple[str, ...], replace: bool) -> None:
    from .. import language as chips

    if not text and not unwanted:
        raise UsageError("there is nothing to refine with; give --text or --not")
    tell_unclear(text)
    new = [c for t in text for c in chips.parse(t, session.model.words)] + [chips.Chip(t, False) for t in unwanted]
    found = chips.conflicts(chips.chips_of(session.query), new)
    for conflict in found:
        what = "replaces" if replace else "stands beside (use --replace to let it stand instead)"
        print(f"“{conflict.new}” {what} “{conflict.old}”: {conflict.why}?", file=sys.stderr)
    for chip in new:
        if chip.cut:
            print(f"“{chip}”: the model reads only so many words; cut off: “{chip.cut}”", file=sys.stderr)
    if not new:
        raise UsageError(f"nothing to look for was found in {' '.join(text)!r}; name a garment, a colour or a thing")
    old = [c.old for c in found] if replace else []
    session.ask(chips.added(session.query, new, old), ", ".join(map(str, new)))


def _mark(session: Any, like: tuple[int, ...], unlike: tuple[int, ...], clear: tuple[int, ...], closest: int) -> None:
    if like or unlike or clear or not closest:
        session.mark(like, unlike, clear)
    if closest:
        session.closest(closest)


def _answer(session: Any, answers: tuple[str, ...]) -> None:
    from ..interact.questions import vocabulary

    questions = {q.key: q for q in vocabulary()}
    if not answers:
        raise UsageError("no answer was given; write --answer backpack=yes with a key that ask shows")
    for text in answers:
        key, equals, word = text.partition("=")
        if not equals or key not in questions:
            raise UsageError(
                f"--answer {text} was given; write key=yes, key=no or key=unknown; {nearest(key, list(questions))}"
            )
        session.answer(questions[key], word)


def tell(session: Any, as_json: bool, sheet: Path | None = None) -> None:
    """Print the round on show: tree, chips and leads; data to stdout, the rest to stderr."""
    from ..gallery.results import contact_sheet
    from ..interact import rounds
    from .results import shown

    found = Shown(session)
    if sheet:
        contact_sheet(found.leads, sheet)
        print(f"contact sheet: {sheet}", file=sys.stderr)
    current = session.inquiry.current
    if as_json:
        told = rounds.to_json(current) | {"paths": [shown(p) for p in found.paths]}
        print(json.dumps(told | {"note": "; ".join(_notes(session)), "absence": _notice(session)}, indent=1))
        return
    for depth, step in session.inquiry.shown():
        here = "→" if step.number == current.number else " "
        print(f"{here} {'  ' * depth}{step.number}. {step.change}", file=sys.stderr)
    for rank, (item, score, path) in enumerate(zip(current.ids, found.scores, found.paths, strict=True), 1):
        mark = "♥" if item in current.query.liked else " "
        print(f"{rank:>4} {mark} {score:8.3f}  id {item:<8} {shown(path)}")
    for note in _notes(session):
        print(f"note: {note}", file=sys.stderr)
    print(f"{_notice(session)}. Leads are not identifications.", file=sys.stderr)


def _notes(session: Any) -> list[str]:
    """What must be said beside the round on show: what the model is no evidence of, and what it could not read."""
    from ..search import unread

    return [note for note in (getattr(session.model, "note", ""), *unread(session.model, session.query)) if note]


def _notice(session: Any) -> str:
    from ..interact import absence

    found, fault = absence.readable(session.gallery.path)
    return f"uncalibrated: {fault}" if fault else str(session.notice(found))


class Shown:
    """The leads on show with the gallery's items."""

    def __init__(self, session: Any):
        current = session.inquiry.current
        if current is None:
            raise UsageError("the inquiry has no round; begin another one with new")
        found = {item.id: item for item in session.gallery.items(current.ids)}
        self.leads = [(found[i], score) for i, score in current.results if i in found]
        self.paths = [found[i].path if i in found else "(removed from the gallery)" for i in current.ids]
        self.scores = [s for _, s in current.results]

    def __len__(self) -> int:
        return len(self.leads)


def _replay(session: Any, name: str, round_: int, ranks: tuple[int, int], as_json: bool) -> int:
    rows = [{"round": made.number, "same": same} for made, same in session.replay()]
    moved = session.inquiry.current and session.inquiry.current.snapshot != session.space.snapshot
    if as_json:
        print(json.dumps({"rounds": rows, "gallery changed": bool(moved)}, indent=1))
    else:
        for row in rows:
            print(f"round {row['round']}: {'the same order' if row['same'] else 'another order'}")
        if moved:
            print("the gallery has changed since the last round was made", file=sys.stderr)
    return 0 if all(row["same"] for row in rows) else 1


def _export(session: Any, name: str, round_: int, ranks: tuple[int, int], as_json: bool) -> int:
    from ..audit import commitment
    from ..interact import rounds
    from ..interact.account import ref_of

    made = [rounds.to_json(session.inquiry.rounds[n]) for n in sorted(session.inquiry.rounds)]
    text = json.dumps({"inquiry": name, "head": session.inquiry.head, "rounds": made}, indent=1)
    key = session.store.key(name)
    facts = {"inquiry": ref_of(key), "format": "rounds", "file": commitment(key, "report", text)}
    session.store.audit.append("export", of="inquiry", **facts)
    print(text)
    return 0


def _delete(session: Any, name: str, round_: int, ranks: tuple[int, int], as_json: bool) -> int:
    if round_:
        gone = session.delete(round_)
        told = {"inquiry": name, "rounds": gone}
        print(json.dumps(told) if as_json else f"deleted rounds {', '.join(map(str, gone))}")
    else:
        from .. import purge

        done = purge.run(session.gallery, session.store, purge.plan(session.gallery, session.store, [name]))
        told = {"inquiry": name, "removed": done.to_json()}
        said = f"deleted inquiry {name!r} with its pictures and its key, for good"
        print(json.dumps(told, indent=1) if as_json else said)
    return 0


def _ask(session: Any, name: str, round_: int, ranks: tuple[int, int], as_json: bool) -> int:
    from ..interact.questions import Asker, vocabulary

    asker = Asker.of(session.space, session.model, vocabulary())
    found = asker.next(session.leads.everything, session.query, session.inquiry.current.asked, k=5)
    if as_json:
        print(json.dumps([{"key": q.key, "question": q.text, "gain": round(g, 4)} for q, g in found], indent=1))
    else:
        for question, gain in found:
            print(f"{question.text}  (gain {gain:.2f} bits; --answer {question.key}=yes|no|unknown)")
    if not found:
        print(asker.why_none or "no question is left: everything the model can read was said or asked", file=sys.stderr)
    return 0


def _why(session: Any, name: str, round_: int, ranks: tuple[int, int], as_json: bool) -> int:
    rows = session.leads.why(*ranks)
    if as_json:
        print(json.dumps([{"kind": k, "label": label, "difference": d} for k, label, d in rows], indent=1))
    else:
        print(f"why rank {ranks[0]} stands above rank {ranks[1]}:")
        for kind, label, gap in rows:
            print(f"  {gap:+8.3f}  {'NOT ' if kind == 'not' else ''}{label}  ({kind})")
    return 0


_ACTIONS = {"replay": _replay, "export": _export, "delete": _delete, "ask": _ask, "why": _why}
