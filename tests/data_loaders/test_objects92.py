"""objects92: RDMs and images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, UnknownNameError
from data_loaders.objects92 import _square

pytestmark = pytest.mark.real


def test_rdms_of_every_source(real_data: Path) -> None:
    """8 human, 16 behaviour, 8 model and 2 published RDMs, the subjects' rows holding their own matrix."""
    rdms = dl.load("objects92", root=real_data).rdms
    assert rdms.values.shape == (34, 92, 92)
    assert rdms.table.kind.value_counts().to_dict() == {"behaviour": 16, "brain": 10, "model": 8}
    mat = loadmat(real_data / "objects92/92_brainRDMs.mat")["RDMs"]
    row = int(np.flatnonzero((rdms.table.subject == "SN") & (rdms.table.session == "2"))[0])
    np.testing.assert_array_equal(rdms.values[row], mat[0, 2, 1]["RDM"])


def test_condensed_published_rdms_unfold_in_the_right_order(real_data: Path) -> None:
    """The published human RDM is a linear map of the mean of the subjects' (it is their mean)."""
    rdms = dl.load("objects92", kind="brain", root=real_data).rdms
    human = (rdms.table.species == "Homo sapiens").to_numpy() & rdms.table.subject.notna().to_numpy()
    published = rdms.values[list(rdms.table.index).index("hITvisStim_316vx")]
    pairs = np.triu_indices(92, 1)
    assert np.corrcoef(rdms.values[human].mean(0)[pairs], published[pairs])[0, 1] > 0.99999


def test_images_and_categories(real_data: Path) -> None:
    """92 images with unique ids in the order of the files, and their categories."""
    stimuli = dl.load("objects92", root=real_data).stimuli
    assert (len(stimuli), stimuli.ids[0], stimuli.ids[-1]) == (92, "object01", "object92")
    image = stimuli.load("object13")
    assert (image.shape, image.dtype) == ((175, 175, 3), np.uint8)
    image[:] = 0
    assert stimuli.load("object13").any()
    assert stimuli.table.loc["object13", "category"] == "human face"
    assert bool(stimuli.table.loc["object13", "face"])
    assert stimuli.table.animal.sum() == 48
    assert (stimuli.table.animal == stimuli.table.label_animate).all()
    assert stimuli.table.content_hash.nunique() == 92


def test_selection(real_data: Path) -> None:
    """kind and subject select rows; unknown ones are refused by name."""
    assert len(dl.load("objects92", kind="model", root=real_data).rdms) == 8
    assert len(dl.load("objects92", subject="BE", root=real_data).rdms) == 2
    with pytest.raises(
        UnknownNameError, match="kind of 'objects92': 'models' does not exist; closest: 'model'"
    ):
        dl.load("objects92", kind="models", root=real_data)
    with pytest.raises(UnknownNameError, match="subject of 'objects92': 'XX' does not exist"):
        dl.load("objects92", subject="XX", root=real_data)


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_damaged_file_never_reaches_the_parser(real_data: Path, tmp_path: Path, damage: str) -> None:
    """A MAT file that is not the registered one is refused by its checksum."""
    shutil.copytree(real_data / "objects92", tmp_path / "objects92")
    path = tmp_path / "objects92/92_modelRDMs.mat"
    content = bytearray(path.read_bytes())
    content[5000] ^= 4
    path.unlink()
    path.write_bytes(bytes(content) if damage == "flip" else bytes(content[:7000]))
    with pytest.raises(
        CorruptFileError, match=r"92_modelRDMs.mat has \d+ bytes and sha256 .* expected 333004"
    ):
        dl.load("objects92", root=tmp_path)


def test_missing_file_is_named(real_data: Path, tmp_path: Path) -> None:
    """One absent file is named with the command that gets it."""
    shutil.copytree(real_data / "objects92", tmp_path / "objects92")
    (tmp_path / "objects92/92_behavRDMs.mat").unlink()
    with pytest.raises(DataNotFoundError, match=r"92_behavRDMs.mat does not exist.*datasets fetch objects92"):
        dl.load("objects92", root=tmp_path)


def test_rdm_of_another_size_is_refused() -> None:
    """An RDM that is neither 92 x 92 nor its pairs is named."""
    with pytest.raises(CorruptFileError, match=r"RDM 'EVA' has shape \(3, 3\); expected 92 x 92"):
        _square(np.zeros((3, 3)), "EVA")
