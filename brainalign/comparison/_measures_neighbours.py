"""What is known of the measures over nearest neighbours and of the norm of the difference of RDMs."""

from __future__ import annotations

from typing import Any

from brainalign.comparison._measure import Measure
from brainalign.comparison.matrix_norms import MIN_STIMULI, rsm_norm
from brainalign.comparison.neighbours import (
    MIN_STIMULI_CKNNA,
    cknna,
    jaccard,
    mutual_knn,
    rank_similarity,
    second_order_cosine,
)

_COSINE: dict[str, Any] = {
    "kind": "similarity",
    "family": "neighbours",
    "invariances": frozenset({"rotation", "scale", "permutation"}),
    "cost": "O(n^2 (p + q)) time, O(n k) memory",
}
_FAR = "How far apart the stimuli are that are not near each other, and the length of each pattern."

MEASURES_NEIGHBOURS: tuple[Measure, ...] = (
    Measure(
        name="mutual_knn",
        function=mutual_knn,
        range=(0.0, 1.0),
        minimum=3,
        reference="Huh et al. 2024, arXiv:2405.07987",
        answers="Which share of its k nearest stimuli (by cosine) has a stimulus in common in both systems?",
        blind_to=_FAR,
        bias=(
            "Unrelated systems share k / (n - 1), 0.10 for n = 100 and k = 10, for any number of units; "
            "smaller k / n lowers it, so that values compare only at one n and one k."
        ),
        options=("k",),
        **_COSINE,
    ),
    Measure(
        name="cknna",
        function=cknna,
        range=(-1.0, 1.0),
        minimum=MIN_STIMULI_CKNNA,
        reference="Huh et al. 2024, arXiv:2405.07987; Song et al. 2012, JMLR 13:1393",
        answers="Are the same stimuli near (by cosine) in both systems, and equally near?",
        blind_to=_FAR,
        bias=(
            "About k / (n - 1) for unrelated systems, 0.09 for n = 100 and k = 10, in the debiased form too: "
            "U-centring does not remove the choice of near stimuli."
        ),
        options=("k", "debiased"),
        **_COSINE,
    ),
    Measure(
        name="jaccard",
        function=jaccard,
        range=(0.0, 1.0),
        minimum=3,
        reference="Wang et al. 2020; Klabunde et al. 2023, arXiv:2305.06329",
        answers="How far do the sets of the k nearest stimuli (by cosine) of each stimulus overlap?",
        blind_to=_FAR,
        bias="About k / (2 n) for unrelated systems: 0.055 for n = 100 and k = 10, for any number of units.",
        options=("k",),
        **_COSINE,
    ),
    Measure(
        name="second_order_cosine",
        function=second_order_cosine,
        range=(-1.0, 1.0),
        minimum=3,
        reference="Hamilton et al. 2016, arXiv:1606.02821; Klabunde et al. 2023, arXiv:2305.06329",
        answers="Are the cosines of a stimulus with its nearest ones in proportion in both systems?",
        blind_to="What is not near in either system, and anything but the common mean where that is large.",
        bias=(
            "-0.08 for unrelated systems without a common mean (n = 100, k = 10, 5 to 50,000 units: near in "
            "one is not near in the other), and towards 1 for any two systems whose rows share a large mean, "
            "such as firing rates or rectified activations."
        ),
        options=("k",),
        **_COSINE,
    ),
    Measure(
        name="rank_similarity",
        function=rank_similarity,
        range=(0.0, 1.0),
        minimum=3,
        reference="Wang et al. 2020; Klabunde et al. 2023, arXiv:2305.06329",
        answers="Are the common ones of the k nearest stimuli (by cosine) in the same order in both systems?",
        blind_to=(
            "How many neighbours are common: one common neighbour at the same rank 1 scores as much as all "
            "in the same order. And all that mutual_knn does not see."
        ),
        bias="0.065 for unrelated systems with n = 100 and k = 10, for any number of units.",
        options=("k",),
        **_COSINE,
    ),
    Measure(
        name="rsm_norm",
        function=rsm_norm,
        kind="distance",
        family="rsa",
        range=(0.0, float("inf")),
        invariances=frozenset({"rotation", "translation", "permutation"}),
        minimum=MIN_STIMULI,
        cost="O(n^2 (p + q)) time, O(n (p + q)) memory",
        reference="Klabunde et al. 2023, arXiv:2305.06329",
        answers="How much do the Euclidean distances between stimuli differ, in the unit of the responses?",
        blind_to="Whether a difference is one of geometry or of size: scale and number of units dominate.",
        bias=(
            "Never 0 for unrelated systems, without a bound: about 1.4 n for independent normal data of unit "
            "variance and equal width (139 for n = 100, 5 to 50,000 units), more where these differ."
        ),
        options=("squared", "per_unit"),
        metric=True,
    ),
)
