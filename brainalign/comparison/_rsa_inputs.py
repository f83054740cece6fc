"""RDMs of subjects and of models on one stimulus axis, with names, measure and the pairs all of them know."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch

from brainalign._arrays import resolve_device
from brainalign._checks import unique_ids, unknown_name
from brainalign.comparison._option_checks import generator_of
from brainalign.comparison._ranks import tied_share
from brainalign.comparison._rdm_stacks import as_stack
from brainalign.comparison.rdm_comparison import MOST_TIES, default_measure, said
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.statistics._rsa_inputs import (
    DRAWN_MEASURES,
    FEWEST_PAIRS,
    common_pairs,
    plain_array,
    stimulus_covariance,
)
from brainalign.statistics.rank_correlation import settle_ties
from brainalign.types import RDMs

LOOPED_MEASURES = ("bures",)
REFUSED_MEASURES = ("neg_riemannian",)
_NAME_COLUMNS = ("model", "name", "layer")
_RANKED = ("spearman", "rho_a", "tau_a", "tau_b")


@dataclass(frozen=True, eq=False)
class RsaInputs:
    """Checked RDMs: `data` (s, n, n), `models` (m, n, n), `mask` (n, n) of kept pairs, and their labels."""

    data: np.ndarray
    models: np.ndarray
    mask: np.ndarray
    names: tuple[str, ...]
    measure: str | Callable[..., Any]
    sigma_k: np.ndarray | None
    n_missing: int
    device: torch.device

    @property
    def n_stimuli(self) -> int:
        return int(self.data.shape[1])

    @property
    def n_subjects(self) -> int:
        return len(self.data)

    @property
    def label(self) -> str:
        """The measure as text."""
        return (
            self.measure if isinstance(self.measure, str) else getattr(self.measure, "__name__", "callable")
        )

    def tensor(self, values: np.ndarray) -> torch.Tensor:
        """A float64 tensor on the device of the call."""
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float64, device=self.device)


def rsa_inputs(
    data_rdms: Any,
    model_rdms: Any,
    *,
    measure: str | Callable[..., Any] | None,
    sigma_k: Any = None,
    names: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    warn_ties: bool = True,
) -> RsaInputs:
    """Check and join the RDMs; pairs that any of them misses are left out for all, with a warning."""
    where = _device_of(device, data_rdms, model_rdms)
    chosen = _default_of(data_rdms) if measure is None else _checked_measure(measure)
    found, plain = _named_stack(model_rdms, names)
    if isinstance(data_rdms, RDMs) != isinstance(plain, RDMs):
        raise AlignmentError(
            "one of data_rdms and model_rdms is RDMs and the other a plain array; stimuli are joined by id "
            "or by position, never both: give two RDMs or two arrays"
        )
    if isinstance(data_rdms, RDMs):
        data_rdms, plain = (
            one.values for one in join_rdms(data_rdms, plain, names=("data_rdms", "model_rdms"))
        )
    data, models = as_stack("data_rdms", data_rdms), as_stack("model_rdms", plain)
    if data.shape[1] != models.shape[1]:
        raise ShapeError(
            f"data_rdms are over {data.shape[1]} stimuli and model_rdms over {models.shape[1]}; they must "
            "agree"
        )
    sigma = stimulus_covariance(sigma_k, data.shape[1])
    if sigma is not None and not str(chosen).startswith("whitened"):
        raise InputError(f"sigma_k is for the whitened measures; measure={chosen!r} does not use it")
    mask, n_missing = _kept_pairs(data, models)
    if n_missing and chosen in LOOPED_MEASURES:
        raise InputError(
            f"{n_missing} pairs of stimuli are missing in an RDM; measure={chosen!r} needs the whole matrix: "
            "leave out the stimuli that have missing pairs, or use another measure"
        )
    labels = tuple(found or (f"model_{i}" for i in range(len(models))))
    if len(labels) != len(models):
        raise ShapeError(f"{len(labels)} names for {len(models)} model RDMs; give one name a model")
    labels = tuple(str(name) for name in unique_ids("model name", labels))
    data, models = (_settled(np.where(mask, x, 0.0), chosen) for x in (data, models))
    out = RsaInputs(data, models, mask, labels, chosen, sigma, n_missing, where)
    if warn_ties:
        _warn_ties(out)
    return out


def drawn_with(name: str, n_draws: Any, least: int, random_state: Any) -> tuple[int, np.random.Generator]:
    """A checked number of draws, called `name`, and the generator that draws them."""
    if not isinstance(n_draws, Integral):
        raise InputError(f"{name}={n_draws!r} is no whole number; expected at least {least}")
    if n_draws < least:
        what = ", a variance needs two" if least == 2 else ""
        raise InputError(f"{name}={n_draws}; expected at least {least}{' draws' if what else ''}{what}")
    return int(n_draws), generator_of(random_state)


def _default_of(data_rdms: Any) -> str:
    distance = data_rdms.info.get("distance") if isinstance(data_rdms, RDMs) else None
    return said(default_measure(distance), stacklevel=5)


def _checked_measure(measure: Any) -> str | Callable[..., Any]:
    if callable(measure):
        return measure  # type: ignore[no-any-return]
    valid = (*DRAWN_MEASURES, *LOOPED_MEASURES)
    if measure in REFUSED_MEASURES:
        raise InputError(
            f"measure={measure!r} has no bootstrap: the kernel of a resample in which a stimulus occurs "
            f"twice is singular. Use one of {', '.join(valid)}"
        )
    if measure not in valid:
        raise unknown_name("measure", str(measure), valid)
    return str(measure)


def _device_of(device: str | torch.device | None, *values: Any) -> torch.device:
    """The device that was asked for, else that of a tensor among the RDMs, else the CPU."""
    if device is not None:
        return resolve_device(device)
    return next((v.device for v in values if isinstance(v, torch.Tensor)), torch.device("cpu"))


def _named_stack(model_rdms: Any, names: Sequence[str] | None) -> tuple[list[str] | None, Any]:
    """The model RDMs without their names, and the names: given, keys, or a column of the table."""
    found: list[str] | None
    if isinstance(model_rdms, Mapping):
        if not model_rdms:
            raise ShapeError("model_rdms is an empty mapping; expected {name: (n, n)}")
        found, plain = list(map(str, model_rdms)), _stack_of(model_rdms)
    else:
        found, plain = _table_names(model_rdms), model_rdms
    return (list(names) if names is not None else found), plain


def _stack_of(model_rdms: Mapping[Any, Any]) -> np.ndarray:
    matrices = {name: plain_array(f"model {name!r}", m) for name, m in model_rdms.items()}
    shapes = {m.shape for m in matrices.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        listed = ", ".join(f"{name!r} {m.shape}" for name, m in matrices.items())
        raise ShapeError(f"model_rdms hold {listed}; expected one shape (n, n) for all")
    return np.stack(list(matrices.values()))


def _table_names(model_rdms: Any) -> list[str] | None:
    table = model_rdms.table if isinstance(model_rdms, RDMs) else None
    for column in _NAME_COLUMNS:
        if table is not None and column in table and table[column].is_unique:
            return [str(v) for v in table[column]]
    return None


def _kept_pairs(data: np.ndarray, models: np.ndarray) -> tuple[np.ndarray, int]:
    mask, n_missing = common_pairs(np.concatenate([data, models]))
    kept = int(mask.sum()) // 2
    if kept < FEWEST_PAIRS:
        raise ShapeError(
            f"{kept} pairs of stimuli are known in every RDM; expected at least {FEWEST_PAIRS} (a comparison "
            "needs 3 stimuli). Leave out the RDMs or the stimuli with most missing entries"
        )
    if n_missing:
        warnings.warn(
            f"{n_missing} of {kept + n_missing} pairs of stimuli are NaN in an RDM of a subject or of a "
            "model and are left out for all of them",
            stacklevel=4,
        )
    return mask, n_missing


def _settled(stack: np.ndarray, measure: str | Callable[..., Any]) -> np.ndarray:
    """Entries that differ by rounding alone are ties for the measures that rank."""
    if measure not in _RANKED:
        return stack
    return settle_ties(stack.reshape(len(stack), -1)).reshape(stack.shape)


def _warn_ties(inputs: RsaInputs) -> None:
    if inputs.measure not in ("spearman", "tau_b"):
        return
    kept = inputs.models[:, np.triu(inputs.mask, 1)]
    shares = tied_share(torch.from_numpy(kept)).tolist()
    tied = [name for name, share in zip(inputs.names, shares, strict=True) if share > MOST_TIES]
    if tied:
        warnings.warn(
            f"more than {MOST_TIES:.0%} of the entries of {', '.join(tied)} are ties; {inputs.measure} "
            "favours models with ties: use rho_a or tau_a",
            stacklevel=4,
        )
