"""The map of a searchlight is drawn on what its centres lie on, with its title and what was left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_parts import make_scores, make_sensors, make_surface, make_volume

from brainalign.errors import InputError, UnknownNameError
from brainalign.report import plot_searchlight_map
from brainalign.types import Scores


class MapOfModels:
    """What a searchlight returns, as far as a figure asks for it."""

    def __init__(self, **maps):
        self.maps = maps

    def to_scores(self, model=None):
        if model not in self.maps:
            raise UnknownNameError(f"model {model!r} does not exist")
        return self.maps[model]


def words(figure):
    figure.canvas.draw()
    found = [t.get_text() for t in figure.texts]
    for ax in [part for whole in figure.axes for part in [whole, *whole.child_axes]]:
        found += [ax.get_xlabel(), ax.get_ylabel(), ax.get_title(), *(t.get_text() for t in ax.texts)]
    return " | ".join(found)


@pytest.mark.parametrize(
    ("scores", "sign"),
    [
        (make_volume(), "Pearson r of each voxel"),
        (make_volume(), "z="),
        (make_surface(n=600), "left hemisphere"),
        (make_sensors(), "0.200 s"),
    ],
)
def test_each_geometry_has_its_map(scores, sign):
    """Voxels give slices, vertices the cortex, sensors heads; the title stands above them all."""
    figure = plot_searchlight_map(scores, title="animacy")
    assert sign in words(figure)
    title = next(t for t in figure.texts if t.get_text() == "animacy")
    box = title.get_window_extent()
    assert box.y1 <= figure.bbox.height
    assert not any(box.overlaps(ax.get_tightbbox()) for ax in figure.axes if ax.get_tightbbox() is not None)


def test_times_alone_give_a_course():
    """Windows of time without units are drawn as a time course."""
    scores = Scores(np.linspace(0, 0.4, 9)[None], metric="rho_a", info={"times": np.arange(9) / 10})
    figure = plot_searchlight_map(scores)
    assert any(len(line.get_xdata()) == 9 for line in figure.axes[0].lines)


def test_model_is_chosen_by_name():
    """A result of several models gives the map of the one that is named, under its name."""
    other = make_volume(dataset="other")
    other = replace(other, identity={**other.identity, "model": "animacy"})
    found = MapOfModels(net=make_volume(), animacy=other)
    assert "animacy" in [t.get_text() for t in plot_searchlight_map(found, model="animacy").texts]
    with pytest.raises(UnknownNameError, match="'nothing' does not exist"):
        plot_searchlight_map(found, model="nothing")


def test_centres_above_p_are_not_coloured():
    """Centres whose p is too large lose their colour; how many, and which p, is said."""
    scores = make_volume()
    p = np.where(scores.values > 0.3, 0.01, 0.5)
    tested = replace(scores, p_values=p)
    n = int((p > 0.05).sum())
    told = words(plot_searchlight_map(tested, max_p=0.05))
    assert f"{n} of {len(p)} voxels with p > 0.05 (uncorrected) not coloured" in told
    told = words(plot_searchlight_map(MapOfModels(net=tested), model="net", max_p=0.05))
    assert "(family-wise over the map)" in told
    told = words(plot_searchlight_map(make_sensors(), max_p=0.05))
    assert "sensors at single times with p > 0.05 (uncorrected) left out (hollow)" in told


def test_simulated_is_written():
    """A map of simulated responses says so, also after room for the title was made."""
    told = words(plot_searchlight_map(make_volume(simulated=True), title="animacy"))
    assert told.count("simulated responses") == 1


def test_a_real_result_is_drawn():
    """The result of a searchlight over a volume goes into the figure as it is."""
    from brainalign.comparison.searchlight import map_searchlight

    rng = np.random.default_rng(0)
    grid = np.argwhere(np.ones((4, 4, 2))) * 3.0
    values = rng.normal(size=(6, len(grid)))
    true = np.linalg.norm(rng.normal(size=(6, 1, 3)) - rng.normal(size=(1, 6, 3)), axis=-1)
    true = np.triu(true, 1) + np.triu(true, 1).T
    result = map_searchlight(
        values, grid, radius_mm=7, distance="sq_euclidean", models={"true": true}, measure="pearson"
    )
    scores = result.to_scores()
    units = scores.units.assign(**dict(zip("ijk", (grid / 3).astype(int).T, strict=True)))
    info = {**scores.info, "affine": np.diag([3.0, 3, 3, 1]).tolist(), "volume_shape": [4, 4, 2]}
    figure = plot_searchlight_map(replace(scores, units=units, info=info))
    assert "true" in [t.get_text() for t in figure.texts]


BAD = {
    "type": (lambda: plot_searchlight_map(np.zeros(3)), "result is a ndarray; expected a SearchlightResult"),
    "nan": (
        lambda: plot_searchlight_map(
            replace(make_volume(), values=make_volume().values * np.nan, info={"nan_reasons": {"masked": 7}})
        ),
        "centres are NaN; 7 masked",
    ),
    "p": (
        lambda: plot_searchlight_map(make_volume(), max_p=0.05),
        "max_p needs p-values; run the searchlight",
    ),
    "range": (lambda: plot_searchlight_map(make_sensors(), max_p=5), "max_p=5; expected a number above 0"),
    "place": (lambda: plot_searchlight_map(make_scores()), "no map: the units have no place in a volume"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_drawn_is_refused(name):
    """Each wrong input is named with what was expected."""
    draw, match = BAD[name]
    with pytest.raises(InputError, match=match):
        draw()


def test_no_sensor_is_significant():
    """Heads without any score above the threshold are drawn with hollow sensors, not an error."""
    scores = make_sensors()
    tested = replace(scores, p_values=np.ones_like(scores.values))
    figure = plot_searchlight_map(tested, max_p=0.05)
    assert "too few sensors\nhave a score" in words(figure)
    assert isinstance(scores.units, pd.DataFrame)
