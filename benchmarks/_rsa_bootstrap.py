"""Two-factor bootstrap: scores, ceilings, variances and tests of models, against a dual bootstrap."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from _rsa_case import Answer, Arrays, Case, Side, quiet, squared_rdms

import brainalign.comparison as bc

MEASURES = {  # ours: name of the peer, promised ratio, draws of the peer that are timed
    "pearson": ("corr", 150.0, 10),
    "rho_a": ("rho-a", 30.0, 10),
    "whitened_cosine": ("cosine_cov", 100.0, 5),
}


def problem(n: int, subjects: int, models: int) -> Arrays:
    """Subjects share a geometry; the models know it to a different degree."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=(n, 30))
    data = squared_rdms(true + 1.5 * rng.normal(size=(subjects, n, 30)))
    known = np.linspace(0.0, 1.0, models)[:, None, None]
    return {
        "data": data,
        "models": squared_rdms(known * true + (1 - known) * rng.normal(size=(models, n, 30))),
    }


def our_run(arrays: Arrays, measure: str, n_boot: int) -> Answer:
    result = bc.bootstrap_rsa(arrays["data"], arrays["models"], measure=measure, n_boot=n_boot)
    with quiet():
        tests = result.test_against_zero(), result.test_pairs()
    return Answer(result.scores, told=tests)


class Replayed(np.random.Generator):
    """Gives the draws that another side made: counts of stimuli, then counts of subjects."""

    def __init__(self, counts: list[np.ndarray]) -> None:
        super().__init__(np.random.PCG64(0))
        self.left = list(counts)

    def multinomial(self, n: Any, pvals: Any, size: Any = None) -> np.ndarray:
        return self.left.pop(0)


def peer_prepared(arrays: Arrays) -> Any:
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.rdm import RDMs

    models = [ModelFixed(f"model{i}", RDMs(one[None])) for i, one in enumerate(arrays["models"])]
    return RDMs(arrays["data"]), models


def peer_run(prepared: Any, method: str, draws: int, n_boot: int) -> Answer:
    """A few draws of the dual bootstrap, which draws both factors and each alone as ours does."""
    from rsatoolbox.inference import evaluate

    data, models = prepared
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    original = evaluate.bootstrap_sample

    def recorded(*given: Any, **options: Any) -> Any:
        found = original(*given, **options)
        seen.append((found[1], found[2]))
        return found

    evaluate.bootstrap_sample = recorded
    try:
        with quiet():
            np.random.seed(0)  # noqa: NPY002 - the peer draws from the global generator
            result = evaluate.eval_dual_bootstrap(models, data, method=method, N=draws, use_correction=False)
    finally:
        evaluate.bootstrap_sample = original
    return Answer(result.evaluations[:, :, 0, 0, 0], scale=n_boot / draws, told=seen)


def same_draws(arrays: Arrays, ours: Answer, peer: Answer, measure: str) -> float:
    """Largest difference of the scores in the draws that the peer made."""
    n, s = arrays["data"].shape[1], len(arrays["data"])
    subjects = np.stack([np.bincount(people, minlength=s) for people, _ in peer.told])
    stimuli = np.stack([np.bincount(drawn, minlength=n) for _, drawn in peer.told])
    again = bc.bootstrap_rsa(
        arrays["data"],
        arrays["models"],
        measure=measure,
        n_boot=len(stimuli),
        random_state=Replayed([stimuli.astype(float), subjects.astype(float)]),
    )
    return float(np.abs(again.scores - peer.values).max())


def cases(quick: bool) -> list[Case]:
    n, s, m, n_boot = (20, 5, 3, 100) if quick else (60, 12, 8, 1000)
    pairs = n * (n - 1) // 2
    linear = 2.0 * n_boot * pairs * s * (s / 2 + m)
    found = []
    for measure, (method, floor, draws) in MEASURES.items():
        draws = 2 if quick else draws
        found.append(
            Case(
                f"bootstrap-{measure}",
                "inference",
                f"{measure}: {n} conditions, {s} subjects, {m} models, {n_boot} draws",
                partial(problem, n, s, m),
                Side(
                    "brainalign", "bootstrap_rsa and tests", partial(our_run, measure=measure, n_boot=n_boot)
                ),
                (
                    Side(
                        "rsatoolbox",
                        "eval_dual_bootstrap",
                        partial(peer_run, method=method, draws=draws, n_boot=n_boot),
                        peer_prepared,
                        share=f"{draws} of {n_boot} draws, scaled",
                    ),
                ),
                tolerance=1e-6,
                floor=floor,
                operations=linear if measure == "pearson" else 0.0,
                difference=partial(same_draws, measure=measure),
            )
        )
    return found
