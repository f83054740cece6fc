"""Write the guide to the measures of alignment (``python docs/make_measures.py``, about a minute)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.comparison import MEASURES, Measure, compare
from brainalign.simulate import feature_bias

PAGE = Path(__file__).with_name("measures.md")
OPPOSITE = ((0.55, 0.05), (0.05, 0.55))
EASY_ONLY = (0.55, 0.0)
N_UNRELATED = 100
WIDTHS = (50, 500)
N_SEEDS = 20

# Options other than the defaults, each named in the line of its figures: shorter searches, and
# neighbour graphs that fall into the four clusters of the feature bias
OPTIONS: dict[str, dict[str, Any]] = {
    "stochastic_shape": {"restarts": 0},
    "energy_shape": {"restarts": 0},
    "gromov_wasserstein": {"n_restarts": 0},
    "imd": {"allow_disconnected": True},
    "ricci": {"allow_disconnected": True},
    "dsa": {"n_delays": 2, "rank": 5},
}
SLOW = (
    "linear_predictivity",
    "stochastic_shape",
    "energy_shape",
    "gromov_wasserstein",
    "rtd",
    "ricci",
    "dsa",
)
N_SEEDS_SLOW = 4
TRIALS = (20, 5)  # stimuli and repeats of the measures of single trials
TRIAL_UNITS = 50

FAMILIES = {
    "rsa": "Dissimilarities",
    "cka": "Kernels",
    "cca": "Canonical correlation",
    "linear": "Prediction",
    "shape": "Shape",
    "neighbours": "Neighbours",
    "units": "Units",
    "transport": "Transport",
    "topology": "Topology",
    "curvature": "Curvature",
    "dynamics": "Dynamics",
}

QUESTIONS = (
    (
        "Do both put the same stimuli near and far (geometry)?",
        "`cka`, `rsa_*`; as a distance that obeys the triangle inequality (clustering, nearest "
        "system): `procrustes`, `angular_procrustes`, `bures`",
    ),
    (
        "... near stimuli alone, not the large outline?",
        "`mutual_knn`, `cknna`, `jaccard`, `rank_similarity`, `second_order_cosine`, `cka_rbf`",
    ),
    (
        "Is there any dependence, linear or not?",
        "`dcor`",
    ),
    (
        "Can one be read out linearly from the other (readout)?",
        "`linear_predictivity` on stimuli left out, which has a direction; `cca`, `svcca`, "
        "`pwcca` only with many more stimuli than units",
    ),
    (
        "Do single units correspond?",
        "`soft_match`, `bipartite_match`, `best_match`, `permutation_procrustes`",
    ),
    (
        "Do the trials agree, not the means alone?",
        "`stochastic_shape`, `energy_shape`",
    ),
    (
        "Do the states move by the same rule (dynamics)?",
        "`dsa`",
    ),
    (
        "Are the clouds alike where the stimuli of both are not paired?",
        "`gromov_wasserstein`, `imd`, `ricci`",
    ),
    (
        "Are the same stimuli joined into the same clusters and loops?",
        "`rtd`",
    ),
    (
        "Do responses agree in size too?",
        "`rsm_norm`, `bures`",
    ),
)

GUIDE = """\
# Measures of alignment

`compare(x, y, measure=...)` returns one number for two systems that answered the same stimuli;
`compare_many` a table of many measures of many systems in one pass, with values adjusted for chance.
`MEASURES` holds what is known of each measure, and this page is written from it by
`python docs/make_measures.py`.

```python
import numpy as np
from brainalign.comparison import MEASURES, compare, compare_many

rng = np.random.default_rng(0)
layer = rng.normal(size=(100, 50))  # 100 stimuli, 50 units
brain = layer @ rng.normal(size=(50, 80)) + rng.normal(size=(100, 80))
compare(layer, brain)  # debiased CKA
compare(layer, brain, measure="procrustes")  # a distance: 0 is the same
MEASURES["procrustes"].blind_to
compare_many({"layer": layer, "brain": brain}, measures=["cka", "mutual_knn"], calibrate="permutation")
```

## Which measure

No measure is best: each says of two systems that they are the same when they differ in something it
does not look at. `examples/which_measure.py` shows on networks and neurons of macaque V4 where they agree
and where not. Decide in this order.

**1. What is asked.**

{questions}

**2. What may differ without a change.** The column *invariances* says what may be done to either side.
Rotation: which unit does what is not looked at. Scale: nor is the size of the responses. Translation:
nor the mean response; correlation and cosine of patterns (`rsa_*` by default, the neighbours) do see
it. Linear: nor the variance of a direction, so that noise counts as much as signal. A measure that is
not invariant to rotations needs units that mean something one by one.

**3. Chance.** Many measures are far from their end for unrelated systems, and the farther, the more
units per stimulus there are: see *unrelated* below each measure. Values of different numbers of units
or stimuli can then not be compared. Use a measure that is centred at any width (`cka`, `cka_rbf`,
`rsa_pearson`, `rsa_spearman`, `rsa_rho_a`, `rsa_tau_a`), one that is scored on stimuli left out
(`linear_predictivity`, units with `cv`), or `compare_many(..., calibrate="permutation")`, which puts 0
at the mean over reordered stimuli and 1 at equal systems. A p-value is `permutation_test`.

**4. Variance is not importance.** The second figure of each measure is of three simulated systems that
compute the same two features and differ in how much of their variance each takes: the first takes 0.55
for the easy feature and 0.05 for the hard one, the second the opposite, and a third computes the easy one
alone, at 0.55.
Most measures of geometry put the third nearer to the first than the second, although it lacks a feature;
the table after the next shows for each measure which one comes out nearer.

**5. Cost.** n stimuli, p and q units. Measures of all pairs of stimuli need n² memory; for more stimuli
use `large_cka` and `large_rsa`.

The figures on this page are of **simulated** systems. *Unrelated*: independent normal responses, n = 100
stimuli, p = q = 50 and 500 units, mean over 20 seeds (4 for slow measures). *Feature bias*:
`simulate.feature_bias`, n = 200 stimuli, 500 units, one seed; the system named first is x. What a search
finds (`stochastic_shape`, `energy_shape`, `gromov_wasserstein`, `dsa`) is an upper bound. Chance depends on
n, so that the two are not on one scale: of 10 nearest stimuli, unrelated systems share 10 / (n - 1), which
is 0.10 at n = 100 and 0.05 at n = 200. Neither says what a value means for recordings: take the value of a
permutation and of a noise ceiling there.
"""


@dataclass(frozen=True)
class Figures:
    """What a measure says of simulated systems: unrelated ones, by width, and three with a feature bias."""

    unrelated: dict[int, float]
    opposite: float | None = None
    easy_and_first: float | None = None
    easy_and_second: float | None = None


def unrelated_value(measure: Measure, n_units: int, n_seeds: int | None = None) -> float:
    """Mean over seeds of the value of two independent normal systems."""
    seeds = n_seeds or (N_SEEDS_SLOW if measure.name in SLOW else N_SEEDS)
    shape = (*TRIALS, n_units) if measure.samples == "trials" else (N_UNRELATED, n_units)
    values = []
    for seed in range(seeds):
        x, y = np.random.default_rng(seed).normal(size=(2, *shape))
        values.append(_value(measure, x, y))
    return float(np.mean(values))


def feature_bias_values(measure: Measure) -> tuple[float, float, float] | None:
    """Opposite strengths; the easy feature alone with the first and with the second of them."""
    if measure.samples == "trajectories":
        return None
    strengths = (*OPPOSITE, EASY_ONLY)
    if measure.samples == "trials":
        systems = feature_bias(strengths, n_stimuli=TRIALS[0], n_units=TRIAL_UNITS)
        rng = np.random.default_rng(0)
        noise = 0.5 * rng.normal(size=(len(systems), *TRIALS, TRIAL_UNITS))
        arrays = [s.array()[:, None] + e for s, e in zip(systems, noise, strict=True)]
    else:
        arrays = [s.array() for s in feature_bias(strengths)]
    first, second, easy = arrays
    pairs = ((first, second), (easy, first), (easy, second))
    opposite, easy_and_first, easy_and_second = (_value(measure, a, b) for a, b in pairs)
    return opposite, easy_and_first, easy_and_second


def figures_of(measure: Measure) -> Figures:
    """All figures of one measure."""
    bias = feature_bias_values(measure)
    return Figures({p: unrelated_value(measure, p) for p in WIDTHS}, *(bias or ()))


def page(figures: Mapping[str, Figures] | None = None) -> str:
    """The whole page; without figures, all of it but their lines."""
    questions = "\n".join(["| Question | Measures |", "|---|---|", *(f"| {q} | {a} |" for q, a in QUESTIONS)])
    parts = [GUIDE.replace("{questions}", questions), _table()]
    if figures is not None:
        parts.append(_nearer_table(figures))
    for family, title in FAMILIES.items():
        parts.append(f"## {title}\n")
        chosen = [m for m in MEASURES.values() if m.family == family]
        parts += [_entry(m, None if figures is None else figures[m.name]) for m in chosen]
    return "\n".join(parts)


def main() -> None:
    """Compute the figures and write the page."""
    PAGE.write_text(page({m.name: figures_of(m) for m in MEASURES.values()}), encoding="utf-8")
    print(PAGE.name)


def _value(measure: Measure, x: np.ndarray, y: np.ndarray) -> float:
    with warnings.catch_warnings():
        # the page says itself which values are 1 whatever the systems are
        warnings.filterwarnings("ignore", message=".*fill the .* dimensions", category=UserWarning)
        # and that the distance that a short search finds is an upper bound
        warnings.filterwarnings("ignore", message="the search ended after", category=UserWarning)
        return compare(x, y, measure=measure, options=OPTIONS.get(measure.name))


def _table() -> str:
    lines = [
        "## All measures\n",
        "| Name | Kind | Family | Range | Invariances | Symmetric | Metric | Stimuli at least | Cost |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for m in sorted(MEASURES.values(), key=lambda m: list(FAMILIES).index(m.family)):
        cells = (
            f"[`{m.name}`](#{m.name})",
            m.kind,
            m.family,
            range_text(m.range),
            invariances_text(m),
            "yes" if m.symmetric else "no",
            "yes" if m.metric else "no",
            str(m.minimum),
            m.cost,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


NEARER = "## Which system comes out nearer to the easy-strong one\n"
_TIE = 0.01


def _nearer_table(figures: Mapping[str, Figures]) -> str:
    found: dict[str, list[str]] = {"easy": [], "both": [], "neither": []}
    for name, f in figures.items():
        if f.opposite is None or f.easy_and_first is None:
            continue
        gain = f.easy_and_first - f.opposite
        gain = gain if MEASURES[name].kind == "similarity" else -gain
        tie = abs(gain) <= _TIE * max(abs(f.opposite), abs(f.easy_and_first))
        found["neither" if tie else "easy" if gain > 0 else "both"].append(f"`{name}`")
    rows = (
        ("The one with the easy feature alone", found["easy"]),
        ("The one that computes both features", found["both"]),
        ("Neither, within 1 %", found["neither"]),
    )
    lines = [NEARER, "| Nearer (simulated) | By |", "|---|---|"]
    return "\n".join(lines + [f"| {title} | {', '.join(names)} |" for title, names in rows]) + "\n"


def range_text(limits: tuple[float, float]) -> str:
    """``-1 to 1``; a range without an end says so."""
    low, high = limits
    if math.isinf(high):
        return f"{low:.3g} and above"
    return f"at most {high:.3g}" if math.isinf(low) else f"{low:.3g} to {high:.3g}"


def invariances_text(measure: Measure) -> str:
    """The declared invariances, the widest first."""
    order = ("linear", "rotation", "scale", "translation", "permutation")
    return ", ".join(name for name in order if name in measure.invariances)


def _entry(m: Measure, figures: Figures | None) -> str:
    lines = [
        f"### {m.name}\n",
        f"- Answers: {m.answers}",
        f"- Blind to: {m.blind_to}",
        f"- Bias: {m.bias}",
        f"- Options: {', '.join(f'`{name}`' for name in m.options) or 'none'}",
        *_takes(m),
        f"- Source: {m.reference}",
    ]
    if figures is not None:
        lines += figure_lines(m, figures)
    return "\n".join(lines) + "\n"


def _takes(m: Measure) -> list[str]:
    lines = []
    if m.samples == "trials":
        lines.append("- Takes single trials: (n_stimuli, n_repeats, p)")
    if m.samples == "trajectories":
        lines.append("- Takes trajectories: (n_times, p) or (n_trials, n_times, p)")
    if m.equal_widths:
        lines.append("- Needs as many units in x as in y")
    return lines


UNRELATED, FEATURE_BIAS = "- Unrelated (simulated", "- Feature bias (simulated"


def figure_lines(m: Measure, figures: Figures) -> list[str]:
    """The two lines of a measure that hold figures."""
    values = ", ".join(f"{text(v)} with {p} units" for p, v in figures.unrelated.items())
    return [
        f"{UNRELATED}{_unrelated_note(m)}): {values}",
        f"{FEATURE_BIAS}{_bias_note(m)}): {_bias_values(figures)}",
    ]


def text(value: float) -> str:
    """Two decimals; three below 0.1, two figures below 0.0005 and no decimals from 100 on."""
    if 0 < abs(value) < 0.0005:
        return f"{value:.1e}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) < 0.1 else f"{value:.2f}"


def _quick(m: Measure) -> str:
    options = ", ".join(f"{name}={setting}" for name, setting in OPTIONS.get(m.name, {}).items())
    return f", {options}" if options else ""


def _unrelated_note(m: Measure) -> str:
    if m.samples == "trials":
        return f", {TRIALS[0]} stimuli of {TRIALS[1]} repeats{_quick(m)}"
    if m.samples == "trajectories":
        return f", white noise of {N_UNRELATED} times{_quick(m)}"
    return f", n = {N_UNRELATED}{_quick(m)}"


def _bias_note(m: Measure) -> str:
    if m.samples == "trials":
        size = f", {TRIALS[0]} stimuli of {TRIALS[1]} repeats with noise of sd 0.5, {TRIAL_UNITS} units"
        return size + _quick(m)
    return ", n = 200" + ("" if m.samples == "trajectories" else _quick(m))


def _bias_values(figures: Figures) -> str:
    if figures.opposite is None or figures.easy_and_first is None or figures.easy_and_second is None:
        return "does not apply, its stimuli have no order in time"
    return (
        f"opposite strengths {text(figures.opposite)}; the easy feature alone with the easy-strong system "
        f"{text(figures.easy_and_first)}, with the hard-strong one {text(figures.easy_and_second)}"
    )


if __name__ == "__main__":
    main()
