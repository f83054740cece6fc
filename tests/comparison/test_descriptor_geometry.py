"""describe_geometry: it repeats the single descriptors, and says once what cannot be computed."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison import _descriptor_spectrum, descriptors
from brainalign.comparison.descriptors import describe_geometry
from brainalign.comparison.intrinsic_dimension import two_nn
from brainalign.comparison.spectral_descriptors import alpha_req, participation_ratio, power_law, rankme
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Responses

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 120)) * np.arange(1, 121) ** -0.5


@pytest.mark.parametrize("x", [X, X[:110].T, X[:, :101]], ids=["tall", "wide", "fewer units"])
def test_the_values_of_the_single_functions(x: np.ndarray) -> None:
    """Every descriptor equals the one asked for on its own, and counts are whole numbers."""
    found = describe_geometry(x, window=(11, 90), discard=0.2)
    n, p = x.shape
    assert (found["n_stimuli"], found["n_units"], found["rank"]) == (n, p, min(n - 1, p))
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    shares = np.cumsum(eigenvalues) / eigenvalues.sum()
    assert found["first_share"] == pytest.approx(shares[0])
    assert shares[found["n_components_90"] - 2] < 0.9 <= shares[found["n_components_90"] - 1]  # type: ignore[index]
    expected = {
        "participation_ratio": participation_ratio(x),
        "rankme": rankme(x),
        "rankme_singular_values": rankme(x, of="singular_values"),
        "alpha_req": alpha_req(x, window=(11, 90)).alpha,
        "alpha_req_r2": alpha_req(x, window=(11, 90)).r2,
        "power_law": power_law(x, window=(11, 90)).alpha,
        "power_law_r2": power_law(x, window=(11, 90)).r2,
        "two_nn": two_nn(x, discard=0.2).dimension,
        "n_duplicates": 0,
    }
    assert {name: found[name] for name in expected} == expected
    assert found["rankme_singular_values"] >= found["rankme"] >= found["participation_ratio"]


def test_one_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    """All descriptors together decompose once."""
    calls = []
    plain = np.linalg.eigvalsh
    monkeypatch.setattr(
        _descriptor_spectrum.np.linalg, "eigvalsh", lambda a: calls.append(a.shape) or plain(a)
    )
    describe_geometry(X)
    assert calls == [(120, 120)]


def test_too_few_for_the_window() -> None:
    """With fewer eigenvalues than the window asks for, one warning says so and the rest is there."""
    with pytest.warns(
        UserWarning, match=r"need 100 eigenvalues .* there are 29 of 30 stimuli and 120"
    ) as seen:
        found = describe_geometry(X[:30])
    assert len(seen) == 1
    missing = {name for name, value in found.items() if np.isnan(value)}
    assert missing == {"alpha_req", "alpha_req_r2", "power_law", "power_law_r2"}


def test_two_reasons_in_one_warning() -> None:
    """A few duplicated stimuli lack the window and the neighbours; one warning lists both."""
    with pytest.warns(UserWarning, match="alpha_req and .*; two_nn: 2 distinct stimuli are too few") as seen:
        found = describe_geometry(X[[0, 1, 1, 0]])
    assert len(seen) == 1
    assert np.isnan(found["two_nn"])
    assert found["n_duplicates"] == 2
    assert found["participation_ratio"] == pytest.approx(1.0)


def test_a_layer_that_does_not_vary() -> None:
    """A dead layer is described by its sizes alone, so that a table over layers is complete."""
    with pytest.warns(UserWarning, match="x does not vary over its 9 stimuli") as seen:
        found = describe_geometry(np.full((9, 4), 0.1))
    assert len(seen) == 1
    assert list(found) == list(describe_geometry(X))
    known = {name: value for name, value in found.items() if not np.isnan(value)}
    assert known == {"n_stimuli": 9, "n_units": 4, "rank": 0, "n_duplicates": 8}


def test_a_grid() -> None:
    """Stimuli on a grid have a spectrum and no ratio of neighbours."""
    grid = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2)
    with pytest.warns(UserWarning, match="two_nn: .* as on a grid"):
        assert describe_geometry(grid, window=(1, 2))["participation_ratio"] == pytest.approx(2.0)


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_scale_and_shift_do_not_matter(factor: float) -> None:
    """Extreme factors and a shift leave all descriptors as they are."""
    plain, changed = describe_geometry(X), describe_geometry(factor * (X + 3.0))
    for name, value in plain.items():
        assert changed[name] == pytest.approx(value, rel=1e-7), name


def test_refusals() -> None:
    """Wrong options and shapes are errors and not NaN."""
    with pytest.raises(InputError, match="expected two ranks"):
        describe_geometry(X, window=(9, 3))
    with pytest.raises(InputError, match="discard=-0.1"):
        describe_geometry(X, discard=-0.1)
    with pytest.raises(ShapeError, match="x has 2 stimuli"):
        describe_geometry(X[:2])
    with pytest.raises(AlignmentError, match="without a stimulus_id"):
        describe_geometry(Responses(X))


def test_it_is_quiet_and_averages_repeats() -> None:
    """Responses with repeats are described by their means, without a warning."""
    ids = [f"s{i}" for i in range(len(X))]
    trials = Responses(np.vstack([X + 1.0, X - 1.0]), pd.DataFrame({"stimulus_id": ids + ids}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = describe_geometry(trials)
    assert found["n_stimuli"] == 150
    assert found["rankme"] == pytest.approx(describe_geometry(X)["rankme"])
    assert descriptors.WINDOW == (11, 100)


@pytest.mark.real
def test_macaque_v4(real_data: Path) -> None:
    """Real neurons: noise widens the spectrum, so the cross-validated one falls faster."""
    from brainalign.comparison.repeated_spectrum import cross_validated_spectrum
    from data_loaders import load

    responses = load("macaque_v4", root=real_data, session="210325").responses
    found = describe_geometry(responses, window=(2, 20))
    assert found["n_stimuli"] == 640
    assert 10 < found["participation_ratio"] < found["rankme"] < found["rank"] == 50
    spectrum = cross_validated_spectrum(responses, n_splits=2)
    plain = alpha_req(responses, window=(2, 20)).alpha
    assert alpha_req(eigenvalues=spectrum, window=(2, 20)).alpha > plain + 0.1
