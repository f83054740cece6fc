"""From arrays to Scores that say how they came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from brainalign import metrics
from brainalign._versions import versions
from brainalign.design import Splits, named_regions, selection_regions
from brainalign.encoding._folds import Options
from brainalign.encoding._inference import FoldRecord, mean_over_folds, score_fold, unit_intervals
from brainalign.encoding._inputs import Problem
from brainalign.encoding._selection import region_of_targets
from brainalign.regression import RidgeCV
from brainalign.types import NoiseCeiling, Responses, Scores
from brainalign.types._geometry import geometry_of

_PLURAL = {"stimulus": "stimuli", "trial": "trials", "sample": "samples"}
# what was done to a recording before it was cut into trials
_RECORDING = ("preparation", "baseline", "high_pass_hz", "low_pass_hz", "dropped", "bads_dropped")


@dataclass
class FoldResults:
    """Everything the folds leave: winners per fold, scores and draws per feature space."""

    records: list[FoldRecord]
    layer_folds: np.ndarray  # (n_spaces, n_folds, n_targets)
    layer_draws: np.ndarray  # (n_spaces, n_bootstrap, n_regions), summed over folds
    claim_draws: np.ndarray  # (n_bootstrap, n_regions)


@dataclass(frozen=True)
class Description:
    """Turns arrays into Scores that say how they came about."""

    problem: Problem
    splits: Splits
    options: Options
    scoring_over: str
    n_bootstrap: int
    combine: str
    select: str
    names: list[str]

    def common(self) -> dict[str, Any]:
        labels = self.problem.labels()
        n_test = [len({labels[i] for i in test}) for _, test in self.splits.folds]
        estimator = self.options.estimator if self.options.estimator is not None else RidgeCV()
        out = {
            "design": self.problem.design,
            "generalisation": self.splits.generalisation,
            "splits": {
                "method": self.splits.method,
                "n_folds": len(self.splits.folds),
                "n_groups": len(np.unique(self.splits.groups)),
                "n_test": n_test,
                "gap": self.splits.gap,
                "hash": self.splits.digest(labels),
            },
            "rows": self.problem.row_kind,
            "joined": "by position" if self.problem.positional else "by key",
            "repeats": self.options.repeats,
            "scoring_over": self.scoring_over,
            "estimator": {"name": type(estimator).__name__, **_shown_parameters(estimator)},
            "feature_scaling": self.options.feature_scaling,
            "combine": self.combine,
            "select": self.select,
            "layers": self.names,
            "n_stimuli": len(set(self.problem.keys)),
            "n_samples": len(self.problem.values),
            "times": self.problem.info.get("times"),
            "random_state": self.options.random_state,
            "versions": versions(),
        }
        if self.options.allow is not None:
            out["allow"] = self.options.allow
        return out

    def claim(
        self,
        run: FoldResults,
        spaces: list[list[str]],
        bound: NoiseCeiling | None,
        p_values: np.ndarray | None,
        base: dict[str, Any],
        identity: Mapping[str, str] | None,
        keep: bool,
    ) -> Scores:
        records = run.records
        fold_values = np.stack([score_fold(self.options, r.rows, r.predictions) for r in records])
        values = mean_over_folds(fold_values)
        if self.scoring_over == "pooled":
            values = self._pooled(records)
        interval = None
        if run.claim_draws.size and self.scoring_over == "folds":
            interval = self._shape(unit_intervals(records, self.n_bootstrap, self.options))
        known = np.isfinite(fold_values)
        guess_flat = np.stack([np.asarray(metrics.is_constant(r.predictions)) for r in records])
        info = {
            **base,
            "claim": "nested",
            "layer": self._chosen(records, spaces),
            "constant_predictions": int((guess_flat & known).sum()),
            "folds_without_score": int((~known & known.any(0)).sum()),
            "nan_reasons": self._reasons(values),
            "penalty": _edge_hits(records),
            "region_interval": self._region_interval(run.claim_draws, values),
            **self._interval_text(run.claim_draws),
            **self._space_weights(records, spaces[0]),
        }
        kept = {}
        if keep:
            kept = {
                "predictions": self._shape(np.concatenate([r.predictions for r in records])),
                "observed": self._shape(np.concatenate([r.rows.y_test for r in records])),
            }
        return Scores(
            self._shape(values),
            self.problem.units,
            self.options.metric,
            {
                "layer": "selected" if len(spaces) > 1 else " + ".join(spaces[0]),
                "analysis": "encoding",
                **(identity or {}),
            },
            fold_values=self._shape(fold_values),
            interval=interval,
            n_test=sum(len(r.rows.test) for r in records),
            noise_ceiling=bound,
            p_values=p_values,
            info=info,
            **kept,
        )

    def layer(
        self,
        run: FoldResults,
        position: int,
        name: str,
        bound: NoiseCeiling | None,
        base: dict[str, Any],
        identity: Mapping[str, str] | None,
    ) -> Scores:
        fold_values = run.layer_folds[position]
        info = {
            **{k: v for k, v in base.items() if k != "permutation"},
            "claim": "descriptive",
            "scoring_over": "folds",
            "region_interval": self._region_interval(run.layer_draws[position], mean_over_folds(fold_values)),
            **self._interval_text(run.layer_draws[position]),
        }
        return Scores(
            self._shape(mean_over_folds(fold_values)),
            self.problem.units,
            self.options.metric,
            {"analysis": "encoding", **(identity or {}), "layer": name},
            fold_values=self._shape(fold_values),
            n_test=sum(len(r.rows.test) for r in run.records),
            noise_ceiling=bound,
            info=info,
        )

    def _pooled(self, records: list[FoldRecord]) -> np.ndarray:
        """One score over the test rows of all folds, each fold against its own training mean."""
        observed, predicted = [r.rows.y_test for r in records], [r.predictions for r in records]
        if self.options.metric == "r2_train_mean":
            means = [(r.rows.weights / r.rows.weights.sum()) @ r.rows.y_train for r in records]
            observed = [y - m for y, m in zip(observed, means, strict=True)]
            predicted = [p - m for p, m in zip(predicted, means, strict=True)]
        zero = np.zeros(observed[0].shape[1])
        pooled = np.concatenate(observed), np.concatenate(predicted)
        return np.asarray(metrics.score(self.options.metric, *pooled, train_mean=zero))

    def _shape(self, array: np.ndarray) -> np.ndarray:
        """Put the units (and times) back in place of flattened targets."""
        return array.reshape(*array.shape[:-1], *self.problem.shape)

    def _chosen(self, records: list[FoldRecord], spaces: list[list[str]]) -> dict[str, list[str]]:
        n_times = int(np.prod(self.problem.shape[1:], dtype=int))
        named = [" + ".join(space) for space in spaces]
        if self.select == "unit":
            return {
                str(unit): [named[r.chosen[i * n_times]] for r in records]
                for i, unit in enumerate(self.problem.units.index)
            }
        index = region_of_targets(
            selection_regions(self.problem.units, self.select), len(self.problem.units), n_times
        )
        return {region: [named[r.chosen[rows[0]]] for r in records] for region, rows in index.items()}

    def _space_weights(self, records: list[FoldRecord], names: list[str]) -> dict[str, Any]:
        """Weight of each feature space, averaged over folds, in the shape of the scores."""
        shares = [r.shares for r in records if r.shares is not None]
        if not shares:
            return {}
        means = [mean_over_folds(np.stack([share[row] for share in shares])) for row in range(len(names))]
        return {"space_weights": dict(zip(names, map(self._shape, means), strict=True))}

    def _reasons(self, values: np.ndarray) -> dict[str, int]:
        missing = np.isnan(values)
        values_known = np.isfinite(self.problem.values)
        flat = np.asarray(metrics.is_constant(np.where(values_known, self.problem.values, 0)))
        broken = ~values_known.all(axis=0)
        found = {
            "NaN or infinite response": int((missing & broken).sum()),
            "constant response": int((missing & ~broken & flat).sum()),
            "constant within every fold": int((missing & ~broken & ~flat).sum()),
        }
        return {reason: count for reason, count in found.items() if count}

    def _interval_text(self, draws: np.ndarray) -> dict[str, str]:
        block = self.options.block
        what = f"test {_PLURAL[self.problem.row_kind]}" if block == 1 else f"test blocks of {block} samples"
        return {"interval": f"95 % over resampled {what}, models held"} if draws.size else {}

    def _region_interval(self, draws: np.ndarray, values: np.ndarray) -> dict[str, list[float]]:
        """Percentiles of each region's mean; left out where they miss the value itself.

        Resamples of a sparse unit often hold no variation at all: their mean then speaks of
        other draws than the score.
        """
        if not draws.size or self.scoring_over == "pooled":
            return {}
        n_times = int(np.prod(self.problem.shape[1:], dtype=int))
        index = region_of_targets(named_regions(self.problem.units), len(self.problem.units), n_times)
        out = {}
        for column, (name, targets) in enumerate(index.items()):
            known = targets[np.isfinite(values[targets])]
            if not len(known) or not np.isfinite(draws[:, column]).all():
                continue
            low, high = (float(v) for v in np.percentile(draws[:, column], [2.5, 97.5]))
            if low <= values[known].mean() <= high:
                out[name] = [low, high]
        return out


def _edge_hits(records: list[FoldRecord]) -> dict[str, int]:
    """How many of the chosen penalties (targets x folds) lie on an end of their grid."""
    edges = np.concatenate([r.edges for r in records])
    known = edges[np.isfinite(edges)]
    return {"edge_low": int((known < 0).sum()), "edge_high": int((known > 0).sum()), "of": len(known)}


def _shown_parameters(estimator: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in clone(estimator).get_params(deep=False).items():
        if isinstance(value, (str, int, float, bool, type(None))):
            out[key] = value
        elif isinstance(value, (np.ndarray, list, tuple)) and key == "alphas":
            out[key] = [float(v) for v in value]
        else:
            out[key] = str(value)
    return out


def known_identity(features: Any, responses: Any) -> dict[str, str]:
    """Dataset, subject and model, as far as the responses and the features name them."""
    out: dict[str, str] = {}
    if isinstance(responses, Responses) and responses.samples is not None:
        subjects = responses.samples.get("subject", pd.Series(dtype=object)).dropna().unique()
        out = {"dataset": str(responses.info.get("dataset") or ""), "subject": "".join(subjects[:1])}
    models = {str(part.info["model"]) for part in _parts(features) if part.info.get("model")}
    return {**out, "model": models.pop()} if len(models) == 1 else out


def known_facts(features: Any, responses: Any) -> dict[str, Any]:
    """Source, licence and network, as far as the responses and the features name them."""
    out: dict[str, Any] = {}
    if isinstance(responses, Responses):
        known = ("source", "citation", "licence", "species", "recording", "unit")
        facts = {name: responses.info[name] for name in known if responses.info.get(name)}
        out = {"dataset": facts, "simulated": bool(responses.info.get("simulated", False))}
        out.update(geometry_of(responses.info))
        if responses.info.get("unit_name"):
            out["unit_name"] = str(responses.info["unit_name"])
        for name in _RECORDING:
            if responses.info.get(name):
                out[name] = responses.info[name]
        if responses.info.get("planted"):
            out["planted"] = dict(responses.info["planted"])
    for part in _parts(features)[:1]:
        names = ("model", "pool", "preprocessing", "weights_digest", "dtype", "untrained", "citation")
        out["model"] = {name: part.info[name] for name in names if part.info.get(name) is not None}
        out["role"] = str(part.info.get("role", "model"))
    return out


def _parts(features: Any) -> list[Responses]:
    every = list(features.values()) if isinstance(features, Mapping) else [features]
    return [part for part in every if isinstance(part, Responses)]
