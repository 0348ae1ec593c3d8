"""Each loss three ways: the closed form in NumPy, a slow loop, and the reference values of the released functions."""

import math

import numpy as np
import pytest
import torch

from descry import losses

B, D = 6, 8
K = torch.arange(B * D, dtype=torch.float32).reshape(B, D)
I, T = torch.sin(1 + K), torch.cos(0.5 + 1.3 * K)  # noqa: E741
PID = torch.tensor([0, 0, 1, 2, 2, 3])


def close(value, expected):
    assert float(value) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("scale", "expected"), [(50, 24.139519), (1 / 0.07, 22.540474), (100, 24.733891)])
def test_sdm_reference(scale, expected):
    close(losses.sdm(I, T, PID, 1 / scale), expected)


def test_sdm_with_photograph_labels_reference():
    close(losses.sdm(I, T, PID, 1 / 50, image_ids=torch.tensor([0, 1, 2, 3, 3, 4]), factor=0.3), 24.418373)


@pytest.mark.parametrize(("scale", "expected"), [(50, 36.673485), (1 / 0.07, 10.706456), (100, 73.268143)])
def test_info_nce_reference(scale, expected):
    close(losses.info_nce(I, T, 1 / scale), expected)


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, 7.166847), (0.5, 3.817754)])
def test_soft_contrastive_reference(alpha, expected):
    close(losses.soft_contrastive(I, T, PID, 0.07, alpha), expected)
    close(losses.soft_contrastive(I, T, PID, 0.07, alpha, teacher=(I, T)), expected)


def test_reverse_kl_reference():
    close(losses.reverse_kl(I, T, PID, 0.07, 1e-2), 2.603254)


def probabilities(a, b, temperature):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    logits = (
        (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T / temperature
    )
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_sdm_slow_loop():
    total = 0.0
    for a, b in ((I, T), (T, I)):
        p = probabilities(a, b, 0.05)
        for i in range(B):
            same = [1.0 if PID[i] == PID[j] else 0.0 for j in range(B)]
            for j in range(B):
                total += p[i, j] * (math.log(p[i, j]) - math.log(same[j] / sum(same) + 1e-8)) / B
    close(losses.sdm(I.numpy(), T.numpy(), PID.numpy(), 0.05), total)


def test_info_nce_slow_loop_and_identities():
    rows = 0.0
    for a, b in ((I, T), (T, I)):
        p = probabilities(a, b, 0.1)
        rows += sum(-math.log(p[i, i]) for i in range(B)) / B / 2
    close(losses.info_nce(I, T, 0.1), rows)
    same = 0.0
    for a, b in ((I, T), (T, I)):
        p = probabilities(a, b, 0.1)
        for i in range(B):
            mates = [j for j in range(B) if PID[j] == PID[i]]
            same += sum(-math.log(p[i, j]) for j in mates) / len(mates) / B / 2
    close(losses.info_nce(I, T, 0.1, PID), same)


def test_scale_of_the_inputs_does_not_matter():
    assert torch.allclose(losses.info_nce(3 * I, T / 7, 0.1), losses.info_nce(I, T, 0.1))


def test_perfect_pairs_cost_nearly_nothing():
    eye = torch.eye(6)
    assert float(losses.info_nce(eye, eye, 0.01)) < 1e-6
    assert float(losses.sdm(eye, eye, torch.arange(6), 0.01)) < 1e-5


def test_gradients_reach_both_sides():
    a, b = I.clone().requires_grad_(), T.clone().requires_grad_()
    (
        losses.sdm(a, b, PID, 0.05) + losses.soft_contrastive(a, b, PID, 0.05, 0.5) + losses.reverse_kl(a, b, PID, 0.05)
    ).backward()
    assert a.grad.abs().sum() > 0
    assert b.grad.abs().sum() > 0


def test_logits_are_not_rounded_under_autocast():
    exact = losses.cosine_logits(I, T, 0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(losses.cosine_logits(I, T, 0.02), exact, rtol=0, atol=1e-5)
        half = losses.cosine_logits(I.bfloat16(), T.bfloat16(), 0.02)
    assert half.dtype == torch.float32
    assert torch.allclose(half, losses.cosine_logits(I.bfloat16().float(), T.bfloat16().float(), 0.02))
    assert losses.cosine_logits(I.double(), T.double(), 0.02).dtype == torch.float64
