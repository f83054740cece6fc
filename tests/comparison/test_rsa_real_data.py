"""Numbers that the notes of the recordings give: 92 images, EEG, regions of the brain, odd-one-out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import signal
from scipy.io import loadmat
from scipy.stats import rankdata

import data_loaders as dl
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.run_distances import crossnobis, crossnobis_of_means, run_means
from brainalign.statistics import rsa_noise_ceiling

pytestmark = pytest.mark.real

PEOPLE = ("BE", "KO", "SN", "TI")
HUMAN, MONKEY = "hITvisStim_316vx", "mIT_674neurons"


@pytest.fixture(scope="module")
def images(real_data: Path) -> Any:
    return dl.load("objects92", root=real_data)


@pytest.fixture(scope="module")
def objects(images: Any) -> dict[str, np.ndarray]:
    """The RDMs of the 92 images by name."""
    return dict(zip(images.rdms.table.index, images.rdms.values, strict=True))


@pytest.fixture(scope="module")
def human(objects: dict[str, np.ndarray]) -> np.ndarray:
    """Human IT (4 subjects, 2 sessions, 92, 92)."""
    return np.stack([[objects[f"hIT | {one} | Session: {k}"] for k in (1, 2)] for one in PEOPLE])


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(compare_rdms(a, b, measure="spearman"))


def by_category(labels: np.ndarray) -> np.ndarray:
    """0 within a category, 1 between categories."""
    return (labels[:, None] != labels[None, :]).astype(float)


def test_sessions_of_four_people(human: np.ndarray) -> None:
    """The two sessions of each person agree as noted, from 0.10 to 0.38."""
    found = [spearman(*sessions) for sessions in human]
    np.testing.assert_allclose(found, [0.2770, 0.0954, 0.3825, 0.1196], atol=5e-5)


def test_mean_of_all_sessions_is_the_published_rdm(human: np.ndarray, objects: dict[str, np.ndarray]) -> None:
    """The mean of eight RDMs orders the pairs as the published one does."""
    assert spearman(human.mean(axis=(0, 1)), objects[HUMAN]) == pytest.approx(1.0, abs=1e-9)


def test_ceiling_of_ranked_means_over_sessions(human: np.ndarray) -> None:
    """Pearson ceilings of RDMs that hold ranks: 0.3770 and 0.6719."""
    means = human.mean(axis=1)
    i, j = np.triu_indices(92, 1)
    ranked = np.zeros_like(means)
    ranked[:, i, j] = ranked[:, j, i] = [rankdata(one) for one in means[:, i, j]]
    ceiling = rsa_noise_ceiling(ranked, measure="pearson")
    np.testing.assert_allclose([ceiling.low[0], ceiling.high[0]], [0.3770, 0.6719], atol=5e-5)


@pytest.mark.filterwarnings("ignore:.*more than 5 % ties")
@pytest.mark.parametrize(
    ("model", "in_human", "in_monkey"),
    [
        ("animacy", 0.5882, 0.4534),
        ("monkeyIT", 0.4389, 1.0),
        ("EVA", 0.3542, None),
        ("HMAX", 0.2217, None),
        ("V1", 0.0393, None),
    ],
)
def test_models_of_92_images(
    objects: dict[str, np.ndarray], model: str, in_human: float, in_monkey: float | None
) -> None:
    """Each model reaches its noted similarity with human IT, and with monkey IT where one is noted."""
    assert spearman(objects[model], objects[HUMAN]) == pytest.approx(in_human, abs=5e-5)
    if in_monkey is not None:
        assert spearman(objects[model], objects[MONKEY]) == pytest.approx(in_monkey, abs=5e-5)


def test_behaviour_and_pixels_of_92_images(images: Any, objects: dict[str, np.ndarray]) -> None:
    """Judged similarity follows both species; gray pixels of the images hardly do."""
    judged = images.rdms.select((images.rdms.table.kind == "behaviour").to_numpy()).values.mean(axis=0)
    gray = np.stack([images.stimuli.load(i).astype(float).mean(-1).ravel() for i in images.stimuli.ids])
    pixels = rdm(gray, distance="correlation")
    found = [spearman(model, objects[it]) for model in (judged, pixels) for it in (HUMAN, MONKEY)]
    np.testing.assert_allclose(found, [0.3924, 0.3944, 0.0333, 0.0891], atol=5e-5)


@pytest.mark.filterwarnings("ignore:.*more than 5 % ties")
def test_eeg_of_72_images(real_data: Path) -> None:
    """EEG distances of 72 images follow six categories (0.4190) and human faces (0.4134) as noted."""
    folder = real_data / "eeg72_rdm"
    distances = loadmat(folder / "dist72.mat")["d72"]
    confusion = loadmat(folder / "cm72.mat")["cm72"]
    category = np.repeat(np.arange(6), 12)
    six, face = by_category(category), by_category(category == 1)
    assert spearman(distances, six) == pytest.approx(0.4190, abs=5e-5)
    assert spearman(distances, face) == pytest.approx(0.4134, abs=5e-5)
    assert np.trace(confusion) / confusion.sum() == pytest.approx(0.1446, abs=5e-5)


def test_seven_visual_regions_against_two_networks(real_data: Path) -> None:
    """1 - r RDMs of 81 categories: regions, AlexNet and word2vec agree with each other as noted."""
    recording = dl.load("object2vec81", root=real_data)
    assert recording.responses is not None
    region = recording.responses.units["roi_visual"].to_numpy()
    values = recording.responses.array()
    rdms = {name: rdm(values[:, region == name]) for name in np.unique(region)}
    rdms |= {name: rdm(recording.features[name].array()) for name in ("alexnet", "word2vec")}
    noted = {
        ("alexnet", "EVC"): 0.305,
        ("alexnet", "LOC"): 0.104,
        ("alexnet", "FFA"): 0.022,
        ("word2vec", "EVC"): 0.087,
        ("word2vec", "PFS"): 0.175,
        ("word2vec", "OFA"): 0.116,
        ("LOC", "PFS"): 0.294,
        ("EVC", "FFA"): 0.081,
    }
    found = {pair: spearman(rdms[pair[0]], rdms[pair[1]]) for pair in noted}
    assert found == pytest.approx(noted, abs=5.1e-4)


@pytest.mark.filterwarnings("ignore:.*more than 5 % ties")
def test_judged_similarity_of_48_objects(real_data: Path) -> None:
    """The embedding of objects predicts judgements by dot product, 1 - r and Euclidean distance as noted."""
    folder = real_data / "things_behavior"
    judged = loadmat(folder / "RDM48_triplet.mat")["RDM48_triplet"]
    table = pd.read_csv(folder / "spose_embedding66d_rescaled_48val_reordered.csv")
    embedding = table[[str(k) for k in range(66)]].to_numpy()

    def minus_dot_product(x: np.ndarray) -> np.ndarray:
        products = x @ x.T
        return (products.max() - products) * (1.0 - np.eye(len(x)))

    forms = (minus_dot_product, "correlation", "euclidean")
    found = [spearman(judged, rdm(embedding, distance=form)) for form in forms]
    np.testing.assert_allclose(found, [0.8779, 0.8644, 0.7660], atol=5e-5)


@pytest.fixture(scope="module")
def haxby(real_data: Path) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """One slice: responses, detrended and z-scored values per run, run and condition of each volume."""
    responses = dl.load("haxby2001", root=real_data).responses
    assert responses is not None
    runs = responses.samples["run"].to_numpy()
    conditions = responses.samples["condition"].to_numpy(dtype=object)
    values = responses.array().astype(np.float64)
    for run in np.unique(runs):
        rows = runs == run
        values[rows] = signal.detrend(values[rows], axis=0)
        values[rows] /= values[rows].std(axis=0)
    return responses, values, runs, conditions


def test_category_rdm_by_crossnobis_between_halves(haxby: tuple) -> None:
    """Distances between the mean of odd and of even runs are positive for every pair of eight categories,
    as the 28 pairs of a brain that tells them apart must be, and zero on average for shuffled blocks."""
    _, values, runs, conditions = haxby
    shown = np.array([c is not None for c in conditions])
    labels, half = conditions[shown].astype(str), runs[shown].astype(int) % 2
    found = crossnobis(values[shown], conditions=labels, runs=half)
    upper = np.triu_indices(8, 1)
    assert (found[upper] > 0).all()
    rng = np.random.default_rng(0)
    means, _, _ = run_means(values[shown], labels, runs[shown].astype(int))
    null = []
    for _ in range(200):
        shuffled = np.stack([one[rng.permutation(8)] for one in means])
        halves = np.stack([shuffled[::2].mean(axis=0), shuffled[1::2].mean(axis=0)])
        null.append(crossnobis_of_means(halves)[upper].mean())
    assert abs(np.mean(null)) < 4 * np.std(null) / np.sqrt(len(null))
    assert found[upper].mean() > np.max(null)


def test_searchlight_over_a_slice_with_runs_as_folds(haxby: tuple) -> None:
    """Crossnobis around every voxel of the slice: each map value is the comparison of the RDM of its sphere,
    no centre is lost, and categories are told apart better than in any of 19 shuffles of blocks in runs."""
    from brainalign.comparison.searchlight import map_searchlight

    responses, values, runs, conditions = haxby
    shown = np.array([c is not None for c in conditions])
    place = responses.units[list("xyz")].to_numpy()
    labels, folds = conditions[shown].astype(str), runs[shown].astype(int)
    animate = np.isin(np.unique(labels), ("cat", "face"))
    models = {"animate": by_category(animate), "each": 1.0 - np.eye(8)}
    found = map_searchlight(
        values[shown],
        place,
        radius_mm=8.0,
        models=models,
        measure="whitened_cosine",
        conditions=labels,
        runs=folds,
        keep_rdms=True,
    )
    assert found.distance == "crossnobis"
    assert found.scores.shape == (2, 530)
    assert np.isfinite(found.scores).all()
    for centre in (0, 200, 529):
        near = np.linalg.norm(place - place[centre], axis=1) <= 8.0 + 1e-4
        assert near.sum() == found.n_voxels[centre]
        d = crossnobis(values[shown][:, near], conditions=labels, runs=folds)
        expected = [compare_rdms(d, model, measure="whitened_cosine") for model in models.values()]
        np.testing.assert_allclose(found.scores[:, centre], expected, atol=1e-10)
    assert found.rdm_vectors is not None
    means, names, run_labels = run_means(values[shown], labels, folds)
    rows, run_of_row = np.tile(names, len(run_labels)), np.repeat(run_labels, len(names))
    rng = np.random.default_rng(0)
    largest = []
    for _ in range(19):
        shuffled = np.concatenate([one[rng.permutation(8)] for one in means])
        null = map_searchlight(
            shuffled, place, radius_mm=8.0, conditions=rows, runs=run_of_row, keep_rdms=True
        )
        largest.append(null.rdm_vectors.mean(axis=1).max())
    assert found.rdm_vectors.mean(axis=1).max() > max(largest)
