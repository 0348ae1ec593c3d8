"""Embeddings as points in the plane, in NumPy alone: PCA, and t-SNE for the few thousand points that a figure
can show.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from descry.errors import UsageError


def pca(vectors: Any) -> np.ndarray:
    """(N, D) → (N, 2): the two directions of largest variance; signs fixed, so that a map does not flip between
    runs.
    """
    x = np.asarray(vectors, np.float64)
    x = x - x.mean(axis=0)
    _, _, axes = np.linalg.svd(x, full_matrices=False)
    axes = axes[:2]
    value: np.ndarray = x @ (axes * np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])[:, None]).T
    return value


def tsne(vectors: Any, perplexity: float = 15.0, steps: int = 500, seed: int = 0) -> np.ndarray:
    """(N, D) → (N, 2) by t-SNE (van der Maaten and Hinton 2008), exact, for up to a few thousand points; begins at PCA.

    Only neighbourhoods mean something in it, not distances between groups. Raises UsageError for fewer than four
    points.
    """
    x = np.asarray(vectors, np.float64)
    n = len(x)
    if n < 4:
        raise UsageError(f"a t-SNE map needs four points or more; got {n}")
    p = _neighbours(x, min(perplexity, (n - 1) / 3))
    y = pca(x)
    y = 1e-2 * y / max(float(y.std()), 1e-12) + 1e-6 * np.random.default_rng(seed).normal(size=y.shape)
    speed, gain = np.zeros_like(y), np.ones_like(y)
    for step in range(steps):
        near = 1 / (1 + _squared(y))
        np.fill_diagonal(near, 0)
        q = np.maximum(near / near.sum(), 1e-12)
        pull = ((12.0 if step < 100 else 1.0) * p - q) * near
        slope = 4 * (pull.sum(axis=1)[:, None] * y - pull @ y)
        gain = np.maximum(np.where(np.sign(slope) == np.sign(speed), 0.8 * gain, gain + 0.2), 0.01)
        speed = (0.5 if step < 250 else 0.8) * speed - max(n / 12, 50) * gain * slope
        y = y + speed
        y -= y.mean(axis=0)
    return y


def _neighbours(x: np.ndarray, perplexity: float) -> np.ndarray:
    """(N, N) joint probabilities whose rows have this perplexity before they are made symmetric."""
    squared, p = _squared(x), np.zeros((len(x), len(x)))
    for i, row in enumerate(squared):
        others = np.delete(row, i)
        others = others - others.min()
        low, high, beta = 0.0, np.inf, 1.0 / max(float(np.median(others)), 1e-12)
        for _ in range(60):
            weight = np.exp(-others * beta)
            share = weight / weight.sum()
            entropy = -float((share * np.log(np.maximum(share, 1e-300))).sum())
            if abs(entropy - np.log(perplexity)) < 1e-5:
                break
            if entropy > np.log(perplexity):
                low, beta = beta, beta * 2 if np.isinf(high) else (beta + high) / 2
            else:
                high, beta = beta, (beta + low) / 2
        p[i, np.arange(len(x)) != i] = share
    return np.maximum((p + p.T) / (2 * len(x)), 1e-12)


def _squared(x: np.ndarray) -> np.ndarray:
    norm = (x * x).sum(axis=1)
    value: np.ndarray = np.maximum(norm[:, None] + norm[None, :] - 2 * x @ x.T, 0)
    return value
