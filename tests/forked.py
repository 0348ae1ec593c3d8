"""Work in a forked process, which a test may kill: nothing is imported twice."""

from __future__ import annotations

import os
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
