"""Pictures of RDMs: each brain RDM, the network RDM most like it, the stimuli in two dimensions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from brainalign.report import figures_rdms as rdm_figures
from brainalign.report.describe import stamps
from brainalign.report.naming import isolate, listed, number
from brainalign.report.pictures import Picture
from brainalign.types import RDMs

_MOST_RDMS = 4


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
        stamps([rdms]),
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
        stamps([rdms]),
    )
