"""Made-up results of every kind, and a page taken apart."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pandas as pd

from brainalign.types import NoiseCeiling, RDMs, Scores

LAYERS = [f"blocks.{i}" for i in range(6)]


class Page(HTMLParser):
    """Tags with their attributes, the text, and the alternative texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._hidden = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag == "style"

    def handle_endtag(self, tag):
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def make_scores(
    value=0.5,
    *,
    n_units=30,
    layer="selected",
    model="net",
    role="model",
    claim="nested",
    seed=0,
    p=None,
    ceiling=0.8,
    roi=True,
    identity=None,
    **info,
):
    """Scores with folds, ceiling and two regions; `info` is added."""
    rng = np.random.default_rng(seed)
    folds = value + rng.normal(0, 0.05, n_units) + rng.normal(0, 0.02, (5, n_units))
    units = pd.DataFrame({"unit_id": [f"u{i:02d}" for i in range(n_units)]})
    if roi:
        units["roi_area"] = ["V1"] * (n_units // 2) + ["V4"] * (n_units - n_units // 2)
    bound = None
    if ceiling is not None:
        level = np.full(n_units, ceiling)
        bound = NoiseCeiling(level, level - 0.05, level + 0.05, "variance_components")
    names = {"dataset": "planted", "subject": "s1", "model": model, "layer": layer, "analysis": "encoding"}
    base = {
        "role": role,
        "claim": claim,
        "design": "trials",
        "layers": LAYERS,
        "scoring_over": "folds",
        "splits": {
            "method": "grouped by stimulus",
            "n_folds": 5,
            "n_groups": 200,
            "hash": "abc123",
            "n_test": [40] * 5,
        },
        "estimator": {"name": "RidgeCV"},
        "random_state": 0,
        "versions": {"numpy": "2"},
        "permutation": {"n": 1000, "exchange": "stimuli within folds"},
    }
    return Scores(
        folds.mean(0),
        units,
        "pearson",
        {**names, **(identity or {})},
        fold_values=folds,
        n_test=200,
        noise_ceiling=bound,
        p_values=None if p is None else np.full(n_units, p),
        info={**base, **info},
    )


def make_rdms(kind="brain", n=24, k=1, seed=0, **columns):
    """RDMs of random points."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(k, n, 3))
    values = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    table = {"kind": [kind] * k, **{name: [value] * k for name, value in columns.items()}}
    return RDMs(values, [f"i{j}" for j in range(n)], pd.DataFrame(table), info={"distance": "euclidean"})
