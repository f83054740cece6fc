"""RDMs over different stimuli brought to one stimulus axis by id."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from brainalign._checks import one_of
from brainalign.errors import AlignmentError, InputError
from brainalign.types import RDMs

JOINS = ("same", "intersection", "union")
MIN_SHARED = 3
_SHOWN = 5


def join_rdms(*rdms: RDMs, join: str = "same", names: tuple[str, ...] | None = None) -> tuple[RDMs, ...]:
    """Return the RDMs over one stimulus axis, joined by `stimulus_id`.

    Parameters
    ----------
    *rdms : RDMs (k_i, n_i, n_i), at least one
    join : ``"same"``, ``"intersection"`` or ``"union"``
        ``"same"``: every stimulus must be in all of them. ``"intersection"``: the stimuli that
        are in all of them. ``"union"``: the stimuli of any; pairs that an RDM does not have are
        NaN, its diagonal is 0.
    names : what the arguments are called in an error; ``("d1", "d2", ...)`` by default

    Returns
    -------
    tuple of RDMs over the same stimuli in the same order, that of their first appearance.
    Tables are kept; ``info["join"]`` says what was done when the stimuli were not the same,
    ``info["n_left_out"]`` how many stimuli of this one were left out.

    Raises
    ------
    InputError
        Not RDMs; another `join`.
    AlignmentError
        ``"same"``: a stimulus without a partner (listed). ``"intersection"``: fewer than 3
        stimuli are shared.

    Notes
    -----
    Cost: O(k n^2) time and memory.

    Examples
    --------
    >>> import numpy as np
    >>> square = 1.0 - np.eye(4)
    >>> a, b = RDMs(square, ["w", "x", "y", "z"]), RDMs(square, ["z", "y", "x", "new"])
    >>> [str(s) for s in join_rdms(a, b, join="intersection")[1].stimulus_id]
    ['x', 'y', 'z']
    >>> join_rdms(a, b, join="union")[0].values.shape
    (1, 5, 5)
    """
    one_of("join", join, JOINS)
    shown = names or tuple(f"d{i + 1}" for i in range(len(rdms)))
    for name, one in zip(shown, rdms, strict=True):
        if not isinstance(one, RDMs):
            raise InputError(
                f"{name} is {type(one).__name__}; a join by stimulus_id needs RDMs: "
                "brainalign.types.RDMs(values, stimulus_id)"
            )
    held = [set(one.stimulus_id) for one in rdms]
    axis = list(dict.fromkeys(s for one in rdms for s in one.stimulus_id))
    shared = [s for s in axis if all(s in ids for ids in held)]
    if len(shared) == len(axis):
        return tuple(_placed(one, axis) for one in rdms)
    if join == "same":
        raise AlignmentError(_partners(shown, rdms, set(shared)))
    if join == "intersection" and len(shared) < MIN_SHARED:
        raise AlignmentError(
            f"{', '.join(shown)} share {len(shared)} stimuli; a comparison needs at least {MIN_SHARED}. "
            "Check that their stimulus_id mean the same"
        )
    chosen = shared if join == "intersection" else axis
    return tuple(
        replace(out, info={**one.info, "join": join, "n_left_out": len(one.stimulus_id) - _kept(one, chosen)})
        for one, out in ((one, _placed(one, chosen)) for one in rdms)
    )


def _kept(rdms: RDMs, axis: list[str]) -> int:
    return len(set(axis) & set(rdms.stimulus_id))


def _placed(rdms: RDMs, axis: list[str]) -> RDMs:
    """The RDMs over the stimuli of `axis`; NaN for pairs that they do not have."""
    position = {s: i for i, s in enumerate(rdms.stimulus_id)}
    index = np.array([position.get(s, -1) for s in axis])
    known = index >= 0
    values = rdms.values[:, index][:, :, index]  # a copy: -1 takes the last and is overwritten
    values[:, ~known, :] = np.nan
    values[:, :, ~known] = np.nan
    absent = np.flatnonzero(~known)
    values[:, absent, absent] = 0.0
    return replace(rdms, values=values, stimulus_id=np.array(axis, dtype=object))


def _partners(names: tuple[str, ...], rdms: tuple[RDMs, ...], shared: set[str]) -> str:
    """Say which stimuli have no partner in every other RDM."""
    parts = []
    for name, one in zip(names, rdms, strict=True):
        alone = [s for s in one.stimulus_id if s not in shared]
        if alone:
            listed = ", ".join(map(repr, alone[:_SHOWN])) + (" ..." if len(alone) > _SHOWN else "")
            parts.append(
                f"{len(alone)} of {len(one.stimulus_id)} stimuli of {name} have no partner: {listed}"
            )
    return "; ".join(parts) + (
        '. Give join="intersection" or join="union" (join_rdms does it for functions without join), or '
        "select the shared stimuli first"
    )
