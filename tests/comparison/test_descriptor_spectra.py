"""Participation ratio, RankMe, alpha-ReQ and power law: references, planted truth, invariances, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison.spectral_descriptors import alpha_req, participation_ratio, power_law, rankme
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 7)) * np.arange(1, 8) ** -0.7 + 2.0
WINDOW = (2, 6)


def values_of(x: np.ndarray) -> np.ndarray:
    """All spectral descriptors of x."""
    return np.array(
        [
            participation_ratio(x),
            rankme(x),
            rankme(x, of="singular_values"),
            *alpha_req(x, window=WINDOW),
            *power_law(x, window=WINDOW),
        ]
    )


def reference(x: np.ndarray) -> np.ndarray:
    """The same from numpy's covariance, singular values and weighted polynomial fit."""
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(x.T)))[::-1]
    s = np.linalg.svd(x - x.mean(0), compute_uv=False)
    entropies = [-(q[q > 0] * np.log(q[q > 0])).sum() for q in (eigenvalues / eigenvalues.sum(), s / s.sum())]
    ranks = np.arange(WINDOW[0], WINDOW[1] + 1)
    logs, out = np.log(eigenvalues[WINDOW[0] - 1 : WINDOW[1]]), []
    for w in (np.ones(len(ranks)), 1 / ranks):
        slope, level = np.polyfit(np.log(ranks), logs, 1, w=np.sqrt(w))
        residual = logs - slope * np.log(ranks) - level
        out += [-slope, 1 - (w @ residual**2) / (w @ (logs - np.average(logs, weights=w)) ** 2)]
    return np.array([eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), *np.exp(entropies), *out])


@pytest.mark.parametrize(
    "x", [X, X[:9], np.hstack([X[:7], X[7:14], X[14:21]])], ids=["tall", "short", "wide"]
)
def test_equal_to_plain_formulas(x: np.ndarray) -> None:
    """For n > p and n < p the values are those of the covariance matrix and the singular values."""
    eigenvalues = np.clip(np.linalg.eigvalsh(np.cov(x.T)), 0, None)
    assert participation_ratio(x) == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-10)
    if len(x) > x.shape[1]:
        np.testing.assert_allclose(values_of(x), reference(x), rtol=1e-9)
    else:
        s = np.linalg.svd(x - x.mean(0), compute_uv=False)[:-1]
        share = s / s.sum()
        assert rankme(x, of="singular_values") == pytest.approx(np.exp(-share @ np.log(share)), rel=1e-9)


def test_equal_eigenvalues_have_their_number() -> None:
    """32 equal eigenvalues give a RankMe and a participation ratio of 32, whichever spectrum is used."""
    x = np.vstack([np.eye(32), -np.eye(32)])
    turned = x @ np.linalg.qr(RNG.normal(size=(50, 32)))[0].T
    for values in (x, turned):
        for of in ("eigenvalues", "singular_values"):
            assert rankme(values, of=of) == pytest.approx(32, rel=1e-12)
        assert participation_ratio(values) == pytest.approx(32, rel=1e-12)
    fit = alpha_req(x, window=(1, 32))
    assert fit.alpha == pytest.approx(0, abs=1e-12)
    assert fit.r2 == 1.0


def sampled_spectrum(alpha: float, n: int, rng: np.random.Generator, d: int = 512) -> np.ndarray:
    """Eigenvalues of the covariance of n Gaussian stimuli, by the triangular root of a Wishart matrix."""
    root = np.tril(rng.normal(size=(d, d)), -1)
    root[np.diag_indices(d)] = np.sqrt(rng.chisquare(n - 1 - np.arange(d)))
    root *= (np.arange(1, d + 1) ** (-alpha / 2))[:, None]
    return np.asarray(np.linalg.eigvalsh(root @ root.T)[::-1] / (n - 1))


@pytest.mark.parametrize(
    ("alpha", "many", "few", "all_ranks"),
    [(0.6, 0.595, 0.55, 1.00), (1.0, 0.997, 0.97, 1.32), (1.5, 1.498, 1.49, 1.77)],
)
def test_planted_alpha(alpha: float, many: float, few: float, all_ranks: float) -> None:
    """The window recovers alpha to 0.01 at 15000 stimuli; at 1000 a fit over all ranks is far too steep."""
    rng = np.random.default_rng(3)
    spectrum = sampled_spectrum(alpha, 15000, rng)
    for window in ((11, 100), (11, 101)):
        assert alpha_req(eigenvalues=spectrum, window=window).alpha == pytest.approx(many, abs=0.01)
    spectrum = sampled_spectrum(alpha, 1000, rng)
    fit = alpha_req(eigenvalues=spectrum)
    assert fit.alpha == pytest.approx(few, abs=0.02)
    assert fit.r2 > 0.99
    wrong = alpha_req(eigenvalues=spectrum, window=(1, 512)).alpha
    assert wrong == pytest.approx(all_ranks, abs=0.02)
    assert wrong > fit.alpha + 0.25


def test_sampled_stimuli_have_the_sampled_spectrum() -> None:
    """alpha_req of 1000 stimuli themselves is the value found for their covariance."""
    x = np.random.default_rng(4).normal(size=(1000, 512)) * np.arange(1, 513) ** -0.5
    assert alpha_req(x).alpha == pytest.approx(0.97, abs=0.02)


def test_octaves_weigh_ranks_by_their_inverse() -> None:
    """Where the exponent changes late, power_law stays with the early ranks and alpha_req does not."""
    ranks = np.arange(1.0, 201.0)
    bent = np.where(ranks < 40, ranks**-1.0, 40.0 * ranks**-2.0)
    early, late = power_law(eigenvalues=bent), alpha_req(eigenvalues=bent)
    assert 1.0 < early.alpha < late.alpha - 0.05
    assert power_law(eigenvalues=ranks**-1.3).alpha == pytest.approx(1.3, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (X @ np.linalg.qr(RNG.normal(size=(7, 7)))[0], True),
        (X[:, ::-1], True),
        (X[::-1], True),
        (-1e-200 * X, True),
        (1e200 * X, True),
        (X + np.arange(7.0), True),
        (np.hstack([X, np.full((40, 3), 1e5)]), True),
        (X * np.arange(1, 8), False),
        (X**3, False),
        (np.exp(X), False),
    ],
    ids=["rotation", "units", "stimuli", "small", "large", "shift", "constant", "linear", "cube", "exp"],
)
def test_invariances(change: np.ndarray, same: bool) -> None:
    """Rotation, scale, shift, permutations and constant units change nothing; a linear map does."""
    close = np.isclose(values_of(change), values_of(X), rtol=1e-7, atol=0)
    assert close.all() if same else not close.any()


def test_precision_and_types_of_input() -> None:
    """float32, integers, one unit and duplicated stimuli are described like float64."""
    np.testing.assert_allclose(values_of(X.astype(np.float32)), values_of(X), rtol=1e-4)
    whole = RNG.integers(0, 9, size=(12, 7))
    np.testing.assert_allclose(values_of(whole), values_of(whole.astype(float)))
    assert participation_ratio(X[:, :1]) == rankme(X[:, :1]) == 1.0
    assert participation_ratio(np.vstack([X, X])) == pytest.approx(participation_ratio(X))


def test_repeats_of_responses_are_averaged() -> None:
    """Single trials of Responses give the value of their means."""
    noise = RNG.normal(size=X.shape)
    ids = [f"s{i}" for i in range(len(X))]
    trials = Responses(np.vstack([X + noise, X - noise]), pd.DataFrame({"stimulus_id": ids + ids}))
    assert rankme(trials) == pytest.approx(rankme(X), rel=1e-10)
    assert abs(rankme(np.vstack([X + noise, X - noise])) - rankme(X)) > 0.1


def test_null_participation_ratio() -> None:
    """For unrelated noise the ratio is 1 / (1/n + 1/p), the stated bias, not the p of the population."""
    found = [participation_ratio(np.random.default_rng(s).normal(size=(60, 90))) for s in range(10)]
    assert np.mean(found) == pytest.approx(1 / (1 / 60 + 1 / 90), rel=0.02)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: alpha_req(X),
            ShapeError,
            r"window \(11, 100\) needs 100 eigenvalues above rounding, there are 7",
        ),
        (lambda: alpha_req(X[:5], window=(2, 5)), ShapeError, "there are 4 of 5; use more stimuli"),
        (lambda: alpha_req(X, window=(5, 5)), InputError, "expected two ranks"),
        (lambda: alpha_req(X, window=(0, 5)), InputError, "1 <= first < last"),
        (lambda: alpha_req(X, window=(1.0, 5)), InputError, "expected two ranks"),  # type: ignore[arg-type]
        (lambda: alpha_req(X, window=7), InputError, "window=7; expected two ranks"),  # type: ignore[arg-type]
        (lambda: alpha_req(), InputError, "give x or eigenvalues"),
        (lambda: alpha_req(X, eigenvalues=[1.0]), InputError, "give x or eigenvalues"),
        (lambda: power_law(eigenvalues=X), InputError, r"shape \(40, 7\).* expected real numbers"),
        (lambda: power_law(eigenvalues=[1, np.nan]), InputError, "eigenvalue 2 is not finite"),
        (lambda: power_law(eigenvalues=[3, -1, 1, 0], window=(1, 3)), InputError, "eigenvalue 2 is -0.333"),
        (lambda: rankme(X, of="eigenvalue"), InputError, "closest: 'eigenvalues'"),
        (lambda: rankme(X[:2]), ShapeError, "x has 2 stimuli; a descriptor needs at least 3"),
        (lambda: rankme(np.full((9, 4), 0.1)), InputError, "x does not vary: all 9 stimuli"),
        (lambda: rankme(np.where(X > 3, np.nan, X)), InputError, "not finite, first in row"),
        (lambda: participation_ratio(X[0]), ShapeError, r"shape \(7,\)"),
    ],
)
def test_refusals(call: Any, error: type[Exception], text: str) -> None:
    """Each wrong input is refused with what was expected and found."""
    with pytest.raises(error, match=text):
        call()


def test_negative_values_before_the_window_do_not_matter() -> None:
    """Only eigenvalues inside the window need a logarithm."""
    spectrum = np.arange(1.0, 21.0) ** -1.0
    spectrum[1] = -1.0
    assert alpha_req(eigenvalues=spectrum, window=(3, 20)).alpha == pytest.approx(1.0)
