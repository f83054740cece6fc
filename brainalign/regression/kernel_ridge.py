"""Kernel ridge regression with cross-validated penalties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from brainalign._checks import lookup
from brainalign._linalg import full_precision
from brainalign.errors import InputError, ShapeError
from brainalign.regression._blockwise import AnyPath
from brainalign.regression._cross_validated import CrossValidatedRidge, Setup, WeightSink
from brainalign.regression._gram_path import GramPath
from brainalign.regression._penalties import FloatArray
from brainalign.regression._sources import Block, read_tensor
from brainalign.regression.kernels import KERNELS


class KernelRidgeCV(CrossValidatedRidge):
    """Kernel ridge regression whose penalty is chosen by exact K-fold cross-validation.

    Minimises ``sum_i w_i |y_i - f(x_i) - b|^2 + alpha |f|^2`` over the functions f of the
    kernel's space (Saunders, Gammerman & Vovk 1998); with a linear kernel the predictions
    are those of `RidgeCV`, and no weights of features are formed.

    Parameters
    ----------
    alphas, cv, scoring, fit_intercept, alpha_search, alpha_per_target, extend_alphas,
    memory_budget, device : as in `RidgeCV`
    kernel : ``"linear"``, ``"rbf"``, ``"polynomial"`` (``"poly"``), ``"precomputed"``, or a
        callable of tensors (X (n, p), Z (m, p), gamma=, degree=, coef0=) -> (n, m)
        With ``"precomputed"``, `fit` takes the kernel (n_samples, n_samples) and `predict`
        that of new rows against the training rows, (n_new, n_samples).
    gamma : scale of the radial basis function and the polynomial; None: 1 / n_features
    degree, coef0 : of the polynomial
    solver : ``"auto"``, ``"dual"``, ``"factored"`` or ``"eigen"``, see `RidgeCV`

    Attributes
    ----------
    dual_coef_ : (n_samples, n_targets), or (n_samples,) for 1-D targets: weights of the
        training rows (zero for rows without weight)
    intercept_ : (n_targets,) or float: what is added to ``K(X_new, X_train) @ dual_coef_``
    X_fit_ : the training rows (absent with ``"precomputed"``)
    alphas_, best_alphas_, cv_scores_, best_scores_, alpha_edges_, nan_codes_, nan_reasons_,
    search_audit_, plan_ : as in `RidgeCV`

    Raises
    ------
    InputError, ShapeError, MemoryBudgetError, ValueError
        As `RidgeCV`; a precomputed kernel that is not square or not symmetric; a kernel that
        is not positive semi-definite to rounding.

    Notes
    -----
    Kernels are computed in float64. The intercept is unpenalised: the kernel is centred by
    the weighted mean of the training rows of each fold. Cost n^2 p + n_alphas (n^3 + 2 n
    n_train t); memory about 4 n^2 float64, see `plan`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(-2, 2, 40)[:, None]; Y = np.sin(3 * X)
    >>> model = KernelRidgeCV(np.logspace(-6, 1, 8), kernel="rbf", gamma=2.0, cv=4).fit(X, Y)
    >>> bool(model.score(X, Y) > 0.95)
    True
    """

    alphas_: Any
    best_alphas_: Any
    cv_scores_: Any
    dual_coef_: Any
    intercept_: Any

    def __init__(
        self,
        alphas: str | Sequence[float] | FloatArray = "auto",
        *,
        kernel: str | Callable[..., torch.Tensor] = "linear",
        gamma: float | None = None,
        degree: int = 3,
        coef0: float = 1.0,
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
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.alpha_search = alpha_search
        self.alpha_per_target = alpha_per_target
        self.extend_alphas = extend_alphas
        self.memory_budget = memory_budget
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    @property
    def _precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> KernelRidgeCV:
        """Choose the penalties and fit.

        Parameters
        ----------
        X : (n_samples, n_features), or the kernel (n_samples, n_samples) where precomputed
        y : (n_samples, n_targets) or (n_samples,); it may lie in a file (HDF5, memory map)
        sample_weight : (n_samples,), not negative: how many trials each row stands for
        """
        with full_precision():
            setup = self._setup(X, y, sample_weight, None)
            rows = self._read_rows(setup)
            kernel = rows.clone() if self._precomputed else self._kernel(rows, rows)
            _check_kernel(kernel)
            share = setup.weights.to(kernel.device) / setup.weights.sum()
            level = share @ kernel if self.fit_intercept else torch.zeros_like(kernel[0])
            path = self._kernel_path(setup, kernel, centred=False)
            del kernel
            if self.kernel not in ("linear", "rbf"):
                _check_definite(path)
            sink = WeightSink((setup.plan.n_targets, len(rows)), setup)
            offsets = np.full(setup.plan.n_targets, np.nan)

            def write(block: Block, weights: torch.Tensor, done: torch.Tensor) -> None:
                # of the weights as they are stored: large means of a kernel cancel in the predictions
                edges = range(0, weights.shape[1], 256)
                parts = [level @ weights[:, a : a + 256].double() for a in edges]
                offset = block.mean - torch.cat(parts) * block.scale
                sink.write(block, weights, done)
                kept = done[: block.width].cpu().numpy()
                offsets[block.columns][kept] = offset[: block.width].cpu().numpy()[kept]

            self._fit_blocks(setup, path, self._targets(setup), write)
        self._keep_dual(setup, rows, sink.values, offsets)
        return self

    def _read_rows(self, setup: Setup) -> torch.Tensor:
        """The rows that have weight, float64; of a precomputed kernel also the columns."""
        if self._precomputed and setup.X.shape[0] != setup.X.shape[1]:
            raise ShapeError(
                f"kernel='precomputed' and X has shape {tuple(setup.X.shape)}; expected "
                "(n_samples, n_samples)"
            )
        rows = read_tensor(setup.X, slice(None), dtype=torch.float64, device=setup.device)
        if not bool(torch.isfinite(rows).all()):
            raise ValueError("Input X contains NaN or infinity.")
        if len(setup.rows) == len(rows):
            return rows
        kept = torch.as_tensor(setup.rows, device=rows.device)
        return rows[kept][:, kept] if self._precomputed else rows[kept]

    def _kernel(self, X: torch.Tensor, Z: torch.Tensor) -> torch.Tensor:
        function = lookup("kernel", self.kernel, KERNELS)
        gamma = 1 / Z.shape[1] if self.gamma is None else self.gamma
        if not gamma > 0:
            raise InputError(f"gamma={self.gamma!r}; expected a number above zero, or None")
        kernel: torch.Tensor = function(X, Z, gamma=gamma, degree=self.degree, coef0=self.coef0)
        return kernel

    def _keep_dual(self, setup: Setup, rows: torch.Tensor, weights: Any, offsets: FloatArray) -> None:
        without = self.nan_codes_ > 0
        offsets[without] = np.nan
        weights = weights.T
        weights[:, torch.as_tensor(without, device=setup.device) if setup.as_torch else without] = float(
            "nan"
        )
        if len(setup.rows) != setup.X.shape[0]:
            weights = _spread(weights, setup)
            rows = read_tensor(setup.X, slice(None), dtype=torch.float64, device=setup.device)
        if not self._precomputed:
            kept = rows.to(setup.dtype)
            self.X_fit_ = kept if setup.as_torch else kept.cpu().numpy()
        constant: Any = torch.as_tensor(offsets, device=setup.device) if setup.as_torch else offsets
        self.dual_coef_, self.intercept_ = (
            (weights[:, 0], constant[0]) if setup.one_d else (weights, constant)
        )

    def predict(self, X: Any) -> Any:
        """Predict responses, (n_samples, n_targets) or (n_samples,); NaN where there is no fit.

        Parameters
        ----------
        X : (n_samples, n_features), or the kernel of these rows against the training rows,
            (n_samples, n_training) where precomputed
        """
        check_is_fitted(self, "dual_coef_")
        X = self._check_features(X, reset=False)
        fitted_on = (
            self.dual_coef_.device if isinstance(self.dual_coef_, torch.Tensor) else torch.device("cpu")
        )
        device = X.device if isinstance(X, torch.Tensor) else fitted_on
        dual = torch.as_tensor(self.dual_coef_, device=device).to(torch.float64)
        offset = torch.as_tensor(self.intercept_, device=device, dtype=torch.float64)
        rows = read_tensor(X, slice(None), dtype=torch.float64, device=device)
        with full_precision():
            if not self._precomputed:
                training = torch.as_tensor(self.X_fit_, device=device).to(torch.float64)
                rows = self._kernel(rows, training)
            predicted = rows @ dual + offset
        if isinstance(X, torch.Tensor):
            return predicted.to(X.dtype)
        return (
            predicted.cpu()
            .numpy()
            .astype(self.dual_coef_.dtype if not isinstance(self.dual_coef_, torch.Tensor) else np.float64)
        )


def _check_kernel(kernel: torch.Tensor) -> None:
    """Refuse what is no kernel: ridge on it would be a silent wrong answer."""
    size = float(kernel.diagonal().abs().max())
    uneven = float((kernel - kernel.T).abs().max())
    if not np.isfinite(size) or not np.isfinite(uneven):
        raise InputError("the kernel holds NaN or infinite values; check gamma, degree and the features")
    if uneven > 1e-5 * max(size, 1e-300):
        raise InputError(
            f"the kernel is not symmetric: entries differ by up to {uneven:.3g} across the diagonal of size "
            f"{size:.3g}; expected K[i, j] = K[j, i]"
        )


def _check_definite(path: AnyPath) -> None:
    """Refuse a kernel that, once centred, has negative eigenvalues beyond the rounding of float32."""
    assert not isinstance(path, GramPath)
    kernel = path.kernel.kernel
    shifted = kernel.clone()
    shifted.diagonal().add_(1e-5 * path.kernel.largest)
    if bool(torch.linalg.cholesky_ex(shifted)[1] > 0):
        raise InputError(
            "the kernel is not positive semi-definite: it has negative eigenvalues beyond rounding. Ridge "
            "needs a kernel of inner products; check the function, or add a constant to the diagonal"
        )


def _spread(weights: Any, setup: Setup) -> Any:
    """Dual weights at the positions of their rows; rows without weight get 0."""
    shape = (setup.X.shape[0], weights.shape[1])
    if isinstance(weights, torch.Tensor):
        out = torch.zeros(shape, dtype=weights.dtype, device=weights.device)
        out[torch.as_tensor(setup.rows, device=weights.device)] = weights
        return out
    spread = np.zeros(shape, dtype=weights.dtype)
    spread[setup.rows] = weights
    return spread
