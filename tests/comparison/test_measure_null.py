"""Unrelated systems: what is said to be centred is centred, and calibration centres the rest."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

from brainalign.comparison import MEASURES, compare, compare_many

N = 100
WIDTHS = (50, 500, 5_000, 50_000)
CENTRED = ("cka", "cka_rbf", "rsa_pearson", "rsa_spearman", "rsa_rho_a", "rsa_tau_a")
CALIBRATED = (
    "cka", "cka_biased", "rsa_spearman", "dcor", "cca", "nbs", "procrustes", "mutual_knn", "jaccard",
    "cknna", "rank_similarity", "best_match", "bures", "rsm_norm",
)  # fmt: skip


def of_noise(measure: str, n_units: int, n_seeds: int, n: int = N) -> float:
    """Mean over seeds of the value of two independent normal systems of equal width."""
    values = []
    for seed in range(n_seeds):
        x, y = np.random.default_rng(seed).normal(size=(2, n, n_units))
        values.append(compare(x, y, measure=measure))
    return float(np.mean(values))


@pytest.mark.parametrize("n_units", WIDTHS)
def test_debiased_cka_of_unrelated_systems_is_0_at_any_width(n_units: int) -> None:
    """Within 0.02 of 0 from 50 to 50,000 units, where the biased form goes to 1."""
    assert of_noise("cka", n_units, 20 if n_units <= 500 else 2) == pytest.approx(0.0, abs=0.02)
    biased = of_noise("cka_biased", n_units, 1)
    assert biased == pytest.approx(1 / (1 + N / n_units), abs=0.04)


@pytest.mark.parametrize("measure", CENTRED)
def test_measures_that_are_said_to_be_centred_are(measure: str) -> None:
    """Mean over 40 unrelated pairs at 10 units, and one pair of 20,000 units, within 0.02 of 0."""
    assert of_noise(measure, 10, 40) == pytest.approx(0.0, abs=0.02)
    assert of_noise(measure, 20_000, 1) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [("mutual_knn", 10 / 99), ("cknna", 0.09), ("jaccard", 0.055), ("rank_similarity", 0.06)],
)
@pytest.mark.parametrize("n_units", [20, 500])
def test_chance_of_neighbours_is_what_the_records_say(measure: str, expected: float, n_units: int) -> None:
    """k / (n - 1) and what follows from it, for any number of units."""
    assert of_noise(measure, n_units, 20) == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize(
    ("measure", "n_units", "expected", "within"),
    [
        ("rv", 500, 0.83, 0.01),
        ("bipartite_match", 500, 0.29, 0.01),
        ("best_match", 500, 0.30, 0.01),
        ("soft_match", 500, 0.29, 0.01),
        ("rsm_norm", 500, 139, 3),
        ("gromov_wasserstein", 50, 0.097, 0.01),
        ("gromov_wasserstein", 5000, 0.010, 0.002),
        ("imd", 3, 2e-5, 1e-5),
        ("imd", 5000, 2e-5, 1.2e-5),
        ("second_order_cosine", 500, -0.08, 0.02),
    ],
)
def test_figures_in_the_records_of_bias(measure: str, n_units: int, expected: float, within: float) -> None:
    """Every figure that a record names for unrelated systems is found again."""
    assert of_noise(measure, n_units, 4) == pytest.approx(expected, abs=within)
    assert re.search(rf"{expected:g}\b|{expected:.2f}\b|{expected:.3f}\b", MEASURES[measure].bias)


def test_calibration_centres_every_measure_on_0() -> None:
    """The mean of the calibrated values of unrelated systems is 0 within 0.02, whatever the chance value."""
    systems = [np.random.default_rng(i).normal(size=(60, 30)) for i in range(7)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fill the .* dimensions")
        table = compare_many(systems, measures=CALIBRATED, calibrate="permutation", n_permutations=20)
    means = table.groupby("measure").calibrated.mean()
    assert means.abs().max() < 0.02, means
    raw = table.groupby("measure").value.mean()
    assert raw["cca"] > 0.5
    assert raw["dcor"] > 0.5


def test_calibration_keeps_what_is_related() -> None:
    """1 for equal systems, and well above 0 for a noisy copy, by every measure."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 10))
    systems = {"x": x, "copy": x + 0.3 * rng.normal(size=x.shape), "same": x.copy()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fill the .* dimensions")
        table = compare_many(systems, measures=CALIBRATED, calibrate="permutation", n_permutations=20)
    found = table.set_index(["a", "b", "measure"]).calibrated.sort_index()
    assert found["x", "same"].to_numpy() == pytest.approx(1.0, abs=1e-6)
    assert found["x", "copy"].min() > 0.3
