"""Loader of arrays without stimuli: rows that belong together, tables, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import data_loaders as dl
from brainalign.errors import (
    AlignmentError,
    CorruptFileError,
    DataNotFoundError,
    InputError,
    ShapeError,
    UnknownNameError,
)

N, UNITS = 12, 3


@pytest.fixture
def folder(tmp_path):
    """``folder(responses, **tables)`` writes arrays of 12 rows and tables."""

    def write(responses: np.ndarray | None = None, **tables: str) -> Path:
        values = np.arange(N * UNITS, dtype=np.float32).reshape(N, UNITS)
        np.save(tmp_path / "responses.npy", values if responses is None else responses)
        np.save(tmp_path / "features_clip.npy", np.arange(2.0 * N).reshape(N, 2))
        for name, text in tables.items():
            (tmp_path / f"{name}.tsv").write_text(text)
        return tmp_path

    return write


def load(path: Path, design: str = "trials", **options: object):
    return dl.load("arrays", path=path, design=design, **options)


def test_rows_belong_together(folder):
    """Row i of the features is row i of the responses, joined by sample."""
    found = load(folder())
    assert found.responses.shape == (N, UNITS)
    assert list(found.features) == ["clip"]
    assert (found.features["clip"].samples.index == found.responses.samples.index).all()
    assert found.responses.info["design"] == "trials"
    assert found.stimuli is None


def test_tables(folder):
    """samples.tsv and units.tsv: labels stay text, onsets are numbers, masks are boolean."""
    rows = "".join(f"0{i // 6}\t{2.0 * (i % 6)}\tface\n" for i in range(N))
    place = folder(
        samples="run\tonset\tcondition\n" + rows,
        units="unit_id\troi_area\troi_v1\tx\nu1\tV1\ttrue\t1.5\nu2\tV2\tfalse\tn/a\nu3\tn/a\ttrue\t2\n",
    )
    found = load(place, "continuous").responses
    assert found.samples["run"].unique().tolist() == ["00", "01"]
    assert found.samples["onset"].dtype == float
    assert found.units["roi_v1"].tolist() == [True, False, True]
    assert found.units["roi_area"].tolist()[:2] == ["V1", "V2"]
    assert found.units["x"].iloc[0] == 1.5


def test_three_axes_are_times(folder):
    """(n_samples, n_units, n_times) needs times.npy, and two axes must not have it."""
    place = folder(np.zeros((N, UNITS, 5), np.float32))
    with pytest.raises(DataNotFoundError, match=r"times.npy does not exist; .* needs 5 times in seconds"):
        load(place)
    np.save(place / "times.npy", np.arange(4) / 10)
    with pytest.raises(ShapeError, match="has 4 times, .* 5 on its third axis"):
        load(place)
    np.save(place / "times.npy", np.arange(5) / 10)
    assert load(place).responses.times.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4]
    folder()
    with pytest.raises(ShapeError, match="times need a third axis"):
        load(place)


def test_one_row_of_features_per_stimulus(folder):
    """Repeats of a stimulus share one row of features; rows that differ are refused."""
    rows = "".join(f"s{i // 2}\n" for i in range(N))
    place = folder(samples="stimulus_id\n" + rows)
    with pytest.raises(AlignmentError, match="rows 0 and 1 are of the stimulus 's0' and differ"):
        load(place)
    np.save(place / "features_clip.npy", np.repeat(np.arange(6.0)[:, None], 2, axis=0))
    clip = load(place).features["clip"]
    assert clip.samples["stimulus_id"].tolist() == [f"s{i}" for i in range(6)]
    assert clip.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_other_names(folder):
    """Files may be called otherwise; a space is called as its file."""
    place = folder()
    (place / "features_clip.npy").rename(place / "gabor.npy")
    (place / "responses.npy").rename(place / "bold.npy")
    assert list(load(place, responses="bold.npy", features=["gabor.npy"]).features) == ["gabor"]
    assert load(place, responses="bold.npy").features == {}
    with pytest.raises(InputError, match=r"features='gabor.npy' is text; expected a list"):
        load(place, responses="bold.npy", features="gabor.npy")
    with pytest.raises(InputError, match="is no name of an array in"):
        load(place, responses="../bold.npy")
    np.save(place / "features-gabor.npy", np.zeros((N, 1)))
    with pytest.raises(InputError, match="are both called 'gabor'; rename one"):
        load(place, responses="bold.npy", features=["gabor.npy", "features-gabor.npy"])


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        (np.zeros(N), ShapeError, r"has shape \(12,\); expected 2 or 3 axes"),
        (np.zeros((N, 0)), ShapeError, "none of length 0"),
        (np.zeros((N, 2), complex), InputError, "dtype complex128; expected real numbers"),
        (
            np.full((N, 2), np.inf),
            InputError,
            r"infinite values \(24\), first in row 0; missing values are NaN",
        ),
    ],
)
def test_responses_that_are_none(folder, values, error, text):
    """Wrong axes, wrong kind, infinite values: shape and row are named."""
    with pytest.raises(error, match=text):
        load(folder(values))


def test_damage_and_disagreement(folder):
    """Objects, missing features, rows and tables that disagree, an onset that is missing."""
    place = folder()
    with pytest.raises(InputError, match="design='trial' is not one of"):
        load(place, "trial")
    with pytest.raises(DataNotFoundError, match="is not a folder; expected one with responses.npy"):
        load(place / "none")
    with pytest.raises(UnknownNameError, match="option of the dataset 'arrays'"):
        load(place, feature=["x"])
    with pytest.raises(
        DataNotFoundError, match=r"samples.tsv does not exist; design='blocks' needs the onset"
    ):
        load(place, "blocks")
    (place / "samples.tsv").write_text("onset\n" + "1\n" * (N - 1) + "n/a\n")
    with pytest.raises(InputError, match="line 13: onset is missing; expected seconds"):
        load(place, "continuous")
    (place / "samples.tsv").write_text("run\n1\n")
    with pytest.raises(ShapeError, match="has 1 rows below its header; expected 12, one for each row"):
        load(place)
    (place / "samples.tsv").unlink()
    (place / "units.tsv").write_text("unit_id\nu1\n")
    with pytest.raises(ShapeError, match="expected 3, one for each unit of responses.npy"):
        load(place)
    (place / "units.tsv").unlink()
    np.save(place / "features_clip.npy", np.zeros((N - 1, 2)))
    with pytest.raises(ShapeError, match="has 11 rows, .* has 12; row i of one must belong"):
        load(place)
    np.save(place / "features_clip.npy", np.full((N, 2), np.nan))
    with pytest.raises(InputError, match="missing or infinite values .*features must be known everywhere"):
        load(place)
    np.save(place / "features_clip.npy", np.array([[{}]] * N), allow_pickle=True)
    with pytest.raises(CorruptFileError, match="holds Python objects"):
        load(place)


def test_onsets_in_milliseconds_are_refused(folder):
    """A sample every 2,000 s is one every 2 s in another unit; trials may be far apart."""
    place = folder(samples="onset\n" + "".join(f"{2000 * i}\n" for i in range(N)))
    with pytest.raises(InputError, match="onsets follow each other by 2000; .* look like milliseconds"):
        load(place, "continuous")
    assert load(place, "trials").responses.n_samples == N
