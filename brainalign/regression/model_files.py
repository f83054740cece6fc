"""Fitted models in one HDF5 file each: checksummed, never pickled, for any device and dtype.

A file is also plain HDF5; without brainalign it is read in two lines::

    import h5py
    coef, intercept = (h5py.File("model.h5")[name][...] for name in ("coef_", "intercept_"))
"""

from __future__ import annotations

import json
import os
import platform
import warnings
from typing import Any

import h5py
import numpy as np
import sklearn
import torch
from sklearn.utils.validation import check_is_fitted

from brainalign import __version__
from brainalign._arrays import resolve_device
from brainalign.errors import BrainAlignError, CorruptFileError, InputError
from brainalign.regression._model_reading import Reading, decode_model
from brainalign.regression._model_writing import MODELS, ORIGIN, Written, encode_model, is_model
from brainalign.storage._container import Container, open_container
from brainalign.storage._write import write_container

KIND = "Model"
SCHEMA = 1
DTYPES = ("float16", "float32", "float64")
_TREE = "brainalign"


class SavedModel:
    """Gives an estimator `save`."""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Write the fitted model to one HDF5 file, whole or not at all; `load_model` reads it.

        Parameters, errors and costs are those of `brainalign.regression.save_model`.
        """
        save_model(self, path, overwrite=overwrite)


def save_model(model: Any, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write a fitted model to one HDF5 file, whole or not at all.

    Parameters
    ----------
    model : fitted RidgeCV, KernelRidgeCV, BandedRidgeCV or StackedRegression
        Its attributes may be numpy arrays, torch tensors on any device, or arrays in a
        file that is open (as given as ``out=``), which are copied block by block.
    path : path of the file; its folder must exist
    overwrite : bool
        False refuses a path at which there is a file.

    Raises
    ------
    InputError
        `model` is none of these classes (a subclass is not one of them), an attribute
        cannot be stored (it is named), or `path` exists and `overwrite` is False.
    NotFittedError
        `model` has not been fitted (scikit-learn's error, a ValueError).
    DataNotFoundError
        The folder of `path` does not exist.
    WriteError
        The disk is full, fails or is read-only; a file that was at `path` is unchanged.

    Notes
    -----
    Stored are the class, the parameters of the constructor, every fitted attribute (its
    name ends in an underscore) and the versions of the libraries. scikit-learn's own
    splitters (`KFold` and the like) and lists of folds are stored too; what no file can
    hold (a callable kernel, another splitter) is stored as text: see `load_model`.
    Equal content gives equal bytes (with one release of HDF5).

    Cost: about the speed of one sha256 plus the disk (100,000 targets of 200 float32
    features, 80 MB: under 1 s). Memory: at most 64 MB beyond the model.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from brainalign.regression import RidgeCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((30, 4)); Y = X[:, :2] + rng.standard_normal((30, 2))
    >>> model = RidgeCV().fit(X, Y)
    >>> path = Path(tempfile.mkdtemp()) / "model.h5"
    >>> save_model(model, path)
    >>> bool((load_model(path).predict(X) == model.predict(X)).all())
    True
    """
    if not is_model(model):
        raise InputError(
            f"a {type(model).__module__}.{type(model).__qualname__} cannot be saved as a model; expected one "
            f"of brainalign.regression: {', '.join(MODELS)}"
        )
    check_is_fitted(
        model, msg="This %(name)s is not fitted, so there is nothing to save; call fit(X, Y) first"
    )
    if not overwrite and os.path.lexists(path):
        raise InputError(f"{path} exists and overwrite=False; choose another name or overwrite=True")
    written = Written()
    description = {"schema": SCHEMA, "kind": KIND, "model": encode_model(written, model)}
    description["info"] = {"dtype": written.dtype, "device": written.device, "versions": _versions()}
    text = json.dumps(description).encode("ascii")
    write_container(path, KIND, {_TREE: np.array([text]), **written.parts.arrays})


def load_model(
    path: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    dtype: str | np.dtype[Any] | type | torch.dtype | None = None,
) -> Any:
    """Read a model that `save` wrote; every byte is compared with its sha256, no code is run.

    Parameters
    ----------
    path : path of a file written by `model.save`
    device : None, ``"cpu"``, ``"cuda"``, ``"cuda:N"``, ``"auto"`` or torch.device
        None: numpy arrays, whatever the model was fitted on. A device: torch tensors on it
        (what was a tensor when the model was saved; every floating array of a model that
        was fitted on numpy).
    dtype : None or float16, float32, float64 (name, numpy or torch)
        Converts the floating arrays that predictions are made of; None keeps them as they
        were. Penalties and scores (`alphas_`, `best_alphas_`, `cv_scores_` ...) keep theirs.

    Returns
    -------
    The estimator. With device None or the one it was saved from and dtype None, its
    predictions are those of the saved model, bit for bit. `loaded_from_` is a dict: `path`,
    `dtype` and `device` (of the model when it was saved; device None: numpy), `versions`,
    and `not_stored` {parameter: what it was}; fitting again leaves it. The parameter
    `device` names the device given; of a model from a GPU loaded without one it is
    ``"auto"``.

    Warns
    -----
    UserWarning
        A parameter could not be stored: it is None now, and what it was stands in the
        warning and in ``loaded_from_["not_stored"]``. Set it again with `set_params`
        (a callable kernel before `predict`, a splitter before `fit`).

    Raises
    ------
    DataNotFoundError
        There is no file.
    CorruptFileError
        The file is damaged, truncated, or is no file of brainalign; says where and how.
    InputError
        The file holds something else than a model, or a model of a newer version; `dtype`
        is none of the three, or too narrow for a value; `path` is a folder.
    DeviceError
        The device is not there.

    Notes
    -----
    Cost: one sha256 over the file. Memory: the model plus 64 MB, with `dtype` too.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from brainalign.regression import RidgeCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((30, 4)); Y = X[:, :2] + rng.standard_normal((30, 2))
    >>> path = Path(tempfile.mkdtemp()) / "model.h5"
    >>> save_model(RidgeCV().fit(X, Y), path)
    >>> model = load_model(path, dtype="float32")
    >>> model.coef_.dtype, model.best_alphas_.dtype, model.loaded_from_["dtype"]
    (dtype('float32'), dtype('float64'), 'float64')
    """
    target = _dtype(dtype)
    place = None if device is None else resolve_device(device)
    container = open_container(path)
    if container.header.kind != KIND:
        raise InputError(
            f"{container.path} holds {container.header.kind}, not a fitted model; read it with "
            "brainalign.load"
        )
    try:
        description = json.loads(container.read(_TREE)[0])
        if description["schema"] > SCHEMA:
            raise InputError(
                f"{container.path} has schema {description['schema']} of models, written by brainalign "
                f"{container.header.version}; this is {__version__}: update brainalign to read it"
            )
        info = description["info"]
        reading = Reading(container, place, target, info["device"] is not None)
        model = decode_model(reading, description["model"])
        vars(model)[ORIGIN] |= {"path": str(container.path), **info}
    except (CorruptFileError, InputError):
        raise
    except (
        BrainAlignError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        RecursionError,
    ) as error:
        raise CorruptFileError(f"{container.path}: its content does not make a model: {error!r}") from error
    if reading.not_stored:
        _warn(type(model).__name__, container, reading.not_stored)
    return model


def _warn(name: str, container: Container, not_stored: dict[str, str]) -> None:
    lost = "; ".join(f"{parameter} was {text}" for parameter, text in not_stored.items())
    warnings.warn(
        f"{container.path}: a file cannot hold these parameters of {name}, which are None now: {lost}. Set "
        "them again with set_params before they are used",
        UserWarning,
        stacklevel=3,
    )


def _dtype(dtype: Any) -> np.dtype[Any] | None:
    if dtype is None:
        return None
    name = str(dtype).removeprefix("torch.")
    if not isinstance(dtype, (str, torch.dtype)):
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = repr(dtype)
    if name not in DTYPES:
        raise InputError(f"dtype={name!r} is not one of {', '.join(DTYPES)}, or None (as it was saved)")
    return np.dtype(name)


def _versions() -> dict[str, str]:
    return {
        "brainalign": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
        "scikit-learn": sklearn.__version__,
        "h5py": h5py.__version__,
    }
