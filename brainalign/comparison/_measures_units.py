"""Records of the measures that match single units."""

from __future__ import annotations

from brainalign.comparison._measure import Measure
from brainalign.comparison._unit_curves import MIN_STIMULI
from brainalign.comparison.unit_matching import best_match_of, bipartite_match_of
from brainalign.comparison.unit_transport import soft_match_of

_INVARIANCES = frozenset({"scale", "translation", "permutation"})
_OPTIONS = ("absolute", "cv", "random_state")
_LI = "Li et al. 2016, arXiv:1511.07543"
_BLIND = "structure that both systems share in different bases: a rotation of the units lowers it"

MEASURES_UNITS: tuple[Measure, ...] = (
    Measure(
        name="bipartite_match",
        function=bipartite_match_of,
        kind="similarity",
        family="units",
        range=(-1.0, 1.0),
        invariances=_INVARIANCES,
        minimum=MIN_STIMULI,
        cost="O(n p q + min(p, q)^2 max(p, q)) time, O(n (p + q) + p q) memory",
        reference=_LI,
        answers="How well do the units of x and y correlate when each has at most one partner?",
        blind_to=f"units of the wider side that find no partner; {_BLIND}",
        bias="upward, because pairs are chosen on the stimuli that score them (about 0.29 for unrelated "
        "x and y with 500 units and 100 stimuli); about 0 with the option cv",
        options=_OPTIONS,
    ),
    Measure(
        name="best_match",
        function=best_match_of,
        kind="similarity",
        family="units",
        range=(-1.0, 1.0),
        invariances=_INVARIANCES,
        minimum=MIN_STIMULI,
        cost="O(n p q) time, O(n (p + q) + 1024 q) memory",
        reference=_LI,
        answers="How well is each unit of x matched by its best unit of y?",
        blind_to=f"units of y that resemble none of x; {_BLIND}",
        bias="upward, and with the number of units of y (about 0.30 for unrelated x and y with 500 units "
        "and 100 stimuli); about 0 with the option cv",
        options=_OPTIONS,
        symmetric=False,
    ),
    Measure(
        name="soft_match",
        function=soft_match_of,
        kind="similarity",
        family="units",
        range=(-1.0, 1.0),
        invariances=_INVARIANCES,
        minimum=MIN_STIMULI,
        cost="O(n p q) time and the assignment O(p^3) for p = q, else the network simplex; "
        "O(n (p + q) + p q) memory",
        reference="Khosla & Williams 2024, arXiv:2311.09466",
        answers="How well do all units of x and y correlate when each spreads one equal share over partners?",
        blind_to=f"the number of copies of a unit, where proportions agree; {_BLIND}",
        bias="upward, because the plan is chosen on the stimuli that score it (about 0.29 for unrelated x "
        "and y with 500 units and 100 stimuli)",
    ),
)
