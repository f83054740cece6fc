"""A first study file for a folder of recordings: commented, and ready to run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import data_loaders
from brainalign.errors import DataNotFoundError, InputError
from brainalign.storage.atomic import write_text_atomic
from brainalign.study import _scaffold_arrays, _scaffold_fmriprep, _scaffold_meeg
from brainalign.study._scaffold_text import Draft, whole
from brainalign.study.settings import parse_study

FILE_NAME = "study.toml"
# each looks at a folder and returns a draft, or None where the folder is of another kind
KINDS: dict[str, Callable[[Path, Path], Draft | None]] = {
    "fMRIPrep": _scaffold_fmriprep.draft,
    "M/EEG": _scaffold_meeg.draft,
    "arrays": _scaffold_arrays.draft,
}
_LOOKED_FOR = {
    "fMRIPrep": _scaffold_fmriprep.LOOKED_FOR,
    "M/EEG": _scaffold_meeg.LOOKED_FOR,
    "arrays": _scaffold_arrays.LOOKED_FOR,
}


@dataclass(frozen=True)
class Scaffold:
    """The study file that was written: its `path`, its `text`, and what was `found`, in words."""

    path: Path
    text: str
    found: tuple[str, ...]


def scaffold(folder: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> Scaffold:
    """Look at a folder of recordings and write a study file that runs as it is.

    Parameters
    ----------
    folder : what a lab has

        - the output of fMRIPrep, or the BIDS folder with ``derivatives/fmriprep`` below it
        - M/EEG: a file that MNE reads (``.fif``, ``.vhdr``, ``.edf``, ``.set`` ...) or a folder
          with such files
        - arrays: ``responses.npy`` with ``stimuli.tsv`` and images, or with features and labels

        It is looked at in this order; the first kind that is found counts.
    output : the study file, or a folder that gets ``study.toml``; by default ``study.toml`` in
        the working directory. A file that exists is never overwritten.

    Returns
    -------
    Scaffold
        Comments in the text say why each choice was made, and what else could stand there.
        The path of the recordings counts from the study file: both may move together.

    Raises
    ------
    DataNotFoundError
        There is no such folder.
    InputError
        Nothing in it is recognised (what was looked for is listed), a choice cannot be made
        for the user, or the study file exists.

    Notes
    -----
    Cost: names are listed and small files (sidecars, events, headers) read; of M/EEG one
    recording is opened for the names of its events.
    """
    place = Path(folder).expanduser()
    if not place.exists():
        raise DataNotFoundError(f"{place} does not exist; give the folder that holds your recordings")
    target = _target(output)
    for make in KINDS.values():
        draft = make(place, target)
        if draft is not None:
            break
    else:
        looked = "; ".join(f"{kind}: {what}" for kind, what in _LOOKED_FOR.items())
        raise InputError(
            f"nothing in {place} is recognised as recordings. Looked for {looked}. {_hint(place)}"
        )
    text = whole(draft, target)
    # what is written must be readable, whatever the names of files and conditions are
    parse_study(text, source=target.name)
    write_text_atomic(target, text)
    return Scaffold(target, text, draft.found)


def _hint(place: Path) -> str:
    """What to do where nothing is recognised."""
    name = place.resolve().name
    if name in data_loaders.available():
        return (
            f"It is called like a dataset that has a loader of its own: put name = {name!r} under [dataset]"
        )
    if place.is_dir() and any(child.name.startswith("sub-") and child.is_dir() for child in place.iterdir()):
        return (
            "It looks like a BIDS folder of raw recordings: run fMRIPrep first, and give the folder it writes"
        )
    return (
        "Give the folder that holds them, or write a study file by hand: brainalign datasets list shows what "
        "can stand in it"
    )


def _target(output: str | os.PathLike[str] | None) -> Path:
    target = Path(FILE_NAME) if output is None else Path(output).expanduser()
    if target.is_dir():
        target = target / FILE_NAME
    if target.exists():
        raise InputError(f"{target} exists and is not overwritten; name another file with --output")
    if target.suffix.lower() != ".toml":
        raise InputError(f"--output {target}: a study file ends in .toml; write for instance {target}.toml")
    if not target.parent.is_dir():
        raise DataNotFoundError(f"--output {target}: there is no folder {target.parent}; make it first")
    return target
