"""Every measure keeps what its record says: invariances, symmetry, identity, triangle, range, scale."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_cases import ORDER_COUNTS, SEARCHES, change, related, shape_of, unrelated, value

from brainalign.comparison import MEASURES
from brainalign.errors import InputError, ShapeError

CHANGES = ("rotation", "scale", "translation", "linear", "permutation")
CELLS = [(m, c) for m in MEASURES for c in CHANGES]
SEEDS = st.integers(0, 50)
FEW = settings(max_examples=2, derandomize=True, deadline=None, database=None)
STIMULI = [name for name, m in MEASURES.items() if m.samples == "stimuli"]

ONE_SIDED = {("pwcca", "rotation"): "x", ("pwcca", "linear"): "x", ("linear_predictivity", "rotation"): "y"}
"""Cells that fail on one side alone: the side that decides, since a record speaks of each side."""

SPECIFIED = {
    "nyn-y": "rsa_pearson rsa_spearman rsa_rho_a rsa_tau_a",
    "yyyny": "rsa_whitened_cosine cka cka_biased cka_rbf rv dcor svcca nbs procrustes angular_procrustes "
    "shape gromov_wasserstein rtd imd dsa",
    "yyyyy": "cca",
    "nyyny": "pwcca bipartite_match best_match soft_match",
    "yyy-y": "linear_predictivity",
    "ynyny": "bures rsm_norm",
    "ynnny": "stochastic_shape",
    "yynny": "mutual_knn jaccard second_order_cosine rank_similarity",
}
"""Rotation, scale, translation, linear, permutation as the definitions were tabulated before any code."""

DIFFERS = {
    ("linear_predictivity", "rotation"): "the mean correlation over units of y depends on which units y has; "
    "a rotation of x alone changes nothing",
}
"""Cells in which a record differs from the table, with the reason."""

NOT_TABULATED = {"cknna", "energy_shape", "permutation_procrustes", "ricci"}


def tolerance(measure: str, reference: float) -> float:
    return (1e-5 if measure in SEARCHES else 1e-8) * max(1.0, abs(reference))


def moved(measure: str, name: str, side: str, seed: int) -> tuple[float, float]:
    """The value before and after one change of one side."""
    x, y = related(measure, seed)
    f = change(name, x.shape[-1], seed)
    pair = (f(x), y) if side == "x" else (x, f(y))
    return value(measure, x, y), value(measure, *pair)


@pytest.mark.parametrize("measure", MEASURES)
@FEW
@given(seed=SEEDS)
def test_declared_invariances_hold_on_each_side(measure: str, seed: int) -> None:
    """Nothing that a record declares invariant changes the value, whichever side it is done to."""
    x, y = related(measure, seed)
    before = value(measure, x, y)
    for name in sorted(MEASURES[measure].invariances):
        f = change(name, x.shape[-1], seed)
        for after in (value(measure, f(x), y), value(measure, x, f(y))):
            assert after == pytest.approx(before, abs=tolerance(measure, before)), name


@pytest.mark.parametrize(("measure", "name"), [(m, c) for m, c in CELLS if c not in MEASURES[m].invariances])
def test_what_is_not_declared_changes_the_value(measure: str, name: str) -> None:
    """A planted change that a record does not declare moves the value by more than 1 %."""
    decides = ONE_SIDED.get((measure, name))
    for side in "xy":
        changed = []
        for seed in range(3):
            before, after = moved(measure, name, side, seed)
            changed.append(abs(after - before) / max(abs(before), abs(after)))
        if decides in (None, side):
            assert max(changed) > 0.01
        else:
            assert max(changed) < 1e-8


def test_records_agree_with_the_tabulated_definitions() -> None:
    """The declared invariances are those of the definitions, but for the cells that say why not."""
    seen = set(NOT_TABULATED)
    for cells, names in SPECIFIED.items():
        for name in names.split():
            seen.add(name)
            for invariance, cell in zip(CHANGES, cells, strict=True):
                declared = invariance in MEASURES[name].invariances
                differs = cell != "-" and declared is not (cell == "y")
                assert differs is ((name, invariance) in DIFFERS), (name, invariance)
    assert seen == set(MEASURES)


@pytest.mark.parametrize("measure", MEASURES)
@FEW
@given(seed=SEEDS)
def test_symmetry_identity_and_range(measure: str, seed: int) -> None:
    """The order of x and y is immaterial where declared; x with itself is the end of the range."""
    record = MEASURES[measure]
    x, y = related(measure, seed)
    low, high = record.range
    forth, back = value(measure, x, y), value(measure, y, x)
    if record.symmetric:
        assert forth == pytest.approx(back, abs=tolerance(measure, forth))
    else:
        assert abs(forth - back) > 1e-3
    same = value(measure, x, x)
    if measure == "linear_predictivity":  # on stimuli left out, with a penalty
        assert 0.98 < same <= 1.0
    else:
        assert same == pytest.approx(high if record.kind == "similarity" else 0.0, abs=1e-6)
    for found in (forth, same, value(measure, x, unrelated(measure, seed + 500))):
        assert low <= found <= high
    assert forth < same if record.kind == "similarity" else forth > same


@pytest.mark.parametrize("measure", [name for name, m in MEASURES.items() if m.metric])
@FEW
@given(seed=SEEDS)
def test_metrics_obey_the_triangle(measure: str, seed: int) -> None:
    """No detour over a third system is shorter, for one near both and for unrelated ones."""
    x, z = related(measure, seed)
    rng = np.random.default_rng(seed)
    between = 0.5 * (x + z) + 0.1 * rng.normal(size=x.shape)
    for y in (between, unrelated(measure, seed + 500)):
        detour = value(measure, x, y) + value(measure, y, z)
        assert value(measure, x, z) <= detour * (1 + 1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_single_precision_and_integers_are_computed_in_double(measure: str) -> None:
    """float32 input is float64 arithmetic on the same numbers, and within its rounding of the original."""
    x, y = related(measure, 3)
    single = value(measure, x.astype(np.float32), y.astype(np.float32))
    assert single == value(measure, x.astype(np.float32).astype(float), y.astype(np.float32).astype(float))
    assert single == pytest.approx(value(measure, x, y), rel=1e-4, abs=1e-5)
    whole, other = (np.round(10 * a).astype(np.int64) for a in (x, y))
    assert value(measure, whole, other) == value(measure, whole.astype(float), other.astype(float))


@pytest.mark.parametrize("measure", [name for name in MEASURES if name not in ORDER_COUNTS])
@FEW
@given(seed=SEEDS)
def test_a_common_order_of_the_stimuli_is_immaterial(measure: str, seed: int) -> None:
    """Reordering the stimuli of both sides alike changes nothing; of one side it does, if they are paired."""
    x, y = related(measure, seed)
    order = np.random.default_rng(seed).permutation(len(x))
    before = value(measure, x, y)
    assert value(measure, x[order], y[order]) == pytest.approx(before, abs=tolerance(measure, before))
    alone = value(measure, x, y[np.roll(np.arange(len(x)), 1)])
    if measure in ("gromov_wasserstein", "imd", "ricci"):
        assert alone == pytest.approx(before, abs=1e-2 if measure == "gromov_wasserstein" else 1e-12)
    else:
        assert abs(alone - before) > 1e-3


@pytest.mark.parametrize("measure", STIMULI)
@pytest.mark.parametrize("shape", [(40, 3, 5), (20, 60, 60), (20, 60, 5)])
def test_fewer_and_more_units_than_stimuli(measure: str, shape: tuple[int, int, int]) -> None:
    """Values are finite and in range for n > p, n < p and unequal widths."""
    n, p, q = shape
    q = p if MEASURES[measure].equal_widths else q
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fill the .* dimensions")
        found = value(measure, rng.normal(size=(n, p)), rng.normal(size=(n, q)))
    low, high = MEASURES[measure].range
    assert np.isfinite(found)
    assert low <= found <= high


@pytest.mark.parametrize("measure", MEASURES)
def test_one_unit(measure: str) -> None:
    """One unit is compared, or refused with the reason by measures of the pattern over units."""
    x, y = (a[..., :1] for a in related(measure, 0))
    low, high = MEASURES[measure].range
    if measure in ("rsa_pearson", "rsa_spearman", "rsa_rho_a", "rsa_tau_a"):
        with pytest.raises(ShapeError, match="a correlation over units needs at least 2 units"):
            value(measure, x, y)
        assert low <= value(measure, x, y, distance="euclidean") <= high
    elif MEASURES[measure].family == "neighbours":
        with pytest.warns(UserWarning, match="24 of 24 stimuli are equally near"):
            assert low <= value(measure, x, y) <= high
    elif measure == "dsa":
        with pytest.raises(InputError, match="rank=2, but x has 1 independent components"):
            value(measure, x, y)
        assert low <= value(measure, x, y, rank=1) <= high
    else:
        assert low <= value(measure, x, y) <= high


@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("measure", MEASURES)
def test_a_constant_side_is_nan_with_the_reason(measure: str, side: str) -> None:
    """A system that says nothing of the stimuli has no alignment, and the warning says so.

    Distances that keep the size of the responses are defined there: from a single point.
    """
    x, y = related(measure, 0)
    flat = np.full_like(x, 4.0)
    pair = (flat, y) if side == "x" else (x, flat)
    if measure in ("bures", "rsm_norm", "stochastic_shape", "energy_shape"):
        assert 0 < value(measure, *pair) < np.inf
        assert value(measure, flat, flat) == pytest.approx(0, abs=1e-6)
        return
    reason = (
        r"(is NaN: .*(does not vary over|no nearest neighbours|no unit of [xy] varies))|units of [xy] do not"
    )
    with pytest.warns(UserWarning, match=reason) as caught:
        assert np.isnan(value(measure, *pair))
    assert all(f"{side} " in str(w.message) or "x or y" in str(w.message) for w in caught)


@pytest.mark.parametrize("factor", [1e-150, 1e150])
@pytest.mark.parametrize("measure", [n for n, m in MEASURES.items() if "scale" in m.invariances])
def test_scale_invariance_holds_at_the_ends_of_float64(measure: str, factor: float) -> None:
    """Responses of 1e-150 and 1e150 neither vanish nor overflow."""
    x, y = related(measure, 0)
    before = value(measure, x, y)
    for pair in ((factor * x, y), (x, factor * y), (factor * x, y / factor)):
        assert value(measure, *pair) == pytest.approx(before, abs=tolerance(measure, before))


@pytest.mark.parametrize("factor", [1e-150, 1e150])
@pytest.mark.parametrize(
    ("measure", "power"),
    [("bures", 1.0), ("rsm_norm", 1.0), ("stochastic_shape", 1.0), ("energy_shape", 0.5)],
)
def test_distances_with_a_unit_follow_it(measure: str, power: float, factor: float) -> None:
    """A common factor of both sides is a factor of the distance, of any size."""
    x, y = related(measure, 0)
    found = value(measure, factor * x, factor * y) / factor**power
    assert found == pytest.approx(value(measure, x, y), rel=1e-8)


def test_cases_cover_every_kind_of_sample() -> None:
    """Each measure is given what it takes."""
    assert {len(shape_of(m)) for m in MEASURES} == {2, 3}
