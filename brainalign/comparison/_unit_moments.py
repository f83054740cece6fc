"""Running means and centred products of two systems' units, exact over any blocks of stimuli."""

from __future__ import annotations

import numpy as np

from brainalign.comparison._unit_curves import FloatArray

_ROUNDING = 8 * float(np.finfo(np.float64).eps)


class ScaledMoments:
    """Means and sums of centred products of x (n, p) and y (n, q) over blocks of stimuli.

    Each unit is halved (so that differences cannot overflow), moved by its mean in the first
    block and divided by a power of two that follows its largest value: neither offsets nor
    scales cost digits. Blocks are merged by the pairwise rule of Chan, Golub & LeVeque.
    """

    def __init__(self, p: int, q: int) -> None:
        self.n = 0
        self.origin = [np.zeros(p), np.zeros(q)]
        self.largest = [np.zeros(p), np.zeros(q)]
        self.scale = [np.zeros(p), np.zeros(q)]
        self.mean = [np.zeros(p), np.zeros(q)]
        self.squares = np.zeros(p)
        self.cross = np.zeros((p, q))
        self.gram = np.zeros((q, q))

    def add(self, x: FloatArray, y: FloatArray) -> None:
        """Merge a block of stimuli."""
        blocks = [self._moved(side, values * 0.5) for side, values in enumerate((x, y))]
        self._grow(blocks)
        blocks = [block / np.where(s > 0, s, 1.0) for block, s in zip(blocks, self.scale, strict=True)]
        means = [block.mean(axis=0) for block in blocks]
        a, b = (block - mean for block, mean in zip(blocks, means, strict=True))
        total = self.n + len(x)
        shift = [mean - old for mean, old in zip(means, self.mean, strict=True)]
        weight = self.n * len(x) / total
        self.squares += np.einsum("ij,ij->j", a, a) + weight * shift[0] ** 2
        self.cross += a.T @ b + np.outer(weight * shift[0], shift[1])
        self.gram += b.T @ b + np.outer(weight * shift[1], shift[1])
        for mean, change in zip(self.mean, shift, strict=True):
            mean += change * (len(x) / total)
        self.n = total

    def varies(self) -> list[np.ndarray]:
        """Which units of x and of y differ by more than the rounding of their largest value."""
        out = []
        for side, squares in enumerate((self.squares, np.diag(self.gram))):
            scale = np.where(self.scale[side] > 0, self.scale[side], 1.0)
            with np.errstate(over="ignore"):
                limit = _ROUNDING * (self.largest[side] / scale)
            out.append((np.sqrt(squares / self.n) > limit) & (squares > 0))
        return out

    def _moved(self, side: int, halves: FloatArray) -> FloatArray:
        """The block without the mean of the first block; notes the largest value seen."""
        size = np.abs(halves).max(axis=0)
        self.largest[side] = np.maximum(self.largest[side], size)
        if self.n == 0:
            safe = np.where(size > 0, size, 1.0)
            self.origin[side] = (halves / safe).mean(axis=0) * safe
        moved: FloatArray = halves - self.origin[side]
        return moved

    def _grow(self, blocks: list[FloatArray]) -> None:
        """Let the scale of each unit follow its largest value so far."""
        factors = []
        for side, block in enumerate(blocks):
            fraction, exponent = np.frexp(np.abs(block).max(axis=0))
            # powers beyond these over- or underflow; what they leave of a value squares safely
            power = np.ldexp(1.0, np.clip(exponent, -1000, 1000))
            new = np.maximum(self.scale[side], np.where(fraction > 0, power, 0.0))
            factors.append(np.where(new > 0, self.scale[side] / np.where(new > 0, new, 1.0), 1.0))
            self.scale[side] = new
        fx, fy = factors
        if (fx != 1.0).any() or (fy != 1.0).any():
            self.mean = [self.mean[0] * fx, self.mean[1] * fy]
            self.squares *= fx**2
            self.cross *= fx[:, None] * fy
            self.gram *= fy[:, None] * fy
