"""Simulated responses and overruled guards are written on everything that shows them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from report_parts import (
    LAYERS,
    Page,
    make_continuous,
    make_rdms,
    make_scores,
    make_sensors,
    make_surface,
    make_volume,
)

from brainalign import report
from brainalign.comparison import bootstrap_rsa
from brainalign.report import write_report
from brainalign.report.groups import group_scores
from brainalign.report.planted import planted_rows
from brainalign.report.style import figure_of
from brainalign.types import RDMs

MARKS = {"simulated": True, "allow": "a pilot of the pipeline"}
WORDS = 'simulated responses; guard overruled: "a pilot of the pipeline"'
PLANTED = {"V1": "blocks.1", "V4": "blocks.4"}


def _rdms():
    plain = make_rdms()
    return RDMs(plain.values, plain.stimulus_id, plain.table, info={**plain.info, **MARKS})


def _rsa():
    noise = np.triu(np.random.default_rng(0).random((4, 12, 12)), 1)
    people = noise + noise.transpose(0, 2, 1)
    ids = [f"s{i}" for i in range(12)]
    models = RDMs(people[:2], ids)
    return bootstrap_rsa(RDMs(people, ids, info=MARKS), models, measure="rho_a", over="stimuli", n_boot=50)


def _movie():
    movie = report.plot_rdm_movie(_rdms())
    movie._draw_was_started = True  # else it warns that it was never shown
    return movie._fig


def _alignment() -> pd.DataFrame:
    frame = pd.DataFrame({"a": ["x"], "b": ["y"], "measure": ["cka"], "value": [0.5]})
    frame.attrs.update(MARKS)
    return frame


DRAWN = {
    "plot_layer_profile": lambda: report.plot_layer_profile([make_scores(layer="a", **MARKS)]),
    "plot_model_comparison": lambda: report.plot_model_comparison([make_scores(**MARKS), make_scores()]),
    "plot_unit_scores": lambda: report.plot_unit_scores(make_scores(**MARKS)),
    "plot_time_course": lambda: report.plot_time_course(make_sensors(**MARKS)),
    "plot_topography": lambda: report.plot_topography(make_sensors(**MARKS)),
    "plot_lag_curve": lambda: report.plot_lag_curve(make_continuous(**MARKS)),
    "plot_brain_map": lambda: report.plot_brain_map(make_volume(**MARKS)),
    "plot_brain_map surface": lambda: report.plot_brain_map(make_surface(**MARKS)),
    "plot_rdm": lambda: report.plot_rdm(_rdms()),
    "plot_rdm_pair": lambda: report.plot_rdm_pair(make_rdms(), _rdms()),
    "plot_mds": lambda: report.plot_mds(_rdms()),
    "plot_rdms": lambda: report.plot_rdms(_rdms()),
    "plot_rdm_movie": _movie,
    "plot_rsa": lambda: report.plot_rsa(_rsa()),
    "plot_mds_over_time": lambda: report.plot_mds_over_time(_rdms()),
    "plot_dendrogram": lambda: report.plot_dendrogram(_rdms()),
    "plot_alignment": lambda: report.plot_alignment(_alignment()),
    "plot_searchlight_map": lambda: report.plot_searchlight_map(make_volume(**MARKS)),
}


def test_every_figure_can_be_stamped():
    """No public figure is missing from the next test."""
    assert {n for n in report.__all__ if n.startswith("plot_")} == {n.split()[0] for n in DRAWN}


@pytest.mark.parametrize("name", DRAWN)
def test_figure_carries_the_stamps(name):
    """The figure itself says in its footer that it is simulated and which guard was overruled."""
    drawn = DRAWN[name]()
    figure = drawn if isinstance(drawn, Figure) else figure_of(drawn)
    assert WORDS in [" ".join(text.get_text().split()) for text in figure.texts]
    figure.canvas.draw()
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= -1
        assert box.x1 <= figure.bbox.width + 1


def test_measured_figures_carry_none():
    """Without a reason to warn there is no footer; the caller's own label stays; two stamps join."""
    assert figure_of(report.plot_unit_scores(make_scores())).get_supxlabel() == ""
    ax = report.plot_unit_scores(make_scores())
    figure_of(ax).supxlabel("mine")
    report.plot_unit_scores(make_scores(**MARKS), ax=ax)
    report.plot_unit_scores(make_scores(allow="another"), ax=ax)
    assert figure_of(ax).get_supxlabel() == "mine"
    assert ["another" in t.get_text() and "pilot" in t.get_text() for t in figure_of(ax).texts][-1]


def test_page_and_tables_are_stamped(tmp_path):
    """Banner, alarm, caption, table row and TSV of the affected scores say it; others do not."""
    marked = make_scores(0.4, model="leaky", allow="a pilot of the pipeline")
    path = write_report([make_scores(), marked], tmp_path / "r.html", figures_folder=tmp_path / "f")
    page = Page(path.read_text())
    banners = [a for a in page.all("div") if a.get("class") == "banner"]
    assert len(banners) == 1
    assert "GUARD OVERRULED" in page.text
    assert page.text.count("a pilot of the pipeline") >= 3
    assert page.text.split("Layers and regions")[1].count("guard overruled") == 3
    table = pd.read_csv(tmp_path / "f" / "scores.tsv", sep="\t", keep_default_na=False)
    assert set(table.loc[table["model"] == "leaky", "overruled"]) == {"a pilot of the pipeline"}
    assert set(table.loc[table["model"] == "net", "overruled"]) == {""}
    compared = pd.read_csv(next((tmp_path / "f").glob("*models_all*.tsv")), sep="\t")
    assert set(compared["stamp"]) == {'guard overruled: "a pilot of the pipeline"'}
    units = pd.read_csv(next((tmp_path / "f").glob("*units_all*.tsv")), sep="\t")
    assert "stamp" not in units
    clean = Page(write_report([make_scores()], tmp_path / "c.html").read_text())
    assert not [a for a in clean.all("div") if a.get("class") == "banner"]


def test_planted_layers_stand_beside_the_recovered(tmp_path):
    """Each region's planted layer is compared with the one that most folds chose; misses are named."""
    chosen = {"V1": ["blocks.1"] * 4 + ["blocks.0"], "V4": ["blocks.3"] * 3 + ["blocks.4"] * 2}
    claim = make_scores(simulated=True, planted=PLANTED)
    claim.info["layer"] = chosen
    control = make_scores(model="pixels", role="control", simulated=True, planted=PLANTED)
    rows = planted_rows(group_scores([claim, control])[0])
    assert [(r["region"], r["recovered"], r["how"], r["verdict"]) for r in rows] == [
        ("V1", "blocks.1", "4 of 5 folds", "recovered"),
        ("V4", "blocks.3", "3 of 5 folds", "not recovered"),
    ]
    page = Page(write_report([claim, control], tmp_path / "r.html").read_text())
    assert "1 of 2 planted layers were recovered." in page.text
    assert "planted" in [h["id"] for h in page.all("h2")]
    claim.info["layer"] = {"all": ["blocks.1"] * 5}
    assert "one choice for all units" in planted_rows(group_scores([claim])[0])[1]["how"]
    assert planted_rows(group_scores([make_scores()])[0]) == []


def test_planted_layers_of_a_profile():
    """Where no claim was nested, the best layer of the planted model is told; other models say nothing."""
    profile = []
    for depth, layer in enumerate(LAYERS):
        scores = make_scores(0.1, layer=layer, claim="descriptive", planted=PLANTED, simulated=True)
        values = np.where(np.arange(30) < 15, 0.5 - 0.1 * abs(depth - 1), 0.5 - 0.1 * abs(depth - 2))
        profile.append(type(scores)(values, scores.units, scores.metric, scores.identity, info=scores.info))
    rows = planted_rows(group_scores(profile)[0])
    assert [(r["recovered"], r["verdict"]) for r in rows] == [
        ("blocks.1", "recovered"),
        ("blocks.2", "not recovered"),
    ]
    other = [make_scores(layer=n, claim="descriptive", planted=PLANTED, seed=i) for i, n in enumerate("abc")]
    assert planted_rows(group_scores(other)[0]) == []
