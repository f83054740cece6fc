"""Splits follow the design, hold groups together, and refuse what leaks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    ShuffleSplit,
    TimeSeriesSplit,
)

from brainalign.design import Splits, content_groups, contiguous_splits, grouped_splits, make_splits
from brainalign.errors import InputError, LeakageError, ShapeError

RUNS = pd.DataFrame({"run": np.repeat(["1", "2", "3", "4"], 6)})


def is_partition(folds: object, n: int) -> bool:
    tested = np.concatenate([test for _, test in folds])  # type: ignore[attr-defined]
    whole = all(
        sorted([*train, *test]) == list(range(n))
        for train, test in folds  # type: ignore[attr-defined]
    )
    return sorted(tested) == list(range(n)) and whole


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=40),
    st.integers(2, 6),
    st.one_of(st.none(), st.integers(0, 99)),
)
@settings(deadline=None, max_examples=60)
def test_grouped_splits_partition(groups: list[str], n_folds: int, seed: int | None) -> None:
    """Every row is tested once, no group is divided, folds differ by one group at most."""
    if len(set(groups)) < n_folds:
        with pytest.raises(InputError, match=f"{len(set(groups))} groups cannot fill {n_folds} folds"):
            list(grouped_splits(groups, n_folds, random_state=seed))
        return
    folds = list(grouped_splits(groups, n_folds, random_state=seed))
    assert is_partition(folds, len(groups))
    parts = [{groups[i] for i in test} for _, test in folds]
    assert sum(len(p) for p in parts) == len(set(groups))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_grouped_splits_refuse_rows_without_group() -> None:
    """A row without a label would never be tested: it is named."""
    with pytest.raises(InputError, match="groups: row 2 has no label"):
        list(grouped_splits(["a", "b", None, "c"], 2))


@given(st.integers(4, 40), st.integers(2, 5), st.integers(0, 4), st.integers(1, 4))
@settings(deadline=None, max_examples=80)
def test_contiguous_splits_against_a_loop(n: int, n_folds: int, gap: int, n_runs: int) -> None:
    """Test rows are stretches; training rows are all others but those near in the same run."""
    runs = np.sort(np.arange(n) % n_runs)
    try:
        folds = list(contiguous_splits(n, n_folds, gap, runs))
    except InputError:
        return
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(n))
    for train, test in folds:
        assert (np.diff(test) == 1).all()
        expected = [
            i
            for i in range(n)
            if i not in test and not any(abs(i - j) <= gap and runs[i] == runs[j] for j in test)
        ]
        assert train.tolist() == expected


def test_gap_stays_within_run_borders() -> None:
    """The gap takes rows of the run that is tested, none of the run beside it."""
    runs = [0, 0, 0, 1, 1, 1]
    train, test = next(contiguous_splits(6, 2, 2, runs))
    assert (train.tolist(), test.tolist()) == ([3, 4, 5], [0, 1, 2])
    train, test = next(contiguous_splits(6, 2, 2))
    assert (train.tolist(), test.tolist()) == ([5], [0, 1, 2])


def test_contiguous_splits_refusals() -> None:
    """Impossible gaps, lengths and numbers of folds are errors."""
    with pytest.raises(
        InputError, match="no training rows are left: 6 samples, 2 folds, gap 3; use a smaller"
    ):
        list(contiguous_splits(6, 2, 3))
    with pytest.raises(InputError, match="gap=-1; expected 0 or more"):
        list(contiguous_splits(6, 2, -1))
    with pytest.raises(ShapeError, match="groups have 2 rows, expected 6"):
        list(contiguous_splits(6, 2, 0, [0, 1]))
    with pytest.raises(InputError, match="n_folds=1; expected at least 2"):
        list(contiguous_splits(6, 1, 0))
    with pytest.raises(InputError, match="2 samples cannot fill 3 folds; use n_folds=2 or fewer"):
        list(contiguous_splits(2, 3, 0))


stimulus = st.tuples(st.integers(0, 8), st.integers(0, 5))


@given(st.lists(stimulus, min_size=6, max_size=30), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_equal_content_never_straddles(rows: list[tuple[int, int]], seed: int) -> None:
    """No id and no content stands in training and in test of any automatic fold."""
    samples = pd.DataFrame(rows, columns=["stimulus_id", "content_hash"]).astype(str)
    if content_groups(samples).max() == 0:
        with pytest.raises(InputError, match="1 groups cannot fill 2 folds"):
            make_splits(samples, design="trials", n_folds=2, random_state=seed)
        return
    splits = make_splits(samples, design="trials", n_folds=2, random_state=seed)
    assert is_partition(splits.folds, len(rows))
    assert splits.method == "2 folds grouped by stimulus content"
    for train, test in splits.folds:
        for column in samples:
            assert not set(samples[column].iloc[train]) & set(samples[column].iloc[test])


@pytest.mark.parametrize("design", ["trials", "blocks", "continuous"])
def test_the_test_set_of_the_dataset_wins(design: str) -> None:
    """Where `split` marks test rows, only these are tested and unmarked rows are in neither part."""
    split = ["Train"] * 6 + ["val"] * 6 + [None, "", np.nan] + [None] * 3 + ["test"] * 6
    samples = RUNS.assign(split=split, stimulus_id=[f"s{i}" for i in range(24)])
    splits = make_splits(samples, design=design)
    assert splits.separate_test
    assert len(splits.folds) == 1
    assert splits.folds[0][0].tolist() == list(range(12))
    assert splits.folds[0][1].tolist() == list(range(18, 24))
    assert "test set of the dataset" in splits.generalisation
    only_train = make_splits(samples.assign(split="train"), design=design, n_folds=4)
    assert not only_train.separate_test
    assert len(only_train.folds) == 4


def test_wrong_split_labels() -> None:
    """Unknown labels, tests without training, and stimuli in both parts are refused."""
    samples = pd.DataFrame({"stimulus_id": list("aabb"), "split": ["train", "train", "tset", "test"]})
    with pytest.raises(InputError, match=r"samples\['split'\] holds 'tset'; expected 'train'.* or empty"):
        make_splits(samples, design="trials")
    with pytest.raises(InputError, match="marks 4 test rows and no training rows"):
        make_splits(samples.assign(split="test"), design="trials")
    leaky = samples.assign(split=["train", "test", "train", "train"])
    with pytest.raises(LeakageError, match="fold 0: 1 groups .* in training and in test, first at row 1"):
        make_splits(leaky, design="trials")
    assert (
        make_splits(leaky, design="trials", allow="shown twice on purpose").allow == "shown twice on purpose"
    )
    scattered = RUNS.assign(split=["train", "test"] * 12)
    with pytest.raises(LeakageError, match="scattered among training rows"):
        make_splits(scattered, design="continuous")


@pytest.mark.parametrize("design", ["blocks", "continuous"])
@pytest.mark.parametrize("samples", [RUNS, RUNS.iloc[:, :0]], ids=["runs", "one recording"])
def test_time_designs_refuse_shuffled_folds(design: str, samples: pd.DataFrame) -> None:
    """Shuffled folds are refused; overruled with a reason they pass, and the reason stays."""
    shuffled = KFold(4, shuffle=True, random_state=0)
    with pytest.raises(
        LeakageError, match="fold 0: test rows are scattered among training rows of the same run"
    ):
        make_splits(samples, design=design, splits=shuffled)
    splits = make_splits(samples, design=design, splits=shuffled, allow="to show the leak")
    assert splits.allow == "to show the leak"
    assert is_partition(splits.folds, 24)
    whole = make_splits(samples, design=design, splits=KFold(4), allow="not needed")
    assert whole.allow is None
    assert make_splits(samples, design=design, n_folds=4, allow="not needed").allow is None


def test_automatic_time_designs() -> None:
    """Runs are held out whole, equal run labels of two sessions are two runs, else blocks with a gap."""
    by_run = make_splits(RUNS, design="blocks", n_folds=4)
    assert [sorted(set(RUNS["run"].iloc[test])) for _, test in by_run.folds] == [["1"], ["2"], ["3"], ["4"]]
    assert by_run.exchange == "blocks"
    assert by_run.method == "4 folds of whole runs"
    story = make_splits(RUNS.rename(columns={"run": "story"}), design="continuous", n_folds=2)
    assert [test.tolist() for _, test in story.folds] == [list(range(12)), list(range(12, 24))]
    sessions = pd.DataFrame({"session": np.repeat(["a", "b"], 6), "run": "1"})
    assert [t.tolist() for _, t in make_splits(sessions, design="continuous", n_folds=2, gap=1).folds] == [
        list(range(6)),
        list(range(6, 12)),
    ]
    single = make_splits(RUNS.iloc[:, :0], design="continuous", n_folds=3, gap=2)
    assert (single.method, single.gap) == ("3 contiguous blocks", 2)
    assert single.folds[1][0].tolist() == [*range(6), *range(18, 24)]


def test_interleaved_groups_of_a_time_design() -> None:
    """Groups that alternate within a run are no protection in time, so they are refused."""
    conditions = np.array(["face", "house"] * 12)
    with pytest.raises(LeakageError, match="scattered"):
        make_splits(RUNS, design="blocks", groups=conditions, n_folds=2)
    splits = make_splits(
        RUNS, design="blocks", groups=conditions, n_folds=2, allow="conditions are far apart"
    )
    assert splits.allow == "conditions are far apart"
    assert make_splits(RUNS, design="blocks", groups=RUNS["run"], n_folds=2).allow is None
    with pytest.raises(InputError, match="groups: row 0 has no label"):
        make_splits(RUNS, design="blocks", groups=[None] * 24, n_folds=2)


def test_rows_out_of_time() -> None:
    """Contiguous rows are contiguous in time only where onsets rise within each run."""
    onset = np.tile(np.arange(6.0), 4)
    make_splits(RUNS.assign(onset=onset), design="continuous", n_folds=4)
    with pytest.raises(
        InputError, match="row 6 has onset 0 s, earlier than the row before it in its run; sort"
    ):
        make_splits(pd.DataFrame({"onset": onset}), design="continuous")
    onset[2:4] = 3, 2
    with pytest.raises(InputError, match="row 3 has onset 2 s"):
        make_splits(RUNS.assign(onset=onset), design="continuous", n_folds=4)
    trials = RUNS.assign(onset=onset, stimulus_id=[f"s{i}" for i in range(24)])
    assert len(make_splits(trials, design="trials").folds) == 5


def test_trials_without_stimulus() -> None:
    """Trials of unknown stimuli are split by run, and by row (said so) where there are no runs either."""
    by_run = make_splits(RUNS, design="trials", n_folds=4)
    assert by_run.method == "4 folds of whole runs"
    assert by_run.exchange == "stimuli"
    by_row = make_splits(RUNS.iloc[:, :0], design="trials")
    assert is_partition(by_row.folds, 24)
    assert "which of them showed the same stimulus is not known" in by_row.generalisation
    grouped = make_splits(RUNS.iloc[:, :0], design="trials", groups=RUNS["run"], n_folds=2)
    assert all(not set(RUNS["run"].iloc[a]) & set(RUNS["run"].iloc[b]) for a, b in grouped.folds)


def test_fewer_groups_than_folds_names_the_alternatives() -> None:
    """Three stimuli in five folds: the error says how many folds there can be and what else."""
    samples = pd.DataFrame({"stimulus_id": list("aabbcc")})
    text = r"3 groups cannot fill 5 folds; use n_folds=3 or fewer, give a test set \(samples\['split'\]\)"
    with pytest.raises(InputError, match=text):
        make_splits(samples, design="trials", n_folds=5)
    assert len(make_splits(samples, design="trials", n_folds=3).folds) == 3
    with pytest.raises(InputError, match="1 groups cannot fill 5 folds.*at least 2 groups are needed"):
        make_splits(samples.assign(stimulus_id="a"), design="trials")


def test_arguments_that_cannot_be() -> None:
    """One sample, other lengths, unknown designs and empty reasons are errors."""
    with pytest.raises(ShapeError, match="1 sample: at least 2 are needed"):
        make_splits(RUNS.iloc[:1], design="trials")
    with pytest.raises(ShapeError, match="groups have 2 rows, the responses 24"):
        make_splits(RUNS, design="trials", groups=[0, 1])
    with pytest.raises(InputError, match="design='event' is not one of"):
        make_splits(RUNS, design="event")
    for empty in ("", "  ", True):
        with pytest.raises(InputError, match="expected the reason in words"):
            make_splits(RUNS, design="trials", allow=empty)  # type: ignore[arg-type]


@pytest.mark.parametrize("splitter", [LeaveOneGroupOut(), GroupKFold(4)])
@pytest.mark.parametrize("design", ["trials", "blocks", "continuous"])
def test_group_splitters_hold_out_runs(splitter: object, design: str) -> None:
    """Where only runs are known a grouped splitter holds out runs, never single rows."""
    splits = make_splits(RUNS, design=design, splits=splitter)
    assert len(splits.folds) == 4
    for train, test in splits.folds:
        assert RUNS["run"].iloc[test].nunique() == 1
        assert not set(RUNS["run"].iloc[test]) & set(RUNS["run"].iloc[train])


def test_given_splitters_of_trials() -> None:
    """A grouped splitter follows the stimuli; a plain one is refused where repeats would straddle."""
    samples = pd.DataFrame({"stimulus_id": [*"abcdef"] * 2})
    grouped = make_splits(samples, design="trials", splits=GroupKFold(3))
    assert is_partition(grouped.folds, 12)
    assert grouped.method.startswith("GroupKFold(")
    with pytest.raises(LeakageError, match=r"fold 0: \d groups .* in training"):
        make_splits(samples, design="trials", splits=KFold(3))
    with pytest.raises(LeakageError, match="fold 0"):
        make_splits(samples.iloc[:6], design="trials", splits=[([0, 1, 2], [2, 3])])
    once = make_splits(samples.iloc[:6], design="trials", splits=KFold(3, shuffle=True, random_state=0))
    assert is_partition(once.folds, 6)
    assert make_splits(RUNS, design="continuous", splits=TimeSeriesSplit(3)).method.startswith("TimeSeries")


def test_given_pairs() -> None:
    """Positions in any order and boolean masks name the same rows; one pair is a separate test set."""
    mask = np.arange(24) >= 18
    masks = make_splits(RUNS, design="blocks", splits=[(~mask, mask)])
    rows = make_splits(RUNS, design="blocks", splits=[(np.arange(18)[::-1], np.arange(18, 24))])
    for splits in (masks, rows):
        assert splits.separate_test
        assert splits.folds[0][0].tolist() == list(range(18))
        assert splits.folds[0][1].tolist() == list(range(18, 24))


@pytest.mark.parametrize(
    ("splits", "error", "text"),
    [
        ("kfold", InputError, "splits='kfold'; expected 'auto', a scikit-learn splitter, or pairs"),
        (5, InputError, "splits=5; expected 'auto'"),
        ([], InputError, "splits hold no folds"),
        ([(0, 1, 2)], InputError, "fold 0 is no pair of training and test rows"),
        ([3], InputError, "fold 0 is no pair"),
        ([([0], [])], ShapeError, "fold 0 has 1 training and 0 test rows"),
        ([([0], [24])], InputError, r"fold 0 names rows outside 0\.\.23"),
        ([([-1], [0])], InputError, r"fold 0 names rows outside 0\.\.23"),
        ([([0.5], [1])], InputError, "fold 0 names rows by 1 values of dtype float64; expected integer"),
        (
            [([True], [False])],
            InputError,
            "1 values of dtype bool; expected integer positions or masks of 24",
        ),
        ([([0, 1], [2, 3]), ([0, 1], [3, 4])], InputError, "test parts of the folds overlap"),
        ([([0, 1], [2, 2])], InputError, "test parts of the folds overlap"),
        (ShuffleSplit(8, test_size=0.5, random_state=0), InputError, "test parts of the folds overlap"),
    ],
)
def test_given_splits_that_cannot_be(splits: object, error: type[Exception], text: str) -> None:
    """Wrong folds are refused with their number and what stands in them."""
    with pytest.raises(error, match=text):
        make_splits(RUNS, design="trials", splits=splits)


def test_digest() -> None:
    """Equal test sets have equal digests in any order of rows and folds; every other test set another."""
    labels = [f"s{i}" for i in range(8)]
    samples = pd.DataFrame({"stimulus_id": labels, "split": ["train"] * 5 + ["test"] * 3})
    order = np.random.default_rng(0).permutation(8)
    moved = make_splits(samples.iloc[order], design="trials")
    digest = make_splits(samples, design="trials").digest(labels)
    assert moved.digest([labels[i] for i in order]) == digest
    assert len(digest) == 16
    other = samples.assign(split=["train"] * 4 + ["test"] * 4)
    assert make_splits(other, design="trials").digest(labels) != digest
    seeds = {
        make_splits(samples[["stimulus_id"]], design="trials", random_state=s).digest(labels) for s in (0, 1)
    }
    assert len(seeds) == 2
    runs = make_splits(RUNS, design="blocks", n_folds=4).digest(RUNS["run"])
    assert make_splits(RUNS[::-1], design="blocks", n_folds=4).digest(list(RUNS["run"])[::-1]) == runs


def test_digest_of_ids_with_separators() -> None:
    """A comma or a line break inside an id cannot make two test sets look like one."""

    def splits(*tests: list[int]) -> Splits:
        folds = tuple((np.array([9]), np.array(test)) for test in tests)
        return Splits(folds, "", "", np.arange(10))

    labels = ["a", "b", "a,b", "a\nb"]
    found = {splits(t).digest(labels) for t in ([0, 1], [2], [3])}
    found.add(splits([0], [1]).digest(labels))
    assert len(found) == 4


def test_trials_without_stimulus_or_run_are_held_out_by_stretches_of_time():
    """Neighbouring trials share noise: folds are stretches in order of onset, whatever the order of rows."""
    rng = np.random.default_rng(0)
    order = rng.permutation(30)
    samples = pd.DataFrame({"condition": rng.choice(["a", "b"], 30), "onset": order * 2.0})
    found = make_splits(samples, design="trials", n_folds=3)
    assert (found.method, found.gap) == ("3 contiguous blocks of trials", 1)
    for train, test in found.folds:
        places = np.sort(order[test])
        assert np.array_equal(places, np.arange(places[0], places[0] + 10))
        assert np.abs(order[train][:, None] - places).min() == 2
    assert make_splits(samples[["condition"]], design="trials", n_folds=3).method == "3 folds of trials"
