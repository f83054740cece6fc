"""Simulated features and responses whose targets want many different penalties, as recordings do."""

from __future__ import annotations

import numpy as np

FloatArray = np.ndarray


def features(n: int, p: int, rng: np.random.Generator) -> FloatArray:
    """Return (n, p) float32 features; the variance of component k falls as 1 / k, as in activations.

    The components are the columns themselves: ridge does not see a rotation of the features.
    """
    X = rng.standard_normal((n, p), dtype=np.float32)
    X *= np.arange(1, p + 1, dtype=np.float32) ** -0.5
    return X / X.std()


def responses(spaces: list[FloatArray], t: int, rng: np.random.Generator, shares: FloatArray) -> FloatArray:
    """Return (n, t) float32 responses, explained variance uniform on 0 to 0.6 over targets.

    The signal of a target has the given share (n_spaces, t) of its variance from each
    feature space. There it follows a random set of 2 to 30 components of equal weight on
    variance, around a place in the spectrum that is the target's own (uniform on a log
    scale): what lies late in the spectrum needs a small penalty, what lies early and is
    noisy a large one.
    """
    n = len(spaces[0])
    signal = np.zeros((n, t), dtype=np.float32)
    for X, share in zip(spaces, shares, strict=True):
        part = (X / X.std(axis=0)) @ _low_rank_weights(X.shape[1], t, rng)
        signal += part / part.std(axis=0) * np.sqrt(share, dtype=np.float32)
    signal /= signal.std(axis=0)
    explained = rng.uniform(0, 0.6, t).astype(np.float32)
    noise = rng.standard_normal((n, t), dtype=np.float32)
    return np.sqrt(explained) * signal + np.sqrt(1 - explained) * noise


def _low_rank_weights(p: int, t: int, rng: np.random.Generator) -> FloatArray:
    """Weights (p, t) on standardised components, each target's set around a place of its own."""
    weights = np.zeros((p, t), dtype=np.float32)
    for target in range(t):
        rank = rng.integers(2, 31)
        place = np.exp(rng.uniform(0, np.log(p)))
        chosen = np.unique((place * np.exp(rng.normal(0, 0.5, rank))).astype(int).clip(0, p - 1))
        weights[chosen, target] = rng.standard_normal(len(chosen))
    return weights


def ridge_problem(n: int, p: int, t: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """One feature space and its responses."""
    rng = np.random.default_rng(seed)
    X = features(n, p, rng)
    return X, responses([X], t, rng, np.ones((1, t), dtype=np.float32))


def banded_problem(n: int, widths: list[int], t: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Feature spaces side by side: a target follows them in shares of its own, a third follows one only."""
    rng = np.random.default_rng(seed)
    spaces = [features(n, width, rng) for width in widths]
    shares = rng.dirichlet(np.full(len(widths), 0.7), t).T.astype(np.float32)
    alone = rng.random(t) < 1 / 3
    shares[:, alone] = np.eye(len(widths), dtype=np.float32)[:, rng.integers(0, len(widths), alone.sum())]
    return np.hstack(spaces), responses(spaces, t, rng, shares)
