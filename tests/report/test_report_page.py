"""The page: self-contained, escaped, honest, and never a trace of the machine."""

from __future__ import annotations

import base64
import getpass
import hashlib
import re
import socket
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from report_parts import LAYERS, Page, make_rdms, make_scores

from brainalign.errors import DataNotFoundError, InputError
from brainalign.report import score_table, write_report
from brainalign.types import NoiseCeiling, RDMs, Scores

SECTIONS = ["claims", "run", "reach", "alarms", "results", "rdms", "table", "methods", "provenance"]
REMOTE = {
    "script",
    "iframe",
    "object",
    "embed",
    "link",
    "base",
    "form",
    "audio",
    "video",
    "svg",
    "math",
    "input",
    "button",
    "source",
    "frame",
    "applet",
    "template",
    "noscript",
    "use",
    "image",
    "foreignobject",
    "textarea",
}
ALLOWED_ATTRIBUTES = {
    "id",
    "class",
    "href",
    "src",
    "alt",
    "width",
    "height",
    "scope",
    "role",
    "aria-label",
    "aria-labelledby",
    "tabindex",
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
}

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "</style><script>1</script>",
    "</title><script>1</script>",
    "<!--",
    "--><script>1</script>",
    "]]><script>1</script>",
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe src=//evil.example>",
    "<link rel=stylesheet href=//evil.example>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0>",
    "<form action=//evil.example><input>",
    "{{ 7*7 }}",
    "{% raw %}{{ config }}",
    "{{ ''.__class__.__mro__ }}",
    r"$\frac{1}{0}$",
    r"$\undefined$ $",
    "$",
    "_$x_{",
    "a & b &lt;script&gt; &#x3c;",
    "\u202egnp.exe",
    "\u05d0\u05d1\u05d2 <b>",
    "🧠😀<i>",
    "e\u0301\u200b\u2028x",
    "<object data=//evil.example>",
    "url(//evil.example)",
    "%s %(x)s {0}",
    "../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "x" * 250,
]


def _hostile(payload: str) -> list[Scores | RDMs]:
    """Results that carry the payload in every name field."""
    mark = payload.replace("\u2028", " ").strip()
    units = pd.DataFrame(
        {"unit_id": [f"{mark[:200]}{i}" for i in range(4)], "roi_" + mark: [mark, mark, "b", "b"]}
    )
    info = {
        "species": mark,
        "recording": mark,
        "design": mark,
        "generalisation": mark,
        "repeats": mark,
        "scoring_over": mark,
        "estimator": {"name": mark},
        "feature_scaling": mark,
        "splits": {"method": mark, "hash": mark, "n_folds": 2},
        "layers": [mark, "b"],
        "layer": {mark: [mark, "b"]},
        "versions": {mark: mark},
        "allow": mark,
        "no_ceiling": mark,
        "dataset": {"citation": f"https://evil.example/{mark}", "licence": mark, "species": mark},
        "model": {"citation": mark, "weights_digest": mark, "preprocessing": mark, "pool": mark},
        "nan_reasons": {mark: 1},
        "permutation": {"n": 20, "exchange": mark},
        "interval": mark,
        "unit_name": mark,
        "joined": mark,
        "random_state": mark,
        "penalty": {"edge_low": mark},
        "region_interval": {mark: mark},
    }
    identity = {"dataset": mark, "subject": mark, "model": mark, "analysis": mark}
    values = np.array([0.1, 0.2, np.nan, 0.4])
    p = np.full(4, 0.05)
    found: list[Scores | RDMs] = [
        Scores(
            values,
            units,
            mark,
            {**identity, "layer": "selected"},
            p_values=p,
            info={**info, "claim": "nested"},
        ),
        Scores(
            values,
            units,
            mark,
            {**identity, "layer": mark},
            info={**info, "claim": "descriptive", "role": mark},
        ),
        Scores(values, units, mark, {**identity, "layer": "b"}, info={**info, "claim": "descriptive"}),
        Scores(values, units, mark, {**identity, "layer": mark}, info={**info, "role": "control"}),
        Scores(np.stack([values, values], 1), units, mark, {**identity, "subject": "t"}, info=info),
    ]
    ids = [f"{mark[:200]}{i}" for i in range(5)]
    table = pd.DataFrame(
        {"kind": ["brain", "model"], "name": mark, "roi": mark, "model": mark, "layer": mark, "subject": mark}
    )
    matrix = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
    rdm_info = {"distance": mark, "condition": [mark, mark, "b", "b", "b"]}
    return [*found, RDMs(np.stack([matrix, matrix**2]), ids, table, info=rdm_info)]


def _assert_harmless(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in REMOTE, tag
        assert set(attributes) <= ALLOWED_ATTRIBUTES, (tag, attributes)
        if "href" in attributes:
            assert re.fullmatch(r"#[a-z]+", attributes["href"] or ""), attributes
        if "src" in attributes:
            assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", attributes["src"] or "")
    metas = [m for m in page.all("meta") if m.get("http-equiv")]
    assert [m["http-equiv"] for m in metas] == ["Content-Security-Policy"]
    assert len(page.all("style")) == len(page.all("title")) == 1


@pytest.fixture(scope="module")
def plain_tags(tmp_path_factory):
    """The tags of a page whose names are harmless."""
    path = write_report(_hostile("plain"), tmp_path_factory.mktemp("plain") / "r.html")
    return {tag for tag, _ in Page(path.read_text()).tags}


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_hostile_names_stay_text(payload, plain_tags, tmp_path, monkeypatch):
    """No name, in any field, becomes a tag, an attribute, a link, a template or a formula."""
    from brainalign.report.pictures import Gallery

    # drawing takes most of the time: two pages are drawn whole, every name is drawn below
    if PAYLOADS.index(payload) % 20:
        monkeypatch.setattr(Gallery, "render", _undrawn)
    path = write_report(_hostile(payload), tmp_path / "r.html", title=payload, provenance={payload: payload})
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    _assert_harmless(page)
    assert {t for t, _ in page.tags} <= plain_tags | {"img", "figure"}
    if payload.startswith("{{ 7"):
        assert "{{ 7*7 }}" in page.text
    assert not set(page.text) & set("\u202e\u200b\u2028")


def _undrawn(self, picture):
    return {
        "uri": "data:image/png;base64,AA",
        "caption": picture.caption,
        "alt": picture.alt,
        "title": picture.title,
        "saved": "",
        "width": "1",
        "height": "1",
    }


@pytest.mark.parametrize("payload", [p for p in PAYLOADS if "$" in p or not p.isascii()] + ["_x^{y}"])
def test_hostile_names_can_be_drawn(payload):
    """Every text of every figure is drawn letter by letter: no formula, no glyph that the font lacks."""
    from brainalign.report import pictures
    from brainalign.report.groups import group_scores
    from brainalign.report.style import _glyphs

    results = _hostile(payload)
    groups, _ = group_scores([r for r in results if isinstance(r, Scores)])
    kinds = [
        pictures.profile_pictures,
        pictures.comparison_pictures,
        pictures.unit_pictures,
        pictures.time_pictures,
    ]
    found = [p for g in groups for kind in kinds for p in kind(g)]
    found += pictures.rdm_pictures([r for r in results if isinstance(r, RDMs)])
    assert len(found) >= 12
    for picture in found:
        axes = picture.draw()
        for text in axes.figure.findobj(Text):
            shown = text.get_text()
            assert shown.count("$") == shown.count(r"\$"), (picture.title, shown)
            assert {ord(c) for c in shown} <= _glyphs() | {10, 0x2212}, (picture.title, shown)
    axes.figure.canvas.draw()


def test_svg_of_hostile_names_is_harmless(tmp_path):
    """The written SVG files parse, and hold no script, handler, link or foreign reference."""
    write_report(
        _hostile('"><script>1</script>--><svg onload=1>'), tmp_path / "r.html", figures_folder=tmp_path / "f"
    )
    files = sorted((tmp_path / "f").glob("*.svg"))
    assert len(files) >= 6
    for file in files:
        for node in ET.fromstring(file.read_text(encoding="utf-8")).iter():
            assert node.tag.split("}")[-1].lower() not in {"script", "foreignobject", "a", "iframe"}
            for name, value in node.attrib.items():
                assert not name.lower().startswith("on")
                if name.endswith("href"):
                    assert value.startswith(("#", "data:image/png;base64,")), value


def test_full_page(full_results, tmp_path):
    """Every section is there, in order, with headings, alternative texts and the policy; below 5 MB."""
    path = write_report(full_results, tmp_path / "report.html", provenance={"study": "planted.toml"})
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    _assert_harmless(page)
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


def test_same_results_same_bytes(tmp_path):
    """Two reports of the same results are byte-identical, SVG files included."""
    for name in "ab":
        write_report([make_scores()], tmp_path / f"{name}.html", figures_folder=tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_figures_are_written_with_their_numbers(full_results, tmp_path):
    """Each figure has an SVG and a TSV of equal name, and the TSV holds the scores that went in."""
    write_report(full_results, tmp_path / "r.html", figures_folder=tmp_path / "figures")
    names = {p.stem for p in (tmp_path / "figures").glob("*.svg")}
    assert names == {p.stem for p in (tmp_path / "figures").glob("*.tsv")} - {"scores"}
    assert len(names) >= 10
    claim = full_results[0]
    units = pd.read_csv(next((tmp_path / "figures").glob("*_units_all*.tsv")), sep="\t")
    np.testing.assert_array_equal(units["value"], claim.values)
    np.testing.assert_array_equal(units["noise_ceiling"], claim.noise_ceiling.values)
    profile = pd.read_csv(next((tmp_path / "figures").glob("*_layers_V4*encoding.tsv")), sep="\t").set_index(
        ["model", "layer"]
    )
    for scores in full_results:
        if (
            isinstance(scores, Scores)
            and scores.info.get("claim") == "descriptive"
            and scores.metric == "pearson"
        ):
            name = scores.identity["model"] + (" (control)" if scores.info["role"] == "control" else "")
            assert profile.loc[(name, scores.identity["layer"]), "value"] == pytest.approx(
                scores.values[15:].mean(), abs=1e-12
            )
    table = pd.read_csv(tmp_path / "figures" / "scores.tsv", sep="\t")
    known = [r for r in full_results if isinstance(r, Scores)]
    assert len(table) == sum(3 if s.metric == "pearson" else 2 for s in known)


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
    _assert_harmless(page)
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
    from brainalign.report.pictures import unit_pictures

    drawn = next(unit_pictures(group_scores([planted])[0][0]))
    assert drawn.simulated


def test_no_trace_of_the_machine(tmp_path):
    """No path, host or user name reaches the page or the files beside it."""
    home = str(Path.home() / "secret_folder" / "study.toml")
    host = socket.gethostname()
    scores = make_scores(
        model="/srv/lab/models/net.pt",
        generalisation=f"see {home}",
        no_ceiling="C:\\Users\\anna\\x.txt",
        dataset={"citation": "file:///mnt/disk/paper.pdf"},
        identity={"dataset": str(tmp_path / "my_set")},
    )
    provenance = {
        "study": home,
        "hostname": host,
        "user": "anna",
        "working": {"cwd": "/x/y", "seconds": 3.5, "log": f"ran on {host}"},
    }
    write_report([scores], tmp_path / "r.html", figures_folder=tmp_path / "f", provenance=provenance)
    written = [p.read_text() for p in [tmp_path / "r.html", *(tmp_path / "f").iterdir()]]
    forbidden = [str(tmp_path), str(Path.home() / "s"), "/srv/lab", "Users", "anna", "/mnt/disk", "file:"]
    if len(host) > 3 and host != "localhost":
        forbidden.append(host)
    if len(getpass.getuser()) > 4:
        forbidden.append(getpass.getuser())
    for text in written:
        plain = re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", text)
        assert not [f for f in forbidden if f in plain]
    assert "net.pt" in written[0]
    assert "working.seconds" in written[0]


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
        return {**_undrawn(self, picture), "uri": "data:image/png;base64," + "A" * (size - 22)}

    monkeypatch.setattr(Gallery, "render", large)
    results = [
        make_scores(identity={"subject": f"s{i}", "layer": name}, claim="descriptive", n_units=4)
        for i in range(30)
        for name in LAYERS
    ]
    path = write_report(results, tmp_path / "r.html")
    assert path.stat().st_size < 5_000_000
    assert "all figures of planted, s29" in path.read_text()


def test_q_covers_the_whole_table(full_results):
    """q corrects every p of the table together, and equals the reference."""
    from scipy.stats import false_discovery_control

    table = score_table([r for r in full_results if isinstance(r, Scores)])
    known = table["p"].notna()
    assert 12 < known.sum() < len(table)
    np.testing.assert_allclose(table.loc[known, "q"], false_discovery_control(table.loc[known, "p"]))
    assert table.loc[~known, "q"].isna().all()


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
    from brainalign.report.figures_units import time_course_numbers

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
    from brainalign.report.pictures import rdm_pictures

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
