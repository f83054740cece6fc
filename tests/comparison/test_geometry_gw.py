"""Gromov-Wasserstein: brute force, POT, planted matchings, invariances, awkward input, errors."""

from __future__ import annotations

import sys
from itertools import permutations

import numpy as np
import ot
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform

from brainalign.comparison._transport_entropic import entropic_plan
from brainalign.comparison._transport_starts import _random_coupling, canonical_order, quantile_coupling
from brainalign.comparison.transport import align_stimuli, gromov_loss, gromov_wasserstein
from brainalign.errors import AlignmentError, InputError, MissingDependencyError, ShapeError
from brainalign.types import Responses


def cloud(n: int, p: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, p))


def rotation(p: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(cloud(p, p, seed))[0]


def scaled(x: np.ndarray) -> np.ndarray:
    d = squareform(pdist(x))
    return d / np.sqrt(np.mean(d**2))


def best_permutation(x: np.ndarray, y: np.ndarray) -> float:
    """The lowest root loss of all one-to-one matchings: an upper bound of the distance."""
    a, b = scaled(x), scaled(y)
    losses = [np.mean((a - b[np.ix_(p, p)]) ** 2) for p in map(list, permutations(range(len(x))))]
    return float(np.sqrt(min(losses)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_worse_than_every_one_to_one_matching(seed: int) -> None:
    """Plans contain the matchings, and with few stimuli the search is not above the best of all 5040."""
    x, y = cloud(7, 3, seed), cloud(7, 2, seed + 10)
    assert gromov_wasserstein(x, y, n_restarts=60) <= best_permutation(x, y) + 1e-9


def test_the_loss_is_the_quadruple_sum() -> None:
    """Sparse and dense plans both give the sum over i, j, k, l, and POT's value of the same plan."""
    x, y = cloud(6, 3), cloud(9, 2, 1)
    a, b = scaled(x), scaled(y)
    sparse = quantile_coupling(6, 9)
    np.testing.assert_allclose(sparse.sum(axis=0), 1 / 9)
    np.testing.assert_allclose(sparse.sum(axis=1), 1 / 6)
    for plan in (sparse, np.full((6, 9), 1 / 54), 0.5 * sparse + 0.5 / 54):
        difference = a[:, None, :, None] - b[None, :, None, :]
        expected = np.einsum("ijkl,ij,kl->", difference**2, plan, plan)
        assert gromov_loss(a, b, plan) == pytest.approx(expected, rel=1e-12)
    result = align_stimuli(x, y, squared=True)
    assert result.value == pytest.approx(gromov_loss(a, b, result.plan), rel=1e-9)
    own, log = ot.gromov.gromov_wasserstein(a, b, G0=result.plan, log=True)
    assert log["gw_dist"] == pytest.approx(result.value, abs=1e-9)
    np.testing.assert_allclose(own, result.plan, atol=1e-6)


def test_not_above_the_usual_single_start() -> None:
    """The best of several starts is never above POT's own start, and on some pairs well below it."""
    gains = []
    for seed in range(6):
        x, y = cloud(20, 3, seed), cloud(20, 3, seed + 50)
        usual = np.sqrt(ot.gromov.gromov_wasserstein2(scaled(x), scaled(y)))
        gains.append(usual - gromov_wasserstein(x, y))
    assert min(gains) > -1e-7
    assert max(gains) > 0.01


@pytest.mark.parametrize(("n", "p"), [(10, 3), (40, 5), (15, 60)])
def test_rotated_scaled_shifted_and_shuffled_is_zero(n: int, p: int) -> None:
    """A cloud and its moved, shuffled copy have distance 0, and the plan finds every partner."""
    x = cloud(n, p)
    order = np.random.default_rng(1).permutation(n)
    moved = 3.0 * x @ rotation(p) + cloud(1, p, 2)
    assert gromov_wasserstein(x, moved) < 1e-12
    result = align_stimuli(x, moved[order])
    assert result.value < 1e-12
    np.testing.assert_array_equal(order[np.argmax(result.plan, axis=1)], np.arange(n))
    assert align_stimuli(x, moved).accuracy == 1.0


def test_symmetric_configurations_are_at_distance_zero_of_themselves() -> None:
    """Where all rows look alike from their distances (polygon, simplex, grid) the value is still 0."""
    angle = 2 * np.pi * np.arange(12) / 12
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    grid = np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2)
    for shape in (ring, np.eye(8), grid):
        moved = shape @ rotation(shape.shape[1], 3)
        assert gromov_wasserstein(shape, moved) < 1e-7


def test_planted_matching_under_noise() -> None:
    """A noisy copy is matched far above chance without its pairing; an unrelated one at chance."""
    x = cloud(40, 8)
    noisy = align_stimuli(x, x + 0.1 * cloud(40, 8, 1))
    unrelated = align_stimuli(x, cloud(40, 8, 2))
    assert noisy.accuracy is not None
    assert unrelated.accuracy is not None
    assert noisy.accuracy > 0.8
    assert unrelated.accuracy < 0.2
    assert noisy.value < 0.5 * unrelated.value
    assert noisy.spread == pytest.approx(np.ptp(noisy.start_values))
    assert noisy.value == noisy.start_values.min()


@pytest.mark.parametrize("entropic", [None, 0.5])
def test_the_order_of_rows_does_not_matter(entropic: float | None) -> None:
    """Rows of either side may be permuted: the value stays, and the plan is permuted with them."""
    x, y = cloud(15, 3), cloud(15, 4, 1)
    rng = np.random.default_rng(2)
    first, second = rng.permutation(15), rng.permutation(15)
    a = align_stimuli(x, y, entropic=entropic, n_restarts=2)
    b = align_stimuli(x[first], y[second], entropic=entropic, n_restarts=2)
    assert b.value == pytest.approx(a.value, rel=1e-9)
    np.testing.assert_allclose(b.plan, a.plan[np.ix_(first, second)], atol=1e-9)
    # an RDM comparison by position does see it
    assert not np.isclose(np.mean(scaled(x) * scaled(y)), np.mean(scaled(x[first]) * scaled(y)))


def test_what_must_not_be_invariant() -> None:
    """A general linear map changes the value, and so does one factor without normalisation."""
    x, y = cloud(15, 3), cloud(15, 3, 1)
    value = gromov_wasserstein(x, y)
    assert abs(gromov_wasserstein(x * [1.0, 1.0, 40.0], y) - value) > 0.01
    raw = gromov_wasserstein(x, y, normalise="none")
    assert raw > 0
    assert gromov_wasserstein(2 * x, 2 * y, normalise="none") == pytest.approx(2 * raw, rel=1e-6)
    assert gromov_wasserstein(2 * x, 2 * y, normalise="none", squared=True) == pytest.approx(
        4 * raw**2, rel=1e-6
    )


@pytest.mark.parametrize("normalise", ["rms", "mean", "max"])
def test_normalisations(normalise: str) -> None:
    """Each normalisation is free of scale; rms keeps the value below the root of 2."""
    x, y = cloud(12, 3), cloud(12, 5, 1)
    value = gromov_wasserstein(x, y, normalise=normalise, n_restarts=8)
    assert gromov_wasserstein(7.0 * x, 1e-3 * y, normalise=normalise, n_restarts=8) == pytest.approx(value)
    one_far = np.zeros((12, 1))
    one_far[0] = 1.0
    assert gromov_wasserstein(one_far, x) < np.sqrt(2)


def test_random_starts_have_exact_margins() -> None:
    """Where scaling of rows and columns is slow a start is still a plan, which POT insists on."""

    class Uneven:
        def exponential(self, size: tuple[int, int]) -> np.ndarray:
            return np.array([[1.0, 1e-9, 1e-9], [1.0, 1e-9, 1e-9], [1.0, 1.0, 1.0]])

    plan = _random_coupling(3, 3, Uneven())  # type: ignore[arg-type]
    for axis in (0, 1):
        np.testing.assert_allclose(plan.sum(axis=axis), 1 / 3, rtol=1e-12)


@pytest.mark.parametrize("n", [12, 17])
@pytest.mark.parametrize("entropic", [None, 0.1])
def test_symmetric_to_the_last_digit(n: int, entropic: float | None) -> None:
    """With few starts, which end in local minima, x and y may still change places."""
    for seed in range(2):
        x, y = cloud(12, 3, seed), cloud(n, 5, seed + 30)
        there, back = (align_stimuli(*pair, n_restarts=1, entropic=entropic) for pair in ((x, y), (y, x)))
        assert there.value == back.value
        np.testing.assert_array_equal(there.start_values, back.start_values)
        np.testing.assert_array_equal(there.plan, back.plan.T)


@pytest.mark.parametrize("factor", [1e-200, 1e200, 1e-310])
def test_size_of_the_input(factor: float) -> None:
    """Very large and very small responses give the value of ordinary ones."""
    x, y = cloud(10, 3), cloud(10, 4, 1)
    expected = gromov_wasserstein(x, y)
    assert gromov_wasserstein(factor * x, y) == pytest.approx(
        expected, rel=1e-3 if factor == 1e-310 else 1e-9
    )


@pytest.mark.parametrize("distance", ["euclidean", "sq_euclidean", "correlation", "cosine"])
def test_each_distance_is_that_of_scipy(distance: str) -> None:
    """The value of the found plan is the loss of scipy's distances under it."""
    x, y = cloud(8, 5) + 1.0, cloud(8, 6, 1) + 1.0
    result = align_stimuli(x, y, distance=distance, squared=True)
    name = {"sq_euclidean": "sqeuclidean"}.get(distance, distance)
    a, b = (squareform(pdist(v, name)) for v in (x, y))
    a, b = (d / np.sqrt(np.mean(d**2)) for d in (a, b))
    assert result.value == pytest.approx(gromov_loss(a, b, result.plan), rel=1e-9)


def test_entropic_plans_are_those_of_pot_and_smooth() -> None:
    """From the same start the plan is POT's, its margins are exact, and entropy spreads it."""
    a, b = scaled(cloud(12, 3)), scaled(cloud(9, 3, 1))
    start = np.full((12, 9), 1 / 108)
    plan = entropic_plan(a, b, start, 1.0)
    expected = ot.gromov.entropic_gromov_wasserstein(a, b, epsilon=1.0, symmetric=True, tol=1e-9, G0=start)
    np.testing.assert_allclose(plan, expected, atol=1e-7)
    unfinished = entropic_plan(a, b, start, 0.001)
    np.testing.assert_allclose(unfinished.sum(axis=1), 1 / 12, rtol=1e-9)
    np.testing.assert_allclose(unfinished.sum(axis=0), 1 / 9, rtol=1e-9)
    exact, smooth = (
        align_stimuli(cloud(12, 3), cloud(9, 3, 1), entropic=e, n_restarts=1) for e in (None, 0.5)
    )
    assert np.count_nonzero(smooth.plan > 1e-6) > 2 * np.count_nonzero(exact.plan > 1e-6)
    assert smooth.value >= exact.value - 1e-9


def test_different_numbers_of_stimuli_and_integers() -> None:
    """Clouds of different size and integer input are matched; the accuracy has no meaning there."""
    x = np.array([[0], [1], [5], [9]])
    doubled = np.repeat(x, 2, axis=0)
    result = align_stimuli(x, doubled)
    assert result.value < 1e-7
    assert result.plan.shape == (4, 8)
    assert result.accuracy is None
    np.testing.assert_allclose(result.plan.sum(axis=0), 1 / 8)


def test_responses_are_brought_to_one_order_for_the_accuracy() -> None:
    """Responses with the same stimuli in another order are paired by id; other stimuli are not paired."""
    x = cloud(10, 4)

    def responses(values: np.ndarray, ids: list[str]) -> Responses:
        samples = pd.DataFrame({"stimulus_id": ids}, index=pd.Index([f"r{i}" for i in ids], name="sample_id"))
        return Responses(values=values, samples=samples, info={"design": "trials"})

    ids = [f"s{i}" for i in range(10)]
    a, b = responses(x, ids), responses(x[::-1].copy(), ids[::-1])
    assert align_stimuli(a, b).accuracy == 1.0
    c = responses(x, [f"t{i}" for i in range(10)])
    assert align_stimuli(a, c).accuracy is None
    with pytest.raises(AlignmentError, match="one of x and y is Responses and the other a plain array"):
        align_stimuli(a, x)


def test_undefined_values_are_nan_with_the_reason() -> None:
    """No variance, or a distance that is not defined, is NaN with a warning that names the side."""
    x = cloud(6, 3)
    with pytest.warns(UserWarning, match="gromov_wasserstein is NaN: y does not vary over stimuli"):
        result = align_stimuli(x, np.full((6, 2), 0.1))
    assert np.isnan(result.value)
    assert np.isnan(result.plan).all()
    assert result.accuracy is not None
    assert np.isnan(result.accuracy)
    x[2] = 1.0
    with pytest.warns(UserWarning, match="x has a stimulus without a correlation distance"):
        assert np.isnan(gromov_wasserstein(x, cloud(6, 3, 1), distance="correlation"))


def test_canonical_order_keeps_ties_in_place() -> None:
    """Rows whose distances tie but for rounding stay in their order."""
    d = scaled(np.eye(5)) * (1 + 1e-14 * np.random.default_rng(0).normal(size=(5, 5)))
    np.testing.assert_array_equal(canonical_order(d), np.arange(5))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"distance": "euclid"}, "distance='euclid' is not one of .* closest: 'euclidean'"),
        ({"normalise": "sum"}, "normalise='sum' is not one of"),
        ({"n_restarts": -1}, "n_restarts=-1; expected a whole number of at least 0"),
        ({"entropic": 0.0}, "entropic=0.0; expected a number above 0"),
    ],
)
def test_wrong_options(options: dict[str, object], match: str) -> None:
    """Each wrong option is refused with what was expected."""
    with pytest.raises(InputError, match=match):
        gromov_wasserstein(cloud(5, 2), cloud(5, 2, 1), **options)  # type: ignore[arg-type]


def test_too_few_stimuli_and_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stimuli always agree, so they are refused; without POT the extra is named."""
    with pytest.raises(ShapeError, match="x has 2 stimuli; Gromov-Wasserstein needs at least 3"):
        gromov_wasserstein(cloud(2, 2), cloud(2, 2, 1))
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(MissingDependencyError, match=r"brainalign\[transport\]"):
        gromov_wasserstein(cloud(5, 2), cloud(5, 2, 1))
