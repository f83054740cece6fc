"""What all tests of this folder share."""

import pytest

from brainalign.regression import _eigen_path


@pytest.fixture(autouse=True)
def as_large_problems(monkeypatch):
    """The spectrum is cut into stretches as for many targets, though the problems of tests are small."""
    monkeypatch.setattr(_eigen_path, "_SMALL", 0.0)
