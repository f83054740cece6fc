"""Whatever happens to a file of the results is found, named, and mended without computing twice."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import fault_cases
import numpy as np
import pytest
from study_cases import STUDY, make_folder

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from brainalign.storage.atomic import folder_lock
from brainalign.storage.record import read_record, write_record
from brainalign.study import publish, read_study, run_study
from brainalign.study.report import report_from
from brainalign.study.verification import (
    cell_digests,
    content_digest,
    repair_results,
    verify_results,
)

N_FLIPS = 2000
RECORDS = ("study.json", "manifest.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished study with its report, and the activations that it used."""
    place = tmp_path_factory.mktemp("finished")
    make_folder(place / "recording", n=12, n_units=4)
    text = STUDY.format(path=place / "recording").replace('["encoding", "rsa", "cka"]', '["encoding", "rsa"]')
    (place / "small.toml").write_text(text)
    run_again(place)
    return place


def run_again(place: Path, *overrides: str):
    return run_study(
        read_study(place / "small.toml", overrides=overrides), place / "out", cache=place / "cache"
    )


@pytest.fixture
def plain(monkeypatch):
    """Pages without pictures, which take seconds."""
    monkeypatch.setattr(publish, "write_report", fault_cases.plain_page)


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished study that a test may damage."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def files_of(place: Path) -> list[Path]:
    return sorted(p for top in ("out", "cache") for p in (place / top).rglob("*") if p.is_file())


def verify_both(place: Path) -> dict[str, str]:
    """Findings of results and cache: {path from `place`: problem}."""
    return {f"{top}/{f.path}": f.problem for top in ("out", "cache") for f in verify_results(place / top)}


def flip(path: Path, rng: np.random.Generator) -> tuple[int, int]:
    raw = bytearray(path.read_bytes())
    at, bit = int(rng.integers(len(raw))), int(rng.integers(8))
    raw[at] ^= 1 << bit
    path.write_bytes(raw)
    return at, bit


def test_undamaged_results_have_no_findings(finished):
    """Nothing is found in what a run has just written; neither torch nor matplotlib is loaded for it."""
    assert verify_both(finished) == {}
    code = (
        "import sys; from brainalign.study.verification import verify_results; "
        "print(verify_results(sys.argv[1]), {'torch', 'matplotlib', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(finished / "out")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] set()"


def test_two_thousand_flips_are_all_found(copy):
    """One flipped bit in every kind of file, at random places: each is found in the file it is in."""
    rng = np.random.default_rng(0)
    files = files_of(copy)
    kinds = {p.suffix + p.name[:5] if p.suffix != ".svg" else ".svg" for p in files}
    assert {".h5score", ".h5rdms.", ".h5layer", ".svg", ".tsvresul", ".htmlrepor"} <= kinds
    # a damaged record hides what it describes, so those are damaged in turns of their own
    described = [p for p in files if p.suffix != ".json" or p.name == "provenance.json"]
    describing = [p for p in files if p not in described and p.name not in RECORDS]
    groups = [described, describing, *([copy / "out" / name] for name in RECORDS)]
    n_done = 0
    while n_done < N_FLIPS:
        for group in groups:
            kept = {p: p.read_bytes() for p in group}
            places = {p: flip(p, rng) for p in group}
            found = verify_both(copy)
            for path, place in places.items():
                name = path.relative_to(copy).as_posix()
                assert name in found, f"bit {place} of {name} was not found"
                n_done += 1
            for path, raw in kept.items():
                path.write_bytes(raw)
    assert verify_both(copy) == {}


def test_truncated_grown_and_absent_files_are_found(copy):
    """A file that is cut at either end or anywhere, longer, or gone is named."""
    for path in files_of(copy):
        raw = path.read_bytes()
        name = path.relative_to(copy).as_posix()
        for size in sorted({0, 1, len(raw) // 2, len(raw) - 1}):
            path.write_bytes(raw[:size])
            assert name in verify_both(copy), f"{name} cut to {size} bytes"
        path.write_bytes(raw + b"\n")
        assert name in verify_both(copy), f"{name} longer"
        path.unlink()
        if path.name != "complete.json":  # an extraction that is not finished is no damage
            assert name in verify_both(copy), f"{name} gone"
        path.write_bytes(raw)


def test_extra_and_doubled_parts_are_found(copy, plain):
    """Copies of cells, of their files, of figures and of pages are told from the originals."""
    out = copy / "out"
    cell = next((out / "cells").iterdir())
    shutil.copytree(cell, out / "cells" / f"{cell.name}-copy")
    shutil.copy(cell / "scores-000.h5", cell / "scores-001.h5")
    figure = next((out / "figures").glob("*.svg"))
    shutil.copy(figure, out / "figures" / "99_copy.svg")
    shutil.copy(out / "results.tsv", out / "results (1).tsv")
    (out / "cells" / "note.txt").write_text("mine")
    (out / "README.txt").write_text("my notes about this study")
    entry = next(p for p in (copy / "cache").iterdir() if p.is_dir())
    shutil.copy(next(entry.glob("layer-*.h5")), entry / "layer-900-copy.h5")
    shutil.copytree(entry, copy / "cache" / ("0" * 64))
    found = verify_both(copy)
    assert set(found) == {
        f"out/cells/{cell.name}-copy",
        f"out/cells/{cell.name}/scores-001.h5",
        "out/cells/note.txt",
        "out/figures/99_copy.svg",
        "out/results (1).tsv",
        f"cache/{entry.name}/layer-900-copy.h5",
        f"cache/{'0' * 64}/layer-900-copy.h5",
        f"cache/{'0' * 64}/key.json",
    }
    assert "is a copy of a page" in found["out/results (1).tsv"]
    assert "is no cell of this study" in found["out/cells/note.txt"]
    for finding in repair_results(out):
        assert "moved to damaged/" in finding.next_step
    repair_results(copy / "cache")
    run_again(copy)
    assert verify_both(copy) == {}
    assert (out / "README.txt").exists()


def test_parts_of_another_run_are_found(copy, tmp_path):
    """A whole cell, score file, page, record or layer that belongs to other results is no substitute."""
    other = tmp_path / "other"
    shutil.copytree(copy, other)
    shutil.rmtree(other / "out")
    shutil.rmtree(other / "cache")
    run_again(other, "random_state=1")
    mine, theirs = copy / "out", other / "out"
    cells = {p.name.rsplit("-", 1)[0]: p for p in (theirs / "cells").iterdir()}
    for path in files_of(copy):
        inside = path.relative_to(copy).parts
        if inside[:2] == ("out", "cells"):
            source = cells[inside[2].rsplit("-", 1)[0]] / path.name
        elif inside[0] == "out":
            source = theirs / Path(*inside[1:])
        else:
            continue
        raw, foreign = path.read_bytes(), source.read_bytes()
        if raw == foreign:
            continue  # pixels have no seed: some pictures are the same
        path.write_bytes(foreign)
        assert (
            path.relative_to(mine).as_posix() in {f.path for f in verify_results(mine)}
            or path.name in RECORDS
        )
        assert verify_results(mine), f"{path.name} of another run"
        path.write_bytes(raw)
    a, b = sorted((copy / "cache").iterdir())[:2]
    layers = [next(entry.glob("layer-*.h5")) for entry in (a, b)]
    shutil.copy(layers[0], layers[1])
    assert "not the file that complete.json names" in next(iter(verify_both(copy).values()))


def test_damaged_cell_is_moved_aside_and_only_it_is_computed(copy, plain):
    """Repair keeps the damaged bytes, and the next run computes this cell alone, to the same content."""
    before = content_digest(copy / "out")
    victim = next((copy / "out" / "cells").glob("rsa-sharp-*"))
    flip(victim / "rdms.h5", np.random.default_rng(1))
    bad = (victim / "rdms.h5").read_bytes()
    with pytest.raises(CorruptFileError, match=r"rdms\.h5 is damaged .*brainalign repair .*only this cell"):
        run_again(copy)
    [finding] = repair_results(copy / "out")
    assert finding.cell == victim.name
    assert "moved to damaged/" in finding.next_step
    assert "computes only this cell" in finding.next_step
    assert (copy / "out" / "damaged" / victim.name / "rdms.h5").read_bytes() == bad
    assert {f.problem for f in verify_results(copy / "out")} == {"is not computed yet"}
    again = run_again(copy)
    assert (again.computed, again.kept) == (1, 3)
    assert verify_results(copy / "out") == []
    assert content_digest(copy / "out") == before


def test_absent_cell_is_named_and_computed(copy, plain):
    """A deleted cell is missed by name; the run computes it and nothing else."""
    victim = next((copy / "out" / "cells").glob("encoding-blurred-*"))
    shutil.rmtree(victim)
    [finding] = verify_results(copy / "out")
    assert (finding.path, finding.problem) == (f"cells/{victim.name}", "is gone")
    assert "brainalign run" in finding.next_step
    repair_results(copy / "out")
    assert run_again(copy).computed == 1
    assert verify_results(copy / "out") == []


def test_pages_are_written_anew_from_whole_cells(copy):
    """Damaged table, report, figure and manifest come back byte for byte, without computing."""
    out = copy / "out"
    names = [*out.glob("*.*"), *out.glob("figures/*")]
    before = {p: p.read_bytes() for p in names}
    rng = np.random.default_rng(0)
    for path in [out / "results.tsv", out / "provenance.json", next(out.glob("figures/*.svg"))]:
        flip(path, rng)
    (out / "report.html").unlink()
    found = repair_results(out)
    assert len(found) == 4
    assert {f.next_step for f in found} == {"written anew from the cells"}
    assert {p: p.read_bytes() for p in [*out.glob("*.*"), *out.glob("figures/*")]} == before
    (out / "manifest.json").unlink()
    [finding] = verify_results(out)
    assert "all 4 cells are there" in finding.problem
    repair_results(out)
    assert (out / "manifest.json").read_bytes() == before[out / "manifest.json"]
    assert repair_results(out) == []
    report_from(out)
    assert verify_results(out) == [], "a report that is written again has the same bytes"


def test_lost_record_is_restored_from_the_manifest(copy, plain):
    """Without study.json a run refuses and names the way back; with neither nothing is guessed."""
    out = copy / "out"
    raw = (out / "study.json").read_bytes()
    (out / "study.json").unlink()
    with pytest.raises(InputError, match=r"but no study\.json.*`brainalign repair .*` restores it"):
        run_again(copy)
    [finding] = verify_results(out)
    assert (finding.path, finding.problem) == ("study.json", "is gone")
    repair_results(out)
    assert (out / "study.json").read_bytes() == raw
    (out / "study.json").write_bytes(raw[:-9])
    with pytest.raises(CorruptFileError, match=r"study\.json is torn.*repair"):
        run_again(copy)
    repair_results(out)
    assert verify_results(out) == []
    assert run_again(copy).computed == 0
    for name in RECORDS:
        (out / name).unlink()
    assert {f.path for f in verify_results(out)} == {"study.json"}
    assert "restore the file from a copy" in repair_results(out)[0].next_step
    (next((out / "cells").iterdir()) / "scores-000.h5").write_bytes(b"")
    assert len(verify_results(out)) == 2


def test_records_of_something_else_are_no_study(copy, plain):
    """A whole record without the fields of a study is named as such."""
    out = copy / "out"
    write_record(out / "manifest.json", {"files": {}})
    assert "is a record of something else" in verify_results(out)[0].problem
    repair_results(out)
    record = read_record(out / "study.json")
    write_record(out / "study.json", {**record, "title": "another"})
    assert "belongs to another run" in verify_results(out)[0].problem
    repair_results(out)
    assert verify_results(out) == []


def test_torn_and_foreign_cell_records(copy):
    """cell.json that is torn, of another form, or of another cell is found."""
    cell = next((copy / "out" / "cells").iterdir())
    record = read_record(cell / "cell.json")
    for change, text in (
        (lambda: (cell / "cell.json").write_text("{"), "cannot be read"),
        (lambda: write_record(cell / "cell.json", {"cell": "x"}), "cannot be read"),
        (lambda: write_record(cell / "cell.json", {**record, "key": "0" * 64}), "another cell or run"),
        (lambda: write_record(cell / "cell.json", {**record, "seconds": -1}), "not the one from which"),
    ):
        change()
        [finding] = verify_results(copy / "out")
        assert text in finding.problem
        assert finding.cell == cell.name


def test_unfinished_study_and_a_run_at_work(tmp_path, monkeypatch, plain):
    """What is not computed yet is listed; while a run holds the folder nothing is called damaged."""
    study = fault_cases.make_study(tmp_path)
    from brainalign.study import run as module

    calls = []

    def stopping(*arguments, original=module.analyse):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, "analyse", stopping)
    with pytest.raises(KeyboardInterrupt):
        fault_cases.run(study, tmp_path / "out", tmp_path / "cache")
    [finding] = verify_results(tmp_path / "out")
    assert finding.problem == "is not computed yet"
    assert finding.cell.startswith("cka-blurred-")
    with folder_lock(tmp_path / "out"):
        [finding] = verify_results(tmp_path / "out")
        assert "a run is at work here (process" in finding.problem
        with pytest.raises(InputError, match="in use by process"):
            repair_results(tmp_path / "out")
    entry = next((tmp_path / "cache").iterdir())
    with folder_lock(entry):
        assert "a run is at work" in verify_results(tmp_path / "cache")[0].problem
        assert verify_results(entry)[0].path == ".brainalign.lock"
        assert repair_results(tmp_path / "cache")[0].path.endswith(".lock")


def test_damaged_cache_is_moved_aside_and_extracted_again(copy, plain):
    """A damaged entry of the cache goes to damaged/; the next run makes it anew, with the same bytes."""
    entries = sorted(p.name for p in (copy / "cache").iterdir())
    layer = next((copy / "cache" / entries[0]).glob("layer-*.h5"))
    raw = layer.read_bytes()
    flip(layer, np.random.default_rng(0))
    [finding] = repair_results(copy / "cache")
    assert "the entry was moved to damaged/" in finding.next_step
    assert verify_results(copy / "cache") == []
    shutil.rmtree(copy / "out")
    run_again(copy)
    assert layer.read_bytes() == raw
    with pytest.raises(InputError, match="is one entry of a cache; give the folder above it"):
        repair_results(copy / "cache" / entries[1])


def test_folders_without_results_are_refused(tmp_path):
    """An absent folder and one without anything of ours are named."""
    for function in (verify_results, repair_results):
        with pytest.raises(DataNotFoundError, match="there is no folder"):
            function(tmp_path / "absent")
        with pytest.raises(DataNotFoundError, match="holds neither results of a study .* nor cached"):
            function(tmp_path)
    with pytest.raises(DataNotFoundError, match="holds no study"):
        content_digest(tmp_path)


def test_content_digest_sees_numbers_and_names_and_no_times(copy, finished, plain):
    """Seconds, title and batch size leave the digest as it is; a seed, a label or a number change it."""
    before = content_digest(finished / "out")
    assert content_digest(copy / "out") == before
    assert len(set(cell_digests(copy / "out").values())) == 4
    again = functools.partial(run_again, copy)
    shutil.rmtree(copy / "out")
    again("title=Another", "models.0.batch_size=2")
    assert content_digest(copy / "out") == before
    shutil.rmtree(copy / "out")
    again("random_state=1")
    assert content_digest(copy / "out") != before
    shutil.rmtree(copy / "out")
    again("models.0.label=other")
    assert content_digest(copy / "out") != before
    table = finished / "out" / "results.tsv"
    assert len(table.read_text().splitlines()) > 4
    assert json.loads((finished / "out" / "provenance.json").read_text())["inputs"]
