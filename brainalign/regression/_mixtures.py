"""Scores of a whole grid of penalties from the predictions of a few of them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from brainalign.regression._penalties import Mixture
from brainalign.regression._scoring import ScorePredictions

# on a CPU so many targets are scored at a time, or those whose predictions have so many bytes
_SCORED, _CACHED = 512, 2**23


def score_predictions(
    mixture: Mixture | None,
    operators: torch.Tensor,
    right: torch.Tensor,
    scorer_of: Callable[[slice], ScorePredictions],
) -> torch.Tensor:
    """Scores (n_alphas, w) of the predictions `operators` (q, n_test, k) times `right` (k, w).

    `scorer_of` gives the scorer of some targets, which is called with the predictions
    (n_test, targets) of every penalty less the training mean, and may overwrite them.
    """
    (q, n, _), w = operators.shape, right.shape[1]
    weights = None if mixture is None else mixture.weights[mixture.combined].to(right)
    rows = (q + (0 if weights is None else len(weights))) * n
    flat, width = operators.reshape(q * n, -1), w
    if right.device.type == "cpu":
        width = min(w, max(_SCORED, _CACHED // (rows * right.element_size())))
    room = right.new_empty(rows * width)
    parts = []
    for start in range(0, w, width):
        part = slice(start, min(start + width, w))
        columns = part.stop - part.start
        predicted = room[: rows * columns]
        nodes = predicted[: q * n * columns]
        torch.mm(flat, right[:, part], out=nodes.view(-1, columns))
        if weights is not None:
            torch.mm(weights, nodes.view(q, -1), out=predicted[len(nodes) :].view(len(weights), -1))
        scorer = scorer_of(part)
        parts.append(torch.stack([scorer(one) for one in predicted.view(-1, n, columns)]))
    scores = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    return scores if mixture is None else scores[mixture.places]
