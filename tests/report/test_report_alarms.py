"""Standing alarms fire when their fault is planted, and stay quiet otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report_parts import LAYERS, make_scores

from brainalign.report.alarms import standing_alarms
from brainalign.report.groups import group_scores
from brainalign.report.text import generalisation, headline
from brainalign.types import Scores


def _levels(*scores: Scores) -> dict[str, str]:
    return {a.title: a.level for a in standing_alarms(group_scores(scores)[0])}


def _text(title: str, *scores: Scores) -> str:
    return next(a.text for a in standing_alarms(group_scores(scores)[0]) if a.title == title)


GOOD = (make_scores(0.5), make_scores(0.2, model="pixels", role="control", seed=1))


def test_sound_results_raise_no_alarm():
    """A model above its control, below its ceiling, with every unit scored leaves all checks quiet."""
    levels = _levels(*GOOD)
    assert levels.pop("Training scores like test scores") == "open"
    assert set(levels.values()) == {"quiet"}


def test_overruled_guard_is_loud():
    """The reason of allow= is shown as an alarm, in its own words."""
    scores = make_scores(allow="I know that runs overlap")
    assert _levels(scores)["A guard was overruled"] == "alarm"
    assert "I know that runs overlap" in _text("A guard was overruled", scores)


def test_below_chance():
    """A region whose interval lies below chance is an alarm, one that may reach it a note."""
    assert _levels(make_scores(-0.2))["Below chance"] == "alarm"
    weak = make_scores(-0.001, n_units=30)
    assert (
        _levels(replace(weak, fold_values=weak.fold_values + np.linspace(-1, 1, 5)[:, None]))["Below chance"]
        == "note"
    )
    assert _levels(make_scores(0.4, chance=0.5))["Below chance"] == "alarm"


def test_above_ceiling():
    """Scores above what noise allows are an alarm; many single units above theirs a note."""
    assert _levels(make_scores(0.9, ceiling=0.6))["Above the noise ceiling"] == "alarm"
    scores = make_scores(0.4, ceiling=0.8)
    values = scores.values.copy()
    values[::4] = 0.9
    assert _levels(replace(scores, values=values))["Above the noise ceiling"] == "note"


def test_no_ceiling_says_why():
    """Without a ceiling the reason of the scores is shown."""
    scores = make_scores(ceiling=None, no_ceiling="no stimulus was presented twice")
    assert "no stimulus was presented twice" in _text("No noise ceiling", scores)


def test_control_as_good_as_the_model():
    """A control at the model's level is an alarm, one within its interval a note, none at all a note."""
    assert (
        _levels(make_scores(0.3), make_scores(0.5, role="control", model="pixels"))[
            "Control as good as the model"
        ]
        == "alarm"
    )
    wide = make_scores(0.5)
    wide = replace(wide, fold_values=wide.fold_values + np.linspace(-0.3, 0.3, 5)[:, None])
    near = _levels(wide, make_scores(0.45, role="control", model="pixels"))
    assert near["Control close to the model"] == "note"
    assert _levels(make_scores())["No control model"] == "note"


def test_control_profile_counts_where_no_claim_is():
    """Where only layers were compared, the best layer of a control stands against that of the model."""
    model = [make_scores(v, layer=n, claim="descriptive") for v, n in zip((0.2, 0.3), LAYERS, strict=False)]
    control = [
        make_scores(v, layer=n, claim="descriptive", role="control", model="untrained")
        for v, n in zip((0.2, 0.4), LAYERS, strict=False)
    ]
    assert _levels(*model, *control)["Control as good as the model"] == "alarm"


@pytest.mark.parametrize(("missing", "level"), [(0, "quiet"), (1, "note"), (6, "alarm")])
def test_units_without_score(missing, level):
    """Units without a score are counted with their reasons, and many are an alarm."""
    scores = make_scores(nan_reasons={"constant response": missing})
    values = scores.values.copy()
    values[:missing] = np.nan
    scores = replace(scores, values=values)
    assert _levels(scores)["Units without a score"] == level
    if missing:
        assert f"constant response: {missing}" in _text("Units without a score", scores)


def test_constant_predictions_and_penalty_edges():
    """Constant predictions and penalties at the end of their grid are noted; a few of them are not."""
    assert _levels(make_scores(constant_predictions=3))["Constant predictions"] == "note"
    edges = {"edge_low": 0, "edge_high": 40, "of": 150}
    assert "27 % of the choices at the highest penalty" in _text(
        "Penalties at the edge of their grid", make_scores(penalty=edges)
    )
    assert (
        _levels(make_scores(penalty={**edges, "edge_high": 4}))["Penalties at the edge of their grid"]
        == "quiet"
    )
    assert _levels(make_scores(penalty={"edge_low": 7}))["Penalties at the edge of their grid"] == "note"


def test_folds_test_rows_and_training_scores():
    """Folds that disagree, tiny test sets, and training scores equal to test scores are noted."""
    scores = make_scores(0.2)
    assert (
        _levels(replace(scores, fold_values=scores.fold_values * np.array([0, 0, 1, 2, 3])[:, None]))[
            "Folds disagree"
        ]
        == "note"
    )
    few = make_scores(splits={"n_test": [40, 7], "n_folds": 2, "hash": "x"})
    assert "7 rows" in _text("Few test rows", few)
    assert _levels(few)["Few test rows"] == "note"
    assert _levels(make_scores(0.5, train_score=0.5))["Training scores like test scores"] == "note"
    assert _levels(make_scores(0.5, train_score=0.9))["Training scores like test scores"] == "quiet"


def test_too_few_permutations():
    """A table that m permutations cannot carry is noted with the number needed."""
    text = _text("Few permutations", make_scores(p=0.05, permutation={"n": 19}))
    assert "use at least 60" in text
    assert "Few permutations" not in _levels(make_scores(p=0.001))


def test_other_test_rows_are_never_ranked():
    """Scores of the same brain with another split hash land in another group, with an alarm."""
    other = make_scores(0.6, model="rival", splits={"hash": "zzz", "n_folds": 5})
    groups, _ = group_scores([make_scores(), other])
    assert [len(g.claims) for g in groups] == [1, 1]
    assert _levels(make_scores(), other)["Different test sets"] == "alarm"


def test_headline_words_follow_the_evidence():
    """The headline claims a prediction only where the interval lies above chance."""
    good = headline(group_scores([make_scores(0.5)])[0][0])
    assert good["sentence"].startswith("net predicts 30 units (planted, s1) with r = 0.")
    assert "% of the noise ceiling" in good["sentence"]
    assert good["caution"] == ""
    null = headline(group_scores([make_scores(0.0)])[0][0])
    assert "does not score reliably above chance" in null["sentence"]
    layer = headline(
        group_scores([make_scores(0.5, layer=n, claim="descriptive", seed=i) for i, n in enumerate(LAYERS)])[
            0
        ][0]
    )
    assert "optimistic" in layer["caution"]
    bad = headline(group_scores([make_scores(0.9, ceiling=0.5)])[0][0])
    assert "standing alarms: above the noise ceiling" in bad["caution"]


@pytest.mark.parametrize(
    ("design", "words"),
    [
        ("trials", "new stimuli"),
        ("blocks", "new runs"),
        ("continuous", "new stretches"),
        (None, "Not recorded"),
    ],
)
def test_generalisation_follows_the_design(design, words):
    """Without words of their own, scores are said to generalise as their design allows."""
    group = group_scores([make_scores(design=design)])[0][0]
    assert words in generalisation(group)
    own = group_scores([make_scores(generalisation="new animals")])[0][0]
    assert generalisation(own) == "These scores speak of new animals. Nothing beyond that was tested."
