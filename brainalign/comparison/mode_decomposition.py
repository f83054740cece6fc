"""Dynamic mode decomposition: the linear operator that carries a recording one sample forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign.comparison._dynamics_inputs import trajectories
from brainalign.comparison._option_checks import flag, is_real, whole_number
from brainalign.comparison.delay_embedding import embed_trials
from brainalign.errors import InputError, ShapeError

VARIANCE_KEPT = 0.99
TRANSITIONS_PER_COMPONENT = 5
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class DynamicsModel:
    """A linear model ``z_(t+1) = A z_t + c`` of a delay-embedded recording.

    Parameters
    ----------
    operator : array (r, r)
        A, in whitened coordinates z (unit variance over the recording), without unit.
    eigenvalues : complex array (r,)
        Of A, by falling modulus; the angle is the frequency in radians per sample, the
        modulus the growth per sample.
    intercept : array (r,)
        c.
    basis : array (r, n_delays * p)
        Orthonormal rows: the components of the delay-embedded recording.
    spread : array (r,)
        Standard deviation of the recording along each component, in its physical unit.
    mean : array (n_delays * p,)
        Taken off before the projection: ``z = (row - mean) @ basis.T / spread``.
    prediction_error : float
        One-step error on the same recording: squared error over all units divided by the
        squared deviation from their means. 0: perfect. About 1: no better than the mean.
    n_transitions : int
        Pairs of successive rows that were fitted.
    n_delays, delay : int
    ridge : float
    """

    operator: np.ndarray
    eigenvalues: np.ndarray
    intercept: np.ndarray
    basis: np.ndarray
    spread: np.ndarray
    mean: np.ndarray
    prediction_error: float
    n_transitions: int
    n_delays: int
    delay: int
    ridge: float


@dataclass(frozen=True, eq=False)
class Components:
    """The principal components of one delay-embedded recording, before a rank is chosen."""

    times: np.ndarray  # (n_trials, n_rows, n) whitened time courses, unit variance
    values: np.ndarray  # (n,) singular values of the scaled rows, falling
    basis: np.ndarray  # (n, n_delays * p)
    mean: np.ndarray  # (n_delays * p,), scaled
    scale: float
    newest: np.ndarray  # (n_trials, n_rows, p) the present state, scaled
    n_delays: int
    delay: int

    @property
    def n_transitions(self) -> int:
        """Pairs of successive rows within trials."""
        return int(self.times.shape[0] * (self.times.shape[1] - 1))


def components_of(
    x: Any, *, n_delays: int, delay: int, intercept: bool, name: str = "x"
) -> Components | None:
    """Embed and decompose a recording; None where it does not vary over time."""
    flag("intercept", intercept)
    trials = trajectories(name, x)
    largest = float(np.abs(trials).max())
    scale = largest if largest > 0 else 1.0
    embedded = embed_trials(trials / scale, n_delays=n_delays, delay=delay, name=name)
    if embedded.shape[1] < 2:
        raise ShapeError(
            f"{name} has {trials.shape[1]} times a trial, which leaves one row of {n_delays} delays and no "
            "step to the next: use fewer delays or a longer recording"
        )
    rows = embedded.reshape(-1, embedded.shape[2])
    mean = rows.mean(axis=0) if intercept else np.zeros(rows.shape[1])
    times, values, basis = _decomposed(rows - mean)
    if not len(values):
        return None
    # the sign of a component follows its time course, which no rotation of the units changes
    signs = np.sign(times[np.abs(times).argmax(axis=0), np.arange(len(values))])
    times = times * signs * np.sqrt(len(rows))
    p = trials.shape[2]
    return Components(
        times=times.reshape(*embedded.shape[:2], -1),
        values=values,
        basis=basis * signs[:, None],
        mean=mean,
        scale=scale,
        newest=embedded[:, :, :p],
        n_delays=n_delays,
        delay=delay,
    )


def _decomposed(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thin SVD of rows scaled to at most one; components that are rounding are left out."""
    times, values, basis = np.linalg.svd(rows, full_matrices=False)
    # rounding of the mean of values near one, and of the decomposition itself
    floor = _EPS * max(rows.shape) * max(float(values[0]), np.sqrt(rows.size))
    kept = int(np.count_nonzero(values > floor))
    return times[:, :kept], values[:kept], basis[:kept]


def default_rank(parts: Components) -> int:
    """Components that hold 99 % of the variance, at most one for five transitions, at least one."""
    share = np.cumsum(parts.values**2) / np.sum(parts.values**2)
    enough = int(np.searchsorted(share, VARIANCE_KEPT) + 1)
    most = max(1, parts.n_transitions // TRANSITIONS_PER_COMPONENT)
    return min(enough, most, len(parts.values))


def checked_rank(parts: Components, rank: int, *, intercept: bool, name: str = "x") -> int:
    """Refuse a rank that the recording cannot support."""
    rank = whole_number("rank", rank, low=1)
    # with fewer the constant and the operator have more numbers than there are equations
    needed = rank + int(intercept)
    if parts.n_transitions < needed:
        raise ShapeError(
            f"{name} has {parts.n_transitions} steps from one row of {parts.n_delays} delays to the next; "
            f"rank={rank} needs at least {needed}: use a smaller rank, fewer delays or a longer recording"
        )
    if rank > len(parts.values):
        raise InputError(
            f"rank={rank}, but {name} has {len(parts.values)} independent components with "
            f"{parts.n_delays} delays; use a rank of at most {len(parts.values)} or more delays"
        )
    return rank


def checked_ridge(ridge: float) -> float:
    """Refuse a penalty that is negative or not finite."""
    if not (is_real(ridge) and ridge >= 0):
        raise InputError(f"ridge={ridge!r}; expected a finite number of at least 0")
    return float(ridge)


def model_of(parts: Components, rank: int, *, ridge: float, intercept: bool) -> DynamicsModel:
    """Fit the operator of the first `rank` components."""
    now = parts.times[:, :-1, :rank].reshape(-1, rank)
    after = parts.times[:, 1:, :rank].reshape(-1, rank)
    before_mean, after_mean = np.zeros(rank), np.zeros(rank)
    if intercept:
        before_mean, after_mean = now.mean(axis=0), after.mean(axis=0)
    past, future = now - before_mean, after - after_mean
    root = np.sqrt(ridge * len(past))
    operator = np.linalg.lstsq(
        np.vstack([past, root * np.eye(rank)]), np.vstack([future, np.zeros((rank, rank))]), rcond=None
    )[0].T
    # components have variance one: what is left below this is rounding
    if np.linalg.norm(operator) <= 64 * _EPS * rank / (1.0 + ridge):
        operator = np.zeros_like(operator)
    constant = after_mean - operator @ before_mean
    eigenvalues = np.linalg.eigvals(operator).astype(np.complex128)
    order = np.lexsort((-eigenvalues.imag, -np.abs(np.angle(eigenvalues)), -np.abs(eigenvalues).round(12)))
    spread = parts.values[:rank] / np.sqrt(parts.times.shape[0] * parts.times.shape[1])
    return DynamicsModel(
        operator=operator,
        eigenvalues=eigenvalues[order],
        intercept=constant,
        basis=parts.basis[:rank],
        spread=spread * parts.scale,
        mean=parts.mean * parts.scale,
        prediction_error=_one_step_error(parts, now @ operator.T + constant, spread),
        n_transitions=parts.n_transitions,
        n_delays=parts.n_delays,
        delay=parts.delay,
        ridge=ridge,
    )


def _one_step_error(parts: Components, predicted: np.ndarray, spread: np.ndarray) -> float:
    """Squared error of the next state (its delayed copies are known already), relative to its variance."""
    p = parts.newest.shape[2]
    states = (predicted * spread) @ parts.basis[: len(spread), :p] + parts.mean[:p]
    true = parts.newest[:, 1:].reshape(-1, p)
    varied = float(np.sum((true - true.mean(axis=0)) ** 2))
    return float(np.sum((true - states) ** 2)) / varied if varied > 0 else float("nan")


def dmd(
    x: Any,
    *,
    n_delays: int,
    delay: int = 1,
    rank: int | None = None,
    ridge: float = 0.0,
    intercept: bool = True,
) -> DynamicsModel:
    """Return the linear dynamics of a recording: delay embedding, r components, ridge regression.

    Parameters
    ----------
    x : array (n_times, p) or (n_trials, n_times, p)
        Sampled at equal steps. Steps are fitted within trials only.
    n_delays, delay : int
        As in `delay_embed`. Several delays stand in for states that were not recorded.
    rank : int, or None
        Components r. None: as many as hold 99 % of the variance, at most one for five
        transitions.
    ridge : float
        Penalty, in units of the variance of a (whitened) component: 1 weighs as much as the
        recording. It shrinks the operator by about 1 / (1 + ridge).
    intercept : bool
        True: the means are taken off and the model has a constant, so that a vector added
        to all states changes nothing. False: neither, as in the paper.

    Returns
    -------
    DynamicsModel

    Raises
    ------
    ShapeError
        Neither 2 nor 3 axes; too few times for the delays, or transitions for the rank.
    InputError
        Values that are not finite; a recording that does not vary; a rank above its number
        of independent components; options out of range.

    Notes
    -----
    With the thin SVD ``E = U S V'`` of the embedded rows (means taken off), the state is
    ``z = sqrt(n) U`` and A solves ``min sum |z_(t+1) - A z_t - c|^2 + ridge n |A|^2``. Units
    that are rotated, permuted or scaled by one factor give the same A; at full rank so does
    any invertible map, because the coordinates are whitened. The signs of the components
    are fixed by their largest value over time.

    Cost, for n rows of m = n_delays p: O(n m min(n, m)) time and O(n m) memory.
    Source: Ostrow et al. 2023, arXiv:2306.10168, section 3 (Hankel DMD). Departures: the
    constant and the means (`intercept`), and the ridge in units of variance.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.arange(60)
    >>> model = dmd(np.c_[np.cos(0.3 * t), np.sin(0.3 * t)], n_delays=1, rank=2)
    >>> np.angle(model.eigenvalues).round(6)
    array([ 0.3, -0.3])
    """
    ridge = checked_ridge(ridge)
    parts = components_of(x, n_delays=n_delays, delay=delay, intercept=intercept)
    if parts is None:
        raise InputError("x does not vary over time; its dynamics are not defined")
    chosen = default_rank(parts) if rank is None else rank
    return model_of(parts, checked_rank(parts, chosen, intercept=intercept), ridge=ridge, intercept=intercept)
