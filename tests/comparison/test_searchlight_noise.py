"""Searchlights with noise: the covariance of each sphere is its own, in every form it can come in."""

from __future__ import annotations

import numpy as np
import pytest
from searchlight_cases import RADIUS, model_rdms, runs_of, sphere_lists, volume

from brainalign.comparison import _searchlight_noise
from brainalign.comparison.noise import noise_precision
from brainalign.comparison.rdms import rdm
from brainalign.comparison.run_distances import crossnobis, run_means
from brainalign.comparison.searchlight import map_searchlight

POINTS = volume()
P = len(POINTS)
SPHERES = sphere_lists(POINTS)
MODELS = model_rdms()
X, LABELS = runs_of(P)
_RNG = np.random.default_rng(7)
RESIDUALS = _RNG.normal(size=(60, P)) @ (np.eye(P) + 0.1 * _RNG.normal(size=(P, P)))


def crossed(**options: object) -> np.ndarray:
    """The crossnobis RDMs of all spheres."""
    found = map_searchlight(X, POINTS, radius_mm=RADIUS, models=MODELS, keep_rdms=True, **LABELS, **options)
    assert found.rdms is not None
    return found.rdms


@pytest.mark.parametrize("shrinkage", ["none", "diagonal", "ledoit_wolf", "oas", "schaefer_strimmer"])
@pytest.mark.parametrize("dense", [True, False])
def test_residuals_are_shrunk_in_each_sphere(
    shrinkage: str, dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Residuals give `noise_precision` of the columns of each sphere, shrunk by its own intensity, with
    the covariance of all voxels in memory or not."""
    if not dense:
        monkeypatch.setattr(_searchlight_noise, "_DENSE_BYTES", 0)
    expected = []
    for sphere in SPHERES:
        noise = noise_precision(RESIDUALS[:, sphere], shrinkage=shrinkage, dof=50)
        expected.append(crossnobis(X[:, sphere], noise=noise, **LABELS))
    np.testing.assert_allclose(
        crossed(residuals=RESIDUALS, shrinkage=shrinkage, dof=50), np.stack(expected), atol=1e-10
    )


def test_intensity_is_that_of_the_sphere() -> None:
    """A precision of all voxels keeps its one intensity in every sphere, which residuals do not."""
    noise = noise_precision(RESIDUALS)
    expected = [crossnobis(X[:, s], noise=noise.select(s), **LABELS) for s in SPHERES]
    found = crossed(noise=noise)
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-10)
    assert np.abs(found - crossed(residuals=RESIDUALS)).max() > 0.01


@pytest.mark.parametrize("kind", ["factor", "dense", "precision", "diagonal"])
def test_every_form_of_a_given_noise(kind: str) -> None:
    """Low-rank, dense, given and diagonal precisions are inverted over the sphere; cutting rows and
    columns out of the precision would give another result unless it is diagonal."""
    rows = np.concatenate([RESIDUALS, _RNG.normal(size=(2 * P, P))]) if kind == "dense" else RESIDUALS
    noise = noise_precision(rows, shrinkage="diagonal" if kind == "diagonal" else "ledoit_wolf")
    given = noise.matrix() if kind == "precision" else noise
    expected = [crossnobis(X[:, s], noise=noise.select(s), **LABELS) for s in SPHERES]
    found = crossed(noise=given)
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-10)
    cut = [crossnobis(X[:, s], noise=noise.matrix()[np.ix_(s, s)], **LABELS) for s in SPHERES]
    assert (np.abs(found - np.stack(cut)).max() > 1e-3) == (kind != "diagonal")


@pytest.mark.parametrize("shrinkage", ["ledoit_wolf", "diagonal"])
def test_mahalanobis(shrinkage: str) -> None:
    """Mahalanobis distances of the condition means, whitened by the noise of each sphere."""
    noise = noise_precision(RESIDUALS, shrinkage=shrinkage)
    found = map_searchlight(
        X,
        POINTS,
        radius_mm=RADIUS,
        distance="mahalanobis",
        noise=noise,
        conditions=LABELS["conditions"],
        keep_rdms=True,
    )
    means = run_means(X, LABELS["conditions"], np.zeros(len(X)))[0][0]
    expected = [rdm(means[:, s], distance="mahalanobis", noise=noise.select(s)) for s in SPHERES]
    assert found.rdms is not None
    np.testing.assert_allclose(found.rdms, np.stack(expected), atol=1e-10)
    assert found.scores.shape == (0, P)


def test_unbalanced_runs_with_noise() -> None:
    """Runs that lack conditions are whitened like the others."""
    rows = np.setdiff1d(np.arange(len(X)), [0, 9, 10])
    labels = {name: one[rows] for name, one in LABELS.items()}
    found = map_searchlight(
        X[rows], POINTS, radius_mm=RADIUS, models=MODELS, residuals=RESIDUALS, keep_rdms=True, **labels
    )
    expected = [crossnobis(X[rows][:, s], noise=noise_precision(RESIDUALS[:, s]), **labels) for s in SPHERES]
    assert found.rdms is not None
    np.testing.assert_allclose(found.rdms, np.stack(expected), atol=1e-10)


def test_voxels_without_noise_and_singular_spheres() -> None:
    """A voxel with constant or missing residuals is left out of every sphere; a sphere whose covariance
    is singular is NaN with its reason; the rest is as without them."""
    residuals = RESIDUALS.copy()
    residuals[:, 3] = 2.0
    residuals[4, 9] = np.nan
    left = np.setdiff1d(np.arange(P), [3, 9])
    with pytest.warns(UserWarning, match="2 the residuals of the centre are constant or not finite"):
        found = map_searchlight(X, POINTS, radius_mm=RADIUS, models=MODELS, residuals=residuals, **LABELS)
    alone = map_searchlight(
        X[:, left], POINTS[left], radius_mm=RADIUS, models=MODELS, residuals=residuals[:, left], **LABELS
    )
    assert np.isnan(found.scores[:, [3, 9]]).all()
    np.testing.assert_allclose(found.scores[:, left], alone.scores, atol=1e-10)
    twice = RESIDUALS.copy()
    twice[:, 1] = twice[:, 0]
    with pytest.warns(UserWarning, match="the noise covariance of the sphere is singular"):
        found = map_searchlight(
            X,
            POINTS,
            radius_mm=RADIUS,
            models=MODELS,
            residuals=twice,
            shrinkage="none",
            keep_rdms=True,
            **LABELS,
        )
    both = np.array([{0, 1} <= set(sphere.tolist()) for sphere in SPHERES])
    assert (np.isnan(found.scores[0]) == both).all()
    assert found.nan_reasons_ == {"the noise covariance of the sphere is singular": int(both.sum())}
    assert found.rdm_vectors is not None
    assert np.isnan(found.rdm_vectors[both]).all()


def test_diagonal_noise_under_a_mask() -> None:
    """A diagonal precision of all voxels whitens those inside the mask by their own variances."""
    mask = np.arange(P) >= 30
    noise = noise_precision(RESIDUALS, shrinkage="diagonal")
    found = map_searchlight(X, POINTS, radius_mm=RADIUS, models=MODELS, noise=noise, mask=mask, **LABELS)
    alone = map_searchlight(
        X[:, mask], POINTS[mask], radius_mm=RADIUS, models=MODELS, noise=noise.select(mask), **LABELS
    )
    np.testing.assert_allclose(found.scores[:, mask], alone.scores, atol=1e-12)
