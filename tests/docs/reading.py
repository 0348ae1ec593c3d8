"""The documentation as data: its code blocks, and the commands that it names."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from descry.cli import GLOBAL, SHORT, VERBS, parser_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
BLOCK = re.compile(r"^(?:<!-- not run: (?P<why>[^\n]*?) -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`(descry [^`]+)`")


@dataclass(frozen=True)
class Block:
    """One fenced block. why: the reason for which it is not run, "" for none."""

    kind: str
    code: str
    why: str

    @property
    def lines(self) -> list[str]:
        """Its commands: continued lines joined, prompts and comments left out."""
        joined = self.code.replace("\\\n", " ")
        return [line.removeprefix("$ ") for line in joined.splitlines() if line.strip() and line[0] != "#"]


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    found = BLOCK.finditer(page.read_text("utf-8"))
    return [Block(m["kind"], m["code"], m["why"] or "") for m in found]


def named(page: Path) -> list[str]:
    """The commands that are only named: in the text, and in blocks that are shown and not run."""
    text = page.read_text("utf-8")
    out = [" ".join(found.split()) for found in INLINE.findall(BLOCK.sub("", text))]
    for block in blocks(page):
        if block.why or block.kind not in ("bash", "python"):
            out += [line for line in block.lines if line.startswith(("descry ", "torchrun "))]
    return out


@cache
def options(verb: str) -> frozenset[str]:
    """Every option of a command."""
    return frozenset(x for action in parser_of(verb)._actions for x in action.option_strings) | {*GLOBAL, *SHORT}


def fault(command: str) -> str:
    """What is wrong with a command that is only named: an unknown verb or option; "" for nothing."""
    try:
        words = shlex.split(command.partition("   ")[0], comments=True)
    except ValueError:
        words = command.split()
    words = words[words.index("descry") + 1 :]
    nouns = {v.split()[0] for v in VERBS if " " in v}
    if not words or words[0].startswith("-") or words[0] in ("VERB", "…"):
        return ""
    verb = " ".join(words[:2]) if words[0] in nouns else words[0]
    if words[0] in nouns and (len(words) == 1 or words[1] in ("…", "...")):
        return ""
    if verb not in VERBS:
        return f"there is no command {verb!r}"
    given = [w.strip("[],;").partition("=")[0] for w in words if w.strip("[").startswith("-")]
    unknown = [w for w in given if re.fullmatch(r"--?[a-z][\w-]*", w) and w not in options(verb)]
    return f"{verb} has no {', '.join(unknown)}" if unknown else ""
