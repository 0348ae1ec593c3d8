"""Options that every working command has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Machine:
    """How a command uses this machine.

    Args:
        device: auto (an NVIDIA GPU when there is one), cpu or cuda.
        precision: fp32, bf16, or fp16 on a GPU; auto trains in bf16 on a GPU that has it, and is fp32 for all else.
        batch_size: pictures at a time; 0 leaves it to the command.
        threads: of the processor; 0 takes all.
        seed: of everything random.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: int = 0
    threads: int = 0
    seed: int = 0

    def settle(self) -> Machine:
        """Tell the numerical libraries how many threads to use."""
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)
        return self


OnMachine = Annotated[Machine, tyro.conf.arg(name="")]
