"""Cross-validated weighted models: Gram blocks against explicit fits, planted weights, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from brainalign.comparison._nonnegative import nonnegative_weights
from brainalign.comparison.rsa_crossvalidation import crossvalidate_rsa
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)
N = 16
POINTS = RNG.normal(size=(N, 3))
PARTS = (POINTS.T[:, :, None] - POINTS.T[:, None]) ** 2


def noisy(rdm: np.ndarray, s: int, noise: float) -> np.ndarray:
    e = np.triu(RNG.normal(size=(s, *rdm.shape)), 1)
    return rdm + noise * (e + e.transpose(0, 2, 1))


DATA = noisy(PARTS[0] + 3 * PARTS[1], 4, 0.5)


def test_weights_equal_scipy() -> None:
    """Batched non-negative least squares equals scipy's for every problem, collinear columns included."""
    a = RNG.normal(size=(40, 12, 5)) + 1.0
    b = RNG.normal(size=(40, 12))
    gram, target = a.transpose(0, 2, 1) @ a, np.einsum("bij,bi->bj", a, b)
    found = nonnegative_weights(torch.tensor(gram), torch.tensor(target)).numpy()
    for i in range(40):
        np.testing.assert_allclose(found[i], optimize.nnls(a[i], b[i])[0], atol=1e-7)
    twice = np.ones((1, 2, 2))
    np.testing.assert_allclose(
        nonnegative_weights(torch.tensor(twice), torch.ones((1, 2), dtype=torch.float64)),
        [[0.5, 0.5]],
        atol=1e-6,
    )


@pytest.mark.parametrize("measure", ["cosine", "pearson", "spearman", "tau_b"])
@pytest.mark.parametrize("folds", [(2, 1), (2, 2), (1, 2)])
def test_folds_written_out(measure: str, folds: tuple[int, int]) -> None:
    """Weights and scores from Gram blocks equal scipy's fit on the training pairs and the score on the
    test pairs.
    """
    r = crossvalidate_rsa(
        DATA, {"sum": PARTS}, measure=measure, n_folds_stimuli=folds[0], n_folds_subjects=folds[1]
    )
    generator = np.random.default_rng(0)
    of_stimuli = generator.permutation(np.arange(N) % folds[0])
    of_subjects = generator.permutation(np.arange(4) % folds[1])
    i, j = np.triu_indices(N, 1)
    scores, weights = np.zeros((folds[0], 4)), []
    for f in range(folds[0]):
        test = (of_stimuli[i] == f) & (of_stimuli[j] == f)
        train = (of_stimuli[i] != f) & (of_stimuli[j] != f) if folds[0] > 1 else test
        for g in range(folds[1]):
            fit_on = of_subjects != g if folds[1] > 1 else np.ones(4, dtype=bool)
            x, y = PARTS[:, i, j][:, train], DATA[:, i, j][fit_on][:, train]
            if measure != "cosine":
                x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
            pool = (y / np.linalg.norm(y, axis=1, keepdims=True)).sum(0)
            w = optimize.nnls(x.T, pool)[0]
            weights.append(w)
            predicted = w @ PARTS[:, i, j][:, test]
            for s in np.flatnonzero(of_subjects == g):
                a, b = predicted, DATA[s][i, j][test]
                scores[f, s] = {
                    "cosine": lambda a, b: a @ b / np.sqrt(a @ a * (b @ b)),
                    "pearson": lambda a, b: stats.pearsonr(a, b).statistic,
                    "spearman": lambda a, b: stats.spearmanr(a, b).statistic,
                    "tau_b": lambda a, b: stats.kendalltau(a, b).statistic,
                }[measure](a, b)
    np.testing.assert_allclose(r.scores[:, 0], scores.mean(0), atol=1e-8)
    np.testing.assert_allclose(r.weights["sum"], weights, atol=1e-7)


def test_planted_weights_and_kinds() -> None:
    """Weights 1 : 3 : 0 are found, the sum beats each part on unseen stimuli, and kinds are marked."""
    r = crossvalidate_rsa(
        DATA, {"sum": PARTS, "first": PARTS[0]}, measure="whitened_cosine", n_folds_subjects=2
    )
    w = r.weights["sum"].mean(0)
    assert w[1] / w[0] == pytest.approx(3, rel=0.2)
    assert w[2] < 0.1 * w[1]
    frame = r.to_frame().set_index("model")
    assert frame.score["sum"] > frame.score["first"]
    assert (frame.kind["sum"], frame.kind["first"]) == ("fitted", "fixed")
    again = crossvalidate_rsa(DATA, {"sum": PARTS}, measure="whitened_cosine", n_folds_subjects=2)
    np.testing.assert_array_equal(again.scores[:, 0], r.scores[:, 0])


@pytest.mark.filterwarnings("ignore:of 40 draws over:UserWarning")
def test_inside_the_bootstrap() -> None:
    """A weighted model is one more column of the draws, marked as fitted, and is scored in every draw."""
    r = bootstrap_rsa(DATA, PARTS[:1], measure="rho_a", n_boot=40, weighted_models={"sum": PARTS})
    assert r.names == ("model_0", "sum")
    assert list(r.to_frame().kind) == ["fixed", "fitted"]
    assert np.isfinite(r.scores[:, 1]).mean() > 0.9
    assert r.observed[1] > r.observed[0]
    assert "(fitted)" in repr(r)
    alone = crossvalidate_rsa(DATA, {"sum": PARTS}, measure="rho_a", random_state=0)
    assert alone.scores.mean() == pytest.approx(r.observed[1], abs=1e-12)


class Equal:
    """A rule of its own: all RDMs weigh the same."""

    def __init__(self, stack: np.ndarray, size: int) -> None:
        self.stack, self.size = stack, size

    def fit(self, stack: np.ndarray, rdm: np.ndarray, weights: np.ndarray) -> np.ndarray:
        assert rdm.shape == weights.shape == stack.shape[1:]
        assert 0 < (weights > 0).sum() < N * (N - 1), "pairs of the training stimuli alone"
        return np.ones(self.size)


def test_a_rule_of_its_own() -> None:
    """An object with stack and fit is asked in every fold; equal weights equal the fixed sum."""
    models = {"equal": Equal(PARTS, 3), "fixed": PARTS.sum(0)}
    r = crossvalidate_rsa(DATA, models, measure="pearson")
    np.testing.assert_allclose(r.scores[:, 0], r.scores[:, 1], atol=1e-12)
    np.testing.assert_allclose(r.weights["equal"], 1.0)
    with pytest.raises(ShapeError, match=r"fit of model 'equal' returned shape \(2,\); expected one weight"):
        crossvalidate_rsa(DATA, {"equal": Equal(PARTS, 2)}, measure="pearson")


def test_wrong_inputs() -> None:
    """Folds and stacks that do not fit are named."""
    with pytest.raises(InputError, match="n_folds_stimuli=1 and n_folds_subjects=1 would score"):
        crossvalidate_rsa(DATA, {"sum": PARTS}, n_folds_stimuli=1, measure="rho_a")
    with pytest.raises(InputError, match="n_folds_stimuli=9 for 16 stimuli; expected 1 to 4"):
        crossvalidate_rsa(DATA, {"sum": PARTS}, n_folds_stimuli=9, measure="rho_a")
    with pytest.raises(InputError, match="n_folds_subjects=5 for 4 subjects; expected 1 to 4"):
        crossvalidate_rsa(DATA, {"sum": PARTS}, n_folds_subjects=5, measure="rho_a")
    with pytest.raises(ShapeError, match="models is empty"):
        crossvalidate_rsa(DATA, {}, measure="rho_a")
    with pytest.raises(ShapeError, match="model 'sum' is over 5 stimuli and data_rdms over 16"):
        crossvalidate_rsa(DATA, {"sum": PARTS[:, :5, :5]}, measure="rho_a")
    holed = PARTS.copy()
    holed[0, 1, 2] = holed[0, 2, 1] = np.nan
    with pytest.raises(InputError, match="model 'sum' has missing entries where the other RDMs have none"):
        crossvalidate_rsa(DATA, {"sum": holed}, measure="rho_a")
    with pytest.raises(InputError, match="measure 'bures' cannot score weighted models"):
        crossvalidate_rsa(DATA, {"sum": PARTS}, measure="bures")
