"""Inner products of resampled RDMs as quadratic forms in the draw counts.

A resample draws stimulus i c_i times. The pair (i, j) then occurs c_i c_j times and a stimulus
never meets its own copy, so that every sum over pairs is a product of the counts with a matrix
that does not change from one resample to the next.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

_BLOCK = 2**22  # entries of one block of pair weights or of products of RDMs: 32 MiB


def blocks(n_draws: int, n_entries: int, *, size: int = _BLOCK) -> Iterator[slice]:
    """Slices of the draws, such that `n_entries` numbers for each draw stay within one block."""
    step = max(1, size // max(n_entries, 1))
    for start in range(0, n_draws, step):
        yield slice(start, min(start + step, n_draws))


class LinearForms:
    """Gram matrices of RDMs in every resample, plain or whitened, with or without the mean removed.

    Parameters
    ----------
    stack : tensor (k, n, n), float64; the entries outside `mask` are ignored
    mask : tensor (n, n), bool, symmetric; True where a pair is kept, False on the diagonal
    pairs : tensor (q, 2), the RDMs whose products are needed
    centred : remove the mean over the pairs of the resample
    whitened : inner product x' V^-1 y, V the covariance of distances of Diedrichsen et al. 2021
    sigma_k : tensor (n,) or (n, n), covariance of the stimuli; None is the identity

    Notes
    -----
    With counts c, t = c / sigma, and V the covariance of the kept pairs of the resample, where
    copies of a stimulus are independent, V = 2 diag(sigma_i sigma_j) + S diag(sigma^2) S' with
    the incidence S of pairs and stimuli. Woodbury's identity gives
    ``2 x' V^-1 y = t' (X o Y) t / 2 - sum_i t_i (X t)_i u_i`` with
    ``(2 / sigma_i + (M t)_i) u_i + (M (t u))_i = (Y t)_i`` for the mask M. Without missing pairs
    the system is diagonal plus rank one: O(n) instead of O(n^3) a draw.
    """

    def __init__(
        self,
        stack: torch.Tensor,
        mask: torch.Tensor,
        pairs: torch.Tensor,
        *,
        centred: bool,
        whitened: bool,
        sigma_k: torch.Tensor | None = None,
    ) -> None:
        n = stack.shape[-1]
        self.rows, self.columns = torch.triu_indices(n, n, 1, device=stack.device)
        kept = mask[self.rows, self.columns]
        self.rows, self.columns = self.rows[kept], self.columns[kept]
        self.complete = bool(len(self.rows) == n * (n - 1) // 2)
        clean = torch.where(mask, stack, torch.zeros_like(stack))
        vectors = clean[:, self.rows, self.columns]
        # squares of entries beyond 1e154 are infinite, and those below 1e-162 zero
        largest = vectors.abs().amax(1, keepdim=True)
        largest = torch.where(largest > 0, largest, torch.ones_like(largest))
        vectors = vectors / largest
        if centred:  # the resample removes what is left; this keeps the digits
            vectors = vectors - vectors.mean(1, keepdim=True)
        scale = vectors.square().mean(1, keepdim=True).sqrt()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        self.scale = (scale * largest)[:, 0]
        vectors = vectors / scale
        ones = torch.ones_like(vectors[:1])
        self.vectors = torch.cat([vectors, ones])
        self.mask = mask.to(stack.dtype)
        self.centred, self.whitened, self.sigma_k = centred, whitened, sigma_k
        self.k = len(stack)
        with_ones = torch.stack(
            [torch.arange(self.k + 1, device=stack.device), torch.full((self.k + 1,), self.k).to(pairs)], 1
        )
        self.pairs = torch.cat([pairs, with_ones]) if centred else pairs
        self.squares = self._square() if whitened else None

    def _square(self) -> torch.Tensor:
        out = self.vectors.new_zeros((len(self.vectors), *self.mask.shape))
        out[:, self.rows, self.columns] = self.vectors
        out[:, self.columns, self.rows] = self.vectors
        return out

    def gram(self, counts: torch.Tensor) -> torch.Tensor:
        """Inner products (n_draws, k, k) for counts (n_draws, n); pairs not asked for are 0."""
        products = self._products(counts)
        k = self.k + 1
        gram = counts.new_zeros((len(counts), k, k))
        gram[:, self.pairs[:, 0], self.pairs[:, 1]] = products
        gram[:, self.pairs[:, 1], self.pairs[:, 0]] = products
        if self.centred:
            gram = self._centre(gram, counts)
        return gram[:, :-1, :-1]

    def _centre(self, gram: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        weights = counts[:, self.rows] * counts[:, self.columns]
        mean = (weights @ self.vectors.T) / weights.sum(1, keepdim=True)
        with_ones = gram[:, :, -1]
        cross = mean[:, :, None] * with_ones[:, None, :]
        wanted = torch.zeros(gram.shape[1:], dtype=gram.dtype, device=gram.device)
        wanted[self.pairs[:, 0], self.pairs[:, 1]] = 1.0
        wanted[self.pairs[:, 1], self.pairs[:, 0]] = 1.0
        outer = mean[:, :, None] * mean[:, None, :] * gram[:, -1:, -1:]
        return (gram - cross - cross.transpose(1, 2) + outer) * wanted

    def _products(self, counts: torch.Tensor) -> torch.Tensor:
        if self.whitened and self.sigma_k is not None and self.sigma_k.ndim == 2:
            return self._with_full_covariance(counts)
        inverse = None if self.sigma_k is None else 1.0 / self.sigma_k
        scaled = counts if not self.whitened or inverse is None else counts * inverse
        weights = scaled[:, self.rows] * scaled[:, self.columns]
        products = counts.new_empty((len(counts), len(self.pairs)))
        for part in blocks(len(self.pairs), len(self.rows)):
            chosen = self.pairs[part]
            products[:, part] = weights @ (self.vectors[chosen[:, 0]] * self.vectors[chosen[:, 1]]).T
        if self.whitened:
            own = torch.ones_like(counts[0]) if inverse is None else inverse
            products = (products - self._marginal(scaled, own)) / 2
        return products

    def _marginal(self, scaled: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """The part of each product that the sums over the pairs of a stimulus explain."""
        assert self.squares is not None
        sums = torch.einsum("kij,bj->bki", self.squares, scaled)
        diagonal = 2 * inverse + scaled @ self.mask
        if self.complete and bool((diagonal - scaled > 0.25).all()):
            # mask = 1 1' - I: (diagonal - t_i) u_i + t'u = sums, by Sherman and Morrison
            share = 1.0 / (diagonal - scaled)
            solved = sums * share[:, None]
            total = torch.einsum("bki,bi->bk", solved, scaled) / (1 + (share * scaled).sum(1))[:, None]
            solved = solved - total[:, :, None] * share[:, None]
        else:
            system = torch.diag_embed(diagonal) + self.mask * scaled[:, None, :]
            solved = torch.linalg.solve(system, sums.transpose(1, 2)).transpose(1, 2)
        explained = torch.bmm(sums * scaled[:, None], solved.transpose(1, 2))
        return explained[:, self.pairs[:, 0], self.pairs[:, 1]]

    def _with_full_covariance(self, counts: torch.Tensor) -> torch.Tensor:
        out = [self._one_full_draw(row) for row in counts]
        return torch.stack(out)[:, self.pairs[:, 0], self.pairs[:, 1]]

    def _one_full_draw(self, counts: torch.Tensor) -> torch.Tensor:
        """Whitened Gram (k + 1, k + 1) of one draw; pairs that are not kept take their likeliest value."""
        assert self.squares is not None
        assert self.sigma_k is not None
        drawn = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts.long())
        copies = drawn[:, None] == drawn[None, :]
        sigma = self.sigma_k[drawn][:, drawn]
        sigma = torch.where(copies & ~torch.eye(len(drawn), dtype=torch.bool).to(copies), 0.0, sigma)
        factor, failed = torch.linalg.cholesky_ex(sigma)
        if bool(failed):
            return torch.full((self.k + 1, self.k + 1), float("nan"), dtype=counts.dtype).to(counts)
        ones = torch.ones((len(drawn), 1), dtype=counts.dtype, device=counts.device)
        inverse = torch.cholesky_inverse(factor)
        inverse_ones = inverse @ ones
        omega = inverse - inverse_ones @ inverse_ones.T / (ones.T @ inverse_ones)
        stack = self.squares[:, drawn][:, :, drawn]
        whitened = omega @ stack @ omega
        gram = torch.einsum("kij,lij->kl", stack, whitened)
        kept = self.mask[drawn][:, drawn] > 0
        a, b = torch.nonzero(torch.triu(~kept, 1), as_tuple=True)
        if len(a):
            normal = omega[a][:, a] * omega[b][:, b] + omega[a][:, b] * omega[b][:, a]
            pull = whitened[:, a, b]
            gram = gram - 2 * pull @ torch.linalg.solve(normal, pull.T)
        return gram / 8


def unit_gram(gram: torch.Tensor, *, reference: torch.Tensor | None = None) -> torch.Tensor:
    """Cosines from inner products (n_draws, k, k); NaN for an RDM that is constant in the draw."""
    squares = torch.diagonal(gram, dim1=1, dim2=2)
    largest = squares.amax(1, keepdim=True) if reference is None else reference
    norms = torch.where(squares > 1e-12 * largest, squares, torch.nan).sqrt()
    return gram / (norms[:, :, None] * norms[:, None, :])


def pooled_ceilings(cosines: torch.Tensor, subjects: torch.Tensor) -> torch.Tensor:
    """Lower and upper ceilings (n_draws, 2) from cosines between subjects and counts of subjects.

    The pool is the sum of unit vectors, in the space of `cosines`; the subject that is compared, with all its
    copies, is left out of the lower one. Its norm needs no vector: |sum d_s z_s|^2 = d' G d.
    """
    weights = subjects / subjects.sum(1, keepdim=True)
    drawn = subjects > 0
    safe = torch.where(drawn[:, :, None] & drawn[:, None, :], cosines, torch.zeros_like(cosines))
    to_all = (safe @ subjects[:, :, None])[:, :, 0]
    square = (subjects * to_all).sum(1, keepdim=True)
    upper = (weights * to_all).sum(1) / square[:, 0].clamp_min(0).sqrt()
    left = square - 2 * subjects * to_all + subjects**2
    floor = 1e-12 * subjects.sum(1, keepdim=True) ** 2
    single = (to_all - subjects) / torch.where(left > floor, left, torch.nan).sqrt()
    lower = torch.where(drawn, weights * single, torch.zeros_like(single)).sum(1)
    out = torch.stack([lower, upper], 1)
    return torch.where((drawn.sum(1) > 1)[:, None], out, torch.nan)
