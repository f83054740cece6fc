"""Layer phases against brute force over all cuts, planted phases and layers without structure."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from brainalign.comparison.cka import linear_cka
from brainalign.comparison.phases import layer_phases, layer_similarity
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)


def symmetric(values: np.ndarray) -> np.ndarray:
    """A symmetric matrix with a diagonal of one."""
    out = np.triu(values, 1)
    return np.asarray(out + out.T + np.eye(len(out)))


def blocks(
    boundaries: list[int], noise: float, seed: int, within: float = 0.9, between: float = 0.4
) -> np.ndarray:
    """Similarities of planted phases."""
    labels = np.repeat(np.arange(len(boundaries) - 1), np.diff(boundaries))
    clean = np.where(labels[:, None] == labels, within, between)
    return symmetric(clean + noise * np.random.default_rng(seed).normal(size=clean.shape))


def score_of(matrix: np.ndarray, edges: tuple[int, ...]) -> float:
    """The definition, pair by pair."""
    n = len(matrix)
    mean = np.mean([matrix[i, j] for i in range(n) for j in range(i + 1, n)])
    return float(
        sum(matrix[i, j] - mean for a, b in pairwise(edges) for i in range(a, b) for j in range(i + 1, b))
    )


def test_exact_against_all_cuts() -> None:
    """For every number of phases the score and the cut are the best of all cuts of 7 layers."""
    matrix = symmetric(RNG.uniform(-1, 1, size=(7, 7)))
    scores = layer_phases(matrix).scores
    for k in range(1, 8):
        cuts = [(0, *inner, 7) for inner in combinations(range(1, 7), k - 1)]
        best = max(cuts, key=lambda cut: score_of(matrix, cut))
        assert scores[k - 1] == pytest.approx(score_of(matrix, best), abs=1e-12)
        found = layer_phases(matrix, n_phases=k)
        assert found.boundaries.tolist() == list(best)
        assert found.n_phases == k
        assert len(np.unique(found.labels)) == k


@pytest.mark.parametrize("seed", range(5))
def test_planted_boundaries(seed: int) -> None:
    """Boundaries at 7 and 16 of 24 layers with noise of .05 are found exactly, and their number too."""
    phases = layer_phases(blocks([0, 7, 16, 24], 0.05, seed))
    assert phases.boundaries.tolist() == [0, 7, 16, 24]
    assert int(phases.penalised_scores.argmax()) == 2
    assert phases.noise == pytest.approx(0.05, rel=0.3)


def test_planted_boundaries_from_states() -> None:
    """The same from layer states (L, n, p) with noise of .05, by cosine and by CKA."""
    centres = np.repeat(RNG.normal(size=(3, 30, 20)), [7, 9, 8], axis=0)
    states = centres + 0.05 * RNG.normal(size=centres.shape)
    for measure in ("cosine", "cka"):
        assert layer_phases(layer_similarity(states, measure)).boundaries.tolist() == [0, 7, 16, 24]


def test_no_structure_is_one_phase() -> None:
    """Similarities of pure noise are cut in 5 % of cases or fewer; without the penalty nearly always."""
    noise = [symmetric(0.5 + 0.1 * np.random.default_rng(s).normal(size=(24, 24))) for s in range(100)]
    assert np.mean([layer_phases(m).n_phases > 1 for m in noise]) <= 0.05
    assert np.mean([layer_phases(m, penalty=0.0).n_phases > 1 for m in noise]) > 0.95


@pytest.mark.parametrize("n_layers", [1, 2, 3, 10])
def test_equal_layers_are_one_phase(n_layers: int) -> None:
    """Where all similarities are equal nothing is cut."""
    phases = layer_phases(np.full((n_layers, n_layers), 0.7))
    assert phases.boundaries.tolist() == [0, n_layers]
    np.testing.assert_allclose(phases.scores, 0, atol=1e-12)


@pytest.mark.parametrize("change", [(1e200, 0.0), (1e-200, 0.0), (3.0, -2.0)])
def test_factor_and_constant_change_nothing(change: tuple[float, float]) -> None:
    """Boundaries do not depend on the scale, the zero or the diagonal of the similarities."""
    matrix = blocks([0, 3, 10, 14], 0.05, 1)
    moved = change[0] * matrix + change[1]
    np.fill_diagonal(moved, np.nan)
    assert layer_phases(moved).boundaries.tolist() == [0, 3, 10, 14]
    np.testing.assert_allclose(layer_phases(moved).scores / change[0], layer_phases(matrix).scores, atol=1e-9)


def test_order_of_layers_matters() -> None:
    """Phases are contiguous: shuffled layers have none of the planted ones."""
    matrix = blocks([0, 7, 16, 24], 0.05, 0)
    order = np.random.default_rng(0).permutation(24)
    assert layer_phases(matrix[np.ix_(order, order)]).scores.max() < 0.5 * layer_phases(matrix).scores.max()


def test_largest_number_of_phases() -> None:
    """`max_phases` bounds the search and changes no score below it."""
    matrix = blocks([0, 7, 16, 24], 0.05, 0)
    few = layer_phases(matrix, max_phases=2)
    assert few.n_phases == 2
    np.testing.assert_array_equal(few.scores, layer_phases(matrix).scores[:2])


def test_cosine_similarity_by_loops() -> None:
    """Mean cosine over stimuli, with zero states left out, whatever the scale of a state."""
    states = RNG.normal(size=(4, 6, 3)) * 10.0 ** RNG.choice([-180, 0, 180], size=(4, 6, 1))
    states[2, 1] = 0
    expected = np.eye(4)
    for a in range(4):
        for b in range(4):
            unit = [[v / np.abs(v).max() for v in states[i] if v.any()] for i in (a, b)]
            if 2 in (a, b):
                unit = [[v / np.abs(v).max() for j, v in enumerate(states[i]) if j != 1] for i in (a, b)]
            cosines = [x @ y / (np.linalg.norm(x) * np.linalg.norm(y)) for x, y in zip(*unit, strict=True)]
            expected[a, b] = np.mean(cosines)
    np.testing.assert_allclose(layer_similarity(states), expected, atol=1e-12)


def test_cka_similarity_of_unequal_widths() -> None:
    """The table holds the debiased CKA of each pair of layers."""
    layers = [RNG.normal(size=(12, p)) * 1e-180 for p in (3, 20, 5)]
    expected = [[linear_cka(a * 1e180, b * 1e180) for b in layers] for a in layers]
    np.testing.assert_allclose(layer_similarity(layers, "cka"), expected, atol=1e-9)


def test_undefined_similarities_are_nan_with_the_reason() -> None:
    """A layer of zeros, or one that does not vary, has no similarity."""
    states = RNG.normal(size=(3, 6, 3))
    states[1] = 0
    with pytest.warns(UserWarning, match="cosine is NaN for 5 layers .* have no stimulus that is not zero"):
        missing = np.isnan(layer_similarity(states))
    assert missing.sum() == 5
    assert missing[1].all()
    with pytest.warns(UserWarning, match="CKA is NaN for 1 layers .* do not vary over stimuli: 1"):
        assert np.isnan(layer_similarity(states, "cka")).sum() == 5


WRONG = np.array([[1.0, 0.2], [0.9, 1.0]])
SQUARE = np.eye(3)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: layer_phases(np.ones((2, 3))), ShapeError, r"similarity has shape \(2, 3\)"),
        (
            lambda: layer_phases(np.where(np.eye(3)[::-1] > 0, np.nan, 1.0)),
            InputError,
            "not finite between layers 0 and 2",
        ),
        (lambda: layer_phases(WRONG), InputError, "layers 0 and 1 is 0.2 one way and 0.9 the other"),
        (lambda: layer_phases(SQUARE, n_phases=4), InputError, "n_phases=4 for 3 layers; expected 1 to 3"),
        (
            lambda: layer_phases(SQUARE, n_phases=3, max_phases=2),
            InputError,
            "n_phases=3 is above max_phases=2",
        ),
        (lambda: layer_phases(SQUARE, penalty=-1.0), InputError, "penalty=-1.0; expected a finite number"),
        (
            lambda: layer_similarity(np.ones((2, 3))),
            ShapeError,
            r"layers have shape \(2, 3\); expected \(n_layers, n, p\)",
        ),
        (lambda: layer_similarity([SQUARE, SQUARE[:2]]), ShapeError, "layers have unequal shapes"),
        (lambda: layer_similarity([[["a"]]]), InputError, "layers have dtype <U1"),
        (lambda: layer_similarity([SQUARE * np.nan]), InputError, "first in layer 0, row 0, unit 0"),
        (lambda: layer_similarity([SQUARE], "dot"), InputError, "measure='dot' is not one of"),
        (lambda: layer_similarity([SQUARE], "cka"), ShapeError, "CKA over 3 stimuli; it needs at least 4"),
        (lambda: layer_similarity([SQUARE, SQUARE[:2]], "cka"), ShapeError, "layers have 2 to 3 stimuli"),
        (lambda: layer_similarity([], "cka"), ShapeError, "layers are empty"),
    ],
)
def test_refused(call, error: type[Exception], text: str) -> None:  # type: ignore[no-untyped-def]
    """Each bad input is refused with what was found and what to do."""
    with pytest.raises(error, match=text):
        call()
