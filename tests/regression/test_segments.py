"""Functions of eigenvalues as combinations within stretches of the spectrum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from brainalign.regression._scoring import fold_scorer
from brainalign.regression._segments import score_segments, segment_spectrum, unsegmented

ALPHAS = torch.logspace(-3, 6, 20, dtype=torch.float64)
SPECTRA = {
    "white": np.sort(np.random.default_rng(0).chisquare(5, 600)) * 100,
    "power law": np.sort(1e5 / np.arange(1, 601) ** 1.5),
    "reaching nothing": np.linspace(0, 50, 600) ** 4,
    "all equal": np.full(600, 7.0),
    "few": np.array([1.0, 2.0, 50.0]),
}


def curves(name, alphas=ALPHAS):
    values = torch.as_tensor(SPECTRA[name])
    return 1 / (values + alphas[:, None])


def all_functions(segments, p):
    """The functions that the segments stand for, (n_alphas, p)."""
    right = torch.eye(p, dtype=segments.functions[0].dtype)
    stacks = segments.stacks(torch.ones(1, p, dtype=right.dtype))
    return segments.apply(stacks, right, right.new_empty(segments.n_values * p))[:, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(SPECTRA))
def test_every_function_at_every_eigenvalue(name, dtype):
    """What the segments give is each function to rounding, relative to its own value."""
    true = curves(name)
    found = all_functions(segment_spectrum(true, dtype), true.shape[1])
    bound = {torch.float32: 5e-6, torch.float64: 1e-11}[dtype]
    assert float((found.double() / true - 1).abs().max()) < bound


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_a_coarse_tolerance_is_kept_and_used(tolerance):
    """A coarser tolerance takes fewer products, and its error is below it but not at rounding."""
    true = curves("power law")
    coarse, fine = segment_spectrum(true, torch.float64, tolerance), segment_spectrum(true, torch.float64)
    products = [sum(part.numel() for part in one.functions) for one in (coarse, fine)]
    assert products[0] < products[1]
    error = float((all_functions(coarse, 600) / true - 1).abs().max())
    assert 1e-3 * tolerance < error < tolerance


def test_products_are_fewer_than_penalties():
    """Twenty penalties take five to nine products of every column, not one each."""
    for name in ("white", "power law"):
        segments = segment_spectrum(curves(name), torch.float32)
        assert sum(part.numel() for part in segments.functions) < 10 * 600
        assert len(segments.stretches) > 1
    assert segment_spectrum(curves("white", ALPHAS[:1]), torch.float32).n_functions == 1
    assert segment_spectrum(curves("all equal"), torch.float32).n_functions == 1


def test_directions_without_variance_are_left_out():
    """Leading columns that are 0 in every function take part in no product."""
    true = torch.cat([torch.zeros(20, 100, dtype=torch.float64), curves("white")], 1)
    segments = segment_spectrum(true, torch.float64)
    assert segments.stretches[0].start == 100
    right = torch.full((700, 3), torch.nan, dtype=torch.float64)
    right[100:] = 1.0
    stacks = segments.stacks(torch.ones(2, 700, dtype=torch.float64))
    found = segments.apply(stacks, right, right.new_empty(segments.n_values * 2 * 3))
    torch.testing.assert_close(found[:, 0, 0], true.sum(1), rtol=1e-10, atol=0)
    nothing = segment_spectrum(torch.zeros(20, 4, dtype=torch.float64), torch.float64)
    assert float(all_functions(nothing, 4).abs().max()) == 0


@pytest.mark.parametrize("small_cache", [False, True])
def test_scores_equal_those_of_each_penalty(small_cache, monkeypatch):
    """Scores through segments, in one or in many chunks of targets, equal those without them."""
    if small_cache:
        monkeypatch.setattr("brainalign.regression._segments.CACHED", 1)
    generator = torch.Generator().manual_seed(0)
    left, right, observed = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((30, 600), (600, 150), (30, 150))
    )
    true = curves("white")
    found, expected = (
        score_segments(one, left, right, lambda part: fold_scorer("r2", observed[:, part]))
        for one in (segment_spectrum(true, torch.float64), unsegmented(true, torch.float64))
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
