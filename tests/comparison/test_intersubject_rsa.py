"""Inter-subject RSA: repetition shift, order-locked drift, permutation and bootstrap."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_between_people import intersubject_rsa
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import Responses

RNG = np.random.default_rng(0)
SHARED = RNG.normal(size=(10, 8))
PEOPLE = [SHARED + RNG.normal(size=(3, 10, 8)) for _ in range(4)]
MEASURES = ["pearson", "spearman", "rho_a", "cosine", "whitened_cosine", "whitened_pearson"]


def order_locked(seed: int, signal: float, *, n: int = 40, repetitions: int = 3, units: int = 60):
    """Two subjects who saw the stimuli in one order, with slow drift and their own noise."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 3))
    orders = [rng.permutation(n) for _ in range(repetitions)]
    t = np.arange(n * repetitions)
    slow = np.exp(-0.5 * ((t[:, None] - t) / 8.0) ** 2) + 1e-8 * np.eye(len(t))
    drift = np.linalg.cholesky(slow) @ rng.normal(size=(len(t), 4))
    people = []
    for _ in range(2):
        stimulus = latent @ rng.normal(size=(3, units)) / np.sqrt(3)
        own = (drift @ rng.normal(size=(4, units)) / 2).reshape(repetitions, n, units)
        x = signal * stimulus + 0.95 * rng.normal(size=(repetitions, n, units))
        for k, order in enumerate(orders):
            x[k, order] += own[k]
        people.append(x)
    return people


@pytest.mark.filterwarnings("ignore:shift=0 compares equal repetitions")
@pytest.mark.parametrize(("signal", "locked", "shifted"), [(0.0, 0.78, 0.0), (0.72, 0.83, 0.19)])
def test_drift_locked_to_the_order_inflates_only_equal_repetitions(signal, locked, shifted) -> None:
    """Order-locked drift without any signal looks like shared geometry at shift 0 and vanishes at shift 1."""
    people = [order_locked(seed, signal) for seed in range(8)]
    zero, one, every = (
        np.mean([intersubject_rsa(p, shift=s, measure="pearson").value for p in people])
        for s in (0, 1, "all")
    )
    assert zero == pytest.approx(locked, abs=0.06)
    assert one == pytest.approx(shifted, abs=0.06)
    assert every == pytest.approx(one, abs=0.03)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("shift", [1, 2, -1, "all"])
def test_every_pair_equals_the_loop_over_repetitions(measure, shift) -> None:
    """The one product equals comparisons of single RDMs, both directions averaged."""
    found = intersubject_rsa(PEOPLE, shift=shift, measure=measure)
    rdms = [rdm(x) for x in PEOPLE]
    for a in range(4):
        for b in range(4):
            if a == b:
                continue
            steps = (1, 2) if shift == "all" else (shift,)
            values = [
                compare_rdms(first[k], second[(k + s) % 3], measure=measure)
                for s in steps
                for k in range(3)
                for first, second in ((rdms[a], rdms[b]), (rdms[b], rdms[a]))
            ]
            assert found.pairs[a, b] == pytest.approx(np.mean(values), abs=1e-9)
    assert found.value == pytest.approx(found.pairs[np.triu_indices(4, 1)].mean())
    np.testing.assert_allclose(found.subject_values, np.nanmean(found.pairs, axis=1))
    assert found.to_frame().shape == (6, 6)


def test_identical_data_without_noise_gives_one() -> None:
    """The same geometry in every repetition and subject has similarity 1, whatever the shift and rotation."""
    pattern = RNG.normal(size=(10, 6))
    rotations = [np.linalg.qr(RNG.normal(size=(6, 6)))[0] for _ in range(3)]
    people = [np.repeat((pattern @ q)[None], 2, axis=0) for q in rotations]
    assert intersubject_rsa(people, distance="sq_euclidean", measure="rho_a").value == pytest.approx(1.0)
    assert intersubject_rsa(people, distance="correlation", measure="rho_a").value < 0.999


@pytest.mark.parametrize("measure", ["pearson", "whitened_cosine", "rho_a"])
def test_null_values_are_those_of_reordered_stimuli(measure) -> None:
    """A draw equals the analysis of data whose stimuli stand in that order in each subject."""
    found = intersubject_rsa(PEOPLE, measure=measure, n_permutations=3, random_state=5)
    orders = np.random.default_rng(5).permuted(np.tile(np.arange(10), (3, 4, 1)), axis=2)
    for draw in range(3):
        moved = [x[:, orders[draw, s]] for s, x in enumerate(PEOPLE)]
        assert found.null[draw] == pytest.approx(intersubject_rsa(moved, measure=measure).value, abs=1e-9)


def test_five_per_cent_of_unrelated_groups_are_called_shared() -> None:
    """The permutation test keeps its level within binomial bounds, and finds a planted geometry."""
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        people = [rng.normal(size=(2, 8, 6)) for _ in range(4)]
        hits += (
            intersubject_rsa(people, measure="rho_a", n_permutations=19, random_state=seed).p_value <= 0.05
        )
    assert hits <= 8
    assert intersubject_rsa(PEOPLE, measure="pearson", n_permutations=199).p_value == 1 / 200


def test_bootstrap_draws_weigh_pairs_by_the_counts_of_subjects() -> None:
    """A draw is the mean over pairs of different subjects, weighted by counts."""
    found = intersubject_rsa(PEOPLE, measure="pearson", n_boot=400, level=0.9, random_state=1)
    counts = np.random.default_rng(1).multinomial(4, np.full(4, 0.25), size=400)
    for c, value in zip(counts[:20], found.bootstrap, strict=False):
        drawn = np.repeat(np.arange(4), c)
        pairs = [found.pairs[a, b] for i, a in enumerate(drawn) for b in drawn[i + 1 :] if a != b]
        assert np.isnan(value) if not pairs else value == pytest.approx(np.mean(pairs))
    assert found.low < found.value < found.high
    assert np.isnan(intersubject_rsa(PEOPLE, measure="pearson").low)


def table(values: np.ndarray, order: np.ndarray) -> Responses:
    r, n, _ = values.shape
    samples = pd.DataFrame({"stimulus_id": np.tile([f"s{i}" for i in range(n)], r)})
    samples["repetition"] = np.repeat(np.arange(r), n)
    return Responses(values.reshape(r * n, -1)[order], samples.iloc[order].reset_index(drop=True))


def test_responses_are_joined_by_stimulus_and_repetition() -> None:
    """Rows in any order give the result of the arrays; units may differ between subjects."""
    people = [PEOPLE[0], PEOPLE[1][:, :, :5], PEOPLE[2]]
    named = {f"p{i}": table(x, RNG.permutation(30)) for i, x in enumerate(people)}
    found = intersubject_rsa(named, measure="pearson")
    np.testing.assert_allclose(found.pairs, intersubject_rsa(people, measure="pearson").pairs)
    assert found.subjects == ("p0", "p1", "p2")


def test_rdms_may_be_given() -> None:
    """RDMs of subjects and repetitions give the result of their responses."""
    given = np.stack([rdm(x) for x in PEOPLE])
    found = intersubject_rsa(given, measure="spearman")
    assert found.value == pytest.approx(intersubject_rsa(PEOPLE, measure="spearman").value)
    assert found.distance == "given"


def test_a_constant_rdm_is_nan_and_counted() -> None:
    """Pairs with a subject whose RDM does not vary are NaN; the group value leaves them out."""
    given = np.stack([rdm(x) for x in PEOPLE])
    given[1] = 1.0 - np.eye(10)
    with pytest.warns(UserWarning, match="3 of 6 pairs of subjects are NaN"):
        found = intersubject_rsa(given, measure="pearson", n_permutations=9)
    assert np.isnan(found.pairs[1]).all()
    assert np.isfinite(found.value)
    assert np.isfinite(found.null).all()


def test_wrong_input_is_named() -> None:
    """Shifts, shapes, repetitions, ids, options and defaults."""
    with pytest.warns(UserWarning, match="drift that follows the order counts as shared"):
        intersubject_rsa(PEOPLE, shift=0, measure="pearson")
    with pytest.warns(UserWarning, match="measure is not given: 'rho_a'"):
        intersubject_rsa(PEOPLE)
    with pytest.raises(InputError, match="shift=3 with 3 repetitions compares equal repetitions"):
        intersubject_rsa(PEOPLE, shift=3)
    with pytest.raises(InputError, match="shift=1 with 1 repetition compares"):
        intersubject_rsa([x[:1] for x in PEOPLE])
    with pytest.raises(InputError, match="and there is 1; give shift=0"):
        intersubject_rsa([x[:1] for x in PEOPLE], shift="all")
    with pytest.raises(InputError, match="expected an integer number of repetitions"):
        intersubject_rsa(PEOPLE, shift=0.5)
    with pytest.raises(InputError, match="n_boot=-1"):
        intersubject_rsa(PEOPLE, n_boot=-1)
    with pytest.raises(InputError, match="level=2"):
        intersubject_rsa(PEOPLE, level=2)
    with pytest.raises(ShapeError, match="1 subjects and 10 stimuli"):
        intersubject_rsa(PEOPLE[:1])
    with pytest.raises(ShapeError, match="differ between subjects: 'subject_0' \\(3, 10\\), 'subject_1'"):
        intersubject_rsa([PEOPLE[0], PEOPLE[1][:, :9]])
    with pytest.raises(ShapeError, match="'subject_0' has shape \\(10, 8\\)"):
        intersubject_rsa([x[0] for x in PEOPLE])
    with pytest.raises(UnknownNameError, match="closest: spearman"):
        intersubject_rsa(PEOPLE, measure="spearmann")
    with pytest.raises(InputError, match="measure is a callable"):
        intersubject_rsa(PEOPLE, measure=np.dot)
    given = np.stack([rdm(x) for x in PEOPLE])
    given[0, 0, 1, 2] = given[0, 0, 2, 1] = np.nan
    with pytest.raises(InputError, match="1 of 45 pairs of stimuli are missing"):
        intersubject_rsa(given, measure="pearson")
    one = table(PEOPLE[0], np.arange(30))
    with pytest.raises(AlignmentError, match="no row for \\[\\(0, 's0'\\)\\]"):
        intersubject_rsa({"a": one, "b": table(PEOPLE[1], np.arange(1, 30))})
    with pytest.raises(AlignmentError, match="some subjects are Responses"):
        intersubject_rsa({"a": one, "b": PEOPLE[1]})
    with pytest.raises(AlignmentError, match="without 'repetition'"):
        intersubject_rsa({"a": Responses(PEOPLE[0][0], pd.DataFrame({"stimulus_id": range(10)})), "b": one})
