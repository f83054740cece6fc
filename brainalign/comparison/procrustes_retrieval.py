"""How often an orthogonal map fitted to some stimuli finds the others among its nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import svd

from brainalign.comparison._option_checks import seed, whole_number
from brainalign.comparison._pairing import paired
from brainalign.comparison._procrustes_forms import (
    Configuration,
    best_rotation,
    column_means,
    configuration,
    enough_stimuli,
)
from brainalign.errors import InputError


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """What `ProcrustesRetrieval.score` found.

    Parameters
    ----------
    precision : {k: float}
        Share of held-out stimuli of x whose own y is among the k nearest, over all folds.
    fold_precision : {k: array (n_folds,)}
    chance : {k: float}, the mean of k over the number of candidates
    residual : float
        Norm of the held-out error ``y - map(x)`` over that of y, at the best scale; pooled over folds.
    null_precision : {k: array (n_permutations,)}
    p_values : {k: float}, ``(b + 1) / (m + 1)``; empty without permutations
    """

    precision: dict[int, float]
    fold_precision: dict[int, np.ndarray]
    chance: dict[int, float]
    residual: float
    null_precision: dict[int, np.ndarray]
    p_values: dict[int, float]


@dataclass(frozen=True, kw_only=True)
class ProcrustesRetrieval:
    """Retrieval of y from x through an orthogonal map, cross-validated over stimuli.

    Parameters
    ----------
    k : int or several
        P@k: the true row of y is among the k nearest candidates (the held-out rows of y).
    n_folds : int
        Folds over stimuli, drawn at random. Give one row per word or stimulus: rows of one content in
        training and test would score by memory.
    n_components : int, optional
        Both sides are first brought to so many principal components of the training rows.
    csls : int, optional
        Neighbours of the cross-domain similarity local scaling, which keeps a few candidates from
        being everyone's neighbour. None: plain cosine.
    n_permutations : int
        Times that the rows of y are shuffled and everything is fitted again, for p-values.
    random_state : int, seed of folds and permutations

    Raises
    ------
    InputError
        A k or n_folds out of range, when `score` sees the number of stimuli.

    Notes
    -----
    ``W = u v'`` of the singular vectors of the cross-product of centred training rows; unequal widths
    take the map with orthonormal rows (or columns). Direction: x is mapped, y is searched. Candidates
    as near as the true one share their places: of m equal ones, all counted, the hit counts the share
    of the m places that lie among the k nearest, so that a map that says nothing scores at chance.
    Cost per fold: O(n p q + p q min(p, q)) time, O(n_test^2) memory. Source: Schoenemann 1966,
    doi:10.1007/BF02289451; CSLS of Conneau et al. 2018, arXiv:1710.04087.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 5))
    >>> y = x @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
    >>> ProcrustesRetrieval(k=(1, 10)).score(x, y).precision
    {1: 1.0, 10: 1.0}
    """

    k: int | Sequence[int] = (1, 10)
    n_folds: int = 5
    n_components: int | None = None
    csls: int | None = None
    n_permutations: int = 0
    random_state: int | None = 0

    def score(self, x: Any, y: Any) -> RetrievalResult:
        """Return P@k of y (n_stimuli, q) from x (n_stimuli, p), arrays or Responses.

        Raises
        ------
        InputError
            An option out of range for these data; a fold in which a side does not vary.
        ShapeError, AlignmentError
            As in `compare`.
        """
        first, second = paired(x, y)
        enough_stimuli("retrieval", len(first))
        wanted = self._checked(first, second)
        generator = np.random.default_rng(self.random_state)
        folds = np.array_split(generator.permutation(len(first)), self.n_folds)
        ranks, errors = self._ranks(first, second, folds)
        shuffled = [
            self._ranks(first, second[generator.permutation(len(second))], folds)[0]
            for _ in range(self.n_permutations)
        ]
        null = {k: np.array([_hits(np.concatenate(r), k).mean() for r in shuffled]) for k in wanted}
        precision = {k: float(_hits(np.concatenate(ranks), k).mean()) for k in wanted}
        return RetrievalResult(
            precision=precision,
            fold_precision={k: np.array([_hits(r, k).mean() for r in ranks]) for k in wanted},
            chance={k: float(np.sum([min(k, len(f)) for f in folds]) / len(first)) for k in wanted},
            residual=float(np.sqrt(sum(e for e, _ in errors) / sum(s for _, s in errors))),
            null_precision=null,
            p_values={
                k: float((np.sum(null[k] >= precision[k]) + 1) / (self.n_permutations + 1))
                for k in (wanted if self.n_permutations else ())
            },
        )

    def _checked(self, x: np.ndarray, y: np.ndarray) -> list[int]:
        n = len(x)
        whole_number("n_folds", self.n_folds, low=0)
        if self.random_state is not None:
            seed(self.random_state)
        if not 2 <= self.n_folds <= n // 2:
            raise InputError(f"n_folds={self.n_folds}; expected 2 to {n // 2} for {n} stimuli")
        smallest = n // self.n_folds
        several = self.k if isinstance(self.k, (Sequence, np.ndarray)) else [self.k]
        wanted = [whole_number("k", k, low=0) for k in several]
        if not wanted or min(wanted) < 1 or max(wanted) > smallest:
            raise InputError(f"k={self.k}; expected 1 to {smallest}, the candidates of the smallest fold")
        for name, value in (("csls", self.csls), ("n_components", self.n_components)):
            if value is not None:
                whole_number(name, value, low=0)
        if self.csls is not None and not 1 <= self.csls <= smallest:
            raise InputError(f"csls={self.csls}; expected 1 to {smallest} neighbours")
        most = min(x.shape[1], y.shape[1], n - -(-n // self.n_folds) - 1)
        if self.n_components is not None and not 1 <= self.n_components <= most:
            raise InputError(f"n_components={self.n_components}; expected 1 to {most} for these data")
        whole_number("n_permutations", self.n_permutations, low=0)
        return wanted

    def _ranks(
        self, x: np.ndarray, y: np.ndarray, folds: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[tuple[float, float]]]:
        """For each fold where the true row of each stimulus ranks (`_true_ranks`), and squared errors."""
        ranks, errors = [], []
        for fold in folds:
            train = np.delete(np.arange(len(x)), fold)
            (a, a_test), (b, b_test) = (
                _views(side, v[train], v[fold], self.n_components) for side, v in (("x", x), ("y", y))
            )
            rotation, _ = best_rotation(a.T @ b)
            mapped = a_test @ rotation
            ranks.append(_true_ranks(mapped, b_test, self.csls))
            length = float(np.sum(mapped**2))
            share = float(np.vdot(mapped, b_test)) / length if length > 0.0 else 0.0
            errors.append((float(np.sum((b_test - share * mapped) ** 2)), float(np.sum(b_test**2))))
        return ranks, errors


def _views(
    side: str, train: np.ndarray, test: np.ndarray, n_components: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows, centred and scaled by the training rows, in common components."""
    found: Configuration = configuration(train)
    if found.constant:
        raise InputError(
            f"{side} does not vary over the training stimuli of a fold; no rotation follows from it"
        )
    held_out = np.ldexp(test - column_means(train), -found.exponent) / found.norm
    if n_components is None:
        return found.points, held_out
    directions = svd(found.points, full_matrices=False, check_finite=False)[2][:n_components].T
    return found.points @ directions, held_out @ directions


def _true_ranks(mapped: np.ndarray, candidates: np.ndarray, csls: int | None) -> np.ndarray:
    """(n, 2): how many candidates are nearer to each row than its own, and how many are as near."""
    cosine = _unit_rows(mapped) @ _unit_rows(candidates).T
    if csls is not None:
        near_row = np.sort(cosine, axis=1)[:, -csls:].mean(axis=1, keepdims=True)
        near_column = np.sort(cosine, axis=0)[-csls:].mean(axis=0, keepdims=True)
        cosine = 2.0 * cosine - near_row - near_column
    own = np.diag(cosine)[:, None]
    # equal vectors may differ by rounding
    tie = np.abs(cosine - own) <= 8.0 * np.finfo(np.float64).eps * max(1.0, float(np.abs(cosine).max()))
    return np.stack([((cosine > own) & ~tie).sum(axis=1), tie.sum(axis=1)], axis=1)


def _hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """The share of the places that the true row may take, by chance among equals, within the first k."""
    out: np.ndarray = np.clip((k - ranks[:, 0]) / ranks[:, 1], 0.0, 1.0)
    return out


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows of norm one; a row of zeros stays zero, as far from all."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    out: np.ndarray = rows / np.where(norms == 0.0, 1.0, norms)
    return out
