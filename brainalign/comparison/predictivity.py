"""How well one system is predicted from another by ridge regression, on stimuli left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from brainalign._checks import one_of
from brainalign.comparison._option_checks import seed
from brainalign.comparison._pairing import paired
from brainalign.comparison._spectra import FloatArray, scaled_and_centred
from brainalign.errors import InputError, ShapeError
from brainalign.metrics import pearson, r2
from brainalign.regression import RidgeCV

MIN_STIMULI = 10
DIRECTIONS = ("x_to_y", "y_to_x", "both")
METRICS = {"r": pearson, "r2": r2}
_INNER_FOLDS = 5
# targets of one fit: what it holds of each is some numbers per stimulus and penalty
_TARGETS = 4096

Folds = list[tuple[np.ndarray, np.ndarray]]


def linear_predictivity_of(
    x: np.ndarray,
    y: np.ndarray,
    *,
    direction: str = "x_to_y",
    metric: str = "r",
    cv: Any = 5,
    alphas: str | Sequence[float] = "auto",
    random_state: int = 0,
) -> float:
    """Linear predictivity of paired finite arrays; NaN with a warning where nothing can be scored."""
    one_of("direction", direction, DIRECTIONS)
    one_of("metric", metric, METRICS)
    seed(random_state)
    if len(x) < MIN_STIMULI:
        raise ShapeError(f"linear predictivity over {len(x)} stimuli; it needs at least {MIN_STIMULI}")
    folds = _folds(cv, len(x), random_state)
    sides = {"x": scaled_and_centred(x)[0], "y": scaled_and_centred(y)[0]}
    ways = (("x", "y"), ("y", "x"))
    chosen = ways if direction == "both" else (ways[DIRECTIONS.index(direction)],)
    values = []
    for source, target in chosen:
        reason = _nothing_to_predict(source, sides[source], target, sides[target])
        if reason is not None:
            warnings.warn(f"linear predictivity is NaN: {reason}", stacklevel=3)
            return float("nan")
        scores = _unit_scores(sides[source], sides[target], folds, metric, alphas, random_state)
        values.append(_mean_over_units(target, scores))
    return float(np.mean(values))


def _folds(cv: Any, n: int, random_state: int) -> Folds:
    """The outer folds; an integer means shuffled folds that are the same for every call."""
    if isinstance(cv, (int, np.integer)):
        if not 2 <= cv <= n // 2:
            raise InputError(
                f"cv={cv} over {n} stimuli; expected 2 to {n // 2} folds, so that each leaves out at "
                "least 2 stimuli"
            )
        cv = KFold(int(cv), shuffle=True, random_state=random_state)
    elif not (hasattr(cv, "split") or isinstance(cv, Iterable)) or isinstance(cv, str):
        raise InputError(f"cv={cv!r}; expected a number of folds, a splitter or pairs (train, test) of rows")
    pairs = list(cv.split(np.zeros((n, 1))) if hasattr(cv, "split") else cv)
    if not pairs:
        raise InputError("cv has no folds; expected one pair (train, test) of rows at least")
    folds = [_fold(k, pair, n) for k, pair in enumerate(pairs)]
    for k, (train, test) in enumerate(folds):
        if len(train) < 4 or len(test) < 2:
            raise ShapeError(
                f"fold {k} of cv has {len(train)} training and {len(test)} test stimuli; at least 4 and 2 "
                "are needed"
            )
        if len(np.intersect1d(train, test)):
            raise InputError(f"fold {k} of cv has stimuli in both its training and its test rows")
    return folds


def _fold(k: int, pair: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of one fold, from numbers of rows or masks over them."""
    try:
        train, test = (np.asarray(rows) for rows in pair)
    except (TypeError, ValueError):
        raise InputError(f"fold {k} of cv is {pair!r}; expected a pair (train, test) of rows") from None
    out = []
    for name, rows in (("training", train), ("test", test)):
        if rows.shape == (n,) and rows.dtype == bool:
            rows = np.flatnonzero(rows)
        # a negative row is another name of one that may be on the other side
        whole = rows.ndim == 1 and rows.dtype.kind in "iu"
        if not whole or (rows < 0).any() or (rows >= n).any():
            raise InputError(f"the {name} rows of fold {k} of cv are not whole numbers from 0 to {n - 1}")
        out.append(rows)
    return out[0], out[1]


def _nothing_to_predict(source: str, x: FloatArray, target: str, y: FloatArray) -> str | None:
    for name, side in ((source, x), (target, y)):
        if not side.any():
            return f"{name} does not vary over stimuli"
    return None


def _unit_scores(
    x: FloatArray,
    y: FloatArray,
    folds: Folds,
    metric: str,
    alphas: str | Sequence[float],
    random_state: int,
) -> FloatArray:
    """Mean over folds of the held-out score of each unit of y, (q,); NaN where no fold scores it."""
    # penalties are multiples of the mean squared norm of a row, whatever the unit of x
    x = x / np.sqrt(np.mean(np.sum(np.square(x), axis=1)))
    scores = np.full((len(folds), y.shape[1]), np.nan)
    for k, (train, test) in enumerate(folds):
        varies = np.ptp(y[train], axis=0) > 0.0
        if not varies.any():
            continue
        inner = KFold(min(_INNER_FOLDS, len(train) // 2), shuffle=True, random_state=random_state)
        model = RidgeCV(alphas, cv=inner).fit(x[train], y[train][:, varies])
        predicted = np.asarray(model.predict(x[test]))
        scores[k, varies] = METRICS[metric](y[test][:, varies], predicted)
    present = ~np.isnan(scores)
    counts = present.sum(axis=0)
    sums = np.where(present, scores, 0.0).sum(axis=0)
    means: FloatArray = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means


def _mean_over_units(target: str, scores: FloatArray) -> float:
    missing = int(np.isnan(scores).sum())
    if missing == len(scores):
        warnings.warn(
            f"linear predictivity is NaN: no unit of {target} varies over both the training and the test "
            "stimuli of a fold",
            stacklevel=4,
        )
        return float("nan")
    if missing:
        warnings.warn(
            f"linear predictivity leaves out {missing} of {len(scores)} units of {target}, which do not vary "
            "over stimuli",
            stacklevel=4,
        )
    return float(np.nanmean(scores))


def predictivity_of_many(
    x: FloatArray,
    others: Sequence[tuple[FloatArray, np.ndarray | None]],
    *,
    direction: str = "x_to_y",
    metric: str = "r",
    cv: Any = 5,
    alphas: str | Sequence[float] = "auto",
    random_state: int = 0,
) -> list[Callable[[], float]]:
    """Linear predictivity of many systems y from one x, of their units side by side in one fit a fold.

    Parameters
    ----------
    x : array (n_stimuli, p), finite
    others : pairs of y (n_stimuli, q) and the order of its rows (None: as they are)
    direction : ``"x_to_y"``, the only one that shares a fit
    metric, cv, alphas, random_state : as in `linear_predictivity`

    Returns
    -------
    list of callables () -> float, one for each y: the value of `linear_predictivity`, with
    its warnings.

    Raises
    ------
    ShapeError, InputError
        As in `linear_predictivity`; another direction.

    Notes
    -----
    Cost: of x once a fold, of y as in `linear_predictivity`; at most 4096 targets, or one y, at a
    time in memory.
    """
    one_of("direction", direction, DIRECTIONS[:1])
    one_of("metric", metric, METRICS)
    if len(x) < MIN_STIMULI:
        raise ShapeError(f"linear predictivity over {len(x)} stimuli; it needs at least {MIN_STIMULI}")
    folds = _folds(cv, len(x), random_state)
    source = scaled_and_centred(x)[0]
    out: list[Callable[[], float]] = []
    for block in _target_blocks(others):
        scores = np.full(sum(y.shape[1] for y in block), np.nan)
        if source.any():
            scores = _unit_scores(source, np.hstack(block), folds, metric, alphas, random_state)
        edges = np.cumsum([y.shape[1] for y in block])[:-1]
        for y, own in zip(block, np.split(scores, edges), strict=True):
            out.append(partial(_value_of, _nothing_to_predict("x", source, "y", y), own))
    return out


def _target_blocks(others: Sequence[tuple[FloatArray, np.ndarray | None]]) -> Iterator[list[FloatArray]]:
    """The targets of consecutive systems, scaled and centred, as many as are fitted at once."""
    block: list[FloatArray] = []
    for y, order in others:
        values = scaled_and_centred(y if order is None else y[order])[0]
        if block and sum(one.shape[1] for one in block) + values.shape[1] > _TARGETS:
            yield block
            block = []
        block.append(values)
    if block:
        yield block


def _value_of(reason: str | None, scores: FloatArray) -> float:
    if reason is not None:
        warnings.warn(f"linear predictivity is NaN: {reason}", stacklevel=3)
        return float("nan")
    return _mean_over_units("y", scores)


def linear_predictivity(
    x: Any,
    y: Any,
    *,
    direction: str = "x_to_y",
    metric: str = "r",
    cv: Any = 5,
    alphas: str | Sequence[float] = "auto",
    random_state: int = 0,
) -> float:
    """Return how well y is predicted from x by ridge regression, on stimuli that were left out.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged, so that a
        stimulus is never on both sides of a split). At least 10 stimuli.
    direction : ``"x_to_y"``, ``"y_to_x"`` or ``"both"``
        What predicts what; ``"both"`` is the mean of the two.
    metric : ``"r"`` or ``"r2"``
        Pearson correlation, or the coefficient of determination against the test mean (below 0
        where the prediction is worse than that).
    cv : int, scikit-learn splitter, or pairs (train, test) of rows
        An integer: that many folds of shuffled stimuli, the same in every call with the same
        `random_state`. Stimuli that follow one another in time need a splitter of blocks.
    alphas : ``"auto"`` or numbers, positive
        Penalties as multiples of the mean squared norm of a centred row of x; ``"auto"``: 20 from
        1e-5 to 1e5. Chosen per unit on folds inside the training stimuli.
    random_state : int

    Returns
    -------
    float, at most 1: the score averaged over folds, then over units. A constant prediction has
    r = 0 in its fold. Units that never vary are left out and counted in a warning. NaN, with a
    warning, where a side does not vary over stimuli.

    Raises
    ------
    ShapeError
        Fewer than 10 stimuli, folds with fewer than 4 training or 2 test stimuli.
    InputError
        An unknown direction or metric, no folds, folds that overlap or whose rows are not whole numbers
        from 0 to n - 1, a seed that is none, a penalty that is not positive, values that are not finite.
    AlignmentError
        As in `compare`.

    Notes
    -----
    The predicting side may be rotated, its units permuted, scaled by one factor and shifted; the
    predicted side scaled, shifted and its units permuted, not rotated, as each unit counts
    once. About 0 for unrelated x and y at any number of units (r2: at or slightly below 0). Cost:
    folds x (n p min(n, p) + min(n, p)^3 + n q min(n, p)) in time, times the inner folds in the worst
    case; O(n (p + q) + min(n, p)^2) memory. Source: ridge of Hoerl & Kennard 1970,
    doi:10.1080/00401706.1970.10488634; as a measure of models Yamins et al. 2014,
    doi:10.1073/pnas.1403112111. Departure: ridge, and no correction for the noise of y.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 5)); y = x[:, :2] + 0.1 * rng.normal(size=(60, 2))
    >>> linear_predictivity(x, y) > 0.95 > 0.6 > linear_predictivity(y, x)
    True
    """
    first, second = paired(x, y)
    return linear_predictivity_of(
        first,
        second,
        direction=direction,
        metric=metric,
        cv=cv,
        alphas=alphas,
        random_state=random_state,
    )
