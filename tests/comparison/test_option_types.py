"""Options of another type than expected are named, not passed on to numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from brainalign.comparison import (
    bootstrap_rsa,
    compare_layers,
    compare_over_time,
    mantel_test,
    map_searchlight,
    permutation_test,
    time_resolved_rsa,
)
from brainalign.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 30))
PLACES = RNG.uniform(0, 10, size=(30, 3))
RDM = np.abs(X[:, :1] - X[:, :1].T)
TRIALS = RNG.normal(size=(8, 6, 5))


def spheres(**options: Any) -> Any:
    given = {"radius_mm": 4.0, "models": RDM, "measure": "rho_a", "distance": "correlation"}
    return map_searchlight(X, PLACES, **(given | options))


def over_time(**options: Any) -> Any:
    return time_resolved_rsa(TRIALS, {"a": RDM}, distance="correlation", measure="rho_a", **options)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: spheres(radius_mm="4"), "radius_mm='4'; expected a positive number of millimetres"),
        (lambda: spheres(min_voxels=2.5), "min_voxels=2.5; correlation needs a whole number of at least 2"),
        (lambda: spheres(block_bytes=0), "block_bytes=0; expected a whole number of bytes"),
        (lambda: spheres(n_permutations=5, random_state="x"), "random_state='x' is no seed"),
        (
            lambda: bootstrap_rsa(np.stack([RDM, RDM]), RDM, measure="rho_a", random_state=-1),
            "random_state=-1 is no seed",
        ),
        (lambda: mantel_test(RDM, RDM, random_state="x"), "random_state='x' is no seed"),
        (lambda: permutation_test(X, X, random_state="x"), "random_state='x' is no seed"),
        (lambda: permutation_test(X, X, n_permutations=True), "n_permutations=True; expected a whole number"),
        (lambda: over_time(cluster_alpha="x"), "cluster_alpha='x'; expected a number between 0 and 1"),
        (lambda: over_time(n_permutations=5, random_state="x"), "random_state='x' is no seed"),
        (lambda: compare_over_time({"a": X}, TRIALS, n_permutations="x"), "n_permutations='x'; expected"),
        (lambda: compare_layers({"a": X}, X, n_bootstrap=-1), "n_bootstrap=-1; expected a whole number"),
    ],
)
def test_wrong_types_are_named(call: Callable[[], Any], match: str) -> None:
    """The argument, what was found and what is expected stand in the text."""
    with pytest.raises(InputError, match=match):
        call()
