"""Simulated responses hold the truth that was planted."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.errors import InputError, ShapeError, UnknownNameError
from brainalign.simulate import respond

RNG = np.random.default_rng(0)
FEATURES = {"early": RNG.standard_normal((300, 6)), "late": RNG.standard_normal((300, 4))}


def test_each_region_is_driven_by_its_layer() -> None:
    """The signal of a region is linear in its own layer and unrelated to the other."""
    found = respond(FEATURES, {"V1": "early", "IT": "late"}, n_units=[5, 7], n_repeats=3)
    assert found.region.tolist() == ["V1"] * 5 + ["IT"] * 7
    for region, layer, other in (("V1", "early", "late"), ("IT", "late", "early")):
        signal = found.signal[:, found.region == region]
        for name, share in ((layer, 1.0), (other, 0.0)):
            x = FEATURES[name] - FEATURES[name].mean(0)
            fitted = x @ np.linalg.lstsq(x, signal, rcond=None)[0]
            assert fitted.var() / signal.var() == pytest.approx(share, abs=0.1 if share == 0 else 1e-9)


def test_noise_and_repeats() -> None:
    """Signal has deviation 1, trials around it `noise_std`, repeats stand in a row."""
    found = respond(FEATURES, {"V1": "early"}, n_units=40, n_repeats=5, noise_std=2.0)
    np.testing.assert_allclose(found.signal.std(0), 1)
    assert found.stimulus.tolist() == np.repeat(np.arange(300), 5).tolist()
    noise = found.trials - found.signal[found.stimulus]
    assert noise.std() == pytest.approx(2.0, rel=0.01)
    assert abs(np.corrcoef(noise[::5].ravel(), noise[1::5].ravel())[0, 1]) < 0.05
    silent = respond(FEATURES, {"V1": "early"}, noise_std=0)
    np.testing.assert_array_equal(silent.trials, silent.signal[silent.stimulus])


def test_seed() -> None:
    """Equal seeds give equal trials, other seeds others."""
    a, b, c = (respond(FEATURES, {"V1": "late"}, random_state=s).trials for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_refusals() -> None:
    """Unknown layers, wrong counts, layers without variance and unequal stimuli are errors."""
    with pytest.raises(UnknownNameError, match="layer 'earl' does not exist; closest: early"):
        respond(FEATURES, {"V1": "earl"})
    with pytest.raises(ShapeError, match="n_units has 1 entries for 2 regions"):
        respond(FEATURES, {"V1": "early", "IT": "late"}, n_units=[5])
    for wrong in ({"n_repeats": 0}, {"noise_std": -1.0}):
        with pytest.raises(InputError, match="expected at least 1 and at least 0"):
            respond(FEATURES, {"V1": "early"}, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="truth is empty"):
        respond(FEATURES, {})
    with pytest.raises(InputError, match="layer 'flat' cannot drive a response"):
        respond({"flat": np.full((9, 2), 0.1)}, {"V1": "flat"})
    with pytest.raises(ShapeError, match="layer 'short' has 9 stimuli, an earlier one 300"):
        respond({**FEATURES, "short": RNG.standard_normal((9, 2))}, {"V1": "early", "IT": "short"})
