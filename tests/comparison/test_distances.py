"""RDM distances: independent references, stacks, gaps, precision of numbers, and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import cdist, pdist, squareform

from brainalign.comparison.noise import noise_precision
from brainalign.comparison.rdms import DISTANCES, NOISE_DISTANCES, rdm
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses

RNG = np.random.default_rng(0)
N, P = 9, 6
X = RNG.normal(size=(N, P)) + 2.0
COUNTS = RNG.poisson(4.0, size=(N, P)).astype(float)
FACTOR = RNG.normal(size=(P, P))
SIGMA = FACTOR @ FACTOR.T + np.eye(P)
PRECISION = np.linalg.inv(SIGMA)
ALL = sorted(DISTANCES)


def patterns(distance: str) -> np.ndarray:
    return COUNTS if distance == "poisson" else X


def evaluate(x: Any, distance: str, noise: Any = PRECISION) -> Any:
    return rdm(x, distance=distance, noise=noise if distance in NOISE_DISTANCES else None)


def brute(x: np.ndarray, distance: str, precision: np.ndarray = PRECISION) -> np.ndarray:
    """One pair at a time, from the definition."""
    p = x.shape[1]

    def pair(a: np.ndarray, b: np.ndarray) -> float:
        if distance == "correlation":
            return 1 - np.corrcoef(a, b)[0, 1]
        if distance == "cosine":
            return 1 - a @ b / np.sqrt((a @ a) * (b @ b))
        if distance == "mahalanobis":
            return (a - b) @ precision @ (a - b) / p
        if distance == "poisson":
            a, b = (a + 0.1) / 1.1, (b + 0.1) / 1.1
            return float(np.sum((a - b) * (np.log(a) - np.log(b)))) / p
        squared = float(np.sum((a - b) ** 2)) / p
        return squared if distance == "sq_euclidean" else squared**0.5

    return np.array([[pair(a, b) for b in x] for a in x])


@pytest.mark.parametrize("distance", ALL)
def test_against_the_definition(distance: str) -> None:
    """Every distance equals its definition taken pair by pair, is symmetric, and zero on the diagonal."""
    d = evaluate(patterns(distance), distance)
    np.testing.assert_allclose(d, brute(patterns(distance), distance), atol=1e-12)
    assert np.array_equal(d, d.T)
    assert not d.diagonal().any()
    assert d.dtype == np.float64


def test_against_scipy() -> None:
    """Euclidean, cosine and Mahalanobis agree with scipy once its missing division by p is put in."""
    np.testing.assert_allclose(
        evaluate(X, "euclidean"), squareform(pdist(X)) / np.sqrt(P), rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(evaluate(X, "cosine"), squareform(pdist(X, "cosine")), atol=1e-12)
    expected = cdist(X, X, "mahalanobis", VI=PRECISION) ** 2 / P
    np.testing.assert_allclose(evaluate(X, "mahalanobis"), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("distance", "theirs"),
    [
        ("sq_euclidean", "euclidean"),
        ("correlation", "correlation"),
        ("mahalanobis", "mahalanobis"),
        ("poisson", "poisson"),
    ],
)
def test_against_rsatoolbox(distance: str, theirs: str) -> None:
    """The four distances that rsatoolbox shares have its values."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    x = patterns(distance)
    expected = calc_rdm(Dataset(x.copy()), method=theirs, noise=PRECISION).get_matrices()[0]
    np.testing.assert_allclose(evaluate(x, distance), expected, atol=1e-10)


@pytest.mark.parametrize("distance", ALL)
def test_a_stack_is_its_matrices(distance: str) -> None:
    """Leading axes give the RDM of every matrix of the stack, for numpy and torch alike."""
    x = np.abs(np.random.default_rng(1).normal(size=(2, 3, N, P)))
    got = evaluate(x, distance)
    assert got.shape == (2, 3, N, N)
    for i in range(2):
        for j in range(3):
            np.testing.assert_allclose(got[i, j], evaluate(x[i, j], distance), atol=1e-12)
    as_torch = evaluate(torch.from_numpy(x), distance)
    assert isinstance(as_torch, torch.Tensor)
    assert np.array_equal(as_torch.numpy(), got)


@pytest.mark.parametrize("distance", ALL)
def test_float32_against_float64(distance: str) -> None:
    """Single-precision patterns give the RDM to the precision of their own digits."""
    x = patterns(distance)
    single = evaluate(x.astype(np.float32), distance)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, evaluate(x, distance), atol=1e-5)


@pytest.mark.parametrize("distance", ["sq_euclidean", "mahalanobis"])
def test_large_common_offset_costs_no_digits(distance: str) -> None:
    """An offset a million times the differences leaves squared distances right to 1e-6."""
    np.testing.assert_allclose(evaluate(X + 1e6, distance), evaluate(X, distance), rtol=1e-6)


@pytest.mark.parametrize("distance", ALL)
def test_a_unit_without_values_is_left_out(distance: str) -> None:
    """A unit that is NaN in every row equals its removal; p is the number of units that remain."""
    x = patterns(distance).copy()
    x[:, 2] = np.nan
    kept = [0, 1, 3, 4, 5]
    expected = brute(x[:, kept], distance, np.linalg.inv(SIGMA[np.ix_(kept, kept)]))
    np.testing.assert_allclose(evaluate(x, distance), expected, atol=1e-12)
    stack = np.stack([patterns(distance), x])
    np.testing.assert_allclose(evaluate(stack, distance)[1], expected, atol=1e-12)
    np.testing.assert_allclose(evaluate(stack, distance)[0], brute(patterns(distance), distance), atol=1e-12)


def test_a_unit_without_values_where_rsatoolbox_errs() -> None:
    """rsatoolbox divides by units that have no values and cuts the precision instead of inverting
    the sub-covariance; both of its values differ from the definition over the remaining units."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm_unbalanced

    x = X.copy()
    x[:, 2] = np.nan
    kept = [0, 1, 3, 4, 5]
    theirs = {
        name: calc_rdm_unbalanced(
            Dataset(x.copy(), obs_descriptors={"c": np.arange(N)}),
            method=name,
            descriptor="c",
            noise=PRECISION if name == "mahalanobis" else None,
        ).get_matrices()[0]
        for name in ("correlation", "mahalanobis")
    }
    correlation = squareform(pdist(x[:, kept], "correlation"))
    np.testing.assert_allclose(rdm(x), correlation, atol=1e-12)
    # they divide a covariance over 5 units by 6 units, on and off the diagonal
    assert np.abs(theirs["correlation"] - correlation).max() > 0.05
    mahalanobis = brute(x[:, kept], "mahalanobis", np.linalg.inv(SIGMA[np.ix_(kept, kept)]))
    np.testing.assert_allclose(evaluate(x, "mahalanobis"), mahalanobis, atol=1e-12)
    cut = brute(x[:, kept], "mahalanobis", PRECISION[np.ix_(kept, kept)])
    np.testing.assert_allclose(theirs["mahalanobis"], cut * 5 / 6, atol=1e-10)
    assert np.abs(cut * 5 / 6 - mahalanobis).max() > 0.01


def test_matrices_without_any_unit_are_nan_and_counted() -> None:
    """In a stack the RDM of a matrix without values is NaN with a reason; the others are computed."""
    x = np.stack([X, np.full_like(X, np.nan)])
    with pytest.warns(UserWarning, match="1 of 2 RDMs have no unit with values; they are NaN"):
        d = rdm(x, distance="mahalanobis", noise=PRECISION)
    np.testing.assert_allclose(d[0], brute(X, "mahalanobis"), atol=1e-12)
    assert np.isnan(d[1]).all()


def test_warnings_name_the_line_of_the_caller() -> None:
    """Every counted reason points at the call of rdm, not into the package."""
    x = np.stack([X, np.full_like(X, np.nan)])
    constant = X.copy()
    constant[2] = 1.0
    for arguments in ((x, "sq_euclidean"), (x, "euclidean"), (constant, "correlation"), (0 * X, "cosine")):
        with pytest.warns(UserWarning, match="are NaN") as found:
            rdm(arguments[0], distance=arguments[1])
        assert [w.filename for w in found] == [__file__]


def test_responses_with_a_unit_without_values() -> None:
    """Responses average their repeats by stimulus and leave out a unit that is NaN throughout."""
    x = np.concatenate([X, X + 1.0])
    x[:, 1] = np.nan
    responses = Responses(x, pd.DataFrame({"stimulus_id": [f"s{i}" for i in range(N)] * 2}))
    kept = [0, 2, 3, 4, 5]
    expected = squareform(pdist(X[:, kept], "sqeuclidean")) / 5
    np.testing.assert_allclose(rdm(responses, distance="sq_euclidean"), expected, atol=1e-12)


def test_rows_without_a_direction_are_nan_and_counted() -> None:
    """A zero pattern has no cosine distance, a constant one in a stack no correlation: NaN, counted."""
    x = np.stack([X, X])
    x[1, 3] = 0.0
    with pytest.warns(
        UserWarning, match=r"1 of 18 stimuli have no response in any unit \(first: row 3 of position \(1,\)"
    ):
        d = rdm(x, distance="cosine")
    assert np.isnan(d[1, 3, :3]).all()
    assert np.isfinite(d[0]).all()
    with pytest.warns(UserWarning, match="1 of 18 stimuli have the same response in every unit"):
        rdm(x)


def test_wrong_inputs() -> None:
    """Gaps in a part of the rows, negative counts, missing or needless noise and wrong types are named."""
    bad = np.stack([X, X])
    bad[1, 3, 2] = np.nan
    with pytest.raises(InputError, match=r"first in row 3, unit 2, of position \(1,\) of the stack"):
        rdm(bad)
    bad[1, 3, 2] = np.inf
    with pytest.raises(InputError, match="1 values that are not finite"):
        rdm(bad, distance="sq_euclidean")
    with pytest.raises(
        InputError, match=r"x has \d+ negative values, first in row \d+, unit \d+; the Poisson"
    ):
        rdm(X - 5.0, distance="poisson")
    with pytest.raises(InputError, match="'mahalanobis' needs noise="):
        rdm(X, distance="mahalanobis")
    with pytest.raises(InputError, match="'correlation' takes no noise; expected one of mahalanobis"):
        rdm(X, noise=PRECISION)
    with pytest.raises(ShapeError, match="noise has 5 channels and the responses have 6"):
        rdm(X, distance="mahalanobis", noise=np.eye(5))
    with pytest.raises(InputError, match="x has dtype <U1; expected real numbers"):
        rdm(np.array([["a", "b"]]))
    with pytest.raises(InputError, match=r"x has dtype torch.complex64; expected real numbers"):
        rdm(torch.zeros(3, 3, dtype=torch.complex64))
    gap = X.copy()
    gap[:, 0] = np.nan
    with pytest.raises(InputError, match=r"NaN in every row \(1 of 6\); a distance that is a callable"):
        rdm(gap, distance=lambda x: x @ x.T)


def test_a_callable_gets_finite_float64_values() -> None:
    """A distance of the caller's own is called with the checked values and its result returned."""
    seen: list[np.ndarray] = []

    def own(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return x @ x.T

    np.testing.assert_allclose(rdm(X.astype(np.float32), distance=own), X @ X.T, rtol=1e-5)
    assert seen[0].dtype == np.float64


@pytest.mark.real
def test_reference_values_of_two_pseudo_mice(real_data: Path) -> None:
    """1 - r RDMs of two pairs of populations have the Spearman correlations of the dataset's notes."""
    from scipy.stats import spearmanr

    folder = real_data / "mouse_pseudo_rsa"
    pairs = (
        ("pseudo_a_VISal", "pseudo_b_VISam", 0.8746),
        ("pseudo_mouse_A_emb", "pseudo_mouse_B_emb", 0.8455),
    )
    for first, second, expected in pairs:
        a, b = (rdm(np.load(folder / f"{name}.npy")) for name in (first, second))
        upper = np.triu_indices(len(a), 1)
        assert spearmanr(a[upper], b[upper])[0] == pytest.approx(expected, abs=5e-5)


def test_noise_precision_and_its_matrix_give_one_rdm() -> None:
    """A low-rank NoisePrecision, with fewer rows than units, equals its explicit matrix."""
    residuals = RNG.normal(size=(4, P)) @ FACTOR
    noise = noise_precision(residuals)
    np.testing.assert_allclose(
        rdm(X, distance="mahalanobis", noise=noise), brute(X, "mahalanobis", noise.matrix()), atol=1e-10
    )
