"""feature_bias plants two binary features with given shares of the variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from brainalign.errors import InputError
from brainalign.simulate import feature_bias


def test_labels_bits_and_marks() -> None:
    """Systems are marked as simulated and share stimuli; the hard feature is the parity of its bits."""
    systems = feature_bias(
        [(0.5, 0.5), (0.2, 0.1)], n_stimuli=40, n_units=7, prevalence=(0.25, 0.5), n_bits=3
    )
    assert [s.shape for s in systems] == [(40, 7)] * 2
    assert all(s.info["simulated"] is True for s in systems)
    assert systems[1].info["strengths"] == (0.2, 0.1)
    samples = systems[0].samples
    assert samples is not None
    assert samples.equals(systems[1].samples)
    assert (samples["easy"].sum(), samples["hard"].sum()) == (10, 20)
    assert (samples["bit_0"] == samples["easy"]).all()
    assert (samples[["bit_1", "bit_2", "bit_3"]].sum(axis=1) % 2 == samples["hard"]).all()


def test_no_bit_of_the_hard_feature_tells_it() -> None:
    """A bit of the parity is uncorrelated with it, and the two features with one another."""
    (system,) = feature_bias([(0.5, 0.5)], n_stimuli=4000, n_units=1)
    assert system.samples is not None
    found = system.samples[["easy", "hard", "bit_1", "bit_2"]].corr().to_numpy()
    assert np.abs(found - np.eye(4)).max() < 0.06


@pytest.mark.parametrize("strengths", [(0.55, 0.05), (0.05, 0.55), (0.3, 0.0), (0.0, 0.0), (0.9, 0.1)])
def test_strength_is_the_share_of_the_variance(strengths: tuple[float, float]) -> None:
    """Each feature explains its strength of the variance over all units; what is left is noise."""
    (system,) = feature_bias([strengths], n_stimuli=400, n_units=400)
    samples, x = system.samples, system.array()
    assert samples is not None
    x = x - x.mean(axis=0)
    design = np.column_stack([samples["easy"], samples["hard"], np.ones(400)])
    weights = np.linalg.lstsq(design, x, rcond=None)[0]
    for name, strength, weight in zip(("easy", "hard"), strengths, weights[:2], strict=True):
        share = samples[name].var(ddof=0) * (weight**2).mean()
        assert share == pytest.approx(strength, abs=0.01)
    assert (x**2).mean() == pytest.approx(1.0, abs=0.1)
    assert ((x - design @ weights) ** 2).mean() == pytest.approx(1 - sum(strengths), abs=0.02)


def test_seed() -> None:
    """Equal seeds give equal systems, others do not."""
    a, b, c = (feature_bias(n_stimuli=9, n_units=3, random_state=s)[1].array() for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strengths": []}, "strengths is empty; expected one pair"),
        ({"strengths": [(0.6, 0.5)]}, r"system 0 are \(0.6, 0.5\); expected two shares"),
        ({"strengths": [(0.1, 0.1), (-0.1, 0.5)]}, "system 1 are"),
        ({"strengths": [(0.1, 0.1, 0.1)]}, "expected two shares of variance"),
        ({"strengths": [(np.nan, 0.1)]}, "expected two shares of variance"),
        ({"n_stimuli": 3}, "n_stimuli=3; expected a whole number of at least 4"),
        ({"n_units": 0}, "n_units=0"),
        ({"n_bits": 0}, "n_bits=0"),
        (
            {"prevalence": (0.5, 1.0)},
            "prevalence 1.0 of the hard feature leaves 200 stimuli without contrast",
        ),
        ({"prevalence": (0.001, 0.5)}, "prevalence 0.001 of the easy feature"),
        ({"prevalence": (np.nan, 0.5)}, "prevalence nan of the easy feature"),
    ],
)
def test_refusals(options: dict[str, Any], text: str) -> None:
    """Shares that do not fit and features without contrast are refused."""
    with pytest.raises(InputError, match=text):
        feature_bias(**options)
