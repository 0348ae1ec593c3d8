"""What MkDocs does not do by itself for the documentation: equations, the command reference, links out of docs/.

* `$…$` and `$$…$$` become MathML, which browsers draw without a script or a font from elsewhere.
* commands.md is made from the parsers of the command line: `python tools/pages.py` writes it, and a test compares them.
* notebook.md is made from the notebook of recipes/.
* A link to a file of the repository outside docs/ becomes the file's name: it must exist, but is no page of the site.
* Addresses that the theme's scripts hold for features not used here are taken out, so that nothing can call them.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOG = logging.getLogger("mkdocs.hooks.pages")
FENCE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[ ]*$)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`[^`\n]+`)")
BLOCK = re.compile(r"^\$\$\n?(.+?)\n?\$\$$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<![\\$\w])\$(?=\S)([^$\n]+?)(?<=\S)\$(?![\w$])")
OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(#[^)]*)?\)")
ADDRESS = re.compile(r"https://(?:unpkg\.com|cdn\.jsdelivr\.net|api\.github\.com|gitlab\.com)[^\"'`\s)]*")


def on_files(files: Any, config: Any) -> Any:
    """Add the notebook."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "notebook.md", content=notebook(ROOT / "recipes" / "first_search.ipynb")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Equations and links, outside of code."""
    parts = FENCE.split(markdown)
    return "".join(part if i % 2 else _prose(part, page.file.src_uri) for i, part in enumerate(parts))


def on_post_build(config: Any) -> None:
    """Take addresses out of the theme's scripts, and drop their source maps."""
    for path in Path(config["site_dir"]).glob("assets/**/*.js"):
        text = path.read_text("utf-8")
        bare = re.sub(r"^//# sourceMappingURL=.*$", "", ADDRESS.sub("about:blank", text), flags=re.MULTILINE)
        if bare != text:
            path.write_text(bare, "utf-8")
    for path in Path(config["site_dir"]).glob("assets/**/*.map"):
        path.unlink()


def _prose(text: str, page: str) -> str:
    parts = CODE.split(OUTSIDE.sub(lambda found: _outside(found, page), text))
    return "".join(part if i % 2 else _equations(part) for i, part in enumerate(parts))


def _equations(text: str) -> str:
    text = BLOCK.sub(lambda m: f'<div class="equation">{mathml(m[1], "block")}</div>', text)
    return INLINE.sub(lambda m: mathml(m[1], "inline"), text)


def _outside(found: re.Match[str], page: str) -> str:
    """The name of a file outside docs/ in place of a link to it."""
    if not (ROOT / "docs" / found[2]).resolve().exists():
        LOG.warning("%s links to %s, which does not exist", page, found[2])
    name = found[1].strip("`")
    return f"`{name}`" if "." in name and " " not in name else name


def mathml(latex: str, display: str) -> str:
    """One line of MathML."""
    from latex2mathml.converter import convert

    return convert(" ".join(latex.split()), display=display).replace("\n", "")


def notebook(path: Path) -> str:
    """The cells of a notebook as a page; what they print is not kept in it."""
    out = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        out.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(out) + f"\n\n*This page is [the notebook](../recipes/{path.name}).*\n"


def commands() -> str:
    """The page of all commands, made from their parsers."""
    from descry.cli import EXITS, GLOBAL, SHORT, VERBS

    short = {long: letter for letter, long in SHORT.items()}
    lines = ["# Commands", "", "This page is generated from the command line; `descry VERB --help` says the same.", ""]
    lines += ["Every command also takes these options:", "", "| | |", "|---|---|"]
    lines += [f"| {f'`{short[o]}` ' if o in short else ''}`{o}` | {text} |" for o, text in GLOBAL.items()]
    lines += ["", "and exits with one of these statuses:", "", "| status | meaning |", "|---|---|"]
    lines += [f"| {number} | {text} |" for number, text in EXITS.items()]
    lines += ["", "`NO_COLOR=1` turns colours off. Completion of commands and options in a shell:", ""]
    lines += [
        "| shell | line to add to its start-up file |",
        "|---|---|",
        '| bash | `eval "$(descry --completion bash)"` |',
    ]
    lines += ['| zsh | `eval "$(descry --completion zsh)"` |', "| fish | `descry --completion fish \\| source` |", ""]
    for verb, (_, said) in VERBS.items():
        lines += [f"## descry {verb}", "", *_command(verb, said)]
    return "\n".join(lines) + "\n"


def _command(verb: str, said: str) -> Iterator[str]:
    from descry.cli import parser_of

    parser = parser_of(verb)
    yield from (_escaped(parser.description or said).strip(), "")
    yield from ("| | takes | |", "|---|---|---|")
    for action in parser._actions:
        if "-h" not in action.option_strings:
            yield _option(action)
    yield ""


def _option(action: argparse.Action) -> str:
    names = " ".join(f"`{x}`" for x in action.option_strings) or f"`{action.dest.strip('_').upper()}`"
    takes = action.metavar if action.option_strings and isinstance(action.metavar, str) else ""
    help_ = action.help if isinstance(action.help, str) else str(action.help or "")
    help_ = re.sub(r" \(default: (?:''|None|False)?\)", "", re.sub(r"\x1b\[[0-9;]*m", "", help_))
    return f"| {names} | {_escaped(takes)} | {_escaped(' '.join(help_.split()))} |"


def _escaped(text: str) -> str:
    return re.sub(r"([|*_<>\[\]{}$])", r"\\\1", re.sub(r"\x1b\[[0-9;]*m", "", text))


if __name__ == "__main__":
    (ROOT / "docs" / "commands.md").write_text(commands(), "utf-8")
