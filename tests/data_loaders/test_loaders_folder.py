"""folder: a user's own arrays, and everything that can be wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, ShapeError
from brainalign.types import Dataset, content_hash
from data_loaders import folder as folder_module

Write = Callable[..., Path]


def load(folder: Path, design: str = "trials") -> Dataset:
    return dl.load("folder", path=folder, design=design)


def edit(folder: Path, text: str, new: str, name: str = "stimuli.tsv") -> None:
    path = folder / name
    content = path.read_text()
    assert text in content
    path.write_text(content.replace(text, new))


def test_two_axes_are_one_row_a_stimulus(arrays_folder: Write) -> None:
    """Row i is line i; ids stay text; the images are those of the paths."""
    folder = arrays_folder()
    ds = load(folder)
    assert list(ds.stimuli.ids) == ["00", "01", "02", "03", "04"]
    assert list(ds.responses.samples.stimulus_id) == list(ds.stimuli.ids)
    np.testing.assert_array_equal(ds.responses.values, np.load(folder / "responses.npy"))
    pixels = np.asarray(Image.open(folder / "images/pic3.png"))
    np.testing.assert_array_equal(ds.stimuli.load("03"), pixels)
    assert ds.responses.samples.content_hash.iloc[3] == content_hash(pixels)
    assert ds.responses.info["design"] == "trials"
    assert ds.responses.info["dataset"] == "study"


def test_third_axis_is_repeats(arrays_folder: Write) -> None:
    """A repeat that is NaN in every unit is an absent row; one that is NaN in some units stays."""
    values = np.random.default_rng(0).normal(size=(5, 3, 4))
    values[1, :, 2] = np.nan
    values[2, 0, 1] = np.nan
    ds = load(arrays_folder(values))
    samples = ds.responses.samples
    assert ds.responses.shape == (19, 3)
    assert "01_r3" not in samples.index
    assert samples.loc["02_r2", "repetition"] == "2"
    row = samples.index.get_loc("02_r2")
    np.testing.assert_array_equal(ds.responses.values[row], values[2, :, 1])
    assert ds.responses.info["n_absent"] == 1


def test_fourth_axis_is_time(arrays_folder: Write) -> None:
    """With times.npy the fourth axis is time, in seconds, and repeats are rows."""
    values = np.random.default_rng(0).normal(size=(5, 3, 2, 4))
    folder = arrays_folder(values)
    np.save(folder / "times.npy", np.array([0.0, 0.1, 0.2, 0.3]))
    responses = load(folder).responses
    assert responses.shape == (10, 3, 4)
    np.testing.assert_array_equal(responses.values[responses.samples.index.get_loc("04_r2")], values[4, :, 1])
    np.testing.assert_array_equal(responses.times, [0.0, 0.1, 0.2, 0.3])


def test_columns_travel_to_the_rows(arrays_folder: Write) -> None:
    """split, run and onset reach the samples; other columns stay with the stimuli, as text."""
    folder = arrays_folder()
    lines = (folder / "stimuli.tsv").read_text().splitlines()
    extra = [
        "split\trun\tonset\tcode",
        *(f"{'test' if i > 3 else 'train'}\t{i}\t{i}.5\t0{i}" for i in range(5)),
    ]
    (folder / "stimuli.tsv").write_text("\n".join(f"{a}\t{b}" for a, b in zip(lines, extra, strict=True)))
    ds = load(folder, "continuous")
    assert list(ds.responses.samples.split) == ["train"] * 4 + ["test"]
    assert list(ds.responses.samples.run) == ["0", "1", "2", "3", "4"]
    assert list(ds.responses.samples.onset) == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert list(ds.stimuli.table.code) == ["00", "01", "02", "03", "04"]


def test_units_with_labels_and_masks(arrays_folder: Write) -> None:
    """Columns of True/False or 1/0 become masks, others labels."""
    rows = ["unit_id roi_visual roi_face roi_word x", "7 V1 1 True 1.5", "8 V2 0 False 2", "9 n/a 1 True 3"]
    units = "\n".join(row.replace(" ", "\t") for row in rows) + "\n"
    table = load(arrays_folder(units=units)).responses.units
    assert list(table.index) == ["7", "8", "9"]
    assert list(table.roi_visual) == ["V1", "V2", None]
    assert (table.roi_face.dtype, list(table.roi_face)) == (bool, [True, False, True])
    assert list(table.roi_word) == [True, False, True]
    assert list(table.x) == [1.5, 2.0, 3.0]


@pytest.mark.parametrize("dtype", ["int16", "float16", ">f4", "float32", "float64"])
def test_dtypes_become_native_floats(arrays_folder: Write, dtype: str) -> None:
    """Counts, half precision and foreign byte order become native floats of the same values."""
    values = np.arange(15).reshape(5, 3).astype(dtype)
    responses = load(arrays_folder(values)).responses
    assert responses.values.dtype.isnative
    assert responses.values.dtype.itemsize >= 4
    np.testing.assert_array_equal(responses.values, np.arange(15).reshape(5, 3))


def test_large_array_stays_on_disk(arrays_folder: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the stated size on, a two-axis array is mapped, not read into memory."""
    monkeypatch.setattr(folder_module, "_MEMORY_MAP_BYTES", 10)
    assert isinstance(load(arrays_folder()).responses.values, np.memmap)


def test_row_of_nan_is_absent(arrays_folder: Write) -> None:
    """In two axes too, a stimulus without any value has no row."""
    values = np.ones((5, 3))
    values[2] = np.nan
    values[3, 0] = np.nan
    responses = load(arrays_folder(values)).responses
    assert list(responses.samples.stimulus_id) == ["00", "01", "03", "04"]


WRONG_ARRAYS = [
    (np.ones((4, 3)), ShapeError, "responses.npy has 4 rows, .*stimuli.tsv has 5"),
    (np.ones(5), ShapeError, r"shape \(5,\); expected \(n_stimuli, n_units\)"),
    (np.ones((5, 0)), ShapeError, r"shape \(5, 0\); expected at least one unit"),
    (np.ones((5, 3), complex), InputError, "dtype complex128; expected real numbers"),
    (np.full((5, 3), np.inf), InputError, "infinite values, first in row 0, unit 0"),
    (np.full((5, 3), np.nan), InputError, "responses.npy holds NaN only"),
    (np.ones((5, 3, 2, 4)), DataNotFoundError, "times.npy does not exist.*needs 4 times in seconds"),
]


@pytest.mark.parametrize(("values", "error", "text"), WRONG_ARRAYS)
def test_wrong_responses(arrays_folder: Write, values: np.ndarray, error: type[Exception], text: str) -> None:
    """Each wrong array is refused with what was expected and found."""
    with pytest.raises(error, match=text):
        load(arrays_folder(values))


def test_wrong_times(arrays_folder: Write) -> None:
    """times.npy with three axes, or of another length, is refused."""
    folder = arrays_folder(np.ones((5, 3, 2)))
    np.save(folder / "times.npy", np.arange(2.0))
    with pytest.raises(ShapeError, match=r"times.npy is there, but .*three axes are .*repeats"):
        load(folder)
    np.save(folder / "responses.npy", np.ones((5, 3, 1, 4)))
    with pytest.raises(ShapeError, match=r"times.npy has shape \(2,\).*responses.npy has 4 times"):
        load(folder)


EDITS: list[tuple[str, str, type[Exception], str]] = [
    ("03\t", "01\t", InputError, "duplicate stimulus_id '01' in lines 3 and 5"),
    ("03\t", "n/a\t", InputError, "line 5: stimulus_id is missing"),
    ("stimulus_id\tpath", "stimulus_id\tfile", InputError, "no column 'path'; it has 'stimulus_id', 'file'"),
    ("stimulus_id\tpath", "path\tpath", InputError, "has the column 'path' more than once"),
    ("images/pic2.png", "images/pic2.png\tx", InputError, "line 4: 3 cells; expected 2"),
    ("images/pic2.png", "n/a", InputError, "line 4: path is missing"),
    ("images/pic2.png", "images/pic9.png", DataNotFoundError, "line 4: .*pic9.png does not exist"),
    ("images/pic2.png", "../pic2.png", InputError, "line 4: path '../pic2.png' leaves the folder"),
    ("images/pic2.png", "/etc/passwd", InputError, "line 4: path '/etc/passwd' leaves the folder"),
    ("images/pic2.png", "C:\\pic2.png", InputError, "leaves the folder"),
    ("images/pic2.png", "images\\..\\..\\pic2.png", InputError, "leaves the folder"),
    ("02\timages/pic2.png", "", InputError, "line 4 is empty; remove it"),
]


@pytest.mark.parametrize(("text", "new", "error", "message"), EDITS)
def test_wrong_stimuli_table(
    arrays_folder: Write, text: str, new: str, error: type[Exception], message: str
) -> None:
    """Each wrong line is named by its number."""
    folder = arrays_folder()
    edit(folder, text, new)
    with pytest.raises(error, match=message):
        load(folder)


def test_ids_that_differ_in_unicode_form_only(arrays_folder: Write) -> None:
    """The same letters, composed and decomposed, are one id."""
    folder = arrays_folder()
    edit(folder, "03\t", "caf\u00e9\t")
    edit(folder, "04\t", "cafe\u0301\t")
    with pytest.raises(InputError, match="duplicate stimulus_id 'caf\u00e9' in lines 5 and 6"):
        load(folder)


def test_byte_order_mark_and_bad_encoding(arrays_folder: Write) -> None:
    """A byte order mark is no part of a name; a table that is not UTF-8 is named."""
    folder = arrays_folder()
    path = folder / "stimuli.tsv"
    content = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + content)
    assert load(folder).stimuli.ids[0] == "00"
    path.write_bytes(content + b"\xff\xfe")
    with pytest.raises(CorruptFileError, match=r"stimuli.tsv is not a UTF-8 table"):
        load(folder)
    path.write_bytes(content.splitlines()[0])
    with pytest.raises(InputError, match="has 1 lines; expected a header and at least one row"):
        load(folder)


def test_image_that_cannot_be_decoded_is_named_with_its_line(arrays_folder: Write) -> None:
    """A damaged image is named by path, stimulus and line; a pointer says what it is."""
    folder = arrays_folder()
    image = folder / "images/pic2.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(
        CorruptFileError, match=r"pic2.png \(stimulus '02', line 4 of stimuli.tsv\): cannot be"
    ):
        load(folder)
    image.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CorruptFileError, match=r"line 4: .*pic2.png is a git-lfs pointer"):
        load(folder)


WRONG_UNITS: list[tuple[str, type[Exception], str]] = [
    ("unit_id\na\nb\n", ShapeError, "units.tsv has 2 rows .*responses.npy has 3 units"),
    ("unit_id\na\nb\nb\n", InputError, "duplicate unit_id 'b' in lines 3 and 4"),
    ("unit_id\tx\na\t1\nb\tleft\nc\t3\n", InputError, "line 3: x is 'left'; expected a number"),
]


@pytest.mark.parametrize(("text", "error", "message"), WRONG_UNITS)
def test_wrong_units(arrays_folder: Write, text: str, error: type[Exception], message: str) -> None:
    """Rows, ids and numbers of units.tsv are checked."""
    with pytest.raises(error, match=message):
        load(arrays_folder(units=text))


def test_wrong_folder_and_design(arrays_folder: Write, tmp_path: Path) -> None:
    """A folder that is none, a missing array and an unknown design are refused."""
    folder = arrays_folder()
    with pytest.raises(InputError, match="design='shuffled' is not one of 'trials'"):
        load(folder, "shuffled")
    with pytest.raises(DataNotFoundError, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")
    (folder / "responses.npy").unlink()
    with pytest.raises(DataNotFoundError, match=r"responses.npy does not exist"):
        load(folder)


def test_same_image_under_two_ids_has_one_hash(arrays_folder: Write) -> None:
    """Equal pixels have equal hashes, whatever the file's name and format."""
    folder = arrays_folder()
    Image.open(folder / "images/pic0.png").save(folder / "images/pic4.bmp")
    edit(folder, "pic4.png", "pic4.bmp")
    hashes: Any = load(folder).stimuli.table.content_hash
    assert hashes.iloc[0] == hashes.iloc[4]
    assert hashes.nunique() == 4
