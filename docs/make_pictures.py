"""Draw the picture of the README from the results of the demo (``make demo``, ``make docs``)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

import brainalign as ba

ROOT = Path(__file__).parents[1]


def main(results: Path = ROOT / "demo") -> None:
    """Layer profile and models beside each other, from the encoding cells of a finished study."""
    provenance = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    scores = [
        ba.load(results / "cells" / cell["cell"] / name)
        for cell in provenance["cells"]
        if cell["cell"].startswith("encoding-")
        for name in cell["files"]
    ]
    figure = Figure(figsize=(10.5, 3.9), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    ba.report.plot_layer_profile([s for s in scores if s.info["claim"] == "descriptive"], ax=left)
    ba.report.plot_model_comparison([s for s in scores if s.info["claim"] == "nested"], ax=right)
    target = ROOT / "docs" / "images" / "macaque_v4.png"
    target.parent.mkdir(exist_ok=True)
    figure.savefig(target)
    print(target.relative_to(ROOT))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
