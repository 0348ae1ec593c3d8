"""descry chat: converse with a gallery in the terminal."""

from __future__ import annotations

import base64
import io
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import tyro

from ..errors import DescryError, Locked, UsageError
from ..escape import behind
from ..safe_files import address_of
from .machine import Flag, GalleryStore, HowMany, MovedModel, OutPicture

HELP = """\
  any words             how the person looks: "red jacket, no backpack"
  yes, no, don't know   answers the question asked
  like 3   unlike 1 2   marks leads by their rank; clear 3 takes the mark back
  closest 4             of those shown, the most similar
  chips                 the phrases of your description, with numbers
  off 2  flip 2         ignores a phrase, turns it into NOT; drop 2 removes it
  why 1 2               why one lead ranks above another
  undo   redo   go 3    other rounds; tree shows all
  /ask on|off           questions after every round
  /sketch FILE          add a sketch; /image FILE a photograph of the person
  help   quit
Commands may begin with /: then they are never taken for a description."""
ANSWERS = {
    **dict.fromkeys(("yes", "y", "yeah", "yep"), "yes"),
    **dict.fromkeys(("no", "n", "nope"), "no"),
    **dict.fromkeys(("?", "don't know", "dont know", "i don't know", "unknown", "not sure", "no idea"), "unknown"),
}


def chat(
    gallery: GalleryStore,
    name: tyro.conf.Positional[str] = "chat",
    /,
    sketch: tuple[str, ...] = (),
    image: tuple[str, ...] = (),
    as_drawn: Flag = False,
    k: HowMany = 10,
    model: MovedModel = "",
    sheet: OutPicture | None = None,
) -> int:
    """Search by talking: say what you know, answer questions, mark leads. Rounds are kept as an inquiry.

    Args:
        name: name of the inquiry to begin or continue.
        sketch: a drawing of the person to begin with.
        image: a photograph of the person to begin with.
        as_drawn: give sketches to the encoder as they are, those of /sketch too; if omitted, each is cropped to its ink
            and fitted.
        k: how many leads to show.
        sheet: where the contact sheet is written, for terminals that show no pictures; if omitted, a file in the
            gallery's folder that is removed at the end.
    """
    from ..gallery.gallery import outside
    from .inquiry import opened
    from .report import kept

    if sheet:
        outside(sheet, gallery)
    with kept(gallery) as (_, store):
        fresh, read_only = name not in store.names(), store.database.read_only
    if read_only:
        print(
            "note: the gallery is read-only: rounds end with this chat, and the account gets no line", file=sys.stderr
        )
    with opened(gallery, name, model, k, fresh, chat=True) as session, _sheet(sheet, gallery, read_only) as place:
        _talk(Chat(session, place, as_drawn), sketch, image)
    return 0


@contextmanager
def _sheet(chosen: Path | None, gallery: str, read_only: bool) -> Iterator[Path]:
    """Where the contact sheet lies; one that was not asked for is gone afterwards."""
    if chosen:
        yield chosen
        return
    elsewhere = read_only or address_of(gallery)
    with tempfile.TemporaryDirectory(prefix="descry-") if elsewhere else nullcontext(gallery) as folder:
        place = Path(folder) / f"sheet-{secrets.token_hex(8)}.png"
        try:
            yield place
        finally:
            place.unlink(missing_ok=True)


def _talk(talk: Chat, sketch: tuple[str, ...], image: tuple[str, ...]) -> None:
    if sketch or image:
        talk.add(sketches=sketch, photos=image)
    elif talk.session.inquiry.current:
        talk.show()
    print("describe the person, or type /help; results are leads, not identifications", file=sys.stderr)
    while (line := _line()) is not None:
        try:
            if not talk.hear(line):
                break
        except DescryError as error:
            print(error, file=sys.stderr)


def _line() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return None


BARE = ("help", "quit", "exit", "undo", "redo", "chips", "tree")
"""Commands that are understood without a slash, since nobody looks like that."""
NUMBERED = ("like", "unlike", "clear", "closest", "go", "off", "flip", "drop", "why")
"""Commands that are understood without a slash when only numbers follow."""


class Chat:
    """One conversation: lines in, rounds out."""

    def __init__(self, session: Any, sheet: Path, as_drawn: bool = False):
        self.session = session
        self.sheet = sheet
        self.as_drawn = as_drawn
        self.asking = True
        self.question: Any = None
        self._asker: Any = None

    def hear(self, line: str) -> bool:
        """One line of the searcher; False to stop. Raises DescryError for what cannot be done."""
        if not line:
            return True
        if line in ("/quit", "/exit", "/q"):
            return False
        if self.session.refresh():
            self.question = None
            if self.session.inquiry.current:
                self.show()
            raise Locked("another process continued this inquiry; its newest round is shown: repeat your line")
        answer = ANSWERS.get(line.lower().rstrip(".!"))
        if self.question and answer:
            question, self.question = self.question, None
            self.session.answer(question, answer)
        elif line.lower() in BARE or _numbered(line.lower()):
            return self.hear(f"/{line.lower()}")
        elif line.startswith("/"):
            word, *rest = line[1:].split()
            if word not in self.commands():
                raise UsageError(f"there is no /{word}; /help lists what there is")
            if not self.commands()[word](rest):
                return True
        else:
            self._say(line)
        self.show()
        return True

    def commands(self) -> dict[str, Callable[[list[str]], Any]]:
        """Each /word with what it does; a true result shows the round again."""
        s = self.session
        return {
            "help": lambda rest: print(*HELP.split("\n"), sep="\n"),
            "like": lambda rest: s.mark(like=self._items(rest)),
            "unlike": lambda rest: s.mark(unlike=self._items(rest)),
            "clear": lambda rest: s.mark(clear=self._items(rest)),
            "closest": lambda rest: s.closest(self._items(rest)[0]),
            "undo": lambda rest: s.undo(),
            "redo": lambda rest: s.redo(),
            "go": lambda rest: s.go(_numbers(rest)[0]),
            "tree": lambda rest: self._tree(),
            "chips": lambda rest: self._chips(),
            "off": lambda rest: self._edit(rest, "off"),
            "flip": lambda rest: self._edit(rest, "flip"),
            "drop": lambda rest: self._edit(rest, "drop"),
            "why": lambda rest: self._why(rest),
            "ask": lambda rest: self._switch(rest),
            "sketch": lambda rest: self.add(sketches=(" ".join(rest),)),
            "image": lambda rest: self.add(photos=(" ".join(rest),)),
        }

    def add(self, **pictures: tuple[str, ...]) -> None:
        """A round with more pictures."""
        query = self.session.query
        query = query.replace(as_drawn=query.as_drawn or self.as_drawn)
        for kind, paths in pictures.items():
            for path in paths:
                if not Path(path).is_file():
                    raise UsageError(f"there is no file {path!r}")
            parts = (*getattr(query, kind), *(Path(p) for p in paths))
            query = query.replace(**{kind: parts})
        self.session.ask(query, "pictures added")
        self.show()

    def show(self) -> None:
        """The leads, as pictures where the terminal can, and the next question."""
        from ..gallery.results import contact_sheet
        from .inquiry import Leads, tell

        tell(self.session, False)
        _picture(self.sheet, lambda path: contact_sheet(Leads(self.session).leads, path))
        self._next_question()

    def _next_question(self) -> None:
        if not self.asking:
            return
        if self._asker is None:
            from ..interact.questions import Asker, vocabulary

            self._asker = Asker.of(self.session.space, self.session.model, vocabulary())
            if self._asker.why_none:
                print(self._asker.why_none, file=sys.stderr)
        leads, current = self.session.leads, self.session.inquiry.current
        found = self._asker.next(leads.everything, self.session.query, current.asked)
        self.question = found[0][0] if found else None
        if self.question:
            print(f"{self.question.text} (yes, no, don't know)")

    def _say(self, line: str) -> None:
        from .inquiry import tell_unclear

        tell_unclear((line,))
        for conflict in self.session.conflicts(line):
            print(
                f"“{conflict.new}” stands beside “{conflict.old}” ({conflict.why}?); /chips shows both", file=sys.stderr
            )
        self.session.refine(line)

    def _items(self, ranks: list[str]) -> list[int]:
        ids = self.session.inquiry.current.ids if self.session.inquiry.current else ()
        numbers = _numbers(ranks)
        for n in numbers:
            if not 1 <= n <= len(ids):
                raise UsageError(f"rank {n} was named; shown are 1 to {len(ids)}")
        return [ids[n - 1] for n in numbers]

    def _chips(self) -> None:
        from ..language import chips_of

        for n, chip in enumerate(chips_of(self.session.query), 1):
            print(f"  {n}. {chip}{'' if chip.on else '  (off)'}{f'  × {chip.weight:g}' if chip.weight != 1 else ''}")

    def _edit(self, rest: list[str], how: str) -> Any:
        from dataclasses import replace

        from ..language import Chip, chips_of

        chips, chosen = chips_of(self.session.query), set(_numbers(rest))
        if not chosen <= set(range(1, len(chips) + 1)):
            raise UsageError(f"chips are 1 to {len(chips)}; /chips shows them")
        edits: dict[str, Callable[[Chip], Chip | None]] = {
            "off": lambda c: replace(c, on=not c.on),
            "flip": lambda c: c.flipped(),
            "drop": lambda c: None,
        }
        kept = [edits[how](c) if n in chosen else c for n, c in enumerate(chips, 1)]
        return self.session.set_chips([c for c in kept if c is not None])

    def _tree(self) -> None:
        for depth, step in self.session.inquiry.shown():
            print(
                f"{'→' if step.number == self.session.inquiry.head else ' '} {'  ' * depth}{step.number}. {step.change}"
            )

    def _why(self, rest: list[str]) -> None:
        a, b = (*_numbers(rest), 1, 2)[:2] if len(rest) != 1 else (int(rest[0]), int(rest[0]) + 1)
        for kind, label, gap in self.session.leads.why(a, b):
            print(f"  {gap:+8.3f}  {'NOT ' if kind == 'not' else ''}{label}  ({kind})")

    def _switch(self, rest: list[str]) -> bool:
        self.asking = rest != ["off"]
        self.question = None
        return self.asking


def _numbered(line: str) -> bool:
    word, *rest = line.split()
    return word in NUMBERED and bool(rest) and all(r.isdecimal() for r in rest)


def _numbers(words: list[str]) -> list[int]:
    if not words or not all(w.isdecimal() and len(w) < 19 for w in words):
        raise UsageError(f"numbers are expected here, such as 1 or 2 5; got {' '.join(words)[:80] or 'nothing'}")
    return [int(w) for w in words]


def _picture(path: Path, draw: Callable[[Path], None]) -> None:
    """Show a picture in terminals with the protocol of kitty or iTerm2; elsewhere say where the file is."""
    if not sys.stdout.isatty():
        return
    draw(path)
    kitty, iterm = os.environ.get("KITTY_WINDOW_ID"), os.environ.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm")
    if not kitty and not iterm:
        return
    data = base64.b64encode(path.read_bytes()).decode()
    out = io.StringIO()
    if iterm:
        out.write(f"\x1b]1337;File=inline=1;width=100%:{data}\x07\n")
    else:
        parts = [data[i : i + 4096] for i in range(0, len(data), 4096)]
        for i, part in enumerate(parts):
            more = int(i + 1 < len(parts))
            out.write(f"\x1b_G{'a=T,f=100,' if i == 0 else ''}m={more};{part}\x1b\\")
        out.write("\n")
    print(out.getvalue(), end="", file=behind(sys.stdout))
