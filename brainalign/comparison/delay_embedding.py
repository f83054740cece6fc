"""Delay embedding: each time described by itself and the times before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.comparison._dynamics_inputs import trajectories
from brainalign.comparison._option_checks import whole_number
from brainalign.errors import ShapeError


def delay_embed(x: Any, *, n_delays: int, delay: int = 1) -> np.ndarray:
    """Return the delay embedding of a recording; trials are never joined across their edges.

    Parameters
    ----------
    x : array (n_times, p) or (n_trials, n_times, p)
    n_delays : int
        Copies of the state in a row, the present one included; 1 leaves x as it is.
    delay : int
        Samples between two copies.

    Returns
    -------
    float64 array (n_times - (n_delays - 1) delay, n_delays p), with the trials in front where
    x has them. Row i is ``[x_t, x_(t - delay), x_(t - 2 delay), ...]`` for
    ``t = i + (n_delays - 1) delay``. A copy: x is left as it is.

    Raises
    ------
    ShapeError
        x has neither 2 nor 3 axes, is empty, or has fewer times than one row needs.
    InputError
        Values that are not finite; `n_delays` or `delay` below 1 or no whole number.

    Notes
    -----
    Cost: n_delays times the size of x, in time and memory. Source: Takens 1981,
    doi:10.1007/BFb0091924.

    Examples
    --------
    >>> import numpy as np
    >>> delay_embed(np.arange(5.0)[:, None], n_delays=2, delay=2)
    array([[2., 0.],
           [3., 1.],
           [4., 2.]])
    """
    embedded = embed_trials(trajectories("x", x), n_delays=n_delays, delay=delay)
    return embedded if np.ndim(x) == 3 else embedded[0]


def embed_trials(trials: np.ndarray, *, n_delays: int, delay: int, name: str = "x") -> np.ndarray:
    """Embed checked trials (n_trials, n_times, p), each on its own."""
    n_delays = whole_number("n_delays", n_delays, low=1)
    delay = whole_number("delay", delay, low=1)
    n_times = trials.shape[1]
    reach = (n_delays - 1) * delay
    if n_times <= reach:
        raise ShapeError(
            f"{name} has {n_times} times a trial; n_delays={n_delays} with delay={delay} needs at least "
            f"{reach + 1}: use fewer delays or a longer recording"
        )
    copies = [trials[:, reach - i * delay : n_times - i * delay] for i in range(n_delays)]
    return np.concatenate(copies, axis=2)
