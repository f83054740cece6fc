"""What is installed and in which version, read from the metadata of the packages: nothing is imported."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import brainalign


@dataclass(frozen=True)
class Package:
    """One package: `version` "" where it is absent; `needed` as in ``>=2.1``; `state` is
    "ok", "missing" or "too old".
    """

    name: str
    version: str
    needed: str
    state: str

    @property
    def pip_name(self) -> str:
        """The package as pip is asked for it."""
        return f"{self.name}{self.needed}"


@dataclass(frozen=True)
class Extra:
    """A group of optional packages: those that are not as they should be, and the command for them."""

    name: str
    missing: list[str]
    command: str

    @property
    def installed(self) -> bool:
        """Whether all of its packages are there."""
        return not self.missing


@dataclass(frozen=True)
class Installation:
    """Versions of Python, brainalign and what it needs; `known` is False for a bare source tree."""

    brainalign: str
    python: str
    system: str
    known: bool
    packages: list[Package] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)


def read_installation() -> Installation:
    """Read the metadata of brainalign and of every package that it names.

    Examples
    --------
    >>> {p.name: p.state for p in read_installation().packages}["numpy"]
    'ok'
    """
    system = f"{platform.system()} {platform.machine()}"
    try:
        own = importlib.metadata.distribution("brainalign")
    except importlib.metadata.PackageNotFoundError:
        return Installation(brainalign.__version__, platform.python_version(), system, False)
    requirements = [Requirement(text) for text in own.requires or []]
    names = own.metadata.get_all("Provides-Extra") or []
    return Installation(
        brainalign.__version__,
        platform.python_version(),
        system,
        True,
        [_package(r) for r in _needed_for(requirements, "")],
        [_extra(name, requirements) for name in names],
    )


def _needed_for(requirements: Iterable[Requirement], extra: str) -> list[Requirement]:
    """Requirements that hold here for an extra, or (``""``) for brainalign itself."""
    return [
        r
        for r in requirements
        if ("extra" in str(r.marker or "")) == bool(extra)
        and (r.marker is None or r.marker.evaluate({"extra": extra}))
    ]


def _extra(name: str, requirements: list[Requirement]) -> Extra:
    packages = [_package(r) for r in _of_extra(name, requirements, set())]
    missing = [p.name if p.state == "missing" else f"{p.name} (too old)" for p in packages if p.state != "ok"]
    return Extra(name, missing, f"pip install 'brainalign[{name}]'")


def _of_extra(name: str, requirements: list[Requirement], seen: set[str]) -> list[Requirement]:
    """Requirements of an extra; one that names other extras of brainalign brings theirs."""
    if name in seen:
        return []
    seen.add(name)
    out = []
    for requirement in _needed_for(requirements, name):
        if canonicalize_name(requirement.name) == "brainalign":
            for other in sorted(requirement.extras):
                out += _of_extra(other, requirements, seen)
        else:
            out.append(requirement)
    return out


def _package(requirement: Requirement) -> Package:
    needed = str(requirement.specifier)
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Package(requirement.name, "", needed, "missing")
    fits = requirement.specifier.contains(version, prereleases=True)
    return Package(requirement.name, version, needed, "ok" if fits else "too old")
