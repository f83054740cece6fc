"""bootstrap_rsa: results, parity with rsatoolbox, joins, determinism, errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from brainalign.comparison._bootstrap_run import Resampling
from brainalign.comparison._bootstrap_variance import contrast_variances, draw_counts, sampling_variances
from brainalign.comparison._rsa_inputs import rsa_inputs
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import RDMs

PEER = {
    "pearson": "corr",
    "cosine": "cosine",
    "spearman": "spearman",
    "rho_a": "rho-a",
    "tau_a": "tau-a",
    "tau_b": "tau-b",
    "whitened_cosine": "cosine_cov",
    "whitened_pearson": "corr_cov",
}


def planted(
    seed: int = 0, n: int = 14, s: int = 5, noise: float = 0.5
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Noisy RDMs of subjects around a true one, and models: the true one, a weaker one, an unrelated one."""
    rng = np.random.default_rng(seed)

    def distances(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - x[None], axis=-1)

    points = rng.normal(size=(n, 4))
    true = distances(points)
    rough = np.triu(rng.normal(size=(s, n, n)), 1)
    data = true + noise * (rough + rough.transpose(0, 2, 1))
    weaker = distances(points + rng.normal(size=points.shape))
    return data, {"weaker": weaker, "true": true, "unrelated": distances(rng.normal(size=(n, 4)))}


DATA, MODELS = planted()


@pytest.mark.parametrize("over", ["stimuli", "subjects", ("stimuli", "subjects")])
@pytest.mark.parametrize("measure", ["rho_a", "whitened_pearson", "tau_a"])
def test_planted_model_is_best(measure: str, over: object) -> None:
    """The true model has the highest score, passes zero, beats the unrelated one; shapes are as
    documented.
    """
    r = bootstrap_rsa(DATA, MODELS, measure=measure, over=over, n_boot=120)
    assert r.names[int(np.argmax(r.observed))] == "true"
    assert r.scores.shape == (120, 3)
    assert r.noise_ceiling.shape == (120, 2)
    assert r.variance.shape == (5, 5)
    zero = r.test_against_zero().set_index("model")
    assert zero.p_corrected["true"] < 0.01
    pairs = r.test_pairs(method="bootstrap", correction="fwer").set_index(["model_a", "model_b"])
    assert pairs.p["true", "unrelated"] < 0.05
    assert pairs.low["true", "unrelated"] > 0


def test_table_and_text() -> None:
    """The table has one row a model with interval, p-values and ceilings; the text names what matters."""
    r = bootstrap_rsa(DATA, MODELS, n_boot=100, measure="rho_a")
    frame = r.to_frame()
    assert list(frame.model) == ["weaker", "true", "unrelated"]
    assert (frame.low < frame.score).all()
    assert (frame.score < frame.high).all()
    assert set(frame.kind) == {"fixed"}
    assert frame.zero_is_chance.all()
    wide = r.to_frame(method="bootstrap", correction=None, level=0.99)
    assert ((wide.high - wide.low) > (r.to_frame(method="bootstrap").pipe(lambda f: f.high - f.low))).all()
    text = repr(r)
    assert "RsaResult: rho_a, 5 subjects, 14 stimuli, 100 draws over stimuli and subjects" in text
    assert "unrelated" in text
    upper = r.test_against_ceiling(ceiling="upper")
    assert (upper.difference < 0).all()
    assert upper.set_index("model").p_corrected["unrelated"] < 0.05
    assert r.degrees_of_freedom == 4


def test_bootstrap_p_values_by_hand() -> None:
    """p = (b + 1) / (m + 1) over draws moved to the observed value and scaled to the variance."""
    r = bootstrap_rsa(DATA, MODELS, measure="pearson", over="subjects", n_boot=50)
    draws = r.scores[:, 2]
    moved = r.observed[2] + (draws - draws.mean()) * np.sqrt(5 / 4)
    p = r.test_against_zero(method="bootstrap", correction=None).p[2]
    assert p == pytest.approx(((moved <= 0).sum() + 1) / 51)
    assert r.variance[2, 2] == pytest.approx(draws.var(ddof=1) * 5 / 4)


@pytest.mark.filterwarnings("ignore:more than 5%:UserWarning")
@pytest.mark.parametrize("measure", PEER)
def test_scores_of_draws_equal_rsatoolbox(measure: str) -> None:
    """With the same draws, scores equal those of the peer's resampled RDMs for every shared measure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsatoolbox.inference.bootstrap import bootstrap_sample
        from rsatoolbox.rdm import RDMs as PeerRDMs
        from rsatoolbox.rdm import compare
    inputs = rsa_inputs(DATA, MODELS, measure=measure)
    run = Resampling(inputs)
    state = np.random.get_state()  # noqa: NPY002 - the peer draws from the global generator
    np.random.seed(3)  # noqa: NPY002
    try:
        for _ in range(3):
            sample, people, stimuli = bootstrap_sample(PeerRDMs(DATA))
            model = PeerRDMs(inputs.models).subsample_pattern("index", stimuli)
            theirs = compare(sample, model, method=PEER[measure]).mean(0)
            counts = np.bincount(stimuli, minlength=14).astype(float)[None]
            subjects = np.bincount(people, minlength=5).astype(float)[None]
            ours = run.over_stimuli(counts, [subjects])[0][0, :3]
            np.testing.assert_allclose(ours, theirs, atol=1e-9)
    finally:
        np.random.set_state(state)  # noqa: NPY002


def test_two_factor_variance_equals_rsatoolbox() -> None:
    """Where no bound is active the variance of scores and differences is the peer's small-sample formula."""
    from rsatoolbox.util.inference_util import extract_variances

    rng = np.random.default_rng(0)
    s, n, b = 10, 20, 4000
    table = rng.normal(size=(s, 1, 3)) + rng.normal(size=(n, 3)) * 1.4 + 3 * rng.normal(size=(s, n, 3))
    d, c = draw_counts(s, b, rng) / s, draw_counts(n, b, rng) / n
    draws = {
        "subjects": d @ table.mean(1),
        "stimuli": c @ table.mean(0),
        "both": np.einsum("bs,bn,snk->bk", d, c, table),
    }
    ours = sampling_variances(draws, {"stimuli": n, "subjects": s}, ("stimuli", "subjects"))
    three = np.stack([np.cov(draws[k], rowvar=False) for k in ("both", "subjects", "stimuli")])
    model, difference, _ = extract_variances(three, nc_included=False, n_rdm=s, n_pattern=n)
    np.testing.assert_allclose(np.diagonal(ours), model, rtol=1e-10)
    np.testing.assert_allclose(ours[np.triu_indices(3, 1)], difference, rtol=1e-10)
    naive = contrast_variances(draws["both"])
    assert (np.diagonal(naive) > np.diagonal(ours)).all()


def test_equal_seeds_and_other_seeds() -> None:
    """Equal seeds give equal draws, another seed other draws; tensors give the numbers of arrays."""
    stack = np.stack(list(MODELS.values()))
    first = bootstrap_rsa(DATA, stack, n_boot=20, measure="rho_a")
    again = bootstrap_rsa(torch.tensor(DATA), torch.tensor(stack), n_boot=20, measure="rho_a")
    np.testing.assert_array_equal(first.scores, again.scores)
    other = bootstrap_rsa(DATA, stack, n_boot=20, random_state=1, measure="rho_a")
    assert not np.array_equal(first.scores, other.scores)
    assert first.names == ("model_0", "model_1", "model_2")


@pytest.mark.parametrize("measure", ["rho_a", "whitened_cosine", "tau_b", "pearson"])
def test_order_of_stimuli_and_scale(measure: str) -> None:
    """Another order of the stimuli, in all RDMs, and another scale of one RDM change no observed number."""
    order = np.random.default_rng(1).permutation(14)
    moved = {name: m[np.ix_(order, order)] * 3 for name, m in MODELS.items()}
    a = bootstrap_rsa(DATA, MODELS, measure=measure, n_boot=2)
    b = bootstrap_rsa(DATA[:, order][:, :, order], moved, measure=measure, n_boot=2)
    np.testing.assert_allclose(a.observed, b.observed, atol=1e-12)
    np.testing.assert_allclose(a.observed_ceiling, b.observed_ceiling, atol=1e-12)


def test_monotone_map_matters_to_pearson_alone() -> None:
    """A monotone map of the data leaves ranks as they are and changes Pearson."""
    mapped = np.exp(DATA) * (1 - np.eye(14))
    for measure, same in (("rho_a", True), ("pearson", False)):
        a = bootstrap_rsa(DATA, MODELS, measure=measure, n_boot=2).observed
        b = bootstrap_rsa(mapped, MODELS, measure=measure, n_boot=2).observed
        assert np.allclose(a, b, atol=1e-12) == same


def test_joined_by_id() -> None:
    """RDMs over the same stimuli in another order are joined by id, names come from the table."""
    ids = [f"s{i}" for i in range(14)]
    order = np.random.default_rng(1).permutation(14)
    stack = np.stack(list(MODELS.values()))
    import pandas as pd

    models = RDMs(
        stack[:, order][:, :, order], [ids[i] for i in order], pd.DataFrame({"model": list(MODELS)})
    )
    r = bootstrap_rsa(RDMs(DATA, ids), models, n_boot=5, measure="rho_a")
    assert r.names == ("weaker", "true", "unrelated")
    np.testing.assert_allclose(
        r.observed, bootstrap_rsa(DATA, MODELS, n_boot=5, measure="rho_a").observed, atol=1e-12
    )
    with pytest.raises(AlignmentError, match="one of data_rdms and model_rdms is RDMs"):
        bootstrap_rsa(RDMs(DATA, ids), stack, measure="rho_a")
    with pytest.raises(AlignmentError, match="have no partner"):
        bootstrap_rsa(RDMs(DATA, ids), RDMs(stack, [*ids[:-1], "other"]), measure="rho_a")


def test_default_measure_follows_the_distance() -> None:
    """Crossnobis RDMs that say so are compared by whitened cosine, others by rho-a."""
    ids = [f"s{i}" for i in range(14)]
    models = RDMs(np.stack(list(MODELS.values())), ids)
    signed = DATA - (1 - np.eye(14))
    with pytest.warns(UserWarning, match="measure is not given: 'whitened_cosine' is used"):
        crossed = bootstrap_rsa(RDMs(signed, ids, info={"distance": "crossnobis"}), models, n_boot=5)
    assert (crossed.measure, crossed.zero_is_chance) == ("whitened_cosine", True)
    with pytest.warns(UserWarning, match="measure is not given: 'rho_a' is used .ranks"):
        assert bootstrap_rsa(RDMs(DATA, ids), models, n_boot=5).measure == "rho_a"


def test_missing_pairs_are_left_out_of_all() -> None:
    """A pair that one RDM misses is left out for every subject and model, with a warning."""
    holed = DATA.copy()
    holed[1, 2, 3] = holed[1, 3, 2] = np.nan
    everywhere = DATA.copy()
    everywhere[:, 2, 3] = everywhere[:, 3, 2] = np.nan
    with pytest.warns(UserWarning, match="1 of 91 pairs of stimuli are NaN"):
        a = bootstrap_rsa(holed, MODELS, n_boot=10, measure="whitened_pearson")
    with pytest.warns(UserWarning, match="1 of 91 pairs of stimuli are NaN"):
        b = bootstrap_rsa(everywhere, MODELS, n_boot=10, measure="whitened_pearson")
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-12)
    assert a.info["n_missing"] == 1


def test_one_subject_has_no_ceiling() -> None:
    """One subject: scores over stimuli, a NaN ceiling with its reason, NaN tests against it."""
    with pytest.warns(UserWarning, match="subject") as caught:
        r = bootstrap_rsa(DATA[0], MODELS, n_boot=20, measure="rho_a")
    told = " ".join(str(w.message) for w in caught)
    assert "1 subject: draws are over stimuli only" in told
    assert "one subject has no ceiling over subjects" in told
    assert r.over == ("stimuli",)
    assert np.isfinite(r.scores).all()
    assert np.isnan(r.noise_ceiling).all()
    assert r.test_against_ceiling().p.isna().all()
    assert r.test_against_zero().p.notna().all()


def test_draws_without_a_number_are_counted() -> None:
    """Too few different stimuli, one subject drawn, or a constant model give NaN with counted reasons."""
    flat = {**MODELS, "flat": 1.0 - np.eye(14)}
    with pytest.warns(UserWarning, match="1 models without a score"):
        r = bootstrap_rsa(DATA, flat, n_boot=20, measure="pearson")
    assert np.isnan(r.observed[3])
    assert np.isfinite(r.test_pairs().p[:2]).all()
    assert np.isfinite(np.diagonal(r.variance)[[0, 1, 2]]).all()
    with pytest.warns(UserWarning, match=r"draws without any score.*draws without a ceiling"):
        r = bootstrap_rsa(
            DATA[:2, :4, :4], {n: m[:4, :4] for n, m in MODELS.items()}, measure="cosine", n_boot=200
        )
    assert 0 < np.isnan(r.scores).all(1).sum() < 200
    assert sum(r.info["reasons"].values()) > 0


def test_cosine_says_that_zero_is_not_chance() -> None:
    """A cosine of RDMs without negative entries is above 0 for any model, and the test says so."""
    r = bootstrap_rsa(np.abs(DATA), MODELS, measure="cosine", n_boot=10)
    with pytest.warns(UserWarning, match="cosine of RDMs without negative entries is above 0"):
        r.test_against_zero()
    assert not r.to_frame().zero_is_chance.any()


def test_ties_are_warned_about() -> None:
    """A model with ties warns on Spearman and tau-b, not on rho-a."""
    halves = (np.arange(14)[:, None] < 7) != (np.arange(14)[None] < 7)
    with pytest.warns(UserWarning, match="more than 5% of the entries of halves are ties; spearman favours"):
        bootstrap_rsa(DATA, {"halves": halves.astype(float)}, measure="spearman", n_boot=3)
    bootstrap_rsa(DATA, {"halves": halves.astype(float)}, measure="rho_a", n_boot=3)


def test_bures_and_callables_in_a_loop() -> None:
    """Measures without a form in counts are evaluated draw by draw; a callable sees no self-pair."""

    def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        assert (b != 0).all()
        return np.corrcoef(np.concatenate([a, b]))[: len(a), len(a) :]

    close, _ = planted(noise=0.02)
    looped = bootstrap_rsa(close, MODELS, measure=overlap, n_boot=12)
    exact = bootstrap_rsa(close, MODELS, measure="pearson", n_boot=12)
    np.testing.assert_allclose(looped.scores, exact.scores, atol=1e-10)
    assert looped.measure == "overlap"
    with pytest.warns(UserWarning, match="RDMs have negative eigenvalues") as caught:
        bures = bootstrap_rsa(close**2, {k: m**2 for k, m in MODELS.items()}, measure="bures", n_boot=5)
    assert len(caught) < 4, "draws do not repeat the warning"
    assert bures.names[int(np.argmax(bures.observed))] == "true"
    assert (bures.observed_ceiling <= 1).all()
    with pytest.raises(ShapeError, match=r"returned shape \(1,\) for 5 and 3 RDMs; expected \(5, 3\)"):
        bootstrap_rsa(DATA, MODELS, measure=lambda a, b: np.zeros(1), n_boot=3)


def test_wrong_inputs() -> None:
    """Everything that cannot be computed is named with what to do."""
    for options, error, match in (
        ({"n_boot": 1}, InputError, "n_boot=1; expected at least 2 draws"),
        ({"over": "voxels"}, InputError, "over='voxels'; expected 'stimuli', 'subjects' or"),
        ({"measure": "rho_b"}, UnknownNameError, "measure 'rho_b' does not exist; closest: rho_a"),
        ({"measure": "neg_riemannian"}, InputError, "has no bootstrap: the kernel of a resample"),
        ({"sigma_k": np.eye(14)}, InputError, "sigma_k is for the whitened measures"),
        ({"names": ["a"]}, ShapeError, "1 names for 3 model RDMs"),
        ({"names": ["a", "a", "b"]}, InputError, "duplicate model name 'a'"),
    ):
        with pytest.raises(error, match=match):
            bootstrap_rsa(DATA, MODELS, **options, **({} if "measure" in options else {"measure": "rho_a"}))
    with pytest.raises(InputError, match="over='subjects' with 1 RDM of data"):
        bootstrap_rsa(DATA[0], MODELS, over="subjects", measure="rho_a")
    with pytest.raises(ShapeError, match="3 stimuli; a bootstrap over stimuli needs at least 4"):
        bootstrap_rsa(DATA[:, :3, :3], np.stack(list(MODELS.values()))[:, :3, :3], measure="rho_a")
    with pytest.raises(ShapeError, match="data_rdms are over 14 stimuli and model_rdms over 13"):
        bootstrap_rsa(DATA, {n: m[:13, :13] for n, m in MODELS.items()}, measure="rho_a")
    with pytest.raises(ShapeError, match="empty mapping"):
        bootstrap_rsa(DATA, {}, measure="rho_a")
    with pytest.raises(ShapeError, match=r"model_rdms hold 'a' \(14, 14\), 'b' \(3, 3\)"):
        bootstrap_rsa(DATA, {"a": MODELS["true"], "b": np.zeros((3, 3))}, measure="rho_a")
    with pytest.raises(InputError, match="data_rdms, RDM 0, is not symmetric"):
        bootstrap_rsa(DATA + np.triu(np.ones((14, 14)), 1), MODELS, measure="rho_a")
    holed = np.where(np.eye(14) > 0, 0.0, np.nan)
    with pytest.raises(ShapeError, match="0 pairs of stimuli are known in every RDM"):
        bootstrap_rsa(DATA, {"lost": holed}, measure="rho_a")
    r = bootstrap_rsa(DATA, MODELS, n_boot=5, measure="rho_a")
    with pytest.raises(InputError, match="level=95; expected a number between 0 and 1"):
        r.to_frame(level=95)
    with pytest.raises(InputError, match="ceiling='middle'; expected 'lower' or 'upper'"):
        r.test_against_ceiling(ceiling="middle")
    with pytest.raises(InputError, match="method='z' is not one of"):
        r.test_pairs(method="z")
    with pytest.raises(InputError, match="correction='bonferroni' is not one of"):
        r.test_pairs(correction="bonferroni")


def test_simulated_rdms_stay_simulated() -> None:
    """What RDMs say of their making is said by the result too."""
    ids = [f"s{i}" for i in range(DATA.shape[1])]
    said = {"simulated": True, "allow": "for the test"}
    made = bootstrap_rsa(RDMs(DATA, ids, info=said), RDMs(MODELS["true"], ids), n_boot=20, measure="pearson")
    assert {name: made.info.get(name) for name in said} == said
    plain = bootstrap_rsa(RDMs(DATA, ids), RDMs(MODELS["true"], ids), n_boot=20, measure="pearson")
    assert not set(said) & set(plain.info)
