"""Time courses, topographies and lag curves show the scores that they were given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_parts import LAYERS, Page, make_continuous, make_placed, make_scores, make_sensors

from brainalign.errors import InputError, UnknownNameError
from brainalign.report import plot_lag_curve, plot_time_course, plot_topography, write_report
from brainalign.report.figures_sensors import flatten, peak_times, sensor_kinds, topography_numbers
from brainalign.report.figures_time import time_course_numbers
from brainalign.types import NoiseCeiling, Scores


def _rsa_over_time():
    """RSA of every layer with two regions at 20 times; later layers peak later."""
    times = np.arange(20) / 50 - 0.1
    out = []
    for depth, layer in enumerate(LAYERS):
        course = np.exp(-(((times - 0.05 - 0.03 * depth) / 0.04) ** 2))
        units = pd.DataFrame({"unit_id": ["V1", "V4"], "n_units": [30, 40]})
        identity = {"dataset": "meg", "subject": "s1", "model": "net", "layer": layer, "analysis": "rsa"}
        values = np.stack([0.3 * course, 0.2 * course])
        info = {"times": times.tolist(), "layers": LAYERS}
        out.append(Scores(values, units, "rsa_spearman", identity, n_test=50, info=info))
    return out


def test_course_has_onset_ceiling_and_significance():
    """Lines at the scores and their ceiling, a mark at 0 s, bars where q is at most 0.05."""
    scores = make_sensors()
    level = np.full(scores.values.shape, 0.7)
    bound = NoiseCeiling(level, level, level, "split_half")
    scores = replace(scores, noise_ceiling=bound)
    ax = plot_time_course(scores)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), scores.values.mean(0))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["net", "noise ceiling 0.70", "q ≤ 0.05"]
    onset = [line for line in ax.lines if list(line.get_xdata()) == [0.0, 0.0]]
    assert len(onset) == 1
    bars = next(line for line in ax.lines if line.get_marker() == "s")
    frame = time_course_numbers(scores)
    np.testing.assert_array_equal(bars.get_xdata(), frame["time"][frame["q"] <= 0.05])
    assert max(bars.get_ydata()) < frame["lower_quartile"].min()
    assert "quartiles of sensors" in ax.get_ylabel()


def test_region_p_over_time_is_a_bound_and_corrected():
    """p of several units at a time is their median bound, q corrects it over the times."""
    p = np.array([[0.01, 0.4], [0.02, 0.5], [0.03, 0.6]])
    frame = time_course_numbers(Scores(np.zeros((3, 2)), p_values=p))
    np.testing.assert_allclose(frame["p"], [0.02 * 3 / 2, 0.5 * 3 / 2])
    np.testing.assert_allclose(frame["q"], [0.06, 0.75])


def test_each_unit_has_its_line():
    """each=True draws single sensors under their names; of many, the highest; several Scores are refused."""
    scores = make_sensors(5)
    ax = plot_time_course(scores, each=True)
    lines = [line for line in ax.lines if line.get_label() in set(scores.units.index)]
    assert [line.get_label() for line in lines] == list(scores.units.index)
    for line, values in zip(lines, scores.values, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    many = make_sensors(30)
    shown = {line.get_label() for line in plot_time_course(many, each=True).lines}
    top = many.units.index[np.argsort(-many.values.max(1))[:12]]
    assert set(top) <= shown
    with pytest.raises(InputError, match="each=True draws the units of one Scores, not of 2"):
        plot_time_course([scores, scores], each=True)
    with pytest.raises(InputError, match="have no time axis"):
        plot_time_course(make_scores())
    with pytest.raises(UnknownNameError, match="region 'V9' does not exist"):
        plot_time_course(scores, region="V9")


def test_layers_over_time(tmp_path):
    """RSA over time makes a page with one figure a region, a line a layer, and peaks in the table."""
    results = _rsa_over_time()
    ax = plot_time_course(results, region="V4")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == LAYERS
    np.testing.assert_allclose(ax.lines[2].get_ydata(), results[2].values[1])
    page = Page(write_report(results, tmp_path / "r.html", figures_folder=tmp_path / "f").read_text())
    assert "Time course of the layers in V1." in page.text
    assert "Time course of the layers in V4." in page.text
    assert "Peak over time" in page.text
    assert "No p-values were computed" not in page.text
    table = pd.read_csv(next((tmp_path / "f").glob("*time_layers_V4*.tsv")), sep="\t")
    assert list(dict.fromkeys(table["layer"])) == LAYERS
    np.testing.assert_allclose(table["value"][:20], results[0].values[1])
    summary = pd.read_csv(tmp_path / "f" / "scores.tsv", sep="\t")
    np.testing.assert_allclose(summary["peak"][:2], results[0].values.max(1))
    assert summary["peak_time"][0] == pytest.approx(0.04)


def test_topography_places_and_values():
    """Sensors lie nose up, left on the left; kinds are apart; a pair of gradiometers is one place."""
    flat = flatten(np.array([[-80.0, 0, 40], [80, 0, 40], [0, 90, 40], [0, 0, 130]]))
    assert flat[0, 0] < -0.09
    assert flat[1, 0] > 0.09
    assert flat[2, 1] > 0.09
    np.testing.assert_allclose(flat[3], 0, atol=1e-9)
    eeg, grad = make_sensors(6), make_sensors(10, ch_type="grad", seed=1)
    places = grad.units.copy()
    places.loc[places.index[1::2], list("xyz")] = places.loc[places.index[::2], list("xyz")].to_numpy()
    units = pd.concat([eeg.units, places])
    scores = Scores(np.concatenate([eeg.values, grad.values]), units, info=eeg.info)
    assert {k: len(v) for k, v in sensor_kinds(scores).items()} == {"eeg": 6, "grad": 10}
    frame = topography_numbers(scores, times=[0.2])
    assert list(frame["kind"]) == ["eeg"] * 6 + ["grad"] * 5
    t = int(np.abs(np.array(scores.info["times"]) - 0.2).argmin())
    np.testing.assert_allclose(frame.iloc[6, -1], grad.values[:2, t].mean())
    np.testing.assert_allclose(frame.iloc[:6, -1], eeg.values[:, t])
    ax = plot_topography(scores, times=[0.1, 0.2])
    titles = [a.get_title() for a in ax.child_axes if a.get_title()]
    assert titles == ["0.100 s, EEG", "0.200 s, EEG", "0.100 s, gradiometers", "0.200 s, gradiometers"]
    assert len(plot_topography(scores, times=0.2, kind="grad").child_axes) == 2


def test_peaks_are_found():
    """Without times, heads are drawn at the peaks of the mean over sensors."""
    scores = make_sensors()
    assert peak_times(scores) == [pytest.approx(0.2)]
    course = np.zeros(100)
    course[[20, 60]] = 1, 0.8
    two = Scores(np.tile(course, (4, 1)), info={"times": (np.arange(100) / 100).tolist()})
    assert peak_times(two) == [0.2, 0.6]


def test_too_few_sensors_are_told_in_words(tmp_path):
    """Fewer than four places, or none, make no topography: an error for a caller, a sentence on a page."""
    three = make_sensors(3)
    with pytest.raises(InputError, match="only 3 of 3 sensors of one kind have a place .* at least 4"):
        plot_topography(three)
    nowhere = Scores(three.values, three.units.assign(x=np.nan), info=three.info)
    with pytest.raises(InputError, match="no topography: the sensors have no positions"):
        plot_topography(nowhere)
    with pytest.raises(InputError, match="no magnetometers sensors have positions"):
        plot_topography(make_sensors(), kind="mag")
    page = Page(write_report([three], tmp_path / "r.html").read_text())
    assert "No topography: only 3 of 3 sensors" in page.text
    assert "Time course of each sensor" in page.text
    four = Page(write_report([make_sensors(4)], tmp_path / "r.html").read_text())
    assert "Topography." in four.text
    assert "No topography" not in four.text


def test_lag_curve_marks_the_best_lag():
    """A line per region at its scores, a mark at the best lag; controls are dashed; wrong scans refused."""
    scores = make_continuous()
    ax = plot_lag_curve(scores)
    assert ax.get_xlabel() == "lag of the responses behind the features (s)"
    np.testing.assert_allclose(ax.lines[1].get_ydata(), scores.info["lag_scan"]["values"]["ATL"])
    assert "best lag 4.00 s" in [t.get_text() for t in ax.get_legend().get_texts()]
    two = plot_lag_curve([scores, make_continuous(model="time index", role="control")], region="AG")
    assert [line.get_linestyle() for line in two.lines[:2]] == ["-", "--"]
    with pytest.raises(InputError, match=r'no lag scan: expected info\["lag_scan"\] with lags_s and values'):
        plot_lag_curve(make_scores())
    with pytest.raises(InputError, match=r"IFG has scores of shape \(1,\) for 2 lags; expected one per lag"):
        plot_lag_curve(make_continuous(lag_scan={"lags_s": [0, 1], "values": {"IFG": [0.1]}}))
    with pytest.raises(InputError, match=r"has 0 lags and 0 regions; expected at least one of each"):
        plot_lag_curve(make_continuous(lag_scan={"lags_s": []}))
    with pytest.raises(UnknownNameError, match="region 'IGF' does not exist; closest: IFG"):
        plot_lag_curve(scores, region="IGF")


def test_no_figure_stays_in_pyplot():
    """Neither nilearn nor MNE leaves a figure in the state that a notebook would show again."""
    import sys

    from brainalign.report import plot_brain_map

    volume, _, surface, sensors, *_ = make_placed()
    for draw, scores in ((plot_brain_map, volume), (plot_brain_map, surface), (plot_topography, sensors)):
        draw(scores).figure.canvas.draw()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
