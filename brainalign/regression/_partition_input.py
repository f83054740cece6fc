"""What a variance partition is given, read and checked: spaces, names, weights, nested folds, memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from brainalign._checks import unique_ids
from brainalign._memory import available_memory
from brainalign.errors import InputError, MemoryBudgetError, ShapeError
from brainalign.regression._folds import Fold, make_fold, resolve_folds
from brainalign.regression._sources import check_rows

MOST_SPACES = 8


def read_spaces(arrays: Any, names: Any) -> tuple[list[Any], tuple[str, ...]]:
    """Arrays of two axes and equal length, and a name for each."""
    if isinstance(arrays, Mapping):
        names = list(arrays) if names is None else names
        arrays = list(arrays.values())
    if hasattr(arrays, "shape") or not isinstance(arrays, Sequence) or not len(arrays):
        found = f"one array of shape {tuple(arrays.shape)}" if hasattr(arrays, "shape") else repr(arrays)[:60]
        raise InputError(
            f"arrays is {found}; expected a list of feature spaces, each an array (n_samples, n_features), "
            "or a dict name -> array"
        )
    if len(arrays) > MOST_SPACES:
        raise InputError(
            f"arrays holds {len(arrays)} feature spaces, which have {2 ** len(arrays) - 1} subsets, each a "
            f"model per fold; at most {MOST_SPACES} are partitioned. Join related spaces into one, leave "
            "spaces out, or fit subsets drawn at random and average what each space adds (sampled Shapley "
            "values)"
        )
    if names is None:
        names = [f"space_{j}" for j in range(len(arrays))]
    elif isinstance(names, str) or len(names) != len(arrays):
        raise InputError(f"names is {names!r}; expected {len(arrays)} names, one for each of the arrays")
    labels = tuple(unique_ids("name of a feature space", names))
    spaces = [array if hasattr(array, "shape") else np.asarray(array) for array in arrays]
    _check_shapes(spaces, labels)
    return spaces, labels


def _check_shapes(spaces: list[Any], names: tuple[str, ...]) -> None:
    first = spaces[0].shape[0] if len(spaces[0].shape) else 0
    for j, (space, name) in enumerate(zip(spaces, names, strict=True)):
        shape = tuple(space.shape)
        if len(shape) != 2 or 0 in shape:
            raise ShapeError(
                f"arrays[{j}] ({name!r}) has shape {shape}; expected (n_samples, n_features), "
                "neither of them 0"
            )
        if shape[0] != first:
            raise ShapeError(
                f"arrays[{j}] ({name!r}) has {shape[0]} samples and arrays[0] ({names[0]!r}) has {first}; "
                "the rows of all spaces are the same samples"
            )


def read_responses(Y: Any, n: int) -> Any:
    """Responses with two axes, as many rows as the spaces."""
    Y = Y if hasattr(Y, "shape") else np.asarray(Y)
    check_rows(SimpleNamespace(shape=(n,)), Y)
    if len(Y.shape) == 2:
        return Y
    return Y[:, None] if isinstance(Y, torch.Tensor) else np.asarray(Y)[:, None]


def check_finite(name: str, values: torch.Tensor) -> None:
    """Refuse features that are NaN or infinite, naming the first."""
    if not bool(torch.isfinite(values).all()):
        row, column = (int(i) for i in torch.nonzero(~torch.isfinite(values))[0])
        raise InputError(
            f"feature space {name!r} holds {float(values[row, column])} in row {row}, column {column}; "
            "remove such rows or columns, or replace the value"
        )


def read_weights(sample_weight: Any, n: int) -> np.ndarray[Any, Any]:
    """Weight of each row, (n,) float64; ones where none are given."""
    if sample_weight is None:
        return np.ones(n)
    if isinstance(sample_weight, torch.Tensor):
        sample_weight = sample_weight.cpu().numpy()
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n,):
        raise ShapeError(f"sample_weight has shape {weights.shape}; expected ({n},), one weight for each row")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise InputError(
            f"sample_weight of row {bad[0]} is {weights[bad[0]]}; weights must be finite and not negative"
        )
    if (weights > 0).sum() < 4:
        raise ShapeError(
            f"{int((weights > 0).sum())} samples have a weight above zero; nested folds need at least 4"
        )
    return weights


def outer_folds(cv: Any, n: int, rows: np.ndarray[Any, Any]) -> list[Fold]:
    """Folds of `cv` among the kept rows; every test part carries an R2."""
    folds = resolve_folds(cv, _rows(n), None, scoring="neg_mean_squared_error", rows=rows)
    _check_sizes("cv", folds)
    return folds


def inner_folds(inner_cv: Any, n: int, rows: np.ndarray[Any, Any], outer: Sequence[Fold]) -> list[list[Fold]]:
    """For each outer fold the folds of its training rows, as positions among these.

    None: the other outer folds where two or more remain, else 5 folds in order.
    """
    if inner_cv is None:
        others = [[f for i, f in enumerate(outer) if i != o] for o in range(len(outer))]
        nested = [_within(fold, some) for fold, some in zip(outer, others, strict=True)]
        if min(len(folds) for folds in nested) > 1:
            return nested
    elif isinstance(inner_cv, Iterable) and not hasattr(inner_cv, "split"):
        some = resolve_folds(inner_cv, _rows(n), None, scoring="neg_mean_squared_error", rows=rows)
        nested = [_within(fold, some) for fold in outer]
        empty = [o for o, folds in enumerate(nested) if not folds]
        if empty:
            raise InputError(
                f"inner_cv: none of its folds has 2 training and 2 test samples among the training rows of "
                f"fold {empty[0]} of cv; give folds of all rows, an int or a splitter"
            )
        return nested
    nested = []
    for fold in outer:
        # the splitter numbers the training rows from 0
        nested.append(resolve_folds(inner_cv, _rows(len(fold.train)), None, scoring="neg_mean_squared_error"))
        _check_sizes("inner_cv", nested[-1])
    return nested


def _rows(n: int) -> Any:
    """What a splitter is asked with: only the number of rows matters."""
    return SimpleNamespace(shape=(n,))


def _check_sizes(argument: str, folds: Sequence[Fold]) -> None:
    for number, fold in enumerate(folds):
        if len(fold.test) < 2 or len(fold.train) < 2:
            raise ShapeError(
                f"fold {number} of {argument} has {len(fold.train)} training and {len(fold.test)} test "
                "samples; R2 needs at least 2 of each: use fewer, larger folds"
            )


def _within(fold: Fold, folds: Sequence[Fold]) -> list[Fold]:
    """Other folds cut down to the training rows of one; those without enough rows are left out."""
    rows = fold.train.numpy()
    out = []
    for other in folds:
        train, test = (
            np.flatnonzero(np.isin(rows, part.numpy(), assume_unique=True))
            for part in (other.train, other.test)
        )
        if len(train) > 1 and len(test) > 1:
            out.append(make_fold(train, test, len(rows)))
    return out


def check_memory(peak: int, n: int, p: int, n_spaces: int, device: torch.device) -> None:
    """Refuse before work what the memory cannot hold."""
    free = available_memory() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    if peak > free:
        raise MemoryBudgetError(
            f"the partition of {n_spaces} spaces of {p} columns in all over {n} samples needs about "
            f"{peak / 2**30:.3g} GiB and {free / 2**30:.3g} GiB are free on {device}; average repeats, leave "
            "columns out, or use a machine with more memory"
        )
