"""Inter-subject correlation."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.errors import InputError, ShapeError
from brainalign.statistics import intersubject_correlation


def test_it_equals_a_plain_loop():
    """Each person against the mean of the z-scored others."""
    Y = np.random.default_rng(0).standard_normal((4, 50, 3)) * [[[1.0]], [[5.0]], [[1.0]], [[2.0]]] + 7
    z = (Y - Y.mean(axis=1, keepdims=True)) / Y.std(axis=1, keepdims=True)
    found = intersubject_correlation(Y)
    for s in range(4):
        others = np.delete(z, s, axis=0).mean(axis=0)
        for u in range(3):
            assert found[s, u] == pytest.approx(np.corrcoef(z[s, :, u], others[:, u])[0, 1])


def test_nothing_shared_is_nothing_and_a_constant_person_is_missing():
    """Independent noise correlates with nothing; zeros have no correlation and spoil no one's."""
    Y = np.random.default_rng(1).standard_normal((10, 2000, 4))
    assert np.abs(intersubject_correlation(Y).mean()) < 0.02
    Y[3] = 0.1
    found = intersubject_correlation(Y)
    assert np.isnan(found[3]).all()
    assert np.isfinite(np.delete(found, 3, axis=0)).all()


def test_scale_and_offset_of_a_person_change_nothing_and_order_in_time_does():
    """Invariant to a line of each person, not to a shift in time."""
    rng = np.random.default_rng(2)
    Y = rng.standard_normal((300, 2)) + 0.5 * rng.standard_normal((5, 300, 2))
    base = intersubject_correlation(Y)
    moved = Y.copy()
    moved[2] = 3 * moved[2] - 100
    assert np.allclose(intersubject_correlation(moved), base)
    moved[2] = np.roll(Y[2], 1, axis=0)
    assert (intersubject_correlation(moved)[2] < base[2] - 0.3).all()


def test_wrong_shapes_are_refused():
    """One person, two axes, text."""
    with pytest.raises(ShapeError, match="2 subjects or more"):
        intersubject_correlation(np.zeros((1, 5, 2)))
    with pytest.raises(ShapeError, match="expected \\(n_subjects, n_samples, n_units\\)"):
        intersubject_correlation(np.zeros((5, 2)))
    with pytest.raises(InputError, match="expected real numbers"):
        intersubject_correlation(np.full((2, 3, 1), "a"))
