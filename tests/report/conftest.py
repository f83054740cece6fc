"""A full set of made-up results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_parts import LAYERS, make_rdms, make_scores

from brainalign.types import Scores


@pytest.fixture(scope="session")
def full_results():
    """A nested claim, two controls, two profiles, RSA of every layer, RDMs of brain and network."""
    found = [
        make_scores(0.5, p=1 / 1001),
        make_scores(0.35, p=1 / 1001, model="untrained", role="control", seed=1),
        make_scores(0.2, p=1 / 1001, model="pixels", layer="pixels", role="control", seed=2),
    ]
    for depth, layer in enumerate(LAYERS):
        level = 0.5 - 0.05 * abs(depth - 3)
        found.append(make_scores(level, layer=layer, claim="descriptive", seed=10 + depth))
        found.append(
            make_scores(
                0.3, layer=layer, claim="descriptive", model="untrained", role="control", seed=20 + depth
            )
        )
        found.append(
            Scores(
                np.array([0.1 + 0.02 * depth, 0.2]),
                pd.DataFrame({"unit_id": ["V1", "V4"]}),
                "rsa_spearman",
                {"dataset": "planted", "subject": "s1", "model": "net", "layer": layer, "analysis": "rsa"},
                interval=np.array([[0.05, 0.1], [0.3, 0.3]]),
                n_test=200,
                p_values=np.array([0.01, 0.02]),
                info={
                    "layers": LAYERS,
                    "no_ceiling": "one subject",
                    "interval": "95 % over resampled stimuli",
                },
            )
        )
    found.append(make_rdms("brain", roi="V4"))
    found.append(make_rdms("model", k=2, seed=1, model="net", layer="blocks.3"))
    return found


@pytest.fixture(scope="session")
def chromium() -> str:
    """A headless Chromium; installed where CI runs as root, else a skip with the reason."""
    browser_pipe = pytest.importorskip(
        "browser_pipe", reason="pipes of POSIX are needed", exc_type=ImportError
    )
    program = browser_pipe.find_chromium()
    if program is None:
        why = browser_pipe.install_chromium()
        program = browser_pipe.find_chromium()
        if program is None:
            pytest.skip(why)
    return program


@pytest.fixture(scope="module")
def browser(chromium):
    """One Chromium for the tests of a module."""
    from browser_pipe import Browser

    with Browser(chromium) as found:
        yield found
