"""The neighbour search against a full sort: ties, tiles, scales, and what has no neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison import _nearest
from brainalign.comparison._nearest import products_at, search, unit_rows
from brainalign.comparison.neighbours import nearest_neighbours
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 7)) + 0.5


def sorted_fully(x: np.ndarray, k: int, metric: str = "cosine") -> np.ndarray:
    """A stable sort of all cosines, so that the lowest index comes first among equal ones."""
    rows = x / np.linalg.norm(x, axis=1, keepdims=True) if metric == "cosine" else x / np.abs(x).max()
    products = np.round(rows @ rows.T, 11)
    np.fill_diagonal(products, -np.inf)
    return np.argsort(-products, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("metric", ["cosine", "inner_product"])
@pytest.mark.parametrize("k", [1, 10, 58])
def test_against_a_full_sort(k: int, metric: str) -> None:
    """The nearest stimuli are those of a full sort, in its order."""
    np.testing.assert_array_equal(nearest_neighbours(X, k=k, metric=metric), sorted_fully(X, k, metric))


def test_tiles_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 7 rows and 5 columns, fewer than neighbours, find what one tile finds; repeats included."""
    x = np.concatenate([X, X[:9]])
    whole = search(unit_rows(x), 8)
    monkeypatch.setattr(_nearest, "_ROWS", 7)
    monkeypatch.setattr(_nearest, "_COLUMNS", 5)
    monkeypatch.setattr(_nearest, "_GATHERED", 50)
    tiled = search(unit_rows(x), 8)
    np.testing.assert_array_equal(tiled.indices, whole.indices)
    np.testing.assert_array_equal(whole.indices, sorted_fully(x, 8))
    assert tiled.n_settled == whole.n_settled
    rows = unit_rows(x)
    expected = np.take_along_axis(rows @ rows.T, whole.indices, axis=1)
    np.testing.assert_allclose(products_at(rows, whole.indices), expected, atol=1e-15)


def test_equal_cosines_go_to_the_lowest_index_after_a_rotation_too() -> None:
    """Rounding of a rotation does not order four equal directions; the index does."""
    x = np.repeat(RNG.normal(size=(6, 5)), 4, axis=0) * RNG.uniform(1, 2, size=(24, 1))
    rotated = x @ np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    near = nearest_neighbours(x, k=3)
    np.testing.assert_array_equal(near[:4], [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    np.testing.assert_array_equal(nearest_neighbours(rotated, k=3), near)


@pytest.mark.parametrize("factor", [1e-300, 1e-200, 1e200, 1e300])
@pytest.mark.parametrize("metric", ["cosine", "inner_product"])
def test_extreme_scales(factor: float, metric: str) -> None:
    """Values of 1e-300 and 1e300 have the neighbours of their unit scale."""
    np.testing.assert_array_equal(
        nearest_neighbours(X * factor, k=5, metric=metric), nearest_neighbours(X, k=5, metric=metric)
    )


def test_cosine_takes_rows_of_any_length_and_inner_product_does_not() -> None:
    """One factor for each stimulus leaves cosine neighbours alone, and moves those by inner product."""
    stretched = X * np.geomspace(1e-3, 1e3, len(X))[:, None]
    np.testing.assert_array_equal(nearest_neighbours(stretched, k=5), nearest_neighbours(X, k=5))
    by_product = nearest_neighbours(stretched, k=5, metric="inner_product")
    assert not np.array_equal(by_product, nearest_neighbours(X, k=5, metric="inner_product"))


def test_integers_and_float32() -> None:
    """Integer and float32 responses are searched in float64."""
    counts = RNG.integers(1, 50, size=(30, 12))
    np.testing.assert_array_equal(nearest_neighbours(counts, k=4), sorted_fully(counts.astype(float), 4))
    np.testing.assert_array_equal(
        nearest_neighbours(X.astype(np.float32), k=4),
        nearest_neighbours(X.astype(np.float32).astype(float), k=4),
    )


def test_a_stimulus_without_response_has_no_neighbours_and_is_none() -> None:
    """A row of zeros is -1, with a warning, and stands in no other list."""
    x = X.copy()
    x[3] = 0.0
    with pytest.warns(UserWarning, match="neighbours of 1 of 60 stimuli are -1, first in row 3: no response"):
        near = nearest_neighbours(x, k=5)
    assert (near[3] == -1).all()
    others = np.delete(np.arange(60), 3)
    np.testing.assert_array_equal(near[others], others[sorted_fully(x[others], 5)])


def test_all_others_equally_near_is_no_neighbour() -> None:
    """Rows of an identity, a constant, and one unit of one sign single out nobody: all -1."""
    for x in (np.eye(8), np.full((8, 3), 0.1), np.arange(1.0, 9.0)[:, None]):
        with pytest.warns(UserWarning, match="neighbours of 8 of 8 stimuli are -1"):
            assert (nearest_neighbours(x, k=2) == -1).all()


def test_row_order_that_settles_most_neighbours_is_said() -> None:
    """Where the k-th and the next neighbour are equally near for most stimuli, a warning says so."""
    x = np.repeat(RNG.normal(size=(4, 5)), 6, axis=0)
    with pytest.warns(
        UserWarning, match="next neighbour of 24 of 24 stimuli are equally near, and the order"
    ):
        nearest_neighbours(x, k=3)
    nearest_neighbours(x, k=5)  # all of a group: nothing is left to the order


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"k": 59}, InputError, r"k=59 neighbours of 60 stimuli; expected 1 to 58 \(n - 2\)"),
        ({"k": 0}, InputError, "k=0 neighbours of 60 stimuli"),
        ({"k": 2.0}, InputError, "k=2.0 is float; expected a whole number"),
        ({"k": True}, InputError, "k=True is bool; expected a whole number"),
        ({"metric": "cosin"}, InputError, "metric='cosin' is not one of .* closest: 'cosine'"),
        ({"x": X[:2], "k": 1}, ShapeError, "neighbours among 2 stimuli; at least 3 are needed"),
        ({"x": X[0]}, ShapeError, "expected 2 axes"),
        ({"x": np.where(X > 2, np.nan, X)}, InputError, "x has .* values that are not finite"),
    ],
)
def test_errors(arguments: dict[str, object], error: type[Exception], match: str) -> None:
    """Every wrong argument names what was found and what is expected."""
    given = {"x": X, "k": 5, **arguments}
    with pytest.raises(error, match=match):
        nearest_neighbours(given.pop("x"), **given)  # type: ignore[arg-type]


def test_more_stimuli_than_keys_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """More stimuli than the index bits count are refused."""
    monkeypatch.setattr(_nearest, "_MOST_INDEX_BITS", 5)
    with pytest.raises(ShapeError, match="neighbours among 60 stimuli; at most 32 can be searched"):
        nearest_neighbours(X, k=5)
