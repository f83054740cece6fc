"""Searchlights on responses with a known answer: planted spheres, null maps, permutations, invariances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from searchlight_cases import RADIUS, N, model_rdms, runs_of, sphere_lists, volume

from brainalign.comparison.rdms import rdm
from brainalign.comparison.searchlight import SearchlightResult, map_searchlight

POINTS = volume()
P = len(POINTS)
MODELS = model_rdms()


def planted(
    seed: int = 0, strength: float = 1.0
) -> tuple[np.ndarray, np.ndarray, dict[str, Any], np.ndarray]:
    """Runs in a volume whose voxels near one place carry the patterns of a model; the place, the model."""
    rng = np.random.default_rng(seed)
    points = volume(10, 9, 8)
    near = np.linalg.norm(points - points[365], axis=1) <= 6.0
    x, labels = runs_of(len(points), seed=seed + 1, n_runs=6)
    features = rng.normal(size=(N, int(near.sum())))
    x[:, near] += strength * np.tile(features, (6, 1))
    return x, points, labels, rdm(features, distance="sq_euclidean")


@pytest.mark.parametrize("residuals", [False, True])
def test_planted_sphere_is_the_peak_of_the_map(residuals: bool) -> None:
    """The best centre of the model that was planted lies within one voxel of where it was, is significant
    over the whole map, and an unrelated model is not."""
    x, points, labels, model = planted()
    noise = np.random.default_rng(5).normal(size=(200, len(points))) if residuals else None
    found = map_searchlight(
        x,
        points,
        radius_mm=6.0,
        models={"planted": model, "other": MODELS[0]},
        residuals=noise,
        n_permutations=200,
        **labels,
    )
    peak = int(found.scores[0].argmax())
    assert np.linalg.norm(points[peak] - points[365]) <= 3.5
    assert found.scores[0, 365] > 0.85
    assert found.p_corrected is not None
    assert found.p_values is not None
    assert found.p_corrected[0, 365] < 0.05
    assert found.p_corrected[1].min() > 0.05
    assert (found.p_values <= found.p_corrected).all()
    away = np.linalg.norm(points - points[365], axis=1) > 13
    assert abs(found.scores[0, away].mean()) < 0.1


@pytest.mark.parametrize("measure", ["pearson", "spearman", "rho_a", "whitened_pearson"])
def test_null_map_is_about_zero(measure: str) -> None:
    """Responses without structure score zero on average within 4 standard errors over models and maps, and
    the share of centres with p < 0.05 is about 5 %."""
    rng = np.random.default_rng(2)
    means, small = [], []
    for _ in range(12):
        x = rng.normal(size=(10, P))
        models = model_rdms(4, 10, int(rng.integers(1 << 30)))
        found = map_searchlight(
            x, POINTS, radius_mm=RADIUS, models=models, measure=measure, n_permutations=99
        )
        means += found.scores.mean(axis=1).tolist()
        assert found.p_values is not None
        small.append((found.p_values <= 0.05).mean())
    assert abs(np.mean(means)) < 4 * np.std(means) / np.sqrt(len(means)) + 0.01
    assert np.mean(small) < 0.12


def test_null_of_crossnobis_has_no_bias() -> None:
    """The mean crossnobis distance over a map of noise is zero within 4 standard errors, where the plain
    distance is far above it."""
    draws = []
    for seed in range(10):
        x, labels = runs_of(P, seed=seed)
        found = map_searchlight(x, POINTS, radius_mm=RADIUS, keep_rdms=True, **labels)
        assert found.rdm_vectors is not None
        draws.append(found.rdm_vectors.mean())
    assert abs(np.mean(draws)) < 4 * np.std(draws, ddof=1) / np.sqrt(10)
    plain = map_searchlight(
        x, POINTS, radius_mm=RADIUS, distance="sq_euclidean", conditions=labels["conditions"], keep_rdms=True
    )
    assert plain.rdm_vectors is not None
    assert plain.rdm_vectors.mean() > 0.4


@pytest.mark.parametrize(
    "measure", ["pearson", "spearman", "rho_a", "cosine", "whitened_cosine", "whitened_pearson", "sigma"]
)
def test_permutations_are_maps_of_permuted_models(measure: str) -> None:
    """p-values equal those counted from one searchlight per draw with the rows and columns of the
    models in the drawn order, alone and against the largest centre."""
    x = np.random.default_rng(0).normal(size=(N, P))
    a = np.random.default_rng(3).normal(size=(N, N))
    sigma = {"sigma_k": a @ a.T + np.eye(N)} if measure == "sigma" else {}
    options: dict[str, Any] = {
        "radius_mm": RADIUS,
        "measure": "whitened_cosine" if measure == "sigma" else measure,
        **sigma,
    }
    found = map_searchlight(
        x, POINTS, models=MODELS, n_permutations=30, random_state=4, block_bytes=200_000, **options
    )
    rng = np.random.default_rng(4)
    null = []
    for _ in range(30):
        order = rng.permutation(N)
        null.append(map_searchlight(x, POINTS, models=MODELS[:, order][:, :, order], **options).scores)
    stack = np.stack(null)
    alone = ((stack >= found.scores - 1e-12).sum(0) + 1) / 31
    over = ((stack.max(2)[:, :, None] >= found.scores - 1e-12).sum(0) + 1) / 31
    assert found.p_values is not None
    assert found.p_corrected is not None
    np.testing.assert_allclose(found.p_values, alone, atol=1e-12)
    np.testing.assert_allclose(found.p_corrected, over, atol=1e-12)


def test_draws_in_parts_are_the_draws_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders that do not fit the memory of one part give the same p-values."""
    from brainalign.comparison import _searchlight_scores

    x = np.random.default_rng(0).normal(size=(N, P))
    options: dict[str, Any] = {"radius_mm": RADIUS, "models": MODELS, "n_permutations": 25}
    together = map_searchlight(x, POINTS, **options)
    monkeypatch.setattr(_searchlight_scores, "_BATCH_BYTES", 5000)
    parts = map_searchlight(x, POINTS, **options)
    np.testing.assert_array_equal(together.p_values, parts.p_values)
    np.testing.assert_array_equal(together.p_corrected, parts.p_corrected)


@pytest.mark.parametrize("crossed", [False, True])
def test_values_do_not_depend_on_blocks(crossed: bool) -> None:
    """One centre a block, a few, or all at once give the same map."""
    x, labels = runs_of(P)
    given: dict[str, Any] = labels if crossed else {"conditions": labels["conditions"]}
    maps = [
        map_searchlight(x, POINTS, radius_mm=RADIUS, models=MODELS, block_bytes=size, keep_rdms=True, **given)
        for size in (1, 100_000, 2**28)
    ]
    for other in maps[1:]:
        np.testing.assert_allclose(other.scores, maps[0].scores, atol=1e-13)
        np.testing.assert_allclose(other.rdm_vectors, maps[0].rdm_vectors, atol=1e-13)


def scores_of(x: np.ndarray, points: np.ndarray = POINTS, **options: Any) -> np.ndarray:
    """Scores of a plain searchlight."""
    found: SearchlightResult = map_searchlight(x, points, models=MODELS, **{"radius_mm": RADIUS, **options})
    return found.scores


def test_invariances_that_hold_and_that_fail() -> None:
    """The order of voxels, a shift or turn of the positions and the scale of the responses change nothing;
    for the correlation distance a pattern added to every row does, for the squared distance it does not."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(N, P))
    reference = scores_of(x)
    order = rng.permutation(P)
    np.testing.assert_allclose(scores_of(x[:, order], POINTS[order]), reference[:, order], atol=1e-12)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    np.testing.assert_allclose(scores_of(x, POINTS @ turn + 100), reference, atol=1e-12)
    np.testing.assert_allclose(scores_of(1e6 * x), reference, atol=1e-12)
    pattern = rng.normal(size=P)
    np.testing.assert_allclose(scores_of(x + rng.normal(size=(N, 1))), reference, atol=1e-12)
    assert np.abs(scores_of(x + pattern) - reference).max() > 0.1
    squared = scores_of(x, distance="sq_euclidean")
    np.testing.assert_allclose(scores_of(x + pattern, distance="sq_euclidean"), squared, atol=1e-12)
    rows = rng.permutation(N)
    moved = map_searchlight(x[rows], POINTS, radius_mm=RADIUS, models=MODELS[:, rows][:, :, rows])
    np.testing.assert_allclose(moved.scores, reference, atol=1e-12)


@pytest.mark.parametrize("size", [{"radius_mm": RADIUS}, {"n_neighbours": 20}])
def test_missing_voxels_are_those_voxels_removed(size: dict[str, Any]) -> None:
    """A voxel with one NaN, one infinite value or outside the mask leaves every sphere, as if it had
    never been recorded, and has no score itself."""
    x = np.random.default_rng(0).normal(size=(N, P))
    x[2, 10], x[:, 40], x[0, 77] = np.nan, np.nan, np.inf
    mask = np.ones(P, dtype=bool)
    mask[100:105] = False
    left = np.setdiff1d(np.arange(P), [10, 40, 77, *range(100, 105)])
    with pytest.warns(UserWarning, match="3 of 120 centres have no score: 3 the centre has values that"):
        found = map_searchlight(x, POINTS, models=MODELS, mask=mask, **size)
    alone = map_searchlight(x[:, left], POINTS[left], models=MODELS, **size)
    np.testing.assert_allclose(found.scores[:, left], alone.scores, atol=1e-12)
    assert np.isnan(found.scores[:, [10, 40, 77, 100]]).all()
    assert found.nan_reasons_ == {"outside the mask": 5, "the centre has values that are not finite": 3}
    np.testing.assert_array_equal(found.n_voxels[left], alone.n_voxels)
    if "n_neighbours" in size:
        assert (found.n_voxels[left] == 20).all()


def test_missing_times_of_one_sensor_leave_the_windows() -> None:
    """A NaN at one time of one sensor is left out of the windows that hold it, and of no other."""
    x = np.random.default_rng(0).normal(size=(N, 6, 9))
    x[3, 2, 4] = np.nan
    with pytest.warns(UserWarning, match="1 of 54 centres"):
        found = map_searchlight(x, adjacency=np.ones((6, 6)), time_radius=1, models=MODELS)
    assert np.isnan(found.scores[:, 2, 4]).all()
    assert found.n_voxels[0].tolist() == [12, 18, 18, 17, 17, 17, 18, 18, 12]
    window = np.delete(x[:, :, 3:6].reshape(N, -1), 2 * 3 + 1, axis=1)
    from brainalign.comparison.rdm_comparison import compare_rdms

    expected = compare_rdms(MODELS, rdm(window), measure="rho_a")[:, 0]
    np.testing.assert_allclose(found.scores[:, 0, 4], expected, atol=1e-10)


def test_spheres_without_a_distance_are_counted() -> None:
    """Constant patterns, too few voxels and an RDM without contrast are NaN, each with its reason."""
    x = np.random.default_rng(0).normal(size=(N, P))
    spheres = sphere_lists(POINTS)
    flat = x.copy()
    flat[3, spheres[50]] = 1.0
    with pytest.warns(UserWarning, match="1 of 120 .* constant patterns") as said:
        found = map_searchlight(flat, POINTS, radius_mm=RADIUS, models=MODELS)
    assert len(said) == 1
    assert np.flatnonzero(np.isnan(found.scores[0])).tolist() == [50]
    with pytest.warns(UserWarning, match="fewer than min_voxels"):
        found = map_searchlight(x, POINTS, radius_mm=RADIUS, models=MODELS, min_voxels=20)
    np.testing.assert_array_equal(np.isnan(found.scores[0]), [len(s) < 20 for s in spheres])
    equal = x.copy()
    equal[:, spheres[50]] = 2.0
    with pytest.warns(UserWarning, match="1 the RDM of the sphere is constant or zero"):
        found = map_searchlight(
            equal, POINTS, radius_mm=RADIUS, models=MODELS, distance="sq_euclidean", n_permutations=9
        )
    assert found.p_values is not None
    assert found.p_corrected is not None
    for one in (found.scores, found.p_values, found.p_corrected):
        assert np.flatnonzero(np.isnan(one[0])).tolist() == [50]


def test_single_precision_agrees() -> None:
    """float32 responses give the scores of float64 ones to the rounding of the responses, also with a
    mean a thousand times the signal."""
    x = np.random.default_rng(0).normal(size=(N, P))
    for offset in (0.0, 1000.0):
        y = (x + offset).astype(np.float32)
        for measure in ("pearson", "whitened_cosine"):
            single, double = (scores_of(v, measure=measure) for v in (y, y.astype(np.float64)))
            np.testing.assert_array_equal(single, double)
            np.testing.assert_allclose(
                single, scores_of(x, measure=measure), atol=1e-5 if offset == 0 else 1e-2
            )
