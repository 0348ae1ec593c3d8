"""LoRA (Hu et al., ICLR 2022) through PEFT: a weight W of the encoders stays as it is, and B·A of rank r is trained in
W + α/r · B·A.

Only training knows of it. A run folder holds the merged weights under their usual names, so that it is searched with,
exported and trained on like any other; the state that --resume reads holds A and B.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .errors import UsageError, install_hint, nearest

ADAPTERS = ("", "lora")
TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
_NAME = "default"


def attach(method: Any, name: str, seed: int) -> None:
    """Put the adapters that the method's recipe asks for into its encoders; nothing where it asks for none.

    Adapted are the linear layers named by `adapter_targets` that the method would train; every other weight of the
    encoders is frozen but the temperature (and the bias of a SigLIP), which stay as the method has them. Parts beside
    the encoders are trained as usual.

    Args:
        method: a `Method` that is about to be trained.
        name: of the method, for messages.
        seed: of the first values of A; B begins as zero, so that training begins where the weights are.

    Raises:
        UsageError: for an unknown layer, a method that has no encoder to adapt, or where PEFT is not installed.
    """
    recipe = method.config.recipe
    if not recipe.adapter:
        return
    if "clip" not in dict(method.named_children()):
        raise UsageError(f"adapter={recipe.adapter} adapts a CLIP, and {name} trains other encoders; leave adapter out")
    clip = method.clip
    targets = _targets(clip, recipe.adapter_targets)
    chosen = [target for target in targets if clip.get_submodule(target).weight.requires_grad]
    if not chosen:
        raise UsageError(
            f"adapter={recipe.adapter} was given, and {name} with these settings trains none of "
            f"{', '.join(recipe.adapter_targets)} in its encoders; leave adapter out"
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UsageError(f"adapter={recipe.adapter} needs PEFT, which is not here: {install_hint('lora')}") from None
    apart = {key: p for key, p in clip.named_parameters() if key.endswith(("logit_scale", "logit_bias"))}
    trained = {key: p.requires_grad for key, p in apart.items()}
    settings = LoraConfig(
        r=recipe.adapter_rank, lora_alpha=recipe.adapter_alpha, lora_dropout=recipe.adapter_dropout,
        target_modules=chosen,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(settings, clip, adapter_name=_NAME)
    for key, parameter in apart.items():
        parameter.requires_grad_(trained[key])


def _targets(clip: nn.Module, wanted: tuple[str, ...]) -> list[str]:
    """The full names of the linear layers with these last names. A layer inside torch's own attention is left out: that
    reads its weight and never calls it.
    """
    within = [key for key, module in clip.named_modules() if isinstance(module, nn.MultiheadAttention)]
    linear = [
        key
        for key, module in clip.named_modules()
        if isinstance(module, nn.Linear) and not any(key.startswith(f"{outer}.") for outer in within)
    ]
    known = list(dict.fromkeys(key.rpartition(".")[2] for key in linear))
    for name in wanted:
        if name not in known:
            raise UsageError(f"adapter_targets={','.join(wanted)} was given; {nearest(name, known)}")
    return [key for key in linear if key.rpartition(".")[2] in wanted]


def merged_state(method: nn.Module) -> dict[str, Tensor]:
    """`state_dict` under the names of a method without adapters, with W + α/r · B·A in the place of each adapted W."""
    state: dict[str, Tensor] = dict(method.state_dict())
    for key, module in method.named_modules():
        layer: Any = module
        if not hasattr(layer, "get_delta_weight"):
            continue
        inside = {name: state.pop(name) for name in list(state) if name.startswith(f"{key}.")}
        for name, value in inside.items():
            base, _, kind = name.removeprefix(f"{key}.").rpartition(".")
            if base == "base_layer":
                with torch.no_grad():
                    state[f"{key}.{kind}"] = value + layer.get_delta_weight(_NAME) if kind == "weight" else value
    return state
