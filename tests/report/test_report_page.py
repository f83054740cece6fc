"""The page: self-contained, whole, small, and written in one step."""

from __future__ import annotations

import base64
import hashlib
import re

import numpy as np
import pytest
from report_hostile import assert_harmless, undrawn
from report_parts import LAYERS, Page, make_rdms, make_scores

from brainalign.errors import DataNotFoundError, InputError
from brainalign.report import score_table, write_report
from brainalign.types import NoiseCeiling, RDMs, Scores

SECTIONS = ["claims", "run", "reach", "alarms", "results", "rdms", "table", "methods", "provenance"]


def test_full_page(full_results, tmp_path):
    """Every section is there, in order, with headings, alternative texts and the policy; below 5 MB."""
    path = write_report(full_results, tmp_path / "report.html", provenance={"study": "planted.toml"})
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert_harmless(page)
    assert [t["id"] for t in page.all("h2")] == SECTIONS
    assert path.stat().st_size < 5_000_000
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    css = re.search(r"<style>(.*?)</style>", html, re.S).group(1)
    assert base64.b64encode(hashlib.sha256(css.encode()).digest()).decode() in policy
    assert "url(" not in css
    assert "@import" not in css
    assert len(page.all("h1")) == 1
    assert all(re.search(r"\d", img["alt"]) for img in page.all("img"))
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))
    anchors = {a["href"][1:] for a in page.all("a")}
    assert anchors <= {a.get("id") for _, a in page.tags}
    assert "SIMULATED" not in html
    for words in (
        "net predicts 30 units",
        "held-out stimuli",
        "Standing alarms",
        "untrained (control)",
        "doi:10.1080/",
        "doi:10.3389/neuro.06.004.2008",
        "doi:10.1111/j.2517-6161.1995.tb02031.x",
        "planted.toml",
        "abc123",
    ):
        assert words in page.text, words
    pictures = [base64.b64decode(i["src"].split(",")[1]) for i in page.all("img")]
    assert len(pictures) >= 10
    assert all(p.startswith(b"\x89PNG") and b"matplotlib" not in p for p in pictures)


@pytest.mark.parametrize(
    "scores",
    [
        Scores(np.array([0.1, 0.2, 0.3])),
        Scores(np.array([0.1])),
        Scores(np.empty(0)),
        Scores(np.full(4, np.nan)),
        Scores(np.zeros(3)),
        Scores(np.random.default_rng(0).normal(size=(5, 7)), info={"times": np.arange(7) / 10}),
        Scores(np.full((3, 2), np.nan)),
        Scores(
            np.array([0.1, 0.2]),
            info={
                "splits": None,
                "layer": None,
                "penalty": "x",
                "permutation": 3,
                "layers": 4,
                "claim": "nested",
            },
        ),
    ],
)
def test_scores_that_say_little(scores, tmp_path):
    """Scores without names, ceiling, p-values, folds or even values still make a page."""
    page = Page(write_report([scores], tmp_path / "r.html", figures_folder=tmp_path / "f").read_text())
    assert_harmless(page)
    assert "No noise ceiling" in page.text
    assert "not say how their test rows were kept apart" in page.text
    assert not re.search(r"\bnan\b", page.text.lower())
    assert "None" not in page.text.replace("None of the checks", "")


def test_rdms_alone(tmp_path):
    """RDMs without scores, without kinds, with missing pairs make a page, too."""
    rdms = make_rdms(n=8)
    values = rdms.values.copy()
    values[0, 1, 2] = values[0, 2, 1] = np.nan
    page = Page(write_report([RDMs(values, rdms.stimulus_id)], tmp_path / "r.html").read_text())
    assert len(page.all("img")) == 2
    assert [t["id"] for t in page.all("h2")] == ["rdms", "methods", "provenance"]


def test_page_stays_small(tmp_path, monkeypatch):
    """Figures that find no room are named on the page, and still written to the folder."""
    monkeypatch.setattr("brainalign.report.page._MOST_PAGE", 120_000)
    results = [make_scores(identity={"subject": f"s{i}"}, seed=i) for i in range(3)]
    path = write_report(results, tmp_path / "r.html", figures_folder=tmp_path / "f")
    page = Page(path.read_text())
    assert path.stat().st_size < 140_000
    assert "Left out for size" in page.text
    assert len(list((tmp_path / "f").glob("*.svg"))) > len(page.all("img"))


def test_many_subjects_stay_below_the_limit(tmp_path, monkeypatch):
    """Thirty subjects of two regions and 600 rows of table keep the page below 5 MB."""
    from brainalign.report.pictures import Gallery

    def large(self, picture):
        size = 90_000
        if self.room < size:
            self.left_out.append(picture.title)
            return None
        self.room -= size
        return {**undrawn(self, picture), "uri": "data:image/png;base64," + "A" * (size - 22)}

    monkeypatch.setattr(Gallery, "render", large)
    results = [
        make_scores(identity={"subject": f"s{i}", "layer": name}, claim="descriptive", n_units=4)
        for i in range(30)
        for name in LAYERS
    ]
    path = write_report(results, tmp_path / "r.html")
    assert path.stat().st_size < 5_000_000
    assert "all figures of planted, s29" in path.read_text()


def test_wrong_results_are_refused(tmp_path):
    """Nothing, something else, a mapping, and a folder as path are errors that say what to do."""
    with pytest.raises(InputError, match="results is empty; give at least one"):
        write_report([], tmp_path / "r.html")
    with pytest.raises(InputError, match="results is a NoneType; expected a list of at least one Scores"):
        write_report(None, tmp_path / "r.html")
    with pytest.raises(InputError, match=r"results is a dict.*profile.values\(\)"):
        write_report({"a": make_scores()}, tmp_path / "r.html")
    with pytest.raises(InputError, match=r"results\[1\] is a float; expected Scores or RDMs"):
        write_report([make_scores(), 3.0], tmp_path / "r.html")
    with pytest.raises(InputError, match=r"results\[0\] is a dict.*one by one: \[\*profile.values\(\)\]"):
        write_report([{"a": make_scores()}], tmp_path / "r.html")
    with pytest.raises(InputError, match="is a folder"):
        write_report([Scores(np.ones(2))], tmp_path)
    with pytest.raises(DataNotFoundError, match="does not exist"):
        write_report([Scores(np.ones(2))], tmp_path / "none" / "r.html")


def test_older_page_survives_a_failure(tmp_path, monkeypatch):
    """When drawing fails halfway, the page that was there keeps every byte."""
    path = tmp_path / "r.html"
    path.write_text("old")
    monkeypatch.setattr("brainalign.report.pictures.base64.b64encode", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report([make_scores()], path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_caller_settings_survive(tmp_path):
    """The report draws with its own settings and leaves those of the caller as they were."""
    import matplotlib

    with matplotlib.rc_context({"text.usetex": True, "font.size": 31.0}):
        write_report([make_scores()], tmp_path / "r.html")
        assert matplotlib.rcParams["text.usetex"] is True
        assert matplotlib.rcParams["font.size"] == 31.0


def test_scores_and_ceilings_over_time(tmp_path):
    """Scores whose ceiling, folds, interval and p-values have a time axis make a page."""
    from brainalign.report.figures_time import time_course_numbers

    rng = np.random.default_rng(0)
    level = rng.uniform(0.6, 0.8, (5, 3))
    scores = Scores(
        rng.uniform(0.2, 0.4, (5, 3)),
        fold_values=rng.uniform(0.2, 0.4, (4, 5, 3)),
        interval=np.stack([np.full((5, 3), 0.1), np.full((5, 3), 0.5)]),
        p_values=np.full((5, 3), 0.01),
        noise_ceiling=NoiseCeiling(level, level - 0.1, level + 0.1, "split_half"),
        info={"times": [0.0, 0.1, 0.2]},
    )
    path = write_report([scores], tmp_path / "r.html", figures_folder=tmp_path / "f")
    assert "Time course" in Page(path.read_text()).text
    row = score_table([scores]).iloc[0]
    assert row["ceiling"] == pytest.approx(level.mean())
    assert row["normalised"] == pytest.approx(scores.values.mean() / level.mean())
    np.testing.assert_allclose(time_course_numbers(scores)["noise_ceiling"], level.mean(0))
