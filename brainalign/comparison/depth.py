"""Depth as time: how the states of a network move from layer to layer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from brainalign.comparison._dynamics_layers import layer_stack, unit_states


def depth_dynamics(states: Any) -> pd.DataFrame:
    """Return how the states of n tokens, or stimuli, move through the layers.

    Parameters
    ----------
    states : array (n_layers, n, p), or sequence of arrays (n, p)
        Layers in the order of the computation, in one space (a residual stream).

    Returns
    -------
    DataFrame with one row per layer (index ``layer``, from 0) and the columns

    ``step_angle``
        Angle between a state and the one before it, in radians, mean over tokens; [0, pi].
    ``cosine_to_final``
        Cosine between a state and the one of the last layer, mean over tokens; [-1, 1].
    ``update_rank``
        Effective rank of the updates ``x_l - x_(l-1)`` (n, p): the exponential of the
        entropy of their singular values, as shares of their sum; 1 to min(n, p).
    ``token_coherence``
        Mean cosine between the updates of two different tokens; [-1 / (n - 1), 1], about 0
        for unrelated updates, 1 where all tokens move in one direction.

    The first layer has no update: its three other columns are NaN. So are, with a warning,
    an angle or cosine without one token whose two states are not zero, the rank of a layer
    that changes nothing, and the coherence of fewer than two tokens that move. Tokens whose
    state or update is zero have no direction and are left out of their mean.

    Raises
    ------
    ShapeError
        Layers of unequal shapes, or without layers, tokens or units.
    InputError
        Values that are not finite.

    Notes
    -----
    Invariant to one rotation of all layers and one positive factor; the last two columns to
    one vector added to all states as well, the first two not. The updates are not centred.
    Cost: O(L n p min(n, p)) time, O(L n p) memory. Source of the effective rank: Roy and
    Vetterli 2007, EUSIPCO.

    Examples
    --------
    >>> import numpy as np
    >>> turn = lambda a: np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    >>> table = depth_dynamics([turn(0.2 * layer) for layer in range(3)])
    >>> table["step_angle"].round(6).tolist()
    [nan, 0.2, 0.2]
    >>> table["cosine_to_final"].round(3).tolist()
    [0.921, 0.98, 1.0]
    """
    array = layer_stack("states", states)
    largest = float(np.abs(array).max())
    array = array / (largest if largest > 0 else 1.0)
    directions, defined = unit_states(array)
    updates = np.diff(array, axis=0)
    final = np.broadcast_to(directions[-1], directions.shape)
    cosine, _ = _over_tokens(directions, final, defined & defined[-1])
    _, angle = _over_tokens(directions[1:], directions[:-1], defined[1:] & defined[:-1])
    columns = {
        "step_angle": _after_first(angle),
        "cosine_to_final": cosine,
        "update_rank": _after_first(np.array([_effective_rank(u) for u in updates])),
        "token_coherence": _after_first(_coherence(updates)),
    }
    table = pd.DataFrame(columns, index=pd.RangeIndex(len(array), name="layer"))
    _warn_missing(table)
    return table


def _after_first(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[np.nan], values])


def _over_tokens(a: np.ndarray, b: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean cosine and mean angle of unit vectors over the valid tokens of each layer."""
    counts = valid.sum(axis=1)
    cosine = np.einsum("lnp,lnp->ln", a, b).clip(-1.0, 1.0)
    # from the chords: keeps its digits for small steps
    angle = 2.0 * np.arctan2(np.linalg.norm(a - b, axis=2), np.linalg.norm(a + b, axis=2))
    means = []
    for values in (cosine, angle):
        total = np.where(valid, values, 0.0).sum(axis=1)
        means.append(np.where(counts > 0, total / np.maximum(counts, 1), np.nan))
    return means[0], means[1]


def _effective_rank(updates: np.ndarray) -> float:
    """Exponential of the entropy of the singular values; NaN where all are zero."""
    largest = float(np.abs(updates).max())
    if largest == 0:
        return float("nan")
    values = np.linalg.svd(updates / largest, compute_uv=False)
    share = values / values.sum()
    share = share[share > 0]
    return float(np.exp(-np.sum(share * np.log(share))))


def _coherence(updates: np.ndarray) -> np.ndarray:
    """Mean cosine over pairs of different tokens that move, (n_layers - 1,)."""
    directions, moves = unit_states(updates)
    counts = moves.sum(axis=1).astype(np.float64)
    resultant = np.sum(directions.sum(axis=1) ** 2, axis=1)
    pairs = counts * (counts - 1)
    return np.where(pairs > 0, (resultant - counts) / np.where(pairs > 0, pairs, 1.0), np.nan)


def _warn_missing(table: pd.DataFrame) -> None:
    """Name the layers without a value, beside the first, which has no update."""
    missing = table.isna()
    missing.loc[0, [c for c in table if c != "cosine_to_final"]] = False
    reasons = [
        f"{column} of layers {', '.join(map(str, missing.index[missing[column]][:5]))}"
        for column in table
        if missing[column].any()
    ]
    if reasons:
        warnings.warn(
            f"{'; '.join(reasons)}: NaN, as too few tokens have a state, or an update, that is not zero",
            stacklevel=3,
        )
