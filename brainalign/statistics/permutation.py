"""Permutations that respect what may be exchanged, and their p-values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from brainalign._checks import one_of
from brainalign.errors import InputError, ShapeError


def permutation_p_values(observed: Any, null: np.ndarray) -> np.ndarray:
    """One-sided p-values ``(b + 1) / (m + 1)``, b the draws at least as high as observed.

    Parameters
    ----------
    observed : (...,) scores, higher is closer
    null : (m, ...) the same scores under permutation

    Returns
    -------
    array like `observed`, in [1 / (m + 1), 1]; NaN where the score is NaN (Phipson & Smyth
    2010, DOI 10.2202/1544-6115.1585). A draw without a score (NaN) counts as at least as
    high, and so does one that is lower by rounding alone: a draw that leaves every row in
    its place equals what was observed.

    Raises
    ------
    ShapeError
        A draw has another shape than the observed scores.

    Examples
    --------
    >>> permutation_p_values(np.array([2.0]), np.array([[0.0], [1.0], [3.0]]))
    array([0.5])
    """
    observed = np.asarray(observed, dtype=np.float64)
    null = np.asarray(null)
    if null.ndim == 0 or null.shape[1:] != observed.shape:
        raise ShapeError(f"null has shape {null.shape}; expected (m, *{observed.shape})")
    eps = np.finfo(null.dtype).eps if null.dtype.kind == "f" else np.finfo(np.float64).eps
    exceed = (~(null < observed - 10 * eps * np.abs(observed))).sum(axis=0)
    return np.where(np.isnan(observed), np.nan, (exceed + 1) / (len(null) + 1))


def exchange_rows(
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    n: int,
    *,
    exchange: str = "stimuli",
    block: int = 1,
    runs: Any = None,
    groups: Any = None,
    n_permutations: int,
    random_state: int | None = 0,
) -> Iterator[np.ndarray]:
    """Permutations of n rows that stay within each test fold.

    The same permutation serves the training and the test role of a row: responses are
    exchanged among the rows of one fold, so no training set gains a row that it tests.

    Parameters
    ----------
    folds : pairs of training and test rows; rows that no fold tests are exchanged among
        themselves
    exchange : ``"stimuli"`` (whole stimuli change places) or ``"blocks"`` (contiguous
        blocks of `block` rows inside each run are put in another order)
    block : rows of a block; a shorter remainder stays in its place
    runs : (n,) run of each row, or None
    groups : (n,) stimulus of each row, or None (every row is one): the rows of a stimulus
        move together, in their order, and change places with one of as many rows
    random_state : seed; equal seeds give equal permutations

    Yields
    ------
    (n,) integer rows: exchanged responses are ``Y[rows]``
    """
    one_of("exchange", exchange, ("stimuli", "blocks"))
    if block < 1:
        raise InputError(f"block={block}; expected at least 1 row")
    label = np.full(n, -1)
    for number, (_, test) in enumerate(folds):
        label[test] = number
    place = np.arange(n)
    if runs is not None and exchange == "blocks":
        codes = np.unique(np.asarray(runs).astype(str), return_inverse=True)[1]
        order = np.argsort(codes, kind="stable")
        place[order] = np.arange(n)  # rows of one run in a row, in order of time
        label = label * (codes.max() + 1) + codes
    cells = [np.flatnonzero(label == value) for value in np.unique(label)]
    if exchange == "blocks":
        pieces = [_blocks(cell, place[cell], block) for cell in cells]
    else:
        codes = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        pieces = [piece for cell in cells for piece in _whole_groups(cell, codes[cell])]
    if all(len(p) < 2 for p in pieces):
        raise InputError(
            f"nothing can be exchanged: every fold holds fewer than two {exchange}; use fewer folds"
            + (" or shorter blocks" if exchange == "blocks" else "")
        )
    rng = np.random.default_rng(random_state)
    for _ in range(n_permutations):
        rows = np.arange(n)
        for piece in pieces:
            rows[piece.ravel()] = piece[rng.permutation(len(piece))].ravel()
        yield rows


def _whole_groups(rows: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
    """Rows of each group, (n_groups, size), one array for each size that occurs."""
    order = np.argsort(codes, kind="stable")
    _, start, sizes = np.unique(codes[order], return_index=True, return_counts=True)
    return [np.stack([rows[order[s : s + size]] for s in start[sizes == size]]) for size in np.unique(sizes)]


def _blocks(rows: np.ndarray, place: np.ndarray, block: int) -> np.ndarray:
    """Cut the unbroken stretches of `rows` into blocks, (n_blocks, block); no block spans a break."""
    stretches = np.split(rows, np.flatnonzero(np.diff(place) != 1) + 1)
    whole = [s[: len(s) // block * block].reshape(-1, block) for s in stretches]
    return np.concatenate(whole)
