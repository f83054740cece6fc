"""What a searchlight measures and compares with: patterns of conditions in runs, and model RDMs of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from brainalign._checks import unique_ids
from brainalign.comparison._distance_inputs import to_tensor
from brainalign.comparison._rdm_stacks import as_stack
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.comparison.run_distances import labels_of, run_means
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import RDMs, Responses

MIN_STIMULI = 4
_NAME_COLUMNS = ("model", "name", "layer")


@dataclass(frozen=True, eq=False)
class Measured:
    """Patterns of conditions, one row a feature.

    `table` (n_units * n_times, n_runs * n) float64: the run means of each feature side by
    side (one run where nothing is cross-validated), 0 where a run lacks a condition;
    `runs` (n_runs, n) bool: which condition a run holds; `finite` (n_units * n_times,);
    `labels` (n,) text of the conditions, or None where rows of an array have none.
    """

    table: torch.Tensor
    runs: np.ndarray
    finite: np.ndarray
    labels: np.ndarray | None
    n_units: int
    n_times: int | None

    @property
    def n_conditions(self) -> int:
        return int(self.runs.shape[1])


def measured(values: Any, conditions: Any, runs: Any, *, crossed: bool) -> Measured:
    """Average the samples of each condition (within each run, where distances are crossed).

    Raises
    ------
    ShapeError, InputError, AlignmentError
        Axes, labels or runs that do not fit; see `map_searchlight`.
    """
    conditions = _conditions(values, conditions, crossed)
    tensor, _ = to_tensor("values", values.array() if isinstance(values, Responses) else values)
    if tensor.ndim not in (2, 3) or 0 in tensor.shape:
        raise ShapeError(
            f"values have shape {tuple(tensor.shape)}; expected (n_samples, n_voxels) or (n_samples, "
            "n_units, n_times), with at least one of each"
        )
    finite = torch.isfinite(tensor).all(dim=0).reshape(-1)
    if not bool(finite.any()):
        raise InputError("every voxel has values that are not finite; nothing is left for a searchlight")
    means, labels = _means(values, tensor, conditions, runs, crossed)
    n_runs, n = means.shape[:2]
    if n < MIN_STIMULI:
        raise ShapeError(
            f"values hold {n} conditions; an RDM of a searchlight needs at least {MIN_STIMULI} to be compared"
        )
    flat = means.reshape(n_runs * n, -1)
    there = ~torch.isnan(flat[:, int(torch.nonzero(finite)[0])]).view(n_runs, n)
    flat = flat.masked_fill(~finite, 0.0).masked_fill(~there.view(-1, 1), 0.0)
    return Measured(
        flat.T.contiguous(),
        there.cpu().numpy(),
        finite.cpu().numpy(),
        labels,
        int(tensor.shape[1]),
        int(tensor.shape[2]) if tensor.ndim == 3 else None,
    )


def _conditions(values: Any, conditions: Any, crossed: bool) -> Any:
    """The labels of the samples; those of `Responses` are their stimuli where none are given."""
    if conditions is not None:
        return labels_of(values, "conditions", conditions)
    if isinstance(values, Responses):
        samples = values.samples
        if samples is None or "stimulus_id" not in samples or samples["stimulus_id"].isna().any():
            raise AlignmentError(
                "values have rows without a stimulus_id; give conditions=, the name of a column of the "
                "samples, or select the rows that have a stimulus"
            )
        return samples["stimulus_id"].to_numpy()
    if crossed:
        raise InputError("crossnobis needs conditions=, one label per sample, beside runs=")
    return None


def _means(
    values: Any, tensor: torch.Tensor, conditions: Any, runs: Any, crossed: bool
) -> tuple[torch.Tensor, np.ndarray | None]:
    """Means (n_runs, n, ...) and the conditions as text, in sorted order."""
    if conditions is None:
        return tensor[None], None
    runs = labels_of(values, "runs", runs) if crossed else np.zeros(len(tensor), dtype=np.int64)
    means, labels, run_labels = run_means(tensor, conditions, runs)
    if crossed and len(run_labels) < 2:
        raise ShapeError(
            f"runs hold {len(run_labels)} run; crossnobis needs at least 2 independent runs. Label runs (or "
            "halves of the trials) by runs=, or use another distance without runs"
        )
    return means, unique_ids("condition", labels)


def joined_models(models: Any, found: Measured, by_id: bool) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Names and stack (m, n, n) of the model RDMs, over the conditions that were measured.

    `by_id`: the values are `Responses`, which are joined by label alone.
    """
    if models is None:
        return (), None
    names, stacks = [], []
    for name, one in _named(models):
        stack, own = _on_conditions(one, found, by_id)
        stacks.append(stack)
        names += own if name is None else ([name] if len(stack) == 1 else [f"{name}_{i}" for i in own])
    stack = np.concatenate(stacks)
    if all(n.isdigit() for n in names):
        names = [f"model_{n}" for n in names]
    return tuple(str(n) for n in unique_ids("model name", names)), stack


def _named(models: Any) -> list[tuple[str | None, Any]]:
    if not isinstance(models, Mapping):
        return [(None, models)]
    if not models:
        raise InputError("models are empty; give at least one model RDM, or models=None with keep_rdms=True")
    return [(str(name), one) for name, one in models.items()]


def _on_conditions(model: Any, found: Measured, by_id: bool) -> tuple[np.ndarray, list[str]]:
    """One stack of RDMs over the measured conditions, and a name for each."""
    n = found.n_conditions
    if isinstance(model, RDMs):
        if found.labels is None:
            raise AlignmentError(
                "models are RDMs with stimulus ids and the rows of values have none; give conditions=, the "
                "stimulus_id of each row, or plain arrays for both"
            )
        axis = RDMs(np.zeros((1, n, n)), found.labels)
        placed = join_rdms(axis, model, names=("values", "models"))[1]
        return as_stack("models", placed.values), _table_names(placed)
    if by_id:
        raise AlignmentError(
            "values are Responses and models a plain array; conditions are joined by stimulus_id or by "
            "position, never both: give models as RDMs(values, stimulus_id), or values as an array"
        )
    stack = as_stack("models", model.detach().cpu().numpy() if isinstance(model, torch.Tensor) else model)
    if stack.shape[1] != n:
        raise ShapeError(
            f"models are over {stack.shape[1]} conditions and values hold {n}; RDMs of arrays follow the "
            "sorted labels of conditions, or the rows of values where there are none"
        )
    return stack, [str(i) for i in range(len(stack))]


def _table_names(model: RDMs) -> list[str]:
    assert model.table is not None
    for column in _NAME_COLUMNS:
        if column in model.table and model.table[column].is_unique:
            return [str(v) for v in model.table[column]]
    return [str(i) for i in range(len(model))]


def kept_pairs(models: np.ndarray | None, runs: np.ndarray) -> np.ndarray:
    """Pairs of conditions (n_pairs,) that the design measures and every model knows, with a warning."""
    rows, columns = np.triu_indices(runs.shape[1], 1)
    held = runs.astype(np.int64)
    together = (held.T @ held)[rows, columns]
    measurable = together >= min(2, len(runs))
    keep = measurable.copy()
    if models is not None:
        keep &= ~np.isnan(models[:, rows, columns]).any(axis=0)
    gone, unknown = int((~measurable).sum()), int((measurable & ~keep).sum())
    if keep.sum() < 3:
        raise InputError(
            f"{int(keep.sum())} pairs of conditions are measured and known in every model; a comparison "
            "needs at least 3. Leave out the models or the conditions with most missing entries"
        )
    if gone or unknown:
        warnings.warn(
            f"{gone + unknown} of {len(keep)} pairs of conditions are left out of every sphere and "
            f"model: {gone} that no two runs hold together, {unknown} that are NaN in a model",
            stacklevel=3,
        )
    return keep
