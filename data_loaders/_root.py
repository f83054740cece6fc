"""Where a dataset is looked for: argument, BRAINALIGN_DATA, user cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from brainalign.errors import DataNotFoundError
from data_loaders._card import DatasetCard, megabytes

# files that any folder may hold
_COMMON = ("readme", "license", "licence", "changes", "participants.tsv", "dataset_description.json")


def cache_folder() -> Path:
    """The user's cache folder: BRAINALIGN_CACHE, else the platform's own."""
    chosen = os.environ.get("BRAINALIGN_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "brainalign"


def _roots(root: str | os.PathLike[str] | None) -> list[Path]:
    if root is not None:
        return [Path(root).expanduser()]
    chosen = os.environ.get("BRAINALIGN_DATA")
    return [*([Path(chosen).expanduser()] if chosen else []), cache_folder() / "datasets"]


def dataset_folder(card: DatasetCard, root: str | os.PathLike[str] | None) -> Path:
    """Return the folder of a dataset, which exists.

    Raises
    ------
    DataNotFoundError
        It is in none of the places; names them, the size, the licence and the command.
    """
    roots = _roots(root)
    for place in roots:
        if (place / card.name).is_dir():
            return place / card.name
        if _is_dataset(place, card):
            return place
    looked = ", ".join(str(place / card.name) for place in roots)
    raise DataNotFoundError(f"the dataset {card.name!r} is not at {looked}. {how_to_get(card)}")


def _is_dataset(place: Path, card: DatasetCard) -> bool:
    """Whether a folder is that of the dataset itself, under its own or another name."""
    names = [file.name for file in card.files if not file.name.lower().startswith(_COMMON)]
    return place.is_dir() and (place.name == card.name or any((place / name).exists() for name in names))


def target_folder(card: DatasetCard, root: str | os.PathLike[str] | None) -> Path:
    """Return the folder that `fetch` fills: the one that `load` reads, which need not exist."""
    try:
        return dataset_folder(card, root)
    except DataNotFoundError:
        place = _roots(root)[0]
        return place if place.name == card.name else place / card.name


def how_to_get(card: DatasetCard) -> str:
    """Size, licence and the command (or the words) to get a dataset."""
    text = f"It takes {megabytes(card.size)}, licence: {card.licence}. "
    return text + (f"Get it with: {card.command}" if card.base_url else card.fetch_note)
