"""M/EEG files of every common format, checked, then read by MNE."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from brainalign.errors import (
    BrainAlignError,
    CorruptFileError,
    DataNotFoundError,
    InputError,
    MissingDependencyError,
)
from brainalign.types._fif import check_fif
from data_loaders._edf import check_edf
from data_loaders._meeg import foreign_warnings
from data_loaders._read import require_file

_FOLDERS = (".ds", ".mff")
_PARTS = {
    ".vmrk": "the .vhdr header beside it",
    ".eeg": "the .vhdr header beside it",
    ".fdt": "the .set file beside it",
    ".meg4": "the .ds folder around it",
    ".res4": "the .ds folder around it",
}
_BYTES = {"INT_16": 2, "IEEE_FLOAT_32": 4}


@dataclass(frozen=True)
class Recording:
    """What MNE read: `kind` is raw, epochs or evoked; `said` are its warnings."""

    kind: str
    content: Any
    said: list[str] = field(default_factory=list)


def read_recording(path: Path) -> Recording:
    """Read a recording of any format in `FORMATS`; raw ones are not loaded into memory.

    Raises
    ------
    InputError
        The extension is of no known format, or the file holds no recording.
    DataNotFoundError
        The file, or one that belongs to it, does not exist.
    CorruptFileError
        A file is empty, a pointer, cut, or MNE cannot read it: its error is chained.
    MissingDependencyError
        MNE needs another package for this format.
    """
    suffix, read = _reader(path)
    remarks = check_edf(path) if suffix in (".edf", ".bdf") else []
    for part in _parts(path, suffix):
        require_file(part)
    with foreign_warnings() as said, guarded(path):
        kind, content = read(path)
    return Recording(kind, content, [*remarks, *said])


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """A context in which whatever a reader raises names the file."""
    try:
        yield
    except (BrainAlignError, MemoryError, PermissionError):
        # no fault of the content
        raise
    except Exception as error:  # readers raise many types on damaged content
        text = " ".join(str(error).split())[:300]
        if isinstance(error, ImportError):
            raise MissingDependencyError(
                f"{path}: MNE needs another package for this format: {text}"
            ) from error
        if isinstance(error, FileNotFoundError):
            raise DataNotFoundError(f"{path}: a file that belongs to it is absent: {text}") from error
        raise CorruptFileError(
            f"{path} cannot be read by MNE ({type(error).__name__}: {text}); the file is damaged, cut, or of "
            "another format than its name says"
        ) from error


def _reader(path: Path) -> tuple[str, Callable[[Path], tuple[str, Any]]]:
    """The suffix and the function that reads such files; the file must be there."""
    name = path.name.lower()
    suffix = next((s for s in FORMATS if name.endswith(s)), "")
    if suffix in _FOLDERS:
        if not path.is_dir():
            raise DataNotFoundError(f"{path} is not a folder; a {suffix} recording is one")
        return suffix, FORMATS[suffix]
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a recording: a file, or a .ds or .mff folder")
    require_file(path)
    if suffix:
        return suffix, FORMATS[suffix]
    if path.suffix.lower() in _PARTS:
        raise InputError(f"{path} is one part of a recording; give path= {_PARTS[path.suffix.lower()]}")
    if _bti_config(path) is not None:
        return "bti", _read_bti
    raise InputError(
        f"{path}: the extension {path.suffix!r} is of no known M/EEG format; expected "
        f"{', '.join(sorted(FORMATS))}, or a BTi pdf file with its config file beside it"
    )


def _parts(path: Path, suffix: str) -> list[Path]:
    """The files that belong to a recording and must hold something."""
    if suffix in (".fif", ".fif.gz"):
        check_fif(path)
    elif suffix in (".vhdr", ".ahdr"):
        return _brainvision_parts(path)
    elif suffix == ".set":
        values = path.with_suffix(".fdt")
        return [values] if values.exists() or values.is_symlink() else []
    elif suffix in _FOLDERS:
        return sorted(p for p in path.iterdir() if p.suffix in (".meg4", ".res4", ".bin") or p.is_symlink())
    return []


def _brainvision_parts(path: Path) -> list[Path]:
    """The values and the markers that the header names; the values must be whole samples."""
    text = path.read_bytes().decode("latin-1")
    entries = dict(re.findall(r"^(\w+)=(.*?)\s*$", text, flags=re.MULTILINE))
    if "DataFile" not in entries:
        raise CorruptFileError(f"{path} has no entry DataFile=; expected a BrainVision header")
    stem = path.stem
    names = [entries[key].replace("$b", stem) for key in ("DataFile", "MarkerFile") if entries.get(key)]
    parts = [path.parent / name for name in names]
    require_file(parts[0])
    size = _BYTES.get(entries.get("BinaryFormat", ""), 0)
    n_channels = entries.get("NumberOfChannels", "")
    if entries.get("DataFormat") == "BINARY" and size and n_channels.isdigit() and int(n_channels):
        frame, found = size * int(n_channels), parts[0].stat().st_size
        if found % frame:
            raise CorruptFileError(
                f"{parts[0]} has {found} bytes; expected a multiple of {frame}, {n_channels} channels of "
                f"{size} bytes: the file is cut"
            )
    return parts


def _read_fif(path: Path) -> tuple[str, Any]:
    import mne

    if re.search(r"[-_]ave\.fif(\.gz)?$", path.name.lower()):
        # what() tries one reader after the other; a name that says so saves that
        with suppress(ValueError):
            return "evoked", mne.read_evokeds(path, verbose="WARNING")
    kind = mne.what(path)
    if kind == "epochs":
        return "epochs", mne.read_epochs(path, preload=True, verbose="WARNING")
    if kind == "evoked":
        return "evoked", mne.read_evokeds(path, verbose="WARNING")
    if kind not in ("raw", "unknown"):
        raise InputError(f"{path} holds no recording but: {kind}; expected raw, epochs or evoked responses")
    with warnings.catch_warnings():
        # a name that does not end with _raw.fif is no fault of the recording
        warnings.filterwarnings("ignore", "This filename .* does not conform to MNE naming", RuntimeWarning)
        # also where the kind is not known: the error says why
        return "raw", mne.io.read_raw_fif(path, verbose="WARNING")


def _read_set(path: Path) -> tuple[str, Any]:
    import mne

    try:
        return "raw", mne.io.read_raw_eeglab(path, verbose="WARNING")
    except TypeError as error:
        if "number of trials" not in str(error):
            raise
    return "epochs", mne.io.read_epochs_eeglab(path, verbose="WARNING")


def _read_bti(path: Path) -> tuple[str, Any]:
    import mne

    config = _bti_config(path)
    shapes = [p for p in sorted(path.parent.iterdir()) if "hs" in re.split(r"[_.,-]", p.name.lower())]
    head = require_file(shapes[0]) if len(shapes) == 1 else None
    return "raw", mne.io.read_raw_bti(path, config, head, verbose="WARNING")


def _bti_config(path: Path) -> Path | None:
    """The config file of a 4D/BTi recording, in the folder of the recording."""
    found = [p for p in sorted(path.parent.iterdir()) if "config" in p.name.lower() and p != path]
    return require_file(found[0]) if len(found) == 1 else None


def _read_named(name: str, path: Path) -> tuple[str, Any]:
    import mne

    return "raw", getattr(mne.io, name)(path, verbose="WARNING")


FORMATS: dict[str, Callable[[Path], tuple[str, Any]]] = {
    ".fif.gz": _read_fif,
    ".fif": _read_fif,
    ".set": _read_set,
    **{
        suffix: partial(_read_named, name)
        for suffix, name in {
            ".vhdr": "read_raw_brainvision",
            ".ahdr": "read_raw_brainvision",
            ".edf": "read_raw_edf",
            ".bdf": "read_raw_bdf",
            ".gdf": "read_raw_gdf",
            ".ds": "read_raw_ctf",
            ".sqd": "read_raw_kit",
            ".con": "read_raw_kit",
            ".mff": "read_raw_egi",
            ".cnt": "read_raw_cnt",
            ".nxe": "read_raw_eximia",
            ".lay": "read_raw_persyst",
            ".cdt": "read_raw_curry",
            ".nedf": "read_raw_nedf",
        }.items()
    },
}
