"""Inter-subject RSA: what people share of a representation, across different repetitions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from brainalign._linalg import full_precision
from brainalign.comparison._inner_measures import complete_triangles, on_host, unit_matrices, warn_undefined
from brainalign.comparison._option_checks import generator_of, is_count
from brainalign.comparison._rdm_stacks import as_stack
from brainalign.comparison.rdm_comparison import default_measure, said
from brainalign.comparison.rdms import rdm
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.statistics.permutation import permutation_p_values
from brainalign.types import Responses

_BLOCK = 2**23


@dataclass(frozen=True, eq=False)
class IntersubjectRsa:
    """Similarity of the representations of people.

    Parameters
    ----------
    value : float, mean over all pairs of subjects
    low, high : float, interval of `level` over resampled subjects; NaN without draws
    p_value : float, (b + 1) / (m + 1) over orders of the stimuli; NaN without draws
    pairs : array (n_subjects, n_subjects), symmetric; NaN on the diagonal
    subject_values : array (n_subjects,), mean of each subject with all others
    subjects : tuple of str
    shift : int or ``"all"``
    n_repetitions : int
    measure, distance : str
    null : array (n_permutations,), group values with the stimuli of each subject in random order
    bootstrap : array (n_boot,), group values over resampled subjects
    """

    value: float
    low: float
    high: float
    p_value: float
    pairs: np.ndarray = field(repr=False)
    subject_values: np.ndarray = field(repr=False)
    subjects: tuple[str, ...]
    shift: int | str
    n_repetitions: int
    measure: str
    distance: str
    null: np.ndarray = field(repr=False)
    bootstrap: np.ndarray = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """One row a pair of subjects: subject_a, subject_b, value, shift, measure, distance."""
        a, b = np.triu_indices(len(self.subjects), 1)
        return pd.DataFrame(
            {
                "subject_a": [self.subjects[i] for i in a],
                "subject_b": [self.subjects[i] for i in b],
                "value": self.pairs[a, b],
                "shift": self.shift,
                "measure": self.measure,
                "distance": self.distance,
            }
        )


def intersubject_rsa(
    responses: Any,
    *,
    shift: int | str = 1,
    distance: str = "correlation",
    measure: str | None = None,
    n_permutations: int = 0,
    n_boot: int = 0,
    level: float = 0.95,
    random_state: int | np.random.Generator = 0,
) -> IntersubjectRsa:
    """Compare the RDMs of every two subjects, each from another repetition of the stimuli.

    What subjects share because they saw the stimuli in one order (drift, fatigue, adaptation)
    is not stimulus information; it makes RDMs of the same repetition alike. Repetition k of one
    subject is therefore compared with repetition k + `shift` (modulo R) of the other.

    Parameters
    ----------
    responses : {subject: Responses} with columns stimulus_id and repetition; {subject: array \
(n_repetitions, n_stimuli, n_units)} or a sequence of these; or RDMs (n_subjects, n_repetitions, n, n)
        Units may differ between subjects. `Responses` are joined by stimulus_id and by
        repetition, both of which every subject must have in full; arrays by position.
    shift : int, or ``"all"``
        ``"all"``: the mean over all pairs of different repetitions. 0 compares equal
        repetitions and warns.
    distance : as in `rdm`; not used for RDMs
    measure : ``"rho_a"`` (None, said in a warning), ``"pearson"``, ``"spearman"``, ``"cosine"``, \
``"whitened_cosine"``, ``"whitened_pearson"``
    n_permutations : int
        Draws with the stimuli of every subject in an order of its own (all repetitions of a
        subject in the same one); 0: none. The p-value is one-sided.
    n_boot : int
        Draws of subjects with replacement; a subject is never paired with its own copy; 0: none.
    level : of the percentile interval
    random_state : int or numpy Generator

    Returns
    -------
    IntersubjectRsa. NaN, counted in a warning, for pairs of which one RDM is constant; the means
    leave them out.

    Raises
    ------
    ShapeError
        Fewer than 2 subjects or 3 stimuli; subjects with other numbers of repetitions or stimuli.
    InputError
        `shift` that is a multiple of more than one repetition, or not an integer; missing pairs; `level`
        outside 0 to 1; a negative number of draws.
    AlignmentError
        Responses without the columns; a subject without one of the repetitions or stimuli.

    Notes
    -----
    The value of subjects a, b is the mean over k of the similarity of (a, k) with (b, k + shift),
    and of (b, k) with (a, k + shift). All pairs follow from one product of prepared RDMs:
    O(S^2 R P) operations, P = n (n - 1) / 2; a permutation gathers S R P entries and repeats it.
    Subjects are drawn with counts c; a pair weighs c_a c_b (Chen et al. 2016,
    doi:10.1016/j.neuroimage.2016.05.023, subject-wise bootstrap). A leave-one-out mean has no
    valid subject-level null of this kind, so that none is offered.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(12, 20))
    >>> people = [shared + rng.normal(size=(3, 12, 20)) for _ in range(4)]
    >>> found = intersubject_rsa(people, measure="pearson", n_permutations=99)
    >>> found.value > 0.1, found.p_value
    (True, 0.01)
    """
    _check_options(n_permutations, n_boot, level)
    subjects, stack, label = _repetition_rdms(responses, distance)
    n_subjects, n_repetitions = stack.shape[:2]
    step = _checked_shift(shift, n_repetitions)
    chosen = measure if measure is not None else _default()
    flat = as_stack("responses", stack.reshape(-1, *stack.shape[2:]))
    complete_triangles(flat)
    units = unit_matrices(flat, chosen).reshape(*stack.shape)
    with full_precision():
        pairs = _pair_table(units.flatten(2), step).numpy()
        generator = generator_of(random_state)
        null = _null(units, step, n_permutations, generator)
    np.fill_diagonal(pairs, np.nan)
    above = np.triu_indices(n_subjects, 1)
    warn_undefined(pairs[above], "pairs of subjects", stacklevel=2)
    value = _mean(pairs[above])
    draws = _bootstrap(pairs, n_boot, generator)
    tail = (1.0 - level) / 2.0
    known = draws[np.isfinite(draws)]
    low, high = np.quantile(known, [tail, 1.0 - tail]) if known.size else (np.nan, np.nan)
    p = float(permutation_p_values(np.array(value), null)) if n_permutations else float("nan")
    own = np.array([_mean(np.delete(row, i)) for i, row in enumerate(pairs)])
    return IntersubjectRsa(
        value,
        float(low),
        float(high),
        p,
        pairs,
        own,
        tuple(subjects),
        shift,
        n_repetitions,
        chosen,
        label,
        null,
        draws,
    )


def _check_options(n_permutations: int, n_boot: int, level: float) -> None:
    for name, number in (("n_permutations", n_permutations), ("n_boot", n_boot)):
        if not is_count(number):
            raise InputError(f"{name}={number!r}; expected 0 (none) or a number of draws")
    if not 0 < level < 1:
        raise InputError(f"level={level}; expected a number between 0 and 1, such as 0.95")


def _default() -> str:
    return said(default_measure(), stacklevel=4)


def _checked_shift(shift: int | str, n_repetitions: int) -> int | None:
    """The shift modulo the repetitions; None for all pairs of different repetitions."""
    if shift == "all":
        if n_repetitions < 2:
            raise InputError("shift='all' compares different repetitions, and there is 1; give shift=0")
        return None
    if not isinstance(shift, (int, float, np.number)) or isinstance(shift, bool) or shift % 1 != 0:
        raise InputError(f"shift={shift!r}; expected an integer number of repetitions, or 'all'")
    step = int(shift) % n_repetitions
    if step == 0 and shift != 0:
        raise InputError(
            f"shift={shift} with {n_repetitions} repetition{'s' * (n_repetitions > 1)} compares equal "
            "repetitions; "
            "give another shift, more repetitions, or shift=0 to say that this is meant"
        )
    if step == 0:
        warnings.warn(
            "shift=0 compares equal repetitions: where subjects saw the stimuli in one order, drift that "
            "follows "
            "the order counts as shared representation; use shift=1",
            stacklevel=3,
        )
    return step


def _repetition_rdms(responses: Any, distance: str) -> tuple[list[str], np.ndarray, str]:
    """Names, RDMs (n_subjects, n_repetitions, n, n), and the name of their distance."""
    if isinstance(responses, Mapping):
        names, people = [str(key) for key in responses], list(responses.values())
    else:
        if not isinstance(responses, Sequence) and np.ndim(responses) == 4:
            array = np.asarray(on_host(responses))
            if array.shape[2] == array.shape[3]:
                _enough(len(array), array.shape[2])
                return [f"subject_{i}" for i in range(len(array))], array.astype(np.float64), "given"
        people = list(responses)
        names = [f"subject_{i}" for i in range(len(people))]
    with_ids = [isinstance(one, Responses) for one in people]
    if any(with_ids) and not all(with_ids):
        raise AlignmentError(
            "some subjects are Responses and others plain arrays; rows are joined by stimulus_id or by "
            "position, "
            "never both"
        )
    blocks = (
        _joined(names, people)
        if all(with_ids) and people
        else [_block(*one) for one in zip(names, people, strict=True)]
    )
    shapes = {block.shape[:2] for block in blocks}
    if len(shapes) > 1:
        listed = ", ".join(f"{name!r} {block.shape[:2]}" for name, block in zip(names, blocks, strict=True))
        raise ShapeError(f"(n_repetitions, n_stimuli) differ between subjects: {listed}; they must agree")
    _enough(len(blocks), blocks[0].shape[1] if blocks else 0)
    return names, np.stack([on_host(rdm(block, distance=distance)) for block in blocks]), str(distance)


def _enough(n_subjects: int, n_stimuli: int) -> None:
    if n_subjects < 2 or n_stimuli < 3:
        raise ShapeError(
            f"{n_subjects} subjects and {n_stimuli} stimuli; inter-subject RSA needs at least 2 subjects and "
            "3 "
            "stimuli"
        )


def _block(name: str, values: Any) -> Any:
    shape = tuple(values.shape) if hasattr(values, "shape") else np.shape(values)
    if len(shape) != 3:
        raise ShapeError(f"subject {name!r} has shape {shape}; expected (n_repetitions, n_stimuli, n_units)")
    if shape[1] == shape[2]:
        array = np.asarray(on_host(values))
        if np.array_equal(array, array.swapaxes(1, 2)) and not array.diagonal(axis1=1, axis2=2).any():
            raise InputError(
                f"subject {name!r} has symmetric matrices {shape} with a diagonal of 0, which are RDMs and "
                "no responses; give RDMs as one array (n_subjects, n_repetitions, n, n)"
            )
    return values


def _joined(names: list[str], people: list[Responses]) -> list[np.ndarray]:
    """Values (n_repetitions, n_stimuli, n_units) of each subject, over the stimuli and repetitions of the "
    "first.
    """
    indices = [_cells(name, one) for name, one in zip(names, people, strict=True)]
    repetitions, stimuli = (sorted(set(column)) for column in zip(*indices[0], strict=True))
    wanted = [(r, s) for r in repetitions for s in stimuli]
    out = []
    for name, one, cells in zip(names, people, indices, strict=True):
        position: dict[Any, int] = {cell: row for row, cell in enumerate(cells)}
        lacking = [cell for cell in wanted if cell not in position]
        if len(position) != len(cells) or lacking or len(cells) != len(wanted):
            what = f"no row for {lacking[:3]}" if lacking else "a cell twice, or cells that the first has not"
            raise AlignmentError(
                f"subject {name!r} has {len(cells)} rows and {what} (repetition, stimulus_id); expected one "
                "row for "
                f"each of {len(repetitions)} repetitions x {len(stimuli)} stimuli of subject {names[0]!r}"
            )
        values = one.array()[[position[cell] for cell in wanted]]
        out.append(values.reshape(len(repetitions), len(stimuli), -1))
    return out


def _cells(name: str, one: Responses) -> list[tuple[Any, Any]]:
    samples = one.samples
    for column in ("stimulus_id", "repetition"):
        if samples is None or column not in samples or samples[column].isna().any():
            raise AlignmentError(
                f"subject {name!r} has rows without {column!r}; number the presentations of each stimulus "
                "from 0"
            )
    assert samples is not None
    return list(zip(samples["repetition"].tolist(), samples["stimulus_id"].astype(str).tolist(), strict=True))


def _pair_table(units: torch.Tensor, step: int | None) -> torch.Tensor:
    """Similarities (..., S, S) of prepared RDMs (..., S, R, P), both directions averaged."""
    r = units.shape[-2]
    if step is None:
        total = units.sum(-2)
        own = units.flatten(-2)
        return (total @ total.mT - own @ own.mT) / (r * (r - 1))
    shifted = torch.roll(units, -step, dims=-2)
    table = units.flatten(-2) @ shifted.flatten(-2).mT / r
    return (table + table.mT) / 2


def _null(
    units: torch.Tensor, step: int | None, n_permutations: int, generator: np.random.Generator
) -> np.ndarray:
    """Group values with the stimuli of each subject in an order of its own."""
    n_subjects, _, n, _ = units.shape
    person = torch.arange(n_subjects)[None, :, None, None]
    above = torch.triu_indices(n_subjects, n_subjects, 1)
    by_entry = units.permute(0, 2, 3, 1)
    out = np.full(n_permutations, np.nan)
    size = max(1, _BLOCK // units.numel())
    for start in range(0, n_permutations, size):
        count = min(size, n_permutations - start)
        order = torch.from_numpy(generator.permuted(np.tile(np.arange(n), (count, n_subjects, 1)), axis=2))
        moved = by_entry[person, order[..., :, None], order[..., None, :]]
        table = _pair_table(moved.flatten(2, 3).mT, step)
        out[start : start + count] = torch.nanmean(table[:, above[0], above[1]], 1).numpy()
    return out


def _bootstrap(pairs: np.ndarray, n_boot: int, generator: np.random.Generator) -> np.ndarray:
    """Group values over drawn subjects; NaN where fewer than two different ones were drawn."""
    s = len(pairs)
    counts = generator.multinomial(s, np.full(s, 1.0 / s), size=n_boot).astype(np.float64)
    known = np.isfinite(pairs)
    total = ((counts @ np.where(known, pairs, 0.0)) * counts).sum(axis=1)
    weight = ((counts @ known) * counts).sum(axis=1)
    return np.asarray(np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan))


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
