"""Alice in Wonderland: fMRI of 27 listeners in six language regions, with the words (Brennan et al. 2016)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import InputError
from data_loaders._alice_fmri_files import REGISTERED
from data_loaders._card import DatasetCard
from data_loaders._names import unknown_name
from data_loaders._registry import registered_files, registered_path
from data_loaders._root import dataset_folder

if TYPE_CHECKING:
    from brainalign.types import Dataset

_COMMIT = "ec54039b6ac5ad7bf8c81b91768108e5be5c1ce0"
_TEXTGRID = "stimuli/DownTheRabbitHoleFinal_exp120_pad_1.TextGrid"
_GENERIC = "sept18-generic-predictors-under-hrf-with-logfrqhal.txt"


def _source_path(name: str) -> str:
    if name.startswith("stimuli/"):
        return f"alice_stim_shared/{name.removeprefix('stimuli/')}"
    return f"alice_data_shared/{name}"


_FILES = registered_files(REGISTERED, _source_path)
SUBJECTS = tuple(sorted(f.name[4:7] for f in _FILES if f.name.startswith("6mm/")))
CARD = DatasetCard(
    name="alice_fmri",
    title="fMRI of 27 listeners to chapter 1 of Alice in Wonderland: six language regions, words, predictors",
    licence="CC BY 4.0 (recordings and word annotation)",
    citation="Brennan, Stabler, Van Wagenen, Luh & Hale 2016, Brain Lang. 157-158:81-94, "
    "doi:10.1016/j.bandl.2016.04.008",
    source="https://github.com/daandouwe/Thesis, brain-data/syntax-in-rnng/alice_data_shared and "
    f"alice_stim_shared, commit {_COMMIT} (later commits do not have them)",
    species="Homo sapiens",
    recording="fMRI, TR 2 s, mean of spheres around six coordinates of the language network",
    subjects=SUBJECTS,
    sessions=("1",),
    base_url=f"https://raw.githubusercontent.com/daandouwe/Thesis/{_COMMIT}/brain-data/syntax-in-rnng/",
    files=_FILES,
    options={
        "subject": "one subject, for instance 's22', or a list of them; all 27 by default",
        "radius_mm": "radius of the spheres that were averaged, 6 (default) or 10",
    },
)

RADII_MM = (6, 10)
TR_S = 2.0
# volumes of the recording before the first one that was kept
N_DISCARDED = 10
UNUSABLE = {"s33": "its time courses hold zeros only"}
REGIONS = {
    "LATL": "left anterior temporal lobe",
    "RATL": "right anterior temporal lobe",
    "LPTL": "left posterior temporal lobe",
    "LIPL": "left inferior parietal lobule",
    "LPreM": "left premotor cortex",
    "LIFG": "left inferior frontal gyrus",
}
PREDICTORS = (
    *("rate", "frq", "break", "tdp", "tdx", "bup", "bux"),
    *("cfgsurp", "bigramlex", "trigramlex", "bigrampos", "trigrampos"),
)
# order of SPM's realignment: translations, then rotations
MOTION = {"trans_x": "mm", "trans_y": "mm", "trans_z": "mm", "rot_x": "rad", "rot_y": "rad", "rot_z": "rad"}
# labels of the word tier that are no words: pauses, and intervals without a label
_NO_WORDS = ("sp", "")


def load(
    *,
    root: str | os.PathLike[str] | None = None,
    subject: str | Sequence[str] | None = None,
    radius_mm: int = 6,
) -> Dataset:
    """Load the time courses of the regions, the words of the story and the predictors.

    Parameters
    ----------
    root : path, optional
        The folder that holds ``alice_fmri/``, or that folder itself.
    subject : str, or several of them
        For instance ``"s22"`` or ``["s22", "s23"]``; None: all 27. The regions are the same
        for all, so that several subjects are the rows of one `Responses`, one subject after
        the other; models are fitted to one subject at a time.
    radius_mm : 6 or 10
        Radius of the spheres that were averaged.

    Returns
    -------
    Dataset
        `responses`: (362 per subject, 6) float64 in arbitrary units, as published: drift is
        not removed, nothing is scaled. Design ``"continuous"``; `subject`, `session` "1",
        `run` "1", `onset` [s]. `stimuli`: the 2,127 words (``word_0001`` ... with `text`,
        `onset` [s], `duration` [s]), which are ``info["events"]`` of the responses too.
        `features`, all at the onsets of the responses: ``word_rate`` (1 column),
        ``sound_power`` (1), ``stimulus`` (both) and ``motion`` (6: mm, rad) per subject;
        ``generic`` (12 predictors of words and syntax) once, for all subjects. All but the
        motion were convolved with a haemodynamic response by the authors: no delays.

    Raises
    ------
    InputError
        Subject s33 (zeros only), none, or one named twice; another radius.
    UnknownNameError
        No such subject.
    DataNotFoundError, CorruptFileError
        Files are absent, or not the registered ones.

    Notes
    -----
    One clock for all: `onset` 0 is the first volume of the recording, which started with the
    audio (20 s of silence, then the story). The first 10 of 372 volumes were discarded, so the
    first row is at 20 s, where the first word begins (20.06 s). This was checked: impulses
    at the ends of the words, convolved with a double-gamma response and read every 2 s from
    20 s on, correlate with each subject's word rate at r = 0.990; that is the best of all
    shifts between -30 and 50 s (0.988 for the beginnings of the words, 0.08 for 0 s). The
    label ``sp`` (pause, 290 times) and 6 intervals without a label are no words.
    """
    from brainalign.types import Dataset, Responses

    subjects = _subjects(subject)
    if radius_mm not in RADII_MM:
        raise InputError(f"radius_mm={radius_mm!r} is not one of {', '.join(map(str, RADII_MM))}")
    radius_mm = int(radius_mm)
    folder = dataset_folder(CARD, root)
    info: dict[str, Any] = {
        **CARD.info(),
        "design": "continuous",
        "repetition_time": TR_S,
        "sampling_rate": 1 / TR_S,
        "verified": True,
    }
    words = _words(folder)
    values = np.concatenate([_numbers(folder, f"{radius_mm}mm/{s}-timecourses.txt") for s in subjects])
    responses = Responses(
        values,
        _samples(subjects),
        _regions(radius_mm),
        info={**info, "unit": "a.u.", "unit_name": "region", "events": _events(words)},
    )
    return Dataset(_stimuli(words), responses, _features(folder, subjects, info), info=info)


def _subjects(subject: str | Sequence[str] | None) -> list[str]:
    if subject is None:
        return list(SUBJECTS)
    several = isinstance(subject, Sequence) and not isinstance(subject, str)
    names = [str(name) for name in (subject if several else [subject])]
    for name in names:
        if name in UNUSABLE:
            raise InputError(
                f"subject {name!r} of {CARD.name!r} cannot be used: {UNUSABLE[name]}. Choose from "
                f"{', '.join(SUBJECTS)}"
            )
        if name not in SUBJECTS:
            raise unknown_name(f"subject of {CARD.name!r}", name, SUBJECTS)
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        what = f"names {twice[0]!r} {names.count(twice[0])} times" if twice else "names no subject"
        raise InputError(f"subject={subject!r} {what}; expected each once, of {', '.join(SUBJECTS)}")
    return names


def _numbers(folder: Path, name: str) -> np.ndarray:
    """The rows of a registered table, whose layout its checksum warrants."""
    return np.loadtxt(registered_path(folder, name, CARD), ndmin=2)


def _samples(subjects: Sequence[str | None], n: int = 362) -> Any:
    """One row per kept volume, of each subject (None: of no subject in particular)."""
    import pandas as pd

    volume = np.arange(N_DISCARDED, N_DISCARDED + n)
    parts = []
    for name in subjects:
        ids = [f"{name}_volume{v:03d}" if name else f"volume{v:03d}" for v in volume]
        part = pd.DataFrame({"sample_id": ids, "session": "1", "run": "1", "onset": volume * TR_S})
        if name:
            part.insert(1, "subject", name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _regions(radius_mm: int) -> Any:
    import pandas as pd

    names = list(REGIONS)
    return pd.DataFrame(
        {
            "unit_id": names,
            "roi_language": names,
            "region": list(REGIONS.values()),
            "radius_mm": float(radius_mm),
        }
    )


def _words(folder: Path) -> Any:
    import unicodedata

    import pandas as pd

    from data_loaders._textgrid import read_textgrid

    entries = read_textgrid(registered_path(folder, _TEXTGRID, CARD))["word"]
    labelled = [(unicodedata.normalize("NFC", e.text.strip()), e) for e in entries]
    kept = [(text, entry) for text, entry in labelled if text not in _NO_WORDS]
    return pd.DataFrame(
        {
            "stimulus_id": [f"word_{i + 1:04d}" for i in range(len(kept))],
            "modality": "word",
            "text": [text for text, _ in kept],
            "onset": [entry.onset for _, entry in kept],
            "duration": [entry.duration for _, entry in kept],
        }
    )


def _stimuli(words: Any) -> Any:
    from brainalign.types import Stimuli

    texts = dict(zip(words["stimulus_id"], words["text"], strict=True))
    return Stimuli(words, texts.__getitem__, CARD.info())


def _events(words: Any) -> dict[str, list[Any]]:
    return {
        "run": ["1"] * len(words),
        "onset": words["onset"].tolist(),
        "duration": words["duration"].tolist(),
        "condition": ["word"] * len(words),
        "stimulus_id": words["stimulus_id"].tolist(),
    }


def _features(folder: Path, subjects: Sequence[str], info: dict[str, Any]) -> dict[str, Any]:
    rate, power = (
        np.concatenate([_numbers(folder, f"{s}-{kind}.txt") for s in subjects]) for kind in ("rate", "sndpwr")
    )
    motion = {f.name[:3]: f.name for f in CARD.files if "-rp_" in f.name}
    moved = np.concatenate([_numbers(folder, motion[s])[N_DISCARDED:] for s in subjects])
    generic = _numbers(folder, _GENERIC)[N_DISCARDED:]
    both = np.concatenate([rate, power], axis=1)
    table = _samples(subjects)
    return {
        "word_rate": _feature("word_rate", rate, table, ["word_rate"], info),
        "sound_power": _feature("sound_power", power, table, ["sound_power"], info),
        "stimulus": _feature("stimulus", both, table, ["word_rate", "sound_power"], info),
        "generic": _feature("generic", generic, _samples([None]), PREDICTORS, info),
        "motion": _feature("motion", moved, table, MOTION, info),
    }


def _feature(name: str, values: np.ndarray, samples: Any, columns: Any, info: dict[str, Any]) -> Any:
    import pandas as pd

    from brainalign.types import Responses

    units = pd.DataFrame({"unit_id": list(columns), "layer": name})
    if name == "motion":
        units["unit"] = list(MOTION.values())
    about = {"model": name, "layer": name, "convolved": name != "motion"}
    return Responses(values, samples, units, info=info | about)
