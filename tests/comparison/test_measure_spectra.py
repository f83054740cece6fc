"""The thin decomposition that the linear measures share, and what their records claim of them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import ortho_group

from brainalign.comparison import _spectra
from brainalign.comparison._measure import INVARIANCES, KINDS, Measure
from brainalign.comparison._measures_linear import MEASURES_LINEAR
from brainalign.comparison._spectra import cross, nuclear_norm, spectrum_of, sum_of_singular_values

RNG = np.random.default_rng(0)
NAMES = [m.name for m in MEASURES_LINEAR]


def ill_conditioned(n: int, p: int, smallest: float) -> np.ndarray:
    """Centred columns whose singular values fall from 1 to `smallest`."""
    centred = RNG.normal(size=(n, p))
    u = np.linalg.svd(centred - centred.mean(axis=0), full_matrices=False)[0][:, : min(n - 1, p)]
    s = np.geomspace(1.0, smallest, u.shape[1])
    v = np.linalg.qr(RNG.normal(size=(p, p)))[0][: u.shape[1]]
    return (u * s) @ v


@pytest.mark.parametrize(("n", "p"), [(30, 4), (30, 30), (8, 40), (30, 1), (2, 3)])
@pytest.mark.parametrize("smallest", [None, 1e-6])
def test_against_the_svd_of_numpy(n: int, p: int, smallest: float | None) -> None:
    """Singular values, directions and the product are those of the centred x, off centre too."""
    x = (RNG.normal(size=(n, p)) if smallest is None else ill_conditioned(n, p, smallest)) + 3.0
    found = spectrum_of(x, vectors=True)
    centred = x - x.mean(axis=0)
    rank = min(n - 1, p)
    assert (found.rank, found.n, found.n_units) == (rank, n, p)
    expected = np.linalg.svd(centred, compute_uv=False)[:rank]
    np.testing.assert_allclose(found.s * found.scale, expected, rtol=1e-8)
    np.testing.assert_allclose(found.u.T @ found.u, np.eye(rank), atol=1e-11)
    np.testing.assert_allclose(found.u.sum(axis=0), 0.0, atol=1e-8)
    assert found.vt is not None
    np.testing.assert_allclose((found.u * found.s) @ found.vt * found.scale, centred, atol=1e-11)
    np.testing.assert_allclose(found.row_norms * found.scale**2, (centred**2).sum(axis=1), atol=1e-11)


def test_ill_conditioned_directions_are_kept_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions of 1e-9 of the largest keep their digits; the Gram route, forced, loses them."""
    x = ill_conditioned(40, 5, 1e-9)
    expected = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    good = spectrum_of(x)
    np.testing.assert_allclose(good.s * good.scale, expected, rtol=1e-6)
    np.testing.assert_allclose(good.u.T @ good.u, np.eye(5), atol=1e-12)
    monkeypatch.setattr(_spectra, "_SAFE_CONDITION", 1e300)
    with np.errstate(all="ignore"):
        bad = spectrum_of(x)
    assert bad.rank < 5 or np.abs(bad.u.T @ bad.u - np.eye(bad.rank)).max() > 1e-6


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_rank_counts_directions_not_units(offset: float) -> None:
    """Duplicated, combined and constant units add no direction, far off centre too."""
    x = RNG.normal(size=(40, 3))
    wide = np.column_stack([x, x[:, 0], x @ [1.0, 2.0, 3.0], np.full(40, 0.1), np.full(40, 1e8)]) + offset
    assert spectrum_of(wide).rank == 3
    assert spectrum_of(wide[:3]).rank == 2
    assert spectrum_of(np.repeat(x[:5], 4, axis=0)).rank == 3
    assert spectrum_of(np.eye(6, dtype=np.int64)).rank == 5


@pytest.mark.parametrize("x", [np.zeros((5, 3)), np.full((7, 2), 0.1), np.ones((1, 4)), np.full((6, 9), 1e8)])
def test_no_variance_has_rank_zero(x: np.ndarray) -> None:
    """A side that does not vary has no direction and a norm of zero."""
    found = spectrum_of(x)
    assert (found.rank, found.square_norm, found.scale) == (0, 0.0, 1.0)
    assert nuclear_norm(found, found, cross(found, found)) == 0.0


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_scale_of_the_input_only_moves_scale(factor: float) -> None:
    """Values of 1e-200 and 1e200 have the singular values of their shape."""
    x = RNG.normal(size=(12, 5))
    plain, scaled = spectrum_of(x), spectrum_of(x * factor)
    np.testing.assert_allclose(scaled.s, plain.s, rtol=1e-12)
    assert scaled.scale == pytest.approx(plain.scale * factor, rel=1e-12)


def test_nuclear_norm_and_truncation() -> None:
    """The nuclear norm is that of the product of the centred sides; `leading` keeps the first."""
    x, y = RNG.normal(size=(20, 30)), RNG.normal(size=(20, 4))
    a, b = spectrum_of(x), spectrum_of(y, vectors=True)
    value = nuclear_norm(a, b, cross(a, b)) * a.scale * b.scale
    expected = np.linalg.norm((x - x.mean(0)).T @ (y - y.mean(0)), "nuc")
    assert value == pytest.approx(expected, rel=1e-12)
    kept = b.leading(2)
    assert kept.vt is not None
    assert (kept.rank, kept.u.shape, kept.vt.shape) == (2, (20, 2), (2, 4))


def value_of(measure: Measure, x: np.ndarray, y: np.ndarray) -> float:
    """The value of the measure; two folds in place of five where it has folds."""
    return measure.function(x, y, **({"cv": 2} if "cv" in measure.options else {}))


def transformed(x: np.ndarray, what: str) -> np.ndarray:
    """One of the maps that a measure may be invariant to, far from the identity."""
    rng = np.random.default_rng(7)
    p = x.shape[1]
    if what == "rotation":
        return x @ ortho_group.rvs(p, random_state=7)
    if what == "linear":
        return x @ (rng.normal(size=(p, p)) + np.diag(np.geomspace(0.1, 10.0, p)))
    if what == "permutation":
        return x[:, rng.permutation(p)]
    return 3.7 * x if what == "scale" else x + rng.normal(size=p) * 5.0


@pytest.mark.parametrize("what", INVARIANCES)
@pytest.mark.parametrize("measure", MEASURES_LINEAR, ids=NAMES)
def test_invariances_hold_and_fail_as_declared(measure: Measure, what: str) -> None:
    """A declared invariance holds on both sides; one that is not declared fails on at least one."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 5)) * np.array([5.0, 3.0, 1.0, 0.5, 0.2])
    y = x @ rng.normal(size=(5, 4)) + rng.normal(size=(60, 4))
    value = value_of(measure, x, y)
    changes = [value_of(measure, transformed(x, what), y), value_of(measure, x, transformed(y, what))]
    moved = max(abs(v - value) for v in changes)
    assert (moved < 1e-7) == (what in measure.invariances)
    assert moved < 1e-7 or moved > 1e-4


@pytest.mark.parametrize("measure", MEASURES_LINEAR, ids=NAMES)
def test_identity_symmetry_range_and_stimulus_order(measure: Measure) -> None:
    """Equal systems have the best value; order of sides and of stimuli matters only where declared."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 3))
    y += x[:, :3]
    assert measure.kind in KINDS
    assert measure.invariances <= set(INVARIANCES)
    best = 0.0 if measure.kind == "distance" else 1.0
    assert value_of(measure, x, x) == pytest.approx(best, abs=1e-7)
    forth, back = value_of(measure, x, y), value_of(measure, y, x)
    assert (abs(forth - back) < 1e-12) == measure.symmetric
    assert measure.range[0] <= min(forth, back) <= max(forth, back) <= measure.range[1]
    if measure.name != "linear_predictivity":  # its folds follow the rows
        order = rng.permutation(40)
        assert value_of(measure, x[order], y[order]) == pytest.approx(forth, abs=1e-10)
    single = value_of(measure, x.astype(np.float32).astype(float), y.astype(np.float32).astype(float))
    assert single == pytest.approx(forth, abs=1e-5)


@pytest.mark.parametrize("factors", [(1e-200, 1e200), (1e200, 1e-200)])
@pytest.mark.parametrize(
    "measure", [m for m in MEASURES_LINEAR if "scale" in m.invariances], ids=lambda m: m.name
)
def test_extreme_scales(measure: Measure, factors: tuple[float, float]) -> None:
    """Units of 1e-200 and 1e200 neither overflow nor count as zero."""
    x = np.random.default_rng(2).normal(size=(30, 4))
    y = x[:, ::-1] + np.random.default_rng(4).normal(size=(30, 4))
    value = value_of(measure, x * factors[0], y * factors[1])
    assert value == pytest.approx(value_of(measure, x, y), abs=1e-10)


@pytest.mark.parametrize("measure", [m for m in MEASURES_LINEAR if m.represent], ids=lambda m: m.name)
def test_represented_sides_give_the_value(measure: Measure) -> None:
    """The value of the two represented sides is that of the function, for each form."""
    x, y = RNG.normal(size=(25, 6)), RNG.normal(size=(25, 3))
    assert measure.represent is not None
    assert measure.between is not None
    forms: list[dict[str, bool]] = [{}]
    if "debiased" in measure.options:
        forms = [{"debiased": True}, {"debiased": False}]
    for form in forms:
        value = measure.between(measure.represent(x, **form), measure.represent(y, **form))
        assert value == pytest.approx(measure.function(x, y, **form), abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES_LINEAR, ids=NAMES)
def test_awkward_shapes_are_defined(measure: Measure) -> None:
    """One unit, more units than stimuli and duplicated stimuli give a finite value in range."""
    x, y = RNG.normal(size=(20, 1)), RNG.normal(size=(20, 50))
    doubled = np.repeat(y[:10], 2, axis=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*the value means nothing.*")
        values = [value_of(measure, x, y), value_of(measure, y, x), value_of(measure, doubled, x)]
    assert np.isfinite(values).all()
    assert measure.range[0] <= min(values) <= max(values) <= measure.range[1]


@pytest.mark.parametrize("kind", ["flat", "steep", "wide", "rank one", "zero", "huge"])
def test_the_sum_of_singular_values_is_that_of_the_svd(kind: str) -> None:
    """Eigenvalues of the Gram matrix give it to 1e-10, and steep spectra are left to the SVD."""
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(30, 20))
    matrix = {
        "flat": matrix,
        "steep": matrix * 0.2 ** np.arange(20.0),
        "wide": matrix.T,
        "rank one": np.outer(matrix[:, 0], matrix[0]),
        "zero": 0.0 * matrix,
        "huge": 1e200 * matrix,
    }[kind]
    expected = float(np.linalg.svd(matrix, compute_uv=False).sum())
    assert sum_of_singular_values(matrix) == pytest.approx(expected, rel=1e-10, abs=1e-300)
