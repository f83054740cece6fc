"""Rows are joined by key: order is free, guesses are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.design import content_groups, join_keys, join_rows
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Responses


def table(design: str | None = "trials", **columns: object) -> Responses:
    samples = pd.DataFrame(columns)
    return Responses(np.zeros((len(samples), 1)), samples, info={"design": design})


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_many_to_one_in_any_order(trials: list[int], random: object) -> None:
    """Each trial finds the features of its own stimulus, whatever the order on either side."""
    ids = list(range(10))
    random.shuffle(ids)  # type: ignore[attr-defined]
    features, responses = table(stimulus_id=ids), table(stimulus_id=trials)
    found = join_rows(features, responses)
    assert np.asarray(ids)[found].tolist() == trials
    back = join_rows(features, responses.select(samples=np.arange(len(trials))[::-1]))
    assert back.tolist() == found[::-1].tolist()


def test_text_and_integer_ids_join() -> None:
    """Ids that a table read as numbers join the same ids read as text."""
    assert join_rows(table(stimulus_id=["1", "2"]), table(stimulus_id=[2.0, 1.0])).tolist() == [1, 0]


def test_missing_stimuli_are_listed() -> None:
    """Features that lack stimuli name them, count them, and say what to do."""
    features, responses = table(stimulus_id=["a"]), table(stimulus_id=["a", "c", "b", "c"])
    text = (
        "pixels: 2 of 3 stimulus_id of the responses have no row in the features: 'b', 'c'. Extract features"
    )
    with pytest.raises(AlignmentError, match=text):
        join_rows(features, responses, name="pixels")
    many = table(stimulus_id=[f"s{i}" for i in range(9)])
    with pytest.raises(AlignmentError, match=r"'s4' \.\.\. \(9 in all\)"):
        join_rows(features, many)


def test_duplicate_features_are_refused() -> None:
    """A stimulus that has two rows of features is ambiguous."""
    with pytest.raises(AlignmentError, match="features: 1 rows repeat a stimulus_id, first 'a'"):
        join_rows(table(stimulus_id=["a", "b", "a"]), table(stimulus_id=["b"]))


def test_content_that_does_not_fit_its_id() -> None:
    """One id with two contents is an error that names id, row and both hashes; unknown content is none."""
    features = table(stimulus_id=["a", "b"], content_hash=["h" * 64, "i" * 64])
    swapped = table(stimulus_id=["a", "a", "b"], content_hash=["h" * 64, None, "h" * 64])
    with pytest.raises(
        AlignmentError, match=r"stimulus 'b' has the content i{12} there and h{12} .*\(row 2\)"
    ):
        join_rows(features, swapped)
    assert join_rows(features, swapped.select(samples=[1, 0])).tolist() == [0, 0]
    assert join_rows(features, table(stimulus_id=["b"])).tolist() == [1]


def test_trials_without_stimulus_join_by_sample() -> None:
    """Where only conditions are known rows join by sample id; one side with stimulus ids is refused."""
    left = table(sample_id=["x", "y"], condition=["face", "face"])
    assert join_keys(left, left) == ["sample_id"]
    assert join_rows(left.select(samples=[1, 0]), left).tolist() == [1, 0]
    with pytest.raises(AlignmentError, match="the features have no stimulus_id column"):
        join_keys(left, table(stimulus_id=["x"]))
    with pytest.raises(AlignmentError, match="the responses have no stimulus_id column"):
        join_keys(table(stimulus_id=["x"]), left)


def test_rows_without_key() -> None:
    """A row without its key is named; a design that nobody gave is not guessed."""
    with pytest.raises(AlignmentError, match="row 1 has no stimulus_id; every row"):
        join_rows(table(stimulus_id=["a"]), table(stimulus_id=["a", None]))
    with pytest.raises(AlignmentError, match="responses do not say their design; give info="):
        join_rows(table(stimulus_id=["a"]), table(None, stimulus_id=["a"]))


def test_continuous_joins_by_run_and_onset() -> None:
    """Times of a run join to a microsecond, whichever side of zero; every run by itself."""
    responses = table("continuous", run=[1, 1, 2, 2], onset=[0.0, 0.1 + 0.2, 0.0, 0.3])
    features = table("continuous", run=[2, 2, 1, 1], onset=[0.3, -0.0, 0.3, 1e-9])
    assert join_keys(features, responses) == ["run", "onset"]
    assert join_rows(features, responses).tolist() == [3, 2, 1, 0]
    stories = table("continuous", story=["a", "b"], onset=[0.0, 0.0])
    assert join_rows(stories, stories.select(samples=[1, 0])).tolist() == [1, 0]
    near = table("continuous", run=[1, 1], onset=[0.0, 1e-9])
    with pytest.raises(AlignmentError, match=r"repeat a run \+ onset, first '1 @ 0.000000'"):
        join_rows(near, responses)
    with pytest.raises(AlignmentError, match=r"a blocks design joins by run \(or story\) and onset"):
        join_keys(table(stimulus_id=["a"]), table("blocks", stimulus_id=["a"]))


def test_equal_runs_of_two_sessions() -> None:
    """Run 1 of session 2 never takes the features of run 1 of session 1."""
    both = {"run": [1, 1], "onset": [0.0, 0.0]}
    responses, features = table("blocks", session=[1, 2], **both), table("blocks", session=[2, 1], **both)
    assert join_rows(features, responses).tolist() == [1, 0]
    with pytest.raises(
        AlignmentError, match=r"1 of 2 session \+ run \+ onset .* no row in the features: '2 @ 1"
    ):
        join_rows(features.select(samples=[1]), responses)


def brute_force_groups(columns: list[list[object]]) -> list[int]:
    """Merge labels until nothing changes."""
    group = list(range(len(columns[0])))
    for _ in group:
        for column in columns:
            for i, a in enumerate(column):
                for j, b in enumerate(column):
                    if a is not None and a == b:
                        group[i] = group[j] = min(group[i], group[j])
    return group


label = st.one_of(st.none(), st.integers(0, 6).map(str))


@given(st.lists(st.tuples(label, label, label), min_size=2, max_size=9))
@settings(deadline=None, max_examples=80)
def test_content_groups_against_brute_force(rows: list[tuple[str | None, ...]]) -> None:
    """Groups are the connected rows of id, content and label, as an exhaustive merge finds them."""
    ids, hashes, extra = (list(column) for column in zip(*rows, strict=True))
    samples = pd.DataFrame({"stimulus_id": ids, "content_hash": hashes}, dtype=object)
    found = content_groups(samples, np.array(extra, dtype=object))
    expected = brute_force_groups([ids, hashes, extra])
    assert found.tolist() == pd.factorize(pd.Series(expected))[0].tolist()


def test_equal_content_under_two_ids_is_one_group() -> None:
    """The same picture under two names is one group, rows of no known kind are their own."""
    samples = pd.DataFrame({"stimulus_id": ["a", "b", "c", "a"], "content_hash": ["h", "h", "i", None]})
    assert content_groups(samples).tolist() == [0, 0, 1, 0]
    assert content_groups(pd.DataFrame(index=range(3))).tolist() == [0, 1, 2]
    assert content_groups(pd.DataFrame({"stimulus_id": [None, None]})).tolist() == [0, 1]
    with pytest.raises(ShapeError, match=r"groups have shape \(2,\); expected one label per row, \(4,\)"):
        content_groups(samples, np.array(["x", "y"]))


def test_duplicate_sample_id() -> None:
    """Two rows of one sample id are refused when the responses are made."""
    with pytest.raises(InputError, match="duplicate sample_id 'x' in rows 0 and 1"):
        table(sample_id=["x", "x"], run=[1, 1])
