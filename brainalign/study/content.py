"""What results hold, as one digest: equal numbers, tables and names give equal digests."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import DataNotFoundError
from brainalign.storage import load
from brainalign.storage.record import read_record
from brainalign.study.cells import CELL_RECORD
from brainalign.study.record import CELLS, RECORD

# says when, where or in which edition something was computed, not what came out
_CIRCUMSTANCES = frozenset(
    {"seconds", "versions", "study", "title", "device", "threads", "system", "numerics", "batch_size"}
)
_Update = Callable[[bytes], None]


def content_digest(folder: str | Path) -> str:
    """Return one sha256 over everything that a study found.

    It covers values, tables, names, settings of the analysis and ``results.tsv`` (without
    its column run_id). It leaves out times, versions, devices, batch sizes and titles: an
    interrupted and continued run has the digest of an undisturbed one, and a digest that is
    the same under other library versions says that the versions changed nothing.

    Parameters
    ----------
    folder : folder of a study, finished or not

    Raises
    ------
    DataNotFoundError
        The folder holds no study.
    CorruptFileError
        A file is damaged.

    Notes
    -----
    Reads every score; the time is about that of one sha256 over them.
    """
    place = Path(folder)
    digest = hashlib.sha256()
    for found in sorted(cell_digests(place).values()):
        digest.update(found.encode())
    table = place / "results.tsv"
    if table.is_file():
        digest.update(_table_text(table.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def cell_digests(folder: str | Path) -> dict[str, str]:
    """Return {name of a cell's folder: sha256 of its content} of the cells that a study names and has.

    Raises
    ------
    DataNotFoundError
        The folder holds no study.
    CorruptFileError
        A file is damaged.
    """
    place = Path(folder)
    try:
        names = read_record(place / RECORD)["order"]
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"{place} holds no study (no {RECORD}); give the --output of a run"
        ) from error
    return {name: _cell_digest(place / CELLS / name) for name in names if (place / CELLS / name).is_dir()}


def _cell_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in read_record(folder / CELL_RECORD)["files"]:
        digest.update(f"{name}\0{noun_digest(load(folder / name))}".encode())
    return digest.hexdigest()


def noun_digest(noun: Any) -> str:
    """Return the sha256 of what a Scores, RDMs or another noun holds (see `content_digest`).

    Examples
    --------
    >>> from brainalign.types import Scores
    >>> one, other = Scores(np.ones(2), info={"seconds": 3}), Scores(np.ones(2), info={"seconds": 4})
    >>> noun_digest(one) == noun_digest(other) != noun_digest(Scores(np.zeros(2)))
    True
    """
    digest = hashlib.sha256()
    _add(noun, digest.update)
    return digest.hexdigest()


def _add(part: Any, update: _Update) -> None:
    """Feed a value to a digest so that no two different ones give the same bytes."""
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        fields = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        update(f"{type(part).__name__}\0".encode())
        _add_mapping(fields, update)
    elif isinstance(part, Mapping):
        _add_mapping({k: v for k, v in part.items() if k not in _CIRCUMSTANCES}, update)
    elif isinstance(part, pd.DataFrame):
        _add_mapping({"index": part.index.to_numpy(), **{str(c): part[c].to_numpy() for c in part}}, update)
    elif isinstance(part, (list, tuple)):
        update(f"list {len(part)}\0".encode())
        for entry in part:
            _add(entry, update)
    elif hasattr(part, "dtype") and hasattr(part, "shape"):
        _add_array(np.asarray(part), update)
    else:
        update(f"{type(part).__name__} {part!r}\0".encode("utf-8", "surrogatepass"))


def _add_mapping(fields: Mapping[Any, Any], update: _Update) -> None:
    update(f"mapping {len(fields)}\0".encode())
    for key, value in fields.items():
        update(f"{key!r}\0".encode("utf-8", "surrogatepass"))
        _add(value, update)


def _add_array(array: np.ndarray, update: _Update) -> None:
    if array.dtype.kind not in "biufc":
        _add(array.tolist(), update)
        return
    update(f"{array.dtype.str} {array.shape}\0".encode())
    update(np.ascontiguousarray(array).tobytes())


def _table_text(text: str) -> str:
    """A table of results without the column that only names the run."""
    rows = list(csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    kept = [i for i, name in enumerate(rows[0]) if name != "run_id"] if rows else []
    return "\n".join("\t".join(row[i] for i in kept if i < len(row)) for row in rows)
