"""Time-resolved RSA: distances, noise normalisation, defaults, errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.covariance import ledoit_wolf

from brainalign.comparison.over_time import temporal_generalisation, time_resolved_rdms
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.run_distances import crossnobis
from brainalign.comparison.time_resolved import time_resolved_rsa
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.statistics.rsa_ceiling import rsa_noise_ceiling
from brainalign.types import RDMs, Responses

N, P, T, R = 8, 10, 6, 5
RNG = np.random.default_rng(0)
MIXING = RNG.normal(size=(P, P))
LABELS = np.tile(np.arange(N), R)
RUNS = np.repeat(np.arange(R), N)
PATTERN = RNG.normal(size=(N, P))


def trials(seed: int, effect: float = 1.5) -> np.ndarray:
    """Correlated sensor noise with a pattern of the condition from time 3 on."""
    rng = np.random.default_rng(seed)
    x = np.einsum("ntp,pq->nqt", rng.normal(size=(N * R, T, P)), MIXING)
    x[:, :, 3:] += effect * PATTERN[LABELS][:, :, None]
    return x


MODELS = {"true": rdm(PATTERN, distance="sq_euclidean"), "other": rdm(RNG.normal(size=(N, 4)))}
MODEL_STACK = np.stack(list(MODELS.values()))


def normalised(x: np.ndarray, times: list[int]) -> np.ndarray:
    """Mean Ledoit-Wolf precision of the residuals of some times, by scikit-learn."""
    means = np.stack([x[c == LABELS].mean(0) for c in range(N)])
    residuals = x - means[LABELS]
    dof = len(x) - N
    covariances = [ledoit_wolf(residuals[:, :, t], assume_centered=True)[0] * len(x) / dof for t in times]
    return np.linalg.inv(np.mean(covariances, axis=0))


@pytest.mark.parametrize("noise", [None, "epoch", "baseline", "per_time"])
@pytest.mark.parametrize("measure", ["whitened_cosine", "rho_a", "tau_a"])
def test_crossnobis_at_each_time_equals_single_calls(noise, measure) -> None:
    """RDMs and scores are those of one crossnobis a time with a noise estimate by scikit-learn."""
    x = trials(1)
    found = time_resolved_rsa(
        x,
        MODELS,
        distance="crossnobis",
        measure=measure,
        conditions=LABELS,
        runs=RUNS,
        noise=noise,
        baseline=(0, 2),
    )
    for t in range(T):
        over = {"epoch": list(range(T)), "baseline": [0, 1, 2], "per_time": [t]}
        precision = None if noise is None else normalised(x, over[noise])
        expected = crossnobis(x[:, :, t], conditions=LABELS, runs=RUNS, noise=precision)
        np.testing.assert_allclose(found.rdms[0, t], expected, atol=1e-9)
        np.testing.assert_allclose(
            found.scores[t], compare_rdms(expected[None], MODEL_STACK, measure=measure)[0], atol=1e-9
        )


@pytest.mark.parametrize("distance", ["correlation", "sq_euclidean", "cosine", "euclidean"])
def test_plain_distances_are_those_of_the_means(distance) -> None:
    """Trials are averaged, whitened, and compared; without noise they equal `time_resolved_rdms`."""
    x = trials(2)
    found = time_resolved_rsa(x, MODELS, distance=distance, measure="pearson", conditions=LABELS)
    ids = pd.DataFrame({"stimulus_id": LABELS.astype(str)})
    expected = time_resolved_rdms(Responses(x, ids, times=np.arange(T) / 1.0), distance=distance)
    np.testing.assert_allclose(found.rdms[0], expected.values, atol=1e-10)
    white = time_resolved_rsa(
        x, MODELS, distance=distance, measure="pearson", conditions=LABELS, noise="epoch"
    )
    means = np.stack([x[c == LABELS].mean(0) for c in range(N)])
    values, vectors = np.linalg.eigh(normalised(x, list(range(T))))
    if distance == "sq_euclidean":
        root = vectors * np.sqrt(values)
        assert np.allclose(white.rdms[0, 4], rdm(means[:, :, 4] @ root, distance=distance))
    assert not np.allclose(white.rdms, found.rdms)


def test_noise_normalisation_recovers_what_correlated_noise_hides() -> None:
    """With strong noise in one direction, normalised crossnobis follows the model and plain does not."""
    means = {None: [], "epoch": [], "baseline": []}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shared = rng.normal(size=(N * R, 1, T)) * np.linspace(-1, 1, P)[None, :, None]
        x = trials(seed, 1.5) + 15.0 * shared
        for noise, out in means.items():
            found = time_resolved_rsa(
                x,
                MODELS,
                distance="crossnobis",
                measure="pearson",
                conditions=LABELS,
                runs=RUNS,
                noise=noise,
                baseline=(0, 2),
            )
            out.append(found.scores[3:, 0].mean())
    assert np.mean(means["epoch"]) > np.mean(means[None]) + 0.15
    assert np.mean(means["baseline"]) > np.mean(means[None]) + 0.15


@pytest.mark.parametrize("measure", ["pearson", "cosine", "whitened_pearson", "spearman"])
def test_ceilings_of_all_times_are_those_of_single_times(measure) -> None:
    """The closed form over subjects equals `rsa_noise_ceiling`."""
    people = [trials(s) for s in range(3)]
    found = time_resolved_rsa(people, MODELS, distance="sq_euclidean", measure=measure, conditions=LABELS)
    for t in range(T):
        ceiling = rsa_noise_ceiling(found.rdms[:, t], measure=measure)
        np.testing.assert_allclose(found.noise_ceiling[t], [ceiling.low[0], ceiling.high[0]], atol=1e-10)


def test_before_the_response_crossnobis_scores_are_about_zero_and_after_not() -> None:
    """The planted pattern appears at its time."""
    scores = np.mean(
        [
            time_resolved_rsa(
                trials(s),
                MODELS,
                distance="crossnobis",
                measure="pearson",
                conditions=LABELS,
                runs=RUNS,
                noise="epoch",
            ).scores
            for s in range(8)
        ],
        axis=0,
    )
    assert np.abs(scores[:3]).max() < 0.15
    assert scores[3:, 0].min() > 0.4 > scores[3:, 1].max()


def test_blocks_of_times_change_nothing(monkeypatch) -> None:
    """Little memory gives the same RDMs, each time with its own noise."""
    options = {"distance": "crossnobis", "measure": "cosine", "conditions": LABELS, "runs": RUNS}
    whole = time_resolved_rsa(trials(4), MODELS, noise="per_time", **options)
    monkeypatch.setattr("brainalign.comparison._time_trials._BLOCK_BYTES", 8 * N * P * R * 2)
    parts = time_resolved_rsa(trials(4), MODELS, noise="per_time", **options)
    np.testing.assert_allclose(parts.rdms, whole.rdms, atol=1e-12)


def test_pseudo_runs_split_the_trials_of_each_condition_evenly() -> None:
    """Each pseudo-run holds its share of every condition; the RDM is the crossnobis of these runs."""
    found = time_resolved_rsa(
        trials(5),
        MODELS,
        distance="crossnobis",
        measure="pearson",
        conditions=LABELS,
        n_pseudo_runs=5,
        random_state=2,
    )
    # with as many pseudo-runs as trials the diagonal products that are left out are those of single trials
    assert found.scores[3:, 0].mean() > 0.4
    again = time_resolved_rsa(
        trials(5),
        MODELS,
        distance="crossnobis",
        measure="pearson",
        conditions=LABELS,
        n_pseudo_runs=2,
        random_state=2,
    )
    assert not np.allclose(found.rdms, again.rdms)


def test_subjects_have_mean_scores_and_a_ceiling_at_every_time() -> None:
    """Scores of subjects are those of single analyses, the ceiling is that of `rsa_noise_ceiling`."""
    people = [trials(s) for s in range(4)]
    options = {"distance": "crossnobis", "measure": "whitened_cosine", "conditions": LABELS, "runs": RUNS}
    found = time_resolved_rsa(people, MODELS, **options)
    for s, x in enumerate(people):
        np.testing.assert_allclose(found.subject_scores[s], time_resolved_rsa(x, MODELS, **options).scores)
    np.testing.assert_allclose(found.scores, found.subject_scores.mean(0))
    ceiling = rsa_noise_ceiling(found.rdms[:, 4], measure="whitened_cosine")
    np.testing.assert_allclose(found.noise_ceiling[4], [ceiling.low[0], ceiling.high[0]])
    assert found.to_frame().shape == (2 * T, 9)
    assert found.subject_rdms(1).values.shape == (T, N, N)


def test_responses_are_joined_to_models_by_id() -> None:
    """Labels of conditions find their model stimulus, whatever its place; times are in seconds."""
    x = trials(6)
    samples = pd.DataFrame({"stimulus_id": [f"s{c}" for c in LABELS], "run": RUNS})
    responses = Responses(x, samples, times=np.arange(T) / 10 - 0.2)
    order = RNG.permutation(N)
    models = RDMs(
        MODEL_STACK[:, order][:, :, order],
        [f"s{c}" for c in order],
        pd.DataFrame({"model": ["true", "other"]}),
    )
    found = time_resolved_rsa(
        responses,
        models,
        distance="crossnobis",
        measure="pearson",
        runs="run",
        noise="baseline",
        baseline=(-0.2, 0.0),
    )
    expected = time_resolved_rsa(
        x,
        MODELS,
        distance="crossnobis",
        measure="pearson",
        conditions=LABELS,
        runs=RUNS,
        noise="baseline",
        baseline=(0, 2),
    )
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-10)
    assert found.models == ("true", "other")
    assert found.times[0] == pytest.approx(-0.2)
    with pytest.raises(AlignmentError, match="8 of 8 conditions have no stimulus in models: 0, 1"):
        time_resolved_rsa(x, models, distance="correlation", measure="pearson", conditions=LABELS)


def test_defaults_are_said() -> None:
    """Crossnobis and the whitened cosine where there are runs, else correlation and rho-a."""
    with pytest.warns(UserWarning, match=".") as said:
        found = time_resolved_rsa(trials(7), MODELS, conditions=LABELS, runs=RUNS)
    assert [str(w.message).split(";")[0] for w in said] == [
        "distance is not given: 'crossnobis' is used",
        "measure is not given: 'whitened_cosine' is used (for crossnobis distances)",
    ]
    with pytest.warns(UserWarning, match="'(correlation|rho_a)' is used"):
        plain = time_resolved_rsa(trials(7), MODELS, conditions=LABELS)
    assert (found.distance, found.measure, plain.distance, plain.measure) == (
        "crossnobis",
        "whitened_cosine",
        "correlation",
        "rho_a",
    )


def test_generalisation_over_time_equals_single_comparisons() -> None:
    """Within and between subjects the table equals the loop; a stable code generalises."""
    people = np.stack([time_resolved_rdms(trials(s)[:N], distance="sq_euclidean").values for s in (1, 2, 3)])
    for measure in ("pearson", "whitened_cosine", "rho_a"):
        within = temporal_generalisation(people, measure=measure)
        tables = [compare_rdms(a, a, measure=measure) for a in people]
        np.testing.assert_allclose(within, np.mean(tables, axis=0), atol=1e-10)
        between = temporal_generalisation(people, measure=measure, between_subjects=True)
        tables = [
            compare_rdms(people[a], people[b], measure=measure) for a in range(3) for b in range(3) if a != b
        ]
        np.testing.assert_allclose(between, np.mean(tables, axis=0), atol=1e-10)
    stack = RDMs(people[0], range(N), info={"distance": "crossnobis"})
    with pytest.warns(UserWarning, match="'whitened_cosine' is used"):
        table = temporal_generalisation(stack)
    np.testing.assert_allclose(np.diag(table), 1.0)
    with pytest.raises(ShapeError, match="of at least 2 subjects"):
        temporal_generalisation(people[0], measure="pearson", between_subjects=True)
    with pytest.raises(ShapeError, match="expected \\(n_times, n, n\\)"):
        temporal_generalisation(people[0, 0], measure="pearson")


OPTIONS = {"distance": "correlation", "measure": "pearson", "conditions": LABELS}


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"distance": "crossnobis"}, InputError, "needs runs= or n_pseudo_runs="),
        ({"distance": "mahalanobis"}, InputError, "use 'sq_euclidean' with noise='epoch'"),
        ({"measure": "pears"}, InputError, "measure='pears' is not one of"),
        ({"noise": "epochs"}, InputError, "expected None, 'epoch', 'baseline', 'per_time'"),
        ({"noise": "baseline"}, InputError, "needs baseline=\\(start, stop\\)"),
        ({"noise": "baseline", "baseline": (9, 12)}, InputError, "holds no time; the times go from 0 to 5"),
        ({"conditions": None, "noise": "epoch"}, InputError, "each of the 40 rows is a condition of its own"),
        ({"n_pseudo_runs": 9}, InputError, "n_pseudo_runs=9 and a condition has 5 trials"),
        ({"n_pseudo_runs": 2, "runs": RUNS}, InputError, "runs and n_pseudo_runs are both given"),
        ({"conditions": LABELS % 2}, ShapeError, "2 conditions; an RDM that is compared needs at least 3"),
        ({"conditions": np.arange(40) % 7}, ShapeError, "models is over 8 stimuli; expected 7"),
        ({"test": "people"}, InputError, "test='people' is not one of"),
        ({"correction": "fdr"}, InputError, "correction='fdr' is not one of"),
        ({"cluster_alpha": 2}, InputError, "cluster_alpha=2; expected a number between 0 and 1"),
        ({"n_permutations": -1}, InputError, "n_permutations=-1"),
        ({"n_permutations": 9, "test": "subjects"}, ShapeError, "needs at least 2 subjects"),
    ],
)
def test_wrong_options_are_named(changed, error, text) -> None:
    """Every option that cannot apply says why."""
    models = MODEL_STACK if changed.get("conditions", 0) is not None else rdm(RNG.normal(size=(40, 3)))
    with pytest.raises(error, match=text):
        time_resolved_rsa(trials(8), models, **{**OPTIONS, **changed})


def test_wrong_responses_are_named() -> None:
    """Axes, gaps, subjects that differ, mixtures, singular noise."""
    x = trials(8)
    with pytest.raises(ShapeError, match="expected \\(n_trials, n_channels, n_times\\)"):
        time_resolved_rsa(x[:, :, 0], MODELS, **OPTIONS)
    gap = x.copy()
    gap[2, 3, 1] = np.nan
    with pytest.raises(InputError, match="first in trial 2, channel 3, time 1"):
        time_resolved_rsa(gap, MODELS, **OPTIONS)
    with pytest.raises(ShapeError, match="subject 1 has 8 conditions and 5 times"):
        time_resolved_rsa([x, x[:, :, :5]], MODELS, **OPTIONS)
    with pytest.raises(ShapeError, match="responses are empty"):
        time_resolved_rsa([], MODELS, **OPTIONS)
    one = Responses(x, pd.DataFrame({"stimulus_id": LABELS.astype(str)}), times=np.arange(T) / 1.0)
    with pytest.raises(AlignmentError, match="some subjects are Responses"):
        time_resolved_rsa({"a": one, "b": x}, MODELS, **OPTIONS)
    flat = x.copy()
    flat[:, :, 2] = 0.0
    with pytest.warns(UserWarning, match=".") as said:
        found = time_resolved_rsa(flat, MODELS, **OPTIONS)
    assert "2 of 12 scores are NaN" in str(said[-1].message)
    assert np.isnan(found.scores[2]).all()
    assert np.isfinite(np.delete(found.scores, 2, axis=0)).all()
