"""A searchlight over a recorded slice: runs as folds, noise of each sphere, known categories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from brainalign.comparison.run_distances import run_means
from brainalign.comparison.searchlight import SearchlightResult, map_searchlight
from brainalign.types import RDMs, Responses


def prepared(root: Path) -> tuple[Responses, np.ndarray, float]:
    """Volumes of the blocks, without trends, each voxel over its deviation; residuals and their degrees."""
    from data_loaders import haxby2001

    responses = haxby2001.load(root=root).responses
    assert responses is not None
    assert responses.samples is not None
    runs = responses.samples["run"].to_numpy()
    conditions = responses.samples["condition"].to_numpy(dtype=object)
    values = responses.array().astype(np.float64)
    for run in np.unique(runs):
        values[runs == run] = signal.detrend(values[runs == run], axis=0)
    values /= values.std(0)
    shown = np.isin(conditions, haxby2001.CONDITIONS)
    blocks = [f"{r}|{c}" for r, c in zip(runs[shown], conditions[shown], strict=True)]
    means, _, _ = run_means(values[shown], blocks, np.zeros(len(blocks)))
    residuals = values[shown] - means[0][np.unique(blocks, return_inverse=True)[1]]
    return replace(responses, values=values).select(samples=shown), residuals, len(blocks) - 96.0


def category(labels: list[str], name: str) -> np.ndarray:
    """The RDM of one category apart from all others."""
    own = np.array([label == name for label in labels])
    return (own[:, None] != own[None]).astype(float)


@pytest.mark.real
def test_categories_in_ventral_temporal_cortex(real_data: Path) -> None:
    """Crossnobis maps of odd and even runs agree on where categories differ; there the RDMs repeat and
    elsewhere they do not. Houses peak medially and faces laterally, as in the fusiform and the
    parahippocampal gyrus, and the map is an image of the slice."""
    responses, residuals, dof = prepared(real_data)
    labels = sorted(set(responses.samples["condition"]))  # type: ignore[index]
    assert len(labels) == 8
    models = {name: RDMs(category(labels, name), labels) for name in ("face", "house")}
    samples = responses.samples
    assert samples is not None
    odd = samples["run"].astype(int).to_numpy() % 2 == 1

    def search(rows: np.ndarray, permutations: int = 0) -> SearchlightResult:
        return map_searchlight(
            responses.select(samples=rows),
            radius_mm=8.0,
            models=models,
            conditions="condition",
            runs="run",
            residuals=residuals,
            dof=dof,
            keep_rdms=True,
            n_permutations=permutations,
        )

    first, second, whole = search(odd), search(~odd), search(np.ones(len(odd), dtype=bool), 200)
    assert whole.measure == "whitened_cosine"
    assert not whole.codes.any()
    assert first.rdm_vectors is not None
    assert second.rdm_vectors is not None
    distances = [one.rdm_vectors.mean(axis=1) for one in (first, second)]  # type: ignore[union-attr]
    assert np.corrcoef(*distances)[0, 1] > 0.8
    pairs = zip(first.rdm_vectors, second.rdm_vectors, strict=True)
    repeat = np.array([np.corrcoef(a, b)[0, 1] for a, b in pairs])
    strong = distances[0] > np.quantile(distances[0], 0.9)
    assert repeat[strong].mean() > 0.8
    assert repeat[~strong].mean() < 0.45
    assert distances[1][strong].mean() > 4 * distances[1][~strong].mean()
    assert np.corrcoef(first.scores[1], second.scores[1])[0, 1] > 0.7
    units = responses.units
    assert units is not None
    side = units["x"].abs().to_numpy()
    best = {name: np.argsort(whole.scores[m])[-20:] for m, name in enumerate(whole.names)}
    assert whole.scores[1, best["house"]].min() > 0.8
    assert side[best["house"]].max() < 32
    assert side[best["face"]].mean() > side[best["house"]].mean() + 8
    # one category apart has 8 orders: no better than 1 in 8
    assert whole.p_values is not None
    assert 0.05 < whole.p_values[1, best["house"]].max() < 0.25
    image = whole.to_scores("house").to_nifti()
    assert image.shape[:3] == (40, 20, 1)
    i, j, k = units[["i", "j", "k"]].to_numpy().T
    np.testing.assert_allclose(image.get_fdata()[i, j, k], whole.scores[1], atol=1e-6)
