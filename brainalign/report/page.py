"""One self-contained HTML page from scores and RDMs."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from brainalign.errors import InputError
from brainalign.report.alarms import standing_alarms
from brainalign.report.describe import is_simulated, overruled, units_noun
from brainalign.report.groups import Group, group_scores
from brainalign.report.methods import methods
from brainalign.report.naming import isolate, mapping, metric_name, real
from brainalign.report.pictures import Gallery, Picture, tsv
from brainalign.report.pictures_rdms import rdm_pictures
from brainalign.report.pictures_recordings import (
    lag_pictures,
    map_pictures,
    missing_pictures,
    time_pictures,
    topography_pictures,
)
from brainalign.report.pictures_scores import comparison_pictures, profile_pictures, unit_pictures
from brainalign.report.planted import planted_rows
from brainalign.report.provenance import provenance_rows
from brainalign.report.regions import region_units, score_table, scores_units
from brainalign.report.tables import claim_rows, shown_table
from brainalign.report.text import facts, generalisation, headline, rdm_facts
from brainalign.storage.atomic import write_text_atomic
from brainalign.types import RDMs, Scores

_MOST_PAGE = 4_700_000
_MOST_GROUPS = 12
_KINDS = (
    profile_pictures,
    comparison_pictures,
    map_pictures,
    time_pictures,
    topography_pictures,
    lag_pictures,
    unit_pictures,
)


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
        write_text_atomic(folder / "scores.tsv", tsv(table))
    page = _context(groups, rdms, table, provenance or {})
    page["title"] = isolate(title, 120) if title else _default_title(groups)
    room = _MOST_PAGE - len(
        _render({**page, "group_figures": [], "rdm_figures": [], "left_out": []}).encode()
    )
    gallery = Gallery(folder, room)
    page["group_figures"] = [_group_figures(g, gallery) for g in groups[:_MOST_GROUPS]]
    page["rdm_figures"] = _rendered(rdm_pictures(rdms), gallery)
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
        "overruled": [isolate(reason, 400) for reason in overruled(results)],
        "planted": planted_rows(groups),
        "headline": headline(groups[0]) if groups else None,
        "symbol": _score_name(groups[0]) if groups else "",
        "p_words": _p_words([s for g in groups for s in g.all]),
        "claims": claim_rows(groups) if len(groups) > 1 else [],
        "groups": [
            {"label": g.label, "facts": told, "generalisation": generalisation(g)}
            for g, told in zip(groups, _new_facts(groups), strict=True)
        ],
        "alarms": alarms,
        "loud": sum(a.level == "alarm" for a in alarms),
        "notes": sum(a.level == "note" for a in alarms),
        "rdms": [rdm_facts(r) for r in rdms],
        "table": shown_table(table),
        "methods": paragraphs,
        "references": references,
        "provenance": provenance_rows(groups, provenance),
    }


def _score_name(group: Group) -> str:
    over = f", mean over {units_noun(group.lead)}" if scores_units(group.lead) else ""
    return metric_name(group.metric) + over


def _p_words(scores: Sequence[Scores]) -> str:
    """How the p-values of regions were made: by permutation of their mean, as a bound, or both."""
    given = bound = False
    for one in scores:
        by_unit = one.p_values is not None and np.ndim(one.p_values) == 1
        if not by_unit and not mapping(one.info, "permutation").get("region_p"):
            continue
        permuted = mapping(mapping(one.info, "permutation"), "region_p")
        for region, index in region_units(one).items():
            known = real(permuted.get(region)) is not None
            given |= known
            bound |= not known and by_unit and len(index) > 1
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


def _group_figures(group: Group, gallery: Gallery) -> dict[str, Any]:
    figures = [f for kind in _KINDS for f in _rendered(kind(group), gallery)]
    return {"label": group.label, "figures": figures, "words": missing_pictures(group)}


def _rendered(pictures: Iterable[Picture], gallery: Gallery) -> list[dict[str, str]]:
    found = [gallery.render(p) for p in pictures]
    return [f for f in found if f is not None]
