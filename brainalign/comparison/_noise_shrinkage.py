"""Intensities of shrinkage in closed form: never a matrix of channels by channels when rows are fewer."""

from __future__ import annotations

import torch


def smaller_gram(rows: torch.Tensor) -> torch.Tensor:
    """The smaller of the two Gram matrices of rows (n, p); both have the same Frobenius norm."""
    return rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows


def squared_norm(values: torch.Tensor) -> float:
    """Sum of the squares of all entries, without a copy of them."""
    flat = values.reshape(-1)
    return float(flat @ flat)


def ledoit_wolf(rows: torch.Tensor, gram: torch.Tensor) -> float:
    """Weight of the target mu I for centred rows (n, p); Ledoit & Wolf 2004, lemma 3.2 to 3.4."""
    n, p = rows.shape
    norms = gram.diagonal() if len(gram) == n else rows.square().sum(1)
    mean = float(gram.trace()) / (n * p)
    squared = squared_norm(gram) / n**2
    distance = (squared - p * mean**2) / p
    error = (float(norms.square().sum()) / n - squared) / (n * p)
    error = min(max(error, 0.0), distance)
    return error / distance if error > 0 else 0.0


def oas(rows: torch.Tensor, gram: torch.Tensor) -> float:
    """Weight of the target mu I for centred rows (n, p); Chen, Wiesel, Eldar & Hero 2010, eq. 23.

    Without the terms in 2/p of the paper, as the field's implementations leave them out.
    """
    n, p = rows.shape
    mean = float(gram.trace()) / (n * p)
    alpha = squared_norm(gram) / n**2 / p**2
    denominator = (n + 1) * (alpha - mean**2 / p)
    return 1.0 if denominator <= 0 else min((alpha + mean**2) / denominator, 1.0)


def schaefer_strimmer(scaled: torch.Tensor, gram: torch.Tensor, dof: float) -> float:
    """Weight of the target diag(S); Schaefer & Strimmer 2005, table 2, target D.

    For centred rows (n, p) whose channels have a sum of squares of dof.
    """
    n = len(scaled)
    squares = scaled.square()
    norms = squares.sum(1)
    # sums over pairs of different channels: all pairs less the channels with themselves
    correlations = (squared_norm(gram) - float(squares.sum(0).square().sum())) / (n - 1) ** 2
    fourth = (float(norms.square().sum()) - squared_norm(squares)) / (n - 1)
    if correlations <= 0:
        return 1.0
    # n / dof^2 is the peers' convention; n / (n - 1)^2 is that of the paper's variance
    variances = n / dof**2 * (fourth - correlations)
    return min(max(variances / correlations, 0.0), 1.0)
