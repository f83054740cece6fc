"""Distances of tensors on a GPU: the values of the CPU, and the result where its input was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from brainalign.comparison.cross_time import cross_time_rdms
from brainalign.comparison.cross_validated import cv_correlation, ldt, poisson_cv
from brainalign.comparison.geodesic import geo_topological_transform, geodesic_transform
from brainalign.comparison.noise import noise_precision
from brainalign.comparison.rdms import DISTANCES, NOISE_DISTANCES, rdm
from brainalign.comparison.run_distances import crossnobis, crossnobis_of_means

RNG = np.random.default_rng(0)
CONDITIONS, RUNS = np.tile(np.arange(4), 6), np.repeat([0, 1, 2], 8)
X = RNG.uniform(1, 9, size=(4, 10))[CONDITIONS] + RNG.uniform(0, 0.5, size=(24, 10))
GAPS = X.copy()
GAPS[:, 3] = np.nan
MEANS = RNG.normal(size=(2, 3, 4, 10))
MEANS[1, 0, 2] = np.nan
RESIDUALS = RNG.normal(size=(6, 10))
NOISE = noise_precision(RESIDUALS)
LABELS = {"conditions": CONDITIONS, "runs": RUNS}

CALLS: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    **{
        f"rdm {name}": (
            lambda x, name=name: rdm(x, distance=name, noise=NOISE if name in NOISE_DISTANCES else None),
            GAPS,
        )
        for name in DISTANCES
    },
    "crossnobis": (lambda x: crossnobis(x, **LABELS, noise=NOISE), GAPS),
    "crossnobis per run": (lambda x: crossnobis_of_means(x, [NOISE] * 3), MEANS),
    "cv_correlation": (lambda x: cv_correlation(x, **LABELS), X),
    "poisson_cv": (lambda x: poisson_cv(x, **LABELS), X),
    "ldt": (lambda x: ldt(x, **LABELS), X),
    "cross_time_rdms": (lambda x: cross_time_rdms(x, noise=NOISE.matrix()), RNG.normal(size=(3, 4, 10, 5))),
    "whiten": (NOISE.whiten, X),
    "geodesic": (lambda x: geodesic_transform(rdm(x, distance="euclidean")), X),
    "geo-topological": (lambda x: geo_topological_transform(rdm(x), lower=0.2, upper=0.8), X),
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_gpu_gives_the_values_of_the_cpu(name: str) -> None:
    """Every distance of a tensor on CUDA stays on CUDA and equals that of the array."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    function, x = CALLS[name]
    found = function(torch.from_numpy(x).cuda())
    assert found.device.type == "cuda"
    np.testing.assert_allclose(found.cpu().numpy(), function(x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_tensors_on_the_cpu(name: str) -> None:
    """The same calls with a tensor on the CPU give tensors of the same values and leave their input."""
    function, x = CALLS[name]
    tensor = torch.from_numpy(x.copy())
    found = function(tensor)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), function(x))
    np.testing.assert_array_equal(tensor.numpy(), x)


@pytest.mark.gpu
def test_residuals_on_a_gpu() -> None:
    """Noise estimated from residuals on CUDA has the precision of those on the CPU, for arrays too."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    noise = noise_precision(torch.from_numpy(RESIDUALS).cuda())
    np.testing.assert_allclose(noise.matrix(), NOISE.matrix(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(noise.whiten(X), NOISE.whiten(X), rtol=1e-9, atol=1e-11)
