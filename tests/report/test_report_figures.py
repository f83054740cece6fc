"""Figures and summaries show the numbers that they were given."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from report_parts import LAYERS, make_rdms, make_scores
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from brainalign import report
from brainalign.errors import AlignmentError, InputError, UnknownNameError
from brainalign.report.figures_rdms import (
    classical_mds,
    common_stimuli,
    percentiles,
    rank_agreement,
    rdm_numbers,
)
from brainalign.report.figures_scores import layer_profile_numbers
from brainalign.report.figures_time import time_course_numbers
from brainalign.report.regions import region_units, summarise
from brainalign.types import NoiseCeiling, RDMs, Scores

PROFILE = [make_scores(0.2 + 0.05 * i, layer=n, claim="descriptive", seed=i) for i, n in enumerate(LAYERS)]
TIMED = Scores(np.random.default_rng(0).normal(size=(6, 5)), info={"times": [0, 0.1, 0.2, 0.3, 0.4]})
CALLS = {
    "plot_layer_profile": lambda **k: report.plot_layer_profile(PROFILE, **k),
    "plot_unit_scores": lambda **k: report.plot_unit_scores(PROFILE[0], **k),
    "plot_model_comparison": lambda **k: report.plot_model_comparison(
        [make_scores(), make_scores(0.1, role="control")], **k
    ),
    "plot_time_course": lambda **k: report.plot_time_course(TIMED, **k),
    "plot_rdm": lambda **k: report.plot_rdm(make_rdms(), **k),
    "plot_rdm_pair": lambda **k: report.plot_rdm_pair(make_rdms(), make_rdms(seed=1), **k),
    "plot_mds": lambda **k: report.plot_mds(make_rdms(), **k),
}


@pytest.mark.parametrize("name", CALLS)
def test_axes_in_axes_out(name):
    """Each figure draws on the axes given and returns them, or makes its own; pyplot is never loaded."""
    given = Figure().add_subplot()
    assert CALLS[name](ax=given) is given
    made = CALLS[name]()
    assert made is not given
    made.figure.canvas.draw()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_profile_shows_the_means():
    """The line of a layer profile passes through the means of its layers, in their order of depth."""
    ax = report.plot_layer_profile(PROFILE[::-1], region="V4")
    line = next(x for x in ax.get_lines() if len(x.get_xdata()) == len(LAYERS))
    np.testing.assert_array_equal(line.get_xdata().astype(int), range(len(LAYERS)))
    np.testing.assert_allclose(line.get_ydata().astype(float), [s.values[15:].mean() for s in PROFILE])
    assert list(layer_profile_numbers(PROFILE[::-1])["layer"]) == LAYERS


def test_comparison_shows_the_means_and_refuses_other_tests():
    """Points lie at the means; scores of other test rows need a reason, which is then written."""
    two = [make_scores(0.5), make_scores(0.2, role="control", model="pixels", seed=1)]
    ax = report.plot_model_comparison(two)
    drawn = [float(c.lines[0].get_xdata()[0]) for c in ax.containers]
    np.testing.assert_allclose(drawn, [s.values.mean() for s in two])
    other = make_scores(splits={"hash": "zzz"})
    with pytest.raises(AlignmentError, match=r"different test sets \(split hashes abc123, zzz\)"):
        report.plot_model_comparison([two[0], other])
    assert "pilot" in report.plot_model_comparison([two[0], other], allow="pilot").get_xlabel()


def test_unit_histogram_holds_every_unit():
    """The bars of the histogram add up to the units that have a score."""
    values = np.linspace(0, 0.5, 20)
    values[3] = np.nan
    ax = report.plot_unit_scores(Scores(values))
    assert sum(p.get_height() for p in ax.patches) == 19
    assert "19 of 20" in ax.get_xlabel()


def test_few_units_are_named():
    """Up to twelve units are drawn one by one, at their scores, with their names and ceilings."""
    units = pd.DataFrame({"unit_id": ["IFG", "ATL", "AG"]})
    bound = NoiseCeiling([0.5, 0.6, np.nan], [0.4, 0.5, np.nan], [0.6, 0.7, np.nan], "split_half")
    ax = report.plot_unit_scores(Scores(np.array([0.1, np.nan, 0.3]), units, noise_ceiling=bound))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["IFG", "ATL", "AG"]
    dots = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(dots.get_xdata(), [0.1, np.nan, 0.3])
    ticks = next(line for line in ax.lines if line.get_marker() == "|")
    np.testing.assert_array_equal(ticks.get_xdata(), [0.5, 0.6, np.nan])
    assert "2 of 3 have one" in ax.get_xlabel()


def test_time_course_mean_and_quartiles():
    """The time course is the mean over units, with their quartiles, at the times of the scores."""
    frame = time_course_numbers(TIMED)
    np.testing.assert_allclose(frame["value"], TIMED.values.mean(0))
    np.testing.assert_allclose(frame["lower_quartile"], np.percentile(TIMED.values, 25, axis=0))
    np.testing.assert_array_equal(frame["time"], TIMED.info["times"])


def test_rdm_picture_is_the_ranked_matrix():
    """The picture of an RDM is its percentiles; many stimuli are averaged in blocks."""
    rdms = make_rdms(n=12)
    shown = rdm_numbers(rdms).to_numpy()
    above = np.triu_indices(12, 1)
    assert spearmanr(shown[above], rdms.values[0][above])[0] == pytest.approx(1)
    assert shown[above].min() == 0
    assert shown[above].max() == 100
    np.testing.assert_allclose(rdm_numbers(rdms, ranked=False), rdms.values[0])
    assert rdm_numbers(make_rdms(n=641)).shape == (214, 214)
    gap = rdms.values[0].copy()
    gap[0, 1] = gap[1, 0] = np.nan
    assert np.isnan(percentiles(gap)[0, 1])


def test_pair_joins_by_stimulus_id():
    """Two RDMs are joined by id, not by position, whatever the order of the second."""
    first = make_rdms(n=10)
    order = np.random.default_rng(0).permutation(10)
    moved = RDMs(first.values[:, order][:, :, order], first.stimulus_id[order], first.table)
    a, b = common_stimuli(first, moved)
    np.testing.assert_array_equal(a.values, b.values)
    picture = report.plot_rdm_pair(first, moved).images[0].get_array()
    np.testing.assert_allclose(picture, picture.T)
    with pytest.raises(AlignmentError, match="share 0 of 10 and 2 stimuli; at least 3"):
        report.plot_rdm_pair(first, RDMs(np.array([[0, 1.0], [1, 0]]), ["x", "y"]))


def test_rank_agreement_is_spearman():
    """The agreement beside two RDMs equals scipy's Spearman over the pairs that both have."""
    a, b = make_rdms(n=15).values[0], make_rdms(n=15, seed=1).values[0]
    above = np.triu_indices(15, 1)
    assert rank_agreement(a, b) == pytest.approx(spearmanr(a[above], b[above])[0])
    assert np.isnan(rank_agreement(a, np.zeros_like(a)))
    assert np.isnan(rank_agreement(a, np.full_like(a, np.nan)))


def test_scaling_recovers_a_plane():
    """Distances between points of a plane are reproduced exactly by their picture."""
    points = np.random.default_rng(0).normal(size=(20, 2))
    found, share = classical_mds(squareform(pdist(points)))
    np.testing.assert_allclose(pdist(found), pdist(points), atol=1e-10)
    assert share == pytest.approx(1)


def test_pictures_in_two_dimensions_are_turned_alike():
    """A picture is turned to match another one, and more than 1500 stimuli are thinned."""
    from brainalign.report.figures_rdms import mds_numbers

    rdms = make_rdms(n=15)
    points = mds_numbers(rdms)[["x", "y"]].to_numpy()
    turned = points @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_allclose(mds_numbers(rdms, like=turned)[["x", "y"]], turned, atol=1e-8)
    line = np.abs(np.subtract.outer(np.arange(1600.0), np.arange(1600.0)))
    assert len(mds_numbers(RDMs(line, list(range(1600))))) == 800


def test_conditions_colour_the_points():
    """Conditions in `info` become one colour and one legend entry each."""
    rdms = RDMs(make_rdms(n=6).values, list("abcdef"), info={"condition": ["face"] * 3 + ["house"] * 3})
    ax = report.plot_mds(rdms)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["face", "house"]


def test_regions_follow_labels_and_masks():
    """Labels, masks that overlap, equal names in two atlases, and units that are regions."""
    units = pd.DataFrame(
        {"roi_a": ["V1", "V1", None], "roi_b": ["V1", "V2", "V2"], "roi_face": [False, True, True]}
    )
    found = region_units(Scores(np.zeros(3), units))
    assert {k: list(v) for k, v in found.items()} == {
        "all": [0, 1, 2],
        "V1": [0, 1],
        "unlabelled": [2],
        "b:V1": [0],
        "V2": [1, 2],
        "face": [1, 2],
    }
    assert list(region_units(Scores(np.zeros(2), pd.DataFrame({"roi_a": ["V4", "V4"]})))) == ["V4"]
    rsa = Scores(np.zeros(2), pd.DataFrame({"unit_id": ["EVC", "LOC"]}), identity={"analysis": "rsa"})
    assert list(region_units(rsa)) == ["EVC", "LOC"]


def test_normalised_is_the_pooled_ratio():
    """Only units whose ceiling's interval lies above zero enter, and they enter as sums."""
    bound = NoiseCeiling(
        [0.8, 0.4, 0.5, np.nan], [0.7, 0.3, 0.0, np.nan], [0.9, 0.5, 0.9, np.nan], "split_half"
    )
    row = summarise(Scores(np.array([0.4, 0.3, 0.9, 0.2]), noise_ceiling=bound)).iloc[0]
    assert row["normalised"] == pytest.approx(0.7 / 1.2)
    assert row["n_normalised"] == 2
    assert row["value"] == pytest.approx(0.45)


def test_intervals_say_what_varies():
    """A given region interval is kept; else folds, else units give one; each says so."""
    given = make_scores(interval="95 % over resampled test stimuli", region_interval={"V4": [0.4, 0.6]})
    table = summarise(given).set_index("region")
    assert tuple(table.loc["V4", ["low", "high", "interval_of"]]) == (0.4, 0.6, "resampled test stimuli")
    folds = given.fold_values.mean(1)
    half = 2.7764451051977987 * folds.std(ddof=1) / np.sqrt(5)
    assert table.loc["all", "low"] == pytest.approx(folds.mean() - half)
    assert table.loc["all", "interval_of"] == "5 folds (Student t)"
    assert summarise(Scores(np.array([0.1, 0.3]))).loc[0, "interval_of"] == "the units (Student t)"
    one = Scores(np.array([0.2]), interval=np.array([[0.1], [0.3]]))
    assert tuple(summarise(one).loc[0, ["low", "high"]]) == (0.1, 0.3)


def test_region_p_holds_under_the_null():
    """The bound for a region rejects at most 5 % of nulls, for independent and for equal units."""
    rng = np.random.default_rng(0)

    def rate(p):
        return np.mean([summarise(Scores(np.zeros(len(x)), p_values=x)).loc[0, "p"] <= 0.05 for x in p])

    assert rate(rng.uniform(size=(400, 7))) <= 0.05
    assert rate(np.repeat(rng.uniform(size=(400, 1)), 7, axis=1)) <= 0.05
    assert summarise(Scores(np.zeros(1), p_values=np.array([0.03]))).loc[0, "p"] == 0.03
    spread = np.array([0.04, 0.7, 0.01, 0.5, 0.03, 0.6, 0.02])  # fourth of seven: 0.04 * 7 / 4
    assert summarise(Scores(np.zeros(7), p_values=spread)).loc[0, "p"] == pytest.approx(0.07)


def test_wrong_input_is_refused():
    """Each wrong argument is an error that says what was expected and found."""
    with pytest.raises(InputError, match="a layer profile has no Scores to draw"):
        report.plot_layer_profile([])
    with pytest.raises(InputError, match="entry 1 is a int; expected Scores"):
        report.plot_model_comparison([make_scores(), 3])
    with pytest.raises(InputError, match="one axis cannot hold the metrics pearson, r2"):
        report.plot_layer_profile([Scores(np.ones(2)), Scores(np.ones(2), metric="r2")])
    with pytest.raises(UnknownNameError, match="region 'V5' does not exist; closest: V4"):
        report.plot_unit_scores(make_scores(), region="V5")
    with pytest.raises(UnknownNameError, match="region 'V5' does not exist; closest: V4"):
        report.plot_layer_profile(PROFILE, region="V5")
    with pytest.raises(InputError, match=r"scores of shape \(30,\) have no time axis"):
        report.plot_time_course(make_scores())
    with pytest.raises(InputError, match="rdms is a Scores; expected RDMs"):
        report.plot_rdm(make_scores())
    with pytest.raises(InputError, match="row=3 of 1 RDMs; expected 0 to 0"):
        report.plot_mds(make_rdms(), row=3)
