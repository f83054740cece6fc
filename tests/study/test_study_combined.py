"""Studies whose layers are weighed together, in the file and in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import InputError
from brainalign.report.groups import Group
from brainalign.report.methods import _selection_sentence
from brainalign.report.references import Citations
from brainalign.study.settings import parse_study
from brainalign.study.wording import Subject, _layer
from brainalign.types import Scores

MINIMAL = "name = 'x'\n[dataset]\nname = 'macaque_v4'\n[[models]]\nname = 'pixels'\n[encoding]\n"


@pytest.mark.parametrize("combine", ["select", "concat", "bands", "stack"])
def test_the_file_takes_every_way_to_combine(combine):
    """What `fit_encoding` combines, a study combines."""
    text = f"combine = '{combine}'\nn_permutations = 0\n"
    assert parse_study(MINIMAL + text, source="x.toml").encoding.combine == combine


@pytest.mark.parametrize("combine", ["bands", "stack"])
def test_p_values_of_weighed_layers_are_refused_at_once(combine):
    """Layers that are weighed have no permutation p-values: the file says so before anything runs."""
    with pytest.raises(InputError, match=rf"x.toml: .*{combine}.* has no p-values .* n_permutations = 0"):
        parse_study(MINIMAL + f"combine = '{combine}'\n", source="x.toml")


def subject(combine, **info):
    units = pd.DataFrame({"roi_area": ["V1", "V1", "V4"]})
    layer = {"all": ["a + b", "a + b"]}
    facts = {"combine": combine, "layers": ["a", "b"], "layer": layer, "claim": "nested", **info}
    identity = {"layer": "a + b", "analysis": "encoding", "model": "net"}
    scores = Scores(np.array([0.1, 0.2, 0.3]), units, "pearson", identity, info=facts)
    group = Group("set", "", "encoding", "pearson", "", claims=[scores])
    return Subject(scores, "V1", np.array([0, 1]), {}, group, group)


def test_words_tell_the_mean_weight_of_the_region():
    """The layers are listed by their mean weight over the region's units, missing fits left out."""
    weights = {"a": np.array([0.2, np.nan, 0.9]), "b": np.array([0.8, np.nan, 0.1])}
    text = _layer(subject("bands", space_weights=weights))
    assert text == ("All 2 layers together, weighed for each unit; mean weight here: b (0.80) and a (0.20).")
    none = {name: np.full(3, np.nan) for name in weights}
    assert "a (nan)" in _layer(subject("stack", space_weights=none))
    assert _layer(subject("concat")) == "All 2 layers side by side."


@pytest.mark.parametrize(
    ("combine", "words"),
    [
        ("select", "nested: the layer was chosen on inner folds"),
        ("concat", "nested: penalties were chosen on inner folds"),
        ("stack", "nested: penalties and the weights of the layers were chosen on inner folds"),
    ],
)
def test_the_methods_say_what_was_chosen(combine, words):
    """Only a selection chooses a layer; else penalties and weights are chosen."""
    assert words in _selection_sentence(subject(combine).group, Citations())
