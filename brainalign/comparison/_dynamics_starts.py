"""Where the descent on the orthogonal group starts: matched spectra, and random rotations."""

from __future__ import annotations

import numpy as np
import torch


def spectral_bases(operator: np.ndarray) -> np.ndarray:
    """Orthonormal bases of one operator (r, r) that another one's can be matched with, (3, r, r).

    The eigenvectors of the symmetric part, and the invariant planes of the operator ordered
    by frequency and by growth (the nearest orthonormal basis of the real and imaginary parts
    of the eigenvectors).
    """
    symmetric = np.linalg.eigh((operator + operator.T) / 2)[1]
    values, vectors = np.linalg.eig(operator)
    upper = np.flatnonzero(values.imag >= 0)
    angle, modulus = np.abs(np.angle(values[upper])), np.abs(values[upper])
    by_frequency = upper[np.lexsort((-modulus, -angle))]
    by_growth = upper[np.lexsort((angle, -modulus))]
    return np.stack([symmetric, *(_planes(values, vectors, order) for order in (by_frequency, by_growth))])


def _planes(values: np.ndarray, vectors: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Real and imaginary parts of the eigenvectors in this order, made orthonormal."""
    columns = []
    for i in order:
        vector = vectors[:, i]
        # the phase for which the two parts are at a right angle
        vector = vector * np.exp(-0.5j * np.angle(np.sum(vector * vector)))
        columns.append(vector.real)
        if values[i].imag > 0:
            columns.append(vector.imag)
    left, _, right = np.linalg.svd(np.stack(columns, axis=1))
    return np.asarray(left @ right)


def matched_starts(
    a: torch.Tensor, b: torch.Tensor, bases_a: torch.Tensor, bases_b: torch.Tensor
) -> torch.Tensor:
    """Two orthogonal starts, one of each determinant, for every pair and kind of basis.

    The basis of b is laid on the one of a; the signs of its columns are free. They maximise
    ``s' K s`` with K the product, entry by entry, of the two operators in their bases:
    signs of the leading eigenvector, then single flips while one helps. The other
    determinant follows from the flip that costs least. Shapes: a, b (n, r, r), bases
    (n, kinds, r, r); returns (n, 2 kinds, r, r).
    """
    n, kinds, r = bases_a.shape[:3]
    first = bases_a.mT @ a[:, None] @ bases_a
    second = bases_b.mT @ b[:, None] @ bases_b
    overlap = (first * second).reshape(-1, r, r)
    overlap = overlap + overlap.mT
    overlap.diagonal(dim1=-2, dim2=-1).zero_()
    signs = torch.where(torch.linalg.eigh(overlap)[1][..., -1] < 0, -1.0, 1.0).to(overlap.dtype)
    rows = torch.arange(len(signs), device=signs.device)
    for _ in range(2 * r):
        gain = -signs * torch.bmm(overlap, signs[..., None])[..., 0]
        best, place = gain.max(dim=1)
        helps = best > 1e-14
        if not bool(helps.any()):
            break
        signs[rows[helps], place[helps]] *= -1.0
    gain = -signs * torch.bmm(overlap, signs[..., None])[..., 0]
    mirrored = signs.clone()
    mirrored[rows, gain.argmax(dim=1)] *= -1.0
    both = torch.stack([signs, mirrored], dim=1).reshape(n, kinds, 2, 1, r)
    starts = (bases_a[:, :, None] * both) @ bases_b[:, :, None].mT
    return starts.reshape(n, 2 * kinds, r, r)


def random_starts(n_restarts: int, r: int, random_state: int) -> np.ndarray:
    """`n_restarts` rotations and as many reflections, uniform over each, (2 n_restarts, r, r)."""
    rng = np.random.default_rng(random_state)
    q, triangular = np.linalg.qr(rng.normal(size=(n_restarts, r, r)))
    q = q * np.sign(np.diagonal(triangular, axis1=1, axis2=2))[:, None, :]
    mirrored = q.copy()
    mirrored[:, :, 0] *= -1.0
    out: np.ndarray = np.concatenate([q, mirrored])
    return out
