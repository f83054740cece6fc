"""The examples in the documentation run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import brainalign
import data_loaders


def modules():
    for package in (brainalign, data_loaders):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield found.name


@pytest.mark.parametrize("name", list(modules()))
def test_examples_of_docstrings(name, tmp_path, monkeypatch):
    """Every example of the module gives the output that stands beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
