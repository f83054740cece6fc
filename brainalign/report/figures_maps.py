"""Brain maps of scores: volumes as glass brain or slices, surfaces on the inflated cortex."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize

from brainalign._checks import one_of
from brainalign.errors import InputError
from brainalign.report.averages import over_times
from brainalign.report.describe import as_list, chance_level, stamp, unit_noun, units_noun
from brainalign.report.naming import clean, metric_name
from brainalign.report.style import BAND, INK, MUTED, bare_axes, drawable, figure_of, score_colours
from brainalign.statistics.multiple_tests import adjust_fdr
from brainalign.types import Scores

VIEWS = ("glass", "slices")
_MOST_SLICES = 12
_IN_A_ROW = 4
# nilearn leaves exact zeros out of a picture; a score of 0 is a score and is drawn this far beside it
_BESIDE_ZERO = 1e-6
# nilearn ships this one mesh; every other would have to be downloaded
_BUNDLED = {"fsaverage5": 10242}
_STANDARD = re.compile(r"mni|icbm|talairach", re.IGNORECASE)


def map_kind(scores: Scores) -> str:
    """What map these scores can have by their geometry: "volume", "surface", or "" for none."""
    assert scores.units is not None
    columns, info = set(scores.units.columns), scores.info
    if {"i", "j", "k"} <= columns and info.get("affine") is not None and info.get("volume_shape"):
        return "volume"
    return "surface" if {"hemi", "vertex"} <= columns else ""


def why_no_map(scores: Scores) -> str:
    """Why these scores have no brain map, in one sentence; "" where they have one."""
    kind = map_kind(scores)
    if kind == "volume":
        return ""
    if kind == "surface":
        return _why_no_surface(scores)
    return (
        "the units have no place in a volume (columns i, j, k with affine and volume_shape) "
        "or on a surface (columns hemi, vertex)"
    )


def _why_no_surface(scores: Scores) -> str:
    space = str(scores.info.get("space") or "")
    if space not in _BUNDLED:
        return (
            f"the vertices lie on {clean(space, 40) or 'a surface that is not named'}, whose mesh does not "
            "ship with nilearn, and nothing is downloaded; write the scores with to_gifti() and view them "
            "there, or resample the responses to fsaverage5"
        )
    assert scores.units is not None
    last = int(pd.to_numeric(scores.units["vertex"]).max()) if len(scores.units) else 0
    if last >= _BUNDLED[space]:
        return f"vertex {last} is none of the {_BUNDLED[space]} vertices of a hemisphere of {space}"
    return ""


def is_standard_space(scores: Scores) -> bool:
    """Whether the volume lies in a standard space, so that a template's outline fits it."""
    return bool(_STANDARD.search(str(scores.info.get("space") or "")))


def shown_scores(
    scores: Scores, *, threshold: float | None = None, max_q: float | None = None
) -> tuple[np.ndarray, str]:
    """The scores a map shows, NaN elsewhere, and what was left out in words."""
    values = over_times(scores.values).astype(np.float64)
    noun, nouns = unit_noun(scores), units_noun(scores)
    words = []
    keep = np.isfinite(values)
    if threshold is not None:
        if not np.isfinite(threshold) or threshold < 0:
            raise InputError(f"threshold={threshold!r}; expected a number of at least 0, or None for none")
        keep &= np.abs(values - chance_level(scores)) > threshold
        words.append(f"{nouns} within {threshold:g} of chance not shown")
    if max_q is not None:
        if scores.p_values is None or np.ndim(scores.p_values) != 1:
            raise InputError(f"max_q={max_q:g} needs one p-value per {noun}; these scores carry none")
        q = adjust_fdr(np.asarray(scores.p_values))
        keep &= np.nan_to_num(q, nan=1.0) <= max_q
        words.append(f"{nouns} with q > {max_q:g} not shown")
    return np.where(keep, values, np.nan), ", ".join(words) or "no threshold"


def brain_map_numbers(scores: Scores) -> pd.DataFrame:
    """The numbers of `plot_brain_map`: unit_id, its place (voxel and mm, or hemi and vertex), value, p."""
    assert scores.units is not None
    columns = [c for c in ("i", "j", "k", "x", "y", "z", "hemi", "vertex") if c in scores.units.columns]
    frame = scores.units[columns].reset_index()
    frame["value"] = over_times(scores.values)
    if scores.p_values is not None and np.ndim(scores.p_values) == 1:
        frame["p"] = scores.p_values
    return frame


def plot_brain_map(
    scores: Any,
    *,
    threshold: float | None = None,
    max_q: float | None = None,
    view: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the score of every voxel or vertex where it lies.

    Volumes in a standard space (its name holds MNI, ICBM or Talairach) are drawn as a glass
    brain (the highest score along each line of sight), others as slices without a template,
    which would not fit: up to twelve axial ones, or the one slice there is. Surfaces are drawn
    on the inflated fsaverage5 that ships with nilearn; nothing is ever downloaded.

    Parameters
    ----------
    scores : Scores
        Units with columns i, j, k and ``info["affine"]`` (4, 4), ``info["volume_shape"]``; or
        with columns hemi ("left", "right") and vertex, and ``info["space"]``. A time axis is
        averaged.
    threshold : float, optional
        Units whose score lies within this distance of chance are not coloured.
    max_q : float, optional
        Units whose p, corrected over all units (false discovery rate), is above it are not
        coloured.
    view : "glass" or "slices", optional
        For volumes; by default by the space.
    ax : Axes, optional
        Its area is divided among the views.

    Returns
    -------
    Axes
        The frame around the views. The left of the brain is on the left, by the affine, and
        marked L. One colour scale, named by the metric and what was left out; grey: units
        without a colour.

    Raises
    ------
    InputError
        The units have no place, the surface is not bundled, `threshold` is negative, or
        `max_q` is given without p-values.

    Notes
    -----
    Cost: about 0.5 s for a volume, 1 s for a surface.

    Examples
    --------
    >>> places = {"i": [0, 1, 2], "j": [1, 1, 1], "k": [0, 0, 0]}
    >>> info = {"affine": np.eye(4).tolist(), "volume_shape": [3, 3, 1]}
    >>> ax = plot_brain_map(Scores(np.array([0.1, 0.2, 0.3]), pd.DataFrame(places), info=info))
    >>> ax.figure.axes[-1].get_xlabel()
    'Pearson r of each voxel (no threshold)'
    """
    (one,) = as_list(scores, "a brain map")[:1]
    if view is not None:
        one_of("view", view, VIEWS)
    why = why_no_map(one)
    if why:
        raise InputError(f"no brain map: {why}")
    values, left_out = shown_scores(one, threshold=threshold, max_q=max_q)
    cmap, norm, extend = score_colours(values, chance_level(one))
    if map_kind(one) == "surface":
        ax = bare_axes(5.2, 4.4) if ax is None else ax
        _draw_surface(ax, one, values, cmap, norm)
    elif view == "glass" or (view is None and is_standard_space(one)):
        ax = bare_axes(5.6, 2.7) if ax is None else ax
        _draw_glass(ax, one, values, cmap, norm)
        extend = {"both": "max", "min": "neither"}.get(extend, extend)
        left_out += ", highest along each line of sight"
    else:
        ax = _draw_slices(ax, one, values, cmap, norm)
    ax.set_axis_off()
    _colour_bar(ax, one, cmap, norm, extend, left_out)
    stamp(ax, one)
    return ax


def _box(ax: Axes, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    """A part of the axes' area, in coordinates of the figure."""
    whole = ax.get_position()
    return whole.x0 + x * whole.width, whole.y0 + y * whole.height, width * whole.width, height * whole.height


def _colour_bar(
    ax: Axes, scores: Scores, cmap: Colormap, norm: Normalize, extend: str, left_out: str
) -> None:
    figure = figure_of(ax)
    height = 0.11 / figure.get_figheight()
    bottom = ax.get_position().y0 + 0.36 / figure.get_figheight()
    x, _, width, _ = _box(ax, 0.14, 0, 0.72, 1)
    place = figure.add_axes((x, bottom, width, height))
    mappable = ScalarMappable(norm=norm, cmap=cmap)
    bar = figure.colorbar(mappable, cax=place, extend=extend, orientation="horizontal")
    label = f"{metric_name(scores.metric)} of each {unit_noun(scores)} ({left_out})"
    bar.set_label(drawable(label, 110), color=INK, fontsize=8.5)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=MUTED, labelcolor=INK, length=2)


def _bar_share(ax: Axes) -> float:
    """The lower part of the axes' area that the colour bar and its label need."""
    figure = figure_of(ax)
    return 0.62 / (figure.get_figheight() * ax.get_position().height)


def _volumes(scores: Scores, values: np.ndarray, norm: Normalize) -> tuple[Any, Any, Any]:
    """Images of the scores to colour (0 elsewhere), of scores below the scale and of all units (1 and 0).

    All along the axes of space, left to right, back to front, low to high: an oblique volume is
    resampled to the nearest voxel.
    """
    import nibabel
    from nilearn.image import reorder_img

    image = scores.to_nifti(values=values)
    drawn, affine = np.asarray(image.dataobj, dtype=np.float64), image.affine
    extent = np.asarray(scores.to_nifti(values=np.ones(len(values)), fill=0.0).dataobj)
    coloured = np.isfinite(drawn) & (extent > 0)
    beside = np.where(np.abs(drawn) < _BESIDE_ZERO, _BESIDE_ZERO, drawn)
    below = coloured & (drawn < float(norm.vmin or 0.0))
    drawn = np.where(coloured & ~below, beside, 0.0)
    # a rim of empty voxels, for a volume one voxel wide has no width to nilearn
    origin = np.array(affine, dtype=np.float64)
    origin[:3, 3] -= origin[:3, :3].sum(axis=1)
    padded = [np.pad(np.asarray(a, dtype=np.float32), 1) for a in (drawn, below, extent)]
    build: Any = nibabel.Nifti1Image
    first, second, third = (reorder_img(build(a, origin), resample="nearest") for a in padded)
    return first, second, third


def _draw_glass(ax: Axes, scores: Scores, values: np.ndarray, cmap: Colormap, norm: Normalize) -> None:
    from nilearn import plotting

    image, _, _ = _volumes(scores, values, norm)
    share = _bar_share(ax)
    plotting.plot_glass_brain(
        image,
        display_mode="lyrz",
        figure=figure_of(ax),
        axes=_box(ax, 0, share, 1, 1 - share),
        colorbar=False,
        plot_abs=False,
        threshold=_BESIDE_ZERO / 2,
        cmap=cmap,
        vmin=norm.vmin,
        vmax=norm.vmax,
        symmetric_cbar=False,
        annotate=False,
    ).annotate(size=8)


def slice_places(extent: Any, *, most: int = _MOST_SLICES) -> tuple[str, list[float]]:
    """The axis that is cut ("x", "y" or "z") and where [mm]: through voxels that are there.

    `extent` is an image along the axes of space, above 0 where there are units. Axial slices,
    evenly from the lowest to the highest; units that lie in one slice are cut along it.
    """
    inside = np.asarray(extent.dataobj) > 0
    thick = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    thin = [axis for axis in range(3) if len(thick[axis]) == 1]
    axis = thin[0] if len(thin) == 1 else 2
    levels = extent.affine[axis, axis] * thick[axis] + extent.affine[axis, 3]
    if len(levels) > most:
        levels = levels[np.linspace(0, len(levels) - 1, most + 2).round().astype(int)[1:-1]]
    return "xyz"[axis], [float(v) for v in np.round(levels, 3)]


def _draw_slices(
    ax: Axes | None, scores: Scores, values: np.ndarray, cmap: Colormap, norm: Normalize
) -> Axes:
    from nilearn import plotting

    image, below, extent = _volumes(scores, values, norm)
    axis, places = slice_places(extent)
    n_rows = max(1, math.ceil(len(places) / _IN_A_ROW))
    columns = max(1, math.ceil(len(places) / n_rows))
    if ax is None:
        across, up = _spans(extent, axis)
        width = 4.4 if columns == 1 else 5.6
        tall = min(4.0, width / columns * up / max(across, 1e-9)) * n_rows
        ax = bare_axes(width, float(np.clip(tall, 1.2, 7.0)) * 1.06 + 0.95)
    share = _bar_share(ax)
    grey = ListedColormap([BAND, BAND])
    height, width = (1 - share) / n_rows, 1 / columns
    for number_, place in enumerate(places):
        row, column = divmod(number_, columns)
        display = plotting.plot_img(
            extent,
            display_mode=axis,
            cut_coords=[place],
            figure=figure_of(ax),
            axes=_box(ax, (column + 0.02) * width, 1 - (row + 1) * height, 0.96 * width, 0.96 * height),
            colorbar=False,
            annotate=False,
            draw_cross=False,
            black_bg=False,
            threshold=0.5,
            cmap=grey,
            resampling_interpolation="nearest",
        )
        display.add_overlay(
            image, threshold=_BESIDE_ZERO / 2, cmap=cmap, vmin=norm.vmin, vmax=norm.vmax, colorbar=False
        )
        if np.any(below.dataobj):
            # nilearn drops what lies below a scale that starts at 0
            under = ListedColormap([cmap.get_under()] * 2)
            display.add_overlay(below, threshold=0.5, cmap=under, vmin=0.0, vmax=1.0, colorbar=False)
        display.annotate(size=8)
    return ax


def _spans(extent: Any, axis: str) -> tuple[float, float]:
    """Width and height [mm] of what a slice along `axis` shows."""
    inside = np.argwhere(np.asarray(extent.dataobj) > 0)
    if not len(inside):
        return 1.0, 1.0
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
    ends = inside.min(axis=0) - 0.5 + corners * (np.ptp(inside, axis=0) + 1)
    spans = np.ptp(ends @ extent.affine[:3, :3].T, axis=0)
    across, up = {"x": (1, 2), "y": (0, 2), "z": (0, 1)}[axis]
    return float(spans[across]), float(spans[up])


def _draw_surface(ax: Axes, scores: Scores, values: np.ndarray, cmap: Colormap, norm: Normalize) -> None:
    """Both hemispheres from outside (above) and from between them (below), sulci dark."""
    from nilearn import datasets

    assert scores.units is not None
    space = str(scores.info["space"])
    mesh = datasets.load_fsaverage(space)["inflated"].parts
    sulci = datasets.load_fsaverage_data(space, data_type="sulcal").data.parts
    sides = scores.units["hemi"].astype(str).to_numpy()
    vertices = scores.units["vertex"].to_numpy(dtype=np.intp)
    share = _bar_share(ax)
    for column, side in enumerate(("left", "right")):
        cortex = np.full(_BUNDLED[space], np.nan)
        cortex[vertices[sides == side]] = values[sides == side]
        for row, view in enumerate(("lateral", "medial")):
            box = _box(ax, column / 2, share + (1 - share) * (1 - row) / 2, 0.5, (1 - share) / 2)
            _draw_hemisphere(ax, box, mesh[side], sulci[side], cortex, side, view, cmap, norm)
        x, y, width, height = _box(ax, column / 2, share, 0.5, 1 - share)
        name = f"{side[0].upper()}  ({side} hemisphere)"
        figure_of(ax).text(x + width / 2, y + height, name, ha="center", va="top", fontsize=8.5, color=INK)


def _draw_hemisphere(
    ax: Axes,
    box: tuple[float, float, float, float],
    mesh: Any,
    sulci: np.ndarray,
    cortex: np.ndarray,
    side: str,
    view: str,
    cmap: Colormap,
    norm: Normalize,
) -> None:
    from nilearn import plotting

    figure = figure_of(ax)
    part: Any = figure.add_axes(box, projection="3d")
    common = {"hemi": side, "view": view, "bg_map": sulci, "axes": part, "figure": figure}
    limits: dict[str, Any] = {"vmin": norm.vmin, "vmax": norm.vmax, "threshold": None}
    if not np.isfinite(cortex).any():  # a hemisphere without a score shows its sulci alone
        cortex, limits = np.zeros_like(cortex), {"vmin": 0.0, "vmax": 2.0, "threshold": 1.0}
    plotting.plot_surf_stat_map(
        mesh, cortex, cmap=cmap, colorbar=False, engine="matplotlib", **limits, **common
    )
    part.set_box_aspect(None, zoom=1.5)
    for collection in part.collections:
        # forty thousand triangles would make a vector file of many megabytes
        collection.set_rasterized(True)
