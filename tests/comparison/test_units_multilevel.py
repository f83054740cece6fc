"""Units, layers and attention heads of two networks in one table: planted cases, references, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from brainalign.comparison import multilevel
from brainalign.comparison._unit_attention import head_similarities, shortened
from brainalign.comparison._unit_folds import stimulus_folds
from brainalign.comparison.cca import pwcca, svcca
from brainalign.comparison.cka import linear_cka
from brainalign.comparison.multilevel import multilevel_comparison, neuron_comparison
from brainalign.errors import InputError, ShapeError
from brainalign.regression.ridge import RidgeCV


def rotation(seed: int, p: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))[0]


def maps(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(shape[-1], 0.3), size=shape[:-1])


def value(table: pd.DataFrame, measure: str, layer_b: str) -> float:
    row = table[(table["measure"] == measure) & (table["layer_b"] == layer_b)]
    assert len(row) == 1
    return float(row["value"].iloc[0])


def test_rotation_moves_units_and_not_layers() -> None:
    """Permuted units are found at every level; rotated ones only by regression, CKA, SVCCA and PWCCA."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 20))
    table = multilevel_comparison({"l1": x}, {"same": x[:, ::-1], "rotated": x @ rotation(1, 20)}, cv=2)
    assert table.columns.tolist() == ["level", "layer_a", "layer_b", "measure", "value"]
    assert set(table["level"]) == {"unit", "layer"}
    for measure in ("regression_r", "cka", "svcca", "pwcca"):
        for layer in ("same", "rotated"):
            assert value(table, measure, layer) == pytest.approx(1.0, abs=1e-4)
    assert value(table, "best_r", "same") == pytest.approx(1.0, abs=1e-12)
    assert value(table, "best_r", "rotated") < 0.6
    assert value(table, "maxcorr", "*") == value(table, "best_r", "same")
    assert value(table, "mincorr", "*") == value(table, "best_r", "rotated")


def test_linearly_related_layers_have_svcca_and_pwcca_of_one() -> None:
    """SVCCA and PWCCA of layers related by an invertible map are 1, CKA is not."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 6))
    table = multilevel_comparison({"a": x}, {"b": x @ rng.normal(size=(6, 6)) + 2.0}, cv=2)
    y = x @ np.random.default_rng(2).normal(size=(6, 6))
    assert value(table, "pwcca", "b") == pytest.approx(1.0, abs=1e-9)
    assert value(table, "svcca", "b") > 0.95
    assert svcca(x, y, threshold=1.0) == pytest.approx(1.0, abs=1e-9)
    assert value(table, "cka", "b") < 0.95


def test_layers_are_the_single_measures() -> None:
    """The layer rows equal the single calls, the direction of PWCCA is a."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 8))
    y[:, :3] += x[:, :3] * [1.0, 5.0, 1.0]
    table = multilevel_comparison({"a": x}, {"b": y}, cv=2)
    assert value(table, "cka", "b") == linear_cka(x, y)
    assert value(table, "svcca", "b") == svcca(x, y)
    assert value(table, "pwcca", "b") == pwcca(x, y)


def test_units_against_a_loop() -> None:
    """maxcorr and mincorr are, per unit, the largest and smallest best |r| over the layers of b."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, 3))
    b = {"u": -x[:, [0]] + rng.normal(size=(40, 1)), "v": rng.normal(size=(40, 5))}
    best = np.array(
        [[max(abs(np.corrcoef(x[:, i], c)[0, 1]) for c in y.T) for i in range(3)] for y in b.values()]
    )
    frame = neuron_comparison({"a": x}, b, cv=2)
    np.testing.assert_allclose(frame["best_r"], best.ravel(), rtol=0, atol=1e-12)
    table = multilevel_comparison({"a": x}, b, cv=2)
    assert value(table, "maxcorr", "*") == pytest.approx(best.max(axis=0).mean(), abs=1e-12)
    assert value(table, "mincorr", "*") == pytest.approx(best.min(axis=0).mean(), abs=1e-12)


def test_null_of_the_regression() -> None:
    """Unrelated layers with more units than stimuli are not predicted, though their best |r| is above 0."""
    x, y = np.random.default_rng(5).normal(size=(2, 60, 100))
    frame = neuron_comparison({"a": x[:, :30]}, {"b": y}, cv=3)
    assert abs(frame["regression_r"].mean()) < 0.08
    assert frame["best_r"].mean() > 0.25


def test_no_stimulus_is_predicted_by_a_fit_that_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row of a training set, inner folds included, occurs among the rows that its model predicts."""
    fits: list[tuple[set[float], set[float]]] = []

    class Spy(RidgeCV):
        def fit(self, x: np.ndarray, *args: Any, **kwargs: Any) -> RidgeCV:
            self.seen = set(np.round(x[:, 0], 9).tolist())
            return super().fit(x, *args, **kwargs)

        def predict(self, x: np.ndarray, *args: Any, **kwargs: Any) -> Any:
            fits.append((self.seen, set(np.round(x[:, 0], 9).tolist())))
            return super().predict(x, *args, **kwargs)

    monkeypatch.setattr(multilevel, "RidgeCV", Spy)
    x, y = np.random.default_rng(11).normal(size=(2, 30, 4))
    neuron_comparison({"a": x}, {"b": y}, cv=3)
    assert [(len(train), len(test)) for train, test in fits] == [(20, 10)] * 3
    assert all(not train & test for train, test in fits)


def test_held_out_stimuli_do_not_move_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fit is given stays the same to the last digit when the stimuli of its test fold change."""
    given: list[tuple[np.ndarray, np.ndarray]] = []

    class Spy(RidgeCV):
        def fit(self, x: np.ndarray, y: np.ndarray, *args: Any, **kwargs: Any) -> RidgeCV:
            given.append((x.copy(), y.copy()))
            return super().fit(x, y, *args, **kwargs)

    monkeypatch.setattr(multilevel, "RidgeCV", Spy)
    x, y = np.random.default_rng(12).normal(size=(2, 20, 3))
    test = next(iter(stimulus_folds(20, 2, 0)))[1]
    neuron_comparison({"a": x}, {"b": y}, cv=2)
    x[test] = 5.0 + 100.0 * x[test] ** 2
    y[test] *= -30.0
    neuron_comparison({"a": x}, {"b": y}, cv=2)
    for before, after in zip(given[0], given[2], strict=True):
        np.testing.assert_array_equal(before, after)


def test_six_stimuli_in_two_folds() -> None:
    """The fewest stimuli that the folds allow leave three for training, and give a value."""
    x = np.random.default_rng(13).normal(size=(6, 2))
    frame = neuron_comparison({"a": x}, {"b": x}, cv=2)
    assert frame["regression_r"].between(-1.0, 1.0).all()


def test_an_offset_does_not_matter() -> None:
    """Layers beside 1e8 are predicted as well as without the offset, to the digits that they keep."""
    x = np.random.default_rng(14).normal(size=(40, 4))
    y = x + 0.5 * np.random.default_rng(15).normal(size=(40, 4))
    plain, moved = (neuron_comparison({"a": x + s}, {"b": y + s}, cv=2) for s in (0.0, 1e8))
    for column in ("best_r", "regression_r"):
        np.testing.assert_allclose(moved[column], plain[column], rtol=0, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_does_not_matter(scale: float) -> None:
    """Layers of 1e-200 and 1e200 give the values of layers of 1."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 40, 4))
    y += x
    plain, scaled = (neuron_comparison({"a": x * s}, {"b": y / s}, cv=2) for s in (1.0, scale))
    for column in ("best_r", "regression_r"):
        np.testing.assert_allclose(scaled[column], plain[column], atol=1e-9)


def test_units_that_do_not_vary() -> None:
    """A constant unit of a and a constant layer of b are NaN in the table of units, with a count."""
    x = np.random.default_rng(7).normal(size=(40, 2))
    with pytest.warns(UserWarning, match=r"4 of 6 rows \(units of a times layers of b\) have NaN"):
        frame = neuron_comparison(
            {"a": np.insert(x, 1, 3.0, axis=1)}, {"b": x, "flat": np.ones((40, 2))}, cv=2
        )
    assert frame["best_r"].isna().tolist() == [False, True, False, True, True, True]
    assert frame["regression_r"].isna().tolist() == [False, True, False, True, True, True]


@pytest.mark.parametrize("measure", ["jensen_shannon", "cosine"])
def test_permuted_heads_match_at_one(measure: str) -> None:
    """Identical heads in another order have a similarity of 1 after matching, other heads less."""
    x = np.random.default_rng(8).normal(size=(20, 3))
    a = maps(0, 3, 4, 10, 10)
    b = {"same": a[:, [2, 0, 3, 1]], "other": maps(1, 3, 5, 10, 10)}
    table = multilevel_comparison(
        {"l": x}, {"l": x}, attention_a={"l": a}, attention_b=b, attention_measure=measure, cv=2
    )
    assert value(table, f"attention_{measure}", "same") == pytest.approx(1.0, abs=1e-9)
    assert value(table, f"attention_{measure}", "other") < 0.7


def test_head_similarities_against_scipy() -> None:
    """Each pair of heads has one minus scipy's squared Jensen-Shannon distance in bits, or the cosine."""
    a, b = [maps(2, 2, 5, 5), maps(3, 2, 7, 7)], [maps(4, 3, 5, 5), maps(5, 3, 7, 7)]
    for i in range(2):
        for j in range(3):
            shannon = np.mean(
                [
                    1 - np.mean(jensenshannon(p[i], q[j], base=2, axis=1) ** 2)
                    for p, q in zip(a, b, strict=True)
                ]
            )
            assert head_similarities(a, b, "jensen_shannon")[i, j] == pytest.approx(shannon, abs=1e-9)
            cosine = np.mean(
                [
                    np.vdot(p[i], q[j]) / np.linalg.norm(p[i]) / np.linalg.norm(q[j])
                    for p, q in zip(a, b, strict=True)
                ]
            )
            assert head_similarities(a, b, "cosine")[i, j] == pytest.approx(cosine, abs=1e-12)


def test_maps_of_other_lengths() -> None:
    """A map whose frames were each split in two is brought back exactly; rows still sum to one."""
    a = maps(6, 2, 6, 6)
    twice = np.repeat(np.repeat(a, 2, axis=1), 2, axis=2) / 2
    np.testing.assert_allclose(shortened(twice, 6), a, rtol=0, atol=1e-12)
    np.testing.assert_allclose(shortened(a, 4).sum(axis=2), 1.0, rtol=0, atol=1e-12)
    x = np.random.default_rng(9).normal(size=(20, 3))
    table = multilevel_comparison(
        {"l": x},
        {"l": x},
        attention_a={"l": [a, maps(7, 2, 3, 3)]},
        attention_b={"l": [twice, maps(7, 2, 3, 3)]},
        cv=2,
    )
    assert value(table, "attention_jensen_shannon", "l") == pytest.approx(1.0, abs=1e-9)


X = np.random.default_rng(10).normal(size=(20, 3))
GOOD = maps(8, 2, 3, 4, 4)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"attention_a": {"l": GOOD}}, InputError, "attention_a without attention_b; give the maps of both"),
        ({"attention_b": {"l": GOOD}}, InputError, "attention_b without attention_a; give the maps of both"),
        ({"attention_measure": "js"}, InputError, "attention_measure='js' is not one of 'jensen_shannon'"),
        ({"attention_a": {}, "attention_b": {}}, InputError, "attention_a is dict with 0 entries; expected"),
        ({"cv": 1}, InputError, "cv=1; expected"),
        ({"cv": 10}, ShapeError, "cv=10 over 20 stimuli leaves 2 to a test fold"),
    ],
)
def test_errors(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    """Every refusal names the argument and what was expected."""
    with pytest.raises(kind, match=text):
        multilevel_comparison({"l": X}, {"l": X}, **options)


@pytest.mark.parametrize(
    ("wrong", "kind", "text"),
    [
        (GOOD[:, :, :3], ShapeError, r"utterance 0 has shape \(3, 3, 4\); expected \(n_heads, T, T\)"),
        (GOOD * 2, InputError, "utterance 0, head 0, row 0 is no distribution .* this row sums to 2"),
        (GOOD - 1, InputError, "utterance 0, head 0, row 0 is no distribution"),
        (GOOD * np.nan, InputError, "utterance 0, head 0, row 0 is no distribution"),
        (GOOD.astype(str), InputError, "utterance 0 has dtype"),
        ([GOOD[0], GOOD[1, :2]], ShapeError, "utterance 1 has 2 heads, utterance 0 has 3"),
        ([], ShapeError, "holds no utterance"),
        (3, ShapeError, r"attention_a\['l'\] is int; expected \(n_utterances, n_heads, T, T\)"),
        (GOOD[:1], ShapeError, r"attention_a\['l'\] has 1 utterances and attention_b\['l'\] has 2"),
    ],
)
def test_maps_that_are_refused(wrong: Any, kind: type[Exception], text: str) -> None:
    """Maps that are no attention, or of other utterances, are refused by layer, utterance, head and row."""
    with pytest.raises(kind, match=text):
        multilevel_comparison({"l": X}, {"l": X}, attention_a={"l": wrong}, attention_b={"l": GOOD})


def test_layers_must_be_named() -> None:
    """Arrays in the place of a mapping of layers are refused."""
    with pytest.raises(InputError, match="b is ndarray with 20 entries; expected a mapping of at least one"):
        multilevel_comparison({"l": X}, X)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"b has two layers of one name as text, of \[1, '1'\]"):
        neuron_comparison({"l": X}, {1: X, "1": X})  # type: ignore[dict-item]
    with pytest.raises(ShapeError, match="neuron_comparison over 2 stimuli; it needs at least 3"):
        neuron_comparison({"l": X[:2]}, {"l": X[:2]})
