"""The triplet loss against a slow loop, and rivals that no method's test covers."""

import pytest
import torch
from torch.nn import functional as F

from descry.errors import UsageError
from descry.methods.rivals import aggregation, triplet

K = torch.arange(48, dtype=torch.float32).reshape(6, 8)
X, PID = torch.sin(1 + K), torch.tensor([0, 0, 1, 2, 2, 3])


def test_triplet_slow_loop():
    x, total = F.normalize(X, dim=1), 0.0
    for i in range(6):
        near = [float((x[i] - x[j]).norm()) for j in range(6) if PID[j] != PID[i]]
        far = [float((x[i] - x[j]).norm()) for j in range(6) if PID[j] == PID[i] and j != i]
        if far:
            total += max(0.0, max(far) - min(near) + 0.3) / 6
    assert float(triplet(X, PID)) == pytest.approx(total, rel=1e-4)


def test_triplet_keeps_its_precision_under_autocast():
    near = 1 + torch.randn(8, 64, generator=torch.Generator().manual_seed(0)) / 50  # cosines near 1: √ of next to 0
    pids = torch.arange(8) // 2
    exact = float(triplet(near, pids))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(triplet(near, pids)) == pytest.approx(exact, rel=1e-5)
        rounded = float(triplet(near.bfloat16(), pids))
    assert rounded == pytest.approx(float(triplet(near.bfloat16().float(), pids)), rel=1e-5)


def test_triplet_without_partners_or_without_others_is_zero_with_finite_gradient():
    for pids in (torch.arange(6), torch.zeros(6)):
        features = X.clone().requires_grad_()
        loss = triplet(features, pids)
        loss.backward()
        assert loss.item() == 0.0
        assert torch.isfinite(features.grad).all()


def test_unknown_aggregation():
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        aggregation("means", 8, 3)
