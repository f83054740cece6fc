"""From checked input to the primal or the dual form, bands on one scale; and back to coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from brainalign import metrics
from brainalign._linalg import gram
from brainalign.errors import InputError
from brainalign.regression._banded_dual import DualBands
from brainalign.regression._banded_errors import HeldOutScores
from brainalign.regression._banded_primal import PrimalBands
from brainalign.regression._base import Problem
from brainalign.regression._folds import Fold

_BLOCK_COLUMNS = 2048


@dataclass(frozen=True)
class Built:
    """The form that is searched, and what turns its weights into coefficients.

    `scale` (n_bands,) multiplies the kernel of each band; `penalty_unit`: mean of trace(K)/n
    over the bands; `x_mean` (p,) and `y_mean` (t,) the weighted means; `X` (n, p) the centred
    features (None for kernels); `kernel_means` (n_bands, n) of precomputed kernels.
    """

    form: DualBands | PrimalBands
    scale: torch.Tensor
    penalty_unit: float
    x_mean: torch.Tensor
    y_mean: torch.Tensor
    X: torch.Tensor | None
    kernel_means: torch.Tensor | None


def build(
    problem: Problem,
    columns: Sequence[torch.Tensor],
    folds: Sequence[Fold],
    scoring: str,
    flat: torch.Tensor,
    *,
    intercept: bool,
    precomputed: bool,
    scale_bands: bool,
) -> Built:
    """Gather what no band weight changes: kernels, or features for Gram matrices, what is cheaper."""
    root = problem.weights.sqrt()
    share = problem.weights / problem.weights.sum() if intercept else torch.zeros_like(root)
    y_mean = share @ problem.Y.double()
    centred = problem.Y - y_mean.to(problem.dtype)
    held_out = HeldOutScores(scoring, centred, folds, flat)
    Y = centred * root[:, None].to(problem.dtype)
    if precomputed:
        return _from_kernels(
            problem, columns, share, y_mean, Y, held_out, intercept=intercept, scale_bands=scale_bands
        )
    x_mean = share @ problem.X.double()
    X = problem.X - x_mean.to(problem.dtype)
    if intercept:  # what rounding leaves of a constant column must not be scaled up
        X[:, metrics.is_constant(problem.X)] = 0
    weighted = X * root[:, None].to(problem.dtype)
    squares = _squares(weighted)
    traces = torch.stack([squares[band].sum() for band in columns])
    scale, unit = _band_scales(traces, problem, scale_bands)
    form: DualBands | PrimalBands
    if _primal_is_cheaper(X.shape[0], X.shape[1], Y.shape[1], len(folds)):
        number = torch.zeros(X.shape[1], dtype=torch.long, device=problem.device)
        for j, band in enumerate(columns):
            number[band] = j
        weighted *= scale.sqrt()[number].to(problem.dtype)
        form = PrimalBands(weighted, Y, number, len(columns), root, folds, held_out, intercept)
    else:
        kernels = [_kernel(weighted, band, scale[j]).to(problem.dtype) for j, band in enumerate(columns)]
        form = DualBands(kernels, Y, root, folds, held_out, intercept)
    return Built(form, scale, unit, x_mean, y_mean, X, None)


def _primal_is_cheaper(n: int, p: int, t: int, k: int) -> bool:
    """Compare the operations of one mixture and penalty; many folds favour the kernel."""
    primal = k * p**3 + t * (2 * k * p**2 + 2 * n * p)
    return p < n and primal < n**3 + t * 2 * n**2 * (1 + 1 / k)


def _from_kernels(
    problem: Problem,
    columns: Sequence[torch.Tensor],
    share: torch.Tensor,
    y_mean: torch.Tensor,
    Y: torch.Tensor,
    held_out: HeldOutScores,
    *,
    intercept: bool,
    scale_bands: bool,
) -> Built:
    """Precomputed kernels: the columns of rows without weight are left out, the rest as features are."""
    root = problem.weights.sqrt()
    rows = torch.as_tensor(problem.rows, device=problem.device)
    kernels, means = [], []
    for j, band in enumerate(columns):
        kernel = _symmetric(problem.X[:, band[rows]].double(), j)
        means.append(share @ kernel)
        kernel *= root[:, None] * root
        if intercept:
            direction = root / root.norm()
            kernel -= torch.outer(direction, direction @ kernel)
            kernel -= torch.outer(kernel @ direction, direction)
        kernels.append(kernel)
    traces = torch.stack([kernel.diagonal().sum() for kernel in kernels])
    scale, unit = _band_scales(traces, problem, scale_bands)
    scaled = [(kernel * scale[j]).to(problem.dtype) for j, kernel in enumerate(kernels)]
    form = DualBands(scaled, Y, root, held_out.folds, held_out, intercept)
    x_mean = torch.zeros(0, dtype=torch.float64, device=problem.device)
    return Built(form, scale, unit, x_mean, y_mean, None, torch.stack(means))


def _symmetric(kernel: torch.Tensor, j: int) -> torch.Tensor:
    difference = float((kernel - kernel.T).abs().max())
    largest = float(kernel.abs().max())
    if difference > 1e-4 * largest:
        raise InputError(
            f"the kernel of band {j} is not symmetric: entries differ from their mirror image by up to "
            f"{difference:.3g} (largest entry {largest:.3g}); pass kernels of the samples with themselves"
        )
    return (kernel + kernel.T) / 2


def _band_scales(traces: torch.Tensor, problem: Problem, scale_bands: bool) -> tuple[torch.Tensor, float]:
    """One number per band that gives all kernels the same trace, and that trace over n.

    It is the mean trace of the bands that vary, so that one band alone keeps its own.
    """
    alive = traces > 0
    if not bool(alive.any()):
        return torch.ones_like(traces), 1.0
    mean = traces[alive].mean()
    scale = torch.where(alive, mean / torch.where(alive, traces, 1), torch.ones_like(traces))
    return (scale if scale_bands else torch.ones_like(traces)), float(mean / problem.weights.sum())


def _kernel(rows: torch.Tensor, band: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Gram matrix (n, n) of the columns of one band in float64, columns in blocks."""
    out = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for part in torch.split(band, _BLOCK_COLUMNS):
        gram(rows[:, part].double(), out)
    return out.mul_(scale)


def _squares(rows: torch.Tensor) -> torch.Tensor:
    """Sum of squares (p,) of each column in float64, columns in blocks."""
    parts = [rows[:, i : i + _BLOCK_COLUMNS].double() for i in range(0, rows.shape[1], _BLOCK_COLUMNS)]
    return torch.cat([(part * part).sum(0) for part in parts])


def coefficients(
    built: Built, columns: Sequence[torch.Tensor], weights: torch.Tensor, gamma: torch.Tensor
) -> torch.Tensor:
    """Coefficients (t, p) of the features as they came in, from the weights of the fits.

    Parameters
    ----------
    weights : (weight_rows, t); gamma : (t, n_bands)
    """
    assert built.X is not None
    out = torch.zeros(weights.shape[1], built.X.shape[1], dtype=weights.dtype, device=weights.device)
    if isinstance(built.form, PrimalBands):
        roots = built.scale.sqrt()[built.form.band].to(weights.dtype)
        out.copy_((weights * roots[:, None]).T)
        return out
    dual = weights * built.form.root[:, None].to(weights.dtype)
    for j, band in enumerate(columns):
        factor = (gamma[:, j] * built.scale[j]).to(weights.dtype)
        out[:, band] = (dual.T @ built.X[:, band]) * factor[:, None]
    return out
