"""The one place where the optional package of optimal transport is imported."""

from __future__ import annotations

from types import ModuleType

from brainalign._checks import optional_import


def transport_package() -> ModuleType:
    """The package POT; a MissingDependencyError names the extra that brings it."""
    return optional_import("ot", "transport", "optimal transport")
