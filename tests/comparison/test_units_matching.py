"""Matching of single units: planted permutations, rotation, held-out nulls, brute force, every error."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison.cka import linear_cka
from brainalign.comparison.unit_matching import (
    best_match,
    bipartite_match,
    match_units,
    matched_correlations,
    unit_correlations,
)
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses


def rotation(seed: int, p: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))[0]


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
@pytest.mark.parametrize("shape", [(20, 3, 5), (8, 12, 4), (3, 1, 1)])
def test_correlations_against_numpy(shape: tuple[int, int, int], scale: float) -> None:
    """The correlations equal numpy's, whatever the scale and the offset of a unit."""
    n, p, q = shape
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, p)) + 5.0, rng.normal(size=(n, q))
    expected = np.corrcoef(x.T, y.T)[:p, p:]
    found = unit_correlations(x * scale, y * np.linspace(1, 9, q))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_a_large_offset_is_no_variance_lost() -> None:
    """A unit that varies by 1e-6 around 1e6 keeps its correlation; one constant at 0.1 has none."""
    rng = np.random.default_rng(0)
    signal = np.round(rng.normal(size=(40, 1)) * 1024) / 2**20
    with pytest.warns(UserWarning, match=r"1 of 2 units of y do not vary over stimuli"):
        r = unit_correlations(signal, np.hstack([signal + 2.0**20, np.full((40, 1), 0.1)]))
    assert r[0, 0] == pytest.approx(1.0, abs=1e-12)
    assert np.isnan(r[0, 1])


def test_tiles_cover_every_unit() -> None:
    """More units than one tile holds give the same best partners as the whole matrix at once."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 1100)), rng.normal(size=(6, 7))
    r = np.corrcoef(x.T, y.T)[:1100, 1100:]
    found = match_units(x, y, method="best")
    np.testing.assert_array_equal(found.pairs[:, 1], r.argmax(axis=1))
    np.testing.assert_allclose(found.r, r.max(axis=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize(("p", "q"), [(4, 4), (3, 5), (5, 3)])
def test_bipartite_against_every_assignment(p: int, q: int, absolute: bool) -> None:
    """The one-to-one score is the best mean r (|r|) over all assignments, tried one by one."""
    rng = np.random.default_rng(p * q)
    x, y = rng.normal(size=(10, p)), rng.normal(size=(10, q))
    r = np.corrcoef(x.T, y.T)[:p, p:]
    r = np.abs(r) if absolute else r
    if p > q:
        r = r.T
    expected = max(
        r[np.arange(len(r)), list(order)].mean() for order in permutations(range(r.shape[1]), len(r))
    )
    assert bipartite_match(x, y, absolute=absolute) == pytest.approx(expected, abs=1e-12)
    assert bipartite_match(y, x, absolute=absolute) == pytest.approx(expected, abs=1e-12)


def test_planted_permutation_and_rotation() -> None:
    """40 permuted units + 0.5 noise: all recovered at r 0.895; a rotation gives 0.32 while CKA stays 1."""
    rng = np.random.default_rng(0)
    x, order = rng.normal(size=(1000, 40)), rng.permutation(40)
    y = x[:, order] + 0.5 * rng.normal(size=x.shape)
    found = match_units(x, y)
    np.testing.assert_array_equal(order[found.pairs[:, 1]], found.pairs[:, 0])
    assert found.score == pytest.approx(0.895, abs=0.005)
    rotated = x @ rotation(1, 40)
    assert bipartite_match(x, rotated) == pytest.approx(0.32, abs=0.02)
    assert linear_cka(x, rotated) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("p", "best", "bipartite"), [(50, 0.22, 0.20), (100, 0.25, 0.23), (500, 0.30, 0.29)])
def test_null_is_biased_on_the_stimuli_that_chose(p: int, best: float, bipartite: float) -> None:
    """Unrelated units score as documented where they are chosen and scored together, and 0 held out."""
    rng = np.random.default_rng(p)
    x, y = rng.normal(size=(2, 100, p))
    assert best_match(x, y) == pytest.approx(best, abs=0.02)
    assert bipartite_match(x, y) == pytest.approx(bipartite, abs=0.02)
    held_out = [f(x, y, cv=4, absolute=p > 50) for f in (best_match, bipartite_match)]
    assert max(np.abs(held_out)) < 0.05


def test_held_out_keeps_a_true_match() -> None:
    """With a true partner the held-out score is the true correlation, negative partners with `absolute`."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 10))
    y = x[:, ::-1] * np.where(np.arange(10) % 2, -1.0, 1.0) + 0.5 * rng.normal(size=x.shape)
    assert best_match(x, y, cv=4, absolute=True) == pytest.approx(0.894, abs=0.02)
    assert bipartite_match(x, y, cv=4, absolute=True) == pytest.approx(0.894, abs=0.02)
    assert best_match(x, y, cv=4) < 0.6


def test_held_out_against_a_loop() -> None:
    """The held-out score equals match_units and matched_correlations fold by fold, and the seed decides."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 24, 5))
    y += x
    order = np.random.default_rng(7).permutation(24)
    expected = []
    for test in np.array_split(order, 3):
        train = np.setdiff1d(np.arange(24), test)
        matching = match_units(x[train], y[train], method="best", absolute=True)
        expected.append(matched_correlations(matching, x[np.sort(test)], y[np.sort(test)]).mean())
    found = best_match(x, y, absolute=True, cv=3, random_state=7)
    assert found == pytest.approx(np.mean(expected), abs=1e-12)
    assert found != best_match(x, y, absolute=True, cv=3, random_state=8)


def test_best_match_has_a_direction() -> None:
    """x inside y scores 1 from x and less from y: the direction is x -> y."""
    y = np.random.default_rng(5).normal(size=(30, 6))
    assert best_match(y[:, :2], y) == pytest.approx(1.0, abs=1e-12)
    assert best_match(y, y[:, :2]) < 0.8


def test_ties_and_duplicates_are_settled() -> None:
    """Of two equal units the first wins in "best", each is used once in "bipartite"."""
    x = np.random.default_rng(6).normal(size=(20, 1))
    twice = np.hstack([x, x])
    assert match_units(twice, twice, method="best").pairs.tolist() == [[0, 0], [1, 0]]
    assert sorted(match_units(twice, twice).pairs[:, 1].tolist()) == [0, 1]


def test_constant_units_are_left_out_and_counted() -> None:
    """Constant units are in no pair and change no score; a side of them alone is NaN with the reason."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 20, 3))
    wide = np.insert(x, 1, 0.3, axis=1)
    with pytest.warns(UserWarning, match="1 of 4 units of x do not vary") as caught:
        found = match_units(wide, y)
    assert caught[0].filename == __file__
    assert found.pairs[:, 0].tolist() == [0, 2, 3]
    for score in (best_match, bipartite_match):
        with pytest.warns(UserWarning, match="1 of 4 units of x do not vary") as caught:
            assert score(wide, y, cv=2) == pytest.approx(score(x, y, cv=2), abs=1e-12)
        assert caught[0].filename == __file__
        with (
            pytest.warns(UserWarning, match="_match is NaN: no unit of y varies"),
            pytest.warns(UserWarning, match="2 of 2 units of y do not vary"),
        ):
            assert np.isnan(score(x, np.ones((20, 2))))
    with pytest.warns(UserWarning, match="do not vary"):
        empty = match_units(x, np.ones((20, 2)))
    assert len(empty.to_frame()) == 0
    assert np.isnan(empty.score)


def test_units_that_vary_in_one_fold_alone() -> None:
    """A spike is left out of the folds where it is constant, with a count; spikes alone are NaN."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(12, 2))
    spike = np.zeros((12, 1))
    spike[0] = 1.0
    with pytest.warns(UserWarning, match=r"3 of 9 pairs have a unit that does not vary over the training or"):
        best_match(np.hstack([x, spike]), x, cv=3)
    with (
        pytest.warns(UserWarning, match="best_match is NaN: no matched pair varies"),
        pytest.warns(UserWarning, match="3 of 3 pairs"),
    ):
        assert np.isnan(best_match(spike, x, cv=3))
    matching = match_units(x, x)
    with pytest.warns(UserWarning, match="1 of 2 pairs are NaN: one of their units does not vary"):
        r = matched_correlations(matching, x * [1.0, 0.0], x)
    assert r[0] == pytest.approx(1.0)
    assert np.isnan(r[1])


def test_frame_and_responses() -> None:
    """Responses are joined by stimulus id, so that another order of rows changes nothing."""
    x = np.random.default_rng(9).integers(0, 50, size=(10, 3))
    order = np.random.default_rng(10).permutation(10)
    ids = np.array([f"s{i}" for i in range(10)])
    a, b = (
        Responses(
            values=(x[rows] * 1.0),
            samples=pd.DataFrame({"stimulus_id": ids[rows]}),
            info={"design": "trials"},
        )
        for rows in (np.arange(10), order)
    )
    frame = match_units(a, b).to_frame()
    assert frame["unit_x"].tolist() == frame["unit_y"].tolist() == [0, 1, 2]
    assert bipartite_match(x, x) == pytest.approx(1.0)


def test_errors() -> None:
    """Every refusal names what was found and what to do."""
    x = np.random.default_rng(11).normal(size=(10, 3))
    with pytest.raises(
        InputError, match=r"method='bestt' is not one of 'bipartite', 'best'; closest: 'best'"
    ):
        match_units(x, x, method="bestt")
    with pytest.raises(ShapeError, match="best_match over 2 stimuli; it needs at least 3"):
        best_match(x[:2], x[:2])
    for cv in (1, 2.5, True, "5"):
        with pytest.raises(InputError, match=r"cv=.*; expected None or a number of folds from 2 on"):
            bipartite_match(x, x, cv=cv)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="cv=4 over 10 stimuli leaves 2 to a test fold.*use at most 3 folds"):
        bipartite_match(x, x, cv=4)
    with pytest.raises(ShapeError, match="x and y have 2 and 3 units; the matching is of 3 and 3"):
        matched_correlations(match_units(x, x), x[:, :2], x)
    with pytest.raises(InputError, match="not finite, first in row 0, unit 1"):
        best_match(np.where(x == x[0, 1], np.nan, x), x)
