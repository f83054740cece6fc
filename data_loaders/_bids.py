"""Names and folders of BIDS and of fMRIPrep: read by listing, without a database."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from data_loaders._read import require_file

# entities that say how a file was made of a run, not which run it is
DERIVED = ("space", "res", "den", "desc", "hemi", "echo", "part", "recording", "mode", "from", "to", "label")
_INDEX = ("run", "echo")
_ENTITY = re.compile(r"([A-Za-z]+)-([^_]+)")
_SEARCH_DEPTH = 3
_MAX_FOLDERS = 5_000
_MAX_SUBJECTS = 50


@dataclass(frozen=True)
class BidsFile:
    """A file by its name: `entities` {key: label}, `suffix`, `extension` (with its dots)."""

    path: Path
    entities: Mapping[str, str]
    suffix: str
    extension: str

    def is_(self, suffix: str, *extensions: str, **entities: str | None) -> bool:
        """Whether suffix, extension and these entities are the file's (None: has no such entity)."""
        return (
            self.suffix == suffix
            and self.extension in extensions
            and all(self.entities.get(key) == label for key, label in entities.items())
        )

    @property
    def recording(self) -> tuple[tuple[str, str], ...]:
        """What names the run: all entities but those of processing, run numbers as numbers."""
        return _recording(self.entities)


def parse_name(path: Path) -> BidsFile | None:
    """Take a BIDS file name apart, or return None where it is none.

    The order of the entities is free. Names of fMRIPrep before 1.2
    (``..._bold_space-T1w_preproc.nii.gz``) are read as their later forms.
    """
    stem, dot, rest = path.name.partition(".")
    if not dot or not stem.startswith("sub-"):
        return None
    parts, extension = _modern(stem.split("_"), dot + rest)
    suffix, entities = parts[-1], {}
    if "-" in suffix or not suffix:
        return None
    for part in parts[:-1]:
        found = _ENTITY.fullmatch(part)
        # a key that stands twice names no file
        if found is None or found[1] in entities:
            return None
        entities[found[1]] = found[2]
    return BidsFile(path, entities, suffix, extension)


_OLD = {
    "preproc": ("desc-preproc", "bold"),
    "brainmask": ("desc-brain", "mask"),
    "confounds": ("desc-confounds", "regressors"),
}


def _modern(parts: list[str], extension: str) -> tuple[list[str], str]:
    """Names of fMRIPrep before 1.2, in which ``bold`` stands in the middle."""
    if "bold" not in parts[:-1]:
        return parts, extension
    kept = [part for part in parts if part != "bold"]
    side = re.fullmatch(r"\.([LR])(\.func\.gii)", extension)
    if side and "-" in kept[-1]:
        return [*kept, f"hemi-{side[1]}", "bold"], side[2]
    return [*kept[:-1], *_OLD.get(kept[-1], (kept[-1],))], extension


def _recording(entities: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    # fMRIPrep 20 wrote run-1 for run-01: an index is a number
    return tuple(
        sorted(
            (key, str(int(label)) if key in _INDEX and label.isdigit() else label)
            for key, label in entities.items()
            if key not in DERIVED
        )
    )


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, listed once, by name; empty where it is none."""
    try:
        with os.scandir(folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_files(folder: Path) -> list[BidsFile]:
    """The files of one folder whose names BIDS knows; links without content count too."""
    parsed = (parse_name(Path(e.path)) for e in entries(folder) if not e.is_dir())
    return [file for file in parsed if file is not None]


def subject_labels(root: Path) -> list[str]:
    """The labels of the ``sub-`` folders."""
    return [e.name[4:] for e in entries(root) if e.name.startswith("sub-") and e.is_dir()]


def functional_folders(root: Path, subject: str) -> list[Path]:
    """The ``func`` folders of a subject, of all its sessions."""
    own = Path(root) / f"sub-{subject}"
    sessions = [Path(e.path) for e in entries(own) if e.name.startswith("ses-") and e.is_dir()]
    return [folder for folder in (own / "func", *(s / "func" for s in sessions)) if folder.is_dir()]


def functional_files(root: Path, subject: str) -> list[BidsFile]:
    """The functional files of a subject: each folder is listed once, no file is opened."""
    return [
        file
        for folder in functional_folders(root, subject)
        for file in list_files(folder)
        if file.entities.get("sub") == subject
    ]


def is_preprocessed(file: BidsFile) -> bool:
    """Whether a file is a preprocessed run of fMRIPrep: a volume, or one half of a surface."""
    volume = file.is_("bold", ".nii.gz", ".nii", desc="preproc")
    surface = file.is_("bold", ".func.gii") and "hemi" in file.entities
    return volume or (surface and file.entities.get("desc", "preproc") == "preproc")


def holds_preprocessed(folder: Path) -> bool:
    """Whether a folder has ``sub-`` folders with preprocessed runs (the first subjects decide)."""
    description = folder / "dataset_description.json"
    if description.is_file() and read_json(description).get("DatasetType") == "raw":
        return False
    return any(
        is_preprocessed(file)
        for subject in subject_labels(folder)[:_MAX_SUBJECTS]
        for func in functional_folders(folder, subject)
        for file in list_files(func)
    )


def find_derivatives(path: str | os.PathLike[str]) -> Path:
    """Return the folder of the preprocessed runs: `path` itself, or the one below it.

    Raises
    ------
    DataNotFoundError
        There is no such folder, or none with preprocessed runs.
    InputError
        Several are found (they are listed), or `path` is the folder of a subject.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataNotFoundError(f"{folder} is not a folder; give the BIDS folder or that of fMRIPrep")
    if folder.name.startswith("sub-"):
        raise InputError(
            f"{folder} is the folder of one subject; give the folder above it and subject={folder.name[4:]!r}"
        )
    if holds_preprocessed(folder):
        return folder
    found = [place for place in _folders_below(folder) if holds_preprocessed(place)]
    if len(found) > 1:
        shown = ", ".join(str(place.relative_to(folder)) for place in found)
        raise InputError(
            f"{folder} holds several folders of preprocessed runs: {shown}; give one of them as path"
        )
    if not found:
        raise DataNotFoundError(
            f"{folder} holds no output of fMRIPrep; looked for sub-*/[ses-*/]func/*_desc-preproc_bold.nii.gz "
            f"and *_hemi-L_*_bold.func.gii in it and up to {_SEARCH_DEPTH} folders below "
            "(derivatives/fmriprep)"
        )
    return found[0]


def _folders_below(root: Path) -> Iterator[Path]:
    """Folders down to a small depth, subjects' own left out, nearest first."""
    level, seen = [root], 0
    for _ in range(_SEARCH_DEPTH):
        below = []
        for folder in level:
            for entry in entries(folder):
                if entry.name.startswith(("sub-", "ses-")) or not entry.is_dir(follow_symlinks=False):
                    continue
                seen += 1
                if seen > _MAX_FOLDERS:
                    return
                below.append(Path(entry.path))
                yield below[-1]
        level = below


def find_raw(derivatives: Path) -> Path | None:
    """Return the BIDS folder that the derivatives were made of, or None.

    It is the one that ``dataset_description.json`` names (`DatasetLinks`, `SourceDatasets`:
    a path or a file URL), else the nearest folder above with ``sub-`` folders of its own.
    """
    for place in _named_sources(derivatives):
        if subject_labels(place):
            return place
    for place in list(derivatives.resolve().parents)[:4]:
        if subject_labels(place):
            return place
    return None


def _named_sources(derivatives: Path) -> list[Path]:
    description = derivatives / "dataset_description.json"
    if not description.is_file():
        return []
    about = read_json(description)
    links, sources = about.get("DatasetLinks"), about.get("SourceDatasets")
    named = [links.get("raw")] if isinstance(links, dict) else []
    if isinstance(sources, list):
        named += [source.get("URL") for source in sources if isinstance(source, dict)]
    places = []
    for text in named:
        if not isinstance(text, str) or not text:
            continue
        url = urlparse(text)
        if url.scheme in ("", "file"):
            places.append((derivatives / unquote(url.path)).resolve())
    return places


def matching(files: Sequence[BidsFile], run: BidsFile, suffix: str, *extensions: str) -> list[BidsFile]:
    """The files of this suffix that belong to the same run."""
    own = run.recording
    return [file for file in files if file.is_(suffix, *extensions) and file.recording == own]


def inherited(root: Path, run: BidsFile, suffix: str, extension: str) -> list[Path]:
    """The files that speak of a run by the inheritance principle, the nearest (and most specific) first.

    A file in the folder of the run, of its session, of its subject or of the dataset counts
    if every entity in its name is the run's.
    """
    own = dict(run.recording)
    subject = root / f"sub-{own['sub']}"
    session = [subject / f"ses-{own['ses']}"] if "ses" in own else []
    levels = [*(place / "func" for place in (*session, subject)), *session, subject, root]
    found: list[Path] = []
    for folder in levels:
        here = [
            file
            for file in _any_files(folder, suffix + extension)
            if file.is_(suffix, extension) and set(file.recording) <= set(run.recording)
        ]
        here.sort(key=lambda file: -len(file.recording))
        found += [file.path for file in here]
    return found


def _any_files(folder: Path, end: str) -> Iterable[BidsFile]:
    """Files of a folder, among them those of the whole dataset, whose names have no ``sub-``."""
    for entry in entries(folder):
        if not entry.name.endswith(end) or entry.is_dir():
            continue
        path = Path(entry.path)
        named = path if entry.name.startswith("sub-") else path.with_name(f"sub-all_{entry.name}")
        file = parse_name(named)
        if file is None:
            continue
        if named is not path:
            entities = {key: label for key, label in file.entities.items() if key != "sub"}
            file = BidsFile(path, entities, file.suffix, file.extension)
        yield file


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    CorruptFileError
        Not UTF-8, not JSON, or no object; or a placeholder of git-annex or git-lfs.
    """
    try:
        found = json.loads(require_file(path).read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CorruptFileError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(found, dict):
        raise CorruptFileError(f"{path} holds a {type(found).__name__}; expected an object {{...}}")
    return found


def metadata(root: Path | None, run: BidsFile, sidecars: Sequence[Path]) -> dict[str, Any]:
    """What is known of a run: its own sidecars, then what it inherits from the BIDS folder."""
    paths = list(sidecars)
    if root is not None:
        paths += inherited(root, run, "bold", ".json")
    about: dict[str, Any] = {}
    for path in paths:
        about = read_json(path) | about
    return about
