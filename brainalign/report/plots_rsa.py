"""Scores of RSA as bars, with intervals, noise ceiling and marks of what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainalign._checks import one_of
from brainalign.errors import InputError, ShapeError
from brainalign.report.naming import metric_name, number
from brainalign.report.plots_inputs import finish, new_figure
from brainalign.report.style import BAND, CEILING, INK, MUTED, RULE, drawable, dress

if TYPE_CHECKING:
    from brainalign.comparison import RsaResult

_CORRECTIONS = {"fdr": "FDR", "fwer": "Holm", None: "uncorrected"}
_FIXED = "#6aa5d0"
_FITTED = "#d3e4f0"
_ROW = 0.34


def plot_rsa(
    result: RsaResult,
    *,
    subject_scores: Any = None,
    method: str = "t",
    correction: str | None = "fdr",
    level: float = 0.95,
    alpha: float = 0.05,
    ordered: bool = True,
    title: str | None = None,
) -> Figure:
    """Draw the score of every model, its interval, the noise ceiling, and which models differ.

    Parameters
    ----------
    result : RsaResult, of `bootstrap_rsa`
    subject_scores : array (n_subjects, n_models), optional
        Scores of single subjects, drawn as dots: ``compare_rdms(data, models, measure=...)``.
    method : ``"t"`` or ``"bootstrap"``
        Of intervals and tests, see `RsaResult.test_against_zero`.
    correction : ``"fdr"``, ``"fwer"`` or None
        Over the models for the tests against 0, over all pairs for the differences.
    level : float in (0, 1)
        Of the intervals.
    alpha : float in (0, 1)
        Corrected p-values below it are marked.
    ordered : bool
        Best model first (default; without a score last), or the order of the result.
    title : str, optional

    Returns
    -------
    Figure
        Bars: scores as observed; lines: intervals; grey band: lower to upper ceiling; star:
        above 0. On the right one column a model that differs from any model below it: its dot,
        and a tick at each row that it differs from. The caption says tests and corrections.

    Raises
    ------
    InputError
        Not an RsaResult; no model has a score; `alpha` or `level` is not between 0 and 1; an
        unknown method or correction.
    ShapeError
        `subject_scores` of another shape.

    Notes
    -----
    Stars are left out where 0 is not chance (a cosine of RDMs without negative entries), and the
    caption says so.

    Examples
    --------
    >>> from brainalign.comparison import bootstrap_rsa
    >>> rng = np.random.default_rng(0)
    >>> true = np.triu(rng.random((12, 12)), 1)
    >>> noise = np.triu(rng.normal(size=(5, 12, 12)), 1)
    >>> data, model = true + 0.2 * noise, true + true.T
    >>> data = data + data.transpose(0, 2, 1)
    >>> result = bootstrap_rsa(data, {"true": model, "other": model[::-1, ::-1]}, n_boot=50, measure="rho_a")
    >>> [t.get_text() for t in plot_rsa(result).axes[0].get_yticklabels()]
    ['true', 'other']
    """
    # loads the comparisons, and with them torch, which a report of scores does without
    from brainalign.comparison import RsaResult

    if not isinstance(result, RsaResult):
        raise InputError(f"result is a {type(result).__name__}; expected the RsaResult of bootstrap_rsa")
    if not 0 < alpha < 1:
        raise InputError(f"alpha={alpha}; expected a number between 0 and 1, such as 0.05")
    one_of("correction", correction, list(_CORRECTIONS))
    frame = rsa_numbers(result, method=method, correction=correction, level=level, ordered=ordered)
    dots = _subject_dots(subject_scores, result, frame)
    pairs = _pair_marks(result, frame, method=method, correction=correction, alpha=alpha)
    figure = new_figure(*_size(frame, pairs))
    ratio = _pairs_width(pairs) / 4.0
    if pairs:
        ax, side = figure.subplots(1, 2, sharey=True, width_ratios=[1, ratio], gridspec_kw={"wspace": 0.02})
        _draw_pairs(side, pairs)
    else:
        ax = figure.add_subplot()
    _draw_ceiling(ax, frame)
    _draw_bars(ax, frame, dots)
    _draw_stars(ax, frame, dots, alpha)
    names = [
        drawable(r["model"], 32) + (" (fitted)" if r["kind"] == "fitted" else "") for _, r in frame.iterrows()
    ]
    ax.set_yticks(np.arange(len(frame)), names)
    ax.set_ylim(len(frame) - 0.4, -0.6)
    dress(ax, xlabel=drawable(f"similarity of RDMs ({metric_name(result.measure)})"), grid="x")
    ax.tick_params(axis="y", length=0)
    told = _caption(
        result, frame, dots, pairs, method=method, correction=correction, level=level, alpha=alpha
    )
    finish(figure, title=title, caption=told, results=[result])
    return figure


def rsa_numbers(
    result: RsaResult,
    *,
    method: str = "t",
    correction: str | None = "fdr",
    level: float = 0.95,
    ordered: bool = True,
) -> pd.DataFrame:
    """The numbers of `plot_rsa`: `RsaResult.to_frame`, best model first; `place` is that in the result."""
    frame = result.to_frame(method=method, correction=correction, level=level)
    if not np.isfinite(frame["score"]).any():
        raise InputError(
            f"none of {len(frame)} models has a score (all NaN): {_reasons(result) or 'no reason given'}"
        )
    frame["place"] = np.arange(len(frame))
    if ordered:
        frame = frame.sort_values("score", ascending=False, kind="stable", na_position="last")
    return frame.reset_index(drop=True)


def _reasons(result: RsaResult) -> str:
    reasons = result.info.get("reasons", {})
    return "; ".join(f"{count} {reason}" for reason, count in reasons.items())


def _subject_dots(given: Any, result: RsaResult, frame: pd.DataFrame) -> np.ndarray | None:
    """Scores of single subjects (n_subjects, n_models), columns as they are drawn."""
    if given is None:
        return None
    scores = np.asarray(given, dtype=np.float64)
    expected = (result.n_subjects, len(result.names))
    if scores.shape != expected:
        raise ShapeError(
            f"subject_scores have shape {scores.shape}; expected {expected}: a row a subject, a column a "
            "model in the order of result.names"
        )
    return scores[:, frame["place"].to_numpy()]


def _pair_marks(
    result: RsaResult, frame: pd.DataFrame, *, method: str, correction: str | None, alpha: float
) -> list[tuple[int, list[int]]]:
    """Rows of the figure that differ: (row, rows below it), for each row that differs from any below."""
    if len(frame) < 2:
        return []
    tested = result.test_pairs(method=method, correction=correction)
    row_of = {str(name): row for row, name in enumerate(frame["model"])}
    found: dict[int, list[int]] = {}
    for a, b, p in zip(tested["model_a"], tested["model_b"], tested["p_corrected"], strict=True):
        if p < alpha:
            upper, lower = sorted((row_of[str(a)], row_of[str(b)]))
            found.setdefault(upper, []).append(lower)
    return [(row, sorted(found[row])) for row in sorted(found)]


def _size(frame: pd.DataFrame, pairs: Sequence[Any]) -> tuple[float, float]:
    longest = min(max(len(str(m)) for m in frame["model"]), 32)
    return 4.0 + 0.07 * longest + _pairs_width(pairs) + 0.2, 1.75 + _ROW * max(len(frame), 2)


def _pairs_width(pairs: Sequence[Any]) -> float:
    """Inches of the columns of pairs."""
    return max(0.19 * len(pairs), 0.55) if pairs else 0.0


def _draw_ceiling(ax: Axes, frame: pd.DataFrame) -> None:
    low, high = float(frame["ceiling_lower"].iloc[0]), float(frame["ceiling_upper"].iloc[0])
    if np.isfinite([low, high]).all():
        ax.axvspan(low, high, color=BAND, linewidth=0, zorder=0)
        for edge in (low, high):
            ax.axvline(edge, color=CEILING, linewidth=0.8, linestyle=(0, (5, 2)), zorder=0.5)


def _draw_bars(ax: Axes, frame: pd.DataFrame, dots: np.ndarray | None) -> None:
    rows = np.arange(len(frame))
    score = frame["score"].to_numpy()
    colours = [_FITTED if kind == "fitted" else _FIXED for kind in frame["kind"]]
    ax.barh(rows, np.nan_to_num(score), height=0.62, color=colours, edgecolor=_FIXED, zorder=2)
    low, high = frame["low"].to_numpy(), frame["high"].to_numpy()
    known = np.isfinite(low) & np.isfinite(high)
    ax.hlines(rows[known], low[known], high[known], color=INK, linewidth=1.5, zorder=4)
    ax.axvline(0.0, color=INK, linewidth=0.8, zorder=3)
    for row in rows[~np.isfinite(score)]:
        ax.annotate(
            "no score", (0, row), (5, 0), textcoords="offset points", va="center", fontsize=8, color=MUTED
        )
    if dots is not None:
        # subjects a little apart, so that equal scores can be told
        apart = np.linspace(-0.2, 0.2, len(dots)) if len(dots) > 1 else np.zeros(1)
        x, y = dots.ravel(), (rows[None, :] + apart[:, None]).ravel()
        size = float(np.clip(220 / len(dots), 5, 16))
        ax.scatter(x, y, s=size, facecolor="white", edgecolor=INK, linewidth=0.7, zorder=5)


def _draw_stars(ax: Axes, frame: pd.DataFrame, dots: np.ndarray | None, alpha: float) -> None:
    for row, entry in frame.iterrows():
        if not (entry["zero_is_chance"] and entry["p_zero"] < alpha):
            continue
        column = [] if dots is None else dots[:, int(str(row))].tolist()
        reach = np.nanmax([entry["score"], entry["high"], 0.0, *column])
        ax.annotate(
            "*",
            (float(reach), float(str(row))),
            (4, -3),
            textcoords="offset points",
            va="center",
            fontsize=12,
            fontweight="bold",
            color=INK,
            zorder=6,
        )
    ax.margins(x=0.07)


def _draw_pairs(side: Axes, pairs: Sequence[tuple[int, Sequence[int]]]) -> None:
    for column, (row, below) in enumerate(pairs):
        side.plot([column, column], [row, below[-1]], color=MUTED, linewidth=0.9, zorder=1)
        side.plot([column], [row], marker="o", color=INK, markersize=4.5, linewidth=0, zorder=3)
        side.plot(
            [column] * len(below),
            below,
            marker="_",
            color=INK,
            markersize=7,
            markeredgewidth=1.6,
            linewidth=0,
        )
    side.set_xlim(-0.8, max(len(pairs) - 0.2, 1.9))
    side.set_xticks([])
    side.tick_params(axis="y", length=0, labelleft=False)
    for place, spine in side.spines.items():
        spine.set_visible(place == "left")
        spine.set_color(RULE)
    side.set_title("differ", fontsize=8, color=MUTED, loc="left")


def _caption(
    result: RsaResult,
    frame: pd.DataFrame,
    dots: np.ndarray | None,
    pairs: Sequence[Any],
    *,
    method: str,
    correction: str | None,
    level: float,
    alpha: float,
) -> list[str]:
    """What is drawn, what was tested and what was corrected, in sentences."""
    over = " and ".join(result.over)
    people = f"{result.n_subjects} subject" + ("s" if result.n_subjects > 1 else "")
    how = "t" if method == "t" else "bootstrap"
    first = (
        f"Bars: mean over {people}, {result.n_stimuli} stimuli; lines: {100 * level:g} % intervals over "
        f"{over} ({len(result.scores)} draws)."
    )
    words = [first, "Dots: subjects." if dots is not None else "", _ceiling_words(result)]
    if bool(frame["zero_is_chance"].iloc[0]):
        rule = _rule(how, "one-sided", alpha, correction, len(frame), "models")
        words.append(f"*: above 0 ({rule}).")
    else:
        words.append(
            "No test against 0: any model is above 0 by this measure on RDMs without negative entries."
        )
    n_pairs = len(frame) * (len(frame) - 1) // 2
    if n_pairs:
        rule = _rule(how, "two-sided", alpha, correction, n_pairs, "pairs" if n_pairs > 1 else "pair")
        differ = "Right: a dot differs from each tick on its line" if pairs else "No two models differ"
        words.append(f"{differ} ({rule}).")
    if result.fitted:
        words.append("Fitted: weights cross-validated.")
    if result.info.get("n_missing"):
        words.append(f"{result.info['n_missing']} pairs left out as missing.")
    missing = int((~np.isfinite(frame["score"])).sum())
    if missing:
        words.append(f"{missing} without a score: {_reasons(result)}.")
    return words


def _rule(how: str, sides: str, alpha: float, correction: str | None, n: int, what: str) -> str:
    over = f"{_CORRECTIONS[correction]} over {n} {what}" if correction else f"uncorrected for {n} {what}"
    return f"{sides} {how}, p < {alpha:g}, {over}"


def _ceiling_words(result: RsaResult) -> str:
    low, high = result.observed_ceiling
    if np.isfinite([low, high]).all():
        return f"Grey: noise ceiling, {number(low)} to {number(high)}."
    return "No noise ceiling" + (": one subject." if result.n_subjects == 1 else ".")
