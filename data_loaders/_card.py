"""What is known of a dataset without its files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from brainalign.errors import InputError

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a dataset: name in its folder, path at the source, bytes, sha256.

    The name may lie in folders below that of the dataset (``sub-01/bold.nii.gz``).

    Raises
    ------
    InputError
        The name could leave the folder of the dataset, or the size or the sha256 cannot
        be that of a file.
    """

    name: str
    source_path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        if not self.name.isprintable() or "\\" in self.name or ":" in self.name or {"", ".", ".."} & {*parts}:
            raise InputError(
                f"{self.name!r} is no name of a registered file; expected a path inside the folder of the "
                "dataset, with / between its parts"
            )
        if self.size < 0 or not _SHA256.fullmatch(self.sha256):
            raise InputError(
                f"the registered file {self.name!r} has size {self.size} and sha256 {self.sha256!r}; "
                "expected its bytes and 64 hexadecimal digits"
            )


@dataclass(frozen=True)
class DatasetCard:
    """What is known of a dataset without its files.

    Parameters
    ----------
    name, title, licence, citation, source, species, recording : str
    subjects, sessions : tuples of str; what the public files hold
    files : the registered files; `base_url` is where they can be fetched, or None
    fetch_note : why they cannot be fetched, and what to do instead
    options : {option of `load`: what it means}
    redistributable_stimuli : bool, whether a report may show the stimuli
    hosts : further hosts to which `base_url` may redirect; every other is refused
    """

    name: str
    title: str
    licence: str
    citation: str
    source: str
    species: str = ""
    recording: str = ""
    subjects: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    base_url: str | None = None
    fetch_note: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    redistributable_stimuli: bool = False
    hosts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all registered files."""
        return sum(file.size for file in self.files)

    @property
    def command(self) -> str:
        """The command that fetches the dataset."""
        return f"brainalign datasets fetch {self.name}"

    def info(self) -> dict[str, object]:
        """The part that travels with what is loaded."""
        return {
            "dataset": self.name,
            "source": self.source,
            "citation": self.citation,
            "licence": self.licence,
            "species": self.species,
            "recording": self.recording,
            "redistributable_stimuli": self.redistributable_stimuli,
        }


def megabytes(size: int) -> str:
    """A size in words, for instance ``8.7 MB``."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
