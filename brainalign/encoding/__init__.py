"""Encoding models: features and responses to scores."""

from brainalign.encoding._description import versions
from brainalign.encoding.fit import EncodingFit, fit_encoding
from brainalign.encoding.ranking import rank_scores

__all__ = ["EncodingFit", "fit_encoding", "rank_scores", "versions"]
