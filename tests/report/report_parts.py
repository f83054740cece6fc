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


def make_volume(shape=(6, 7, 5), *, affine=None, dataset="volume", **info):
    """Scores of the voxels of a ball, highest on the right of the brain (x > 0)."""
    affine = np.diag([3.0, 3.0, 3.0, 1.0]) if affine is None else np.asarray(affine, dtype=float)
    ijk = np.argwhere(np.ones(shape))
    xyz = ijk @ affine[:3, :3].T + affine[:3, 3]
    middle = xyz.mean(0)
    inside = np.linalg.norm((ijk - (np.array(shape) - 1) / 2) / np.array(shape), axis=1) <= 0.55
    ijk, xyz = ijk[inside], xyz[inside]
    values = np.where(xyz[:, 0] > middle[0], 0.6, 0.1)
    units = pd.DataFrame(ijk, columns=list("ijk")).assign(**dict(zip("xyz", xyz.T, strict=True)))
    units["unit_id"] = ["_".join(map(str, row)) for row in ijk]
    geometry = {"affine": affine.tolist(), "volume_shape": list(shape), "space": "native"}
    identity = {"dataset": dataset, "subject": "s1", "model": "net", "analysis": "encoding"}
    return Scores(values, units, identity=identity, info={"design": "blocks", **geometry, **info})


def make_sensors(n=12, *, ch_type="eeg", timed=True, seed=0, **info):
    """Scores of sensors around a head, highest at 0.2 s on the right."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    radius = np.where(np.arange(n) % 2, 80.0, 45.0)
    places = np.stack([radius * np.cos(angle), radius * np.sin(angle), 40 + 0.6 * (90 - radius)], axis=1)
    times = np.arange(-10, 51) / 100
    course = np.exp(-(((times - 0.2) / 0.05) ** 2))
    level = 0.1 + 0.2 * (places[:, 0] > 0)
    values = level[:, None] * course + rng.normal(0, 0.01, (n, len(times)))
    units = pd.DataFrame(places, columns=list("xyz")).assign(ch_type=ch_type)
    units["unit_id"] = [f"{ch_type} {i}" for i in range(n)]
    identity = {"dataset": "sensors", "subject": "s1", "model": "net", "analysis": "encoding"}
    facts = {"design": "trials", "coordinate_frame": "head", **info}
    if not timed:
        return Scores(values.max(1), units, identity=identity, info=facts)
    p = np.where(values > 0.1, 0.001, 0.5)
    return Scores(values, units, identity=identity, p_values=p, info={**facts, "times": times.tolist()})


def make_continuous(value=0.2, *, drift=0.5, model="words", role="model", seed=0, **info):
    """Scores of three regions of a continuous design, with lags, drift and delays."""
    lags = [0.0, 2.0, 4.0, 6.0]
    scan = {name: [0.1, 0.15 + 0.01 * i, 0.2, 0.1] for i, name in enumerate(("IFG", "ATL", "AG"))}
    base = {
        "design": "continuous",
        "repetition_time": 2.0,
        "unit_name": "region",
        "splits": {"method": "6 contiguous blocks", "gap": 10, "n_folds": 6, "hash": "c", "n_test": [62] * 6},
        "preparation": ["z-scored per run"],
        "delays": [1, 2, 3],
        "delays_s": [2.0, 4.0, 6.0],
        "confounds": "6 columns",
        "drift": {"median_share": drift, "expected_share": 0.04, "cutoff_s": 128.0},
        "lag_scan": {"lags_s": lags, "values": scan, "best_lag_s": 4.0},
    }
    folds = value + np.random.default_rng(seed).normal(0, 0.02, (6, 3))
    identity = {"dataset": "story", "subject": "s1", "model": model, "layer": model, "analysis": "encoding"}
    units = pd.DataFrame({"unit_id": list(scan)})
    facts = {**base, "role": role, "claim": "nested", **info}
    return Scores(folds.mean(0), units, identity=identity, fold_values=folds, n_test=372, info=facts)


def make_surface(space="fsaverage5", n=200, **info):
    """Scores of some vertices of both hemispheres."""
    units = pd.DataFrame({"hemi": ["left"] * n + ["right"] * n, "vertex": [*range(n), *range(n)]})
    units["unit_id"] = [f"{h}_{v}" for h, v in zip(units["hemi"], units["vertex"], strict=True)]
    identity = {"dataset": "surface", "subject": "s1", "model": "net", "analysis": "encoding"}
    geometry = {"space": space, "n_vertices": {"left": 10242, "right": 10242}}
    values = np.linspace(0, 0.5, 2 * n)
    return Scores(values, units, identity=identity, info={"design": "trials", **geometry, **info})


def make_placed():
    """One result of every kind of recording."""
    return [
        make_volume(),
        make_volume(space="MNI152NLin2009cAsym", affine=np.diag([12.0, 12, 12, 1]), dataset="template"),
        make_surface(),
        make_sensors(),
        make_continuous(),
        make_continuous(0.1, model="time index", role="control", seed=1),
    ]
