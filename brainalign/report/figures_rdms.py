"""Figures of RDMs: the matrix, two of them side by side, the stimuli in two dimensions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats
from scipy.linalg import orthogonal_procrustes

from brainalign.errors import AlignmentError, InputError
from brainalign.report.describe import stamp
from brainalign.report.naming import short_names
from brainalign.report.style import ACCENT, INK, MUTED, SEQUENTIAL, SERIES, drawable, dress, new_axes
from brainalign.types import RDMs

_MOST_PIXELS = 300
_MOST_POINTS = 1500


def _check_row(rdms: RDMs, row: int) -> np.ndarray:
    if not isinstance(rdms, RDMs):
        raise InputError(f"rdms is a {type(rdms).__name__}; expected RDMs")
    if not 0 <= row < len(rdms):
        raise InputError(f"row={row} of {len(rdms)} RDMs; expected 0 to {len(rdms) - 1}")
    return np.asarray(rdms.values[row], dtype=np.float64)


def rdm_name(rdms: RDMs, row: int) -> str:
    """A name for one RDM, from its table: model and layer of a network, else region, with the subject."""
    assert rdms.table is not None
    entry = {k: str(v) for k, v in rdms.table.iloc[row].items() if v is not None and v == v and str(v)}
    if entry.get("kind") == "model" and ("model" in entry or "layer" in entry):
        return " ".join(dict.fromkeys(entry[k] for k in ("model", "layer") if k in entry))
    parts = [entry[k] for k in ("name", "roi", "model", "layer") if k in entry]
    parts = list(dict.fromkeys(parts)) or [f"RDM {row + 1}"]
    subject = f" (subject {entry['subject']})" if "subject" in entry else ""
    return " · ".join(parts) + subject


def percentiles(matrix: np.ndarray) -> np.ndarray:
    """Dissimilarities as percentiles (0 to 100) of all pairs, ties averaged; NaN stays NaN."""
    out = np.full(matrix.shape, np.nan)
    rows, columns = np.triu_indices(len(matrix), 1)
    values = matrix[rows, columns]
    known = np.isfinite(values)
    if known.sum() > 1:
        ranks = (np.asarray(stats.rankdata(values[known]), dtype=np.float64) - 1) / (known.sum() - 1) * 100
        out[rows[known], columns[known]] = ranks
        out[columns[known], rows[known]] = ranks
    np.fill_diagonal(out, 0.0)
    return out


def rdm_numbers(rdms: RDMs, *, row: int = 0, ranked: bool = True) -> pd.DataFrame:
    """The picture of `plot_rdm` as a table: one row and column a pixel, named by its stimuli.

    More than 300 stimuli are averaged in equal blocks, so that a screen can show them.
    """
    matrix = _check_row(rdms, row)
    shown = percentiles(matrix) if ranked else matrix.copy()
    ids = [str(s) for s in rdms.stimulus_id]
    step = int(np.ceil(len(ids) / _MOST_PIXELS))
    if step > 1:
        starts = np.arange(0, len(ids), step)
        known = np.isfinite(shown)
        total = np.add.reduceat(np.add.reduceat(np.where(known, shown, 0), starts, 0), starts, 1)
        number = np.add.reduceat(np.add.reduceat(known.astype(float), starts, 0), starts, 1)
        shown = total / np.where(number > 0, number, np.nan)
        ids = [f"{ids[s]} to {ids[min(s + step, len(ids)) - 1]}" for s in starts.tolist()]
    if ranked:
        shown = shown.round(2)  # a picture has 256 shades
    return pd.DataFrame(shown, index=pd.Index(ids, name="stimulus_id"), columns=ids)


def plot_rdm(rdms: RDMs, *, row: int = 0, ranked: bool = True, ax: Axes | None = None) -> Axes:
    """Draw one RDM.

    Parameters
    ----------
    rdms : RDMs
    row : int
        Which of its matrices.
    ranked : bool
        Show percentiles over all pairs (default), or the dissimilarities themselves.
    ax : Axes, optional

    Returns
    -------
    Axes
        Stimuli in the order of `rdms.stimulus_id`; light is similar, dark is dissimilar,
        grey is a missing pair.

    Raises
    ------
    InputError
        Not RDMs, or `row` is not one of its rows.

    Examples
    --------
    >>> rdms = RDMs(np.array([[0, 1.0], [1.0, 0]]), ["a", "b"])
    >>> plot_rdm(rdms).get_xlabel()
    '2 stimuli'
    """
    frame = rdm_numbers(rdms, row=row, ranked=ranked)
    ax = new_axes(4.3, 3.6) if ax is None else ax
    limits = (0, 100) if ranked else (0, None)
    picture = ax.imshow(
        np.ma.masked_invalid(frame.to_numpy()),
        cmap=SEQUENTIAL,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    distance = drawable(rdms.info.get("distance") or "dissimilarity", 30)
    bar = ax.figure.colorbar(picture, ax=ax, shrink=0.85, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label(f"{distance}, percentile" if ranked else distance, color=INK)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, length=2)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel(f"{len(rdms.stimulus_id)} stimuli", color=INK)
    ax.set_title(drawable(rdm_name(rdms, row), 48), fontsize=10, color=INK, loc="left")
    stamp(ax, rdms)
    return ax


def common_stimuli(first: RDMs, second: RDMs) -> tuple[RDMs, RDMs]:
    """Cut both to the stimuli that they share, in the order of the first; joined by id."""
    if list(first.stimulus_id) == list(second.stimulus_id):
        return first, second
    place = {s: i for i, s in enumerate(second.stimulus_id)}
    keep = [i for i, s in enumerate(first.stimulus_id) if s in place]
    if len(keep) < 3:
        raise AlignmentError(
            f"the RDMs share {len(keep)} of {len(first.stimulus_id)} and {len(second.stimulus_id)} stimuli; "
            "at least 3 are needed to see them side by side"
        )
    other = [place[first.stimulus_id[i]] for i in keep]
    return _cut(first, keep), _cut(second, other)


def _cut(rdms: RDMs, index: list[int]) -> RDMs:
    return RDMs(rdms.values[:, index][:, :, index], rdms.stimulus_id[index], rdms.table, rdms.info)


def rank_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman correlation of two RDMs over the pairs that both have; NaN below 3 pairs."""
    above = np.triu_indices(len(first), 1)
    a, b = first[above], second[above]
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3:
        return float("nan")
    a, b = stats.rankdata(a[known]), stats.rankdata(b[known])
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def plot_rdm_pair(
    first: RDMs, second: RDMs, *, first_row: int = 0, second_row: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw two RDMs in one square: the first below the diagonal, the second above it.

    Parameters
    ----------
    first, second : RDMs
        Joined by stimulus id; only shared stimuli are drawn.
    first_row, second_row : int
        Which of their matrices.
    ax : Axes, optional

    Returns
    -------
    Axes
        Percentiles over all pairs of each; equal geometry gives a picture that mirrors
        itself across the diagonal.

    Raises
    ------
    AlignmentError
        They share fewer than 3 stimuli.
    InputError
        Not RDMs, or a row that does not exist.

    Examples
    --------
    >>> d = RDMs(np.array([[0, 1.0, 2], [1, 0, 3], [2, 3, 0]]), ["a", "b", "c"])
    >>> plot_rdm_pair(d, d).get_xlabel()
    '3 stimuli'
    """
    for rdms, row in ((first, first_row), (second, second_row)):
        _check_row(rdms, row)
    frame = rdm_pair_numbers(first, second, first_row=first_row, second_row=second_row)
    shared = len(common_stimuli(first, second)[0].stimulus_id)
    ax = new_axes(4.3, 3.6) if ax is None else ax
    picture = ax.imshow(
        np.ma.masked_invalid(frame.to_numpy()), cmap=SEQUENTIAL, vmin=0, vmax=100, interpolation="nearest"
    )
    bar = ax.figure.colorbar(picture, ax=ax, shrink=0.85, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label("dissimilarity, percentile", color=INK)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, length=2)
    ax.plot([-0.5, len(frame) - 0.5], [-0.5, len(frame) - 0.5], color="white", linewidth=1.5)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    below, above = rdm_name(first, first_row), rdm_name(second, second_row)
    ax.set_title(
        f"above: {drawable(above, 34)}\nbelow: {drawable(below, 34)}", fontsize=9.5, color=INK, loc="left"
    )
    ax.set_xlabel(f"{shared} stimuli", color=INK)
    stamp(ax, first, second)
    return ax


def rdm_pair_numbers(first: RDMs, second: RDMs, *, first_row: int = 0, second_row: int = 0) -> pd.DataFrame:
    """The picture of `plot_rdm_pair`: percentiles of the first below, of the second above the diagonal."""
    first, second = common_stimuli(first, second)
    below, above = (rdm_numbers(r, row=i) for r, i in ((first, first_row), (second, second_row)))
    mixed = np.where(np.tri(len(below), k=-1, dtype=bool), below.to_numpy(), above.to_numpy())
    return pd.DataFrame(mixed, index=below.index, columns=below.columns)


def classical_mds(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """Place stimuli in two dimensions by classical (Torgerson) scaling.

    Returns the coordinates (n, 2) and the share of the positive eigenvalues that the two
    dimensions carry. Missing pairs take the mean of the RDM. Each axis is turned so that
    its largest coordinate is positive, so equal RDMs give equal pictures. Source:
    Torgerson 1952, Psychometrika 17, 401-419, doi:10.1007/BF02288916. O(n^3) time.
    """
    filled = np.where(np.isfinite(matrix), matrix, np.nanmean(matrix) if np.isfinite(matrix).any() else 0.0)
    np.fill_diagonal(filled, 0.0)
    squared = filled**2
    centred = squared - squared.mean(0) - squared.mean(1)[:, None] + squared.mean()
    eigenvalues, vectors = np.linalg.eigh(-0.5 * centred)
    top = eigenvalues[::-1][:2].clip(min=0)
    points = np.zeros((len(matrix), 2))
    points[:, : len(top)] = vectors[:, ::-1][:, :2] * np.sqrt(top)
    for axis in range(2):
        if points[np.abs(points[:, axis]).argmax(), axis] < 0:
            points[:, axis] *= -1
    total = eigenvalues.clip(min=0).sum()
    return points, float(top.sum() / total) if total > 0 else float("nan")


def mds_numbers(rdms: RDMs, *, row: int = 0, like: np.ndarray | None = None) -> pd.DataFrame:
    """The points of `plot_mds`: stimulus_id, x, y, and the condition where `info` names it.

    Above 1500 stimuli every k-th one is placed: the decomposition grows with their cube.
    """
    _check_row(rdms, row)
    step = int(np.ceil(len(rdms.stimulus_id) / _MOST_POINTS))
    if step > 1:
        condition = rdms.info.get("condition")
        kept = condition[::step] if isinstance(condition, (list, tuple, np.ndarray)) else None
        rdms = _cut(rdms, list(range(0, len(rdms.stimulus_id), step)))
        rdms = replace(rdms, info={**rdms.info, "condition": kept})
        like = None if like is None or len(like) != len(rdms.stimulus_id) else like
    points, share = classical_mds(_check_row(rdms, row))
    if like is not None and np.isfinite(like).all():
        points = points @ orthogonal_procrustes(points, like)[0]
    frame = pd.DataFrame({"stimulus_id": rdms.stimulus_id, "x": points[:, 0], "y": points[:, 1]})
    condition = rdms.info.get("condition")
    if isinstance(condition, (list, tuple, np.ndarray)) and len(condition) == len(frame):
        frame["condition"] = [str(c) for c in condition]
    frame.attrs["share"] = share
    return frame


def plot_mds(rdms: RDMs, *, row: int = 0, like: Any = None, ax: Axes | None = None) -> Axes:
    """Draw the stimuli in two dimensions, near where they are represented alike.

    Parameters
    ----------
    rdms : RDMs
        ``info["condition"]`` (n labels, at most 6 kinds) colours the points.
    row : int
        Which of its matrices.
    like : array (n, 2), optional
        Coordinates of the same stimuli; the picture is turned (and mirrored) to match them.
    ax : Axes, optional

    Returns
    -------
    Axes
        Classical scaling; the title's second line says how much of the RDM the two
        dimensions carry.

    Raises
    ------
    InputError
        Not RDMs, or `row` is not one of its rows.

    Examples
    --------
    >>> d = RDMs(np.array([[0, 1.0, 2], [1, 0, 1], [2, 1, 0]]), ["a", "b", "c"])
    >>> plot_mds(d).get_title(loc="left").splitlines()[1]
    '100 % in two dimensions'
    """
    frame = mds_numbers(rdms, row=row, like=like)
    ax = new_axes(4.3, 3.8) if ax is None else ax
    size = float(np.clip(2200 / max(len(frame), 1), 8, 46))
    kinds = list(dict.fromkeys(frame["condition"])) if "condition" in frame else []
    if 1 < len(kinds) <= len(SERIES):
        for place, kind in enumerate(kinds):
            part = frame[frame["condition"] == kind]
            ax.scatter(
                part["x"],
                part["y"],
                s=size,
                color=SERIES[place],
                alpha=0.75,
                linewidths=0,
                label=drawable(kind, 24),
            )
        ax.legend(frameon=False, fontsize=8, labelcolor=INK, loc="best", handletextpad=0.2)
    else:
        ax.scatter(frame["x"], frame["y"], s=size, color=ACCENT, alpha=0.6, linewidths=0)
    if len(frame) <= 30:
        names, _ = short_names(list(frame["stimulus_id"]))
        for name, x, y in zip(names, frame["x"], frame["y"], strict=True):
            ax.annotate(
                drawable(name, 16), (x, y), (3, 3), textcoords="offset points", fontsize=7, color=MUTED
            )
    ax.set_aspect("equal", adjustable="datalim")
    dress(ax, grid="")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color("#d5dae1")
    share = frame.attrs["share"]
    shown = f"{100 * share:.0f} % in two dimensions" if np.isfinite(share) else "no distances"
    ax.set_title(f"{drawable(rdm_name(rdms, row), 48)}\n{shown}", fontsize=9.5, color=INK, loc="left")
    stamp(ax, rdms)
    return ax
