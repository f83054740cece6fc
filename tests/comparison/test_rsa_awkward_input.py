"""Sizes far from one, masked arrays, tensors with gradients, tables and lists."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from brainalign.comparison.geodesic import geo_topological_transform, geodesic_transform
from brainalign.comparison.large_ranks import large_rank_rsa
from brainalign.comparison.noise import noise_precision
from brainalign.comparison.permutation import mantel_test
from brainalign.comparison.rdm_comparison import COMPARATORS, compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_crossvalidation import crossvalidate_rsa
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.comparison.rsa_with_controls import partial_rsa
from brainalign.comparison.run_distances import crossnobis
from brainalign.comparison.streaming_rsa import large_rsa
from brainalign.errors import InputError, ShapeError
from brainalign.statistics.rsa_ceiling import rsa_noise_ceiling

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6))
D, M = rdm(RNG.normal(size=(3, 8, 20)), distance="sq_euclidean"), rdm(RNG.normal(size=(2, 8, 20)))
SIZES = [1e160, 1e-170]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("measure", sorted(COMPARATORS))
def test_comparators_have_no_unit(measure: str, size: float) -> None:
    """RDMs whose squares are no float64 numbers have the similarity that they have in another unit."""
    expected = compare_rdms(D[0], M[0], measure=measure)
    assert compare_rdms(D[0] * size, M[0], measure=measure) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_inference_has_no_unit(size: float) -> None:
    """Bootstrap, Mantel test, ceiling and partial correlation do not depend on the unit of the data."""
    for measure in ("pearson", "cosine", "whitened_cosine", "rho_a"):
        a, b = (bootstrap_rsa(d, M, measure=measure, n_boot=5, over="stimuli") for d in (D, D * size))
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-10)
        tests = [mantel_test(d, M, measure=measure, n_permutations=9) for d in (D, D * size)]
        np.testing.assert_allclose(tests[0].null, tests[1].null, atol=1e-10)
        ceilings = [rsa_noise_ceiling(d, measure=measure).low for d in (D, D * size)]
        np.testing.assert_allclose(ceilings[0], ceilings[1], atol=1e-10)
    partial = [partial_rsa(d, M, measure="pearson") for d in (D, D * size)]
    np.testing.assert_allclose(partial[0], partial[1], atol=1e-10)


@pytest.mark.parametrize("size", [1e150, *SIZES])
def test_angles_have_no_unit(size: float) -> None:
    """Correlation and cosine distances of very large and very small responses are those of others."""
    for distance in ("correlation", "cosine"):
        np.testing.assert_allclose(rdm(X * size, distance=distance), rdm(X, distance=distance), atol=1e-12)
    assert large_rsa(X * size, X[:, :3]) == pytest.approx(large_rsa(X, X[:, :3]), abs=1e-10)


@pytest.mark.parametrize("distance", ["sq_euclidean", "euclidean"])
def test_squares_that_overflow_are_refused(distance: str) -> None:
    """A squared distance that no float64 holds is an error, not NaN or infinity."""
    with pytest.raises(InputError, match="values so large that their squares are no float64 numbers"):
        rdm(X * 1e160, distance=distance)


@pytest.mark.parametrize("shrinkage", ["ledoit_wolf", "oas", "schaefer_strimmer"])
def test_shrinkage_has_no_unit(shrinkage: str) -> None:
    """The intensity is that of the same residuals in volts, femtovolts or any other unit."""
    expected = noise_precision(X, shrinkage=shrinkage)
    for size in (1e149, 1e-100, 1e-149):
        found = noise_precision(X * size, shrinkage=shrinkage)
        assert found.shrinkage_ == pytest.approx(expected.shrinkage_, rel=1e-9)
        np.testing.assert_allclose(found.whiten(X * size), expected.whiten(X), rtol=1e-9)
    with pytest.raises(InputError, match="its square is no float64 number"):
        noise_precision(X * 1e160, shrinkage=shrinkage)
    with pytest.raises(InputError, match="dof=25 is not between 1 and the 24 residual rows"):
        noise_precision(X, shrinkage=shrinkage, dof=25)


def test_masked_entries_are_missing() -> None:
    """The mask of a masked array is not dropped: its entries count as NaN."""
    hidden = np.zeros(D.shape, dtype=bool)
    hidden[0, 1, 2] = hidden[0, 2, 1] = True
    with pytest.warns(UserWarning, match="up to 1 of 28 pairs"):
        found = compare_rdms(np.ma.array(D, mask=hidden), M, measure="pearson")
    with pytest.warns(UserWarning, match="up to 1 of 28 pairs"):
        expected = compare_rdms(np.where(hidden, np.nan, D), M, measure="pearson")
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match="values that are not finite, first in row 0, unit 1"):
        rdm(np.ma.array(X, mask=np.arange(144).reshape(24, 6) == 1))


def test_tensors_with_gradients_and_in_bfloat16() -> None:
    """Tensors of any kind are read, and tensors come back where arrays would."""
    for kind in (lambda a: torch.tensor(a, requires_grad=True), lambda a: torch.tensor(a).bfloat16()):
        d, m = kind(D), kind(M)
        close = {"atol": 0.05}
        np.testing.assert_allclose(partial_rsa(d, m).numpy(), partial_rsa(D, M), **close)
        for transform in (
            geodesic_transform,
            lambda v: geo_topological_transform(v, lower=0.0, upper=1.0),
        ):
            np.testing.assert_allclose(transform(d).numpy(), transform(D), **close)
        expected = compare_rdms(D, M, measure="pearson")
        np.testing.assert_allclose(compare_rdms(d, m, measure="pearson").numpy(), expected, **close)
        low = rsa_noise_ceiling(D, measure="pearson").low
        np.testing.assert_allclose(rsa_noise_ceiling(d, measure="pearson").low, low, **close)
        assert large_rsa(kind(X), kind(X)) == pytest.approx(1.0)
        assert noise_precision(kind(X)).matrix().shape == (6, 6)
    assert isinstance(partial_rsa(torch.tensor(D[0]), torch.tensor(M[0]), torch.tensor(M[1])), torch.Tensor)


def test_tables_and_lists() -> None:
    """A table is read by position of its rows; RDMs may be nested lists."""
    table = pd.DataFrame(X, columns=list("abcdef"))
    assert large_rank_rsa(table, table).value == pytest.approx(1.0)
    nested = crossvalidate_rsa(D.tolist(), {"m": M}, measure="pearson")
    np.testing.assert_array_equal(nested.scores, crossvalidate_rsa(D, {"m": M}, measure="pearson").scores)
    with pytest.raises(InputError, match="x has dtype object; expected real numbers"):
        large_rank_rsa(X.astype(object), X)


def test_ragged_rows() -> None:
    """Rows of different lengths are named."""
    with pytest.raises(InputError, match="d1 is no array of numbers"):
        compare_rdms([[0, 1], [1]], M, measure="pearson")
    with pytest.raises(InputError, match="x is no array of numbers"):
        rdm([[0, 1], [1]])
    with pytest.raises(ShapeError, match=r"rdms have shape \(0, 8, 8\)"):
        geodesic_transform(D[:0])


def test_ceiling_wants_rdms() -> None:
    """A ceiling of matrices that are no RDMs is refused, as in every comparison."""
    with pytest.raises(InputError, match="rdms, RDM 0, is not symmetric"):
        rsa_noise_ceiling(np.triu(D))
    with pytest.raises(InputError, match="rdms, RDM 0, has a diagonal that is not zero"):
        rsa_noise_ceiling(1.0 - D)


def test_a_callable_returns_a_table() -> None:
    """One number for all pairs of RDMs is not spread over the table."""
    with pytest.raises(ShapeError, match=r"measure returned shape \(\) for 3 and 2 RDMs; expected \(3, 2\)"):
        compare_rdms(D, M, measure=lambda a, b: 0.5)


def test_a_sample_without_values_is_said() -> None:
    """A trial that is NaN in all channels takes the others of its condition and run with it: counted."""
    x = np.concatenate([X, X + 1.0])
    labels = {"conditions": np.tile(np.arange(6), 8), "runs": np.tile(np.repeat(np.arange(4), 6), 2)}
    x[0] = np.nan
    with pytest.warns(
        UserWarning, match=r"1 samples are NaN in all channels \(first: row 0\).* 1 samples with"
    ):
        crossnobis(x, **labels)
    with pytest.raises(ShapeError, match=r"conditions have shape \(48, 1\); expected one label a sample"):
        crossnobis(x, conditions=labels["conditions"][:, None], runs=labels["runs"])
    with pytest.raises(InputError, match="noise is a str; expected a NoisePrecision"):
        crossnobis(X, conditions=np.tile(np.arange(6), 4), runs=np.repeat(np.arange(4), 6), noise="oas")
