"""Cross-validated eigenspectrum: reference, signal variance without noise, missing repeats, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison.repeated_spectrum import cross_validated_spectrum
from brainalign.comparison.spectral_descriptors import alpha_req
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Responses

RNG = np.random.default_rng(0)
SIGNAL = RNG.normal(size=(30, 6)) * np.arange(1, 7) ** -0.5
TRIALS = SIGNAL[:, None] + 0.3 * RNG.normal(size=(30, 4, 6))


def planted(alpha: float, noise: float, n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """A signal (n, p) with a power-law spectrum in rotated units, and 4 noisy trials of each stimulus."""
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(p, p)))[0]
    signal = (rng.normal(size=(n, p)) * np.arange(1, p + 1) ** (-alpha / 2)) @ rotation
    return signal, signal[:, None] + noise * rng.normal(size=(n, 4, p))


@pytest.mark.parametrize("shape", [(30, 6), (8, 20)], ids=["tall", "wide"])
def test_equal_to_projections_on_components(shape: tuple[int, int]) -> None:
    """Two repeats in one split: the covariance of projections on singular vectors, both ways."""
    a, b = RNG.normal(size=(2, *shape)) + RNG.normal(size=shape)
    found = cross_validated_spectrum(a, b, n_splits=1, random_state=5)
    swap = _swapped(shape[0], 5)
    a, b = a - a.mean(0), b - b.mean(0)
    a, b = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    a, b = a - a.mean(0), b - b.mean(0)
    expected = np.zeros(min(shape))
    for one, other in ((a, b), (b, a)):
        v = np.linalg.svd(one, full_matrices=False)[2].T
        expected += ((one @ v) * (other @ v)).sum(axis=0) / (shape[0] - 1) / 2
    np.testing.assert_allclose(found, expected, atol=1e-10)


def _swapped(n: int, seed: int) -> np.ndarray:
    """Which stimuli have their repeats swapped in the first split of a seed: read from a known signal."""
    from brainalign.comparison.repeated_spectrum import _halves

    rows = np.tile([0.0, 1.0], n)[:, None]
    first, _ = _halves(rows, np.repeat(np.arange(n), 2), np.random.default_rng(seed))
    return np.asarray(first[:, 0] > first[:, 0].mean() if np.ptp(first) else np.zeros(n, bool))


def test_without_noise_it_is_the_covariance_spectrum() -> None:
    """Equal repeats, in any number, give the eigenvalues of the covariance."""
    expected = np.linalg.eigvalsh(np.cov(SIGNAL.T))[::-1]
    np.testing.assert_allclose(cross_validated_spectrum(SIGNAL, SIGNAL), expected, rtol=1e-9)
    same = np.repeat(SIGNAL[:, None], 5, axis=1)
    np.testing.assert_allclose(cross_validated_spectrum(same), expected, rtol=1e-9)


@pytest.mark.parametrize(("n", "p"), [(800, 150), (300, 400)], ids=["tall", "wide"])
def test_planted_alpha_is_found_in_noise(n: int, p: int) -> None:
    """The exponent of the signal is recovered to 0.1 where that of the mean response is 0.2 too low."""
    signal, trials = planted(1.5, 0.1, n, p)
    window = (5, 40)
    truth = alpha_req(signal, window=window).alpha
    spectrum = cross_validated_spectrum(trials, n_splits=2)
    assert alpha_req(eigenvalues=spectrum, window=window).alpha == pytest.approx(truth, abs=0.1)
    assert alpha_req(trials.mean(1), window=window).alpha < truth - 0.2


def test_the_sum_is_the_variance_of_the_signal() -> None:
    """Over draws of the noise the sum is unbiased; that of the plain spectrum holds the noise."""
    truth = SIGNAL.var(axis=0, ddof=1).sum()
    found, plain = [], []
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=(30, 2, 6))
        found.append(cross_validated_spectrum(SIGNAL[:, None] + noise, n_splits=1).sum())
        plain.append((SIGNAL + noise.mean(1)).var(axis=0, ddof=1).sum())
    assert np.mean(found) == pytest.approx(truth, abs=3 * np.std(found) / np.sqrt(60))
    assert np.mean(plain) == pytest.approx(truth + 3.0, rel=0.05)


def test_noise_alone_has_no_spectrum() -> None:
    """Without signal the values scatter about 0 while the plain eigenvalues are far above."""
    noise = np.random.default_rng(2).normal(size=(200, 2, 30))
    found = cross_validated_spectrum(noise)
    assert abs(found.mean()) < 0.03
    assert (found < 0).any()
    assert np.linalg.eigvalsh(np.cov(noise.mean(1).T)).min() > 0.15


def test_invariances() -> None:
    """Rotation, a shift of all trials and of one repeat do nothing; a factor enters squared; seeds repeat."""
    plain = cross_validated_spectrum(TRIALS)
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    shifts = np.arange(4.0)[:, None] * np.ones(6)
    for changed in (TRIALS @ rotation, TRIALS + 7.0, TRIALS + shifts):
        np.testing.assert_allclose(cross_validated_spectrum(changed), plain, atol=1e-10)
    np.testing.assert_allclose(cross_validated_spectrum(1e100 * TRIALS), 1e200 * plain, rtol=1e-9)
    assert not np.allclose(cross_validated_spectrum(TRIALS, random_state=1), plain, atol=1e-6)


def test_responses_with_unequal_repeats() -> None:
    """Trials in any order, with three or four repeats, give nearly the spectrum of all trials."""
    ids = np.repeat([f"s{i}" for i in range(30)], 4)
    keep = np.arange(120) != 17
    order = RNG.permutation(np.flatnonzero(keep))
    samples = pd.DataFrame({"stimulus_id": ids[order]})
    found = cross_validated_spectrum(Responses(TRIALS.reshape(120, 6)[order], samples))
    np.testing.assert_allclose(found, cross_validated_spectrum(TRIALS), atol=0.06)
    assert found.sum() == pytest.approx(SIGNAL.var(axis=0, ddof=1).sum(), rel=0.1)


def responses(n_trials: int, *, named: bool = True, times: int = 0) -> Responses:
    """Trials of 4 stimuli in turn."""
    values = np.arange(n_trials * 3.0).reshape(n_trials, 3)
    samples = pd.DataFrame({"stimulus_id": [f"s{i % 4}" for i in range(n_trials)]}) if named else None
    if times:
        return Responses(values[..., None] + np.zeros(times), samples, times=np.arange(times) * 0.1)
    return Responses(values, samples)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: cross_validated_spectrum(SIGNAL), ShapeError, r"expected \(n_stimuli, n_repeats, n_units\)"),
        (lambda: cross_validated_spectrum(TRIALS, SIGNAL), ShapeError, r"expected \(n_stimuli, n_units\)"),
        (
            lambda: cross_validated_spectrum(SIGNAL, SIGNAL[1:]),
            ShapeError,
            r"first has shape \(30, 6\) and second",
        ),
        (lambda: cross_validated_spectrum(TRIALS[:, :1]), ShapeError, "1 repeat of each stimulus"),
        (
            lambda: cross_validated_spectrum(TRIALS[:2]),
            ShapeError,
            "2 stimuli and 6 units; expected at least 3",
        ),
        (lambda: cross_validated_spectrum(TRIALS, n_splits=0), InputError, "n_splits=0"),
        (lambda: cross_validated_spectrum(TRIALS.astype(str)), InputError, "expected real numbers"),
        (
            lambda: cross_validated_spectrum(np.where(TRIALS > 1, np.nan, TRIALS)),
            InputError,
            "first for stimulus",
        ),
        (lambda: cross_validated_spectrum(np.full((5, 2, 3), 0.1)), InputError, "do not vary over stimuli"),
        (lambda: cross_validated_spectrum(1e200 * TRIALS), InputError, "square leaves the range"),
        (lambda: cross_validated_spectrum(1e-200 * TRIALS), InputError, "square leaves the range"),
        (lambda: cross_validated_spectrum(responses(8), SIGNAL), AlignmentError, "without a second argument"),
        (
            lambda: cross_validated_spectrum(responses(8, named=False)),
            AlignmentError,
            "without a stimulus_id",
        ),
        (
            lambda: cross_validated_spectrum(responses(6)),
            ShapeError,
            "2 of 4 stimuli have one trial, first 's2'",
        ),
        (lambda: cross_validated_spectrum(responses(8, times=2)), ShapeError, "one time"),
    ],
)
def test_refusals(call: Any, error: type[Exception], text: str) -> None:
    """Each wrong input is refused with what was expected and found."""
    with pytest.raises(error, match=text):
        call()


def test_too_few_stimuli_in_responses() -> None:
    """Two stimuli with their repeats are refused."""
    samples = pd.DataFrame({"stimulus_id": ["a", "a", "b", "b"]})
    with pytest.raises(ShapeError, match="the responses have 2 stimuli; expected at least 3"):
        cross_validated_spectrum(Responses(np.eye(4), samples))
