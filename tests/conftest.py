"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings, or a skip with the reason."""
    root = Path(os.environ.get("BRAINALIGN_DATA", SHARED / "data"))
    if not (root / "macaque_v4").is_dir():
        pytest.skip(f"no real recordings below {root}; set BRAINALIGN_DATA")
    return root
