"""One sample axis for features and responses: joins, splits, repeats, standardisation."""

from brainalign.design.join import content_groups, join_keys, join_rows
from brainalign.design.regions import ALL, named_regions, selection_regions
from brainalign.design.repeats import REPEATS, average_repeats
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
    "Splits",
    "average_repeats",
    "content_groups",
    "contiguous_splits",
    "feature_scale",
    "grouped_splits",
    "join_keys",
    "join_rows",
    "make_splits",
    "named_regions",
    "recording_parts",
    "recording_runs",
    "selection_regions",
    "standardise_parts",
]
