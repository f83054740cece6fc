"""At which delay the responses follow the features: one score per lag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from brainalign.design import ALL, named_regions, recording_runs
from brainalign.design.delays import check_delays, fir_delays
from brainalign.encoding._inference import mean_over_folds
from brainalign.encoding._inputs import prepare
from brainalign.encoding._time import default_gap, interval_of
from brainalign.encoding.fit import fit_encoding
from brainalign.errors import InputError
from brainalign.types import Responses, Scores


def scan_lags(
    *,
    features: Any,
    responses: Any,
    lags: Sequence[int],
    n_folds: int = 5,
    gap: int | None = None,
    confounds: Any = None,
    design: str | None = None,
    groups: Any = None,
    metric: str = "pearson",
    identity: Mapping[str, str] | None = None,
    random_state: int | None = 0,
) -> Scores:
    """Predict the responses from the features at one delay at a time.

    A single score cannot tell that events are a few samples early or late; the curve over
    lags can: it should peak where the physiology says (fMRI 4 to 6 s, EEG 0.1 to 0.4 s).

    Parameters
    ----------
    features : Responses or array (n_samples, n_features); of Responses with delays the first
        delay serves, and lags count from the features as they were before it
    responses : Responses of blocks or a continuous design, or array (n_samples, n_units)
    lags : whole samples, increasing; negative ones use features of the future and are the
        control: nothing should be found there beyond what the features share with their past
    n_folds, gap, confounds, design, groups, metric, random_state : as in `fit_encoding`;
        the same folds, and one gap wide enough for the longest lag, serve all lags
    identity : as in `fit_encoding`

    Returns
    -------
    Scores, values (n_units, n_lags); ``info["times"]`` and ``info["lag_scan"]`` hold the lags
    in seconds (in samples where nothing says how far apart they are) and the mean curve of
    every region.

    Raises
    ------
    InputError
        The design is trials; there are several feature spaces; lags are not increasing.

    Notes
    -----
    Cost: one `fit_encoding` per lag. The best lag of a curve was picked with the test rows in
    sight: it describes, it is no claim.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((300, 2))
    >>> y = np.roll(x, 3, axis=0) + 0.5 * rng.standard_normal((300, 2))
    >>> curve = scan_lags(features=x, responses=y, lags=range(6), design="continuous")
    >>> curve.info["lag_scan"]["best_lag"]
    3
    """
    steps = check_delays(lags)
    if steps != sorted(steps):
        raise InputError(f"lags={steps}; expected increasing numbers of samples")
    if isinstance(features, Mapping):
        raise InputError(f"{len(features)} feature spaces; lags are scanned for one: give features[NAME]")
    features, delay = _one_delay(features)
    problem = prepare(features, responses, groups=groups, design=design, splits="auto")
    if problem.design == "trials" or len(problem.shape) != 1:
        raise InputError(
            "lags are those of samples that follow each other (blocks, continuous), one value per unit; "
            f"these responses are {problem.design} with rows of shape {problem.shape}"
        )
    name = next(iter(problem.features))
    X = np.asarray(problem.feature_rows(name, np.arange(len(problem.values))), dtype=np.float64)
    X = X - X.mean(axis=0)
    runs = recording_runs(problem.samples)
    if gap is None:
        gap = default_gap(problem, max(abs(step) for step in steps), n_folds)
    fits = []
    for step in steps:
        fit = fit_encoding(
            features=fir_delays(X, [step - delay], runs),
            responses=responses,
            design=design,
            groups=groups,
            n_folds=n_folds,
            gap=gap,
            confounds=confounds,
            time_control=False,
            metric=metric,
            n_bootstrap=0,
            identity=identity,
            random_state=random_state,
        )
        fits.append(fit.scores)
    folds = np.stack([np.asarray(scores.fold_values) for scores in fits], axis=2)
    values = np.stack([scores.values for scores in fits], axis=1)
    return _curve(fits[0], values, folds, steps, interval_of(problem))


def _one_delay(features: Any) -> tuple[Any, int]:
    """Features as they were at the first of their delays, and that delay; 0 where there is none."""
    delays = features.info.get("delays") if isinstance(features, Responses) else None
    if not delays:
        return features, 0
    n = features.n_units // len(delays)
    first = features.select(units=np.arange(n))
    info = {k: v for k, v in first.info.items() if k not in ("delays", "delays_s")}
    return replace(first, info=info), int(delays[0])


def _curve(
    first: Scores, values: np.ndarray, folds: np.ndarray, steps: list[int], dt: float | None
) -> Scores:
    """Scores over lags, with the mean curve of every region."""
    lags = [round(step * dt, 6) if dt else float(step) for step in steps]
    assert first.units is not None
    index = {ALL: np.arange(len(values)), **named_regions(first.units)}
    curves = {name: mean_over_folds(values[rows]) for name, rows in index.items()}
    best = int(np.nan_to_num(curves[ALL], nan=-np.inf).argmax())
    scan = {
        "lags": steps,
        "lags_s": lags,
        "values": {name: [float(v) for v in curve] for name, curve in curves.items()},
        "best_lag": steps[best],
        "best_lag_s": lags[best],
    }
    info = {k: v for k, v in first.info.items() if k not in ("region_interval", "interval", "layer")}
    return Scores(
        values,
        first.units,
        first.metric,
        {**first.identity, "layer": "one lag at a time"},
        fold_values=folds,
        n_test=first.n_test,
        info={**info, "claim": "descriptive", "times": lags, "lag_scan": scan},
    )
