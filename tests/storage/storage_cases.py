"""One example of each noun, rich enough that every field of a file is used."""

from __future__ import annotations

import numpy as np
import pandas as pd

from brainalign.types import Dataset, NoiseCeiling, RDMs, Responses, Scores, Stimuli


def stimuli(n: int = 12) -> Stimuli:
    return Stimuli(
        pd.DataFrame(
            {
                "stimulus_id": [f"stimulus {i} ü" for i in range(n)],
                "modality": "image",
                "duration": np.linspace(0.1, 1, n),
                "split": [None if i % 5 == 0 else "train" for i in range(n)],
            }
        ),
        loader=len,
        info={"licence": "CC0", "shape": (3, 4), "nothing": None},
    )


def responses(n: int = 60, p: int = 40, dtype: str = "float32", times: int = 0) -> Responses:
    rng = np.random.default_rng(7)
    values = rng.standard_normal((n, p, times) if times else (n, p)).astype(dtype)
    values.flat[0], values.flat[1] = np.nan, -0.0
    samples = pd.DataFrame(
        {
            "stimulus_id": [f"stimulus {i % 12} ü" for i in range(n)],
            "repetition": [1 + i // 12 for i in range(n)],
            "onset": rng.random(n),
            "kept": rng.random(n) > 0.5,
        }
    )
    units = pd.DataFrame({"roi_v1": ["V1", "V4"] * (p // 2), "roi_face": rng.random(p) > 0.5})
    axis = np.arange(times) / 100 if times else None
    return Responses(
        values, samples, units, axis, {"design": "trials", "affine": np.eye(4), "rate": float("nan")}
    )


def rdms() -> RDMs:
    half = np.random.default_rng(1).random((3, 12, 12))
    values = half + half.transpose(0, 2, 1)
    values[:, np.arange(12), np.arange(12)] = 0
    return RDMs(
        values,
        [f"stimulus {i} ü" for i in range(12)],
        pd.DataFrame({"roi": ["V1", "V4", "IT"]}),
        {"distance": "x"},
    )


def scores(n_test: int = 5, p: int = 40) -> Scores:
    rng = np.random.default_rng(3)
    values = rng.standard_normal(p)
    values[3] = np.nan
    ceiling = NoiseCeiling(values + 1, values, values + 2, "split_half", info={"reasons": {"few repeats": 2}})
    return Scores(
        values,
        pd.DataFrame({"roi_v": ["V1"] * p}),
        "pearson",
        {"model": "network", "layer": "selected"},
        rng.random((3, p)),
        rng.random((2, p)),
        n_test,
        ceiling,
        rng.random(p),
        rng.standard_normal((n_test, p)).astype("f4"),
        rng.standard_normal((n_test, p)),
        {"layer": {"all": ["a", "b"]}, "interval": "95 %", "splits": {"n_test": [1, 2]}},
    )


def dataset(n: int = 60, p: int = 40) -> Dataset:
    return Dataset(
        stimuli(),
        responses(n, p),
        {"conv/1": responses(12, 6, "float16")},
        rdms(),
        {"citation": "x"},
    )


ALL = {
    "stimuli": stimuli,
    "responses": responses,
    "responses in time": lambda: responses(times=5),
    "rdms": rdms,
    "scores": scores,
    "ceiling": lambda: scores().noise_ceiling,
    "dataset": dataset,
}
