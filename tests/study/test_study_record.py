"""What a folder of results may be continued with, and what is refused before any work."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import fault_cases
import numpy as np
import pytest

from brainalign.errors import InputError, UnknownNameError
from brainalign.storage.record import read_record, write_record
from brainalign.study import publish, record
from brainalign.study import run as run_module
from brainalign.study.inputs import inputs_digest
from brainalign.study.verification import content_digest, verify_results


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Pages without pictures, which take seconds."""
    monkeypatch.setattr(publish, "write_report", fault_cases.plain_page)


@pytest.fixture
def study(tmp_path):
    """A tiny study that has been run."""
    file = fault_cases.make_study(tmp_path)
    run(file)
    return file


def run(study: Path, *overrides: str, **options: bool):
    place = study.parent
    return fault_cases.run(study, place / "out", place / "cache", *overrides, **options)


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def nothing_computed(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("computed although the run had to be refused")

    for name in ("analyse", "features_of", "commit_cell"):
        monkeypatch.setattr(run_module, name, refuse)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("random_state=7", "random_state 0 -> 7"),
        ("cka.n_permutations=3", r"cka\.n_permutations 0 -> 3"),
        ("models.0.image_size=16", r"models\.sharp\.image_size 8 -> 16"),
        ('models.1.pool="mean"', r"models\.blurred\.pool grid:2x2 -> mean"),
        ('allow="a pilot"', "allow none -> a pilot"),
        ('layers="pixels"', r"layers \*\* -> pixels"),
        ("name=other", "study tiny -> other"),
        ("dataset.options.design=blocks", r"dataset\.options\.design trials -> blocks"),
    ],
)
def test_other_settings_are_refused_with_the_difference(study, monkeypatch, override, named):
    """Old and new value are named, nothing is computed and no byte changes."""
    before = contents(study.parent / "out")
    nothing_computed(monkeypatch)
    with pytest.raises(InputError, match=rf"differs: {named}\. .*another --output, or --replace"):
        run(study, override)
    assert contents(study.parent / "out") == before


def test_other_versions_are_refused_with_the_difference(study, monkeypatch):
    """Each library whose version has changed is named with both, patch versions too."""
    before = contents(study.parent / "out")
    versions = record.library_versions()
    nothing_computed(monkeypatch)
    monkeypatch.setattr(
        record, "library_versions", lambda: {**versions, "numpy": "9.9.9", "python": "3.99", "timm": "1"}
    )
    with pytest.raises(
        InputError, match=rf"python {versions['python']} -> 3\.99; numpy {versions['numpy']} -> 9\.9\.9\. "
    ):
        run(study)
    assert contents(study.parent / "out") == before


def test_other_inputs_are_refused_with_the_difference(study, monkeypatch):
    """One changed response is noticed before anything is computed; both digests are shown."""
    before = contents(study.parent / "out")
    file = study.parent / "recording" / "responses.npy"
    values = np.load(file)
    values[0, 0, 0] += 1
    np.save(file, values)
    with monkeypatch.context() as patch:
        nothing_computed(patch)
        with pytest.raises(InputError, match=r"inputs changed: digest [0-9a-f]{12} -> [0-9a-f]{12}\. "):
            run(study)
    assert contents(study.parent / "out") == before
    again = run(study, replace=True)
    assert (again.computed, again.kept) == (2, 0)
    assert verify_results(study.parent / "out") == []


def test_moved_recording_is_the_same_input(study):
    """Where a recording lies is no setting: its content is compared."""
    shutil.move(study.parent / "recording", study.parent / "elsewhere")
    study.write_text(study.read_text().replace('/recording"', '/elsewhere"'))
    assert run(study).computed == 0


def test_models_and_analyses_may_come_and_go(study):
    """New models and analyses are computed beside the old ones; what is left out stays known."""
    out = study.parent / "out"
    whole = content_digest(out)
    more = run(study, 'analyses=["cka", "rsa"]', "rsa.n_permutations=0", "rsa.n_bootstrap=0")
    assert (more.computed, more.kept) == (2, 2)
    assert set(more.table["analysis"]) == {"cka", "rsa"}
    back = run(study)
    assert (back.computed, back.kept) == (0, 2)
    assert content_digest(out) == whole
    assert verify_results(out) == []
    with pytest.raises(InputError, match=r"rsa\.n_permutations 0 -> 5"):
        run(study, 'analyses=["cka", "rsa"]', "rsa.n_permutations=5", "rsa.n_bootstrap=0")
    renamed = run(study, "models.1.label=third")
    assert (renamed.computed, renamed.kept) == (1, 1)
    assert set(renamed.table["model"]) == {"sharp", "third"}
    assert verify_results(out) == []


def test_title_and_order_change_the_pages_only(study):
    """Another title or another order of the models writes the report anew and computes nothing."""
    out = study.parent / "out"
    titled = run(study, "title=Another title")
    assert titled.computed == 0
    assert "Another title" in (out / "report.html").read_text()
    study.write_text(study.read_text().replace('"sharp"', '"x"').replace('"blurred"', '"sharp"'))
    text = study.read_text()
    head, first, second = text.split("[[models]]")
    last = second.index("[cka]")
    study.write_text("[[models]]".join([head, second[:last], first]) + second[last:])
    text = study.read_text().replace('"sharp"', '"blurred"').replace('"x"', '"sharp"')
    study.write_text(text)
    order = run(study, "title=Another title")
    assert order.computed == 0
    assert list(dict.fromkeys(order.table["model"])) == ["blurred", "sharp"]
    assert verify_results(out) == []


def test_replace_starts_anew_and_keeps_what_is_not_ours(study):
    """With replace other settings are computed; a user's own files beside the results stay."""
    out = study.parent / "out"
    (out / "notes.txt").write_text("mine")
    anew = run(study, "random_state=7", replace=True)
    assert (anew.computed, anew.kept) == (2, 0)
    assert read_record(out / "study.json")["settings"]["random_state"] == 7
    assert len(list((out / "cells").iterdir())) == 2
    assert (out / "notes.txt").read_text() == "mine"
    assert verify_results(out) == []
    with pytest.raises(InputError, match="random_state 7 -> 0"):
        run(study)


def test_replace_removes_nothing_before_the_new_run_is_checked(study):
    """A replacement whose inputs cannot be loaded leaves the old results as they were."""
    before = contents(study.parent / "out")
    (study.parent / "recording" / "responses.npy").unlink()
    with pytest.raises((InputError, OSError), match="responses"):
        run(study, "random_state=7", replace=True)
    assert contents(study.parent / "out") == before


@pytest.mark.parametrize("name", ["cells", "figures", "report.html", "results.tsv", "manifest.json"])
def test_files_that_no_study_wrote_are_never_touched(tmp_path, name):
    """A folder with somebody else's files under our names is refused, with replace too."""
    study = fault_cases.make_study(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    if name in ("cells", "figures"):
        (out / name).mkdir()
        (out / name / "figure1.pdf").write_text("mine")
    else:
        (out / name).write_text("mine")
    before = contents(out)
    for anew in (False, True):
        with pytest.raises(InputError, match=rf"holds {name}, but no study\.json.*move them away"):
            run(study, replace=anew)
    assert contents(out) == before


def test_other_files_beside_the_results_are_no_obstacle(tmp_path):
    """A folder that holds a study file and a recording may hold its results as well."""
    study = fault_cases.make_study(tmp_path)
    (tmp_path / "cells").mkdir()  # empty: nobody's work
    result = fault_cases.run(study, tmp_path, tmp_path / "cache")
    assert result.computed == 2
    assert verify_results(tmp_path) == []


def test_record_of_a_newer_version_is_named(study):
    """Another schema is refused by its number; an unreadable record can be replaced."""
    out = study.parent / "out"
    found = read_record(out / "study.json")
    write_record(out / "study.json", {**found, "schema": 99})
    with pytest.raises(InputError, match=r"study\.json has schema 99; this version reads 1"):
        run(study)
    (out / "study.json").write_text("{")
    assert run(study, replace=True).computed == 2


def test_many_differences_are_counted(study):
    """Six are named, the others counted."""
    with pytest.raises(InputError, match=r"; and 2 more\. "):
        run(
            study,
            "random_state=7",
            "name=other",
            "allow=why",
            "cka.n_permutations=3",
            'layers="pixels"',
            "models.0.image_size=16",
            "models.1.image_size=16",
            "models.1.pool=mean",
        )


@pytest.fixture
def subjects(tmp_path, monkeypatch):
    """A tiny study of subjects a and b, and what is added to the responses of each."""
    file = fault_cases.make_study(tmp_path)
    added = {"a": 0.0, "b": 1.0}
    load = run_module.subject_inputs

    def several(study, root, **options):
        for name in study.subjects:
            alone = study.model_copy(update={"subjects": None})
            inputs = next(load(alone, root, **options))
            values = inputs.responses.array() + added[name]
            dataset = replace(inputs.dataset, responses=replace(inputs.responses, values=values))
            yield replace(inputs, subject=name, dataset=dataset, digest=inputs_digest(dataset))

    monkeypatch.setattr(run_module, "subject_inputs", several)
    return file, added


def test_subjects_may_be_added_and_are_all_checked_first(subjects, tmp_path, monkeypatch):
    """A second subject is an extension; the changed data of any subject stop the run before work."""
    study, added = subjects
    assert run(study, 'subjects=["a"]').computed == 2
    more = run(study, 'subjects=["a", "b"]')
    assert (more.computed, more.kept) == (2, 2)
    assert set(more.table["subject"]) == {"a", "b"}
    assert set(read_record(tmp_path / "out" / "study.json")["subjects"]) == {"a", "b"}
    whole = content_digest(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert run(study, 'subjects=["a", "b"]').computed == 4
    assert content_digest(tmp_path / "out") == whole
    added["b"] = 2.0
    shutil.rmtree(next((tmp_path / "out" / "cells").glob("*sharp-a-*")))
    nothing_computed(monkeypatch)
    with pytest.raises(InputError, match="inputs of subject b changed: digest"):
        run(study, 'subjects=["a", "b"]')


def test_inputs_that_change_while_the_study_runs_are_noticed(subjects, monkeypatch):
    """With several subjects each is loaded again when its turn comes; other content is an error."""
    study, added = subjects
    commit = run_module.commit_cell

    def changing(*arguments):
        commit(*arguments)
        added["b"] = 5.0

    monkeypatch.setattr(run_module, "commit_cell", changing)
    with pytest.raises(InputError, match="the inputs of subject b changed while the study was running"):
        run(study, 'subjects=["a", "b"]')


def test_what_could_not_be_computed_may_be_put_right(tmp_path):
    """A wrong name of a model, found out when it was to be loaded, is no result that could be lost."""
    study = fault_cases.make_study(tmp_path)
    with pytest.raises(UnknownNameError, match="closest: pixels"):
        run(study, "models.0.name=pixls", "random_state=3")
    assert run(study, 'analyses=["cka"]', "models.1.layers=pixels").computed == 2
    with pytest.raises(InputError, match="models.blurred.layers pixels -> none"):
        run(study)
    with pytest.raises(UnknownNameError, match="closest: pixels"):
        run(study, "models.1.layers=pixels", "models.1.label=third", "models.1.name=pixls")
    assert run(study, "models.1.layers=pixels", "models.1.label=third").computed == 1
    assert verify_results(tmp_path / "out") == []


def test_record_holds_what_was_asked_and_no_path(study):
    """study.json names versions, settings, inputs and cells, and no place on this machine."""
    text = (study.parent / "out" / "study.json").read_text()
    found = json.loads(text)
    assert found["study"]["dataset"]["options"]["path"] == "recording"
    assert set(found["models"]) == {"sharp", "blurred"}
    assert set(found["analyses"]) == {"cka"}
    assert list(found["cells"]) == found["order"]
    assert {"numpy", "torch", "pillow", "python"} <= set(found["versions"])
    assert str(study.parent) not in text
