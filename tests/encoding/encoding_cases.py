"""Small planted problems that the tests of encoding share."""

from __future__ import annotations

import numpy as np
import pandas as pd

import brainalign as ba


def layers(n=80, p=30, n_layers=3, seed=0):
    """{layer: Responses} of independent Gaussian features, one row a stimulus."""
    rng = np.random.default_rng(seed)
    ids = [f"image{i:03d}" for i in range(n)]
    hashes = [f"hash{i:03d}" for i in range(n)]
    table = pd.DataFrame({"stimulus_id": ids, "content_hash": hashes})
    return {f"layer{k}": ba.Responses(rng.standard_normal((n, p)), table) for k in range(n_layers)}


def responses(features, layer="layer1", n_units=12, n_repeats=3, noise=1.0, seed=1, uneven=False, **columns):
    """Single trials driven by one layer, shuffled, optionally with missing repeats."""
    rng = np.random.default_rng(seed)
    X = features[layer].array()
    signal = X @ rng.standard_normal((X.shape[1], n_units))
    signal = (signal - signal.mean(0)) / signal.std(0)
    row = np.repeat(np.arange(len(X)), n_repeats)
    if uneven:
        row = row[rng.random(len(row)) < 0.8]
    row = rng.permutation(row)
    samples = features[layer].samples.iloc[row].reset_index(drop=True)
    for name, values in columns.items():
        samples[name] = np.asarray(values, dtype=object)[row]
    values = signal[row] + noise * rng.standard_normal((len(row), n_units))
    units = pd.DataFrame({"roi_area": ["V1"] * (n_units // 2) + ["V4"] * (n_units - n_units // 2)})
    return ba.Responses(values, samples, units, info={"design": "trials"})


FAST = {"n_bootstrap": 0, "inner_folds": 3}
