"""Killed at any moment, a study goes on and ends with the same content."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "kill_campaign.py"


def campaign(tmp_path: Path, *options: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--folder", str(tmp_path / "kills"), *options],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path):
    """Twelve kills, one in each twelfth of a run with a network: same content, at most one unit redone."""
    found = campaign(tmp_path, "--kills", "12")["random"]
    assert found["kills"] == 12
    assert found["died"] >= 10, "the others ended before their moment came"
    assert found["faults"] == []
    assert set(found["units_redone"]) <= {"0", "1"}


@pytest.mark.slow
def test_kills_between_each_write_and_its_rename(tmp_path):
    """A kill before each rename of a whole study: same content, at most one unit redone."""
    found = campaign(tmp_path, "--kills", "0", "--renames")["counted"]
    assert found["kills"] == found["died"] >= 25
    assert found["faults"] == []
    assert set(found["units_redone"]) == {"0", "1"}
