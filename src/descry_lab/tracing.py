"""One training step, counted without being carried out: what lives at once in memory, and how much is computed.

A step runs forward and backward on tensors that have shapes and no values (torch's FakeTensorMode), under autocast to
bfloat16, which is what a GPU gets by default. Every storage is counted from its making to its end; the peak, with
Adam's two moments, is the memory that a GPU's allocator must give. Its fragments and the libraries' own workspaces are
not in it. torch's own MemTracker refuses modules that are called twice or frozen, so it does not do here.
"""

from __future__ import annotations

import copy
import math
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from descry.blocks import MaskedWordHead
from descry.clip import Clip
from descry.cost import example_batch, multiply_adds
from descry.methods import Progress, alone
from descry.methods.propot import PRESETS, DomainPrompts, InstancePrompts

MOMENTS = 2 * 4
"""Bytes of Adam's moments for each number that is trained."""
MASKED = 0.15
"""Share of the words that are masked."""


class Counted(TorchDispatchMode):
    """Counts the bytes of all storages that live at once, and answers what a step reads out of tensors without values.

    Attributes:
        now: bytes that live.
        peak: the most that lived at once.
    """

    def __init__(self, words: int = 1, people: int = 1, visible: int = 1, checks: bool = True):
        """words: masked ones. people: different identities. visible: patches of a photograph that are not hidden.
        checks: what comes out where a step checks its inputs.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.words, self.people, self.visible, self.checks = words, people, visible, checks
        self.now = self.peak = 0
        self._live: dict[int, Any] = {}

    def hold(self, tensor: Tensor) -> None:
        """Count a tensor's storage until it is freed."""
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._live:
            return

        def freed(_: Any) -> None:
            del self._live[key]
            self.now -= size

        self._live[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = self._known(func, args)
        if out is None:
            out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                self.hold(x)
        return out

    def _known(self, func: Any, args: Any) -> Any:
        """What depends on values: how many rows a mask chooses, how many identities differ, and single numbers."""
        if not args or not isinstance(args[0], FakeTensor):
            return None
        aten: Any = torch.ops.aten
        if func is aten._local_scalar_dense.default:
            return self.checks if args[0].dtype is torch.bool else self.visible
        if func is aten._unique2.default:
            one = args[0].new_empty(self.people)
            return one, torch.empty_like(args[0], dtype=torch.long), torch.empty_like(one, dtype=torch.long)
        if func is aten.index.Tensor and args[1][0] is not None and args[1][0].dtype is torch.bool:
            mask = args[1][0]  # of words (B, L); or of rows, which are all chosen
            chosen = self.words if mask.ndim == 2 else len(mask)
            return func(args[0], [mask.new_zeros(chosen, dtype=torch.long) for _ in range(mask.ndim)])
        if func is aten.nonzero.default:
            return args[0].new_zeros(self.words, args[0].ndim)
        return None


@dataclass(frozen=True)
class Step:
    """What one training step needs.

    Attributes:
        rows: of the batch.
        parameters: numbers that the model holds.
        trained: those that are trained.
        bytes: the most that lives at once, with Adam's moments.
        flop: floating-point operations, two for a multiply-add.
    """

    rows: int
    parameters: int
    trained: int
    bytes: int
    flop: int


def traced(method: Any, rows: int = 0, precision: str = "bf16", checkpointed: bool = False) -> Step:
    """One step of a method: what lives at once, and its operations. With tensors of values it is carried out as well.

    Texts have the greatest length, every row is of another person. precision: "bf16" or "fp32".
    """
    config = method.config
    rows = rows or config.recipe.batch_size
    length, grid = method.clip.length, math.prod(method.clip.grid)
    method.train()
    method.prepared = True
    if checkpointed:
        method.clip.checkpoint_gradients()
    needed = {"image", "pid", "image_id", *method.needs}
    needed |= {"masked_text", "token_labels"} if "text" in needed else set()
    batch = {k: v for k, v in example_batch(method, rows, length=length).items() if k in needed}
    batch["pid"] = torch.arange(rows)
    hidden = math.ceil(getattr(config, "mask_ratio", 0.0) * grid)
    counted = Counted(max(1, round(MASKED * rows * length)), rows, grid - hidden)
    for tensor in (*method.parameters(), *method.buffers(), *batch.values()):
        counted.hold(tensor)
    with ExitStack() as stack:
        counter = stack.enter_context(FlopCounterMode(display=False, custom_mapping=_ATTENTION))
        stack.enter_context(counted)
        stack.enter_context(alone())  # under torchrun one process counts, and the others wait for it
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            losses = method.losses(batch, Progress(0, 1, 1, torch.Generator()))
        torch.stack([x.float() for x in losses.values()]).sum().backward()
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    numbers = sum(p.numel() for p in method.parameters())
    return Step(rows, numbers, trained, counted.peak + MOMENTS * trained, counter.get_total_flops())


def _attention(q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_flop_count(q, k, v))


def _attention_backward(grad: Any, q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_backward_flop_count(grad, q, k, v))


_ATTENTION: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""The one kind of attention of processors, which torch's counter does not know."""


# ------------------------------------------------------------------ multiply-adds as the papers count them


def _on_meta(clip: Clip) -> Clip:
    with torch.device("meta"):
        return Clip(clip.spec)


def image_macs(clip: Clip, tokens: bool = False) -> int:
    """Of one photograph of the model's size: of its feature, or of all its tokens, as training on them needs and as the
    papers count.
    """
    empty = _on_meta(clip)
    encode = empty.image_tokens if tokens else empty.image_features
    return multiply_adds(lambda: encode(torch.empty(1, 3, *clip.image_size, device="meta")), [empty])


def text_macs(clip: Clip, length: int = 0) -> int:
    """Of all tokens of one text of `length`; left out, of the most the encoder reads."""
    empty = _on_meta(clip)
    ids = torch.empty(1, length or clip.length, dtype=torch.long, device="meta")
    return multiply_adds(lambda: empty.text_tokens(ids), [empty])


def prototype_macs(identities: int, rows: int, dim: int = 512, **changes: Any) -> int:
    """Multiply-adds per training row of Propot's prototypes when those of all identities are computed, as its Table 4
    counts.

    changes: fields of Propot's Config (dpp, ipp_intra, ipp_inter, prompts, …). The similarity of the loss is included.
    """
    config = copy.copy(PRESETS["recommended"])
    config = type(config)(**(vars(config) | changes))
    with torch.device("meta"):
        dpp, ipp = DomainPrompts(identities, dim, config), InstancePrompts(dim, config)
        initial, features = torch.empty(identities, dim), torch.empty(rows, dim)
        pids = torch.empty(identities, dtype=torch.long)

    def run() -> None:
        for modality in (0, 1):
            if config.dpp:
                dpp(modality, pids, initial)
            for _ in range(config.ipp_intra + config.ipp_inter):
                ipp(initial, features)
            if config.prototypes:
                _ = initial @ features.T

    return multiply_adds(run, [dpp, ipp]) // rows


def masked_word_macs(clip: Clip, heads: int = 8) -> int:
    """Multiply-adds of masked words per training row, as Propot's Table 4 counts: a pass of the masked caption of full
    length, and the head over each of its words. Our step reads one pass for both and the head at masked words alone.
    """
    with torch.device("meta"):
        head = MaskedWordHead(clip.dim, clip.vocabulary, heads)
        text, image = torch.empty(1, clip.length, clip.dim), torch.empty(1, 1 + math.prod(clip.grid), clip.dim)
    return text_macs(clip) + multiply_adds(lambda: head.guesses(head.cross(text, image)), [head])
