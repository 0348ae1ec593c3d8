"""Several processes under torchrun, of one machine or many: who works, and who waits."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from descry.training.loop import part

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # of the processes that wait while the first one judges


def join() -> None:
    """Meet the other processes of this torchrun; nothing for a process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
        atexit.register(part)


def first_process() -> bool:
    """Whether this process draws, judges, prints and writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait_for_all() -> None:
    """Return when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


def one_after_the_other(act: Callable[[], T]) -> T:
    """What `act` gives, called by the first process before all others, so that those find the files it wrote."""
    made = act() if first_process() else None
    wait_for_all()
    return act() if made is None else made
