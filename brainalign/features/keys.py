"""What a cache key is made of: everything that changes an activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from brainalign import __version__
from brainalign.errors import InputError
from brainalign.features.fingerprint import (
    NoIdentityError,
    code_digest,
    describe,
    describe_code,
    digest,
    weights_digest,
)
from brainalign.features.models import Network


def key_parts(
    network: Network,
    *,
    ids: list[str],
    hashes: list[str],
    patterns: list[str],
    pool: Any,
    dtype: str,
    image_size: int | None,
    numerics: dict[str, Any],
    transform_id: str | None,
) -> dict[str, Any]:
    """Return the parts of the key as plain values; their digest is the key.

    Raises
    ------
    InputError
        The identity of a transform, forward, pooling or module cannot be established.
    """
    return {
        "code": code_digest(),
        "versions": {"brainalign": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "numerics": numerics,
        "model": {"name": network.name, "weights": weights_digest(network.module), **network.info},
        "module": _module(network, transform_id),
        "preprocessing": _preprocessing(network, transform_id),
        "layers": patterns,
        "pool": _pool(pool),
        "dtype": dtype,
        "image_size": image_size,
        "n_stimuli": len(ids),
        "stimuli": digest([[i, h] for i, h in zip(ids, hashes, strict=True)]),
    }


def numerics_of(device: torch.device) -> dict[str, Any]:
    """Return what decides the last digits: the kind of device, and TF32 (which stays as it is)."""
    if device.type != "cuda":
        return {"device": device.type, "tf32": False}
    tf32 = bool(torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
    return {"device": torch.cuda.get_device_name(device), "tf32": tf32}


def _module(network: Network, transform_id: str | None) -> str:
    if network.preprocessing is not None:
        return "named"  # the library's version, the weights and this package's code stand for it
    try:
        return digest(describe_code(network.module))
    except NoIdentityError as error:
        if transform_id is not None:
            return f"id {transform_id}"
        raise _refusal("the module", error) from error


def _preprocessing(network: Network, transform_id: str | None) -> Any:
    if network.preprocessing is not None:
        return network.preprocessing
    if transform_id is not None:
        return {"id": transform_id}
    return {
        "transform": _identity("transform", network.transform),
        "forward": _identity("forward", network.forward),
    }


def _pool(pool: Any) -> Any:
    if isinstance(pool, Mapping):
        return [[str(pattern), _pool(spec)] for pattern, spec in pool.items()]
    return pool if isinstance(pool, str) else _identity("pool", pool)


def _identity(what: str, value: Any) -> str:
    try:
        return digest(describe(value))
    except NoIdentityError as error:
        raise _refusal(what, error) from error


def _refusal(what: str, error: NoIdentityError) -> InputError:
    remedy = (
        "use a named pooling"
        if what == "pool"
        else ("give transform_id='a text that you change whenever transform, forward or module change'")
    )
    return InputError(
        f"{what} cannot be identified, because {error} cannot be read; a cache entry could be stale without "
        f"notice. Define it in a file, {remedy}, or use cache=None"
    )
