"""Comparison of systems that answered the same stimuli: RDMs, RSA, CKA and their inference."""

from brainalign.comparison.cka import linear_cka
from brainalign.comparison.cross_time import cross_time_rdms
from brainalign.comparison.cross_validated import cv_correlation, ldt, poisson_cv
from brainalign.comparison.crossnobis import crossnobis, crossnobis_of_means, run_means
from brainalign.comparison.geodesic import geo_topological_transform, geodesic_transform
from brainalign.comparison.large_ranks import LargeRankCorrelation, large_rank_rsa
from brainalign.comparison.large_rsa import large_rsa, large_rsa_memory
from brainalign.comparison.layers import LayerComparison, compare_layers
from brainalign.comparison.measures import MEASURES, Measure, compare
from brainalign.comparison.model_tests import ModelComparison, compare_models
from brainalign.comparison.noise import NoisePrecision, noise_precision
from brainalign.comparison.over_time import TimeComparison, compare_over_time, time_resolved_rdms
from brainalign.comparison.partial_rsa import RegressionRsa, partial_rsa, regression_rsa
from brainalign.comparison.permutation import Comparison, MantelResult, mantel_test, permutation_test
from brainalign.comparison.rdm_comparison import COMPARATORS, compare_rdms, default_measure
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.comparison.rdms import DISTANCES, NOISE_DISTANCES, rdm
from brainalign.comparison.rsa_crossvalidation import CrossValidatedRsa, crossvalidate_rsa
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.comparison.rsa_result import RsaResult

__all__ = [
    "COMPARATORS",
    "DISTANCES",
    "MEASURES",
    "NOISE_DISTANCES",
    "Comparison",
    "CrossValidatedRsa",
    "LargeRankCorrelation",
    "LayerComparison",
    "MantelResult",
    "Measure",
    "ModelComparison",
    "NoisePrecision",
    "RegressionRsa",
    "RsaResult",
    "TimeComparison",
    "bootstrap_rsa",
    "compare",
    "compare_layers",
    "compare_models",
    "compare_over_time",
    "compare_rdms",
    "cross_time_rdms",
    "crossnobis",
    "crossnobis_of_means",
    "crossvalidate_rsa",
    "cv_correlation",
    "default_measure",
    "geo_topological_transform",
    "geodesic_transform",
    "join_rdms",
    "large_rank_rsa",
    "large_rsa",
    "large_rsa_memory",
    "ldt",
    "linear_cka",
    "mantel_test",
    "noise_precision",
    "partial_rsa",
    "permutation_test",
    "poisson_cv",
    "rdm",
    "regression_rsa",
    "run_means",
    "time_resolved_rdms",
]
