"""Time-resolved RDMs, RSA and CKA."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison import compare, compare_layers, compare_over_time, rdm, time_resolved_rdms
from brainalign.errors import AlignmentError, ShapeError, UnknownNameError
from brainalign.types import Responses


def trials(values, ids=None):
    ids = [f"s{i}" for i in range(len(values))] if ids is None else ids
    return Responses(
        values,
        pd.DataFrame({"stimulus_id": ids}),
        times=np.arange(values.shape[2]) / 100,
        info={"design": "trials"},
    )


@pytest.mark.parametrize("distance", ["correlation", "sq_euclidean"])
def test_each_time_has_the_rdm_of_that_time(distance):
    """The same as one call a time, repeats averaged."""
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((16, 5, 4))
    found = time_resolved_rdms(trials(Y, [f"s{i // 2}" for i in range(16)]), distance=distance)
    means = Y.reshape(8, 2, 5, 4).mean(axis=1)
    for t in range(4):
        assert np.allclose(found.values[t], rdm(means[:, :, t], distance=distance))
    assert list(found.table["time"]) == [0.0, 0.01, 0.02, 0.03]
    assert list(found.stimulus_id) == [f"s{i}" for i in range(8)]


@pytest.mark.parametrize("measure", ["cka", "cka_biased", "rsa_pearson", "rsa_spearman", "rsa_tau_a"])
def test_each_time_has_the_similarity_of_that_time(measure):
    """Values equal `compare` at every time; rows are joined by id."""
    rng = np.random.default_rng(1)
    Y, X = rng.standard_normal((12, 4, 3)), rng.standard_normal((12, 6))
    order = rng.permutation(12)
    layer = Responses(X[order], pd.DataFrame({"stimulus_id": [f"s{i}" for i in order]}))
    found = compare_over_time({"a": layer}, trials(Y), measure=measure)[0]
    assert np.allclose(found.values, [compare(X, Y[:, :, t], measure=measure) for t in range(3)])
    assert np.isnan(found.p_values).all()


def test_a_planted_time_is_found_and_corrected():
    """The representation is there at one time: there the family-wise p is smallest, elsewhere not."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((30, 5))
    Y = rng.standard_normal((30, 8, 20))
    Y[:, :, 12] = X @ rng.standard_normal((5, 8)) + 0.3 * rng.standard_normal((30, 8))
    found = compare_over_time({"x": X}, Y, measure="rsa_spearman", n_permutations=199)[0]
    assert found.values.argmax() == 12
    assert found.p_corrected[12] == 1 / 200
    assert (np.delete(found.p_corrected, 12) > 0.05).all()
    assert (found.p_corrected >= found.p_values).all()


def test_p_values_of_one_time_are_those_of_the_mantel_test():
    """A single time has nothing to correct for, and its p agrees with the test over layers."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((20, 4))
    Y = 0.5 * X[:, :3, None] + rng.standard_normal((20, 3, 1))
    found = compare_over_time({"x": X}, Y, measure="cka", n_permutations=999)[0]
    mantel = compare_layers({"x": X}, Y[:, :, 0], measure="cka", n_permutations=999)[0]
    assert found.p_values[0] == found.p_corrected[0]
    assert abs(found.p_values[0] - mantel.p_value) < 0.03


def test_noise_is_called_an_effect_in_one_of_twenty_families():
    """Over many times, the family-wise error stays near 5 %."""
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = compare_over_time(
            {"x": rng.standard_normal((14, 5))},
            rng.standard_normal((14, 6, 25)),
            measure="cka",
            n_permutations=99,
            random_state=seed,
        )[0]
        hits += found.p_corrected.min() <= 0.05
    assert hits <= 8


def test_blocks_of_times_change_nothing(monkeypatch):
    """Small memory gives the same values and the same draws."""
    rng = np.random.default_rng(4)
    X, Y = {"x": rng.standard_normal((10, 3))}, rng.standard_normal((10, 4, 9))
    whole = compare_over_time(X, Y, measure="cka", n_permutations=130)[0]
    monkeypatch.setattr("brainalign.comparison.over_time._BLOCK_BYTES", 8 * 10 * 10 * 2)
    parts = compare_over_time(X, Y, measure="cka", n_permutations=130)[0]
    assert np.array_equal(whole.p_corrected, parts.p_corrected)
    assert np.array_equal(whole.p_values, parts.p_values)


def test_wrong_input_is_named():
    """No time axis, no layers, unknown names, ids without a partner, layers in other orders."""
    x = np.random.default_rng(0).standard_normal((8, 3))
    y = np.random.default_rng(1).standard_normal((8, 3, 2))
    with pytest.raises(ShapeError, match="expected \\(n_samples, n_units, n_times\\)"):
        time_resolved_rdms(x)
    with pytest.raises(ShapeError, match="features are empty"):
        compare_over_time({}, y)
    with pytest.raises(UnknownNameError, match="closest"):
        time_resolved_rdms(y, distance="correlatio")
    with pytest.raises(AlignmentError, match="have no partner"):
        compare_over_time({"a": Responses(x, pd.DataFrame({"stimulus_id": list("abcdefgh")}))}, trials(y))
    ids = [f"s{i}" for i in range(8)]
    one, other = (Responses(x, pd.DataFrame({"stimulus_id": i})) for i in (ids, ids[::-1]))
    with pytest.raises(AlignmentError, match="another order"):
        compare_over_time({"a": one, "b": other}, trials(y))
