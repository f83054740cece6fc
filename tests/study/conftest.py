"""A small study in a folder of its own."""

from __future__ import annotations

import pytest
from study_cases import STUDY, make_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Activations of a test stay in its own folder."""
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def study_file(tmp_path):
    """A study file on a small folder of images and responses."""
    folder = make_folder(tmp_path / "recording")
    file = tmp_path / "small.toml"
    file.write_text(STUDY.format(path=folder))
    return file
