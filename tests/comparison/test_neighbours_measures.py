"""Neighbour measures against sets and the authors' programs, their chance values, and degenerate input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import hypergeom

from brainalign.comparison._measures_neighbours import MEASURES_NEIGHBOURS
from brainalign.comparison.cka import linear_cka
from brainalign.comparison.neighbours import (
    cknna,
    cknna_of,
    jaccard,
    jaccard_of,
    mutual_knn,
    mutual_knn_of,
    nearest_neighbours,
    rank_similarity,
    rank_similarity_of,
    second_order_cosine,
    second_order_cosine_of,
)
from brainalign.errors import InputError, ShapeError
from brainalign.simulate import feature_bias
from brainalign.types import Responses

RNG = np.random.default_rng(1)
X = RNG.normal(size=(50, 6)) + 0.3
Y = X @ RNG.normal(size=(6, 9)) + 1.5 * RNG.normal(size=(50, 9))
ALL = {m.name: m for m in MEASURES_NEIGHBOURS if m.family == "neighbours"}
OF_LISTS = {"mutual_knn": mutual_knn_of, "jaccard": jaccard_of, "rank_similarity": rank_similarity_of}


def cosines(x: np.ndarray) -> np.ndarray:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def ranked(x: np.ndarray, k: int) -> np.ndarray:
    near = cosines(x)
    np.fill_diagonal(near, -np.inf)
    return np.argsort(-near, axis=1, kind="stable")[:, :k]


def by_sets(name: str, x: np.ndarray, y: np.ndarray, k: int) -> float:
    """Each measure as it is written, one stimulus after the other."""
    near_x, near_y = ranked(x, k).tolist(), ranked(y, k).tolist()
    cos_x, cos_y = cosines(x), cosines(y)
    values = []
    for i, (a, b) in enumerate(zip(near_x, near_y, strict=True)):
        both, either = sorted(set(a) & set(b)), sorted(set(a) | set(b))
        if name == "mutual_knn":
            values.append(len(both) / k)
        elif name == "jaccard":
            values.append(len(both) / len(either))
        elif name == "second_order_cosine":
            u, v = cos_x[i, either], cos_y[i, either]
            values.append(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
        else:
            ranks = [(a.index(j) + 1, b.index(j) + 1) for j in both]
            best = sum(1 / r for r in range(1, len(both) + 1)) or 1.0
            values.append(sum(2 / ((1 + abs(r - s)) * (r + s)) for r, s in ranks) / best)
    return float(np.mean(values))


def mask(x: np.ndarray, k: int) -> np.ndarray:
    out = np.zeros((len(x), len(x)))
    np.put_along_axis(out, ranked(x, k), 1.0, axis=1)
    return out


def cknna_in_full(x: np.ndarray, y: np.ndarray, k: int, *, debiased: bool) -> float:
    """Dense centred kernels, then the mask of the common neighbours."""
    n = len(x)
    centred = []
    for kernel in (cosines(x), cosines(y)):
        if debiased:
            np.fill_diagonal(kernel, 0.0)
            sums = kernel.sum(axis=1)
            kernel = kernel - sums[:, None] / (n - 2) - sums / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
        else:
            h = np.eye(n) - 1 / n
            kernel = h @ kernel @ h
        centred.append(kernel)
    a, b = mask(x, k) * centred[0], mask(y, k) * centred[1]
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def cknna_of_the_authors(x: np.ndarray, y: np.ndarray, k: int) -> float:
    """Kernels masked first, the U-statistic of the masked kernels second, as the published program does."""
    n = len(x)

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        cross = np.trace(a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 * (a @ b).sum() / (n - 2)
        return float(cross) / (n * (n - 3))

    a, b, first, second = mask(x, k), mask(y, k), cosines(x), cosines(y)
    own = hsic(a * first, a * first) * hsic(b * second, b * second)
    return hsic(a * b * first, a * b * second) / np.sqrt(own)


@pytest.mark.parametrize("k", [1, 4, 10, 48])
@pytest.mark.parametrize("name", ["mutual_knn", "jaccard", "second_order_cosine", "rank_similarity"])
def test_against_sets(name: str, k: int) -> None:
    """Each measure is the mean over stimuli of its definition on Python sets and lists."""
    assert ALL[name].function(X, Y, k=k) == pytest.approx(by_sets(name, X, Y, k), abs=1e-13)


@pytest.mark.parametrize("k", [1, 10, 48])
@pytest.mark.parametrize("debiased", [True, False])
def test_cknna_against_dense_kernels(k: int, debiased: bool) -> None:
    """The kernel at the neighbours alone gives what dense centred and masked kernels give."""
    expected = cknna_in_full(X, Y, k, debiased=debiased)
    assert cknna(X, Y, k=k, debiased=debiased) == pytest.approx(expected, abs=1e-12)


def test_cknna_over_all_neighbours_is_debiased_cka() -> None:
    """With every other stimulus in both lists it is the debiased linear CKA of rows of length one."""
    every = np.array([[j for j in range(50) if j != i] for i in range(50)])
    rows = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (X, Y)]
    assert cknna_of(X, Y, every, every) == pytest.approx(linear_cka(*rows), abs=1e-12)


def test_cknna_of_the_authors_is_not_symmetric_and_exceeds_one() -> None:
    """The published order (mask, then centre) is close for small k, depends on which system is named
    first, and exceeds 1 for a noisy copy; ours is symmetric and bounded."""
    x, y = RNG.normal(size=(2, 100, 50))
    assert cknna(x, y) == pytest.approx(cknna_of_the_authors(x, y, 10), abs=0.03)
    rng = np.random.default_rng(3)
    highest, swapped = 0.0, 0.0
    for _ in range(150):
        n = int(rng.integers(12, 30))
        x = rng.normal(size=(n, 3)) + 2 * rng.normal()
        y = x + 0.2 * rng.normal(size=x.shape)
        k = n * 2 // 3
        with np.errstate(invalid="ignore"):
            theirs = cknna_of_the_authors(x, y, k)
            swapped = max(swapped, np.nan_to_num(abs(theirs - cknna_of_the_authors(y, x, k))))
        highest = max(highest, np.nan_to_num(theirs))
        ours = cknna(x, y, k=k)
        assert ours == pytest.approx(cknna(y, x, k=k), abs=1e-12)
        assert -1 <= ours <= 1
    assert highest > 1.01
    assert swapped > 0.01


def test_second_order_cosine_is_of_similarities_not_of_distances() -> None:
    """Distances in place of cosines, as one program has them, call unrelated systems nearly equal."""
    x, y = RNG.normal(size=(2, 100, 50))
    near_x, near_y = ranked(x, 10), ranked(y, 10)
    far_x, far_y = 1 - cosines(x), 1 - cosines(y)
    of_distances = []
    for i in range(100):
        either = sorted(set(near_x[i]) | set(near_y[i]))
        u, v = far_x[i, either], far_y[i, either]
        of_distances.append(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    assert np.mean(of_distances) > 0.9
    assert abs(second_order_cosine(x, y)) < 0.2


@pytest.mark.parametrize("p", [5, 500])
def test_chance_for_unrelated_systems(p: int) -> None:
    """The chance values that the records state, n = 100 and k = 10: the overlap is hypergeometric."""
    rng = np.random.default_rng(p)
    names = list(ALL)
    values = np.array(
        [[ALL[m].function(*rng.normal(size=(2, 100, p))) for m in names] for _ in range(12)]
    ).mean(axis=0)
    shared = np.arange(11)
    chances = hypergeom(99, 10, 10).pmf(shared)
    expected = {
        "mutual_knn": 10 / 99,
        "jaccard": float(chances @ (shared / (20 - shared))),
        "cknna": 0.095,
        "rank_similarity": 0.065,
        "second_order_cosine": -0.08,
    }
    assert expected["jaccard"] == pytest.approx(0.055, abs=0.002)
    for name, value in zip(names, values, strict=True):
        assert value == pytest.approx(expected[name], abs=0.015), name


def test_chance_of_mutual_knn_over_a_thousand_stimuli() -> None:
    """Chance is k / (n - 1), 0.0100 at n = 1000; identity is 1; rotation and scale change nothing."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1000, 40))
    near_x, near_y = nearest_neighbours(x), nearest_neighbours(y)
    assert mutual_knn_of(near_x, near_y) == pytest.approx(0.0100, abs=0.002)
    assert mutual_knn_of(near_x, near_x) == 1.0
    rotation = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    assert mutual_knn_of(nearest_neighbours(7.0 * x @ rotation), near_x) == 1.0


@pytest.mark.parametrize("name", ALL)
def test_feature_bias(name: str) -> None:
    """Two systems of the same two features with opposite strengths, and one of the easy feature alone:
    neighbours, other than RDMs (0.2 against 0.99), see more in common where both features are."""
    opposite, easy = [], []
    for seed in range(3):
        a, b, c = feature_bias([(0.55, 0.05), (0.05, 0.55), (0.6, 0.0)], random_state=seed)
        opposite.append(ALL[name].function(a, b))
        easy.append(ALL[name].function(a, c))
    expected = {
        "mutual_knn": (0.200, 0.107),
        "cknna": (0.200, 0.106),
        "jaccard": (0.117, 0.059),
        "rank_similarity": (0.100, 0.072),
        "second_order_cosine": (0.998, 0.993),
    }[name]
    assert (np.mean(opposite), np.mean(easy)) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("name", ALL)
def test_invariances_that_hold_and_that_do_not(name: str) -> None:
    """Rotation, scale, order of units and stimuli leave the value; a shift or a linear map does not."""
    function: Callable[..., float] = ALL[name].function
    value = function(X, Y)
    rotation = np.linalg.qr(RNG.normal(size=(9, 9)))[0]
    order = RNG.permutation(50)
    for same in (Y @ rotation, Y * 1e-200, Y * 1e200, Y[:, ::-1], Y * RNG.uniform(0.5, 2.0, size=(50, 1))):
        assert function(X, same) == pytest.approx(value, abs=1e-12)
        assert function(same, X) == pytest.approx(value, abs=1e-12)
    assert function(X[order], Y[order]) == pytest.approx(value, abs=1e-12)
    assert function(Y, Y) == pytest.approx(1.0, abs=1e-12)
    assert ALL[name].range[0] <= value < 0.99
    assert function(X, Y[order]) < value - 0.05
    for other in (Y + 3.0, Y @ np.diag(np.geomspace(0.05, 20.0, 9))):
        assert abs(function(X, other) - value) > 0.005
    assert {"rotation", "scale", "permutation"} == ALL[name].invariances


@pytest.mark.parametrize("name", ALL)
def test_widths_repeats_float32_and_integers(name: str) -> None:
    """More units than stimuli, repeats, constant units and integers have a value; float32 keeps it."""
    function: Callable[..., float] = ALL[name].function
    wide = RNG.normal(size=(50, 400))
    assert np.isfinite(function(X, wide))
    twice = np.concatenate([X, X[:12]])
    assert function(twice, np.hstack([twice, np.zeros((62, 1))])) == pytest.approx(1.0, abs=1e-12)
    assert np.isfinite(function(RNG.integers(0, 9, size=(50, 8)), Y))
    single = function(X.astype(np.float32), Y.astype(np.float32))
    assert single == pytest.approx(function(X, Y), abs=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_degenerate_systems_are_nan_with_the_reason(name: str) -> None:
    """A stimulus without response, a constant system, one unit of one sign: NaN and why, on either side."""
    function: Callable[..., float] = ALL[name].function
    silent = Y.copy()
    silent[7] = 0.0
    with pytest.warns(
        UserWarning, match=f"{name} is NaN: 1 of 50 stimuli of y have no nearest.* first row 7"
    ):
        assert np.isnan(function(X, silent))
    for empty in (np.full((50, 3), 0.1), np.linspace(1, 2, 50)[:, None], np.eye(50)):
        with pytest.warns(UserWarning, match=f"{name} is NaN: 50 of 50 stimuli of x"):
            assert np.isnan(function(empty, Y))


RING = np.array([[(i + 1) % 6, (i + 2) % 6] for i in range(6)])


def test_orthogonal_neighbours_have_no_second_order_cosine() -> None:
    """A stimulus that is orthogonal to all its neighbours has no vector of cosines: NaN, rotated too."""
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    for x in (np.eye(6), rotation, 1e-200 * rotation):
        with pytest.warns(
            UserWarning, match="NaN: 6 of 6 stimuli of y are orthogonal to all their neighbours"
        ):
            assert np.isnan(second_order_cosine_of(RNG.normal(size=(6, 3)), x, RING, RING))


def test_centred_cosines_of_zero_have_no_cknna() -> None:
    """Neighbours that are no nearer than any other stimulus leave nothing to align: NaN, rotated too."""
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    for x in (np.eye(6), rotation):
        with pytest.warns(UserWarning, match="cknna is NaN: the centred cosines of x are zero for all"):
            assert np.isnan(cknna_of(x, RNG.normal(size=(6, 3)), RING, RING))


def test_ties_change_no_more_than_their_share() -> None:
    """With a few repeated rows, a permutation of the stimuli moves mutual_knn by at most the share of
    stimuli whose last place is tied."""
    x = np.concatenate([X, X[:5]])
    y = np.concatenate([Y, Y[:5] + 1e-3])
    value = mutual_knn(x, y)
    near = nearest_neighbours(x, k=11)
    tied = np.isclose(*(cosines(x)[np.arange(55), near[:, j]] for j in (9, 10)), atol=1e-13).mean()
    assert 0 < tied < 0.5
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(55)
        assert abs(mutual_knn(x[order], y[order]) - value) <= tied / 10 + 1e-12


def test_responses_are_joined_by_stimulus() -> None:
    """Responses in another order give the value of the paired arrays."""
    import pandas as pd

    ids = np.array([f"s{i}" for i in range(50)], dtype=object)
    order = RNG.permutation(50)
    a = Responses(X, pd.DataFrame({"stimulus_id": ids}))
    b = Responses(Y[order], pd.DataFrame({"stimulus_id": ids[order]}))
    assert jaccard(a, b) == jaccard(X, Y)
    assert rank_similarity(a, b) == rank_similarity(X, Y)


@pytest.mark.parametrize("name", OF_LISTS)
def test_lists_that_do_not_fit(name: str) -> None:
    """Lists of different k, of no k, or of numbers with decimals are refused by name."""
    near = nearest_neighbours(X, k=4)
    with pytest.raises(ShapeError, match=rf"{name} of neighbours of shapes \(50, 4\) and \(50, 3\)"):
        OF_LISTS[name](near, near[:, :3])
    with pytest.raises(InputError, match=f"{name} of neighbours of dtypes float64 and int64"):
        OF_LISTS[name](near.astype(float), near)


def test_errors_of_the_measures() -> None:
    """Too many neighbours, too few stimuli, and rows that are not those of the lists."""
    near = nearest_neighbours(X, k=4)
    with pytest.raises(InputError, match="k=10 neighbours of 11 stimuli; expected 1 to 9"):
        mutual_knn(X[:11], Y[:11])
    with pytest.raises(ShapeError, match="x has 50 rows and y has 49"):
        mutual_knn(X, Y[:49])
    with pytest.raises(
        ShapeError, match="y has 49 rows and its neighbours have 50; expected the same stimuli"
    ):
        second_order_cosine_of(X, Y[:49], near, near)
    with pytest.raises(ShapeError, match="cknna over 3 stimuli; it needs at least 4"):
        cknna(X[:3], Y[:3], k=1)
