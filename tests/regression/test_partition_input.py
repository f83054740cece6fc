"""What a variance partition takes: kinds of arrays, weights, bad targets, nested folds, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from partition_cases import FIELDS, problem
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut

from brainalign.errors import DeviceError, InputError, MemoryBudgetError, ShapeError, UnknownNameError
from brainalign.regression import _partition_input
from brainalign.regression.partition import variance_partition


def test_counts_as_weights_equal_single_trials():
    """Rows that stand for several trials are fitted like the trials; a weight of zero leaves a row out."""
    spaces, Y, w = problem(40)
    folds = list(KFold(4).split(Y))
    w[3] = 0
    found = variance_partition(spaces, Y, cv=folds, sample_weight=w)
    kept = np.flatnonzero(w)
    back = {row: i for i, row in enumerate(kept)}
    fewer = [tuple(np.array([back[r] for r in part if r in back]) for part in fold) for fold in folds]
    some = variance_partition([x[kept] for x in spaces], Y[kept], cv=fewer, sample_weight=w[kept])
    np.testing.assert_allclose(found.r2, some.r2, atol=1e-12)
    assert np.abs(found.r2 - variance_partition(spaces, Y, cv=folds).r2).max() > 1e-4


def test_float32_agrees_with_float64():
    """Input in float32 gives the parts of float64 within its precision, in both forms."""
    for widths in ((4, 6), (30, 45)):
        spaces, Y, _ = problem(60, widths)
        wide = variance_partition(spaces, Y)
        single = variance_partition([x.astype(np.float32) for x in spaces], Y.astype(np.float32))
        assert single.r2.dtype == np.float64
        np.testing.assert_allclose(single.r2, wide.r2, atol=2e-4)
        np.testing.assert_allclose(single.product_measure.sum(0), single.r2[-1], atol=1e-5)


def test_torch_in_torch_out():
    """Tensors give tensors with the values of numpy."""
    spaces, Y, _ = problem()
    base = variance_partition(spaces, Y)
    found = variance_partition([torch.as_tensor(x) for x in spaces], torch.as_tensor(Y))
    for field in (*FIELDS, "n_negative", "edge_hits", "nan_codes"):
        assert isinstance(getattr(found, field), torch.Tensor)
        np.testing.assert_allclose(getattr(found, field).numpy(), getattr(base, field), atol=1e-12)
    assert found.to_frame().equals(base.to_frame())


@pytest.mark.gpu
def test_cuda_equals_cpu():
    """The same partition on a CUDA device."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for widths in ((4, 6), (30, 45)):
        spaces, Y, w = problem(60, widths)
        base = variance_partition(spaces, Y, sample_weight=w)
        found = variance_partition(spaces, Y, sample_weight=w, device="cuda")
        for field in FIELDS:
            np.testing.assert_allclose(getattr(found, field), getattr(base, field), atol=1e-8)


@pytest.mark.parametrize("widths", [(4, 6), (30, 45)])
def test_targets_without_a_score_are_masked_and_counted(widths):
    """Constant, NaN and infinite targets are NaN with a reason; the others keep every bit."""
    spaces, Y, _ = problem(60, widths)
    dirty = np.column_stack([Y, np.full(60, 0.1), Y[:, 0], Y[:, 0]])
    dirty[3, 4], dirty[4, 5] = np.nan, -np.inf
    clean, found = variance_partition(spaces, Y), variance_partition(spaces, dirty)
    assert found.nan_reasons == {"NaN or infinite response": 2, "constant response": 1}
    np.testing.assert_array_equal(found.nan_codes, [0, 0, 0, 2, 1, 1])
    for field in FIELDS:
        assert np.isnan(getattr(found, field)[..., 3:]).all()
        np.testing.assert_array_equal(getattr(found, field)[..., :3], getattr(clean, field))
    np.testing.assert_array_equal(found.n_negative, clean.n_negative)
    np.testing.assert_allclose(found.edge_hits, clean.edge_hits)


@pytest.mark.parametrize("widths", [(4, 6), (30, 45)])
def test_a_target_that_is_constant_in_some_folds(widths):
    """A fold in which a target does not vary is left out; without any other it has no score."""
    spaces, Y, _ = problem(60, widths, t=3)
    folds = list(KFold(5).split(Y))
    Y[:, 0] += 1000
    Y[folds[1][1], 0] = 1000 + 2e-13 * np.arange(12)  # varies by rounding in one test part
    Y[:, 1] = 0.0
    Y[7, 1] = 1.0  # varies in one test part, whose training part is constant
    found = variance_partition(spaces, Y, cv=folds)
    np.testing.assert_array_equal(found.nan_codes, [0, 3, 0])
    assert found.nan_reasons == {"constant in every test fold": 1}
    assert np.isnan(found.r2[:, 1]).all()
    every = np.mean(
        [variance_partition(spaces, Y, cv=[folds[i]], inner_cv=folds).r2[:, 0] for i in (0, 2, 3, 4)], 0
    )
    np.testing.assert_allclose(found.r2[:, 0], every, atol=1e-12)


@pytest.mark.parametrize("widths", [(4, 6), (30, 45)])
def test_a_space_that_does_not_vary_explains_nothing(widths):
    """A constant space, or one that is constant in the training rows of a fold, changes no other part."""
    spaces, Y, _ = problem(60, widths)
    flat = np.full((60, 3), 0.1)
    alone = variance_partition(spaces[:1], Y, scoring="r2_train_mean")
    found = variance_partition([spaces[0], flat], Y, scoring="r2_train_mean")
    np.testing.assert_array_equal(found.r2[1], 0)
    for field in ("unique", "shapley", "product_measure", "split_correlation"):
        np.testing.assert_allclose(getattr(found, field)[1], 0, atol=1e-12)
        np.testing.assert_allclose(getattr(found, field)[0], getattr(alone, field)[0], atol=1e-9)
    fold = [(np.arange(12, 60), np.arange(12))]
    alone = variance_partition(spaces[:1], Y, cv=fold, inner_cv=3)
    for seed in (1, 5):
        rare = np.zeros((60, 2))  # varies in the test part alone: its training rows hold rounding
        rare[:12] = np.random.default_rng(seed).standard_normal((12, 2)) + 0.3
        found = variance_partition([spaces[0], rare], Y, cv=fold, inner_cv=3)
        np.testing.assert_allclose(found.unique[1], 0, atol=1e-9)
        np.testing.assert_allclose(found.r2[2], alone.r2[0], atol=1e-9)


def test_the_training_mean_scores_zero_where_it_is_the_baseline():
    """With the training mean as baseline a space of noise under a huge penalty scores 0, else at most 0."""
    spaces, Y, _ = problem()
    found = variance_partition(spaces, Y, alphas=[1e15], scoring="r2_train_mean")
    np.testing.assert_allclose(found.r2, 0, atol=1e-10)
    assert (variance_partition(spaces, Y, alphas=[1e15]).r2 <= 0).all()


def test_default_inner_folds_are_the_other_outer_folds():
    """Groups of the outer folds hold inside, too; with two outer folds five folds in order are used."""
    spaces, Y, _ = problem()
    folds = list(GroupKFold(4).split(Y, groups=np.arange(60) % 10))
    base = variance_partition(spaces, Y, cv=folds)
    np.testing.assert_array_equal(base.r2, variance_partition(spaces, Y, cv=folds, inner_cv=folds).r2)
    assert np.abs(base.r2 - variance_partition(spaces, Y, cv=folds, inner_cv=KFold(5)).r2).max() > 0
    two = variance_partition(spaces, Y, cv=2)
    np.testing.assert_array_equal(two.r2, variance_partition(spaces, Y, cv=2, inner_cv=5).r2)


@pytest.mark.parametrize("widths", [(4, 6), (30, 45)])
def test_folds_that_leave_out_most_rows(widths):
    """Small training parts, summed by themselves, equal the same folds given with fewer rows."""
    spaces, Y, _ = problem(60, widths)
    train, test = np.arange(0, 60, 4), np.arange(1, 60, 4)
    found = variance_partition(spaces, Y, cv=[(train, test)], inner_cv=3, alphas=[0.1, 1.0])
    rows = np.sort(np.concatenate([train, test]))
    where = [np.searchsorted(rows, part) for part in (train, test)]
    some = variance_partition([x[rows] for x in spaces], Y[rows], cv=[where], inner_cv=3, alphas=[0.1, 1.0])
    np.testing.assert_allclose(found.r2, some.r2, atol=1e-9)


def test_blocks_of_targets_do_not_change_the_parts(monkeypatch):
    """Targets in many blocks, nothing kept and one penalty at a time give the parts of one block."""
    from brainalign.regression import _partition_gram, _partition_kernel, _partition_spaces

    for widths in ((4, 6), (30, 45)):
        spaces, Y, _ = problem(60, widths, t=50)
        base = variance_partition(spaces, Y, cv=3)
        with monkeypatch.context() as small:
            small.setattr(_partition_spaces, "_BLOCK_BYTES", 1)
            small.setattr(_partition_gram, "_CACHE_BYTES", 1)
            small.setattr(_partition_kernel, "STACK_BYTES", 1)
            found = variance_partition(spaces, Y, cv=3)
        for field in (*FIELDS, "edge_hits", "nan_codes"):
            np.testing.assert_allclose(getattr(found, field), getattr(base, field), atol=1e-10)


def test_one_dimensional_and_lazy_responses(tmp_path):
    """A 1-D target, a memory map and whole numbers give what the matrix in memory gives."""
    spaces, Y, _ = problem()
    base = variance_partition(spaces, Y)
    np.testing.assert_allclose(variance_partition(spaces, Y[:, 0]).r2, base.r2[:, :1], atol=1e-12)
    assert variance_partition(spaces, torch.as_tensor(Y[:, 0])).r2.shape == (3, 1)
    np.save(tmp_path / "Y.npy", Y)
    lazy = np.load(tmp_path / "Y.npy", mmap_mode="r")
    np.testing.assert_array_equal(variance_partition(spaces, lazy).r2, base.r2)
    whole = [np.round(x).astype(np.int16) for x in spaces]
    expected = variance_partition([x.astype(float) for x in whole], Y)
    np.testing.assert_array_equal(variance_partition([x.tolist() for x in whole], Y.tolist()).r2, expected.r2)
    swapped = [np.asfortranarray(x).astype(">f8") for x in spaces]
    np.testing.assert_array_equal(variance_partition(swapped, Y).r2, base.r2)


def test_names_rows_and_table():
    """Names come from the dict or are numbered; rows and the table follow them."""
    spaces, Y, _ = problem(60, (4, 6, 3))
    assert variance_partition(spaces, Y).names == ("space_0", "space_1", "space_2")
    found = variance_partition(dict(zip("abc", spaces, strict=True)), Y)
    assert found.subsets == (
        ("a",), ("b",), ("a", "b"), ("c",), ("a", "c"), ("b", "c"), ("a", "b", "c"),
    )  # fmt: skip
    assert [found.row(*s) for s in found.subsets] == list(range(7))
    assert found.row("c", "a", "c") == found.row("a", "c")
    table = found.to_frame()
    assert len(table) == 7 * 3
    one = table[(table.target == 1) & (table.subset == "a + c")].iloc[0]
    assert (one.n_spaces, one.r2, one.shared) == (2, found.r2[4, 1], found.shared[4, 1])
    assert np.isnan(one["unique"])
    one = table[(table.target == 2) & (table.subset == "c")].iloc[0]
    assert one["unique"] == one.shared == found.unique[2, 2]
    assert one.shapley == found.shapley[2, 2]
    assert one.product_measure == found.product_measure[2, 2]
    assert one.split_correlation == found.split_correlation[2, 2]
    for name in ("aa", None):
        with pytest.raises(UnknownNameError, match="feature space .* does not exist"):
            found.row(*([name] if name else []))


ROWS = np.arange(60)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"alphas": [0.0, 1.0]}, InputError, "alphas must be positive"),
        ({"alphas": "best"}, InputError, "alphas='best' is not one of 'auto'"),
        ({"scoring": "pearson"}, InputError, "scoring='pearson' is not one of 'r2', 'r2_train_mean'"),
        ({"names": ["a"]}, InputError, r"names is \['a'\]; expected 2 names"),
        ({"names": "ab"}, InputError, "names is 'ab'; expected 2 names"),
        ({"names": ["a", "a"]}, InputError, "duplicate name of a feature space 'a'"),
        (
            {"cv": LeaveOneOut()},
            ShapeError,
            "fold 0 of cv has 59 training and 1 test samples; R2 needs at least 2",
        ),
        ({"cv": [(ROWS[:1], ROWS[1:])]}, ShapeError, "fold 0 of cv has 1 training and 59 test samples"),
        ({"cv": [(ROWS, ROWS[:5])]}, InputError, "fold 0 has rows that are in its training and in its test"),
        ({"inner_cv": LeaveOneOut()}, ShapeError, "fold 0 of inner_cv has 47 training and 1 test"),
        (
            {"inner_cv": [(ROWS[48:], ROWS[:12])]},
            InputError,
            "inner_cv: none of its folds .* of fold 0 of cv",
        ),
        ({"sample_weight": np.ones(3)}, ShapeError, r"sample_weight has shape \(3,\); expected \(60,\)"),
        ({"sample_weight": -np.ones(60)}, InputError, "sample_weight of row 0 is -1.0"),
        ({"sample_weight": ROWS < 3}, ShapeError, "3 samples have a weight above zero; .* at least 4"),
        ({"device": "cuda:99"}, DeviceError, "cuda"),
    ],
)
def test_options_that_are_refused(options, error, text):
    """A wrong option is refused by name, with what was expected."""
    spaces, Y, _ = problem()
    with pytest.raises(error, match=text):
        variance_partition(spaces, Y, **options)


@pytest.mark.parametrize(
    ("arrays", "error", "text"),
    [
        (np.zeros((60, 4)), InputError, r"arrays is one array of shape \(60, 4\); expected a list"),
        ([], InputError, r"arrays is \[\]; expected a list"),
        (3, InputError, "arrays is 3; expected a list"),
        ([np.zeros((60, 1))] * 9, InputError, "9 feature spaces, which have 511 subsets.*sampled Shapley"),
        ([np.zeros((60, 2)), np.zeros(60)], ShapeError, r"arrays\[1\] \('space_1'\) has shape \(60,\)"),
        ([np.zeros((60, 0))], ShapeError, r"arrays\[0\] .* has shape \(60, 0\); .* neither of them 0"),
        ([np.zeros((60, 2)), np.zeros((59, 2))], ShapeError, r"has 59 samples and arrays\[0\] .* has 60"),
        ([np.eye(60, 2), np.full((60, 2), np.inf)], InputError, "'space_1' holds inf in row 0, column 0"),
        ([np.eye(60, 2).astype(complex)], InputError, "dtype complex128; expected real numbers"),
    ],
)
def test_spaces_that_are_refused(arrays, error, text):
    """Spaces that are no list of finite matrices of equal length are refused, naming the one."""
    with pytest.raises(error, match=text):
        variance_partition(arrays, problem()[1])


def test_responses_that_are_refused():
    """Responses of another length, and responses without one finite target, are refused."""
    spaces, Y, _ = problem()
    with pytest.raises(ShapeError, match="inconsistent numbers of samples"):
        variance_partition(spaces, Y[:-1])
    with pytest.raises(ValueError, match="no target is finite"):
        variance_partition(spaces, Y * np.nan)


@pytest.mark.parametrize("widths", [(4, 6), (30, 45)])
def test_memory_that_does_not_suffice(widths, monkeypatch):
    """What the memory cannot hold is refused before any work, with both figures."""
    monkeypatch.setattr(_partition_input, "available_memory", lambda: 1000)
    spaces, Y, _ = problem(60, widths)
    with pytest.raises(MemoryBudgetError, match="partition of 2 spaces of .* GiB are free on cpu"):
        variance_partition(spaces, Y)
