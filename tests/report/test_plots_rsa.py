"""The bar figure of RSA shows the scores, intervals, ceiling and tests of its result."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from brainalign.comparison import RsaResult, bootstrap_rsa, compare_rdms
from brainalign.errors import InputError, ShapeError
from brainalign.report import plot_rsa


def noise_of(rng, shape, scale):
    upper = np.triu(rng.normal(0, scale, shape), 1)
    return upper + np.swapaxes(upper, -1, -2)


def make_truth(k=4, n_subjects=8, n=24, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 6))
    true = np.linalg.norm(points[:, None] - points[None], axis=-1)
    data = true + noise_of(rng, (n_subjects, n, n), 0.5)
    models = {f"model {i}": true + noise_of(rng, (n, n), 0.1 + 1.2 * i) for i in range(k)}
    return data, dict(reversed(models.items()))


@pytest.fixture(scope="module")
def found():
    data, models = make_truth()
    return data, models, bootstrap_rsa(data, models, n_boot=1000, over="subjects", measure="pearson")


def caption(figure):
    return " ".join(figure.get_supxlabel().split())


def bars(ax):
    return np.array([p.get_width() for p in ax.patches if p.get_height() == pytest.approx(0.62)])


def test_bars_intervals_and_band_are_those_of_the_result(found):
    """Bar lengths are the scores, best first; lines are the intervals; the band spans the ceilings."""
    _, _, result = found
    ax = plot_rsa(result, title="All").axes[0]
    frame = result.to_frame().sort_values("score", ascending=False)
    np.testing.assert_allclose(bars(ax), frame["score"])
    assert [t.get_text() for t in ax.get_yticklabels()] == list(frame["model"])
    lines = next(c for c in ax.collections if isinstance(c, LineCollection)).get_segments()
    np.testing.assert_allclose([s[:, 0] for s in lines], frame[["low", "high"]])
    band = next(p for p in ax.patches if p.get_height() == pytest.approx(1.0))
    np.testing.assert_allclose([band.get_x(), band.get_x() + band.get_width()], result.observed_ceiling)
    assert ax.get_xlabel() == "similarity of RDMs (Pearson r)"
    low, high = result.observed_ceiling
    assert f"noise ceiling, {low:.3f} to {high:.3f}" in caption(ax.figure)
    assert "mean over 8 subjects, 24 stimuli" in caption(ax.figure)


def test_order_of_the_result_can_be_kept(found):
    """Unsorted, the models stand as the result names them."""
    ax = plot_rsa(found[2], ordered=False).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == list(found[2].names)
    np.testing.assert_allclose(bars(ax), found[2].observed)


@pytest.mark.parametrize("method", ["t", "bootstrap"])
@pytest.mark.parametrize("correction", ["fdr", "fwer", None])
def test_marks_are_the_tests(found, method, correction):
    """Stars stand at models above 0, ticks at pairs that differ, for each method and correction."""
    _, _, result = found
    figure = plot_rsa(result, method=method, correction=correction, alpha=0.03)
    frame = result.to_frame(method=method, correction=correction).sort_values("score", ascending=False)
    rows = {name: row for row, name in enumerate(frame["model"])}
    ax = figure.axes[0]
    stars = sorted(int(t.xy[1]) for t in ax.texts if t.get_text() == "*")
    assert stars == np.flatnonzero(frame["p_zero"] < 0.03).tolist()
    tested = result.test_pairs(method=method, correction=correction)
    tested = tested[tested["p_corrected"] < 0.03]
    expected = {
        tuple(sorted((rows[a], rows[b]))) for a, b in zip(tested.model_a, tested.model_b, strict=True)
    }
    drawn = set()
    for line, ticks in zip(figure.axes[1].lines[1::3], figure.axes[1].lines[2::3], strict=True):
        drawn |= {(int(line.get_ydata()[0]), int(row)) for row in ticks.get_ydata()}
    assert drawn == expected
    assert expected
    name = {"fdr": "FDR over 6 pairs", "fwer": "Holm over 6 pairs", None: "uncorrected for 6 pairs"}[
        correction
    ]
    assert f"two-sided {method}, p < 0.03, {name}" in caption(figure)


def test_marks_use_the_corrected_p(found):
    """A pair and a score that pass at alpha before correction, but not after, are not marked."""
    _, _, result = found
    tested = result.test_pairs()
    row = tested[tested["p"] < tested["p_corrected"]].iloc[-1]
    alpha = (row["p"] + row["p_corrected"]) / 2
    n = int((tested["p_corrected"] < alpha).sum())
    assert n < (tested["p"] < alpha).sum()
    figure = plot_rsa(result, alpha=alpha)
    ticks = [] if len(figure.axes) == 1 else figure.axes[1].lines[2::3]
    assert sum(len(line.get_ydata()) for line in ticks) == n


def test_no_difference_is_said():
    """Where no two models differ there is no second panel, and the caption says what was tested."""
    data, models = make_truth(2, seed=3)
    same = {"a": models["model 0"], "b": models["model 0"]}
    figure = plot_rsa(bootstrap_rsa(data, same, measure="rho_a", n_boot=60, over="subjects"))
    assert len(figure.axes) == 1
    assert "No two models differ (two-sided t, p < 0.05, FDR over 1 pair)" in caption(figure)


def test_one_model_has_no_pairs():
    """One model gives one bar and no word of pairs."""
    data, models = make_truth(1)
    figure = plot_rsa(bootstrap_rsa(data, models, measure="rho_a", n_boot=60, over="subjects"))
    assert len(bars(figure.axes[0])) == 1
    assert "pair" not in caption(figure)


def test_subjects_are_dots_at_their_scores(found):
    """Each subject is a dot at its score in the row of its model."""
    data, models, result = found
    scores = compare_rdms(data, np.stack(list(models.values())), measure="pearson")
    figure = plot_rsa(result, subject_scores=scores)
    dots = max((c.get_offsets() for c in figure.axes[0].collections), key=len)
    order = np.argsort(-result.observed, kind="stable")
    np.testing.assert_allclose(np.asarray(dots)[:, 0], scores[:, order].ravel())
    np.testing.assert_array_equal(np.round(np.asarray(dots)[:, 1]), np.tile(np.arange(4), 8))
    assert "Dots: subjects." in caption(figure)


def test_cosine_of_positive_rdms_gets_no_stars():
    """Where any model is above 0 no star is drawn, and the caption says why."""
    data, models = make_truth(2)
    figure = plot_rsa(bootstrap_rsa(np.abs(data), models, n_boot=60, over="subjects", measure="cosine"))
    assert not any(t.get_text() == "*" for t in figure.axes[0].texts)
    assert "No test against 0" in caption(figure)


def test_one_subject_has_no_band():
    """Without a ceiling there is no band, and the caption says why."""
    data, models = make_truth(2)
    with pytest.warns(UserWarning, match="one subject has no ceiling"):
        result = bootstrap_rsa(data[:1], models, measure="rho_a", n_boot=60, over="stimuli")
    figure = plot_rsa(result)
    assert not any(p.get_height() == pytest.approx(1.0) for p in figure.axes[0].patches)
    assert "No noise ceiling: one subject." in caption(figure)


def test_model_without_a_score_is_last_and_said(found):
    """A score that is NaN has no bar, stands last, and its reason is given."""
    result = found[2]
    observed = result.observed.copy()
    observed[3] = np.nan
    lost = replace(result, observed=observed, info={**result.info, "reasons": {"models constant": 1}})
    figure = plot_rsa(lost)
    ax = figure.axes[0]
    assert ax.get_yticklabels()[-1].get_text() == result.names[3]
    assert [t.xy for t in ax.texts if t.get_text() == "no score"] == [(0, 3)]
    assert "1 without a score: 1 models constant." in caption(figure)


def test_fitted_models_are_told_apart():
    """A model with fitted weights says so in its name and has another colour."""
    data, models = make_truth(2)
    stack = np.stack(list(models.values()))
    result = bootstrap_rsa(
        data, models, measure="rho_a", n_boot=20, over="subjects", weighted_models={"mix": stack}
    )
    figure = plot_rsa(result, ordered=False)
    assert figure.axes[0].get_yticklabels()[2].get_text() == "mix (fitted)"
    colours = [p.get_facecolor() for p in figure.axes[0].patches if p.get_height() == pytest.approx(0.62)]
    assert colours[0] == colours[1] != colours[2]
    assert "weights cross-validated" in caption(figure)


@pytest.mark.parametrize("k", [2, 20])
def test_names_do_not_overlap(k):
    """From 2 to 20 models with long names, no name overlaps the next, and all text lies inside."""
    rng = np.random.default_rng(0)
    draws = rng.normal(0.3, 0.02, (50, k)) + np.linspace(0.3, 0, k)
    observed = draws.mean(axis=0)
    names = tuple(f"network.blocks.{i}.attention.output" for i in range(k))
    variance = np.diag(np.full(k + 2, 4e-4))
    ceiling = np.array([0.6, 0.7])
    result = RsaResult(
        draws,
        np.tile(ceiling, (50, 1)),
        observed,
        ceiling,
        variance,
        9,
        names,
        (),
        "rho_a",
        ("subjects",),
        10,
        30,
    )
    figure = plot_rsa(result, title="Many models")
    figure.canvas.draw()
    boxes = [t.get_window_extent() for t in figure.axes[0].get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    assert min(b.x0 for b in boxes) >= 0
    note = figure._supxlabel.get_window_extent()
    assert note.y0 >= 0
    assert note.x1 <= figure.bbox.width
    assert figure.axes[0].get_tightbbox().y0 >= note.y1 - 1


def test_simulated_is_written(found):
    """A result of simulated RDMs says so below the figure."""
    result = replace(found[2], info={**found[2].info, "simulated": True})
    figure = plot_rsa(result)
    assert any(t.get_text() == "simulated responses" for t in figure.texts)


BAD = {
    "type": (lambda r: plot_rsa(r.observed), InputError, "result is a ndarray; expected the RsaResult"),
    "alpha": (lambda r: plot_rsa(r, alpha=5), InputError, "alpha=5; expected a number between 0 and 1"),
    "level": (lambda r: plot_rsa(r, level=95), InputError, "level=95; expected a number between 0 and 1"),
    "correction": (lambda r: plot_rsa(r, correction="holm"), InputError, "correction='holm' is not one of"),
    "method": (lambda r: plot_rsa(r, method="z"), InputError, "method='z' is not one of"),
    "subjects": (
        lambda r: plot_rsa(r, subject_scores=np.zeros((4, 8))),
        ShapeError,
        re.escape("subject_scores have shape (4, 8); expected (8, 4)"),
    ),
    "nan": (
        lambda r: plot_rsa(replace(r, observed=np.full(4, np.nan))),
        InputError,
        r"none of 4 models has a score \(all NaN\): no reason given",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_drawn_is_refused(name, found):
    """Each wrong input is named with what was expected."""
    draw, error, match = BAD[name]
    with pytest.raises(error, match=match):
        draw(found[2])
