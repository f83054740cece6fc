"""How far training must stay away from a contiguous test block."""

from __future__ import annotations

import numpy as np

from brainalign.design._events import sample_interval
from brainalign.design.drifts import autocorrelation_length
from brainalign.design.splits import recording_runs
from brainalign.errors import AlignmentError
from brainalign.types import Responses

SLOW_SAMPLING_S = 0.2  # samples further apart than this are those of haemodynamic recordings
_HAEMODYNAMIC_S = 10.0
_UNITS_LOOKED_AT = 2000


def some_units(values: np.ndarray) -> np.ndarray:
    """Evenly chosen columns, a few thousand at most: enough for a median over units."""
    step = max(1, values.shape[1] // _UNITS_LOOKED_AT)
    return values[:, ::step]


def contiguous_gap(responses: Responses, *, n_folds: int, delay: int = 0) -> int | None:
    """Samples to leave out beside a contiguous test block, or None where folds are not blocks.

    The largest of a tenth of a block, the longest `delay` of the features plus 10 s of
    haemodynamic response (slow recordings), and the autocorrelation length of the
    responses; at most half a block.

    Parameters
    ----------
    responses : Responses of any design
    n_folds : number of test blocks
    delay : longest delay of the features, in samples

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((200, 3))
    >>> contiguous_gap(Responses(noise, info={"design": "continuous"}), n_folds=5)
    4
    """
    samples = responses.samples
    assert samples is not None
    own_test = "split" in samples and samples["split"].notna().any()
    if responses.info.get("design") == "trials" or own_test or recording_runs(samples) is not None:
        return None
    block = responses.n_samples // n_folds
    values = responses.array().reshape(responses.n_samples, -1)
    memory = autocorrelation_length(some_units(values), longest=max(1, block // 2))
    needed = max(1, block // 10, memory, delay + _haemodynamic_samples(responses))
    return max(1, min(needed, block // 2))


def _haemodynamic_samples(responses: Responses) -> int:
    dt = interval_or_none(responses)
    return int(np.ceil(_HAEMODYNAMIC_S / dt)) if dt is not None and dt >= SLOW_SAMPLING_S else 0


def interval_or_none(responses: Responses) -> float | None:
    """Seconds between samples, or None where nothing says it."""
    try:
        return sample_interval(responses)
    except AlignmentError:
        return None
