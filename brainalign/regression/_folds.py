"""Folds of any splitter as row positions, checked once for all estimators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import check_cv

from brainalign.errors import InputError, ShapeError

IntArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Fold:
    """One fold: sorted row positions.

    `train` and `test`; `absent` are all rows that the training leaves out (test rows and
    those of a gap), and `where` the positions of the test rows among them.
    """

    train: torch.Tensor
    test: torch.Tensor
    absent: torch.Tensor
    where: torch.Tensor

    def to(self, device: torch.device) -> Fold:
        """The same fold with its positions on `device`."""
        return Fold(
            self.train.to(device), self.test.to(device), self.absent.to(device), self.where.to(device)
        )


def make_fold(train: Any, test: Any, n: int) -> Fold:
    """A fold of `n` rows from sorted positions."""
    train, test = np.asarray(train, dtype=np.int64), np.asarray(test, dtype=np.int64)
    absent = np.setdiff1d(np.arange(n), train)
    parts = (train, test, absent, np.searchsorted(absent, test))
    return Fold(*(torch.as_tensor(part) for part in parts))


def resolve_folds(cv: Any, X: Any, y: Any, *, scoring: str, rows: IntArray | None = None) -> list[Fold]:
    """Return the folds of `cv` as positions among the kept rows.

    Parameters
    ----------
    cv : int, scikit-learn splitter, iterable of (train, test), or None (5 folds in order)
    X, y : what the splitter is asked with; only the number of rows of `X` matters here
    scoring : its name decides whether one test row is enough
    rows : (n_kept,) positions of the rows that take part, or None for all

    Raises
    ------
    InputError
        A row is in the training and in the test part of a fold, or there is no fold.
    ShapeError
        A part is empty, or has one test row where the score needs two.
    """
    n = X.shape[0]
    rows = np.arange(n) if rows is None else rows
    position = np.full(n, -1)
    position[rows] = np.arange(len(rows))
    out: list[Fold] = []
    for number, (train, test) in enumerate(_splits(min(5, n) if cv is None else cv, X, y)):
        kept_train, kept_test = (
            np.unique(found[found >= 0])
            for found in (position[_positions(part, n, number)] for part in (train, test))
        )
        _check_fold(number, kept_train, kept_test, scoring)
        out.append(make_fold(kept_train, kept_test, len(rows)))
    if not out:
        raise InputError("cv gives no folds; expected at least one pair of training and test rows")
    return out


def _splits(cv: Any, X: Any, y: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(cv, Iterable) and not hasattr(cv, "split"):
        return cv
    # a splitter needs the number of rows; files and tensors have no scikit-learn form
    return check_cv(cv).split(np.zeros((X.shape[0], 1)), y)  # type: ignore[no-any-return]


def _positions(part: Any, n: int, number: int) -> IntArray:
    """Row numbers of one part; masks are turned into numbers, what is outside is refused."""
    found = np.asarray(part)
    if found.dtype == bool:
        if found.shape != (n,):
            raise ShapeError(f"fold {number} has a mask of shape {found.shape}; expected ({n},), one per row")
        found = np.flatnonzero(found)
    if found.size and found.dtype.kind not in "iu":
        raise InputError(f"fold {number} names rows by values of dtype {found.dtype}; expected row numbers")
    outside = (found < -n) | (found >= n)
    if outside.any():
        raise InputError(
            f"fold {number} names row {int(found[outside][0])} and there are {n} rows, numbered from 0"
        )
    found = np.where(found < 0, found + n, found).astype(np.int64)
    if len(np.unique(found)) != len(found):
        raise InputError(
            f"fold {number} names a row more than once in one part; give rows that count double a "
            "sample_weight"
        )
    return found


def _check_fold(number: int, train: IntArray, test: IntArray, scoring: str) -> None:
    if len(np.intersect1d(train, test)):
        raise InputError(f"fold {number} has rows that are in its training and in its test part")
    if len(train) == 0 or len(test) == 0:
        raise ShapeError(f"fold {number} has {len(train)} training and {len(test)} test samples")
    if len(test) < 2 and scoring != "neg_mean_squared_error":
        raise ShapeError(
            f"fold {number} has 1 test sample, and {scoring!r} needs 2; use "
            "scoring='neg_mean_squared_error' (leave-one-out) or larger folds"
        )
