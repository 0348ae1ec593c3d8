"""Completion in a shell: `eval "$(descry --completion bash)"`, or zsh, or fish.

The shell runs `descry --complete` at every press of Tab, so that what it offers is always what this version has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from ..errors import UsageError, nearest
from . import GLOBAL, NOUNS, VERBS, parser_of

SHELLS = {
    "bash": 'complete -o default -C "descry --complete" descry',
    "zsh": 'autoload -U +X bashcompinit && bashcompinit && complete -o default -C "descry --complete" descry',
    "fish": "complete -c descry -a '(COMP_LINE=(commandline -cp) descry --complete)'",
}


def script(shell: str) -> str:
    """The line that a shell evaluates to complete descry. UsageError for a shell that is not known."""
    if shell not in SHELLS:
        raise UsageError(f"there is no completion for {shell or 'no shell'!r}; {nearest(shell, list(SHELLS))}")
    return SHELLS[shell]


def offered() -> str:
    """What may follow the line that the shell hands over in COMP_LINE, one a line; nothing where files follow."""
    line = os.environ.get("COMP_LINE", "")
    point = os.environ.get("COMP_POINT", "")
    return "\n".join(candidates(line[: int(point)] if re.fullmatch("[0-9]{1,9}", point) else line))


def candidates(line: str) -> list[str]:
    """The words that may stand at the end of a line, in the order of the help.

    >>> candidates("descry gallery rel")
    ['relocate']
    """
    words = line.split()[1:]
    begun = "" if line[-1:].isspace() or not words else words.pop()
    return [word for word in _following(words) if word.startswith(begun) and (begun or not word.startswith("-"))]


def _following(words: list[str]) -> Iterable[str]:
    if not words:
        return [*dict.fromkeys(verb.split()[0] for verb in VERBS), *GLOBAL, "--help", "--version"]
    if words[0] in NOUNS and len(words) == 1:
        return [verb.split()[1] for verb in NOUNS[words[0]]]
    verb = " ".join(words[:2]) if words[0] in NOUNS else words[0]
    if verb not in VERBS:
        return []
    actions = parser_of(verb)._actions
    chosen = next((a for a in actions if words[-1] in a.option_strings and a.choices), None)
    if chosen:
        return [str(choice) for choice in chosen.choices or ()]
    return [*(x for action in actions for x in action.option_strings if x.startswith("--")), *GLOBAL]
