"""Offsets, rounded constants, ties, far outliers and options of another kind in the shared measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from brainalign.comparison import (
    ProcrustesRetrieval,
    bures_distance,
    canonical_correlation,
    cknna,
    cluster_systems,
    distance_correlation,
    embed_systems,
    energy_shape_distance,
    estimate_shape_similarity,
    gaussian_shape_distance,
    kernel_analysis,
    large_cka,
    large_cka_memory,
    linear_cka,
    linear_predictivity,
    match_sites,
    nearest_neighbours,
    normalised_bures_similarity,
    pairwise_shape_distances,
    permutation_procrustes_distance,
    procrustes_distance,
    pwcca,
    rbf_cka,
    rsm_norm,
    shape_distance,
    stochastic_shape_distance,
    svcca,
)
from brainalign.comparison.neighbours import mutual_knn_of
from brainalign.comparison.procrustes_retrieval import _hits, _true_ranks
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)
X = np.round(100.0 * RNG.normal(size=(20, 3)))
Y = np.round(X[:, :2] @ RNG.normal(size=(2, 3)) + 80.0 * RNG.normal(size=(20, 3)))
TRIALS = RNG.normal(size=(5, 3, 2))
SHIFTED: list[Callable[..., float]] = [
    linear_cka,
    large_cka,
    rbf_cka,
    distance_correlation,
    canonical_correlation,
    svcca,
    pwcca,
    bures_distance,
    normalised_bures_similarity,
    procrustes_distance,
    permutation_procrustes_distance,
    shape_distance,
    rsm_norm,
]


@pytest.mark.parametrize("measure", SHIFTED)
def test_whole_numbers_far_from_zero_lose_no_digit(measure: Callable[..., float]) -> None:
    """An offset of 3e14, under which whole numbers stay exact, does not change a value."""
    assert measure(X + 3e14, Y - 3e14) == pytest.approx(measure(X, Y), rel=1e-10)


@pytest.mark.parametrize(
    "measure", [f for f in SHIFTED if f not in (bures_distance, rsm_norm)] + [linear_predictivity]
)
def test_rounding_of_a_constant_is_no_variance(measure: Callable[..., float]) -> None:
    """A side whose values differ in the last place alone, as a mean of repeats may, has no value."""
    constant = np.where(RNG.random(X.shape) > 0.5, 0.1, np.nextafter(0.1, 1.0))
    with pytest.warns(UserWarning, match="does not vary over stimuli"):
        assert np.isnan(measure(constant, Y))
    with pytest.warns(UserWarning, match="does not vary over stimuli"):
        assert np.isnan(large_cka(np.tile(constant, 10), Y, block_rows=7))


def test_scale_of_a_constant_side_does_not_hide_the_other() -> None:
    """The Bures distance from a constant is the size of the other side, however small that is."""
    small = 1e-200 * X
    expected = np.linalg.norm(X - X.mean(axis=0)) / np.sqrt(20) * 1e-200
    assert bures_distance(np.ones((20, 1)), small) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("debiased", [True, False])
def test_wide_kernel_tends_to_the_linear_one(debiased: bool) -> None:
    """At a bandwidth of 1e6 medians the RBF CKA is the linear CKA to 1e-10, not to the digits of exp."""
    value = rbf_cka(X, Y, fraction=1e6, debiased=debiased)
    assert value == pytest.approx(linear_cka(X, Y, debiased=debiased), abs=1e-10)


def test_near_pairs_beside_a_far_stimulus_keep_their_distances() -> None:
    """With one stimulus 3e7 away the kernels of the others are those of their exact distances."""
    far = X.copy()
    far[0] += 3e9
    centred = []
    for side in (far, Y):
        distances = pdist(side)
        kernel = squareform(np.exp(-np.square(distances / np.median(distances)) / 2.0)) + np.eye(20)
        kernel = kernel - kernel.mean(axis=0)
        centred.append(kernel - kernel.mean(axis=1, keepdims=True))
    a, b = centred
    expected = np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
    assert rbf_cka(far, Y, debiased=False) == pytest.approx(expected, abs=1e-9)


def test_equal_candidates_share_their_places() -> None:
    """Twins among the candidates halve a hit, and a map that says nothing scores at chance."""
    x = np.repeat(RNG.normal(size=(10, 3)), 2, axis=0)
    fold = np.empty(20, dtype=int)
    for k, rows in enumerate(np.array_split(np.random.default_rng(0).permutation(20), 2)):
        fold[rows] = k
    expected = np.where(fold == fold[np.arange(20) ^ 1], 0.5, 1.0).mean()
    assert expected < 1.0
    found = ProcrustesRetrieval(k=1, n_folds=2).score(x, x)
    assert found.precision[1] == pytest.approx(expected)
    assert found.chance[1] == 0.1
    ranks = _true_ranks(np.zeros((20, 3)), RNG.normal(size=(20, 3)), None)
    assert [_hits(ranks, k).mean() for k in (1, 10, 20)] == pytest.approx([0.05, 0.5, 1.0])


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (
            [(np.arange(-20, -1), np.arange(2, 20))],
            "training rows of fold 0 of cv are not whole numbers from",
        ),
        (
            [(np.arange(10), np.arange(15, 25))],
            "test rows of fold 0 of cv are not whole numbers from 0 to 19",
        ),
        ([(np.arange(10.0), np.arange(10, 20))], "training rows of fold 0 of cv are not whole numbers"),
        ([], "cv has no folds"),
        ([1], "fold 0 of cv is 1; expected a pair"),
    ],
)
def test_folds_that_name_no_rows_are_refused(cv: Any, message: str) -> None:
    """A negative row would let a stimulus into both sides of a split."""
    with pytest.raises(InputError, match=message):
        linear_predictivity(X, Y, cv=cv)


def test_folds_may_be_masks() -> None:
    """Masks over the rows are the folds of the rows that they mark."""
    mask = np.arange(20) % 2 == 0
    rows = np.flatnonzero(mask), np.flatnonzero(~mask)
    assert linear_predictivity(X, Y, cv=[(mask, ~mask)]) == linear_predictivity(X, Y, cv=[rows])


def test_neighbours_of_other_programs_are_refused() -> None:
    """Lists that hold the stimulus itself, one neighbour twice or rows that do not exist have no value."""
    near = nearest_neighbours(X, k=3)
    own = np.column_stack([np.arange(20), near[:, :2]])
    for wrong, message in (
        (own, "row 0 of y hold itself"),
        (near[:, [0, 0, 1]], "row 0 of y hold one stimulus twice"),
        (near + 20, "hold rows outside 0 to 19"),
    ):
        with pytest.raises(InputError, match=message):
            mutual_knn_of(near, wrong)
    with pytest.raises(InputError, match="of x hold one stimulus twice"):
        mutual_knn_of(near[:, [1, 1, 2]], near)


@pytest.mark.parametrize("measure", [stochastic_shape_distance, energy_shape_distance])
def test_trials_hidden_or_far_from_zero(measure: Callable[..., float]) -> None:
    """Masked trials are not taken for numbers; a rotation that rounding has eaten is told."""
    with pytest.raises(InputError, match="values that are not finite"):
        measure(np.ma.array(TRIALS, mask=TRIALS > 0), TRIALS)
    with pytest.warns(UserWarning, match="x lie .* times as far from zero as they spread"):
        measure(TRIALS + 1e8, TRIALS, restarts=0)
    with pytest.raises(ShapeError, match="means_x has shape"):
        gaussian_shape_distance(np.zeros(3), np.eye(3)[None], np.zeros((1, 3)), np.eye(3)[None])


LABELS = np.repeat([0, 1], 10)
SQUARE = np.ones((3, 3)) - np.eye(3)


@pytest.mark.parametrize("wrong", ["no", [1], None])
@pytest.mark.parametrize(
    "call",
    [
        lambda v: linear_cka(X, Y, debiased=v),
        lambda v: large_cka(X, Y, debiased=v),
        lambda v: rbf_cka(X, Y, debiased=v),
        lambda v: rbf_cka(X, Y, fraction=v),
        lambda v: distance_correlation(X, Y, debiased=v),
        lambda v: canonical_correlation(X, Y, ridge=v),
        lambda v: canonical_correlation(X, Y, squared=v),
        lambda v: svcca(X, Y, threshold=v),
        lambda v: linear_predictivity(X, Y, random_state=v),
        lambda v: procrustes_distance(X, Y, scale_free=v),
        lambda v: permutation_procrustes_distance(X, Y, pad=v),
        lambda v: shape_distance(X, Y, alpha=v),
        lambda v: shape_distance(X, Y, scale_free=v),
        lambda v: stochastic_shape_distance(TRIALS, TRIALS, max_iter=v),
        lambda v: energy_shape_distance(TRIALS, TRIALS, restarts=v),
        lambda v: energy_shape_distance(TRIALS, TRIALS, random_state=v or -1),
        lambda v: estimate_shape_similarity(X, Y, degree=v),
        lambda v: estimate_shape_similarity(X, Y, random_state=v or 0.5),
        lambda v: pairwise_shape_distances(v if v is None else [X]),
        lambda v: pairwise_shape_distances([X, Y], measure="procrustes", alpha=v),
        lambda v: embed_systems(SQUARE, n_dims=v),
        lambda v: embed_systems([["a", "b"], ["c", "d"]] if v else SQUARE, n_dims=v or 0),
        lambda v: cluster_systems(SQUARE, method=v),
        lambda v: ProcrustesRetrieval(k=v if v != [1] else [1.5]).score(X, Y),
        lambda v: ProcrustesRetrieval(k=1, n_folds=v).score(X, Y),
        lambda v: ProcrustesRetrieval(k=1, csls=v or True).score(X, Y),
        lambda v: cknna(X, Y, debiased=v),
        lambda v: rsm_norm(X, Y, squared=v),
        lambda v: kernel_analysis(X, LABELS, bandwidth=v),
        lambda v: kernel_analysis(X, LABELS, penalty=v),
        lambda v: kernel_analysis(X, LABELS, n_components=v or 2.5),
        lambda v: kernel_analysis(X, LABELS, quantiles=v if v != [1] else [True]),
        lambda v: match_sites(X, v),
        lambda v: match_sites(X, 2, v if v == "no" else -1.0),
        lambda v: large_cka(X, Y, block_rows=v or 2.5),
        lambda v: large_cka_memory(v, 3, 3),
    ],
)
def test_options_of_another_kind_are_refused(call: Callable[[Any], Any], wrong: Any) -> None:
    """Text, lists, None, flags for numbers and numbers for flags are refused by name, not by Python."""
    with pytest.raises(InputError, match="expected|no meaning|is not one of|a pair needs 2"):
        call(wrong)
