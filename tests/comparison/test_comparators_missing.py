"""Missing pairs of stimuli, defaults and refusals of the comparison of RDMs."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison._rdm_stacks import as_stack, square, upper_triangle
from brainalign.comparison.rdm_comparison import compare_rdms, default_measure
from brainalign.comparison.rdms import rdm
from brainalign.errors import InputError, ShapeError
from brainalign.types import RDMs

N = 8
RNG = np.random.default_rng(0)
A, B, C = (rdm(RNG.normal(size=(N, 12)), distance="sq_euclidean") for _ in range(3))
LEFT_OUT = "ignore:up to .* pairs of stimuli are NaN and left out"
PAIRWISE = ("pearson", "spearman", "rho_a", "tau_a", "tau_b", "cosine")


def without(d: np.ndarray, *pairs: tuple[int, int]) -> np.ndarray:
    """A copy with these pairs missing."""
    out = d.copy()
    for i, j in pairs:
        out[i, j] = out[j, i] = np.nan
    return out


def dense(a: np.ndarray, b: np.ndarray, sigma: np.ndarray, centre: bool) -> float:
    """The definition over the pairs that are left: d' V^-1 e with V restricted to them."""
    rows, columns = np.triu_indices(N, 1)
    contrasts = np.eye(N)[rows] - np.eye(N)[columns]
    u, w = a[rows, columns], b[rows, columns]
    keep = ~(np.isnan(u) | np.isnan(w))
    inverse = np.linalg.inv(((contrasts @ sigma @ contrasts.T) ** 2)[np.ix_(keep, keep)])
    u, w = u[keep], w[keep]
    if centre:
        u, w = u - u.mean(), w - w.mean()
    return float(u @ inverse @ w / np.sqrt((u @ inverse @ u) * (w @ inverse @ w)))


@pytest.mark.parametrize("measure", PAIRWISE)
@pytest.mark.filterwarnings(LEFT_OUT)
def test_a_missing_pair_of_one_rdm_never_reaches_another(measure: str) -> None:
    """In a stack, the pairs that one RDM lacks are left out for it alone."""
    holed = without(B, (0, 1), (2, 5))
    table = compare_rdms(np.stack([A, holed, C]), np.stack([B, without(C, (3, 4))]), measure=measure)
    assert table[0, 0] == pytest.approx(compare_rdms(A, B, measure=measure), abs=1e-14)
    assert table[2, 0] == pytest.approx(compare_rdms(C, B, measure=measure), abs=1e-14)
    rows, columns = np.triu_indices(N, 1)
    keep = ~(np.isnan(holed) | np.isnan(without(C, (3, 4))))[rows, columns]
    from brainalign.comparison._comparators import COMPARATORS

    u, v = holed[rows, columns][keep], C[rows, columns][keep]
    assert table[1, 1] == pytest.approx(COMPARATORS[measure](u[None], v[None])[0, 0], abs=1e-14)


def test_the_mask_of_the_peer_leaks_and_ours_does_not() -> None:
    """One RDM with a hole changes the later scores of mne-rsa; ours compares each on its own pairs."""
    mne_rsa = pytest.importorskip("mne_rsa")
    rows, columns = np.triu_indices(N, 1)
    holed = without(B, (0, 1), (2, 5), (3, 6), (1, 7))
    vectors = [d[rows, columns] for d in (holed, C)]
    theirs = mne_rsa.rsa(iter(vectors), A[rows, columns], metric="pearson", ignore_nan=True)
    with pytest.warns(UserWarning, match="up to 4 of 28 pairs of stimuli are NaN"):
        ours = compare_rdms(np.stack([holed, C]), A, measure="pearson")[:, 0]
    clean = np.corrcoef(C[rows, columns], A[rows, columns])[0, 1]
    assert theirs[0] == pytest.approx(ours[0])
    assert ours[1] == pytest.approx(clean)
    assert abs(theirs[1] - clean) > 1e-3


@pytest.mark.parametrize("measure", ["whitened_cosine", "whitened_pearson"])
@pytest.mark.parametrize("kind", ["none", "variances", "full"])
@pytest.mark.filterwarnings(LEFT_OUT)
def test_whitening_without_pairs_is_the_restricted_covariance(measure: str, kind: str) -> None:
    """Missing pairs: equal to the dense inverse of the covariance of the pairs that are left."""
    w = np.random.default_rng(1).normal(size=(N, 30))
    given = {"none": None, "variances": np.linspace(0.5, 2, N), "full": w @ w.T / 30}[kind]
    sigma = np.eye(N) if given is None else np.diag(given) if given.ndim == 1 else given
    a, b = without(A, (0, 1), (2, 5)), without(B, (0, 4), (2, 3), (6, 7))
    value = compare_rdms(a, b, measure=measure, sigma_k=given)
    assert value == pytest.approx(dense(a, b, sigma, measure == "whitened_pearson"), abs=1e-10)


@pytest.mark.parametrize("measure", ["whitened_cosine", "whitened_pearson", "bures", "neg_riemannian"])
@pytest.mark.filterwarnings(LEFT_OUT)
def test_a_stimulus_without_pairs_is_left_out_exactly(measure: str) -> None:
    """An RDM that lacks a whole stimulus is compared over the other ones, sigma_k included."""
    a = without(A, *[(3, j) for j in range(N) if j != 3])
    keep = np.ix_([0, 1, 2, 4, 5, 6, 7], [0, 1, 2, 4, 5, 6, 7])
    sigma = np.diag(np.linspace(0.5, 2, N)) + 0.2
    given = {} if measure == "bures" else {"sigma_k": sigma}
    part = {} if measure == "bures" else {"sigma_k": sigma[keep]}
    value = compare_rdms(a, B, measure=measure, **given)
    assert value == pytest.approx(compare_rdms(A[keep], B[keep], measure=measure, **part), abs=1e-10)


@pytest.mark.parametrize("measure", ["bures", "neg_riemannian"])
@pytest.mark.filterwarnings(LEFT_OUT)
def test_a_single_missing_pair_is_nan_with_a_count_for_matrices(measure: str) -> None:
    """Measures of whole matrices do not guess a missing pair; complete RDMs of the stack are compared."""
    with pytest.warns(
        UserWarning, match=r"1 of 2 comparisons are NaN. 1: pairs are missing that this measure"
    ):
        table = compare_rdms(np.stack([without(A, (0, 1)), C]), B, measure=measure)
    assert np.isnan(table[0, 0])
    assert table[1, 0] == pytest.approx(compare_rdms(C, B, measure=measure), abs=1e-12)


def test_too_few_pairs_or_stimuli_left() -> None:
    """Fewer than 3 pairs, or 4 stimuli for matrices, are NaN with the reason."""
    few = np.full((N, N), np.nan)
    np.fill_diagonal(few, 0)
    few[0, 1] = few[1, 0] = 1.0
    with (
        pytest.warns(UserWarning, match="up to 27 of 28"),
        pytest.warns(UserWarning, match="fewer than 3 that are not missing"),
    ):
        assert np.isnan(compare_rdms(few, B, measure="pearson"))
    with (
        pytest.warns(UserWarning, match="up to 27 of 28"),
        pytest.warns(UserWarning, match="fewer than 4 stimuli are left"),
    ):
        assert np.isnan(compare_rdms(few, B, measure="whitened_cosine"))


def test_zero_and_singular_rdms_are_nan_with_their_reason() -> None:
    """All-zero RDMs and Gram matrices of too low rank have no value: NaN, counted."""
    zero = np.zeros((N, N))
    for measure in ("cosine", "whitened_cosine"):
        with pytest.warns(UserWarning, match="1 of 1 comparisons are NaN. 1: an RDM is all zero"):
            assert np.isnan(compare_rdms(zero, B, measure=measure))
    with pytest.warns(UserWarning, match="Gram matrix of an RDM has no positive eigenvalue"):
        assert np.isnan(compare_rdms(zero, B, measure="bures"))
    thin = rdm(RNG.normal(size=(N, 3)), distance="sq_euclidean")
    with pytest.warns(UserWarning, match="Gram matrix of an RDM of d2 is not positive definite"):
        table = compare_rdms(A, np.stack([thin, B]), measure="neg_riemannian")
    assert np.isnan(table[0, 0])
    assert np.isfinite(table[0, 1])
    assert np.isfinite(compare_rdms(thin, A, measure="neg_riemannian"))  # the ridge fills the first one


def test_default_measure_is_said() -> None:
    """Without a measure: rho-a, or whitened cosine for crossnobis RDMs; a warning names it."""
    with pytest.warns(UserWarning, match="measure is not given: 'rho_a' is used"):
        value = compare_rdms(A, B)
    assert value == compare_rdms(A, B, measure="rho_a")
    ids = [f"s{i}" for i in range(N)]
    with pytest.warns(UserWarning, match="'whitened_cosine' is used .for crossnobis distances"):
        out = compare_rdms(RDMs(A, ids, info={"distance": "crossnobis"}), RDMs(B, ids))
    assert out[0, 0] == compare_rdms(A, B, measure="whitened_cosine")
    assert default_measure("crossnobis", has_runs=False) == default_measure() == "rho_a"


def test_a_callable_gets_arrays() -> None:
    """A measure of one's own is called with the upper triangles, missing pairs left out."""

    def largest_gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        assert isinstance(a, np.ndarray)
        return -np.abs(a[:, None] - b[None]).max(axis=2)

    gap = np.abs(upper_triangle(A) - upper_triangle(B)).max()
    assert compare_rdms(A, B, measure=largest_gap) == pytest.approx(-gap)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"measure": "pearson", "sigma_k": np.ones(N)}, InputError, "measure='pearson' does not use it"),
        ({"measure": "whitened_cosine", "sigma_k": np.ones(3)}, ShapeError, r"sigma_k has shape \(3,\)"),
        (
            {"measure": "whitened_cosine", "sigma_k": np.full(N, np.nan)},
            InputError,
            "sigma_k has values that",
        ),
        ({"measure": "whitened_cosine", "sigma_k": np.triu(np.ones((N, N)))}, InputError, "not symmetric"),
        (
            {"measure": "whitened_cosine", "sigma_k": np.ones((N, N))},
            InputError,
            "not positive definite over",
        ),
        ({"measure": "whitened_cosine", "sigma_k": -np.ones(N)}, InputError, "smallest eigenvalue"),
        ({"measure": "pearson", "join": "union"}, InputError, "plain arrays have none; give two RDMs"),
        ({"measure": "pearson", "join": "outer"}, InputError, "join='outer' is not one of"),
    ],
)
def test_options_that_cannot_apply(given: dict, error: type[Exception], message: str) -> None:
    """Each option that the measure or the input cannot take is refused."""
    with pytest.raises(error, match=message):
        compare_rdms(A, B, **given)


def test_too_few_stimuli_for_matrices() -> None:
    """Measures of matrices need 4 stimuli."""
    for measure in ("whitened_cosine", "whitened_pearson", "bures", "neg_riemannian"):
        with pytest.raises(ShapeError, match=f"over 3 stimuli; {measure} needs at least 4"):
            compare_rdms(A[:3, :3], B[:3, :3], measure=measure)


def test_stacks_are_checked_and_named() -> None:
    """as_stack refuses what is no RDM, naming the argument and the RDM."""
    stack = np.stack([A, B])
    stack[1, 0, 2] += 1.0
    with pytest.raises(InputError, match=r"models, RDM 1, is not symmetric \(largest difference 1\)"):
        as_stack("models", stack)
    with pytest.raises(InputError, match="models has 2 infinite values"):
        as_stack("models", np.where(np.isclose(A, A[0, 1]), np.inf, A))
    with pytest.raises(ShapeError, match=r"models has shape \(0, 4, 4\); expected at least one RDM"):
        as_stack("models", np.zeros((0, 4, 4)))
    with pytest.raises(InputError, match="models has a diagonal that is not zero"):
        as_stack("models", A + np.eye(N))
    assert as_stack("models", A).shape == (1, N, N)


def test_upper_triangle_and_square_are_inverses() -> None:
    """Squaring the upper triangles gives the stack back; a wrong length is refused."""
    stack = np.stack([A, B])
    np.testing.assert_array_equal(square(upper_triangle(stack), N), (stack + stack.transpose(0, 2, 1)) / 2)
    with pytest.raises(ShapeError, match="upper triangles have 4 pairs; 8 stimuli have 28"):
        square(np.ones(4), N)
