"""Comparison of systems that answered the same stimuli: RDMs, RSA, CKA and their inference."""

from brainalign.comparison.cka import linear_cka
from brainalign.comparison.connectivity import Connectivity, representational_connectivity, thin_connectivity
from brainalign.comparison.cross_time import cross_time_rdms
from brainalign.comparison.cross_validated import cv_correlation, ldt, poisson_cv
from brainalign.comparison.crossnobis import crossnobis, crossnobis_of_means, run_means
from brainalign.comparison.encoded_rsa import EncodedRsa, encoded_rsa
from brainalign.comparison.feature_reweighting import FeatureReweightedModel, crossvalidate_features
from brainalign.comparison.geodesic import geo_topological_transform, geodesic_transform
from brainalign.comparison.intersubject_rsa import IntersubjectRsa, intersubject_rsa
from brainalign.comparison.large_ranks import LargeRankCorrelation, large_rank_rsa
from brainalign.comparison.large_rsa import large_rsa, large_rsa_memory
from brainalign.comparison.layers import LayerComparison, compare_layers
from brainalign.comparison.measures import MEASURES, Measure, compare
from brainalign.comparison.model_tests import ModelComparison, compare_models
from brainalign.comparison.noise import NoisePrecision, noise_precision
from brainalign.comparison.over_time import (
    TimeComparison,
    compare_over_time,
    temporal_generalisation,
    time_resolved_rdms,
)
from brainalign.comparison.partial_rsa import RegressionRsa, partial_rsa, regression_rsa
from brainalign.comparison.permutation import Comparison, MantelResult, mantel_test, permutation_test
from brainalign.comparison.rdm_comparison import COMPARATORS, compare_rdms, default_measure
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.comparison.rdm_partition import RdmPartition, partition_rdms
from brainalign.comparison.rdms import DISTANCES, NOISE_DISTANCES, rdm
from brainalign.comparison.rsa_crossvalidation import CrossValidatedRsa, crossvalidate_rsa
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.comparison.rsa_maps import RsaMap, map_rsa
from brainalign.comparison.rsa_result import RsaResult
from brainalign.comparison.searchlight import map_searchlight
from brainalign.comparison.searchlight_result import SearchlightResult
from brainalign.comparison.time_resolved import TimeResolvedRsa, time_resolved_rsa
from brainalign.comparison.weighted_models import (
    FittedWeights,
    InterpolatedModel,
    NonNegativeModel,
    RidgeModel,
    SelectedModel,
    fit_weights,
)

__all__ = [
    "COMPARATORS",
    "DISTANCES",
    "MEASURES",
    "NOISE_DISTANCES",
    "Comparison",
    "Connectivity",
    "CrossValidatedRsa",
    "EncodedRsa",
    "FeatureReweightedModel",
    "FittedWeights",
    "InterpolatedModel",
    "IntersubjectRsa",
    "LargeRankCorrelation",
    "LayerComparison",
    "MantelResult",
    "Measure",
    "ModelComparison",
    "NoisePrecision",
    "NonNegativeModel",
    "RdmPartition",
    "RegressionRsa",
    "RidgeModel",
    "RsaMap",
    "RsaResult",
    "SearchlightResult",
    "SelectedModel",
    "TimeComparison",
    "TimeResolvedRsa",
    "bootstrap_rsa",
    "compare",
    "compare_layers",
    "compare_models",
    "compare_over_time",
    "compare_rdms",
    "cross_time_rdms",
    "crossnobis",
    "crossnobis_of_means",
    "crossvalidate_features",
    "crossvalidate_rsa",
    "cv_correlation",
    "default_measure",
    "encoded_rsa",
    "fit_weights",
    "geo_topological_transform",
    "geodesic_transform",
    "intersubject_rsa",
    "join_rdms",
    "large_rank_rsa",
    "large_rsa",
    "large_rsa_memory",
    "ldt",
    "linear_cka",
    "mantel_test",
    "map_rsa",
    "map_searchlight",
    "noise_precision",
    "partial_rsa",
    "partition_rdms",
    "permutation_test",
    "poisson_cv",
    "rdm",
    "regression_rsa",
    "representational_connectivity",
    "run_means",
    "temporal_generalisation",
    "thin_connectivity",
    "time_resolved_rdms",
    "time_resolved_rsa",
]
