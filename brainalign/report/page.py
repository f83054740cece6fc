"""One self-contained HTML page from scores and RDMs."""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import brainalign
from brainalign.design import ALL
from brainalign.errors import InputError
from brainalign.report import pictures as draw
from brainalign.report.alarms import standing_alarms
from brainalign.report.describe import is_profile, is_simulated, model_label
from brainalign.report.groups import Group, group_scores
from brainalign.report.methods import methods, seeds
from brainalign.report.naming import (
    clean,
    interval,
    isolate,
    mapping,
    metric_name,
    number,
    p_text,
    percent,
    real,
    text_of,
)
from brainalign.report.regions import region_units, score_table, scores_units
from brainalign.report.text import facts, generalisation, headline, rdm_facts
from brainalign.storage.atomic import write_text_atomic
from brainalign.types import RDMs, Scores

_MOST_PAGE = 4_700_000
_MOST_TABLE_ROWS = 600
_MOST_GROUPS = 12
# whose machine it was is nobody's business, whatever the caller hands over
_PRIVATE = re.compile(r"host|user|login|node|cwd|home|folder|path|address|mail", re.IGNORECASE)


def write_report(
    results: Sequence[Scores | RDMs],
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    figures_folder: str | os.PathLike[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write one HTML page that tells what was found, how sure one may be, and how it was done.

    The page needs no network and runs nothing: images are inlined, a strict
    content-security policy forbids everything else, every name is escaped. It shows no
    stimuli and no path, host or user name.

    Parameters
    ----------
    results : sequence of Scores and RDMs
        Claims (``info["claim"] = "nested"`` or none), layers of a profile
        (``"descriptive"``) and controls (``info["role"] = "control"``). Scores are put side
        by side where dataset, subject, analysis, metric and test rows agree. RDMs say in
        their table's column `kind` whether they are of a "brain" or a "model".
    path : path of the page; its folder must exist; an older page is replaced in one step
    title : heading; by default the dataset
    figures_folder : folder (made when missing) for each figure as SVG with its numbers as
        TSV, and the score table ``scores.tsv``
    provenance : names and values for the last section; entries about hosts, users and
        paths are left out

    Returns
    -------
    Path
        `path`. The page is below 5 MB: figures that find no room are named in it, and are
        still written to `figures_folder`.

    Raises
    ------
    InputError
        `results` is empty, or holds something else than Scores and RDMs; `path` is a folder.
    DataNotFoundError
        The folder of `path` does not exist.

    Notes
    -----
    Cost: about 0.2 s a figure; for RDMs over n stimuli O(n^3) (two-dimensional picture) up
    to 1500 stimuli, above which every k-th stimulus is drawn.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_report([Scores(np.array([0.2, 0.3, 0.4]))], folder / "report.html").name
    'report.html'
    """
    scores, rdms = _sorted(results)
    folder = None if figures_folder is None else Path(figures_folder)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    groups, labelled = group_scores(scores)
    table = score_table(labelled)
    if folder is not None:
        write_text_atomic(folder / "scores.tsv", draw.tsv(table))
    page = _context(groups, rdms, table, provenance or {})
    page["title"] = clean(title or _default_title(groups), 120)
    room = _MOST_PAGE - len(
        _render({**page, "group_figures": [], "rdm_figures": [], "left_out": []}).encode()
    )
    gallery = draw.Gallery(folder, room)
    page["group_figures"] = [_group_figures(g, gallery) for g in groups[:_MOST_GROUPS]]
    page["rdm_figures"] = _rendered(draw.rdm_pictures(rdms), gallery)
    page["left_out"] = gallery.left_out + [f"all figures of {g.label}" for g in groups[_MOST_GROUPS:]]
    write_text_atomic(path, _render(page))
    return Path(path)


def _sorted(results: Any) -> tuple[list[Scores], list[RDMs]]:
    """Check the type of each result and part scores from RDMs."""
    if isinstance(results, (Scores, RDMs)):
        results = [results]
    if isinstance(results, (str, bytes, Mapping)) or not isinstance(results, Iterable):
        hint = "; give its values: [*profile.values()]" if isinstance(results, Mapping) else ""
        raise InputError(
            f"results is a {type(results).__name__}; expected a list of at least one Scores or RDMs{hint}"
        )
    found = list(results)
    if not found:
        raise InputError("results is empty; give at least one Scores or RDMs")
    for place, one in enumerate(found):
        if not isinstance(one, (Scores, RDMs)):
            hint = "; give its values one by one: [*profile.values()]" if isinstance(one, Mapping) else ""
            raise InputError(f"results[{place}] is a {type(one).__name__}; expected Scores or RDMs{hint}")
    return [r for r in found if isinstance(r, Scores)], [r for r in found if isinstance(r, RDMs)]


def _default_title(groups: Sequence[Group]) -> str:
    names = list(dict.fromkeys(isolate(g.dataset, 60) for g in groups if g.dataset))
    return f"Models and {names[0]}" if len(names) == 1 else "Models and brains"


def _render(page: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("brainalign.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = environment.get_template("report.css").render().strip()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("report.html.j2")
    # both are this package's own text; every other value is escaped
    return template.render(**page, css=Markup(css), policy=Markup(policy))  # noqa: S704


def _context(
    groups: Sequence[Group], rdms: Sequence[RDMs], table: pd.DataFrame, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    paragraphs, references = methods(groups, rdms)
    results: list[Scores | RDMs] = [*(s for g in groups for s in g.all), *rdms]
    simulated = [is_simulated(r) for r in results]
    alarms = standing_alarms(groups)
    return {
        "simulated": "" if not any(simulated) else "all" if all(simulated) else "some",
        "headline": headline(groups[0]) if groups else None,
        "symbol": _score_name(groups[0]) if groups else "",
        "p_words": _p_words([s for g in groups for s in g.all]),
        "claims": [_claim_row(g, s) for g in groups for s in g.contenders] if len(groups) > 1 else [],
        "groups": [
            {"label": g.label, "facts": told, "generalisation": generalisation(g)}
            for g, told in zip(groups, _new_facts(groups), strict=True)
        ],
        "alarms": alarms,
        "loud": sum(a.level == "alarm" for a in alarms),
        "notes": sum(a.level == "note" for a in alarms),
        "rdms": [rdm_facts(r) for r in rdms],
        "table": _shown_table(table),
        "methods": paragraphs,
        "references": references,
        "provenance": _provenance(groups, provenance),
    }


def _score_name(group: Group) -> str:
    return metric_name(group.metric) + (", mean over units" if scores_units(group.lead) else "")


def _p_words(scores: Sequence[Scores]) -> str:
    """How the p-values of regions were made: by permutation of their mean, as a bound, or both."""
    given = bound = False
    for one in scores:
        if one.p_values is None and not mapping(one.info, "permutation").get("region_p"):
            continue
        permuted = mapping(mapping(one.info, "permutation"), "region_p")
        for region, index in region_units(one).items():
            known = real(permuted.get(region)) is not None
            given |= known
            bound |= not known and one.p_values is not None and len(index) > 1
    if given and bound:
        return (
            "p of a region is that of its mean score under the same permutations where the scores carry "
            "one, else, with several units, a bound from their median; "
        )
    if given:
        return "p of a region is that of its mean score under the same permutations; "
    return "p of a region with several units is a bound from their median; " if bound else ""


def _new_facts(groups: Sequence[Group]) -> list[list[tuple[str, str]]]:
    """The facts of each group, without what an earlier group of the same brain has told."""
    told: dict[tuple[str, str], set[tuple[str, str]]] = {}
    out = []
    for group in groups:
        before = told.setdefault((group.dataset, group.subject), set())
        found = facts(group)
        out.append([pair for pair in found if pair not in before])
        before.update(found)
    return out


def _claim_row(group: Group, scores: Scores) -> dict[str, str]:
    layer = scores.identity["layer"]
    names = [
        model_label(scores),
        layer if layer != "selected" else "",
        "best layer" if is_profile(scores) else "",
    ]
    model = ", ".join(isolate(n, 60) for n in dict.fromkeys(names) if n)
    return {"label": group.label, "model": model, **headline(group, scores)}


def _group_figures(group: Group, gallery: draw.Gallery) -> dict[str, Any]:
    kinds = (draw.profile_pictures, draw.comparison_pictures, draw.unit_pictures, draw.time_pictures)
    return {"label": group.label, "figures": [f for kind in kinds for f in _rendered(kind(group), gallery)]}


def _rendered(pictures: Iterable[draw.Picture], gallery: draw.Gallery) -> list[dict[str, str]]:
    found = [gallery.render(p) for p in pictures]
    return [f for f in found if f is not None]


def _shown_table(table: pd.DataFrame) -> dict[str, Any]:
    """The score table as text, without the columns that say the same in every row."""
    head: list[tuple[str, str, bool]] = []
    for column, name in (
        ("dataset", "Dataset"),
        ("subject", "Subject"),
        ("analysis", "Analysis"),
        ("metric", "Metric"),
    ):
        if len(table) and table[column].nunique() > 1 and not (column == "analysis" and _metric_tells(table)):
            head.append((column, name, False))
    head += [("region", "Region", False), ("model", "Model", False), ("layer", "Layer", False)]
    metrics: list[str] = list(table["metric"].unique()) if len(table) else []
    score = metric_name(metrics[0]) if len(metrics) == 1 else "Score"
    head += [("value", score, True), ("interval", "95 % interval", True)]
    optional = [
        ("ceiling", "Ceiling", True),
        ("normalised", "Of ceiling", True),
        ("p", "p", True),
        ("q", "q", True),
        ("share_significant", "Units q ≤ .05", True),
    ]
    head += [h for h in optional if len(table) and table[h[0]].notna().any()]
    head += [("n_units", "Units", True), ("n_test", "Test rows", True)]
    rows = [
        {"cells": [_cell(row, column) for column, _, _ in head], "claim": row["claim"] == "claim"}
        for _, row in table.head(_MOST_TABLE_ROWS).iterrows()
    ]
    return {
        "head": [{"name": name, "numeric": numeric} for _, name, numeric in head],
        "rows": rows,
        "left": max(0, len(table) - _MOST_TABLE_ROWS),
        "intervals": _interval_words(table),
        "has_p": bool(len(table)) and bool(table["p"].notna().any()),
        "n_tests": int(table["p"].notna().sum()) if len(table) else 0,
    }


def _metric_tells(table: pd.DataFrame) -> bool:
    """Whether each metric belongs to one analysis, so that one column says both."""
    pairs = table[["analysis", "metric"]].drop_duplicates()
    return bool(pairs["metric"].is_unique)


def _cell(row: pd.Series[Any], column: str) -> str:
    if column == "interval":
        return interval(row["low"], row["high"])
    if column == "n_units":
        return (
            f"{row['n_scored']}/{row['n_units']}" if row["n_scored"] < row["n_units"] else str(row["n_units"])
        )
    if column in ("p", "q"):
        return p_text(row[column])
    if column in ("normalised", "share_significant"):
        return percent(row[column])
    if column == "n_test":
        return str(row[column]) if row[column] else "–"
    if column in ("value", "ceiling"):
        return number(row[column])
    if column == "region":
        return "all units" if row[column] == ALL else isolate(row[column], 60)
    if column == "metric":
        return metric_name(str(row[column]))
    if column == "model" and row["role"] == "control":
        return f"{isolate(row[column], 60)} (control)"
    return isolate(row[column], 60) or "–"


def _interval_words(table: pd.DataFrame) -> str:
    known = table[np.isfinite(table["low"])] if len(table) else table
    found = list(dict.fromkeys(str(v) for v in known["interval_of"])) if len(known) else []
    return "; ".join(found[:4])


def _provenance(groups: Sequence[Group], given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions, seeds, splits and what the caller adds, without a trace of the machine."""
    versions: dict[str, set[str]] = {"brainalign": {brainalign.__version__}}
    for scores in (s for g in groups for s in g.all):
        for name, version in mapping(scores.info, "versions").items():
            versions.setdefault(clean(name, 40), set()).add(text_of(version, 40))
    rows = [("Versions", ", ".join(f"{n} {'/'.join(sorted(v))}" for n, v in versions.items()))]
    rows.append(("Random state", seeds(groups)))
    for group in groups:
        if group.digest:
            rows.append((f"Split hash, {group.label}", clean(group.digest, 80)))
        weights = {text_of(mapping(s.info, "model").get("weights_digest"), 80) for s in group.all} - {""}
        if weights:
            rows.append((f"Weights, {group.label}", ", ".join(sorted(weights))))
    rows += [(clean(k, 60), _anonymous(v)) for k, v in _flat(given)]
    return [(k, v) for k, v in rows if v]


def _flat(given: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterable[tuple[str, Any]]:
    for key, value in given.items():
        if _PRIVATE.search(str(key)):
            continue
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < 3:
            yield from _flat(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _anonymous(value: Any) -> str:
    """Text without the name of this machine or of who runs it."""
    text = text_of(value, 400)
    for name in _own_names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def _own_names() -> list[str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no account behind this process
        user = ""
    host = socket.gethostname()
    return [name for name in (host, host.split(".")[0], user) if len(name) > 3 and name != "localhost"]
