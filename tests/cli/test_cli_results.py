"""`brainalign results`: studies found again, compared number by number, run anew."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from brainalign.study import differences, history
from brainalign.study.differences import diff_results
from brainalign.study.history import list_results, recorded_study


def edit_table(folder, change):
    """Change the table of a study as text."""
    file = folder / "results.tsv"
    table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(file, sep="\t", index=False)


def edit_provenance(folder, change):
    """Change the provenance of a study."""
    file = folder / "provenance.json"
    found = json.loads(file.read_text())
    change(found)
    file.write_text(json.dumps(found))


def test_list_finds_studies_below(command, results, tmp_path):
    """A finished study is listed with its models, cells and versions; one that lacks a file is incomplete."""
    entries = json.loads(command("results", "list", tmp_path, "--json").out)
    [entry] = entries
    assert entry["state"] == "complete"
    assert (entry["name"], entry["dataset"]) == ("small", "folder")
    assert entry["models"] == ["sharp", "blurred"]
    assert (entry["n_cells"], entry["n_planned"]) == (6, 6)
    assert entry["versions"]["brainalign"]
    assert not entry["simulated"]
    assert entry["n_findings"] is None
    line = command("results", "list", tmp_path, "--verify").out
    assert "small" in line
    assert "6 of 6 cells" in line
    assert "  verified  " in line
    next((results / "cells").glob("rsa-sharp-*/rdms.h5")).unlink()
    assert list_results(tmp_path)[0].state == "incomplete"
    assert "NOT WHOLE (1 findings" in command("results", "list", tmp_path, "--verify").out


def test_list_tells_unfinished_and_damaged_ones(results, tmp_path):
    """Without a manifest a study is unfinished; a torn provenance is damaged."""
    (results / "manifest.json").unlink()
    assert list_results(tmp_path)[0].state == "unfinished"
    (results / "provenance.json").unlink()
    shutil.rmtree(next((results / "cells").glob("rsa-blurred-*")))
    [entry] = list_results(tmp_path)
    assert entry.state == "unfinished"
    assert entry.models == ["sharp", "blurred"]
    assert (entry.n_cells, entry.n_planned) == (5, 6)
    (results / "study.json").write_text("{")
    assert list_results(tmp_path)[0].name == "out"
    (results / "provenance.json").write_text('{"study": 1')
    assert list_results(tmp_path)[0].state == "damaged"


def test_list_is_loud_about_simulation_and_overruled_guards(command, results, tmp_path):
    """A simulated study and one with `allow` carry their marks in the list."""
    edit_provenance(results, lambda p: p["study"].update(simulate={"truth": {"a": "b"}}, allow="a pilot"))
    line = command("results", "list", tmp_path).out
    assert "!!! SIMULATED" in line
    assert '!!! GUARD OVERRULED: "a pilot"' in line


def test_list_of_nothing(command, tmp_path):
    """An empty folder says so; a folder that is not there is an error that names it."""
    (tmp_path / "empty").mkdir()
    assert "no study at or below" in command("results", "list", tmp_path / "empty").out
    done = command("results", "list", tmp_path / "none")
    assert done.code == 2
    assert "there is no folder" in done.err
    with pytest.raises(DataNotFoundError, match="there is no folder"):
        list_results(tmp_path / "none")


def test_diff_of_equal_results(command, finished, results):
    """A copy is equal to the last bit, and the exit code is 0."""
    done = command("results", "diff", finished / "out", results)
    assert done.code == 0
    assert "EQUAL within 0.0001; every stored number to the last bit" in done.out


def test_diff_names_rows_columns_and_sizes(command, finished, results):
    """A changed number is named with its row, column and size, and the exit code is 1."""

    def change(table):
        row = table.index[(table["roi"] == "V1") & (table["analysis"] == "encoding")][0]
        table.loc[row, "value"] = str(float(table.loc[row, "value"]) + 0.25)

    edit_table(results, change)
    done = command("results", "diff", finished / "out", results, "--json")
    assert done.code == 1
    found = json.loads(done.out)
    [row] = found["rows"]
    assert row["row"] == "folder, V1, sharp, pixels, encoding, pearson"
    assert row["column"] == "value"
    assert row["difference"] == pytest.approx(0.25, abs=1e-6)
    assert found["largest"]["value"] == pytest.approx(0.25, abs=1e-6)
    assert not found["equal"]
    text = command("results", "diff", finished / "out", results).out
    assert "(+0.25)" in text
    assert text.splitlines()[-1].startswith("DIFFERENT")
    assert command("results", "diff", finished / "out", results, "--tolerance", "0.3").code == 0


def test_diff_of_missing_values_and_rows(finished, results):
    """A number that one side lacks is a difference; a row that one side lacks is named; n/a equals n/a."""

    def change(table):
        table.loc[0, "ceiling"] = "n/a"
        table.loc[1, "roi"] = "V9"

    edit_table(results, change)
    found = diff_results(finished / "out", results)
    assert [(r.column, r.b, r.difference) for r in found.rows] == [("ceiling", None, None)]
    assert [row.split(", ")[1] for row in found.only_a] == ["V1"]
    assert [row.split(", ")[1] for row in found.only_b] == ["V9"]


def test_diff_names_settings_versions_inputs_and_test_rows(command, finished, results):
    """What may explain a difference is told: nested settings, versions, digests, hashes of test rows."""

    def change(found):
        found["study"]["encoding"]["n_folds"] = 4
        found["study"]["models"][1]["pool"] = "mean"
        found["versions"]["numpy"] = "9.9"
        found["inputs"][""] = "0" * 64

    edit_provenance(results, change)
    edit_table(results, lambda table: table.__setitem__("split_hash", "another"))
    done = command("results", "diff", finished / "out", results)
    assert done.code == 1
    assert "setting    encoding.n_folds: 3 -> 4" in done.out
    assert "setting    models.1.pool: grid:2x2 -> mean" in done.out
    assert "-> 9.9" in done.out
    assert "input      responses: " in done.out
    assert "input      test rows of folder, all, sharp" in done.out


def test_other_settings_with_equal_numbers_are_equal(finished, results):
    """Settings and versions explain; they do not make equal numbers different."""
    edit_provenance(results, lambda p: p["versions"].update(numpy="9.9"))
    found = diff_results(finished / "out", results)
    assert found.equal
    assert [change.what for change in found.versions] == ["numpy"]


def test_long_differences_are_cut_in_the_terminal_only(command, finished, results):
    """Twenty rows are shown and the rest counted; JSON has all."""
    edit_table(results, lambda table: table.__setitem__("value", "9.0"))
    edit_table(results, lambda table: table.__setitem__("low", "8.0"))
    text = command("results", "diff", finished / "out", results).out
    assert "more; --json shows all" in text
    assert text.count("number  ") == 20
    assert len(json.loads(command("results", "diff", finished / "out", results, "--json").out)["rows"]) > 20


@pytest.mark.parametrize(
    ("spoil", "error", "match"),
    [
        (lambda f: (f / "results.tsv").unlink(), DataNotFoundError, "holds no results.tsv"),
        (lambda f: (f / "results.tsv").write_bytes(b"\xff\xfe"), CorruptFileError, "is no table"),
        (lambda f: (f / "results.tsv").write_text("a\tb\n1\t2\n"), CorruptFileError, "no column 'dataset'"),
        (lambda f: (f / "provenance.json").unlink(), DataNotFoundError, "no finished study"),
        (lambda f: (f / "provenance.json").write_text("[]"), CorruptFileError, "cannot be read"),
        (
            lambda f: (f / "provenance.json").write_text('{"study": {"name": 3}, "versions": {}}'),
            CorruptFileError,
            "a name or the versions are missing",
        ),
    ],
)
def test_diff_of_what_is_no_study(finished, results, spoil, error, match):
    """What cannot be compared is an error that names the file and the next step."""
    spoil(results)
    with pytest.raises(error, match=match):
        diff_results(finished / "out", results)


def test_negative_tolerance_is_refused(command, finished, results):
    """A tolerance below zero is no tolerance."""
    with pytest.raises(InputError, match="tolerance=-1"):
        diff_results(finished / "out", results, tolerance=-1)
    done = command("results", "diff", finished / "out", results, "--tolerance", "-1")
    assert done.code == 2


def test_rerun_gives_the_same_numbers(command, results, tmp_path):
    """The recorded study, run anew beside its recording, is equal to the last bit; no cache is left."""
    done = command("results", "rerun", results)
    assert done.code == 0, done.err
    assert "EQUAL" in done.out
    assert "every stored number to the last bit" in done.out
    assert (tmp_path / "out-rerun" / "report.html").is_file()
    assert not list(tmp_path.glob(".*features"))
    again = command("results", "rerun", results)
    assert again.code == 2
    assert "holds a finished study; name another folder with --output" in again.err


def test_rerun_on_other_recordings_is_different(command, results, tmp_path):
    """Recordings that have changed since give exit code 1, and their digest is named."""
    import numpy as np

    file = tmp_path / "recording" / "responses.npy"
    values = np.load(file)
    np.save(file, values[::-1].copy())
    few = ("--set", 'analyses=["cka"]')
    done = command("results", "rerun", results, "--output", tmp_path / "b", "--json", *few)
    assert done.code == 1
    found = json.loads(done.out)
    assert not found["equal"]
    assert found["inputs"][0]["what"] == "responses"
    assert found["rows"]


def test_rerun_says_where_it_looked(command, results, tmp_path):
    """A recording that has moved is looked for, and --set names its new place."""
    (tmp_path / "recording").rename(tmp_path / "elsewhere")
    done = command("results", "rerun", results)
    assert done.code == 2
    assert "the recording 'recording' of this study is neither here nor in" in done.err
    assert "--set dataset.options.path=PATH" in done.err
    study = recorded_study(results, overrides=[f"dataset.options.path={tmp_path / 'elsewhere'}"])
    assert study.dataset.options["path"] == str(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").rename(tmp_path / "data" / "recording")
    found = recorded_study(results, root=tmp_path / "data").dataset.options["path"]
    assert found == str(tmp_path / "data" / "recording")


def test_settings_of_another_version(results):
    """Recorded settings that this version does not know are an error that names the key."""
    edit_provenance(results, lambda p: p["study"].update(hrf="glover"))
    with pytest.raises(InputError, match=r"do not fit this version: .*hrf"):
        recorded_study(results)


def test_modules_have_what_the_command_uses():
    """The default tolerance of the command is that of the function."""
    assert differences.TOLERANCE == 1e-4
    assert history.TOLERANCE == differences.TOLERANCE


def test_names_of_others_do_not_steer_the_terminal(command, results, tmp_path):
    """Escape codes and direction overrides in a recorded study are shown as marks."""
    evil = "a\x1b[2Jb\u202ec\r"
    edit_provenance(results, lambda p: p["study"].update(name=evil, allow=evil))
    edit_provenance(results, lambda p: p["study"]["encoding"].update(select=evil))
    listed = command("results", "list", tmp_path)
    compared = command("results", "diff", results, results)
    for done in (listed, compared):
        assert done.code == 0
        assert not {"\x1b", "\u202e", "\r"} & set(done.out + done.err)
    assert "a\N{REPLACEMENT CHARACTER}[2Jb" in listed.out
    assert json.loads(command("results", "list", tmp_path, "--json").out)[0]["name"] == evil
