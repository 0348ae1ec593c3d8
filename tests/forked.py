"""Work in a forked process, which a test may kill: nothing is imported twice."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable

import pytest

from descry.errors import DescryError

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork; the test kills forked processes")


def child(work: Callable[[], object]) -> int:
    """Run work in a forked process; its id. Threads of the parent are none of its business."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except DescryError:
            os._exit(3)
        except BaseException:  # noqa: BLE001 - a child must not return into pytest
            traceback.print_exc()
            os._exit(4)
    return pid


def ended(pid: int) -> int:
    """Wait for a forked process; its exit status, or -9 where it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def together(work: Callable[[], object], nodes: int = 1) -> None:
    """Run work in two processes that train together as torchrun would start them, on one node or on two. The process
    that calls it has imported what they need and has run no backward pass, which PyTorch could not fork."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    shape = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": str(2 // nodes), "TORCHELASTIC_RUN_ID": "tests"}

    def one(rank: int) -> None:
        place = {"RANK": rank, "LOCAL_RANK": rank % (2 // nodes), "GROUP_RANK": rank * nodes // 2}
        os.environ.update(address | shape | {name: str(number) for name, number in place.items()})
        work()
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()  # before the process ends, whose end would abort gloo's threads
        sys.stdout.flush()

    statuses = [ended(pid) for pid in [child(lambda rank=rank: one(rank)) for rank in range(2)]]
    if any(statuses):
        sys.exit(1)
