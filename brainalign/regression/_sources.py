"""Features and responses as blocks of tensors, whatever they are stored in."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch

from brainalign._linalg import gram
from brainalign.errors import InputError, ShapeError

FITTED, NOT_FINITE, CONSTANT, NO_SCORE = range(4)
NAN_REASONS = {
    NOT_FINITE: "NaN or infinite response",
    CONSTANT: "constant response",
    NO_SCORE: "constant in every test fold",
}
"""What the codes of `nan_codes_` mean; 0 is a target with a fit."""

PAD = 16  # columns of a block are a multiple of this, so that matrix products have one shape


def is_lazy(values: Any) -> bool:
    """Tell whether `values` lie in a file: sliced when needed, never read whole."""
    return isinstance(values, np.memmap) or (
        hasattr(values, "shape")
        and hasattr(values, "dtype")
        and not isinstance(values, np.ndarray | torch.Tensor)
        and not hasattr(values, "iloc")
        and not hasattr(values, "nnz")
    )


def compute_dtype(*arrays: Any) -> torch.dtype:
    """float32 where all input has at most 32 bits of floating point, else float64."""
    for values in arrays:
        dtype = str(getattr(values, "dtype", "float64")).removeprefix("torch.").lstrip("<>=")
        if dtype not in ("float32", "float16", "bfloat16", "f4", "f2"):
            return torch.float64
    return torch.float32


def read_tensor(values: Any, index: Any, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Part of an array, file or tensor as a tensor of `dtype` on `device`."""
    part = values[index]
    if isinstance(part, torch.Tensor):
        return part.detach().to(device=device, dtype=dtype)
    part = np.asarray(part)
    if part.dtype.kind not in "fiub":
        raise InputError(f"values have dtype {part.dtype}; expected real numbers")
    native = np.float32 if dtype == torch.float32 else np.float64
    # a view where it can be one: nothing here writes to what it has read
    copied = isinstance(values, np.memmap) or not part.flags.writeable
    part = np.array(part, dtype=native) if copied else np.ascontiguousarray(part, dtype=native)
    if isinstance(values, np.memmap):
        _forget_pages(values)
    tensor = torch.from_numpy(part)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _forget_pages(values: np.memmap[Any, Any]) -> None:
    """Let the pages of a map go: read again they come from the page cache of the system."""
    mapped = getattr(values, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise") and values.mode in ("r", "c"):
        mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Features:
    """Rows of X, weighted and centred, read in blocks.

    `mean` (p,) is the weighted mean (zero without intercept) and `root` (n,) the square
    roots of the weights, float64. Columns that do not vary are exactly zero once centred.
    """

    values: Any
    rows: torch.Tensor
    mean: torch.Tensor
    root: torch.Tensor
    still: torch.Tensor
    dtype: torch.dtype
    device: torch.device
    block_rows: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), int(self.values.shape[1])

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Centred rows (without weights), (len(rows), p)."""
        index = self.rows[rows.cpu()].numpy()
        # consecutive rows of a file are read as one slice
        where: Any = index
        if len(index) and index[-1] - index[0] + 1 == len(index):
            where = slice(int(index[0]), int(index[-1]) + 1)
        part = read_tensor(self.values, where, dtype=self.dtype, device=self.device)
        if self.any_mean:
            part = part - self.mean.to(self.dtype)
            if self.any_still:
                part[:, self.still] = 0
        return part

    @cached_property
    def any_mean(self) -> bool:
        """Whether there is a mean to remove; without, `take` gives views that nobody may write to."""
        return bool((self.mean != 0).any())

    @cached_property
    def any_still(self) -> bool:
        """Whether a column does not vary."""
        return bool(self.still.any())

    @cached_property
    def any_weight(self) -> bool:
        """Whether rows weigh more or less than one trial."""
        return bool((self.root != 1).any())

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Centred rows without weights, `block_rows` at a time."""
        for start in range(0, len(self.rows), self.block_rows):
            stop = min(start + self.block_rows, len(self.rows))
            yield slice(start, stop), self.take(torch.arange(start, stop))

    def kernel(self) -> torch.Tensor:
        """Linear kernel of the weighted, centred rows, (n, n) float64."""
        n, p = self.shape
        out = torch.zeros(n, n, dtype=torch.float64, device=self.device)
        width = max(1024, 2**22 // (8 * n))
        for start in range(0, p, width):
            stop = min(start + width, p)
            part = read_tensor(
                self.values, (slice(None), slice(start, stop)), dtype=torch.float64, device=self.device
            )
            part = part[self.rows.to(self.device)] if len(self.rows) != len(part) else part
            part = part - self.mean[start:stop]
            if self.any_still:
                part[:, self.still[start:stop]] = 0
            gram(part.mul_(self.root[:, None]) if self.any_weight else part, out)
        return out

    def gram(self, rows: torch.Tensor | None = None, *, weighted: bool = True) -> torch.Tensor:
        """Sums of products of the columns over some rows, (p, p) float64."""
        p = self.shape[1]
        out = torch.zeros(p, p, dtype=torch.float64, device=self.device)
        rows = torch.arange(len(self.rows)) if rows is None else rows.cpu()
        for start in range(0, len(rows), self.block_rows):
            some = rows[start : start + self.block_rows]
            part = self.take(some).to(torch.float64)
            if weighted and self.any_weight:
                part = part * self.root[some.to(self.device), None]
            gram(part.T, out)
        return out

    def times(self, weights: torch.Tensor) -> torch.Tensor:
        """Centred rows, transposed, times dual weights (n, w): primal weights (p, w)."""
        out = torch.zeros(self.shape[1], weights.shape[1], dtype=weights.dtype, device=self.device)
        for rows, part in self.blocks():
            out.addmm_(part.T, weights[rows])
        return out


def open_features(
    X: Any,
    weights: torch.Tensor,
    rows: np.ndarray[Any, Any],
    *,
    intercept: bool,
    dtype: torch.dtype,
    device: torch.device,
    budget: int,
) -> Features:
    """Read the mean of each column once, and judge which columns vary."""
    n, p = len(rows), int(X.shape[1])
    resident = not is_lazy(X)
    itemsize = 4 if dtype == torch.float32 else 8
    block_rows = n if resident else max(1, min(n, budget // max(1, itemsize * p)))
    if resident and (len(rows) != X.shape[0] or not _is_ready(X, dtype, device)):
        X = read_tensor(X, rows if len(rows) != X.shape[0] else slice(None), dtype=dtype, device=device)
        rows = np.arange(n)
    weights = weights.to(device)
    zero = torch.zeros(p, dtype=torch.float64, device=device)
    none = torch.zeros(p, dtype=torch.bool, device=device)
    plain = Features(X, torch.as_tensor(rows), zero, weights.sqrt(), none, dtype, device, block_rows)
    total, low, high = zero.clone(), zero + torch.inf, zero - torch.inf
    for part_rows, part in plain.blocks():
        lowest, highest = torch.aminmax(part, dim=0)
        if not bool(torch.isfinite(lowest).all() & torch.isfinite(highest).all()):
            raise ValueError("Input X contains NaN or infinity.")
        total += weights[part_rows].to(torch.float64) @ part.to(torch.float64)
        low, high = torch.minimum(low, lowest), torch.maximum(high, highest)
    eps = torch.finfo(dtype).eps
    still = (high - low) <= 10 * eps * torch.maximum(low.abs(), high.abs())
    if not intercept:
        return plain
    return Features(
        X, torch.as_tensor(rows), total / weights.sum(), weights.sqrt(), still, dtype, device, block_rows
    )


def _is_ready(X: Any, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether slices of X are views: no copy of X is needed."""
    if isinstance(X, torch.Tensor):
        return bool(X.dtype == dtype and X.device == device)
    wanted = np.float32 if dtype == torch.float32 else np.float64
    return device.type == "cpu" and X.dtype == wanted and X.flags.c_contiguous


@dataclass(frozen=True)
class Block:
    """Some targets, centred by their weighted mean and scaled by a power of two.

    `values` (n, w): zero for targets without a fit; `mean` and `scale` (w,) float64:
    response = values * scale + mean; `codes` (w,) why a target has no fit; the columns
    behind the `width` real ones only fill up.
    """

    columns: slice
    values: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor
    codes: torch.Tensor
    width: int

    def flat(self, rows: torch.Tensor) -> torch.Tensor:
        """Which targets do not vary over some rows, by no more than rounding, (w,)."""
        part = self.values[rows]
        low, high = part.amin(0), part.amax(0)
        size = torch.maximum(low.abs(), high.abs()) + (self.mean / self.scale).abs().to(low.dtype)
        return high - low <= 10 * torch.finfo(low.dtype).eps * size


@dataclass(frozen=True)
class Targets:
    """Responses (n, n_targets) of any source, `width` targets at a time on fixed edges."""

    values: Any
    rows: np.ndarray[Any, Any]
    share: torch.Tensor
    intercept: bool
    dtype: torch.dtype
    device: torch.device
    width: int

    @property
    def n_targets(self) -> int:
        return int(self.values.shape[1])

    def __iter__(self) -> Iterator[Block]:
        edges = [slice(a, min(a + self.width, self.n_targets)) for a in range(0, self.n_targets, self.width)]
        if self.device.type != "cuda" and not is_lazy(self.values):
            yield from map(self.read, edges)
            return
        # the next block is read (and copied to the device) while this one is computed on
        with ThreadPoolExecutor(1) as reader:
            waiting = reader.submit(self._read_aside, edges[0])
            for columns, following in zip(edges, [*edges[1:], None], strict=True):
                block = self._received(waiting, columns)
                if following is not None:
                    waiting = reader.submit(self._read_aside, following)
                yield self._arrived(block)
                del block

    def read(self, columns: slice) -> Block:
        """Read, mask, centre and scale one block."""
        raw = read_tensor(self.values, (slice(None), columns), dtype=self.dtype, device=self.device)
        if len(self.rows) != len(raw):
            raw = raw[torch.as_tensor(self.rows, device=self.device)]
        return make_block(raw, columns, self.share, intercept=self.intercept)

    def _received(self, waiting: Future[Block], columns: slice) -> Block:
        """The block that was read aside; read again, alone, where there was no memory for it yet."""
        try:
            return waiting.result()
        except torch.OutOfMemoryError:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return self._read_aside(columns)

    def _read_aside(self, columns: slice) -> Block:
        """Read on a stream of its own where the device has streams."""
        if self.device.type != "cuda":
            return self.read(columns)
        stream: Any = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            block = self.read(columns)
            stream.synchronize()
        return block

    def _arrived(self, block: Block) -> Block:
        """Tell the allocator that the block is used on the main stream from here on."""
        if self.device.type == "cuda":
            for tensor in (block.values, block.mean, block.scale, block.codes):
                tensor.record_stream(torch.cuda.current_stream(self.device))
        return block


def make_block(raw: torch.Tensor, columns: slice, share: torch.Tensor, *, intercept: bool) -> Block:
    """Mask, centre and scale responses (n, w); `share` (n,) are the weights, sum 1."""
    width = raw.shape[1]
    filled = -(-width // PAD) * PAD
    values = torch.zeros(len(raw), filled, dtype=raw.dtype, device=raw.device)
    values[:, :width] = raw
    # NaN and infinity show in the extremes: no array of the size of the block is made
    low, high = values.amin(0), values.amax(0)
    finite = torch.isfinite(low) & torch.isfinite(high)
    values[:, ~finite] = 0
    eps = torch.finfo(raw.dtype).eps
    constant = finite & (high - low <= 10 * eps * torch.maximum(low.abs(), high.abs()))
    codes = torch.zeros(filled, dtype=torch.uint8, device=raw.device)
    codes[~finite], codes[constant] = NOT_FINITE, CONSTANT
    # summed about one row of the target: responses far from zero keep their digits
    start, mean = torch.zeros_like(values[0]), torch.zeros_like(values[0], dtype=torch.float64)
    if intercept:
        start = values[0].clone()
        values -= start
        mean = (share.to(raw.dtype) @ values).to(torch.float64)
        values -= mean.to(values.dtype)
    values[:, codes > 0] = 0
    largest = torch.maximum(values.amax(0), -values.amin(0)).to(torch.float64)
    scale = torch.ldexp(torch.ones_like(mean), torch.frexp(largest).exponent)
    values /= scale.to(values.dtype)
    return Block(columns, values, mean + start, scale, codes, width)


def check_rows(X: Any, Y: Any) -> None:
    """Refuse responses of another length or rank than the features ask for."""
    if len(Y.shape) not in (1, 2) or Y.shape[0] != X.shape[0]:
        raise ShapeError(
            f"X has {X.shape[0]} samples and Y has shape {tuple(Y.shape)}: inconsistent numbers of samples"
        )
    if len(Y.shape) == 2 and Y.shape[1] == 0:
        raise ShapeError(f"Y has shape {tuple(Y.shape)}, which is 0 targets; at least one is needed")


def to_result(values: torch.Tensor, as_torch: bool) -> Any:
    """A tensor as it is, or as a numpy array, as what went in asks for."""
    return values if as_torch else cast(Any, values.cpu().numpy())
