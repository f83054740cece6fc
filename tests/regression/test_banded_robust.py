"""BandedRidgeCV with targets that have no fit, unusual arrays, torch tensors and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.model_selection import LeaveOneOut

from brainalign.errors import InputError, ShapeError
from brainalign.regression.banded import BandedRidgeCV

SMALL = {"n_candidates": 6}


def simulate(n=50, widths=(8, 12), t=4, seed=0):
    rng = np.random.default_rng(seed)
    Xs = [rng.standard_normal((n, p)) + 1 for p in widths]
    Y = Xs[0] @ rng.standard_normal((widths[0], t)) + 2 * rng.standard_normal((n, t))
    return Xs, Y


@pytest.mark.parametrize("widths", [(8, 12), (40, 30)])
def test_targets_without_a_fit_are_masked(widths):
    """NaN, infinite and constant targets are NaN and counted; the others keep every bit."""
    Xs, Y = simulate(widths=widths)
    base = BandedRidgeCV(**SMALL).fit(Xs, Y)
    bad = np.insert(Y, [0, 2, 4], np.full((50, 3), 2.5), axis=1)
    bad[3, 0], bad[7, 3] = np.nan, np.inf
    model = BandedRidgeCV(**SMALL).fit(Xs, bad)
    good = [1, 2, 4, 5]
    assert model.nan_reasons_ == {"NaN or infinite response": 2, "constant response": 1}
    for name in ("best_alphas_", "best_scores_", "band_weights_", "candidate_scores_", "intercept_"):
        found = getattr(model, name)
        np.testing.assert_array_equal(found[..., good], getattr(base, name))
        assert np.isnan(np.delete(found, good, axis=-1)).all()
    np.testing.assert_array_equal(model.coef_[good], base.coef_)
    assert np.isnan(model.predict(Xs)[:, [0, 3, 6]]).all()
    assert np.isnan(model.score_per_target(Xs, np.where(np.isfinite(bad), bad, 0))[6])


def test_all_constant_targets_fit_nothing():
    """Where every target is constant, all results are NaN and nothing fails."""
    Xs, _ = simulate()
    model = BandedRidgeCV(**SMALL).fit(Xs, np.ones((50, 2)))
    assert np.isnan(model.best_scores_).all()
    assert np.isnan(model.coef_).all()
    assert model.candidate_scores_.shape == (6, 2)


def test_a_target_constant_in_every_test_part_has_no_score():
    """A target that varies in no test part is coded, not scored."""
    Xs, Y = simulate()
    Y[:20, 1] = 3.0
    cv = [(np.arange(20, 50), np.arange(0, 10)), (np.arange(20, 50), np.arange(10, 20))]
    model = BandedRidgeCV(cv=cv, **SMALL).fit(Xs, Y)
    assert model.nan_codes_.tolist() == [0, 3, 0, 0]
    assert np.isnan(model.best_scores_[1])
    assert np.isfinite(np.delete(model.best_scores_, 1)).all()


@pytest.mark.parametrize("kernel", ["linear", "precomputed"])
def test_rows_of_weight_zero_are_absent(kernel):
    """A row of weight 0 changes nothing; with kernels it gets the dual coefficient 0."""
    Xs, Y = simulate(widths=(40, 30))
    w = np.ones(50)
    w[10:] = 2.0
    keep = np.arange(50) != 4

    def rows(part):
        return [X[part] @ X[part].T for X in Xs] if kernel == "precomputed" else [X[part] for X in Xs]

    fewer = BandedRidgeCV(kernel=kernel, cv=[(np.arange(20, 49), np.arange(20))], **SMALL)
    fewer.fit(rows(keep), Y[keep], sample_weight=w[keep])
    w[4], Y[4] = 0.0, 1e6
    model = BandedRidgeCV(kernel=kernel, cv=[(np.arange(21, 50), np.arange(21))], **SMALL)
    model.fit(rows(slice(None)), Y, sample_weight=w)
    np.testing.assert_allclose(model.best_scores_, fewer.best_scores_, atol=1e-9)
    if kernel == "precomputed":
        assert (model.dual_coef_[4] == 0).all()
        np.testing.assert_allclose(model.dual_coef_[keep], fewer.dual_coef_, atol=1e-8)
    else:
        np.testing.assert_allclose(model.coef_, fewer.coef_, atol=1e-8)


@pytest.mark.parametrize("widths", [(8, 12), (40, 30)])
@pytest.mark.parametrize("kernel", ["linear", "precomputed"])
def test_torch_in_torch_out(widths, kernel):
    """Tensors give the same numbers as arrays, as tensors, in their own precision."""
    Xs, Y = simulate(widths=widths)
    Xs = [X @ X.T for X in Xs] if kernel == "precomputed" else Xs
    base = BandedRidgeCV(kernel=kernel, **SMALL).fit(Xs, Y)
    tensors = [torch.as_tensor(X) for X in Xs]
    model = BandedRidgeCV(kernel=kernel, **SMALL).fit(tensors, torch.as_tensor(Y))
    assert isinstance(model.band_weights_, torch.Tensor)
    np.testing.assert_allclose(model.predict(tensors), base.predict(Xs), atol=1e-11)
    np.testing.assert_array_equal(model.predict(Xs), base.predict(Xs))
    assert model.predict_bands(tensors).shape == (2, 50, 4)
    single = BandedRidgeCV(kernel=kernel, **SMALL).fit(
        [X.float() for X in tensors], torch.as_tensor(Y).float()
    )
    assert single.predict([X.float() for X in tensors]).dtype == torch.float32
    np.testing.assert_allclose(single.best_scores_, base.best_scores_, atol=2e-3)


@pytest.mark.parametrize("kernel", ["linear", "precomputed"])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_one_target_as_a_vector(kernel, kind):
    """A 1-D response gives 1-D coefficients and predictions equal to those of one column."""
    Xs, Y = simulate()
    Xs = [kind(X @ X.T if kernel == "precomputed" else X) for X in Xs]
    vector = BandedRidgeCV(kernel=kernel, **SMALL).fit(Xs, kind(Y[:, 0]))
    column = BandedRidgeCV(kernel=kernel, **SMALL).fit(Xs, kind(Y[:, :1]))
    assert vector.predict(Xs).shape == (50,)
    np.testing.assert_array_equal(vector.predict(Xs), column.predict(Xs)[:, 0])
    np.testing.assert_array_equal(vector.predict_bands(Xs), column.predict_bands(Xs)[..., 0])
    assert vector.band_weights_.shape == (2, 1)


def test_constant_bands_and_repeated_columns():
    """A band that does not vary contributes nothing; repeated columns share their weight."""
    Xs, Y = simulate()
    Xs = [Xs[0], np.full((50, 3), 0.1), np.hstack([Xs[1], Xs[1]])]
    for wide in (Xs, [*Xs, np.random.default_rng(0).standard_normal((50, 80))]):
        model = BandedRidgeCV(**SMALL).fit(wide, Y)
        assert np.isfinite(model.coef_).all()
        np.testing.assert_array_equal(model.coef_[:, 8:11], 0)
        np.testing.assert_allclose(model.coef_[:, 11:23], model.coef_[:, 23:35], atol=1e-9)


def test_unusual_arrays():
    """Fortran order, big-endian, float16 and leave-one-out with the squared error all work."""
    Xs, Y = simulate()
    base = BandedRidgeCV(**SMALL).fit(Xs, Y)
    strange = [np.asfortranarray(Xs[0]), Xs[1].astype(">f8")]
    np.testing.assert_allclose(BandedRidgeCV(**SMALL).fit(strange, Y).coef_, base.coef_, atol=1e-10)
    half = BandedRidgeCV(**SMALL).fit([X.astype(np.float16) for X in Xs], Y.astype(np.float16))
    assert np.nanmax(np.abs(half.best_scores_ - base.best_scores_)) < 0.02
    loo = BandedRidgeCV(cv=LeaveOneOut(), scoring="neg_mean_squared_error", **SMALL).fit(Xs, Y)
    assert (loo.best_scores_ < 0).all()
    assert (loo.best_scores_ > -Y.var(0)).all()


def test_tiny_penalties_and_two_rows():
    """Penalties below rounding of the kernel and a fit of very few rows stay finite."""
    Xs, Y = simulate(widths=(40, 30))
    doubled = [np.vstack([X, X]) for X in Xs]
    model = BandedRidgeCV(alphas=[1e-18, 1.0], **SMALL).fit(doubled, np.vstack([Y, Y]))
    assert np.isfinite(model.coef_).all()
    few = BandedRidgeCV(cv=2, scoring="neg_mean_squared_error", **SMALL).fit([X[:2] for X in Xs], Y[:2])
    assert np.isfinite(few.predict([X[:2] for X in Xs])).all()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"scoring": "r3"}, InputError, "scoring='r3' is not one of"),
        ({"kernel": "linea"}, InputError, "kernel='linea' is not one of.*closest: 'linear'"),
        ({"alphas": [0.0]}, InputError, "alphas must be positive finite penalties"),
        ({"n_candidates": 0}, InputError, "n_candidates=0; expected a number of at least 1"),
        ({"n_candidates": 2.5}, InputError, "n_candidates=2.5; expected a number"),
        ({"refine": -1}, InputError, "refine=-1; expected True, False or a number of rounds"),
        ({"refine": "yes"}, InputError, "refine='yes'; expected True"),
        ({"concentration": (0.1, -1)}, InputError, r"concentration=\(0.1, -1\); expected positive finite"),
        (
            {"candidates": [[1, 0, 0]]},
            ShapeError,
            r"candidates has shape \(1, 3\); expected \(n_candidates, 2\)",
        ),
        ({"candidates": [[1, 1], [0, 0]]}, InputError, r"candidates: row 1 is \[0.0, 0.0\]; expected finite"),
        ({"candidates": [[1, -1]]}, InputError, "candidates: row 0 is .*none negative"),
        ({"bands": [slice(0, 8)]}, InputError, "bands is given and X comes in parts"),
        ({"cv": LeaveOneOut()}, ShapeError, "fold 0 has 1 test sample"),
    ],
)
def test_options_that_are_refused(options, error, match):
    """Each option that cannot be used is refused with what was found."""
    Xs, Y = simulate()
    with pytest.raises(error, match=match):
        BandedRidgeCV(**options).fit(Xs, Y)


@pytest.mark.parametrize(
    ("bands", "match"),
    [
        (slice(0, 20), "expected a list with one slice or one array of column numbers per band"),
        ("ab", "bands='ab'; expected a list"),
        ([], r"bands=\[\]; expected a list"),
        ([slice(0, 8), slice(8, 8)], r"band 1 \(slice\(8, 8, None\)\) has no columns; X has 20"),
        ([slice(0, 19), [20]], "band 1 names column 20 and X has 20 columns, numbered from 0"),
        ([slice(0, 19), [-21]], "band 1 names column -21 and X has 20 columns"),
        ([slice(0, 12), slice(11, 20)], "column 11 is in band 0 and in band 1; bands must not overlap"),
        ([[0, 1, 1], slice(2, 20)], "band 0 names column 1 twice"),
        ([slice(0, 8), slice(10, 19)], "3 of 20 columns are in no band: 8, 9, 19; give them a band"),
        ([slice(0, 2), [2]], r"17 of 20 columns are in no band: 3, 4, 5, 6, 7, 8, 9, 10 \.\.\.;"),
        ([[0.5, 1.5], slice(2, 20)], "band 0 is .*expected a slice, column numbers, or a mask of 20 columns"),
    ],
)
def test_bands_that_are_refused(bands, match):
    """Each wrong description of bands is refused and names band and column."""
    Xs, Y = simulate()
    with pytest.raises(InputError, match=match):
        BandedRidgeCV(bands).fit(np.hstack(Xs), Y)


def test_parts_that_do_not_fit_together():
    """Arrays and kernels of wrong shapes are refused in fit and in predict."""
    Xs, Y = simulate()
    with pytest.raises(ShapeError, match="band 1 of X has 49 samples and band 0 has 50"):
        BandedRidgeCV().fit([Xs[0], Xs[1][:49]], Y)
    with pytest.raises(ShapeError, match=r"X has shape \(50, 8\); kernel='precomputed' expects kernels"):
        BandedRidgeCV(kernel="precomputed").fit(Xs[0], Y)
    with pytest.raises(ShapeError, match="X has type str; kernel='precomputed' expects"):
        BandedRidgeCV(kernel="precomputed").fit("kernels", Y)
    with pytest.raises(ShapeError, match=r"kernel of band 0 has shape \(50, 8\); a fit needs square kernels"):
        BandedRidgeCV(kernel="precomputed").fit(Xs, Y)
    skewed = np.random.default_rng(0).standard_normal((2, 50, 50))
    with pytest.raises(InputError, match="the kernel of band 0 is not symmetric: entries differ"):
        BandedRidgeCV(kernel="precomputed").fit(skewed, Y)
    model = BandedRidgeCV(**SMALL).fit(Xs, Y)
    with pytest.raises(
        ShapeError, match=r"the bands of X have \[12, 8\] columns; the fit was given \[8, 12\]"
    ):
        model.predict(Xs[::-1])


def test_one_matrix_predicts_after_a_list():
    """After a fit on a list, the arrays side by side predict the same."""
    Xs, Y = simulate()
    model = BandedRidgeCV(**SMALL).fit(Xs, Y)
    np.testing.assert_array_equal(model.predict(np.hstack(Xs)), model.predict(Xs))
