"""Every place of the source that opens a file, starts a process, answers with what is personal, or could run what it
reads: listed by code, so that a new one is noticed and has to be judged."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from conftest import toy_words, write_run
from crafted import DEEP, sparse
from descry.cli import main
from descry.convert import _OpenClip
from descry.errors import DataError, ModelRefused, UsageError
from descry.footage.cropping import STATE, remove
from descry.footage.origin import origin_of
from descry.gallery.account import Audit
from descry.gallery.contract import Binding
from descry.gallery.local import LocalStore
from descry.listing import TABLE
from descry.training.state import Log
from descry_people.folder import write_people
from descry_people.read import read_people

SOURCE = Path(__file__).parent.parent / "src"
HELPERS = "descry.safe_files"
MODULES = {
    "PIL.Image": {"open"}, "av": {"open"}, "builtins": {"open"}, "gzip": {"open"}, "io": {"open", "open_code"},
    "json": {"load", "dump"}, "numpy": {"load", "save", "savez", "savez_compressed", "memmap", "fromfile", "loadtxt"},
    "numpy.lib.format": {"open_memmap"}, "onnx": {"load", "save"}, "safetensors": {"safe_open"},
    "safetensors.torch": {"load_file", "save_file"}, "sqlite3": {"connect"}, "tarfile": {"open"},
    "torch": {"load", "save"}, "zipfile": {"ZipFile"},
    "os": {"fdopen", "link", "open", "remove", "removedirs", "rename", "renames", "replace", "rmdir", "symlink",
           "truncate", "unlink"},
    "shutil": {"copy", "copy2", "copyfile", "copytree", "make_archive", "move", "rmtree", "unpack_archive"},
}  # fmt: skip
"""Functions that open, write, move or remove a file by its path."""
METHODS = {
    "hardlink_to", "open", "read_bytes", "read_text", "rename", "rmdir", "save", "symlink_to", "tofile", "touch",
    "unlink", "write_bytes", "write_text",
}  # fmt: skip
"""The same of paths, pictures and arrays."""
NO_FILES = {"Gallery", "gallery", "webbrowser"}
"""What has a method `open` that goes through the store, or opens no file."""
STARTS = {
    "subprocess": None, "multiprocessing": {"get_context", "Pool", "Process"}, "concurrent.futures": {
        "ProcessPoolExecutor"}, "torch.distributed": {"init_process_group"}, "torch.multiprocessing": None,
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"}, "pty": None,
}  # fmt: skip
"""Functions that start a process, or meet others; None: every one."""
OS_STARTS = ("exec", "fork", "popen", "posix_spawn", "spawn", "startfile", "system")


class Module:
    """A file of the source, its names resolved: `np.load` is numpy.load, a bare `open` is builtins.open."""

    def __init__(self, path: Path):
        self.name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        self.known: dict[str, str] = {}
        self.lists: dict[str, ast.List] = {}
        found: list[tuple[str, ast.Call]] = []
        waiting: list[tuple[ast.AST, str]] = [(ast.parse(path.read_text("utf-8")), "")]
        while waiting:
            node, within = waiting.pop()
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    self.known[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                base = "." * node.level + (node.module or "")
                self.known |= {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Call):
                found.append((f"{self.name}:{within or '-'}", node))
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
                self.lists |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                within = f"{within}.{node.name}".lstrip(".")
            for child in ast.iter_child_nodes(node):
                if not isinstance(child, (ast.Name, ast.Constant, ast.expr_context, ast.operator)):
                    waiting.append((child, within))
        self.calls = [(place, self.resolved(call.func), call) for place, call in reversed(found)]
        """(module:function, resolved name, call) of every call. A method of what has no name begins with "()."."""

    def resolved(self, func: ast.expr) -> str:
        parts: list[str] = []
        while isinstance(func, ast.Attribute):
            parts.append(func.attr)
            func = func.value
        if not isinstance(func, ast.Name):
            return ".".join(["()", *reversed(parts)])
        first = self.known.get(func.id, func.id if parts else f"builtins.{func.id}")
        return ".".join([first, *reversed(parts)])


@cache
def modules() -> tuple[Module, ...]:
    return tuple(Module(path) for path in sorted(SOURCE.rglob("*.py")))


def opens(module: Module, name: str, call: ast.Call) -> bool:
    """Whether a call opens, writes, moves or removes a file, not through the helpers of safe_files."""
    base, _, last = name.rpartition(".")
    if last in MODULES.get(base, ()):
        return True
    method = isinstance(call.func, ast.Attribute) and base not in MODULES
    if method and last == "replace":  # of a path: a text's has two arguments, a date's has names
        return len(call.args) == 1 and not call.keywords
    return method and last in METHODS and not NO_FILES & {base.rpartition(".")[2], base.split(".")[0]}


def starts(module: Module, name: str, call: ast.Call) -> bool:
    """Whether a call starts a process."""
    base, _, last = name.rpartition(".")
    if base == "os":
        return last.startswith(OS_STARTS)
    return base in STARTS and (STARTS[base] is None or last in STARTS[base])


def places(kind) -> dict[str, list[str]]:
    """module:function → what it calls."""
    found: dict[str, list[str]] = {}
    for module in modules():
        if module.name != HELPERS:
            for place, name, call in module.calls:
                if kind(module, name, call):
                    found.setdefault(place, []).append(f"line {call.lineno}: {name}")
    return found


def judged(reasons: dict[str, str]) -> dict[str, str]:
    """place → why it is safe."""
    pairs = [(place, reason) for reason, listed in reasons.items() for place in listed.split()]
    assert len(pairs) == len(dict(pairs)), "a place is listed twice"
    return dict(pairs)


def check(found: dict[str, list[str]], reasons: dict[str, str], table: str, advice: str) -> None:
    known = judged(reasons)
    new = [f"{place} ({', '.join(calls)})" for place, calls in found.items() if place not in known]
    assert not new, f"not judged yet: {'; '.join(new)}. {advice}, or add it to {table} with the reason why it is safe"
    gone = sorted(known.keys() - found.keys())
    assert not gone, f"{table} lists what is not there any more; remove {', '.join(gone)}"


FILES = {
    "a file that the package brings": """
        descry.language:language descry.report.redaction:_vocabulary descry_people.benchmark:manifest""",
    "bytes in memory, or an object that opens files through helpers": """
        descry.cli.absence:calibrate descry.cli.data:leaks descry.client:Client.upload descry.gallery.results:sheet_html
        descry.images:_opened descry.images:write descry.interact.session:Session._saving descry.report.page:_address
        descry.text:_unpacked descry.checkpoint:save_model
        descry.web.api.description:compose descry.web.api.items:_jpeg descry.web.api.items:kept
        descry.web.desk:Desk.begin""",
    "a database in memory": """
        descry.gallery.database:foreign_schema descry.gallery.database:MemoryDatabase.__init__
        descry.gallery.inspecting:_tables""",
    "a file of a run folder or CLIP folder: read_config refused its links, or it was named; only safetensors": """
        descry.checkpoint:load_method descry.checkpoint:read_tensors
        descry.checkpoint:load_training descry.clip_files:_weights""",
    "log.jsonl of a run folder, whose links are refused when the log is begun": """
        descry.training.state:Log.__init__ descry.training.state:Log.write""",
    "a file that this user named to be read": """
        descry.convert:read_state descry.convert:digest_of_files
        descry.footage.detecting:_mot descry.footage.reading:_opened
        descry.interact.questions:vocabulary descry.interact.store:frozen
        descry.studies.matrices:read_scores descry.web.serving:serve descry_lab.cli.plot:_rounds""",
    "a file that this user named to be written": """
        descry_people.miniature:save""",
    "a new or named folder of this user's results": """
        descry.data.pku_sketch:write_splits descry.data.sketches:_one descry.export:quantised descry.export:export
        descry.export:_write descry.studies.ledger:append descry_people.demo:demo
        descry_people.cli:miniature descry_people.miniature:write_miniature descry_people.miniature:_dump
        descry_people.miniature:_pku descry_people.video:write_videos descry_people.video:_writing.__init__""",
    "a temporary or partial folder of ours": """
        descry.cli.chat:_sheet descry.cli.chat:_picture descry.convert:_folder descry.convert:get_model
        descry.gallery.merge:merge descry.encoders:_onnx""",
    "an unfinished collection in a Milvus file that this user named to be written; only if nothing else is in it": """
        descry_stores.milvus:MilvusStore._clear_half_made""",
    "of a gallery of format 1, whose links were refused; SQLite opens a private copy": """
        descry.gallery.conversion:convert descry.gallery.conversion:_copy
        descry.gallery.conversion:_refuse_journal descry.gallery.conversion:_opened
        descry.gallery.conversion:_segment""",
    "of a gallery, whose links LocalStore refused, or by a descriptor of open_own": """
        descry.gallery.database:Database.connect descry.gallery.vectors:Cache.view descry.gallery.vectors:Cache._anew
        descry.gallery.vectors:Cache.write descry.gallery.vectors:Cache.finish descry.gallery.vectors:Cache.clean
        descry.web.safety:_kept""",
    "immutable or a private copy, and its work is bounded": "descry.gallery.inspecting:_opened",
    "removes names of ours, never what a link points to": """
        descry.cli.index:_opened_or_new descry.gallery.local:LocalStore.create descry.gallery.local:LocalStore.hold
        descry.gallery.local:LocalStore.erase descry.gallery.vectors:Cache.drop descry.purge:everything
        descry.web.serving:_opening""",
    "a socket of ours in a private folder, the null device, the folder that the caller is in": """
        descry.cli.resident:Waiting.__init__ descry.cli.resident:Waiting.serve descry.cli.resident:_followed
        descry.cli.resident:run""",
    "created anew (O_EXCL), so never through a link": "descry.web.safety:Tokens.beside",
    "a folder of crops, whose links were refused before": """
        descry.footage.cropping:remove descry.footage.cropping:_write_table
        descry.footage.cropping:_Work._resume descry.footage.cropping:_Work._commit descry.footage.cropping:_Work._save
        descry.footage.cropping:_Work._sweep""",
    "read a second time, after read_regular took it, to name a line": "descry.tabular:read_text",
    "the table of contents of a checkpoint, in the caged process": "descry.pickles:contents",
    "a file of the operating system": "descry.encoders:processor",
    "the checkout that runs": "descry.studies.ledger:commit descry_lab.cost:main descry_lab.cost:read",
    "a folder of synthetic people; its tables are no links": """
        descry_people.folder:_save descry_people.folder:_whole descry_people.folder:write_people
        descry_people.folder:digest_records descry_people.folder:digest_pixels
        descry_people.oracle:_zone_histograms descry_people.oracle:_pixels""",
    "a study's own working folder, or a page of this checkout": """
        descry_lab.own_studies:one_encoder descry_lab.conversation:main descry_lab.conversation:measure
        descry_lab.demo_report:main descry_lab.engine:_train descry_lab.engine:selection descry_lab.engine:note
        descry_lab.epochs:Watch.__call__ descry_lab.tables:regenerate
        descry_lab.tables:put descry_lab.weights:main""",
}
PROCESSES = {
    "a fixed command; the picture goes through a pipe": "descry.decoding:_Child.__init__",
    "a fixed command and the absolute path of the file that this user named": "descry.convert:_index",
    "meets the processes that torchrun started": "descry_lab.engine:join",
    "workers of this program; no command": "descry_lab.small:run descry_people.folder:_all",
    "a copy of this process for a command of the same user, over a socket that no other can reach": """
        descry.cli.resident:Waiting._forked descry.cli.resident:run""",
    "a fixed command, with the environment of this user": "descry.cli.ready:_started",
}


def test_every_place_that_opens_a_file_was_judged() -> None:
    check(
        places(opens),
        FILES,
        "FILES",
        "Use a helper of safe_files (read_own, read_regular, open_regular, read_json, write_whole)",
    )


def test_every_place_that_starts_a_process_was_judged() -> None:
    check(places(starts), PROCESSES, "PROCESSES", "Do without the process")


def test_commands_are_lists_that_begin_with_this_python_and_use_no_shell() -> None:
    seen = 0
    for module in modules():
        for place, name, call in module.calls:
            assert "shell" not in {word.arg for word in call.keywords}, f"{place} uses a shell"
            if name in ("subprocess.run", "subprocess.Popen"):
                given = call.args[0]
                command = module.lists.get(given.id) if isinstance(given, ast.Name) else given
                assert isinstance(command, ast.List), f"{place}: the command is no list"
                assert ast.unparse(command.elts[0]) == "sys.executable", f"{place}: another program"
                assert any(word.arg == "env" for word in call.keywords), f"{place}: give env=child_environment()"
                seen += 1
    assert seen == 3


CODE = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "code", "runpy"}
RUNS = {"builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__"}


SWITCHES = ("allow_pickle", "trust_remote_code", "weights_only")


def runs_what_it_reads(module: Module) -> list[str]:
    """Calls and imports of a module by which data could become code."""
    found = [f"imports {full}" for full in module.known.values() if full.split(".")[0] in CODE]
    for place, name, call in module.calls:
        given = {w.arg: ast.unparse(w.value) for w in call.keywords if w.arg in SWITCHES}
        bad = name in RUNS or (name == "torch.load" and given.get("weights_only") != "True")
        if bad or given.get("allow_pickle", "False") != "False" or given.get("trust_remote_code", "False") != "False":
            found.append(f"{place} calls {name}")
    return found


def test_nothing_that_is_read_becomes_code() -> None:
    found = {module.name: said for module in modules() if (said := runs_what_it_reads(module))}
    assert found.pop("descry.pickles") == ["imports pickle"], "the cage derives its reader from pickle.Unpickler"
    assert not found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(("import numpy as np\nnp.load(p)", opens), ("from os import replace as r\nr(a, b)", opens)),
        *(("open(p)", opens), ("p.parent.joinpath(x).write_text(t)", opens), ("p.replace(q)", opens)),
        *(("from shutil import rmtree\nrmtree(p)", opens), ("from PIL import Image\nImage.open(p)", opens)),
        *(("import os\nos.system(c)", starts), ("from subprocess import run\nrun(c)", starts)),
        *(("import multiprocessing as m\nm.Pool()", starts), ("import os\nos.execv(a, b)", starts)),
    ],
)
def test_a_new_place_is_noticed(tmp_path, monkeypatch, text, kind) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "new.py").write_text(text)
    module = Module(tmp_path / "new.py")
    assert any(kind(module, name, call) for _, name, call in module.calls)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from yaml import load",
        "eval(t)",
        "exec(t)",
        "import torch\ntorch.load(p)",
        "f(allow_pickle=1)",
    ],
)
def test_new_code_from_data_is_noticed(tmp_path, monkeypatch, text) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "new.py").write_text(text)
    assert runs_what_it_reads(Module(tmp_path / "new.py"))


# ---------------------------------------------------------------------- what was found by reading the places


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of this user that a received folder points to; it has to be as it was afterwards."""
    path = tmp_path / "mine" / "notes.txt"
    path.parent.mkdir()
    path.write_text("mine\n")
    yield path
    assert path.read_text() == "mine\n"


def test_the_log_of_a_received_run_is_not_written_through_a_link(tmp_path, victim) -> None:
    (tmp_path / "log.jsonl").symlink_to(victim)
    with pytest.raises(UsageError, match="symbolic link"):
        Log(tmp_path)


def test_the_board_of_a_received_run_is_not_written_elsewhere(tmp_path, victim) -> None:
    (tmp_path / "tensorboard").symlink_to(victim.parent)
    with pytest.raises(UsageError, match="symbolic link"):
        Log(tmp_path, board=True)
    assert [p.name for p in victim.parent.iterdir()] == [victim.name]


def test_a_vocabulary_and_a_card_replace_a_link(tmp_path, victim, capsys) -> None:
    run = write_run(tmp_path / "run")
    (run / "README.md").symlink_to(victim)
    assert main(["model", "card", str(run)]) == 0
    assert not (run / "README.md").is_symlink()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "words.json").symlink_to(victim)
    toy_words().save(tmp_path / "words")
    assert not (tmp_path / "words" / "words.json").is_symlink()


def test_a_folder_of_crops_leads_nowhere_else(tmp_path, victim) -> None:
    crops = tmp_path / "crops"
    (crops / STATE).mkdir(parents=True)
    (crops / "door").symlink_to(victim.parent)
    remove(crops, ["door/notes.txt", "../mine/notes.txt"])
    for link in (crops / STATE / "door.csv", crops / TABLE):
        link.unlink(missing_ok=True)
        link.symlink_to(victim)
        with pytest.raises(UsageError, match="symbolic link"):
            remove(crops, [])
        link.unlink()
    (crops / STATE).rename(tmp_path / "elsewhere")
    (crops / STATE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="symbolic link"):
        remove(crops, [])


def test_a_folder_of_people_is_not_written_through_a_link(tmp_path, victim) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "table.jsonl").symlink_to(victim)
    with pytest.raises(UsageError, match="symbolic link"):
        write_people(tmp_path / "people", 4, splits={"test": 4})
    shutil.rmtree(tmp_path / "people")
    write_people(tmp_path / "people", 4, splits={"test": 4})
    (tmp_path / "people" / "descry.json").rename(tmp_path / "people" / "descry.part.json")  # as if it had been killed
    shutil.rmtree(tmp_path / "people" / "sketches")
    (tmp_path / "people" / "sketches").symlink_to(victim.parent)
    with pytest.raises(UsageError, match="symbolic link"):
        write_people(tmp_path / "people", 4, splits={"test": 4})
    (tmp_path / "people" / "sketches").unlink()
    photo = next((tmp_path / "people" / "photos").iterdir())
    photo.unlink()
    photo.symlink_to(victim)
    with pytest.raises(UsageError, match="symbolic link"):
        write_people(tmp_path / "people", 4, splits={"test": 4})


def test_a_folder_of_people_that_is_damaged_is_refused(tmp_path) -> None:
    for name in ("descry.json", "table.jsonl"):
        (tmp_path / "descry.json").write_text('{"format": 1}')
        for text in (DEEP, "[NaN]", "\udcff"):
            (tmp_path / name).write_text(text, "utf-8", "surrogateescape")
            with pytest.raises(DataError, match=name):
                read_people(tmp_path)


def test_a_configuration_that_is_deep_or_endless_is_refused(tmp_path) -> None:
    path = tmp_path / "open_clip_config.json"
    for make in (lambda: path.write_text(DEEP), lambda: sparse(path)):
        make()
        with pytest.raises(ModelRefused, match="open_clip_config"):
            _OpenClip.beside(tmp_path / "weights.bin")


def test_an_endless_account_is_not_read_into_memory(tmp_path) -> None:
    sparse(tmp_path / "account.jsonl")
    with pytest.raises(OSError, match="more than"):
        Audit(tmp_path / "account.jsonl").verify()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_table_of_crops_that_is_a_pipe_is_not_waited_for(tmp_path) -> None:
    def waited(number: int, frame: object) -> None:
        raise AssertionError("it was opened and waited for")

    os.mkfifo(tmp_path / TABLE)
    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(5)
    try:
        assert origin_of(str(tmp_path / "door" / "a.jpg")) is None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------------- Ctrl-C

BEGIN = """
import signal
import sys
from descry.cli import main
from descry.gallery.local import LocalStore

# what a shell starts in the background ignores Ctrl-C, and so does all that it starts
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGPROF, lambda *_: signal.raise_signal(signal.SIGINT))
own = LocalStore.verify

def endless(store):
    with store.database.reading() as connection:
        count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        connection.execute(count).fetchone()

def verify(store):
    signal.setitimer(signal.ITIMER_PROF, 0.05)
    return {"own": own, "endless": endless}[sys.argv[2]](store)

LocalStore.verify = verify
sys.exit(main(["verify", sys.argv[1]]))
"""
"""The command as it is, or with a statement that never ends; Ctrl-C comes when it has worked for 50 ms."""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("work", ["endless", "own"])
def test_ctrl_c_ends_a_command_in_long_work(tmp_path, work) -> None:
    """Inside one statement, and among the rows of a gallery that somebody filled with what no walk would find."""
    LocalStore.create(tmp_path / "g", Binding("demo", "0" * 64, 4, {})).close()
    if work == "own":
        with closing(sqlite3.connect(tmp_path / "g" / "gallery.db")) as db:
            db.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) INSERT INTO skipped "
                "SELECT CAST(printf('/far/%d.png', i) AS BLOB), 'format', '', 1, 1, 1, 0 FROM n"
            )
            db.commit()
    command = [sys.executable, "-c", BEGIN, str(tmp_path / "g"), work]
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert (ended.returncode, ended.stderr) == (130, "descry: interrupted; what was committed is kept\n")
