"""Losses that more than one method uses. Plain functions of features that are already gathered over processes.

Letters: B rows of a batch, D feature dimension. `temperature` is τ of the papers everywhere, never its inverse.
Each returns a scalar: the mean over the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def _tensor(x: Any) -> Tensor:
    return torch.from_numpy(np.asarray(x)) if not isinstance(x, Tensor) else x


def identity_targets(pids: Any) -> Tensor:
    """(B,) identities → (B, B) row-normalised true matching probabilities q̂ of InteractReID eq. (3)."""
    pids = _tensor(pids)
    same = (pids[:, None] == pids[None, :]).float()
    value: Tensor = same / same.sum(dim=1, keepdim=True)
    return value


def _wide(x: Any) -> Tensor:
    """As a tensor of 32 bits or more."""
    x = _tensor(x)
    value: Tensor = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    return value


def cosine_logits(a: Any, b: Any, temperature: float | Tensor) -> Tensor:
    """(B, D), (C, D) → (B, C) cosine similarities divided by the temperature.

    In 32 bits even under autocast: with τ = 0.02, bfloat16 would round a logit of 50 to the next quarter.
    """
    return projections(F.normalize(_wide(a), dim=-1), b) / temperature


def projections(a: Any, b: Any) -> Tensor:
    """(B, D), (C, D) → (B, C): a on the unit directions of b. In 32 bits even under autocast."""
    a, b = _wide(a), _wide(b)
    with torch.autocast(a.device.type, enabled=False):
        value: Tensor = a @ F.normalize(b, dim=-1).T
        return value


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """−Σ_j target_ij · log softmax(logits)_ij, mean over i."""
    return -(targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


def info_nce(a: Any, b: Any, temperature: float | Tensor, pids: Any = None) -> Tensor:
    """Contrastive loss of paired rows: the mean of both directions (InteractReID eq. 5-8, with cosine for the dot
    product).

    a, b: (B, D), scaled to unit length here. temperature: τ. pids: (B,) identities; given, every row of the same
    identity is a positive; left out, only the paired row is.
    """
    logits = cosine_logits(a, b, temperature)
    targets = torch.eye(len(logits), dtype=logits.dtype, device=logits.device)
    if pids is not None:
        targets = identity_targets(pids).to(logits)
    return (soft_cross_entropy(logits, targets) + soft_cross_entropy(logits.T, targets.T)) / 2


def sdm(
    a: Any,
    b: Any,
    pids: Any,
    temperature: float | Tensor,
    image_ids: Any = None,
    factor: float = 0.3,
    epsilon: float = 1e-8,
) -> Tensor:
    """Similarity distribution matching: KL(p ‖ q) in both directions, summed (VFE-TPS eq. 6-9, Propot eq. 7-9).

    a, b: (B, D). pids: (B,). image_ids: (B,); given, rows of one photograph count 1 and other rows of the identity
    `factor`.
    """
    pids = _tensor(pids)
    labels = (pids[:, None] == pids[None, :]).float()
    if image_ids is not None:
        image_ids = _tensor(image_ids)
        same_image = (image_ids[:, None] == image_ids[None, :]).float()
        labels = same_image + factor * (labels - same_image)
    return matching(cosine_logits(a, b, temperature), labels, epsilon)


def matching(logits: Tensor, labels: Tensor, epsilon: float = 1e-8) -> Tensor:
    """KL(p ‖ q) in both directions, summed, of (B, B) logits, with q the symmetric (B, B) labels, each row divided by
    its sum.
    """
    q = (labels / labels.sum(dim=1, keepdim=True)).to(logits)
    return _kl_to_targets(logits, q, epsilon) + _kl_to_targets(logits.T, q, epsilon)


def _kl_to_targets(logits: Tensor, targets: Tensor, epsilon: float) -> Tensor:
    log_p = F.log_softmax(logits, dim=-1)
    return (log_p.exp() * (log_p - torch.log(targets + epsilon))).sum(dim=-1).mean()


def sigmoid_pairs(a: Any, b: Any, pids: Any, temperature: float | Tensor, bias: float | Tensor) -> Tensor:
    """The loss of SigLIP (Zhai et al., ICCV 2023, eq. 1): each pair is judged alone, −log sigmoid(± (cos / τ + b)).

    a, b: (B, D). pids: (B,); rows of the same identity are positives. Summed over a row, mean over the rows.
    """
    logits, pids = cosine_logits(a, b, temperature) + bias, _tensor(pids)
    sign = torch.where(pids[:, None] == pids[None, :], 1.0, -1.0).to(logits)
    return -F.logsigmoid(sign * logits).sum(dim=1).mean()


def reverse_kl(a: Any, b: Any, pids: Any, temperature: float | Tensor, epsilon: float = 1e-2) -> Tensor:
    """R-ITC of the released InteractReID code: KL(p ‖ q̂ + ε), mean of both directions.

    ε is added inside the logarithm and the sum is not normalised again.
    """
    logits = cosine_logits(a, b, temperature)
    targets = identity_targets(pids).to(logits)
    return (_kl_to_targets(logits, targets, epsilon) + _kl_to_targets(logits.T, targets, epsilon)) / 2


def soft_contrastive(
    a: Any, b: Any, pids: Any, temperature: float | Tensor, alpha: float = 0.0, teacher: tuple[Any, Any] | None = None
) -> Tensor:
    """Contrastive loss with self-distilled labels g = α · softmax(teacher) + (1 − α) · q̂, mean of both directions.

    teacher: the same features (a, b) from a pass without gradient; left out, those of this pass are used, detached.
    α = 0 is the hard-label loss of InteractReID eq. (3).
    """
    logits = cosine_logits(a, b, temperature)
    hard = identity_targets(pids).to(logits)
    if alpha == 0.0:
        return (soft_cross_entropy(logits, hard) + soft_cross_entropy(logits.T, hard)) / 2
    with torch.no_grad():
        soft = logits.detach() if teacher is None else cosine_logits(*teacher, temperature)
        forward = alpha * soft.softmax(dim=-1) + (1 - alpha) * hard
        backward = alpha * soft.T.softmax(dim=-1) + (1 - alpha) * hard
    return (soft_cross_entropy(logits, forward) + soft_cross_entropy(logits.T, backward)) / 2
