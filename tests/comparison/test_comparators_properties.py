"""What each comparator of RDMs ignores, and what it must not ignore."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.comparison._comparators import COMPARATORS
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm

RANKS = ("spearman", "rho_a", "tau_a", "tau_b")
SYMMETRIC = [m for m in COMPARATORS if m != "neg_riemannian"]
N = 8


def pair(seed: int, p: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Two related RDMs of squared distances over 8 stimuli."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, p))
    y = x + 1.5 * rng.normal(size=(N, p))
    return rdm(x, distance="sq_euclidean"), rdm(y, distance="sq_euclidean")


def mapped(d: np.ndarray, power: float, shift: float) -> np.ndarray:
    out = d**power + shift
    np.fill_diagonal(out, 0.0)
    return out


def tolerance(measure: str) -> float:
    return 1e-6 if measure in ("bures", "neg_riemannian") else 1e-10


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 3.0), st.floats(0.0, 5.0))
def test_rank_measures_ignore_rising_maps_and_others_do_not(seed: int, power: float, shift: float) -> None:
    """A rising map of the entries changes no rank measure; cubing changes every other one."""
    a, b = pair(seed)
    for measure in RANKS:
        value = compare_rdms(a, b, measure=measure)
        assert compare_rdms(mapped(a, power, shift), b, measure=measure) == pytest.approx(value, abs=1e-12)
        assert compare_rdms(-a, b, measure=measure) == pytest.approx(-value)
    for measure in ("pearson", "cosine", "whitened_cosine", "whitened_pearson"):
        changed = compare_rdms(mapped(a, 3.0, 0.0), b, measure=measure)
        assert abs(changed - compare_rdms(a, b, measure=measure)) > 1e-4


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_scale_is_ignored_by_all(seed: int, scale: float) -> None:
    """One positive factor on all entries of either RDM changes nothing."""
    a, b = pair(seed)
    for measure in COMPARATORS:
        value = compare_rdms(a, b, measure=measure)
        assert compare_rdms(scale * a, b, measure=measure) == pytest.approx(value, abs=tolerance(measure))
        assert compare_rdms(a, scale * b, measure=measure) == pytest.approx(value, abs=tolerance(measure))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_shift_is_ignored_by_correlations_alone(seed: int) -> None:
    """A constant on all entries changes cosine, whitened cosine and Bures, not the correlations.

    It is a ridge on the Gram matrix, which the Riemannian distance frees in its first argument alone.
    """
    a, b = pair(seed)
    moved = mapped(a, 1.0, 1.0)
    for measure in ("pearson", *RANKS, "whitened_pearson"):
        value = compare_rdms(a, b, measure=measure)
        assert compare_rdms(moved, b, measure=measure) == pytest.approx(value, abs=1e-9)
    for measure in ("cosine", "whitened_cosine", "bures"):
        assert abs(compare_rdms(moved, b, measure=measure) - compare_rdms(a, b, measure=measure)) > 1e-5
    riemannian = compare_rdms(b, a, measure="neg_riemannian")
    assert abs(compare_rdms(b, moved, measure="neg_riemannian") - riemannian) > 1e-3
    # a ridge can be added and not taken away
    wider = compare_rdms(moved, b, measure="neg_riemannian")
    assert wider <= compare_rdms(a, b, measure="neg_riemannian") + 1e-9


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(N)))
def test_a_common_order_is_ignored_and_one_order_is_not(seed: int, order: list[int]) -> None:
    """Another order of the stimuli of both (and of sigma_k) changes nothing; of one alone it does."""
    a, b = pair(seed)
    index = np.ix_(order, order)
    sigma = np.diag(np.linspace(0.5, 2.0, N)) + 0.1
    for measure in COMPARATORS:
        value = compare_rdms(a, b, measure=measure)
        assert compare_rdms(a[index], b[index], measure=measure) == pytest.approx(
            value, abs=tolerance(measure)
        )
    value = compare_rdms(a, b, measure="whitened_cosine", sigma_k=sigma)
    again = compare_rdms(a[index], b[index], measure="whitened_cosine", sigma_k=sigma[index])
    assert again == pytest.approx(value, abs=1e-9)


def test_order_of_one_side_matters() -> None:
    """Shuffling the stimuli of one RDM lowers every comparator of related RDMs."""
    a, b = pair(0)
    order = np.roll(np.arange(N), 3)
    for measure in COMPARATORS:
        shuffled = compare_rdms(a[np.ix_(order, order)], b, measure=measure)
        assert shuffled < compare_rdms(a, b, measure=measure) - 1e-3


@pytest.mark.parametrize("measure", COMPARATORS)
def test_itself_is_the_top_and_the_measure_is_symmetric(measure: str) -> None:
    """An RDM with itself scores 1 (Riemannian: 0); all but the Riemannian are symmetric."""
    a, b = pair(1)
    top = 0.0 if measure == "neg_riemannian" else 1.0
    assert compare_rdms(a, a, measure=measure) == pytest.approx(top, abs=1e-6)
    forth, back = compare_rdms(a, b, measure=measure), compare_rdms(b, a, measure=measure)
    if measure in SYMMETRIC:
        assert forth == pytest.approx(back, abs=1e-7)
    else:
        assert forth != pytest.approx(back, abs=1e-4)


def test_rotation_of_units_keeps_squared_distances_and_their_comparison() -> None:
    """Rotated patterns have the same RDM; a general linear map changes the whitened cosine."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, N, 5))
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    b = rdm(y, distance="sq_euclidean")
    for measure in ("bures", "whitened_cosine"):
        value = compare_rdms(rdm(x, distance="sq_euclidean"), b, measure=measure)
        turned = compare_rdms(rdm(x @ rotation + 3.0, distance="sq_euclidean"), b, measure=measure)
        assert turned == pytest.approx(value, abs=1e-7)
        stretched = compare_rdms(rdm(x * [9, 1, 1, 1, 1], distance="sq_euclidean"), b, measure=measure)
        assert abs(stretched - value) > 1e-2


@pytest.mark.parametrize("measure", COMPARATORS)
def test_float32_and_tensors(measure: str) -> None:
    """Single precision agrees to its rounding; tensors in, tensors out, with the numbers of arrays."""
    a, b = pair(3)
    value = compare_rdms(a, b, measure=measure)
    single = compare_rdms(a.astype(np.float32), b.astype(np.float32), measure=measure)
    assert single == pytest.approx(value, abs=1e-3 if measure == "neg_riemannian" else 1e-5)
    out = compare_rdms(torch.from_numpy(a)[None], torch.from_numpy(b), measure=measure)
    assert isinstance(out, torch.Tensor)
    assert out.shape == (1, 1)
    assert float(out[0, 0]) == pytest.approx(value, abs=1e-12)
    assert float(compare_rdms(torch.from_numpy(a), torch.from_numpy(b), measure=measure)) == pytest.approx(
        value
    )


def test_negative_entries_are_allowed() -> None:
    """Cross-validated distances below 0 are compared as they are; Bures says what it clips."""
    a, b = pair(4)
    signed = mapped(a, 1.0, -1.2 * float(a[a > 0].min()))
    assert (signed < 0).any()
    for measure in ("pearson", "cosine", "whitened_cosine", "whitened_pearson", *RANKS):
        assert np.isfinite(compare_rdms(signed, b, measure=measure))
    indefinite = mapped(a, 1.0, -0.9 * float(a[a > 0].mean()))
    with pytest.warns(UserWarning, match="1 RDMs have negative eigenvalues in their Gram matrix .up to"):
        value = compare_rdms(indefinite, b, measure="bures")
    assert 0 <= value <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("measure", COMPARATORS)
def test_cuda_equals_the_host(measure: str) -> None:
    """On a CUDA device the numbers are those of the host, and stay there."""
    a, b = pair(5)
    out = compare_rdms(torch.from_numpy(a).cuda(), torch.from_numpy(b).cuda(), measure=measure)
    assert out.device.type == "cuda"
    assert float(out) == pytest.approx(compare_rdms(a, b, measure=measure), abs=1e-8)
