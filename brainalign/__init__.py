"""brainalign: encoding models and representational comparison of brains and networks.

Public names are resolved on first use (PEP 562): importing the package loads the
standard library only.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Dataset": "brainalign.types",
    "NoiseCeiling": "brainalign.types",
    "RDMs": "brainalign.types",
    "Responses": "brainalign.types",
    "Scores": "brainalign.types",
    "Stimuli": "brainalign.types",
    "compare": "brainalign.comparison",
    "extract_features": "brainalign.features",
    "fit_encoding": "brainalign.encoding",
    "load": "brainalign.storage",
    "permutation_test": "brainalign.comparison",
    "save": "brainalign.storage",
    "write_report": "brainalign.report",
}
_MODULES = (
    "comparison",
    "design",
    "encoding",
    "errors",
    "features",
    "metrics",
    "regression",
    "report",
    "simulate",
    "statistics",
    "storage",
    "study",
    "types",
)

__all__ = sorted([*_PUBLIC, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return import_module(f"brainalign.{name}")
    raise AttributeError(f"module 'brainalign' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
