"""Training and test rows that follow the design of the experiment."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import group_codes, one_of
from brainalign.design.join import content_groups
from brainalign.errors import InputError, LeakageError, ShapeError

Rows = np.ndarray
_TRAIN, _TEST = ("train", "training", "val", "validation"), ("test", "testing")


@dataclass(frozen=True)
class Splits:
    """Folds over rows, with what they claim.

    Attributes: `folds` pairs of training and test rows; `method` how they were made;
    `generalisation` what a score on the test rows speaks of; `groups` (n_samples,) rows
    that may not be split; `exchange` the rows (``"stimuli"``) or contiguous ``"blocks"``
    that a permutation may exchange; `separate_test` one test set outside the training;
    `gap` samples left out beside contiguous test blocks, None for other folds.
    """

    folds: tuple[tuple[Rows, Rows], ...]
    method: str
    generalisation: str
    groups: Rows = field(repr=False)
    exchange: str = "stimuli"
    separate_test: bool = False
    allow: str | None = None
    gap: int | None = None

    def digest(self, labels: Sequence[str]) -> str:
        """Short sha256 over the test labels of each fold: equal only for equal test sets.

        `labels` (n_samples,) names each row; the order of the rows and of the folds is free.
        """
        # JSON, because an id may hold any separator; sorted, because the order of folds and rows is free
        text = json.dumps(sorted(sorted({str(labels[i]) for i in test}) for _, test in self.folds))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def grouped_splits(groups: Any, n_folds: int, *, random_state: int | None = 0) -> Iterator[tuple[Rows, Rows]]:
    """Deal whole groups at random into folds of near-equal numbers of groups.

    Parameters
    ----------
    groups : (n_samples,) labels; rows of one group are never separated
    n_folds : int, from 2 to the number of groups
    random_state : int or None (groups dealt in order of first appearance)

    Examples
    --------
    >>> [test.tolist() for _, test in grouped_splits([0, 0, 1, 2], 3, random_state=None)]
    [[0, 1], [2], [3]]
    """
    codes, labels = group_codes("groups", groups)
    n_groups = len(labels)
    _enough(n_groups, n_folds, "groups")
    order = np.arange(n_groups)
    if random_state is not None:
        order = np.random.default_rng(random_state).permutation(n_groups)
    for part in np.array_split(order, n_folds):
        test = np.isin(codes, part)
        yield np.flatnonzero(~test), np.flatnonzero(test)


def contiguous_splits(n: int, n_folds: int, gap: int, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:
    """Contiguous test blocks with a gap of unused rows on either side.

    Parameters
    ----------
    n : number of samples, in order of time
    n_folds : number of blocks
    gap : samples left out of training before and after each test block, within a run
    groups : (n_samples,) run or story of each sample, or None (one recording); the gap
        does not reach into another run

    Examples
    --------
    >>> [(train.tolist(), test.tolist()) for train, test in contiguous_splits(6, 2, 1)]
    [([4, 5], [0, 1, 2]), ([0, 1], [3, 4, 5])]
    """
    _enough(n, n_folds, "samples")
    if gap < 0:
        raise InputError(f"gap={gap}; expected 0 or more samples")
    runs = np.zeros(n, dtype=int) if groups is None else pd.factorize(pd.Series(np.asarray(groups)))[0]
    if len(runs) != n:
        raise ShapeError(f"groups have {len(runs)} rows, expected {n}")
    for test in np.array_split(np.arange(n), n_folds):
        near = np.zeros(n, dtype=bool)
        near[max(0, test[0] - gap) : test[-1] + gap + 1] = True
        near &= np.isin(runs, runs[test])
        near[test] = True
        train = np.flatnonzero(~near)
        if not len(train):
            raise InputError(
                f"no training rows are left: {n} samples, {n_folds} folds, gap {gap}; use a smaller gap"
            )
        yield train, test


def _enough(n_groups: int, n_folds: int, what: str) -> None:
    if n_folds < 2:
        raise InputError(f"n_folds={n_folds}; expected at least 2")
    if n_groups < n_folds:
        raise InputError(
            f"{n_groups} {what} cannot fill {n_folds} folds; use n_folds={max(n_groups, 2)} or fewer"
            + (
                ", give a test set (samples['split']), or record more"
                if n_groups >= 2
                else f": at least 2 {what} are needed to hold any out"
            )
        )


def make_splits(
    samples: pd.DataFrame,
    *,
    design: str | None,
    splits: Any = "auto",
    n_folds: int = 5,
    groups: Any = None,
    gap: int | None = None,
    random_state: int | None = 0,
    allow: str | None = None,
) -> Splits:
    """Choose training and test rows by the design, or check the ones that were given.

    Parameters
    ----------
    samples : DataFrame (n_samples rows) as in `Responses`
    design : ``"trials"``, ``"blocks"``, ``"continuous"``
    splits : ``"auto"``, a scikit-learn splitter, or pairs of training and test rows.
        Automatic: the dataset's own test set where ``samples["split"]`` has one; else
        trials: grouped by stimulus content (by run, else by stretch of time, where no
        stimulus is known); blocks: by run; continuous: by run or story, else contiguous blocks with `gap`.
    groups : (n_samples,) further labels that must not be split, or None
    gap : rows between test and training of contiguous blocks; None: a tenth of a block
    allow : a reason that overrules the guard against leaks; the result keeps it where a
        guard was overruled

    Raises
    ------
    InputError
        There are fewer groups than folds, a split or group label is unknown or missing, rows
        of a run are not in order of time, or `allow` gives no reason.
    LeakageError
        A group is in training and in test, or folds of a blocks or continuous design are
        not whole stretches of time.
    """
    n = len(samples)
    if n < 2:
        raise ShapeError(f"{n} sample: at least 2 are needed, one to fit and one to test")
    if groups is not None and len(groups) != n:
        raise ShapeError(f"groups have {len(groups)} rows, the responses {n}")
    one_of("design", design, ("trials", "blocks", "continuous"))
    if allow is not None and not (isinstance(allow, str) and allow.strip()):
        raise InputError(f"allow={allow!r}; expected the reason in words, it is stamped on every result")
    if design != "trials":
        _refuse_disorder(samples)
    label = np.asarray(groups, dtype=object) if groups is not None else None
    exchange = "stimuli" if design == "trials" else "blocks"
    tied = content_groups(samples, label) if design == "trials" else _time_groups(samples, label, n)
    if not (isinstance(splits, str) and splits == "auto"):
        return _given(splits, samples, tied, str(design), exchange, allow)
    own = _own_test_set(samples)
    if own is not None:
        allow = _guarded([own], samples, tied, str(design), allow)
        text = "the test set of the dataset (stimuli or runs that the training never saw)"
        return Splits((own,), "test set of the dataset", text, tied, exchange, True, allow)
    if design == "trials" and ("stimulus_id" in samples or "content_hash" in samples or label is not None):
        folds = tuple(grouped_splits(tied, n_folds, random_state=random_state))
        scope = "new stimuli, same subject and recording"
        return Splits(folds, f"{n_folds} folds grouped by stimulus content", scope, tied, exchange)
    runs = label if label is not None else recording_runs(samples)
    if runs is not None:
        folds = tuple(grouped_splits(runs, n_folds, random_state=None))
        allow = _guarded(folds, samples, tied, str(design), allow)
        scope = "new runs of the same recording"
        return Splits(folds, f"{len(folds)} folds of whole runs", scope, tied, exchange, False, allow)
    if design == "trials":
        return _unnamed_trials(samples, tied, n_folds, random_state)
    gap = max(1, n // (10 * n_folds)) if gap is None else gap
    folds = tuple(contiguous_splits(n, n_folds, gap))
    scope = "other stretches of the same recording"
    return Splits(folds, f"{n_folds} contiguous blocks", scope, tied, exchange, gap=gap)


def _unnamed_trials(samples: pd.DataFrame, tied: Rows, n_folds: int, random_state: int | None) -> Splits:
    """Trials of which neither stimulus nor run is known: stretches of time, where the time is known.

    Neighbouring trials share noise, and conditions that were shown one after the other
    would be told apart by it.
    """
    scope = "new trials (which of them showed the same stimulus is not known)"
    n = len(samples)
    if "onset" not in samples or samples["onset"].isna().any():
        folds = tuple(grouped_splits(np.arange(n), n_folds, random_state=random_state))
        return Splits(folds, f"{n_folds} folds of trials", scope, tied)
    order = np.argsort(pd.to_numeric(samples["onset"]).to_numpy(dtype=float), kind="stable")
    folds = tuple(
        (np.sort(order[train]), np.sort(order[test])) for train, test in contiguous_splits(n, n_folds, gap=1)
    )
    scope = "other stretches of the same recording"
    return Splits(folds, f"{n_folds} contiguous blocks of trials", scope, tied, gap=1)


def recording_runs(samples: pd.DataFrame) -> np.ndarray | None:
    """Label the run (or story) of each row, or None where there is one recording."""
    for column in ("run", "story"):
        if column in samples and samples[column].notna().any():
            # run 1 of two sessions is two runs
            session = samples["session"].astype(str) + "/" if "session" in samples else ""
            runs = session + samples[column].astype(str)
            if runs.nunique() > 1:
                return runs.to_numpy(dtype=object)
    return None


def _time_groups(samples: pd.DataFrame, label: np.ndarray | None, n: int) -> np.ndarray:
    if label is not None:
        return group_codes("groups", label)[0]
    return np.arange(n)


def _refuse_disorder(samples: pd.DataFrame) -> None:
    """Stretches of rows are stretches of time only where the rows are in order of time."""
    if "onset" not in samples:
        return
    columns = [c for c in ("subject", "session", "run", "story") if c in samples]
    part = samples[columns].astype(str).agg("/".join, axis=1).tolist() if columns else [""] * len(samples)
    onset = pd.Series(pd.to_numeric(samples["onset"]).to_numpy())
    back = np.flatnonzero(onset < onset.groupby(part).shift())
    if len(back):
        raise InputError(
            f"row {back[0]} has onset {onset[back[0]]:g} s, earlier than the row before it in its run; sort "
            "the rows by time, or name the runs (samples['run'])"
        )


def _own_test_set(samples: pd.DataFrame) -> tuple[Rows, Rows] | None:
    if "split" not in samples:
        return None
    labels = [None if pd.isna(v) or v == "" else str(v).lower() for v in samples["split"]]
    text = pd.Series(labels, dtype=object)
    unknown = sorted({repr(v) for v in text if v is not None and v not in _TRAIN + _TEST})
    if unknown:
        raise InputError(
            f"samples['split'] holds {unknown[0]}; expected {', '.join(map(repr, _TRAIN + _TEST))} or empty"
        )
    train, test = np.flatnonzero(text.isin(_TRAIN)), np.flatnonzero(text.isin(_TEST))
    if not len(test):
        return None
    if not len(train):
        raise InputError(f"samples['split'] marks {len(test)} test rows and no training rows")
    return train, test


def _given(
    splits: Any, samples: pd.DataFrame, tied: Rows, design: str, exchange: str, allow: str | None
) -> Splits:
    n = len(samples)
    name, pairs = "given folds", splits
    if hasattr(splits, "split") and not isinstance(splits, str):
        name = str(splits).replace("\n", " ")
        pairs = _pairs_of_splitter(splits, samples, tied)
    elif isinstance(splits, str) or not isinstance(splits, Iterable):
        raise InputError(
            f"splits={splits!r}; expected 'auto', a scikit-learn splitter, or pairs of (train, test) rows"
        )
    folds = tuple(_checked_fold(number, pair, n) for number, pair in enumerate(pairs))
    if not folds:
        raise InputError("splits hold no folds")
    overruled = _guarded(folds, samples, tied, design, allow)
    tested = np.concatenate([test for _, test in folds])
    if len(np.unique(tested)) != len(tested):
        raise InputError("the test parts of the folds overlap; every row may be tested once")
    scope = "the rows that the given folds hold out"
    return Splits(folds, name, scope, tied, exchange, len(folds) == 1, overruled)


def _pairs_of_splitter(splitter: Any, samples: pd.DataFrame, tied: Rows) -> list[Any]:
    """Folds of a scikit-learn splitter; where nothing else ties rows, its groups are the runs."""
    n = len(samples)
    runs = recording_runs(samples)
    alone = len(np.unique(tied)) == n
    groups = group_codes("runs", runs)[0] if alone and runs is not None else tied
    with warnings.catch_warnings():
        # splitters that know no groups say so; whether groups straddle is checked later
        warnings.filterwarnings("ignore", message="The groups parameter is ignored")
        return list(splitter.split(np.zeros((n, 1)), None, groups))


def _checked_fold(number: int, pair: Any, n: int) -> tuple[Rows, Rows]:
    """Rows of one fold in ascending order, from positions or boolean masks."""
    try:
        parts = [np.asarray(part) for part in pair]
    except TypeError:
        parts = []
    if len(parts) != 2 or any(part.ndim != 1 for part in parts):
        raise InputError(f"fold {number} is no pair of training and test rows")
    for position, part in enumerate(parts):
        if part.dtype == bool and len(part) == n:
            parts[position] = np.flatnonzero(part)
        elif len(part) and part.dtype.kind not in "iu":
            raise InputError(
                f"fold {number} names rows by {len(part)} values of dtype {part.dtype}; expected integer "
                f"positions or masks of {n} rows"
            )
    train, test = (np.sort(part) for part in parts)
    if not len(train) or not len(test):
        raise ShapeError(f"fold {number} has {len(train)} training and {len(test)} test rows")
    if min(train[0], test[0]) < 0 or max(train[-1], test[-1]) >= n:
        raise InputError(f"fold {number} names rows outside 0..{n - 1}")
    return train.astype(np.intp), test.astype(np.intp)


def _guarded(
    folds: Sequence[tuple[Rows, Rows]], samples: pd.DataFrame, tied: Rows, design: str, allow: str | None
) -> str | None:
    """Refuse folds that leak; return the reason where it overruled a guard, else None."""
    try:
        _refuse_straddling(folds, tied)
        if design != "trials":
            _refuse_scattered(folds, samples)
    except LeakageError:
        if allow is None:
            raise
        return allow
    return None


def _refuse_straddling(folds: Sequence[tuple[Rows, Rows]], tied: Rows) -> None:
    for number, (train, test) in enumerate(folds):
        shared = np.intersect1d(tied[train], tied[test])
        if len(shared):
            row = int(test[np.isin(tied[test], shared)][0])
            raise LeakageError(
                f"fold {number}: {len(shared)} groups (same stimulus, content or label) are in training "
                f"and in test, first at row {row}. Use splits='auto' or a grouped splitter; "
                "allow='reason' overrules and stamps every result"
            )


def _refuse_scattered(folds: Sequence[tuple[Rows, Rows]], samples: pd.DataFrame) -> None:
    """Test rows of a recording in time must be whole stretches: neighbours share their noise."""
    runs = recording_runs(samples)
    codes = np.zeros(len(samples), dtype=int) if runs is None else pd.factorize(pd.Series(runs))[0]
    for number, (train, test) in enumerate(folds):
        role = np.zeros(len(samples), dtype=int)
        role[train], role[test] = 1, 2
        borders = 0
        for run in np.unique(codes):
            inside = role[codes == run]
            inside = inside[inside > 0]
            borders += max(0, int((np.diff(inside) != 0).sum()) - 2)
        if borders:
            raise LeakageError(
                f"fold {number}: test rows are scattered among training rows of the same run "
                f"({borders} borders too many). Neighbouring samples share noise, so shuffled folds give "
                "scores to noise (r up to 0.85). Use splits='auto'; allow='reason' overrules and stamps "
                "every result"
            )
