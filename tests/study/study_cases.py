"""A small dataset in a folder, and a study of it; shared by the tests of studies and of the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

STUDY = """
name = "small"
title = "A small study"
analyses = ["encoding", "rsa", "cka"]

[dataset]
name = "folder"
options = {{ path = "{path}", design = "trials" }}

[[models]]
name = "pixels"
label = "sharp"
image_size = 8

[[models]]
name = "pixels"
label = "blurred"
role = "control"
image_size = 8
pool = "grid:2x2"

[encoding]
n_folds = 3
inner_folds = 3
n_permutations = 20
n_bootstrap = 50

[rsa]
n_permutations = 20
n_bootstrap = 50

[cka]
n_permutations = 20
"""


def make_folder(folder: Path, *, n: int = 24, n_units: int = 6, n_repeats: int = 3) -> Path:
    """Random images, and units that see the mean colour of image parts."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = ["stimulus_id\tpath"]
    seen = []
    for i in range(n):
        pixels = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"image{i:02d}.png")
        rows.append(f"s{i:02d}\timage{i:02d}.png")
        seen.append(pixels[::4, ::4].reshape(-1) / 255.0)
    signal = np.array(seen) @ rng.standard_normal((48, n_units))
    trials = signal[:, :, None] + 0.5 * rng.standard_normal((n, n_units, n_repeats))
    np.save(folder / "responses.npy", trials.astype(np.float32))
    (folder / "stimuli.tsv").write_text("\n".join(rows) + "\n")
    units = ["unit_id\troi_area"] + [f"u{i}\t{'V1' if i < n_units // 2 else 'V2'}" for i in range(n_units)]
    (folder / "units.tsv").write_text("\n".join(units) + "\n")
    return folder
