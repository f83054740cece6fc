"""mantel_test: every measure against reordered RDMs, planted relation, errors."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison.permutation import mantel_test
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.errors import InputError
from brainalign.statistics._rsa_inputs import DRAWN_MEASURES

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3))


def distances(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[:, None] - x[None], axis=-1)


DATA = np.stack([distances(X + 0.3 * RNG.normal(size=X.shape)) for _ in range(3)])
MODELS = {
    "true": distances(X),
    "coarse": np.round(distances(X)),
    "other": distances(RNG.normal(size=X.shape)),
}


@pytest.mark.filterwarnings("ignore:more than 5%:UserWarning")
@pytest.mark.parametrize("measure", DRAWN_MEASURES)
def test_values_and_null_are_those_of_reordered_rdms(measure: str) -> None:
    """The value is the mean similarity, and each draw that of the data with stimuli in that order."""
    r = mantel_test(DATA, MODELS, measure=measure, n_permutations=4, random_state=5)
    orders = np.random.default_rng(5).permuted(np.tile(np.arange(10), (4, 1)), axis=1)
    for order, found in zip([np.arange(10), *orders], [r.values, *r.null], strict=True):
        moved = DATA[:, order][:, :, order]
        wanted = bootstrap_rsa(moved, MODELS, measure=measure, over="stimuli", n_boot=2).observed
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_planted_relation() -> None:
    """The true model has the smallest p, the unrelated one does not; the largest of each draw corrects."""
    r = mantel_test(DATA, MODELS, measure="rho_a", n_permutations=199)
    frame = r.to_frame().set_index("model")
    assert frame.p["true"] == pytest.approx(1 / 200)
    assert frame.p["other"] > 0.05
    assert (frame.p_corrected >= frame.p).all()
    largest = r.null.max(1)
    by_hand = ((largest[:, None] >= r.values - 1e-12).sum(0) + 1) / 200
    np.testing.assert_array_equal(r.p_corrected, by_hand)
    negative = mantel_test(DATA, {"far": 9 - MODELS["true"] - 9 * np.eye(10)}, n_permutations=199)
    assert negative.p_values[0] > 0.9
    assert (
        mantel_test(DATA, {"far": 9 - MODELS["true"] - 9 * np.eye(10)}, alternative="two-sided").p_values[0]
        < 0.01
    )


def test_equal_seeds() -> None:
    """Equal seeds give equal draws, other seeds others."""
    first = mantel_test(DATA, MODELS, measure="pearson", n_permutations=20)
    np.testing.assert_array_equal(
        first.null, mantel_test(DATA, MODELS, measure="pearson", n_permutations=20).null
    )
    other = mantel_test(DATA, MODELS, measure="pearson", n_permutations=20, random_state=1)
    assert not np.array_equal(first.null, other.null)


def test_constant_model_and_wrong_inputs() -> None:
    """A constant model is NaN with a warning; missing pairs, names and counts are refused."""
    with pytest.warns(UserWarning, match="1 of 2 models are NaN: an RDM is constant"):
        r = mantel_test(DATA, {"flat": 1 - np.eye(10), "true": MODELS["true"]}, measure="pearson")
    assert np.isnan(r.p_values[0])
    assert r.p_corrected[1] < 0.05
    with pytest.raises(InputError, match="n_permutations=0; expected at least 1"):
        mantel_test(DATA, MODELS, n_permutations=0)
    with pytest.raises(InputError, match="alternative='less' is not one of"):
        mantel_test(DATA, MODELS, alternative="less")
    with pytest.raises(InputError, match="measure='bures' is not one of"):
        mantel_test(DATA, MODELS, measure="bures")
    holed = DATA.copy()
    holed[0, 1, 2] = holed[0, 2, 1] = np.nan
    with (
        pytest.warns(UserWarning, match="1 of 45 pairs"),
        pytest.raises(InputError, match="1 pairs of stimuli are missing; they would move"),
    ):
        mantel_test(holed, MODELS, measure="rho_a")
