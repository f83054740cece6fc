"""What a page says follows from what the scores carry."""

from __future__ import annotations

import numpy as np
import pandas as pd
from report_parts import Page, make_rdms, make_scores

from brainalign.report import score_table, write_report
from brainalign.types import RDMs, Scores


def test_simulated_numbers_say_so(tmp_path):
    """One simulated result marks the page, its title, every section and each of its own figures."""
    measured, planted = make_scores(), make_scores(0.4, model="other", seed=3, simulated=True)
    for results, words in (([planted], "every number"), ([measured, planted], "some of the numbers")):
        html = write_report(results, tmp_path / "r.html").read_text()
        page = Page(html)
        assert words in page.text
        assert "<title>SIMULATED" in html
        assert html.count('<span class="tag">SIMULATED</span>') == len(page.all("h2")) + 1
    from brainalign.report.groups import group_scores
    from brainalign.report.pictures_scores import unit_pictures

    drawn = next(unit_pictures(group_scores([planted])[0][0]))
    assert drawn.stamps == ["simulated responses"]


def test_q_covers_the_whole_table(full_results):
    """q corrects every p of the table together, and equals the reference."""
    from scipy.stats import false_discovery_control

    table = score_table([r for r in full_results if isinstance(r, Scores)])
    known = table["p"].notna()
    assert 12 < known.sum() < len(table)
    np.testing.assert_allclose(table.loc[known, "q"], false_discovery_control(table.loc[known, "p"]))
    assert table.loc[~known, "q"].isna().all()


def test_words_on_p_follow_the_scores(tmp_path):
    """The note below the table says of a region's p what is true of it: permuted mean, bound, or both."""
    bound = make_scores(p=0.01)
    permuted = make_scores(
        p=0.01, permutation={"n": 1000, "region_p": dict.fromkeys(("all", "V1", "V4"), 0.01)}
    )
    for found, mean, median in (([bound], 0, 1), ([permuted], 1, 0), ([bound, permuted], 1, 1)):
        text = Page(write_report(found, tmp_path / "r.html").read_text()).text.split("Bold rows")[1]
        text = text.split("Methods")[0]
        assert ("mean score under the same permutations" in text) == mean
        assert ("a bound from their median" in text) == median


def test_quiet_checks_read_as_findings(tmp_path):
    """What was checked and not found is told as a statement, for one group and for several."""
    one = [make_scores(), make_scores(0.2, model="pixels", role="control")]
    two = [*one, make_scores(identity={"subject": "s2"})]
    for found in (one, two):
        text = Page(write_report(found, tmp_path / "r.html").read_text()).text
        quiet = text.split("Checked, nothing found")[1].split("Could not be checked")[0]
        assert "No guard was overruled" in quiet
        assert "No score below chance" in quiet
        assert "Below chance" not in quiet


def test_regions_are_not_called_units():
    """A row of RSA or CKA stands for a region: no share of significant units, no mean over units."""
    from brainalign.report import plot_layer_profile, plot_model_comparison

    units = pd.DataFrame({"unit_id": ["V1", "V4"], "n_units": [40, 50]})
    scores = Scores(
        np.array([0.1, 0.2]),
        units,
        "cka_debiased",
        {"model": "net", "layer": "a", "analysis": "cka"},
        p_values=np.array([0.01, 0.02]),
    )
    assert score_table([scores])["share_significant"].isna().all()
    assert plot_layer_profile([scores]).get_ylabel() == "CKA (debiased)"
    assert plot_model_comparison([scores]).get_xlabel() == "CKA (debiased)"


def test_shared_network_rdm_is_drawn_once():
    """Regions that share their most similar network RDM share its picture, titled by model and layer."""
    from brainalign.report.pictures_rdms import rdm_pictures

    brains, model = make_rdms(k=2), make_rdms(seed=1).values[0]
    rows = [{"kind": "brain", "roi": r, "name": r, "model": "", "layer": ""} for r in ("V1", "V4")]
    rows += [
        {"kind": "model", "roi": r, "name": "net fc", "model": "net", "layer": "fc"} for r in ("V1", "V4")
    ]
    rdms = RDMs(np.stack([*brains.values, model, model]), brains.stimulus_id, pd.DataFrame(rows))
    found = list(rdm_pictures([rdms, rdms]))
    titles = [p.title for p in found if p.name.startswith("rdm ")]
    assert titles == ["Brain: RDM of V1", "Network: RDM of net fc", "Brain: RDM of V4"]
    caption = found[1].caption
    assert caption.startswith("The most similar RDM of 1 to V1 (Spearman")
    assert " and V4 (Spearman" in caption
