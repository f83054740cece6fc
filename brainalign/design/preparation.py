"""Time designs made ready for a fit: the same filter on responses and features, delays on features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design._events import sample_interval, timelines
from brainalign.design.delays import check_delays, fir_delays, run_slices
from brainalign.design.drifts import detrend as remove_trend
from brainalign.design.drifts import high_pass
from brainalign.design.join import join_rows, joined_share
from brainalign.design.sampling import to_samples
from brainalign.design.splits import recording_runs
from brainalign.errors import AlignmentError, InputError
from brainalign.types import Responses

TIME_INDEX = "time index"
_SHORTEST_PERIOD = 4  # samples; faster parts of a recording are no drift


def prepare_responses(responses: Responses, *, high_pass_s: float = 0.0, detrend: bool = False) -> Responses:
    """Remove drift from responses of blocks or a continuous design, run by run.

    Parameters
    ----------
    responses : Responses of design ``"blocks"`` or ``"continuous"``, rows in order of time
    high_pass_s : longest period that is kept [s]; 0: no high-pass
    detrend : remove a line from every run

    Returns
    -------
    Responses; ``info["preparation"]`` says in words what was done.

    Raises
    ------
    InputError
        The design is trials.

    Examples
    --------
    >>> samples = pd.DataFrame({"run": "1", "onset": np.arange(100) * 2.0})
    >>> bold = Responses(np.arange(100.0)[:, None], samples, info={"design": "continuous"})
    >>> prepare_responses(bold, high_pass_s=128).info["preparation"]
    ['high-pass 128 s per run (discrete cosines)']
    """
    return _filtered(responses, responses, high_pass_s, detrend)


def prepare_features(
    features: Responses,
    responses: Responses,
    *,
    delays: Sequence[int] = (),
    high_pass_s: float = 0.0,
    detrend: bool = False,
    method: str = "boxcar",
) -> Responses:
    """Put features on the samples of the responses, delay them, and filter them alike.

    Parameters
    ----------
    features : Responses that are on the samples already (run and onset of each), or have
        onsets or stimulus ids of their own: then `to_samples` puts them there
    responses : Responses of design ``"blocks"`` or ``"continuous"``
    delays : whole samples, or none; see `fir_delays`
    high_pass_s, detrend : as in `prepare_responses`; what is removed from the responses must
        be removed from the features
    method : as in `to_samples`

    Returns
    -------
    Responses (n_samples, n_features * n_delays); units named ``"NAME @ 2"`` by their delay.

    Examples
    --------
    >>> samples = pd.DataFrame({"run": "1", "onset": np.arange(5) * 2.0})
    >>> bold = Responses(np.zeros((5, 1)), samples, info={"design": "blocks"})
    >>> face = to_samples({"onset": [2.0], "duration": [2.0], "condition": ["face"]}, bold)
    >>> prepare_features(face, bold, delays=[1, 2]).values.T.tolist()
    [[0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0]]
    """
    _refuse_trials(responses)
    placed = _on_samples(features, responses, method)
    if len(delays):
        _check_clock(responses)
        placed = _delayed(placed, responses, check_delays(delays))
    return _filtered(placed, responses, high_pass_s, detrend)


def time_index(responses: Responses) -> Responses:
    """Features that know only the time since the start of the run: the control of every time design.

    Parameters
    ----------
    responses : Responses of design ``"blocks"`` or ``"continuous"``

    Returns
    -------
    Responses (n_samples, n_columns): time and cosines of it, periods down to 4 samples. A
    model of the stimuli that is no better than this one has found drift and order effects.

    Notes
    -----
    Hadidi, Feghhi et al. 2024, arXiv:2406.01538, show what such a control finds.

    Examples
    --------
    >>> samples = pd.DataFrame({"run": ["1"] * 8 + ["2"] * 8, "onset": list(range(8)) * 2})
    >>> bold = Responses(np.zeros((16, 1)), samples, info={"design": "blocks"})
    >>> bool((time_index(bold).values[:8] == time_index(bold).values[8:]).all())
    True
    """
    _refuse_trials(responses)
    samples = responses.samples
    assert samples is not None
    values, names = time_columns(samples)
    columns = [c for c in ("session", "run", "story", "onset", "subject") if c in samples]
    info = {"model": TIME_INDEX, "role": "control", "design": responses.info.get("design")}
    return Responses(values, samples[columns], pd.DataFrame(index=pd.Index(names, name="unit_id")), info=info)


def time_columns(samples: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Time since the start of the run of each row, and cosines of it: (n_samples, n_columns), names."""
    runs = recording_runs(samples)
    labels = np.zeros(len(samples), dtype=object) if runs is None else runs
    position = pd.Series(np.arange(len(samples))).groupby(labels).cumcount().to_numpy()
    longest = int(position.max()) + 1
    n_columns = max(1, 2 * longest // _SHORTEST_PERIOD)
    share = (position + 0.5) / longest
    values = np.cos(np.pi * share[:, None] * np.arange(1, n_columns + 1))
    names = ["time", *(f"cosine {k}" for k in range(1, n_columns + 1))]
    return np.column_stack([share - 0.5, values]), names


def _refuse_trials(responses: Responses) -> None:
    if responses.info.get("design") not in ("blocks", "continuous"):
        raise InputError(
            f"the design of the responses is {responses.info.get('design')!r}; delays, filters and time as a "
            "control are for 'blocks' and 'continuous'"
        )
    samples = responses.samples
    if samples is not None and "subject" in samples and samples["subject"].nunique() > 1:
        raise AlignmentError(
            f"the responses hold {samples['subject'].nunique()} subjects, one recording after the other; "
            "select the rows of one"
        )


def _check_clock(responses: Responses) -> None:
    """Refuse gaps within a run, and onsets that contradict the repetition time.

    A delay of 2 samples, or a period of 128 s, means the same everywhere only on an even clock.
    """
    samples = responses.samples
    if samples is not None and "onset" in samples and samples["onset"].notna().all():
        timelines(responses)


def _on_samples(features: Responses, responses: Responses, method: str) -> Responses:
    samples, own = responses.samples, features.samples
    assert samples is not None
    assert own is not None
    run = next((c for c in ("run", "story") if c in samples), None)
    on_clock = "onset" in own and "duration" not in own and (run is None or run in own)
    # moments of their own (words, frames) share hardly an onset with the samples
    if on_clock and (features.n_samples == responses.n_samples or joined_share(features, responses) >= 0.5):
        index = join_rows(features, responses)
        columns = [c for c in ("session", "run", "story", "onset", "subject") if c in samples]
        return replace(features, values=features.array()[index], samples=samples[columns])
    return to_samples(features, responses, method=method)


def _delayed(features: Responses, responses: Responses, delays: list[int]) -> Responses:
    assert features.samples is not None
    assert features.units is not None
    runs = recording_runs(features.samples)
    values = features.array()
    if features.info.get("delays"):
        raise InputError(
            f"the features have delays already ({features.info['delays']}); delay them once, as they were "
            "before"
        )
    longest = max(stretch.stop - stretch.start for stretch in run_slices(runs, len(values)))
    late = [delay for delay in delays if abs(delay) >= longest]
    if late:
        raise InputError(
            f"a delay of {late[0]} samples is longer than any run ({longest} samples); delays are whole "
            "samples, not milliseconds"
        )
    # what lies before a run is its resting value: 0 for indicators, the mean for all else
    values = values if _is_indicator(values) else values - values.mean(axis=0)
    units = pd.concat([features.units.assign(delay=d) for d in delays])
    units.index = pd.Index([f"{name} @ {d}" for d in delays for name in features.units.index], name="unit_id")
    dt = sample_interval(responses)
    info = {**features.info, "delays": delays, "delays_s": [round(d * dt, 6) for d in delays]}
    return Responses(fir_delays(values, delays, runs), features.samples, units, info=info)


def _is_indicator(values: np.ndarray) -> bool:
    return bool((values >= 0).all() and (values == 0).any())


def _filtered(part: Responses, clock: Responses, high_pass_s: float, detrend: bool) -> Responses:
    _refuse_trials(clock)
    assert part.samples is not None
    runs = recording_runs(part.samples)
    values: Any = part.array()
    done = list(part.info.get("preparation", []))
    if detrend:
        values = remove_trend(values, runs=runs)
        done.append("linear trend removed per run")
    if high_pass_s:
        _check_clock(clock)
        values = high_pass(values, dt=sample_interval(clock), cutoff_s=high_pass_s, runs=runs)
        done.append(f"high-pass {high_pass_s:g} s per run (discrete cosines)")
    return replace(part, values=values, info={**part.info, "preparation": done})
