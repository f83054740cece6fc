"""The centred, weighted ridge system and its one decomposition for all penalties.

With weights w (number of trials behind each row) the fit minimises
``sum_i w_i |y_i - x_i B - b|^2 + alpha |B|^2``. Rows are centred by their weighted mean
and multiplied by sqrt(w); the unpenalised intercept then is the direction sqrt(w), which
the centred rows do not touch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from brainalign._linalg import eigh_psd


@dataclass(frozen=True)
class CentredSystem:
    """Rows centred and weighted, ready to be decomposed.

    Attributes: `X` (n, p) and `Y` (n, t) centred and scaled rows; `x_mean` (p,), `y_mean`
    (t,) the weighted means (zero without intercept); `root` (n,) the square roots of the
    weights; `intercept` whether the means were removed.
    """

    X: torch.Tensor
    Y: torch.Tensor
    x_mean: torch.Tensor
    y_mean: torch.Tensor
    root: torch.Tensor
    intercept: bool

    @property
    def intercept_direction(self) -> torch.Tensor:
        """Unit vector (n,) of the intercept column."""
        direction: torch.Tensor = self.root / self.root.norm()
        return direction


def centre(X: torch.Tensor, Y: torch.Tensor, weights: torch.Tensor, *, intercept: bool) -> CentredSystem:
    """Remove the weighted means (with intercept) and scale rows by the root of their weight."""
    root = weights.sqrt()
    share = weights / weights.sum() if intercept else torch.zeros_like(weights)
    x_mean, y_mean = share @ X, share @ Y
    return CentredSystem(
        (X - x_mean) * root[:, None], (Y - y_mean) * root[:, None], x_mean, y_mean, root, intercept
    )


@dataclass(frozen=True)
class Decomposition:
    """Everything that all penalties share.

    `eigenvalues` (m,), `vectors` (n, m) for the dual (m = n, or n - 1 with intercept) or
    (p, m) for the primal (m = p) form, and `projected` (m, t) = the targets in that basis.
    """

    system: CentredSystem
    dual: bool
    eigenvalues: torch.Tensor
    vectors: torch.Tensor
    projected: torch.Tensor

    def coefficients(self, alphas: torch.Tensor) -> torch.Tensor:
        """Weights (p, t) for one penalty per target (t,) or one for all (1,)."""
        shrunk = self.projected / (self.eigenvalues[:, None] + alphas[None, :])
        return self.system.X.T @ (self.vectors @ shrunk) if self.dual else self.vectors @ shrunk

    def predict(self, X: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
        """Predictions (n_new, t) for new rows; never forms weights in the dual form."""
        shrunk = self.projected / (self.eigenvalues[:, None] + alphas[None, :])
        return self.basis(X) @ shrunk + self.system.y_mean

    def basis(self, X: torch.Tensor) -> torch.Tensor:
        """New rows in the basis of the decomposition, (n_new, m)."""
        centred = X - self.system.x_mean
        return (centred @ self.system.X.T) @ self.vectors if self.dual else centred @ self.vectors

    def smoothers(self, X: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
        """Matrices H (n_alphas, n_new, n) with predictions ``H @ Y`` for any targets Y.

        The targets enter as they are: centring and weights are part of H.
        """
        basis = self.basis(X)
        left = self.vectors if self.dual else self.system.X @ self.vectors
        root = self.system.root
        out = torch.empty(len(alphas), X.shape[0], len(root), dtype=X.dtype, device=X.device)
        share = root**2 / (root**2).sum() if self.system.intercept else torch.zeros_like(root)
        for i, alpha in enumerate(alphas):
            H = ((basis / (self.eigenvalues + alpha)) @ left.T) * root
            # H (Y - 1 mean) + 1 mean, with mean = share @ Y
            out[i] = H + torch.outer(1 - H.sum(1), share)
        return out


def _kernel_eigh(system: CentredSystem) -> tuple[torch.Tensor, torch.Tensor]:
    """Decompose the kernel in the space orthogonal to the intercept direction.

    That direction has eigenvalue zero; kept in, its 1/alpha would later be subtracted from
    numbers of the same size, and small penalties would lose their digits.
    """
    kernel = system.X @ system.X.T
    if not system.intercept:
        return eigh_psd(kernel)
    # the Householder reflection that turns the intercept direction into the first axis
    mirror = system.intercept_direction.clone()
    mirror[0] += 1.0
    mirror /= mirror.norm()
    kernel = kernel - 2 * torch.outer(mirror, mirror @ kernel)
    kernel = kernel - 2 * torch.outer(kernel @ mirror, mirror)
    eigenvalues, vectors = eigh_psd(kernel[1:, 1:])
    vectors = torch.cat([torch.zeros_like(vectors[:1]), vectors])
    return eigenvalues, vectors - 2 * torch.outer(mirror, mirror @ vectors)


def decompose(system: CentredSystem, *, dual: bool) -> Decomposition:
    """One symmetric eigendecomposition: n x n (dual) or p x p (primal)."""
    if dual:
        eigenvalues, vectors = _kernel_eigh(system)
        return Decomposition(system, True, eigenvalues, vectors, vectors.T @ system.Y)
    eigenvalues, vectors = eigh_psd(system.X.T @ system.X)
    projected = vectors.T @ (system.X.T @ system.Y)
    return Decomposition(system, False, eigenvalues, vectors, projected)
