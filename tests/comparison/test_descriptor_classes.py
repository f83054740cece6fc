"""GDV, compositionality, label alignment: references, ideal codes, invariances, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from brainalign.comparison import class_geometry
from brainalign.comparison.cka import linear_cka
from brainalign.comparison.class_geometry import compositionality, gdv, label_alignment
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)
LABELS = np.repeat(["a", "b", "c"], [8, 12, 10])
X = RNG.normal(size=(30, 6)) + np.repeat(RNG.normal(size=(3, 6)), [8, 12, 10], axis=0)
BITS = np.array([[i, j] for i in (0, 1) for j in (0, 1)] * 5)
FACTORS = {"first": BITS[:, 0], "second": BITS[:, 1]}


def gdv_reference(x: np.ndarray, labels: np.ndarray) -> float:
    """The definition, class by class, from full distance matrices."""
    z = 0.5 * (x - x.mean(0)) / x.std(0)
    parts = [z[labels == name] for name in dict.fromkeys(labels)]
    within = [cdist(a, a)[np.triu_indices(len(a), 1)].mean() for a in parts]
    between = [cdist(a, b).mean() for i, a in enumerate(parts) for b in parts[i + 1 :]]
    count = len(parts)
    return float((np.mean(within) - 2 / (count * (count - 1)) * np.sum(between)) / np.sqrt(x.shape[1]))


def test_gdv_is_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unequal classes, in one tile and in many, give the value of the definition."""
    expected = gdv_reference(X, LABELS)
    assert gdv(X, LABELS) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(class_geometry, "_TILE_CELLS", 100)
    order = RNG.permutation(30)
    assert gdv(X[order], LABELS[order]) == pytest.approx(expected, rel=1e-12)


def test_gdv_of_known_geometries() -> None:
    """Random labels give 0 (-0.0006 once); two classes that are points -1, five -0.79."""
    rng = np.random.default_rng(1)
    random = gdv(rng.normal(size=(1000, 100)), rng.permutation(np.repeat(np.arange(5), 200)))
    assert random == pytest.approx(0.0, abs=0.001)
    for count, expected in ((2, -1.0), (5, -0.79)):
        labels = np.repeat(np.arange(count), 20)
        assert gdv(rng.normal(size=(count, 100))[labels], labels) == pytest.approx(expected, abs=0.002)


def test_gdv_invariances() -> None:
    """A factor and a shift of each unit and constant units do nothing; a rotation does."""
    plain = gdv(X, LABELS)
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    with_constant = np.hstack([X, np.full((30, 2), 0.1)])
    factors = 10.0 ** np.array([-200, -3, 0, 2, 50, 80])
    for changed in (
        1e200 * X,
        -1e-200 * X,
        X * factors,
        X[:, ::-1] + np.arange(6.0),
        with_constant,
    ):
        assert gdv(changed, LABELS) == pytest.approx(plain, rel=1e-9)
    assert gdv(X, pd.Categorical(LABELS)) == pytest.approx(plain)
    assert abs(gdv(X * [1, 1, 1, 1, 1, 9] @ rotation, LABELS) - plain) > 1e-3


def test_compositionality_of_ideal_codes() -> None:
    """One-hot additive factors have R2 1 and cosine 0, in any rotation and scale; XOR has R2 0."""
    colour, shape = np.repeat([0, 1, 2], 4), np.tile([0, 1, 2, 3], 3)
    x = np.hstack([np.eye(3)[colour], 2.0 * np.eye(4)[shape]])
    rotation = np.linalg.qr(RNG.normal(size=(9, 7)))[0].T
    for values in (x, 1e200 * x @ rotation, 1e-200 * (x + 5.0)):
        found = compositionality(values, pd.DataFrame({"colour": colour, "shape": shape}))
        assert found.r2 == pytest.approx(1.0, abs=1e-12)
        assert found.r2_adjusted == pytest.approx(1.0, abs=1e-12)
        assert found.mean_abs_cos == pytest.approx(0.0, abs=1e-7)
    xor = np.outer(BITS[:, 0] ^ BITS[:, 1], [1.0, 2.0, 3.0])
    with pytest.warns(UserWarning, match="mean_abs_cos: 0 of 2 factors move the representation"):
        found = compositionality(xor, FACTORS)
    assert found.r2 == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(found.mean_abs_cos)


def test_compositionality_of_a_shared_direction() -> None:
    """Two factors along directions of 60 degrees overlap by 0.5; half XOR variance halves R2."""
    directions = np.array([[1.0, 0.0, 0.0], [0.5, np.sqrt(0.75), 0.0]])
    signs = 2.0 * BITS - 1.0
    found = compositionality(signs @ directions, FACTORS)
    assert found.mean_abs_cos == pytest.approx(0.5, abs=1e-12)
    parity = np.outer(signs.prod(axis=1), [0, 0, np.sqrt(2.0)])
    mixed = compositionality(signs @ directions + parity, FACTORS)
    assert mixed.r2 == pytest.approx(0.5, abs=1e-12)
    assert mixed.mean_abs_cos == pytest.approx(0.5, abs=1e-12)


def test_compositionality_of_planes_that_share_a_line() -> None:
    """Two factors of three values, in planes with one line in common, overlap by the mean of 1 and 0."""
    first, second = np.repeat([0, 1, 2], 3), np.tile([0, 1, 2], 3)
    plane = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    x = plane[first] @ np.eye(3)[[0, 1]] + plane[second] @ np.eye(3)[[0, 2]]
    assert compositionality(x, {"a": first, "b": second}).mean_abs_cos == pytest.approx(0.5, abs=1e-9)


def test_compositionality_of_unbalanced_designs_and_noise() -> None:
    """Missing combinations do not blur the vectors; for noise R2 is its number of parameters, adjusted 0."""
    rows = np.array([0, 0, 0, 0, 1, 2, 3, 3, 3])
    directions = np.eye(2, 5)
    found = compositionality(BITS[rows] @ directions, {k: v[rows] for k, v in FACTORS.items()})
    assert found.r2 == pytest.approx(1.0, abs=1e-12)
    assert found.mean_abs_cos == pytest.approx(0.0, abs=1e-12)
    noise = compositionality(np.random.default_rng(3).normal(size=(20, 2000)), FACTORS)
    assert noise.r2 == pytest.approx(2 / 19, abs=0.01)
    assert noise.r2_adjusted == pytest.approx(0.0, abs=0.01)
    assert noise.mean_abs_cos < 0.1


def test_compositionality_that_cannot_be_told() -> None:
    """Confounded factors have no vectors of their own, and saturated designs no adjusted R2."""
    with pytest.warns(UserWarning, match=r"mean_abs_cos: factors are confounded \(2 columns of rank 1\)"):
        found = compositionality(X[:20], {"a": BITS[:, 0], "b": 1 - BITS[:, 0]})
    assert np.isnan(found.mean_abs_cos)
    assert 0 < found.r2 < 1
    with pytest.warns(UserWarning, match="r2_adjusted: 2 parameters leave nothing of 3 stimuli"):
        assert np.isnan(compositionality(X[:3], {"a": [0, 0, 1], "b": [0, 1, 0]}).r2_adjusted)


def test_label_alignment_follows_inputs_or_labels() -> None:
    """A copy of the inputs aligns with them, a copy of the labels with those; noise with neither."""
    inputs = RNG.normal(size=(200, 8))
    labels = (inputs[:, 0] * inputs[:, 1] > 0).astype(int)
    for hidden, expected in (
        (inputs @ RNG.normal(size=(8, 8)), "inputs"),
        (labels[:, None] * [[1.0, 2.0]], "labels"),
    ):
        found = label_alignment(hidden, inputs, labels)
        assert (
            found.inputs > found.labels + 0.5 if expected == "inputs" else found.labels > found.inputs + 0.9
        )
    noise = label_alignment(RNG.normal(size=(200, 1000)), inputs, labels)
    np.testing.assert_allclose(noise, 0.0, atol=0.03)
    assert label_alignment(RNG.normal(size=(200, 1000)), inputs, labels, debiased=False).inputs > 0.1


@pytest.mark.parametrize("debiased", [True, False])
def test_label_alignment_is_cka(debiased: bool) -> None:
    """It is linear CKA with the inputs and with the indicators of the classes, or the numeric labels."""
    inputs = RNG.normal(size=(30, 4))
    indicators = (LABELS[:, None] == np.unique(LABELS)).astype(float)
    found = label_alignment(1e200 * X, inputs, LABELS, debiased=debiased)
    assert found.inputs == pytest.approx(linear_cka(X, inputs, debiased=debiased), rel=1e-10)
    assert found.labels == pytest.approx(linear_cka(X, indicators, debiased=debiased), rel=1e-10)
    numeric = label_alignment(X, inputs, 3.0 * indicators, debiased=debiased)
    assert numeric.labels == pytest.approx(found.labels, rel=1e-10)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: gdv(X, LABELS[:9]), ShapeError, "labels have 9 rows, expected 30"),
        (lambda: gdv(X, ["a"] * 30), InputError, "labels name one class, 'a', for all 30 stimuli"),
        (lambda: gdv(X, ["z", *LABELS[1:]]), InputError, "class 'z' has 1 stimulus; expected at least 2"),
        (lambda: gdv(X, [None, *LABELS[1:]]), InputError, "row 0 has no label"),
        (lambda: gdv(np.ones((30, 2)), LABELS), InputError, "x does not vary"),
        (lambda: gdv(X[:2], LABELS[:2]), ShapeError, "x has 2 stimuli"),
        (
            lambda: compositionality(X[:20], {"a": BITS[:, 0]}),
            InputError,
            "factors has 1 entries; expected at",
        ),
        (lambda: compositionality(X[:20], BITS), InputError, "factors is a ndarray; expected a mapping"),  # type: ignore[arg-type]
        (lambda: compositionality(X, FACTORS), ShapeError, "factor 'first' have 20 rows, expected 30"),
        (
            lambda: compositionality(X[:20], FACTORS | {"c": [1] * 20}),
            InputError,
            "factor 'c' name one class",
        ),
        (lambda: compositionality(np.ones((20, 2)), FACTORS), InputError, "x does not vary"),
        (
            lambda: label_alignment(X[:3], X[:3], LABELS[:3]),
            ShapeError,
            "x has 3 stimuli; label_alignment needs",
        ),
        (lambda: label_alignment(X, X[:29], LABELS), ShapeError, "x has 30 stimuli and inputs 29"),
        (lambda: label_alignment(X, X, X[:28]), ShapeError, "x has 30 stimuli and labels 28"),
        (lambda: label_alignment(X, np.ones((30, 2)), LABELS), InputError, "inputs do not vary over the 30"),
        (lambda: label_alignment(X, X, ["a"] * 30), InputError, "labels name one class"),
        (lambda: label_alignment(0 * X, X, LABELS), InputError, "x does not vary"),
    ],
)
def test_refusals(call: Any, error: type[Exception], text: str) -> None:
    """Each wrong input is refused with what was expected and found."""
    with pytest.raises(error, match=text):
        call()
