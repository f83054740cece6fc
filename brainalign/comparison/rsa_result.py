"""The result of a bootstrap of RSA: scores, ceilings, tests, table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainalign.comparison._bootstrap_variance import differences_of
from brainalign.comparison._rsa_tests import Contrasts, corrected
from brainalign.errors import InputError

_COSINES = ("cosine", "whitened_cosine")
# similarities of kernels, which are above 0 whatever the sign of the distances
_ALWAYS_POSITIVE = ("bures",)


@dataclass(frozen=True, eq=False)
class RsaResult:
    """Model scores of RSA with noise ceilings and their sampling error.

    Parameters
    ----------
    scores : array (n_boot, n_models)
        Mean similarity over the drawn subjects in every draw; NaN where it does not exist.
    noise_ceiling : array (n_boot, 2)
        Lower (leave one subject out) and upper ceiling in every draw; NaN for one subject.
    observed : array (n_models,)
        The scores with every stimulus and every subject once.
    observed_ceiling : array (2,)
    variance : array (n_models + 2, n_models + 2)
        Sampling covariance of the scores and of the lower and upper ceiling; over both factors
        the corrected two-factor variance, for each score and for each difference.
    degrees_of_freedom : int
        Smallest number of units over the drawn factors, less one.
    names : tuple of str, the models; `fitted` : those whose weights were cross-validated
    measure : str
    over : tuple of ``"stimuli"``, ``"subjects"``: what the errors and tests generalise to
    n_subjects, n_stimuli : int
    info : mapping
        ``n_missing`` pairs left out, ``reasons`` for NaN with counts, ``signed``: the data have
        negative entries, folds, seed.
    """

    scores: np.ndarray = field(repr=False)
    noise_ceiling: np.ndarray = field(repr=False)
    observed: np.ndarray
    observed_ceiling: np.ndarray
    variance: np.ndarray = field(repr=False)
    degrees_of_freedom: int
    names: tuple[str, ...]
    fitted: tuple[str, ...]
    measure: str
    over: tuple[str, ...]
    n_subjects: int
    n_stimuli: int
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def test_against_zero(self, *, method: str = "t", correction: str | None = "fdr") -> pd.DataFrame:
        """Test whether each score is above 0, one-sided.

        Parameters
        ----------
        method : ``"t"`` or ``"bootstrap"``
            Student's t with the corrected variance, or (b + 1) / (m + 1) over the draws, moved
            to the observed score, scaled to the corrected variance and, in their tails, stretched
            to Student's t. NaN, with a warning, for a score that does not vary over the draws.
        correction : ``"fdr"`` (Benjamini-Hochberg), ``"fwer"`` (Holm) or None, over the models

        Returns
        -------
        DataFrame: model, score, standard_error, p, p_corrected. NaN where there is no score.

        Warns
        -----
        UserWarning
            The measure is bures, or a cosine and the data have no negative entry: any model is above 0.
        """
        if not self.zero_is_chance:
            warnings.warn(
                f"{self.measure} of RDMs without negative entries is above 0 for any model: 0 is not chance. "
                "Test by mantel_test, with a measure that removes the mean, or on crossnobis RDMs (cosines)",
                stacklevel=2,
            )
        tested = self._models()
        p = tested.p_values(method, two_sided=False)
        return pd.DataFrame(
            {
                "model": list(self.names),
                "score": self.observed,
                "standard_error": np.sqrt(tested.variances),
                "p": p,
                "p_corrected": corrected(p, correction, n_draws=self._m(method)),
            }
        )

    def test_against_ceiling(
        self, *, ceiling: str = "lower", method: str = "t", correction: str | None = "fdr"
    ) -> pd.DataFrame:
        """Test whether each score differs from the noise ceiling, two-sided.

        Parameters
        ----------
        ceiling : ``"lower"`` or ``"upper"``
        method, correction : as in `test_against_zero`

        Returns
        -------
        DataFrame: model, difference (score less ceiling), standard_error, p, p_corrected; NaN
        where there is no ceiling (one subject).
        """
        tested = self._to_ceiling(ceiling)
        p = tested.p_values(method, two_sided=True)
        return pd.DataFrame(
            {
                "model": list(self.names),
                "difference": tested.values,
                "standard_error": np.sqrt(tested.variances),
                "p": p,
                "p_corrected": corrected(p, correction, n_draws=self._m(method)),
            }
        )

    def test_pairs(self, *, method: str = "t", correction: str | None = "fdr") -> pd.DataFrame:
        """Test each pair of models for a difference, two-sided.

        Parameters
        ----------
        method, correction : as in `test_against_zero`; the family is all pairs

        Returns
        -------
        DataFrame: model_a, model_b, difference (a less b), standard_error, low, high (95 %),
        p, p_corrected. Empty for one model.
        """
        first, second = np.triu_indices(len(self.names), 1)
        tested = Contrasts(
            self.observed[first] - self.observed[second],
            differences_of(self.variance)[first, second],
            self.scores[:, first] - self.scores[:, second],
            self.degrees_of_freedom,
        )
        p = tested.p_values(method, two_sided=True)
        low, high = tested.interval(method, 0.95)
        return pd.DataFrame(
            {
                "model_a": [self.names[i] for i in first],
                "model_b": [self.names[i] for i in second],
                "difference": tested.values,
                "standard_error": np.sqrt(tested.variances),
                "low": low,
                "high": high,
                "p": p,
                "p_corrected": corrected(p, correction, n_draws=self._m(method)),
            }
        )

    def to_frame(
        self, *, method: str = "t", correction: str | None = "fdr", level: float = 0.95
    ) -> pd.DataFrame:
        """One row a model: what is shown in a figure or a table.

        Returns
        -------
        DataFrame with model, kind (``"fixed"`` or ``"fitted"``: weights cross-validated), score, low, high
        (interval of `level`), standard_error, p_zero, p_ceiling (both corrected over the models),
        ceiling_lower, ceiling_upper, zero_is_chance (False: p_zero says nothing), measure, over,
        n_subjects, n_stimuli.

        Raises
        ------
        InputError
            `level` is not between 0 and 1; an unknown method or correction.
        """
        if not 0 < level < 1:
            raise InputError(f"level={level}; expected a number between 0 and 1, such as 0.95")
        tested = self._models()
        low, high = tested.interval(method, level)
        m = self._m(method)
        zero = corrected(tested.p_values(method, two_sided=False), correction, n_draws=m)
        ceiling = self.test_against_ceiling(method=method, correction=correction)["p_corrected"]
        return pd.DataFrame(
            {
                "model": list(self.names),
                "kind": ["fitted" if name in self.fitted else "fixed" for name in self.names],
                "score": self.observed,
                "low": low,
                "high": high,
                "standard_error": np.sqrt(tested.variances),
                "p_zero": zero,
                "p_ceiling": ceiling.to_numpy(),
                "ceiling_lower": self.observed_ceiling[0],
                "ceiling_upper": self.observed_ceiling[1],
                "zero_is_chance": self.zero_is_chance,
                "measure": self.measure,
                "over": " and ".join(self.over),
                "n_subjects": self.n_subjects,
                "n_stimuli": self.n_stimuli,
            }
        )

    @property
    def zero_is_chance(self) -> bool:
        """False for bures, and for a cosine of RDMs without negative entries: above 0 for any model.

        With negative entries (crossnobis) 0 is what a cosine has where no two stimuli differ;
        `mantel_test` asks whether the model fits better than with its stimuli exchanged.
        """
        if self.measure in _ALWAYS_POSITIVE:
            return False
        return self.measure not in _COSINES or bool(self.info.get("signed", True))

    def __repr__(self) -> str:
        lower, upper = self.observed_ceiling
        head = (
            f"RsaResult: {self.measure}, {self.n_subjects} subjects, {self.n_stimuli} stimuli, "
            f"{len(self.scores)} draws over {' and '.join(self.over)}; "
            f"noise ceiling {lower:.4f} to {upper:.4f}"
        )
        errors = np.sqrt(self._models().variances)
        width = max(len(name) for name in self.names)
        rows = [
            f"  {name:<{width}}  {score: .4f} +- {error:.4f}{'  (fitted)' if name in self.fitted else ''}"
            for name, score, error in zip(self.names, self.observed, errors, strict=True)
        ]
        reasons = [f"  {count} {reason}" for reason, count in self.info.get("reasons", {}).items()]
        return "\n".join([head, *rows, *reasons])

    def _models(self) -> Contrasts:
        own = np.diagonal(self.variance)[: len(self.names)]
        return Contrasts(self.observed, own, self.scores, self.degrees_of_freedom)

    def _to_ceiling(self, ceiling: str) -> Contrasts:
        if ceiling not in ("lower", "upper"):
            raise InputError(f"ceiling={ceiling!r}; expected 'lower' or 'upper'")
        which, n = ("lower", "upper").index(ceiling), len(self.names)
        return Contrasts(
            self.observed - self.observed_ceiling[which],
            differences_of(self.variance)[:n, n + which],
            self.scores - self.noise_ceiling[:, [which]],
            self.degrees_of_freedom,
        )

    def _m(self, method: str) -> int | None:
        """Draws behind a p-value; None for Student's t, which they do not limit."""
        return len(self.scores) if method == "bootstrap" else None
