"""The command line: `descry VERB …`. One file per subject; each verb is a typed function whose docstring is its help.

The table below is all that `descry --help` reads: no verb's module is imported before it is called, so help is instant.
"""

from __future__ import annotations

import gc
import io
import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from importlib import import_module
from threading import current_thread, main_thread
from typing import Any

from .. import __version__
from ..errors import DescryError, UsageError, install_hint, nearest

# verb → (module:function, help line), in groups; a verb of two words is "noun verb"
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Start": {
        "demo": ("descry_people.demo:demo", "draw a small gallery of synthetic people, index it and search it"),
        "model get": ("model:get", "fetch a pretrained CLIP for real photographs and remember it"),
        "crop": ("crop:crop", "cut people out of video files and full frames"),
        "index": ("index:index", "index folders of crops"),
        "search": ("search:search", "search a gallery by words, sketch, photograph, or several of them"),
        "sketch compose": ("sketch:compose", "draw a person from remembered parts, and describe it in phrases"),
        "serve": ("serve:serve", "open a gallery as a web page: draw, describe, refine"),
        "ready": ("ready:ready", "keep a process ready, so that searches start faster"),
        "doctor": ("doctor:doctor", "what this machine can do, and one line of advice for each problem"),
    },
    "Search in rounds": {
        "inquiry new": ("inquiry:new", "begin an inquiry: rounds of search that are kept"),
        "inquiry refine": ("inquiry:refine", "add words"),
        "inquiry mark": ("inquiry:mark", "mark leads as close, or as not the person"),
        "inquiry ask": ("inquiry:ask", "the questions whose answers would narrow the search most"),
        "inquiry answer": ("inquiry:answer", "answer a question: yes, no or unknown"),
        "inquiry undo": ("inquiry:undo", "go back to the round before"),
        "inquiry redo": ("inquiry:redo", "go forward again"),
        "inquiry go": ("inquiry:go", "go to any round"),
        "inquiry show": ("inquiry:show", "the current round and its leads"),
        "inquiry why": ("inquiry:why", "why one lead ranks above another"),
        "inquiry list": ("inquiry:list_", "the inquiries of a gallery"),
        "inquiry replay": ("inquiry:replay", "whether every round still gives the same order"),
        "inquiry export": ("inquiry:export", "all rounds as JSON"),
        "inquiry delete": ("inquiry:delete", "remove an inquiry, or one round with what followed"),
        "chat": ("chat:chat", "converse with a gallery in the terminal"),
        "finding": ("report:finding", "mark an item for follow-up, or set it aside, and say why"),
        "report": ("report:report", "write a report of an inquiry: HTML, JSON or CSV"),
        "keep": ("report:keep", "how long an inquiry is kept"),
        "purge": ("report:purge", "remove inquiries and items, and every byte of them"),
        "audit verify": ("report:audit_verify", "whether the account of a gallery was changed"),
        "audit export": ("report:audit_export", "export the account of a gallery, and show its head"),
    },
    "Galleries": {
        "gallery info": ("gallery:info", "what a gallery holds"),
        "gallery inspect": ("gallery:inspect", "what a folder that somebody gave you contains"),
        "gallery list": ("gallery:list_", "the items of a gallery"),
        "gallery frame": ("gallery:frame", "from an item back to the footage it was cut from"),
        "gallery delete": ("gallery:delete", "remove items, or a whole gallery"),
        "gallery relocate": ("gallery:relocate", "follow pictures whose folder moved, without encoding them again"),
        "gallery convert": ("gallery:convert", "make a gallery of this format from one of format 1"),
        "gallery allow": ("gallery:allow", "let galleries show the pictures below a folder"),
        "gallery calibrate": ("absence:calibrate", "learn when to say “probably not in this gallery”"),
        "verify": ("index:verify", "look for bytes of a gallery that have changed"),
        "compact": ("index:compact", "free the space of removed items"),
        "merge": ("index:merge", "join galleries that were indexed in shards"),
        "migrate": ("descry_stores.cli:migrate", "copy a gallery into PostgreSQL or Milvus"),
    },
    "Models": {
        "train": ("train:train", "train a method"),
        "evaluate": ("evaluate:evaluate", "rank metrics of a model on a data set"),
        "compare": ("evaluate:compare", "whether two results differ: paired test over identities"),
        "plot": ("descry_lab.cli.plot:plot", "figures: rank grids, curves, maps, bars"),
        "model info": ("model:info", "what a model holds and costs"),
        "model measure": ("descry_lab.cli.model:measure", "measure which words a model can read, on labelled data"),
        "model compose": ("descry_lab.cli.model:compose", "choose on validation how sketch and words are joined"),
        "model card": ("model:card", "write a model card from a run folder and its results"),
        "model pack": ("model:pack", "write the part of a run folder that others need"),
        "convert": ("model:convert", "turn a published checkpoint into a run folder"),
        "export": ("model:export", "write the encoders for ONNX Runtime or OpenVINO"),
    },
    "Data": {
        "data check": ("data:check", "whether a data set is whole, and which of its variants it is"),
        "data import": ("data:import_", "make a data set from a folder and one table"),
        "data leaks": ("data:leaks", "find photographs that two data sets share"),
        "data list": ("data:list_", "the data sets that can be read, and how to obtain them"),
        "data miniature": ("descry_people.cli:miniature", "write a tiny valid tree of a data set's format"),
        "data sketch": ("data:sketch", "draw sketches from the photographs of a folder"),
        "data splits": ("data:splits", "write down the ten generated splits of PKU-Sketch"),
        "data stats": ("data:stats", "caption lengths, and how many exceed the encoder's limit"),
        "people": ("descry_people.cli:people", "write a data set of synthetic people"),
        "simulate": ("descry_lab.cli.simulate:simulate", "let simulated witnesses answer, and measure"),
    },
}
VERBS = {verb: row for group in GROUPS.values() for verb, row in group.items()}
NOUNS = {noun: [v for v in VERBS if v.startswith(f"{noun} ")] for noun in {v.split()[0] for v in VERBS if " " in v}}

RENAMED = {"finding": "GALLERY NAME", "report": "GALLERY NAME", "keep": "GALLERY [NAME]"}
"""Verbs whose gallery was an option until version 0.2; --gallery is still read, with a note, until version 0.3."""

HELP = ("-h", "--help")


EXITS = {
    0: "done",
    1: "failed",
    2: "wrong usage, or a path that is not there",
    3: "files were skipped (--strict)",
    4: "model refused",
    5: "gallery damaged or made by another model",
    6: "another process is writing",
    130: "interrupted",
}
"""The exit statuses of every command; `errors` says which error has which."""
GLOBAL = {
    "--quiet": "print nothing but the result, unless the command fails",
    "--verbose": "say at the end how much time and memory it took",
    "--traceback": "show where an unexpected error came from",
}
"""Options that every command takes, anywhere on the line."""
SHORT = {"-q": "--quiet", "-v": "--verbose"}


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status (see EXITS). Options of GLOBAL may stand anywhere before `--`."""
    args = list(sys.argv[1:] if argv is None else argv)
    end = args.index("--") if "--" in args else len(args)
    given = {SHORT.get(a, a) for a in args[:end]} & {*GLOBAL}
    args = [a for a in args[:end] if SHORT.get(a, a) not in GLOBAL] + args[end:]
    held = io.StringIO() if "--quiet" in given else None
    begun, stderr, status = time.perf_counter(), sys.stderr, 1
    before = os.umask(0o077)  # all that is written is about people: others of this machine read none of it
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # redirected output may not be able to hold every name
            stream.reconfigure(errors="backslashreplace")
    try:
        with redirect_stderr(held) if held else nullcontext(), _interruptible():
            status = _run(args)
    except BrokenPipeError:
        status = 0
    except KeyboardInterrupt:
        print("descry: interrupted; what was committed is kept", file=sys.stderr)
        status = 130
    except Exception as error:
        if "--traceback" in given:
            raise
        from ..escape import line  # a name in it may hold what a terminal obeys

        print(f"descry: {line(_said(error))}", file=sys.stderr)
        status = error.exit_status if isinstance(error, DescryError) else 2 if _half(error) else 1
    finally:
        os.umask(before)
        if held and status:
            stderr.write(held.getvalue())
    if "--verbose" in given:
        print(_cost(time.perf_counter() - begun), file=stderr)
    return status


@contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, an error is KeyboardInterrupt when Ctrl-C caused it: some libraries make an error of their own of it."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or current_thread() is not main_thread():
        yield  # somebody else looks after Ctrl-C
        return
    came = []

    def stop(number: int, frame: Any) -> None:
        came.append(number)
        if decoding := sys.modules.get("descry.decoding"):
            decoding.interrupt()
        raise KeyboardInterrupt

    if decoding := sys.modules.get("descry.decoding"):
        decoding.stopped.clear()
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    except Exception:
        if came:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _cost(seconds: float) -> str:
    """What the process took so far, for --verbose."""
    said = f"{seconds:.1f} s, {time.process_time():.1f} CPU seconds"
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return said
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{said}, at most {most / 1e6:.0f} MB of memory"


def _half(error: Exception) -> bool:
    """Whether a text that was given holds half of a character, as a terminal of another encoding makes it."""
    return isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason


def _said(error: Exception) -> str:
    """An error as one line that says what was given and what to do next."""
    if isinstance(error, DescryError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        what = os.strerror(error.errno)
        named = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        return f"{named}{what}; check the path, its permissions and the disk, then repeat"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package {error.name} is not installed; {install_hint()}"
    if isinstance(error, ValueError) and "null byte" in str(error):
        return "a path that was given holds a null byte, which no file has in its name; check the path"
    if isinstance(error, UnicodeEncodeError) and _half(error):
        return f"a text that was given holds half of a character: {error.object!r:.60}; is the terminal UTF-8?"
    kind = type(error).__name__
    return f"unexpected {kind}: {error}; repeat with --traceback to see where, and please report it"


def _run(args: list[str]) -> int:
    if not args or args[0] in HELP:
        print(overview())
        return 0 if args else 2
    if args[0] in ("--completion", "--complete"):
        from . import completion

        print(completion.script("".join(args[1:2])) if args[0] == "--completion" else completion.offered())
        return 0
    if args[0] in ("--version", "-V", "version"):
        print(f"descry {__version__}")
        return 0
    if args[0] == "help":
        return _run([*args[1:], "--help"])
    noun = args[0] if args[0] in NOUNS else ""
    if noun and (len(args) == 1 or args[1] in HELP):
        print(overview(noun))
        return 0 if len(args) > 1 else 2
    verb = " ".join(args[:2]) if noun else args[0]
    if verb not in VERBS:
        print(f"descry: {_unknown(noun, verb)}", file=sys.stderr)
        return 2
    import tyro

    from .machine import checked, named

    if os.environ.get("NO_COLOR"):
        tyro._experimental_options["ansi_codes"] = False
    args = args[len(verb.split()) :]
    if args[:1] == [""]:  # as of a variable that was never set; a path would be read as the present folder
        raise UsageError(f"the first argument of descry {verb} is empty; write it out, with ./ for the present folder")
    args = _renamed(verb, args) if verb in RENAMED else args
    function = function_of(verb)
    if not args or {*args} & {*HELP}:  # a search that goes right need not know what its arguments are called
        named(function)
    try:
        status = tyro.cli(checked(function), prog=f"descry {verb}", args=args, config=(tyro.conf.UseAppendAction,))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    return status if isinstance(status, int) else 0


def _unknown(noun: str, verb: str) -> str:
    """What to say of a command that does not exist: the nearest that does."""
    if noun:
        return f"there is no action {verb.removeprefix(noun).strip()!r}; {nearest(verb, NOUNS[noun])}"
    close = nearest(verb, [v for v in VERBS if " " not in v] + sorted(NOUNS)).partition(" allowed: ")[0]
    return f"there is no command {verb!r};{'' if close.startswith('allowed:') else f' {close}'} see descry --help"


def _renamed(verb: str, args: list[str]) -> list[str]:
    """Arguments in today's order where an earlier one was given."""
    at = next((n for n, a in enumerate(args) if a.partition("=")[0] == "--gallery"), None)
    if at is None:
        return args
    print(f"note: --gallery is going to be dropped; write descry {verb} {RENAMED[verb]}", file=sys.stderr)
    _, equals, value = args[at].partition("=")
    taken = 1 if equals else 2
    return [value if equals else (args[at + 1 : at + 2] or [""])[0], *args[:at], *args[at + taken :]]


def function_of(verb: str) -> Callable[..., int]:
    """The function of a verb. Modules of other packages (the synthetic people, the laboratory) are named in full."""
    module, _, name = VERBS[verb][0].partition(":")
    function: Callable[..., int] = getattr(import_module(module if "." in module else f"{__name__}.{module}"), name)
    return function


def parser_of(verb: str) -> Any:
    """The parser of a verb, for what tells of its options."""
    import warnings

    import tyro

    from .machine import named

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return tyro.extras.get_parser(
            named(function_of(verb)), prog=f"descry {verb}", config=(tyro.conf.UseAppendAction,)
        )


def overview(noun: str = "") -> str:
    """The commands in groups, a line each; only those of a noun when one is given. As wide as the terminal."""
    columns = max(40, shutil.get_terminal_size((100, 24)).columns)
    about = "descry: find a person from a sketch, words, or both. Results are leads, never identifications."
    lines = [*textwrap.wrap(about, columns), "", "usage: descry VERB …", "       descry VERB --help explains one", ""]
    options = {o: text for o, text in GLOBAL.items() if o not in SHORT.values()}
    options = {f"{short}, {o}": GLOBAL[o] for short, o in SHORT.items()} | options
    options["--completion SHELL"] = "print what makes bash, zsh or fish complete descry"
    rows = {
        g: {v: text for v, (_, text) in verbs.items() if v in NOUNS.get(noun, verbs)} for g, verbs in GROUPS.items()
    }
    rows |= {"with every command": options, "exit status": {str(n): text for n, text in EXITS.items()}}
    width = max(len(name) for group in rows.values() for name in group)
    for group, shown in rows.items():
        lines += [f"{group}:", *_beside(shown, columns, width), ""] if shown else []
    return "\n".join(lines[:-1])


def _beside(rows: dict[str, str], columns: int, width: int) -> list[str]:
    """Names with what is said of them beside them, or below them where the terminal is narrow."""
    lines = []
    for name, text in rows.items():
        if columns < width + 34:
            lines += [f"  {name}", *textwrap.wrap(text, columns, initial_indent="      ", subsequent_indent="      ")]
        else:
            rest = " " * (width + 4)
            lines += textwrap.wrap(text, columns, initial_indent=f"  {name:<{width}}  ", subsequent_indent=rest)
    return lines


def entry() -> None:
    """The console script."""
    from .resident import elsewhere

    status = elsewhere(sys.argv[1:])
    status = main() if status is None else status
    gc.freeze()  # a last look for garbage among all that was imported would take longer than it frees
    sys.exit(status)
