"""Where extracted activations are kept: one folder per cache key, filled shard by shard.

``<root>/<key>/`` holds `key.json` (what the key is made of), while the extraction runs
``shard-00003-<sha256>.npy`` (rows of all layers side by side), and at the end one HDF5
file per layer and `complete.json`. Every file appears whole or not at all; a shard whose
bytes no longer fit the digest in its name is computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pooch

from brainalign.errors import CorruptFileError, InputError, MemoryBudgetError
from brainalign.storage import atomic_write, folder_lock, load, save, write_text_atomic
from brainalign.types import Responses

LOG = logging.getLogger(__name__)
_COMPLETE = "complete.json"


def cache_root(cache: str | os.PathLike[str]) -> Path:
    """Return the folder of ``"auto"`` (BRAINALIGN_CACHE, else the user's cache) or of a path; make it."""
    if cache == "auto":
        base = os.environ.get("BRAINALIGN_CACHE") or pooch.os_cache("brainalign")
        root = Path(base) / "features"
    else:
        root = Path(cache).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the cache folder {root} cannot be made ({error.strerror}); give cache= another path, set "
            "BRAINALIGN_CACHE, or use cache=None"
        ) from error
    return root


class CacheEntry:
    """The folder of one cache key."""

    def __init__(self, root: Path, key: str) -> None:
        self.folder = root / key

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the entry; wait, with a message, while another process fills it."""
        self.folder.mkdir(exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(folder_lock(self.folder))
            except InputError as busy:
                LOG.warning("waiting: %s", busy)
                stack.enter_context(folder_lock(self.folder, wait_s=math.inf))
            yield

    def describe(self, parts: dict[str, Any]) -> None:
        """Write down what the key is made of, so that a miss can be explained."""
        write_text_atomic(self.folder / "key.json", json.dumps(parts, indent=1, sort_keys=True))

    def read(self) -> dict[str, Responses] | None:
        """Return the finished layers in their order, lazily readable; None while there are none."""
        try:
            text = (self.folder / _COMPLETE).read_text()
        except FileNotFoundError:
            return None
        try:
            files = dict(json.loads(text)["layers"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(f"{self.folder / _COMPLETE} cannot be read: {error}") from error
        return {name: load(self.folder / file) for name, file in files.items()}

    def discard(self) -> None:
        """Remove everything but the lock: a damaged entry is computed again."""
        (self.folder / _COMPLETE).unlink(missing_ok=True)
        self._remove("layer-*.h5", "shard-*.npy")

    def shard(self, number: int, shape: tuple[int, int], dtype: np.dtype[Any]) -> np.ndarray | None:
        """Return a finished shard (mapped, read-only), or None where it has to be computed."""
        for path in sorted(self.folder.glob(f"shard-{number:05d}-*.npy")):
            match = re.fullmatch(r"shard-\d+-([0-9a-f]{64})\.npy", path.name)
            if match and _sha256(path) == match[1]:
                block: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
                if block.shape == shape and block.dtype == dtype:
                    return block
            path.unlink()
        return None

    def write_shard(self, number: int, block: np.ndarray) -> None:
        """Write a shard, whole or not at all; its name holds the sha256 of its bytes."""
        waiting = self.folder / f"unnamed-{number:05d}"
        with atomic_write(waiting) as temporary, open(temporary, "wb") as file:
            np.save(file, block, allow_pickle=False)
        os.replace(waiting, self.folder / f"shard-{number:05d}-{_sha256(waiting)}.npy")

    def finish(self, layers: dict[str, Responses]) -> None:
        """Write one file per layer, then the mark that all are there, then drop the shards."""
        names = []
        for number, (name, responses) in enumerate(layers.items()):
            file = f"layer-{number:03d}-{re.sub(r'[^A-Za-z0-9_.]+', '-', name)[:80]}.h5"
            save(responses, self.folder / file)
            names.append([name, file])
        write_text_atomic(self.folder / _COMPLETE, json.dumps({"layers": names}))
        self._remove("shard-*.npy", "unnamed-*", ".*.part")

    def _remove(self, *patterns: str) -> None:
        for path in [p for pattern in patterns for p in self.folder.glob(pattern)]:
            path.unlink()

    def check_space(self, n_bytes: int) -> None:
        """Refuse before the first forward pass what the disk cannot hold (shards and merged files)."""
        free = shutil.disk_usage(self.folder).free
        if 2 * n_bytes > free:
            raise MemoryBudgetError(
                f"the activations take {n_bytes / 1e9:.3g} GB, twice that while they are merged; "
                f"{free / 1e9:.3g} GB are free in {self.folder.parent}; use pool=, fewer layers, "
                "dtype='float16' or another cache="
            )


class ShardedColumns:
    """Some columns of the shards as one array (n_stimuli, n_units) that is read in slices."""

    def __init__(self, shards: list[np.ndarray], columns: slice) -> None:
        self._shards, self._columns = shards, columns
        self._starts = np.cumsum([0, *(len(s) for s in shards)])
        self.shape = (int(self._starts[-1]), columns.stop - columns.start)
        self.dtype = shards[0].dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        start, stop, _ = rows.indices(self.shape[0])
        parts = []
        for first, shard in zip(self._starts, self._shards, strict=False):
            low, high = max(start - first, 0), min(stop - first, len(shard))
            if low < high:
                parts.append(np.asarray(shard[low:high, self._columns][:, columns]))
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), self.dtype)[:, columns]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
