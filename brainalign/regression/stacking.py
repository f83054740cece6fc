"""Stacked regression: one ridge per feature space, combined by convex weights per target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from brainalign._checks import one_of
from brainalign._linalg import full_precision
from brainalign.errors import InputError, ShapeError
from brainalign.regression._base import Problem, TargetwiseRegressor
from brainalign.regression._folds import Fold, resolve_folds
from brainalign.regression._held_out import held_out_predictions
from brainalign.regression._linear import linear_prediction
from brainalign.regression._scoring import SCORINGS, MeanOverFolds, fold_scorer
from brainalign.regression._simplex import simplex_weights
from brainalign.regression._sources import NO_SCORE, PAD, Block, make_block, to_result
from brainalign.regression._spaces import IntArray, join, resolve_spaces, slices_of, widths_of
from brainalign.regression.ridge import RidgeCV

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
Space = slice | Sequence[int] | IntArray

_BLOCK_BYTES = 2**30  # held-out predictions of all members for the targets of one block
_PRODUCT_BYTES = 64 * 2**20  # float64 errors that are multiplied at once


class StackedRegression(TargetwiseRegressor):
    """Ridge on each of several feature spaces, stacked by weights that sum to one.

    Each feature space predicts every target by a ridge of its own, with its own penalty. The
    prediction of the stack is ``sum_j w_j yhat_j`` with ``w_j >= 0`` and ``sum_j w_j = 1``;
    the weights of a target minimise the squared error of the combined held-out predictions,
    ``w' R w`` with ``R_jk = sum_i s_i e_ij e_ik`` over the test rows of all folds (e_ij: held-out
    error of space j in row i, s_i: weight of the row). Weights show which spaces a target
    needs; a space that does not help gets exactly 0.

    Parameters
    ----------
    spaces : list of slices or of index arrays (integers or boolean masks), or None
        Columns of X that belong to each space. A column may be in several spaces, or in none.
        None: X is a list of arrays (n_samples, p_j), one per space; a single matrix is one
        space.
    alphas : ``"auto"`` or array (n_alphas,), positive
        Penalties, as in `RidgeCV`. ``"auto"`` is relative to each space's own trace(K)/n:
        spaces of any scale get the same grid.
    cv : int, scikit-learn splitter, iterable of (train, test), or None (5 folds, in order)
        The folds of both steps, penalties and weights.
    scoring : ``"r2"`` (against the test mean), ``"pearson"``, ``"neg_mean_squared_error"``
        What penalties are chosen by. The weights minimise the squared error in any case.
    fit_intercept : bool
    alpha_per_target : bool
        In each space one penalty per target, or one for all.
    device : ``"cpu"``, ``"cuda"``, ``"auto"``

    Attributes
    ----------
    stacking_weights_ : (n_spaces, n_targets) in [0, 1], sum 1; NaN for a target without a fit
    best_alphas_ : (n_spaces, n_targets) the penalties chosen
    space_scores_ : (n_spaces, n_targets) mean score over folds of each space alone
    cv_scores_ : (n_targets,) mean score over folds of the stack. Penalties and weights were
        chosen on these same held-out predictions, so it is optimistic (by the freedom of
        n_spaces - 1 weights and a penalty per space); for reports, score rows that the fit
        has not seen.
    coef_ : (n_targets, n_features), or (n_features,) for 1-D targets
        Coefficients of the stack in the order of the columns (of the concatenated arrays): a
        weighted sum of linear models is linear. A column in several spaces has their sum.
    intercept_ : (n_targets,) or float
    space_coefs_ : list of (n_targets, p_j), the members before weighting
    space_intercepts_ : (n_spaces, n_targets)
    nan_reasons_ : dict reason -> number of targets without a fit

    Raises
    ------
    InputError
        `spaces` is not a list, is empty, holds something else than columns, names a column
        twice or one that X does not have, or is given with a list of arrays; a penalty is not
        positive; an option is unknown.
    ShapeError
        The arrays of a list have different numbers of samples or, in `predict`, of columns; a
        fold has fewer than two test rows and the score needs two.
    ValueError
        No target is finite, X holds NaN, lengths differ (scikit-learn's texts).

    Notes
    -----
    Stacking is due to Wolpert (1992, DOI 10.1016/S0893-6080(05)80023-1); convex weights from
    held-out predictions to Breiman (1996, Machine Learning 24, DOI 10.1007/BF00117832),
    who asks for weights that are not negative; that they sum to one follows Lin,
    Naselaris, Kay and Wehbe (2024, NeuroImage; preprint DOI 10.1101/2023.04.23.537988).
    Departures: rows count by their weight, and members are refitted on all rows at their
    penalties. Where spaces predict the same, they share the weight (see `simplex_weights`).

    Weights that sum to one take shares of predictions. A target that adds what two spaces say
    is predicted with the right pattern (Pearson r is not touched) at half the amplitude: of two
    equal, independent, noise-free parts R2 reaches 0.75. `BandedRidgeCV` adds them up.

    Cost: about one `RidgeCV` and one pass of held-out predictions per space, plus n_spaces^2
    n_test per target; far less than a search over band weights (`BandedRidgeCV`).
    Memory: X once more (a list of arrays: twice), that of one `RidgeCV`, twice the
    coefficients (members and stack), and n_spaces n_test t floats for a block of t targets:
    at most 1 GiB, or t = 4 min(n_samples, p_j) where that is more.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> vision, sound = rng.standard_normal((100, 20)), rng.standard_normal((100, 30))
    >>> Y = np.stack([vision[:, 0], sound[:, 0]], axis=1) + 0.1 * rng.standard_normal((100, 2))
    >>> model = StackedRegression().fit([vision, sound], Y)
    >>> model.stacking_weights_.round(1) + 0.0
    array([[1., 0.],
           [0., 1.]])
    >>> model.predict_spaces([vision, sound]).shape
    (2, 100, 2)
    """

    def __init__(
        self,
        spaces: Sequence[Space] | None = None,
        alphas: str | Sequence[float] | FloatArray = "auto",
        *,
        cv: Any = None,
        scoring: str = "r2",
        fit_intercept: bool = True,
        alpha_per_target: bool = True,
        device: str = "cpu",
    ) -> None:
        self.spaces = spaces
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.alpha_per_target = alpha_per_target
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> StackedRegression:
        """Fit the ridge of each space, then the weights of the stack.

        Parameters
        ----------
        X : (n_samples, n_features), or a list of arrays (n_samples, p_j) without `spaces`
        y : (n_samples, n_targets) or (n_samples,)
        sample_weight : (n_samples,), not negative: how many trials each row stands for
        """
        one_of("scoring", self.scoring, SCORINGS)
        widths = widths_of(X)
        if widths and self.spaces is not None:
            raise InputError(
                "X is a list of arrays and spaces is given too; give one matrix with spaces, or a list of "
                "arrays with spaces=None"
            )
        X = join(X) if widths else _with_shape(X)
        y = y if y is None else _with_shape(y)
        problem = self._read(X, y, sample_weight)
        self.columns_ = resolve_spaces(slices_of(widths) or self.spaces, problem.X.shape[1])
        folds = resolve_folds(self.cv, X, y, scoring=self.scoring, rows=problem.rows)
        with full_precision():
            members = [self._fit_member(problem, columns, folds) for columns in self.columns_]
            alphas = torch.stack([_tensor(member.best_alphas_, problem) for member in members])
            weights, scores = self._fit_weights(problem, folds, alphas)
            self._keep(problem, members, weights)
        self.best_alphas_ = to_result(alphas, problem.as_torch)
        self.cv_scores_ = to_result(scores, problem.as_torch)
        return self

    def _fit_member(self, problem: Problem, columns: IntArray, folds: Sequence[Fold]) -> RidgeCV:
        """Ridge of one space on all targets, over the same folds as every other space."""
        ridge = RidgeCV(
            self.alphas,
            cv=[(fold.train.cpu().numpy(), fold.test.cpu().numpy()) for fold in folds],
            scoring=self.scoring,
            fit_intercept=self.fit_intercept,
            alpha_per_target=self.alpha_per_target,
            device=str(problem.device),
        )
        weights = problem.weights.cpu().numpy()
        return ridge.fit(_take(problem.X, columns), problem.Y, sample_weight=weights)

    def _fit_weights(
        self, problem: Problem, folds: Sequence[Fold], alphas: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (n_spaces, n_targets) and scores (n_targets,) of the stack, float64; NaN without a fit."""
        known = problem.usable & torch.isfinite(alphas).all(0)
        codes = torch.where(problem.usable & ~known, NO_SCORE, problem.codes.to(torch.int64))
        self._keep_codes(codes)
        weights = torch.full_like(alphas, torch.nan)
        scores = torch.full_like(alphas[0], torch.nan)
        folds = [fold.to(problem.device) for fold in folds]
        share = problem.weights / problem.weights.sum()
        for targets in self._blocks(problem, folds):
            block = make_block(problem.Y[:, targets], targets, share, intercept=self.fit_intercept)
            held_out = _HeldOut(block, folds, problem.weights)
            for columns, penalties in zip(self.columns_, alphas, strict=True):
                held_out.add(_take(problem.X, columns), penalties[targets], intercept=self.fit_intercept)
            found = simplex_weights(held_out.cross_products()).T
            weights[:, targets] = found[:, : block.width]
            scores[targets] = held_out.scores(found, self.scoring)[: block.width]
        weights[:, ~known] = torch.nan
        scores[~known] = torch.nan
        return weights, scores

    def _blocks(self, problem: Problem, folds: Sequence[Fold]) -> Iterator[slice]:
        """Blocks of targets on fixed edges.

        Each block decomposes every space again: with four times as many targets as the
        largest decomposition has rows, that costs less than the products with the targets.
        """
        rank = max(min(len(columns), len(problem.X)) for columns in self.columns_)
        n_test = sum(len(fold.test) for fold in folds)
        one = n_test * len(self.columns_) * problem.Y.element_size()
        size = -(-max(_BLOCK_BYTES // one, 4 * rank, 1) // PAD) * PAD
        n_targets = problem.Y.shape[1]
        return (slice(start, min(start + size, n_targets)) for start in range(0, n_targets, size))

    def _keep(self, problem: Problem, members: Sequence[RidgeCV], weights: torch.Tensor) -> None:
        """Store the members, and the linear model that their weighted sum is."""
        coefs = [_tensor(member.coef_, problem) for member in members]
        intercepts = torch.stack([_tensor(member.intercept_, problem) for member in members])
        scores = torch.stack([_tensor(member.best_scores_, problem) for member in members])
        n_targets, n_features = problem.Y.shape[1], problem.X.shape[1]
        coef = torch.zeros(n_targets, n_features, dtype=coefs[0].dtype, device=problem.device)
        for columns, member, share in zip(self.columns_, coefs, weights.to(coef), strict=True):
            coef[:, torch.as_tensor(columns, device=problem.device)] += share[:, None] * member
        coef[torch.isnan(weights[0])] = torch.nan  # columns of no space too
        intercept = (weights.to(intercepts) * intercepts).sum(0)
        keep = problem.as_torch
        self.stacking_weights_, self.space_scores_ = to_result(weights, keep), to_result(scores, keep)
        self.space_coefs_ = [to_result(one, keep) for one in coefs]
        self.space_intercepts_ = to_result(intercepts, keep)
        self.coef_ = to_result(coef[0] if problem.one_d else coef, keep)
        self.intercept_ = to_result(intercept[0] if problem.one_d else intercept, keep)

    def _rows(self, X: Any) -> Any:
        """Rows to predict as one checked matrix."""
        check_is_fitted(self)
        widths, fitted = widths_of(X), [len(columns) for columns in self.columns_]
        if widths and (self.spaces is not None or widths != fitted):
            raise ShapeError(
                f"X is a list of arrays with {widths} columns; the model was fitted on "
                + ("one matrix" if self.spaces is not None else f"arrays with {fitted} columns")
            )
        return self._check_features(join(X) if widths else X, reset=False)

    def predict(self, X: Any) -> Any:
        """Predict responses, (n_samples, n_targets) or (n_samples,); NaN where there is no fit.

        Parameters
        ----------
        X : (n_samples, n_features), or a list of arrays as in `fit`
        """
        X = self._rows(X)
        with full_precision():
            return linear_prediction(X, self.coef_, self.intercept_)

    def predict_spaces(self, X: Any) -> Any:
        """Predictions of each space alone, before weighting.

        Parameters
        ----------
        X : (n_samples, n_features), or a list of arrays as in `fit`

        Returns
        -------
        (n_spaces, n_samples, n_targets), or (n_spaces, n_samples) for 1-D targets; NaN where
        there is no fit. Their sum weighted by `stacking_weights_` is what `predict` returns.
        """
        X = self._rows(X)
        rows = X if isinstance(X, torch.Tensor) else torch.as_tensor(np.asarray(X[...]))
        with full_precision():
            members = [
                linear_prediction(_take(rows, columns), coef, intercept)
                for columns, coef, intercept in zip(
                    self.columns_, self.space_coefs_, self.space_intercepts_, strict=True
                )
            ]
        predicted = torch.stack(members)
        predicted = predicted[..., 0] if len(self.coef_.shape) == 1 else predicted
        return to_result(predicted, isinstance(X, torch.Tensor))


class _HeldOut:
    """Held-out predictions of every space for one block of targets, in the units of the block."""

    def __init__(self, block: Block, folds: Sequence[Fold], weights: torch.Tensor) -> None:
        self.block, self.folds, self.weights = block, folds, weights
        self.rows = torch.cat([fold.test for fold in folds])
        self.predicted: list[torch.Tensor] = []

    def add(self, X: torch.Tensor, alphas: torch.Tensor, *, intercept: bool) -> None:
        """Predict by one more space, with a penalty per target (NaN: a target without a fit)."""
        values = self.block.values
        penalties = torch.ones(values.shape[1], dtype=alphas.dtype, device=alphas.device)
        penalties[: len(alphas)] = torch.nan_to_num(alphas, nan=1.0)
        parts = held_out_predictions(
            X, values, self.folds, penalties, weights=self.weights, intercept=intercept
        )
        self.predicted.append(torch.cat(parts))

    def cross_products(self) -> torch.Tensor:
        """Weighted sums of products of the members' errors, (n_targets, n_spaces, n_spaces) float64."""
        observed, root = self.block.values[self.rows], self.weights[self.rows].sqrt()[:, None]
        n_test, n_targets = observed.shape
        J = len(self.predicted)
        out = torch.empty(n_targets, J, J, dtype=torch.float64, device=observed.device)
        width = max(1, _PRODUCT_BYTES // (8 * n_test * J))
        for start in range(0, n_targets, width):
            some = slice(start, start + width)
            wide = observed[:, some].to(torch.float64)
            errors = torch.stack([(wide - member[:, some]) * root for member in self.predicted])
            errors = errors.permute(2, 0, 1)
            out[some] = errors @ errors.mT
        return out

    def scores(self, weights: torch.Tensor, scoring: str) -> torch.Tensor:
        """Mean score over folds of the members combined by weights (n_spaces, n_targets), float64."""
        combined = torch.zeros_like(self.predicted[0])
        for member, share in zip(self.predicted, weights.to(combined), strict=True):
            combined.addcmul_(member, share)
        mean = MeanOverFolds((combined.shape[1],), combined.device)
        for fold, predicted in zip(
            self.folds, torch.split(combined, [len(f.test) for f in self.folds]), strict=True
        ):
            observed, flat = self.block.values[fold.test], self.block.flat(fold.test)
            mean.add(fold_scorer(scoring, observed, flat=flat)(predicted))
        found = mean.mean()
        return found * self.block.scale**2 if scoring == "neg_mean_squared_error" else found


def _take(X: torch.Tensor, columns: IntArray) -> torch.Tensor:
    """Some columns; all of them in order are not copied."""
    if np.array_equal(columns, np.arange(X.shape[1])):
        return X
    return X[:, torch.as_tensor(columns, device=X.device)]


def _with_shape(values: Any) -> Any:
    """Nested lists as an array; everything that has a shape as it is."""
    return values if hasattr(values, "shape") else np.asarray(values)


def _tensor(values: Any, problem: Problem) -> torch.Tensor:
    return torch.as_tensor(values, device=problem.device)
