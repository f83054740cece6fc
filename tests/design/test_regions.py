"""Regions named by labels, by masks, by both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from brainalign.design import named_regions, selection_regions
from brainalign.errors import UnknownNameError

LABELS = pd.DataFrame({"roi_area": ["V1", "V4", None, "V1", "", np.nan, pd.NA]}, dtype=object)
MASK = pd.DataFrame({"roi_FFA": [True, False, True, False, False, False, False]})


def lists(regions: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return {name: index.tolist() for name, index in regions.items()}


def test_selection_covers_every_unit_once() -> None:
    """One label column chooses per label; units without a label are a region of their own."""
    found = lists(selection_regions(LABELS, "auto"))
    assert found == {"V1": [0, 3], "V4": [1], "unlabelled": [2, 4, 5, 6]}
    assert lists(selection_regions(MASK, "roi_FFA")) == {"FFA": [0, 2], "not FFA": [1, 3, 4, 5, 6]}
    assert lists(selection_regions(LABELS, "all")) == {"all": list(range(7))}


def test_automatic_selection_does_not_choose_between_columns() -> None:
    """A mask alone, several columns, or none: all units together."""
    for units in (MASK, pd.concat([LABELS, MASK], axis=1), LABELS[[]]):
        assert lists(selection_regions(units, "auto")) == {"all": list(range(7))}
    none_inside = pd.DataFrame({"roi_x": [False, False]})
    assert lists(selection_regions(none_inside, "roi_x")) == {"not x": [0, 1]}


def test_named_regions() -> None:
    """All units come first, masks may overlap labels, equal names are told apart by their column."""
    units = pd.concat([LABELS, MASK, LABELS.rename(columns={"roi_area": "roi_atlas"})], axis=1)
    found = lists(named_regions(units))
    assert next(iter(found)) == "all"
    assert found["FFA"] == [0, 2]
    assert found["V1"] == found["atlas:V1"] == [0, 3]
    assert list(named_regions(LABELS[[]])) == ["all"]


def test_one_region_of_all_units_is_said_once() -> None:
    """Where the only region holds every unit "all" would say the same twice."""
    assert lists(named_regions(pd.DataFrame({"roi_area": ["V4", "V4"]}))) == {"V4": [0, 1]}
    assert lists(named_regions(pd.DataFrame({"roi_area": ["all", "V4"]}))) == {
        "all": [0, 1],
        "area:all": [0],
        "V4": [1],
    }


def test_unknown_column() -> None:
    """A column that does not exist is answered with the closest one."""
    with pytest.raises(UnknownNameError, match="select 'roi_aera' does not exist; closest: roi_area"):
        selection_regions(LABELS, "roi_aera")
