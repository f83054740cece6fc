"""Noise precision: the peers' covariances, low rank without a full matrix, selections, and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.comparison._noise_forms import FactorForm
from brainalign.comparison.noise import SHRINKAGES, NoisePrecision, as_noise, mean_noise, noise_precision
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(40, 40)) * np.linspace(0.3, 3.0, 40)
# (rows, channels): fewer rows than channels, and more
SHAPES = [(12, 40), (90, 25)]
SHRINKING = [s for s in SHRINKAGES if s != "none"]


def residuals(n: int, p: int) -> np.ndarray:
    out: np.ndarray = np.random.default_rng(n).normal(size=(n, 40)) @ MIX[:, :p] + 3.0
    return out


@pytest.mark.parametrize(("n", "p"), SHAPES)
@pytest.mark.parametrize("method", ["ledoit_wolf", "oas"])
def test_closed_forms_are_those_of_scikit_learn(n: int, p: int, method: str) -> None:
    """Ledoit-Wolf and OAS have scikit-learn's intensity, and its covariance with dof = n_rows."""
    from sklearn.covariance import OAS, LedoitWolf

    x = residuals(n, p)
    theirs = (LedoitWolf() if method == "ledoit_wolf" else OAS()).fit(x)
    ours = noise_precision(x, shrinkage=method, dof=n)
    assert ours.shrinkage_ == pytest.approx(theirs.shrinkage_, rel=1e-10)
    assert 0 < ours.shrinkage_ < 1
    np.testing.assert_allclose(ours.covariance(), theirs.covariance_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.matrix(), np.linalg.inv(theirs.covariance_), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_ledoit_wolf_is_rsatoolbox_up_to_the_degrees_of_freedom(n: int, p: int) -> None:
    """rsatoolbox's shrinkage_eye is ours with the default dof, scikit-learn's times n / (n - 1)."""
    from rsatoolbox.data.noise import cov_from_residuals
    from sklearn.covariance import LedoitWolf

    x = residuals(n, p)
    ours = noise_precision(x).covariance()
    np.testing.assert_allclose(ours, cov_from_residuals(x.copy(), method="shrinkage_eye"), rtol=1e-9)
    np.testing.assert_allclose(ours, LedoitWolf().fit(x).covariance_ * n / (n - 1), rtol=1e-9)


@pytest.mark.parametrize(
    ("n", "p", "method", "theirs"),
    [
        (12, 40, "schaefer_strimmer", "shrinkage_diag"),
        (90, 25, "schaefer_strimmer", "shrinkage_diag"),
        (12, 40, "diagonal", "diag"),
        (90, 25, "none", "full"),
    ],
)
@pytest.mark.parametrize("removed", [None, 4])
def test_against_rsatoolbox(n: int, p: int, method: str, theirs: str, removed: int | None) -> None:
    """Schaefer-Strimmer, variances and the sample covariance are rsatoolbox's, with given dof too."""
    from rsatoolbox.data.noise import cov_from_residuals, prec_from_residuals

    x = residuals(n, p)
    dof = None if removed is None else n - removed
    ours = noise_precision(x, shrinkage=method, dof=dof)
    expected = cov_from_residuals(x.copy(), dof=dof, method=theirs)
    np.testing.assert_allclose(ours.covariance(), expected, rtol=1e-9, atol=1e-10)
    precision = prec_from_residuals(x.copy(), dof=dof, method=theirs)
    np.testing.assert_allclose(ours.matrix(), precision, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("n", "p"), SHAPES)
@pytest.mark.parametrize("method", SHRINKING)
def test_whitening_has_the_products_of_the_precision(n: int, p: int, method: str) -> None:
    """Inner products of whitened rows are x' precision y for every form of the covariance."""
    noise = noise_precision(residuals(n, p), shrinkage=method)
    x = np.random.default_rng(5).normal(size=(3, 7, p))
    white = noise.whiten(x)
    precision = np.linalg.inv(noise.covariance())
    expected = np.einsum("kip,pq,kjq->kij", x, precision, x)
    np.testing.assert_allclose(white @ white.transpose(0, 2, 1), expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(noise.matrix(), precision, rtol=1e-6, atol=1e-9)
    tensor = noise.whiten(torch.from_numpy(x))
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), white)


@pytest.mark.parametrize(("n", "p"), SHAPES)
@pytest.mark.parametrize("method", SHRINKING)
@pytest.mark.parametrize("kept", [[3, 0, 7], list(range(20))])
def test_selection_inverts_the_sub_covariance(n: int, p: int, method: str, kept: list[int]) -> None:
    """The precision of some channels is the inverse of their covariance, not a part of the precision."""
    noise = noise_precision(residuals(n, p), shrinkage=method)
    whole = noise.covariance()
    expected = np.linalg.inv(whole[np.ix_(kept, kept)])
    part = noise.select(kept)
    assert part.n_channels == len(kept)
    assert part.shrinkage_ == noise.shrinkage_
    np.testing.assert_allclose(part.matrix(), expected, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(part.covariance(), whole[np.ix_(kept, kept)], rtol=1e-9)
    given = as_noise(np.linalg.inv(whole), p)
    assert given is not None
    np.testing.assert_allclose(given.select(kept).matrix(), expected, rtol=1e-6, atol=1e-9)
    if method != "diagonal":
        assert np.abs(noise.matrix()[np.ix_(kept, kept)] - expected).max() > 1e-3 * np.abs(expected).max()
    mask = np.zeros(p, dtype=bool)
    mask[kept] = True
    np.testing.assert_allclose(
        noise.select(mask).matrix(), noise.select(sorted(kept)).matrix(), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_covariances_of_many_sets_at_once(n: int, p: int) -> None:
    """Sets of channels (m, k) give their covariances (m, k, k), from every form."""
    noise = noise_precision(residuals(n, p))
    sets = np.array([[0, 1, 2], [5, 3, 9]])
    for one in (noise, as_noise(noise.matrix(), p)):
        assert isinstance(one, NoisePrecision)
        got = one.covariance(sets)
        for k, s in enumerate(sets):
            np.testing.assert_allclose(got[k], noise.covariance()[np.ix_(s, s)], rtol=1e-6, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(SHRINKING), st.floats(1e-12, 1e12))
def test_equivariance(seed: int, method: str, factor: float) -> None:
    """The order of channels and rows is immaterial; responses in other units have the precision
    divided by the square, so that tesla are as good as femtotesla."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(8, 11)) @ rng.normal(size=(11, 11))
    base = noise_precision(x, shrinkage=method).matrix()
    columns, rows = rng.permutation(11), rng.permutation(8)
    moved = noise_precision(x[rows][:, columns] * factor + 2 * factor, shrinkage=method).matrix()
    scale = np.abs(base).max()
    np.testing.assert_allclose(
        moved * factor**2 / scale, base[np.ix_(columns, columns)] / scale, rtol=1e-6, atol=1e-8
    )


def test_schaefer_strimmer_does_not_mind_the_units_of_each_channel() -> None:
    """Scaling single channels leaves the intensity of Schaefer-Strimmer alone and changes Ledoit-Wolf's."""
    x = residuals(12, 40)
    scaled = x * np.geomspace(1e-3, 1e3, 40)
    first, second = (noise_precision(v, shrinkage="schaefer_strimmer").shrinkage_ for v in (x, scaled))
    assert first == pytest.approx(second, rel=1e-9)
    assert abs(noise_precision(x).shrinkage_ - noise_precision(scaled).shrinkage_) > 0.01


def test_null_and_planted_covariance() -> None:
    """Independent equal noise is shrunk almost wholly; strong structure with many rows hardly at all."""
    rng = np.random.default_rng(3)
    white = rng.normal(size=(100, 60))
    planted = rng.normal(size=(5000, 10)) @ MIX[:10, :10]
    truth = MIX[:10, :10].T @ MIX[:10, :10]
    for method in ("ledoit_wolf", "oas"):
        assert noise_precision(white, shrinkage=method).shrinkage_ > 0.8
        found = noise_precision(planted, shrinkage=method)
        assert found.shrinkage_ < 0.02
        np.testing.assert_allclose(found.covariance(), truth, atol=0.1 * np.abs(truth).max())
    assert noise_precision(white, shrinkage="schaefer_strimmer").shrinkage_ > 0.8


def test_no_matrix_of_channels_by_channels_is_formed() -> None:
    """With 20 rows of 60,000 channels (a full matrix would take 29 GB) estimate, whitening and
    selection run, and whitened residuals stay bounded as they must."""
    x = np.random.default_rng(0).normal(size=(20, 60_000))
    for method in ("ledoit_wolf", "oas", "schaefer_strimmer"):
        noise = noise_precision(x, shrinkage=method)
        white = noise.whiten(x - x.mean(0))
        assert white.shape == x.shape
        assert noise.select(np.arange(50_000)).whiten(x[:2, :50_000]).shape == (2, 50_000)
        # (1 - w) z' precision z / dof < 1 for every row z of the residuals
        assert ((1 - noise.shrinkage_) * np.einsum("ij,ij->i", white, white) / 19 <= 1 + 1e-9).all()


def test_float32_residuals() -> None:
    """Residuals in single precision give the same precision to their own digits."""
    x = residuals(12, 40)
    np.testing.assert_allclose(
        noise_precision(x.astype(np.float32)).matrix(), noise_precision(x).matrix(), rtol=1e-3, atol=1e-5
    )


def test_full_shrinkage_and_one_channel() -> None:
    """An intensity of one leaves the target alone; a single channel is its variance under every name."""
    x = np.concatenate([np.eye(6), -np.eye(6)])
    noise = noise_precision(x, shrinkage="oas")
    assert noise.shrinkage_ == 1.0
    np.testing.assert_allclose(noise.covariance(), np.eye(6) * 2 / 11)
    np.testing.assert_allclose(noise.select([0, 2]).matrix(), np.eye(2) * 11 / 2)
    for method in SHRINKAGES:
        one = noise_precision(x[:, :1], shrinkage=method)
        assert one.matrix()[0, 0] == pytest.approx(1 / x[:, 0].var(ddof=1))


@pytest.mark.parametrize("sizes", [(12, 14), (12, 90), (90, 90), (30, 30)])
def test_mean_of_two_covariances(sizes: tuple[int, int]) -> None:
    """The mean of two noises has the mean covariance, low rank where both are."""
    a, b = (noise_precision(residuals(n, 40)) for n in sizes)
    expected = np.linalg.inv((a.covariance() + b.covariance()) / 2)
    np.testing.assert_allclose(mean_noise(a, b).matrix(), expected, rtol=1e-6, atol=1e-9)


def test_wrong_residuals() -> None:
    """Gaps, constant channels, too few rows, bad dof and unknown names are refused with what to do."""
    x = residuals(12, 40)
    bad = x.copy()
    bad[2, 5] = np.nan
    with pytest.raises(InputError, match="1 values that are not finite, first in row 2, channel 5"):
        noise_precision(bad)
    constant = x.copy()
    constant[:, 7] = 0.1
    with pytest.raises(
        InputError, match=r"1 of 40 channels of the residuals are constant \(first: channel 7\)"
    ):
        noise_precision(constant)
    with pytest.raises(
        InputError, match="12 rows and 40 channels; a covariance without shrinkage needs more"
    ):
        noise_precision(x, shrinkage="none")
    twice = residuals(90, 25)
    twice[:, 3] = 2 * twice[:, 4] - 1
    with pytest.raises(InputError, match="noise covariance of 25 channels cannot be inverted"):
        noise_precision(twice, shrinkage="none")
    with pytest.raises(ShapeError, match=r"shape \(1, 40\); expected at least 2 rows"):
        noise_precision(x[:1])
    with pytest.raises(ShapeError, match=r"residuals have shape \(40,\); expected 2 axes"):
        noise_precision(x[0])
    with pytest.raises(InputError, match="dof=0 is not between 1 and the 12 residual rows"):
        noise_precision(x, dof=0)
    with pytest.raises(InputError, match="shrinkage='ledoit' is not one of .* closest: 'ledoit_wolf'"):
        noise_precision(x, shrinkage="ledoit")


def test_wrong_precisions_and_channels() -> None:
    """A given precision must be finite, square, symmetric and positive; channels must exist."""
    with pytest.raises(ShapeError, match=r"noise has shape \(3,\); expected a precision matrix"):
        as_noise(np.ones(3), 3)
    with pytest.raises(InputError, match="noise has values that are not finite"):
        as_noise(np.full((2, 2), np.nan), 2)
    with pytest.raises(InputError, match="noise is not symmetric"):
        as_noise(np.array([[1.0, 0.5], [0.0, 1.0]]), 2)
    indefinite = as_noise(np.diag([1.0, -1.0]), 2)
    assert indefinite is not None
    with pytest.raises(InputError, match="no precision matrix: its eigenvalues run from -1 to 1"):
        indefinite.whiten(np.ones((1, 2)))
    singular = as_noise(np.diag([1.0, 0.0]), 2)
    assert singular is not None
    np.testing.assert_allclose(singular.whiten(np.ones((1, 2))) ** 2 @ np.ones(2), [1.0])
    with pytest.raises(InputError, match="noise covariance of 2 channels cannot be inverted"):
        singular.select([0])
    with pytest.raises(InputError, match="noise covariance of 2 channels cannot be inverted"):
        singular.covariance()
    noise = noise_precision(residuals(12, 40))
    with pytest.raises(ShapeError, match=r"values have shape \(2, 39\); expected 40 channels"):
        noise.whiten(np.ones((2, 39)))
    with pytest.raises(ShapeError, match=r"mask of shape \(3,\); the noise has 40 channels"):
        noise.select(np.ones(3, dtype=bool))
    with pytest.raises(InputError, match="channels name 40; the noise has the channels 0 to 39"):
        noise.select([0, 40])


@pytest.mark.parametrize("method", ["ledoit_wolf", "schaefer_strimmer"])
def test_an_intensity_of_zero_with_few_rows_is_refused(method: str) -> None:
    """Two rows do not vary about their covariance: nothing is shrunk, and the covariance stays singular."""
    with pytest.raises(InputError, match=f"{method}.* in 2 residual rows.*40 channels singular"):
        noise_precision(residuals(2, 40), shrinkage=method)


@pytest.mark.parametrize(("rows", "p"), [(0, 5), (3, 30), (29, 30)])
@pytest.mark.parametrize("weight", [1.0, 1e-6])
def test_whitened_products_are_those_of_the_inverse_covariance(rows: int, p: int, weight: float) -> None:
    """x' precision y from whitened rows, from the matrix and from the inverse of the covariance itself."""
    rng = np.random.default_rng(0)
    variances = torch.as_tensor(weight * rng.uniform(0.5, 2.0, p))
    factor = torch.as_tensor(rng.normal(size=(rows, p)))
    form = FactorForm(variances, factor)
    covariance = np.diag(variances.numpy()) + factor.numpy().T @ factor.numpy()
    inverse = np.linalg.inv(covariance)
    values = rng.normal(size=(4, p))
    whitened = form.whiten(torch.as_tensor(values)).numpy()
    size = np.abs(inverse).max()
    np.testing.assert_allclose(form.matrix(), inverse, atol=1e-8 * size)
    np.testing.assert_allclose(whitened @ whitened.T, values @ inverse @ values.T, atol=1e-7 * size)


def test_a_target_that_weighs_nothing_is_refused() -> None:
    """Where 1 is lost beside the scaled factor there is an error, not noise that looks like a result."""
    rng = np.random.default_rng(0)
    form = FactorForm(
        torch.full((30,), 1e-17, dtype=torch.float64), torch.as_tensor(rng.normal(size=(10, 30)))
    )
    for use in (form.matrix, lambda: form.whiten(torch.ones(1, 30, dtype=torch.float64))):
        with pytest.raises(InputError, match="singular, or nearly so"):
            use()
