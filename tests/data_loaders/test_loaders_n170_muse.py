"""n170_muse: the real runs against published numbers, and runs of the same layout with planted faults."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import butter, sosfiltfilt

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from brainalign.types import Responses
from data_loaders.n170_muse import CARD, SAMPLING_RATE, SENSORS, read_run

NAMES = [file.name for file in CARD.files]
N_ROWS = 2560
ONSETS = {300: 1, 800: 2, 1300: 1, 1800: 2}


def table(seed: int = 0, n: int = N_ROWS) -> pd.DataFrame:
    """A run of 10 s: noise of 20 microvolt, the clock rounded to ms, four onsets."""
    rng = np.random.default_rng(seed)
    columns = {"timestamps": np.round(5000.0 + np.arange(n) / SAMPLING_RATE, 3)}
    columns |= {name: np.round(rng.normal(30, 20, n), 3) for name in SENSORS}
    markers = np.zeros(n, dtype=int)
    for row, code in ONSETS.items():
        markers[row] = code
    return pd.DataFrame({**columns, "Right AUX": 0.0, "Marker0": markers})


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """``write(change)`` writes six runs, the third of them changed, and returns the root."""

    def runs(change: Callable[[pd.DataFrame], pd.DataFrame | None] | None = None) -> Path:
        folder = tmp_path / "n170_muse"
        folder.mkdir(exist_ok=True)
        for seed, name in enumerate(NAMES):
            run = table(seed)
            if change is not None and seed == 2:
                changed = change(run)
                run = run if changed is None else changed
            run.to_csv(folder / name, index=False)
        return tmp_path

    return runs


@pytest.fixture(scope="module")
def epochs(real_data: Path) -> Responses:
    """The real epochs with the defaults."""
    responses = dl.load("n170_muse", root=real_data).responses
    assert responses is not None
    return responses


def trough(responses: Responses, sensor: str, condition: str) -> tuple[float, float]:
    """Minimum of the mean response from 130 to 230 ms: microvolt, s."""
    rows = (responses.samples.condition == condition).to_numpy()
    mean = 1e6 * responses.values[rows][:, SENSORS.index(sensor)].mean(axis=0)
    window = np.flatnonzero((responses.times >= 0.13) & (responses.times <= 0.23))
    at = window[mean[window].argmin()]
    return float(mean[at]), float(responses.times[at])


@pytest.mark.real
def test_epochs_have_their_runs_conditions_units_and_places(epochs: Responses) -> None:
    """1144 epochs in volt over 232 samples; text labels; sensors where the 10-20 system has them."""
    assert epochs.shape == (1144, 4, 232)
    np.testing.assert_allclose(epochs.times, np.arange(-26, 206) / 256, atol=1e-9)
    samples = epochs.samples
    assert list(samples.run.unique()) == ["1", "2", "3", "4", "5", "6"]
    assert samples.condition.value_counts().to_dict() == {"house": 574, "face": 570}
    assert set(samples.subject) == set(samples.session) == {"1"}
    assert "stimulus_id" not in samples
    assert samples.groupby("run").onset.is_monotonic_increasing.all()
    assert samples.onset.between(0.1, 120).all()
    assert list(epochs.units.index) == list(SENSORS)
    assert set(epochs.units.unit) == {"V"}
    assert set(epochs.units.ch_type) == {"eeg"}
    assert np.abs(epochs.values).max() < 75e-6
    place = epochs.units[["x", "y", "z"]]
    assert (place.x[["TP9", "AF7"]] < -40).all()
    assert (place.x[["TP10", "AF8"]] > 40).all()
    assert (place.y[["AF7", "AF8"]] > place.y[["TP9", "TP10"]].max()).all()
    assert (epochs.info["design"], epochs.info["sampling_rate"]) == ("trials", 256.0)


@pytest.mark.real
def test_n170_amplitudes_are_the_published_ones(real_data: Path) -> None:
    """With the mean before onset subtracted: 573 and 570 epochs, and the four troughs of the N170."""
    ds = dl.load("n170_muse", root=real_data, baseline=(None, -0.001))
    assert ds.responses.samples.condition.value_counts().to_dict() == {"house": 573, "face": 570}
    assert ds.info["dropped"] == {"face: reached 75 uV": 13, "house: reached 75 uV": 18}
    published = {
        ("TP9", "house"): -0.42,
        ("TP9", "face"): -1.67,
        ("TP10", "house"): -0.08,
        ("TP10", "face"): -1.11,
    }
    for (sensor, condition), amplitude in published.items():
        assert trough(ds.responses, sensor, condition)[0] == pytest.approx(amplitude, abs=0.006)
    assert trough(ds.responses, "TP9", "face")[1] == pytest.approx(0.219, abs=0.001)


@pytest.mark.real
def test_face_against_house_predicts_tp10(epochs: Responses) -> None:
    """Leave one run out, r per run averaged: TP10 peaks at 0.22 near 0.287 s, nothing before onset."""
    face = (epochs.samples.condition == "face").to_numpy(float)
    run = epochs.samples.run.to_numpy()
    scores = []
    for left_out in np.unique(run):
        test = run == left_out
        x = face - face[~test].mean()
        slope = np.tensordot(x[~test], epochs.values[~test], axes=1) / (x[~test] ** 2).sum()
        predicted = x[test][:, None, None] * slope
        observed = epochs.values[test] - epochs.values[test].mean(axis=0)
        predicted = predicted - predicted.mean(axis=0)
        norms = np.sqrt((predicted**2).sum(0) * (observed**2).sum(0))
        scores.append((predicted * observed).sum(0) / norms)
    r = np.mean(scores, axis=0)
    tp10 = r[SENSORS.index("TP10")]
    assert tp10.max() == pytest.approx(0.22, abs=0.02)
    assert epochs.times[tp10.argmax()] == pytest.approx(0.287, abs=0.02)
    assert abs(tp10[epochs.times < 0].mean()) < 0.04
    assert np.abs(r[:, epochs.times < 0].mean(axis=1)).max() < 0.04


@pytest.mark.real
def test_condition_is_a_feature_of_the_same_samples(real_data: Path, epochs: Responses) -> None:
    """One column, 1 where the label says face, with the ids of the responses."""
    features = dl.load("n170_muse", root=real_data).features["condition"]
    assert list(features.samples.index) == list(epochs.samples.index)
    np.testing.assert_array_equal(features.values[:, 0] == 1, epochs.samples.condition == "face")
    assert features.shape == (1144, 1)


@pytest.mark.real
@pytest.mark.parametrize("fault", ["flipped", "emptied"])
def test_damaged_public_run_is_named(real_data: Path, tmp_path: Path, fault: str) -> None:
    """One changed byte in a public file, and an emptied one, are refused by name."""
    folder = tmp_path / "n170_muse"
    folder.mkdir()
    for name in NAMES:
        shutil.copyfile(real_data / "n170_muse" / name, folder / name)
    content = bytearray((folder / NAMES[3]).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / NAMES[3]).write_bytes(bytes(content) if fault == "flipped" else b"")
    expected = f"{NAMES[3]} (has .* sha256 .*; expected|is empty)"
    with pytest.raises(CorruptFileError, match=expected):
        dl.load("n170_muse", root=tmp_path)


def test_windows_hold_the_samples_around_their_marker(write: Callable[..., Path]) -> None:
    """Without filter and baseline an epoch is the table's own numbers, in volt, in order of run and onset."""
    root = write()
    ds = dl.load("n170_muse", root=root, high_pass_hz=None, low_pass_hz=None, reject_uv=None)
    assert ds.responses.shape == (24, 4, 232)
    assert ds.info["verified"] is False
    assert ds.info["preparation"] == []
    samples = ds.responses.samples
    assert list(samples.onset[:4]) == [row / 256 for row in ONSETS]
    assert list(samples.condition[:4]) == ["house", "face", "house", "face"]
    row = int(np.flatnonzero((samples.run == "4") & (samples.onset == 1300 / 256))[0])
    expected = table(3)[list(SENSORS)].to_numpy().T[:, 1300 - 26 : 1300 + 206] * 1e-6
    np.testing.assert_allclose(ds.responses.values[row], expected, atol=1e-15)


def test_filter_shifts_nothing_and_is_applied_before_cutting(write: Callable[..., Path]) -> None:
    """A pulse 0.2 s after each marker stays there and stays symmetric."""

    def pulse(run: pd.DataFrame) -> None:
        run[list(SENSORS)] = 0.5 * run[list(SENSORS)]
        for row in ONSETS:
            run.loc[row + 50 : row + 52, "TP10"] += 400.0

    ds = dl.load("n170_muse", root=write(pulse), reject_uv=None)
    rows = (ds.responses.samples.run == "3").to_numpy()
    mean = ds.responses.values[rows][:, SENSORS.index("TP10")].mean(axis=0)
    peak = int(mean.argmax())
    assert ds.responses.times[peak] == pytest.approx(51 / 256)
    np.testing.assert_allclose(mean[peak - 8 : peak], mean[peak + 8 : peak : -1], atol=0.15 * mean[peak])


def test_large_and_cut_epochs_are_dropped_and_counted(write: Callable[..., Path]) -> None:
    """An epoch that reaches the amplitude, and one that would leave the run, are absent rows, not NaN."""

    def change(run: pd.DataFrame) -> None:
        run.loc[810, "AF7"] = 3000.0
        run.loc[5, "Marker0"] = 1
        run.loc[len(run) - 10, "Marker0"] = 2

    ds = dl.load("n170_muse", root=write(change), high_pass_hz=None, low_pass_hz=None, reject_uv=1000.0)
    assert ds.info["dropped"] == {
        "too close to the start or end of the recording": 2,
        "face: reached 1000 uV": 1,
    }
    assert ds.responses.n_samples == 23
    assert np.isfinite(ds.responses.values).all()


def test_baseline_is_subtracted_before_amplitudes_are_judged(write: Callable[..., Path]) -> None:
    """An offset of 2 mV is dropped as it is, and kept once its baseline is subtracted."""

    def offset(run: pd.DataFrame) -> None:
        run[list(SENSORS)] += 2000.0

    options = {"root": write(offset), "high_pass_hz": None, "low_pass_hz": None, "reject_uv": 1000.0}
    assert dl.load("n170_muse", **options).responses.n_samples == 20
    corrected = dl.load("n170_muse", **options, baseline=(-0.1, 0.0))
    assert corrected.responses.n_samples == 24
    window = (corrected.responses.times >= -0.1) & (corrected.responses.times <= 0)
    assert np.abs(corrected.responses.values[:, :, window].mean(axis=2)).max() < 1e-12
    assert "mean of -0.1 s to 0 s subtracted" in corrected.info["preparation"][0]


def stretch(run: pd.DataFrame) -> None:
    run["timestamps"] = 5000 + (run["timestamps"] - 5000) * 1.001


def lose(n: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda run: run.drop(index=range(1000, 1000 + n)).reset_index(drop=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (stretch, r"lines 2 to 2561: 2560 samples in .* are 255.744 Hz; expected 256 Hz within 0.05 %"),
        (lose(6), r"15.35.26.csv, line 1002: the clock jumps by 0.02\d s"),
        (lose(12), r"line 1002: the clock jumps by 0.047 s near 5003.953 s.*lost or inserted"),
        (lambda run: run.head(500), r"has 500 rows; expected a run of at least 512"),
        (lambda run: run.drop(columns="AF8"), r"has no column 'AF8'; expected timestamps, TP9"),
        (lambda run: run.astype(str).replace("5003.0", "x"), r"line 770: timestamps is 'x'; expected a numb"),
        (
            lambda run: run.assign(TP9=run.TP9.where(run.index != 41)),
            r"line 43: TP9 is ''; expected a number",
        ),
        (lambda run: run.assign(Marker0=run.Marker0.replace(2, 3)), r"line 802: Marker0 is 3; .*\(2 such"),
        (lambda run: run.assign(AF7=run.AF7 * 1e-6), r"AF7 has a typical amplitude of .*e-05; expected micr"),
        (lambda run: run.assign(TP10=run.TP10 * 1e6), r"TP10 has a typical amplitude of .*e\+07"),
        (lambda run: run.assign(TP9=31.0), r"TP9 has a typical amplitude of 0; .*or flat\?"),
    ],
)
def test_fault_in_a_run_is_refused(
    write: Callable[..., Path], change: Callable[[pd.DataFrame], pd.DataFrame | None], match: str
) -> None:
    """A wrong rate, a gap, a damaged cell, a foreign marker or another unit: refused with file and row."""
    with pytest.raises(CorruptFileError, match=match) as caught:
        dl.load("n170_muse", root=write(change))
    assert NAMES[2] in str(caught.value)


def test_file_that_is_no_table(write: Callable[..., Path]) -> None:
    """Rows of another number of cells are refused by name."""
    root = write()
    (root / "n170_muse" / NAMES[1]).write_text("timestamps,TP9\n1,2\n1,2,3\n")
    with pytest.raises(CorruptFileError, match=r"15.32.50.csv is not a table separated by commas"):
        dl.load("n170_muse", root=root)


def test_absent_run_is_named_with_the_command(write: Callable[..., Path]) -> None:
    """Five of six runs do not load as five."""
    root = write()
    (root / "n170_muse" / NAMES[5]).unlink()
    with pytest.raises(DataNotFoundError, match=r"15.45.08.csv does not exist.*datasets fetch n170_muse"):
        dl.load("n170_muse", root=root)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"low_pass_hz": 128.0}, r"low_pass_hz=128.0 must lie between 0 and 128 Hz, half of the sampling"),
        ({"high_pass_hz": 0.0}, r"high_pass_hz=0.0 must lie between 0 and 128 Hz"),
        ({"high_pass_hz": 40.0}, r"high_pass_hz=40 is not under low_pass_hz=30"),
        ({"tmin": 0.9}, r"tmin=0.9 s is not before tmax=0.8 s"),
        ({"tmax": float("nan")}, r"tmin=-0.1 s is not before tmax=nan s"),
        ({"baseline": (-0.2, 0.0)}, r"baseline=\(-0.2, 0.0\) s must run forward inside the window -0.1 to"),
        ({"baseline": (0.0, None), "tmax": 0.0}, r"baseline=\(0.0, None\) s must run forward"),
        ({"reject_uv": 0.0}, r"reject_uv=0.0 must be a positive amplitude in microvolt, or None"),
        ({"reject_uv": 1e-3}, r"no epoch is left \(12 face: reached 0.001 uV; 12 house: reached"),
    ],
)
def test_options_that_cannot_be(write: Callable[..., Path], options: dict[str, object], match: str) -> None:
    """A band, a window, a baseline or a limit that cannot be is refused with its value."""
    with pytest.raises(InputError, match=match):
        dl.load("n170_muse", root=write(), **options)


def test_filter_is_scipys_forward_and_backward(write: Callable[..., Path]) -> None:
    """The band, and each corner alone, are what a Butterworth of order 4 run in both directions gives."""
    root = write()
    microvolt = table(0)[list(SENSORS)].to_numpy().T
    for band, kind in (((1.0, 30.0), "bandpass"), ((1.0, None), "highpass"), ((None, 30.0), "lowpass")):
        corners = [corner for corner in band if corner is not None]
        sections = butter(4, corners if len(corners) > 1 else corners[0], kind, fs=256, output="sos")
        whole = sosfiltfilt(sections, microvolt * 1e-6, padlen=27)
        ds = dl.load("n170_muse", root=root, high_pass_hz=band[0], low_pass_hz=band[1], reject_uv=None)
        expected = np.stack([whole[:, row - 26 : row + 206] for row in ONSETS])
        np.testing.assert_allclose(ds.responses.values[:4], expected, atol=2e-11)
        assert ds.responses.info["high_pass_hz"] == (band[0] or 0.0)


def test_jitter_of_the_clock_is_no_gap(tmp_path: Path) -> None:
    """Packets that arrive up to 0.03 s late or early, as the headband's do, are read."""
    run = table()
    late = np.repeat(np.random.default_rng(0).normal(0, 0.006, -(-N_ROWS // 12)), 12)[:N_ROWS]
    run["timestamps"] += np.clip(late, -0.03, 0.03)
    run.to_csv(tmp_path / "run.csv", index=False)
    raw, events = read_run(tmp_path / "run.csv")
    assert raw.n_times == N_ROWS
    assert list(events["sample"]) == list(ONSETS)
