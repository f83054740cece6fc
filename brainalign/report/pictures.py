"""The figures of a report with their captions, their words for the blind and their numbers."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from brainalign.design import ALL
from brainalign.report import figures_rdms as rdm_figures
from brainalign.report import figures_scores as score_figures
from brainalign.report import figures_units as unit_figures
from brainalign.report.describe import is_profile, is_simulated
from brainalign.report.groups import Group
from brainalign.report.naming import clean, isolate, listed, metric_name, number
from brainalign.report.regions import region_units, scores_units
from brainalign.report.style import RC, figure_of, mark_simulated
from brainalign.storage.atomic import atomic_write, write_text_atomic
from brainalign.types import RDMs

_DPI = 145
_MOST_REGIONS = 6
_MOST_RDMS = 4


@dataclass(frozen=True)
class Picture:
    """A figure to be: `draw()` returns its axes, `numbers` is what it shows."""

    name: str
    title: str
    draw: Callable[[], Axes]
    numbers: pd.DataFrame
    caption: str
    alt: str
    simulated: bool = False


@dataclass
class Gallery:
    """Renders pictures into data URIs within a budget of characters, and writes them as SVG and TSV.

    `left_out` names those that the page has no room for.
    """

    folder: Path | None
    room: int
    count: int = 0
    left_out: list[str] = field(default_factory=list)

    def render(self, picture: Picture) -> dict[str, str] | None:
        """Return caption, alt text, size and image of one picture; None where the page is full."""
        self.count += 1
        name = f"{self.count:02d}_{_slug(picture.name)}"
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(RC)
            ax = picture.draw()
            if picture.simulated:
                mark_simulated(ax)
            image = io.BytesIO()
            figure_of(ax).savefig(image, format="png", dpi=_DPI, metadata={"Software": None})
            if self.folder is not None:
                self._write(name, ax, picture)
        uri = "data:image/png;base64," + base64.b64encode(image.getvalue()).decode("ascii")
        if len(uri) > self.room:
            self.left_out.append(picture.alt.split(",")[0])
            return None
        self.room -= len(uri)
        width, height = (round(v * _DPI) for v in figure_of(ax).get_size_inches())
        saved = name if self.folder is not None else ""
        return {
            "uri": uri,
            "title": picture.title,
            "caption": picture.caption,
            "alt": picture.alt,
            "saved": saved,
            "width": str(width),
            "height": str(height),
        }

    def _write(self, name: str, ax: Axes, picture: Picture) -> None:
        assert self.folder is not None
        with atomic_write(self.folder / f"{name}.svg") as temporary:
            figure_of(ax).savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
        write_text_atomic(self.folder / f"{name}.tsv", tsv(picture.numbers))


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:60] or "figure"


def tsv(frame: pd.DataFrame) -> str:
    """A table as tab-separated text: names cleaned, full precision, "n/a" where there is no number."""
    shown = frame.copy()
    for column in shown.columns:
        if shown[column].dtype.kind not in "fiub":
            shown[column] = [clean(v) for v in shown[column]]
    named = shown.index.name is not None
    if named:
        shown.index = pd.Index([clean(v) for v in shown.index], name=shown.index.name)
    shown.columns = pd.Index([clean(c) for c in shown.columns])
    return str(shown.to_csv(sep="\t", index=named, na_rep="n/a", lineterminator="\n"))


def _in(region: str, group: Group) -> str:
    return f" in {isolate(region, 60)}" if region != ALL or len(group.regions) > 1 else ""


def _mean_of(group: Group) -> str:
    name = metric_name(group.metric)
    return f"mean {name} over units" if scores_units(group.lead) else name


def _points(frame: pd.DataFrame, name: str, most: int = 20) -> str:
    """The numbers of a figure in a row of words."""
    shown = [
        f"{isolate(row[name] or 'model', 40)} {number(row['value'])}"
        + (f" ({number(row['low'])} to {number(row['high'])})" if np.isfinite(row["low"]) else "")
        for _, row in frame.head(most).iterrows()
    ]
    rest = f" and {len(frame) - most} more" if len(frame) > most else ""
    return "; ".join(shown) + rest


def _ceiling_words(frame: pd.DataFrame) -> str:
    known = frame["ceiling"][np.isfinite(frame["ceiling"])]
    return f" Noise ceiling {number(known.iloc[0])}." if len(known) else " No noise ceiling."


def comparison_pictures(group: Group) -> Iterator[Picture]:
    """Claims beside their controls, one figure a region."""
    if len(group.contenders) < 2:
        return
    chosen = any(map(is_profile, group.contenders))
    for region in group.regions[:_MOST_REGIONS]:
        claims = [s for s in group.contenders if region in set(region_units(s))]
        if not claims:
            continue
        frame = score_figures.model_comparison_numbers(claims, region=region)
        title = f"{group.label}: models and controls{_in(region, group)}"
        alt = f"{title}, {_mean_of(group)} with 95 % interval. {_points(frame, 'model')}."
        yield Picture(
            f"models {region} {group.dataset} {group.subject} {group.analysis}",
            f"Models and controls{_in(region, group)}",
            lambda c=claims, r=region: score_figures.plot_model_comparison(c, region=r),  # type: ignore[misc]
            frame,
            "Filled: model; hollow: control; bars: 95 % interval"
            + ("; grey band: noise ceiling" if np.isfinite(frame["ceiling"]).any() else "")
            + (". Each model by its best layer, chosen on these same rows." if chosen else "."),
            alt + _ceiling_words(frame),
            any(map(is_simulated, claims)),
        )


def profile_pictures(group: Group) -> Iterator[Picture]:
    """Layer profiles, one figure a region."""
    layers = [s for part in group.profiles.values() if len(part) > 1 for s in part]
    if not layers:
        return
    how = "Similarity of each layer" if group.analysis in ("rsa", "cka") else "Held-out score of each layer"
    for region in group.regions[:_MOST_REGIONS]:
        chosen = [s for s in layers if region in set(region_units(s))]
        if not chosen:
            continue
        frame = score_figures.layer_profile_numbers(chosen, region=region)
        known = frame[np.isfinite(frame["value"])]
        best = "no layer has a score"
        if len(known):
            top = known.loc[known["value"].idxmax()]
            best = (
                f"best layer {isolate(top['layer'], 40)} of {isolate(top['model'], 40)} at "
                f"{number(top['value'])}"
            )
        yield Picture(
            f"layers {region} {group.dataset} {group.subject} {group.analysis}",
            f"Layer profile{_in(region, group)}",
            lambda c=chosen, r=region: score_figures.plot_layer_profile(c, region=r),  # type: ignore[misc]
            frame,
            f"{how}; {best}.",
            f"{group.label}: layer profile{_in(region, group)}, {_mean_of(group)} by layer. "
            f"{_points(frame, 'layer')}.{_ceiling_words(frame)}",
            any(map(is_simulated, chosen)),
        )


def unit_pictures(group: Group) -> Iterator[Picture]:
    """The distribution of the leading scores over units, by region."""
    scores = group.lead
    parts = region_units(scores)
    for region in group.regions[:_MOST_REGIONS]:
        if len(parts[region]) < 3:
            continue
        frame = unit_figures.unit_score_numbers(scores, region=region)
        known = frame["value"][np.isfinite(frame["value"])]
        words = f"{len(known)} units have a score"
        if len(known):
            low, middle, high = np.percentile(known, [0, 50, 100])
            words = (
                f"{len(known)} units: lowest {number(low)}, median {number(middle)}, highest {number(high)}"
            )
        yield Picture(
            f"units {region} {group.dataset} {group.subject} {group.analysis}",
            f"Scores of single units{_in(region, group)}",
            lambda r=region: unit_figures.plot_unit_scores(scores, region=r),  # type: ignore[misc]
            frame,
            f"{isolate(scores.identity['model'] or 'Model', 60)}, {words}"
            + (". Grey: their noise ceilings." if "noise_ceiling" in frame else "."),
            f"{group.label}: distribution of unit scores{_in(region, group)}. {words}.",
            is_simulated(scores),
        )


def time_pictures(group: Group) -> Iterator[Picture]:
    """Time courses of scores that have a time axis, by region."""
    timed = [s for s in (group.claims or [group.lead]) if s.values.ndim == 2]
    if not timed:
        return
    for region in group.regions[:_MOST_REGIONS]:
        frame = unit_figures.time_course_numbers(timed[0], region=region)
        words = "no time has a score"
        if np.isfinite(frame["value"]).any():
            peak = frame.iloc[int(np.nanargmax(frame["value"]))]
            words = f"highest mean {number(peak['value'])} at {number(peak['time'])}"
        yield Picture(
            f"time {region} {group.dataset} {group.subject} {group.analysis}",
            f"Time course{_in(region, group)}",
            lambda r=region: unit_figures.plot_time_course(timed, region=r),  # type: ignore[misc]
            frame,
            f"Mean over units, band from the lower to the upper quartile; {words}.",
            f"{group.label}: score over time{_in(region, group)}; {words}.",
            is_simulated(timed[0]),
        )


def _rows_of_kind(rdms: Sequence[RDMs], kind: str) -> list[tuple[RDMs, int]]:
    found = []
    for one in rdms:
        assert one.table is not None
        if "kind" in one.table:
            found += [(one, row) for row, k in enumerate(one.table["kind"]) if k == kind]
    return found


def _matrix_key(rdms: RDMs, row: int) -> tuple[str, str]:
    """The name of an RDM and a digest of its stimuli and values: equal where one picture serves both."""
    digest = hashlib.sha256("\0".join(map(str, rdms.stimulus_id)).encode("utf-8", "replace"))
    digest.update(np.ascontiguousarray(rdms.values[row]).tobytes())
    return rdm_figures.rdm_name(rdms, row), digest.hexdigest()


def _distinct(found: Sequence[tuple[RDMs, int]]) -> list[tuple[RDMs, int]]:
    """Each matrix once, where several results carry it."""
    return list({_matrix_key(*one): one for one in reversed(found)}.values())[::-1]


def _n_layers(models: Sequence[tuple[RDMs, int]]) -> int:
    """How many distinct layers (model and layer) these RDMs are of."""
    seen = set()
    for rdms, row in models:
        assert rdms.table is not None
        entry = rdms.table.iloc[row]
        named = tuple(str(entry[k]) for k in ("model", "layer") if k in entry and entry[k] == entry[k])
        seen.add(named if any(named) else _matrix_key(rdms, row))
    return len(seen)


def rdm_pictures(rdms: Sequence[RDMs]) -> Iterator[Picture]:
    """Each brain RDM, the model RDM most like it (once), and the stimuli of both in two dimensions."""
    brains, models = _distinct(_rows_of_kind(rdms, "brain")), _rows_of_kind(rdms, "model")
    if not brains:
        singles = _distinct([(r, row) for r in rdms for row in range(len(r))])
        for one, row in singles[:_MOST_RDMS]:
            yield _rdm_picture(one, row, "")
            yield _mds_picture(one, row, None)
        return
    brains, models = brains[:_MOST_RDMS], _distinct(models)
    alike = [_most_alike(brain, row, models) for brain, row in brains]
    cut: list[tuple[RDMs, RDMs] | None] = [
        None if best is None else rdm_figures.common_stimuli(brain, best[0])
        for (brain, _), best in zip(brains, alike, strict=True)
    ]
    told: dict[tuple[str, str], list[str]] = {}
    for (brain, row), best, pair in zip(brains, alike, cut, strict=True):
        if best is not None and pair is not None:
            name = isolate(rdm_figures.rdm_name(brain, row), 60)
            words = f"{name} (Spearman ρ = {number(best[2])} over pairs)"
            told.setdefault(_matrix_key(pair[1], best[1]), []).append(words)
    for (brain, row), best, pair in zip(brains, alike, cut, strict=True):
        yield _rdm_picture(brain, row, "Brain")
        if best is None or pair is None:
            yield _mds_picture(brain, row, None)
            continue
        first, second = pair
        regions = told.pop(_matrix_key(second, best[1]), [])
        if regions:
            how = f"The most similar RDM of {_n_layers(models)} to {listed(regions)}. "
            yield _rdm_picture(second, best[1], "Network", how)
        points = rdm_figures.mds_numbers(first, row=row)
        yield _mds_picture(first, row, None)
        brain_name = rdm_figures.rdm_name(brain, row)
        yield _mds_picture(second, best[1], points[["x", "y"]].to_numpy(), brain_name)


def _most_alike(brain: RDMs, row: int, models: Sequence[tuple[RDMs, int]]) -> tuple[RDMs, int, float] | None:
    """The model RDM with the highest rank correlation; those that share too few stimuli are passed over."""
    found = []
    for model, model_row in models:
        if len(set(brain.stimulus_id) & set(model.stimulus_id)) < 3:
            continue
        first, second = rdm_figures.common_stimuli(brain, model)
        value = rdm_figures.rank_agreement(first.values[row], second.values[model_row])
        if np.isfinite(value):
            found.append((model, model_row, value))
    return max(found, key=lambda f: f[2], default=None)


def _rdm_picture(rdms: RDMs, row: int, lead: str, how: str = "") -> Picture:
    name = isolate(rdm_figures.rdm_name(rdms, row), 80)
    above = np.asarray(rdms.values[row])[np.triu_indices(len(rdms.stimulus_id), 1)]
    known = above[np.isfinite(above)]
    words = f"{len(rdms.stimulus_id)} stimuli, {len(known)} pairs"
    if len(known):
        words += (
            f", dissimilarity from {number(known.min())} to {number(known.max())}, median "
            f"{number(np.median(known))}"
        )
    return Picture(
        f"rdm {name}",
        f"{lead}: RDM of {name}" if lead else f"RDM of {name}",
        lambda: rdm_figures.plot_rdm(rdms, row=row),
        rdm_figures.rdm_numbers(rdms, row=row),
        f"{how}Light pairs are represented alike, dark ones apart; stimuli in file order.",
        f"RDM of {name}: {words}.",
        is_simulated(rdms),
    )


def _mds_picture(rdms: RDMs, row: int, like: np.ndarray | None, brain: str = "") -> Picture:
    name = isolate(rdm_figures.rdm_name(rdms, row), 80)
    frame = rdm_figures.mds_numbers(rdms, row=row, like=like)
    share = frame.attrs["share"]
    words = f"two dimensions carry {100 * share:.0f} % of it" if np.isfinite(share) else "no distances"
    turned = f" Turned to match the picture of {isolate(brain, 80)}." if like is not None else ""
    return Picture(
        f"mds {name}",
        f"Stimuli as {name} represents them",
        lambda: rdm_figures.plot_mds(rdms, row=row, like=like),
        frame,
        f"Near points are represented alike; {words}.{turned}",
        f"Classical scaling of the RDM of {name}: {len(frame)} stimuli, {words}.",
        is_simulated(rdms),
    )
