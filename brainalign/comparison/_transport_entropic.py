"""Entropic Gromov-Wasserstein plans: projected mirror descent in the logarithmic domain."""

from __future__ import annotations

import numpy as np

_STEPS = 200
# the potentials are kept from step to step, so that few iterations are needed in each
_SINKHORN_STEPS = 20
_TOLERANCE = 1e-8


def entropic_plan(a: np.ndarray, b: np.ndarray, start: np.ndarray, epsilon: float) -> np.ndarray:
    """A plan where the square loss less `epsilon` times the entropy is stationary, uniform margins.

    Each step takes the gradient at the plan as the cost of an entropic transport problem,
    and solves it. Logarithms keep small `epsilon` from underflow; what is left of an
    unfinished search is brought to the exact margins, so that it is a plan all the same.
    """
    constant = (a**2).mean(axis=1)[:, None] + (b**2).mean(axis=1)[None, :]
    plan = start
    potential = np.zeros(len(b))
    for _ in range(_STEPS):
        cost = 2.0 * (constant - 2.0 * a @ plan @ b)
        new, potential = _sinkhorn(-cost / epsilon, potential)
        done = float(np.abs(new - plan).sum()) <= _TOLERANCE
        plan = new
        if done:
            break
    return with_uniform_margins(plan)


def _sinkhorn(kernel: np.ndarray, potential: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plan exp(kernel + row + column) with uniform margins, and its column potential."""
    n, m = kernel.shape
    for _ in range(_SINKHORN_STEPS):
        rows = -np.log(n) - _log_sum(kernel + potential[None, :], 1)
        potential = -np.log(m) - _log_sum(kernel + rows[:, None], 0)
        plan = np.exp(kernel + rows[:, None] + potential[None, :])
        if float(np.abs(plan.sum(axis=1) - 1.0 / n).sum()) <= _TOLERANCE / 10:
            break
    return plan, potential


def _log_sum(logs: np.ndarray, axis: int) -> np.ndarray:
    """Logarithm of the sum of exponentials along an axis, without overflow."""
    top = logs.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(logs - top).sum(axis=axis)) + top.squeeze(axis))


def with_uniform_margins(plan: np.ndarray) -> np.ndarray:
    """The plan scaled down to its margins, and what is missing added as a product."""
    n, m = plan.shape
    out = plan * np.minimum(1.0, (1.0 / n) / plan.sum(axis=1, keepdims=True))
    out = out * np.minimum(1.0, (1.0 / m) / out.sum(axis=0, keepdims=True))
    rows, columns = 1.0 / n - out.sum(axis=1), 1.0 / m - out.sum(axis=0)
    missing = float(rows.sum())
    if missing > 0:
        out = out + np.outer(rows, columns) / missing
    return np.asarray(np.maximum(out, 0.0))
