"""photographs: crops of what the installed packages ship, without a socket."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, MissingDependencyError
from brainalign.types import content_hash
from data_loaders.photographs import CARD, MIN_CONTRAST, ORIGINS

SITE = Path(importlib.util.find_spec("sklearn").submodule_search_locations[0]).parent  # type: ignore[union-attr,index]
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="scikit-image is not installed (extra demo)"
)


def copies(root: Path) -> Path:
    folder = root / "photographs"
    folder.mkdir()
    for file in CARD.files:
        shutil.copyfile(SITE / file.source_path, folder / file.name)
    return folder


def no_socket(*_: object, **__: object) -> None:
    raise AssertionError("a socket was asked for")


def test_crops_are_the_pixels_of_the_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """147 crops without any socket, each the pixels at its place of its photograph, uint8 RGB."""
    monkeypatch.setattr(socket, "socket", no_socket)
    stimuli = dl.load("photographs").stimuli
    table = stimuli.table
    assert len(stimuli) == 147
    assert set(table.modality) == {"image"}
    assert table.condition.value_counts().to_dict() == {
        "astronaut": 25,
        "coffee": 24,
        "camera": 21,
        "flower": 20,
        "china": 18,
        "rocket": 15,
        "chelsea": 12,
        "coins": 12,
    }
    for stimulus_id in ("astronaut_00", "chelsea_05", "camera_24", "flower_13"):
        row = table.loc[stimulus_id]
        whole = np.asarray(Image.open(SITE / row["path"]).convert("RGB"))
        pixels = stimuli.load(stimulus_id)
        expected = whole[row["top"] : row["top"] + 96, row["left"] : row["left"] + 96]
        np.testing.assert_array_equal(pixels, expected)
        assert (pixels.dtype, pixels.shape) == (np.uint8, (96, 96, 3))
        assert row["content_hash"] == content_hash(pixels)


def test_crops_do_not_overlap_and_are_distinct() -> None:
    """Places are multiples of the edge, and no two crops have the same content."""
    table = dl.load("photographs", crop=64).stimuli.table
    assert (table.top % 64 == 0).all()
    assert (table.left % 64 == 0).all()
    assert not table.duplicated(["condition", "top", "left"]).any()
    assert table.content_hash.is_unique


def test_blank_crops_are_left_out_by_the_rule_that_is_stated() -> None:
    """Every kept crop varies by more than the stated contrast, every one left out by less; all counted."""
    ds = dl.load("photographs")
    deviations = {s: (ds.stimuli.load(s) @ [0.299, 0.587, 0.114]).std() for s in ds.stimuli.ids}
    assert min(deviations.values()) >= MIN_CONTRAST
    places = set(zip(ds.stimuli.table.condition, ds.stimuli.table.top, ds.stimuli.table.left, strict=True))
    left_out = 0
    for file in CARD.files:
        whole = np.asarray(Image.open(SITE / file.source_path).convert("RGB"))
        for top in range(0, whole.shape[0] - 95, 96):
            for left in range(0, whole.shape[1] - 95, 96):
                if (file.name.split(".")[0], top, left) not in places:
                    left_out += 1
                    crop = whole[top : top + 96, left : left + 96]
                    assert (crop @ [0.299, 0.587, 0.114]).std() < MIN_CONTRAST
    assert left_out == ds.info["n_blank"] == 23
    assert "standard deviation under 8" in ds.info["blank_rule"]


def test_number_is_the_place_in_the_grid() -> None:
    """A crop keeps its number when others are left out: rocket_22 lies in row 3, column 4 of six."""
    row = dl.load("photographs").stimuli.table.loc["rocket_22"]
    assert (row["top"], row["left"]) == (3 * 96, 4 * 96)


def test_origin_and_licence_of_each_photograph() -> None:
    """Each photograph has its author, licence and address; those that ask for attribution name whom."""
    info = dl.load("photographs").info
    assert set(info["photographs"]) == set(ORIGINS) == {f.name.split(".")[0] for f in CARD.files}
    assert all(v["author"] and v["licence"] and v["url"] for v in info["photographs"].values())
    assert info["photographs"]["china"]["licence"] == "CC BY 2.0"
    assert "danielbuechele" in info["citation"]
    assert info["redistributable_stimuli"] is True


@pytest.mark.parametrize("crop", [31, 301, 96.0, True, "96"])
def test_crop_must_be_a_size_that_fits(crop: object) -> None:
    """Too small, too large, and what is no whole number, are refused."""
    with pytest.raises(InputError, match="is not a whole number of pixels from 32 to 300"):
        dl.load("photographs", crop=crop)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scikit-image the error names the package and the extra, not a file."""
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "skimage" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(
        MissingDependencyError, match=r"'scikit-image', which is not installed.*brainalign\[demo\]"
    ):
        dl.load("photographs")


def test_copies_in_a_folder_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With copies under root the packages are not asked for, and the crops are the same."""
    expected = dl.load("photographs").stimuli.table
    copies(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", no_socket)
    assert dl.load("photographs", root=tmp_path).stimuli.table.equals(expected)
    assert dl.load("photographs", root=tmp_path / "photographs").stimuli.table.equals(expected)


def test_root_of_other_datasets_does_not_hide_the_packages(tmp_path: Path) -> None:
    """A root without the photographs falls back to the packages."""
    assert len(dl.load("photographs", root=tmp_path).stimuli) == 147


def test_another_picture_under_the_name_is_refused(tmp_path: Path) -> None:
    """A changed byte, an empty file and a missing one are named, never another stimulus."""
    folder = copies(tmp_path)
    content = bytearray((folder / "coffee.png").read_bytes())
    content[1000] ^= 1
    (folder / "coffee.png").write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match=r"coffee.png has sha256 .*; expected cc02.*scikit-image"):
        dl.load("photographs", root=tmp_path)
    (folder / "coffee.png").write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"coffee.png is empty"):
        dl.load("photographs", root=tmp_path)


def test_installed_package_without_its_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that was stripped of its pictures names the file that lacks."""
    spec = ModuleSpec("skimage", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "skimage")]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: spec)
    with pytest.raises(DataNotFoundError, match=r"skimage/data/astronaut.png does not exist"):
        dl.load("photographs")


def test_cannot_be_fetched() -> None:
    """Fetching says that nothing needs to be downloaded, and how to install."""
    with pytest.raises(InputError, match=r"cannot be fetched: Nothing is downloaded.*brainalign\[demo\]"):
        dl.fetch("photographs")


def test_loads_in_a_process_whose_sockets_are_forbidden() -> None:
    """From a fresh interpreter, imports included, no socket is made and scikit-image is not imported."""
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('socket')\n"
        "socket.socket.__init__ = refuse\n"
        "import data_loaders as dl\n"
        "print(len(dl.load('photographs').stimuli), 'skimage' in sys.modules)\n"
    )
    root = Path(dl.__file__).parents[1]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.strip() == "147 False"
