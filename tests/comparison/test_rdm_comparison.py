"""compare_rdms: published numbers, independent references, joins and errors."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import data_loaders as dl
from brainalign.comparison import COMPARATORS, compare_rdms, rdm
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import RDMs

RNG = np.random.default_rng(0)
A, B = (rdm(RNG.normal(size=(9, 5))) for _ in range(2))
PAIRS = np.triu_indices(9, 1)


def tied(d: np.ndarray) -> np.ndarray:
    return np.round(d * 2) / 2


@pytest.mark.real
@pytest.mark.parametrize(
    ("measure", "value"), [("pearson", 0.491210), ("spearman", 0.438924), ("tau_a", 0.304048)]
)
def test_human_and_monkey(real_data: Path, measure: str, value: float) -> None:
    """Human and monkey IT agree as published (Kriegeskorte et al. 2008: r = 0.49)."""
    rdms = dl.load("objects92", root=real_data).rdms
    human, monkey = (rdms.select(rdms.table.index == name) for name in ("hITvisStim_316vx", "mIT_674neurons"))
    out = compare_rdms(human, monkey, measure=measure)
    assert out.shape == (1, 1)
    assert out[0, 0] == pytest.approx(value, abs=1e-5)


@pytest.mark.real
def test_model_rdms(real_data: Path) -> None:
    """Animacy and EVA against the published human RDM reach the reference values."""
    rdms = dl.load("objects92", root=real_data).rdms
    names = ["animacy", "EVA", "V1"]
    models = rdms.select([list(rdms.table.index).index(n) for n in names])
    human = rdms.select(rdms.table.index == "hITvisStim_316vx")
    with pytest.warns(UserWarning, match=r"1 of 3 RDMs of d1 have more than 5 % ties \(RDM 0: 100 %"):
        out = compare_rdms(models, human, measure="spearman")[:, 0]
    np.testing.assert_allclose(out, [0.5882, 0.3542, 0.0393], atol=5e-5)


@pytest.mark.parametrize("b", [B, tied(B), tied(A)])
def test_against_scipy_and_by_hand(b: np.ndarray) -> None:
    """Pearson and Spearman agree with scipy, tau-a with counting every pair of pairs, ties included."""
    a = tied(A)
    u, v = a[PAIRS], b[PAIRS]
    assert compare_rdms(a, b, measure="pearson") == pytest.approx(stats.pearsonr(u, v).statistic, abs=1e-12)
    expected = {"spearman": stats.spearmanr(u, v).statistic, "tau_b": stats.kendalltau(u, v).statistic}
    for measure, value in expected.items():
        with pytest.warns(UserWarning, match="more than 5 % ties"):
            assert compare_rdms(a, b, measure=measure) == pytest.approx(value, abs=1e-12)
    signs = [np.sign(u[i] - u[j]) * np.sign(v[i] - v[j]) for i, j in combinations(range(len(u)), 2)]
    assert compare_rdms(a, b, measure="tau_a") == np.sum(signs) / len(signs)


@pytest.mark.parametrize("measure", [m for m in COMPARATORS if m != "neg_riemannian"])
@pytest.mark.filterwarnings("ignore:.*more than 5 % ties", "ignore:.*negative eigenvalues")
def test_stacks_symmetry_and_order_of_stimuli(measure: str) -> None:
    """A stack gives the table of single values; the measure is symmetric; a common order is immaterial."""
    stack = np.stack([A, B, tied(B)])
    table = compare_rdms(stack, stack[:2], measure=measure)
    single = [[compare_rdms(u, v, measure=measure) for v in stack[:2]] for u in stack]
    np.testing.assert_allclose(table, single, atol=1e-14 if measure != "bures" else 1e-7)
    assert table[0, 1] == pytest.approx(table[1, 0], abs=1e-14 if measure != "bures" else 1e-7)
    assert table[0, 0] == pytest.approx(1.0)
    order = RNG.permutation(9)
    again = compare_rdms(A[np.ix_(order, order)], B[np.ix_(order, order)], measure=measure)
    assert again == pytest.approx(table[0, 1], abs=1e-12 if measure != "bures" else 1e-7)


def test_monotone_map_changes_pearson_alone() -> None:
    """Ranks ignore any monotone map of the RDM; Pearson ignores a linear one and no more."""
    for measure in ("spearman", "tau_a", "rho_a", "tau_b"):
        assert compare_rdms(A**3, B, measure=measure) == pytest.approx(compare_rdms(A, B, measure=measure))
    linear = 2 * A + 1
    np.fill_diagonal(linear, 0)
    value = compare_rdms(A, B, measure="pearson")
    assert compare_rdms(linear, B, measure="pearson") == pytest.approx(value)
    assert abs(compare_rdms(A**3, B, measure="pearson") - value) > 1e-3


def test_ties_cannot_reach_one_in_tau_a() -> None:
    """A model with ties is not favoured: against itself its tau-a stays below 1."""
    assert compare_rdms(tied(A), tied(A), measure="tau_a") < 1
    with pytest.warns(UserWarning, match="spearman favours a model with ties: use"):
        assert compare_rdms(tied(A), tied(A), measure="spearman") == pytest.approx(1)


def test_unrelated_rdms_score_about_zero() -> None:
    """The mean over 200 pairs of unrelated RDMs is about zero for each measure."""
    rng = np.random.default_rng(3)
    a, b = (np.stack([rdm(rng.normal(size=(10, 20))) for _ in range(14)]) for _ in range(2))
    for measure in ("pearson", "spearman", "rho_a", "tau_a", "tau_b", "whitened_pearson"):
        assert abs(compare_rdms(a, b, measure=measure).mean()) < 0.04


def test_float32_equals_float64() -> None:
    """Input in single precision is compared in double."""
    for measure in ("pearson", "rho_a", "tau_a", "whitened_cosine", "whitened_pearson"):
        single = compare_rdms(A.astype(np.float32), B.astype(np.float32), measure=measure)
        assert single == pytest.approx(compare_rdms(A, B, measure=measure), abs=1e-6)


def test_rdms_are_joined_by_id() -> None:
    """Another order of the stimuli is undone by their ids; foreign stimuli are listed."""
    ids = [f"s{i}" for i in range(9)]
    order = RNG.permutation(9)
    first = RDMs(A, ids)
    second = RDMs(B[np.ix_(order, order)], [ids[i] for i in order])
    value = compare_rdms(A, B, measure="pearson")
    assert compare_rdms(first, second, measure="pearson")[0, 0] == pytest.approx(value, abs=1e-12)
    with pytest.raises(
        AlignmentError, match=r"1 of 9 stimuli of d1 have no partner: 's0'.*1 of 9 stimuli of d2"
    ):
        compare_rdms(first, RDMs(B, ["t0", *ids[1:]]), measure="pearson")
    with pytest.raises(InputError, match="joined by id or by position, never both"):
        compare_rdms(first, B, measure="pearson")


def test_missing_pairs_are_left_out_and_counted() -> None:
    """NaN in either RDM leaves out that pair for that comparison, with a warning."""
    a = A.copy()
    a[0, 3] = a[3, 0] = np.nan
    keep = ~np.isnan(a[PAIRS])
    with pytest.warns(UserWarning, match="up to 1 of 36 pairs of stimuli are NaN and left out"):
        value = compare_rdms(a, B, measure="pearson")
    assert value == pytest.approx(np.corrcoef(A[PAIRS][keep], B[PAIRS][keep])[0, 1])


@pytest.mark.parametrize("measure", ["pearson", "spearman", "rho_a", "tau_a", "tau_b", "whitened_pearson"])
@pytest.mark.filterwarnings("ignore:.*more than 5 % ties")
def test_constant_rdm_is_nan_with_the_reason(measure: str) -> None:
    """An RDM without variance has no similarity: NaN and a warning, never 0."""
    flat = 0.1 * (1 - np.eye(9))
    with pytest.warns(UserWarning, match="1 of 1 comparisons are NaN. 1: an RDM is constant"):
        assert np.isnan(compare_rdms(flat, A, measure=measure))


def test_wrong_inputs() -> None:
    """Each wrong matrix is refused with what was found."""
    with pytest.raises(UnknownNameError, match="measure 'kendall'"):
        compare_rdms(A, B, measure="kendall")
    with pytest.raises(ShapeError, match=r"d1 has shape \(9, 5\); expected \(n, n\)"):
        compare_rdms(A[:, :5], B, measure="pearson")
    with pytest.raises(ShapeError, match="d1 is over 8 stimuli and d2 over 9"):
        compare_rdms(A[:8, :8], B, measure="pearson")
    with pytest.raises(ShapeError, match="over 2 stimuli; a comparison needs at least 3"):
        compare_rdms(A[:2, :2], B[:2, :2], measure="pearson")
    with pytest.raises(InputError, match="d2 is not symmetric"):
        compare_rdms(A, np.triu(B), measure="pearson")
    with pytest.raises(InputError, match="d1 has a diagonal that is not zero"):
        compare_rdms(1 - A, B, measure="pearson")
    with pytest.raises(InputError, match="d1 has dtype complex128"):
        compare_rdms(A.astype(complex), B, measure="pearson")
