"""Every resampled similarity and ceiling against RDMs that are written out without self-pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from brainalign.statistics._rsa_draws import mean_scores, prepare
from brainalign.statistics._rsa_forms import LinearForms
from brainalign.statistics._rsa_inputs import DRAWN_MEASURES
from brainalign.statistics._rsa_ranks import concordance, row_midranks, sorted_pairs

N, S, M = 8, 3, 3
RNG = np.random.default_rng(0)
SIGMA = (lambda a: a @ a.T / 32)(RNG.normal(size=(N, 32)))


def symmetric(k: int, *, steps: int | None = None) -> np.ndarray:
    d = np.triu(RNG.random((k, N, N)), 1)
    d = d if steps is None else np.triu(np.round(d * steps) / steps, 1)
    return d + d.transpose(0, 2, 1)


DATA = np.concatenate([symmetric(S - 1), symmetric(1, steps=8)])
MODELS = np.concatenate([symmetric(M - 1), symmetric(1, steps=2)])
STIMULI = RNG.multinomial(N, np.ones(N) / N, 6).astype(float)
SUBJECTS = np.array([[1, 1, 1], [2, 1, 0], [0, 1, 2], [1, 2, 0], [3, 0, 0], [1, 0, 2]], dtype=float)
MASK = ~np.eye(N, dtype=bool)
HOLES = MASK.copy()
HOLES[[0, 3, 5, 6], [3, 0, 6, 5]] = False


def similarity(x: np.ndarray, y: np.ndarray, measure: str, inverse: np.ndarray | None) -> float:
    """The definition of the measure on two vectors of pairs."""
    if measure == "pearson":
        return stats.pearsonr(x, y).statistic
    if measure == "cosine":
        return x @ y / np.sqrt(x @ x * (y @ y))
    if measure == "spearman":
        return stats.spearmanr(x, y).statistic
    if measure == "rho_a":
        a, b = stats.rankdata(x), stats.rankdata(y)
        return 12 * (a - a.mean()) @ (b - b.mean()) / (len(x) ** 3 - len(x))
    if measure == "tau_b":
        return stats.kendalltau(x, y).statistic
    if measure == "tau_a":
        signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y, y))
        return signs.sum() / (len(x) * (len(x) - 1))
    assert inverse is not None
    if measure == "whitened_pearson":
        x, y = x - x.mean(), y - y.mean()
    return x @ inverse @ y / np.sqrt((x @ inverse @ x) * (y @ inverse @ y))


def written_out(counts: np.ndarray, mask: np.ndarray, sigma: np.ndarray | None) -> tuple:
    """Pairs of different stimuli of one resample, and the inverse covariance of their distances."""
    drawn = np.repeat(np.arange(N), counts.astype(int))
    i, j = np.triu_indices(len(drawn), 1)
    kept = mask[drawn[i], drawn[j]]
    i, j = i[kept], j[kept]
    contrasts = np.zeros((len(i), len(drawn)))
    contrasts[np.arange(len(i)), i], contrasts[np.arange(len(i)), j] = 1, -1
    full = np.eye(N) if sigma is None else (np.diag(sigma) if sigma.ndim == 1 else sigma)
    covariance = full[np.ix_(drawn, drawn)]
    covariance[(drawn[:, None] == drawn) & ~np.eye(len(drawn), dtype=bool)] = 0
    return drawn[i], drawn[j], np.linalg.inv((contrasts @ covariance @ contrasts.T) ** 2)


def pooled(vectors: np.ndarray, counts: np.ndarray, measure: str, inverse: np.ndarray) -> np.ndarray:
    """The pool of the subjects in the space of the measure."""
    if measure in ("pearson", "whitened_pearson"):
        vectors = vectors - vectors.mean(1, keepdims=True)
    if measure.startswith("whitened"):
        vectors = vectors / np.sqrt(np.einsum("ij,jk,ik->i", vectors, inverse, vectors))[:, None]
    elif measure in ("pearson", "cosine"):
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    else:
        vectors = stats.rankdata(vectors, axis=1) - (vectors.shape[1] + 1) / 2
        if measure != "rho_a":
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.round(counts @ vectors, 9)


def expected(measure: str, mask: np.ndarray, sigma: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Similarities (draws, S, M) and ceilings (draws, 2) of the resamples written out."""
    scores, ceilings = np.empty((len(STIMULI), S, M)), np.full((len(STIMULI), 2), np.nan)
    for b, (counts, people) in enumerate(zip(STIMULI, SUBJECTS, strict=True)):
        i, j, inverse = written_out(counts, mask, sigma)
        x, y = DATA[:, i, j], MODELS[:, i, j]
        scores[b] = [[similarity(u, v, measure, inverse) for v in y] for u in x]
        if (people > 0).sum() < 2:
            continue
        upper = pooled(x, people, measure, inverse)
        bounds = np.zeros(2)
        for s in np.flatnonzero(people):
            lower = pooled(x, people * (np.arange(S) != s), measure, inverse)
            for which, pool in enumerate((lower, upper)):
                bounds[which] += people[s] / people.sum() * similarity(x[s], pool, measure, inverse)
        ceilings[b] = bounds
    return scores, ceilings


def computed(measure: str, mask: np.ndarray, sigma: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    comparison = prepare(
        torch.tensor(np.where(mask, DATA, 0)),
        torch.tensor(np.where(mask, MODELS, 0)),
        torch.tensor(mask),
        measure=measure,
        sigma_k=None if sigma is None else torch.tensor(sigma),
    )
    resampled = comparison.resample(torch.tensor(STIMULI))
    return resampled.similarities.numpy(), resampled.ceilings(torch.tensor(SUBJECTS)).numpy()


@pytest.mark.parametrize("mask", [MASK, HOLES], ids=["complete", "missing pairs"])
@pytest.mark.parametrize("measure", DRAWN_MEASURES)
def test_resamples_written_out(measure: str, mask: np.ndarray) -> None:
    """Scores and both ceilings from counts equal those of the resampled RDMs without self-pairs."""
    for found, wanted in zip(computed(measure, mask, None), expected(measure, mask, None), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-10)


@pytest.mark.parametrize("mask", [MASK, HOLES], ids=["complete", "missing pairs"])
@pytest.mark.parametrize("sigma", [np.diag(SIGMA).copy(), SIGMA], ids=["variances", "covariance"])
@pytest.mark.parametrize("measure", ["whitened_cosine", "whitened_pearson"])
def test_resamples_with_noise_covariance(measure: str, sigma: np.ndarray, mask: np.ndarray) -> None:
    """Whitening by sigma_k equals the inverse covariance of the kept pairs, built and inverted."""
    for found, wanted in zip(computed(measure, mask, sigma), expected(measure, mask, sigma), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-10)


def test_one_stimulus_drawn_most_of_the_time() -> None:
    """The closed form gives way to a solve where a stimulus makes up half of the draw and more."""
    mask, pairs = torch.tensor(MASK), torch.tensor([[0, 0], [0, 1], [1, 1]])
    stack = torch.tensor(DATA[:2])
    counts = np.array([5.0, 1, 1, 1, 0, 0, 0, 0])
    gram = LinearForms(stack, mask, pairs, centred=False, whitened=True).gram(torch.tensor(counts)[None])[0]
    i, j, inverse = written_out(counts, MASK, None)
    x = DATA[:2, i, j] / np.sqrt((DATA[:2][:, *np.triu_indices(N, 1)] ** 2).mean(1))[:, None]
    np.testing.assert_allclose(gram.numpy(), x @ inverse @ x.T, atol=1e-12)


def test_subjects_only_broadcast() -> None:
    """One draw of stimuli with many counts of subjects equals that draw repeated."""
    people = torch.tensor(SUBJECTS)
    for measure in DRAWN_MEASURES:
        comparison = prepare(torch.tensor(DATA), torch.tensor(MODELS), torch.tensor(MASK), measure=measure)
        one = comparison.resample(torch.ones((1, N), dtype=torch.float64))
        many = comparison.resample(torch.ones((len(people), N), dtype=torch.float64))
        np.testing.assert_allclose(one.ceilings(people), many.ceilings(people), atol=1e-12)
        np.testing.assert_allclose(
            mean_scores(one.similarities, people), mean_scores(many.similarities, people), atol=1e-12
        )


def test_tree_of_concordance_against_all_pairs() -> None:
    """Weighted concordance with ties on both sides equals the sum over all pairs of entries."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 7, 40), rng.integers(0, 5, (3, 40))
    weights = rng.integers(0, 4, (3, 40)).astype(float)
    group = sorted_pairs(torch.tensor(x)).group
    found = concordance(group, torch.tensor(y), torch.tensor(weights))
    for row in range(3):
        signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y[row], y[row]))
        assert float(found[row]) == weights[row] @ signs @ weights[row] / 2
    shared = concordance(group, torch.tensor(y[0]), torch.tensor(weights))
    signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y[0], y[0]))
    np.testing.assert_array_equal(shared.numpy(), np.einsum("bi,ij,bj->b", weights, signs, weights) / 2)


def test_midranks_of_integer_keys() -> None:
    """Ranks of rows with weights and ties equal those of the entries written out."""
    keys, weights = np.array([[3, -1, 3, 0, 7]]), np.array([[1.0, 2, 2, 0, 1]])
    ranks, ties = row_midranks(torch.tensor(keys), torch.tensor(weights))
    drawn = np.repeat(np.arange(5), weights[0].astype(int))
    wanted = stats.rankdata(keys[0, drawn]) - (len(drawn) + 1) / 2
    np.testing.assert_array_equal(ranks[0].numpy()[drawn], wanted)
    assert float(ties[0]) == sum(c**2 for c in np.unique(keys[0, drawn], return_counts=True)[1])
