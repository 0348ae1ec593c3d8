"""The command line: `descry VERB …`. One file per noun; each verb is a typed function whose docstring is its help.

The table below is all that `descry --help` reads: no verb's module is imported before it is called, so help is instant.
"""

from __future__ import annotations

import sys
from importlib import import_module

from .. import __version__
from ..errors import DescryError, nearest

# verb → (module:function, help line); a verb of two words is "noun verb"
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("demo:demo", "draw a small gallery of synthetic people, index it and search it"),
    "people": ("people:people", "write a data set of synthetic people"),
    "data check": ("data:check", "say whether a data set is whole, and which of its variants it is"),
    "data import": ("data:import_", "make a data set from a folder and one table"),
    "data leaks": ("data:leaks", "find photographs that two data sets share"),
    "data list": ("data:list_", "the data sets that can be read, and how to obtain them"),
    "data miniature": ("data:miniature", "write a tiny valid tree of a data set's format"),
    "data sketch": ("data:sketch", "draw sketches from the photographs of a folder"),
    "data splits": ("data:splits", "write down the ten generated splits of PKU-Sketch"),
    "data stats": ("data:stats", "caption lengths, and how many exceed the encoder's limit"),
    "train": ("train:train", "train a method"),
    "evaluate": ("evaluate:evaluate", "rank metrics of a model on a data set"),
    "model compose": ("compose:compose", "choose on validation how sketch and words are joined"),
    "compare": ("compare:compare", "whether two results differ: paired test over identities"),
    "plot": ("plot:plot", "figures: rank grids, curves, maps, bars"),
    "model pack": ("pack:pack", "write the part of a run folder that others need"),
    "model card": ("card:card", "write a model card from a run folder and its results"),
    "model info": ("model:info", "what a run folder holds and costs"),
    "convert": ("model:convert", "turn a published checkpoint into a run folder"),
    "export": ("store:export", "write the encoders for ONNX Runtime or OpenVINO"),
    "crop": ("crop:crop", "cut the people out of recorded video or full frames"),
    "index": ("index:index", "index folders of crops"),
    "search": ("search:search", "search a gallery by sketch, photograph, words, or several of them"),
    "serve": ("serve:serve", "open a gallery as a page: draw, say, refine"),
    "gallery info": ("gallery:info", "what a gallery holds"),
    "gallery list": ("gallery:list_", "the items of a gallery"),
    "gallery frame": ("gallery:frame", "from an item back to the footage it was cut from"),
    "gallery delete": ("gallery:delete", "remove items, or a whole gallery"),
    "gallery relocate": ("gallery:relocate", "follow pictures whose folder moved, without encoding them again"),
    "gallery calibrate": ("inquiry:calibrate", "fit the decision “probably not in this gallery”"),
    "verify": ("store:verify", "look for bytes of a gallery that have changed"),
    "compact": ("store:compact", "give back the space of removed items"),
    "migrate": ("store:migrate", "copy a gallery into a distributed store"),
    "merge": ("store:merge", "join galleries that were indexed in shards"),
    "inquiry": ("inquiry:inquiry", "rounds of search that are kept: new, refine, mark, undo, show, replay, export"),
    "finding": ("report:finding", "say of an item: worth following, or set aside, and why"),
    "report": ("report:report", "write an inquiry down: HTML, JSON or CSV"),
    "keep": ("report:keep", "how long an inquiry is kept"),
    "purge": ("purge:purge", "remove inquiries and items so that no byte of them is left"),
    "audit verify": ("audit:verify", "whether the account of a gallery is as it was written"),
    "audit export": ("audit:export", "copy the account of a gallery, and show its head"),
    "chat": ("inquiry:chat", "converse with a gallery in the terminal"),
    "simulate": ("inquiry:simulate", "let simulated witnesses answer, and measure"),
    "doctor": ("doctor:doctor", "what this machine can do, and one line of advice for each problem"),
}

HELP = ("-h", "--help")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 2 usage, 130 interrupted, others as in errors.py."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(args)
    except DescryError as error:
        print(f"descry: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("descry: interrupted; what was committed is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def _run(args: list[str]) -> int:
    if not args or args[0] in HELP:
        print(overview())
        return 0 if args else 2
    if args[0] == "--version":
        print(f"descry {__version__}")
        return 0
    nouns = {verb.split()[0] for verb in VERBS if " " in verb}
    verb = " ".join(args[:2]) if args[0] in nouns else args[0]
    if args[0] in nouns and (len(args) == 1 or args[1] in HELP):
        print(overview(args[0]))
        return 0 if len(args) > 1 else 2
    if verb not in VERBS:
        known = [v for v in VERBS if v.startswith(f"{args[0]} ")] if args[0] in nouns else list(VERBS)
        print(f"descry: there is no command {verb!r}; {nearest(verb, known)}", file=sys.stderr)
        return 2
    return _call(verb, args[len(verb.split()) :])


def _call(verb: str, args: list[str]) -> int:
    import tyro

    module, _, name = VERBS[verb][0].partition(":")
    function = getattr(import_module(f"{__name__}.{module}"), name)
    try:
        status = tyro.cli(function, prog=f"descry {verb}", args=args, config=(tyro.conf.UseAppendAction,))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    return status if isinstance(status, int) else 0


def overview(noun: str = "") -> str:
    """The commands, a line each; only those of a noun when one is given."""
    shown = {v: h for v, (_, h) in VERBS.items() if not noun or v.startswith(f"{noun} ")}
    width = max(map(len, shown))
    head = "descry: find a person from a sketch, words, or both. Results are leads, never identifications.\n\n"
    lines = "\n".join(f"  {verb:<{width}}  {text}" for verb, text in shown.items())
    return f"{head}usage: descry VERB …      descry VERB --help explains one\n\n{lines}"


def entry() -> None:
    """The console script."""
    sys.exit(main())
