"""Draws without a ceiling, contrasts without error, and the tails of small samples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from brainalign.comparison._bootstrap_variance import ceiling_inflation, contrast_variances
from brainalign.comparison._rsa_tests import student_tails
from brainalign.comparison.model_tests import compare_models
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.errors import InputError


def rdms(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Euclidean distances of random points, (*shape, n, n) for shape (..., n)."""
    points = rng.normal(size=(*shape, 4))
    return np.linalg.norm(points[..., :, None, :] - points[..., None, :, :], axis=-1)


def quiet(*args: object, **options: object):  # type: ignore[no-untyped-def]
    """The bootstrap without the warning that counts draws of one subject."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="of .* draws over")
        return bootstrap_rsa(*args, **options)


@pytest.mark.parametrize("s", [2, 3, 4])
def test_draws_of_one_subject_count_for_the_variance_of_scores(s: int) -> None:
    """The variance over subjects is that of the mean of their scores, although some draws have no ceiling."""
    rng = np.random.default_rng(s)
    data, models = rdms(rng, s, 10), rdms(rng, 2, 10)
    r = quiet(data, models, measure="pearson", over="subjects", n_boot=6000)
    upper = np.triu_indices(10, 1)
    own = np.array([[np.corrcoef(d[upper], m[upper])[0, 1] for m in models] for d in data])
    np.testing.assert_allclose(np.diagonal(r.variance)[:2], own.var(axis=0, ddof=1) / s, rtol=0.1)
    difference = (own[:, 0] - own[:, 1]).var(ddof=1) / s
    np.testing.assert_allclose(r.test_pairs().standard_error[0] ** 2, difference, rtol=0.1)
    assert (r.test_against_zero(correction=None).p > 1e-6).all()


def test_two_subjects_have_no_error_of_the_ceiling() -> None:
    """The only draw of 2 subjects with a ceiling is the observed one: its error is NaN and not 0."""
    rng = np.random.default_rng(0)
    r = quiet(rdms(rng, 2, 10), rdms(rng, 2, 10), measure="pearson", over="subjects", n_boot=200)
    assert np.isnan(np.diagonal(r.variance)[2:]).all()
    assert r.test_against_ceiling(correction=None).p.isna().all()


def test_variance_that_draws_without_a_ceiling_would_add() -> None:
    """The factor for ceilings is the variance of counts over all draws over that of draws of 2 and more."""
    rng = np.random.default_rng(0)
    for s in (3, 4, 6):
        counts = rng.multinomial(s, np.full(s, 1 / s), size=200_000)
        spread = ((counts / s - 1 / s) ** 2).sum(axis=1)
        known = (counts > 0).sum(axis=1) > 1
        assert ceiling_inflation(s) == pytest.approx(spread.mean() / spread[known].mean(), rel=0.01)
    assert np.isnan(ceiling_inflation(2))


def test_variances_use_the_draws_that_exist() -> None:
    """Each variance is that of the draws in which its own columns are known."""
    draws = np.random.default_rng(0).normal(size=(50, 3)) + 1e6
    draws[:10, 2] = np.nan
    out = contrast_variances(draws)
    assert out[0, 0] == pytest.approx(draws[:, 0].var(ddof=1))
    assert out[0, 1] == pytest.approx((draws[:, 0] - draws[:, 1]).var(ddof=1))
    assert out[2, 2] == pytest.approx(draws[10:, 2].var(ddof=1))
    assert out[1, 2] == pytest.approx((draws[10:, 1] - draws[10:, 2]).var(ddof=1))
    assert np.isnan(contrast_variances(np.full((5, 2), np.nan))).all()


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_a_score_without_error_has_no_p(method: str) -> None:
    """Subjects that are copies leave no error: p is NaN, said in a warning, and never 0."""
    rng = np.random.default_rng(1)
    data = np.repeat(rdms(rng, 1, 10), 3, axis=0)
    r = quiet(data, rdms(rng, 2, 10), measure="pearson", over="subjects", n_boot=100)
    with pytest.warns(UserWarning, match="2 of 2 differences do not vary over the draws"):
        assert r.test_against_zero(method=method, correction=None).p.isna().all()
    with pytest.warns(UserWarning, match="1 of 1 differences do not vary over the draws"):
        assert r.test_pairs(method=method, correction=None).p.isna().all()
    with pytest.warns(UserWarning, match="1 of 1 differences do not vary over the draws"):
        assert np.isnan(compare_models(r).p_corrected).all()


def test_bootstrap_p_of_few_subjects_holds_its_level() -> None:
    """With 5 subjects 5 % of differences of unrelated models are significant; normal tails give 11 %."""
    rng = np.random.default_rng(2)
    hits, n = 0, 400
    for seed in range(n):
        r = quiet(
            rdms(rng, 5, 8),
            rdms(rng, 2, 8),
            measure="pearson",
            over="subjects",
            n_boot=199,
            random_state=seed,
        )
        hits += int(r.test_pairs(method="bootstrap", correction=None).p[0] <= 0.05)
    assert hits / n < 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / n)


def test_tails_are_those_of_student() -> None:
    """The tail probability of t equals that of z; the sign is kept, NaN stays."""
    from scipy import stats

    z = np.array([-3.0, -0.5, 0.0, 1.96, np.nan])
    out = student_tails(z, 4)
    np.testing.assert_allclose(stats.t.cdf(out, 4), stats.norm.cdf(z), rtol=1e-4)


def test_bures_refuses_missing_pairs() -> None:
    """A missing distance is not 0: the bootstrap of bures asks for whole matrices."""
    rng = np.random.default_rng(0)
    data, models = rdms(rng, 3, 8), rdms(rng, 2, 8)
    data[0, 1, 2] = data[0, 2, 1] = np.nan
    with (
        pytest.warns(UserWarning, match="1 of 28 pairs"),
        pytest.raises(InputError, match="1 pairs of stimuli are missing in an RDM; measure='bures'"),
    ):
        bootstrap_rsa(data, models, measure="bures", n_boot=5)


@pytest.mark.filterwarnings("ignore:.* negative eigenvalues")
def test_zero_is_not_chance_for_bures() -> None:
    """A similarity of kernels is above 0 for unrelated models: the test says so."""
    rng = np.random.default_rng(0)
    r = bootstrap_rsa(rdms(rng, 5, 8) ** 2, rdms(rng, 1, 8) ** 2, measure="bures", n_boot=20, over="stimuli")
    assert not r.zero_is_chance
    with pytest.warns(UserWarning, match="0 is not chance"):
        r.test_against_zero()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_boot": 10.0}, "n_boot=10.0 is no whole number"),
        ({"n_boot": "10"}, "n_boot='10' is no whole number"),
        ({"random_state": -1}, "random_state=-1 is no seed"),
        ({"random_state": "a"}, "random_state='a' is no seed"),
        ({"over": None}, "over=None; expected 'stimuli', 'subjects'"),
    ],
)
def test_wrong_draws(options: dict[str, object], match: str) -> None:
    """Draws and seeds that are none are named before anything is computed."""
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=match):
        bootstrap_rsa(rdms(rng, 3, 8), rdms(rng, 2, 8), measure="pearson", **options)  # type: ignore[arg-type]


def test_rdms_are_no_scores() -> None:
    """A stack of RDMs without models is not read as scores of stimuli under models."""
    with pytest.raises(InputError, match=r"scores of shape \(3, 8, 8\) are RDMs"):
        compare_models(rdms(np.random.default_rng(0), 3, 8))
