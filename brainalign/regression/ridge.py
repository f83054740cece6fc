"""Ridge regression with cross-validated penalties, one per target or one for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.model_selection import check_cv
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, validate_data

from brainalign import metrics
from brainalign._arrays import resolve_device
from brainalign._checks import one_of
from brainalign._linalg import full_precision
from brainalign.errors import InputError, ShapeError
from brainalign.regression._cross_validation import Fold, score_penalties
from brainalign.regression._system import Decomposition, centre, decompose

SCORINGS = ("r2", "pearson", "neg_mean_squared_error")
SOLVERS = ("auto", "primal", "dual")
_BLOCK_BYTES = 256 * 2**20

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]


class RidgeCV(RegressorMixin, BaseEstimator):
    """Ridge regression whose penalty is chosen by exact K-fold cross-validation.

    Minimises ``sum_i w_i |y_i - x_i B - b|^2 + alpha |B|^2`` (Hoerl & Kennard 1970,
    DOI 10.1080/00401706.1970.10488634) for every target at once, with one decomposition
    for all penalties, in float64.

    Parameters
    ----------
    alphas : ``"auto"`` or array (n_alphas,), positive
        Penalties in units of the squared features, as in scikit-learn. ``"auto"``: 20
        values from 1e-5 to 1e5 times trace(K)/n, the mean squared norm of a centred
        training row (weighted), so features of any scale get the same grid.
    cv : int, scikit-learn splitter, iterable of (train, test), or None (5 folds, in order)
        Rows that a fold puts in neither part are left out of it.
    scoring : ``"r2"`` (against the test mean), ``"pearson"``, ``"neg_mean_squared_error"``
        Computed per fold and averaged.
    fit_intercept : bool
    solver : ``"auto"``, ``"primal"`` (p x p) or ``"dual"`` (n x n)
        Automatic: dual when features are at least as many as samples.
    alpha_per_target : bool
        One penalty per target, or one for all (highest mean score over targets).
    device : ``"cpu"``, ``"cuda"``, ``"auto"``

    Attributes
    ----------
    alphas_ : (n_alphas,) the penalties tried
    best_alphas_ : (n_targets,) the penalties chosen; NaN for a target without a fit
    cv_scores_ : (n_alphas, n_targets) mean score over folds
    best_scores_ : (n_targets,) the score of the chosen penalty
    coef_ : (n_targets, n_features), or (n_features,) for 1-D targets
    intercept_ : (n_targets,) or float
    nan_reasons_ : dict reason -> number of targets without a fit

    Raises
    ------
    InputError
        A penalty is not positive, an option is unknown.
    ShapeError
        A fold has fewer than two test rows and the score needs two.
    ValueError
        No target is finite, X holds NaN, lengths differ (scikit-learn's texts).

    Notes
    -----
    Constant targets, and targets with NaN or infinite values, are left out: their
    coefficients, penalties and scores are NaN and counted in `nan_reasons_`; the other
    targets are not changed by them.
    Cost: n^2 p + 9 n^3 + n_alphas (2 n^2 t + sum over folds of |F|^2 (n + t)) (dual),
    folds (n p^2 + 9 p^3 + 2 n_alphas p n t) (primal). Memory: n (p + n + 3 t) float64.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 100)); Y = X[:, :3] + 0.1 * rng.standard_normal((60, 3))
    >>> model = RidgeCV().fit(X, Y)
    >>> model.best_alphas_.shape, model.predict(X).shape
    ((3,), (60, 3))
    """

    coef_: FloatArray
    intercept_: Any

    def __init__(
        self,
        alphas: str | Sequence[float] | FloatArray = "auto",
        *,
        cv: Any = None,
        scoring: str = "r2",
        fit_intercept: bool = True,
        solver: str = "auto",
        alpha_per_target: bool = True,
        device: str = "cpu",
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.alpha_per_target = alpha_per_target
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RidgeCV:
        """Choose the penalties and fit.

        Parameters
        ----------
        X : (n_samples, n_features)
        y : (n_samples, n_targets) or (n_samples,)
        sample_weight : (n_samples,), not negative: how many trials each row stands for
        """
        one_of("scoring", self.scoring, SCORINGS)
        one_of("solver", self.solver, SOLVERS)
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        if y is None:
            raise ValueError("This RidgeCV estimator requires y to be passed, but the target y is None.")
        Y = check_array(y, ensure_2d=False, dtype=[np.float64, np.float32], ensure_all_finite=False)
        if Y.ndim not in (1, 2) or len(Y) != len(X):
            raise ShapeError(
                f"X has {len(X)} samples and Y has shape {Y.shape}: inconsistent numbers of samples"
            )
        Y2 = Y[:, None] if Y.ndim == 1 else Y
        usable = self._usable_targets(Y2)
        weights, keep = self._weights(sample_weight, X)
        folds = self._folds(X, Y, keep)
        self._fit_targets(X[keep], Y2[keep], weights[keep], folds, usable)
        if Y.ndim == 1:
            self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
        return self

    def _usable_targets(self, Y: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        finite = np.isfinite(Y).all(axis=0)
        if not finite.any():
            raise ValueError(
                "Input Y contains NaN or infinity in every target: no target is finite. Remove or "
                "replace missing responses before fitting."
            )
        with np.errstate(invalid="ignore"):
            constant = finite & np.asarray(metrics.is_constant(np.where(finite, Y, 0)))
        self.nan_reasons_ = {
            reason: int(count)
            for reason, count in (
                ("NaN or infinite response", (~finite).sum()),
                ("constant response", constant.sum()),
            )
            if count
        }
        return finite & ~constant

    def _weights(self, sample_weight: Any, X: FloatArray) -> tuple[FloatArray, np.ndarray[Any, Any]]:
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if (weights < 0).any():
            row = int(np.flatnonzero(weights < 0)[0])
            raise InputError(f"sample_weight of row {row} is {weights[row]}; weights must not be negative")
        keep = np.flatnonzero(weights > 0)
        if len(keep) < 2:
            raise ShapeError(f"{len(keep)} samples have a weight above zero; at least 2 are needed")
        return weights, keep

    def _folds(self, X: FloatArray, Y: FloatArray, keep: np.ndarray[Any, Any]) -> list[Fold]:
        """Folds as positions among the rows that have weight."""
        cv: Any = self.cv
        if cv is None:
            cv = min(5, len(X))
        splits = cv if isinstance(cv, Iterable) and not hasattr(cv, "split") else check_cv(cv).split(X, Y)
        position = np.full(len(X), -1)
        position[keep] = np.arange(len(keep))
        out: list[Fold] = []
        for train, test in splits:
            rows = [np.sort(position[part][position[part] >= 0]) for part in (train, test)]
            if len(np.intersect1d(rows[0], rows[1])):
                raise InputError(f"fold {len(out)} has rows that are in its training and in its test part")
            if len(rows[0]) == 0 or len(rows[1]) == 0:
                raise ShapeError(
                    f"fold {len(out)} has {len(rows[0])} training and {len(rows[1])} test samples"
                )
            if len(rows[1]) < 2 and self.scoring != "neg_mean_squared_error":
                raise ShapeError(
                    f"fold {len(out)} has 1 test sample, and {self.scoring!r} needs 2; use "
                    "scoring='neg_mean_squared_error' (leave-one-out) or larger folds"
                )
            out.append((torch.as_tensor(rows[0]), torch.as_tensor(rows[1])))
        if not out:
            raise InputError("cv gives no folds; expected at least one pair of training and test rows")
        return out

    def _fit_targets(
        self, X: FloatArray, Y: FloatArray, weights: FloatArray, folds: list[Fold], usable: Any
    ) -> None:
        device = resolve_device(self.device)
        n_targets, columns = Y.shape[1], np.flatnonzero(usable)
        Xt = torch.as_tensor(X, dtype=torch.float64, device=device)
        wt = torch.as_tensor(weights, dtype=torch.float64, device=device)
        folds = [(train.to(device), test.to(device)) for train, test in folds]
        dual = self.solver == "dual" or (self.solver == "auto" and X.shape[1] >= X.shape[0])
        with full_precision():
            empty = torch.zeros(len(X), 0, dtype=torch.float64, device=device)
            base = decompose(centre(Xt, empty, wt, intercept=self.fit_intercept), dual=dual)
            alphas = self._grid(base, wt)
            self.alphas_ = alphas.cpu().numpy()
            self.cv_scores_ = np.full((len(alphas), n_targets), np.nan)
            fits = []
            for block in self._blocks(columns, len(X)):
                Yt = torch.as_tensor(Y[:, block], dtype=torch.float64, device=device)
                fitted = _with_targets(base, Yt)
                fits.append((block, fitted))
                found = score_penalties(Xt, Yt, wt, folds, alphas, self.scoring, whole=fitted)
                self.cv_scores_[:, block] = found.cpu().numpy()
            self._choose()
            self.coef_ = np.full((n_targets, X.shape[1]), np.nan)
            self.intercept_ = np.full(n_targets, np.nan)
            for block, fitted in fits:
                best = torch.as_tensor(self.best_alphas_[block], device=device)
                coef = fitted.coefficients(best)
                self.coef_[block] = coef.T.cpu().numpy()
                offset = fitted.system.y_mean - fitted.system.x_mean @ coef
                self.intercept_[block] = offset.cpu().numpy()

    def _grid(self, base: Decomposition, weights: torch.Tensor) -> torch.Tensor:
        if isinstance(self.alphas, str):
            one_of("alphas", self.alphas, ["auto"])
            scale = float(base.eigenvalues.sum() / weights.sum())
            if scale <= 0:
                scale = 1.0  # constant features: every penalty gives the mean
            return scale * torch.logspace(-5, 5, 20, dtype=torch.float64, device=weights.device)
        grid = np.atleast_1d(np.asarray(self.alphas, dtype=np.float64))
        if grid.ndim != 1 or not grid.size or not np.all(np.isfinite(grid) & (grid > 0)):
            raise InputError(f"alphas must be positive finite penalties in one axis, found {self.alphas!r}")
        return torch.as_tensor(grid, device=weights.device)

    @staticmethod
    def _blocks(columns: Any, n: int) -> list[Any]:
        size = max(1, _BLOCK_BYTES // (8 * max(1, n) * 4))
        return [columns[i : i + size] for i in range(0, len(columns), size)]

    def _choose(self) -> None:
        scores = np.where(np.isnan(self.cv_scores_), -np.inf, self.cv_scores_)
        known = np.isfinite(scores).any(axis=0)
        fitted = ~np.isnan(self.cv_scores_).all(axis=0)
        if self.alpha_per_target:
            best = scores.argmax(axis=0)
        else:
            shared = np.nanmean(self.cv_scores_[:, known], axis=1).argmax() if known.any() else 0
            best = np.full(scores.shape[1], shared)
        columns = np.arange(scores.shape[1])
        self.best_alphas_ = np.where(fitted, self.alphas_[best], np.nan)
        self.best_scores_ = self.cv_scores_[best, columns]

    def predict(self, X: Any) -> FloatArray:
        """Predict responses, (n_samples, n_targets) or (n_samples,); NaN where there is no fit."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return cast(FloatArray, X @ self.coef_.T + self.intercept_)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean R2 (against the test mean) over the targets that have a fit."""
        predicted, observed = self.predict(X), np.asarray(y)
        if predicted.ndim == 2:
            fitted = np.isfinite(predicted).all(axis=0)
            predicted, observed = predicted[:, fitted], observed[:, fitted]
        return float(r2_score(observed, predicted, sample_weight=sample_weight))

    def score_per_target(self, X: Any, Y: Any) -> FloatArray:
        """Score by `scoring`, one value per target, (n_targets,)."""
        check_is_fitted(self)
        predicted, observed = self.predict(X), np.asarray(Y, dtype=np.float64)
        if predicted.ndim == 1:
            predicted, observed = predicted[:, None], observed.reshape(-1, 1)
        return cast(FloatArray, metrics.score(self.scoring, observed, predicted))


def _with_targets(base: Decomposition, Y: torch.Tensor) -> Decomposition:
    """The same decomposition with other targets: they need no decomposition of their own."""
    old = base.system
    share = old.root**2 / (old.root**2).sum() if old.intercept else torch.zeros_like(old.root)
    y_mean = share @ Y
    system = type(old)(old.X, (Y - y_mean) * old.root[:, None], old.x_mean, y_mean, old.root, old.intercept)
    rows = base.vectors if base.dual else system.X @ base.vectors
    return Decomposition(system, base.dual, base.eigenvalues, base.vectors, rows.T @ system.Y)


def smoother_matrices(
    X: Any, X_new: Any, alphas: Any, *, sample_weight: Any = None, fit_intercept: bool = True
) -> FloatArray:
    """Matrices that turn training responses into predictions, (n_alphas, n_new, n_samples).

    ``smoother_matrices(X, X_new, [a])[0] @ Y`` equals the predictions of ridge with penalty
    a fitted on (X, Y): refits on permuted responses become one matrix product.

    Parameters
    ----------
    X : (n_samples, n_features); X_new : (n_new, n_features); alphas : (n_alphas,) positive
    sample_weight : (n_samples,), positive

    Cost: one eigendecomposition and 2 n_new n^2 per penalty; memory n_alphas n_new n float64.
    """
    Xt = torch.as_tensor(np.asarray(X), dtype=torch.float64)
    weights = torch.ones(len(Xt), dtype=torch.float64)
    if sample_weight is not None:
        weights = torch.as_tensor(np.asarray(sample_weight), dtype=torch.float64)
    system = centre(Xt, torch.zeros(len(Xt), 0, dtype=torch.float64), weights, intercept=fit_intercept)
    fitted = decompose(system, dual=Xt.shape[1] >= Xt.shape[0])
    new = torch.as_tensor(np.asarray(X_new), dtype=torch.float64)
    penalties = torch.as_tensor(np.atleast_1d(np.asarray(alphas, dtype=np.float64)))
    return cast(FloatArray, fitted.smoothers(new, penalties).numpy())
