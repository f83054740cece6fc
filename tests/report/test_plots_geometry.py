"""Scaling and trees place stimuli by their dissimilarities, with missing and negative pairs said."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from report_parts import make_rdms
from scipy.cluster.hierarchy import cophenet, fcluster, linkage
from scipy.spatial.distance import squareform

from brainalign.errors import InputError, ShapeError
from brainalign.report import plot_dendrogram, plot_mds_over_time
from brainalign.report.plots_geometry import mds_path
from brainalign.report.plots_scaling import align_to, metric_mds
from brainalign.types import RDMs

KINDS = ["face", "house", "face", "tool", "house", "face", "tool", "face", "tool", "tool"]


def distances_of(points):
    found = np.linalg.norm(points[..., :, None, :] - points[..., None, :, :], axis=-1)
    return (found + np.swapaxes(found, -1, -2)) / 2


@pytest.fixture(scope="module")
def plane():
    return np.random.default_rng(0).normal(size=(10, 2))


@pytest.fixture(scope="module")
def high():
    """RDM of points in eight dimensions, which no plane holds."""
    return distances_of(np.random.default_rng(1).normal(size=(10, 8)))


def caption(figure):
    return " ".join(figure.get_supxlabel().split())


def stress_of(points, matrix):
    distances = distances_of(points)
    known = np.isfinite(matrix) & ~np.eye(len(matrix), dtype=bool)
    gap = np.where(known, distances - np.nan_to_num(matrix), 0)
    return np.sqrt((gap**2).sum() / (distances[known] ** 2).sum())


def test_points_of_a_plane_are_recovered(plane):
    """Distances of points in a plane come back exactly, with stress 0, also with a quarter missing."""
    matrix = distances_of(plane)
    points, stress = metric_mds(matrix)
    np.testing.assert_allclose(distances_of(points), matrix, atol=1e-6)
    assert stress < 1e-6
    gone = matrix.copy()
    gone[0, 1] = gone[1, 0] = gone[3, 7] = gone[7, 3] = gone[2, 5] = gone[5, 2] = np.nan
    points, stress = metric_mds(gone)
    assert stress < 0.01
    np.testing.assert_allclose(distances_of(points), matrix, atol=0.1)


def test_scaling_is_that_of_sklearn(high):
    """From the same start, the loss is that of SMACOF of scikit-learn, and the stress is Kruskal's."""
    from sklearn.manifold import smacof

    start = np.random.default_rng(3).normal(size=(10, 2))
    points, stress = metric_mds(high, start=start)
    theirs, loss = smacof(
        high, n_components=2, init=start, n_init=1, max_iter=3000, eps=1e-9, normalized_stress=False
    )
    ours = ((distances_of(points) - high)[np.triu_indices(10, 1)] ** 2).sum()
    assert ours == pytest.approx(loss, rel=2e-3)
    assert stress == pytest.approx(stress_of(points, high))
    assert stress > 0.1
    assert stress == pytest.approx(stress_of(theirs, high), rel=2e-3)


def test_stress_does_not_depend_on_units(high):
    """Stress and shape are the same for an RDM in other units."""
    points, stress = metric_mds(high)
    scaled, same = metric_mds(1e6 * high)
    assert same == pytest.approx(stress)
    np.testing.assert_allclose(scaled, 1e6 * points, rtol=1e-6)


def test_stimuli_without_pairs_are_left_out(plane):
    """A stimulus without a known pair has no place and leaves the others alone; no pair at all: no place."""
    matrix = distances_of(plane)
    matrix[4], matrix[:, 4] = np.nan, np.nan
    points, stress = metric_mds(matrix)
    assert np.isnan(points[4]).all()
    rest = np.delete(np.arange(10), 4)
    np.testing.assert_allclose(distances_of(points[rest]), matrix[np.ix_(rest, rest)], atol=1e-6)
    assert stress < 1e-6
    nothing = metric_mds(np.full((3, 3), np.nan))
    assert np.isnan(nothing[0]).all()
    assert np.isnan(nothing[1])
    assert metric_mds(np.zeros((3, 3)))[1] == 0


def test_alignment_undoes_a_turn_and_keeps_size(plane):
    """A turned, mirrored and shifted copy comes back onto the reference; a larger one stays larger."""
    turn = np.array([[np.cos(2), -np.sin(2)], [-np.sin(2), -np.cos(2)]])
    np.testing.assert_allclose(align_to(plane @ turn + 5, plane), plane, atol=1e-12)
    twice = align_to(2 * plane @ turn, plane)
    np.testing.assert_allclose(twice - twice.mean(0), 2 * (plane - plane.mean(0)), atol=1e-12)
    np.testing.assert_array_equal(align_to(plane, np.full((10, 2), np.nan)), plane)


def test_equal_geometry_stays_in_place(high):
    """Aligned, an RDM that does not change gives equal points; a small change moves them little."""
    rng = np.random.default_rng(5)
    noise = np.triu(rng.normal(0, 0.02, (6, 10, 10)), 1)
    path = high + np.cumsum(noise + noise.transpose(0, 2, 1), axis=0)
    path[3] = np.nan  # a time without distances does not break the chain
    points, stress = mds_path(path)
    assert np.isnan(points[3]).all()
    assert np.isnan(stress[3])
    known = points[[0, 1, 2, 4, 5]]
    assert np.linalg.norm(np.diff(known, axis=0), axis=-1).max() < 0.2 * np.ptp(known)
    other = distances_of(rng.normal(size=(10, 8)))
    moved, _ = mds_path(np.stack([high, other]))
    np.testing.assert_allclose(align_to(moved[1], moved[0]), moved[1], atol=1e-10)
    still, _ = mds_path(np.stack([high, high]))
    np.testing.assert_allclose(still[0], still[1], atol=0.02)


def test_panels_hold_the_points(high):
    """Each panel draws its points by category, on one scale, with its time and its stress."""
    stack = np.stack([high, 2 * high, 3 * high])
    figure = plot_mds_over_time(stack, categories=KINDS, times=[0.0, 0.05, 0.1])
    points, stress = mds_path(stack)
    for row, ax in enumerate(figure.axes):
        drawn = [c for c in ax.collections if isinstance(c, PathCollection)]
        assert [c.get_label() for c in drawn] == ["face", "house", "tool"]
        for c, kind in zip(drawn, ["face", "house", "tool"], strict=True):
            mask = np.array(KINDS) == kind
            np.testing.assert_allclose(np.asarray(c.get_offsets()), points[row][mask])
        assert ax.get_title(loc="left") == f"{50 * row} ms, stress {stress[row]:.2f}"
        assert ax.get_xlim() == figure.axes[0].get_xlim()
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["face", "house", "tool"]
    assert "Each turned to match the one before" in caption(figure)


def test_missing_and_negative_pairs_are_said(high):
    """Negative pairs are placed as 0, missing ones have no say, and both are counted."""
    matrix = high - 3 * (1 - np.eye(10))
    matrix[0, 9] = matrix[9, 0] = np.nan
    figure = plot_mds_over_time(matrix)
    n = int((matrix[np.triu_indices(10, 1)] < 0).sum())
    assert n > 0
    assert f"{n} of 45 dissimilarities are negative and count as 0. 1 of 45 pairs" in caption(figure)
    drawn = np.asarray(figure.axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(drawn, metric_mds(np.maximum(matrix, 0))[0])


def test_many_times_are_thinned(high):
    """More than twenty times: twenty panels from the first to the last, said in the caption."""
    figure = plot_mds_over_time(np.stack([high] * 23), times=np.arange(23) / 100)
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert len(titles) == 20
    assert titles[0].startswith("0 ms")
    assert titles[-1].startswith("220 ms")
    assert "20 of 23 are drawn" in caption(figure)


def test_unaligned_is_said(high):
    """Without alignment the caption warns of comparing directions."""
    assert "Not aligned" in caption(plot_mds_over_time(np.stack([high, high]), aligned=False))


def test_trajectories_join_the_points(high):
    """The path of each stimulus passes through its aligned points, from hollow to filled."""
    stack = np.stack([high, 1.5 * high, 2 * high])
    rdms = RDMs(stack, [f"i{j}" for j in range(10)], pd.DataFrame({"time": [0.0, 0.1, 0.2]}))
    figure = plot_mds_over_time(rdms, layout="trajectories")
    points, _ = mds_path(stack)
    lines = next(c for c in figure.axes[0].collections if isinstance(c, LineCollection))
    np.testing.assert_allclose(np.stack(lines.get_segments()), points.transpose(1, 0, 2))
    assert figure.axes[0].get_title(loc="left") == "0 ms (hollow) to 200 ms (filled)"
    assert re.search(r"Stress-1 0\.\d\d to 0\.\d\d\.", caption(figure))
    means = plot_mds_over_time(rdms, layout="trajectories", categories=KINDS).axes[0].lines
    face = points[:, np.array(KINDS) == "face"].mean(axis=1)
    np.testing.assert_allclose(means[1].get_xydata(), face)


def test_few_stimuli_are_named(plane):
    """One RDM of named stimuli: each name stands at its point."""
    figure = plot_mds_over_time(distances_of(plane), labels=[f"s{i}" for i in range(10)])
    points, _ = metric_mds(distances_of(plane))
    for i, text in enumerate(figure.axes[0].texts):
        assert text.get_text() == f"s{i}"
        np.testing.assert_allclose(text.xy, points[i])


@pytest.mark.parametrize("method", ["average", "complete", "single", "weighted"])
def test_branches_join_where_scipy_joins(high, method):
    """Heights of the branches and the order of the leaves are those of scipy's tree."""
    figure = plot_dendrogram(high, labels=[f"s{i}" for i in range(10)], method=method)
    tree = linkage(squareform(high, checks=False), method)
    ax = figure.axes[0]
    segments = np.stack(ax.collections[0].get_segments())
    np.testing.assert_allclose(np.sort(segments[:, 1, 0]), tree[:, 2])
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert sorted(names) == sorted(f"s{i}" for i in range(10))
    together = fcluster(tree, 2, "maxclust")[[int(n[1:]) for n in names]]
    assert np.count_nonzero(np.diff(together)) == 1
    assert f"({method} linkage)" in ax.get_xlabel()


def test_branches_of_one_category_have_its_colour():
    """Two tight groups: the branches within a group are coloured, the one that joins them is not."""
    points = np.concatenate([np.zeros((4, 2)), np.full((4, 2), 9.0)])
    matrix = distances_of(points + np.random.default_rng(0).normal(0, 0.1, (8, 2)))
    figure = plot_dendrogram(matrix, categories=["a"] * 4 + ["b"] * 4, distance="euclidean", unit="mm")
    lines = figure.axes[0].collections[0]
    heights = np.stack(lines.get_segments())[:, 1, 0]
    colours = np.unique(lines.get_colors()[heights < 5], axis=0)
    assert len(colours) == 2
    top = lines.get_colors()[heights.argmax()]
    assert not (colours == top).all(axis=1).any()
    assert figure.axes[0].get_xlabel().startswith("euclidean [mm] at which groups join")
    assert sum(len(line.get_ydata()) for line in figure.axes[0].lines) == 8


def test_tree_says_what_it_filled(high):
    """A missing pair takes the mean of the others, a negative one 0; both are counted."""
    matrix = high.copy()
    matrix[0, 1] = matrix[1, 0] = np.nan
    matrix[2, 3] = matrix[3, 2] = -0.5
    figure = plot_dendrogram(matrix)
    filled = squareform(np.maximum(np.nan_to_num(matrix, nan=-1.0), 0), checks=False)
    filled[0] = filled[1:].mean()
    expected = linkage(filled, "average")
    segments = np.stack(figure.axes[0].collections[0].get_segments())
    np.testing.assert_allclose(np.sort(segments[:, 1, 0]), np.sort(expected[:, 2]))
    assert np.ptp(cophenet(expected)) > 0
    assert (
        "1 of 45 dissimilarities are negative and count as 0. 1 of 45 pairs are missing and take the mean"
        in caption(figure)
    )


BAD = {
    "layout": (lambda d: plot_mds_over_time(d, layout="film"), InputError, "layout='film' is not one of"),
    "alone": (
        lambda d: plot_mds_over_time(d, layout="trajectories"),
        InputError,
        "layout='trajectories' with 1 RDMs and aligned=True; paths need",
    ),
    "big": (
        lambda d: plot_mds_over_time(np.ones((1501, 1501)) - np.eye(1501)),
        InputError,
        "rdms over 1501 stimuli; at most 1500",
    ),
    "times": (
        lambda d: plot_mds_over_time(d, times=[0, 1]),
        ShapeError,
        r"times have shape \(2,\) for 1 RDMs",
    ),
    "categories": (
        lambda d: plot_mds_over_time(d, categories=["a"]),
        ShapeError,
        "categories have 1 rows, expected 10",
    ),
    "nan": (lambda d: plot_mds_over_time(d * np.nan), InputError, "all 45 pairs are NaN"),
    "method": (lambda d: plot_dendrogram(d, method="ward"), InputError, "method='ward' is not one of"),
    "several": (lambda d: plot_dendrogram(np.stack([d, d])), InputError, "rdm holds 2 RDMs; a tree"),
    "leaves": (
        lambda d: plot_dendrogram(np.ones((201, 201)) - np.eye(201)),
        InputError,
        "rdm over 201 stimuli; a tree of at most 200",
    ),
    "labels": (lambda d: plot_dendrogram(d, labels=["a"]), ShapeError, "labels has 1 entries for 10 stimuli"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_drawn_is_refused(name, high):
    """Each wrong input is named with what was expected."""
    draw, error, match = BAD[name]
    with pytest.raises(error, match=match):
        draw(high)


def test_categories_of_the_rdms_are_used():
    """RDMs that carry conditions and names need no arguments."""
    rdms = make_rdms(n=10)
    rdms = replace(rdms, info={**rdms.info, "condition": KINDS})
    figure = plot_mds_over_time(rdms)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["face", "house", "tool"]
    tree = plot_dendrogram(rdms)
    assert {t.get_text() for t in tree.axes[0].get_yticklabels()} == set(rdms.stimulus_id)


def test_a_long_legend_has_room(high):
    """Ten categories in a low figure: the legend lies above the caption, inside the figure."""
    for draw in (plot_mds_over_time, plot_dendrogram):
        figure = draw(high, categories=[f"kind {i}" for i in range(10)])
        figure.canvas.draw()
        legend = figure.legends[0].get_window_extent()
        low = figure._supxlabel.get_window_extent().y1 if figure._supxlabel is not None else 0
        assert low - 1 <= legend.y0
        assert legend.y1 <= figure.bbox.height
