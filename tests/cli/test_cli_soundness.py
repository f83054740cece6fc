"""`brainalign verify` and `repair`: one line a finding, the right exit code, and the way on."""

from __future__ import annotations

import json

import numpy as np

from brainalign.storage import save
from brainalign.types import Scores


def flip(file):
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def test_whole_results(command, results):
    """Results as a run left them are whole: exit code 0, no finding."""
    done = command("verify", results)
    assert (done.code, done.err) == (0, "")
    assert done.out.strip() == f"{results} is whole"
    assert json.loads(command("verify", results, "--json").out) == []
    assert "nothing was wrong" in command("repair", results).err


def test_damage_is_found_mended_and_computed_again(command, results, tmp_path):
    """A flipped byte is found, repair moves the cell aside, and the next run computes it alone."""
    file = next((results / "cells").glob("cka-sharp-*/scores-000.h5"))
    flip(file)
    done = command("verify", results)
    assert done.code == 1
    [line] = [line for line in done.out.splitlines() if "scores-000.h5" in line]
    assert "is damaged" in line
    assert "brainalign repair" in line
    [found] = json.loads(command("verify", results, "--json").out)
    assert set(found) == {"path", "problem", "next_step", "cell"}
    mended = command("repair", results)
    assert mended.code == 1
    assert "moved to damaged/" in mended.out
    assert "running the study again" in mended.err


def test_lost_page_is_written_anew(command, results):
    """A table that is gone comes back from the cells: repair ends with exit code 0."""
    (results / "results.tsv").unlink()
    assert "results.tsv: is gone" in command("verify", results).out
    mended = command("repair", results)
    assert mended.code == 0, mended.err
    assert "is whole again" in mended.err
    assert command("verify", results).code == 0


def test_single_files(command, tmp_path):
    """One saved file is verified too, every byte of it."""
    save(Scores(np.zeros(50)), tmp_path / "s.h5")
    assert command("verify", tmp_path / "s.h5").code == 0
    flip(tmp_path / "s.h5")
    done = command("verify", tmp_path / "s.h5")
    assert done.code == 1
    assert done.out.startswith("s.h5: ")
    assert len(done.out.splitlines()) == 1
    assert json.loads(command("verify", tmp_path / "s.h5", "--json").out)[0]["path"] == "s.h5"


def test_what_is_no_result(command, tmp_path):
    """A folder without results and one that is not there are input errors."""
    (tmp_path / "empty").mkdir()
    for place in ("empty", "none"):
        for verb in ("verify", "repair"):
            done = command(verb, tmp_path / place)
            assert done.code == 2
            assert "--output folder of a run" in done.err


def test_files_of_a_dataset(command, tmp_path):
    """`datasets verify` names every registered file that is absent or another, with the way on."""
    import data_loaders

    card = data_loaders.describe("objects92")
    folder = tmp_path / "objects92"
    folder.mkdir()
    (folder / card.files[0].name).parent.mkdir(parents=True, exist_ok=True)
    (folder / card.files[0].name).write_bytes(b"<html>not found</html>")
    done = command("datasets", "verify", "objects92", "--root", tmp_path)
    assert done.code == 1
    lines = done.out.splitlines()
    assert len(lines) == len(card.files)
    assert lines[0].startswith(f"{card.files[0].name}: ")
    assert "brainalign datasets fetch objects92" in lines[0]
    rows = json.loads(command("datasets", "verify", "objects92", "--root", tmp_path, "--json").out)
    assert set(rows[0]) == {"file", "problem", "next_step"}
    nowhere = command("datasets", "verify", "objects92", "--root", tmp_path / "none")
    assert nowhere.code == 2
    own = command("datasets", "verify", "folder")
    assert own.code == 2
    assert "no registered files" in own.err
