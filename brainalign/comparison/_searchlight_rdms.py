"""RDMs of many spheres at once: their patterns gathered, one batched product, one list of distances each."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import helmert

from brainalign.comparison import _distance_forms as forms
from brainalign.comparison._distance_inputs import Patterns, differences
from brainalign.comparison._distance_runs import RunPatterns, crossed_differences, mean_over_pairs
from brainalign.comparison._searchlight_inputs import Measured
from brainalign.comparison._searchlight_noise import SphereNoise
from brainalign.comparison.noise import NoisePrecision

CROSSED = "crossnobis"
_FORMS: dict[str, Callable[[Patterns], torch.Tensor]] = {
    "correlation": forms.correlation,
    "cosine": forms.cosine,
    "sq_euclidean": forms.sq_euclidean,
    "euclidean": forms.euclidean,
    "poisson": forms.poisson,
    # whitened before, so that nothing but the squared distance is left
    "mahalanobis": forms.sq_euclidean,
}
SEARCHLIGHT_DISTANCES = (*_FORMS, CROSSED)
NOISE_DISTANCES = ("mahalanobis", CROSSED)
# beyond this the product of a sphere costs less than reading the distances of its voxels
_MOST_ADDED_BYTES = 2**30
_FEWEST_ADDED_RUNS = 3
_FEATURES_AT_ONCE = 128
# a mean square this many times the variance costs four digits of a product that is centred afterwards
_MOST_LOST = 1e4


class SphereRDMs:
    """Patterns of all features, and the RDMs of spheres of them.

    `tables` (n_features + 1, columns): one row a feature, the last one zero for what fills a
    sphere up; rows of features that are left out are zero as well. `added` holds the distances
    of every feature alone, where those of a sphere are their sum: crossnobis of several runs.
    """

    def __init__(
        self,
        found: Measured,
        distance: str,
        usable: np.ndarray,
        *,
        precision: NoisePrecision | None,
        noise: SphereNoise | None,
        device: torch.device,
    ) -> None:
        self.distance, self.noise = distance, noise
        self.n_runs, self.n = found.runs.shape
        self.runs = torch.as_tensor(found.runs, device=device)
        self.balanced = bool(self.runs.all())
        keep = torch.as_tensor(usable, device=device)
        self.usable = torch.cat([keep, keep.new_zeros(1)])
        self.rows, self.columns = torch.triu_indices(self.n, self.n, 1, device=device)
        self.pairs = self.rows * self.n + self.columns
        table = self._centred(found.table.to(device), keep).masked_fill(~keep[:, None], 0.0)
        if precision is not None:
            table[keep] = precision.whiten_tensor(table[keep].T).T
        table = torch.cat([table, table.new_zeros(1, table.shape[1])])
        self.added: torch.Tensor | None = None
        self.tables: tuple[torch.Tensor, ...] = (table,)
        if distance == CROSSED and self._adds_up(table):
            self.added = self._distances_of_features(table)
        elif distance == CROSSED and self.balanced:
            self.tables = self._rotated(table)
        self.n_columns = table.shape[1]

    def _centred(self, table: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Patterns without the offsets that the distance does not contain; they would cost digits."""
        if self.distance == CROSSED:
            values = table.view(len(table), self.n_runs, self.n).permute(1, 2, 0)[None]
            members = torch.zeros(1, dtype=torch.long, device=table.device)
            centred = RunPatterns(values, self.runs, None, members).centred().values[0]
            return centred.permute(2, 0, 1).reshape(len(table), -1)
        if self.distance == "mahalanobis":
            return table - table.mean(1, keepdim=True)
        if self.distance == "correlation":
            return table - table[keep].mean(0)
        return table

    def _adds_up(self, table: torch.Tensor) -> bool:
        added = 8 * len(table) * len(self.pairs) <= _MOST_ADDED_BYTES and self.n_runs >= _FEWEST_ADDED_RUNS
        return added and self.noise is None and table.device.type == "cpu"

    def _distances_of_features(self, table: torch.Tensor) -> torch.Tensor:
        """Crossnobis distances of single features (n_features + 1, n_pairs).

        The products of the differences of different runs are the square of their sum less the
        sum of their squares, over runs that hold both conditions.
        """
        together = self.runs[:, self.rows] & self.runs[:, self.columns]
        m = together.sum(0).to(table.dtype)
        counts = torch.where(m > 1, m * (m - 1), torch.nan)
        out = table.new_empty(len(table), len(self.pairs))
        # some features at a time stay in the cache
        for part in range(0, len(table), _FEATURES_AT_ONCE):
            runs = table[part : part + _FEATURES_AT_ONCE].view(-1, self.n_runs, self.n)
            total = table.new_zeros(len(runs), len(self.pairs))
            squares = torch.zeros_like(total)
            for k in range(self.n_runs):
                first, second = (runs[:, k].index_select(1, i) for i in (self.rows, self.columns))
                difference = first.sub_(second).mul_(together[k])
                total += difference
                squares += difference.square_()
            out[part : part + len(runs)] = total.square_().sub_(squares).div_(counts)
        return out

    def _rotated(self, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two tables of a balanced design: what is multiplied and added, and what is subtracted.

        With orthonormal combinations h_0 (the mean over runs, times sqrt(K)), h_1 ... h_{K-1} of
        the K runs, the sum over pairs of different runs is (K - 1) h_0 h_0' - sum_j h_j h_j'.
        """
        rotation = torch.as_tensor(helmert(self.n_runs, full=True), device=table.device)
        values = torch.einsum("jk,pkn->pjn", rotation, table.view(len(table), self.n_runs, self.n))
        return values[:, 0].contiguous(), values[:, 1:].reshape(len(table), -1)

    def vectors(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Upper triangles (c, n_pairs) of spheres (c, s), and which have a singular noise (c,)."""
        present = self.usable[features]
        c = len(features)
        singular = torch.zeros(c, dtype=torch.bool, device=features.device)
        if self.added is not None:
            sums = torch.nn.functional.embedding_bag(features, self.added, mode="sum")
            return sums / present.sum(1, keepdim=True), singular
        parts = [
            table.index_select(0, features.reshape(-1)).view(*features.shape, -1) for table in self.tables
        ]
        if self.noise is not None:
            lower, singular = self.noise.roots(torch.where(present, features, 0), present)
            parts = [torch.linalg.solve_triangular(lower, part, upper=False) for part in parts]
        rdms = self._rdms(parts, present)
        return rdms.reshape(c, -1).index_select(1, self.pairs), singular

    def _rdms(self, parts: list[torch.Tensor], present: torch.Tensor) -> torch.Tensor:
        """RDMs (c, n, n) of gathered (and whitened) patterns (c, s, columns)."""
        if self.distance == CROSSED:
            return self._crossnobis(parts, present)
        if self.distance == "correlation":
            return self._correlation(parts[0], present)
        return self._form(parts[0], present)

    def _form(self, rows: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        patterns = Patterns(rows.mT, None if bool(present.all()) else present)
        with warnings.catch_warnings():
            # spheres without a distance are counted over the whole map, not per block
            warnings.filterwarnings("ignore", message=".* distances are NaN")
            return _FORMS[self.distance](patterns)

    def _correlation(self, rows: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Correlation distances from raw products, centred afterwards; where that loses digits, before."""
        sums = rows.sum(1)
        products = torch.bmm(rows.mT, rows)
        raw = products.diagonal(dim1=1, dim2=2).clone()
        products -= sums[:, :, None] * (sums / present.sum(1, keepdim=True))[:, None, :]
        own = products.diagonal(dim1=1, dim2=2)
        lost = (own * _MOST_LOST <= raw).any(1)
        scale = own.clamp_min(0.0).rsqrt()
        products = products * scale[:, :, None] * scale[:, None, :]
        out = (1.0 - (products + products.mT) / 2.0).clamp_(0.0, 2.0)
        out.diagonal(dim1=1, dim2=2).zero_()
        if bool(lost.any()):
            out[lost] = self._form(rows[lost], present[lost])
        return out

    def _crossnobis(self, parts: list[torch.Tensor], present: torch.Tensor) -> torch.Tensor:
        c, s = present.shape
        sizes = present.sum(1)[:, None, None].to(parts[0].dtype)
        if not self.balanced:
            members = torch.arange(c, device=present.device)
            values = parts[0].view(c, s, self.n_runs, self.n).permute(0, 2, 3, 1)
            cells = RunPatterns(values, self.runs, present, members)
            return mean_over_pairs(*crossed_differences(cells, cells.values), sizes)
        first, others = parts[0], parts[1].reshape(c, -1, self.n)
        total = torch.bmm(first.mT, first).mul_(self.n_runs - 1)
        total = torch.baddbmm(total, others.mT, others, alpha=-1.0)
        counts = total.new_tensor(self.n_runs * (self.n_runs - 1))
        return mean_over_pairs(differences(total), counts, sizes)
