"""The records of the metric measures: Procrustes, permutation and shape distances."""

from __future__ import annotations

import math
from typing import Any

from brainalign.comparison._measure import Measure
from brainalign.comparison._procrustes_forms import MIN_STIMULI
from brainalign.comparison.energy_shape import energy_shape_distance
from brainalign.comparison.permutation_alignment import permutation_procrustes_distance
from brainalign.comparison.procrustes import angular_procrustes_distance, procrustes_distance
from brainalign.comparison.shape import shape_distance
from brainalign.comparison.stochastic_shape import stochastic_shape_distance

_WILLIAMS = "Williams et al. 2021, arXiv:2110.14739"
_DUONG = "Duong et al. 2023, arXiv:2211.11665"
_ROTATIONS = frozenset({"rotation", "scale", "translation", "permutation"})
_NEAR_WHEN_WIDE = (
    "Unrelated x and y with more units than stimuli come out near, as a rotation of many units fits much; "
    "estimate_shape_similarity and shape_held_out do not share this."
)
_MISSES_SMALL = (
    "Directions of small variance, which add little to the sum of singular values however much they tell."
)
_SHARED: dict[str, Any] = {"kind": "distance", "family": "shape", "metric": True}

MEASURES_SHAPE: tuple[Measure, ...] = (
    Measure(
        name="procrustes",
        function=procrustes_distance,
        range=(0.0, math.sqrt(2.0)),  # at unit norm; without an upper end where scale_free=False
        invariances=_ROTATIONS,
        minimum=MIN_STIMULI,
        cost="O(n p q + min(p, n)^2 max(q, n)) time, O(n (p + q) + p q) memory",
        reference=_WILLIAMS,
        answers="How far are two centred clouds of stimuli, of norm one, after the best rotation?",
        blind_to=_MISSES_SMALL,
        bias=_NEAR_WHEN_WIDE,
        options=("scale_free",),
        **_SHARED,
    ),
    Measure(
        name="angular_procrustes",
        function=angular_procrustes_distance,
        range=(0.0, math.pi / 2.0),
        invariances=_ROTATIONS,
        minimum=MIN_STIMULI,
        cost="O(n p q + min(p, n)^2 max(q, n)) time, O(n (p + q) + p q) memory",
        reference=_WILLIAMS,
        answers="What angle remains between two centred clouds of stimuli after the best rotation?",
        blind_to=_MISSES_SMALL,
        bias=_NEAR_WHEN_WIDE,
        **_SHARED,
    ),
    Measure(
        name="permutation_procrustes",
        function=permutation_procrustes_distance,
        range=(0.0, 2.0),
        invariances=frozenset({"scale", "translation", "permutation"}),
        minimum=MIN_STIMULI,
        cost="O(n p^2 + p^3) time, O(p^2) memory",
        reference=_WILLIAMS,
        answers="How far are two systems when each unit of one is paired with one unit of the other?",
        blind_to="Equal geometry in rotated units: two bases of one space are far apart.",
        bias="Unrelated x and y are the nearer, the more units and the fewer stimuli there are.",
        options=("scale_free", "pad"),
        equal_widths=True,
        **_SHARED,
    ),
    Measure(
        name="shape",
        function=shape_distance,
        range=(0.0, math.pi / 2.0),
        invariances=_ROTATIONS,  # at the default alpha of 1; at 0 also "linear", between not "scale"
        minimum=MIN_STIMULI,
        cost="O(n p min(n, p) + n p q) time, O(n (p + q)) memory",
        reference=_WILLIAMS,
        answers=(
            "What angle remains after partial whitening (alpha from 1, none, to 0, canonical "
            "correlation) and the best rotation?"
        ),
        blind_to="At alpha 1 directions of small variance; at alpha 0 the variance of every direction.",
        bias=_NEAR_WHEN_WIDE + " Whitening makes it worse.",
        options=("alpha", "scale_free"),
        **_SHARED,
    ),
    Measure(
        name="stochastic_shape",
        function=stochastic_shape_distance,
        range=(0.0, math.inf),
        invariances=frozenset({"rotation", "permutation"}),
        minimum=1,
        cost="O(n (r^2 p + r p^2 + r^3) + p^3) time per step for r repeats, O(n r p) memory",
        reference=_DUONG,
        answers="How far are the means and the covariances of each stimulus's trials after one rotation?",
        blind_to="The form of the noise beyond its covariance.",
        bias="Covariances of few repeats make systems of equal noise differ; the search may end too high.",
        options=("alpha", "restarts", "max_iter", "random_state"),
        samples="trials",
        **_SHARED,
    ),
    Measure(
        name="energy_shape",
        function=energy_shape_distance,
        range=(0.0, math.inf),
        invariances=frozenset({"rotation", "permutation"}),
        minimum=1,
        cost="O(n (r^2 p + r p^2) + p^3) time per step for r repeats, O(n r p) memory",
        reference=_DUONG,
        answers="How far are the distributions of the trials of each stimulus after one rotation?",
        blind_to="Whether a difference lies in the means or in the noise.",
        bias="Two sets of trials from one distribution are apart by about the root of one over the repeats.",
        options=("restarts", "max_iter", "random_state"),
        samples="trials",
        **_SHARED,
    ),
)
