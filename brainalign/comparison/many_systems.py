"""Many measures of many systems in one pass, and what they are worth against chance."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from brainalign._checks import one_of, unknown_name
from brainalign.comparison._measure import Measure
from brainalign.comparison._one_pass import SHARED, form_of
from brainalign.comparison._option_checks import generator_of, whole_number
from brainalign.comparison._pairing import passed_on
from brainalign.comparison._shared_predictivity import PredictivityWork
from brainalign.comparison._shared_work import Found, Pair, SharedWork, against_chance
from brainalign.comparison._systems import System, joined_systems, named
from brainalign.comparison.measures import MEASURES, check_size, find_measure
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses


def compare_many(
    systems: Mapping[Any, Any] | Sequence[Any],
    *,
    against: Mapping[Any, Any] | Sequence[Any] | None = None,
    measures: Iterable[str | Measure] | None = None,
    calibrate: str | None = None,
    n_permutations: int = 200,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Return many measures of many systems that answered the same stimuli, as one table.

    Parameters
    ----------
    systems : mapping of names to systems, or a sequence
        Arrays (n_stimuli, n_units), joined by position, or `Responses`, joined by
        `stimulus_id` (repeats averaged). Layers, regions, networks, people. `Responses` with
        a time axis become one system per time.
    against : as `systems`
        Compare every system with every one of these: layers with regions; measures that are
        not symmetric from `systems` to `against`. None: all pairs of `systems`, each once, and
        measures that are not symmetric in both directions.
    measures : names of `MEASURES` or `Measure`, each once; None: the measures of RDMs, kernels,
        canonical correlation, shape and neighbours that share their work
    calibrate : None or ``"permutation"``
        Reorder the stimuli of the second system `n_permutations` times, the same orders for
        all pairs and measures.
    n_permutations : the smallest p-value is 1 / (n_permutations + 1)
    options : mapping of names of measures to their options
    random_state : seed of the orders

    Returns
    -------
    DataFrame
        One row per pair and measure: `a`, `b` (names, or positions in a sequence), `measure`,
        `value` (of `a` as x and `b` as y), `p_value` (one-sided towards closer,
        ``(b + 1) / (m + 1)``, a draw without a value counted as closer; NaN without
        `calibrate`). With `calibrate` also `null_mean` and `calibrated`: 0 at the mean of
        the null, 1 for equal systems, which is ``(value - null) / (1 - null)`` for a similarity
        of at most 1 and ``1 - value / null`` for a distance. With times also `a_time`,
        `b_time` (s). ``attrs`` holds what was said of the sources, ``"crossed"`` (whether
        `against` was given), ``"n_permutations"`` and the ``"kinds"`` of the measures. A value
        that is not defined is NaN; one warning per measure counts them and says why. The
        p-values of measures to which the pairing of stimuli is nothing (``gromov_wasserstein``,
        ``imd``, ``ricci``: every order has the same value) are NaN, with a warning.

    Raises
    ------
    AlignmentError, ShapeError, UnknownNameError
        As in `compare`; one system and nothing to compare it with.
    InputError
        As in `compare`; `systems` or `measures` of another type or empty; a measure twice; a
        measure of single trials; a measure of trajectories with `Responses` or permutations;
        n_permutations not a whole number of at least 1; options that are no mapping.

    Notes
    -----
    Each system is decomposed once (thin SVD), its matrix over stimuli built once per measure,
    its neighbours searched once; each pair has one cross product u_x' u_y and one nuclear
    norm, one set of unit correlations and one assignment, both directions the same ones. Linear
    predictivity fits one ridge per x and fold to the units of all y. Values equal those of
    `compare` to rounding. Cost for L systems of n stimuli and r directions: L (n p r + r^3) +
    L^2 (n r^2 + r^3) for the spectral measures, L n^2 p + L^2 n^2 for each measure of matrices
    (tau-a: L^2 n^2 log n); memory L n^2 float64 for one measure of matrices at a time, L n (p + r)
    for the others. A permutation costs n^2 per pair for inner products of matrices, else as
    much as a value of a pair.
    Source of the calibration: Groeger et al. 2026, arXiv:2602.14486; adjustment for chance
    as in Hubert & Arabie 1985, doi:10.1007/BF01908075.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 6))
    >>> table = compare_many({"net": x, "brain": x @ rng.normal(size=(6, 9))}, measures=["cka", "cca"])
    >>> table[["a", "b", "measure"]].values.tolist()
    [['net', 'brain', 'cka'], ['net', 'brain', 'cca']]
    >>> round(float(table.value[1]), 6)
    1.0
    """
    _check_permutations(calibrate, n_permutations)
    chosen = _chosen(measures, options, calibrate)
    sources = named("systems", systems)
    others = {} if against is None else named("against", against)
    _refuse_trajectories_by_id(chosen, [*sources.values(), *others.values()])
    first, *rest = joined_systems([sources, others] if against is not None else [sources])
    second = rest[0] if rest else first
    if not rest and len(first) < 2:
        raise ShapeError("systems holds one system; expected two or more, or others to compare it `against`")
    n = len(first[0].values)
    for measure, _ in chosen:
        check_size(measure, n)
    rng = generator_of(random_state)
    orders = [rng.permutation(n) for _ in range(n_permutations if calibrate else 0)]
    wanted = [_wanted(len(first), len(second), m.symmetric, crossed=bool(rest)) for m, _ in chosen]
    found: list[dict[Pair, Found]] = [{} for _ in chosen]
    for work in _works(chosen, permuted=bool(orders)):
        paired = all(chosen[place][0].paired for place in work.places)
        work.fill(found, wanted, first, second, orders if paired else [])
    table = _table(chosen, found, first, second, calibrate is not None)
    table.attrs.update(passed_on(*sources.values(), *others.values()))
    table.attrs["crossed"] = bool(rest)
    table.attrs["n_permutations"] = len(orders)
    table.attrs["kinds"] = {measure.name: measure.kind for measure, _ in chosen}
    return table


class _Work(Protocol):
    """Measures whose values are computed together."""

    @property
    def places(self) -> list[int]:
        """Their places in the request."""

    def fill(
        self,
        found: list[dict[Pair, Found]],
        wanted: list[list[Pair]],
        first: list[System],
        second: list[System],
        orders: Sequence[np.ndarray],
    ) -> None:
        """Compute every wanted pair of every measure into `found`."""


def _check_permutations(calibrate: str | None, n_permutations: Any) -> None:
    if calibrate is None:
        return
    one_of("calibrate", calibrate, ["permutation"])
    whole_number("n_permutations", n_permutations, low=1)


def _chosen(
    measures: Iterable[str | Measure] | None,
    options: Mapping[str, Mapping[str, Any]] | None,
    calibrate: str | None,
) -> list[tuple[Measure, dict[str, Any]]]:
    """Each measure with its options."""
    if isinstance(measures, (str, Measure)):
        raise InputError(f"measures is {measures!r}; expected a list of names: [{measures!r}]")
    found = [find_measure(name, None) for name in (default_measures() if measures is None else measures)]
    known = [m.name for m in found]
    if not found:
        raise InputError("measures is empty; expected at least one name of MEASURES, or None")
    twice = sorted({name for name in known if known.count(name) > 1})
    if twice:
        raise InputError(
            f"measures holds {twice[0]!r} {known.count(twice[0])} times; expected each once (call again for "
            "other options)"
        )
    for measure in found:
        _refuse_other_samples(measure, calibrate)
    settings = _options_of(found, options)
    return [(m, settings.get(m.name, {})) for m in found]


def _options_of(found: list[Measure], options: Any) -> dict[str, dict[str, Any]]:
    """The options of each measure that has any, checked."""
    if options is not None and not isinstance(options, Mapping):
        raise InputError(
            f"options is {options!r}; expected a mapping of names of measures to their options, such as "
            '{"mutual_knn": {"k": 5}}'
        )
    known = {m.name: m for m in found}
    for name, own in (options or {}).items():
        if name not in known:
            raise unknown_name("measure in options", name, known)
        find_measure(known[name], own)
    return {name: dict(own or {}) for name, own in (options or {}).items()}


def _refuse_other_samples(measure: Measure, calibrate: str | None) -> None:
    if measure.samples == "trials":
        raise InputError(
            f"{measure.name} is a measure of single trials (n_stimuli, n_repeats, n_units), which "
            "compare_many does not take; use compare(x, y, measure=...) pair by pair"
        )
    if measure.samples == "trajectories" and calibrate is not None:
        raise InputError(f"{measure.name} compares trajectories, which have no stimuli to exchange")


def _refuse_trajectories_by_id(chosen: list[tuple[Measure, dict[str, Any]]], sources: list[Any]) -> None:
    """Rows joined by stimulus would tear a trajectory apart."""
    names = [m.name for m, _ in chosen if m.samples == "trajectories"]
    if names and any(isinstance(source, Responses) for source in sources):
        raise InputError(
            f"{names[0]} compares trajectories, whose rows follow one another in time; compare_many joins "
            "Responses by stimulus_id: give arrays (n_times, n_units), or use pairwise_dsa"
        )


def default_measures() -> list[str]:
    """The measures of RDMs, kernels, canonical correlation, shape and neighbours that share their work."""
    return [
        name
        for name, m in MEASURES.items()
        if m.family in ("rsa", "cka") or (name in SHARED and m.family != "units")
    ]


def _wanted(n_first: int, n_second: int, symmetric: bool, *, crossed: bool) -> list[Pair]:
    """The pairs of positions that a measure is computed for."""
    if crossed:
        return [(i, j) for i in range(n_first) for j in range(n_second)]
    return [(i, j) for i in range(n_first) for j in range(n_second) if i < j or (i > j and not symmetric)]


def _works(chosen: list[tuple[Measure, dict[str, Any]]], *, permuted: bool) -> list[_Work]:
    """Measures that share what is computed of a system and of a pair."""
    groups: dict[str, SharedWork] = {}
    fits: list[PredictivityWork] = []
    for place, (measure, settings) in enumerate(chosen):
        if measure is MEASURES["linear_predictivity"] and settings.get("direction", "x_to_y") == "x_to_y":
            fits.append(PredictivityWork(place, settings))
            continue
        form = form_of(measure, settings, permuted=permuted)
        groups.setdefault(form.key, SharedWork(form, [], [])).take(place, form)
    return [*groups.values(), *fits]


def _table(
    chosen: list[tuple[Measure, dict[str, Any]]],
    found: list[dict[Pair, Found]],
    first: list[System],
    second: list[System],
    calibrated: bool,
) -> pd.DataFrame:
    """One row per pair and measure, pair by pair."""
    rows = []
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            for (measure, _), values in zip(chosen, found, strict=True):
                if (i, j) in values:
                    places: dict[str, Any] = {"a": a.name, "a_time": a.time, "b": b.name, "b_time": b.time}
                    rows.append(places | {"measure": measure.name} | against_chance(measure, values[i, j]))
    columns = ["a", "a_time", "b", "b_time", "measure", "value", "p_value", "null_mean", "calibrated"]
    table = pd.DataFrame(rows, columns=columns)
    if not table[["a_time", "b_time"]].notna().any(axis=None):
        table = table.drop(columns=["a_time", "b_time"])
    for (measure, _), values in zip(chosen, found, strict=True):
        _warn_undefined(measure, list(values.values()))
        if calibrated and not measure.paired:
            warnings.warn(
                f"{measure.name}: p-values are NaN: it does not use which stimulus is which, so that every "
                "order of the stimuli has the same value",
                stacklevel=3,
            )
    return table if calibrated else table.drop(columns=["null_mean", "calibrated"])


def _warn_undefined(measure: Measure, values: list[Found]) -> None:
    """One warning for all that was said of the values of a measure."""
    said = [reason for one in values for reason in one.reasons]
    if not said:
        return
    missing = sum(np.isnan(one.value) for one in values)
    # why a value is missing is told before what else was said of others
    first = next((reason for reason in said if "NaN" in reason), said[0]) if missing else said[0]
    warnings.warn(
        f"{measure.name}: {missing} of {len(values)} values are NaN; {len(said)} "
        f"{'warnings, such as' if len(said) > 1 else 'warning'}: {first}",
        stacklevel=4,
    )
