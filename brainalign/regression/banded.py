"""Banded ridge: a penalty of its own for each group of features and each target."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from brainalign._checks import one_of
from brainalign._linalg import full_precision
from brainalign.errors import InputError, ShapeError
from brainalign.regression._banded_build import Built, build
from brainalign.regression._banded_candidates import check_candidates, check_concentration, draw_candidates
from brainalign.regression._banded_checkpoint import Journal, identity
from brainalign.regression._banded_errors import flat_in_folds
from brainalign.regression._banded_input import KERNELS, band_columns, check_kernels, join_bands
from brainalign.regression._banded_results import Results
from brainalign.regression._banded_search import search
from brainalign.regression._banded_visits import Plan
from brainalign.regression._banded_walk import Standing
from brainalign.regression._base import Problem, TargetwiseRegressor
from brainalign.regression._folds import Fold, resolve_folds
from brainalign.regression._penalties import check_alphas, penalty_grid
from brainalign.regression._scoring import SCORINGS
from brainalign.regression._sources import NO_SCORE

_SCREENING_ROWS = 250
_ROUNDS = 3

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]


class BandedRidgeCV(TargetwiseRegressor):
    """Ridge regression with a penalty per group of features (band) and per target.

    For every target it minimises ``sum_i w_i |y_i - sum_j sqrt(gamma_j) x_ij B_j - b|^2 +
    alpha |B|^2`` with the band weights gamma on the simplex: band j is penalised by
    ``alpha / gamma_j``, and a band of weight exactly 0 is left out. Gamma and alpha are chosen
    by cross-validation (Nunez-Elizalde, Huth & Gallant 2019, DOI 10.1016/j.neuroimage.2019.04.012;
    random search as in Dupre la Tour et al. 2022, DOI 10.1016/j.neuroimage.2022.119728).

    Parameters
    ----------
    bands : list of slices, of arrays of column numbers or of boolean masks; or None
        Every column of X belongs to exactly one band. None: X is a list of arrays
        (n_samples, p_j), one per band; or one matrix, which is then one band (ridge).
    alphas : ``"auto"`` or array (n_alphas,), positive
        Penalties in units of the squared (scaled) features. ``"auto"``: 20 values from 1e-5 to
        1e5 times trace(K)/n, as in `RidgeCV`.
    kernel : ``"linear"`` or ``"precomputed"``
        Precomputed: X is a stack (n_bands, n_samples, n_samples) of kernels, or a list of them.
    cv : int, scikit-learn splitter, iterable of (train, test), or None (5 folds, in order)
        Rows that a fold puts in neither part are left out of it.
    scoring : ``"r2"`` (against the test mean), ``"pearson"``, ``"neg_mean_squared_error"``
        Computed per fold and averaged.
    fit_intercept : bool
    scale_bands : bool
        True: each band is first multiplied by one number, computed once from all rows, that
        gives all bands the same trace(K) (their mean trace): equal weights then mean equal
        shares whatever the size and the units of a band. It looks at no response. False: bands
        as they are.
    n_candidates : int
        Number of band weights tried: equal weights, each band alone, then centres of clusters of
        random draws.
    concentration : float or sequence of floats, positive
        Concentrations of the Dirichlet distributions of the draws, in equal parts. Small ones
        give sparse mixtures.
    candidates : (n_candidates, n_bands), or None
        Band weights to try instead, none negative; each row is scaled to sum to one.
    alpha_per_target : bool
        True: gamma and alpha per target. False: one gamma and one alpha for all, those with the
        highest mean score over targets.
    refine : bool or int
        Follow the gradient of the held-out score from the best mixture of each target, so many
        rounds (True: 3). It finds a little more in three to four times the time.
    halving : bool
        True: only the first candidate is evaluated exactly for all targets. The others are
        screened at few penalties on one fold (more where folds are small), and each target
        evaluates exactly the best six of those that cover all targets, and mixtures between its
        best four (shared by targets that want nearly the same). Exact scores are computed
        along the penalties until the best has worse neighbours (the first candidate: from the
        best of every third penalty; what is asked for by targets that hold less than 3 % of
        all positive scores is left out). False: every candidate, every penalty, every target.
    checkpoint : path of a file, or None
        What the search has found is written there after each candidate (atomically, with
        checksums; at most a tenth of the time goes into writing). A fit of the same input takes
        it up and ends with the same bytes as one that was not interrupted. The file is removed
        when the fit is complete.
    random_state : int, RandomState or None
    device : ``"cpu"``, ``"cuda"``, ``"auto"``

    Attributes
    ----------
    alphas_ : (n_alphas,) the penalties tried
    candidates_ : (n_candidates, n_bands) the band weights tried before refinement
    candidate_scores_ : (n_candidates, n_targets) exact mean score over folds at the best penalty;
        NaN where a candidate was not evaluated exactly for a target
    band_weights_ : (n_bands, n_targets) gamma, on the simplex; NaN for a target without a fit
    best_alphas_ : (n_targets,) the penalties chosen
    best_scores_ : (n_targets,) exact mean score over folds of the chosen weights and penalty. It
        is the best of many and so optimistic; report scores of rows that the fit has not seen.
    band_scales_ : (n_bands,) factor on each band's kernel (its root: on the columns)
    band_columns_ : list of arrays, the columns of each band
    coef_ : (n_targets, n_features), or (n_features,) for 1-D targets
        In units of X as it came in: band scales and band weights are part of it.
    dual_coef_ : (n_samples, n_targets), or (n_samples,); with precomputed kernels, in place of
        `coef_`. The contribution of band j is ``K_j(new, train) @ dual_coef_ * band_scales_[j]
        * band_weights_[j]``.
    intercept_ : (n_targets,) or float
    nan_reasons_, nan_codes_ : which targets have no fit, and why

    Raises
    ------
    InputError
        Bands overlap, leave columns out, name columns that X does not have or are no list; a
        candidate, a concentration or a penalty is not allowed; a kernel is not symmetric; an
        option is unknown; the checkpoint belongs to another fit.
    ShapeError
        Bands differ in their samples, kernels are not square, candidates have another number
        of bands; a fold has fewer than two test rows and the score needs two.
    CorruptFileError
        The checkpoint is damaged.
    ValueError
        No target is finite, X holds NaN, lengths differ (scikit-learn's texts).

    Notes
    -----
    With few features the Gram matrix of each fold is gathered once and scaled for each gamma (p x
    p); where that needs more operations (p >= n, or many folds) the bands become kernels (n x n),
    and the errors of the rows F that a fold leaves out are ``(M_FF)^-1 (M Y)_F`` with M =
    (sum_j gamma_j K_j + alpha I)^-1 projected off the intercept (Liland, Skogholt & Indahl
    2022, arXiv:2211.15128).

    Refinement: the derivative of M by log gamma_j is ``-M (gamma_j K_j) M`` (compare the
    hyper-gradient of Dupre la Tour et al. 2022, appendix; here it is exact, by the formula for
    held-out errors). Targets take quasi-Newton (BFGS) steps in log(gamma_j / alpha); those whose
    proposals are close share one mixture, so that a round costs a number of factorisations that
    grows with the root of the number of targets. The penalty stays on the grid. What a target
    ends with is never worse, in its exact cross-validated score, than any candidate that was
    evaluated exactly for it, equal weights (ridge on scaled bands) among them. Which mixtures are
    tried depends on all targets with a fit, never on those without.

    Departures from the papers: band weights per target in the primal form too; the score is r2,
    Pearson r or the squared error; weights 0 are allowed; candidates are spread evenly and halved.

    Cost of one gamma and penalty: n^3 + 2 n^2 t (dual), k (p^3 + 2 p^2 t) + 2 n p t (primal, k
    folds); of a gradient 2 n^2 t (2 + (n_bands - 1) k) (dual). Up to 20 penalties are evaluated
    for the first candidate, about 4 per candidate on one fold, and 5 per survivor and cluster
    for a part of the targets. Memory: X three times, (n_bands + 20) n^2 (dual) or 2 (k + 1) p^2
    float64 (primal), 4 n t, and blocks of 256 MB.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> words, sounds = rng.standard_normal((80, 10)), rng.standard_normal((80, 15))
    >>> Y = words[:, :4] + 0.5 * rng.standard_normal((80, 4))
    >>> model = BandedRidgeCV(n_candidates=8).fit([words, sounds], Y)
    >>> model.band_weights_.shape, bool((model.band_weights_[0] > 0.8).all())
    ((2, 4), True)
    >>> parts = model.predict_bands([words, sounds])
    >>> bool(np.allclose(parts.sum(0) + model.intercept_, model.predict([words, sounds])))
    True
    """

    coef_: Any
    dual_coef_: Any
    intercept_: Any
    band_weights_: Any
    band_scales_: Any

    def __init__(
        self,
        bands: Sequence[Any] | None = None,
        alphas: str | Sequence[float] | FloatArray = "auto",
        *,
        kernel: str = "linear",
        cv: Any = None,
        scoring: str = "r2",
        fit_intercept: bool = True,
        scale_bands: bool = True,
        n_candidates: int = 40,
        concentration: float | Sequence[float] = (0.1, 1.0),
        candidates: Any = None,
        alpha_per_target: bool = True,
        refine: bool | int = False,
        halving: bool = True,
        checkpoint: str | os.PathLike[str] | None = None,
        random_state: Any = 0,
        device: str = "cpu",
    ) -> None:
        self.bands = bands
        self.alphas = alphas
        self.kernel = kernel
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.scale_bands = scale_bands
        self.n_candidates = n_candidates
        self.concentration = concentration
        self.candidates = candidates
        self.alpha_per_target = alpha_per_target
        self.refine = refine
        self.halving = halving
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> BandedRidgeCV:
        """Choose band weights and penalties, and fit.

        Parameters
        ----------
        X : (n_samples, n_features), a list of arrays (n_samples, p_j), or kernels (n_bands,
            n_samples, n_samples)
        y : (n_samples, n_targets) or (n_samples,)
        sample_weight : (n_samples,), not negative: how many trials each row stands for
        """
        one_of("scoring", self.scoring, SCORINGS)
        one_of("kernel", self.kernel, KERNELS)
        check_alphas(self.alphas)
        joined, widths = join_bands(X, self.bands, self.kernel)
        problem = self._read(joined, y, sample_weight)
        if self.kernel == "precomputed":
            check_kernels(widths or [], joined.shape[0])
        folds = resolve_folds(self.cv, joined, y, scoring=self.scoring, rows=problem.rows)
        with torch.no_grad(), full_precision():
            self._fit(problem, widths, [fold.to(problem.device) for fold in folds])
        return self

    def _fit(self, problem: Problem, widths: list[int] | None, folds: list[Fold]) -> None:
        self.band_columns_ = band_columns(self.bands, widths, int(problem.X.shape[1]))
        columns = [torch.as_tensor(band, device=problem.device) for band in self.band_columns_]
        draws = self._draw(len(columns), len(folds))
        # targets without a fit do not reach the search: the others cannot depend on them
        usable = torch.nonzero(problem.usable).flatten()
        kept = replace(problem, Y=problem.Y[:, usable])
        built = build(
            kept,
            columns,
            folds,
            self.scoring,
            flat_in_folds(kept.Y, folds),
            intercept=self.fit_intercept,
            precomputed=self.kernel == "precomputed",
            scale_bands=self.scale_bands,
        )
        scored = torch.nonzero(built.form.held_out.count > 0).flatten()
        self._code_unscored(problem, usable, built.form.held_out.count)
        plan = self._plan(kept, built, folds, scored, draws)
        standing = Standing.empty(built.form, scored, pooled=not self.alpha_per_target)
        journal = Journal(self.checkpoint, lambda: self._identity(kept, folds, plan), standing)
        scores = plan.candidates.new_full((len(plan.candidates), len(standing.score)), torch.nan)
        if len(scored):
            scores = search(built.form, standing, plan, journal.step)
        results = Results(problem, usable[scored], built, columns, standing)
        for name, value in (results.chosen(plan.alphas, scores) | results.fitted()).items():
            setattr(self, name, value)
        journal.finish()

    def _code_unscored(self, problem: Problem, usable: torch.Tensor, count: torch.Tensor) -> None:
        """Targets that are constant in every test part have no score, and so no fit."""
        codes = problem.codes.clone()
        codes[usable[count == 0]] = NO_SCORE
        self._keep_codes(codes)

    def _draw(self, n_bands: int, n_folds: int) -> tuple[int, list[int]]:
        """Draw the candidates, a seed and an order of the folds; refuse options before any work."""
        self._rounds()
        random = check_random_state(self.random_state)
        seed, order = int(random.randint(2**31 - 1)), random.permutation(n_folds)
        self.candidates_ = self._candidates(n_bands, random)
        return seed, order.tolist()

    def _plan(
        self,
        problem: Problem,
        built: Built,
        folds: list[Fold],
        scored: torch.Tensor,
        draws: tuple[int, list[int]],
    ) -> Plan:
        self.alphas_ = penalty_grid(self.alphas, built.penalty_unit)
        unit = torch.ones(len(scored), dtype=torch.float64, device=problem.device)
        if self.scoring == "neg_mean_squared_error":
            unit = built.form.Y[:, scored].double().square().sum(0) / problem.weights.sum()
        return Plan(
            alphas=sorted(float(alpha) for alpha in self.alphas_),
            candidates=torch.as_tensor(self.candidates_, device=problem.device),
            halving=self.halving,
            rounds=self._rounds(),
            folds=_screening_folds(draws[1], folds),
            seed=draws[0],
            unit=unit if self.alpha_per_target else unit.mean(0, keepdim=True),
        )

    def _rounds(self) -> int:
        """Rounds of refinement: the number asked for, or 3 for True."""
        if not isinstance(self.refine, (bool, int, np.integer)) or self.refine < 0:
            raise InputError(f"refine={self.refine!r}; expected True, False or a number of rounds")
        return _ROUNDS if self.refine is True else int(self.refine)

    def _candidates(self, n_bands: int, random: np.random.RandomState) -> FloatArray:
        if self.candidates is not None:
            return check_candidates(self.candidates, n_bands)
        if not isinstance(self.n_candidates, (int, np.integer)) or self.n_candidates < 1:
            raise InputError(f"n_candidates={self.n_candidates!r}; expected a number of at least 1")
        return draw_candidates(n_bands, self.n_candidates, check_concentration(self.concentration), random)

    def _identity(self, problem: Problem, folds: list[Fold], plan: Plan) -> dict[str, str]:
        """Everything that the search depends on, as text."""
        options = (
            "scoring",
            "kernel",
            "fit_intercept",
            "scale_bands",
            "alpha_per_target",
            "refine",
            "halving",
        )
        return {
            **identity(problem, self.band_columns_, folds, plan),
            **{name: repr(getattr(self, name)) for name in options},
        }

    def predict(self, X: Any) -> Any:
        """Predict responses.

        Parameters
        ----------
        X : as in `fit`; kernels are (n_bands, n_new, n_samples) of new with training samples

        Returns
        -------
        (n_new, n_targets), or (n_new,) after 1-D targets; NaN for targets without a fit
        """
        parts = self._contributions(X)
        total = next(parts)
        for part in parts:
            total += part
        total += _like(self.intercept_, total)
        return total

    def predict_bands(self, X: Any) -> Any:
        """Predict what each band contributes.

        Parameters
        ----------
        X : as in `predict`

        Returns
        -------
        (n_bands, n_new, n_targets), or (n_bands, n_new) after 1-D targets. Their sum over bands
        is `predict` less the intercept. Contributions are not centred.
        """
        parts = list(self._contributions(X))
        return torch.stack(parts) if isinstance(parts[0], torch.Tensor) else np.stack(parts)

    def _contributions(self, X: Any) -> Iterator[Any]:
        check_is_fitted(self)
        joined, widths = join_bands(X, self.bands, self.kernel)
        expected = [len(band) for band in self.band_columns_]
        if widths is not None and widths != expected:
            raise ShapeError(f"the bands of X have {widths} columns; the fit was given {expected}")
        joined = self._check_features(joined, reset=False)
        if self.kernel == "precomputed":
            gamma, scale = _like(self.band_weights_, joined), _like(self.band_scales_, joined)
            dual = _like(self.dual_coef_, joined)
            weight = gamma * scale[:, None]
            for j, band in enumerate(self.band_columns_):
                yield (joined[:, band] @ dual) * (weight[j, 0] if dual.ndim == 1 else weight[j])
            return
        coef = _like(self.coef_, joined)
        for band in self.band_columns_:
            yield joined[:, band] @ (coef[band] if coef.ndim == 1 else coef[:, band].T)


def _screening_folds(order: list[int], folds: list[Fold]) -> list[int]:
    """Folds in the order given, until their test rows are enough to tell mixtures apart."""
    chosen, rows = [], 0
    for number in order:
        chosen.append(number)
        rows += len(folds[number].test)
        if rows >= _SCREENING_ROWS:
            break
    return chosen


def _like(values: Any, like: Any) -> Any:
    """`values` as a tensor beside a tensor, else as numpy."""
    if isinstance(like, torch.Tensor):
        found = torch.as_tensor(values, device=like.device)
        return found.to(like.dtype) if like.is_floating_point() else found
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
