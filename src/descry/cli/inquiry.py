"""descry inquiry: rounds of search that are kept, and can be undone, branched and replayed. One function per verb."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..errors import COUNT, UsageError, nearest
from ..escape import counted
from .machine import Count, Flag, GalleryStore, Item, Json, Machine, MovedModel, OutPicture, emit
from .report import refuse_address

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="name of the inquiry.")]
Words = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(help='words, such as "red jacket, no backpack".'),
]
Text = Annotated[tuple[str, ...], tyro.conf.arg(help="the same as an option.")]
Not = Annotated[
    tuple[str, ...], tyro.conf.arg(name="not", help="a phrase that must not be true of the person, as --not backpack.")
]


@dataclass(frozen=True)
class Shown:
    """How the round is shown.

    Args:
        k: how many leads to show; if omitted, 20 in a new round and as many as were found in an old one.
        sheet: also write a contact sheet to this picture.
    """

    k: Annotated[int | None, COUNT, tyro.conf.arg(aliases=["-k"])] = None
    model: MovedModel = ""
    sheet: OutPicture | None = None
    json_: Json = False

    @contextmanager
    def round(self, gallery: str, name: str, fresh: bool = False, stored: bool = False) -> Iterator[Any]:
        """The session to act on; the round that is then current is printed when the act succeeded. stored: the act
        ranks nothing, so no model is loaded where its files are enough to say what belongs beside the leads.
        """
        if self.sheet:
            from ..gallery.gallery import outside

            outside(self.sheet, gallery)
        with opened(gallery, name, self.model, self.k or 20, fresh, stored=stored and not self.k) as session:
            yield session
            tell(session, self.json_, self.sheet, self.k)


Show = Annotated[Shown, tyro.conf.arg(name="")]


def new(
    gallery: GalleryStore,
    name: Name = "inquiry",
    words: Words = (),
    /,
    text: Text = (),
    not_: Not = (),
    sketch: tuple[str, ...] = (),
    image: tuple[str, ...] = (),
    as_drawn: Flag = False,
    show: Show = Shown(),
) -> int:
    """Begin an inquiry with words, sketches, photographs, or several of them.

    Args:
        sketch: a drawing of the person.
        image: a photograph of the person.
        as_drawn: give sketches to the encoder as they are; if omitted, each is cropped to its ink and fitted.
    """
    from ..search import unread

    with show.round(gallery, name, fresh=True) as session:
        query = _query(sketch, image, words + text, not_, as_drawn)
        unread(session.model, query)  # words that the model does not know at all are refused
        session.ask(query, _asked(query))
    return 0


def refine(
    gallery: GalleryStore,
    name: Name = "inquiry",
    words: Words = (),
    /,
    text: Text = (),
    not_: Not = (),
    replace: Flag = False,
    show: Show = Shown(),
) -> int:
    """Add words to the current round.

    Args:
        replace: let new phrases take the place of old ones that contradict them.
    """
    with show.round(gallery, name) as session:
        _refine(session, words + text, not_, replace)
    return 0


def mark(
    gallery: GalleryStore,
    name: Name = "inquiry",
    /,
    like: tuple[Item, ...] = (),
    unlike: tuple[Item, ...] = (),
    clear: tuple[Item, ...] = (),
    closest: Item | None = None,
    show: Show = Shown(),
) -> int:
    """Mark leads as close or as not the person, and search again.

    Args:
        like: id of an item that is close.
        unlike: id of an item that is not the person.
        clear: id of an item whose mark is taken back.
        closest: id of the item that is the closest of those shown.
    """
    with show.round(gallery, name) as session:
        if like or unlike or clear or closest is None:
            session.mark(like, unlike, clear)
        if closest is not None:
            session.closest(closest)
    return 0


def answer(
    gallery: GalleryStore,
    name: Name = "inquiry",
    answers: tyro.conf.Positional[tuple[str, ...]] = (),
    /,
    answer: tuple[str, ...] = (),
    show: Show = Shown(),
) -> int:
    """Answer questions, and search again.

    Args:
        answers: KEY=yes, KEY=no or KEY=unknown, with a key that descry inquiry ask shows.
        answer: the same as an option.
    """
    from ..interact.questions import vocabulary

    questions = {q.key: q for q in vocabulary()}
    with show.round(gallery, name) as session:
        if not answers and not answer:
            raise UsageError("no answer was given; write backpack=yes with a key that descry inquiry ask shows")
        for text in answers + answer:
            key, equals, word = text.partition("=")
            if not equals or key not in questions:
                raise UsageError(
                    f"{text} was given; write KEY=yes, KEY=no or KEY=unknown; {nearest(key, list(questions))}"
                )
            session.answer(questions[key], word)
    return 0


def show(gallery: GalleryStore, name: Name = "inquiry", /, show: Show = Shown()) -> int:
    """Show the current round: its leads, and the tree of rounds."""
    with show.round(gallery, name, stored=True):
        return 0


def undo(gallery: GalleryStore, name: Name = "inquiry", /, show: Show = Shown()) -> int:
    """Go back to the round before."""
    with show.round(gallery, name, stored=True) as session:
        session.undo()
    return 0


def redo(gallery: GalleryStore, name: Name = "inquiry", /, show: Show = Shown()) -> int:
    """Go forward again to the round that was undone."""
    with show.round(gallery, name, stored=True) as session:
        session.redo()
    return 0


def go(
    gallery: GalleryStore,
    name: Name = "inquiry",
    /,
    *,
    round_: Annotated[Item, tyro.conf.arg(name="round")],
    show: Show = Shown(),
) -> int:
    """Go to any round; what follows branches off there.

    Args:
        round_: number of the round.
    """
    with show.round(gallery, name, stored=True) as session:
        session.go(round_)
    return 0


def list_(gallery: GalleryStore, /, json_: Json = False) -> int:
    """The inquiries of a gallery, a line each."""
    from .report import kept, one_line

    with kept(gallery) as (_, store):
        rows = store.abouts()
    lines = [f"{one_line(a.name)}  ({counted(a.rounds, 'round')}, last used {a.touched[:10]})" for a in rows]
    return emit(json_, [a.name for a in rows], *lines or ["no inquiry yet"])


def ask(gallery: GalleryStore, name: Name = "inquiry", /, model: MovedModel = "", json_: Json = False) -> int:
    """The questions whose answers would narrow the search most."""
    from ..interact.questions import Asker, vocabulary

    with opened(gallery, name, model) as session:
        asker = Asker.of(session.space, session.model, vocabulary())
        found = asker.next(session.leads.everything, session.query, session.inquiry.current.asked, k=5)
    lines = [f"{q.text}  (gain {gain:.2f} bits; answer {q.key}=yes|no|unknown)" for q, gain in found]
    emit(json_, [{"key": q.key, "question": q.text, "gain": round(g, 4)} for q, g in found], *lines)
    if not found:
        print(asker.why_none or "no question is left: everything the model can read was said or asked", file=sys.stderr)
    return 0


def why(
    gallery: GalleryStore,
    name: Name = "inquiry",
    /,
    ranks: tuple[Count, Count] = (1, 2),
    model: MovedModel = "",
    json_: Json = False,
) -> int:
    """Why one lead of the current round ranks above another, phrase by phrase.

    Args:
        ranks: the two ranks.
    """
    with opened(gallery, name, model) as session:
        rows = session.leads.why(*ranks)
    lines = [f"  {gap:+8.3f}  {'NOT ' if kind == 'not' else ''}{label}  ({kind})" for kind, label, gap in rows]
    value = [{"kind": k, "label": label, "difference": d} for k, label, d in rows]
    return emit(json_, value, f"why rank {ranks[0]} stands above rank {ranks[1]}:", *lines)


def replay(gallery: GalleryStore, name: Name = "inquiry", /, model: MovedModel = "", json_: Json = False) -> int:
    """Search every round again and say whether the order is the same; exit status 1 when one is not."""
    with opened(gallery, name, model) as session:
        rows = [{"round": made.number, "same": same} for made, same in session.replay()]
        moved = bool(session.inquiry.current and session.inquiry.current.snapshot != session.space.snapshot)
    lines = [f"round {row['round']}: {'the same order' if row['same'] else 'another order'}" for row in rows]
    emit(json_, {"rounds": rows, "gallery_changed": moved}, *lines)
    if moved and not json_:
        print("the gallery has changed since the last round was made", file=sys.stderr)
    return 0 if all(row["same"] for row in rows) else 1


def export(gallery: GalleryStore, name: Name = "inquiry", /, json_: Json = False) -> int:
    """Print all rounds as JSON, with --json or without. Pictures are given as SHA-256 digests only."""
    from ..gallery.account import add_line, commitment, ref_of
    from ..interact import rounds
    from .report import kept

    with kept(gallery) as (_, store):
        found = store.load(name)
        made = [rounds.to_json(found.rounds[n]) for n in sorted(found.rounds)]
        text = json.dumps({"inquiry": name, "head": found.head, "rounds": made}, indent=1)
        key = store.key(name)
        facts = {"inquiry": ref_of(key), "format": "rounds", "file": commitment(key, "report", text)}
        add_line(store.database, "export", of="inquiry", **facts)
    print(*text.split("\n"), sep="\n")
    return 0


def delete(
    gallery: GalleryStore,
    name: Name = "inquiry",
    /,
    round_: Annotated[Item | None, tyro.conf.arg(name="round")] = None,
    model: MovedModel = "",
    json_: Json = False,
) -> int:
    """Remove an inquiry for good, or one round with all that was made from it.

    Args:
        round_: number of the round; if omitted, the whole inquiry with its pictures and its key goes.
    """
    if round_ is not None:
        with opened(gallery, name, model) as session:
            gone = session.delete(round_)
        return emit(json_, {"inquiry": name, "rounds": gone}, f"deleted rounds {', '.join(map(str, gone))}")
    from .. import purge
    from .report import kept

    with kept(gallery) as (holder, store):
        done = purge.run(holder, store, purge.plan(holder, store, [name]))
    said = f"deleted inquiry {name!r} with its pictures and its key, for good"
    return emit(json_, {"inquiry": name, "removed": done.to_json()}, said)


@contextmanager
def opened(
    path: str,
    name: str,
    model: str = "",
    k: int = 20,
    fresh: bool = False,
    chat: bool = False,
    stored: bool = False,
) -> Iterator[Any]:
    """A session over a gallery's rows as they are now, with the named inquiry; UsageError when a fresh name is taken.

    chat: rounds of a read-only gallery are kept in memory; otherwise making one raises ReadOnly. stored: nothing is
    going to be ranked.
    """
    from ..gallery import Gallery
    from ..interact.rounds import Inquiry
    from ..interact.session import Session
    from ..interact.store import InquiryStore

    refuse_address(path)
    with (
        Gallery.open(path, model or None) as gallery,
        closing(gallery.inquiries() if chat else InquiryStore(gallery.store.database)) as store,
    ):
        if fresh and name in store.names():
            raise UsageError(f"there is an inquiry {name!r} already; choose another name, or delete it first")
        found = Inquiry(name) if fresh else store.load(name)
        card = _card(gallery) if stored and not model else None
        session: Any = Session(_space(gallery, card), card or gallery.model, found, store, k)
        session.gallery = gallery
        yield session


def _card(gallery: Any) -> Any:
    """What the model's files say of it, where that is enough: no calibration has to be asked, and it is the very model
    of the gallery, in a folder that the user named. None otherwise.
    """
    from ..interact import absence
    from ..library import ModelCard
    from ..safe_files import allowed

    source = gallery.binding.source
    if (gallery.path / absence.FILE).exists() or not (source == "demo" or allowed(source)):
        return None
    card = ModelCard.of(source)
    return card if card and card.fingerprint == gallery.binding.fingerprint else None


def _space(gallery: Any, card: Any) -> Any:
    if card:
        return None
    Machine().settle()
    from ..gallery.scan import Rows

    return Rows(gallery.store, gallery.snapshot())


def _query(
    sketch: tuple[str, ...], image: tuple[str, ...], text: tuple[str, ...], unwanted: tuple[str, ...], as_drawn: bool
) -> Any:
    from .. import language as chips
    from ..query import Part, Query

    query = Query(
        sketches=tuple(Part(Path(p).expanduser()) for p in sketch),
        photos=tuple(Part(Path(p).expanduser()) for p in image),
        as_drawn=as_drawn,
    )
    tell_unclear(text)
    said = [c for t in text for c in chips.parse(t)] + [chips.Chip(t, False) for t in unwanted]
    return chips.added(query, said)


def tell_unclear(texts: tuple[str, ...]) -> None:
    """Say what of the texts could not be read as wanted or unwanted."""
    from ..language import read

    for piece in (piece for text in texts for piece in read(text).unclear):
        print(f"not understood and left out: “{piece}”; say what is there, or “no …”", file=sys.stderr)


def _asked(query: Any) -> str:
    """What a first round asks, for the tree: its phrases and how many pictures."""
    from ..language import chips_of

    kinds = ((len(query.sketches), "sketch", "sketches"), (len(query.photos), "photograph", "photographs"))
    pictures = [counted(*kind) for kind in kinds if kind[0]]
    return ", ".join(pictures + [str(c) for c in chips_of(query)])


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
        raise UsageError(f"found nothing to search for in {' '.join(text)!r}; name a garment, a colour or a thing")
    old = [c.old for c in found] if replace else []
    session.ask(chips.added(session.query, new, old), ", ".join(map(str, new)))


def tell(session: Any, as_json: bool, sheet: Path | None = None, k: int | None = None) -> None:
    """Print the round on show: tree, chips and leads; data to stdout, the rest to stderr. k: as in `Leads`."""
    from ..escape import path_text as shown
    from ..gallery.results import contact_sheet
    from ..interact import rounds

    found = Leads(session, k)
    if sheet:
        contact_sheet(found.leads, sheet)
        print(f"contact sheet: {sheet}", file=sys.stderr)
    current = session.inquiry.current
    if as_json:
        told = rounds.to_json(current) | {"results": found.results, "paths": [shown(p) for p in found.paths]}
        emit(True, told | {"note": "; ".join(_notes(session)), "absence": _notice(session)})
        return
    for depth, step in session.inquiry.shown():
        here = "→" if step.number == current.number else " "
        print(f"{here} {'  ' * depth}{step.number}. {step.change}", file=sys.stderr)
    for rank, (item, score, path) in enumerate(zip(found.ids, found.scores, found.paths, strict=True), 1):
        mark = "♥" if item in current.query.liked else " "
        print(f"{rank:>4} {mark} {score:8.3f}  id {item:<8} {shown(path)}")
    for note in _notes(session):
        print(f"note: {note}", file=sys.stderr)
    print(f"{_notice(session)}. Leads are not identifications.", file=sys.stderr)


def _notes(session: Any) -> list[str]:
    """What must be said beside the round on show: what the model is no evidence of, and what it could not read."""
    from ..search import unread

    return [note for note in (session.gallery.note(session.model), *unread(session.model, session.query)) if note]


def _notice(session: Any) -> str:
    import numpy as np

    from ..interact import absence

    found, fault = absence.readable(session.gallery.path)
    if not found and not fault:
        return absence.notice(None, np.zeros(0))
    return f"uncalibrated: {fault}" if fault else str(session.notice(found))


class Leads:
    """The leads on show with the gallery's items.

    k: how many; those that the round did not keep are found by ranking it again. None for what it kept.
    """

    def __init__(self, session: Any, k: int | None = None):
        current = session.inquiry.current
        if current is None:
            raise UsageError("the inquiry has no round; begin another one with descry inquiry new")
        results = current.results[:k]
        if k and k > len(results):
            again = session.rank(current, k)
            results = tuple(zip(again.ids.tolist(), again.scores.tolist(), strict=True))
        self.results = [[i, score] for i, score in results]
        self.ids = [i for i, _ in results]
        found = {item.id: item for item in session.gallery.items(self.ids)}
        self.leads = [(found[i], score) for i, score in results if i in found]
        self.paths = [found[i].path if i in found else "(removed from the gallery)" for i in self.ids]
        self.scores = [score for _, score in results]
