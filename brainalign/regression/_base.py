"""What every estimator of this package shares: reading input, masks, scores per target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, validate_data

from brainalign import metrics
from brainalign._arrays import resolve_device
from brainalign.errors import InputError, ShapeError
from brainalign.regression._sources import NAN_REASONS, check_rows, compute_dtype, is_lazy, make_block
from brainalign.regression.model_files import SavedModel

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class Problem:
    """Checked input of a fit, as tensors.

    `X` (n, p) and `Y` (n, t), with targets that have no fit set to 0; `weights` (n,)
    float64, all positive; `rows` (n,) which rows of the input these are; `usable` (t,)
    boolean and `codes` (t,) uint8 why not; `one_d` and `as_torch` say what went in.
    """

    X: torch.Tensor
    Y: torch.Tensor
    weights: torch.Tensor
    rows: np.ndarray[Any, Any]
    usable: torch.Tensor
    codes: torch.Tensor
    one_d: bool
    as_torch: bool
    dtype: torch.dtype
    device: torch.device


class TargetwiseRegressor(SavedModel, RegressorMixin, BaseEstimator):
    """Base of the linear and kernel estimators: one fit per target, masked where there is none."""

    scoring: str
    device: str
    nan_codes_: np.ndarray[Any, np.dtype[np.uint8]]
    nan_reasons_: dict[str, int]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = True
        return tags

    def _check_features(self, X: Any, *, reset: bool) -> Any:
        """X as an array or tensor of real numbers; files are checked by shape alone."""
        if isinstance(X, torch.Tensor) or is_lazy(X):
            self._check_shape(X, reset=reset)
            return X
        half = getattr(X, "dtype", None) == np.float16
        X = np.asarray(X, dtype=np.float32) if half else X
        return validate_data(
            self, X, dtype=[np.float64, np.float32], ensure_min_samples=2 if reset else 1, reset=reset
        )

    def _check_shape(self, X: Any, *, reset: bool) -> None:
        if len(X.shape) != 2:
            raise ShapeError(f"X has shape {tuple(X.shape)}; expected 2 axes (n_samples, n_features)")
        if reset:
            self.n_features_in_ = int(X.shape[1])
            if X.shape[0] < 2:
                raise ShapeError(f"X has {X.shape[0]} samples; at least 2 are needed")
        elif X.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )

    def _check_responses(self, X: Any, y: Any) -> Any:
        """Responses as an array, tensor or file of one or two axes, as long as X."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        if not isinstance(y, torch.Tensor) and not is_lazy(y):
            half = getattr(y, "dtype", None) == np.float16
            y = np.asarray(y, dtype=np.float32) if half else y
            y = check_array(y, ensure_2d=False, dtype=[np.float64, np.float32], ensure_all_finite=False)
        check_rows(X, y)
        return y

    def _check_weights(self, sample_weight: Any, X: Any) -> tuple[FloatArray, np.ndarray[Any, Any]]:
        """Weights of the rows that have one, (n_kept,) float64, and which rows these are."""
        if isinstance(sample_weight, torch.Tensor):
            sample_weight = sample_weight.detach().cpu().numpy()
        rows_only = np.zeros((X.shape[0], 1))
        weights = _check_sample_weight(sample_weight, rows_only, dtype=np.float64)
        if (weights < 0).any():
            row = int(np.flatnonzero(weights < 0)[0])
            raise InputError(f"sample_weight of row {row} is {weights[row]}; weights must not be negative")
        keep = np.flatnonzero(weights > 0)
        if len(keep) < 2:
            raise ShapeError(f"{len(keep)} samples have a weight above zero; at least 2 are needed")
        return weights[keep], keep

    def _read(
        self, X: Any, y: Any, sample_weight: Any = None, *, first: bool = True, masked: bool = True
    ) -> Problem:
        """Check everything and read it into memory; see `Problem`.

        `first` resets what the estimator knows of the features; without `masked` no target
        is judged by these rows alone.
        """
        as_torch = isinstance(X, torch.Tensor)
        device = X.device if as_torch else resolve_device(self.device)
        X = self._check_features(X, reset=first)
        y = self._check_responses(X, y)
        weights, rows = self._check_weights(sample_weight, X)
        dtype = compute_dtype(X, y)
        Xt, Yt = (_as_tensor(values, rows, dtype, device) for values in (X, y))
        if not bool(torch.isfinite(Xt).all()):
            raise ValueError("Input X contains NaN or infinity.")
        one_d = Yt.ndim == 1
        Yt = Yt[:, None] if one_d else Yt
        wt = torch.as_tensor(weights, device=device)
        if not masked:
            usable = torch.ones(Yt.shape[1], dtype=torch.bool, device=device)
            codes = torch.zeros(Yt.shape[1], dtype=torch.uint8, device=device)
            return Problem(Xt, Yt, wt, rows, usable, codes, one_d, as_torch, dtype, device)
        codes = make_block(Yt, slice(0, Yt.shape[1]), wt / wt.sum(), intercept=True).codes[: Yt.shape[1]]
        Yt = torch.where(codes == 0, Yt, torch.zeros_like(Yt))
        self._keep_codes(codes)
        return Problem(Xt, Yt, wt, rows, codes == 0, codes, one_d, as_torch, dtype, device)

    def _keep_codes(self, codes: torch.Tensor) -> None:
        """Store why targets have no fit; refuse responses of which none is finite."""
        self.nan_codes_ = codes.cpu().numpy().astype(np.uint8)
        if (self.nan_codes_ == 1).all():
            raise ValueError(
                "Input y contains NaN or infinity in every target: no target is finite. Remove or "
                "replace missing responses before fitting."
            )
        self.nan_reasons_ = {
            reason: int((self.nan_codes_ == code).sum())
            for code, reason in NAN_REASONS.items()
            if (self.nan_codes_ == code).any()
        }

    def predict(self, X: Any) -> Any:
        """Predict responses; each estimator says how."""
        raise NotImplementedError

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean R2 (against the test mean) over the targets that have a fit."""
        predicted, observed = _as_numpy(self.predict(X)), _as_numpy(y)
        if predicted.ndim == 2:
            fitted = np.isfinite(predicted).all(axis=0)
            predicted, observed = predicted[:, fitted], observed[:, fitted]
        return float(r2_score(observed, predicted, sample_weight=sample_weight))

    def score_per_target(self, X: Any, Y: Any) -> Any:
        """Score by `scoring`, one value per target, (n_targets,); NaN where there is no fit.

        Parameters
        ----------
        X : (n_samples, n_features); Y : (n_samples, n_targets) or (n_samples,)
        """
        check_is_fitted(self)
        predicted = self.predict(X)
        observed: Any
        wide: Any
        if isinstance(predicted, torch.Tensor):
            observed = torch.as_tensor(Y).to(device=predicted.device, dtype=torch.float64)
            wide = predicted.to(torch.float64)
        else:
            observed, wide = np.asarray(Y, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
        if wide.ndim == 1:
            wide, observed = wide[:, None], observed.reshape(len(observed), -1)
        if wide.shape != observed.shape:
            raise ShapeError(f"Y has shape {tuple(observed.shape)}; expected {tuple(wide.shape)}")
        return metrics.score(self.scoring, observed, wide)


def _as_tensor(
    values: Any, rows: np.ndarray[Any, Any], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        kept = values if len(rows) == len(values) else values[torch.as_tensor(rows, device=values.device)]
        return kept.detach().to(device=device, dtype=dtype)
    read = np.asarray(values[...])
    read = read if len(rows) == len(read) else read[rows]
    native = np.float32 if dtype == torch.float32 else np.float64
    return torch.tensor(np.ascontiguousarray(read, dtype=native), device=device)


def _as_numpy(values: Any) -> Any:
    return (
        cast(Any, values.detach().cpu().numpy()) if isinstance(values, torch.Tensor) else np.asarray(values)
    )
