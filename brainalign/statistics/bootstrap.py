"""Bootstrap intervals of scores through counts: no prediction is copied or refitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainalign.errors import ShapeError
from brainalign.metrics import is_constant

_FEWEST_BLOCKS = 5


def bootstrap_pearson(
    observed: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
    *,
    n_bootstrap: int = 1000,
    block: int = 1,
    random_state: int | None = 0,
) -> np.ndarray:
    """Resample test rows within each fold, score, average over folds.

    Parameters
    ----------
    observed, predicted : per fold (n_test, n_targets)
    n_bootstrap : number of resamples
    block : rows that are drawn together; above 1 for samples in time, which depend on their
        neighbours. At least 5 blocks are made of a fold.

    Returns
    -------
    (n_bootstrap, n_targets) Pearson correlations; a fold where a target is constant or its
    prediction is NaN is left out, and the draw is NaN where no fold is left; a constant
    prediction scores 0. The fitted models are held: the interval speaks of other test stimuli, not
    of other training sets.

    Notes
    -----
    Every moment is a product of the counts with a column: five matrix products per fold,
    cost 10 n_bootstrap n_test n_targets (Efron & Tibshirani 1993, chapter 13). Blocks: Carlstein
    1986, DOI 10.1214/aos/1176350057.
    """
    if len(observed) != len(predicted) or not len(observed):
        raise ShapeError(
            f"{len(observed)} folds observed and {len(predicted)} predicted; expected equally many, at "
            "least 1"
        )
    total = np.zeros((n_bootstrap, observed[0].shape[1]))
    valid = np.zeros_like(total)
    for fold, (y, p) in enumerate(zip(observed, predicted, strict=True)):
        if y.shape != p.shape or y.shape[1:] != total.shape[1:] or not len(y):
            raise ShapeError(
                f"fold {fold}: observed has shape {y.shape}, predicted {p.shape}; expected (n_test, "
                f"{total.shape[1]}) with at least one row"
            )
        no_score = np.asarray(is_constant(y)) | np.isnan(p).any(axis=0)
        flat_guess = np.asarray(is_constant(p))
        seed = None if random_state is None else [random_state, fold]
        counts = _shares(len(y), n_bootstrap, block, seed)
        y = np.asarray(y, dtype=np.float64) - y.mean(0)
        p = np.asarray(p, dtype=np.float64) - p.mean(0)
        my, mp = counts @ y, counts @ p
        cov = counts @ (y * p) - my * mp
        vy, vp = counts @ (y * y) - my**2, counts @ (p * p) - mp**2
        tiny = 1e-12
        flat = ~(vy > tiny * (y * y).mean(0)) | no_score
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.clip(cov / np.sqrt(vy * vp), -1, 1)
            r = np.where((vp > tiny * (p * p).mean(0)) & ~flat_guess, r, 0.0)
        total += np.where(flat, 0.0, r)
        valid += ~flat
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(valid > 0, total / valid, np.nan)


def _shares(n: int, n_bootstrap: int, block: int, seed: object) -> np.ndarray:
    """How much each row weighs in each resample, (n_bootstrap, n), rows sum to 1."""
    size = max(1, min(int(block), n // _FEWEST_BLOCKS))
    n_blocks = -(-n // size)
    rng = np.random.default_rng(seed)  # type: ignore[arg-type]
    counts = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=n_bootstrap)
    shares = np.repeat(counts, size, axis=1)[:, :n].astype(np.float64)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
