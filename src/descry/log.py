"""What a training writes down: where it comes from, a JSON line a step, and on request the same for TensorBoard."""

from __future__ import annotations

import json
import platform
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch

from .errors import UsageError, install_hint
from .records import Dataset

FILE, BOARD = "log.jsonl", "tensorboard"


class Log:
    """log.jsonl of a run folder, one line a step. A resumed run cuts off the lines of steps that it will repeat.

    board: also write every number into the folder `tensorboard` of the run; raises UsageError where the package lacks.
    writes: False in all processes but the first.
    """

    def __init__(self, run: Path, start: int = 0, writes: bool = True, board: bool = False):
        self.path, self.start, self.writes = run / FILE, start, writes
        self.board = _board(run / BOARD, start) if board and writes else None
        if writes:
            old = self.path.read_text("utf-8").splitlines() if start and self.path.is_file() else []
            kept = takewhile(lambda line: json.loads(line).get("step", -1) < start, (line for line in old if line))
            self.path.write_text("".join(line + "\n" for line in kept), "utf-8")

    def write(self, row: dict[str, Any]) -> None:
        """Append one line. On the board a step stands at its number, and an epoch's validation at that epoch's."""
        if not self.writes:
            return
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.board:
            at = row.get("step", row["epoch"])
            for name in row.keys() - {"step", "epoch"}:
                if row[name] is not None:
                    shown = name if name in ("lr", "val") else f"loss/{name}"
                    self.board.add_scalar(shown, row[name], at)
            if "step" not in row:
                self.board.flush()


def provenance(data: Dataset, rows: int, seed: int, precision: str, device: torch.device | str) -> dict[str, Any]:
    """What a result of a training must say of its data and its machine. rows: of training; gpu: empty for none."""
    return {
        "data": data.name,
        "data_sha256": data.fingerprint(),
        "source": data.source,
        "rows": rows,
        "identities": data.identities,
        "seed": seed,
        "precision": precision,
        "torch": torch.__version__,
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "gpu": torch.cuda.get_device_name() if str(device).startswith("cuda") else "",
        "threads": torch.get_num_threads(),
    }


def _board(folder: Path, start: int) -> Any:
    """A writer that drops the steps which a resumed run repeats."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError(f"--tensorboard needs a package that is not here: {install_hint('tensorboard')}") from None
    return SummaryWriter(str(folder), purge_step=start or None)
