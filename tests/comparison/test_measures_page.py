"""The guide to the measures says what the records say, and its figures are those of the code."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from brainalign.comparison import MEASURES
from brainalign.comparison._measure import INVARIANCES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "measures.md").read_text(encoding="utf-8")
# A few hundredths of a second each, from every family that has such a measure
CHEAP = [
    "rsa_pearson",
    "rsa_spearman",
    "cka",
    "cka_rbf",
    "dcor",
    "svcca",
    "bures",
    "procrustes",
    "mutual_knn",
    "best_match",
    "dsa",
]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_measures", DOCS / "make_measures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def entries() -> dict[str, str]:
    """The part of the page of each measure."""
    parts = re.split(r"^### (\w+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def without_figures(maker: ModuleType) -> str:
    table = re.escape(maker.NEARER) + r"(\n?\|.*)+\n\n"
    page, found = re.subn(table, "", PAGE)
    assert found == 1
    lines = (maker.UNRELATED, maker.FEATURE_BIAS)
    return "".join(line for line in page.splitlines(keepends=True) if not line.startswith(lines))


def test_the_page_is_written_from_the_records(maker: ModuleType) -> None:
    """Without its figures the page is what the script writes now: run python docs/make_measures.py."""
    assert without_figures(maker) == maker.page()


def test_the_page_names_exactly_the_measures(maker: ModuleType) -> None:
    """Every measure has one entry and one row with its kind, range, invariances and cost; no other has."""
    assert sorted(entries()) == sorted(MEASURES)
    rows = [row.strip("| ").split(" | ") for row in PAGE.splitlines() if row.startswith("| [`")]
    assert sorted(re.findall(r"`(\w+)`", row[0])[0] for row in rows) == sorted(MEASURES)
    for name, kind, family, limits, invariances, symmetric, metric, fewest, cost in rows:
        m = MEASURES[re.findall(r"`(\w+)`", name)[0]]
        assert (kind, family, cost, int(fewest)) == (m.kind, m.family, m.cost, m.minimum)
        assert (symmetric == "yes", metric == "yes") == (m.symmetric, m.metric)
        assert set(invariances.split(", ")) == m.invariances <= set(INVARIANCES)
        assert limits == maker.range_text(m.range)
    for name, entry in entries().items():
        m = MEASURES[name]
        for text in (m.answers, m.blind_to, m.bias, m.reference, *m.options):
            assert text in entry


def test_ranges_in_words(maker: ModuleType) -> None:
    """Ends that are infinite are said in words."""
    assert maker.range_text((-1.0, 1.0)) == "-1 to 1"
    assert maker.range_text((0.0, float("inf"))) == "0 and above"
    assert maker.range_text((-float("inf"), 1.0)) == "at most 1"


def test_every_name_of_the_guide_exists(maker: ModuleType) -> None:
    """Names in code type are measures or public functions, and every measure but two forms is advised on."""
    import brainalign.comparison as comparison

    guide = PAGE[: PAGE.index("## All measures")]
    names = set(re.findall(r"`(\w+)`", guide))
    known = set(MEASURES) | set(dir(comparison)) | {"cv", "MEASURES"}
    assert names <= known, names - known
    advised = names | {n for n in MEASURES if n.startswith("rsa_")}
    assert set(MEASURES) - advised == {"cka_biased", "rv", "nbs", "shape"}


def test_every_figure_is_there() -> None:
    """Each entry has both lines of figures, said to be simulated, and none is NaN."""
    for entry in entries().values():
        assert entry.count("(simulated") == 2
        assert "nan" not in entry.split("- Unrelated")[1]
    assert "**simulated**" in PAGE
    assert "n = 200 stimuli" in PAGE


@pytest.mark.parametrize("name", CHEAP)
def test_figures_are_found_again(maker: ModuleType, name: str) -> None:
    """The lines of a measure, computed anew, are those of the page but for the last digit."""
    m = MEASURES[name]
    pattern = r"-?\d+(?:\.\d+)?(?:e-\d+)?"
    for line in maker.figure_lines(m, maker.figures_of(m)):
        kept = next(k for k in entries()[name].splitlines() if k.startswith(line[:24]))
        assert re.sub(pattern, "", kept) == re.sub(pattern, "", line)
        numbers = [[float(v) for v in re.findall(pattern, text)] for text in (kept, line)]
        assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=0.011)


def test_planted_figures_of_the_feature_bias(maker: ModuleType) -> None:
    """Pearson RSA gives the closed form 2ab / (a² + b²) = 0.18, and 0.99 for the easy feature alone."""
    opposite, easy_and_first, easy_and_second = maker.feature_bias_values(MEASURES["rsa_pearson"])
    assert opposite == pytest.approx(2 * 0.55 * 0.05 / (0.55**2 + 0.05**2), abs=0.03)
    assert easy_and_first > 0.98
    assert easy_and_second < 0.15
    assert maker.feature_bias_values(MEASURES["dsa"]) is None
