"""The estimators whose penalty is chosen by exact cross-validation: what they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import clone

from brainalign._arrays import resolve_device
from brainalign._checks import one_of
from brainalign._memory import available_memory
from brainalign.errors import InputError, ShapeError
from brainalign.regression._base import TargetwiseRegressor
from brainalign.regression._blockwise import AnyPath, BlockwiseFit
from brainalign.regression._eigen_path import EigenPath
from brainalign.regression._folds import Fold, resolve_folds
from brainalign.regression._gram_path import GramPath
from brainalign.regression._kernel_folds import KernelFolds
from brainalign.regression._paths import KernelPath
from brainalign.regression._penalties import check_alphas, grid_edges, penalty_grid
from brainalign.regression._plan import Plan, Sizes, fold_sizes, make_plan
from brainalign.regression._scoring import SCORINGS
from brainalign.regression._sources import Block, Targets, compute_dtype, is_lazy

SEARCHES = ("grid", "adaptive")


@dataclass(frozen=True)
class Setup:
    """Checked input of one fit, nothing of it read yet where it lies in a file."""

    X: Any
    Y: Any
    weights: torch.Tensor
    rows: np.ndarray[Any, Any]
    folds: list[Fold]
    plan: Plan
    dtype: torch.dtype
    device: torch.device
    one_d: bool
    as_torch: bool


class CrossValidatedRidge(TargetwiseRegressor):
    """Base of `RidgeCV` and `KernelRidgeCV`: options, plan, search, fitted attributes."""

    solvers: tuple[str, ...] = ("auto", "dual", "factored", "eigen")
    linear = False

    alphas: Any
    cv: Any
    scoring: str
    fit_intercept: bool
    solver: str
    alpha_search: str
    alpha_per_target: bool
    extend_alphas: bool
    memory_budget: int | None
    device: str

    def plan(self, X: Any, Y: Any, sample_weight: Any = None) -> Plan:
        """Say what `fit` would do: path, work, peak memory; nothing is computed.

        Parameters
        ----------
        X : (n_samples, n_features); Y : (n_samples, n_targets) or (n_samples,)

        Returns
        -------
        Plan, which prints as a table

        Raises
        ------
        MemoryBudgetError
            The fit does not fit `memory_budget`.
        """
        if isinstance(self.cv, Iterator):
            raise InputError("cv is a generator, which plan would use up before fit; give cv=list(...)")
        return clone(self)._setup(X, Y, sample_weight, None).plan  # type: ignore[no-any-return]

    def _setup(self, X: Any, y: Any, sample_weight: Any, out: Any) -> Setup:
        self._check_options()
        as_torch = isinstance(X, torch.Tensor)
        device = X.device if as_torch else resolve_device(self.device)
        X = self._check_features(X, reset=True)
        y = self._check_responses(X, y)
        one_d = len(y.shape) == 1
        Y = y if not one_d else (np.asarray(y[...])[:, None] if is_lazy(y) else y[:, None])
        weights, rows = self._check_weights(sample_weight, X)
        folds = resolve_folds(self.cv, X, y, scoring=self.scoring, rows=rows)
        dtype = compute_dtype(X, y)
        if self.solver == "primal" and X.shape[1] >= min(len(fold.train) for fold in folds):
            dtype = torch.float64  # more columns than rows: sums of products square the condition
        sizes = self._sizes(X, Y, rows, folds, dtype, device, out)
        budget = self._budget(device)
        plan = make_plan(self.solver, sizes, budget, whole_grid=self.alpha_search == "adaptive")
        return Setup(X, Y, torch.as_tensor(weights), rows, folds, plan, dtype, device, one_d, as_torch)

    def _check_options(self) -> None:
        one_of("scoring", self.scoring, SCORINGS)
        one_of("solver", self.solver, self.solvers)
        one_of("alpha_search", self.alpha_search, SEARCHES)
        check_alphas(self.alphas)
        if self.alpha_search == "adaptive" and self.extend_alphas:
            raise InputError("extend_alphas=True needs alpha_search='grid': the audit is of one grid")

    def _budget(self, device: torch.device) -> int:
        if self.memory_budget is not None:
            if not self.memory_budget > 0:
                raise InputError(f"memory_budget={self.memory_budget!r}; expected bytes above zero, or None")
            return int(self.memory_budget)
        if device.type == "cuda":
            return int(torch.cuda.mem_get_info(device)[0])
        return available_memory()

    def _sizes(
        self,
        X: Any,
        Y: Any,
        rows: np.ndarray[Any, Any],
        folds: list[Fold],
        dtype: torch.dtype,
        device: torch.device,
        out: Any,
    ) -> Sizes:
        n, p, t = len(rows), int(X.shape[1]), int(Y.shape[1])
        itemsize = 4 if dtype == torch.float32 else 8
        n_alphas = 20 if isinstance(self.alphas, str) else int(np.size(self.alphas))
        copied = not is_lazy(X) and (
            len(rows) != X.shape[0]
            or str(X.dtype).removeprefix("torch.") != str(dtype).removeprefix("torch.")
            or (isinstance(X, np.ndarray) and not X.flags.c_contiguous)
        )
        kept = n * p * itemsize if copied or (device.type == "cuda" and not is_lazy(X)) else 0
        weights = (p if self.linear else n) * t * itemsize if out is None else 0
        return Sizes(
            n,
            p,
            t,
            n_alphas,
            *fold_sizes(folds),
            itemsize,
            self.linear,
            kept,
            weights + 8 * t * (n_alphas + 6),
            gpu=device.type == "cuda",
            threads=torch.get_num_threads(),
        )

    def _kernel_path(self, setup: Setup, kernel: torch.Tensor, *, centred: bool) -> AnyPath:
        system = KernelFolds(
            kernel,
            setup.folds,
            weights=setup.weights.to(kernel.device),
            intercept=self.fit_intercept,
            dtype=setup.dtype,
            centred=centred,
            factored=setup.plan.path == "factored",
        )
        return (
            EigenPath(system, self.scoring, setup.plan.n_targets)
            if setup.plan.path == "eigen"
            else KernelPath(system, self.scoring)
        )

    def _targets(self, setup: Setup) -> Targets:
        """The responses in blocks as the plan sets them."""
        share = (setup.weights / setup.weights.sum()).to(setup.device)
        return Targets(
            setup.Y,
            setup.rows,
            share,
            self.fit_intercept,
            setup.dtype,
            setup.device,
            setup.plan.block_targets,
        )

    def _fit_blocks(self, setup: Setup, path: AnyPath, targets: Any, write: Any) -> None:
        """Run the search and the refit, and keep what they found."""
        trace = float(path.total.trace()) if isinstance(path, GramPath) else path.kernel.trace
        done = BlockwiseFit(
            path,
            targets,
            penalty_grid(self.alphas, trace / float(setup.weights.sum())),
            setup.plan,
            write,
            squared_unit=self.scoring == "neg_mean_squared_error",
            per_target=self.alpha_per_target,
            adaptive=self.alpha_search == "adaptive",
            extend=self.extend_alphas,
        )
        done.run()
        self._keep_search(done, setup)

    def _keep_search(self, done: BlockwiseFit, setup: Setup) -> None:
        self._keep_codes(torch.as_tensor(done.codes))
        chosen = done.chosen.numpy()
        columns = np.arange(len(chosen))
        best = np.where(chosen >= 0, done.alphas[chosen], np.nan)
        scores = done.scores.numpy()
        self.alpha_edges_ = grid_edges(best, done.alphas)
        self.search_audit_ = done.audit
        self.plan_ = setup.plan
        kept = {
            "alphas_": done.alphas,
            "best_alphas_": best,
            "cv_scores_": scores,
            "best_scores_": np.where(chosen >= 0, scores[chosen, columns], np.nan),
        }
        for name, values in kept.items():
            setattr(self, name, torch.as_tensor(values, device=setup.device) if setup.as_torch else values)


class WeightSink:
    """Where fitted weights go, one block of targets after the other: memory, device or file.

    `values` (n_targets, m) is what the estimator keeps.
    """

    def __init__(self, shape: tuple[int, int], setup: Setup, out: Any = None) -> None:
        if out is not None:
            if tuple(out.shape) != shape:
                raise ShapeError(
                    f"out has shape {tuple(out.shape)}; expected (n_targets, n_features) = {shape}"
                )
            self.values = out
        elif setup.as_torch:
            self.values = torch.empty(shape, dtype=setup.dtype, device=setup.device)
        else:
            self.values = np.empty(shape, dtype=np.float32 if setup.dtype == torch.float32 else np.float64)

    def write(self, block: Block, weights: torch.Tensor, done: torch.Tensor) -> None:
        """Store the columns `done` of weights (m, w), which are overwritten; NaN where there is no fit."""
        weights *= block.scale.to(weights.dtype)
        without = block.codes > 0
        if bool(without.any()):
            weights[:, without] = torch.nan
        rows, done = weights.T[: block.width], done[: block.width]
        if bool(done.all()):
            self._store(block.columns, rows)
            return
        found: Any = rows if isinstance(self.values, torch.Tensor) else rows.cpu().numpy()
        where: Any = done if isinstance(self.values, torch.Tensor) else done.cpu().numpy()
        current = self.values[block.columns]
        current[where] = found[where]
        self.values[block.columns] = current

    def _store(self, columns: slice, rows: torch.Tensor) -> None:
        """Write whole rows; torch transposes in tiles what numpy would copy number by number."""
        if isinstance(self.values, torch.Tensor):
            self.values[columns] = rows
        elif isinstance(self.values, np.ndarray) and self.values.dtype in (np.float32, np.float64):
            torch.from_numpy(self.values[columns]).copy_(rows)
        else:
            self.values[columns] = rows.contiguous().cpu().numpy()
