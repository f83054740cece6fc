"""What one comparison of the RSA benchmark is: the arrays, our side, the peers, what must agree."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a side computed, and how its seconds stand for the whole.

    values : numbers to compare; `index`: which entries of the last axis of our values they are
    fixed : seconds of the run that do not grow; scale : how often the rest goes into the whole
    """

    values: np.ndarray
    index: np.ndarray | None = None
    fixed: float = 0.0
    scale: float = 1.0
    told: Any = None

    def whole(self, seconds: float) -> float:
        return self.fixed + (seconds - self.fixed) * self.scale


@dataclass(frozen=True)
class Side:
    """One package: what is prepared outside of the clock (its own containers), and what is timed."""

    package: str
    what: str
    run: Callable[[Any], Answer]
    prepare: Callable[[Arrays], Any] = dict
    share: str = ""

    @property
    def installed(self) -> bool:
        return find_spec(self.package.replace("-", "_")) is not None


def largest_difference(arrays: Arrays, ours: Answer, peer: Answer) -> float:
    """Largest absolute difference over the entries that the peer computed; NaN differs from a number."""
    mine = ours.values if peer.index is None else ours.values[..., peer.index]
    if not np.array_equal(np.isnan(mine), np.isnan(peer.values)):
        return np.inf
    return float(np.nanmax(np.abs(mine - peer.values)))


@dataclass(frozen=True)
class Case:
    """One row of a table for each peer.

    tolerance : the difference that is allowed; floor : the ratio that is promised, or None
    operations : multiplications and additions of the products of our side, 0 where it has none
    """

    name: str
    table: str
    size: str
    make: Callable[[], Arrays]
    ours: Side
    peers: tuple[Side, ...]
    tolerance: float
    floor: float | None = None
    operations: float = 0.0
    difference: Callable[[Arrays, Answer, Answer], float] = field(default=largest_difference)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars and warnings of a peer off the screen."""
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def squared_rdms(patterns: np.ndarray) -> np.ndarray:
    """RDMs (k, n, n) of squared Euclidean distances of patterns (k, n, p), over p."""
    grams = patterns @ patterns.transpose(0, 2, 1) / patterns.shape[2]
    own = np.einsum("kii->ki", grams)
    out = own[:, :, None] + own[:, None, :] - 2 * grams
    out = (out + out.transpose(0, 2, 1)) / 2
    out[:, np.arange(out.shape[1]), np.arange(out.shape[1])] = 0.0
    return out
