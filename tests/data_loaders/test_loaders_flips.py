"""A flipped byte in any registered file of any dataset is found and the file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import data_loaders as dl
from brainalign.errors import CorruptFileError

pytestmark = pytest.mark.real

DATASETS = {
    "alice_fmri": {"subject": "s22"},
    "eeglab_sample": {},
    "haxby2001": {},
    "macaque_v4": {"session": "210325"},
    "n170_muse": {},
    "object2vec81": {},
    "objects92": {},
}
FLIPS = 30  # of each dataset: 210 in all


@pytest.mark.parametrize("name", DATASETS)
def test_every_flip_in_a_registered_file_is_named(name: str, real_data: Path, tmp_path: Path) -> None:
    """One bit of one file, at random places: the check names that file and no other."""
    rng = np.random.default_rng(0)
    files = [file.name for file in dl.describe(name).files]
    for file in files:
        place = tmp_path / name / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(real_data / name / file)
    assert dl.verify(name, root=tmp_path) == []
    for _ in range(FLIPS):
        file = files[rng.integers(len(files))]
        place = tmp_path / name / file
        content = bytearray(place.read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        place.unlink()
        place.write_bytes(content)
        assert [found for found, _ in dl.verify(name, root=tmp_path)] == [file]
        place.unlink()
        place.symlink_to(real_data / name / file)


@pytest.mark.parametrize("name", DATASETS)
def test_loading_refuses_a_flipped_file_by_name(name: str, real_data: Path, tmp_path: Path) -> None:
    """Not only the check: reading stops before a number is used."""
    files = [file.name for file in dl.describe(name).files]
    for file in files:
        place = tmp_path / name / file
        place.parent.mkdir(parents=True, exist_ok=True)
        content = bytearray((real_data / name / file).read_bytes())
        content[len(content) // 2] ^= 1
        place.write_bytes(content)
    with pytest.raises(CorruptFileError, match="|".join(Path(file).name for file in files)):
        dl.load(name, root=tmp_path, **DATASETS[name])
