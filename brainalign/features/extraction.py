"""Stimuli to activations: every wanted layer in one forward pass, streamed to disk."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from brainalign import __version__
from brainalign._arrays import resolve_device
from brainalign._checks import one_of
from brainalign._memory import available_memory
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, MemoryBudgetError
from brainalign.features.cache import CacheEntry, ShardedColumns, cache_root
from brainalign.features.fingerprint import digest, weights_digest
from brainalign.features.inputs import StimulusReader
from brainalign.features.keys import key_parts, numerics_of
from brainalign.features.models import Network, resolve_model
from brainalign.features.plan import Part, Plan, activations, make_plan, prepared
from brainalign.features.pooling import pool_name, unit_table
from brainalign.types import Responses, Stimuli

_DTYPES = ("float32", "float16", "float64")


def extract_features(
    model: str | nn.Module,
    stimuli: Stimuli,
    *,
    layers: str | Sequence[str] | None = None,
    pool: str | Callable[..., Any] | Mapping[str, Any] = "none",
    image_size: int | None = None,
    transform: Callable[[Any], Any] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    transform_id: str | None = None,
    untrained: bool = False,
    random_state: int = 0,
    device: str | torch.device = "auto",
    batch_size: int = 32,
    dtype: str = "float32",
    cache: str | os.PathLike[str] | None = "auto",
    progress: bool = True,
) -> dict[str, Responses]:
    """Return the activations of a network for stimuli, all layers from one forward pass.

    Parameters
    ----------
    model : str or torch.nn.Module
        A registered name (see `available_models`), ``"timm:NAME"``, ``"torchvision:NAME"``,
        ``"transformers:NAME"``, or a module together with `transform`.
    stimuli : Stimuli with a loader
        The content of each is checked against ``stimuli.table["content_hash"]``.
    layers : str or sequence of str, default the model's own choice, else ``"**"``
        Exact names; globs (``*`` does not cross a dot, ``**`` does); relative depth
        ``"@0.5"`` among everything that runs, in the order of execution. A module that
        runs several times gives ``name#0``, ``name#1``; of an output with several
        tensors the first is taken, ``"name:key"`` takes another.
    pool : str, callable, or {layer pattern: str or callable}
        ``"none"`` (= ``"flatten"``: every unit), ``"mean"``, ``"max"`` (over tokens, or over
        rows and columns), ``"grid:HxW"`` (adaptive average; never upsamples), ``"cls"``,
        ``"last"`` (a token), or ``f(output) -> (batch, ...)``. Layers that no pattern of a
        mapping names keep every unit.
    image_size : int, pixels; named image models only
        None: the model's own preprocessing (for ``efficientnet_lite0`` resize to 256,
        centre crop of 224). A number: the short side is resized to it and the centre
        square of that side is kept, so a square image is seen whole; an image of that
        size is not resampled.
    transform : callable, for a module
        From the content of one stimulus (images: (height, width, 3), uint8 RGB) to a tensor,
        or a mapping of tensors, without batch axis.
    forward : callable ``forward(model, batch)``, for a module with unusual inputs
    transform_id : str
        Stands for the code of transform, forward and module in the cache key where their
        source cannot be read; change it whenever they change.
    untrained : bool
        The same architecture with seeded random weights (`random_state`): a control.
    random_state : int
        Seed of the untrained weights.
    device : ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:N"``
    batch_size : int
        Not part of the cache key: it changes activations by rounding only (about 1e-6 of
        their size).
    dtype : ``"float32"``, ``"float16"``, ``"float64"``
        In which activations are kept; the network runs in its own.
    cache : ``"auto"`` (BRAINALIGN_CACHE, else the user's cache folder), a folder, or None
        None keeps everything in memory.
    progress : bool
        A progress bar on stderr.

    Returns
    -------
    dict {layer: Responses (n_stimuli, n_units)}, in the order of the forward pass
        `samples` is indexed by the stimulus id, with stimulus_id and content_hash; `units`
        holds channel, row, column (or token, channel). From a cache the values are read
        from disk when they are indexed; they are never NaN.

    Raises
    ------
    UnknownNameError
        A model, a layer or a pooling of that name does not exist; the closest are named.
    MissingDependencyError
        The model needs an extra that is not installed; it is named.
    AlignmentError
        The content of a stimulus is not the one whose hash stands in its table.
    InputError
        An activation is not finite or overflows float16 (layer and stimulus are named), a
        layer is random, the network turns training on, or a cache is asked for and the
        code of the transform has no identity.
    ShapeError
        An image is not (height, width, 3), or an output does not have one row per stimulus.
    DeviceError
        ``"cuda"`` without CUDA.
    MemoryBudgetError
        The activations do not fit into memory (`cache=None`) or on the disk.

    Notes
    -----
    With a cache, memory holds one shard (at most 64 stimuli, about 256 MB of activations
    over all layers) however many stimuli there are; the disk holds the activations twice
    while they are merged. An extraction that was interrupted goes on after its last
    finished shard and ends with the same content. The key holds weights, code,
    preprocessing, layers, pooling, dtype, ids and content of the stimuli in their order,
    kind of device and library versions; a change of any is a miss. A second process that
    wants the same entry waits for the first.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> stimuli = Stimuli(pd.DataFrame({"stimulus_id": ["a", "b"]}), loader=lambda stimulus_id: image)
    >>> features = extract_features("pixels", stimuli, cache=None, progress=False)
    >>> features["pixels"].shape
    (2, 3072)
    """
    _check_options(stimuli, batch_size, dtype)
    target = resolve_device(device)
    network = resolve_model(
        model,
        transform=transform,
        forward=forward,
        image_size=image_size,
        untrained=untrained,
        random_state=random_state,
    )
    patterns = _patterns(network.default_layers if layers is None else layers)
    reader = StimulusReader(stimuli, network.transform)
    run = _Run(network, reader, patterns, pool, dtype, target, batch_size, progress, image_size, transform_id)
    return _in_memory(run) if cache is None else _cached(run, cache)


@dataclass(frozen=True)
class _Run:
    """What one call of `extract_features` was asked to do."""

    network: Network
    reader: StimulusReader
    patterns: list[str]
    pool: Any
    dtype: str
    device: torch.device
    batch_size: int
    progress: bool
    image_size: int | None
    transform_id: str | None

    def plan(self) -> Plan:
        return make_plan(self.network, self.reader, self.patterns, self.pool, self.dtype, self.device)

    def bar(self) -> Any:
        return tqdm(
            total=len(self.reader.ids),
            desc=self.network.name,
            unit="stimulus",
            file=sys.stderr,
            disable=not self.progress,
        )

    def block(self, rows: range, plan: Plan, bar: Any) -> np.ndarray:
        return activations(
            self.network,
            self.reader,
            rows,
            plan,
            batch_size=self.batch_size,
            device=self.device,
            advance=bar.update,
        )


def _check_options(stimuli: Any, batch_size: Any, dtype: Any) -> None:
    if not isinstance(stimuli, Stimuli):
        raise InputError(f"stimuli is a {type(stimuli).__name__}; expected brainalign.Stimuli")
    if len(stimuli) == 0:
        raise InputError("there are 0 stimuli; expected at least one")
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r}; expected an integer, 1 or more")
    one_of("dtype", dtype, _DTYPES)


def _patterns(layers: Any) -> list[str]:
    patterns = [layers] if isinstance(layers, str) else list(layers)
    wrong = [p for p in patterns if not isinstance(p, str) or not p]
    if wrong or not patterns:
        raise InputError(f"layers={layers!r}; expected a layer name or pattern, or a list of them")
    return patterns


def _in_memory(run: _Run) -> dict[str, Responses]:
    n_stimuli = len(run.reader.ids)
    with prepared(run.network.module, run.device):
        plan = run.plan()
        needed, free = n_stimuli * plan.row_bytes, available_memory()
        if needed > free:
            raise MemoryBudgetError(
                f"the activations of {n_stimuli} stimuli take {needed / 1e9:.3g} GB, {free / 1e9:.3g} GB "
                "of memory are free; stream them to disk with cache='auto', or use pool= or fewer layers"
            )
        values = [np.empty((n_stimuli, p.columns.stop - p.columns.start), plan.dtype) for p in plan.parts]
        with run.bar() as bar:
            for rows in plan.shards(n_stimuli):
                block = run.block(rows, plan, bar)
                for part, array in zip(plan.parts, values, strict=True):
                    array[rows.start : rows.stop] = block[:, part.columns]
    return _responses(run, plan, values)


def _cached(run: _Run, cache: str | os.PathLike[str]) -> dict[str, Responses]:
    parts = key_parts(
        run.network,
        ids=run.reader.ids,
        hashes=run.reader.hashes(),
        patterns=run.patterns,
        pool=run.pool,
        dtype=run.dtype,
        image_size=run.image_size,
        numerics=numerics_of(run.device),
        transform_id=run.transform_id,
    )
    entry = CacheEntry(cache_root(cache), digest(parts))
    found = _read(entry, repair=False)
    if found is not None:
        entry.tidy()
        return found
    with entry.locked():
        found = _read(entry, repair=True)  # another process may have finished it meanwhile
        if found is None:
            entry.describe(parts)
            _fill(run, entry)
            found = entry.read()
    assert found is not None
    return found


def _read(entry: CacheEntry, *, repair: bool) -> dict[str, Responses] | None:
    """Return a finished entry; a damaged one counts as absent and is emptied, loudly, by `repair`."""
    try:
        return entry.read()
    except (CorruptFileError, DataNotFoundError) as error:
        if repair:
            warnings.warn(f"a cache entry is damaged and is extracted again: {error}", stacklevel=4)
            entry.discard()
        return None


def _fill(run: _Run, entry: CacheEntry) -> None:
    n_stimuli = len(run.reader.ids)
    with prepared(run.network.module, run.device):
        plan = run.plan()
        entry.check_space(n_stimuli * plan.row_bytes)
        with run.bar() as bar:
            shards = [_shard(run, entry, plan, i, rows, bar) for i, rows in enumerate(plan.shards(n_stimuli))]
    columns = [ShardedColumns(shards, part.columns) for part in plan.parts]
    entry.finish(_responses(run, plan, columns))


def _shard(run: _Run, entry: CacheEntry, plan: Plan, number: int, rows: range, bar: Any) -> np.ndarray:
    shape = (len(rows), plan.n_units)
    block = entry.shard(number, shape, plan.dtype)
    if block is not None:
        bar.update(len(rows))
        return block
    entry.write_shard(number, run.block(rows, plan, bar))
    block = entry.shard(number, shape, plan.dtype)
    if block is None:
        raise CorruptFileError(
            f"shard {number} in {entry.folder} does not hold what was just written; the disk is faulty: use "
            "another cache="
        )
    return block


def _responses(run: _Run, plan: Plan, values: Sequence[Any]) -> dict[str, Responses]:
    ids = run.reader.ids
    samples = pd.DataFrame(
        {"stimulus_id": ids, "content_hash": run.reader.hashes()}, index=pd.Index(ids, dtype=object)
    )
    network = run.network
    shared = {
        "design": "trials",
        "model": network.name,
        "role": network.role,
        "dtype": run.dtype,
        "weights_digest": weights_digest(network.module),
        "preprocessing": network.preprocessing or _callables(run),
        "image_size": run.image_size,
        "batch_size": int(run.batch_size),
        "numerics": numerics_of(run.device),
        "versions": {"brainalign": __version__, "torch": torch.__version__, "numpy": np.__version__},
        **network.info,
    }
    out = {}
    for part, array in zip(plan.parts, values, strict=True):
        info = {**shared, **_layer_info(part)}
        out[part.layer.name] = Responses(array, samples, unit_table(part.shape), info=info)
    return out


def _layer_info(part: Part) -> dict[str, Any]:
    return {
        "layer": part.layer.name,
        "module": part.layer.kind,
        "pool": pool_name(part.spec),
        "layer_shape": list(part.layer.shape),
        "pooled_shape": list(part.shape),
    }


def _callables(run: _Run) -> dict[str, Any]:
    network = run.network
    return {
        "kind": "callable",
        "transform": pool_name(network.transform),
        "forward": None if network.forward is None else pool_name(network.forward),
        "id": run.transform_id,
    }
