"""Options of the wrong kind are refused by name, before anything is computed, in every family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from brainalign import simulate
from brainalign.comparison import (
    class_geometry,
    curvature_flow,
    depth,
    dynamical_similarity,
    feature_variance,
    intrinsic_dimension,
    intrinsic_distance,
    mode_decomposition,
    multilevel,
    phases,
    repeated_spectrum,
    ricci_curvature,
    topology_divergence,
    training_phases,
    transport,
    unit_clustering,
    unit_excess,
    unit_matching,
    unit_sparsity,
)
from brainalign.errors import InputError, ShapeError

X, Y = np.random.default_rng(0).normal(size=(2, 24, 4))
TRIALS = X.reshape(8, 3, 4)
GRAPH = np.ones((5, 5)) - np.eye(5)
FEATURE = {"odd": np.arange(24) % 2}
EXCESS = unit_excess.excess_correlation(X, [Y])

SEEDED: list[Callable[..., Any]] = [
    lambda seed: unit_matching.best_match(X, Y, cv=2, random_state=seed),
    lambda seed: unit_sparsity.sparse_prediction(X, Y, random_state=seed),
    lambda seed: unit_clustering.unit_clusters(X, Y, n_clusters=2, random_state=seed),
    lambda seed: unit_excess.excess_correlation(X, [Y], random_state=seed),
    lambda seed: multilevel.neuron_comparison({"a": X}, {"b": Y}, random_state=seed),
    lambda seed: transport.gromov_wasserstein(X, Y, random_state=seed),
    lambda seed: topology_divergence.rtd(X, Y, random_state=seed),
    lambda seed: dynamical_similarity.dsa(X, Y, n_delays=1, random_state=seed),
    lambda seed: repeated_spectrum.cross_validated_spectrum(TRIALS, random_state=seed),
    lambda seed: feature_variance.variance_by_feature(X, FEATURE, random_state=seed),
    lambda seed: simulate.feature_bias(random_state=seed),
]


@pytest.mark.parametrize("call", SEEDED)
def test_a_seed_is_a_whole_number(call: Callable[..., Any]) -> None:
    """None, which would not repeat, texts, fractions, flags and negative numbers are no seed."""
    for seed in (None, "x", -1, 1.5, True, [1]):
        with pytest.raises(InputError, match="random_state=.*; expected a whole number of at least 0"):
            call(seed)


COUNTED: list[tuple[str, Callable[..., Any]]] = [
    ("max_iter", lambda v: unit_sparsity.sparse_prediction(X, Y, max_iter=v)),
    ("n_clusters", lambda v: unit_clustering.unit_clusters(X, Y, n_clusters=v)),
    ("n_rotations", lambda v: unit_excess.excess_correlation(X, [Y], n_rotations=v)),
    ("n_restarts", lambda v: transport.gromov_wasserstein(X, Y, n_restarts=v)),
    ("batch", lambda v: topology_divergence.rtd(X, Y, batch=v)),
    ("n_batches", lambda v: topology_divergence.rtd(X, Y, n_batches=v)),
    ("k", lambda v: intrinsic_distance.imd(X, Y, k=v)),
    ("k", lambda v: ricci_curvature.ricci(X, Y, k=v)),
    ("n_iterations", lambda v: curvature_flow.ricci_flow(GRAPH, n_iterations=v)),
    ("n_splits", lambda v: repeated_spectrum.cross_validated_spectrum(TRIALS, n_splits=v)),
    ("n_folds", lambda v: feature_variance.variance_by_feature(X, FEATURE, n_folds=v)),
    ("n_units", lambda v: simulate.feature_bias(n_units=v)),
    ("n_bits", lambda v: simulate.feature_bias(n_bits=v)),
    ("n_stimuli", lambda v: simulate.feature_bias(n_stimuli=v)),
]


@pytest.mark.parametrize(("name", "call"), COUNTED)
def test_a_number_of_things_is_whole(name: str, call: Callable[..., Any]) -> None:
    """2.5 folds would cut the stimuli somewhere, silently; texts and flags are refused with their name."""
    for value in (2.5, "x", True, (5, 3), -1):
        with pytest.raises(InputError, match=f"{name}=.*expected"):
            call(value)


REAL: list[tuple[str, Callable[..., Any]]] = [
    ("entropic", lambda v: transport.gromov_wasserstein(X, Y, entropic=v)),
    ("alpha", lambda v: ricci_curvature.ricci(X, Y, alpha=v)),
    ("alpha", lambda v: ricci_curvature.ollivier_ricci(GRAPH, alpha=v)),
    ("threshold", lambda v: ricci_curvature.similarity_graph(GRAPH, threshold=v)),
    ("cutoff", lambda v: curvature_flow.ricci_communities(GRAPH, cutoff=v)),
    ("ridge", lambda v: mode_decomposition.dmd(X, n_delays=1, ridge=v)),
    ("penalty", lambda v: phases.layer_phases(GRAPH, penalty=v)),
    ("smallest_change", lambda v: training_phases.phase_labels([1.0, 2.0, 1.0], smallest_change=v)),
    ("discard", lambda v: intrinsic_dimension.two_nn(X, discard=v)),
    ("threshold", lambda v: EXCESS.universal(v)),
    ("alphas", lambda v: unit_sparsity.sparse_prediction(X, Y, alphas=[v])),
    ("prevalence", lambda v: simulate.feature_bias(prevalence=v)),
    ("strengths", lambda v: simulate.feature_bias(v)),
]


@pytest.mark.parametrize(("name", "call"), REAL)
def test_a_number_is_real_and_finite(name: str, call: Callable[..., Any]) -> None:
    """Texts, flags, NaN and infinity are refused; a threshold of NaN would give a graph without edges."""
    for value in ("x", True, np.nan, np.inf):
        with pytest.raises(InputError, match=f"{name}=.*expected"):
            call(value)


FLAGS: list[tuple[str, Callable[..., Any]]] = [
    ("absolute", lambda v: unit_matching.match_units(X, Y, absolute=v)),
    ("absolute", lambda v: unit_matching.bipartite_match(X, Y, absolute=v)),
    ("squared", lambda v: transport.gromov_wasserstein(X, Y, squared=v)),
    ("allow_disconnected", lambda v: intrinsic_distance.imd(X, Y, allow_disconnected=v)),
    ("allow_disconnected", lambda v: ricci_curvature.ricci(X, Y, allow_disconnected=v)),
    ("weighted", lambda v: ricci_curvature.neighbour_graph(X, weighted=v)),
    ("intercept", lambda v: mode_decomposition.dmd(X, n_delays=1, intercept=v)),
]


@pytest.mark.parametrize(("name", "call"), FLAGS)
def test_a_flag_is_true_or_false(name: str, call: Callable[..., Any]) -> None:
    """The text "no" would count as True."""
    for value in ("no", 1, None):
        with pytest.raises(InputError, match=f"{name}=.*; expected True or False"):
            call(value)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: unit_excess.excess_correlation(X, Y), InputError, "others is ndarray; expected a list with"),
        (
            lambda: unit_excess.streamed_excess([X]),
            InputError,
            r"streams\[0\] is ndarray; expected Streaming",
        ),
        (lambda: dynamical_similarity.pairwise_dsa(None), InputError, "systems is NoneType; expected a seq"),  # type: ignore[arg-type]
        (lambda: dynamical_similarity.pairwise_dsa([X, Y], names="xy"), InputError, "names='xy'; expected"),
        (lambda: dynamical_similarity.eigenvalue_distance("x", [1.0]), InputError, "first has dtype <U1"),
        (lambda: phases.layer_similarity(3), InputError, "layers are int; expected an array or a sequence"),
        (lambda: phases.layer_similarity({"a": X}, "cka"), InputError, "layers are dict; expected an array"),
        (lambda: depth.depth_dynamics(np.float64(1)), InputError, "states are float64; expected an array"),
        (lambda: phases.layer_phases([["x"]]), InputError, "similarity has dtype <U1; expected real numbers"),
        (lambda: class_geometry.gdv(X, 1), ShapeError, r"labels have shape \(\); expected \(24,\)"),
        (lambda: class_geometry.gdv(X, Y), ShapeError, r"labels have shape \(24, 4\); expected \(24,\)"),
        (lambda: feature_variance.variance_by_feature(X, FEATURE, continuous=3), InputError, "continuous=3;"),  # type: ignore[arg-type]
        (lambda: simulate.feature_bias([3]), InputError, "strengths of system 0 are 3; expected two shares"),  # type: ignore[list-item]
    ],
)
def test_containers(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    """An array in the place of a list, and other mistakes of form, are named."""
    with pytest.raises(kind, match=text):
        call()


def test_one_name_of_a_number_is_that_feature() -> None:
    """A single name is not read as the list of its letters, nor as a part of another name."""
    values = {"size": X[:, 0] + 1.0, "e": np.arange(24) % 2}
    found = feature_variance.variance_by_feature(X, values, continuous="size")
    expected = feature_variance.variance_by_feature(X, values, continuous=["size"])
    np.testing.assert_array_equal(found, expected)
    assert found.r2["e"] < 0.2


def test_masked_entries_are_not_values() -> None:
    """A masked response or label is missing: it is refused, and what lies below the mask is not used."""
    masked = np.ma.masked_array(X, mask=np.isin(X, X[2, 1]))
    for call in (
        lambda: mode_decomposition.dmd(masked, n_delays=1),
        lambda: phases.layer_similarity([masked, X]),
        lambda: repeated_spectrum.cross_validated_spectrum(masked, X),
    ):
        with pytest.raises(InputError, match="1 values that are not finite"):
            call()
    labels = np.ma.masked_array(FEATURE["odd"], mask=np.arange(24) == 3)
    with pytest.raises(InputError, match="labels: row 3 has no label"):
        class_geometry.gdv(X, labels)


def test_tensors_of_a_network_are_taken_as_they_are() -> None:
    """A tensor with a gradient, or in bfloat16, is read where trajectories and layers are expected."""
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(X, requires_grad=True)
    assert phases.layer_similarity([tensor, tensor.bfloat16()])[0, 1] > 0.999
    assert mode_decomposition.dmd(tensor, n_delays=1).prediction_error == pytest.approx(
        mode_decomposition.dmd(X, n_delays=1).prediction_error
    )


def test_the_diagonal_of_a_similarity_is_not_looked_at() -> None:
    """Variances of 1e9, or NaN, on the diagonal make no tie and no edge."""
    similarity = np.corrcoef(X[:6])
    expected = ricci_curvature.similarity_graph(similarity, k=1)
    assert expected.sum() < 30
    for diagonal in (1e9, np.nan, -5.0):
        other = similarity.copy()
        np.fill_diagonal(other, diagonal)
        np.testing.assert_array_equal(ricci_curvature.similarity_graph(other, k=1), expected)
        np.testing.assert_array_equal(
            ricci_curvature.similarity_graph(other, threshold=0.2),
            ricci_curvature.similarity_graph(similarity, threshold=0.2),
        )
