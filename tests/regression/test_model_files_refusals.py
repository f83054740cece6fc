"""Models in files: what cannot be saved, damaged and forged files, files larger than memory should be."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from brainalign import regression
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from brainalign.regression.model_files import KIND, load_model, save_model
from brainalign.storage import load, save
from brainalign.storage._write import write_container
from brainalign.types import Responses

COEF = np.random.default_rng(0).standard_normal((600, 250))


def by_hand(**attributes):
    model = regression.RidgeCV()
    vars(model).update({"coef_": np.ones((3, 2)), "n_features_in_": 2} | attributes)
    return model


class Own(regression.RidgeCV):
    """A class of one's own, which nobody else could load."""


RidgeOfThatName = type("RidgeCV", (), {})


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        (
            regression.RidgeCV(),
            NotFittedError,
            "This RidgeCV is not fitted, so there is nothing to save; call fit",
        ),
        (
            Ridge(),
            InputError,
            "sklearn.linear_model._ridge.Ridge cannot be saved as a model; expected one of",
        ),
        (Own(), InputError, "test_model_files_refusals.Own cannot be saved as a model"),
        (RidgeOfThatName(), InputError, "RidgeCV cannot be saved as a model"),
        (by_hand(when_=object()), InputError, "when_ is a object, which cannot be stored"),
        (by_hand(fits_=[{"x": 1j}]), InputError, r"fits_\[0\]\['x'\] is a complex, which cannot be stored"),
        (by_hand(c_=np.zeros(2, "complex64")), InputError, "c_ has dtype complex64, which cannot be stored"),
        (
            by_hand(b_=torch.zeros(2).bfloat16()),
            InputError,
            "b_ has dtype torch.bfloat16, which cannot be stored",
        ),
        (by_hand(o_=np.array([[1]], object)), InputError, "o_ is an array of dtype object with a int"),
    ],
)
def test_what_is_no_fitted_model_is_refused(tmp_path, model, error, text):
    """Models not fitted, other classes and attributes that no file holds are named; no file is left."""
    with pytest.raises(error, match=text):
        save_model(model, tmp_path / "model.h5")
    assert not list(tmp_path.iterdir())


def test_a_value_that_holds_itself_is_refused(tmp_path):
    """Endless nesting is an error, not a crash."""
    endless = []
    endless.append(endless)
    with pytest.raises(InputError, match=r"endless_.* is nested more than 40 levels deep"):
        save_model(by_hand(endless_=endless), tmp_path / "model.h5")


def test_overwriting_and_folders(tmp_path):
    """A file is replaced unless that is refused; a folder that is missing is named."""
    path = tmp_path / "model.h5"
    save_model(by_hand(), path)
    save_model(by_hand(coef_=np.zeros((1, 2))), path)
    assert load_model(path).coef_.shape == (1, 2)
    with pytest.raises(InputError, match="exists and overwrite=False; choose another name or overwrite=True"):
        save_model(by_hand(), path, overwrite=False)
    with pytest.raises(DataNotFoundError, match="no"):
        save_model(by_hand(), tmp_path / "no" / "model.h5")


class Blocks:
    """An array in a file that counts how much of it is read at once."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.most = values, values.shape, values.dtype, 0

    shape = dtype = None

    def __getitem__(self, key):
        block = self.values[key]
        self.most = max(self.most, block.nbytes)
        return block


def test_arrays_in_files_are_copied_block_by_block(tmp_path):
    """Weights in an HDF5 file are saved without being read whole; a file that was closed is named."""
    with h5py.File(tmp_path / "out.h5", "w") as file:
        model = by_hand(coef_=file.create_dataset("coef", data=COEF, chunks=(100, 250)))
        save_model(model, tmp_path / "model.h5")
    np.testing.assert_array_equal(load_model(tmp_path / "model.h5").coef_, COEF)
    with pytest.raises(
        InputError, match="coef_ lies in a file that has been closed .*; save the model while it"
    ):
        save_model(model, tmp_path / "again.h5")
    blocks = Blocks(np.ones((100_000, 60), np.float32))
    save_model(by_hand(coef_=blocks), tmp_path / "blocks.h5")
    assert blocks.most < 2**21
    assert load_model(tmp_path / "blocks.h5").coef_.all()


MEMORY = """
import sys, time, numpy as np
from brainalign.regression import RidgeCV
from brainalign.regression.model_files import load_model, save_model

def megabytes(field):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(field)) / 1024

def measured(work):
    start = megabytes("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    result = work()
    return result, megabytes("VmHWM") - start

model = RidgeCV()
model.coef_ = np.ones((2, 2), np.float32)
save_model(model, sys.argv[1])
load_model(sys.argv[1], dtype="float64")
model.coef_ = np.random.default_rng(0).standard_normal((100_000, 200), dtype=np.float32)
_, saving = measured(lambda: save_model(model, sys.argv[1]))
loaded, loading = measured(lambda: load_model(sys.argv[1]))
assert (loaded.coef_ == model.coef_).all()
wider, converting = measured(lambda: load_model(sys.argv[1], dtype="float64"))
print(saving, loading - loaded.coef_.nbytes / 2**20, converting - wider.coef_.nbytes / 2**20)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs the counters of Linux")
def test_peak_memory_of_a_hundred_thousand_targets(tmp_path):
    """Saving and loading 100,000 targets of 200 features takes at most 64 MB beyond the arrays."""
    path = tmp_path / "model.h5"
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert max(map(float, done.stdout.split())) < 64
    assert path.stat().st_size < 100_000 * 200 * 4 * 1.01


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "model.h5"
    save_model(by_hand(coef_=COEF), path)
    return path


def test_every_damaged_byte_is_found(written):
    """A flipped byte anywhere, or a file cut anywhere, is found; weights are named with their rows."""
    content = written.read_bytes()
    rng = np.random.default_rng(0)
    for at in [*rng.integers(0, len(content), 60), 5, len(content) - 1]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        written.write_bytes(damaged)
        with pytest.raises(CorruptFileError):
            load_model(written)
    inside = content.index(COEF[:1, :8].tobytes())
    written.write_bytes(content[:inside] + b"!" + content[inside + 1 :])
    with pytest.raises(CorruptFileError, match="the array 'coef_' is damaged in rows 0 to"):
        load_model(written)
    for size in (0, 100, 600, len(content) // 2, len(content) - 1):
        written.write_bytes(content[:size])
        with pytest.raises(CorruptFileError):
            load_model(written)


class Runs:
    """What a pickle could do."""

    def __reduce__(self):
        return (os.mkdir, (os.environ["CANARY"],))


def test_other_files_are_refused(tmp_path, monkeypatch):
    """A pickle runs nothing; responses are no model; a missing file is said to be missing."""
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(CorruptFileError, match="is a Python pickle, which can run code when opened"):
        load_model(tmp_path / "model.pkl")
    assert not (tmp_path / "canary").exists()
    save(Responses(np.eye(3), info={"design": "trials"}), tmp_path / "responses.h5")
    with pytest.raises(InputError, match="holds Responses, not a fitted model; read it with brainalign.load"):
        load_model(tmp_path / "responses.h5")
    with pytest.raises(DataNotFoundError, match="does not exist"):
        load_model(tmp_path / "none.h5")
    save_model(by_hand(), tmp_path / "model.h5")
    with pytest.raises(CorruptFileError):
        load(tmp_path / "model.h5")


def forged(path, *, schema=1, text=None, **model):
    """Write a file whose checksums fit and whose description is the forger's."""
    node = {"is": "model", "class": "RidgeCV", "parameters": {}, "not_stored": {}, "attributes": {}} | model
    info = {"device": None, "dtype": None, "versions": {}}
    text = text or json.dumps({"schema": schema, "kind": KIND, "model": node, "info": info})
    write_container(path, KIND, {"brainalign": np.array([text.encode()]), "x": np.arange(3.0)})
    return path


def test_a_forged_description_that_is_valid_is_read(tmp_path):
    """The forger of the next test gets through with a valid description."""
    value = {"is": "array", "name": "x"}
    assert load_model(forged(tmp_path / "m.h5", attributes={"coef_": value})).coef_.tolist() == [0, 1, 2]


def test_a_record_of_another_version_is_a_mapping(tmp_path):
    """A plan whose fields this version does not have comes back with them, as a dict."""
    node = {"is": "record", "class": "Plan", "entries": [["path", "later"]]}
    assert load_model(forged(tmp_path / "m.h5", attributes={"plan_": node})).plan_ == {"path": "later"}


SPLIT = {"is": "splitter", "class": "GridSearchCV", "entries": []}
FORGED = [
    (
        {"class": "os.system"},
        InputError,
        "the model 'os.system', written by .* does not know; update brainalign",
    ),
    ({"class": "smoother_matrices"}, InputError, "the model 'smoother_matrices'"),
    ({"parameters": {"later": 1}}, InputError, "RidgeCV with the parameters later, written by"),
    ({"not_stored": {"later": "x"}}, InputError, "RidgeCV with the parameters later"),
    (
        {"schema": 2},
        InputError,
        "has schema 2 of models, written by brainalign .*: update brainalign to read it",
    ),
    ({"attributes": {"predict": 1}}, CorruptFileError, "'predict' is no name of a fitted attribute"),
    ({"attributes": {"__class__": 1}}, CorruptFileError, "'__class__' is no name of a fitted attribute"),
    ({"parameters": {"cv": SPLIT}}, CorruptFileError, "'GridSearchCV' is no splitter that is stored"),
    ({"attributes": {"a_": {"is": "record", "class": "Path", "entries": []}}}, CorruptFileError, "KeyError"),
    ({"parameters": {"cv": {"is": "code"}}}, CorruptFileError, "does not make a model: KeyError"),
    (
        {"attributes": {"a_": {"is": "array", "name": "y"}}},
        CorruptFileError,
        "does not make a model: KeyError",
    ),
    (
        {"attributes": {"a_": {"is": "numpy", "dtype": "O", "value": 1}}},
        CorruptFileError,
        "a_ has dtype object",
    ),
    ({"attributes": {"a_": {"is": "slice", "entries": [1] * 9}}}, CorruptFileError, "TypeError"),
    ({"attributes": {"a_": {"is": "mapping", "entries": [[[], 1]]}}}, CorruptFileError, "TypeError"),
    ({"attributes": 3}, CorruptFileError, "AttributeError"),
    ({"text": "[" * 100_000}, CorruptFileError, "RecursionError"),
    ({"text": "[]"}, CorruptFileError, "TypeError"),
    ({"text": "{"}, CorruptFileError, "JSONDecodeError"),
]


@pytest.mark.parametrize(("forgery", "error", "text"), FORGED)
def test_forged_descriptions_are_refused(tmp_path, forgery, error, text):
    """With checksums that fit, no class but the four is made, no attribute is replaced, nothing is called."""
    with pytest.raises(error, match=text):
        load_model(forged(tmp_path / "model.h5", **forgery))
