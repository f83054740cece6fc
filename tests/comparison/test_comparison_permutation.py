"""permutation_test: value, null, p-values, errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from brainalign.comparison import MEASURES, compare, permutation_test
from brainalign.errors import InputError, ShapeError, UnknownNameError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(15, 6))
Y = X[:, :4] + RNG.normal(size=(15, 4))


MATRICES = [name for name, m in MEASURES.items() if m.represent is not None]


@pytest.mark.parametrize("measure", [*MATRICES, "procrustes", "mutual_knn", "best_match"])
def test_value_and_null_are_those_of_compare(measure: str) -> None:
    """The value is compare's, and each draw equals the comparison with the rows of y reordered."""
    result = permutation_test(X, Y, measure=measure, n_permutations=5, random_state=3)
    assert result.value == pytest.approx(compare(X, Y, measure=measure), abs=1e-12)
    generator = np.random.default_rng(3)
    again = [compare(X, Y[generator.permutation(15)], measure=measure) for _ in range(5)]
    np.testing.assert_allclose(result.null, again, atol=1e-12)
    assert (result.measure, result.n_stimuli) == (measure, 15)


def test_distances_are_tested_towards_closer() -> None:
    """A near copy is nearer than with any other order, and p is the smallest possible."""
    near = permutation_test(X, X + 0.1 * RNG.normal(size=X.shape), measure="procrustes", n_permutations=99)
    assert near.p_value == pytest.approx(1 / 100)
    assert near.value < near.null.min()


def test_trajectories_have_no_stimuli_to_exchange() -> None:
    """A measure of trajectories is refused."""
    with pytest.raises(InputError, match="dsa compares trajectories, which have no stimuli to exchange"):
        permutation_test(X, Y, measure="dsa")


def test_measures_that_ignore_the_pairing_have_no_test() -> None:
    """Every order of the stimuli has the same value; p = 1 would be no answer."""
    assert {name for name, m in MEASURES.items() if not m.paired} == {"gromov_wasserstein", "imd", "ricci"}
    with pytest.raises(InputError, match="imd does not depend on which stimulus is where"):
        permutation_test(X, Y, measure="imd")


def test_distances_in_a_small_unit_are_tested_as_in_any() -> None:
    """A Bures distance of 1e-150 has the p-value of one of 1."""
    plain = permutation_test(X, Y, measure="bures", n_permutations=49)
    small = permutation_test(1e-150 * X, 1e-150 * Y, measure="bures", n_permutations=49)
    assert small.p_value == plain.p_value < 0.5


def test_planted_relation_has_the_smallest_p() -> None:
    """A shared signal reaches 1 / (m + 1); the seed makes it repeatable."""
    first = permutation_test(X, Y, n_permutations=199)
    assert first.p_value == pytest.approx(1 / 200)
    assert np.array_equal(first.null, permutation_test(X, Y, n_permutations=199).null)
    other = permutation_test(X, Y, n_permutations=199, random_state=1)
    assert not np.array_equal(first.null, other.null)


@pytest.mark.parametrize("measure", ["cka", "rsa_spearman"])
def test_null_p_values_are_uniform(measure: str) -> None:
    """Unrelated x and y give p-values that do not depart from uniform."""
    rng = np.random.default_rng(2)
    p = [
        permutation_test(
            rng.normal(size=(10, 4)),
            rng.normal(size=(10, 5)),
            measure=measure,
            n_permutations=99,
            random_state=rng,
        ).p_value
        for _ in range(200)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert np.mean(np.array(p) <= 0.05) < 0.1


def test_orders_that_change_nothing_count() -> None:
    """With two equal halves many orders give the same value; they count, whatever the rounding."""
    x = np.repeat([[0.0, 1.0, 3.0], [1.0, 5.0, 0.0]], 3, axis=0)
    result = permutation_test(
        x, x, measure="rsa_pearson", options={"distance": "sq_euclidean"}, n_permutations=500
    )
    same = 2 * 6 * 6 / 720
    assert result.p_value == pytest.approx(same, abs=4 * np.sqrt(same / 500))


def test_undefined_similarity_is_nan() -> None:
    """A side without variance gives NaN everywhere, with the reason."""
    with pytest.warns(UserWarning, match="CKA is NaN: [xy] does not vary"):
        result = permutation_test(X, np.ones((15, 2)), n_permutations=9)
    assert np.isnan([result.value, result.p_value, *result.null]).all()


def test_wrong_inputs() -> None:
    """No draws, unknown names, too few stimuli."""
    with pytest.raises(InputError, match="n_permutations=0; expected a whole number of at least 1"):
        permutation_test(X, Y, n_permutations=0)
    with pytest.raises(UnknownNameError, match="measure 'ckaa'"):
        permutation_test(X, Y, measure="ckaa")
    with pytest.raises(ShapeError, match="cka over 3 stimuli; it needs at least 4"):
        permutation_test(X[:3], Y[:3])
