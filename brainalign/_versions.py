"""Versions of what computes a result, for its record."""

from __future__ import annotations

import importlib.metadata
from functools import cache

_PACKAGES = ("brainalign", "numpy", "torch", "scikit-learn", "scipy", "pandas")


def versions() -> dict[str, str]:
    """Versions of what computes the scores; read once, as the files of a package do not change in a run."""
    return dict(_read())


@cache
def _read() -> tuple[tuple[str, str], ...]:
    out = {}
    for name in _PACKAGES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # running from a source tree
            out[name] = "unknown"
    return tuple(out.items())
