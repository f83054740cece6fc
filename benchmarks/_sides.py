"""The two sides of each comparison: one function per estimator, all called the same way."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

FOLDS = 5
GRIDS = {"1e-2 to 1e7": np.logspace(-2, 7, 20), "1e1 to 1e20": np.logspace(1, 20, 20)}
# the batches that the peer's tutorials ask for
TUTORIAL = {"n_targets_batch": 500, "n_alphas_batch": 5, "n_targets_batch_refit": 200}
FRACTIONS = np.linspace(0.05, 1, 20)


@dataclass(frozen=True)
class Side:
    """What is fitted: package, estimator, array backend, settings, grid, widths of bands, candidates."""

    package: str
    estimator: str
    backend: str = ""
    settings: str = ""
    grid: str = "1e-2 to 1e7"
    widths: tuple[int, ...] = ()
    candidates: int = 0

    def __str__(self) -> str:
        return ", ".join(part for part in (self.estimator, self.backend, self.settings) if part)

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """What was chosen: penalties (n_targets,) where there is one each, and cross-validated scores."""

    penalties: np.ndarray | None
    scores: np.ndarray | None


def fit(side: Side, X: np.ndarray, Y: np.ndarray) -> Answer:
    """Fit one side on float arrays; the same folds (five, in order), intercept and r2 for all."""
    return SIDES[side.package, side.estimator](side, X, Y)


def our_ridge(side: Side, X: np.ndarray, Y: np.ndarray) -> Answer:
    model = our_model(side).fit(X, Y)
    return Answer(model.best_alphas_, model.best_scores_)


def our_model(side: Side):
    """The unfitted estimator of brainalign, whose plan is printed beside its measured memory."""
    from brainalign.regression import RidgeCV

    options = {} if side.settings in ("", "grid") else {"alpha_search": side.settings}
    return RidgeCV(GRIDS[side.grid], cv=KFold(FOLDS), **options)


def our_banded(side: Side, X: np.ndarray, Y: np.ndarray) -> Answer:
    from brainalign.regression import BandedRidgeCV

    model = BandedRidgeCV(
        bands=bands(side.widths),
        alphas=GRIDS[side.grid],
        cv=KFold(FOLDS),
        n_candidates=side.candidates,
        random_state=0,
    ).fit(X, Y)
    return Answer(None, model.best_scores_)


def bands(widths: tuple[int, ...]) -> list[slice]:
    """Columns of each feature space."""
    edges = np.cumsum([0, *widths])
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def peer_options(side: Side) -> dict:
    """Set the peer's backend; return what its solvers take here."""
    from himalaya.backend import set_backend
    from himalaya.scoring import r2_score as peer_r2

    set_backend(side.backend)
    return {"score_func": peer_r2, **(TUTORIAL if side.settings == "tutorial" else {})}


def peer_arrays(side: Side, *arrays: np.ndarray) -> list:
    """Arrays as the peer's backend wants them; no copy."""
    return [torch.as_tensor(a) if side.backend == "torch" else a for a in arrays]


def peer_ridge(side: Side, X: np.ndarray, Y: np.ndarray) -> Answer:
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.ridge import RidgeCV

    estimator = {"RidgeCV": RidgeCV, "KernelRidgeCV": KernelRidgeCV}[side.estimator]
    options = peer_options(side)
    model = estimator(alphas=GRIDS[side.grid], cv=KFold(FOLDS), fit_intercept=True, solver_params=options)
    with warnings.catch_warnings():
        # its advice to take the other of its two estimators: both are timed
        warnings.filterwarnings("ignore", message="Solving .*ridge is slower", category=UserWarning)
        model.fit(*peer_arrays(side, X, Y))
    return Answer(np.asarray(model.best_alphas_), np.asarray(model.cv_scores_))


def peer_kernels(side: Side, X: np.ndarray, Y: np.ndarray) -> Answer:
    from himalaya.kernel_ridge import MultipleKernelRidgeCV

    options = peer_options(side) | random_search(side)
    Xb, Yb = peer_arrays(side, X, Y)
    spaces = [Xb[:, columns] for columns in bands(side.widths)]
    stack = torch.stack if side.backend == "torch" else np.stack
    kernels = stack([space @ space.T for space in spaces])
    model = MultipleKernelRidgeCV(
        kernels="precomputed", cv=KFold(FOLDS), fit_intercept=True, random_state=0, solver_params=options
    ).fit(kernels, Yb)
    return Answer(None, np.asarray(model.cv_scores_).max(axis=0))


def peer_groups(side: Side, X: np.ndarray, Y: np.ndarray) -> Answer:
    from himalaya.ridge import GroupRidgeCV

    options = peer_options(side) | random_search(side) | {"warn": False}
    groups = np.repeat(np.arange(len(side.widths)), side.widths)
    model = GroupRidgeCV(
        groups=groups, cv=KFold(FOLDS), fit_intercept=True, random_state=0, solver_params=options
    ).fit(*peer_arrays(side, X, Y))
    return Answer(None, np.asarray(model.cv_scores_).max(axis=0))


def random_search(side: Side) -> dict:
    """Options of the peer's search over weights of bands."""
    return {"n_iter": side.candidates, "alphas": GRIDS[side.grid], "progress_bar": False}


def sklearn_loop(side: Side, X: np.ndarray, Y: np.ndarray) -> Answer:
    """Ridge per fold and penalty, scored per target; then one refit for each penalty that was chosen.

    scikit-learn has no penalty per target with K-fold; this is the loop that its users write.
    """
    grid = GRIDS[side.grid]
    scores = np.zeros((len(grid), Y.shape[1]))
    for train, test in KFold(FOLDS).split(X):
        for a, alpha in enumerate(grid):
            predicted = Ridge(alpha=alpha).fit(X[train], Y[train]).predict(X[test])
            scores[a] += r2_score(Y[test], predicted, multioutput="raw_values") / FOLDS
    best = scores.argmax(axis=0)
    coef = np.empty((Y.shape[1], X.shape[1]), dtype=X.dtype)
    for a in np.unique(best):
        coef[best == a] = Ridge(alpha=grid[a]).fit(X, Y[:, best == a]).coef_
    return Answer(grid[best], scores.max(axis=0))


def fracridge_loop(side: Side, X: np.ndarray, Y: np.ndarray) -> Answer:
    """20 fractions in place of 20 penalties, per fold, scored on the test rows; no refit.

    Its grid is of fractions of the length of the unpenalised weights, so the penalties
    differ from those of the other sides: only the time is compared.
    """
    from fracridge import fracridge

    scores = np.zeros((len(FRACTIONS), Y.shape[1]))
    for train, test in KFold(FOLDS).split(X):
        x_mean, y_mean = X[train].mean(axis=0), Y[train].mean(axis=0)
        # its compiled decomposition needs a compiler pass that would be timed
        coef, _ = fracridge(X[train] - x_mean, Y[train] - y_mean, FRACTIONS, jit=False)
        for f in range(len(FRACTIONS)):
            predicted = (X[test] - x_mean) @ coef[:, f] + y_mean
            scores[f] += r2_score(Y[test], predicted, multioutput="raw_values") / FOLDS
    return Answer(None, scores.max(axis=0))


SIDES = {
    ("brainalign", "RidgeCV"): our_ridge,
    ("brainalign", "BandedRidgeCV"): our_banded,
    ("himalaya", "RidgeCV"): peer_ridge,
    ("himalaya", "KernelRidgeCV"): peer_ridge,
    ("himalaya", "MultipleKernelRidgeCV"): peer_kernels,
    ("himalaya", "GroupRidgeCV"): peer_groups,
    ("scikit-learn", "Ridge"): sklearn_loop,
    ("fracridge", "fracridge"): fracridge_loop,
}
