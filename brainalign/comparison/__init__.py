"""Comparison of two systems that answered the same stimuli: RDMs, RSA, CKA and their inference."""

from brainalign.comparison.cka import linear_cka
from brainalign.comparison.layers import LayerComparison, compare_layers
from brainalign.comparison.measures import MEASURES, Measure, compare
from brainalign.comparison.over_time import TimeComparison, compare_over_time, time_resolved_rdms
from brainalign.comparison.permutation import Comparison, permutation_test
from brainalign.comparison.rdm_comparison import COMPARATORS, compare_rdms
from brainalign.comparison.rdms import DISTANCES, rdm

__all__ = [
    "COMPARATORS",
    "DISTANCES",
    "MEASURES",
    "Comparison",
    "LayerComparison",
    "Measure",
    "TimeComparison",
    "compare",
    "compare_layers",
    "compare_over_time",
    "compare_rdms",
    "linear_cka",
    "permutation_test",
    "rdm",
    "time_resolved_rdms",
]
