"""alice_fmri: the real recordings give the published figures, on the clock of the story."""

from __future__ import annotations

import os
import shutil
from math import gamma
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data_loaders as dl
from brainalign.design import join
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, UnknownNameError
from data_loaders import alice_fmri

pytestmark = pytest.mark.real

ISC = {6: (0.287, 0.233, 0.409, 0.274, 0.257, 0.208), 10: (0.253, 0.202, 0.381, 0.233, 0.216, 0.180)}
WORD_RATE_R = (0.166, 0.152, 0.229, 0.197, 0.186, 0.141)
STORY_FILES = (alice_fmri._GENERIC, alice_fmri._TEXTGRID)


def high_pass_z(values: np.ndarray) -> np.ndarray:
    """Without the 12 slowest cosines of 362 volumes (128 s), z-scored; an own plain implementation."""
    n = len(values)
    order = int(2 * n * 2.0 / 128.0) + 1
    cosines = np.cos(np.pi * np.arange(order) * (2 * np.arange(n)[:, None] + 1) / (2 * n))
    assert cosines.shape == (362, 12)
    rest = values - cosines @ np.linalg.lstsq(cosines, values, rcond=None)[0]
    return (rest - rest.mean(axis=0)) / rest.std(axis=0)


def by_subject(recording: Any) -> np.ndarray:
    """(n_subjects, 362, n_units), filtered and z-scored."""
    subject = recording.samples["subject"]
    return np.stack([high_pass_z(recording.values[(subject == s).to_numpy()]) for s in subject.unique()])


@pytest.fixture(scope="module")
def everyone(real_data: Path) -> Any:
    return dl.load("alice_fmri", root=real_data)


@pytest.fixture
def own_copy(real_data: Path, tmp_path: Path) -> Path:
    """The files of one subject and of the story, to be damaged."""
    folder = tmp_path / "alice_fmri"
    for name in (f.name for f in alice_fmri.CARD.files if "s22" in f.name or f.name in STORY_FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(real_data / "alice_fmri" / name, folder / name)
    return folder


def test_one_subject(real_data: Path) -> None:
    """The published numbers, untouched, with subject, session, run and the seconds of each volume."""
    responses = dl.load("alice_fmri", root=real_data, subject="s22").responses
    published = np.loadtxt(real_data / "alice_fmri/6mm/s22-timecourses.txt")
    np.testing.assert_array_equal(responses.values, published)
    samples = responses.samples
    assert samples[["subject", "session", "run"]].drop_duplicates().values.tolist() == [["s22", "1", "1"]]
    assert samples["onset"].tolist() == [20.0 + 2.0 * v for v in range(362)]
    assert samples.index[0] == "s22_volume010"
    assert list(responses.units.index) == ["LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG"]
    assert list(responses.units["roi_language"]) == list(responses.units.index)
    assert set(responses.units["radius_mm"]) == {6.0}
    known = {k: responses.info[k] for k in ("design", "unit", "repetition_time", "sampling_rate", "verified")}
    assert known == {
        "design": "continuous",
        "unit": "a.u.",
        "repetition_time": 2.0,
        "sampling_rate": 0.5,
        "verified": True,
    }


def test_several_subjects_are_rows_of_one_table(real_data: Path, everyone: Any) -> None:
    """A list gives one subject after the other, in its order; None gives the 27 without s33."""
    two = dl.load("alice_fmri", root=real_data, subject=["s53", "s22"], radius_mm=10).responses
    assert two.samples["subject"].tolist() == ["s53"] * 362 + ["s22"] * 362
    np.testing.assert_array_equal(
        two.values[362:], np.loadtxt(real_data / "alice_fmri/10mm/s22-timecourses.txt")
    )
    assert everyone.responses.shape == (27 * 362, 6)
    assert "s33" not in set(everyone.responses.samples["subject"])
    assert np.ptp(everyone.responses.values.reshape(27, 362, 6), axis=1).min() > 0


@pytest.mark.parametrize("radius_mm", [6, 10])
def test_correlation_between_subjects(real_data: Path, radius_mm: int) -> None:
    """Each subject against the mean of the others, averaged: the published figure of each region."""
    z = by_subject(dl.load("alice_fmri", root=real_data, radius_mm=radius_mm).responses)
    others = (z.sum(axis=0) - z) / (len(z) - 1)
    # z-scores on both sides: their mean product is the correlation
    others = (others - others.mean(axis=1, keepdims=True)) / others.std(axis=1, keepdims=True)
    r = (z * others).mean(axis=1)
    np.testing.assert_allclose(r.mean(axis=0), ISC[radius_mm], atol=0.0006)


def test_correlation_with_word_rate(everyone: Any) -> None:
    """Word rate and responses of the same subject, joined by row, give the published correlations."""
    y, x = by_subject(everyone.responses), by_subject(everyone.features["word_rate"])
    r = (y * x).mean(axis=1).mean(axis=0)
    np.testing.assert_allclose(r, WORD_RATE_R, atol=0.0006)


def test_clock_of_the_words_is_that_of_the_volumes(everyone: Any) -> None:
    """A word rate that is made from the words alone fits the published one at no shift in time."""
    events = everyone.responses.info["events"]
    ends = np.add(events["onset"], events["duration"])
    dt, t = 0.05, np.arange(0, 32, 0.05)
    response = t**5 * np.exp(-t) / gamma(6) - t**15 * np.exp(-t) / gamma(16) / 6
    train = np.bincount(np.rint(ends / dt).astype(int), minlength=int(900 / dt))
    rate = np.convolve(train, response)
    onset = everyone.responses.samples["onset"].to_numpy()[:362]
    published = everyone.features["word_rate"].values.reshape(27, 362)
    shifts = np.arange(-20, 21, 2.0)
    for mine in published:
        r = [np.corrcoef(np.interp(onset + s, np.arange(len(rate)) * dt, rate), mine)[0, 1] for s in shifts]
        assert shifts[int(np.argmax(r))] == 0
        assert max(r) > 0.989
    generic = everyone.features["generic"]
    assert np.corrcoef(generic.values[:, 0], published[0])[0, 1] > 0.97


def test_words_are_stimuli_and_events(everyone: Any) -> None:
    """2,127 words in order, without pauses, each inside the recording and loadable as text."""
    table, events = everyone.stimuli.table, everyone.responses.info["events"]
    assert len(table) == 2127
    assert table.loc["word_0001"].to_dict() == {
        "modality": "word",
        "text": "Alice",
        "onset": 20.05891632653599,
        "duration": 20.621637414967992 - 20.05891632653599,
    }
    assert everyone.stimuli.load("word_2127") == "cake"
    assert not {"sp", ""} & set(table["text"])
    assert (table["text"] == table["text"].str.strip()).all()
    assert events["stimulus_id"] == list(table.index)
    assert set(events["condition"]) == {"word"}
    assert set(events["run"]) == {"1"}
    onset, end = np.array(events["onset"]), np.add(events["onset"], events["duration"])
    assert (np.diff(onset) > 0).all()
    assert (onset[0] >= 20.0, end[-1] <= 744.0) == (True, True)


def test_features_join_by_subject_run_and_onset(real_data: Path, everyone: Any) -> None:
    """Each feature space finds its rows for one subject out of many; the files stand behind them."""
    responses = everyone.responses
    one = responses.select(samples=(responses.samples["subject"] == "s39").to_numpy())
    folder = real_data / "alice_fmri"
    expected = {
        "word_rate": np.loadtxt(folder / "s39-rate.txt")[:, None],
        "sound_power": np.loadtxt(folder / "s39-sndpwr.txt")[:, None],
        "generic": np.loadtxt(folder / alice_fmri._GENERIC)[10:],
        "motion": np.loadtxt(folder / "s39-rp_run05.e02.txt")[10:],
    }
    expected["stimulus"] = np.hstack([expected["word_rate"], expected["sound_power"]])
    assert set(everyone.features) == set(expected)
    for name, values in expected.items():
        features = everyone.features[name]
        np.testing.assert_array_equal(features.values[join.join_rows(features, one)], values)
    assert list(everyone.features["generic"].units.index) == list(alice_fmri.PREDICTORS)
    assert everyone.features["motion"].units["unit"].tolist() == ["mm"] * 3 + ["rad"] * 3
    assert everyone.features["stimulus"].units.index.tolist() == ["word_rate", "sound_power"]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"subject": "s33"},
            InputError,
            "'s33' of 'alice_fmri' cannot be used: .*zeros only. Choose from s18",
        ),
        ({"subject": ["s22", "s33"]}, InputError, "'s33' of 'alice_fmri' cannot be used"),
        ({"subject": "s2"}, UnknownNameError, "subject of 'alice_fmri':? 's2' does not exist; closest: 's"),
        ({"subject": 22}, UnknownNameError, "subject of 'alice_fmri':? '22' does not exist; closest: 's22'"),
        ({"subject": ["s22", "s22"]}, InputError, "names 's22' 2 times; expected each once"),
        ({"subject": []}, InputError, "names no subject; expected each once, of s18"),
        ({"radius_mm": 8}, InputError, "radius_mm=8 is not one of 6, 10"),
    ],
)
def test_wrong_choices(real_data: Path, options: dict[str, Any], error: type, text: str) -> None:
    """Subjects and radii that cannot be had are refused with the choices."""
    with pytest.raises(error, match=text):
        dl.load("alice_fmri", root=real_data, **options)


def test_each_file_of_a_subject_is_verified(own_copy: Path) -> None:
    """A flipped bit, a cut, an empty file, a pointer and a page in any file that is read are named."""
    assert dl.load("alice_fmri", root=own_copy, subject="s22").responses.shape == (362, 6)
    damages = {
        "flip": (lambda b: b[:77] + bytes([b[77] ^ 1]) + b[78:], "has .* bytes and sha256 .*; expected"),
        "cut": (lambda b: b[:-40], "has .* bytes and sha256 .*; expected"),
        "longer": (lambda b: b + b"\n", "has .* bytes and sha256 .*; expected"),
        "empty": (lambda b: b"", "is empty"),
        "annex": (lambda b: b"/annex/objects/SHA256E-s35114--00ff.txt\n", "is a git-annex pointer"),
        "lfs": (
            lambda b: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "is a git-lfs pointer",
        ),
        "page": (lambda b: b"<!DOCTYPE html><html></html>", "is an? .*HTML"),
    }
    names = [f.name for f in alice_fmri.CARD.files if (own_copy / f.name).exists() and "10mm" not in f.name]
    assert len(names) == 6
    for name in names:
        path = own_copy / name
        content = path.read_bytes()
        for damage, text in damages.values():
            path.write_bytes(damage(content))
            with pytest.raises(CorruptFileError, match=f"{path.name} {text}"):
                dl.load("alice_fmri", root=own_copy, subject="s22")
        path.unlink()
        with pytest.raises(
            DataNotFoundError, match=f"{path.name} does not exist. It takes 3.4 MB, licence: CC"
        ):
            dl.load("alice_fmri", root=own_copy, subject="s22")
        path.write_bytes(content)


def test_dangling_annex_link(own_copy: Path) -> None:
    """A link of git-annex whose content was never fetched is named as such."""
    path = own_copy / "s22-rate.txt"
    path.unlink()
    os.symlink("../.git/annex/objects/xx/yy/SHA256E-s3948--00.txt", path)
    with pytest.raises(CorruptFileError, match="s22-rate.txt is a git-annex link without its content"):
        dl.load("alice_fmri", root=own_copy, subject="s22")


def test_card_names_where_each_file_is() -> None:
    """137 files, each with the path that the source has; the unusable subject is not among them."""
    card = dl.describe("alice_fmri")
    source = {f.name: f.source_path for f in card.files}
    assert (len(source), len(card.subjects)) == (137, 27)
    assert source["6mm/s22-timecourses.txt"] == "alice_data_shared/6mm/s22-timecourses.txt"
    assert source[alice_fmri._TEXTGRID] == "alice_stim_shared/DownTheRabbitHoleFinal_exp120_pad_1.TextGrid"
    assert not [name for name in source if "s33" in name]
