"""Attention maps of two networks: brought to one length, their heads compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from brainalign.comparison._unit_curves import FloatArray
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

_SUM_TOLERANCE = 1e-2

Maps = list[FloatArray]


def check_maps(name: str, maps: Any) -> Maps:
    """One (n_heads, T, T) array per utterance, rows that sum to one; T may differ."""
    out: Maps = []
    if not hasattr(maps, "__iter__") or not getattr(maps, "ndim", 1):
        raise ShapeError(f"{name} is {type(maps).__name__}; expected (n_utterances, n_heads, T, T)")
    for u, value in enumerate(maps):
        found = plain_array(f"{name}: utterance {u}", value)
        if found.ndim != 3 or found.shape[1] != found.shape[2] or 0 in found.shape:
            raise ShapeError(
                f"{name}: utterance {u} has shape {found.shape}; expected (n_heads, T, T), at least one head "
                "and one frame"
            )
        if found.dtype.kind not in "fiub":
            raise InputError(f"{name}: utterance {u} has dtype {found.dtype}; expected real numbers")
        array = found.astype(np.float64)
        _check_rows(name, u, array)
        out.append(array / array.sum(axis=2, keepdims=True))
        if len(array) != len(out[0]):
            raise ShapeError(
                f"{name}: utterance {u} has {len(array)} heads, utterance 0 has {len(out[0])}; a layer has "
                "the same heads for every utterance"
            )
    if not out:
        raise ShapeError(f"{name} holds no utterance; expected (n_utterances, n_heads, T, T)")
    return out


def _check_rows(name: str, u: int, array: FloatArray) -> None:
    """Refuse rows that are no distribution over the attended frames."""
    wrong = ~(np.isfinite(array).all(axis=2) & (array >= 0).all(axis=2))
    wrong |= ~(np.abs(np.where(wrong, 0.0, array.sum(axis=2)) - 1.0) <= _SUM_TOLERANCE)
    if wrong.any():
        head, row = (int(i) for i in np.argwhere(wrong)[0])
        raise InputError(
            f"{name}: utterance {u}, head {head}, row {row} is no distribution (values from 0 on that sum to "
            f"1; this row sums to {array[head, row].sum():.6g}); give the maps after the softmax, unpadded"
        )


def overlap(length: int, short: int) -> FloatArray:
    """Share of each of `length` frames that lies in each of `short` frames, (short, length)."""
    edges = np.linspace(0.0, 1.0, short + 1)
    frames = np.linspace(0.0, 1.0, length + 1)
    low = np.maximum(edges[:-1, None], frames[None, :-1])
    high = np.minimum(edges[1:, None], frames[None, 1:])
    out: FloatArray = np.maximum(high - low, 0.0) * length
    return out


def shortened(maps: FloatArray, short: int) -> FloatArray:
    """Maps (n_heads, T, T) at `short` frames: attended frames are summed, attending ones averaged."""
    if maps.shape[1] == short:
        return maps
    share = overlap(maps.shape[1], short)
    rows = share / share.sum(axis=1, keepdims=True)
    out: FloatArray = rows @ maps @ share.T
    return out


def head_similarities(a: Maps, b: Maps, measure: str) -> FloatArray:
    """Similarity of each head of a with each of b (n_heads_a, n_heads_b), mean over utterances."""
    total = np.zeros((len(a[0]), len(b[0])))
    for first, second in zip(a, b, strict=True):
        short = min(first.shape[1], second.shape[1])
        p, q = shortened(first, short), shortened(second, short)
        total += _cosine(p, q) if measure == "cosine" else _jensen_shannon(p, q)
    return total / len(a)


def _cosine(p: FloatArray, q: FloatArray) -> FloatArray:
    """Cosine of the maps as vectors."""
    a, b = p.reshape(len(p), -1), q.reshape(len(q), -1)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    out: FloatArray = np.clip(a @ b.T, 0.0, 1.0)
    return out


def _jensen_shannon(p: FloatArray, q: FloatArray) -> FloatArray:
    """One minus the Jensen-Shannon divergence in bits, mean over attending frames."""
    own = [_entropy(p).mean(axis=1), _entropy(q).mean(axis=1)]
    both = np.stack([_entropy((head + q) / 2).mean(axis=1) for head in p])
    out: FloatArray = np.clip(1.0 - (both - (own[0][:, None] + own[1]) / 2), 0.0, 1.0)
    return out


def _entropy(p: FloatArray) -> FloatArray:
    """Entropy in bits over the last axis."""
    logs = np.log2(p, out=np.zeros_like(p), where=p > 0)
    return np.asarray(-(p * logs).sum(axis=-1))


def matched_heads(similarities: FloatArray) -> float:
    """Mean similarity of heads matched one to one."""
    rows, columns = linear_sum_assignment(similarities, maximize=True)
    return float(similarities[rows, columns].mean())


def check_same_utterances(a: Sequence[Any], b: Sequence[Any], names: tuple[str, str]) -> None:
    """Refuse two layers with different numbers of utterances."""
    if len(a) != len(b):
        raise ShapeError(
            f"{names[0]} has {len(a)} utterances and {names[1]} has {len(b)}; both networks must have heard "
            "the same ones, in the same order"
        )
