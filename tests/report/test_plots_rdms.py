"""Pictures of several RDMs and films of them show the matrices, blocks and words that they were given."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.patches import Rectangle
from PIL import Image
from report_parts import make_rdms
from scipy.stats import rankdata

from brainalign.errors import DataNotFoundError, InputError, ShapeError
from brainalign.report import plot_dendrogram, plot_mds_over_time, plot_rdm_movie, plot_rdms
from brainalign.report.plots_inputs import spread
from brainalign.types import RDMs

KINDS = ["face", "house", "face", "tool", "house", "face", "tool", "face"]
ORDER = [0, 2, 5, 7, 1, 4, 3, 6]


def make_stack(k=3, n=8, seed=0):
    points = np.random.default_rng(seed).normal(size=(k, n, 3))
    distances = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    return (distances + distances.transpose(0, 2, 1)) / 2


def words(figure):
    """Every text of a figure as one string."""
    figure.canvas.draw()
    found = [t.get_text() for ax in figure.axes for t in ax.texts] + [t.get_text() for t in figure.texts]
    return " ".join(" ".join(found).split())


def test_matrices_are_sorted_into_their_blocks():
    """Each panel holds its RDM in the order of the categories, whose lines, patches and names are drawn."""
    stack = make_stack()
    figure = plot_rdms(stack, categories=KINDS, names=["V1", "V4", "IT"], ranked=False)
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title(loc="left") for ax in panels] == ["V1", "V4", "IT"]
    for ax, one in zip(panels, stack, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), one[np.ix_(ORDER, ORDER)])
        assert ax.images[0].get_clim() == (0, stack.max())
        assert sum(isinstance(p, Rectangle) for p in ax.patches) == 2 * 3
        lines = [line.get_ydata()[0] for line in ax.lines if line.get_color() == "white"]
        assert sorted(set(lines) - {0}) == [3.5, 5.5]
    assert [t.get_text() for t in panels[0].texts] == ["face", "house", "tool"]
    assert not panels[1].texts
    widths = [p.get_height() for p in panels[0].patches[::2]]
    np.testing.assert_allclose(widths, [4, 2, 2])


def test_percentiles_are_of_each_rdm():
    """The ranked picture holds percentiles over pairs of its own RDM, from 0 to 100."""
    stack = make_stack() * np.array([1.0, 10, 100])[:, None, None]
    figure = plot_rdms(stack)
    above = np.triu_indices(8, 1)
    for ax, one in zip([a for a in figure.axes if a.images], stack, strict=True):
        expected = (rankdata(one[above]) - 1) / 27 * 100
        np.testing.assert_allclose(np.asarray(ax.images[0].get_array())[above], expected)
        assert ax.images[0].get_clim() == (0, 100)
    assert figure.axes[-1].get_ylabel() == "dissimilarity, percentile within each RDM"


def test_colour_bar_names_distance_and_unit():
    """The bar says which distance it shows, with its unit, from the arguments or from the RDMs."""
    one = make_stack(1)[0]
    bar = plot_rdms(one, ranked=False, distance="sq_euclidean", unit="V²").axes[-1]
    assert bar.get_ylabel() == "sq euclidean [V²]"
    rdms = replace(make_rdms(n=8), info={"distance": "crossnobis", "unit": "per channel"})
    assert plot_rdms(rdms).axes[-1].get_ylabel() == "crossnobis [per channel], percentile"


def test_mapping_tensor_and_rdms_give_the_same_picture():
    """A mapping, a tensor and RDMs are drawn like the array."""
    stack = make_stack(2)
    ids = [f"i{j}" for j in range(8)]
    table = pd.DataFrame({"name": ["a", "b"]})
    for given in (dict(zip("ab", stack, strict=True)), torch.as_tensor(stack), RDMs(stack, ids, table)):
        panels = [ax for ax in plot_rdms(given, ranked=False).axes if ax.images]
        for ax, one in zip(panels, stack, strict=True):
            np.testing.assert_array_equal(ax.images[0].get_array(), one)
    assert [ax.get_title(loc="left") for ax in panels] == ["a", "b"]


def test_missing_and_negative_pairs_are_counted():
    """Missing pairs are masked (grey), negative ones get a scale about 0, and both are counted in words."""
    one = make_stack(1)[0] - 1.5 * (1 - np.eye(8))
    one[1, 4] = one[4, 1] = np.nan
    figure = plot_rdms(one, ranked=False)
    picture = figure.axes[0].images[0]
    assert np.ma.getmaskarray(picture.get_array()).sum() == 2
    low, high = picture.get_clim()
    assert low == -high == -np.nanmax(np.abs(one))
    negative = int((one[np.triu_indices(8, 1)] < 0).sum())
    assert f"1 of 28 pairs are missing. {negative} of 28 dissimilarities are negative." in words(figure)


def test_labels_stand_at_their_stimuli():
    """Names of stimuli follow the sorted order; more than forty are left out."""
    labels = [f"s{i}" for i in range(8)]
    ax = plot_rdms(make_stack(1), labels=labels, categories=KINDS).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == [f"s{i}" for i in ORDER]
    ax = plot_rdms(make_stack(1, n=41), labels=range(41)).axes[0]
    assert not ax.get_xticklabels()


@pytest.mark.parametrize("draw", [plot_rdms, plot_mds_over_time, plot_dendrogram])
def test_simulated_is_written_once_and_apart(draw):
    """A figure of simulated RDMs says so in a place where no other text lies; others do not."""
    rdms = make_rdms(n=8)
    rdms = replace(rdms, info={**rdms.info, "simulated": True, "condition": KINDS})
    figure = draw(rdms, title="a title")
    assert words(figure).count("simulated responses") == 1
    assert figure.get_suptitle() == "a title"
    texts = [t for t in figure.texts if t.get_text()]
    boxes = [t.get_window_extent() for t in texts]
    boxes += [ax.get_tightbbox() for ax in figure.axes]
    footer = next(t.get_window_extent() for t in texts if "simulated" in t.get_text())
    assert sum(footer.overlaps(box) for box in boxes) == 1
    assert "simulated" not in words(draw(make_rdms(n=8)))


def test_caption_lies_below_the_axes():
    """No caption overlaps the axes above it, and all text lies inside the figure."""
    one = make_stack(1)[0]
    one[0, 1] = one[1, 0] = np.nan
    for figure in (
        plot_rdms(one, categories=KINDS, labels=[f"a stimulus {i}" for i in range(8)]),
        plot_dendrogram(one, categories=KINDS),
        plot_mds_over_time(one, categories=KINDS),
    ):
        figure.canvas.draw()
        caption = figure._supxlabel.get_window_extent()
        assert caption.y0 >= 0
        for ax in figure.axes:
            assert ax.get_tightbbox().y0 >= caption.y1 - 1
            assert ax.get_tightbbox().x0 >= -1


def test_no_pyplot_state():
    """No figure stays behind in pyplot."""
    plot_rdms(make_stack())
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_film_has_a_frame_a_time_on_one_scale(tmp_path):
    """The GIF has one frame a time; a frame of twice the dissimilarities is darker, not rescaled."""
    stack = make_stack(1).repeat(4, axis=0) * np.array([0.1, 0.3, 0.6, 1.0])[:, None, None]
    path = plot_rdm_movie(stack, [-0.1, 0.0, 0.1, 0.2], path=tmp_path / "film.gif", categories=KINDS)
    assert path == tmp_path / "film.gif"
    assert os.listdir(tmp_path) == ["film.gif"]
    with Image.open(path) as film:
        assert film.n_frames == 4
        shades = []
        for frame in range(4):
            film.seek(frame)
            picture = np.asarray(film.convert("L"), dtype=float)
            shades.append(picture[150:350, 200:400].mean())
    assert shades == sorted(shades, reverse=True)
    assert shades[0] - shades[-1] > 50


def test_animation_shows_its_time():
    """Without a path the animation comes back; each frame holds its RDM and its time."""
    stack = make_stack(3)
    rdms = RDMs(stack, [f"i{j}" for j in range(8)], pd.DataFrame({"time": [0.0, 0.0125, 0.025]}))
    animation = plot_rdm_movie(rdms)
    picture, clock = animation._func(1)
    np.testing.assert_array_equal(picture.get_array(), stack[1])
    assert clock.get_text() == "12.5 ms"
    assert plot_and_drop(plot_rdm_movie(stack), 2) == "sample 2"
    plot_and_drop(animation, 0)


def plot_and_drop(animation, frame):
    _, clock = animation._func(frame)
    animation._draw_was_started = True  # nobody looks at it, which matplotlib would warn of
    return clock.get_text()


def test_spread_keeps_order_and_distance():
    """Names of small blocks are moved apart, in order, inside the picture."""
    moved = spread(np.array([0.0, 0.1, 0.2, 9.9, 10.0]), 1.0, 0.0, 10.0)
    assert (np.diff(moved) >= 1 - 1e-9).all()
    assert moved.min() >= 0
    assert moved.max() <= 10
    np.testing.assert_allclose(spread(np.arange(5.0), 4.0, 0.0, 4.0), np.arange(5.0))


BAD = {
    "shape": (lambda: plot_rdms(np.zeros((3, 4))), ShapeError, r"shape \(3, 4\); expected \(n, n\) or"),
    "one": (lambda: plot_rdms(np.zeros((1, 1))), ShapeError, "expected at least 2 stimuli"),
    "nan": (
        lambda: plot_rdms(np.where(np.eye(4) > 0, 0, np.nan)),
        InputError,
        "all 6 pairs are NaN; nothing can be drawn",
    ),
    "asymmetric": (lambda: plot_rdms(np.triu(np.ones((3, 3)), 1)), InputError, "not symmetric"),
    "categories": (
        lambda: plot_rdms(make_stack(), categories=KINDS[:5]),
        ShapeError,
        "categories have 5 rows, expected 8",
    ),
    "no label": (
        lambda: plot_rdms(make_stack(), categories=[*KINDS[:7], None]),
        InputError,
        "categories: row 7 has no label",
    ),
    "text": (
        lambda: plot_rdms(make_stack(), categories="faces"),
        ShapeError,
        "categories has the text 'faces'",
    ),
    "labels": (
        lambda: plot_rdms(make_stack(), labels=["a"]),
        ShapeError,
        "labels has 1 entries for 8 stimuli",
    ),
    "names": (lambda: plot_rdms(make_stack(), names="V1"), ShapeError, "names has the text 'V1' for 3 RDMs"),
    "empty": (lambda: plot_rdms({}), InputError, "empty mapping"),
    "mixed": (
        lambda: plot_rdms({"a": np.zeros((3, 3)), "b": np.zeros((4, 4))}),
        ShapeError,
        r"the shapes a: \(3, 3\), b: \(4, 4\)",
    ),
    "many": (lambda: plot_rdms(make_stack(31)), InputError, "31 RDMs; at most 30"),
    "columns": (lambda: plot_rdms(make_stack(), columns=0), InputError, "columns=0; expected at least 1"),
    "times": (
        lambda: plot_rdm_movie(make_stack(), [0.0]),
        ShapeError,
        r"times have shape \(1,\) for 3 RDMs",
    ),
    "no time": (lambda: plot_rdm_movie(make_stack(), [0, np.nan, 1]), InputError, r"times\[1\] is nan"),
    "rate": (
        lambda: plot_rdm_movie(make_stack(), frames_per_second=0),
        InputError,
        "frames_per_second=0; expected a whole number",
    ),
    "ending": (lambda: plot_rdm_movie(make_stack(), path="film.mp4"), InputError, "ends in .gif"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_drawn_is_refused(name):
    """Each wrong input is named with what was expected."""
    draw, error, match = BAD[name]
    with pytest.raises(error, match=match):
        draw()


def test_film_into_a_missing_folder(tmp_path):
    """A folder that does not exist is named, and nothing is left behind."""
    with pytest.raises(DataNotFoundError, match="nowhere"):
        plot_rdm_movie(make_stack(), path=tmp_path / "nowhere" / "film.gif")
    assert not os.listdir(tmp_path)
