"""Errors for names that do not exist, with the closest that do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from brainalign.errors import UnknownNameError


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not among the `valid` ones."""
    names = sorted(str(v) for v in valid)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; closest: {near[0]!r}" if near else ""
    return UnknownNameError(f"{kind}: {name!r} does not exist{hint}; there are: {', '.join(names) or 'none'}")
