"""Decompositions in full precision, on the device of their input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from scipy.linalg import eigh

# rows from which another thread pool than that of torch pays
_LARGE = 1200


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch TF32 (bfloat16 on the CPU) off inside the block and restore what the user had set.

    TF32 keeps 10 bits of mantissa: Gram matrices lose definiteness under it.
    """
    matmul: Any = torch.backends.cuda.matmul
    on_cuda = matmul.fp32_precision
    level = _precision_level()
    switch, off = "allow_tf32", cast(Any, False)
    try:
        before = matmul.allow_tf32
    except RuntimeError:  # torch refuses to read the old switch where the new one was set
        switch, off = "fp32_precision", "ieee"
        before = matmul.fp32_precision
    on_cpu: Any = cast(Any, torch.backends.mkldnn).matmul
    cpu_before = on_cpu.fp32_precision
    reduced = cpu_before not in ("none", "ieee")
    setattr(matmul, switch, off)
    if reduced:
        on_cpu.fp32_precision = "ieee"
    try:
        yield
    finally:
        setattr(matmul, switch, before)
        if matmul.fp32_precision != on_cuda:
            matmul.fp32_precision = on_cuda
        if reduced:
            on_cpu.fp32_precision = cpu_before
        if level == "medium":  # the old switch of CUDA knows two of the three levels
            torch.set_float32_matmul_precision(level)


def _precision_level() -> str | None:
    """The level that the user set for all devices; None where it was set for each alone."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def eigh_psd(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues (clipped at 0) and eigenvectors of a symmetric positive semi-definite matrix.

    Cost 9 n^3 in time, 2 n^2 in memory.
    """
    values, vectors = _eigh((matrix + matrix.T) / 2)
    return values.clamp_min(0), vectors


def _eigh(symmetric: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `torch.linalg.eigh`; large matrices of a CPU by the LAPACK of scipy, up to twice as fast there."""
    large = symmetric.ndim == 2 and len(symmetric) >= _LARGE
    if symmetric.device.type != "cpu" or not large or not bool(torch.isfinite(symmetric).all()):
        return torch.linalg.eigh(symmetric)  # type: ignore[no-any-return]
    # a symmetric matrix is its own transpose: in the order of Fortran nothing is copied
    values, vectors = eigh(symmetric.numpy().T, driver="evd", overwrite_a=True, check_finite=False)
    return torch.from_numpy(values), torch.from_numpy(vectors)


def self_product(rows: torch.Tensor) -> torch.Tensor:
    """``rows @ rows.T``, (n, n), of rows (n, p).

    On a CPU by numpy, which sees that both factors are the same and computes half of it. Its
    threads and those of torch hinder each other: for use inside `side_by_side`, where it has one.
    """
    if rows.device.type != "cpu":
        return rows @ rows.T
    values = rows.numpy()
    return torch.from_numpy(values @ values.T)


def gram(rows: torch.Tensor, out: torch.Tensor, *, tiles: int = 4) -> None:
    """Add ``rows @ rows.T`` to `out` (n, n); only tiles on and below the diagonal are multiplied.

    Cost n^2 p (1 + 1/tiles) for rows (n, p).
    """
    n = len(rows)
    if n < 64 * tiles:  # products of small tiles take longer than they save
        tiles = 1
    edges = [n * i // tiles for i in range(tiles + 1)]
    for i in range(tiles):
        a = slice(edges[i], edges[i + 1])
        for j in range(i + 1):
            b = slice(edges[j], edges[j + 1])
            out[a, b].addmm_(rows[a], rows[b].T)
            if j < i:
                out[b, a] = out[a, b].T
