"""The public names of data_loaders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import data_loaders as dl
from brainalign.errors import DataNotFoundError, InputError, UnknownNameError

NAMES = [
    "alice_fmri",
    "arrays",
    "eeglab_sample",
    "fmriprep",
    "folder",
    "haxby2001",
    "macaque_v4",
    "mne_file",
    "n170_muse",
    "object2vec81",
    "objects92",
    "photographs",
]


def test_available_lists_the_dataset_modules() -> None:
    """Every module without an underscore is a dataset, and only those."""
    assert dl.available() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_describe_holds_what_a_user_must_know(name: str) -> None:
    """A card names its dataset and licence, and checksums and https where files can be fetched."""
    card = dl.describe(name)
    assert (card.name, bool(card.licence), bool(card.title)) == (name, True, True)
    assert card.base_url is None or card.base_url.startswith("https://")
    assert bool(card.base_url) != bool(card.fetch_note)
    assert all(len(file.sha256) == 64 and file.size > 0 for file in card.files)


def test_import_and_describe_are_light() -> None:
    """Neither importing nor describing loads pandas, scipy, torch, scikit-learn, nilearn or pooch."""
    code = (
        "import sys, data_loaders as dl; assert 'numpy' not in sys.modules; "
        "[dl.describe(n) for n in dl.available()]; "
        "print([m for m in ('pandas','scipy','torch','sklearn','nilearn','pooch') if m in sys.modules])"
    )
    root = Path(dl.__file__).parents[1]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("function", [dl.load, dl.describe, dl.fetch])
def test_unknown_dataset_names_the_closest(function: object) -> None:
    """A misspelt dataset is refused with the closest name, by each public function."""
    with pytest.raises(UnknownNameError, match="closest: 'macaque_v4'"):
        function("macaque_v5")  # type: ignore[operator]


def test_unknown_option_names_the_closest(tmp_path: Path) -> None:
    """An option that the dataset does not have is refused, not swallowed."""
    with pytest.raises(UnknownNameError, match="'sesion' does not exist; closest: 'session'"):
        dl.load("macaque_v4", sesion="210325", root=tmp_path)
    with pytest.raises(UnknownNameError, match="'root' does not exist"):
        dl.load("folder", path=tmp_path, design="trials", root=tmp_path)


def test_required_option_is_explained(tmp_path: Path) -> None:
    """The design of a user's own arrays must be given; the error says why."""
    with pytest.raises(InputError, match=r"needs design=: 'trials', 'blocks' or 'continuous'.*never guessed"):
        dl.load("folder", path=tmp_path)


def test_absent_dataset_says_what_how_large_which_licence_which_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place that was looked at is named, with size, licence and command."""
    monkeypatch.setenv("BRAINALIGN_DATA", str(tmp_path / "here"))
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataNotFoundError) as caught:
        dl.load("macaque_v4", session="210325")
    text = str(caught.value)
    for part in ("here", "cache/datasets", "9.0 MB", "GPL-3.0", "brainalign datasets fetch macaque_v4"):
        assert part in text


@pytest.mark.real
def test_root_may_be_argument_variable_or_the_folder_itself(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder of datasets, the folder of the dataset and BRAINALIGN_DATA lead to the same rows."""
    monkeypatch.setenv("BRAINALIGN_DATA", str(tmp_path))
    shapes = {
        dl.load("object2vec81", root=root).responses.shape for root in (real_data, real_data / "object2vec81")
    }
    monkeypatch.setenv("BRAINALIGN_DATA", str(real_data))
    assert {*shapes, dl.load("object2vec81").responses.shape} == {(81, 696)}
