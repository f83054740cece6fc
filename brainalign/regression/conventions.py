"""Penalties of other packages in the units of this one, and back.

Here a penalty is the alpha of ``sum_i w_i |y_i - x_i B - b|^2 + alpha |B|^2``, as in
scikit-learn. Other packages square it, scale it by the features, divide the loss by the
number of samples, or name the length of the weights instead; the same number then means
another model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from brainalign._checks import lookup
from brainalign._linalg import full_precision
from brainalign.errors import InputError, ShapeError
from brainalign.regression._fractions import fraction_of, penalty_of_fraction
from brainalign.regression._penalty_input import (
    Floats,
    Problem,
    kind_of,
    read_penalties,
    read_problem,
    read_tensor,
    returned,
)

Conversion = Callable[[torch.Tensor, Problem], torch.Tensor]


@dataclass(frozen=True)
class Convention:
    """How one package names a penalty.

    Attributes: `about` the meaning in words; `to_alpha` and `from_alpha` the two
    directions; `needs` the arrays without which they are not defined.
    """

    about: str
    to_alpha: Conversion
    from_alpha: Conversion
    needs: tuple[str, ...] = ()


def _same(penalty: torch.Tensor, problem: Problem) -> torch.Tensor:
    return penalty


_IDENTITY = Convention("alpha itself: |y - XB|^2 + alpha |B|^2", _same, _same)
_TIMES_LARGEST = Convention(
    "alpha = (penalty * largest singular value of X)^2",
    lambda penalty, problem: (penalty * problem.largest_singular_value()).square(),
    lambda alpha, problem: alpha.sqrt() / problem.largest_singular_value(),
    ("X",),
)

CONVENTIONS: dict[str, Convention] = {
    "scikit-learn": _IDENTITY,
    "himalaya": _IDENTITY,
    "huth": Convention(
        "alpha = penalty^2", lambda penalty, _: penalty.square(), lambda alpha, _: alpha.sqrt()
    ),
    "huth_normalpha": _TIMES_LARGEST,
    "litcoder": _TIMES_LARGEST,
    "fracridge": Convention(
        "penalty = length of the weights over their length without penalty, per target",
        lambda fraction, problem: _per_target(penalty_of_fraction, fraction, problem),
        lambda alpha, problem: _per_target(fraction_of, alpha, problem),
        ("X", "Y"),
    ),
    "mean_loss": Convention(
        "alpha = penalty * n: |y - XB|^2 / n + penalty |B|^2, the loss averaged over samples",
        lambda penalty, problem: penalty * problem.n,
        lambda alpha, problem: alpha / problem.n,
        ("X",),
    ),
    "relative": Convention(
        'alpha = penalty * trace(K) / n, the unit of alphas="auto"',
        lambda penalty, problem: penalty * problem.mean_squared_norm(),
        lambda alpha, problem: alpha / problem.mean_squared_norm(),
        ("X",),
    ),
}


def to_alpha(
    penalty: Floats,
    convention: str,
    *,
    X: Any = None,
    Y: Any = None,
    sample_weight: Any = None,
    fit_intercept: bool = True,
) -> Floats:
    """Turn the penalty of another package into the alpha that gives the same weights here.

    ========================  =======================================================  =======
    convention                alpha                                                    needs
    ========================  =======================================================  =======
    ``"scikit-learn"``        the same number
    ``"himalaya"``            the same number (bands: `from_deltas`)
    ``"huth"``                penalty^2 (deep-fMRI-dataset, encoding-model-scaling-laws)
    ``"huth_normalpha"``      (penalty * largest singular value of X)^2                X
    ``"litcoder"``            the same: its ``normalpha`` is on by default             X
    ``"fracridge"``           solved per target from the fraction                      X, Y
    ``"mean_loss"``           penalty * n (loss averaged over samples, weight decay)   X
    ``"relative"``            penalty * trace(K) / n, the unit of ``alphas="auto"``    X
    ========================  =======================================================  =======

    Parameters
    ----------
    penalty : float or array, not negative
        NaN stays NaN (a target without a fit). For ``"fracridge"`` the fraction, 0 to 1,
        of shape (), (n_targets,) or (n_fractions, 1) (with 1-D `Y` any shape).
    convention : name in `CONVENTIONS`
    X : (n_samples, n_features), the training rows of the fit that the penalty was given to
        Huth-lab code and LITcoder take the singular value of the rows of each fit, so in
        their cross-validation one penalty is another alpha in each fold.
    Y : (n_samples, n_targets) or (n_samples,)
    sample_weight : (n_samples,), not negative, as in `RidgeCV.fit`
    fit_intercept : bool
        True: columns are centred first, as `RidgeCV` does. Huth-lab code, LITcoder and
        fracridge (by default) fit no intercept: with features that are not z-scored, give
        False here and to `RidgeCV`.

    Returns
    -------
    float or array of the kind that went in (numpy, or torch on its device), float64, of the
    shape of `penalty` (``"fracridge"``: broadcast against (n_targets,)). A fraction of 1 is
    alpha 0, a fraction of 0 is infinite; NaN for a target that is not finite or has no
    weights (constant, or orthogonal to X).

    Raises
    ------
    UnknownNameError
        `convention` is none of the names.
    InputError
        A penalty is negative (a fraction above 1) or no number; X or Y is needed and
        missing; X holds NaN or has no variance; a weight is negative.
    ShapeError
        X, Y, weights and penalties do not fit together.

    Notes
    -----
    Cost: nothing, except n p min(n, p) where X is needed. ``"fracridge"`` (Rokem & Kay 2020,
    DOI 10.1093/gigascience/giaa133) takes one singular value decomposition, 2 n min(n, p) t
    and about 6 steps of 20 min(n, p) t per fraction. Its authors interpolate alpha on a grid
    of fifths of a decade; here the equation is solved to rounding, so that alphas agree with
    theirs to about 2 %, and fractions with the definition to 1e-12. Memory: X twice in
    float64, and 128 MB; Y may lie in a file.

    Examples
    --------
    >>> import numpy as np
    >>> to_alpha(10.0, "huth")
    100.0
    >>> X = np.diag([3.0, 4.0])
    >>> round(to_alpha(0.5, "litcoder", X=X, fit_intercept=False), 12)
    4.0
    """
    return _convert("to_alpha", penalty, convention, X, Y, sample_weight, fit_intercept)


def from_alpha(
    alpha: Floats,
    convention: str,
    *,
    X: Any = None,
    Y: Any = None,
    sample_weight: Any = None,
    fit_intercept: bool = True,
) -> Floats:
    """Turn an alpha of this package into the penalty that gives the same weights elsewhere.

    The inverse of `to_alpha`, with the same parameters and errors. For ``"fracridge"`` an
    alpha per target (`best_alphas_`) gives a fraction per target.

    Parameters
    ----------
    alpha : float or array, not negative; NaN stays NaN
    convention, X, Y, sample_weight, fit_intercept : as `to_alpha`

    Returns
    -------
    float or array, float64, of the shape of `alpha` (``"fracridge"``: broadcast against
    (n_targets,))

    Raises
    ------
    UnknownNameError, InputError, ShapeError
        As `to_alpha`.

    Examples
    --------
    >>> import numpy as np
    >>> from_alpha(np.array([1.0, 100.0]), "huth")
    array([ 1., 10.])
    """
    return _convert("from_alpha", alpha, convention, X, Y, sample_weight, fit_intercept)


def to_deltas(alpha: Floats, band_weights: Floats) -> Floats:
    """Log of band weight over alpha: the `deltas_` of himalaya's banded and multiple-kernel models.

    Parameters
    ----------
    alpha : float or (n_targets,), positive
    band_weights : (n_bands,) or (n_bands, n_targets), not negative

    Returns
    -------
    (n_bands,) or (n_bands, n_targets), float64; -inf where a band has weight 0, NaN where
    the alpha or the weight is NaN

    Raises
    ------
    InputError
        An alpha is not positive or a weight is negative.
    ShapeError
        There is not one alpha per column of `band_weights`.

    Notes
    -----
    There the kernel of a target is ``sum_j exp(delta_j) K_j`` with penalty 1 (Dupré la Tour
    et al. 2022, DOI 10.1016/j.neuroimage.2022.119728).

    Examples
    --------
    >>> import numpy as np
    >>> to_deltas(2.0, np.array([0.5, 0.5])).round(4)
    array([-1.3863, -1.3863])
    """
    like = kind_of(alpha, band_weights)
    a, w = read_penalties("alpha", alpha, like), read_penalties("band_weights", band_weights, like)
    if bool((a == 0).any()):
        raise InputError(
            "alpha is 0; deltas are the log of band weight over alpha: expected positive penalties"
        )
    if w.ndim not in (1, 2) or a.ndim > 1 or (a.ndim == 1 and tuple(w.shape[1:]) != tuple(a.shape)):
        raise ShapeError(
            f"alpha has shape {tuple(a.shape)} and band_weights {tuple(w.shape)}; expected (n_targets,) and "
            "(n_bands, n_targets), or one alpha for all"
        )
    return returned(w.log() - a.log(), like)


def from_deltas(deltas: Floats) -> tuple[Floats, Floats]:
    """Return (alpha, band_weights) for himalaya's `deltas_`, with band weights that sum to 1.

    Parameters
    ----------
    deltas : (n_bands,) or (n_bands, n_targets)

    Returns
    -------
    alpha : float or (n_targets,); band_weights : shape of `deltas`; both float64

    Raises
    ------
    InputError
        A delta is +inf, or all deltas of a target are -inf (every band off).
    ShapeError
        `deltas` has another number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> alpha, weights = from_deltas(np.log([0.1, 0.3]))
    >>> round(alpha, 12), weights.round(12).tolist()
    (2.5, [0.25, 0.75])
    """
    like = kind_of(deltas)
    d = read_tensor("deltas", deltas, like)
    if d.ndim not in (1, 2) or not d.shape[0]:
        raise ShapeError(f"deltas has shape {tuple(d.shape)}; expected (n_bands,) or (n_bands, n_targets)")
    off = torch.isneginf(d).all(0)
    if bool(off.any()) or bool(torch.isposinf(d).any()):
        column = int(torch.nonzero((off | torch.isposinf(d).any(0)).reshape(-1))[0, 0])
        raise InputError(
            f"deltas of target {column} are all -inf or hold +inf; expected a finite one per target"
        )
    total = torch.logsumexp(d, dim=0)
    return returned((-total).exp(), like), returned((d - total).exp(), like)


def _convert(
    direction: str,
    penalty: Floats,
    convention: str,
    X: Any,
    Y: Any,
    sample_weight: Any,
    fit_intercept: bool,
) -> Floats:
    if not isinstance(convention, str):
        raise InputError(
            f"convention is a {type(convention).__name__}; expected one of {', '.join(CONVENTIONS)}"
        )
    found: Convention = lookup("convention", convention, CONVENTIONS)
    given = {"X": X, "Y": Y}
    for name in found.needs:
        if given[name] is None:
            raise InputError(f"convention {convention!r} needs {name}: {found.about}; give {name}=")
    like = kind_of(penalty, X, Y)
    values = read_penalties("penalty" if direction == "to_alpha" else "alpha", penalty, like)
    with full_precision():
        problem = None
        if found.needs:
            Y = Y if "Y" in found.needs else None
            problem = read_problem(X, Y, sample_weight, fit_intercept, like.device)
        return returned(getattr(found, direction)(values, problem), like)


def _per_target(
    solve: Callable[[torch.Tensor, Problem], torch.Tensor], values: torch.Tensor, problem: Problem
) -> torch.Tensor:
    if problem.one_d:
        return solve(values[..., None], problem)[..., 0]
    t = problem.n_targets
    try:
        np.broadcast_shapes(tuple(values.shape), (t,))
    except ValueError:
        raise ShapeError(
            f"the penalty has shape {tuple(values.shape)} and Y has {t} targets; expected a number, ({t},) "
            "or (n_penalties, 1)"
        ) from None
    return solve(values, problem)
