"""The linear and kernel measures, as they are registered."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from brainalign.comparison._measure import Measure, inner_product
from brainalign.comparison.bures import MIN_STIMULI as MIN_BURES
from brainalign.comparison.bures import bures_distance_of, nbs_of
from brainalign.comparison.cca import MIN_STIMULI as MIN_CCA
from brainalign.comparison.cca import cca_of, pwcca_of, svcca_of
from brainalign.comparison.cka import MIN_STIMULI as MIN_CKA
from brainalign.comparison.cka import centred_gram, linear_cka_of
from brainalign.comparison.distance_dependence import (
    centred_distances,
    distance_correlation_of,
    distance_inner_product,
)
from brainalign.comparison.kernel_cka import rbf_cka_of, rbf_gram
from brainalign.comparison.predictivity import MIN_STIMULI as MIN_PREDICTIVITY
from brainalign.comparison.predictivity import linear_predictivity_of

_SHAPE = frozenset({"rotation", "translation", "permutation"})
_SIMILARITY = _SHAPE | {"scale"}
_GRAMS = "O(n^2 (p + q)) time, O(n^2) memory"
_SVD = "O(n p min(n, p) + n q min(n, q) + r^3) time, O(n (p + q)) memory"
_DEGENERATE = (
    "fitted to the stimuli that it is computed on: grows with units per stimulus, and is 1, with a warning, "
    "whatever x and y are once their ranks fill the n - 1 dimensions of the stimuli"
)


_CCA: dict[str, Any] = {
    "kind": "similarity",
    "family": "cca",
    "range": (0.0, 1.0),
    "minimum": MIN_CCA,
    "cost": _SVD,
    "bias": _DEGENERATE,
}

MEASURES_LINEAR: tuple[Measure, ...] = (
    Measure(
        name="cka_rbf",
        function=rbf_cka_of,
        kind="similarity",
        family="cka",
        range=(-1.0, 1.0),
        invariances=_SIMILARITY,
        minimum=MIN_CKA,
        cost=_GRAMS,
        reference="Kornblith et al. 2019, arXiv:1905.00414; Song et al. 2012, JMLR 13:1393",
        answers="Are the same stimuli near each other (within about a median distance) in x and in y?",
        blind_to="differences between distances that are both far beyond the bandwidth",
        bias="about 0 for unrelated x and y at any number of units (debiased=False: tends to 1 with units "
        "per stimulus)",
        options=("fraction", "debiased"),
        represent=rbf_gram,
        between=inner_product,
    ),
    Measure(
        name="rv",
        function=partial(linear_cka_of, debiased=False),
        kind="similarity",
        family="cka",
        range=(0.0, 1.0),
        invariances=_SIMILARITY,
        minimum=MIN_CKA,
        cost="O(n p q) time, O(p q) memory where p, q < n, else O(n^2 (p + q)) and O(n^2)",
        reference="Robert & Escoufier 1976, doi:10.2307/2347233",
        answers="Do x and y share their directions of large variance? (The biased linear CKA.)",
        blind_to="directions of small variance, and relations that are not linear",
        bias="tends to 1 for unrelated x and y with units per stimulus (0.83 at n = 100, p = q = 500)",
        represent=centred_gram,
        between=inner_product,
    ),
    Measure(
        name="dcor",
        function=distance_correlation_of,
        kind="similarity",
        family="cka",
        range=(-1.0, 1.0),
        invariances=_SIMILARITY,
        minimum=MIN_CKA,
        cost=_GRAMS,
        reference="Szekely, Rizzo & Bakirov 2007, doi:10.1214/009053607000000505; Szekely & Rizzo 2014, "
        "doi:10.1214/14-AOS1255",
        answers="Does y depend on x in any way, linear or not?",
        blind_to="which units or directions carry the dependence, and its form",
        bias="in [0, 1] and tends to 1 for unrelated x and y with units per stimulus; debiased=True is the "
        "bias-corrected square, about 0 for them and negative at times",
        options=("debiased",),
        represent=centred_distances,
        between=distance_inner_product,
    ),
    Measure(
        name="cca",
        function=cca_of,
        invariances=_SIMILARITY | {"linear"},
        reference="Hotelling 1936, doi:10.1093/biomet/28.3-4.321; Raghu et al. 2017, arXiv:1706.05806",
        answers="How many of the directions of the smaller side can be read out linearly from the other?",
        blind_to="how much variance a direction has: noise directions count as much as the strongest one",
        options=("ridge", "squared"),
        **_CCA,
    ),
    Measure(
        name="svcca",
        function=svcca_of,
        invariances=_SIMILARITY,
        reference="Raghu et al. 2017, arXiv:1706.05806",
        answers="The question of cca, for the components that hold 99 % of the variance of each side.",
        blind_to="the components that are cut off, and how much variance the kept ones have",
        options=("threshold", "squared"),
        **_CCA,
    ),
    Measure(
        name="pwcca",
        function=pwcca_of,
        invariances=_SIMILARITY - {"rotation"},
        reference="Morcos, Raghu & Bengio 2018, arXiv:1806.05759",
        answers="How much of x, weighted by what its units show of each direction, can be read out from y?",
        blind_to="how much variance a direction has in y (any invertible map of y changes nothing)",
        symmetric=False,
        **_CCA,
    ),
    Measure(
        name="linear_predictivity",
        function=linear_predictivity_of,
        kind="similarity",
        family="linear",
        range=(-np.inf, 1.0),
        invariances=_SIMILARITY - {"rotation"},
        minimum=MIN_PREDICTIVITY,
        cost="folds x O(n p m + m^3 + n q m) time with m = min(n, p), O(n (p + q) + m^2) memory",
        reference="Hoerl & Kennard 1970, doi:10.1080/00401706.1970.10488634; Yamins et al. 2014, "
        "doi:10.1073/pnas.1403112111",
        answers="How well are the units of y predicted from x, linearly, on stimuli that were left out?",
        blind_to="what x holds beyond y: more units in x seldom lower it",
        bias="about 0 for unrelated x and y; biased downwards with few stimuli, and by the noise of y",
        options=("direction", "metric", "cv", "alphas", "random_state"),
        symmetric=False,
    ),
    Measure(
        name="bures",
        function=bures_distance_of,
        kind="distance",
        family="shape",
        range=(0.0, np.inf),
        invariances=_SHAPE,
        minimum=MIN_BURES,
        cost=_SVD,
        reference="Bhatia, Jain & Lim 2019, doi:10.1016/j.exmath.2018.01.002; "
        "Harvey, Larsen & Williams 2023, PMLR 243:60",
        answers="How far is x, after the best rotation, from y, per stimulus and in their unit?",
        blind_to="which unit does what: any rotation of the units is allowed",
        bias="too small for unrelated x and y with many units per stimulus: the rotation fits the noise",
        metric=True,
    ),
    Measure(
        name="nbs",
        function=nbs_of,
        kind="similarity",
        family="shape",
        range=(0.0, 1.0),
        invariances=_SIMILARITY,
        minimum=MIN_BURES,
        cost=_SVD,
        reference="Harvey, Larsen & Williams 2023, PMLR 243:60",
        answers="The cosine of the angle between the two shapes after the best rotation.",
        blind_to="which unit does what, and the size of the responses",
        bias="tends to 1 for unrelated x and y with units per stimulus",
    ),
)
