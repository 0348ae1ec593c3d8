"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from ..errors import UsageError, nearest
from ..library import DEVICES, PRECISIONS

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Json = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class Machine:
    """How a command uses this machine.

    Args:
        device: auto (a GPU when there is one), cpu, cuda (NVIDIA) or mps (Apple).
        precision: fp32, bf16, or fp16 on a GPU; auto trains in bf16 on a GPU that has it, and is fp32 for all else.
        batch_size: pictures at a time; 0 leaves it to the command.
        threads: of the processor; 0 takes all.
        seed: of everything random.
        allow_download: a model that is named by its hub name may be fetched from the network.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: int = 0
    threads: int = 0
    seed: int = 0
    allow_download: Flag = False

    def __post_init__(self) -> None:
        """UsageError for values that cannot be meant; nothing heavy is imported for it."""
        for name, allowed in (("device", DEVICES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"--{name} {getattr(self, name)} was given; {nearest(getattr(self, name), list(allowed))}"
                )
        for name, most in (("batch_size", 65_536), ("threads", 1024), ("seed", 2**63 - 1)):
            if not 0 <= getattr(self, name) <= most:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} {getattr(self, name)} was given; it must lie between 0 and {most}")

    def settle(self) -> Machine:
        """Tell the numerical libraries how many threads to use. UsageError for a device that is not here."""
        import torch

        from ..embed import choose_device

        choose_device(self.device, self.precision)
        if self.threads:
            torch.set_num_threads(self.threads)
        return self

    def load(self, name: Any, image_size: tuple[int, int] | None = None) -> Any:
        """The model of that name, on the device and in the precision asked for."""
        from ..embed import load

        return load(name, self.device, self.precision, image_size, self.allow_download)


OnMachine = Annotated[Machine, tyro.conf.arg(name="")]
