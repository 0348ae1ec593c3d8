"""What a training writes down: the state that it can go on from, its log, and where it comes from.

The state is weights, optimiser, position and the epoch kept, so that a run goes on as if it had never stopped. Batches
and random numbers need no memory: they follow from the seed and the number of a step. The log is a JSON line a step,
and on request the same for TensorBoard.
"""

from __future__ import annotations

import json
import platform
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import load_training, save_training
from ..clip import check_fit
from ..errors import ModelRefused, UsageError, install_hint
from ..records import Dataset
from ..safe_files import refuse_linked_folders, refuse_links
from ..tabular import lines_of

FILE, BOARD = "log.jsonl", "tensorboard"


def _step_of(line: str) -> float:
    """The step of a line of the log; infinite for half a line, which a killed run leaves at the end."""
    try:
        return float(json.loads(line).get("step", -1))
    except ValueError:
        return float("inf")


class Kept:
    """Which epoch is kept: the one with the best validation score, or the last."""

    def __init__(self, epoch: int = -1, best: float | None = None, scores: list[float] | None = None):
        self.epoch, self.best, self.last = epoch, best, best
        self.scores = scores or []

    def consider(self, epoch: int, score: float | None) -> None:
        """Take this epoch when its score is the best so far, or when there are no scores."""
        self.last = score
        if score is None:
            self.epoch = epoch
            return
        self.scores.append(score)
        if self.best is None or score > self.best:
            self.epoch, self.best = epoch, score


def save_state(
    path: Path,
    method: Any,
    optimiser: Any,
    step: int,
    kept: Kept,
    precision: Any = None,
    bound: dict[str, Any] | None = None,
) -> None:
    """Write all weights, the optimiser's state by the names of its parameters, and the position: after `step` steps.

    Also what a method with a memory remembers, and how precision (Fabric's) scales losses, where it does. bound: plain
    values on which the meaning of the state depends.
    """
    tensors = {f"method.{k}": v for k, v in method.state_dict().items()}
    names = {id(p): n for n, p in method.named_parameters()}
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            tensors[f"optimiser.{names[id(parameter)]}|{key}"] = torch.as_tensor(value)
    if method.memory is not None:
        tensors |= {f"memory.{k}": v for k, v in method.memory.state().items()}
    position = {"step": step, "epoch": kept.epoch, "best": kept.best, "scores": kept.scores, "bound": bound or {}}
    scaling = precision.state_dict() if precision else {}
    save_training(path, tensors, position | ({"scaling": scaling} if scaling else {}))


def load_state(
    path: Path,
    method: Any,
    optimiser: torch.optim.Optimizer,
    precision: Any = None,
    bound: dict[str, Any] | None = None,
) -> tuple[int, Kept]:
    """Put back what `save_state` wrote; how many steps were done, and which epoch is kept.

    What a file does not hold (it is older, or of another precision) begins anew. Raises ModelMissing where there is
    nothing to resume, ModelRefused for a method of another shape or weights that are not finite, and UsageError with
    both values where `bound` differs from what the run was begun with.
    """
    tensors, position = load_training(path)
    device = next(method.parameters()).device
    weights = _part(tensors, "method.")
    _same(path, position.get("bound", {}), bound or {})
    check_fit(method, weights, str(path))
    method.load_state_dict(weights, strict=True)
    parameters = dict(method.named_parameters())
    # a fused kernel wants all of its parameters' state on their device
    fused = {id(p) for group in optimiser.param_groups if group.get("fused") for p in group["params"]}
    for key, value in _part(tensors, "optimiser.").items():
        name, _, kind = key.rpartition("|")
        if name not in parameters or value.numel() not in (1, parameters[name].numel()):
            raise ModelRefused(f"{path} holds {key!r:.80}, which fits no weight of this method; start without --resume")
        stays = kind == "step" and id(parameters[name]) not in fused  # torch counts such steps on the processor
        optimiser.state[parameters[name]][kind] = value if stays else value.to(device)
    if method.memory is not None:
        method.memory.restore({k: v.to(device) for k, v in _part(tensors, "memory.").items()})
    if precision and "scaling" in position:
        precision.load_state_dict(position["scaling"])
    return position["step"], Kept(position["epoch"], position["best"], position["scores"])


def _same(path: Path, before: dict[str, Any], now: dict[str, Any], within: str = "") -> None:
    """UsageError where a value that both hold differs, with the first that does. What only `now` holds is said: it is
    not known of the run."""
    if unknown := [within + key for key in now if key not in before]:
        print(
            f"note: {path.parent} was begun by a version that did not write down {', '.join(unknown)}; if that was not "
            "what it is now, the run does not go on as it began",
            file=sys.stderr,
        )
    for key in now:
        if isinstance(before.get(key), dict) and isinstance(now[key], dict):
            _same(path, before[key], now[key], f"{key}.")
    differing = [k for k in now if k in before and not isinstance(now[k], dict) and before[k] != now[k]]
    if differing:
        first = differing[0]
        more = f" (also {', '.join(differing[1:5])})" if len(differing) > 1 else ""
        raise UsageError(
            f"{path.parent} was begun with {within}{first}={before[first]!r}, and {now[first]!r} was given{more}; "
            "resume with what it was begun with, or train anew into another --out (--from this run takes its weights)"
        )


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin so, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


class Log:
    """log.jsonl of a run folder, one line a step. A resumed run cuts off the lines of steps that it will repeat.

    board: also write every number into the folder `tensorboard` of the run; raises UsageError where the package lacks.
    writes: False in all processes but the first.
    """

    def __init__(self, run: Path, start: int = 0, writes: bool = True, board: bool = False):
        self.path, self.start, self.writes = run / FILE, start, writes
        refuse_links(run, (FILE,), "run folder")
        refuse_linked_folders(run, (BOARD,), "run folder")
        self.board = _board(run / BOARD, start) if board and writes else None
        if writes:
            old = lines_of(self.path.read_text("utf-8")) if start and self.path.is_file() else []
            kept = takewhile(lambda line: _step_of(line) < start, (line for line in old if line))
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
