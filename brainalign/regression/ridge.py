"""Ridge regression with cross-validated penalties, one per target or one for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from brainalign._linalg import full_precision
from brainalign.errors import ShapeError
from brainalign.regression._base import Problem
from brainalign.regression._blockwise import AnyPath
from brainalign.regression._cross_validated import CrossValidatedRidge, Setup, WeightSink
from brainalign.regression._eigen_path import EigenPath, worth_lifting
from brainalign.regression._fold_sums import FoldSums, SumsPath, SumsTargets, fold_labels
from brainalign.regression._folds import resolve_folds
from brainalign.regression._gram_path import GramPath
from brainalign.regression._linear import linear_prediction
from brainalign.regression._penalties import FloatArray
from brainalign.regression._plan import Sizes, make_plan
from brainalign.regression._sources import Block, Features, Targets, open_features


class RidgeCV(CrossValidatedRidge):
    """Ridge regression whose penalty is chosen by exact K-fold cross-validation.

    Minimises ``sum_i w_i |y_i - x_i B - b|^2 + alpha |B|^2`` (Hoerl & Kennard 1970,
    DOI 10.1080/00401706.1970.10488634) for every target at once.

    Parameters
    ----------
    alphas : ``"auto"`` or array (n_alphas,), positive
        Penalties in units of the squared features, as in scikit-learn. ``"auto"``: 20
        values from 1e-5 to 1e5 times trace(K)/n, the mean squared norm of a centred
        training row (weighted), so features of any scale get the same grid.
    cv : int, scikit-learn splitter, iterable of (train, test), or None (5 folds, in order)
        Folds may be unequal and overlap; rows in neither part are left out (purged).
    scoring : ``"r2"`` (against the test mean), ``"pearson"``, ``"neg_mean_squared_error"``
        Computed per fold and averaged over the folds in which the target varies.
    fit_intercept : bool
    solver : ``"auto"``, ``"primal"``, ``"dual"``, ``"factored"`` or ``"eigen"``
        Automatic: the path that should take least time for the shape (see Notes).
    alpha_search : ``"grid"`` or ``"adaptive"``
        Every penalty to rounding, or to some thousandths of a prediction, which takes fewer
        products; a random sample of targets is audited.
    alpha_per_target : bool
        One penalty per target, or one for all (highest mean score over targets).
    extend_alphas : bool
        Add penalties beyond the ends of the grid while targets choose an end, up to three
        times four on each side.
    memory_budget : bytes beyond X and Y that may be used; None: what is free
    device : ``"cpu"``, ``"cuda"``, ``"auto"``; tensors are computed on where they lie

    Attributes
    ----------
    alphas_ : (n_alphas,) the penalties tried
    best_alphas_ : (n_targets,) the penalties chosen; NaN for a target without a fit
    cv_scores_ : (n_alphas, n_targets) mean score over folds
    best_scores_ : (n_targets,) the score of the chosen penalty
    coef_ : (n_targets, n_features), or (n_features,) for 1-D targets
    intercept_ : (n_targets,) or float
    alpha_edges_ : (n_targets,) -1 where the smallest penalty was chosen, 1 the largest, else 0
    nan_codes_ : (n_targets,) 0 fitted, 1 NaN or infinite response, 2 constant response,
        3 constant in every test fold
    nan_reasons_ : dict reason -> number of targets without a fit
    search_audit_ : dict or None: of an adaptive search `penalties_computed`; `share_equal` (of
        the audited targets, on one fold, the same best penalty as in the exact grid);
        `regret_bound` (twice the largest error of a score that the audit found: a target whose
        best penalty was missed loses no more, squared errors in units of its scale squared);
        `share_verified` (of all targets: the best score is ahead by more than that)
    plan_ : Plan of the fit

    Raises
    ------
    InputError
        A penalty is not positive, an option is unknown.
    ShapeError
        A fold has fewer than two test rows and the score needs two.
    MemoryBudgetError
        The fit does not fit the budget; raised before any work.
    ValueError
        No target is finite, X holds NaN, lengths differ (scikit-learn's texts).

    Notes
    -----
    All paths give the scores of refits without the test rows, the fold's own centring
    included. ``"primal"``: sums of products of the columns, those of a fold subtracted from
    the total; n p^2 + 2 n p t + folds (9 p^3 + 4 p^2 t + 2 r min(p, n_test) p t) with r about
    5. ``"eigen"``: one eigendecomposition of the kernel, and the errors of the rows left out by
    its projection (Liland, Skogholt & Indahl 2022, arXiv:2211.15128); n^2 p + 9 n^3 + 2 (r + 2)
    n^2 t + n_alphas (n n_test + 2 n_test t) n. ``"dual"``: one Cholesky inverse of the kernel per
    penalty instead; n^2 p + n_alphas (n^3 + 2 n n_train t). ``"factored"``: the same from one
    factorisation per fold. In a narrow stretch of the spectrum the functions 1 / (l + alpha) of
    all penalties are combinations of about 5: only these are multiplied with the responses
    (departure: none to 1e-6 in float32 and 1e-12 in float64, relative to each function).
    Penalties outside of the spectrum, whose predictions follow from those of others to 1e-10, are
    combined and not computed. Of equal scores (to 1e-10) the largest penalty is taken.

    float32 (and float16) input is multiplied in float32; Gram matrices, decompositions and
    small penalties are computed in float64. Responses may lie in a file (HDF5, memory map):
    they are read in blocks of targets on fixed edges. Memory: `plan` states it.

    Constant targets, and targets with NaN or infinite values, get NaN in coefficients,
    penalties and scores; the other targets are not changed by them.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 100)); Y = X[:, :3] + 0.1 * rng.standard_normal((60, 3))
    >>> model = RidgeCV().fit(X, Y)
    >>> model.best_alphas_.shape, model.predict(X).shape
    ((3,), (60, 3))
    """

    solvers = ("auto", "primal", "dual", "factored", "eigen")
    linear = True

    alphas_: Any
    best_alphas_: Any
    cv_scores_: Any
    best_scores_: Any
    coef_: Any
    intercept_: Any

    def __init__(
        self,
        alphas: str | Sequence[float] | FloatArray = "auto",
        *,
        cv: Any = None,
        scoring: str = "r2",
        fit_intercept: bool = True,
        solver: str = "auto",
        alpha_search: str = "grid",
        alpha_per_target: bool = True,
        extend_alphas: bool = False,
        memory_budget: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.alpha_search = alpha_search
        self.alpha_per_target = alpha_per_target
        self.extend_alphas = extend_alphas
        self.memory_budget = memory_budget
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, out: Any = None) -> RidgeCV:
        """Choose the penalties and fit.

        Parameters
        ----------
        X : (n_samples, n_features), numpy array, torch tensor, memory map or HDF5 dataset
        y : (n_samples, n_targets) or (n_samples,), as X
        sample_weight : (n_samples,), not negative: how many trials each row stands for
        out : (n_targets, n_features) array, memory map or HDF5 dataset that the coefficients
            are written to, block by block; `coef_` is then this object
        """
        if hasattr(self, "_fold_sums"):
            del self._fold_sums
        with full_precision():
            setup = self._setup(X, y, sample_weight, out)
            features = open_features(
                setup.X,
                setup.weights,
                setup.rows,
                intercept=self.fit_intercept,
                dtype=setup.dtype,
                device=setup.device,
                budget=max(2**24, setup.plan.budget_bytes // 16),
            )
            sink = WeightSink((setup.plan.n_targets, setup.plan.n_features), setup, out)
            path = self._path(setup, features)
            lift = None if path.primal else features.times
            self._run(setup, path, self._targets(setup), sink, features.mean, lift)
        return self

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, fold: Any = None, solve: bool = True
    ) -> RidgeCV:
        """Add the rows of one recording; the model is that of all rows added so far.

        Sums of products are kept per fold and no rows: recordings that are never in memory
        together give the fit of all of them (primal form), the order does not matter.

        Parameters
        ----------
        X : (n_samples, n_features); y : (n_samples, n_targets) or (n_samples,)
        sample_weight : (n_samples,), positive
        fold : label of the fold of these rows (the run, the story), or one label per row
            (n_samples,); None: `cv` splits the rows of this call, and its folds are joined
            with those of the other calls
        solve : choose the penalties and fit now; False only adds. With fewer than two folds
            there is nothing to choose from, and the model stays unfitted

        Notes
        -----
        Memory (folds + 1) (p^2 + p t) float64, doubled where weights are given. Cost of adding
        2 n p (p + t), of solving as the primal path of `fit`. `fit` starts anew.
        """
        with full_precision():
            problem = self._read_part(X, y, sample_weight)
            labels = self._labels(fold, problem, int(np.shape(X)[0]))
            weights = None if sample_weight is None else problem.weights
            self._fold_sums.add(problem.X, problem.Y, labels, weights)
            if solve and len(self._fold_sums.weighted) > 1:
                self._solve_sums(problem)
        return self

    def _read_part(self, X: Any, y: Any, sample_weight: Any) -> Problem:
        """Check the rows of one call against those of the earlier ones."""
        started = hasattr(self, "_fold_sums")
        self._check_options()
        problem = self._read(X, y, sample_weight, first=not started, masked=False)
        if not started:
            p, t = problem.X.shape[1], problem.Y.shape[1]
            self._fold_sums = FoldSums(p, t, problem.device, problem.dtype, intercept=self.fit_intercept)
        elif problem.Y.shape[1] != self._fold_sums.t:
            raise ShapeError(
                f"y has {problem.Y.shape[1]} targets, and the calls of partial_fit before had "
                f"{self._fold_sums.t}"
            )
        return problem

    def _labels(self, fold: Any, problem: Problem, n_rows: int) -> list[Any]:
        n = len(problem.X)
        if fold is None:
            folds = resolve_folds(self.cv, problem.X, None, scoring=self.scoring)
            return list(fold_labels(folds, n))
        if isinstance(fold, str) or np.ndim(fold) == 0:
            return [fold] * n
        labels = np.asarray(fold, dtype=object)
        if labels.shape != (n_rows,):
            raise ShapeError(f"fold has shape {labels.shape}; expected one label, or one per row ({n_rows},)")
        return list(labels[problem.rows])

    def _solve_sums(self, problem: Problem) -> None:
        path = SumsPath(self._fold_sums, self.scoring)
        n, (p, t) = int(path.weight), (self._fold_sums.p, self._fold_sums.t)
        tests = [len(fold.test) for fold in path.folds]
        n_alphas = 20 if isinstance(self.alphas, str) else int(np.size(self.alphas))
        itemsize = 4 if problem.dtype == torch.float32 else 8
        kept = 8 * (p + 2) * (p + t) * (len(tests) + 1)
        sizes = Sizes(
            n, p, t, n_alphas, tests, [n - k for k in tests], tests, itemsize, True, kept, t * p * itemsize
        )
        plan = make_plan("primal", sizes, self._budget(problem.device), whole_grid=False)
        weights = torch.full((1,), path.weight, dtype=torch.float64)
        setup = Setup(
            None,
            None,
            weights,
            problem.rows,
            path.folds,
            plan,
            problem.dtype,
            problem.device,
            problem.one_d,
            problem.as_torch,
        )
        sink = WeightSink((t, p), setup)
        self._run(setup, path, SumsTargets(path, plan.block_targets), sink, path.x_mean, None)

    def _run(
        self,
        setup: Setup,
        path: AnyPath,
        targets: Targets | SumsTargets,
        sink: WeightSink,
        x_mean: torch.Tensor,
        lift: Callable[[torch.Tensor], torch.Tensor] | None,
    ) -> None:
        """Search and refit; dual weights become weights of features by `lift`."""
        offsets = np.full(setup.plan.n_targets, np.nan)

        def write(block: Block, weights: torch.Tensor, done: torch.Tensor) -> None:
            weights = weights if lift is None else lift(weights)
            offset = block.mean - (x_mean.to(weights.dtype) @ weights).double() * block.scale
            sink.write(block, weights, done)
            kept = done[: block.width].cpu().numpy()
            offsets[block.columns][kept] = offset[: block.width].cpu().numpy()[kept]

        self._fit_blocks(setup, path, targets, write)
        self._keep_weights(setup, sink.values, offsets)

    def _path(self, setup: Setup, features: Features) -> AnyPath:
        if setup.plan.path == "primal":
            return GramPath(features, setup.folds, self.scoring, intercept=self.fit_intercept)
        path = self._kernel_path(setup, features.kernel(), centred=True)
        if isinstance(path, EigenPath) and worth_lifting(setup.plan.n_features, setup.plan.n_targets):
            path.lift(features.times)
        return path

    def _keep_weights(self, setup: Setup, weights: Any, offsets: FloatArray) -> None:
        without = torch.as_tensor(self.nan_codes_ > 0).numpy()
        for row in np.flatnonzero(without):
            weights[int(row)] = float("nan")
        offsets[without] = np.nan
        kept: Any = offsets.astype(np.float32) if setup.plan.dtype == "float32" else offsets
        kept = torch.as_tensor(kept, device=setup.device) if setup.as_torch else kept
        self.coef_, self.intercept_ = (weights[0], kept[0]) if setup.one_d else (weights, kept)

    def predict(self, X: Any) -> Any:
        """Predict responses, (n_samples, n_targets) or (n_samples,); NaN where there is no fit."""
        check_is_fitted(self, "coef_")
        X = self._check_features(X, reset=False)
        return linear_prediction(X, self.coef_, self.intercept_)
