"""Loaders of recordings, one module a dataset: `available`, `describe`, `fetch`, `load`, `verify`.

Importing this package loads the standard library only; a dataset module and what it
reads with are imported when the dataset is asked for.

Examples
--------
>>> import data_loaders
>>> data_loaders.available()  # doctest: +NORMALIZE_WHITESPACE
['alice_fmri', 'arrays', 'eeglab_sample', 'fmriprep', 'folder', 'haxby2001', 'macaque_v4',
 'mne_file', 'n170_muse', 'object2vec81', 'objects92', 'photographs']
>>> data_loaders.describe("macaque_v4").licence
'GPL-3.0 (licence of the source repository; none is stated for the recordings alone)'
"""

from __future__ import annotations

import inspect
import os
import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from brainalign.errors import InputError
from data_loaders._names import unknown_name

if TYPE_CHECKING:
    from brainalign.types import Dataset
    from data_loaders._card import DatasetCard

__all__ = ["available", "describe", "fetch", "load", "verify"]


def available() -> list[str]:
    """Return the names of the datasets that `load` knows, sorted. Reads no file of theirs."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def describe(name: str) -> DatasetCard:
    """Return what is known of a dataset without its files: size, licence, citation, options.

    Parameters
    ----------
    name : str, one of `available()`

    Raises
    ------
    UnknownNameError
        No such dataset; the closest names are listed.
    """
    card: DatasetCard = _module(name).CARD
    return card


def load(name: str, *, root: str | os.PathLike[str] | None = None, **options: Any) -> Dataset:
    """Load a dataset.

    Parameters
    ----------
    name : str, one of `available()`
    root : path, optional
        The folder that holds the dataset's folder, or that folder itself. By default the
        one named by the environment variable ``BRAINALIGN_DATA``, then the user's cache.
    **options
        Keywords of that dataset's own `load` (``describe(name).options``), for instance
        ``session=``; checked against its signature.

    Returns
    -------
    Dataset

    Raises
    ------
    UnknownNameError
        No such dataset, or the dataset has no such option; the closest are listed.
    InputError
        An option that must be given is missing, or a choice (a subject, a session) is
        open: the choices are listed.
    DataNotFoundError
        The files are not there: says what, how large, which licence, which command.
    CorruptFileError
        A file is there and cannot be what it claims to be.
    """
    module = _module(name)
    parameters = inspect.signature(module.load).parameters
    if root is not None:
        options["root"] = root
    for option in options:
        if option not in parameters:
            raise unknown_name(f"option of the dataset {name!r}", option, parameters)
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            meaning = module.CARD.options.get(option, "see its docstring")
            raise InputError(f"the dataset {name!r} needs {option}=: {meaning}")
    dataset: Dataset = module.load(**options)
    return dataset


def fetch(name: str, *, root: str | os.PathLike[str] | None = None) -> Path:
    """Download the public files of a dataset and verify them; return their folder.

    Files, sizes, checksums and licence are printed to stderr before the first byte is
    asked for. Files that are there already are verified and not downloaded again; a download
    that was interrupted goes on where it stopped. A file gets its name only once it has the
    registered content; a wrong one is kept aside as ``NAME.bad-HASH``. With
    ``BRAINALIGN_OFFLINE=1`` in the environment no socket is opened.

    Parameters
    ----------
    name : str, one of `available()`
    root : path, optional
        The folder that gets the dataset's folder. By default ``BRAINALIGN_DATA``, then
        the user's cache.

    Raises
    ------
    UnknownNameError
        No such dataset.
    InputError
        The dataset has no files that can be fetched; says what to do instead.
    DataNotFoundError
        Offline, or the download failed.
    WriteError
        There is no room for the missing files, or the disk fails.
    CorruptFileError
        A file has another checksum than the registered one.
    """
    from data_loaders._fetch import fetch_files

    return fetch_files(describe(name), root)


def verify(name: str, *, root: str | os.PathLike[str] | None = None) -> list[tuple[str, str]]:
    """Check the registered files of a dataset against their sizes and checksums.

    Parameters
    ----------
    name : str, one of `available()`
    root : path, optional, as in `load`

    Returns
    -------
    list of (file, problem), absent files included; empty where everything is as registered

    Raises
    ------
    UnknownNameError
        No such dataset.
    DataNotFoundError
        The dataset is in none of the places.
    InputError
        The dataset has no registered files.
    """
    from data_loaders._fetch import verify_files

    return verify_files(describe(name), root)


def _module(name: str) -> ModuleType:
    names = available()
    if name not in names:
        raise unknown_name("dataset", name, names)
    return import_module(f"data_loaders.{name}")
