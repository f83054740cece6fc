"""Feature spaces and responses that the tests of the variance partition share."""

from __future__ import annotations

import numpy as np

FIELDS = ("r2", "shared", "unique", "shapley", "product_measure", "split_correlation", "correlation")


def problem(n=60, widths=(4, 6), t=3, seed=0):
    """Spaces of different scale and mean, responses of all of them, and weights."""
    rng = np.random.default_rng(seed)
    spaces = [rng.standard_normal((n, p)) * 3.0**j + j for j, p in enumerate(widths)]
    signal = sum(
        (x - x.mean(0)) @ rng.standard_normal((x.shape[1], t)) / 3.0**j for j, x in enumerate(spaces)
    )
    return spaces, signal + 2 * rng.standard_normal((n, t)) + 5, rng.integers(1, 5, n).astype(float)
