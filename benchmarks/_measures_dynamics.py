"""Dynamical similarity of all pairs of ten systems, against 200 steps of Adam for each pair."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from _rsa_case import Answer, Arrays, Case, Side
from scipy.stats import ortho_group

import brainalign.comparison as bc

N_DELAYS = 5
STEPS, LEARNING_RATE = 200, 0.01


def trajectories(count: int, n: int, p: int) -> Arrays:
    """Noise-driven linear systems (n, p), each with its own modes, seen through its own units."""
    systems = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        step = ortho_group.rvs(p, random_state=seed) * rng.uniform(0.5, 0.98, size=p)
        state, seen = rng.normal(size=p), []
        for _ in range(n):
            state = step @ state + 0.5 * rng.normal(size=p)
            seen.append(state)
        systems.append(np.array(seen) @ rng.normal(size=(p, p)))
    return {"systems": systems}


def our_run(arrays: Arrays, rank: int) -> Answer:
    found = bc.pairwise_dsa(arrays["systems"], n_delays=N_DELAYS, rank=rank, form="angular")
    return Answer(found[np.triu_indices(len(found), 1)])


def adam_loop(arrays: Arrays, rank: int) -> Answer:
    """One operator a system, then a descent for each pair and each sign of the determinant."""
    operators = [bc.dmd(one, n_delays=N_DELAYS, rank=rank).operator for one in arrays["systems"]]
    normed = [torch.from_numpy(one / np.linalg.norm(one)) for one in operators]
    first, second = np.triu_indices(len(normed), 1)
    return Answer(np.array([adam_angle(normed[i], normed[j]) for i, j in zip(first, second, strict=True)]))


def adam_angle(a: torch.Tensor, b: torch.Tensor) -> float:
    """Smallest angle of all steps of Adam over the Cayley map, from one start of each determinant."""
    identity = torch.eye(len(a), dtype=torch.float64)
    best = np.inf
    for sign in (1.0, -1.0):
        generator = torch.Generator().manual_seed(0)
        free = torch.randn(a.shape, generator=generator, dtype=torch.float64).requires_grad_()
        flip = identity.clone()
        flip[0, 0] = sign
        optimiser = torch.optim.Adam([free], lr=LEARNING_RATE)
        for _ in range(STEPS):
            optimiser.zero_grad()
            skew = free - free.T
            c = torch.linalg.solve(identity + skew, identity - skew) @ flip
            loss = torch.arccos((a * (c @ b @ c.T)).sum().clamp(-1 + 1e-12, 1 - 1e-12))
            loss.backward()
            optimiser.step()
            best = min(best, float(loss.detach()))
    return best


def excess(arrays: Arrays, ours: Answer, peer: Answer) -> float:
    """How far our angle lies above that of Adam, the largest over pairs; below 0: lower in every pair."""
    above = ours.values - peer.values
    if np.isnan(above).any():
        return np.inf
    lower = int((above <= 1e-6).sum())
    print(
        f"angle equal or lower in {lower} of {len(above)} pairs, largest excess {above.max():.1e}", flush=True
    )
    return float(above.max())


def cases(quick: bool) -> list[Case]:
    count, n, p = (3, 80, 3) if quick else (10, 500, 10)
    pairs = count * (count - 1) // 2
    return [
        Case(
            "dsa",
            "dynamics",
            f"dsa, angular: {pairs} pairs of {count} systems, {n} x {p}, {N_DELAYS} delays, rank {p}",
            partial(trajectories, count, n, p),
            Side("brainalign", "pairwise_dsa", partial(our_run, rank=p)),
            (Side("torch", f"Adam, {STEPS} steps", partial(adam_loop, rank=p)),),
            tolerance=1e-6,
            floor=5.0,
            difference=excess,
        )
    ]
