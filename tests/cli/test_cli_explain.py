"""`brainalign explain`: every number of the table, with the truth about how it came about."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from brainalign.storage import save
from brainalign.study.explain import explain_results, explanation_text
from brainalign.study.stored import notes_of, read_results, standing_notes
from brainalign.types import NoiseCeiling, RDMs, Scores


@pytest.fixture(scope="module")
def told(finished):
    """Every explanation of the small study."""
    return explain_results(finished / "out")


def one(told, **wanted):
    [found] = [n for n in told if all(getattr(n, key) == value for key, value in wanted.items())]
    return found


def test_every_row_of_the_table_is_explained(told, finished):
    """The numbers are those of results.tsv, in its order, q included."""
    table = pd.read_csv(finished / "out" / "results.tsv", sep="\t")
    assert len(told) == len(table)
    for row, number in zip(table.to_dict("records"), told, strict=True):
        assert (row["roi"], row["model"], row["analysis"]) == (number.roi, number.model, number.analysis)
        for column in ("value", "low", "high", "ceiling", "p", "q"):
            found = getattr(number, column)
            assert np.isnan(row[column]) if found is None else row[column] == pytest.approx(found, rel=1e-5)


def test_words_of_an_encoding_claim(told):
    """Split, repeats, scaling, metric, penalty, ceiling, interval, p, controls: with their figures."""
    words = one(told, model="sharp", analysis="encoding", roi="V1").words
    assert "3 outer folds" in words["split"]
    assert "Each fold tests 8 rows" in words["split"]
    assert "new stimuli" in words["split"]
    assert "averaged in training and in test" in words["repeats"]
    assert "divided by one number" in words["scaling"]
    assert "Pearson r, computed in each outer fold and averaged" in words["metric"]
    assert "20 penalties from 1e-5 to 1e5 times trace(K)/n" in words["penalty"]
    assert "Of 18 choices" in words["penalty"]
    assert "variance components" in words["ceiling"]
    assert "24 stimuli with 3 trials each" in words["ceiling"]
    assert "resampled test stimuli" in words["interval"]
    assert "from 20 permutations" in words["p"]
    assert "blurred" in words["controls"]
    assert "3 of 3 units of V1" in words["value"]
    assert "seed 0" in words["computed"]
    assert "note" not in words


def test_words_of_a_similarity(told):
    """RSA says its distance, that nothing was fitted, and why there is no ceiling."""
    words = one(told, model="sharp", analysis="rsa", roi="all").words
    assert "one comparison over 24 stimuli" in words["value"]
    assert "correlation distance" in words["metric"]
    assert "Nothing was fitted" in words["split"]
    assert "one subject" in words["ceiling"]
    assert "penalty" not in words
    control = one(told, model="blurred", analysis="cka", roi="all").words
    assert "control model" in control["model"]
    assert "controls" not in control
    assert "There is no interval" in control["interval"]


def test_filters_and_unknown_names(command, finished):
    """Region, model and analysis select; an unknown one is named with the closest."""
    results = finished / "out"
    arguments = ("--roi", "V2", "--model", "sharp", "--analysis", "encoding")
    found = json.loads(command("explain", results, *arguments, "--json").out)
    assert [n["roi"] for n in found] == ["V2"]
    assert set(found[0]["words"]) >= {"value", "split", "metric", "penalty", "ceiling", "p"}
    for option, wrong, closest in (
        ("--roi", "V3", "closest: V"),
        ("--model", "shrp", "closest: sharp"),
        ("--analysis", "rsaa", "closest: rsa"),
    ):
        done = command("explain", results, option, wrong)
        assert done.code == 2
        assert closest in done.err


def test_text_says_shared_words_once(told):
    """Numbers of one model and analysis share their sentences; each keeps its own value."""
    text = explanation_text(told)
    assert text.count("20 penalties") == 2  # one for each model
    assert text.count("\nvalue  ") == len(told)
    assert text.startswith("## folder, encoding, sharp: 3 numbers (claims)")
    assert explanation_text(told[:1]).startswith("## folder, encoding, sharp, pixels, all\n")


def scores(**info):
    units = pd.DataFrame({"roi_area": ["V1", "V1", "V2"]}, index=pd.Index(["a", "b", "c"], name="unit_id"))
    identity = {"dataset": "d", "subject": "s", "model": "net", "layer": "selected", "analysis": "encoding"}
    return Scores(np.array([0.2, 0.4, np.nan]), units, identity=identity, n_test=9, info=info)


def words_of(tmp_path, found, roi="all"):
    save(found, tmp_path / "scores.h5")
    return one(explain_results(tmp_path / "scores.h5"), roi=roi).words


def test_layers_chosen_per_fold(tmp_path):
    """The layers that the folds chose for this region are counted, and who chose is said."""
    info = {"claim": "nested", "layers": ["l1", "l2", "l3"], "select": "auto"}
    chosen = {"V1": ["l1", "l1", "l3"], "V2": ["l2", "l2", "l2"]}
    words = words_of(tmp_path, scores(**info, layer=chosen), "V1")
    assert "among 3 layers; chosen (folds): l1 (2) and l3 (1)." in words["layer"]
    assert "One choice for each region" in words["layer"]
    words = words_of(tmp_path, scores(**info, layer={"all": ["l3", "l3"]}), "V2")
    assert "One choice for all units together" in words["layer"]
    units = {"a": ["l1", "l2"], "b": ["l1", "l1"], "c": ["l3", "l3"]}
    words = words_of(tmp_path, scores(**{**info, "select": "unit"}, layer=units), "V1")
    assert "each unit" in words["layer"]
    assert "l1 (3) and l2 (1)" in words["layer"]
    words = words_of(tmp_path, scores(**{**info, "combine": "concat"}, layer={"all": ["l1 + l2 + l3"]}))
    assert words["layer"] == "All 3 layers side by side."
    profile = words_of(tmp_path, scores(claim="descriptive", layers=["l1", "l2"]))
    assert "One of 2 layers; the highest of them is no claim" in profile["layer"]


def test_preparation_of_time_designs(tmp_path):
    """High-pass, delays, confounds and drift are told; their absence too, where time matters."""
    words = words_of(
        tmp_path,
        scores(
            design="continuous",
            preparation=["high-pass 128 s per run (discrete cosines)"],
            delays=[1, 2],
            delays_s=[2.0, 4.0],
            confounds="6 columns, regressed out",
            drift={"median_share": 0.31, "cutoff_s": 128.0, "expected_share": 0.02},
        ),
    )
    assert "high-pass 128 s per run" in words["preparation"]
    assert "delays of 1 and 2 samples (2 and 4 s)" in words["preparation"]
    assert "6 columns" in words["preparation"]
    assert "31 % of the variance of the responses is slower than 128 s; 2 %" in words["preparation"]
    assert words["repeats"] == "Samples in time: nothing was averaged."
    drift = {"median_share": 0.5, "cutoff_s": 128.0, "expected_share": 0.02}
    bare = words_of(tmp_path, scores(design="blocks", drift=drift))["preparation"]
    assert "50 % of the variance" in bare
    assert "no high-pass, no detrending, no delays, no confounds" in bare
    assert "preparation" not in words_of(tmp_path, scores(design="trials"))


def test_reasons_for_what_is_missing(tmp_path):
    """Units without a score, constant predictions and folds without a score are counted with reasons."""
    words = words_of(
        tmp_path,
        scores(nan_reasons={"constant response": 1}, constant_predictions=4, folds_without_score=2),
        "V2",
    )
    assert "1 of 1 unit have no score; constant response: 1 (over all units)" in words["missing"]
    assert "4 predictions of a unit in a fold did not vary" in words["missing"]
    assert "2 units in a fold had no score" in words["missing"]
    assert "no reason was recorded" in words_of(tmp_path, scores())["missing"]


def test_scalings_repeats_and_grids(tmp_path):
    """Each scaling, each way with repeats and a given grid have their own words."""
    info = {"n_samples": 9, "n_stimuli": 3, "repeats": "train_single", "feature_scaling": "column"}
    words = words_of(
        tmp_path,
        scores(**info, estimator={"name": "RidgeCV", "alphas": [1.0, 10.0], "alpha_per_target": False}),
    )
    assert "Single trials were fitted, means" in words["repeats"]
    assert "Each feature was z-scored, with figures of the training rows" in words["scaling"]
    assert "2 given penalties, 1 to 10" in words["penalty"]
    assert "all units together" in words["penalty"]
    words = words_of(tmp_path, scores(n_samples=3, n_stimuli=3, repeats="average", feature_scaling=None))
    assert "nothing to average" in words["repeats"]
    assert "Features entered as they are; responses" in words["scaling"]


def test_ceiling_that_may_be_zero(tmp_path):
    """Where no unit has a ceiling above zero, nothing is divided by it."""
    bound = NoiseCeiling(np.full(3, 0.1), np.zeros(3), np.full(3, 0.3), "variance_components")
    part = scores()
    part = Scores(part.values, part.units, identity=part.identity, noise_ceiling=bound, n_test=9)
    assert "no unit has a ceiling that is certainly above zero" in words_of(tmp_path, part)["value"]


def test_loud_notes(command, tmp_path):
    """An overruled guard and simulated responses stand first, marked, in text and JSON."""
    save(scores(allow="a  pilot", simulated=True), tmp_path / "s.h5")
    text = command("explain", tmp_path / "s.h5").out
    assert "!!! SIMULATED responses" in text
    assert 'A GUARD AGAINST LEAKAGE WAS OVERRULED ("a pilot")' in text
    first = json.loads(command("explain", tmp_path / "s.h5", "--json").out)[0]
    assert next(iter(first["words"])) == "note"
    assert notes_of([{"allow": "x"}, {"allow": "x"}, {"allow": "y"}]) == [
        f'A GUARD AGAINST LEAKAGE WAS OVERRULED ("{reason}"): these scores may be inflated'
        for reason in ("x", "y")
    ]


def test_notes_of_a_clean_study(finished):
    """A study without simulation and overruled guard has no notes."""
    assert standing_notes(finished / "out") == []


def test_what_cannot_be_explained(results, tmp_path):
    """A file of something else, a damaged cell and a folder without a study are told apart."""
    save(RDMs(1 - np.eye(3), list("abc"), info={"distance": "correlation"}), tmp_path / "r.h5")
    with pytest.raises(InputError, match=r"r\.h5 holds RDMs; expected Scores"):
        read_results(tmp_path / "r.h5")
    with pytest.raises(DataNotFoundError, match="no finished study"):
        read_results(tmp_path)
    file = next((results / "cells").glob("cka-sharp-*/scores-000.h5"))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    with pytest.raises(CorruptFileError, match="Run: brainalign verify"):
        read_results(results)
    save(RDMs(1 - np.eye(3), list("abc"), info={"distance": "correlation"}), file)
    with pytest.raises(CorruptFileError, match="holds RDMs; expected Scores"):
        read_results(results)
