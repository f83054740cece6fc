"""Macaque V4: spike counts of Utah arrays for natural images (Cowley et al. 2023)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._names import unknown_name
from data_loaders._read import read_npy, require_file, verify
from data_loaders._root import dataset_folder

if TYPE_CHECKING:
    from brainalign.types import Dataset

_COMMIT = "f4552ad9d34a466ebc66658f72a08a8e5038f1cf"
CARD = DatasetCard(
    name="macaque_v4",
    title="Macaque V4 spike counts for natural images, two sessions (one with single repeats)",
    licence="GPL-3.0 (licence of the source repository; none is stated for the recordings alone)",
    citation="Cowley, Stan, Pillow & Smith 2023, Compact deep neural network models of visual cortex, "
    "bioRxiv, doi:10.1101/2023.11.22.568315",
    source=f"https://github.com/cowleygroup/V4_compact_models, data_V4_responses, commit {_COMMIT}",
    species="Macaca mulatta",
    recording="Utah array, V4; spike counts in 100 ms",
    subjects=("PE", "WE"),
    sessions=("190923", "210325"),
    base_url=f"https://raw.githubusercontent.com/cowleygroup/V4_compact_models/{_COMMIT}/data_V4_responses/",
    files=(
        RemoteFile(
            "images_190923.zip",
            "images/images_190923.zip",
            4024034,
            "e99a4df1c7476bdc4d565ff4408bc421976ecc3a22c41af6bfd0cfbddb508c0c",
        ),
        RemoteFile(
            "images_210325.zip",
            "images/images_210325.zip",
            1841475,
            "992774eca3508a2ad01accb1a31f5f3e3d90248c49f4eec314f2a915a263e454",
        ),
        RemoteFile(
            "responses_avg_190923.npy",
            "responses_repeat_averaged/responses_190923.npy",
            316928,
            "741672d36541ce39930c8a3b5bd1cfd33c187aa47b1549c9c5569bc21aa97a28",
        ),
        RemoteFile(
            "responses_avg_210325.npy",
            "responses_repeat_averaged/responses_210325.npy",
            256128,
            "555e67037182611969ab90da291dcc39601de4411f651a64ad60e90572cf59d3",
        ),
        RemoteFile(
            "responses_raw_210325.npy",
            "responses_raw/responses_210325.npy",
            2560128,
            "4008dbbf31a47d9b1b8d8da609f4a7a3433c7071f0e45c611c220b217dd75b76",
        ),
    ),
    options={
        "session": "the recording session, for instance '210325' (single repeats) or '190923' (averages)",
        "subject": "the animal, 'PE' or 'WE'; enough where it has one session",
    },
)

# the sessions of each animal began in these months (readme of the source)
_SUBJECT_OF_MONTH = {
    "1909": "WE",
    "2010": "PE",
    "2102": "PE",
    "2103": "PE",
    "2106": "RA",
    "2110": "RA",
    "2111": "RA",
}
AVERAGES_ONLY = "averages over repeats; no noise ceiling"


@dataclass(frozen=True)
class Session:
    """One recording session: its images, and the responses in the finest form that is there."""

    name: str
    images: Path
    responses: Path
    single_repeats: bool

    @property
    def subject(self) -> str | None:
        """The animal, where the source names it."""
        return _SUBJECT_OF_MONTH.get(self.name[:4])

    def __str__(self) -> str:
        kind = "single repeats" if self.single_repeats else "averages only"
        return f"{self.name} (subject {self.subject or 'not known'}, {kind})"


def load(
    *,
    root: str | os.PathLike[str] | None = None,
    session: str | None = None,
    subject: str | None = None,
) -> Dataset:
    """Load one session: images and the responses of its neurons.

    Parameters
    ----------
    root : path, optional
        The folder that holds ``macaque_v4/``, or that folder itself. Any session whose
        ``images_SESSION.zip`` and ``responses_raw_SESSION.npy`` (neurons, images, repeats)
        or ``responses_avg_SESSION.npy`` (neurons, images) lie there can be loaded.
    session, subject : str
        May be left out only where one session remains.

    Returns
    -------
    Dataset
        `stimuli`: id ``image0001`` ... (file stem), uint8 RGB read from the archive on
        demand. `responses`: (n_trials, n_neurons) spike counts in 100 ms, one row per
        image and repeat with `stimulus_id`, `repetition` ("1" ...), `session`, `subject`,
        `content_hash`; repeats that were not recorded are absent. A session that has only
        averages gives one row per image without `repetition`, and ``info["repeats"]``
        says that it has no noise ceiling.

    Raises
    ------
    InputError
        Several sessions remain: they are listed.
    UnknownNameError
        No such session or subject.
    DataNotFoundError, CorruptFileError
        Files are absent, damaged, or do not fit each other.
    """
    from brainalign.types import Dataset

    folder = dataset_folder(CARD, root)
    chosen = _choose(find_sessions(folder), session, subject, folder)
    verified = verify(chosen.images, CARD) & verify(chosen.responses, CARD)
    stimuli = _stimuli(chosen)
    info = {
        **CARD.info(),
        "design": "trials",
        "session": chosen.name,
        "subject": chosen.subject,
        "unit": "spikes / 100 ms",
        "repeats": "single trials" if chosen.single_repeats else AVERAGES_ONLY,
        "verified": verified,
    }
    responses = _responses(chosen, stimuli.table["content_hash"], info)
    return Dataset(stimuli=stimuli, responses=responses, info=info)


def find_sessions(folder: Path) -> list[Session]:
    """The complete sessions of a folder, by name."""
    found = []
    for images in sorted(folder.glob("images_*.zip")):
        name = images.stem.removeprefix("images_")
        for kind, single in (("raw", True), ("avg", False)):
            responses = folder / f"responses_{kind}_{name}.npy"
            if responses.exists():
                found.append(Session(name, images, responses, single))
                break
    return found


def _choose(sessions: list[Session], session: str | None, subject: str | None, folder: Path) -> Session:
    if not sessions:
        raise DataNotFoundError(
            f"{folder} holds no session (images_SESSION.zip with responses_raw_SESSION.npy or "
            f"responses_avg_SESSION.npy). Get the two public ones with: {CARD.command}"
        )
    if session is not None and str(session) not in [s.name for s in sessions]:
        _refuse_incomplete(folder, str(session))
        raise unknown_name(f"session of {CARD.name!r} in {folder}", session, [s.name for s in sessions])
    subjects = {s.subject for s in sessions if s.subject}
    if subject is not None and subject not in subjects:
        raise unknown_name(f"subject of {CARD.name!r} in {folder}", subject, subjects)
    rest = [s for s in sessions if session in (None, s.name) or str(session) == s.name]
    rest = [s for s in rest if subject in (None, s.subject)]
    if not rest:
        raise InputError(f"session {session!r} is not of subject {subject!r}")
    if len(rest) > 1:
        raise InputError(
            f"{CARD.name!r} has {len(rest)} sessions here; choose one with session=: "
            + "; ".join(map(str, rest))
        )
    return rest[0]


def _refuse_incomplete(folder: Path, session: str) -> None:
    """Name the file that a half-present session lacks."""
    images = folder / f"images_{session}.zip"
    kinds = [folder / f"responses_{kind}_{session}.npy" for kind in ("raw", "avg")]
    if images.exists():
        raise DataNotFoundError(
            f"{images} is there, but neither {kinds[0].name} nor {kinds[1].name} beside it"
        )
    if any(path.exists() for path in kinds):
        raise DataNotFoundError(f"the responses of session {session} are there, but not {images}")


def _stimuli(session: Session) -> Any:
    import pandas as pd

    from brainalign.types import Stimuli
    from data_loaders._images import content_hashes, zip_images

    images = zip_images(require_file(session.images, CARD))
    ids = list(images.members)
    table = pd.DataFrame(
        {
            "stimulus_id": ids,
            "modality": "image",
            "path": [f"{session.images.name}/{images.members[i]}" for i in ids],
            "content_hash": content_hashes(images, ids),
        }
    )
    return Stimuli(table, images, CARD.info())


def _responses(session: Session, content_hash: Any, info: dict[str, Any]) -> Any:
    import pandas as pd

    from brainalign.types import Responses

    counts = read_npy(require_file(session.responses, CARD))
    n_axes = 3 if session.single_repeats else 2
    wanted = ("neurons", "images", "repeats")[:n_axes]
    if counts.ndim != n_axes or counts.dtype.kind not in "fiu" or 0 in counts.shape:
        raise CorruptFileError(
            f"{session.responses} has shape {counts.shape}, dtype {counts.dtype}; expected "
            f"({', '.join(wanted)}) numbers"
        )
    if counts.shape[1] != len(content_hash):
        raise CorruptFileError(
            f"{session.responses} is over {counts.shape[1]} images, {session.images} holds "
            f"{len(content_hash)}"
        )
    trials = (counts if n_axes == 3 else counts[:, :, None]).transpose(1, 2, 0)
    if trials.dtype.kind != "f":
        trials = trials.astype(np.float64)
    image, repeat = np.nonzero(~np.isnan(trials).all(axis=2))
    ids = np.asarray(content_hash.index, dtype=object)
    samples = pd.DataFrame(
        {
            "stimulus_id": ids[image],
            "session": session.name,
            "subject": session.subject,
            "content_hash": np.asarray(content_hash, dtype=object)[image],
        }
    )
    labels = list(ids[image])
    if session.single_repeats:
        samples.insert(1, "repetition", [str(r + 1) for r in repeat])
        labels = [f"{i}_r{r + 1}" for i, r in zip(labels, repeat, strict=True)]
    samples.index = pd.Index(labels, name="sample_id")
    units = pd.DataFrame(
        {"unit_id": [f"{session.name}_n{i:02d}" for i in range(counts.shape[0])], "roi_area": "V4"}
    )
    return Responses(trials[image, repeat], samples, units, info=info)
