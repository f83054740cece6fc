"""Awkward input of searchlights, curves over time, encoded RSA, partitions and weighted models."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import Ridge

from brainalign.comparison._neighbourhoods import adjacent
from brainalign.comparison._time_tests import max_corrected, sign_flip_null
from brainalign.comparison.connectivity import thin_connectivity
from brainalign.comparison.feature_reweighting import FeatureReweightedModel
from brainalign.comparison.rdm_partition import partition_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_between_people import intersubject_rsa
from brainalign.comparison.rsa_of_encodings import encoded_rsa
from brainalign.comparison.searchlight import map_searchlight
from brainalign.comparison.time_resolved import time_resolved_rsa
from brainalign.comparison.weighted_models import NonNegativeModel, RidgeModel, SelectedModel, fit_weights
from brainalign.errors import InputError, LeakageError, ShapeError
from brainalign.statistics.permutation import permutation_p_values
from brainalign.types import Responses

N = 24
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 6))
Y = X[:, :3] @ RNG.normal(size=(3, 9)) + RNG.normal(size=(N, 9))
STACK = rdm(RNG.normal(size=(3, N, 5)), distance="sq_euclidean")
DATA = STACK[0] + 3.0 * STACK[1] + 0.1 * rdm(RNG.normal(size=(N, 4)), distance="sq_euclidean")
HALVES = (np.arange(12), np.arange(12, N))


def test_a_time_without_a_score_has_no_p_value_over_subjects() -> None:
    """One subject without a score at a time makes p NaN there, and leaves the other times as they are."""
    scores = RNG.normal(size=(5, 4, 2)) + 0.5
    scores[1, 2, 0] = np.nan
    observed, null = sign_flip_null(scores, 99, np.random.default_rng(0))
    p, corrected = permutation_p_values(observed, null), max_corrected(observed, null)
    assert np.argwhere(np.isnan(p)).tolist() == [[2, 0]]
    assert np.argwhere(np.isnan(corrected)).tolist() == [[2, 0]]
    whole = sign_flip_null(np.nan_to_num(scores), 99, np.random.default_rng(0))
    known = ~np.isnan(observed)
    np.testing.assert_array_equal(p[known], permutation_p_values(*whole)[known])


def test_a_constant_pattern_of_one_subject_gives_no_p_value() -> None:
    """A constant pattern at one time gives NaN for the score, p and corrected p, by both corrections."""
    labels = np.tile(np.arange(8), 2)
    people = [RNG.normal(size=(16, 6, 4)) for _ in range(3)]
    people[1][labels == 2, :, 3] = 1.0
    model = rdm(RNG.normal(size=(8, 4)))
    for correction in ("max", "cluster"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = time_resolved_rsa(
                people,
                model,
                conditions=labels,
                distance="correlation",
                measure="pearson",
                test="subjects",
                correction=correction,
                n_permutations=19,
            )
        for table in (found.scores, found.p_values, found.p_corrected):
            assert np.isnan(table[:, 0]).tolist() == [False, False, False, True]


@pytest.mark.parametrize("kind", ["torch", "torch bool", "pandas", "pandas bool"])
def test_tensors_and_tables_are_adjacency_matrices(kind: str) -> None:
    """The rows of a tensor or table are rows of a matrix, never lists of neighbours."""
    chain = (np.abs(np.arange(7)[:, None] - np.arange(7)) == 1).astype(float)
    values = chain > 0 if "bool" in kind else chain
    given = torch.from_numpy(values) if "torch" in kind else pd.DataFrame(values)
    found, expected = adjacent(given, 7), adjacent(chain, 7)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.indptr, expected.indptr)


@pytest.mark.parametrize(
    ("adjacency", "text"),
    [
        (np.full((3, 3), np.nan), "adjacency is NaN in 9 entries"),
        (sparse.csr_array(np.full((3, 3), np.nan)), "adjacency is NaN in 9 entries"),
        ("faces", "adjacency is 'faces'; expected a matrix"),
        (5, "adjacency is 5; expected a matrix"),
        ([[True, False, True]] * 3, "adjacency of unit 0 is a list of bool; expected integer positions"),
        ([[1], [0.7], [1]], "adjacency of unit 1 is a list of float64; expected integer positions"),
    ],
)
def test_what_is_no_adjacency_is_refused(adjacency, text) -> None:
    """NaN, text, flags and weights are not taken for neighbours."""
    with pytest.raises(InputError, match=text):
        adjacent(adjacency, 3)


@pytest.mark.parametrize("shrinkage", ["ledoit_wolf", "oas", "schaefer_strimmer", "none"])
@pytest.mark.parametrize("unit", [1e-150, 1e-90, 1e-13, 1e90])
def test_noise_of_spheres_does_not_depend_on_the_unit(shrinkage: str, unit: float) -> None:
    """Responses and residuals in another unit give the same Mahalanobis RDMs and scores."""
    points = np.stack(np.meshgrid(*[np.arange(3) * 2.0] * 3), -1).reshape(-1, 3)
    values, residuals = RNG.normal(size=(8, 27)), RNG.normal(size=(60, 27)) @ RNG.normal(size=(27, 27))
    model = rdm(RNG.normal(size=(8, 3)), distance="sq_euclidean")
    found = [
        map_searchlight(
            values * size,
            points,
            radius_mm=2.5,
            models=model,
            distance="mahalanobis",
            measure="pearson",
            residuals=residuals * size,
            shrinkage=shrinkage,
            keep_rdms=True,
            min_voxels=3,
        )
        for size in (1.0, unit)
    ]
    np.testing.assert_allclose(found[1].scores, found[0].scores, rtol=1e-9)
    np.testing.assert_allclose(found[1].rdm_vectors, found[0].rdm_vectors, rtol=1e-9)


def test_folds_may_be_masks_and_count_from_the_end() -> None:
    """Boolean masks and negative positions are the same folds as positions."""
    train, test = HALVES
    mask = np.arange(N) < 12
    scores = [
        encoded_rsa(X, Y, estimator=Ridge(), cv=cv, measure="pearson").fitted
        for cv in ([(train, test)], [(mask, ~mask)], [(train, test - N)])
    ]
    np.testing.assert_array_equal(scores[1], scores[0])
    np.testing.assert_array_equal(scores[2], scores[0])


@pytest.mark.parametrize(
    ("cv", "text"),
    [
        ("x", "cv='x' gives no folds; expected an int"),
        (None, "cv=None gives no folds"),
        (5.0, r"cv=5\.0 gives no folds"),
        ([np.arange(4)], "gives no folds"),
        ([(np.arange(12), np.arange(20, 30))], "test part of fold 0 .* holds no positions of stimuli"),
        ([(np.arange(12.0), np.arange(12, N))], "training part of fold 0 .* dtype float64"),
        ([(np.arange(12), np.array([12, 12, 13, 14, 15]))], "a stimulus is tested twice"),
    ],
)
def test_what_is_no_fold_is_refused(cv, text) -> None:
    """Malformed folds, positions that do not exist and repeated test stimuli are refused."""
    with pytest.raises(InputError, match=text):
        encoded_rsa(X, Y, estimator=Ridge(), cv=cv, measure="pearson")
    with pytest.raises(ShapeError, match="0 training and 24 test stimuli"):
        encoded_rsa(X, Y, estimator=Ridge(), cv=[([], np.arange(N))], measure="pearson")


@pytest.mark.parametrize("side", ["features", "responses"])
def test_equal_content_is_one_group_whichever_side_knows_it(side: str) -> None:
    """A stimulus shown under two ids is never trained and tested, when only one side has hashes."""
    plain = pd.DataFrame({"stimulus_id": [f"s{i}" for i in range(N)]})
    hashed = plain.assign(content_hash=[f"h{i % 12}" for i in range(N)])
    tables = (hashed, plain) if side == "features" else (plain, hashed)
    x, y = (Responses(v, samples=t) for v, t in zip((X, Y), tables, strict=True))
    with pytest.raises(LeakageError, match="fold 0: test stimulus of row 12"):
        encoded_rsa({"x": x}, y, estimator=Ridge(), cv=[HALVES], measure="pearson")


def test_rdms_in_a_list_are_not_taken_for_responses() -> None:
    """A list of RDMs of each subject is refused; the stacked array is understood."""
    people = rdm(RNG.normal(size=(3, 2, 8, 5)))
    assert np.isfinite(intersubject_rsa(people, measure="pearson").value)
    with pytest.raises(
        InputError, match="subject 'subject_0' has symmetric matrices .* RDMs and no responses"
    ):
        intersubject_rsa(list(people), measure="pearson")


@pytest.mark.parametrize("shift", [np.nan, None, 0.5, True, "x"])
def test_shifts_that_are_no_integers_are_refused(shift) -> None:
    """Only whole numbers of repetitions and 'all' are shifts."""
    with pytest.raises(InputError, match="expected an integer number of repetitions, or 'all'"):
        intersubject_rsa(RNG.normal(size=(3, 2, 8, 5)), shift=shift, measure="pearson")


@pytest.mark.parametrize("fit", ["ols", "non_negative"])
@pytest.mark.parametrize("n_folds", [1, 2])
@pytest.mark.parametrize("unit", [1e-250, 1e-160, 1e160, 1e250])
def test_partitions_do_not_depend_on_units(fit: str, n_folds: int, unit: float) -> None:
    """Data or models in another unit have the same R2 in every subset."""
    base = partition_rdms(DATA, STACK, fit=fit, n_folds=n_folds).r2
    for data, models in ((DATA * unit, STACK), (DATA, STACK * unit)):
        found = partition_rdms(data, models, fit=fit, n_folds=n_folds).r2
        np.testing.assert_allclose(found, base, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", [RidgeModel, NonNegativeModel, SelectedModel])
def test_pairs_that_a_model_lacks_are_not_fitted(rule) -> None:
    """NaN in the stack leaves out the pair, as NaN in the data does; all NaN is refused."""
    holed, data = STACK.copy(), DATA.copy()
    holed[1, 2, 5] = holed[1, 5, 2] = data[2, 5] = data[5, 2] = np.nan
    expected = fit_weights(rule(STACK), data).weights
    np.testing.assert_allclose(fit_weights(rule(holed), DATA).weights, expected, rtol=1e-12)
    with pytest.raises(InputError, match="no pair of training stimuli is known"):
        fit_weights(rule(STACK), np.where(np.eye(N) > 0, 0.0, np.nan))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stimuli": [100, 101, 102]}, "stimuli of shape .* holds no positions among 24"),
        ({"stimuli": np.ones(5, dtype=bool)}, r"stimuli of shape \(5,\) and dtype bool"),
        ({"stimuli": np.arange(12.0)}, "stimuli .* dtype float64 holds no positions"),
        ({"subjects": [1]}, "subjects .* holds no positions among 1"),
    ],
)
def test_positions_that_do_not_exist_are_refused(options, text) -> None:
    """Training parts are positions or masks of what there is; none at all is refused too."""
    with pytest.raises(InputError, match=text):
        fit_weights(NonNegativeModel(STACK), DATA, **options)
    with pytest.raises(ShapeError, match="0 subjects"):
        fit_weights(NonNegativeModel(STACK), DATA, subjects=[])


@pytest.mark.parametrize("number", [2.5, "3", True, -1])
def test_numbers_of_draws_and_folds_are_whole_numbers(number) -> None:
    """Fractions, text, flags and negative numbers are refused where draws, folds and trees are counted."""
    points = np.stack(np.meshgrid(*[np.arange(2) * 2.0] * 3), -1).reshape(-1, 3)
    values, trials = RNG.normal(size=(N, 8)), RNG.normal(size=(2 * N, 4, 3))
    labels = np.tile(np.arange(N), 2)
    over_time = {"conditions": labels, "distance": "crossnobis", "measure": "pearson"}
    repeated = RNG.normal(size=(3, 2, 8, 5))
    with pytest.raises(InputError, match="n_permutations=.*; expected 0 or more"):
        map_searchlight(values, points, radius_mm=9.0, models=DATA, n_permutations=number)
    with pytest.raises(InputError, match="n_permutations=.*; expected 0 .none. or a number of draws"):
        time_resolved_rsa(trials, DATA, n_pseudo_runs=2, n_permutations=number, **over_time)
    with pytest.raises(InputError, match="n_pseudo_runs=.* and a condition has 2 trials"):
        time_resolved_rsa(trials, DATA, n_pseudo_runs=number, **over_time)
    for name in ("n_permutations", "n_boot"):
        with pytest.raises(InputError, match=f"{name}=.*; expected 0 .none. or a number of draws"):
            intersubject_rsa(repeated, measure="pearson", **{name: number})
    with pytest.raises(InputError, match=r"n_folds=.*; expected 1 .in-sample. or at least 2"):
        partition_rdms(DATA, STACK, n_folds=number)
    with pytest.raises(InputError, match=r"n_folds=.*; the penalty is chosen"):
        RidgeModel(STACK, n_folds=number)
    with pytest.raises(InputError, match=r"n_trees=.*; expected at least 1"):
        thin_connectivity(np.eye(3), n_trees=number)


@pytest.mark.parametrize("baseline", [3, (1, 2, 3)])
def test_a_baseline_is_a_pair_of_times(baseline) -> None:
    """One number, or three, are no baseline."""
    with pytest.raises(InputError, match=r"baseline=.*; expected \(start, stop\)"):
        time_resolved_rsa(
            RNG.normal(size=(2 * N, 4, 3)),
            DATA,
            conditions=np.tile(np.arange(N), 2),
            distance="correlation",
            measure="pearson",
            noise="baseline",
            baseline=baseline,
        )


@pytest.mark.parametrize("rule", [RidgeModel, NonNegativeModel, SelectedModel])
@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_weights_do_not_depend_on_the_unit_of_the_responses(rule, unit: float) -> None:
    """The pooled RDM has norm one whatever its unit, and so have the weights."""
    expected = fit_weights(rule(STACK), DATA).weights
    np.testing.assert_allclose(fit_weights(rule(STACK), DATA * unit).weights, expected, rtol=1e-9)


def test_predictions_of_features_do_not_depend_on_their_mean() -> None:
    """A large common offset of features does not cost the digits of predicted distances."""
    features, weights = np.round(RNG.normal(size=(N, 5)) * 64) / 64, RNG.random(5)
    expected = FeatureReweightedModel(features).predict(weights)
    found = FeatureReweightedModel(features + 2.0**26).predict(weights)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
