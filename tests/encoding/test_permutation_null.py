"""The null distribution without refits equals brute force, draw by draw, in a bounded memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from encoding_cases import FAST, layers, responses

import brainalign as ba
from brainalign import metrics
from brainalign.design import recording_runs
from brainalign.encoding import _fold_null, _permutation, fit
from brainalign.encoding._folds import scaled_features
from brainalign.encoding._tally import Draws, MeanOverFolds, Tally
from brainalign.errors import InputError
from brainalign.regression import RidgeCV, smoother_matrices
from brainalign.statistics import exchange_rows

METRICS = ("pearson", "r2_train_mean", "r2", "explained_variance")


def brute_force(problem, names, records, splits, options, *, n_permutations, shown):
    """p-values and the null itself: every draw predicted with whole matrices, and scored on its rows."""

    def mean(values, axis=0):
        known = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            return np.where(known, values, 0).sum(axis) / known.sum(axis)

    def score(rows, y_test, guess, train_mean):
        return metrics.score(options.metric, y_test, guess, train_mean=train_mean)

    rows = [r.rows for r in records]
    if splits.separate_test:
        order, folds = rows[0].test, [(np.arange(0), np.arange(len(rows[0].test)))]
    else:
        order = np.unique(np.concatenate([np.concatenate([r.train, r.test, r.rest]) for r in rows]))
        folds = [(np.searchsorted(order, r.train), np.searchsorted(order, r.test)) for r in rows]
    runs = recording_runs(problem.samples)
    runs = problem.groups if runs is None else runs
    steps = exchange_rows(
        folds,
        len(order),
        exchange=splits.exchange,
        block=options.block,
        runs=None if runs is None else runs[order],
        groups=splits.groups[order] if splits.exchange == "stimuli" else None,
        n_permutations=n_permutations,
        random_state=options.random_state,
    )
    shares = [r.weights / r.weights.sum() for r in rows]
    observed = mean(
        np.stack(
            [
                score(r.rows, r.rows.y_test, r.predictions, s @ r.rows.y_train)
                for r, s in zip(records, shares, strict=True)
            ]
        )
    )
    smoothers = [{} if splits.separate_test else whole_matrices(problem, names, r, options) for r in records]
    null = []
    for exchange in steps:
        scores = np.full((len(records), problem.values.shape[1]), np.nan)
        for number, (record, (train, test)) in enumerate(zip(records, folds, strict=True)):
            r, share = record.rows, shares[number]
            if splits.separate_test:
                scores[number] = score(r, r.y_test[exchange], record.predictions, share @ r.y_train)
                continue
            sheet = np.full((len(order), problem.values.shape[1]), np.nan)
            for part, y in ((r.train, r.y_train), (r.test, r.y_test), (r.rest, r.y_rest)):
                sheet[np.searchsorted(order, part)] = y
            y_train, y_test = sheet[exchange[train]], sheet[exchange[test]]
            for target, matrix in smoothers[number].items():
                one = slice(target, target + 1)
                guess = np.broadcast_to(matrix @ y_train[:, one], y_test[:, one].shape)
                scores[number, one] = score(r, y_test[:, one], guess, share @ y_train[:, one])
        null.append(mean(scores))
    null = np.array(null)
    slack = max(1e-9, 100 * float(np.finfo(problem.values.dtype).eps))
    p = (np.sum(~(null < observed - slack), axis=0) + 1) / (n_permutations + 1)
    region_p = {}
    for name, columns in shown.items():
        known = columns[np.isfinite(observed[columns])]
        reached = ~(mean(null[:, known], 1) < observed[known].mean() - slack)
        region_p[name] = (reached.sum() + 1) / (n_permutations + 1) if len(known) else np.nan
    return np.where(np.isnan(observed), np.nan, p), region_p, null


def whole_matrices(problem, names, record, options):
    """{target: matrix that predicts the test rows of this fold}."""
    intercept = getattr(options.estimator, "fit_intercept", True)
    out = {}
    for position in np.unique(record.chosen):
        X, X_new = scaled_features(problem, names[position], record.rows, options)
        for alpha in np.unique(record.alphas[np.isfinite(record.alphas)]):
            matrix = smoother_matrices(
                X, X_new, [alpha], sample_weight=record.rows.weights, fit_intercept=intercept
            )[0]
            if np.ptp(X_new, axis=0).max() < 1e-12:  # equal rows, but for the rounding of products
                matrix = matrix[:1]
            mine = (record.chosen == position) & (record.alphas == alpha)
            out.update(dict.fromkeys(np.flatnonzero(mine), matrix))
    return out


def both(monkeypatch, n_permutations=25, **options):
    """p-values of `fit_encoding` and of brute force on the same folds, and both null distributions."""
    seen = {}
    null = MeanOverFolds.values

    def keep(self):
        seen["null"] = null(self).copy()
        return seen["null"]

    def compare(*arguments, **named):
        seen["expected"] = brute_force(*arguments, **named)
        seen["found"] = _permutation.permutation_null(*arguments, **named)
        seen["problem"], seen["records"] = arguments[0], arguments[2]
        return seen["found"]

    monkeypatch.setattr(MeanOverFolds, "values", keep)
    monkeypatch.setattr(fit, "permutation_null", compare)
    ba.fit_encoding(**{**FAST, "n_permutations": n_permutations, **options})
    return seen


def agree(seen, tolerance=1e-9):
    expected, expected_regions, expected_null = seen["expected"]
    found, regions = seen["found"]
    assert np.array_equal(np.isnan(seen["null"]), np.isnan(expected_null))
    assert np.allclose(seen["null"], expected_null, rtol=0, atol=tolerance, equal_nan=True)
    assert np.array_equal(found, expected, equal_nan=True)
    assert regions == pytest.approx(expected_regions, abs=0, nan_ok=True)


@pytest.fixture(params=["factors", "matrices"])
def form(request, monkeypatch):
    """Both forms of the predictions, whatever their cost."""
    monkeypatch.setattr(_permutation, "factors_are_cheaper", lambda *sizes: request.param == "factors")
    return request.param


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("p", [6, 90])
def test_equals_brute_force(monkeypatch, form, metric, p):
    """Scores of every draw and the p-values of units and regions equal those of whole matrices."""
    features = layers(n=60, p=p, n_layers=1)
    recording = responses(features, layer="layer0", n_units=8, noise=4.0)
    seen = both(monkeypatch, features=features, responses=recording, metric=metric)
    agree(seen)
    assert len(np.unique(seen["expected"][0])) > 2


def test_uneven_repeats_and_a_choice_per_unit(monkeypatch, form):
    """Averages of unequal counts weigh the fit, and each unit is refitted in the space that it chose."""
    features = layers(n=50, p=8, n_layers=3)
    recording = responses(features, n_units=10, noise=3.0, uneven=True)
    seen = both(monkeypatch, features=features, responses=recording, select="unit", metric="r2_train_mean")
    assert len(np.unique(np.stack([r.chosen for r in seen["records"]]))) == 3
    assert len(np.unique(seen["records"][0].rows.weights)) > 1
    agree(seen)


def test_without_intercept(monkeypatch, form):
    """Without an intercept the offset of the responses matters, and is kept."""
    features = layers(n=60, p=10, n_layers=1)
    recording = responses(features, layer="layer0", noise=3.0)
    recording = ba.Responses(recording.values + 2.0, recording.samples, recording.units, info=recording.info)
    estimator = RidgeCV(np.logspace(-1, 3, 5), fit_intercept=False)
    for metric in ("pearson", "r2_train_mean"):
        agree(
            both(monkeypatch, features=features, responses=recording, estimator=estimator, metric=metric),
            tolerance=1e-8,
        )


def walk(n=180, p=5, n_units=6, seed=0, **options):
    """A continuous recording of smooth noise, one run, with a gap between training and test."""
    rng = np.random.default_rng(seed)
    smooth = np.ones(5) / 5
    X = np.stack([np.convolve(rng.standard_normal(n + 4), smooth, "valid") for _ in range(p)], axis=1)
    Y = 0.4 * X @ rng.standard_normal((p, n_units)) + rng.standard_normal((n, n_units))
    samples = pd.DataFrame({"run": ["1"] * n, "onset": np.arange(n) * 1.0})
    info = {"design": "continuous"}
    return {
        "features": {"walk": ba.Responses(X, samples)},
        "responses": ba.Responses(Y, samples, info=info),
        "time_control": False,
        "n_folds": 3,
        "gap": 7,
        "permutation_block": 4,
        **options,
    }


@pytest.mark.parametrize("metric", METRICS)
def test_gaps_let_rows_into_the_training(monkeypatch, form, metric):
    """Rows of a gap, in neither part of a fold, change places with training rows."""
    confounds = np.random.default_rng(5).standard_normal((180, 2))
    seen = both(monkeypatch, **walk(metric=metric, confounds=confounds))
    assert all(len(r.rows.rest) for r in seen["records"])
    agree(seen)


def test_units_without_a_score(monkeypatch, form):
    """NaN, infinite and constant units score as in brute force, and the others are bit-unchanged."""
    features = layers(n=50, p=6, n_layers=1)
    recording = responses(features, layer="layer0", n_units=8, noise=3.0)
    clean = both(monkeypatch, features=features, responses=recording, repeats="single")
    values = recording.values.copy()
    values[3, 1], values[5, 2], values[:, 4] = np.nan, np.inf, 0.1
    broken = ba.Responses(values, recording.samples, recording.units, info=recording.info)
    with np.errstate(invalid="ignore"):
        seen = both(monkeypatch, features=features, responses=broken, repeats="single")
    agree(seen)
    same = [0, 3, 5, 6, 7]
    assert np.array_equal(seen["found"][0][same], clean["found"][0][same])
    assert np.isnan(seen["found"][0][[1, 2, 4]]).all()


def test_missing_values_in_a_gap(monkeypatch, form):
    """A draw that brings a NaN of a gap into a fold has no score there, as in brute force."""
    case = walk()
    recording = case["responses"]
    folds = both(monkeypatch, **case)["records"]
    only = np.setdiff1d(folds[0].rows.rest, np.concatenate([folds[0].rows.train]))
    values = recording.values.copy()
    values[only[2], 0] = np.nan
    case["responses"] = ba.Responses(values, recording.samples, info=recording.info)
    agree(both(monkeypatch, **case))


def test_features_that_do_not_vary_in_a_test_part(monkeypatch, form):
    """Predictions that are constant in a fold score 0 there in every draw, not the noise of rounding."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((42, 3)) + 0.1
    X[:7] = X[0]  # the mean of seven equal numbers is rounded
    Y = rng.standard_normal((42, 5))
    folds = [(np.setdiff1d(np.arange(42), test), test) for test in np.split(np.arange(42), 6)]
    agree(both(monkeypatch, features=X, responses=Y, groups=np.arange(42), splits=folds))


@pytest.mark.parametrize("metric", METRICS)
def test_separate_test_set_keeps_its_predictions(monkeypatch, metric):
    """With the dataset's own test set only observed rows are exchanged."""
    features = layers(n=60, p=6, n_layers=1)
    split = np.array(["train"] * 40 + ["test"] * 20, dtype=object)
    recording = responses(features, layer="layer0", noise=4.0, split=split)
    seen = both(monkeypatch, features=features, responses=recording, metric=metric)
    assert len(seen["records"]) == 1
    agree(seen)


@pytest.mark.parametrize("metric", METRICS)
def test_float32_differs_by_its_rounding_alone(monkeypatch, form, metric):
    """Float32 recordings give the p-values of float64 products, but for draws within rounding of equal."""
    features = layers(n=60, p=12, n_layers=1)
    recording = responses(features, layer="layer0", n_units=20, noise=4.0)
    values = (1e-22 * recording.values).astype(np.float32)  # squares leave its range
    recording = ba.Responses(values, recording.samples, recording.units, info=recording.info)
    singles = []
    whole = _permutation._Scorer._in_single
    monkeypatch.setattr(
        _permutation._Scorer,
        "_in_single",
        lambda *a: singles.append(whole(*a)) or singles[-1],
    )
    seen = both(monkeypatch, features=features, responses=recording, metric=metric)
    assert {sheet.values.dtype for _, sheet in singles} == {torch.float32}
    agree(seen, tolerance=3e-6)


def test_float32_steps_aside_where_it_rounds_too_much(monkeypatch, form):
    """Where the first draws differ by more than what counts as equal, products are taken in float64."""
    features = layers(n=60, p=12, n_layers=1)
    recording = responses(features, layer="layer0", noise=3.0)
    values = recording.values.astype(np.float32)
    recording = ba.Responses(values, recording.samples, recording.units, info=recording.info)
    monkeypatch.setattr(_permutation, "_SINGLE_ERROR", 0.0)
    agree(both(monkeypatch, features=features, responses=recording), tolerance=1e-7)


def test_batches_blocks_and_threads_change_nothing(monkeypatch, form):
    """Blocks of targets, batches of draws, stretches of rows and exchanges drawn anew leave the same bits."""
    features = layers(n=60, p=10, n_layers=1)
    case = {"features": features, "responses": responses(features, layer="layer0", n_units=70, noise=50.0)}
    whole = both(monkeypatch, 8, **case)
    monkeypatch.setattr(_permutation, "_BATCH_BYTES", 2**17)
    monkeypatch.setattr(_permutation, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(_fold_null, "_MOVED_BYTES", 2**11)
    monkeypatch.setattr("brainalign.encoding._tally._DRAW_BYTES", 0)
    cut = both(monkeypatch, 8, **case)
    assert cut["null"].shape[1] == 6
    assert np.array_equal(cut["found"][0], whole["found"][0])
    assert cut["found"][1] == whole["found"][1]
    assert min(whole["found"][1].values()) > 1 / 9


def test_the_cheaper_form_is_taken():
    """Few features go through factors, many through matrices; a handful of targets moves itself."""
    assert _fold_null.factors_are_cheaper(800, 200, 50, 600)
    assert not _fold_null.factors_are_cheaper(800, 200, 1500, 600)
    assert not _fold_null.factors_are_cheaper(800, 200, 150, 2)


def test_no_seed_gives_one_stream(monkeypatch):
    """Without a seed every fold and block still sees the same exchanges: planted units reach the lowest p."""
    monkeypatch.setattr("brainalign.encoding._tally._DRAW_BYTES", 0)
    features = layers(n=60, p=5, n_layers=1)
    found = ba.fit_encoding(
        features=features,
        responses=responses(features, layer="layer0", noise=0.3),
        n_permutations=30,
        random_state=None,
        **FAST,
    )
    assert (found.scores.p_values == 1 / 31).all()


def test_nothing_to_exchange_is_refused():
    """Folds of one stimulus each leave nothing to exchange."""
    features = layers(n=6, p=2, n_layers=1)
    draws = Draws.of(lambda: exchange_rows([(np.arange(1, 6), np.arange(1))], 1, n_permutations=3), 6, 10**9)
    with pytest.raises(InputError, match="nothing can be exchanged"):
        next(draws.batches(1))
    assert len(features) == 1


def test_tally_counts_missing_draws_against_the_claim():
    """A draw without a score reaches the observed one; a unit without a score has no p-value."""
    tally = Tally(np.array([0.5, np.nan, 0.1]), 1e-9, 3, {"a": np.array([0, 1]), "none": np.array([1])})
    tally.add(0, np.array([[0.1, 0.0], [np.nan, 0.0], [0.5, 0.0]]))
    tally.add(2, np.array([[0.0], [0.0], [0.0]]))
    assert np.array_equal(tally.p_values(), [0.75, np.nan, 0.25], equal_nan=True)
    assert tally.region_p() == pytest.approx({"a": 0.75, "none": np.nan}, nan_ok=True)


def peak_bytes(call):
    """Bytes that the resident memory rose above its start, at most."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def now(field):
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if field in line) * 1024

    try:
        clear.write_text("5")
    except OSError:
        pytest.skip("this system does not reset the peak of the resident memory")
    start = now("VmRSS")
    call()
    return now("VmHWM") - start


@pytest.mark.parametrize(("n", "t"), [(3000, 400), (300, 9000)])
def test_memory_is_bounded(monkeypatch, n, t):
    """Many rows or many units need no more than the stated 256 MiB and the factors."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 10)).astype(np.float32)
    Y = (X @ rng.standard_normal((10, t)) + 3 * rng.standard_normal((n, t))).astype(np.float32)
    peaks = []

    def measure(*arguments, **named):
        found = []
        peaks.append(peak_bytes(lambda: found.append(_permutation.permutation_null(*arguments, **named))))
        return found[0]

    monkeypatch.setattr(fit, "permutation_null", measure)
    ba.fit_encoding(features=X, responses=Y, groups=np.arange(n), n_permutations=40, **FAST)
    assert peaks[0] < 256 * 2**20 + 16 * n * 20
