"""False positives, coverage and bias of the inference, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from brainalign.comparison._bootstrap_variance import draw_counts, sampling_variances
from brainalign.comparison.permutation import mantel_test
from brainalign.comparison.rsa_inference import bootstrap_rsa

N, S = 20, 8
UPPER, LOWER = np.triu_indices(N, 1), np.tril_indices(N, -1)


def standardised(x: np.ndarray) -> np.ndarray:
    """RDM of points (n, d), z-scored over pairs, so that two of them are exchangeable."""
    d = np.square(x[:, None] - x[None]).sum(-1)
    values = d[UPPER]
    d = (d - values.mean()) / values.std()
    np.fill_diagonal(d, 0)
    return d


def study(rng: np.random.Generator, points: np.ndarray, *, between: float) -> tuple[np.ndarray, np.ndarray]:
    """Subjects who mix the RDMs of two sets of features with weights around one half, and these RDMs."""
    models = np.stack([standardised(points[:, :4]), standardised(points[:, 4:])])
    share = 0.5 + between * rng.normal(size=(S, 1, 1))
    noise = np.triu(rng.normal(size=(S, N, N)), 1)
    return share * models[0] + (1 - share) * models[1] + noise + noise.transpose(0, 2, 1), models


def within_bounds(hits: int, n: int, rate: float = 0.05, *, exact: bool = False) -> None:
    """The count is no more (and, where asked, no less) than a rate of 5 % gives in 999 of 1000 runs."""
    assert hits <= stats.binom.ppf(0.999, n, rate), hits
    if exact:
        assert hits >= stats.binom.ppf(0.001, n, rate), hits


@pytest.mark.parametrize(
    ("over", "between", "fresh"),
    [("stimuli", 0.0, True), ("subjects", 0.3, False), (("stimuli", "subjects"), 0.3, True)],
)
def test_equal_models_differ_in_five_percent(over: object, between: float, fresh: bool) -> None:
    """Two models that are equally good in the population are told apart in at most 5 % of studies."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(N, 8))
    hits = {"t": 0, "bootstrap": 0}
    n_studies = 250
    for _ in range(n_studies):
        if fresh:
            points = rng.normal(size=(N, 8))
        data, models = study(rng, points, between=between)
        r = bootstrap_rsa(data, models, measure="pearson", over=over, n_boot=200, random_state=rng)
        for method in hits:
            hits[method] += int(r.test_pairs(method=method, correction=None).p[0] <= 0.05)
    within_bounds(hits["t"], n_studies, exact=over == "subjects")
    within_bounds(hits["bootstrap"], n_studies, 0.05 if over != "subjects" else 0.10)


def test_unrelated_model_is_above_zero_in_five_percent() -> None:
    """A model that has nothing to do with the subjects passes the test against 0 in at most 5 % of
    studies.
    """
    rng = np.random.default_rng(1)
    n_studies, hits = 120, 0
    for _ in range(n_studies):
        data, _ = study(rng, rng.normal(size=(N, 8)), between=0.2)
        other = standardised(rng.normal(size=(N, 4)))[None]
        r = bootstrap_rsa(data, other, measure="rho_a", over="stimuli", n_boot=100, random_state=rng)
        hits += int(r.test_against_zero(correction=None).p[0] <= 0.05)
    within_bounds(hits, n_studies)


def test_naive_variance_of_both_factors_is_too_large() -> None:
    """Draws over both factors count noise several times; the corrected variance is smaller, never too
    small.
    """
    rng = np.random.default_rng(2)
    naive, corrected, scores = [], [], []
    for _ in range(150):
        data, models = study(rng, rng.normal(size=(N, 8)), between=0.0)
        noise = rng.normal(size=(S, N))  # of a subject's response to a stimulus, in all its distances
        data = data + 1.5 * (noise[:, :, None] + noise[:, None]) * (1 - np.eye(N))
        r = bootstrap_rsa(data, models, measure="pearson", n_boot=200, random_state=rng)
        naive.append((r.scores[:, 0] - r.scores[:, 1]).var(ddof=1))
        corrected.append(r.test_pairs().standard_error[0] ** 2)
        scores.append(r.observed[0] - r.observed[1])
    truth = np.var(scores, ddof=1)
    assert np.mean(naive) > 1.4 * np.mean(corrected)
    # products of pairs inflate draws of stimuli in either case: never too small, and conservative
    assert truth < np.mean(corrected) < 3 * truth


def test_corrected_variance_of_a_mean_is_unbiased() -> None:
    """For means over a table of subjects and stimuli the corrected variance is the variance over studies."""
    rng = np.random.default_rng(6)
    found, naive = [], []
    for _ in range(200):
        table = 0.3 * rng.normal(size=(S, 1)) + 0.3 * rng.normal(size=N) + 2 * rng.normal(size=(S, N))
        d, c = draw_counts(S, 300, rng) / S, draw_counts(N, 300, rng) / N
        draws = {
            "subjects": d @ table.mean(1),
            "stimuli": c @ table.mean(0),
            "both": ((d @ table) * c).sum(1),
        }
        draws = {name: values[:, None] for name, values in draws.items()}
        sizes = {"stimuli": N, "subjects": S}
        found.append(sampling_variances(draws, sizes, ("stimuli", "subjects"))[0, 0])
        naive.append(draws["both"].var(ddof=1))
    truth = 0.09 / S + 0.09 / N + 4 / (S * N)
    assert np.mean(naive) > 1.5 * truth
    assert 0.9 * truth < np.mean(found) < 1.2 * truth


def test_ceilings_hold_the_true_model() -> None:
    """The RDM that the subjects share scores between the lower and the upper ceiling."""
    rng = np.random.default_rng(3)
    inside = []
    for measure in ("pearson", "whitened_pearson", "rho_a", "tau_a"):
        for _ in range(10):
            data, models = study(rng, rng.normal(size=(N, 8)), between=0.0)
            true = models.mean(0, keepdims=True)
            r = bootstrap_rsa(data, true, measure=measure, over="subjects", n_boot=2, random_state=rng)
            lower, upper = r.observed_ceiling
            inside.append(lower <= r.observed[0] <= upper)
    assert np.mean(inside) > 0.95


def test_mantel_keeps_five_percent() -> None:
    """Unrelated RDMs: p <= 0.05 in 5 % of tests alone, and in 5 % of families of models after correction."""
    rng = np.random.default_rng(4)
    n_tests, alone, family, two = 400, 0, 0, 0
    for _ in range(n_tests):
        data = standardised(rng.normal(size=(N, 3)))
        models = np.stack([standardised(rng.normal(size=(N, 3))) for _ in range(3)])
        r = mantel_test(data, models, n_permutations=99, random_state=rng)
        alone += int(r.p_values[0] <= 0.05)
        family += int(r.p_corrected.min() <= 0.05)
        two += int(
            mantel_test(
                data, models, n_permutations=99, alternative="two-sided", measure="cosine", random_state=rng
            ).p_values[0]
            <= 0.05
        )
    for hits in (alone, family, two):
        within_bounds(hits, n_tests, exact=True)


@pytest.mark.filterwarnings("ignore:of 80 draws over stimuli:UserWarning")
def test_fitted_model_without_signal_scores_zero_on_average() -> None:
    """Weights fitted to unrelated RDMs score about 0 outside their folds and pass in at most 5 % of
    studies.
    """
    rng = np.random.default_rng(5)
    scores, hits = [], 0
    n_studies = 100
    for _ in range(n_studies):
        data, models = study(rng, rng.normal(size=(N, 8)), between=0.2)
        parts = np.stack([standardised(rng.normal(size=(N, 3))) for _ in range(4)])
        r = bootstrap_rsa(
            data,
            models[:1],
            measure="pearson",
            over="stimuli",
            n_boot=80,
            weighted_models={"sum": parts},
            random_state=rng,
        )
        scores.append(r.observed[1])
        hits += int(r.test_against_zero(correction=None).p[1] <= 0.05)
    assert abs(np.mean(scores)) < 3 * np.std(scores) / np.sqrt(n_studies)
    within_bounds(hits, n_studies)
