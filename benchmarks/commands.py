"""CPU seconds of commands as a user types them, each in a cold process: this version, and any other commit beside it.

    python benchmarks/commands.py [--beside COMMIT] [--repeat 5] [--markdown]

Each version indexes 40 drawn people with the demo model first; that is not counted. The versions take turns at every
command, and the median is kept. CPU seconds are user and system time of the whole process with one thread; unlike
wall time they hardly depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parents[1]
COMMANDS = {
    "--help": "--help",
    "search by words": "search GALLERY --text jacket",
    "inquiry show": "inquiry show GALLERY case",
    "inquiry undo": "inquiry undo GALLERY case",
    "gallery info": "gallery info GALLERY",
    "train with a wrong number": "train interactreid --data NOWHERE --from demo --out RUN --epochs many",
    "train without --data": "train interactreid --out RUN",
}
"""What is measured; the capital words stand for places."""


def environment(checkout: Path) -> dict[str, str]:
    """That of a command of a checkout: one thread, its own source, compiled once as an installed package is."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | threads | {"PYTHONPATH": str(checkout / "src")}


def prepare(checkout: Path, place: Path) -> dict[str, str]:
    """A gallery with one inquiry of two rounds, made by that version; what the capital words stand for."""
    names = {"GALLERY": str(place / "gallery"), "RUN": str(place / "run"), "NOWHERE": str(place / "nowhere")}
    people = str(place / "people")
    for command in (
        ["people", people, "--identities", "40"],
        ["index", f"{people}/photos", "--model", "demo", "--out", names["GALLERY"], "--encoder", "torch"],
        ["inquiry", "new", names["GALLERY"], "case", "--text", "red jacket"],
        ["inquiry", "refine", names["GALLERY"], "case", "--text", "no hat"],
    ):
        subprocess.run(
            [sys.executable, "-m", "descry", *command], env=environment(checkout), check=True, capture_output=True
        )
    return names


def seconds(checkout: Path, command: list[str], place: dict[str, str] | None = None) -> float:
    """User and system time of one command, in seconds. place: its environment, with no process ready unless given."""
    place = place or environment(checkout) | {"DESCRY_READY": "no"}
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        process = subprocess.Popen(
            [sys.executable, "-m", "descry", *command], env=place, stdout=nothing, stderr=nothing
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


def checkout(commit: str, place: Path) -> Path:
    """The files of a commit, in a new folder."""
    files = subprocess.run(["git", "-C", str(HERE), "archive", commit, "src"], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(place, filter="data")
    return place


def measure(
    checkouts: dict[str, Path], repeat: int, commands: dict[str, str] = COMMANDS
) -> dict[str, dict[str, float]]:
    """Version → command → the median of its CPU seconds. The versions take turns; the first turn is not counted."""
    found: dict[str, dict[str, float]] = {version: {} for version in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        names = {version: prepare(source, Path(folder) / version) for version, source in checkouts.items()}
        for title, text in commands.items():
            turns = [
                {
                    v: seconds(source, [names[v].get(word, word) for word in text.split()])
                    for v, source in checkouts.items()
                }
                for _ in range(repeat + 1)
            ]
            for version in checkouts:
                found[version][title] = median([turn[version] for turn in turns[1:]])
    return found


def behind_ready(source: Path, repeat: int, commands: dict[str, str]) -> dict[str, float]:
    """Command → the median of its CPU seconds and those of its copy of the process that `descry ready` starts."""
    with tempfile.TemporaryDirectory() as folder:
        names = prepare(source, Path(folder) / "files")
        place = environment(source) | {"XDG_RUNTIME_DIR": folder}

        def told(*options: str) -> dict[str, float]:
            said = subprocess.check_output([sys.executable, "-m", "descry", "ready", "--json", *options], env=place)
            answer: dict[str, float] = json.loads(said)
            return answer

        found: dict[str, float] = {}
        told()
        for title, text in commands.items():
            turns = []
            for _ in range(repeat + 1):
                before = told("--status")
                own = seconds(source, [names.get(word, word) for word in text.split()], place)
                after = told("--status")
                if after["served"] == before["served"]:
                    raise RuntimeError(f"{text} ran in its own process: is anything different from its environment?")
                turns.append(own + after["seconds"] - before["seconds"])
            found[title] = median(turns[1:])
        told("--stop")
    return found


def markdown(results: dict[str, dict[str, float]]) -> str:
    """A table, a row a command and a column a version."""
    lines = [f"| CPU seconds | {' | '.join(results)} |", f"|---|{'---|' * len(results)}"]
    for title in next(iter(results.values())):
        figures = [f"{result[title]:.2f}" if title in result else "" for result in results.values()]
        lines.append(f"| `descry {COMMANDS[title]}` | {' | '.join(figures)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a command that ignores Ctrl-C runs in its own process
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--beside", action="append", default=[], metavar="COMMIT", help="another commit; may be repeated"
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        others = {commit: checkout(commit, Path(folder) / commit) for commit in args.beside}
        results = measure(others | {"now": HERE}, args.repeat)
        if sys.platform == "linux":
            title = "search by words"
            results["behind `descry ready`"] = behind_ready(HERE, args.repeat, {title: COMMANDS[title]})
    print(markdown(results) if args.markdown else json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
