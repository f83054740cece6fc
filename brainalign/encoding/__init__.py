"""Encoding models: features and responses to scores."""

from brainalign._versions import versions
from brainalign.encoding._description import known_facts
from brainalign.encoding.fit import EncodingFit, fit_encoding
from brainalign.encoding.lags import scan_lags
from brainalign.encoding.ranking import rank_scores

__all__ = [
    "EncodingFit",
    "contiguous_gap",
    "fit_encoding",
    "known_facts",
    "rank_scores",
    "scan_lags",
    "versions",
]
