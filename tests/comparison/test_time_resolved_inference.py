"""Permutation tests of time-resolved RSA: null values, level, clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from brainalign.comparison._time_tests import (
    cluster_corrected,
    max_corrected,
    sign_flip_null,
    student_threshold,
)
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.time_resolved import time_resolved_rsa
from brainalign.errors import UnknownNameError

N, P, T = 10, 8, 12
RNG = np.random.default_rng(0)
PATTERN = RNG.normal(size=(N, P))
MODELS = np.stack([rdm(PATTERN, distance="sq_euclidean"), rdm(RNG.normal(size=(N, 3)))])
OPTIONS = {"distance": "sq_euclidean", "measure": "pearson"}


def person(seed: int, effect: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, P, T))
    x[:, :, 4:9] += effect * PATTERN[:, :, None]
    return x


@pytest.mark.parametrize("measure", ["pearson", "spearman", "rho_a", "whitened_cosine", "whitened_pearson"])
def test_p_values_count_models_with_reordered_stimuli(measure) -> None:
    """p and its correction equal counts over explicit permutations of the model RDMs, over two subjects."""
    people = [person(1, 0.4), person(2, 0.4)]
    found = time_resolved_rsa(
        people, MODELS, distance="sq_euclidean", measure=measure, n_permutations=29, random_state=4
    )
    orders = np.random.default_rng(4).permuted(np.tile(np.arange(N), (29, 1)), axis=1)
    null = np.stack(
        [
            np.mean([compare_rdms(r, MODELS[:, o][:, :, o], measure=measure) for r in found.rdms], axis=0)
            for o in orders
        ]
    )
    np.testing.assert_allclose(found.p_values, ((null >= found.scores - 1e-12).sum(0) + 1) / 30)
    largest = null.reshape(29, -1).max(1)
    expected = ((largest[:, None, None] >= found.scores - 1e-12).sum(0) + 1) / 30
    np.testing.assert_allclose(found.p_corrected, expected)


@pytest.mark.parametrize(
    ("test", "correction"), [("stimuli", "max"), ("stimuli", "cluster"), ("subjects", "max")]
)
def test_a_planted_interval_is_found(test, correction) -> None:
    """Times with the pattern are significant for its model, and no time of the other model is."""
    people = [person(s, 1.0) for s in range(8)]
    found = time_resolved_rsa(people, MODELS, n_permutations=199, test=test, correction=correction, **OPTIONS)
    assert (found.p_corrected[4:9, 0] <= 0.05).all()
    assert (found.p_corrected[:3, 0] > 0.05).all()
    if correction == "cluster":
        first = found.clusters.sort_values("mass").iloc[-1]
        assert (first.model, first.start, first.stop) == ("model_0", 4.0, 8.0)


@pytest.mark.parametrize("correction", ["max", "cluster"])
def test_noise_is_called_an_effect_in_one_of_twenty_families(correction) -> None:
    """Over all times and models the family-wise error is 5 % within binomial bounds."""
    hits, n = 0, 40
    for seed in range(n):
        found = time_resolved_rsa(
            person(1000 * seed)[:, :, :6],
            MODELS,
            n_permutations=39,
            correction=correction,
            random_state=seed,
            **OPTIONS,
        )
        hits += found.p_corrected.min() <= 0.05
    assert hits <= stats.binom.isf(0.001, n, 0.05)


@pytest.mark.parametrize("correction", ["max", "cluster"])
def test_sign_flips_of_smooth_curves_keep_their_level(correction) -> None:
    """Curves of subjects that are smooth over time and 0 on average pass in 5 % of the families."""
    hits, n = 0, 200
    for seed in range(n):
        rng = np.random.default_rng(seed)
        scores = np.cumsum(rng.normal(size=(10, 20, 2)), axis=1)
        observed, null = sign_flip_null(scores, 39, rng)
        if correction == "max":
            p = max_corrected(observed, null)
        else:
            threshold = student_threshold(observed.shape, 10, 0.05)
            p, _ = cluster_corrected(observed, null, threshold, np.arange(20), ("a", "b"))
        hits += p.min() <= 0.05
    assert stats.binom.ppf(0.001, n, 0.05) <= hits <= stats.binom.isf(0.001, n, 0.05)


def test_sign_flips_test_the_mean_over_subjects() -> None:
    """t equals scipy's, and a p-value the count of flipped t values."""
    scores = RNG.normal(size=(6, 5, 2)) + 0.5
    observed, null = sign_flip_null(scores, 64, np.random.default_rng(0))
    np.testing.assert_allclose(observed, stats.ttest_1samp(scores, 0).statistic)
    signs = np.random.default_rng(0).integers(0, 2, size=(64, 6)) * 2.0 - 1.0
    np.testing.assert_allclose(null[7], stats.ttest_1samp(scores * signs[7][:, None, None], 0).statistic)


def test_clusters_are_runs_above_the_threshold() -> None:
    """Masses, ends and p-values of hand-made clusters; a NaN breaks a run."""
    observed = np.array([[0.0, 3.0, 3.0, np.nan, 2.0, 0.0, 5.0], [0.0, 0, 0, 0, 0, 0, 2.0]]).T
    null = np.zeros((9, 7, 2))
    null[0, 2, 1] = 4.5
    null[1, 3:5, 0] = 2.0
    p, table = cluster_corrected(observed, null, np.ones((7, 2)), np.arange(7) / 10, ("a", "b"))
    assert table.mass.tolist() == [4.0, 1.0, 4.0, 1.0]
    assert table.start.tolist() == [0.1, 0.4, 0.6, 0.6]
    assert table.stop.tolist() == [0.2, 0.4, 0.6, 0.6]
    assert table.p.tolist() == [0.1, 0.3, 0.1, 0.3]
    assert np.isnan(p[3, 0])
    np.testing.assert_allclose(p[:, 1], [1, 1, 1, 1, 1, 1, 0.3])


def test_what_has_no_test_is_refused_or_said() -> None:
    """Tau is no inner product; the cosine of plain distances is above 0 for any model."""
    with pytest.raises(UnknownNameError, match="measure 'tau_a' does not exist"):
        time_resolved_rsa(person(0), MODELS, distance="correlation", measure="tau_a", n_permutations=9)
    people = [person(s) for s in range(3)]
    with pytest.warns(UserWarning, match="is above 0 for any model; test='subjects' says nothing"):
        time_resolved_rsa(
            people, MODELS, distance="sq_euclidean", measure="cosine", n_permutations=9, test="subjects"
        )


def test_a_time_without_a_score_has_no_p_and_changes_no_other() -> None:
    """NaN at a constant time stays there, in both corrections."""
    x = person(3, 1.0)
    x[:, :, 0] = 1.0
    for correction in ("max", "cluster"):
        with pytest.warns(UserWarning, match="2 of 24 scores are NaN"):
            found = time_resolved_rsa(x, MODELS, n_permutations=39, correction=correction, **OPTIONS)
        assert np.isnan(found.p_values[0]).all()
        assert np.isnan(found.p_corrected[0]).all()
        assert np.isfinite(found.p_corrected[1:]).all()
