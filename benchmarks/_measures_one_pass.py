"""Many measures of many pairs in one pass, and their permutations, against one call for each."""

from __future__ import annotations

from functools import partial

import numpy as np
from _rsa_case import Answer, Arrays, Case, Side, quiet

import brainalign.comparison as bc
from brainalign.comparison.many_systems import default_measures

PACKAGE = "brainalign.comparison"  # the other side of these rows: our own single calls
UNITS = ("bipartite_match", "best_match", "soft_match")
PREDICTIVITY = ("linear_predictivity",)


def layers(rng: np.random.Generator, shared: np.ndarray, n_layers: int, p: int) -> list[np.ndarray]:
    """Layers (n, p) of one network: what all networks share drifts over depth, the rest is its own."""
    n, d = shared.shape
    drift = rng.normal(size=(n, d))
    depths = np.linspace(0.0, 1.0, n_layers)
    states = [np.sqrt(1 - depth / 2) * shared + np.sqrt(depth / 2) * drift for depth in depths]
    return [one @ rng.normal(size=(d, p)) / np.sqrt(d) + 0.5 * rng.normal(size=(n, p)) for one in states]


def two_networks(n: int, p: int, grid: tuple[int, int]) -> Arrays:
    """Layers of two networks that answered the same stimuli."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(n, 64))
    first, second = (layers(rng, shared, count, p) for count in grid)
    return {"first": first, "second": second}


def one_network(n: int, p: int, n_layers: int) -> Arrays:
    rng = np.random.default_rng(0)
    return {"layers": layers(rng, rng.normal(size=(n, 64)), n_layers, p)}


def our_pass(arrays: Arrays, measures: tuple[str, ...]) -> Answer:
    """Values (measures, pairs)."""
    with quiet():
        table = bc.compare_many(arrays["first"], against=arrays["second"], measures=measures)
    return Answer(table["value"].to_numpy().reshape(-1, len(measures)).T)


def single_calls(arrays: Arrays, measures: tuple[str, ...], timed: int) -> Answer:
    """Some of the pairs, spread over all: one call for each pair and measure."""
    first, second = arrays["first"], arrays["second"]
    total = len(first) * len(second)
    index = np.linspace(0, total - 1, timed).astype(int)
    values = np.empty((len(measures), timed))
    with quiet():
        for place, pair in enumerate(index.tolist()):
            i, j = divmod(pair, len(second))
            values[:, place] = [bc.compare(first[i], second[j], measure=name) for name in measures]
    return Answer(values, index=index, scale=total / timed)


def our_permutations(arrays: Arrays, draws: int) -> Answer:
    """Value, p-value and mean of the null, (3, pairs)."""
    table = bc.compare_many(arrays["layers"], measures=["cka"], calibrate="permutation", n_permutations=draws)
    return Answer(table[["value", "p_value", "null_mean"]].to_numpy().T)


def single_tests(arrays: Arrays, draws: int, timed: int) -> Answer:
    """The test of some of the pairs, one at a time; it draws the orders that the pass draws."""
    systems = arrays["layers"]
    first, second = np.triu_indices(len(systems), 1)
    index = np.linspace(0, len(first) - 1, timed).astype(int)
    found = [
        bc.permutation_test(systems[first[k]], systems[second[k]], measure="cka", n_permutations=draws)
        for k in index
    ]
    values = np.array([[one.value, one.p_value, one.null.mean()] for one in found]).T
    return Answer(values, index=index, scale=len(first) / timed)


def cases(quick: bool) -> list[Case]:
    n, p = (60, 20) if quick else (1000, 512)
    many = 3 if quick else 12
    few = 2 if quick else 6
    shared = tuple(default_measures())
    timed = 2 if quick else 4
    found = [
        _pass_case("one-pass-shared", f"{len(shared)} measures", shared, (n, p), (many, many), timed, 6.0),
        _pass_case("one-pass-units", ", ".join(UNITS), UNITS, (n, p), (many, many), timed),
        _pass_case("one-pass-predictivity", PREDICTIVITY[0], PREDICTIVITY, (n, p), (2, few), 2),
    ]
    return [*found, _permutation_case(quick, n // 2, p // 2, many)]


def _pass_case(
    name: str,
    what: str,
    measures: tuple[str, ...],
    shape: tuple[int, int],
    grid: tuple[int, int],
    timed: int,
    floor: float | None = None,
) -> Case:
    return Case(
        name,
        "one-pass",
        f"{what}: {grid[0]} x {grid[1]} layers, {shape[0]} stimuli, {shape[1]} units",
        partial(two_networks, *shape, grid),
        Side("brainalign", "compare_many", partial(our_pass, measures=measures)),
        (
            Side(
                PACKAGE,
                "compare",
                partial(single_calls, measures=measures, timed=timed),
                share=f"{timed} of {grid[0] * grid[1]} pairs, scaled",
            ),
        ),
        tolerance=1e-8,
        floor=floor,
    )


def _permutation_case(quick: bool, n: int, p: int, n_layers: int) -> Case:
    draws, timed = (20, 2) if quick else (200, 6)
    pairs = n_layers * (n_layers - 1) // 2
    return Case(
        "permutations",
        "one-pass",
        f"cka and {draws} permutations: {pairs} pairs of {n_layers} layers, {n} stimuli, {p} units",
        partial(one_network, n, p, n_layers),
        Side("brainalign", "compare_many", partial(our_permutations, draws=draws)),
        (
            Side(
                PACKAGE,
                "permutation_test",
                partial(single_tests, draws=draws, timed=timed),
                share=f"{timed} of {pairs} pairs, scaled",
            ),
        ),
        tolerance=1e-8,
        # the inner products of each system with all orders of each later one
        operations=2.0 * n * n * (n_layers - 1) * n_layers * draws,
    )
