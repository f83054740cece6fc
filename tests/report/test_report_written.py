"""What is written beside the page, and what must never be written."""

from __future__ import annotations

import getpass
import re
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_parts import make_scores

from brainalign.report import write_report
from brainalign.types import Scores


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
