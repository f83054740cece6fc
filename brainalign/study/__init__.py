"""A study file: from a dataset and models to scores, results and a report."""

from brainalign.study.settings import Study, read_study

__all__ = ["Study", "read_study", "run_study"]


def __getattr__(name: str) -> object:
    # reading a study needs no torch; running one does
    if name == "run_study":
        from brainalign.study.run import run_study

        return run_study
    raise AttributeError(f"module 'brainalign.study' has no attribute {name!r}")
