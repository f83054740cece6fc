"""Confounds of fMRIPrep: which columns, and what their missing first row becomes."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from brainalign.errors import InputError
from data_loaders._bids import read_json
from data_loaders._names import unknown_name
from data_loaders._read import require_file
from data_loaders._tables import Table, read_tsv

_AXES = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
# fMRIPrep before 1.2
_OLD_AXES = dict(zip(_AXES, ("X", "Y", "Z", "RotX", "RotY", "RotZ"), strict=True))
_FORMS = ("", "_derivative1", "_power2", "_derivative1_power2")
_COMPONENT = "a_comp_cor_"
_N_COMPONENTS = 5
STRATEGIES = {
    "motion": "six of head motion",
    "motion24": "head motion, its change, and the squares of both (24 columns)",
    "acompcor": "six of head motion and the first five anatomical components",
}
NON_STEADY = "non_steady_state_outlier"
_WILD = set("*?[")


def read_confounds(path: Path) -> Table:
    """Read a table of confounds; pointers and empty files are named."""
    return read_tsv(require_file(path))


def n_non_steady(table: Table) -> int:
    """The number of volumes at the start of a run that fMRIPrep marks as not yet steady."""
    marked = [0]
    for name in table.columns:
        if name.startswith(NON_STEADY):
            marked += [row + 1 for row, value in enumerate(table.numbers(name)) if value == 1]
    return max(marked)


def confound_columns(choice: str | Sequence[str], tables: Sequence[Table]) -> list[str]:
    """Name the columns of a choice: a strategy, or names and patterns (``cosine*``).

    A name must be in the table of every run. A pattern takes what it finds in any of them:
    columns that only some runs have (cosines of a longer run, outliers) are 0 in the others.

    Raises
    ------
    UnknownNameError
        A run has no such column, or no run has one of the pattern; the closest is named.
    InputError
        The choice is empty, or the file has too few components.
    """
    if isinstance(choice, str):
        if choice not in STRATEGIES:
            valid = "; ".join(f"{name!r}: {meaning}" for name, meaning in STRATEGIES.items())
            raise InputError(f"confounds={choice!r}; expected a list of columns, or one of {valid}")
        return _strategy(choice, tables)
    if not choice:
        raise InputError("confounds=[] names no column; leave the option out for none")
    found: dict[str, None] = {}
    for name in choice:
        for column in _named(str(name), tables):
            found[column] = None
    return list(found)


def _named(name: str, tables: Sequence[Table]) -> list[str]:
    known = dict.fromkeys(column for table in tables for column in table.columns)
    if _WILD & set(name):
        chosen = [column for column in known if fnmatchcase(column, name)]
        if not chosen:
            raise unknown_name(f"column like it in {tables[0].path.name}", name, known)
        return chosen
    for table in tables:
        if name not in table.columns:
            raise unknown_name(f"column of {table.path.name}", name, table.columns)
    return [name]


def _strategy(choice: str, tables: Sequence[Table]) -> list[str]:
    old = "trans_x" not in tables[0].columns and "RotX" in tables[0].columns
    if old and choice == "motion":
        return [column for axis in _AXES for column in _named(_OLD_AXES[axis], tables)]
    forms = _FORMS if choice == "motion24" else _FORMS[:1]
    columns = [column for form in forms for axis in _AXES for column in _named(axis + form, tables)]
    return columns + (_components(tables) if choice == "acompcor" else [])


def _components(tables: Sequence[Table]) -> list[str]:
    """The first components that every run has; those of white matter and CSF together where it is said."""
    shared = [c for c in tables[0].columns if all(c in table.columns for table in tables)]
    names = [column for column in shared if column.startswith(_COMPONENT)]
    sidecar = tables[0].path.with_suffix(".json")
    if sidecar.is_file():
        about = read_json(sidecar)
        masks = {name: about[name].get("Mask") for name in names if isinstance(about.get(name), dict)}
        names = [name for name in names if masks.get(name, "combined") == "combined"]
    if len(names) < _N_COMPONENTS:
        raise InputError(
            f"{tables[0].path} and those of the other runs share {len(names)} columns {_COMPONENT}*; "
            f"confounds='acompcor' needs {_N_COMPONENTS}. Use 'motion', or name the columns"
        )
    return names[:_N_COMPONENTS]


def confound_values(table: Table, columns: Sequence[str]) -> np.ndarray:
    """The columns of one run, (n_rows, n_columns), float64, without NaN.

    What is missing in the first row (a change has no value there) becomes the mean of the
    rest of its column, which says nothing once the column is centred.

    Raises
    ------
    InputError
        A value is missing or infinite after the first row.
    """
    out = np.zeros((len(table), len(columns)))
    for position, name in enumerate(columns):
        if name not in table.columns:
            continue  # a column of another run (a pattern)
        values = np.asarray(table.numbers(name))
        bad = np.flatnonzero(~np.isfinite(values[1:]))
        if len(bad):
            raise InputError(
                f"{table.path}, line {table.lines[bad[0] + 1]}: {name} is missing or infinite; only the "
                "first row may be n/a. Choose other confounds"
            )
        if not np.isfinite(values[0]):
            values[0] = values[1:].mean() if len(values) > 1 else 0.0
        out[:, position] = values
    return out
