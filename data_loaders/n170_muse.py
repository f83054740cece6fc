"""N170: EEG of a consumer headband (Muse), faces against houses, one subject, six runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import CorruptFileError, InputError
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._meeg import Baseline
from data_loaders._read import require_file, verify
from data_loaders._root import dataset_folder

if TYPE_CHECKING:
    import pandas as pd

    from brainalign.types import Dataset, Responses

_COMMIT = "5ee39e4f91080937ead13c208a65089cbb13b7f6"
_DAY = "data_2017-09-13-"
CARD = DatasetCard(
    name="n170_muse",
    title="EEG of four sensors (Muse headband) for faces and houses, one subject, six runs",
    licence="BSD-3-Clause (licence of the source repository)",
    citation="Barachant, EEG Notebooks, N170 experiment, recorded 2017-09-13 (NeuroTechX)",
    source="https://github.com/NeuroTechX/eeg-notebooks_v0.1, data/visual/N170/subject1/session1, commit "
    f"{_COMMIT}",
    species="Homo sapiens",
    recording="EEG, 4 dry sensors (TP9, AF7, AF8, TP10) against Fpz, 256 Hz",
    subjects=("1",),
    sessions=("1",),
    base_url=f"https://raw.githubusercontent.com/NeuroTechX/eeg-notebooks_v0.1/{_COMMIT}/"
    "data/visual/N170/subject1/session1/",
    files=tuple(
        RemoteFile(f"{_DAY}{clock}.csv", f"{_DAY}{clock}.csv", size, sha256)
        for clock, size, sha256 in (
            ("15.30.01", 1479283, "f0b0732555601a258f0764f4c3f4d6d8826977893b4fd2a742199f34e2d3ca99"),
            ("15.32.50", 1479036, "77d013eadb1af31e2f8aa07733e4027cf338119ca7bd5af054b10f2b92cf959e"),
            ("15.35.26", 1478811, "ea9c15c8a96e501fbd5a042a97b651c36e73813e09c7d305a26f8e3a5aab5939"),
            ("15.40.17", 1480112, "6fb52e15b0bbbd268147f3950688a1d10cca7532c06997762905617ca8fb0f75"),
            ("15.42.33", 1479403, "b8b2de836288ea2ee0fcff88261cf153fc69389c9780059041471d4f4921d15a"),
            ("15.45.08", 1479220, "e80e5280bff9aef8ea05abff9e394c57623fcaad7685ed6b690766f139dacf11"),
        )
    ),
    options={
        "high_pass_hz": "lower corner of the band; 1 by default, None: none",
        "low_pass_hz": "upper corner of the band; 30 by default, None: none",
        "tmin": "start of the epochs against the onset [s]; -0.1 by default",
        "tmax": "end of the epochs [s]; 0.8 by default",
        "reject_uv": "epochs that reach this amplitude in any sensor are dropped [microvolt]; 75; None: none",
        "baseline": "(start, stop) [s] whose mean is subtracted from each epoch; none by default",
    },
)
SENSORS = ("TP9", "AF7", "AF8", "TP10")
SAMPLING_RATE = 256.0
CONDITIONS = {1: "house", 2: "face"}
_COLUMNS = ("timestamps", *SENSORS, "Marker0")
# the clock of the headband jitters by up to 0.03 s from packet to packet, so a gap is
# what shifts the median clock of half a second for good
_RATE_TOLERANCE = 5e-4
_GAP_WINDOW = 128
_GAP_S = 0.02
_PLAUSIBLE_UV = (0.5, 500.0)


def load(
    *,
    root: str | os.PathLike[str] | None = None,
    high_pass_hz: float | None = 1.0,
    low_pass_hz: float | None = 30.0,
    tmin: float = -0.1,
    tmax: float = 0.8,
    reject_uv: float | None = 75.0,
    baseline: Baseline = None,
) -> Dataset:
    """Load the epochs around every face and house.

    Each run is filtered as a whole (Butterworth of order 4, forward and backward: no shift
    in time), then cut; the baseline, if any, is subtracted before the amplitude is looked
    at.

    Parameters
    ----------
    root : path, optional
        The folder that holds ``n170_muse/``, or that folder itself.
    high_pass_hz, low_pass_hz : float or None
    tmin, tmax : float [s], rounded to samples
    reject_uv : float or None [microvolt]
        Epochs in which any sensor reaches this amplitude are dropped, and counted in
        ``info["dropped"]``.
    baseline : (start, stop) [s] or None

    Returns
    -------
    Dataset
        `responses`: design trials, (n_epochs, 4, n_times) in volt, `times` in s; `samples`
        has run ("1" ... "6"), condition ("house", "face"), onset [s from the start of the
        run], subject and session ("1"). Which picture was shown is not known, so there is
        no stimulus_id and there are no stimuli. `features`: ``condition``, (n_epochs, 1),
        1 for a face and 0 for a house, joined by `sample_id`.

    Raises
    ------
    InputError
        A corner is not under 128 Hz, the window or the baseline is empty, or no epoch is
        left.
    DataNotFoundError, CorruptFileError
        A file is absent or damaged, a column is missing, a cell is no number, a marker is
        not 0, 1 or 2, the timestamps are not those of 256 Hz (off by 0.05 % or more, or
        5 or more samples are lost in one place), the amplitudes cannot be microvolt. The
        file and the row are named.

    Notes
    -----
    574 house and 570 face epochs with the defaults. With the mean before onset subtracted
    (``baseline=(None, -0.001)``) 573 and 570, and the mean response has its minimum of 130
    to 230 ms for faces at TP9 at -1.67 uV (0.219 s) and at TP10 at -1.11 uV, for houses at
    -0.42 and -0.08 uV. The positions are those of the 10-20 system on a template head.
    Cost: 2 s.
    """
    from brainalign.types import Dataset, Responses
    from data_loaders._filtering import check_band
    from data_loaders._meeg import check_window, require_epochs

    check_band(high_pass_hz, low_pass_hz, SAMPLING_RATE)
    check_window(tmin, tmax, baseline)
    if reject_uv is not None and not reject_uv > 0:
        raise InputError(f"reject_uv={reject_uv!r} must be a positive amplitude in microvolt, or None")
    folder = dataset_folder(CARD, root)
    paths = [require_file(folder / file.name, CARD) for file in CARD.files]
    verified = [verify(path, CARD) for path in paths]
    band, window = (high_pass_hz, low_pass_hz), (tmin, tmax)
    epochs, words, dropped = _epochs(paths, band, window, baseline, reject_uv)
    require_epochs(len(epochs), dropped, str(folder))
    info = {
        **CARD.info(),
        "subject": "1",
        "session": "1",
        "verified": all(verified),
        "preparation": words,
        "dropped": dropped,
    }
    responses = Responses.from_mne(epochs, info=info)
    features = {"condition": _condition(responses)}
    return Dataset(responses=responses, features=features, info={**info, "design": "trials"})


def _epochs(
    paths: list[Path],
    band: tuple[float | None, float | None],
    window: tuple[float, float],
    baseline: Baseline,
    reject_uv: float | None,
) -> tuple[Any, list[str], dict[str, int]]:
    """The epochs of all runs in order, what was done, and how many were dropped by reason."""
    import mne

    from data_loaders._filtering import BUTTERWORTH, filtered
    from data_loaders._meeg import baseline_in_words, epochs_around

    parts: list[Any] = []
    words: list[str] = []
    total: dict[str, int] = {}
    for run, path in enumerate(paths, start=1):
        raw, events = read_run(path)
        raw, words = filtered(raw, band, method=BUTTERWORTH)
        events["run"], events["subject"], events["session"] = str(run), "1", "1"
        epochs, dropped = epochs_around(raw, events, tmin=window[0], tmax=window[1], baseline=baseline)
        if reject_uv is not None:
            dropped |= _drop_large(epochs, reject_uv)
        for reason, count in dropped.items():
            total[reason] = total.get(reason, 0) + count
        if len(epochs):
            parts.append(epochs)
    words += baseline_in_words(baseline)
    if reject_uv is not None:
        words.append(f"epochs that reach {reject_uv:g} uV in any sensor dropped")
    if not parts:
        return [], words, total
    return mne.concatenate_epochs(parts, on_mismatch="raise", verbose="ERROR"), words, total


def _drop_large(epochs: Any, reject_uv: float) -> dict[str, int]:
    """Drop the epochs that reach the amplitude; how many of each condition."""
    from data_loaders._meeg import counted

    large = np.abs(epochs.get_data()).max(axis=(1, 2), initial=0.0) >= reject_uv * 1e-6
    labels = epochs.metadata["condition"].to_numpy()[large]
    epochs.drop(large, reason="amplitude", verbose="ERROR")
    return {f"{name}: reached {reject_uv:g} uV": n for name, n in counted(labels).items()}


def read_run(path: Path) -> tuple[Any, pd.DataFrame]:
    """One run: an MNE raw recording in volt with the places of the sensors, and its events.

    Raises
    ------
    CorruptFileError
        The table is not what it must be; see `load`.
    """
    import mne
    import pandas as pd

    from data_loaders._meeg import standard_positions

    columns = _read_columns(path)
    _check_clock(path, columns["timestamps"])
    microvolt = np.stack([columns[name] for name in SENSORS])
    _check_amplitude(path, microvolt)
    markers = _check_markers(path, columns["Marker0"])
    info = mne.create_info(list(SENSORS), SAMPLING_RATE, "eeg")
    raw = mne.io.RawArray(microvolt * 1e-6, info, verbose="ERROR")
    raw.set_montage(standard_positions(), verbose="ERROR")
    sample = np.flatnonzero(markers)
    events = pd.DataFrame(
        {
            "sample": sample,
            "onset": sample / SAMPLING_RATE,
            "condition": pd.Series([CONDITIONS[m] for m in markers[sample]], dtype=object),
        }
    )
    return raw, events


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    """The named columns as numbers, none missing."""
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path} is not a table separated by commas: {error}") from error
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise CorruptFileError(
            f"{path} has no column {missing[0]!r}; expected {', '.join(_COLUMNS)}, found "
            f"{', '.join(map(repr, table.columns[:10]))}"
        )
    return {name: _numbers(path, name, table[name]) for name in _COLUMNS}


def _numbers(path: Path, name: str, cells: pd.Series) -> np.ndarray:
    import pandas as pd

    numbers: np.ndarray = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise CorruptFileError(
            f"{path}, line {bad[0] + 2}: {name} is {cells.iloc[bad[0]]!r}; expected a number "
            f"({bad.size} such lines)"
        )
    return numbers


def _check_clock(path: Path, timestamps: np.ndarray) -> None:
    """The timestamps must be those of the nominal rate, without a gap."""
    n = len(timestamps)
    if n < 4 * _GAP_WINDOW:
        raise CorruptFileError(f"{path} has {n} rows; expected a run of at least {4 * _GAP_WINDOW} (2 s)")
    late = timestamps - timestamps[0] - np.arange(n) / SAMPLING_RATE
    # gaps first: one gap bends the fitted rate of the whole run
    starts = np.arange(0, n - _GAP_WINDOW + 1, _GAP_WINDOW // 8)
    medians = np.array([np.median(late[start : start + _GAP_WINDOW]) for start in starts])
    shifts = np.abs(medians[8:] - medians[:-8])
    if shifts.max() > _GAP_S:
        window = int(starts[int(shifts.argmax())])
        steps = np.diff(timestamps[window : window + 2 * _GAP_WINDOW])
        row = window + int(np.abs(steps - 1 / SAMPLING_RATE).argmax()) + 1
        raise CorruptFileError(
            f"{path}, line {row + 2}: the clock jumps by {shifts.max():.3f} s near {timestamps[row]:.3f} s; "
            f"expected steps of 1/{SAMPLING_RATE:g} s. Samples were lost or inserted here"
        )
    rate = 1 / np.polyfit(np.arange(n), timestamps - timestamps[0], 1)[0]
    if abs(rate / SAMPLING_RATE - 1) > _RATE_TOLERANCE:
        raise CorruptFileError(
            f"{path}, lines 2 to {n + 1}: {n} samples in {timestamps[-1] - timestamps[0]:.3f} s are "
            f"{rate:.3f} Hz; expected {SAMPLING_RATE:g} Hz within {100 * _RATE_TOLERANCE:g} %"
        )


def _check_amplitude(path: Path, microvolt: np.ndarray) -> None:
    """Typical amplitude (1.4826 median absolute deviation) of each sensor, as of scalp EEG."""
    centred = np.abs(microvolt - np.median(microvolt, axis=1, keepdims=True))
    for name, typical in zip(SENSORS, 1.4826 * np.median(centred, axis=1), strict=True):
        if not _PLAUSIBLE_UV[0] <= typical <= _PLAUSIBLE_UV[1]:
            raise CorruptFileError(
                f"{path}: {name} has a typical amplitude of {typical:.3g}; expected microvolt, "
                f"{_PLAUSIBLE_UV[0]:g} to {_PLAUSIBLE_UV[1]:g}. Is the column in another unit, or flat?"
            )


def _check_markers(path: Path, markers: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~np.isin(markers, (0, *CONDITIONS)))
    if bad.size:
        raise CorruptFileError(
            f"{path}, line {bad[0] + 2}: Marker0 is {markers[bad[0]]:g}; expected 0 (none), 1 (house) or "
            f"2 (face) ({bad.size} such lines)"
        )
    return markers.astype(np.intp)


def _condition(responses: Responses) -> Responses:
    """1 for a face, 0 for a house, with the sample ids of the responses."""
    import pandas as pd

    from brainalign.types import Responses

    samples = responses.samples
    assert samples is not None
    face = (samples["condition"] == "face").to_numpy(dtype=np.float64)[:, None]
    return Responses(
        face,
        samples,
        pd.DataFrame({"unit_id": ["face"]}),
        info={"design": "trials", "source": "markers of the recording; 1: face, 0: house"},
    )
