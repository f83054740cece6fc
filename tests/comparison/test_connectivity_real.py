"""Maps, partitions and connectivity of recorded RDMs: the reference numbers of the recordings."""

from __future__ import annotations

import numpy as np
import pytest

import data_loaders as dl
from brainalign.comparison.connectivity import representational_connectivity, thin_connectivity
from brainalign.comparison.rdm_partition import partition_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_between_people import intersubject_rsa
from brainalign.comparison.rsa_maps import map_rsa

pytestmark = pytest.mark.real


def test_two_pseudo_mice_share_their_geometry(real_data) -> None:
    """Spearman 0.8746 between VISal and VISam, 0.8455 between the embeddings, as maps and as connectivity."""
    folder = real_data / "mouse_pseudo_rsa"
    for a, b, expected in (
        ("pseudo_a_VISal", "pseudo_b_VISam", 0.8746),
        ("pseudo_mouse_A_emb", "pseudo_mouse_B_emb", 0.8455),
    ):
        first, second = (rdm(np.load(folder / f"{name}.npy")) for name in (a, b))
        assert map_rsa({"a": first}, second, measure="spearman").values[0, 0] == pytest.approx(
            expected, abs=5e-5
        )
        table = representational_connectivity({"a": first, "b": second}, measure="spearman")
        assert table.values[0, 1] == pytest.approx(expected, abs=5e-5)


def test_human_it_is_explained_by_animacy_and_monkey_it(real_data) -> None:
    """One-model R2 is the squared correlation 0.491210 of the paper; parts sum to the whole."""
    rdms = dl.load("objects92", root=real_data).rdms
    names = rdms.table["name"].astype(str)
    human = rdms.select(names.str.contains("hITvisStim").to_numpy())
    monkey = rdms.select(names.str.contains("mIT_674neurons").to_numpy())
    one = partition_rdms(human, monkey)
    assert one.r2[0, 0] == pytest.approx(0.491210**2, abs=2e-6)
    models = dl.load("objects92", kind="model", root=real_data).rdms
    chosen = models.select(models.table["name"].isin(["animacy", "EVA", "V1"]).to_numpy())
    found = partition_rdms(human, chosen, fit="non_negative", n_folds=4)
    assert found.names == tuple(chosen.table["name"])
    assert found.shared[:, 0].sum() == pytest.approx(found.r2[-1, 0])
    assert found.names[int(found.unique[:, 0].argmax())] == "animacy"


def test_people_share_human_it_across_sessions(real_data) -> None:
    """Inter-subject RSA over two sessions of four people is above 0 and far below the pooled ceiling."""
    brain = dl.load("objects92", kind="brain", root=real_data).rdms
    table = brain.table
    rows = table["subject"].notna() & table["session"].notna()
    people = sorted(table.loc[rows, "subject"].unique())
    sessions = sorted(table.loc[rows, "session"].unique())
    stack = np.stack(
        [
            [
                brain.values[np.flatnonzero((table["subject"] == p) & (table["session"] == s))[0]]
                for s in sessions
            ]
            for p in people
        ]
    )
    assert stack.shape == (4, 2, 92, 92)
    found = intersubject_rsa(stack, measure="spearman", n_permutations=19)
    assert 0.05 < found.value < 0.3
    assert found.p_value == 1 / 20
    network = thin_connectivity(found.pairs)
    assert (network > 0).sum() == 6
