"""Download of registered files: announced first, verified after."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import quote

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from data_loaders._card import DatasetCard, RemoteFile, megabytes
from data_loaders._read import require_file, sha256_of
from data_loaders._root import target_folder

_TIMEOUT_S = 60


def fetch_files(
    card: DatasetCard, root: str | os.PathLike[str] | None, *, base_url: str | None = None
) -> Path:
    """Fill the folder of a dataset with its registered files; return the folder."""
    source = base_url or card.base_url
    if source is None:
        raise InputError(f"the dataset {card.name!r} cannot be fetched: {card.fetch_note}")
    folder = target_folder(card, root)
    missing = [file for file in card.files if not _is_there(folder / file.name, file)]
    _announce(card, folder, missing)
    if missing and os.environ.get("BRAINALIGN_OFFLINE", "") not in ("", "0"):
        raise DataNotFoundError(
            f"BRAINALIGN_OFFLINE is set, no connection is made; {len(missing)} of {len(card.files)} files of "
            f"{card.name!r} are missing, first {missing[0].name}: put them into {folder} by hand, from "
            f"{card.source}"
        )
    for file in missing:
        _download(source + quote(file.source_path), folder, file)
    return folder


def _is_there(path: Path, file: RemoteFile) -> bool:
    if not path.exists():
        return False
    found = sha256_of(require_file(path))
    if found != file.sha256:
        raise CorruptFileError(
            f"{path} is there with sha256 {found}; expected {file.sha256}. Move it away and fetch again"
        )
    return True


def _announce(card: DatasetCard, folder: Path, missing: list[RemoteFile]) -> None:
    total = megabytes(sum(file.size for file in missing))
    lines = [f"{card.name}: {card.title}", f"licence: {card.licence}", f"source: {card.source}"]
    lines += [f"  {file.name}  {megabytes(file.size)}  sha256 {file.sha256}" for file in missing]
    lines.append(f"{len(missing)} of {len(card.files)} files, {total}, to {folder}")
    print("\n".join(lines), file=sys.stderr)


def _download(url: str, folder: Path, file: RemoteFile) -> None:
    """Get one file under a temporary name, verify it, then move it."""
    import pooch

    # redirects would lead to hosts that the registry does not name
    downloader = pooch.HTTPDownloader(timeout=_TIMEOUT_S, allow_redirects=False)
    logger = pooch.get_logger()
    level = logger.level
    # its messages repeat what has been announced
    logger.setLevel("WARNING")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            url, known_hash=f"sha256:{file.sha256}", fname=file.name, path=folder, downloader=downloader
        )
    except ValueError as error:
        raise CorruptFileError(
            f"{url} does not have the registered content of {file.name}: {error}. Nothing was kept"
        ) from error
    except Exception as error:  # the transport raises many types
        raise DataNotFoundError(
            f"{url} could not be downloaded ({type(error).__name__}: {error}). Try again, or put the "
            f"file into {folder} by hand"
        ) from error
    finally:
        logger.setLevel(level)
