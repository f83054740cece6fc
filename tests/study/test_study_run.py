"""A study from file to results: complete, resumable, the same every time."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, UnknownNameError
from brainalign.storage import load
from brainalign.study import read_study, run_study
from brainalign.study.estimate import plan_study
from brainalign.study.report import report_from
from brainalign.study.results import COLUMNS


def run(study_file, output, *overrides):
    return run_study(read_study(study_file, overrides=overrides), output)


def test_results_of_a_whole_study(study_file, tmp_path):
    """Every cell has its rows in the fixed columns; the model that sees more is ahead."""
    result = run(study_file, tmp_path / "out")
    assert (result.computed, result.kept) == (6, 0)
    table = pd.read_csv(tmp_path / "out" / "results.tsv", sep="\t")
    assert tuple(table.columns) == COLUMNS
    assert set(table["roi"]) == {"all", "V1", "V2"}
    assert set(zip(table["model"], table["analysis"], strict=True)) == {
        (m, a) for m in ("sharp", "blurred") for a in ("encoding", "rsa", "cka")
    }
    encoding = table[table["analysis"] == "encoding"].set_index(["model", "roi"])["value"]
    assert encoding["sharp", "all"] > encoding["blurred", "all"]
    assert table["p"].between(1 / 21 - 1e-6, 1).all()
    assert (table["q"] >= table["p"]).all()
    assert table["run_id"].nunique() == 1
    row = table[
        (table["model"] == "sharp") & (table["analysis"] == "encoding") & (table["roi"] == "V1")
    ].iloc[0]
    assert row["low"] < row["value"] < row["high"]
    assert 0.5 < row["ceiling"] <= 1
    assert row["n_units"] == 3


def test_region_rows_equal_the_saved_units(study_file, tmp_path):
    """The mean of a region in the table is the mean of its units in the saved scores."""
    run(study_file, tmp_path / "out", 'analyses=["encoding"]')
    table = pd.read_csv(tmp_path / "out" / "results.tsv", sep="\t")
    [cell] = (tmp_path / "out" / "cells").glob("encoding-sharp-*")
    scores = load(cell / "scores-000.h5")
    for roi in ("V1", "V2"):
        shown = table[(table["model"] == "sharp") & (table["roi"] == roi)]["value"].iloc[0]
        assert shown == pytest.approx(scores.values[scores.units["roi_area"] == roi].mean(), rel=1e-5)


def test_finished_study_computes_nothing(study_file, tmp_path):
    """A second run keeps every cell and every byte."""
    run(study_file, tmp_path / "out")
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    again = run(study_file, tmp_path / "out")
    assert (again.computed, again.kept) == (0, 6)
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before


def test_interrupted_study_goes_on(study_file, tmp_path, monkeypatch):
    """After a failure in the middle the next run computes what is missing, with the same results."""
    from brainalign.study import run as module

    whole = run(study_file, tmp_path / "whole")
    original, calls = module.analyse, []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(module, "analyse", failing)
    with pytest.raises(OSError, match="No space left"):
        run(study_file, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").rglob("*.part"))
    monkeypatch.setattr(module, "analyse", original)
    rest = run(study_file, tmp_path / "out")
    assert (rest.computed, rest.kept) == (3, 3)
    pd.testing.assert_frame_equal(rest.table, whole.table)
    for name in ("results.tsv", "provenance.json", "report.html", "study.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_outputs_hold_no_trace_of_the_machine(study_file, tmp_path):
    """No absolute path, host or user name stands in any output."""
    run(study_file, tmp_path / "out")
    words = [str(tmp_path), str(Path.home())]
    if len(socket.gethostname()) > 5:  # a shorter one occurs in compressed pictures by chance
        words.append(socket.gethostname())
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            raw = file.read_bytes()
            for word in words:
                assert word.encode() not in raw, f"{word} in {file.name}"


def test_report_again(study_file, tmp_path):
    """The report can be written anew from the results alone."""
    run(study_file, tmp_path / "out", 'analyses=["rsa"]')
    page = report_from(tmp_path / "out", tmp_path / "again.html")
    assert "A small study" in page.read_text(encoding="utf-8")
    with pytest.raises(DataNotFoundError, match="holds no finished study"):
        report_from(tmp_path / "recording")
    (tmp_path / "out" / "provenance.json").write_text("[]")
    with pytest.raises(CorruptFileError, match="cannot be read"):
        report_from(tmp_path / "out")


def test_recording_with_times_reaches_the_report(study_file, tmp_path):
    """Responses with repeats and times go from the folder to the table and the page."""
    folder = tmp_path / "recording"
    still = np.load(folder / "responses.npy")
    rng = np.random.default_rng(0)
    timed = rng.standard_normal((*still.shape, 4)).astype(np.float32)
    timed[..., 2] += 3 * still
    np.save(folder / "responses.npy", timed)
    np.save(folder / "times.npy", np.array([0.0, 0.1, 0.2, 0.3]))
    result = run(study_file, tmp_path / "out", 'analyses=["encoding"]')
    assert (tmp_path / "out" / "report.html").is_file()
    assert result.table["value"].notna().all()


def test_units_without_every_stimulus_are_left_out_of_rsa(study_file, tmp_path):
    """The number of units of RSA and CKA counts those that entered; a region of one unit has no value."""
    folder = tmp_path / "recording"
    values = np.load(folder / "responses.npy")
    values[0, 0, :] = np.nan
    values[:, 1, :] = np.nan
    np.save(folder / "responses.npy", values)
    table = run(study_file, tmp_path / "out", 'analyses=["rsa", "cka"]').table.set_index(
        ["model", "analysis", "roi"]
    )
    assert table.loc[("sharp", "cka", "all"), "n_units"] == 4
    assert table.loc[("sharp", "cka", "V1"), "n_units"] == 1
    assert np.isnan(table.loc[("sharp", "rsa", "V1"), "value"])
    assert table.loc[("sharp", "rsa", "V2"), "value"] > 0


@pytest.mark.real
def test_study_of_own_features(tmp_path, real_data):
    """Features that came with a dataset are a model by name; unknown ones are named."""
    file = tmp_path / "o.toml"
    file.write_text(
        'name = "o"\n[dataset]\nname = "object2vec81"\n[[models]]\nname = "features:alexnet"\n'
        "[encoding]\nn_permutations = 0\nn_bootstrap = 0\n"
    )
    result = run_study(read_study(file), tmp_path / "out", root=real_data)
    assert len(result.table) == 8  # seven regions and all units
    with pytest.raises(UnknownNameError, match="closest: alexnet"):
        run_study(
            read_study(file, overrides=["models.0.name=features:alexnt"]), tmp_path / "b", root=real_data
        )
    with pytest.raises(InputError, match="use its own features: features:"):
        run_study(read_study(file, overrides=["models.0.name=pixels"]), tmp_path / "c", root=real_data)


def test_wrong_names(study_file, tmp_path):
    """Unknown regions, subjects, models and layers are named with the closest valid ones."""
    for override, message in (
        ('regions=["V3"]', "region 'V3' does not exist; closest: V1|V2"),
        ('subjects=["PE"]', "subject 'PE' does not exist"),
        ("models.0.name=pixls", "closest: pixels"),
        ("models.0.layers=pixel", "closest: pixels"),
        ("dataset.name=foldr", "closest: 'folder'"),
    ):
        with pytest.raises(UnknownNameError, match=message):
            run(study_file, tmp_path / "out", override)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a file is in the way"):
        run(study_file, tmp_path / "file")


def test_regions_restrict_the_units(study_file, tmp_path):
    """Named regions keep their units only."""
    result = run(study_file, tmp_path / "out", 'regions=["V2"]', 'analyses=["encoding"]')
    assert result.table["roi"].tolist() == ["V2", "V2"]


def test_check_tells_what_the_run_does(study_file, tmp_path):
    """The plan has the folds, the split hash and the layers of the run, and computes no cell."""
    study = read_study(study_file)
    plan = plan_study(study)
    assert plan.n_cells == 6
    [subject] = plan.subjects
    assert subject.folds == [(16, 8)] * 3
    assert subject.regions == {"all": 6, "V1": 3, "V2": 3}
    assert [m.layers for m in subject.models] == [{"pixels": 192}, {"pixels": 12}]
    result = run_study(study, tmp_path / "out")
    assert subject.split_hash in set(result.table["split_hash"])
    written = sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert written < 1.5 * plan.disk_bytes


def test_check_refuses_a_leak(study_file, tmp_path):
    """The same image in the training and the test part of the dataset is refused before anything runs."""
    table = tmp_path / "recording" / "stimuli.tsv"
    lines = table.read_text().splitlines()
    parts = ["split"] + ["train"] * 16 + ["test"] * 8
    lines = [f"{line}\t{part}" for line, part in zip(lines, parts, strict=True)]
    lines[-1] = lines[-1].replace("image23", "image00")
    table.write_text("\n".join(lines) + "\n")
    from brainalign.errors import LeakageError

    with pytest.raises(LeakageError, match="in training and in test"):
        plan_study(read_study(study_file))


def test_provenance_names_what_ran(study_file, tmp_path):
    """Versions, seed, settings and the files of every cell are in the provenance."""
    run(study_file, tmp_path / "out", "random_state=7")
    found = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert found["study"]["random_state"] == 7
    assert found["study"]["dataset"]["options"]["path"] == "recording"
    assert {"numpy", "torch", "brainalign", "python"} <= set(found["versions"])
    assert len(found["cells"]) == 6
    assert all({"cell", "key", "files"} == set(cell) for cell in found["cells"]), "no times"
    assert list(found["inputs"].values()) == [found["inputs"][""]]
    assert found["device"]
    assert "Python" in found["system"]
