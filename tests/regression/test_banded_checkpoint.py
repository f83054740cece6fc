"""An interrupted banded search goes on where it was and ends with the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign import storage
from brainalign.errors import CorruptFileError, InputError
from brainalign.regression import _banded_checkpoint
from brainalign.regression.banded import BandedRidgeCV
from brainalign.types import RDMs

FITTED = ("coef_", "intercept_", "band_weights_", "best_alphas_", "best_scores_", "candidate_scores_")


class InterruptedError_(Exception):
    """Stands in for a killed process."""


def simulate(p=8, t=6):
    rng = np.random.default_rng(0)
    Xs = [rng.standard_normal((40, p)) for _ in range(3)]
    return Xs, Xs[0] @ rng.standard_normal((p, t)) + 2 * rng.standard_normal((40, t))


def interrupt_after(monkeypatch, steps):
    """Every step is written, and the fit breaks after some steps."""
    step, count = _banded_checkpoint.Journal.step, [0]
    monkeypatch.setattr(_banded_checkpoint, "_WRITING_SHARE", 1e9)

    def counted(journal, compute):
        if count[0] == steps:
            raise InterruptedError_
        count[0] += 1
        return step(journal, compute)

    monkeypatch.setattr(_banded_checkpoint.Journal, "step", counted)


@pytest.mark.parametrize("p", [8, 20])
@pytest.mark.parametrize("options", [{}, {"halving": False}, {"alpha_per_target": False}])
def test_resumed_fit_has_the_same_bytes(tmp_path, monkeypatch, p, options):
    """Interrupted after any kind of step, the fit ends as if it had never been interrupted."""
    Xs, Y = simulate(p)
    path = tmp_path / "search.h5"
    model = BandedRidgeCV(n_candidates=6, checkpoint=path, refine=True, **options)
    whole = BandedRidgeCV(n_candidates=6, refine=True, **options).fit(Xs, Y)
    for steps in (1, 4, 6):
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            with pytest.raises(InterruptedError_):
                model.fit(Xs, Y)
        assert path.exists()
    model.fit(Xs, Y)
    for name in FITTED:
        np.testing.assert_array_equal(getattr(model, name), getattr(whole, name))
    assert not path.exists()


def test_finished_steps_are_not_repeated(tmp_path, monkeypatch):
    """A resumed search computes only what is missing."""
    Xs, Y = simulate()
    model = BandedRidgeCV(n_candidates=6, halving=False, refine=False, checkpoint=tmp_path / "search.h5")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        with pytest.raises(InterruptedError_):
            model.fit(Xs, Y)
    step, computed = _banded_checkpoint.Journal.step, []

    def watched(journal, compute):
        return step(journal, lambda: (computed.append(1), compute())[1])

    monkeypatch.setattr(_banded_checkpoint.Journal, "step", watched)
    model.fit(Xs, Y)
    assert len(computed) == 2


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("X", "X: there"),
        ("Y", "y: there"),
        ("weights", "sample_weight: there"),
        ({"alphas": [1.0, 2.0]}, "alphas: there"),
        ({"random_state": 5}, "candidates: there"),
        ({"cv": 3}, "cv: there"),
        ({"scoring": "pearson"}, "scoring: there 'r2', here 'pearson'"),
        ({"refine": True}, "refine: there False, here True"),
        ({"halving": False}, "halving: there True, here False"),
        ({"alpha_per_target": False}, "alpha_per_target: there True, here False"),
    ],
)
def test_another_fit_is_refused(tmp_path, monkeypatch, change, name):
    """A checkpoint of other input or options is refused, and the difference is named."""
    Xs, Y = simulate()
    path, weights = tmp_path / "search.h5", None
    options = {"n_candidates": 6, "checkpoint": path}
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(InterruptedError_):
            BandedRidgeCV(**options).fit(Xs, Y)
    if change == "X":
        Xs[1][5, 2] += 1e-12
    elif change == "Y":
        Y[5, 2] += 1e-12
    elif change == "weights":
        weights = np.r_[2.0, np.ones(39)]
    else:
        options |= change
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"was written by a fit of something else.*{name}"):
        BandedRidgeCV(**options).fit(Xs, Y, sample_weight=weights)
    assert path.read_bytes() == before


def test_other_bands_are_refused(tmp_path, monkeypatch):
    """The same matrix cut into other bands is another fit."""
    Xs, Y = simulate()
    X, path = np.hstack(Xs), tmp_path / "search.h5"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(InterruptedError_):
            BandedRidgeCV([slice(0, 8), slice(8, 24)], n_candidates=6, checkpoint=path).fit(X, Y)
    with pytest.raises(InputError, match="Different: .*bands: there"):
        BandedRidgeCV([slice(0, 16), slice(16, 24)], n_candidates=6, checkpoint=path).fit(X, Y)


def test_files_that_are_no_checkpoint(tmp_path, monkeypatch):
    """A file of another kind, a damaged one and one without steps are refused and stay."""
    Xs, Y = simulate()
    path = tmp_path / "search.h5"
    model = BandedRidgeCV(n_candidates=6, checkpoint=path)
    storage.save(RDMs(1 - np.eye(2), ["a", "b"], info={"distance": "correlation"}), path)
    with pytest.raises(InputError, match="holds RDMs, not an interrupted banded search"):
        model.fit(Xs, Y)
    _banded_checkpoint.write_container(path, _banded_checkpoint.KIND, {"weights": np.ones(3)})
    with pytest.raises(CorruptFileError, match="holds no steps of a banded search"):
        model.fit(Xs, Y)
    path.unlink()
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(InterruptedError_):
            model.fit(Xs, Y)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CorruptFileError, match="sha256"):
        model.fit(Xs, Y)


def test_writing_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    """After a slow write, steps pass without one."""
    clock = [0.0]
    written = []

    class Slow(_banded_checkpoint.Journal):
        def _write(self, path):
            clock[0] += 1.0
            written.append(len(self.steps))
            self._written, self._writing = clock[0], 1.0

    monkeypatch.setattr(_banded_checkpoint.time, "monotonic", lambda: clock[0])
    journal = Slow(tmp_path / "none.h5", dict, None)
    for _ in range(30):
        clock[0] += 1.0
        journal.step(lambda: None)
    assert written == [1, 12, 23]
