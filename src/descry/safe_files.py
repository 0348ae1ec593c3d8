"""Files of our own in folders that may have come from others: never through a link, whole or not at all, private. And
the folders that this user named, the only ones from which pictures and models are opened because a gallery says so.

A folder that was received is not one that was made: tar, zip, git and `cp -a` all carry symbolic links, and whoever
writes through one writes into a stranger's file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import stat
import zlib
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path
from typing import Any

from .errors import IndexCorrupt, UsageError

PRIVATE, FOLDER = 0o600, 0o700
OTHERS = "a file of another user"
JSON_BYTES = 256 << 20
"""Most bytes of a JSON file: a vocabulary has 3 MB, the annotations of the largest data set 40 MB."""
os_write, os_fsync = os.write, os.fsync
"""What writes of a gallery outside SQLite go through, so that a test can make the n-th one fail."""
CONFIG_BYTES = 1 << 20
"""Most bytes of a sealed JSON file."""
_READ = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | _READ


def address_of(place: str | Path) -> str:
    """The address of a gallery beyond one machine, "postgresql://…" or "milvus:…"; "" for a folder.

    A path has lost one of its two slashes. Of a Milvus address only a file (it ends in .db) has one.
    """
    found = re.match(r"(postgresql|milvus(?:\+https?)?):(/?)(.*)", str(place), re.DOTALL)
    if not found:
        return ""
    scheme, slash, rest = found.groups()
    if not slash or rest.startswith("/") or (scheme == "milvus" and rest.partition("#")[0].endswith(".db")):
        return str(place)
    host = scheme != "postgresql" or "/" in re.split("[?#]", rest)[0]
    return f"{scheme}:{'//' if host else '///'}{rest}"


def refuse_links(folder: str | Path, names: Iterable[str], what: str) -> None:
    """UsageError when an entry of a folder that is ours by name is no regular file of this user.

    names: globs of our own names. what: "gallery", "run folder", "data set", for the message. Nothing is opened.
    """
    folder, names = Path(folder), tuple(names)
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        ours = [e for e in entries if any(fnmatchcase(e.name, name) for name in names)]
    for entry in ours:
        try:
            kind = foreign(entry.stat(follow_symlinks=False))
        except FileNotFoundError:  # another process took it away meanwhile: SQLite's log, a temporary file
            continue
        if kind == OTHERS and on_read_only_disk(folder):
            continue
        if kind:
            raise _not_ours(folder / entry.name, kind, what)


def refuse_linked_folders(folder: str | Path, names: Iterable[str], what: str) -> None:
    """UsageError when a folder inside one that is ours is a symbolic link: what is written there would lie elsewhere.

    names: of the inner folders. what: as in `refuse_links`.
    """
    for path in (Path(folder) / name for name in names):
        if path.is_symlink():
            raise _not_ours(path, "a symbolic link", what)


def _not_ours(path: Path, kind: str, what: str) -> UsageError:
    return UsageError(
        f"{path} is {kind}; the files of a {what} are regular files of their owner. If you were given this folder, do "
        f"not trust it: copy only its regular files, or ask for another copy"
    )


def foreign(found: os.stat_result) -> str:
    """What is wrong with a file that should be ours, by its `lstat`; "" for nothing."""
    if stat.S_ISLNK(found.st_mode):
        return "a symbolic link"
    if not stat.S_ISREG(found.st_mode):
        return "no regular file"
    if os.name != "nt" and os.geteuid() not in (0, found.st_uid):
        return OTHERS
    return ""


def on_read_only_disk(folder: str | Path) -> bool:
    """Whether a folder lies on a file system that is mounted read-only: whoever owns its files, nobody here can change
    them.
    """
    if not hasattr(os, "statvfs"):
        return False
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def writable(path: str | Path) -> bool:
    """Whether this process may write to a file and make others beside it. Nothing is written to find out."""
    path = Path(path)
    if not os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        return False
    try:
        os.close(os.open(path, os.O_RDWR | _NO_LINK))
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS)
    return True


def read_own(path: str | Path, most: int) -> bytes:
    """The first `most` bytes of a regular file that is ours. OSError for a link, and for whatever else it may be."""
    fd = os.open(path, os.O_RDONLY | _NO_LINK)
    with open(fd, "rb") as file:
        kind = foreign(os.fstat(fd))
        if kind and not (kind == OTHERS and on_read_only_disk(Path(path).parent)):
            raise OSError(f"it is {kind}")
        return file.read(most)


def read_regular(path: str | Path, most: int) -> bytes:
    """A whole regular file, links followed. OSError for another kind of file, and for more than `most` bytes."""
    with open_regular(path) as file:
        large = os.fstat(file.fileno()).st_size > most
        data = b"" if large else file.read(most + 1)
    if large or len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", os.fspath(path))
    return data


def open_regular(path: str | Path) -> BufferedReader:
    """A regular file opened to be read, links followed. OSError for another kind, also for a pipe that somebody put in
    its place meanwhile: to open one would never end."""
    fd, regular = -1, stat.S_ISREG(os.stat(path).st_mode)
    if regular:
        fd = os.open(path, os.O_RDONLY | _READ)
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
    if not regular:
        if fd >= 0:
            os.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    return open(fd, "rb")


def unread(path: str | Path, error: Exception) -> tuple[str, str]:
    """Why `open_regular` did not open a file: "missing" where no such file is there, else "unreadable", which may pass
    (rights, a disk that is away); and what to say of it."""
    number = getattr(error, "errno", None)
    if os.path.isdir(path) or number == errno.EINVAL:
        return "missing", "it is a folder" if os.path.isdir(path) else "it is no regular file"
    if isinstance(error, ValueError) or number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return "missing", "there is no such file"
    return "unreadable", str(getattr(error, "strerror", None) or error)


def json_of(text: str | bytes) -> Any:
    """The value of a JSON text that others wrote. ValueError also for NaN, infinity and for deep nesting."""
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: str | Path, most: int = JSON_BYTES) -> Any:
    """The value of a JSON file, as `json_of`. Raises OSError and ValueError."""
    return json_of(read_regular(path, most).decode("utf-8"))


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text[:20]} is not a number that is read here")


def open_own(path: str | Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    """A file descriptor of a regular file that is ours; UsageError for a link and whatever else it may be."""
    with suppress(FileNotFoundError):
        if kind := foreign(os.lstat(path)):
            raise _not_ours(Path(path), kind, "folder like this one")
    fd = os.open(path, flags | _NO_LINK, PRIVATE)
    if kind := foreign(os.fstat(fd)):  # somebody put it there meanwhile
        os.close(fd)
        raise _not_ours(Path(path), kind, "folder like this one")
    return fd


def write_whole(path: str | Path, data: bytes | str) -> None:
    """Either the old file or the whole new one is there, also after a power cut. A link in the way is replaced; what it
    points to is not touched.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    if not path.parent.is_dir() or path.is_dir():
        code = errno.EISDIR if path.is_dir() else errno.ENOENT
        raise OSError(code, os.strerror(code), str(path))
    partial.unlink(missing_ok=True)
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, PRIVATE)
    try:
        write_at(fd, 0, data.encode("utf-8") if isinstance(data, str) else data)
        os_fsync(fd)
    finally:
        os.close(fd)
    os.replace(partial, path)
    sync_folder(path.parent)


def write_private(path: str | Path, data: bytes | str) -> None:
    """A new file that its owner alone can read. Raises FileExistsError where anything has that name."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, PRIVATE), "wb") as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def write_at(fd: int, offset: int, data: Any) -> None:
    """All of data at offset; OSError when the disk is full or broken."""
    os.lseek(fd, offset, os.SEEK_SET)
    view = memoryview(data).cast("B")
    while view:
        view = view[os_write(fd, view) :]


def sync_folder(folder: Path) -> None:
    """Make names created or replaced in a folder durable. Windows cannot, and does not need to."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os_fsync(fd)
    finally:
        os.close(fd)


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """A JSON file that carries the checksum of its own content."""
    body = json.dumps(value, indent=1, sort_keys=True)
    write_whole(path, f"{body}\ncrc32 {zlib.crc32(body.encode()):08x}\n".encode())


def damaged(path: Path, what: object) -> IndexCorrupt:
    """The error for a file of a gallery that is not as it was written."""
    return IndexCorrupt(f"{path} is damaged ({what}); restore it from a copy, or index again into a new folder")


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote; IndexCorrupt when a byte differs, FileNotFoundError when it is not there."""
    raw = read_own(path, CONFIG_BYTES)
    try:
        body, seal = raw.decode("utf-8").rstrip("\n").rsplit("\ncrc32 ", 1)
        if not raw.endswith(b"\n") or f"{zlib.crc32(body.encode()):08x}" != seal:
            raise ValueError("the checksum differs")
        value = json_of(body)
        if not isinstance(value, dict):
            raise ValueError("it holds no object")
        return value
    except ValueError as error:
        raise damaged(path, error) from None


def child_environment(alike: bool = False) -> dict[str, str]:
    """The environment of processes that we start: without proxies and without what changes how Python starts, but for
    the way to this package. They use one thread each. alike: they start as this process did, without proxies.
    """
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    if alike:
        return kept
    kept = {k: v for k, v in kept.items() if not k.startswith("PYTHON")}
    package = str(Path(__file__).resolve().parent.parent)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return kept | threads | {"PYTHONPATH": package}


# ---------------------------------------------------------------------------------------------- folders that were named

# A gallery that was received names paths, and whoever made it chose them. So what was given to `descry index`, `descry
# gallery relocate` or `descry gallery allow` is noted for this user, a file each in DESCRY_ROOTS (descry/roots in the
# user's data folder unless set), and a path of a gallery is followed only into these folders.

_allowed: set[str] = set()


def _note(root: str) -> Path:
    """The file that notes a folder."""
    named = os.environ.get("DESCRY_ROOTS")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    folder = Path(named) if named else Path(data) / "descry" / "roots"
    return folder / hashlib.sha256(os.fsencode(root)).hexdigest()


def allow(folder: str | Path) -> None:
    """Let galleries name what lies below a folder. Where this cannot be noted, it holds for this process."""
    root = os.path.realpath(folder)
    _allowed.add(root)
    with suppress(OSError):
        note = _note(root)
        note.parent.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        write_private(note, os.fsencode(root))


def allowed(path: str | Path) -> bool:
    """Whether a file or folder really lies, all links followed, in a folder that was named."""
    try:
        place = os.path.realpath(path)
    except (OSError, ValueError):
        return False
    while True:
        if place in _allowed or os.path.isfile(_note(place)):
            _allowed.add(place)
            return True
        above = os.path.dirname(place)
        if above == place:
            return False
        place = above
