"""Heat maps of compare_many show its values where they belong, say what they mean and what was tested."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from brainalign.comparison import compare_many
from brainalign.errors import InputError, ShapeError, UnknownNameError
from brainalign.report import plot_alignment
from brainalign.report.plots_alignment import short_names
from brainalign.report.style import BOTH_SIDES, SCORES, SEQUENTIAL

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 5))
LAYERS = {"conv1": X, "conv2": X + 0.5 * RNG.normal(size=(20, 5)), "fc": RNG.normal(size=(20, 5))}
FLAT = LAYERS | {"dead": np.ones((20, 5))}


def words(figure):
    """Every text of a figure as one string."""
    figure.canvas.draw()
    found = [t.get_text() for t in figure.texts]
    for ax in figure.axes:
        found += [ax.get_ylabel(), ax.get_title(loc="left"), *(t.get_text() for t in ax.texts)]
    return " ".join(" ".join([*found, figure.get_supxlabel()]).split())


def pictures(figure):
    return [ax.images[0] for ax in figure.axes if ax.images]


def made(values, *, a="abc", b="abc", measure="cka", attrs=None, **columns):
    """A table of all pairs a < b, or of a with b where the names differ."""
    pairs = [(i, j) for i in a for j in b if i < j]
    frame = pd.DataFrame(pairs, columns=["a", "b"]).assign(measure=measure, value=values, **columns)
    frame.attrs.update(attrs or {})
    return frame


def test_symmetric_tables_are_completed():
    """A symmetric measure stands on both sides of an empty diagonal, others from the row to the column."""
    table = compare_many(LAYERS, measures=["cka", "pwcca"])
    cka, pwcca = (one.get_array() for one in pictures(plot_alignment(table)))
    value = table.set_index(["a", "b", "measure"])["value"]
    names = list(LAYERS)
    for i, a in enumerate(names):
        assert np.ma.getmaskarray(cka)[i, i]
        assert np.ma.getmaskarray(pwcca)[i, i]
        for j, b in enumerate(names):
            if i != j:
                pair = (a, b, "cka") if i < j else (b, a, "cka")
                assert cka[i, j] == value[pair]
                assert pwcca[i, j] == value[a, b, "pwcca"]
    assert "Values are of the row (x) to the column (y)." in words(plot_alignment(table))
    assert "Values are of the row" not in words(plot_alignment(table, measure="cka"))


def test_systems_against_others():
    """Layers are rows and regions columns; a time stands beside its name; names of both sides may agree."""
    regions = {"V1": X, "IT": RNG.normal(size=(20, 3))}
    figure = plot_alignment(compare_many(LAYERS, against=regions, measures=["cka", "nbs"]))
    first, second = [ax for ax in figure.axes if ax.images]
    assert first.images[0].get_array().shape == (3, 2)
    assert [t.get_text() for t in first.get_yticklabels()] == ["conv1", "conv2", "fc"]
    assert [t.get_text() for t in first.get_xticklabels()] == ["V1", "IT"]
    assert not any(t.get_text() for t in second.get_yticklabels())
    figure = plot_alignment(compare_many([X, X + 1], against=[X], measures=["cka"]))
    assert pictures(figure)[0].get_array().shape == (2, 1)
    table = made([0.1, 0.2, 0.3], a_time=[np.nan] * 3, b_time=[0.1, 0.1, 0.25])
    ticks = plot_alignment(table, measure="cka").axes[0].get_xticklabels()
    assert "b 100 ms" in [t.get_text() for t in ticks]


def test_a_table_without_its_attributes_is_read_by_its_pairs():
    """All pairs of three systems are completed though attrs are lost; pairs of two sets are not."""
    plain = made([0.1, 0.2, 0.3])
    assert pictures(plot_alignment(plain))[0].get_array().count() == 6
    crossed = pd.DataFrame({"a": ["a", "a"], "b": ["V1", "V2"], "measure": "cka", "value": [0.1, 0.2]})
    assert pictures(plot_alignment(crossed))[0].get_array().shape == (1, 2)


@pytest.mark.parametrize(
    ("measure", "values", "limits", "cmap", "label"),
    [
        ("cka", [0.1, 0.4, 0.8], (0.0, 0.8), SEQUENTIAL, "similarity: higher is closer"),
        ("cka", [0.75, 0.8, 0.9], (0.75, 0.9), SEQUENTIAL, "similarity: higher is closer"),
        ("cka", [-0.3, 0.4, 0.8], (-0.8, 0.8), BOTH_SIDES, "similarity: higher is closer"),
        ("cka", [-0.01, 0.4, 0.8], (0.0, 0.8), SEQUENTIAL, "similarity: higher is closer"),
        ("procrustes", [0.1, 0.4, 1.2], (0.0, 1.2), SEQUENTIAL.reversed(), "distance: 0 is the same"),
        ("procrustes", [0.0, 0.0, 0.0], (0.0, 1.0), SEQUENTIAL.reversed(), "distance: 0 is the same"),
        ("mine", [0.1, 0.4, 0.8], (0.0, 0.8), SEQUENTIAL, "value"),
    ],
)
def test_colours_say_which_is_closer(measure, values, limits, cmap, label):
    """Dark is closer for both kinds; a scale begins at 0 unless values are near each other; labels say so."""
    figure = plot_alignment(made(values, measure=measure))
    picture = pictures(figure)[0]
    assert picture.get_clim() == limits
    assert np.allclose(picture.cmap(np.linspace(0, 1, 5)), cmap(np.linspace(0, 1, 5)))
    assert figure.axes[1].get_ylabel() == label
    assert ("Dark is closer." in words(figure)) is (measure != "mine")
    closest = max(values) if measure == "cka" else min(values)
    if measure != "mine" and len(set(values)) > 1:
        shade = {v: sum(picture.cmap(picture.norm(v))[:3]) for v in values}
        assert min(shade, key=shade.get) == closest


def test_kind_of_a_record_of_the_caller():
    """The kind that the table tells goes before the name."""
    figure = plot_alignment(made([0.1, 0.2, 0.3], measure="mine", attrs={"kinds": {"mine": "distance"}}))
    assert figure.axes[1].get_ylabel() == "distance: 0 is the same"


def test_calibrated_values():
    """Calibrated values of both kinds share a scale of colours from chance, and need permutations."""
    options = {"calibrate": "permutation", "n_permutations": 19}
    table = compare_many(LAYERS, measures=["cka", "procrustes"], **options)
    figure = plot_alignment(table, value="calibrated")
    for picture, name in zip(pictures(figure), ["cka", "procrustes"], strict=True):
        own = table[table["measure"] == name].set_index(["a", "b"])["calibrated"]
        assert picture.get_array()[1, 0] == own["conv1", "conv2"]
        assert np.allclose(picture.cmap([0.2, 0.9]), SCORES([0.2, 0.9]))
    assert "calibrated: 0 chance, 1 the same" in words(figure)
    with pytest.raises(InputError, match="no column 'calibrated'; call compare_many with calibrate"):
        plot_alignment(made([0.1, 0.2, 0.3]), value="calibrated")


def test_missing_values_are_hatched():
    """NaN cells are hatched and counted; the diagonal, which was never asked for, stays white."""
    with pytest.warns(UserWarning, match="cka: 3 of 6 values are NaN"):
        table = compare_many(FLAT, measures=["cka"])
    figure = plot_alignment(table)
    hatched = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_hatch()]
    assert sorted((p.get_x() + 0.5, p.get_y() + 0.5) for p in hatched) == sorted(
        [(3, 0), (3, 1), (3, 2), (0, 3), (1, 3), (2, 3)]
    )
    assert "Hatched: 6 cells without a value." in words(figure)


def dots(figure):
    return {
        (int(line.get_xdata()[0]), int(line.get_ydata()[0]))
        for line in figure.axes[0].lines
        if line.get_marker() == "o"
    }


def test_marks_are_corrected_over_what_is_drawn():
    """Cells with a corrected p below alpha get a dot, on both sides; the caption names the correction."""
    table = made([0.9, 0.5, 0.1], p_value=[0.01, 0.04, 0.6], attrs={"n_permutations": 999})
    assert dots(plot_alignment(table)) == {(1, 0), (0, 1)}
    assert dots(plot_alignment(table, correction=None)) == {(1, 0), (0, 1), (2, 0), (0, 2)}
    assert dots(plot_alignment(table, correction="fwer", alpha=0.02)) == set()
    told = words(plot_alignment(table))
    assert "(one-sided permutation, 999 orders, p < 0.05, FDR over 3 tests)" in told
    assert "Holm over 3 tests" in words(plot_alignment(table, correction="fwer"))
    assert "uncorrected for 3 tests" in words(plot_alignment(table, correction=None))
    both = pd.concat([table, table.assign(measure="nbs", p_value=0.9)], ignore_index=True)
    assert dots(plot_alignment(both)) == set()
    assert dots(plot_alignment(both, measure="cka")) == {(1, 0), (0, 1)}
    few = made([0.9, 0.5, 0.1], p_value=[0.05] * 3, attrs={"n_permutations": 19})
    assert "a lone effect among 3 tests cannot pass q < 0.05: use at least 60." in words(plot_alignment(few))
    assert "Dots" not in words(plot_alignment(made([0.9, 0.5, 0.1], p_value=np.nan)))


def test_forty_names_can_be_read():
    """Forty long names are all written, none over another; of ninety every third one."""
    k = 40
    values = np.linspace(0, 1, k * (k - 1) // 2)
    names = [f"encoder.layers.{i:02d}.mlp.activation" for i in range(k)]
    rows = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    table = pd.DataFrame(rows, columns=["a", "b"]).assign(measure="cka", value=values)
    figure = plot_alignment(table, title="all layers")
    figure.canvas.draw()
    ax = figure.axes[0]
    for ticks, side in ((ax.get_yticklabels(), "y"), (ax.get_xticklabels(), "x")):
        assert len({t.get_text() for t in ticks}) == k
        boxes = [t.get_window_extent() for t in ticks]
        edges = sorted((b.y0, b.y1) if side == "y" else (b.x0, b.x1) for b in boxes)
        assert all(low[1] <= high[0] + 1.5 for low, high in pairwise(edges))
        assert all(b.x0 >= -1 and b.y0 >= -1 for b in boxes)
    wide = pd.DataFrame({"a": "net", "b": [f"t{i}" for i in range(90)], "measure": "cka", "value": 0.5})
    assert len(plot_alignment(wide).axes[0].get_xticklabels()) == 30


def test_short_names_stay_apart():
    """Long names lose what they share, whole words at a time; names that then agree keep more letters."""
    assert short_names(["V1", "a_rather_short_name"]) == ["V1", "a_rather_short_name"]
    long = [f"model.encoder.block_{i}.attention.output" for i in (1, 12)]
    assert len(set(short_names(long))) == 2
    assert all(len(name) <= 22 for name in short_names(long))
    middle = ["a" * 15 + letter + "b" * 15 for letter in "xyz"]
    assert short_names(middle) == middle
    assert short_names(["n" * 60]) == ["n" * 21 + "…" + "n" * 21]


def test_stamps_are_written():
    """A table of simulated responses says so on its figure; others do not."""
    table = made([0.1, 0.2, 0.3], attrs={"simulated": True, "allow": "a pilot"})
    assert words(plot_alignment(table)).count('simulated responses; guard overruled: "a pilot"') == 1
    assert "simulated" not in words(plot_alignment(made([0.1, 0.2, 0.3])))


@pytest.mark.parametrize(
    ("table", "options", "error", "text"),
    [
        ([1, 2], {}, InputError, "table is a list; expected the DataFrame of compare_many"),
        (made([0.1, 0.2, 0.3]).drop(columns="b"), {}, InputError, "table has no column 'b'"),
        (made([0.1, 0.2, 0.3]).iloc[:0], {}, ShapeError, "table has no rows"),
        (made([0.1, 0.2, 0.3]), {"measure": "nbs"}, UnknownNameError, "measure in the table"),
        (made([0.1, 0.2, 0.3]), {"measure": []}, InputError, "measure is empty"),
        (made([0.1, 0.2, 0.3]), {"value": "p_value"}, InputError, "value='p_value' is not one of"),
        (made([0.1, 0.2, 0.3]), {"correction": "bonferroni"}, InputError, "correction='bonf"),
        (made([0.1, 0.2, 0.3]), {"alpha": 5}, InputError, "alpha=5; expected a number between 0 and 1"),
        (made([0.1, 0.2, 0.3]), {"columns": 0}, InputError, "columns=0; expected at least 1"),
        (made([np.nan] * 3), {}, InputError, "all 3 values of cka are NaN; nothing can be drawn"),
        (
            pd.concat([made([0.1, 0.2, 0.3])] * 2),
            {},
            InputError,
            "table has 2 rows of cka for 'a' and 'b'; expected one",
        ),
        (
            pd.concat([made([0.1, 0.2, 0.3], measure=f"m{i}") for i in range(21)]),
            {},
            InputError,
            "21 measures; at most 20 can be read beside each other",
        ),
    ],
)
def test_refused(table, options, error, text):
    """Tables and options that cannot be drawn say what was expected."""
    with pytest.raises(error, match=text):
        plot_alignment(table, **options)
