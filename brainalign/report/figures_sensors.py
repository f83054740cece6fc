"""Figures of sensors: how a score is spread over the head, at the times that matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize

from brainalign.errors import InputError
from brainalign.report.averages import mean_known, over_times
from brainalign.report.describe import as_list, chance_level, stamp
from brainalign.report.naming import clean, metric_name, number
from brainalign.report.style import INK, MUTED, bare_axes, drawable, figure_of, score_colours
from brainalign.report.times import time_axis
from brainalign.types import Scores

FEWEST_SENSORS = 4
# sensors of one kind that lie within a millimetre share one place: the pair of planar gradiometers
_SAME_PLACE_MM = 1.0
_HEAD_M = 0.095
_KINDS = {"eeg": "EEG", "mag": "magnetometers", "grad": "gradiometers", "seeg": "sEEG", "ecog": "ECoG"}
# electrodes inside the head have no topography on it
_ON_THE_HEAD = ("eeg", "mag", "grad")


def sensor_kinds(scores: Scores) -> dict[str, np.ndarray]:
    """Positions in the unit table of the sensors of each kind ("eeg", "mag", "grad") that have a place.

    Units without a column `ch_type` count as EEG. A sensor without x, y, z is left out.
    """
    assert scores.units is not None
    units = scores.units
    if not {"x", "y", "z"} <= set(units.columns):
        return {}
    if "ch_type" not in units.columns and scores.info.get("coordinate_frame") is None:
        return {}
    places = units[["x", "y", "z"]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    known = np.isfinite(places).all(axis=1)
    given = units["ch_type"] if "ch_type" in units.columns else ["eeg"] * len(units)
    kinds = np.array([str(k).lower() for k in given], dtype=object)
    return {k: np.flatnonzero(known & (kinds == k)) for k in _ON_THE_HEAD if (known & (kinds == k)).any()}


def why_no_topography(scores: Scores) -> str:
    """Why these scores have no topography, in one sentence; "" where they have one."""
    assert scores.units is not None
    found = sensor_kinds(scores)
    most = max((len(_merged(scores, index)[0]) for index in found.values()), default=0)
    if most >= FEWEST_SENSORS:
        return ""
    if not found:
        return "the sensors have no positions (columns x, y, z in mm)"
    return (
        f"only {most} of {len(scores.units)} sensors of one kind have a place of their own, and a map over "
        f"the head needs at least {FEWEST_SENSORS}"
    )


def kind_name(kind: str) -> str:
    """A kind of sensor in words."""
    return _KINDS.get(kind, clean(kind, 20))


def _merged(scores: Scores, index: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Places (n, 3) in mm and, for each, the units that lie there."""
    assert scores.units is not None
    places = scores.units[["x", "y", "z"]].to_numpy(dtype=np.float64)[index]
    left = list(range(len(index)))
    centres, members = [], []
    while left:
        near = [i for i in left if np.linalg.norm(places[i] - places[left[0]]) <= _SAME_PLACE_MM]
        centres.append(places[near].mean(axis=0))
        members.append(index[near])
        left = [i for i in left if i not in near]
    return np.array(centres), members


def flatten(places: np.ndarray) -> np.ndarray:
    """Places (n, 3) in mm on a plane (n, 2) in m, nose up, the right ear on the right.

    Azimuthal equidistant projection about the centre of the head: the distance from the
    vertex on the plane is the angle from it, so that the rim of the drawn head is what lies
    at the level of that centre.
    """
    centred = places - _centre(places)
    radius = np.linalg.norm(centred, axis=1)
    angle = np.arccos(np.clip(centred[:, 2] / np.where(radius > 0, radius, 1), -1, 1))
    around = np.arctan2(centred[:, 1], centred[:, 0])
    away = angle / (np.pi / 2) * _HEAD_M
    return np.stack([away * np.cos(around), away * np.sin(around)], axis=1)


def _centre(places: np.ndarray) -> np.ndarray:
    """Centre of the sphere through the sensors (least squares); the usual one where few fix none."""
    usual = np.array([0.0, 0.0, 40.0])
    if len(places) < 16:
        return usual
    system = np.column_stack([2 * places, np.ones(len(places))])
    solution, _, rank, _ = np.linalg.lstsq(system, (places**2).sum(axis=1), rcond=None)
    centre = solution[:3]
    return centre if rank == 4 and np.linalg.norm(centre - usual) < 60 else usual


def peak_times(scores: Scores, most: int = 3) -> list[float]:
    """Times of the highest mean score: its peak, and others a tenth of the span apart, a quarter as high."""
    times, _ = time_axis(scores)
    course = np.asarray(mean_known(scores.values, axis=0))
    chance = chance_level(scores)
    found: list[float] = []
    apart = 0.1 * (times[-1] - times[0])
    for i in np.argsort(-np.nan_to_num(course, nan=-np.inf), kind="stable"):
        if len(found) >= most or not np.isfinite(course[i]):
            break
        if found and course[i] - chance < 0.25 * (np.nanmax(course) - chance):
            break
        if all(abs(times[i] - t) >= apart for t in found) and _is_peak(course, int(i)):
            found.append(float(times[i]))
    return sorted(found)


def _is_peak(course: np.ndarray, i: int) -> bool:
    near = course[max(0, i - 1) : i + 2]
    return bool(course[i] >= np.nanmax(near))


def topography_numbers(scores: Scores, *, times: Any = None) -> pd.DataFrame:
    """The numbers of `plot_topography`: kind, sensors, x, y [mm, flattened], and a column a time."""
    columns = _columns(scores, times)
    rows = []
    for kind, index in sensor_kinds(scores).items():
        places, members = _merged(scores, index)
        if len(places) < FEWEST_SENSORS:
            continue
        flat = 1e3 * flatten(places)
        for place, (x, y) in enumerate(flat):
            assert scores.units is not None
            names = " + ".join(clean(scores.units.index[i], 30) for i in members[place])
            values = {name: float(mean_known(v[members[place]])) for name, v in columns}
            rows.append({"kind": kind, "sensors": names, "x": x, "y": y, **values})
    return pd.DataFrame(rows)


def _columns(scores: Scores, times: Any) -> list[tuple[str, np.ndarray]]:
    """The scores to draw: (name, (n_units,)) at each time, or one without a time axis."""
    if scores.values.ndim == 1:
        return [("value", scores.values)]
    known, seconds = time_axis(scores)
    wanted = peak_times(scores) if times is None else np.atleast_1d(np.asarray(times, dtype=np.float64))
    if not len(wanted):
        return [("mean over times", over_times(scores.values))]
    out = []
    for t in wanted:
        i = int(np.abs(known - t).argmin())
        out.append((f"{number(known[i])} s" if seconds else f"sample {i}", scores.values[:, i]))
    return list(dict(out).items())


def plot_topography(
    scores: Any, *, times: Any = None, kind: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the scores of sensors over the head, seen from above, nose up, left on the left.

    Parameters
    ----------
    scores : Scores with units that have x, y, z [mm, head frame: x right, y front, z up]
        Column `ch_type` keeps EEG, magnetometers and gradiometers apart, one row of heads
        each. Sensors within 1 mm (the two planar gradiometers of a place) enter as their mean.
    times : float or sequence of floats, optional
        Seconds, for scores with a time axis; the nearest sample is drawn. By default up to
        three peaks of the mean over all sensors.
    kind : str, optional
        One kind of sensor only: "eeg", "mag" or "grad".
    ax : Axes, optional
        Its area is divided among the heads.

    Returns
    -------
    Axes
        The frame around the heads. One colour scale for all of them, named by the metric.

    Raises
    ------
    InputError
        Fewer than four sensors of one kind have a place, or none is of this `kind`.

    Notes
    -----
    Between the sensors the colours are interpolated by MNE (cubic, inside the hull): only the
    dots were measured.

    Examples
    --------
    >>> angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    >>> places = {"x": 80 * np.cos(angle), "y": 80 * np.sin(angle), "z": 60.0, "ch_type": "eeg"}
    >>> scores = Scores(np.linspace(0, 0.3, 8), pd.DataFrame(places))
    >>> len(plot_topography(scores).child_axes)
    2
    """
    (one,) = as_list(scores, "a topography")[:1]
    frame = topography_numbers(one, times=times)
    if kind is not None and len(frame):
        frame = frame[frame["kind"] == kind]
    if not len(frame):
        why = why_no_topography(one) or f"no {kind_name(str(kind))} sensors have positions"
        raise InputError(f"no topography: {why}")
    names = [c for c in frame.columns if c not in ("kind", "sensors", "x", "y")]
    kinds = list(dict.fromkeys(frame["kind"]))
    ax = bare_axes(1.1 + 1.65 * max(2, len(names)), 0.75 + 1.75 * len(kinds)) if ax is None else ax
    ax.set_axis_off()
    cmap, norm, extend = score_colours(frame[names].to_numpy(), chance_level(one))
    width, height = 0.84 / max(2, len(names)), 0.98 / len(kinds)
    start = (0.84 - width * len(names)) / 2
    for row, name in enumerate(kinds):
        part = frame[frame["kind"] == name]
        for column, time in enumerate(names):
            box = (start + column * width, 1 - (row + 1) * height, 0.94 * width, 0.86 * height)
            head = ax.inset_axes(box)
            _draw_head(head, part[["x", "y"]].to_numpy() * 1e-3, part[time].to_numpy(), cmap, norm)
            title = ([] if time == "value" else [time]) + ([kind_name(name)] if len(kinds) > 1 else [])
            head.set_title(drawable(", ".join(title), 40), fontsize=8.5, color=INK, pad=2)
    bar_axes = ax.inset_axes((0.865, 0.18, 0.02, 0.64))
    mappable = ScalarMappable(norm=norm, cmap=cmap)
    bar = figure_of(ax).colorbar(mappable, cax=bar_axes, extend=extend)
    bar.set_label(drawable(metric_name(one.metric)) + " of each sensor", color=INK, fontsize=8.5)
    bar.ax.tick_params(labelsize=8, colors=MUTED, labelcolor=INK)
    stamp(ax, one)
    return ax


def _draw_head(ax: Axes, flat: np.ndarray, values: np.ndarray, cmap: Colormap, norm: Normalize) -> None:
    """One head by MNE; sensors without a score are left out of the interpolation and drawn hollow."""
    from mne.viz import plot_topomap

    known = np.isfinite(values)
    reach = max(_HEAD_M, float(np.linalg.norm(flat, axis=1).max()) * 1.02)
    if known.sum() >= FEWEST_SENSORS:
        # sensors on one exact circle have no triangulation; a hundredth of a millimetre breaks it
        place = np.arange(len(flat))
        moved = flat + 1e-5 * np.stack([np.sin(2.3 * place), np.cos(3.1 * place)], axis=1)
        plot_topomap(
            values[known],
            moved[known],
            axes=ax,
            show=False,
            cmap=cmap,
            vlim=(norm.vmin, norm.vmax),
            sphere=(0.0, 0.0, 0.0, _HEAD_M),
            sensors=False,
            contours=0,
            extrapolate="head",
            res=96,
        )
    else:
        ax.text(0.5, 0.5, "too few sensors\nhave a score", transform=ax.transAxes, ha="center", fontsize=8)
        ax.set_axis_off()
    size = float(np.clip(400 / len(flat), 2, 9))
    x, y = flat.T
    ax.scatter(x[known], y[known], s=size, color="black", linewidths=0, zorder=5)
    ax.scatter(x[~known], y[~known], s=size, facecolors="none", edgecolors=MUTED, linewidths=0.7, zorder=5)
    ax.set_xlim(-reach * 1.15, reach * 1.15)
    ax.set_ylim(-reach * 1.15, reach * 1.15)


def describe_times(names: Sequence[str]) -> str:
    """The times of a topography in words."""
    return "; ".join(clean(n, 40) for n in names if n not in ("value",))
