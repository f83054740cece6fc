"""Variance partitioning of RDMs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from brainalign.comparison.rdm_partition import partition_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_with_controls import regression_rsa
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import RDMs

N = 20
ROWS, COLUMNS = np.triu_indices(N, 1)


def rdms(k: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rdm(rng.normal(size=(N, 3)), distance="sq_euclidean") for _ in range(k)])


MODELS = rdms(3, 0)
DATA = np.stack([MODELS[0] + 0.5 * MODELS[1], MODELS[2] - 0.4 * MODELS[0]]) + 0.5 * rdms(2, 1)
DATA += 3.0 * (1 - np.eye(N))


def by_hand(y: np.ndarray, x: np.ndarray, fit: str) -> tuple[np.ndarray, float]:
    """Weights and constant of one subset."""
    if fit == "ols":
        found = np.linalg.lstsq(np.column_stack([np.ones(len(y)), *x]), y, rcond=None)[0]
        return found[1:], found[0]
    weights, _ = optimize.nnls((x - x.mean(1, keepdims=True)).T, y - y.mean())
    return weights, y.mean() - weights @ x.mean(1)


@pytest.mark.parametrize("fit", ["ols", "non_negative"])
@pytest.mark.parametrize("n_folds", [1, 3])
@pytest.mark.parametrize("measure", ["pearson", "spearman"])
def test_r2_of_every_subset_equals_refits(fit, n_folds, measure) -> None:
    """R2 of all subsets equals one regression at a time, in-sample and on held-out stimuli."""
    found = partition_rdms(DATA, MODELS, fit=fit, n_folds=n_folds, measure=measure)
    label = np.random.default_rng(0).permutation(np.arange(N) % n_folds) if n_folds > 1 else np.zeros(N, int)
    for k, members in itertools.product(range(2), range(1, 8)):
        chosen = [j for j in range(3) if members >> j & 1]
        r2 = []
        for fold in range(n_folds):
            inside = (label[ROWS] == fold) & (label[COLUMNS] == fold)
            outside = (label[ROWS] != fold) & (label[COLUMNS] != fold) if n_folds > 1 else inside
            parts = []
            for pairs in (outside, inside):
                y, x = DATA[k][ROWS, COLUMNS][pairs], MODELS[chosen][:, ROWS, COLUMNS][:, pairs]
                if measure == "spearman":
                    y, x = ((stats.rankdata(v, axis=-1) - 0.5) / len(y) for v in (y, x))
                parts.append((y, x))
            (y, x), (v, u) = parts
            w, constant = by_hand(y, x, fit)
            r2.append(1 - ((v - w @ u - constant) ** 2).sum() / ((v - y.mean()) ** 2).sum())
        assert found.r2[members - 1, k] == pytest.approx(np.mean(r2), abs=1e-7)


def test_in_sample_parts_are_those_of_regression_rsa() -> None:
    """R2 of all models and unique parts agree with the regression of RDMs."""
    for non_negative, fit in ((False, "ols"), (True, "non_negative")):
        found = partition_rdms(DATA, MODELS, fit=fit)
        expected = regression_rsa(DATA, MODELS, non_negative=non_negative)
        np.testing.assert_allclose(found.r2[-1], expected.r2, atol=1e-8)
        np.testing.assert_allclose(found.unique.T, expected.unique_r2, atol=1e-8)


def test_parts_sum_to_the_whole() -> None:
    """Shared parts and Shapley values each sum to the R2 of all models."""
    found = partition_rdms(DATA, {"a": MODELS[0], "b": MODELS[1], "c": MODELS[2]}, n_folds=2)
    np.testing.assert_allclose(found.shared.sum(0), found.r2[-1], atol=1e-12)
    np.testing.assert_allclose(found.shapley.sum(0), found.r2[-1], atol=1e-12)
    assert found.row("a", "c") == 4
    assert found.subsets[4] == ("a", "c")
    frame = found.to_frame()
    assert frame.shape[0] == 14
    assert set(frame.kind) == {"cross-validated"}
    assert frame.unique.notna().sum() == 6


def test_planted_parts_are_found() -> None:
    """What two models share is shared, and what one has alone is its own."""
    base, own, noise = rdms(3, 5)
    first, second = base + 1.0 * own, base + 0.02 * noise
    found = partition_rdms(base + own, {"first": first, "second": second})
    assert found.r2[found.row("first"), 0] == pytest.approx(1.0)
    assert found.unique[0, 0] > 0.3
    assert abs(found.unique[1, 0]) < 0.01
    assert found.shared[found.row("first", "second"), 0] == pytest.approx(
        found.r2[found.row("second"), 0], abs=0.01
    )


def test_unrelated_models_explain_something_in_sample_and_nothing_held_out() -> None:
    """In-sample R2 of noise is above 0; the cross-validated one is at most 0 on average."""
    pairs = [(rdms(1, s), rdms(6, 500 + s)) for s in range(25)]
    inside = np.array([partition_rdms(d, m).r2[-1, 0] for d, m in pairs])
    outside = np.array([partition_rdms(d, m, n_folds=2).r2[-1, 0] for d, m in pairs])
    assert inside.min() > 0
    assert outside.mean() < 0


def test_a_model_twice_shares_everything() -> None:
    """Equal models have no unique part and the same Shapley value, for both fits."""
    for fit in ("ols", "non_negative"):
        found = partition_rdms(DATA[0], np.stack([MODELS[0], 2.0 * MODELS[0]]), fit=fit)
        np.testing.assert_allclose(found.unique, 0.0, atol=1e-8)
        assert found.shapley[0, 0] == pytest.approx(found.shapley[1, 0], abs=1e-8)


def test_invariant_to_units_and_order_of_stimuli_not_to_a_bend() -> None:
    """Scaling models, shifting them and reordering stimuli change nothing; squaring does."""
    order = np.random.default_rng(3).permutation(N)
    expected = partition_rdms(DATA, MODELS).shared
    moved = MODELS * np.array([1e-3, 5.0, 1e4])[:, None, None] + (1 - np.eye(N))
    found = partition_rdms(DATA[:, order][:, :, order], moved[:, order][:, :, order]).shared
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert np.abs(partition_rdms(DATA, MODELS**2).shared - expected).max() > 1e-3


def test_missing_pairs_are_left_out_for_their_rdm_alone() -> None:
    """A gap in one data RDM changes that one and no other; it equals the fit without the pair."""
    gaps = DATA.copy()
    gaps[0, 2, 5] = gaps[0, 5, 2] = np.nan
    found, whole = partition_rdms(gaps, MODELS), partition_rdms(DATA, MODELS)
    np.testing.assert_allclose(found.r2[:, 1], whole.r2[:, 1])
    np.testing.assert_allclose(found.r2[-1, 0], regression_rsa(gaps, MODELS).r2[0])
    assert found.r2[-1, 0] != whole.r2[-1, 0]


def test_a_constant_rdm_is_nan_and_counted() -> None:
    """No variance, no R2."""
    with pytest.warns(UserWarning, match="1 of 3 data RDMs have no R2"):
        found = partition_rdms(np.stack([DATA[0], 1 - np.eye(N), DATA[1]]), MODELS)
    assert np.isnan(found.r2[:, 1]).all()
    assert np.isfinite(found.r2[:, [0, 2]]).all()


def test_rdms_are_joined_by_id() -> None:
    """Another order of the ids changes nothing."""
    ids = [f"s{i}" for i in range(N)]
    order = np.random.default_rng(0).permutation(N)
    shuffled = RDMs(MODELS[:, order][:, :, order], [ids[i] for i in order])
    found = partition_rdms(RDMs(DATA, ids), shuffled)
    np.testing.assert_allclose(found.r2, partition_rdms(DATA, MODELS).r2, atol=1e-9)


def test_wrong_input_is_named() -> None:
    """Models, folds, names and mixtures."""
    with pytest.raises(ShapeError, match="9 models have 512 subsets"):
        partition_rdms(DATA, rdms(9, 0))
    with pytest.raises(ShapeError, match="3 stimuli; a fit of RDMs needs at least 4"):
        partition_rdms(DATA[:, :3, :3], MODELS[:, :3, :3])
    with pytest.raises(InputError, match="n_folds=0; expected 1"):
        partition_rdms(DATA, MODELS, n_folds=0)
    with pytest.raises(InputError, match="fit='nnls' is not one of"):
        partition_rdms(DATA, MODELS, fit="nnls")
    with pytest.raises(AlignmentError, match="by id or by position"):
        partition_rdms(RDMs(DATA, range(N)), MODELS)
    with pytest.raises(UnknownNameError, match="closest: model_1"):
        partition_rdms(DATA, MODELS).row("model_11")
    with pytest.raises(ShapeError, match="2 names for 3 RDMs of model_rdms"):
        partition_rdms(DATA, MODELS, names=["a", "b"])
