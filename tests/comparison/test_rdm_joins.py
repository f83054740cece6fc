"""RDMs over unequal stimulus sets joined by id."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.comparison.rdms import rdm
from brainalign.errors import AlignmentError, InputError
from brainalign.types import RDMs

RNG = np.random.default_rng(0)
IDS = [f"s{i}" for i in range(10)]
X, Y = RNG.normal(size=(2, 10, 14))
FULL = [rdm(v, distance="sq_euclidean") for v in (X, Y)]


def part(which: int, stimuli: list[int]) -> RDMs:
    """The RDM of X or Y over some stimuli, in this order."""
    return RDMs(FULL[which][np.ix_(stimuli, stimuli)], [IDS[i] for i in stimuli])


FIRST, SECOND = part(0, [7, 0, 1, 2, 3, 4, 5]), part(1, [9, 5, 4, 3, 2, 1, 8])
SHARED = [1, 2, 3, 4, 5]


@pytest.mark.parametrize("measure", ["pearson", "rho_a", "tau_a", "whitened_cosine", "bures"])
def test_intersection_is_the_comparison_of_the_shared_stimuli(measure: str) -> None:
    """Joined by intersection, the value is that of both RDMs cut to the shared stimuli by hand."""
    out = compare_rdms(FIRST, SECOND, measure=measure, join="intersection")
    index = np.ix_(SHARED, SHARED)
    assert out[0, 0] == pytest.approx(
        compare_rdms(FULL[0][index], FULL[1][index], measure=measure), abs=1e-10
    )


@pytest.mark.parametrize("measure", ["pearson", "rho_a", "whitened_cosine", "bures", "neg_riemannian"])
def test_union_leaves_out_what_one_lacks(measure: str) -> None:
    """Over the union, the missing pairs are left out: the same value as over the intersection."""
    with pytest.warns(UserWarning, match="up to 26 of 36 pairs of stimuli are NaN and left out"):
        out = compare_rdms(FIRST, SECOND, measure=measure, join="union")
    assert out[0, 0] == pytest.approx(
        compare_rdms(FIRST, SECOND, measure=measure, join="intersection")[0, 0], abs=1e-10
    )


def test_the_axis_and_what_is_missing() -> None:
    """Stimuli stand in the order of their first appearance; missing pairs are NaN, the diagonal 0."""
    first, second = join_rdms(FIRST, SECOND, join="union")
    assert list(first.stimulus_id) == list(second.stimulus_id)
    assert list(first.stimulus_id) == ["s7", "s0", "s1", "s2", "s3", "s4", "s5", "s9", "s8"]
    assert np.isnan(first.values[0, 7, :7]).all()
    assert (np.diagonal(second.values[0]) == 0).all()
    assert second.values[0, 2, 3] == FULL[1][1, 2]
    inner, _ = join_rdms(FIRST, SECOND, join="intersection")
    assert list(inner.stimulus_id) == ["s1", "s2", "s3", "s4", "s5"]
    assert inner.info["join"] == "intersection"
    assert inner.info["n_left_out"] == 2


def test_sigma_k_follows_the_joined_stimuli() -> None:
    """A covariance over the stimuli of d1 is cut to those that stay; the union is refused."""
    variances = np.linspace(0.5, 2.0, 7)
    out = compare_rdms(FIRST, SECOND, measure="whitened_cosine", join="intersection", sigma_k=variances)
    index = np.ix_(SHARED, SHARED)
    expected = compare_rdms(FULL[0][index], FULL[1][index], measure="whitened_cosine", sigma_k=variances[2:])
    assert out[0, 0] == pytest.approx(expected, abs=1e-10)
    with pytest.raises(InputError, match="sigma_k is over the 7 stimuli of d1, and the union has 2 more"):
        compare_rdms(FIRST, SECOND, measure="whitened_cosine", join="union", sigma_k=variances)


def test_refusals() -> None:
    """The default lists who lacks a partner; too small an overlap and plain arrays are refused."""
    message = (
        "2 of 7 stimuli of d1 have no partner: 's7', 's0'; 2 of 7 stimuli of d2 have no partner: 's9', 's8'. "
        'Give join="intersection"'
    )
    with pytest.raises(AlignmentError, match=message):
        compare_rdms(FIRST, SECOND, measure="pearson")
    with pytest.raises(AlignmentError, match="d1, d2 share 2 stimuli; a comparison needs at least 3"):
        join_rdms(part(0, [0, 1, 2]), part(1, [1, 2, 3]), join="intersection")
    with pytest.raises(InputError, match="d2 is ndarray; a join by stimulus_id needs RDMs"):
        join_rdms(FIRST, FULL[0])
    with pytest.raises(InputError, match="join='left' is not one of"):
        join_rdms(FIRST, SECOND, join="left")


def test_the_same_stimuli_in_another_order_need_no_option() -> None:
    """RDMs over the same ids are brought to one order by any join."""
    order = [3, 1, 2, 0, 4]
    expected = compare_rdms(FULL[0][:5, :5], FULL[1][:5, :5], measure="rho_a")
    for join in ("same", "intersection", "union"):
        out = compare_rdms(part(0, [0, 1, 2, 3, 4]), part(1, order), measure="rho_a", join=join)
        assert out[0, 0] == pytest.approx(expected)
