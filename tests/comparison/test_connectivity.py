"""Representational connectivity, its thinning, and maps of many models over many brain RDMs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison.connectivity import representational_connectivity, thin_connectivity
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_maps import map_rsa
from brainalign.comparison.rsa_with_controls import partial_rsa
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import RDMs

N, K, S = 12, 4, 3
RNG = np.random.default_rng(0)
STACK = rdm(RNG.normal(size=(S, K, N, 6)), distance="sq_euclidean")
OFF = ~np.eye(K, dtype=bool)
MEASURES = ["pearson", "spearman", "rho_a", "cosine", "whitened_cosine", "whitened_pearson"]


@pytest.mark.parametrize("measure", MEASURES)
def test_every_pair_of_regions_equals_a_single_comparison(measure) -> None:
    """Within subjects the table is that of `compare_rdms`, averaged over subjects."""
    found = representational_connectivity(STACK, measure=measure)
    expected = np.stack([compare_rdms(one, one, measure=measure) for one in STACK])
    np.testing.assert_allclose(found.subject_values, expected, atol=1e-10)
    np.testing.assert_allclose(found.values, expected.mean(0), atol=1e-10)


@pytest.mark.parametrize("measure", ["pearson", "whitened_cosine"])
def test_between_subjects_pairs_regions_of_different_people(measure) -> None:
    """The closed form equals the loop over ordered pairs of subjects."""
    found = representational_connectivity(STACK, measure=measure, between_subjects=True)
    tables = [compare_rdms(STACK[a], STACK[b], measure=measure) for a in range(S) for b in range(S) if a != b]
    np.testing.assert_allclose(found.values, np.mean(tables, axis=0), atol=1e-10)


def test_noise_shared_by_the_regions_of_one_brain_connects_only_within_subjects() -> None:
    """Common noise makes regions alike within subjects; between subjects they are near 0."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(8, 1, 30, 6))
    stack = rdm(common + 0.5 * rng.normal(size=(8, 3, 30, 6)))
    within = representational_connectivity(stack, measure="pearson").values
    between = representational_connectivity(stack, measure="pearson", between_subjects=True).values
    assert within[0, 1] > 0.5
    assert abs(between[0, 1]) < 0.05


@pytest.mark.parametrize("measure", ["pearson", "spearman"])
def test_partial_forms_equal_partial_rsa(measure) -> None:
    """Controls, and all other regions, are removed as in `partial_rsa`."""
    controls = rdm(RNG.normal(size=(2, N, 4)))
    found = representational_connectivity(STACK, measure=measure, controls=controls)
    expected = np.mean([partial_rsa(one, one, controls, measure=measure) for one in STACK], axis=0)
    np.testing.assert_allclose(found.values, expected, atol=1e-10)
    others = representational_connectivity(STACK, measure=measure, given_others=True)
    for a, b in ((0, 1), (2, 3), (1, 3)):
        rest = [k for k in range(K) if k not in (a, b)]
        single = np.mean([partial_rsa(s[a], s[b], s[rest], measure=measure) for s in STACK])
        assert others.values[a, b] == pytest.approx(single, abs=1e-9)


def test_a_planted_chain_has_no_direct_connection_of_its_ends() -> None:
    """A -> B -> C: A and C are connected, but not given B."""
    rng = np.random.default_rng(2)
    noise = rdm(rng.normal(size=(3, 60, 40)), distance="sq_euclidean")
    a = rdm(rng.normal(size=(60, 3)), distance="sq_euclidean")
    b = a + 4 * noise[0]
    c = b + 4 * noise[1]
    regions = {"A": a, "B": b, "C": c}
    full = representational_connectivity(regions, measure="pearson")
    given = representational_connectivity(regions, measure="pearson", given_others=True)
    assert full.values[0, 2] > 0.5
    assert abs(given.values[0, 2]) < 0.1
    assert given.values[0, 1] > 0.5
    assert full.to_frame().region_b.tolist() == ["B", "C", "C"]


def test_names_and_joins_of_rdms() -> None:
    """Regions are named by their column; controls are joined by id."""
    ids = [f"s{i}" for i in range(N)]
    regions = RDMs(STACK[0], ids, pd.DataFrame({"roi": ["a", "b", "c", "d"]}), {"distance": "crossnobis"})
    order = RNG.permutation(N)
    control = rdm(RNG.normal(size=(N, 4)))
    shuffled = RDMs(control[np.ix_(order, order)], [ids[i] for i in order])
    found = representational_connectivity(regions, measure="pearson", controls=shuffled)
    expected = partial_rsa(STACK[0], STACK[0], control[None], measure="pearson")
    np.testing.assert_allclose(found.values, expected, atol=1e-10)
    assert found.regions == ("a", "b", "c", "d")
    with pytest.warns(UserWarning, match="'whitened_cosine' is used"):
        assert representational_connectivity(regions).measure == "whitened_cosine"
    stacked = {"x": STACK[:, 0], "y": STACK[:, 1]}
    assert representational_connectivity(stacked, measure="pearson").subject_values.shape == (S, 2, 2)


def test_a_constant_region_and_one_that_others_determine_are_nan() -> None:
    """Both are counted in a warning."""
    flat = np.stack([1 - np.eye(N), STACK[0, 0], STACK[0, 1]])
    with pytest.warns(UserWarning, match="4 of 6 pairs of regions are NaN"):
        representational_connectivity(flat, measure="pearson")
    summed = np.stack([STACK[0, 0], STACK[0, 1], STACK[0, 0] + STACK[0, 1]])
    with pytest.warns(UserWarning, match="6 of 6 pairs of regions are NaN"):
        representational_connectivity(summed, measure="pearson", given_others=True)


def brute_tree(values: np.ndarray) -> set[tuple[int, int]]:
    """Kruskal's maximum spanning tree."""
    root = list(range(len(values)))
    tree = set()
    rows, columns = np.triu_indices(len(values), 1)
    for e in np.argsort(-np.where(np.isnan(values[rows, columns]), -np.inf, values[rows, columns])):
        a, b = int(rows[e]), int(columns[e])
        if np.isnan(values[a, b]) or root[a] == root[b]:
            continue
        root = [root[a] if r == root[b] else r for r in root]
        tree.add((a, b))
    return tree


def test_successive_trees_equal_kruskal() -> None:
    """Each tree is the maximum spanning tree of the connections that are left, negative ones included."""
    values = RNG.normal(size=(9, 9))
    values = values + values.T
    found = thin_connectivity(values, n_trees=3)
    left = values.copy()
    for number in (1, 2, 3):
        tree = brute_tree(left)
        assert set(zip(*np.nonzero(np.triu(found == number)), strict=True)) == tree
        for a, b in tree:
            left[a, b] = left[b, a] = np.nan
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(thin_connectivity(np.exp(values), n_trees=3), found)
    assert (thin_connectivity(values, n_trees=50)[~np.eye(9, dtype=bool)] > 0).all()


def test_thinning_without_connections_is_a_forest() -> None:
    """NaN is no connection; ties are kept in one piece."""
    values = np.full((4, 4), np.nan)
    values[0, 1] = values[1, 0] = 0.0
    assert thin_connectivity(values).sum() == 2
    assert (thin_connectivity(np.ones((5, 5))) > 0).sum() == 8
    assert thin_connectivity(np.full((3, 3), np.nan)).sum() == 0


@pytest.mark.parametrize("measure", [*MEASURES, "tau_a", "bures"])
def test_a_map_equals_single_comparisons(measure, monkeypatch) -> None:
    """Layers x regions x times in blocks equal `compare_rdms`, with one label an axis."""
    models = {"l1": STACK[0, 0], "l2": STACK[1, 1]}
    axes = {"subject": ["p", "q", "r"], "region": list("abcd")}
    monkeypatch.setattr("brainalign.comparison.rsa_maps._BLOCK_BYTES", 24 * N * N * 5)
    found = map_rsa(models, STACK, measure=measure, axes=axes)
    frame = found.to_frame().set_index(["model", "subject", "region"])
    for name, model in models.items():
        for s in range(S):
            for k in range(K):
                expected = compare_rdms(STACK[s, k], model, measure=measure)
                assert frame.loc[(name, "pqr"[s], "abcd"[k]), "value"] == pytest.approx(expected, abs=1e-10)


def test_maps_of_rdms_keep_their_table_and_join_by_id() -> None:
    """The columns of the brain RDMs stand in the tidy table."""
    ids = [f"s{i}" for i in range(N)]
    order = RNG.permutation(N)
    brain = RDMs(STACK[0], ids, pd.DataFrame({"roi": list("abcd"), "time": [0.0, 0.1, 0.2, 0.3]}))
    models = RDMs(
        STACK[0][:, order][:, :, order], [ids[i] for i in order], pd.DataFrame({"layer": list("wxyz")})
    )
    with pytest.warns(UserWarning, match="'rho_a' is used"):
        found = map_rsa(models, brain)
    np.testing.assert_allclose(np.diag(found.values), 1.0)
    assert list(found.to_frame()) == ["model", "roi", "time", "value", "measure"]
    assert found.models == ("w", "x", "y", "z")


def test_wrong_input_is_named() -> None:
    """Shapes, options, mixtures and missing pairs."""
    with pytest.raises(ShapeError, match="1 region; connectivity needs at least 2"):
        representational_connectivity(STACK[0, :1], measure="pearson")
    with pytest.raises(ShapeError, match="1 subject; between_subjects=True needs"):
        representational_connectivity(STACK[0], measure="pearson", between_subjects=True)
    with pytest.raises(InputError, match="both given"):
        representational_connectivity(STACK, measure="pearson", controls=STACK[0], given_others=True)
    with pytest.raises(InputError, match="within subjects"):
        representational_connectivity(STACK, measure="pearson", given_others=True, between_subjects=True)
    with pytest.raises(InputError, match="'cosine' has no partial form"):
        representational_connectivity(STACK, measure="cosine", given_others=True)
    with pytest.raises(AlignmentError, match="one of rdms and controls is RDMs"):
        representational_connectivity(STACK, measure="pearson", controls=RDMs(STACK[0], range(N)))
    with pytest.raises(ShapeError, match="expected \\(k, n, n\\) or \\(n_subjects, k, n, n\\)"):
        representational_connectivity(STACK[0, 0], measure="pearson")
    with pytest.raises(ShapeError, match="rdms is an empty mapping"):
        representational_connectivity({}, measure="pearson")
    with pytest.raises(ShapeError, match="expected one shape for all"):
        representational_connectivity({"a": STACK[0, 0], "b": STACK[0, 0, :5, :5]}, measure="pearson")
    with pytest.raises(ShapeError, match="expected \\(k, k\\) for at least 2 regions"):
        thin_connectivity(np.ones((2, 3)))
    with pytest.raises(InputError, match="n_trees=0"):
        thin_connectivity(np.ones((3, 3)), n_trees=0)
    with pytest.raises(InputError, match="not symmetric and finite"):
        thin_connectivity(np.arange(9.0).reshape(3, 3))
    with pytest.raises(ShapeError, match="brain_rdms are over 5 stimuli and model_rdms over 12"):
        map_rsa(STACK[0], STACK[0, :, :5, :5], measure="pearson")
    with pytest.raises(ShapeError, match="leading axes of brain_rdms are \\(3, 4\\)"):
        map_rsa(STACK[0], STACK, measure="pearson", axes={"time": [0, 1]})
    with pytest.raises(ShapeError, match="expected \\(..., n, n\\)"):
        map_rsa(STACK[0], STACK[0, 0, 0], measure="pearson")
    with pytest.raises(AlignmentError, match="one of model_rdms and brain_rdms is RDMs"):
        map_rsa(STACK[0], RDMs(STACK[0], range(N)), measure="pearson")
    with pytest.raises(InputError, match="axes name the leading axes of an array"):
        map_rsa(RDMs(STACK[0], range(N)), RDMs(STACK[0], range(N)), axes={"a": [0]}, measure="pearson")
    with pytest.raises(InputError, match="measure='pearsn' is not one of"):
        map_rsa(STACK[0], STACK, measure="pearsn")
    with pytest.raises(UnknownNameError, match="closest: pearson"):
        representational_connectivity(STACK, measure="pearsn")
    with pytest.raises(ShapeError, match="at least 3"):
        map_rsa(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), measure="pearson")
