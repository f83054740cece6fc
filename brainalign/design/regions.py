"""Regions that the ``roi_`` columns of a unit table name."""

from __future__ import annotations

import numpy as np
import pandas as pd

from brainalign._checks import unknown_name

ALL = "all"
UNLABELLED = "unlabelled"


def selection_regions(units: pd.DataFrame, select: str) -> dict[str, np.ndarray]:
    """Positions of the units of each region that chooses a feature space of its own.

    Parameters
    ----------
    units : unit table of `Responses` or `Scores`
    select : ``"auto"`` (per label where there is exactly one ``roi_`` column and it holds
        labels, else all units together), ``"all"``, or the name of a ``roi_`` column
        (labels, or a boolean mask and its complement)

    Returns
    -------
    {region: (n,) positions}; every unit is in exactly one region.
    """
    columns = [c for c in units.columns if c.startswith("roi_")]
    if select == "auto":
        select = columns[0] if len(columns) == 1 and units[columns[0]].dtype != bool else ALL
    if select == ALL:
        return {ALL: np.arange(len(units))}
    if select not in columns:
        raise unknown_name("select", select, [*columns, "auto", ALL, "unit"])
    return _of_column(units, select, complement=True)


def named_regions(units: pd.DataFrame) -> dict[str, np.ndarray]:
    """Every region that any ``roi_`` column names, and all units together; may overlap.

    Returns
    -------
    {region: (n,) positions}, ``"all"`` first. Where one region holds every unit, ``"all"``
    is left out: it would say the same twice.
    """
    found = {ALL: np.arange(len(units))}
    for column in (c for c in units.columns if c.startswith("roi_")):
        for name, index in _of_column(units, column, complement=False).items():
            key = name if name not in found else f"{column.removeprefix('roi_')}:{name}"
            found[key] = index
    if len(found) == 2 and all(len(index) == len(units) for index in found.values()):
        del found[ALL]
    return found


def _of_column(units: pd.DataFrame, column: str, *, complement: bool) -> dict[str, np.ndarray]:
    if units[column].dtype == bool:
        mask, name = units[column].to_numpy(), column.removeprefix("roi_")
        found = {name: np.flatnonzero(mask)}
        if complement:
            found[f"not {name}"] = np.flatnonzero(~mask)
        return {k: v for k, v in found.items() if len(v)}
    text = [UNLABELLED if pd.isna(v) or v == "" else str(v) for v in units[column]]
    codes, names = pd.factorize(pd.Series(text, dtype=object))
    return {str(name): np.flatnonzero(codes == i) for i, name in enumerate(names)}
