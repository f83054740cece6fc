"""The record of the measure of dynamics."""

from __future__ import annotations

import math

from brainalign.comparison._measure import Measure
from brainalign.comparison.dynamical_similarity import N_DELAYS, dsa

MEASURES_DYNAMICS: tuple[Measure, ...] = (
    Measure(
        name="dsa",
        function=dsa,
        kind="distance",
        family="dynamics",
        range=(0.0, math.inf),  # at most pi in the default, angular form
        invariances=frozenset({"rotation", "scale", "translation", "permutation"}),
        minimum=2 * N_DELAYS,
        cost=(
            "O(n m min(n, m)) time and O(n m) memory for the operator of n times and m = n_delays p, then "
            "about 10 r^3 for each step and start of the search, batched over pairs"
        ),
        reference="Ostrow et al. 2023, arXiv:2306.10168",
        answers="Do the states of two systems evolve by the same linear dynamics, up to a rotation?",
        blind_to=(
            "Where the states lie: two systems whose clouds differ in shape, but move by the same operator, "
            "are the same; and dynamics that the kept delays and components cannot express."
        ),
        bias=(
            "Two independent noise recordings differ by the error of their operators, which is large for "
            "short recordings and a high rank; an unnamed rank depends on the noise level and the length."
        ),
        options=(
            "n_delays",
            "delay",
            "rank",
            "ridge",
            "intercept",
            "form",
            "n_restarts",
            "max_iterations",
            "random_state",
        ),
        metric=True,
        samples="trajectories",
    ),
)
