"""The null distribution of the scores: responses exchanged, every fold refitted at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import torch

from brainalign._arrays import resolve_device
from brainalign._threads import side_by_side
from brainalign.design import Splits, recording_runs
from brainalign.encoding._fold_null import (
    Form,
    Moves,
    Sheet,
    factor_parts,
    factors_are_cheaper,
    held_form,
    make_sheet,
    null_scores,
    operator_form,
)
from brainalign.encoding._folds import FoldRows, Options, are_small, scaled_features
from brainalign.encoding._inference import FoldRecord, mean_over_folds, score_fold
from brainalign.encoding._inputs import Problem
from brainalign.encoding._tally import Draws, MeanOverFolds, Tally
from brainalign.regression._permuted import fixed_ridge
from brainalign.statistics import exchange_rows

_BATCH_BYTES = 2**26  # responses and predictions of the draws in flight
_BLOCK_BYTES = 2**26  # the null of a block of targets, and as much for its responses
_MOST_DRAWS = 256
# responses recorded in float32 are multiplied in float32, where the first draws show that its
# rounding stays below what counts as equal
_SINGLE_EPS = 1e-8
_SINGLE_ERROR = 3e-6
_TRIED = 4

Batch = tuple[int, np.ndarray]
Spread = Callable[[Callable[[Batch], Batch], Iterable[Batch]], Iterator[Batch]]


def permutation_null(
    problem: Problem,
    names: list[list[str]],
    records: list[FoldRecord],
    splits: Splits,
    options: Options,
    *,
    n_permutations: int,
    shown: dict[str, np.ndarray],
) -> tuple[np.ndarray, dict[str, float]]:
    """p-value of each target, (n_targets,), and of the mean score of each region in `shown`.

    Responses are exchanged within the folds, the same exchange in the training and in the
    test role; each fold is refitted with its feature space and penalty held, which is one
    matrix product a draw. A separate test set keeps its predictions: only its observed
    rows are exchanged.

    Notes
    -----
    Scores come from sums alone (products with the test responses, sums of squares, means).
    With few features, m, a fold costs 2 t m (n + min(m, n_test)) operations a draw for all
    penalties, through factors whose rows the exchange moves; else 2 t n_train n_test, each
    target once, with the matrix of its penalty. The cheaper is taken. Responses recorded in
    float32 are multiplied in float32, unless the first draws show more rounding than
    what counts as equal.
    Memory beyond the inputs and one fold's scaled features: 64 MiB each for the draws in flight,
    the null of a block of targets, its responses, and the exchanges, 256 MiB in all; and one fold's
    factors, 16 n (m + min(m, n_test)) + 24 m^2 bytes, or matrices, 24 min(n_train, p)^2 + 40 n_train
    n_test. A block has 2^26 / max(32 n_permutations, 20 n) targets, at least 64; what depends on
    the features alone is computed once a block and fold.
    """
    n_targets = records[0].predictions.shape[1]
    layout = _row_layout(problem, records, splits)
    n_rows, seed = len(layout.order), options.random_state
    size = max(64, _BLOCK_BYTES // max(32 * n_permutations, 20 * n_rows))
    blocks = [np.arange(start, min(start + size, n_targets)) for start in range(0, n_targets, size)]
    observed = np.concatenate([_observed(options, records, block) for block in blocks])
    # an exchange that leaves every row in its place equals the observed score but for rounding
    slack = max(1e-9, 100 * float(np.finfo(problem.values.dtype).eps))
    tally = Tally(observed, slack, n_permutations, shown)
    draw = partial(
        exchange_rows,
        layout.folds,
        n_rows,
        exchange=splits.exchange,
        block=options.block,
        runs=layout.runs,
        groups=splits.groups[layout.order] if splits.exchange == "stimuli" else None,
        n_permutations=n_permutations,
        random_state=int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed,
    )
    draws = Draws.of(draw, n_rows, n_permutations)
    forms = partial(_held_forms if splits.separate_test else _refitted_forms, problem, names, options)
    n_workers, small = _n_workers(_device(options)), are_small(problem, names, options)
    with side_by_side(small) as spread:
        scorer = _Scorer(draws, options.metric, n_workers, spread if small else None)
        for block in blocks:
            null = MeanOverFolds(n_permutations, len(block))
            for record, slots in zip(records, layout.slots, strict=True):
                for targets, sheet, form in forms(record, block):
                    null.add(targets, scorer.scores(form, sheet, slots))
            tally.add(int(block[0]), null.values())
    return tally.p_values(), tally.region_p()


def _observed(options: Options, records: list[FoldRecord], block: np.ndarray) -> np.ndarray:
    """Score of the targets of a block, averaged over folds."""
    scores = []
    for record in records:
        rows = replace(
            record.rows, y_train=record.rows.y_train[:, block], y_test=record.rows.y_test[:, block]
        )
        scores.append(score_fold(options, rows, record.predictions[:, block]))
    return mean_over_folds(np.stack(scores))


@dataclass(frozen=True)
class _Layout:
    """Averaged rows numbered over all folds: `order` their sample positions, `folds` the training and
    test rows of each, `slots` all rows of each in the order training, test, rest, `runs` their run.
    """

    order: np.ndarray
    folds: list[tuple[np.ndarray, np.ndarray]]
    slots: list[np.ndarray]
    runs: np.ndarray | None


def _row_layout(problem: Problem, records: list[FoldRecord], splits: Splits) -> _Layout:
    parts = [(r.rows.train, r.rows.test, r.rows.rest) for r in records]
    if splits.separate_test:
        none = np.arange(0)
        parts = [(none, records[0].rows.test, none)]
    order = np.unique(np.concatenate([rows for fold in parts for rows in fold]))
    places = [[np.searchsorted(order, rows) for rows in fold] for fold in parts]
    runs = recording_runs(problem.samples)
    runs = problem.groups if runs is None else runs
    return _Layout(
        order,
        [(train, test) for train, test, _ in places],
        [np.concatenate(fold) for fold in places],
        None if runs is None else runs[order],
    )


Forms = Iterator[tuple[np.ndarray, Sheet, Form]]


def _held_forms(
    problem: Problem, names: list[list[str]], options: Options, record: FoldRecord, block: np.ndarray
) -> Forms:
    """The predictions of a separate test set: positions in the block, responses, form."""
    rows = record.rows
    parts = (rows.y_train[:0], rows.y_test, rows.y_rest[:0])
    sheet = make_sheet(parts, block, _device(options), intercept=True)
    mean = (rows.weights / rows.weights.sum()) @ rows.y_train[:, block]
    yield np.arange(len(block)), sheet, held_form(sheet, record.predictions[:, block], mean)


def _refitted_forms(
    problem: Problem, names: list[list[str]], options: Options, record: FoldRecord, block: np.ndarray
) -> Forms:
    """One form after the other: positions in the block of its targets, their responses, the form."""
    rows, device = record.rows, _device(options)
    intercept = bool(getattr(options.estimator, "fit_intercept", True))
    parts = (rows.y_train, rows.y_test, rows.y_rest)
    fitted = np.isfinite(record.alphas[block])
    for position in np.unique(record.chosen[block][fitted]):
        mine = np.flatnonzero(fitted & (record.chosen[block] == position))
        X = scaled_features(problem, names[position], rows, options)
        for some, form in _ridge_forms(X, rows, record.alphas[block[mine]], intercept, device):
            sheet = make_sheet(parts, block[mine[some]], device, intercept=intercept)
            yield mine[some], sheet, form


def _ridge_forms(
    X: tuple[np.ndarray, np.ndarray],
    rows: FoldRows,
    alphas: np.ndarray,
    intercept: bool,
    device: torch.device,
) -> Iterator[tuple[np.ndarray, Form]]:
    """Targets, and the form that their penalties call for: through factors for all, or one a penalty."""
    train, test, weights = (
        torch.as_tensor(array, device=device).to(torch.float64) for array in (*X, rows.weights)
    )
    ridge = fixed_ridge(train, test, weights, intercept=intercept)
    share = weights / weights.sum()
    if factors_are_cheaper(len(train), len(test), train.shape[1], len(alphas)):
        parts = factor_parts(ridge, share, len(rows.rest))
        yield np.arange(len(alphas)), parts.form(torch.as_tensor(alphas, device=device))
        return
    # as many targets as let one draw pass
    size = max(1, _BATCH_BYTES // (_n_workers(device) * 8 * (len(train) + 2 * len(test) + 4)))
    for alpha in np.unique(alphas):
        some = np.flatnonzero(alphas == alpha)
        form = operator_form(ridge, share, float(alpha))
        for start in range(0, len(some), size):
            yield some[start : start + size], form


@dataclass(frozen=True)
class _Scorer:
    """Scores of all draws, several batches side by side.

    `spread` is the map of a small problem, which keeps one thread a call throughout; None: all
    threads serve what precedes the draws.
    """

    draws: Draws
    metric: str
    n_workers: int
    spread: Spread | None

    def scores(self, form: Form, sheet: Sheet, slots: np.ndarray) -> Iterator[Batch]:
        """Position of the first draw and scores (n_draws, t) of each batch."""
        place = np.argsort(slots, kind="stable")
        with self._side_by_side(sheet) as spread:
            form, sheet = self._in_single(form, sheet, slots, place)
            score = partial(self._score, form, sheet, slots, place)
            size = _BATCH_BYTES // (self.n_workers * form.draw_bytes(sheet))
            batches = self.draws.batches(min(_MOST_DRAWS, max(1, size)))
            while some := list(islice(batches, self.n_workers)):
                yield from spread(score, some)

    def _side_by_side(self, sheet: Sheet) -> AbstractContextManager[Spread]:
        if self.spread is not None:
            return nullcontext(self.spread)
        return side_by_side(sheet.values.device.type == "cpu")

    def _score(self, form: Form, sheet: Sheet, slots: np.ndarray, place: np.ndarray, batch: Batch) -> Batch:
        start, rows = batch
        source = torch.as_tensor(place[rows[:, slots]], device=sheet.values.device)
        moves = Moves(source, sheet.n_train, sheet.n_test)
        return start, null_scores(form, sheet, moves, self.metric).cpu().numpy()

    def _in_single(
        self, form: Form, sheet: Sheet, slots: np.ndarray, place: np.ndarray
    ) -> tuple[Form, Sheet]:
        """The same in float32, where the responses were recorded in it and its rounding is small."""
        if sheet.eps < _SINGLE_EPS:
            return form, sheet
        first = next(self.draws.batches(_TRIED))
        exact = self._score(form, sheet, slots, place, first)[1]
        single = form.single(), sheet.single()
        found = self._score(*single, slots, place, first)[1]
        return (
            single if np.allclose(found, exact, rtol=0, atol=_SINGLE_ERROR, equal_nan=True) else (form, sheet)
        )


def _device(options: Options) -> torch.device:
    return resolve_device(getattr(options.estimator, "device", "cpu"))


def _n_workers(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1
