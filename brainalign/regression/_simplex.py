"""Convex combinations with the least squared error, one per target, by an exact active set."""

from __future__ import annotations

import torch

from brainalign._threads import side_by_side
from brainalign.errors import ShapeError

_BLOCK = 4096  # targets solved at once: 10 MB of systems for 16 members
_RIDGE = 1e-12  # of each member's square: decides between combinations of equal error
_PERFECT = 1e-24  # of the mean square: the same where a member makes no error at all


def simplex_weights(R: torch.Tensor) -> torch.Tensor:
    """Weights that minimise ``w' R w`` with ``w >= 0`` and ``sum(w) = 1``, for each target.

    Parameters
    ----------
    R : (n_targets, n_members, n_members), symmetric, positive semi-definite
        Cross products of the members' errors; only its symmetric part counts. Any scale.

    Returns
    -------
    (n_targets, n_members) float64 tensor on the device of `R`, each row on the simplex up to
    rounding; members that do not help have weight exactly 0. NaN for a target whose `R`
    holds NaN or infinity.

    Raises
    ------
    ShapeError
        `R` is not a stack of square matrices of at least one row.

    Notes
    -----
    Primal active set (Lawson & Hanson 1974, Solving Least Squares Problems, chapter 23; with
    the sum as an equality): start at the best single member, let in the member with the most
    negative reduced gradient, solve the equality-constrained system of the members let in,
    step back to the border where a weight would turn negative and drop that member. All
    targets take these steps together; those that meet the Karush-Kuhn-Tucker conditions
    leave. It ends after finitely many steps, because the error falls with each set that is
    accepted; in practice about n_members steps.

    Where members give the same predictions the best combination is not unique. A
    relative 1e-12 added to the diagonal makes it so: of all best weights those with the
    smallest norm (each member in units of its own error), equal shares for equal members.

    Cost per step: n_members^3 per target. Memory: 4 n_members^2 float64 for each of at most
    4096 targets and each thread.

    Examples
    --------
    >>> simplex_weights(torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])).numpy().round(6)
    array([[0.75, 0.25]])
    """
    if R.ndim != 3 or R.shape[1] != R.shape[2] or R.shape[1] == 0:
        raise ShapeError(
            f"R has shape {tuple(R.shape)}; expected one square matrix per target, "
            "(n_targets, n_members, n_members) with at least one member"
        )
    weights = torch.full(R.shape[:2], float("nan"), dtype=torch.float64, device=R.device)
    known = torch.nonzero(torch.isfinite(R).flatten(1).all(1)).flatten()
    blocks = known.split(_BLOCK)  # type: ignore[no-untyped-call]
    # a second thread on systems of a few rows waits longer than it works
    with side_by_side(R.device.type == "cpu") as apply:
        for block, found in zip(
            blocks, apply(lambda b: _solve(_normalised(R[b].double())), blocks), strict=True
        ):
            weights[block] = found
    return weights


def _normalised(R: torch.Tensor) -> torch.Tensor:
    """The same problem with a unique answer, in units of the best member's error.

    A constant taken from all entries takes itself from the error of every point of the
    simplex. Without it, what the members share (the noise of the target) no longer drowns
    how they differ.
    """
    squares = R.diagonal(dim1=1, dim2=2)
    least, mean = squares.min(1).values, squares.mean(1)
    unit = torch.where(least > 0, least, mean)
    unit = torch.where(unit > 0, unit, torch.ones_like(unit))  # no member errs: any weights will do
    ridge = torch.maximum(_RIDGE * squares, _PERFECT * mean[:, None]) / unit[:, None]
    ridge = torch.where(mean[:, None] > 0, ridge, torch.ones_like(ridge))
    # least goes first: symmetric sums of unshifted entries would round at their own size
    R = (R - least[:, None, None]) / unit[:, None, None]
    return (R + R.mT) / 2 + torch.diag_embed(ridge)


def _solve(R: torch.Tensor) -> torch.Tensor:
    """Active set on a batch of strictly convex problems, (t, J, J) -> (t, J)."""
    t, J = R.shape[:2]
    rows = torch.arange(t, device=R.device)
    passive = torch.zeros(t, J, dtype=torch.bool, device=R.device)
    passive[rows, R.diagonal(dim1=1, dim2=2).argmin(1)] = True
    point = passive.double()  # where each target stands: feasible at any time
    best = point.clone()  # the minimum over the last set that was accepted
    error = torch.full((t,), float("inf"), dtype=R.dtype, device=R.device)
    while len(rows):
        corner = _minimum_of_set(R[rows], passive[rows])
        blocked = (passive[rows] & (corner <= 0)).any(1) & torch.isfinite(corner).all(1)
        moved = rows[blocked]
        point[moved], passive[moved] = _to_border(point[moved], corner[blocked], passive[moved])
        inside, corner = rows[~blocked], corner[~blocked]
        gradient = torch.einsum("tij,tj->ti", R[inside], corner)
        found = (corner * gradient).sum(1)
        better = found < error[inside]  # else rounding is all that is left to gain
        inside, corner = inside[better], corner[better]
        gradient, found = gradient[better], found[better]
        point[inside], best[inside], error[inside] = corner, corner, found
        reduced = torch.where(passive[inside], torch.inf, gradient - found[:, None])
        lowest, entering = reduced.min(1)
        open_ = lowest < 0
        inside, entering = inside[open_], entering[open_]
        passive[inside, entering] = True
        rows = torch.cat([moved, inside])
    return best


def _minimum_of_set(R: torch.Tensor, passive: torch.Tensor) -> torch.Tensor:
    """Minimum of ``w' R w`` with sum one over the members let in, signs free; 0 elsewhere."""
    t, J = passive.shape
    system = torch.zeros(t, J + 1, J + 1, dtype=R.dtype, device=R.device)
    on = passive.to(R.dtype)
    system[:, :J, :J] = R * on[:, :, None] * on[:, None, :]
    # a bad member may be 1e12 times the size of a good one: the unit is that of the set
    scale = system.abs().amax((1, 2), keepdim=True)
    system /= torch.where(scale > 0, scale, torch.ones_like(scale))
    system[:, :J, :J] += torch.diag_embed(1 - on)
    system[:, :J, J] = on
    system[:, J, :J] = on
    right = torch.zeros(t, J + 1, dtype=R.dtype, device=R.device)
    right[:, J] = 1
    solution = torch.linalg.solve_ex(system, right)[0][:, :J] * on  # singular: not finite, no gain
    exact: torch.Tensor = solution / solution.sum(1, keepdim=True)
    return exact


def _to_border(
    point: torch.Tensor, corner: torch.Tensor, passive: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Go from a feasible point towards `corner` until a weight is 0, and drop that member."""
    falling = passive & (corner <= 0)
    gap = torch.where(falling, point - corner, torch.ones_like(point))
    ratio = torch.where(falling, point / torch.where(gap > 0, gap, torch.ones_like(gap)), torch.inf)
    step = ratio.min(1, keepdim=True).values
    reached = (point + step * (corner - point)).clamp_min(0)
    dropped = falling & (ratio <= step)
    return torch.where(dropped, torch.zeros_like(reached), reached), passive & ~dropped
