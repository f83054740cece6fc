"""Comparison of systems that answered the same stimuli: RDMs and RSA, measures of alignment, inference."""

from brainalign.comparison._measure import Measure
from brainalign.comparison.alignment_scores import compare_scores
from brainalign.comparison.bures import bures_distance, normalised_bures_similarity
from brainalign.comparison.cca import canonical_correlation, pwcca, svcca
from brainalign.comparison.cka import linear_cka, rv_coefficient
from brainalign.comparison.class_geometry import (
    Compositionality,
    LabelAlignment,
    compositionality,
    gdv,
    label_alignment,
)
from brainalign.comparison.connectivity import Connectivity, representational_connectivity, thin_connectivity
from brainalign.comparison.cross_time import cross_time_rdms
from brainalign.comparison.cross_validated import cv_correlation, ldt, poisson_cv
from brainalign.comparison.curvature_flow import RicciFlow, community_agreement, ricci_communities, ricci_flow
from brainalign.comparison.delay_embedding import delay_embed
from brainalign.comparison.depth import depth_dynamics
from brainalign.comparison.descriptors import describe_geometry
from brainalign.comparison.distance_dependence import distance_correlation
from brainalign.comparison.dynamical_similarity import dsa, eigenvalue_distance, pairwise_dsa
from brainalign.comparison.energy_shape import energy_shape_distance
from brainalign.comparison.feature_reweighting import FeatureReweightedModel, crossvalidate_features
from brainalign.comparison.feature_variance import variance_by_feature
from brainalign.comparison.geodesic import geo_topological_transform, geodesic_transform
from brainalign.comparison.intrinsic_dimension import TwoNN, two_nn
from brainalign.comparison.intrinsic_distance import heat_trace, imd
from brainalign.comparison.kernel_cka import rbf_cka
from brainalign.comparison.large_ranks import LargeRankCorrelation, large_rank_rsa
from brainalign.comparison.layers import LayerComparison, compare_layers
from brainalign.comparison.many_systems import compare_many
from brainalign.comparison.matrix_norms import rsm_norm
from brainalign.comparison.measures import MEASURES, compare
from brainalign.comparison.mode_decomposition import DynamicsModel, dmd
from brainalign.comparison.model_tests import ModelComparison, compare_models
from brainalign.comparison.multilevel import multilevel_comparison, neuron_comparison
from brainalign.comparison.neighbours import (
    cknna,
    jaccard,
    mutual_knn,
    nearest_neighbours,
    rank_similarity,
    second_order_cosine,
)
from brainalign.comparison.noise import NoisePrecision, noise_precision
from brainalign.comparison.over_time import (
    TimeComparison,
    compare_over_time,
    temporal_generalisation,
    time_resolved_rdms,
)
from brainalign.comparison.permutation import Comparison, MantelResult, mantel_test, permutation_test
from brainalign.comparison.permutation_alignment import align_permutation, permutation_procrustes_distance
from brainalign.comparison.phases import LayerPhases, layer_phases, layer_similarity
from brainalign.comparison.predictivity import linear_predictivity
from brainalign.comparison.procrustes import (
    Alignment,
    align_procrustes,
    angular_procrustes_distance,
    procrustes_distance,
)
from brainalign.comparison.procrustes_retrieval import ProcrustesRetrieval, RetrievalResult
from brainalign.comparison.rdm_comparison import COMPARATORS, compare_rdms, default_measure
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.comparison.rdm_partition import RdmPartition, partition_rdms
from brainalign.comparison.rdms import DISTANCES, NOISE_DISTANCES, rdm
from brainalign.comparison.repeated_spectrum import cross_validated_spectrum
from brainalign.comparison.ricci_curvature import (
    RicciCurvature,
    curvature_distance,
    edge_overlap,
    neighbour_graph,
    ollivier_ricci,
    ricci,
    similarity_graph,
)
from brainalign.comparison.rsa_between_people import IntersubjectRsa, intersubject_rsa
from brainalign.comparison.rsa_crossvalidation import CrossValidatedRsa, crossvalidate_rsa
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.comparison.rsa_maps import RsaMap, map_rsa
from brainalign.comparison.rsa_of_encodings import EncodedRsa, encoded_rsa
from brainalign.comparison.rsa_result import RsaResult
from brainalign.comparison.rsa_with_controls import RegressionRsa, partial_rsa, regression_rsa
from brainalign.comparison.run_distances import crossnobis, crossnobis_of_means, run_means
from brainalign.comparison.searchlight import map_searchlight
from brainalign.comparison.searchlight_result import SearchlightResult
from brainalign.comparison.shape import scale_free_shape_distance, shape_distance, shape_held_out
from brainalign.comparison.shape_distances import cluster_systems, embed_systems, pairwise_shape_distances
from brainalign.comparison.shape_estimator import ShapeEstimate, estimate_shape_similarity
from brainalign.comparison.spectral_descriptors import (
    PowerLaw,
    alpha_req,
    participation_ratio,
    power_law,
    rankme,
)
from brainalign.comparison.stochastic_shape import gaussian_shape_distance, stochastic_shape_distance
from brainalign.comparison.streaming_cka import large_cka, large_cka_memory
from brainalign.comparison.streaming_rsa import large_rsa, large_rsa_memory
from brainalign.comparison.task_kernels import KernelAnalysis, kernel_analysis, match_sites
from brainalign.comparison.time_resolved import TimeResolvedRsa, time_resolved_rsa
from brainalign.comparison.topology_divergence import rtd, rtd_h0
from brainalign.comparison.training_phases import PHASES, phase_labels
from brainalign.comparison.transport import GromovWasserstein, align_stimuli, gromov_wasserstein
from brainalign.comparison.unit_clustering import UnitClusters, unit_clusters
from brainalign.comparison.unit_excess import (
    ExcessCorrelation,
    StreamingCorrelations,
    excess_correlation,
    streamed_excess,
)
from brainalign.comparison.unit_matching import (
    UnitMatching,
    best_match,
    bipartite_match,
    match_units,
    matched_correlations,
    unit_correlations,
)
from brainalign.comparison.unit_sparsity import SparsePrediction, sparse_prediction
from brainalign.comparison.unit_transport import (
    SoftMatching,
    soft_match,
    soft_matching,
    soft_matching_distance,
)
from brainalign.comparison.weighted_models import (
    FittedWeights,
    InterpolatedModel,
    NonNegativeModel,
    RidgeModel,
    SelectedModel,
    fit_weights,
)

__all__ = [
    "Alignment",
    "COMPARATORS",
    "Comparison",
    "Compositionality",
    "Connectivity",
    "CrossValidatedRsa",
    "DISTANCES",
    "DynamicsModel",
    "EncodedRsa",
    "ExcessCorrelation",
    "FeatureReweightedModel",
    "FittedWeights",
    "GromovWasserstein",
    "InterpolatedModel",
    "IntersubjectRsa",
    "KernelAnalysis",
    "LabelAlignment",
    "LargeRankCorrelation",
    "LayerComparison",
    "LayerPhases",
    "MEASURES",
    "MantelResult",
    "Measure",
    "ModelComparison",
    "NOISE_DISTANCES",
    "NoisePrecision",
    "NonNegativeModel",
    "PHASES",
    "PowerLaw",
    "ProcrustesRetrieval",
    "RdmPartition",
    "RegressionRsa",
    "RetrievalResult",
    "RicciCurvature",
    "RicciFlow",
    "RidgeModel",
    "RsaMap",
    "RsaResult",
    "SearchlightResult",
    "SelectedModel",
    "ShapeEstimate",
    "SoftMatching",
    "SparsePrediction",
    "StreamingCorrelations",
    "TimeComparison",
    "TimeResolvedRsa",
    "TwoNN",
    "UnitClusters",
    "UnitMatching",
    "align_permutation",
    "align_procrustes",
    "align_stimuli",
    "alpha_req",
    "angular_procrustes_distance",
    "best_match",
    "bipartite_match",
    "bootstrap_rsa",
    "bures_distance",
    "canonical_correlation",
    "cknna",
    "cluster_systems",
    "community_agreement",
    "compare",
    "compare_layers",
    "compare_many",
    "compare_models",
    "compare_over_time",
    "compare_rdms",
    "compare_scores",
    "compositionality",
    "cross_time_rdms",
    "cross_validated_spectrum",
    "crossnobis",
    "crossnobis_of_means",
    "crossvalidate_features",
    "crossvalidate_rsa",
    "curvature_distance",
    "cv_correlation",
    "default_measure",
    "delay_embed",
    "depth_dynamics",
    "describe_geometry",
    "distance_correlation",
    "dmd",
    "dsa",
    "edge_overlap",
    "eigenvalue_distance",
    "embed_systems",
    "encoded_rsa",
    "energy_shape_distance",
    "estimate_shape_similarity",
    "excess_correlation",
    "fit_weights",
    "gaussian_shape_distance",
    "gdv",
    "geo_topological_transform",
    "geodesic_transform",
    "gromov_wasserstein",
    "heat_trace",
    "imd",
    "intersubject_rsa",
    "jaccard",
    "join_rdms",
    "kernel_analysis",
    "label_alignment",
    "large_cka",
    "large_cka_memory",
    "large_rank_rsa",
    "large_rsa",
    "large_rsa_memory",
    "layer_phases",
    "layer_similarity",
    "ldt",
    "linear_cka",
    "linear_predictivity",
    "mantel_test",
    "map_rsa",
    "map_searchlight",
    "match_sites",
    "match_units",
    "matched_correlations",
    "multilevel_comparison",
    "mutual_knn",
    "nearest_neighbours",
    "neighbour_graph",
    "neuron_comparison",
    "noise_precision",
    "normalised_bures_similarity",
    "ollivier_ricci",
    "pairwise_dsa",
    "pairwise_shape_distances",
    "partial_rsa",
    "participation_ratio",
    "partition_rdms",
    "permutation_procrustes_distance",
    "permutation_test",
    "phase_labels",
    "poisson_cv",
    "power_law",
    "procrustes_distance",
    "pwcca",
    "rank_similarity",
    "rankme",
    "rbf_cka",
    "rdm",
    "regression_rsa",
    "representational_connectivity",
    "ricci",
    "ricci_communities",
    "ricci_flow",
    "rsm_norm",
    "rtd",
    "rtd_h0",
    "run_means",
    "rv_coefficient",
    "scale_free_shape_distance",
    "second_order_cosine",
    "shape_distance",
    "shape_held_out",
    "similarity_graph",
    "soft_match",
    "soft_matching",
    "soft_matching_distance",
    "sparse_prediction",
    "stochastic_shape_distance",
    "streamed_excess",
    "svcca",
    "temporal_generalisation",
    "thin_connectivity",
    "time_resolved_rdms",
    "time_resolved_rsa",
    "two_nn",
    "unit_clusters",
    "unit_correlations",
    "variance_by_feature",
]
