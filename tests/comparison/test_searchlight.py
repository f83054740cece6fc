"""The searchlight against RDMs and comparisons made one sphere at a time, and against other programs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from searchlight_cases import RADIUS, K, N, model_rdms, runs_of, sphere_lists, volume

from brainalign.comparison import _searchlight_rdms
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.run_distances import crossnobis
from brainalign.comparison.searchlight import map_searchlight

POINTS = volume()
P = len(POINTS)
SPHERES = sphere_lists(POINTS)
MODELS = model_rdms()


@pytest.mark.parametrize(
    "measure",
    ["pearson", "spearman", "rho_a", "cosine", "whitened_cosine", "whitened_pearson", "tau_a", "tau_b"],
)
@pytest.mark.parametrize("distance", ["correlation", "cosine", "sq_euclidean", "euclidean", "poisson"])
def test_every_sphere_is_rdm_and_compare_rdms(distance: str, measure: str) -> None:
    """Each distance and comparator equals `rdm` and `compare_rdms` of that sphere alone to 1e-10, with
    smaller spheres at the edges, and far from what a whole-sphere divisor or a lost voxel would give."""
    x = np.abs(np.random.default_rng(0).normal(size=(N, P)) + 3)
    found = map_searchlight(
        x, POINTS, radius_mm=RADIUS, distance=distance, models=MODELS, measure=measure, keep_rdms=True
    )
    expected = np.stack([rdm(x[:, sphere], distance=distance) for sphere in SPHERES])
    assert found.rdms is not None
    np.testing.assert_allclose(found.rdms, expected, atol=1e-10)
    np.testing.assert_allclose(found.scores, compare_rdms(MODELS, expected, measure=measure), atol=1e-10)
    assert found.n_voxels.tolist() == [len(sphere) for sphere in SPHERES]
    assert len(set(found.n_voxels.tolist())) > 4
    assert not found.codes.any()


@pytest.mark.parametrize("summed", [True, False])
@pytest.mark.parametrize(("n_runs", "left_out"), [(K, []), (K, [0]), (K, [0, 9, 10, 25]), (2, [3])])
def test_crossnobis_of_every_sphere(
    n_runs: int, left_out: list[int], summed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balanced and unbalanced runs give `crossnobis` of each sphere to 1e-10, and the default measure
    is the whitened cosine, by sums over voxels and by products; a pair that no two runs hold is left out
    of every sphere."""
    if not summed:
        monkeypatch.setattr(_searchlight_rdms, "_MOST_ADDED_BYTES", 0)
    x, labels = runs_of(P, n_runs=n_runs)
    rows = np.setdiff1d(np.arange(len(x)), left_out)
    x, labels = x[rows] * 3, {name: one[rows] for name, one in labels.items()}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = map_searchlight(x, POINTS, radius_mm=RADIUS, models=MODELS, keep_rdms=True, **labels)
        expected = np.stack([crossnobis(x[:, sphere], **labels) for sphere in SPHERES])
        scores = compare_rdms(MODELS, expected, measure="whitened_cosine")
    assert found.measure == "whitened_cosine"
    assert found.info["defaults"] == ["distance", "measure"]
    assert found.rdms is not None
    np.testing.assert_allclose(found.rdms, expected, atol=1e-10)
    np.testing.assert_allclose(found.scores, scores, atol=1e-10)
    assert (expected < 0).any()
    assert any("left out of every sphere" in str(one.message) for one in said) == (n_runs == 2)


@pytest.mark.parametrize("measure", ["whitened_cosine", "whitened_pearson"])
def test_covariance_of_the_estimates(measure: str) -> None:
    """`sigma_k` whitens the RDM of every sphere as in `compare_rdms`."""
    x, labels = runs_of(P)
    a = np.random.default_rng(3).normal(size=(N, N))
    sigma = a @ a.T + np.eye(N)
    options = {"measure": measure, "sigma_k": sigma}
    found = map_searchlight(x, POINTS, radius_mm=RADIUS, models=MODELS, keep_rdms=True, **labels, **options)
    np.testing.assert_allclose(found.scores, compare_rdms(MODELS, found.rdms, **options), atol=1e-10)
    plain = map_searchlight(x, POINTS, radius_mm=RADIUS, models=MODELS, measure=measure, **labels)
    assert np.abs(found.scores - plain.scores).max() > 0.05


def test_missing_pairs_of_a_model_are_left_out_for_all() -> None:
    """A pair that is NaN in one model counts for no model, with a warning that counts it."""
    models = MODELS.copy()
    models[1, 2, 5] = models[1, 5, 2] = np.nan
    x = np.random.default_rng(0).normal(size=(N, P))
    gone = np.where(np.isnan(models[1]), np.nan, MODELS)
    for measure in ("rho_a", "whitened_cosine", "tau_a"):
        with pytest.warns(UserWarning, match="1 of 21 pairs .* 1 that are NaN in a model"):
            found = map_searchlight(
                x, POINTS, radius_mm=RADIUS, models=models, measure=measure, keep_rdms=True
            )
        with pytest.warns(UserWarning, match="1 of 21 pairs"):
            expected = compare_rdms(gone, found.rdms, measure=measure)
        np.testing.assert_allclose(found.scores, expected, atol=1e-10)


def test_patterns_far_from_zero_keep_their_digits() -> None:
    """Spheres where the mean is ten thousand times the signal give the distances of `rdm` to 1e-10, beside
    spheres without an offset."""
    x = np.random.default_rng(0).normal(size=(N, P))
    x[:, : P // 2] += 1e4
    for distance in ("correlation", "sq_euclidean"):
        found = map_searchlight(x, POINTS, radius_mm=4.0, distance=distance, min_voxels=4, keep_rdms=True)
        expected = np.stack([rdm(x[:, s], distance=distance) for s in sphere_lists(POINTS, 4.0)])
        np.testing.assert_allclose(found.rdms, expected, atol=1e-10)  # type: ignore[arg-type]


def test_samples_of_a_condition_are_averaged() -> None:
    """With labels, the mean of the samples of each condition enters, in sorted order of the labels."""
    x, labels = runs_of(P)
    names = np.array(list("gfedcba"), dtype=object)[labels["conditions"]]
    means = x.reshape(K, N, P).mean(0)[::-1]
    found = map_searchlight(x, POINTS, radius_mm=RADIUS, conditions=names, models=MODELS)
    expected = map_searchlight(means, POINTS, radius_mm=RADIUS, models=MODELS)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-12)
    assert found.labels is not None
    assert found.labels.tolist() == list("abcdefg")


def test_sensors_by_adjacency_and_windows_of_time() -> None:
    """Sensors x time: each patch and window is the RDM of its flattened values; time alone pools all
    sensors; without a window every sample stands alone."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(N, 9, 8))
    links = rng.random((9, 9)) < 0.3
    links = links | links.T | np.eye(9, dtype=bool)
    found = map_searchlight(
        x, adjacency=links, time_radius=2, times=np.arange(8) / 100, models=MODELS, min_voxels=3
    )
    alone = map_searchlight(x, time_radius=1, models=MODELS)
    single = map_searchlight(x, adjacency=np.ones((9, 9)), models=MODELS)
    assert found.scores.shape == (3, 9, 8)
    assert alone.scores.shape == (3, 8)
    for t in range(8):
        window = slice(max(t - 2, 0), t + 3)
        for sensor in range(9):
            patch = x[:, links[sensor], window].reshape(N, -1)
            np.testing.assert_allclose(
                found.scores[:, sensor, t],
                compare_rdms(MODELS, rdm(patch), measure="rho_a")[:, 0],
                atol=1e-10,
            )
        pooled = rdm(x[:, :, max(t - 1, 0) : t + 2].reshape(N, -1))
        np.testing.assert_allclose(
            alone.scores[:, t], compare_rdms(MODELS, pooled, measure="rho_a")[:, 0], atol=1e-10
        )
        expected = compare_rdms(MODELS, rdm(x[:, :, t]), measure="rho_a")[:, 0]
        np.testing.assert_allclose(single.scores[:, 3, t], expected, atol=1e-10)


def test_volume_searchlight_of_rsatoolbox() -> None:
    """Spheres, correlation RDMs and Spearman scores equal those of rsatoolbox on a masked volume."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsatoolbox.util.searchlight import get_searchlight_RDMs, get_volume_searchlight

        rng = np.random.default_rng(5)
        mask = rng.random((6, 5, 5)) < 0.9
        where = np.argwhere(mask)
        full = np.zeros((N, mask.size))
        full[:, mask.ravel()] = rng.normal(size=(N, len(where)))
        # theirs counts voxels nearer than the radius, ours those on the rim too
        centres, neighbours = get_volume_searchlight(
            mask, radius=2.3, threshold=0.0, truncate_at_boundary=True
        )
        theirs = get_searchlight_RDMs(
            full, centres, neighbours, np.arange(N), method="correlation"
        ).dissimilarities
    ours = map_searchlight(
        full[:, mask.ravel()], where * 2.0, radius_mm=4.6, models=MODELS, measure="spearman", keep_rdms=True
    )
    order = np.argsort(centres)
    assert ours.n_voxels.tolist() == [len(neighbours[i]) for i in order]
    np.testing.assert_allclose(ours.rdm_vectors, theirs[order], atol=1e-10)


def test_sensor_and_time_searchlight_of_mne_rsa() -> None:
    """Scores over sensors and time equal those of mne-rsa with the same radii, away from the ends of the
    epoch, which mne-rsa leaves out."""
    mne_rsa = pytest.importorskip("mne_rsa")
    rng = np.random.default_rng(6)
    x = rng.normal(size=(N, 8, 7))
    places = rng.normal(size=(8, 3)) * 10
    far = cdist(places, places)
    patches = mne_rsa.searchlight(x.shape, dist=far, spatial_radius=18.0, temporal_radius=1)
    theirs = mne_rsa.rsa_array(x, list(MODELS), patches, data_rdm_metric="correlation", rsa_metric="spearman")
    ours = map_searchlight(
        x, places, radius_mm=18.0, time_radius=1, models=MODELS, measure="spearman", min_voxels=2
    )
    np.testing.assert_allclose(
        ours.scores[:, :, 1:-1], np.moveaxis(theirs, -1, 0) if theirs.shape[0] == 8 else theirs, atol=1e-10
    )


def test_tensors_and_arrays_agree() -> None:
    """A torch tensor of responses gives the map of the same array."""
    x = np.random.default_rng(0).normal(size=(N, P))
    a = map_searchlight(x, POINTS, radius_mm=RADIUS, models=MODELS)
    b = map_searchlight(torch.from_numpy(x), POINTS, radius_mm=RADIUS, models=torch.from_numpy(MODELS))
    np.testing.assert_array_equal(a.scores, b.scores)
