"""Download and check of registered files: announced first, verified after, nothing lost between."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from brainalign.errors import BrainAlignError, CorruptFileError, DataNotFoundError, InputError, WriteError
from brainalign.storage.atomic import folder_lock, is_passing, move, remove_leftovers
from data_loaders._card import DatasetCard, RemoteFile, megabytes
from data_loaders._connection import DEFAULT_LIMITS, Limits, Source, is_offline
from data_loaders._download import ResumingDownloader
from data_loaders._read import require_file, sha256_of
from data_loaders._root import dataset_folder, target_folder

STAGING = ".fetch"


def fetch_files(
    card: DatasetCard,
    root: str | os.PathLike[str] | None,
    *,
    base_url: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Path:
    """Fill the folder of a dataset with its registered files; return the folder.

    A file gets its name when its sha256 is the registered one. Until then it grows in the
    hidden folder ``.fetch``, which an interrupted fetch leaves behind and the next one
    continues. A second process that fetches the same dataset waits for the first.

    Parameters
    ----------
    card : DatasetCard
    root : path or None, see `data_loaders.fetch`
    base_url : another source than that of the card; may be http on this machine
    limits : timeouts and retries

    Raises
    ------
    InputError
        The dataset cannot be fetched, the address is not https, or another process holds
        the folder for too long.
    DataNotFoundError
        Offline, or the download failed.
    WriteError
        No room for what is missing (said before the first byte), or the disk fails.
    CorruptFileError
        A file that is there is not the registered one (it is left as it is), or the source
        sent something else (the other files are fetched all the same).
    """
    address = base_url or card.base_url
    if address is None:
        raise InputError(f"the dataset {card.name!r} cannot be fetched: {card.fetch_note}")
    source = Source(address, card.hosts, limits, loopback=base_url is not None)
    folder = target_folder(card, root)
    missing, problems = _inspect(card, folder)
    _announce(card, folder, missing)
    if missing:
        _refuse_offline(card, folder, missing)
        with _alone(folder, limits):
            # another process may have brought them in the meantime
            missing = [file for file in missing if not os.path.lexists(folder / file.name)]
            _refuse_full_disk(card, folder, missing)
            problems += _download(folder, missing, address, source)
    else:
        _sweep(folder)
    if problems:
        raise CorruptFileError(
            f"{len(problems)} of {len(card.files)} files of {card.name!r} are wrong: " + "; ".join(problems)
        )
    return folder


def verify_files(card: DatasetCard, root: str | os.PathLike[str] | None) -> list[tuple[str, str]]:
    """Check size and sha256 of every registered file of a dataset; opens no connection.

    Parameters
    ----------
    card : DatasetCard
    root : path or None, where the dataset is looked for

    Returns
    -------
    list of (file, problem)
        The registered name and what is wrong with it, absent files included; empty where
        everything is as registered. Cost: every file is read once.

    Raises
    ------
    DataNotFoundError
        The dataset is in none of the places.
    InputError
        The dataset has no registered files, so that nothing can be said.
    """
    if not card.files:
        raise InputError(f"the dataset {card.name!r} has no registered files to check; {card.fetch_note}")
    folder = dataset_folder(card, root)
    found = ((file.name, _problem(folder / file.name, file, card)) for file in card.files)
    return [(name, problem) for name, problem in found if problem]


def _problem(path: Path, file: RemoteFile, card: DatasetCard) -> str:
    """What is wrong with a file, in words; empty where it is the registered one."""
    if not os.path.lexists(path):
        return f"absent; expected {file.size} bytes"
    if file.size == 0 and path.is_file() and path.stat().st_size == 0:
        return ""
    try:
        require_file(path)
        size, found = path.stat().st_size, sha256_of(path)
    except OSError as error:  # the errors for placeholders are of this kind too
        return str(error)
    if found == file.sha256:
        return ""
    swapped = [other.name for other in card.files if other.sha256 == found]
    return (
        f"{path} has {size} bytes and sha256 {found}; expected {file.size} bytes and {file.sha256} "
        f"(registry of {card.name!r})" + (f"; it has the content of {swapped[0]}" if swapped else "")
    )


def _inspect(card: DatasetCard, folder: Path) -> tuple[list[RemoteFile], list[str]]:
    """Which files are missing, and what is wrong with those that are there."""
    missing = [file for file in card.files if not os.path.lexists(folder / file.name)]
    there = [file for file in card.files if file not in missing]
    problems = [problem for file in there if (problem := _problem(folder / file.name, file, card))]
    return missing, [f"{problem}. It was left as it is: move it away and fetch again" for problem in problems]


def _announce(card: DatasetCard, folder: Path, missing: Sequence[RemoteFile]) -> None:
    total = megabytes(sum(file.size for file in missing))
    lines = [f"{card.name}: {card.title}", f"licence: {card.licence}", f"source: {card.source}"]
    for file in missing:
        begun = _begun(folder, file)
        lines.append(
            f"  {file.name}  {megabytes(file.size)}  sha256 {file.sha256}"
            + (f"  ({megabytes(begun)} are there)" if begun else "")
        )
    lines.append(f"{len(missing)} of {len(card.files)} files, {total}, to {folder}")
    print("\n".join(lines), file=sys.stderr)


def _refuse_offline(card: DatasetCard, folder: Path, missing: Sequence[RemoteFile]) -> None:
    if is_offline():
        raise DataNotFoundError(
            f"BRAINALIGN_OFFLINE is set, no connection is made; {len(missing)} of {len(card.files)} files of "
            f"{card.name!r} are missing, first {missing[0].name}: put them into {folder} by hand, from "
            f"{card.source}"
        )


@contextmanager
def _alone(folder: Path, limits: Limits) -> Iterator[None]:
    """Hold the folder of the dataset; wait for another process that fetches it."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(folder_lock(folder))
            except InputError as error:
                print(f"waiting: {error}", file=sys.stderr)
                stack.enter_context(folder_lock(folder, wait_s=limits.lock_wait_s))
        except BrainAlignError:
            raise
        except OSError as error:
            raise _unwritable(folder, error) from error
        remove_leftovers(folder)
        yield


def _unwritable(folder: Path, error: OSError) -> WriteError:
    text = f"{folder} cannot be written ({error.strerror or error}); choose another place with root= or "
    return WriteError(error.errno or errno.EIO, f"{text}BRAINALIGN_DATA", os.fspath(folder))


def _refuse_full_disk(card: DatasetCard, folder: Path, missing: Sequence[RemoteFile]) -> None:
    """All missing files must fit before the first is asked for."""
    needed = sum(file.size - _begun(folder, file) for file in missing)
    free = shutil.disk_usage(folder).free
    if needed > free:
        text = (
            f"{card.name!r} needs {megabytes(needed)} more in {folder}, where {megabytes(free)} are free; "
            "make room, or choose another place with root= or BRAINALIGN_DATA. Nothing was downloaded"
        )
        raise WriteError(errno.ENOSPC, text, os.fspath(folder))


def _part(folder: Path, file: RemoteFile) -> Path:
    """Where a file grows; a file that is registered anew does not continue the old one."""
    place = folder / STAGING / file.name
    return place.with_name(f"{place.name}.{file.sha256[:8]}.part")


def _begun(folder: Path, file: RemoteFile) -> int:
    try:
        return min(file.size, _part(folder, file).stat().st_size)
    except OSError:
        return 0


def _download(folder: Path, missing: Sequence[RemoteFile], address: str, source: Source) -> list[str]:
    """Get the files one after the other; return what is wrong with those that are refused."""
    import pooch

    registry = pooch.create(
        path=folder / STAGING,
        base_url=address,
        registry={file.name: f"sha256:{file.sha256}" for file in missing},
        urls={file.name: address + quote(file.source_path) for file in missing},
    )
    problems = []
    _tidy(folder / STAGING)
    try:
        with _quiet(pooch.get_logger()):
            for file in missing:
                try:
                    _download_one(registry, file, folder, source)
                except CorruptFileError as error:
                    problems.append(str(error))
    except BrainAlignError:
        raise
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        _tidy(folder / STAGING)
    return problems


def _download_one(registry: Any, file: RemoteFile, folder: Path, source: Source) -> None:
    """Let pooch fetch a file into the hidden folder and verify it; then give it its name."""
    target = folder / file.name
    with _progress(file, _begun(folder, file)) as (advance, say):
        downloader = ResumingDownloader(
            file,
            _part(folder, file),
            lambda found: target.with_name(f"{target.name}.bad-{found[:8]}"),
            source,
            advance=advance,
            say=say,
        )
        staged = registry.fetch(file.name, downloader=downloader)
        target.parent.mkdir(parents=True, exist_ok=True)
        move(Path(staged), target)
    downloader.forget()


@contextmanager
def _progress(
    file: RemoteFile, begun: int
) -> Iterator[tuple[Callable[[int], object], Callable[[str], object]]]:
    """A bar on a terminal, else one line when the file is there; yields (advance, say)."""
    from tqdm import tqdm

    def say(text: str) -> None:
        tqdm.write(f"  {file.name}: {text}", file=sys.stderr)

    start = time.monotonic()
    with tqdm(
        total=file.size,
        initial=begun,
        desc=f"  {file.name}",
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        disable=None,  # where stderr is no terminal
    ) as bar:
        yield bar.update, say
    if bar.disable:
        since = f", continued at {begun} bytes" if begun else ""
        say(f"{megabytes(file.size)} in {time.monotonic() - start:.1f} s, verified{since}")


@contextmanager
def _quiet(logger: Any) -> Iterator[None]:
    """Without the messages of pooch, which repeat what has been announced."""
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _tidy(staging: Path) -> None:
    """Remove what a killed process left beside the pieces, and folders that hold nothing."""
    for path in sorted(staging.rglob("*"), reverse=True):  # what is in a folder before the folder
        with suppress(OSError):
            if path.is_dir():
                path.rmdir()
            elif path.name.startswith("tmp") and not path.suffix:
                path.unlink()
    with suppress(OSError):
        staging.rmdir()


def _sweep(folder: Path) -> None:
    """Where every file has its name, the hidden folder and the lock are left from a kill."""
    if folder.is_dir() and any(path.name == STAGING or is_passing(path) for path in folder.iterdir()):
        with suppress(InputError, OSError), folder_lock(folder):
            remove_leftovers(folder)
            shutil.rmtree(folder / STAGING, ignore_errors=True)
