"""Measures that are inner products of prepared RDMs: many against many in one product."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from brainalign._checks import lookup, unique_ids
from brainalign._linalg import full_precision
from brainalign.comparison._comparators import (
    as_tensor,
    unit_lengths,
    unit_ranks,
    unit_ranks_a,
    unit_vectors,
    unit_whitened,
)
from brainalign.comparison._mantel import MantelForms
from brainalign.comparison._rdm_stacks import as_stack, upper_triangle
from brainalign.comparison._rsa_inputs import rsa_inputs
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import FEWEST_PAIRS, common_pairs
from brainalign.types import RDMs

INNER_MEASURES: dict[str, Callable[[Any], Any]] = {
    "pearson": unit_vectors,
    "spearman": unit_ranks,
    "rho_a": unit_ranks_a,
    "cosine": unit_lengths,
    "whitened_cosine": unit_whitened,
    "whitened_pearson": partial(unit_whitened, centre=True),
}
"""Measures whose table over many RDMs is one matrix product of unit vectors."""


def inner_measure(measure: str) -> Callable[[Any], Any]:
    """The preparation of a measure that is an inner product; refuse any other."""
    if callable(measure):
        raise InputError(
            f"measure is a callable; expected a name, one of {', '.join(INNER_MEASURES)}: these are inner "
            "products of RDMs that are prepared once"
        )
    found: Callable[[Any], Any] = lookup("measure", measure, INNER_MEASURES)
    return found


def complete_triangles(stack: np.ndarray) -> np.ndarray:
    """Upper triangles (k, n_pairs) of a checked stack; missing pairs are refused.

    Raises
    ------
    InputError
        Pairs are missing (NaN) in some RDM.
    """
    vectors = upper_triangle(stack)
    if np.isfinite(vectors).all():
        return vectors
    known, n_missing = common_pairs(stack)
    worst = int((~known).sum(axis=1).argmax())
    raise InputError(
        f"{n_missing} of {vectors.shape[1]} pairs of stimuli are missing (NaN) in some RDM, most of them "
        "with the "
        f"stimulus of row {worst}; a comparison of many RDMs at once needs the same pairs in all: leave out "
        "the "
        "stimuli with missing pairs"
    )


def unit_rows(vectors: Any, measure: str) -> torch.Tensor:
    """Rows (k, n_pairs) whose inner products are the measure; NaN rows where it is not defined."""
    with full_precision():
        out: torch.Tensor = inner_measure(measure)(as_tensor(vectors))
    return out


def unit_matrices(stack: np.ndarray, measure: str) -> torch.Tensor:
    """Matrices (k, n, n) whose inner products are the measure; they follow an order of the stimuli.

    `unit_rows` of whitened measures lie in a space of contrasts, where an order is no gather.
    """
    inner_measure(measure)
    with full_precision():
        return MantelForms(rsa_inputs(stack[:1], stack, measure=measure, warn_ties=False)).units


def warn_undefined(values: np.ndarray, what: str, stacklevel: int = 3) -> None:
    """Count the similarities that are NaN."""
    count = int(np.isnan(values).sum())
    if count:
        warnings.warn(
            f"{count} of {values.size} {what} are NaN: an RDM is constant over its pairs (all zero for a "
            "cosine) "
            "or holds NaN",
            stacklevel=stacklevel + 1,
        )


def named_rdms(
    name: str, rdms: Any, columns: Sequence[str], names: Sequence[str] | None = None
) -> tuple[Any, list[str]]:
    """RDMs as they were given (a stack or `RDMs`) and one name for each.

    A mapping {name: (n, n)} is stacked; of `RDMs` the names are the first of `columns` whose
    values are unique; else they are numbered.
    """
    found: list[str] | None = None
    if isinstance(rdms, Mapping):
        found, rdms = [str(key) for key in rdms], _stacked(name, rdms)
    elif isinstance(rdms, RDMs):
        found = _column(rdms, columns)
    k = len(rdms) if isinstance(rdms, RDMs) or np.ndim(rdms) >= 3 else 1
    labels = list(names) if names is not None else (found or [f"{columns[0]}_{i}" for i in range(k)])
    if len(labels) != k:
        raise ShapeError(f"{len(labels)} names for {k} RDMs of {name}; give one name an RDM")
    return rdms, [str(v) for v in unique_ids(f"name of {name}", labels)]


def _stacked(name: str, rdms: Mapping[Any, Any]) -> np.ndarray:
    if not rdms:
        raise ShapeError(f"{name} is an empty mapping; expected {{name: (n, n)}}")
    matrices = {key: np.asarray(on_host(value), dtype=np.float64) for key, value in rdms.items()}
    shapes = {m.shape for m in matrices.values()}
    if len(shapes) != 1:
        listed = ", ".join(f"{key!r} {m.shape}" for key, m in matrices.items())
        raise ShapeError(f"{name} hold {listed}; expected one shape for all")
    return np.stack(list(matrices.values()))


def _column(rdms: RDMs, columns: Sequence[str]) -> list[str] | None:
    for column in columns:
        if rdms.table is not None and column in rdms.table and rdms.table[column].is_unique:
            return [str(v) for v in rdms.table[column]]
    return None


def on_host(value: Any) -> Any:
    """A tensor as an array, anything else as it is."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def checked_stack(name: str, value: Any, n: int | None = None) -> np.ndarray:
    """A stack (k, n, n) over `n` stimuli with at least 3 pairs."""
    stack = as_stack(name, on_host(value.values if isinstance(value, RDMs) else value))
    if n is not None and stack.shape[1] != n:
        raise ShapeError(f"{name} is over {stack.shape[1]} stimuli; expected {n}, as in the other RDMs")
    if stack.shape[1] * (stack.shape[1] - 1) // 2 < FEWEST_PAIRS:
        raise ShapeError(f"{name} is over {stack.shape[1]} stimuli; a comparison of RDMs needs at least 3")
    return stack
