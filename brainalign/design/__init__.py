"""One sample axis for features and responses: joins, splits, repeats, delays, filters, standardisation."""

from brainalign.design._events import sample_interval
from brainalign.design.delays import fir_delays, run_slices
from brainalign.design.drifts import autocorrelation_length, cosine_drifts, detrend, drift_share, high_pass
from brainalign.design.gaps import SLOW_SAMPLING_S, contiguous_gap, interval_or_none, some_units
from brainalign.design.join import content_groups, join_keys, join_rows
from brainalign.design.preparation import (
    TIME_INDEX,
    prepare_features,
    prepare_responses,
    time_columns,
    time_index,
)
from brainalign.design.regions import ALL, named_regions, selection_regions
from brainalign.design.repeats import REPEATS, average_repeats
from brainalign.design.sampling import condition_indicators, to_samples
from brainalign.design.splits import (
    Splits,
    contiguous_splits,
    grouped_splits,
    make_splits,
    recording_runs,
)
from brainalign.design.standardisation import feature_scale, recording_parts, standardise_parts

__all__ = [
    "ALL",
    "REPEATS",
    "SLOW_SAMPLING_S",
    "Splits",
    "TIME_INDEX",
    "autocorrelation_length",
    "average_repeats",
    "condition_indicators",
    "content_groups",
    "contiguous_gap",
    "contiguous_splits",
    "cosine_drifts",
    "detrend",
    "drift_share",
    "feature_scale",
    "fir_delays",
    "grouped_splits",
    "high_pass",
    "interval_or_none",
    "join_keys",
    "join_rows",
    "make_splits",
    "named_regions",
    "prepare_features",
    "prepare_responses",
    "recording_parts",
    "recording_runs",
    "run_slices",
    "sample_interval",
    "selection_regions",
    "some_units",
    "standardise_parts",
    "time_columns",
    "time_index",
    "to_samples",
]
