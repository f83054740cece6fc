"""Time x time: whether the geometry of the responses at one time holds at another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from brainalign._checks import one_of
from brainalign._linalg import full_precision
from brainalign._memory import available_memory
from brainalign.comparison._distance_inputs import differences, like_input, to_tensor
from brainalign.comparison._distance_runs import check_runs
from brainalign.comparison.noise import as_noise
from brainalign.errors import InputError, MemoryBudgetError, ShapeError

CROSS_TIME_DISTANCES = ("crossnobis", "sq_euclidean", "euclidean")
_BLOCK_BYTES = 2**27


def cross_time_rdms(means: Any, *, distance: str = "crossnobis", noise: Any = None) -> Any:
    """Return one RDM for every pair of times.

    Parameters
    ----------
    means : array (n_runs, n_stimuli, p, n_times), numpy or torch, finite
        As `run_means` gives them. The plain distances average the runs first, and take
        (n_stimuli, p, n_times) too.
    distance : ``"crossnobis"``, ``"sq_euclidean"`` or ``"euclidean"``

        - ``"crossnobis"`` (default): mean over ordered pairs of different runs k, l of
          ``(x_ki(t) - x_kj(t))' precision (x_li(t') - x_lj(t')) / p``. Symmetric in i, j, zero
          diagonal, signed: 0 where the code at t does not generalise to t', negative where
          it reverses; equal to `crossnobis` at t = t'
        - ``"sq_euclidean"``: distance of stimulus i at t from stimulus j at t', over p; its
          root is ``"euclidean"``. Not symmetric in i, j, and with a diagonal: how far
          each stimulus moves
    noise : None, NoisePrecision or precision array (p, p), the same for all times

    Returns
    -------
    array (n_times, n_times, n_stimuli, n_stimuli), float64, of the kind of `means`; [t, t']
        equals [t', t] with stimuli exchanged.

    Raises
    ------
    ShapeError
        Other axes, or one run for crossnobis.
    InputError
        Values that are not finite; an unknown distance.
    MemoryBudgetError
        The result, 8 (n_times n_stimuli)^2 bytes, does not fit the memory that is free.

    Notes
    -----
    Cost: n_times^2 n_stimuli^2 p operations (half of the time pairs, two products each), in
    blocks of 128 MB. Sources: King & Dehaene 2014, doi:10.1016/j.tics.2014.01.002, for
    generalisation over time; Walther et al. 2016, doi:10.1016/j.neuroimage.2015.12.012.

    Examples
    --------
    >>> import numpy as np
    >>> means = np.random.default_rng(0).normal(size=(3, 4, 10, 5))
    >>> cross_time_rdms(means).shape
    (5, 5, 4, 4)
    """
    one_of("distance", distance, CROSS_TIME_DISTANCES)
    tensor, was_tensor = to_tensor("means", means)
    values = _runs_first(tensor, distance)
    n_runs, n, p, n_times = values.shape
    needed, free = 8 * (n_times * n) ** 2, available_memory()
    if values.device.type == "cpu" and needed > 0.9 * free:
        raise MemoryBudgetError(
            f"{n_times} x {n_times} RDMs of {n} stimuli take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            "are free; average over windows of time, or take fewer stimuli"
        )
    precision = as_noise(noise, p)
    with full_precision():
        # (n_times, K, n, p); a pattern common to all stimuli of a run and time cancels in every difference
        rows = values.permute(3, 0, 1, 2)
        rows = rows - (rows.mean(2, keepdim=True) if distance == "crossnobis" else rows.mean((0, 1, 2)))
        rows = rows if precision is None else precision.whiten_tensor(rows)
        block = _crossnobis_block if distance == "crossnobis" else _euclidean_block
        out = _over_blocks(
            rows.contiguous(), block, n_runs * (n_runs - 1) * p if block is _crossnobis_block else p
        )
    return like_input(out.sqrt_() if distance == "euclidean" else out, was_tensor)


def _runs_first(tensor: torch.Tensor, distance: str) -> torch.Tensor:
    """Checked values (K, n, p, T); the mean over runs, K = 1, for the plain distances."""
    plain = distance != "crossnobis"
    if tensor.ndim not in ((3, 4) if plain else (4,)) or 0 in tensor.shape:
        raise ShapeError(
            f"means have shape {tuple(tensor.shape)}; expected (n_runs, n_stimuli, n_channels, n_times)"
            + (" or (n_stimuli, n_channels, n_times)" if plain else "")
        )
    bad = ~torch.isfinite(tensor)
    if bool(bad.any()):
        raise InputError(
            f"means have {int(bad.sum())} values that are not finite, first at index "
            f"{tuple(torch.nonzero(bad)[0].tolist())}; every run must hold every stimulus here: leave out "
            "channels, stimuli or runs with gaps"
        )
    if plain:
        return (tensor.mean(0) if tensor.ndim == 4 else tensor)[None]
    check_runs("means", tensor.shape[0])
    return tensor


Block = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _over_blocks(rows: torch.Tensor, block: Block, divisor: int) -> torch.Tensor:
    """Fill [t, t'] for blocks of t and all later t'; the rest is their exchange."""
    n_times, _, n, _ = rows.shape
    out = rows.new_empty(n_times, n_times, n, n)
    size = max(1, int((_BLOCK_BYTES / (8 * n * n)) ** 0.5))
    for start in range(0, n_times, size):
        left = slice(start, start + size)
        for later in range(start, n_times, size):
            right = slice(later, later + size)
            part = block(rows[left], rows[right]) / divisor
            if later == start:
                # the products of t with t' and of t' with t round differently
                part = (part + part.permute(1, 0, 3, 2)) / 2
            out[left, right] = part
            out[right, left] = part.permute(1, 0, 3, 2)
    return out


def _crossnobis_block(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Sums over ordered pairs of runs, (s, t, n, n), for a (s, K, n, p) and b (t, K, n, p)."""
    products = _products(a.sum(1), b.sum(1))
    products -= _products(a.transpose(1, 2).flatten(2), b.transpose(1, 2).flatten(2))
    return differences(products)


def _euclidean_block(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Squared distances of every row of a (s, 1, n, p) from every row of b (t, 1, n, p)."""
    first, second = a[:, 0], b[:, 0]
    squares = first.square().sum(-1)[:, None, :, None] + second.square().sum(-1)[None, :, None, :]
    out = (squares - 2.0 * _products(first, second)).clamp_min_(0.0)
    if first.data_ptr() == second.data_ptr():
        # a stimulus is no distance from itself at the same time
        for t in range(len(out)):
            out[t, t].diagonal().zero_()
    return out


def _products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a_s b_t' for all s, t: (s, n, q) and (t, n, q) give (s, t, n, n) by one product."""
    s, n, q = a.shape
    t = len(b)
    return (a.reshape(s * n, q) @ b.reshape(t * n, q).T).view(s, n, t, n).permute(0, 2, 1, 3)
