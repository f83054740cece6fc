"""object2vec81: betas and features."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

import data_loaders as dl
from brainalign.errors import CorruptFileError, InputError

pytestmark = pytest.mark.real


@pytest.fixture
def own_copy(real_data: Path, tmp_path: Path) -> Path:
    shutil.copytree(real_data / "object2vec81", tmp_path / "object2vec81")
    return tmp_path / "object2vec81"


def rewrite(folder: Path, **changes: np.ndarray) -> None:
    path = folder / "roi_betas.npz"
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays.files} | changes
    path.unlink()
    np.savez(path, **content)


def test_responses_features_and_regions(real_data: Path) -> None:
    """81 rows of 696 voxels with their region, and both feature sets in the same order."""
    ds = dl.load("object2vec81", root=real_data)
    assert ds.responses.shape == (81, 696)
    assert ds.responses.units.roi_visual.value_counts().to_dict() == {
        **dict.fromkeys(["EVC", "OPA", "PPA", "PFS", "OFA", "FFA"], 100),
        "LOC": 96,
    }
    assert {name: f.shape for name, f in ds.features.items()} == {"alexnet": (81, 20), "word2vec": (81, 30)}
    assert list(ds.features["alexnet"].samples.stimulus_id) == list(ds.responses.samples.stimulus_id)
    with np.load(real_data / "object2vec81/roi_betas.npz") as arrays:
        np.testing.assert_array_equal(ds.responses.values, arrays["betas"])
        assert (ds.responses.units.roi_visual.iloc[0], arrays["roi_index"][0]) == ("EVC", 1)
    mat = loadmat(real_data / "object2vec81/word2vec.mat")["word2vec"]
    np.testing.assert_array_equal(ds.features["word2vec"].values, mat)


def test_own_conversion_is_accepted_and_marked(own_copy: Path) -> None:
    """A file that a user converted has other bytes; it loads, and info says that it is not verified."""
    rewrite(own_copy)
    assert dl.load("object2vec81", root=own_copy).info["verified"] is False


def test_fetch_explains_in_words(tmp_path: Path) -> None:
    """The public file is a pickle: fetch says why it is not read and what to do."""
    with pytest.raises(InputError, match=r"cannot be fetched: .*is a pickle, which runs code.*roi_betas.npz"):
        dl.fetch("object2vec81", root=tmp_path)


def test_arrays_that_do_not_fit(own_copy: Path) -> None:
    """Rows, the base of the index, and the features' rows are checked with the numbers named."""
    rewrite(own_copy, conds=np.array(["a"] * 80))
    with pytest.raises(CorruptFileError, match=r"betas \(81, 696\).*conds \(80,\).*expected betas"):
        dl.load("object2vec81", root=own_copy)
    with np.load(own_copy / "roi_betas.npz") as arrays:
        index = arrays["roi_index"]
    rewrite(own_copy, conds=np.array([f"c{i}" for i in range(81)]), roi_index=index - 1)
    with pytest.raises(CorruptFileError, match="roi_index runs from 0 to 6; expected 1 to 7"):
        dl.load("object2vec81", root=own_copy)
    rewrite(
        own_copy,
        conds=np.array([f"c{i}" for i in range(3)]),
        betas=np.zeros((3, 696), np.float32),
        roi_index=index,
    )
    with pytest.raises(CorruptFileError, match=r"alexnet.mat has 81 rows, roi_betas.npz 3"):
        dl.load("object2vec81", root=own_copy)


def test_pickled_objects_are_not_opened(own_copy: Path) -> None:
    """An array of Python objects in the archive is refused; nothing in it is unpickled."""
    rewrite(own_copy, conds=np.array([{"a": 1}] * 81, dtype=object))
    with pytest.raises(CorruptFileError, match=r"not a readable .npz file: Object arrays cannot be loaded"):
        dl.load("object2vec81", root=own_copy)
