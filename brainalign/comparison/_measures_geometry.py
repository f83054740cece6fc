"""The records of the measures of transport, topology and curvature."""

from __future__ import annotations

import math

from brainalign.comparison import intrinsic_distance, ricci_curvature, topology_divergence
from brainalign.comparison import transport as gw
from brainalign.comparison._measure import Measure

_EUCLIDEAN = frozenset({"rotation", "scale", "translation", "permutation"})
_UNPAIRED = "Which stimulus is where: the rows of one side may be permuted without a change"

MEASURES_GEOMETRY: tuple[Measure, ...] = (
    Measure(
        name="gromov_wasserstein",
        function=gw.gromov_wasserstein,
        kind="distance",
        family="transport",
        range=(0.0, math.inf),  # at most the root of 2 with the default normalisation, not squared
        invariances=_EUCLIDEAN,
        minimum=gw.MIN_STIMULI,
        cost="O(n^3) for each step of each of 2 + n_restarts searches, O(n^2) memory",
        reference="Memoli 2011, doi:10.1007/s10208-011-9093-5",
        answers="How well do the two RDMs agree under the best matching of their stimuli?",
        blind_to=f"{_UNPAIRED}, so a permutation test of rows says nothing; also reflections.",
        paired=False,
        bias=(
            "With many more units than stimuli all distances of noise are nearly equal and unrelated systems "
            "come near 0 (n = 100: 0.097 with 50 units, 0.010 with 5000); a "
            "local search may end above the minimum."
        ),
        options=(
            "distance",
            "squared",
            "normalise",
            "n_restarts",
            "random_state",
            "entropic",
        ),
    ),
    Measure(
        name="rtd",
        function=topology_divergence.rtd,
        kind="distance",
        family="topology",
        range=(0.0, math.inf),
        invariances=_EUCLIDEAN,
        minimum=topology_divergence.MIN_STIMULI,
        cost="two persistence computations on twice the stimuli of a batch, about O(batch^3), for each batch",
        reference="Barannikov et al. 2022, arXiv:2201.00058",
        answers="Are the same stimuli joined into the same clusters and loops, at the same scales?",
        blind_to="Changes of distance that alter no merge of clusters and no loop; anything beyond loops.",
        bias=(
            "Grows with the number of stimuli, so values of different n (or batch) are not on one scale; for "
            "unrelated noise it falls with the number of units (n = 100: 10.5 with 3 units, 0.6 with 5000)."
        ),
        options=("batch", "n_batches", "random_state"),
    ),
    Measure(
        name="imd",
        function=intrinsic_distance.imd,
        kind="distance",
        family="topology",
        range=(0.0, math.exp(-4.0)),
        invariances=_EUCLIDEAN,
        minimum=intrinsic_distance.MIN_STIMULI,
        cost="O(n^3 + n^2 p) time, O(n^2) memory; at most 5000 stimuli",
        reference="Tsitsulin et al. 2020, arXiv:1905.11141",
        answers="Does heat spread in the same way over the neighbour graphs of the two clouds?",
        blind_to=f"{_UNPAIRED}; and all distances beyond the order of the nearest neighbours.",
        paired=False,
        bias=(
            "Small for unrelated systems of the same intrinsic dimension: 2e-05 in the mean for noise of "
            "n = 100, from 3 to 5000 units, single pairs from 2e-6 to 9e-5."
        ),
        options=("k", "allow_disconnected"),
    ),
    Measure(
        name="ricci",
        function=ricci_curvature.ricci,
        kind="distance",
        family="curvature",
        range=(0.0, 3.0),
        invariances=_EUCLIDEAN,
        minimum=ricci_curvature.MIN_STIMULI,
        cost="one exact transport problem per edge, about n k a side; at most 500 stimuli",
        reference="Ollivier 2009, doi:10.1016/j.jfa.2008.11.001",
        answers="Are the neighbour graphs curved alike: as much of clusters, of grids and of bridges?",
        blind_to=f"{_UNPAIRED}; and all distances beyond the order of the nearest neighbours.",
        paired=False,
        bias=(
            "Small for unrelated systems of the same local geometry (n = 100: 0.003 to 0.03 for noise); "
            "depends on k and on n."
        ),
        options=("k", "alpha", "allow_disconnected"),
    ),
)
