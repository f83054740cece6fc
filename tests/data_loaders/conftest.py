"""A small folder of arrays and images, made anew for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

N_STIMULI, N_UNITS = 5, 3


def write_images(folder: Path, n: int = N_STIMULI) -> list[str]:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for i in range(n):
        names.append(f"pic{i}.png")
        Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)).save(folder / names[-1])
    return names


@pytest.fixture
def arrays_folder(tmp_path: Path) -> Callable[..., Path]:
    """``arrays_folder(responses, **files)`` writes a folder that loads, and returns it."""

    def write(responses: np.ndarray | None = None, **files: str) -> Path:
        folder = tmp_path / "study"
        names = write_images(folder / "images")
        values = np.arange(N_STIMULI * N_UNITS, dtype=np.float32).reshape(N_STIMULI, N_UNITS)
        np.save(folder / "responses.npy", values if responses is None else responses)
        lines = [f"{i:02d}\timages/{name}" for i, name in enumerate(names)]
        (folder / "stimuli.tsv").write_text("\n".join(["stimulus_id\tpath", *lines]) + "\n")
        for name, text in files.items():
            (folder / f"{name}.tsv").write_text(text)
        return folder

    return write
