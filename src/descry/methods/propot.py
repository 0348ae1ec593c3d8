"""Propot: Prototypical Prompting for Text-to-image Person Re-identification (Yan et al., ACM MM 2024).

The paper in its order: initial prototypes of each identity from the frozen CLIP (§3.2, eq. 1); prompts that adapt them
to the domain (§3.3, eq. 2); instances of the batch that enrich them (§3.4, eq. 3-4); their aggregation (§3.5, eq. 5-6);
and the losses that hand what a prototype knows to the instances (§3.6, eq. 7-13). Inference is CLIP alone.

Prototypes never attend to each other and the loss is undefined for absent identities, so they are computed for the
identities of the batch only: the same loss and gradients as for all N, at about N / B of the cost. There is no released
code.

Letters: N identities, n of them in the batch, B rows, D shared dimension, K prompts; v, t image and text features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import Block, IdentityHead, MaskedWordHead
from ..clip import Clip
from ..errors import COUNT, POSITIVE, DataError, UsageError
from ..losses import cosine_logits, sdm
from ..text import Words
from . import Batch, Method, MethodConfig, Progress, Recipe, gather, optimiser_groups, per_process, summed
from .rivals import AGGREGATIONS, aggregation

CHOICES = {
    "prototype_scope": ("batch", "all"),
    "features": ("unit_mean", "sum", "mean"),
    "correlation": ("dot", "cosine"),
    "reduction": ("mean", "sum"),
    "labels": ("identity", "instance"),
    "aggregation": ("apa", *AGGREGATIONS),
}


@dataclass(frozen=True)
class Config(MethodConfig):
    """Every choice of the method. "Silent" means that the paper does not say; the decision is the default.

    Attributes:
        recipe: how it is trained (§4.1).
        image_size: (H, W) (§4.1).
        temperature: τ = 0.02 of SDM and of the prototype-to-instance loss (§4.1).
        identity: classify identities (row "baseline" of Table 4; see `ROWS`).
        prototypes: supervise with prototypes; alone, with the initial ones ("+IniPt").
        dpp: domain-conditional prompts (§3.3).
        ipp_intra: prototypes read the batch's features of their own modality (eq. 3).
        ipp_inter: prototypes read those of the other modality (eq. 4).
        mlm: masked words.
        prompts: K (§4.1: 4; Fig. 3a).
        prompt_std: their initial deviation; silent, CoOp's 0.02.
        sae_blocks: N_a = 1 (§4.1).
        cad_blocks: N_e = 3 (§4.1).
        heads: 8 (§4.1).
        tie_layers: the blocks of CAD share one set of weights. Silent; only this gives the parameters of Table 4. Both
            encoders serve both modalities, CAD also both of eq. (3) and (4), for the same reason.
        start_silent: SAE and CAD begin as the identity, so that training begins with CLIP's prototypes. Silent; ours.
        features: eq. (1). "sum" of the features as printed, their "mean", or "unit_mean": unit features, mean, unit
            length. Eq. (5)-(6) depend on the scale, and with sums the softmax is one-hot.
        aggregation: "apa" (eq. 5-6), or a rival of Table 5: "sum", "mean", "mlp", "learned".
        correlation: eq. (5), "dot" as printed or "cosine".
        prototype_scope: "batch" computes the prototypes of the identities present, "all" those of all N; equal results.
        p2i_weight: λ1 = 0.2 (§4.1).
        mlm_weight: λ2 = 1.0 (§4.1).
        log: eq. (11)-(12) are printed without a logarithm; without it the loss lies in [−1, 0] and saturates.
        reduction: over identities. Eq. (10) prints "sum"; λ1 was tuned to 0.2 and collapses at 10, which speaks for the
            "mean".
        symmetric: also normalise over the prototypes present, not only over the instances as printed.
        detach_instances: no gradient from prototypes into the instances that enrich them. Silent.
        labels: of SDM, all rows of an "identity" or of one photograph ("instance"). Eq. (8) says "true matching
            probability".
        mask_captions: all losses read the masked caption (§4.1: texts are "augmented by randomly masking out some
            tokens").
        new_rate: learning rate of everything that is not CLIP, relative to the recipe's: 1e-4 to 1e-5 (§4.1).
        bias_rule: IRRA's biases without weight decay and, outside the identity and masked-word heads, at twice the
            rate. Silent.
    """

    bounds = {"temperature": POSITIVE, "prompts": COUNT, "sae_blocks": COUNT, "cad_blocks": COUNT, "heads": COUNT}
    choices = CHOICES
    recipe: Recipe
    image_size: tuple[int, int] = (384, 128)
    temperature: float = 0.02
    identity: bool = True
    prototypes: bool = True
    dpp: bool = True
    ipp_intra: bool = True
    ipp_inter: bool = True
    mlm: bool = True
    prompts: int = 4
    prompt_std: float = 0.02
    sae_blocks: int = 1
    cad_blocks: int = 3
    heads: int = 8
    tie_layers: bool = True
    start_silent: bool = True
    features: str = "unit_mean"
    aggregation: str = "apa"
    correlation: str = "dot"
    prototype_scope: str = "batch"
    p2i_weight: float = 0.2
    mlm_weight: float = 1.0
    log: bool = True
    reduction: str = "mean"
    symmetric: bool = False
    detach_instances: bool = False
    labels: str = "identity"
    mask_captions: bool = True
    new_rate: float = 10.0
    bias_rule: bool = False


# Adam's epsilon is silent; IRRA, whose code the paper builds on, takes 1e-3. Selection is silent too.
_RECIPE = Recipe(
    epochs=60, batch_size=64, lr=1e-5, optimiser="adam", eps=1e-3, weight_decay=4e-5, schedule="epoch", warmup_epochs=6,
    warmup_from=1e-6, augment="flip-crop-erase", mask_text=0.15, clean_captions=False, drop_last=False,
)  # fmt: skip

PRESETS: dict[str, Config] = {  # there is no "released": the authors released no code
    "paper": Config(_RECIPE, features="sum", log=False, reduction="sum", start_silent=False),
    "recommended": Config(_RECIPE),
}

_NOTHING = {"prototypes": False, "dpp": False, "ipp_intra": False, "ipp_inter": False, "mlm": False}
ROWS: dict[str, dict[str, bool]] = {
    "baseline": _NOTHING,
    "+IniPt": _NOTHING | {"prototypes": True},
    "+DPP": _NOTHING | {"prototypes": True, "dpp": True},
    "+IPP (intra)": _NOTHING | {"prototypes": True, "ipp_intra": True},
    "+IPP (inter)": _NOTHING | {"prototypes": True, "ipp_inter": True},
    "+IPP": _NOTHING | {"prototypes": True, "ipp_intra": True, "ipp_inter": True},
    "+DPP+IPP": _NOTHING | {"prototypes": True, "dpp": True, "ipp_intra": True, "ipp_inter": True},
    "+DPP+IPP+MLM": dict.fromkeys(_NOTHING, True),
}
"""The rows of Table 4: `replace(config, **ROWS[name])`."""


class DomainPrompts(nn.Module):
    """DPP (§3.3, eq. 2): K learnt vectors per identity and modality hand domain knowledge to the initial prototype."""

    def __init__(self, identities: int, dim: int, config: Config):
        super().__init__()
        self.prompts = nn.Parameter(torch.empty(2, identities, config.prompts, dim))
        nn.init.normal_(self.prompts, std=config.prompt_std)
        self.sae = nn.ModuleList(Block(dim, config.heads, config.sae_blocks) for _ in range(config.sae_blocks))

    def forward(self, modality: int, pids: Tensor, initial: Tensor) -> Tensor:
        """p_a: modality 0 (v) or 1 (t), pids (n,), initial prototypes (n, D) → (n, D)."""
        x = torch.cat([self.prompts[modality, pids], initial[:, None]], dim=1)
        for block in self.sae:
            x = block(x)
        return x[:, -1]


class InstancePrompts(nn.Module):
    """IPP (§3.4, eq. 3-4): the prototypes (queries) read the instances of the batch (keys and values) in CAD."""

    def __init__(self, dim: int, config: Config):
        super().__init__()
        own = 1 if config.tie_layers else config.cad_blocks
        self.blocks = nn.ModuleList(Block(dim, config.heads, config.cad_blocks) for _ in range(own))
        self.layers = config.cad_blocks

    def forward(self, initial: Tensor, instances: Tensor) -> Tensor:
        """(n, D), (B, D) → (n, D)."""
        x = initial[None]
        for layer in range(self.layers):
            x = self.blocks[layer % len(self.blocks)](x, instances[None])
        return x[0]


def aggregate(initial: Tensor, prompted: Tensor, correlation: str = "dot") -> Tensor:
    """APA (§3.5, eq. 5-6): initial (n, D), prompted (k, n, D) → (n, D).

    The weights are a softmax over the k prompted prototypes of their correlation with the initial one, which itself
    counts 1.
    """
    if correlation == "cosine":
        weights = F.cosine_similarity(initial[None], prompted, dim=-1)
    else:
        weights = (initial[None] * prompted).sum(dim=-1)
    return initial + (weights.softmax(dim=0)[..., None] * prompted).sum(dim=0)


def p2i(
    features: Any,
    pids: Any,
    prototypes: Any,
    owners: Any,
    temperature: float,
    log: bool = True,
    reduction: str = "mean",
    symmetric: bool = False,
) -> Tensor:
    """Prototype-to-instance contrastive loss of one modality (eq. 10-12).

    features: (B, D), pids: (B,). prototypes: (n, D) of the identities owners: (n,), each once. Identities without an
    instance in the batch are left out. reduction: over the others. log=False is the paper's literal form.
    """
    features, pids, prototypes, owners = (torch.as_tensor(x) for x in (features, pids, prototypes, owners))
    logits = cosine_logits(prototypes, features, temperature)
    own = owners[:, None] == pids[None, :]
    log_p = F.log_softmax(logits, dim=1)
    terms = log_p if log else log_p.exp()
    present = own.any(dim=1)
    per_identity = -(terms * own).sum(dim=1) / own.sum(dim=1).clamp(min=1)  # 0 where absent: a choice by it would wait
    loss: Tensor = per_identity.sum() if reduction == "sum" else per_identity.sum() / present.sum()
    if symmetric:
        rows = own.int().argmax(dim=0)
        absent = torch.where(present, 0.0, -torch.inf).to(logits)
        loss = loss + F.cross_entropy(logits.T + absent, rows)
    return loss


def _new_rows(batch: Batch, seen: set[int]) -> Tensor:
    """(rows,) positions of the rows whose photograph has not come before; `seen` grows. −1 is an unknown photograph."""
    rows = []
    for row, number in enumerate(batch["image_id"].tolist() if "image_id" in batch else [-1] * len(batch["pid"])):
        if number not in seen:
            rows.append(row)
        if number >= 0:
            seen.add(number)
    return torch.tensor(rows, dtype=torch.long, device=batch["pid"].device)


class Propot(Method):
    """CLIP with its heads and prototypes. identities: N; 0 makes the model for inference, without what training
    needs."""

    needs = frozenset({"text"})
    small = {"heads": 2, "start_silent": False}
    forms = {
        "": {},
        "all prototypes, P×K": {"prototype_scope": "all", "reduction": "sum", "sampler": "identity"},
    }
    initial: Tensor

    def __init__(self, clip: Clip, words: Words, config: Config, identities: int = 0):
        super().__init__(clip, words, config, identities)
        clip.logit_scale.requires_grad_(False)  # τ is fixed
        self.prepared = False
        if not identities:
            return
        c = config
        if c.identity:
            self.id_head = IdentityHead(clip.dim, identities)
        if c.prototypes:
            self.register_buffer("initial", torch.zeros(2, identities, clip.dim))
        if c.dpp:
            self.dpp = DomainPrompts(identities, clip.dim, c)
        if c.ipp_intra or c.ipp_inter:
            self.ipp = InstancePrompts(clip.dim, c)
        kinds = c.dpp + c.ipp_intra + c.ipp_inter
        if c.prototypes and kinds and c.aggregation != "apa":
            self.rival = aggregation(c.aggregation, clip.dim, kinds)
        if c.mlm:
            self.word_head = MaskedWordHead(clip.dim, clip.vocabulary, c.heads)
        if c.start_silent:
            for module in (m for name in ("dpp", "ipp") for m in getattr(self, name, nn.Module()).modules()):
                if isinstance(module, Block):
                    module.start_silent()

    # ------------------------------------------------------------------ §3.2, initial prototypes

    @torch.no_grad()
    def prepare(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Initial prototypes (eq. 1) from CLIP as it is now, before the first step.

        batches: makes batches of the training set, without augmentation, shared among the processes; of several rows
        with one image_id the photograph counts (and is encoded) once, and every caption counts. Raises DataError for an
        identity without an instance.
        """
        if not (self.identities and self.config.prototypes):
            return
        was, unit = self.training, self.config.features == "unit_mean"
        self.eval()
        total, counts = torch.zeros_like(self.initial, dtype=torch.float32), torch.zeros_like(self.initial[:, :, :1])
        seen: set[int] = set()
        for batch in batches():
            once = _new_rows(batch, seen)
            parts = [(1, self.clip.text_features(batch["text"]), batch["pid"])]
            if len(once):
                parts.append((0, self.clip.image_features(batch["image"][once]), batch["pid"][once]))
            for modality, rows, pids in parts:
                total[modality].index_add_(0, pids, (F.normalize(rows, dim=-1) if unit else rows).float())
                counts[modality].index_add_(0, pids, counts.new_ones(len(pids), 1))
        total, counts = summed(total), summed(counts)
        lacking = (counts == 0).any(dim=0).flatten().nonzero().flatten().tolist()
        if lacking:
            raise DataError(
                f"{len(lacking)} identities have no photograph or caption to begin from, first {lacking[:5]}; "
                "check the rows"
            )
        total = total if self.config.features == "sum" else total / counts
        self.initial.copy_(F.normalize(total, dim=-1) if unit else total)
        self.prepared = True
        self.train(was)

    # ------------------------------------------------------------------ §3.3-3.5, prototypes

    def prototypes(self, pids: Tensor, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Identity-enriched prototypes p^v, p^t (n, D) of the identities pids (n,), given a batch's features v, t (B,
        D)."""
        c = self.config
        v, t = (v.detach(), t.detach()) if c.detach_instances else (v, t)
        out = []
        for modality, (own, other) in enumerate(((v, t), (t, v))):
            initial = self.initial[modality, pids].to(v)
            prompted = [self.dpp(modality, pids, initial)] if c.dpp else []
            prompted += [self.ipp(initial, own)] if c.ipp_intra else []
            prompted += [self.ipp(initial, other)] if c.ipp_inter else []
            if not prompted:
                out.append(initial)
            elif c.aggregation == "apa":
                out.append(aggregate(initial, torch.stack(prompted), c.correlation))
            else:
                out.append(self.rival(initial, torch.stack(prompted)))
        return out[0], out[1]

    # ------------------------------------------------------------------ §3.6, losses

    def losses(self, batch: Batch, at: Progress) -> dict[str, Tensor]:
        """L = L_sdm + L_id + λ1 L_p2i + λ2 L_mlm (eq. 13), each already weighted."""
        c = self.config
        self.check_training(batch, c.mask_captions or c.mlm)
        image_tokens = self.clip.image_tokens(batch["image"])
        read = batch["masked_text"] if c.mask_captions else batch["text"]
        text_tokens = self.clip.text_tokens(read)
        v = image_tokens[:, 0]
        t = text_tokens[torch.arange(len(read), device=v.device), self.clip.text_end(read)]
        out = {}
        if c.identity:
            out["id"] = self.id_head(batch["pid"], v, t)
        if c.mlm:
            masked = text_tokens if c.mask_captions else self.clip.text_tokens(batch["masked_text"])
            labels, pads = batch["token_labels"], self.clip.text_pads(batch["masked_text"])
            count = per_process((labels != 0).sum())
            out["mlm"] = c.mlm_weight * self.word_head(masked, image_tokens, labels, pads, count)
        pids, v, t = gather(batch["pid"]), gather(v), gather(t)
        labels = pids if c.labels == "identity" else gather(batch["image_id"])
        out = {"sdm": sdm(v, t, labels, c.temperature)} | out  # eq. 7-9
        if c.prototypes:
            out["p2i"] = c.p2i_weight * self._p2i(pids, v, t)
        return out

    def _p2i(self, pids: Tensor, v: Tensor, t: Tensor) -> Tensor:
        if not self.prepared and not bool(self.initial.any()):
            raise UsageError("the initial prototypes are missing; call prepare() with the training batches first")
        self.prepared = True
        c = self.config
        everyone = torch.arange(self.identities, device=pids.device)
        owners = everyone if c.prototype_scope == "all" else pids.unique()
        prototypes = self.prototypes(owners, v, t)
        return sum(  # type: ignore[return-value]
            p2i(x, pids, p, owners, c.temperature, c.log, c.reduction, c.symmetric)
            for x, p in zip((v, t), prototypes, strict=True)
        )

    def param_groups(self) -> list[dict[str, Any]]:
        """CLIP at the recipe's rate, everything new at new_rate times it (§4.1); weight decay on all, as Adam's in
        IRRA."""
        c = self.config

        def rule(name: str, parameter: nn.Parameter) -> tuple[float, float]:
            scale, decay = 1.0 if name.startswith("clip.") else c.new_rate, c.recipe.weight_decay
            head = name.startswith(("id_head.", "word_head.words", "word_head.dense", "word_head.norm"))
            return (scale if head else 2.0, 0.0) if c.bias_rule and name.endswith("bias") else (scale, decay)

        return optimiser_groups(self.named_parameters(), rule)
