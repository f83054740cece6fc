"""Brain maps show each unit where it lies, left on the left, with a scale that says what it is."""

from __future__ import annotations

from dataclasses import replace

import nibabel
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from report_parts import Page, make_scores, make_sensors, make_surface, make_volume

from brainalign.errors import InputError
from brainalign.report import plot_brain_map, write_report
from brainalign.report.figures_maps import brain_map_numbers, shown_scores, slice_places
from brainalign.report.style import SCORES, figure_of

STORED_RIGHT_TO_LEFT = np.diag([-3.0, 3.0, 3.0, 1.0])
STORED_TURNED = np.array([[0.0, -3, 0, 30], [3, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
OBLIQUE = np.array([[-2.9, 0.4, 0, 8], [0.4, 2.9, 0.3, -9], [0, -0.3, 3, 1], [0, 0, 0, 1]])


def _pixels(ax):
    """The drawn figure as (height, width, 3) in 0 to 1, without its colour bar."""
    figure = figure_of(ax)
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255
    bar = figure.axes[-1].get_position()
    return drawn[: int((1 - bar.y1) * drawn.shape[0]) - 4]


def _where(pixels, colour):
    """Columns of the pixels of this colour."""
    return np.flatnonzero((np.abs(pixels - to_rgb(colour)).max(-1) < 0.02).any(0))


@pytest.mark.parametrize("view", ["slices", "glass"])
@pytest.mark.parametrize("affine", [None, STORED_RIGHT_TO_LEFT, STORED_TURNED, OBLIQUE])
def test_right_of_the_brain_is_on_the_right(affine, view):
    """High scores on the right (x > 0) lie beside the R and away from the L, however the file is stored."""
    shape = np.array((6, 7, 5))
    turned = np.diag([3.0, 3.0, 3.0, 1.0]) if affine is None else affine.copy()
    turned[:3, 3] = -turned[:3, :3] @ ((shape - 1) / 2)  # the middle of the phantom at x = 0
    scores = make_volume(tuple(shape), affine=turned)
    ax = plot_brain_map(scores, view=view)
    pixels = _pixels(ax)
    figure = figure_of(ax)
    heads = [a for a in figure.axes if {"L", "R"} <= {t.get_text() for t in a.texts}]
    assert heads
    for head in heads:
        sides = {t.get_text(): t.get_window_extent().x0 for t in head.texts if t.get_text() in "LR"}
        assert sides["L"] < sides["R"]
        box = head.get_window_extent()
        columns = _where(pixels[:, int(box.x0) : int(box.x1)], SCORES(1.0)) + box.x0
        assert len(columns) > 2
        assert columns.mean() > (sides["L"] + sides["R"]) / 2 + 2


def test_left_stays_left_when_the_phantom_is_mirrored():
    """The same phantom with its high side on the left is drawn on the left: the check above can fail."""
    scores = make_volume()
    mirrored = type(scores)(0.7 - scores.values, scores.units, identity=scores.identity, info=scores.info)
    ax = plot_brain_map(mirrored)
    tile = next(a for a in figure_of(ax).axes if a.texts)
    pixels = _pixels(ax)
    box = tile.get_window_extent()
    columns = _where(pixels[:, int(box.x0) : int(box.x1)], SCORES(1.0))
    assert columns.mean() < box.width / 2


def test_colours_say_score_zero_none_and_below():
    """A score of 0 is coloured, a unit without a score grey, one below the scale blue, the rest white."""
    scores = make_volume((4, 1, 1), affine=np.diag([3.0, 3, 3, 1]))
    values = np.array([0.0, np.nan, -0.01, 0.5])
    assert len(scores.values) == 4
    ax = plot_brain_map(type(scores)(values, scores.units, info=scores.info))
    pixels = _pixels(ax)
    for colour in (SCORES(0.0), "#e3e7ed", SCORES.get_under(), SCORES(1.0)):
        assert len(_where(pixels, colour)) > 20, colour
    order = [_where(pixels, c).mean() for c in (SCORES(0.0), "#e3e7ed", SCORES.get_under(), SCORES(1.0))]
    assert order == sorted(order)


def test_scale_names_metric_and_threshold():
    """The colour bar names metric, unit and what was left out; below chance both sides are shown."""
    scores = make_volume()
    label = figure_of(plot_brain_map(scores)).axes[-1].get_xlabel()
    assert label == "Pearson r of each voxel (no threshold)"
    cut = figure_of(plot_brain_map(scores, threshold=0.2)).axes[-1].get_xlabel()
    assert "voxels within 0.2 of chance not shown" in cut
    assert np.isfinite(shown_scores(scores, threshold=0.2)[0]).sum() == (scores.values > 0.2).sum()
    p = np.where(scores.values > 0.2, 1e-4, 0.5)
    tested = type(scores)(scores.values, scores.units, info=scores.info, p_values=p)
    assert (
        "voxels with q > 0.05 not shown"
        in figure_of(plot_brain_map(tested, max_q=0.05)).axes[-1].get_xlabel()
    )
    both = type(scores)(scores.values - 0.5, scores.units, info=scores.info)
    low, high = figure_of(plot_brain_map(both)).axes[-1].get_xlim()
    assert low == pytest.approx(-high)


def _extent(shape):
    inside = np.zeros(np.array(shape) + 2)
    inside[1:-1, 1:-1, 1:-1] = 1
    return nibabel.Nifti1Image(inside, np.diag([3.0, 3.0, 3.0, 1.0]))


def test_slices_follow_the_shape():
    """One slice is drawn once, along its thin axis; a thick volume gives at most twelve, through voxels."""
    assert slice_places(_extent((8, 7, 1))) == ("z", [3.0])
    assert slice_places(_extent((1, 7, 6))) == ("x", [3.0])
    assert slice_places(_extent((4, 1, 1)))[0] == "z"
    axis, places = slice_places(_extent((6, 6, 40)))
    assert axis == "z"
    assert len(places) == 12
    assert set(np.array(places) % 3) == {0.0}
    assert slice_places(_extent((5, 5, 4)))[1] == [3.0, 6.0, 9.0, 12.0]


def test_given_axes_hold_the_map():
    """The map is drawn inside the area of the axes that were given, which come back."""
    from matplotlib.figure import Figure

    given = Figure(figsize=(8, 4)).add_axes((0.5, 0.1, 0.45, 0.8))
    assert plot_brain_map(make_volume(), ax=given) is given
    for part in given.figure.axes[1:]:
        assert part.get_position().x0 >= 0.49


def test_surface_is_drawn_per_hemisphere():
    """Scores of the left hemisphere colour the left pictures alone; the right ones show sulci."""
    both = make_surface(n=9000)
    left = (both.units["hemi"] == "left").to_numpy()
    values = np.where(left, 0.5, np.nan)
    ax = plot_brain_map(type(both)(values, both.units, info=both.info))
    pixels = _pixels(ax)
    coloured = np.flatnonzero((np.ptp(pixels, axis=2) > 0.1).any(0))
    assert len(coloured) > 50
    assert coloured.max() < pixels.shape[1] / 2
    grey = (np.ptp(pixels, axis=2) < 0.02) & (pixels.mean(-1) < 0.8)
    assert grey[:, pixels.shape[1] // 2 :].sum() > 1000
    assert "each vertex" in figure_of(ax).axes[-1].get_xlabel()


def test_numbers_are_those_of_the_units():
    """The table beside the map has place, score and p of each unit."""
    scores = make_volume()
    frame = brain_map_numbers(scores)
    assert list(frame.columns) == ["unit_id", "i", "j", "k", "x", "y", "z", "value"]
    np.testing.assert_array_equal(frame["value"], scores.values)
    assert list(brain_map_numbers(make_surface()).columns) == ["unit_id", "hemi", "vertex", "value"]


def test_report_maps_or_says_why_not(tmp_path):
    """A page holds the map, its highest voxel and its view; a surface without a mesh is told in words."""
    page = Page(write_report([make_volume()], tmp_path / "r.html", figures_folder=tmp_path / "f").read_text())
    assert "Brain map." in page.text
    assert "highest 0.600 at x = " in page.text
    assert "left of the brain on the left" in page.text
    assert len(list((tmp_path / "f").glob("*_map_*.svg"))) == 1
    other = Page(write_report([make_surface("fsaverage7")], tmp_path / "r.html").read_text())
    assert "No brain map: the vertices lie on fsaverage7, whose mesh does not ship with nilearn" in other.text
    assert "nothing is downloaded" in other.text


def test_wrong_maps_are_refused():
    """Units without a place, unknown meshes and vertices, and wrong thresholds are errors in words."""
    with pytest.raises(InputError, match="no brain map: the units have no place in a volume"):
        plot_brain_map(make_scores())
    with pytest.raises(InputError, match="the vertices lie on fsaverage6, whose mesh does not ship"):
        plot_brain_map(make_surface("fsaverage6"))
    with pytest.raises(InputError, match="vertex 10999 is none of the 10242 vertices of a hemisphere"):
        plot_brain_map(make_surface(n=11_000))
    with pytest.raises(InputError, match=r"threshold=-1; expected a number of at least 0"):
        plot_brain_map(make_volume(), threshold=-1)
    with pytest.raises(InputError, match=r"max_q=0.05 needs one p-value per voxel"):
        plot_brain_map(make_volume(), max_q=0.05)
    with pytest.raises(InputError, match="view='glas' is not one of 'glass', 'slices'"):
        plot_brain_map(make_volume(), view="glas")
    with pytest.raises(InputError, match="no brain map"):
        plot_brain_map(make_sensors())


def test_slice_without_scores_below_the_scale_warns_of_nothing():
    """Scores below the scale in some slices only: the others are drawn without a warning of numpy's."""
    scores = make_volume()
    assert scores.units is not None
    low = scores.units["k"].to_numpy() == 0
    values = np.where(low, -0.01, scores.values)
    assert plot_brain_map(replace(scores, values=values), view="slices") is not None
