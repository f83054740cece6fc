"""Models in files: what comes back predicts the same, on any device and in any dtype."""

from __future__ import annotations

import json
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit

from brainalign import regression
from brainalign.errors import InputError, UnknownNameError
from brainalign.regression.model_files import load_model, save_model
from brainalign.storage._container import open_container

ALPHAS = np.logspace(-1, 3, 5)
BANDS = [slice(0, 6), np.arange(6, 12)]
FACTORIES = {
    "RidgeCV": lambda c: c(ALPHAS, cv=KFold(3)),
    "RidgeCV shared": lambda c: c(
        ALPHAS, cv=3, scoring="pearson", alpha_per_target=False, fit_intercept=False
    ),
    "KernelRidgeCV": lambda c: c(ALPHAS, cv=3),
    "KernelRidgeCV rbf": lambda c: c(ALPHAS, kernel="rbf", cv=3),
    "BandedRidgeCV": lambda c: c(BANDS, alphas=ALPHAS, n_candidates=4, cv=3, random_state=0),
    "StackedRegression": lambda c: c(BANDS, alphas=ALPHAS, cv=3),
}


def problem(n=40, p=12, t=7, dtype="float64"):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    Y = X[:, :t] + rng.standard_normal((n, t)) + 5.0
    return X.astype(dtype), Y.astype(dtype)


def estimator(name):
    """A new estimator of each class."""
    return FACTORIES[name](getattr(regression, name.split()[0]))


def by_hand(**attributes):
    """A RidgeCV whose fitted attributes are given, not computed."""
    model = regression.RidgeCV(ALPHAS)
    vars(model).update(
        {"coef_": np.ones((3, 2)), "intercept_": np.zeros(3), "n_features_in_": 2} | attributes
    )
    return model


def assert_same(a, b, where=""):
    """Equal in type, dtype, memory order and every bit."""
    assert type(a) is type(b), where
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape, a.flags.fnc) == (b.dtype, b.shape, b.flags.fnc), where
        assert a.tobytes() == b.tobytes() if a.dtype != object else a.tolist() == b.tolist(), where
    elif isinstance(a, torch.Tensor):
        assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride()), where
        assert_same(a.cpu().numpy(), b.cpu().numpy(), where)
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif hasattr(a, "get_params") or isinstance(a, KFold):
        assert_same(*({k: v for k, v in vars(m).items() if k != "loaded_from_"} for m in (a, b)), where)
    else:
        assert a == b or (a != a and b != b), where


def fitted(model):
    return {k: v for k, v in vars(model).items() if k.endswith("_") and k != "loaded_from_"}


def assert_same_model(loaded, model):
    assert loaded.loaded_from_["not_stored"] == {}
    assert_same(fitted(loaded), fitted(model))
    assert_same(loaded.get_params(deep=False), model.get_params(deep=False))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FACTORIES)
def test_every_estimator_predicts_the_same(tmp_path, name, dtype):
    """Saved and loaded, predictions, scores, attributes and parameters are the same bit for bit."""
    X, Y = problem(dtype=dtype)
    Y[:, 2], Y[3, 4] = 1.0, np.nan
    model = estimator(name).fit(X, Y)
    save_model(model, tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    assert_same_model(loaded, model)
    new = np.random.default_rng(1).standard_normal((9, X.shape[1])).astype(dtype)
    assert_same(loaded.predict(new), model.predict(new))
    np.testing.assert_array_equal(loaded.score_per_target(X, Y), model.score_per_target(X, Y))


@pytest.mark.parametrize("name", FACTORIES)
def test_one_target_and_names_of_columns(tmp_path, name):
    """One-dimensional responses and the names of the columns of a table come back."""
    X, Y = problem()
    table = pd.DataFrame(X, columns=[f"layer {i} ü" for i in range(X.shape[1])])
    model = estimator(name).fit(table, Y[:, 0])
    save_model(model, tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    assert_same_model(loaded, model)
    assert loaded.feature_names_in_.dtype == object
    assert_same(loaded.predict(table), model.predict(table))
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(table.iloc[:, ::-1])


@pytest.mark.parametrize("name", FACTORIES)
def test_estimators_have_save(tmp_path, name):
    """`model.save(path)` writes what `load_model` reads, and a loaded model can be fitted and saved again."""
    X, Y = problem()
    model = estimator(name).fit(X, Y)
    model.save(tmp_path / "model.h5")
    loaded = regression.load_model(tmp_path / "model.h5")
    again = loaded.fit(X, Y)
    assert_same(again.predict(X), model.predict(X))
    again.save(tmp_path / "again.h5")
    assert_same_model(regression.load_model(tmp_path / "again.h5"), again)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("wrap", [np.array, torch.tensor])
def test_memory_order_and_dtypes_are_kept(tmp_path, order, wrap):
    """Arrays keep dtype, memory order and every bit; tensors come back as numpy unless a device is given."""
    rng = np.random.default_rng(0)
    coef = rng.standard_normal((700, 300))
    arrays = {f"{k}_": coef.astype(k) for k in ("float16", "float32", "float64", "int8", "int64", "bool")}
    arrays["float32_"][0, :2] = np.nan, -0.0
    wrapped = {k: wrap(v.T.copy()).T if order == "F" else wrap(v) for k, v in arrays.items()}
    model = by_hand(**wrapped, empty_=wrap(np.zeros((0, 3))), zero_d_=wrap(np.float32(2.5)))
    save_model(model, tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    for name, value in wrapped.items():
        assert_same(vars(loaded)[name], np.asarray(value), name)
    assert loaded.empty_.shape == (0, 3)
    assert_same(loaded.zero_d_, np.array(2.5, np.float32))
    on_device = load_model(tmp_path / "model.h5", device="cpu")
    if wrap is torch.tensor:
        for name, value in wrapped.items():
            assert_same(vars(on_device)[name], value, name)
        assert isinstance(on_device.intercept_, np.ndarray)  # it was no tensor
    else:
        assert isinstance(on_device.float32_, torch.Tensor)
        assert isinstance(on_device.int8_, np.ndarray)
    assert on_device.device == "cpu"


def test_nested_values_are_kept(tmp_path):
    """Scalars, text, lists, tuples, slices, mappings with any key, and models inside come back."""
    inner = by_hand(coef_=np.float32([[1.0, 2.0]]))
    values = {
        "a_": None,
        "b_": True,
        "c_": np.bool_(False),
        "d_": np.float32(0.1),
        "e_": np.float64("nan"),
        "f_": float("-inf"),
        "g_": {"why": 3, 1: [np.zeros(2), (slice(0, 5), range(3))], "1": np.ones(2), (0, 1): 0.5, "$x": "ü/"},
        "h_": np.array(["ü", "b"]),
        "i_": np.array(["ü", None], dtype=object),
        "j_": [inner, {"x": inner}],
        "k_": np.int64(2**62),
    }
    save_model(by_hand(**values), tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    for name, value in values.items():
        assert_same(vars(loaded)[name], value, name)


@pytest.mark.parametrize(
    "cv",
    [
        None,
        4,
        KFold(3, shuffle=True, random_state=3),
        GroupKFold(2),
        TimeSeriesSplit(3, gap=2),
        [(np.arange(20), np.arange(20, 40)), (np.arange(10, 40), np.arange(8))],
    ],
)
def test_splitters_and_folds_are_kept(tmp_path, cv):
    """scikit-learn's splitters and lists of folds come back ready for another fit."""
    save_model(by_hand().set_params(cv=cv), tmp_path / "model.h5")
    found = load_model(tmp_path / "model.h5").cv
    if hasattr(cv, "split"):
        assert repr(found) == repr(cv)
        assert type(found) is type(cv)
    else:
        assert_same(found, cv)


class OwnSplitter(KFold):
    """A subclass may do anything, so it is not stored."""


def own_kernel(X, Z, *, gamma, degree, coef0):
    return X @ Z.T


def test_parameters_that_no_file_holds_are_said(tmp_path):
    """A splitter of one's own or a function is None with a warning, also after a second save."""
    model = by_hand().set_params(cv=OwnSplitter(3), scoring=own_kernel)
    save_model(model, tmp_path / "model.h5")
    text = r"None now: cv was OwnSplitter\(n_splits=3.*; scoring was .*\.own_kernel\. Set them again"
    with pytest.warns(UserWarning, match=text):
        loaded = load_model(tmp_path / "model.h5")
    assert loaded.cv is None
    assert loaded.scoring is None
    assert set(loaded.loaded_from_["not_stored"]) == {"cv", "scoring"}
    np.testing.assert_array_equal(loaded.coef_, model.coef_)
    loaded.set_params(scoring="r2")
    save_model(loaded, tmp_path / "again.h5")
    with pytest.warns(UserWarning, match=r"None now: cv was OwnSplitter\(n_splits=3"):
        again = load_model(tmp_path / "again.h5")
    assert set(again.loaded_from_["not_stored"]) == {"cv"}
    assert again.scoring == "r2"


def test_a_kernel_of_ones_own_is_given_again(tmp_path):
    """Without its function a kernel model refuses to predict; with it the predictions are the same."""
    X, Y = problem()
    model = regression.KernelRidgeCV(ALPHAS, kernel=own_kernel, cv=3).fit(X, Y)
    save_model(model, tmp_path / "model.h5")
    with pytest.warns(UserWarning, match=r"kernel was .*\.own_kernel"):
        loaded = load_model(tmp_path / "model.h5")
    with pytest.raises(UnknownNameError, match="kernel None does not exist"):
        loaded.predict(X)
    assert_same(loaded.set_params(kernel=own_kernel).predict(X), model.predict(X))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", [str, np.dtype, torch.dtype, type])
def test_another_dtype(tmp_path, dtype, kind):
    """Floating arrays are converted, however the dtype is named; penalties, scores and NaN are kept."""
    X, Y = problem()
    Y[:, 1] = 2.0
    model = regression.RidgeCV(ALPHAS * 1e6, cv=3).fit(X, Y)
    save_model(model, tmp_path / "model.h5")
    wanted = {
        str: dtype,
        np.dtype: np.dtype(dtype),
        torch.dtype: getattr(torch, dtype),
        type: getattr(np, dtype),
    }
    loaded = load_model(tmp_path / "model.h5", dtype=wanted[kind])
    assert loaded.coef_.dtype == loaded.intercept_.dtype == dtype
    np.testing.assert_array_equal(loaded.coef_, np.asarray(model.coef_).astype(dtype))
    assert np.isnan(loaded.coef_[1]).all()
    np.testing.assert_array_equal(loaded.best_alphas_, model.best_alphas_)
    np.testing.assert_array_equal(loaded.alphas_, model.alphas_)
    tolerance = {"float16": 2e-2, "float32": 1e-5, "float64": 0}[dtype]
    np.testing.assert_allclose(loaded.predict(X), model.predict(X), atol=tolerance)
    assert loaded.loaded_from_["dtype"] == "float64"


def test_a_dtype_that_is_too_narrow_is_refused(tmp_path):
    """Values beyond float16, or weights that would vanish in it, are refused; a few tiny ones are not."""
    save_model(by_hand(coef_=np.array([[1e5, -7e6]])), tmp_path / "large.h5")
    with pytest.raises(InputError, match="coef_ holds -7e.06, which float16 cannot; load it in float64"):
        load_model(tmp_path / "large.h5", dtype="float16")
    assert load_model(tmp_path / "large.h5", dtype="float32").coef_.tolist() == [[1e5, -7e6]]
    weights = np.random.default_rng(0).standard_normal((300, 50))
    save_model(by_hand(coef_=weights * 1e-13), tmp_path / "tesla.h5")
    with pytest.raises(
        InputError, match="15000 of 15000 values of coef_ would become 0 in float16; load it in"
    ):
        load_model(tmp_path / "tesla.h5", dtype="float16")
    # intercepts of centred responses are rounding, and weights that are 0 or rarely tiny lose nothing
    weights[:, :10], weights[0, 11] = 0, 1e-12
    save_model(by_hand(coef_=weights, intercept_=np.full(300, 1e-17)), tmp_path / "plain.h5")
    assert not load_model(tmp_path / "plain.h5", dtype="float16").intercept_.any()
    save_model(by_hand(coef_=np.array([[np.inf, np.nan]])), tmp_path / "inf.h5")
    assert np.isinf(load_model(tmp_path / "inf.h5", dtype="float16").coef_[0, 0])


@pytest.mark.parametrize("dtype", ["int8", "complex64", "bfloat16", torch.bfloat16, "double precision", dict])
def test_a_dtype_that_is_none_is_refused(tmp_path, dtype):
    """Only three dtypes are read into."""
    with pytest.raises(InputError, match="is not one of float16, float32, float64, or None"):
        load_model(tmp_path / "any.h5", dtype=dtype)


@pytest.mark.parametrize(
    ("saved", "given", "expected"),
    [
        ("cuda", None, "auto"),
        ("cuda:3", None, "auto"),
        ("cpu", None, "cpu"),
        ("auto", None, "auto"),
        ("cuda", "cpu", "cpu"),
        ("auto", torch.device("cpu"), "cpu"),
    ],
)
def test_the_parameter_device_follows(tmp_path, saved, given, expected):
    """A model from a GPU loads where there is none, and can be fitted there."""
    save_model(by_hand().set_params(device=saved), tmp_path / "model.h5")
    assert load_model(tmp_path / "model.h5", device=given).device == expected


def test_a_torch_device_is_stored_as_text(tmp_path):
    """A device and a path given as objects come back as text."""
    save_model(by_hand(where_=tmp_path).set_params(device=torch.device("cuda:1")), tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    assert loaded.device == "auto"
    assert loaded.where_ == str(tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("name", FACTORIES)
def test_between_gpu_and_cpu(tmp_path, name):
    """A model fitted on a GPU loads as numpy and back on the GPU; predictions agree to rounding."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    X, Y = problem()
    Xt, Yt = torch.tensor(X, device="cuda"), torch.tensor(Y, device="cuda")
    model = estimator(name).set_params(device="cuda").fit(Xt, Yt)
    save_model(model, tmp_path / "model.h5")
    expected = model.predict(Xt)
    np.testing.assert_array_equal(
        torch.as_tensor(load_model(tmp_path / "model.h5", device="cuda").predict(Xt)).cpu().numpy(),
        torch.as_tensor(expected).cpu().numpy(),
    )
    found = load_model(tmp_path / "model.h5").predict(X)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, torch.as_tensor(expected).cpu().numpy(), atol=1e-9)


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("tensors", [True, False])
def test_loaded_on_a_device_predicts_from_tensors(tmp_path, name, tensors):
    """Fitted on arrays or on tensors and loaded with a device, a model predicts tensors from tensors."""
    X, Y = problem()
    model = estimator(name)
    model.fit(*(map(torch.tensor, (X, Y)) if tensors else (X, Y)))
    save_model(model, tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5", device="cpu")
    found = loaded.predict(torch.tensor(X))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found, np.asarray(model.predict(X)), atol=1e-10)


def test_any_hdf5_program_reads_it(tmp_path):
    """Weights are datasets under their own names; the description is JSON; equal models are equal bytes."""
    X, Y = problem()
    model = regression.RidgeCV(ALPHAS, cv=3).fit(X, Y)
    save_model(model, tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as file:
        np.testing.assert_array_equal(file["coef_"][...], model.coef_)
        np.testing.assert_array_equal(file["parameters/alphas"][...], ALPHAS)
        about = json.loads(file["brainalign"][0])
    assert about["model"]["class"] == "RidgeCV"
    assert {"brainalign", "numpy", "torch", "scikit-learn"} <= set(about["info"]["versions"])
    first = (tmp_path / "model.h5").read_bytes()
    save_model(load_model(tmp_path / "model.h5"), tmp_path / "model.h5")
    assert (tmp_path / "model.h5").read_bytes() == first


def test_origin_is_told(tmp_path):
    """`loaded_from_` names file, dtype, device and versions, and is not part of the next file."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_model(by_hand(), tmp_path / "model.h5")
        origin = load_model(tmp_path / "model.h5").loaded_from_
    assert origin["path"] == str(tmp_path / "model.h5")
    assert (origin["dtype"], origin["device"], origin["not_stored"]) == ("float64", None, {})
    assert set(open_container(tmp_path / "model.h5").arrays) == {
        "brainalign",
        "coef_",
        "intercept_",
        "parameters/alphas",
    }
