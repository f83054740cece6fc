"""Comparators of RDMs against published numbers and the reference toolboxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import data_loaders as dl
from brainalign.comparison.cka import linear_cka
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm

REFERENCE = {
    "pearson": 0.491210,
    "spearman": 0.438924,
    "rho_a": 0.438924,
    "tau_a": 0.304048,
    "cosine": 0.995022,
    "whitened_cosine": 0.792798,
    "whitened_pearson": 0.527044,
    "bures": 0.940210,
}
# mean over four human RDMs (session 1): monkey IT, animacy, V1
MODELS = {
    "cosine": (0.976965, 0.737757, 0.943047),
    "pearson": (0.246773, 0.301167, 0.017662),
    "spearman": (0.237645, 0.298832, 0.017089),
    "rho_a": (0.237645, 0.258786, 0.017089),
    "tau_a": (0.160009, 0.172565, 0.011659),
    "whitened_cosine": (0.525843, 0.340904, 0.389116),
    "whitened_pearson": (0.284423, 0.335719, 0.075130),
}
PEER = {
    "pearson": "corr",
    "spearman": "spearman",
    "rho_a": "rho-a",
    "tau_a": "tau-a",
    "tau_b": "kendall",
    "cosine": "cosine",
    "whitened_cosine": "cosine_cov",
    "whitened_pearson": "corr_cov",
    "bures": "bures",
    "neg_riemannian": "neg_riem_dist",
}


@pytest.fixture(scope="module")
def objects(real_data: Path) -> dict[str, np.ndarray]:
    """The RDMs of the 92 objects by name."""
    rdms = dl.load("objects92", root=real_data).rdms
    return dict(zip(rdms.table.index, rdms.values, strict=True))


def squared(rng: np.random.Generator, k: int, n: int = 9, p: int = 20) -> np.ndarray:
    """RDMs of squared distances of normal patterns."""
    return np.stack([rdm(rng.normal(size=(n, p)), distance="sq_euclidean") for _ in range(k)])


@pytest.mark.real
@pytest.mark.parametrize("measure", REFERENCE)
def test_monkey_and_human(objects: dict[str, np.ndarray], measure: str) -> None:
    """Monkey against human IT reaches the reference value of every comparator to 1e-5."""
    value = compare_rdms(objects["mIT_674neurons"], objects["hITvisStim_316vx"], measure=measure)
    assert value == pytest.approx(REFERENCE[measure], abs=1e-5)


@pytest.mark.real
@pytest.mark.parametrize("measure", MODELS)
@pytest.mark.filterwarnings("ignore:.*more than 5 % ties")
def test_four_humans_against_three_models(objects: dict[str, np.ndarray], measure: str) -> None:
    """The mean over four people reaches the reference for each of three models to 1e-5."""
    people = np.stack([objects[f"hIT | {name} | Session: 1"] for name in ("BE", "KO", "SN", "TI")])
    models = np.stack([objects[name] for name in ("monkeyIT", "animacy", "V1")])
    out = compare_rdms(people, models, measure=measure).mean(axis=0)
    np.testing.assert_allclose(out, MODELS[measure], atol=1e-5)


@pytest.mark.real
def test_a_model_with_ties_gains_under_spearman_alone(objects: dict[str, np.ndarray]) -> None:
    """Animacy, two values, scores higher with the tie correction than with rho-a; the warning says so."""
    human, animacy = objects["hITvisStim_316vx"], objects["animacy"]
    with pytest.warns(UserWarning, match='100 % of its entries equal another one.*use measure="rho_a"'):
        corrected = compare_rdms(human, animacy, measure="spearman")
    assert corrected > compare_rdms(human, animacy, measure="rho_a") + 0.05


@pytest.mark.parametrize("measure", PEER)
def test_equals_rsatoolbox(measure: str) -> None:
    """Every shared comparator equals rsatoolbox on stacks (its Riemannian search: not below ours)."""
    from rsatoolbox.rdm import RDMs as PeerRDMs
    from rsatoolbox.rdm.compare import compare

    rng = np.random.default_rng(1)
    a, b = squared(rng, 3), squared(rng, 2)
    out = compare_rdms(a, b, measure=measure)
    theirs = compare(PeerRDMs(a), PeerRDMs(b), PEER[measure])
    assert out.shape == (3, 2)
    np.testing.assert_allclose(out, theirs, atol=1e-8 if measure not in ("bures", "neg_riemannian") else 1e-6)
    if measure == "neg_riemannian":
        assert (out >= theirs - 1e-12).all()


@pytest.mark.parametrize("measure", ["whitened_cosine", "whitened_pearson", "neg_riemannian"])
def test_full_sigma_k_equals_rsatoolbox_and_the_dense_inverse(measure: str) -> None:
    """A full covariance: equal to the dense V^-1 to 1e-10, to rsatoolbox within its solver's 1e-5."""
    from rsatoolbox.rdm import RDMs as PeerRDMs
    from rsatoolbox.rdm.compare import compare

    rng = np.random.default_rng(2)
    a, b = squared(rng, 3), squared(rng, 2)
    w = rng.normal(size=(9, 20))
    sigma = w @ w.T / 20
    out = compare_rdms(a, b, measure=measure, sigma_k=sigma)
    theirs = compare(PeerRDMs(a), PeerRDMs(b), PEER[measure], sigma_k=sigma)
    np.testing.assert_allclose(out, theirs, atol=1e-5)
    assert np.abs(out - compare_rdms(a, b, measure=measure)).max() > 1e-3
    if measure != "neg_riemannian":
        np.testing.assert_allclose(out, dense(a, b, sigma, measure == "whitened_pearson"), atol=1e-10)


def dense(a: np.ndarray, b: np.ndarray, sigma: np.ndarray, centre: bool) -> np.ndarray:
    """The definition: d' V^-1 e with V of all pairs, NaN of the first rows left out."""
    n = a.shape[1]
    rows, columns = np.triu_indices(n, 1)
    contrasts = np.zeros((len(rows), n))
    contrasts[np.arange(len(rows)), rows], contrasts[np.arange(len(rows)), columns] = 1, -1
    v = (contrasts @ sigma @ contrasts.T) ** 2
    u, w = a[:, rows, columns], b[:, rows, columns]
    keep = ~(np.isnan(u[0]) | np.isnan(w[0]))
    u, w, v = u[:, keep], w[:, keep], v[np.ix_(keep, keep)]
    if centre:
        u, w = u - u.mean(1, keepdims=True), w - w.mean(1, keepdims=True)
    inverse = np.linalg.inv(v)
    norms = [np.sqrt(np.einsum("kp,pq,kq->k", s, inverse, s)) for s in (u, w)]
    return u @ inverse @ w.T / norms[0][:, None] / norms[1][None, :]


def test_variances_of_the_peer_do_not_equal_its_own_matrix() -> None:
    """A vector of variances is the diagonal matrix; rsatoolbox gives another number for the vector."""
    from rsatoolbox.rdm import RDMs as PeerRDMs
    from rsatoolbox.rdm.compare import compare

    rng = np.random.default_rng(3)
    a, b = squared(rng, 1), squared(rng, 1)
    variances = rng.uniform(0.5, 2.0, 9)
    ours = compare_rdms(a, b, measure="whitened_cosine", sigma_k=variances)
    np.testing.assert_allclose(ours, dense(a, b, np.diag(variances), False), atol=1e-10)
    theirs = [
        compare(PeerRDMs(a), PeerRDMs(b), "cosine_cov", sigma_k=s)[0, 0]
        for s in (variances, np.diag(variances))
    ]
    assert ours[0, 0] == pytest.approx(theirs[1], abs=1e-5)
    assert abs(theirs[0] - theirs[1]) > 1e-3  # the vector is whitened after plain double centring


def test_whitened_cosine_is_biased_linear_cka() -> None:
    """Without sigma_k, the whitened cosine of squared distances is the biased linear CKA."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(20, 6)), rng.normal(size=(20, 4))
    a, b = (rdm(v, distance="sq_euclidean") for v in (x, y))
    assert compare_rdms(a, b, measure="whitened_cosine") == pytest.approx(
        linear_cka(x, y, debiased=False), abs=1e-12
    )
    assert abs(compare_rdms(a, b, measure="whitened_pearson") - linear_cka(x, y, debiased=False)) > 1e-3


def test_equals_mne_rsa() -> None:
    """Pearson, Spearman and tau-a equal mne-rsa, whose kendall is tau-a and not the tau-b of scipy."""
    mne_rsa: Any = pytest.importorskip("mne_rsa")
    rng = np.random.default_rng(5)
    a = np.round(squared(rng, 1)[0])
    b = np.round(a + squared(rng, 1)[0])
    u, v = (d[np.triu_indices(9, 1)] for d in (a, b))
    for measure, theirs in (("pearson", "pearson"), ("tau_a", "kendall-tau-a")):
        assert compare_rdms(a, b, measure=measure) == pytest.approx(mne_rsa.rsa(u, v, metric=theirs))
    with pytest.warns(UserWarning, match="more than 5 % ties"):
        assert compare_rdms(a, b, measure="spearman") == pytest.approx(mne_rsa.rsa(u, v, metric="spearman"))
    with pytest.warns(UserWarning, match="tau_b favours"):
        tau_b = compare_rdms(a, b, measure="tau_b")
    assert tau_b == pytest.approx(stats.kendalltau(u, v).statistic)
    assert tau_b > mne_rsa.rsa(u, v, metric="kendall-tau-a") + 0.05
