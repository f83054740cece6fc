"""p-values and intervals of scores and of their differences, from draws and a variance."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats

from brainalign._checks import one_of
from brainalign.statistics.multiple_tests import adjust_fdr, adjust_fwer

METHODS = ("t", "bootstrap")
CORRECTIONS = ("fdr", "fwer", None)
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Contrasts:
    """Differences that are tested against 0.

    Parameters
    ----------
    values : (k,), as observed
    variances : (k,), of the sampling that is meant
    draws : (n_boot, k), the same differences in the draws
    degrees_of_freedom : int
    """

    values: np.ndarray
    variances: np.ndarray
    draws: np.ndarray
    degrees_of_freedom: int

    def calibrated(self) -> np.ndarray:
        """Draws moved to the observed values and scaled to the variance that is meant, NaN kept.

        The draws over two factors count the noise three times, and draws of n have
        (n - 1) / n of the variance of a mean: their shape is used, not their width. Their tails
        are stretched from the normal distribution to Student's t, since the variance is itself
        an estimate from few units: without it 5 subjects give 11 % false positives at 5 %.
        """
        finite = np.isfinite(self.draws)
        n = finite.sum(axis=0)
        safe = np.where(finite, self.draws, 0.0)
        mean = safe.sum(axis=0) / np.maximum(n, 1)
        spread = np.where(finite, (self.draws - mean) ** 2, 0.0).sum(axis=0) / np.maximum(n - 1, 1)
        units = (self.draws - mean) / np.sqrt(np.where(spread > 0, spread, np.nan))
        stretched = student_tails(units, self.degrees_of_freedom) * np.sqrt(self.variances)
        out: np.ndarray = self.values + np.where(finite & (spread == 0), 0.0, stretched)
        return out

    def without_error(self) -> np.ndarray:
        """Contrasts (k,) that differ from 0 and do not vary: nothing says how sure they are, p is NaN.

        Such are a perfect fit to noise-free RDMs, or subjects that are copies of one another; what
        is left of their variance is rounding.
        """
        with np.errstate(invalid="ignore"):
            rounding = self.variances <= (_ROUNDING * np.maximum(np.abs(self.values), 1.0)) ** 2
        found: np.ndarray = rounding & (np.abs(self.values) > _ROUNDING)
        return found

    def p_values(self, method: str, *, two_sided: bool) -> np.ndarray:
        """``"t"``: Student's t of value / sqrt(variance). ``"bootstrap"``: (b + 1) / (m + 1)."""
        one_of("method", method, METHODS)
        certain = self.without_error()
        if certain.any():
            warnings.warn(
                f"{int(certain.sum())} of {len(certain)} differences do not vary over the draws (RDMs that "
                "repeat one another, or a perfect fit): they have no standard error and their p is NaN",
                stacklevel=4,
            )
        p = self._student(two_sided=two_sided) if method == "t" else self._counted(two_sided=two_sided)
        return np.where(certain, np.nan, p)

    def _counted(self, *, two_sided: bool) -> np.ndarray:
        draws = self.calibrated()
        m = np.isfinite(draws).sum(axis=0)
        below = ((draws <= 0).sum(axis=0) + 1) / (m + 1)
        above = ((draws >= 0).sum(axis=0) + 1) / (m + 1)
        p = np.minimum(2 * np.minimum(below, above), 1.0) if two_sided else below
        return np.where((m > 0) & np.isfinite(self.values), p, np.nan)

    def _student(self, *, two_sided: bool) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            t = self.values / np.sqrt(self.variances)
        same = (np.abs(self.values) <= _ROUNDING) & (self.variances <= _ROUNDING**2)
        t = np.where(same, 0.0, t)
        survival = stats.t.sf(np.abs(t) if two_sided else t, self.degrees_of_freedom)
        survival = np.maximum(survival, np.finfo(np.float64).tiny)  # an underflow is no certainty
        return np.asarray(2 * survival if two_sided else survival)

    def interval(self, method: str, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Low and high ends (k,) of the interval of this level."""
        one_of("method", method, METHODS)
        tail = (1 - level) / 2
        if method == "t":
            half = stats.t.isf(tail, self.degrees_of_freedom) * np.sqrt(self.variances)
            return self.values - half, self.values + half
        draws = self.calibrated()
        out = np.full((2, len(self.values)), np.nan)
        known = np.isfinite(draws).any(axis=0)
        out[:, known] = np.nanquantile(draws[:, known], [tail, 1 - tail], axis=0)
        return out[0], out[1]


def student_tails(z: np.ndarray, degrees_of_freedom: int) -> np.ndarray:
    """Values of Student's t at the tail probabilities that z has under the normal distribution."""
    grid = np.linspace(0.0, 8.0, 2001)
    curve = stats.t.isf(stats.norm.sf(grid), degrees_of_freedom)
    out: np.ndarray = np.copysign(np.interp(np.abs(z), grid, curve), z)
    return out


def corrected(p: np.ndarray, correction: str | None, *, n_draws: int | None = None) -> np.ndarray:
    """p-values adjusted over the family: ``"fdr"`` (Benjamini-Hochberg), ``"fwer"`` (Holm), None."""
    one_of("correction", correction, CORRECTIONS)
    if correction == "fdr":
        return adjust_fdr(p, n_permutations=n_draws)
    return adjust_fwer(p) if correction == "fwer" else np.array(p, dtype=np.float64)
