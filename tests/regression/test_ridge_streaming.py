"""Responses and features in files and tensors: the same result as in memory, bit for bit for responses."""

from __future__ import annotations

import logging

import h5py
import numpy as np
import pytest
import torch
from ridge_cases import ALPHAS, SCORINGS, folds, problem

from brainalign.errors import MemoryBudgetError, ShapeError
from brainalign.regression import RidgeCV
from brainalign.regression import _plan as plan_module
from brainalign.regression._gram_path import GramPath
from brainalign.regression._paths import KernelPath
from brainalign.regression._sources import Targets, is_lazy, open_features
from brainalign.storage import load, save
from brainalign.storage._lazy import LazyArray
from brainalign.types import Responses

SOLVERS = {"primal": 12, "dual": 80, "factored": 80, "eigen": 80}
FITTED = ("best_alphas_", "cv_scores_", "coef_", "intercept_", "nan_codes_", "alpha_edges_")


def same(model, other, columns=slice(None)):
    """Every fitted array of two models is equal, bit for bit."""
    for name in FITTED:
        left, right = getattr(model, name), getattr(other, name)
        if name == "cv_scores_":
            left, right = left[:, columns], right[:, columns]
        else:
            left, right = left[columns], right[columns]
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right), err_msg=name)


def stored(kind, values, folder, name):
    """`values` in a file or as a tensor."""
    path = folder / f"{name}.bin"
    if kind == "torch":
        return torch.as_tensor(values.copy())
    if kind == "memmap":
        values.tofile(path)
        return np.memmap(path, dtype=values.dtype, mode="r", shape=values.shape)
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=values, chunks=(min(16, len(values)), *values.shape[1:]))
    if kind == "lazy":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("brainalign.storage._nouns.LAZY_BYTES", 1)
            save(Responses(values), path)
            array = load(path).values
        assert isinstance(array, LazyArray)
        return array
    return h5py.File(path, "r")["values"]


@pytest.fixture
def narrow(monkeypatch):
    """Blocks of 16 targets: many blocks of a small problem."""
    monkeypatch.setattr(plan_module, "_block_width", lambda path, sizes: 16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["h5py", "memmap", "torch", "lazy"])
@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.usefixtures("narrow")
def test_responses_in_a_file_give_every_bit(solver, kind, dtype, tmp_path):
    """HDF5, memory maps, tensors and brainalign's own lazy arrays equal arrays in memory."""
    X, Y, counts = (part.astype(dtype) for part in problem(p=SOLVERS[solver], t=45))
    options = {"cv": folds("unequal"), "solver": solver}
    expected = RidgeCV(ALPHAS, **options).fit(X, Y, sample_weight=counts)
    found = RidgeCV(ALPHAS, **options).fit(X, stored(kind, Y, tmp_path, "y"), sample_weight=counts)
    assert found.plan_.block_targets == expected.plan_.block_targets == 16
    same(found, expected)
    assert isinstance(found.coef_, np.ndarray)


@pytest.mark.parametrize("kind", ["h5py", "memmap", "torch", "lazy"])
@pytest.mark.parametrize("solver", list(SOLVERS))
def test_features_in_a_file_give_the_same(solver, kind, tmp_path):
    """X may lie in a file too; weights of zero leave its rows out."""
    X, Y, counts = problem(p=SOLVERS[solver])
    counts[[0, 7, 59]] = 0
    options = {"cv": folds("equal"), "solver": solver}
    expected = RidgeCV(ALPHAS, **options).fit(X, Y, sample_weight=counts)
    found = RidgeCV(ALPHAS, **options).fit(stored(kind, X, tmp_path, "x"), Y, sample_weight=counts)
    np.testing.assert_allclose(np.asarray(found.cv_scores_), expected.cv_scores_, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(np.asarray(found.coef_), expected.coef_, rtol=0, atol=1e-10)
    predicted = found.predict(stored(kind, X[:7], tmp_path, "new"))
    np.testing.assert_allclose(np.asarray(predicted), expected.predict(X[:7]), atol=1e-9)
    assert isinstance(predicted, torch.Tensor if kind == "torch" else np.ndarray)


@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("kind", ["equal", "more than half", "overlapping"])
def test_features_in_blocks_of_rows(kind, solver, tmp_path, monkeypatch):
    """A file of features that is read a few rows at a time gives the result of one read."""
    X, Y, counts = problem(p=SOLVERS[solver])
    options = {"cv": folds(kind), "solver": solver}
    expected = RidgeCV(ALPHAS, **options).fit(X, Y, sample_weight=counts)
    reads = []

    def in_small_blocks(*args, budget, **named):
        features = open_features(*args, budget=7 * 8 * X.shape[1], **named)
        reads.append(features.block_rows)
        return features

    monkeypatch.setattr("brainalign.regression.ridge.open_features", in_small_blocks)
    lazy = stored("h5py", X, tmp_path, "x")
    found = RidgeCV(ALPHAS, **options).fit(lazy, Y, sample_weight=counts)
    assert reads == [7]
    np.testing.assert_allclose(found.cv_scores_, expected.cv_scores_, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-10)


@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.usefixtures("narrow")
def test_coefficients_written_to_a_file(solver, tmp_path):
    """out= receives every coefficient, NaN for masked targets, and coef_ is that file."""
    X, Y, _ = problem(p=SOLVERS[solver], t=37)
    Y[3, 20] = np.nan
    expected = RidgeCV(ALPHAS, solver=solver).fit(X, Y)
    with h5py.File(tmp_path / "coef.h5", "w") as file:
        out = file.create_dataset("coef", (37, X.shape[1]), dtype=np.float64)
        model = RidgeCV(ALPHAS, solver=solver).fit(X, stored("h5py", Y, tmp_path, "y"), out=out)
        assert model.coef_ is out
        same(model, expected)
        np.testing.assert_array_equal(model.predict(X[:5]), expected.predict(X[:5]))
        np.testing.assert_array_equal(model.score_per_target(X, Y), expected.score_per_target(X, Y))
    mapped = np.memmap(tmp_path / "coef.bin", np.float64, "w+", shape=(37, X.shape[1]))
    np.testing.assert_array_equal(RidgeCV(ALPHAS, solver=solver).fit(X, Y, out=mapped).coef_, expected.coef_)


def test_out_of_another_shape_is_refused_before_work(monkeypatch):
    """A wrong shape of out= is an error that says the right one, before a product is formed."""
    X, Y, _ = problem(t=4)
    monkeypatch.setattr("brainalign.regression.ridge.GramPath", None)
    monkeypatch.setattr("brainalign.regression._sources.gram", None)
    with pytest.raises(ShapeError, match=r"out has shape \(20, 4\); expected .* = \(4, 20\)"):
        RidgeCV(ALPHAS, solver="primal").fit(X, Y, out=np.empty((20, 4)))


@pytest.mark.parametrize(("scoring", "per_target"), [*[(one, True) for one in SCORINGS], ("r2", False)])
@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.usefixtures("narrow")
def test_a_subset_on_block_edges_has_the_same_bits(solver, scoring, per_target):
    """The first two blocks of targets alone are fitted to the same bits as among all."""
    X, Y, counts = (part.astype(np.float32) for part in problem(p=SOLVERS[solver], t=75))
    grid = ALPHAS if per_target else [3.0]
    options = {"solver": solver, "scoring": scoring, "alpha_per_target": per_target}
    whole = RidgeCV(grid, **options).fit(X, Y, sample_weight=counts)
    part = RidgeCV(grid, **options).fit(X, Y[:, :32], sample_weight=counts)
    same(whole, part, slice(0, 32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [60, 53])
@pytest.mark.parametrize("solver", list(SOLVERS))
def test_masked_targets_leave_every_bit_of_the_others(solver, n, dtype):
    """NaN, infinite and constant targets in place of good ones do not change their neighbours."""
    X, Y, counts = (part.astype(dtype) for part in problem(n=n, p=SOLVERS[solver], t=50))
    dirty = Y.copy()
    dirty[5, 3], dirty[0, 20], dirty[:, 7] = np.nan, np.inf, 1.25
    kept = np.setdiff1d(np.arange(50), [3, 7, 20])
    clean = RidgeCV(ALPHAS, solver=solver).fit(X, Y, sample_weight=counts)
    model = RidgeCV(ALPHAS, solver=solver).fit(X, dirty, sample_weight=counts)
    same(model, clean, kept)
    assert model.nan_codes_[[3, 7, 20]].tolist() == [1, 2, 1]


@pytest.mark.parametrize("search", ["grid", "adaptive"])
@pytest.mark.parametrize("solver", list(SOLVERS))
def test_a_small_budget_gives_equal_results(solver, search):
    """Several groups of penalties and small blocks give the penalties and scores of one pass."""
    X, Y, counts = problem(n=60, p=SOLVERS[solver], t=200)
    grid = np.logspace(-2, 3, 8)
    options = {"solver": solver, "alpha_search": search}
    ample = RidgeCV(grid, **options).fit(X, Y, sample_weight=counts)
    low, high = 0, ample.plan_.peak_bytes
    for _ in range(40):
        middle = (low + high) // 2
        try:
            RidgeCV(grid, memory_budget=middle, **options).plan(X, Y, counts)
            high = middle
        except MemoryBudgetError:
            low = middle + 1
    tight = RidgeCV(grid, memory_budget=high, **options).fit(X, Y, sample_weight=counts)
    assert tight.plan_.block_targets == 16 < ample.plan_.block_targets
    if search == "grid":
        assert tight.plan_.penalties_per_pass < 8
    assert tight.plan_.peak_bytes <= high
    np.testing.assert_array_equal(tight.best_alphas_, ample.best_alphas_)
    np.testing.assert_allclose(tight.best_scores_, ample.best_scores_, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(tight.coef_, ample.coef_, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("solver", "path"), [("primal", GramPath), ("dual", KernelPath)])
def test_a_device_without_memory_halves_the_block(solver, path, monkeypatch, caplog):
    """Out of memory on wide blocks: halves on multiples of 16, a log line each, equal results."""
    X, Y, _ = problem(p=SOLVERS[solver], t=100)
    expected = RidgeCV(ALPHAS, solver=solver).fit(X, Y)
    score, widths = path.score, []

    def cramped(self, number, block, columns=None):
        widths.append(block.values.shape[1])
        if block.values.shape[1] > 40:
            raise torch.OutOfMemoryError("no memory on the device")
        return score(self, number, block, columns)

    monkeypatch.setattr(path, "score", cramped)
    with caplog.at_level(logging.WARNING, logger="brainalign"):
        model = RidgeCV(ALPHAS, solver=solver).fit(X, Y)
    assert "targets 0 to 100 are computed in two halves" in caplog.text
    assert len(caplog.records) == 3
    assert set(widths) == {112, 64, 48, 32, 16}
    np.testing.assert_array_equal(model.best_alphas_, expected.best_alphas_)
    np.testing.assert_allclose(model.cv_scores_, expected.cv_scores_, atol=1e-12)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-12)


def test_the_audit_counts_once_after_a_halved_block(monkeypatch):
    """Blocks that are scored again in halves are not counted twice."""
    X, Y, _ = problem(t=100)
    expected = RidgeCV(ALPHAS, alpha_search="adaptive", solver="primal").fit(X, Y).search_audit_
    score = GramPath.score

    def cramped(self, number, block, columns=None):
        if block.values.shape[1] > 64 and number == 3:
            raise torch.OutOfMemoryError
        return score(self, number, block, columns)

    monkeypatch.setattr(GramPath, "score", cramped)
    found = RidgeCV(ALPHAS, alpha_search="adaptive", solver="primal").fit(X, Y).search_audit_
    assert found == pytest.approx(expected)


def test_no_memory_for_the_smallest_block_is_an_error(monkeypatch):
    """Where not even sixteen targets fit, the error says what to do."""
    X, Y, _ = problem(t=20)

    def never(self, *args):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(GramPath, "score", never)
    with pytest.raises(MemoryBudgetError, match=r"for a block of 16 targets \(0 to 16\); use device"):
        RidgeCV(ALPHAS, solver="primal").fit(X, Y)


@pytest.mark.usefixtures("narrow")
def test_a_block_that_found_no_memory_while_another_was_computed_is_read_again(tmp_path, monkeypatch):
    """Reading ahead may run out of memory; the block is then read alone."""
    X, Y, _ = problem(t=40)
    expected = RidgeCV(ALPHAS).fit(X, Y)
    read, calls = Targets.read, []

    def once(self, columns):
        calls.append(columns)
        if calls.count(columns) == 1 and columns.start == 16:
            raise torch.OutOfMemoryError
        return read(self, columns)

    monkeypatch.setattr(Targets, "read", once)
    same(RidgeCV(ALPHAS).fit(X, stored("h5py", Y, tmp_path, "y")), expected)
    assert calls.count(slice(16, 32)) == 2


def test_what_counts_as_a_file():
    """Datasets and memory maps are read in slices; arrays, tensors and tables are there already."""
    assert not is_lazy(np.zeros(3))
    assert not is_lazy(torch.zeros(3))
    assert not is_lazy([1.0, 2.0])


def test_one_dimensional_dataset(tmp_path):
    """A vector of responses in a file is one target."""
    X, Y, _ = problem()
    model = RidgeCV(ALPHAS).fit(X, stored("h5py", Y[:, 0], tmp_path, "y"))
    np.testing.assert_array_equal(model.coef_, RidgeCV(ALPHAS).fit(X, Y[:, 0]).coef_)
    assert model.coef_.shape == (20,)


def test_files_with_wrong_shapes_or_values(tmp_path):
    """Files are refused like arrays: rank, length, NaN in the features, numbers that are none."""
    X, Y, _ = problem()
    with pytest.raises(ShapeError, match=r"X has shape \(60,\); expected 2 axes"):
        RidgeCV().fit(stored("h5py", X[:, 0], tmp_path, "a"), Y)
    with pytest.raises(ShapeError, match="X has 59 samples and Y has shape"):
        RidgeCV().fit(stored("h5py", X[:-1], tmp_path, "b"), Y)
    with pytest.raises(ShapeError, match="X has 1 samples; at least 2"):
        RidgeCV().fit(stored("h5py", X[:1], tmp_path, "c"), Y[:1])
    X[4, 2] = np.nan
    for name in ("torch", "h5py", "memmap"):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            RidgeCV().fit(stored(name, X, tmp_path, f"d{name}"), Y)
    model = RidgeCV().fit(np.nan_to_num(X), Y)
    with pytest.raises(ShapeError, match="X has 19 features, but RidgeCV is expecting 20"):
        model.predict(stored("h5py", X[:, :19], tmp_path, "e"))
