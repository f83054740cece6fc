"""RDMs: an independent reference, invariances that hold and that must fail, and errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from brainalign.comparison import rdm
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import Responses

X = np.random.default_rng(0).normal(size=(12, 7)) + 3.0


def responses(values: np.ndarray, ids: list[str]) -> Responses:
    return Responses(values, pd.DataFrame({"stimulus_id": ids}), info={"design": "trials"})


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_against_scipy(dtype: type) -> None:
    """Correlation distance and squared distance over units agree with scipy's, for every dtype."""
    x = (X * 10).astype(dtype)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(rdm(x), squareform(pdist(exact, "correlation")), atol=1e-12)
    expected = squareform(pdist(exact, "sqeuclidean")) / 7
    np.testing.assert_allclose(rdm(x, distance="sq_euclidean"), expected, rtol=1e-10, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(2, 6), st.integers(0, 10**6))
def test_axioms(n: int, p: int, seed: int) -> None:
    """Symmetric, zero diagonal, in range; the order of stimuli and of units is immaterial."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    for distance, top in (("correlation", 2.0), ("sq_euclidean", np.inf)):
        d = rdm(x, distance=distance)
        assert np.array_equal(d, d.T)
        assert not d.diagonal().any()
        assert d.min() >= 0
        assert d.max() <= top
        rows, columns = rng.permutation(n), rng.permutation(p)
        np.testing.assert_allclose(
            rdm(x[rows][:, columns], distance=distance), d[np.ix_(rows, rows)], atol=1e-12
        )


def invariant(change: np.ndarray, distance: str) -> bool:
    return bool(np.allclose(rdm(change, distance=distance), rdm(X, distance=distance), atol=1e-9))


ROTATION = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))[0]
SHIFT = np.arange(7.0)


@pytest.mark.parametrize(
    ("distance", "rotation", "scale", "translation"),
    [("correlation", False, True, False), ("sq_euclidean", True, False, True)],
)
def test_invariances_that_hold_and_that_fail(
    distance: str, rotation: bool, scale: bool, translation: bool
) -> None:
    """Each distance is invariant to what its convention says, and to nothing more."""
    assert invariant(X @ ROTATION, distance) is rotation
    assert invariant(-2.0 * X, distance) is scale
    assert invariant(X + SHIFT, distance) is translation
    assert invariant(X @ np.diag(np.arange(1.0, 8.0)), distance) is False


def test_large_common_offset_costs_no_digits() -> None:
    """An offset a million times the differences leaves squared distances right to 1e-6."""
    expected = rdm(X, distance="sq_euclidean")
    np.testing.assert_allclose(rdm(X + 1e6, distance="sq_euclidean"), expected, rtol=1e-6)


def test_repeats_are_averaged_in_order_of_first_appearance() -> None:
    """Rows of one stimulus become their mean before the distance."""
    r = responses(X[:5], ["b", "a", "b", "c", "b"])
    means = np.stack([X[[0, 2, 4]].mean(0), X[1], X[3]])
    for distance in ("correlation", "sq_euclidean"):
        np.testing.assert_allclose(rdm(r, distance=distance), rdm(means, distance=distance), atol=1e-12)


def test_constant_stimulus_is_nan_and_counted() -> None:
    """A stimulus with one value in every unit has no correlation distance: NaN, with the reason."""
    x = X.astype(np.float32)
    x[4] = 0.1
    with pytest.warns(
        UserWarning, match=r"1 of 12 stimuli have the same response in every unit \(first: row 4\)"
    ):
        d = rdm(x)
    others = np.delete(np.arange(12), 4)
    assert np.isnan(d[4, others]).all()
    assert d[4, 4] == 0
    assert np.isfinite(d[np.ix_(others, others)]).all()


def test_wrong_inputs() -> None:
    """Unknown distance, wrong axes, one unit, no rows, missing values, no ids, a time axis: all named."""
    with pytest.raises(UnknownNameError, match="distance 'corelation' does not exist; closest: correlation"):
        rdm(X, distance="corelation")
    with pytest.raises(ShapeError, match=r"shape \(12,\); expected 2 axes"):
        rdm(X[:, 0])
    with pytest.raises(ShapeError, match="needs at least 2 units"):
        rdm(X[:, :1])
    with pytest.raises(ShapeError, match="at least one stimulus and one unit"):
        rdm(X[:0])
    bad = X.copy()
    bad[3, 2] = np.nan
    with pytest.raises(InputError, match="1 values that are not finite, first in row 3, unit 2"):
        rdm(bad)
    with pytest.raises(AlignmentError, match="rows without a stimulus_id"):
        rdm(Responses(X))
    times = Responses(X[:, :, None], pd.DataFrame({"stimulus_id": range(12)}), times=np.array([0.0]))
    with pytest.raises(ShapeError, match="choose one time"):
        rdm(times)
    twice = pd.DataFrame({"stimulus_id": ["a", "a"], "content_hash": ["1", "2"]})
    with pytest.raises(AlignmentError, match="'a' occurs with different content hashes"):
        rdm(Responses(X[:2], twice))
