"""Encoding models: features predict the responses of every unit, nested and cross-validated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from brainalign._threads import side_by_side
from brainalign.design import TIME_INDEX, Splits, make_splits, named_regions, selection_regions
from brainalign.encoding._description import Description, FoldResults, known_facts, known_identity
from brainalign.encoding._folds import (
    FoldFit,
    FoldRows,
    Options,
    are_small,
    fit_fold,
    fold_rows,
)
from brainalign.encoding._inference import (
    ceiling,
    merge_winner,
    region_draws,
    score_fold,
)
from brainalign.encoding._inputs import Problem, check_repeats, prepare, with_confounds
from brainalign.encoding._model import EncodingModel, fit_model
from brainalign.encoding._option_checks import check_exchange, check_options, own_estimator
from brainalign.encoding._permutation import permutation_null
from brainalign.encoding._selection import region_of_targets, winners
from brainalign.encoding._time import (
    default_gap,
    dependent_block,
    longest_delay,
    time_facts,
    time_problem,
    why_no_exchange,
)
from brainalign.errors import InputError
from brainalign.types import NoiseCeiling, Scores


@dataclass(frozen=True, eq=False)
class EncodingFit:
    """Scores of an encoding model.

    Attributes
    ----------
    scores : the claim. Every choice (penalty, feature space) was made inside the training
        rows of its fold.
    layer_scores : {name: Scores}, each feature space on its own on the same folds: a
        description. Its best entry was picked with the test rows in sight and is no claim.
    model : the model refitted on all rows (``keep_model=True``), or None
    controls : {"time index": Scores} for blocks and continuous designs: what the time since
        the start of the run explains on the same folds. A claim that is no better is none.
    """

    scores: Scores
    layer_scores: dict[str, Scores]
    model: EncodingModel | None = field(default=None, repr=False)
    controls: dict[str, Scores] = field(default_factory=dict)

    def predict(self, features: Any) -> np.ndarray:
        """Predict responses to new stimuli, (n_samples, n_units); needs ``keep_model=True``."""
        return self._kept().predict(features)

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """{feature space: (n_units, n_features)}; NaN for units that chose another space."""
        return self._kept().weights

    def _kept(self) -> EncodingModel:
        if self.model is None:
            raise InputError("this fit kept no model; call fit_encoding(..., keep_model=True)")
        return self.model


def fit_encoding(
    *,
    features: Any,
    responses: Any,
    estimator: Any = None,
    splits: Any = "auto",
    combine: str = "select",
    select: str = "auto",
    n_folds: int = 5,
    inner_folds: int = 5,
    groups: Any = None,
    design: str | None = None,
    gap: int | None = None,
    confounds: Any = None,
    time_control: bool = True,
    repeats: str = "average",
    feature_scaling: str | None = "trace",
    metric: str = "pearson",
    scoring_over: str = "folds",
    n_permutations: int = 0,
    permutation_block: int | None = None,
    n_bootstrap: int = 1000,
    keep_model: bool = False,
    keep_predictions: bool = False,
    identity: Mapping[str, str] | None = None,
    info: Mapping[str, Any] | None = None,
    allow: str | None = None,
    progress: bool = False,
    random_state: int | None = 0,
) -> EncodingFit:
    """Predict the responses of every unit from features, with nested cross-validation.

    Parameters
    ----------
    features : Responses, array (n_samples, n_features), or {name: either}
        Activations of a network, one row a stimulus. Rows are joined to the responses by
        id; plain arrays by position, which `info` then says.
    responses : Responses or array (n_samples, n_units[, n_times])
        Single trials of one subject, with their design.
    estimator : RidgeCV, any scikit-learn regressor, or None (RidgeCV with penalties
        relative to trace(K)/n; `BandedRidgeCV` and `StackedRegression` where `combine` asks for
        them, whose own options they bring). Penalties given as numbers act on the scaled features.
    splits : ``"auto"``, a scikit-learn splitter, or pairs of (train, test) rows of `responses`
    combine : how several feature spaces serve, each scaled on its own: ``"select"`` (they are
        alternatives, chosen on inner folds), ``"concat"`` (side by side, one penalty a unit),
        ``"bands"`` (side by side, a penalty of its own for each space and unit, by
        `BandedRidgeCV`) or ``"stack"`` (predictions of each, weighted per unit, by
        `StackedRegression`). The last two report ``scores.info["space_weights"]``, {name:
        array like the scores}: the weight of each space, averaged over folds; they sum to one.
    select : ``"auto"`` (one choice per region where there is exactly one ``roi_`` column of
        labels, else one for all units), ``"all"``, ``"unit"``, or the name of a ``roi_`` column
    n_folds, inner_folds : folds of the claim, and of the choices inside its training rows
    groups : (n_samples,) labels of rows that must stay together, or None
    design : for plain arrays: ``"trials"``, ``"blocks"`` or ``"continuous"``
    gap : samples left out between training and test of contiguous blocks; None: the largest
        of a tenth of a block, the autocorrelation length of the responses, and the delays of
        the features plus 10 s of haemodynamic response (slow recordings)
    confounds : Responses (joined like features) or array (n_samples, n_confounds), or None;
        motion, for instance: regressed out of responses and features by the training rows
        of each fold
    time_control : fit the time index beside a claim on blocks or a continuous design
    repeats : ``"average"`` (means with their counts as weights), ``"single"``,
        ``"train_single"`` (single trials in training, means in test)
    feature_scaling : ``"trace"`` (one number per feature space), ``"column"``, None; fitted
        on the training rows of each fold
    metric : ``"pearson"``, ``"r2_train_mean"``, ``"r2"``, ``"explained_variance"``
    scoring_over : ``"folds"`` (score per fold, averaged) or ``"pooled"`` (one score over the
        test rows of all folds; negatively biased under the null, because a fold whose test
        mean is high has a training mean that is low)
    n_permutations : draws of the permutation test per unit; 0: no p-values. There are none either
        (and ``info["no_p_value"]`` says why) where the responses remember longer than half a fold
    permutation_block : samples of a block that is exchanged, and resampled for the interval
        (blocks, continuous); None: twice the autocorrelation length, at least 10
    n_bootstrap : resamples of test stimuli for the 95 % interval; 0: none
    keep_model, keep_predictions : also return the model refitted on all rows, and the
        predicted and observed test rows
    identity, info : dataset, subject, model ...; anything to store with the scores
    allow : a reason that overrules the guards against leaks; it is stamped on the result
    progress : show a bar on stderr
    random_state : seed of folds, permutations and resamples

    Returns
    -------
    EncodingFit

    Raises
    ------
    AlignmentError
        Rows cannot be joined by key.
    LeakageError
        Test rows would reach the training.
    InputError, ShapeError
        Options or shapes are wrong; there are fewer groups than folds.

    Notes
    -----
    Responses are z-scored within each session and run where there are several. A unit that
    is constant or not finite in training scores NaN and is counted in
    ``info["nan_reasons"]``; a constant prediction scores 0 and is counted. Nested choices:
    Varma & Simon 2006 (DOI 10.1186/1471-2105-7-91).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 20)); Y = X[:, :3] + 0.5 * rng.standard_normal((100, 3))
    >>> fit = fit_encoding(features=X, responses=Y, groups=np.arange(100))
    >>> bool((fit.scores.values > 0.5).all())
    True
    """
    check_options(combine, repeats, metric, scoring_over, n_permutations, n_bootstrap, estimator)
    problem = prepare(features, responses, groups=groups, design=design, splits=splits)
    check_repeats(problem, repeats)
    problem = with_confounds(problem, confounds, responses, repeats)
    gap = default_gap(problem, longest_delay(features), n_folds) if gap is None else gap
    block = dependent_block(problem) if permutation_block is None else permutation_block
    options = Options(
        own_estimator(combine, estimator, random_state),
        repeats,
        feature_scaling,
        inner_folds,
        gap,
        metric,
        random_state,
        allow,
        1 if problem.design == "trials" else block,
        combine,
    )
    held_out = make_splits(
        problem.samples,
        design=problem.design,
        splits=splits,
        n_folds=n_folds,
        groups=problem.groups,
        gap=gap,
        random_state=random_state,
        allow=allow,
    )
    all_names = list(problem.features)
    spaces = [[name] for name in all_names] if combine == "select" else [all_names]
    run = _run_folds(problem, spaces, held_out, options, select, n_bootstrap, progress)
    describe = Description(problem, held_out, options, scoring_over, n_bootstrap, combine, select, all_names)
    tested = np.concatenate([test for _, test in held_out.folds])
    bound, why_not = ceiling(problem, tested, options)
    base = {
        **known_facts(features, responses),
        **(info or {}),
        **describe.common(),
        **time_facts(problem, features),
        "no_ceiling": why_not,
    }
    identity = {**known_identity(features, responses), **(identity or {})}
    p_values = None
    if n_permutations:
        check_exchange(problem, repeats)
        reason = why_no_exchange(problem, held_out, block) if permutation_block is None else None
        if reason is None:
            p_values, base["permutation"] = _permuted(describe, run, spaces, n_permutations)
        else:
            base["no_p_value"] = reason
    claim = describe.claim(run, spaces, bound, p_values, base, identity, keep_predictions)
    profile = {
        name: describe.layer(run, position, name, bound, base, identity)
        for position, name in enumerate(all_names if combine == "select" else [])
    }
    model = fit_model(problem, spaces, options, select) if keep_model else None
    controls = {}
    if time_control and problem.design != "trials":
        controls[TIME_INDEX] = _fit_time(describe, select, n_bootstrap, bound, base, identity)
    return EncodingFit(claim, profile, model, controls)


def _permuted(
    describe: Description, run: FoldResults, spaces: list[list[str]], n_permutations: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """p-values in the shape of the scores, and how they came about."""
    problem, splits, options = describe.problem, describe.splits, describe.options
    n_times = int(np.prod(problem.shape[1:], dtype=int))
    shown = region_of_targets(named_regions(problem.units), len(problem.units), n_times)
    p_values, region_p = permutation_null(
        problem, spaces, run.records, splits, options, n_permutations=n_permutations, shown=shown
    )
    exchange = f"blocks of {options.block} samples within runs and folds"
    if splits.exchange == "stimuli":
        exchange = f"{'trials' if problem.row_kind == 'trial' else 'stimuli'} within folds"
    facts = {
        "region_p": region_p,
        "n": n_permutations,
        "exchange": exchange,
        "refit": not splits.separate_test,
    }
    return p_values.reshape(problem.shape), facts


def _fit_time(
    describe: Description,
    select: str,
    n_bootstrap: int,
    bound: NoiseCeiling | None,
    base: dict[str, Any],
    identity: Mapping[str, str],
) -> Scores:
    """Scores of the time index on the folds of the claim."""
    problem = time_problem(describe.problem)
    options = replace(describe.options, estimator=None, feature_scaling="trace", combine="select")
    own = replace(describe, problem=problem, options=options, names=[TIME_INDEX], combine="select")
    run = _run_folds(problem, [[TIME_INDEX]], describe.splits, options, select, n_bootstrap, False)
    facts = {k: v for k, v in base.items() if k not in ("permutation", "model", "delays", "delays_s")}
    facts = {**facts, **own.common(), "role": "control"}
    named = {**identity, "model": TIME_INDEX, "layer": TIME_INDEX}
    return own.claim(run, [[TIME_INDEX]], bound, None, facts, named, False)


def _run_folds(
    problem: Problem,
    spaces: list[list[str]],
    held_out: Splits,
    options: Options,
    select: str,
    n_bootstrap: int,
    progress: bool,
) -> FoldResults:
    n_units, n_times = len(problem.units), int(np.prod(problem.shape[1:], dtype=int))
    chooses = None
    if select != "unit":
        chooses = region_of_targets(selection_regions(problem.units, select), n_units, n_times)
    shown = region_of_targets(named_regions(problem.units), n_units, n_times)
    n_draws = n_bootstrap if options.metric == "pearson" else 0
    layer_folds = np.full((len(spaces), len(held_out.folds), n_units * n_times), np.nan)
    layer_draws = np.zeros((len(spaces), n_draws, len(shown)))
    claim_draws = np.zeros((n_draws, len(shown)))
    records = []
    bar = tqdm(total=len(held_out.folds) * len(spaces), desc="encoding", unit="fit", disable=not progress)
    with side_by_side(are_small(problem, spaces, options)) as spread, bar:
        for number, (train, test) in enumerate(held_out.folds):
            rows = fold_rows(problem, train, test, options)
            seed = None if options.random_state is None else options.random_state + number
            draw = partial(
                region_draws, rows, index=shown, n_bootstrap=n_draws, block=options.block, seed=seed
            )

            def fit_space(
                names: list[str], rows: FoldRows = rows, draw: Callable[..., np.ndarray] = draw
            ) -> tuple[FoldFit, np.ndarray, np.ndarray]:
                fit = fit_fold(problem, names, rows, options)
                return fit, score_fold(options, rows, fit.predictions), draw(fit.predictions)

            record, inner = None, np.full((len(spaces), n_units * n_times), np.nan)
            for position, (fit, scored, draws) in enumerate(spread(fit_space, spaces)):
                inner[position], layer_folds[position, number] = fit.inner_score, scored
                layer_draws[position] += draws
                take = winners(inner[: position + 1], chooses) == position
                record = merge_winner(record, fit, rows, position, take)
                bar.update()
            assert record is not None
            claim_draws += draw(record.predictions)
            records.append(record)
    n = len(held_out.folds)
    return FoldResults(records, layer_folds, layer_draws / n, claim_draws / n)
