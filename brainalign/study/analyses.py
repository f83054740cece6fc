"""From features and responses to the scores of one cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from brainalign.comparison import LayerComparison, compare_layers, compare_over_time, rdm
from brainalign.design import (
    average_repeats,
    join_rows,
    named_regions,
    recording_parts,
    standardise_parts,
)
from brainalign.encoding import fit_encoding, known_facts, scan_lags, versions
from brainalign.errors import InputError
from brainalign.study.cells import Cell
from brainalign.study.inputs import SubjectInputs, confounds_of, gap_of
from brainalign.study.settings import Study
from brainalign.types import RDMs, Responses, Scores

_MIN_STIMULI = 4


def analyse(
    study: Study, cell: Cell, inputs: SubjectInputs, features: Mapping[str, Responses]
) -> tuple[list[Scores], RDMs | None]:
    """Compute the scores of a cell: the claim first, then one Scores a layer."""
    if cell.analysis == "encoding":
        return _encoding(study, cell, inputs, features), None
    return _similarity(study, cell, inputs, features)


def _facts(
    study: Study, cell: Cell, inputs: SubjectInputs, features: Mapping[str, Responses]
) -> dict[str, Any]:
    known = known_facts(features, inputs.responses)
    return {**known, "role": cell.model.role, "study": study.title or study.name}


def _identity(study: Study, cell: Cell) -> dict[str, str]:
    return {
        "dataset": study.dataset.name,
        "subject": cell.subject,
        "model": cell.model.shown,
        "analysis": cell.analysis,
    }


def _encoding(
    study: Study, cell: Cell, inputs: SubjectInputs, features: Mapping[str, Responses]
) -> list[Scores]:
    options = study.encoding.model_dump(exclude={"gap"})
    if options["feature_scaling"] == "none":
        options["feature_scaling"] = None
    fit = fit_encoding(
        features=dict(features),
        responses=inputs.responses,
        confounds=confounds_of(study, inputs.dataset),
        time_control=False,  # it is a model, and a cell, of its own
        gap=gap_of(study, inputs.responses),
        identity=_identity(study, cell),
        info=_facts(study, cell, inputs, features),
        allow=study.allow,
        random_state=study.random_state,
        progress=True,
        **options,
    )
    claim = _with_lags(study, inputs, features, fit.scores)
    return [claim, *(fit.layer_scores.values() if len(features) > 1 else ())]


def _with_lags(
    study: Study, inputs: SubjectInputs, features: Mapping[str, Responses], claim: Scores
) -> Scores:
    """Add the curve over lags of the layer that was chosen most often, where features have delays."""
    delays = study.preparation.delays
    chosen = Counter(name for names in claim.info["layer"].values() for name in names)
    layer = next((name for name, _ in chosen.most_common() if name in features), None)
    if not delays or layer is None or not features[layer].info.get("delays"):
        return claim
    curve = scan_lags(
        features=features[layer],
        responses=inputs.responses,
        lags=range(min(0, *delays) - 2, max(delays) + 3),
        n_folds=study.encoding.n_folds,
        gap=gap_of(study, inputs.responses),
        confounds=confounds_of(study, inputs.dataset),
        metric=study.encoding.metric,
        random_state=study.random_state,
    )
    return replace(claim, info={**claim.info, "lag_scan": {**curve.info["lag_scan"], "layer": layer}})


def _similarity(
    study: Study, cell: Cell, inputs: SubjectInputs, features: Mapping[str, Responses]
) -> tuple[list[Scores], RDMs | None]:
    """RSA and CKA: every layer against every region, over the same stimuli."""
    if len(inputs.responses.shape) == 3:
        return _similarity_over_time(study, cell, inputs, features), None
    brain, ids = standardised_means(inputs.responses)
    first = next(iter(features.values()))
    rows = join_rows(first, brain, name="features")
    layers = {name: part.array()[rows] for name, part in features.items()}
    assert brain.units is not None
    values = brain.array()
    named = named_regions(brain.units)
    regions = {name: index[np.isfinite(values[:, index]).all(axis=0)] for name, index in named.items()}
    dropped = {name: len(named[name]) - len(index) for name, index in regions.items()}
    is_rsa = cell.analysis == "rsa"
    settings = study.rsa if is_rsa else study.cka
    measure = f"rsa_{study.rsa.measure}" if is_rsa else "cka"
    options = {"distance": study.rsa.distance} if is_rsa else {}
    found = {}
    for region, usable in regions.items():
        if len(usable) < (2 if is_rsa and study.rsa.distance == "correlation" else 1):
            found[region] = [LayerComparison(name, nan, nan, nan, nan, len(ids)) for name in layers]
            continue
        found[region] = compare_layers(
            layers,
            values[:, usable],
            measure=measure,
            n_permutations=settings.n_permutations,
            n_bootstrap=study.rsa.n_bootstrap if is_rsa else 0,
            options=options,
            random_state=study.random_state,
        )
    scores = [
        _layer_scores(study, cell, inputs, features, name, position, found, regions, ids, dropped)
        for position, name in enumerate(features)
    ]
    known = is_rsa and any(np.isfinite(c.value) for cs in found.values() for c in cs)
    return scores, _rdms(study, cell, layers, values, regions, found, ids) if known else None


def _similarity_over_time(
    study: Study, cell: Cell, inputs: SubjectInputs, features: Mapping[str, Responses]
) -> list[Scores]:
    """RSA and CKA at every time: Scores whose values are (n_regions, n_times), one per layer."""
    responses = inputs.responses
    assert responses.units is not None
    is_rsa = cell.analysis == "rsa"
    settings = study.rsa if is_rsa else study.cka
    named = named_regions(responses.units)
    found = [
        compare_over_time(
            features,
            responses.select(units=index),
            measure=f"rsa_{study.rsa.measure}" if is_rsa else "cka",
            n_permutations=settings.n_permutations,
            options={"distance": study.rsa.distance} if is_rsa else {},
            random_state=study.random_state,
        )
        for index in named.values()
    ]
    units = pd.DataFrame(
        {"n_units": [len(index) for index in named.values()]}, index=pd.Index(list(named), name="unit_id")
    )
    out = []
    for position, name in enumerate(features):
        here = [per_region[position] for per_region in found]
        info = {
            **_similarity_facts(study, cell, inputs, features, here[0].n_stimuli),
            "times": [float(t) for t in here[0].times],
        }
        if settings.n_permutations:
            info["permutation"] = {
                "n": settings.n_permutations,
                "exchange": "whole stimuli of the brain, alike at all times; corrected over times (maximum)",
            }
        out.append(
            Scores(
                np.stack([c.values for c in here]),
                units,
                study.rsa.measure if is_rsa else "cka_debiased",
                {**_identity(study, cell), "layer": name},
                n_test=here[0].n_stimuli,
                p_values=np.stack([c.p_corrected for c in here]) if settings.n_permutations else None,
                info=info,
            )
        )
    return out


def _similarity_facts(
    study: Study,
    cell: Cell,
    inputs: SubjectInputs,
    features: Mapping[str, Responses],
    n_stimuli: int,
) -> dict[str, Any]:
    """What RSA and CKA scores say of themselves, with and without a time axis."""
    out = {
        **_facts(study, cell, inputs, features),
        "claim": "descriptive",
        "design": inputs.responses.info.get("design"),
        "generalisation": "the stimuli that were compared; nothing was fitted",
        "layers": list(features),
        "n_stimuli": n_stimuli,
        "no_ceiling": "one subject: the ceiling of a similarity needs several subjects",
        "random_state": study.random_state,
        "versions": versions(),
    }
    if study.allow is not None:
        out["allow"] = study.allow
    if cell.analysis == "rsa":
        out["distance"] = study.rsa.distance
    return out


def standardised_means(responses: Responses) -> tuple[Responses, np.ndarray]:
    """Responses averaged over repeats, (n_stimuli, n_units), and the stimulus ids.

    Responses of several sessions or runs are z-scored within each first.
    """
    samples = responses.samples
    assert samples is not None
    if "stimulus_id" not in samples:
        raise InputError("rsa and cka need a stimulus_id for every row of the responses")
    if len(responses.shape) != 2:
        raise InputError(f"rsa and cka need responses (n_samples, n_units), found shape {responses.shape}")
    values, parts = responses.array(), recording_parts(samples)
    if parts is not None:
        values = standardise_parts(values, parts, np.arange(len(values)))
    means, _, first = average_repeats(values, samples["stimulus_id"].to_numpy(dtype=object))
    if len(means) < _MIN_STIMULI:
        raise InputError(f"{len(means)} stimuli; rsa and cka need at least {_MIN_STIMULI}")
    averaged = replace(responses, values=means, samples=samples.iloc[first])
    return averaged, samples["stimulus_id"].to_numpy(dtype=object)[first]


def _layer_scores(
    study: Study,
    cell: Cell,
    inputs: SubjectInputs,
    features: Mapping[str, Responses],
    name: str,
    position: int,
    found: Mapping[str, Any],
    regions: Mapping[str, np.ndarray],
    ids: np.ndarray,
    dropped: Mapping[str, int],
) -> Scores:
    here = [found[region][position] for region in regions]
    units = pd.DataFrame(
        {"n_units": [len(index) for index in regions.values()]},
        index=pd.Index(list(regions), name="unit_id"),
    )
    interval = np.array([[c.low for c in here], [c.high for c in here]])
    settings = study.rsa if cell.analysis == "rsa" else study.cka
    info = {
        **_similarity_facts(study, cell, inputs, features, len(ids)),
        "nan_reasons": {"too few units, or no variation over stimuli": n}
        if (n := sum(np.isnan(c.value) for c in here))
        else {},
        "dropped_units": {name: count for name, count in dropped.items() if count},
    }
    if settings.n_permutations:
        info["permutation"] = {"n": settings.n_permutations, "exchange": "whole stimuli of the brain"}
    if np.isfinite(interval).any():
        info["interval"] = "95 % over resampled stimuli, ranks held"
    return Scores(
        np.array([c.value for c in here]),
        units,
        study.rsa.measure if cell.analysis == "rsa" else "cka_debiased",
        {**_identity(study, cell), "layer": name},
        interval=interval if np.isfinite(interval).any() else None,
        n_test=len(ids),
        p_values=np.array([c.p_value for c in here]) if settings.n_permutations else None,
        info=info,
    )


def _rdms(
    study: Study,
    cell: Cell,
    layers: Mapping[str, np.ndarray],
    values: np.ndarray,
    regions: Mapping[str, np.ndarray],
    found: Mapping[str, Any],
    ids: np.ndarray,
) -> RDMs:
    """The RDM of each region and that of the layer most like it."""
    matrices, rows = [], []
    common = {"dataset": study.dataset.name, "subject": cell.subject}
    for region, index in regions.items():
        if all(np.isnan(c.value) for c in found[region]):
            continue
        matrices.append(rdm(values[:, index], distance=study.rsa.distance))
        rows.append({"name": region, "kind": "brain", "roi": region, "layer": "", "model": "", **common})
        best = int(np.nanargmax([c.value if np.isfinite(c.value) else -np.inf for c in found[region]]))
        layer = list(layers)[best]
        matrices.append(rdm(layers[layer], distance=study.rsa.distance))
        label = layer if layer == cell.model.shown else f"{cell.model.shown} {layer}"
        rows.append(
            {
                "name": label,
                "kind": "model",
                "roi": region,
                "layer": layer,
                "model": cell.model.shown,
                **common,
            }
        )
    return RDMs(
        np.stack(matrices).astype(np.float32),
        ids,
        pd.DataFrame(rows),
        {"distance": study.rsa.distance, "role": cell.model.role},
    )
