"""Look into a PyTorch checkpoint without trusting it: which tensors it holds, and where their bytes lie in the file.

A checkpoint is a pickle, and a pickle is a program. This file is that program's cage. It is run by `descry.convert` as
a process of its own (only the standard library, limits on time and memory, no files written, nothing else started) and
answers with one line of JSON: plain names and numbers. No object of the pickle ever leaves the process.

Names that a pickle asks for are never looked up: they are taken from the short list below, on which everything is a
stand-in that can only store tensors' shapes. Any other name ends the reading. TorchScript archives are read in the same
way: their `data.pkl` holds the weights, and the code beside it is not opened.
"""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from collections import OrderedDict
from typing import Any, NoReturn

SECONDS = 60
MEMORY = 2 << 30
MOST_ENTRIES = 100_000
MOST_OBJECTS = 2_000_000
LARGEST_PICKLE = 128 << 20
DEEPEST = 64

BYTES = {
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "DoubleStorage": ("float64", 8),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}


DAMAGE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, EOFError, OSError, ValueError, TypeError, LookupError),
    *(AttributeError, ArithmeticError, NotImplementedError, StopIteration, ImportError),
)
"""What the standard library raises over bytes that are not what they should be."""


class Refused(Exception):
    """Why a file is not read, in one line."""


class Storage:
    """A run of numbers in the archive: entry name, type, count."""

    def __init__(self, entry: str, dtype: str, size: int, count: int):
        self.entry, self.dtype, self.size, self.count = entry, dtype, size, count


class Found:
    """A tensor: a storage and how it is laid out there."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]):
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride


class Inert:
    """Stands for settings and counters of a training; takes whatever it is given and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass

    def add(self, value: Any) -> None:
        pass


class Module:
    """Stands for any module of a TorchScript archive: keeps its attributes."""

    def __init__(self) -> None:
        self.attributes: dict[Any, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def rebuild(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Found:
    """A tensor of these numbers, if they lie within its storage."""
    numbers = [offset, *shape, *stride]
    if not isinstance(storage, Storage) or len(shape) != len(stride) or len(shape) > 8:
        raise Refused("it holds a tensor that is not described as one")
    if not all(type(n) is int and 0 <= n < 1 << 40 for n in numbers):
        raise Refused("it holds a tensor of impossible size")
    count = 1
    for n in shape:
        count *= n
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) if count else 0
    if count and (last >= storage.count or count > storage.count):
        raise Refused(f"it claims a tensor of shape {tuple(shape)} in {storage.count} numbers")
    return Found(storage, offset, tuple(shape), tuple(stride))


def parameter(data: Any, *rest: Any) -> Any:
    """The tensor of a parameter."""
    return data


def plain_set(items: Any = ()) -> list[Any]:
    """The members of a set, as a list."""
    return list(items) if isinstance(items, (list, tuple)) else []


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild,
    ("torch._utils", "_rebuild_parameter"): parameter,
    ("torch", "Size"): plain_set,
    ("builtins", "set"): plain_set,
    ("__builtin__", "set"): plain_set,
}
ALLOWED |= {("torch", name): name for name in BYTES}
for _module, _names in {
    "argparse": ("Namespace",),
    "collections": ("defaultdict", "Counter"),
    "easydict": ("EasyDict",),
    "yacs.config": ("CfgNode",),
    "pathlib": ("Path", "PosixPath", "PurePosixPath"),
    "torch": ("device", "float32", "float16", "bfloat16", "float64", "int64", "int32", "bool"),
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
    "_codecs": ("encode",),
    "datetime": ("datetime", "timedelta"),
}.items():
    ALLOWED |= {(_module, _name): Inert for _name in _names}


class Reader(pickle.Unpickler):
    """An unpickler that knows the names of ALLOWED and no others."""

    def __init__(self, file: Any, entries: dict[str, zipfile.ZipInfo], root: str):
        super().__init__(file, encoding="utf-8")
        self.entries, self.root = entries, root

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in from the list; Refused for any other name."""
        if module == "__torch__" or module.startswith("__torch__."):
            return Module
        if (module, name) not in ALLOWED:
            raise Refused(f"it asks for {module}.{name}, which is neither a tensor nor a plain container"[:200])
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a tensor names."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or pid[1] not in BYTES:
            raise Refused("it holds a tensor of a kind that is not read")
        (dtype, size), entry = BYTES[pid[1]], f"{self.root}data/{pid[2]}"
        if entry not in self.entries:
            raise Refused(f"it lacks the numbers of a tensor ({entry})"[:200])
        return Storage(entry, dtype, size, self.entries[entry].file_size // size)


def contents(path: str) -> list[dict[str, Any]]:
    """The tensors of a zip checkpoint: path of keys, dtype, shape, stride, offset in elements, and where the storage
    begins."""
    with zipfile.ZipFile(path) as archive:
        entries = _entries(archive)
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused("it is no PyTorch checkpoint: it must hold one data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        order = entries.get(f"{root}byteorder")
        if order and archive.read(order)[:16].strip() != b"little":
            raise Refused("its numbers are not in little-endian order")
        if entries[pickles[0]].file_size > LARGEST_PICKLE:
            raise Refused(
                f"its table of contents has {entries[pickles[0]].file_size:,} bytes, more than {LARGEST_PICKLE:,}"
            )
        with archive.open(pickles[0]) as file:
            top = Reader(file, entries, root).load()
        begins = {name: _begin(archive, info) for name, info in entries.items() if name.startswith(f"{root}data/")}
    return [
        {
            "path": keys,
            "dtype": found.storage.dtype,
            "shape": found.shape,
            "stride": found.stride,
            "offset": found.offset,
            "begin": begins[found.storage.entry],
            "count": found.storage.count,
        }
        for keys, found in _tensors(top)
    ]


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries by name, after the checks that keep a zip from being a trap."""
    infos = archive.infolist()
    if len(infos) > MOST_ENTRIES:
        raise Refused(f"it holds {len(infos):,} entries, more than {MOST_ENTRIES:,}")
    entries: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for info in infos:
        name = info.filename
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or name in entries:
            raise Refused(f"it holds an entry with a name that is not safe ({name!r})"[:200])
        needed = name.endswith(("/data.pkl", "/byteorder")) or "/data/" in name
        if needed and (
            info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size
        ):
            raise Refused(f"its entry {name!r} is compressed or encrypted; PyTorch writes neither"[:200])
        total += info.file_size if needed else 0
        entries[name] = info
    if archive.fp is None:
        raise Refused("it cannot be read")
    archive.fp.seek(0, 2)
    if total > archive.fp.tell():
        raise Refused(f"it claims {total:,} bytes and has {archive.fp.tell():,}")
    return entries


def _begin(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Where an entry's bytes begin in the file."""
    file: Any = archive.fp
    file.seek(info.header_offset)
    head = file.read(30)
    if len(head) != 30 or head[:4] != b"PK\x03\x04":
        raise Refused(f"its entry {info.filename!r} is damaged"[:200])
    return int(info.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"))


def _tensors(top: Any) -> list[tuple[list[str], Found]]:
    """Every tensor below an object with the keys that lead there; shared objects are visited once for each way."""
    out: list[tuple[list[str], Found]] = []
    waiting: list[tuple[list[str], Any]] = [([], top)]
    visited = 0
    while waiting:
        keys, value = waiting.pop()
        visited += 1
        if visited > MOST_OBJECTS or len(keys) > DEEPEST:
            raise Refused("it is nested deeper or wider than any checkpoint")
        if isinstance(value, Found):
            out.append((keys, value))
            continue
        value = value.attributes if isinstance(value, Module) else value
        children: Any = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
        )
        for key, child in children:
            if isinstance(child, (dict, list, tuple, Module, Found)):
                waiting.append(([*keys, str(key)[:500]], child))
    return out[::-1]


def cage() -> None:
    """Limits on processor time, memory and written bytes; afterwards no file, process or connection can be opened."""
    try:
        import resource
    except ImportError:  # only on Windows; the caller's time limit holds there too
        return
    for what, limit in ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0)):
        hard = resource.getrlimit(what)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))


def lock(path: str) -> None:
    """From now on, whatever asks the system for anything but reading `path` ends the reading."""

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and args[0] == path and args[1] in ("r", "rb"):
            return
        if event.split(".")[0] in (
            "open",
            "os",
            "subprocess",
            "socket",
            "shutil",
            "ctypes",
            "import",
            "exec",
            "compile",
            "signal",
        ):
            raise Refused(f"it tried to do something ({event})")

    sys.addaudithook(watch)


def _answer(reply: dict[str, Any]) -> NoReturn:
    sys.stdout.write(json.dumps(reply))
    sys.stdout.flush()
    sys.exit(0)


def main() -> NoReturn:
    """Read the file named as the only argument and answer on standard output."""
    path = sys.argv[1]
    "warm".encode("cp437")  # what zipfile needs is imported before the lock
    cage()
    lock(path)
    try:
        reply: dict[str, Any] = {"tensors": contents(path)}
        _answer(reply)
    except Refused as why:
        _answer({"refused": str(why)})
    except MemoryError:
        _answer({"refused": f"reading it takes more than {MEMORY:,} bytes of memory"})
    except RecursionError:
        _answer({"refused": "it is nested deeper than any checkpoint"})
    except DAMAGE as error:
        _answer({"refused": f"it is damaged or no checkpoint ({type(error).__name__})"})


if __name__ == "__main__":
    main()
