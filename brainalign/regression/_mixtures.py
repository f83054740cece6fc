"""Scores of a whole grid of penalties from the predictions of a few of them.

Where the other predictions are combinations of those of the nodes to rounding, they are
formed and scored like any. Where they are combinations to a coarser tolerance they are never
formed: every score follows from the products of the nodes' predictions with each other and
with the responses, one small matrix per target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from brainalign.regression._penalties import Mixture
from brainalign.regression._scoring import score_sums

# targets whose predictions are scored at a time on a CPU: those of all penalties stay in its cache
_SCORED = 512

Scorer = Callable[[torch.Tensor], torch.Tensor]


def score_predictions(
    mixture: Mixture | None,
    operators: torch.Tensor,
    right: torch.Tensor,
    scorer_of: Callable[[slice], Scorer],
) -> torch.Tensor:
    """Scores (n_alphas, w) of the predictions `operators` (q, n_test, k) times `right` (k, w).

    `scorer_of` gives the scorer of some targets. It is called once per penalty, in their
    order, with predictions (n_test, targets) less the training mean, which it may overwrite.
    """
    flat, w = operators.reshape(-1, operators.shape[2]), right.shape[1]
    width = _SCORED if right.device.type == "cpu" else w
    parts = []
    for start in range(0, w, width):
        part = slice(start, min(start + width, w))
        predicted = (flat @ right[:, part]).view(*operators.shape[:2], -1)
        parts.append(_score_mixture(mixture, predicted, scorer_of(part)))
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def _score_mixture(mixture: Mixture | None, predicted: torch.Tensor, scorer: Scorer) -> torch.Tensor:
    """Scores of predictions (q, n_test, w), those of combined penalties included."""
    if mixture is None:
        return torch.stack([scorer(one) for one in predicted])
    flat = predicted.reshape(len(predicted), -1)
    combined = {a: (mixture.weights[a].to(flat) @ flat).view(predicted.shape[1:]) for a in mixture.combined}
    nodes = iter(predicted)
    return torch.stack(
        [scorer(combined[a]) if a in combined else scorer(next(nodes)) for a in range(mixture.n_alphas)]
    )


def node_products(
    operators: torch.Tensor, right: torch.Tensor, others: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Products over rows of the nodes' predictions and of other columns, (w, q + e, q + e) float64.

    `operators` (q, r, k) times `right` (k, w) are the predictions; `others` are e tensors
    (r, w) or (r, 1). Memory: w r (q + e) values.
    """
    q, r, _ = operators.shape
    w = right.shape[1]
    # rows of one target side by side: the products of each target are one small matrix product
    rows = torch.empty(w, q + len(others), r, dtype=right.dtype, device=right.device)
    torch.mm(right.T, operators.reshape(q * r, -1).T, out=rows.view(w, -1)[:, : q * r])
    for place, other in enumerate(others):
        rows[:, q + place] = other.T
    return torch.bmm(rows, rows.transpose(1, 2)).to(torch.float64)


def combined_squares(weights: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """Sums of squares of combined predictions, (n_alphas, w), of nodes' products (w, q, q)."""
    return ((weights @ products) * weights).sum(2).T


def score_from_products(
    mixture: Mixture,
    operators: torch.Tensor,
    right: torch.Tensor,
    observed: torch.Tensor,
    *,
    scoring: str,
    flat: torch.Tensor,
) -> torch.Tensor:
    """Scores of one fold at every penalty of a mixture, (n_alphas, w) float64.

    Parameters
    ----------
    operators : (q, n_test, k), those of the nodes
    right : (k, w), with the operators the predictions less the training mean
    observed : (n_test, w) responses less the training mean
    flat : (w,) targets that are constant in the test rows
    """
    q, n, _ = operators.shape
    mean = observed.mean(0)
    total = (observed - mean).square().sum(0).to(torch.float64)
    if scoring != "neg_mean_squared_error":
        total = torch.where(flat | (total == 0), torch.nan, total)
    products = node_products(operators, right, (observed - mean, torch.ones_like(observed[:, :1])))
    sums = products[:, :q, q + 1]
    centred = products[:, :q, :q] - sums[:, :, None] * sums[:, None, :] / n
    weights = mixture.weights
    return score_sums(
        scoring,
        n,
        total,
        weights @ products[:, :q, q].T,
        combined_squares(weights, centred),
        mean - weights @ sums.T / n,
    )
