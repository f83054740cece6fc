"""Where extracted activations are kept: one folder per cache key, filled shard by shard.

``<root>/<key>/`` holds `key.json` (what the key is made of), while the extraction runs
``shard-00003-<sha256>.npy`` (rows of all layers side by side), and at the end one HDF5
file per layer and, last of all, `complete.json` with the digest of each. Every file appears
whole or not at all, and its place on the disk is flushed before the next one is begun; a
shard whose bytes no longer fit the digest in its name is computed again.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pooch

from brainalign.errors import (
    BrainAlignError,
    CorruptFileError,
    DataNotFoundError,
    InputError,
    MemoryBudgetError,
    WriteError,
)
from brainalign.features.fingerprint import digest
from brainalign.storage import content_digest, folder_lock, load, save, verify
from brainalign.storage.atomic import (
    is_passing,
    make_folder,
    move,
    refusals,
    remove_leftovers,
    sync,
    temporary_name,
)
from brainalign.storage.record import read_record, write_record
from brainalign.types import Responses

LOG = logging.getLogger(__name__)
COMPLETE = "complete.json"
KEY = "key.json"
_SHARD = re.compile(r"shard-\d+-([0-9a-f]{64})\.npy")


def cache_root(cache: str | os.PathLike[str]) -> Path:
    """Return the folder of ``"auto"`` (BRAINALIGN_CACHE, else the user's cache) or of a path; make it."""
    if cache == "auto":
        base = os.environ.get("BRAINALIGN_CACHE") or pooch.os_cache("brainalign")
        root = Path(base) / "features"
    else:
        root = Path(cache).expanduser()
    try:
        make_folder(root)
    except (InputError, OSError) as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
        raise InputError(
            f"the cache folder {root} cannot be made ({reason}); give cache= another path, set "
            "BRAINALIGN_CACHE, or use cache=None"
        ) from error
    return root


class CacheEntry:
    """The folder of one cache key."""

    def __init__(self, root: Path, key: str) -> None:
        self.folder = root / key

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the entry; wait, with a message, while another process fills it.

        What a process that ended by force left half-written is removed.
        """
        make_folder(self.folder)
        with ExitStack() as stack:
            try:
                stack.enter_context(folder_lock(self.folder))
            except InputError as busy:
                LOG.warning("waiting: %s", busy)
                stack.enter_context(folder_lock(self.folder, wait_s=math.inf))
            remove_leftovers(self.folder)
            yield

    def describe(self, parts: dict[str, Any]) -> None:
        """Write down what the key is made of, so that a miss can be explained."""
        write_record(self.folder / KEY, parts)

    def read(self) -> dict[str, Responses] | None:
        """Return the finished layers in their order, lazily readable; None while there are none."""
        try:
            record = read_record(self.folder / COMPLETE)
        except FileNotFoundError:
            return None
        return {name: self._layer(file, content) for name, file, content in finished_layers(record)}

    def _layer(self, file: str, content: str) -> Responses:
        path = self.folder / file
        if content_digest(path) != content:
            raise CorruptFileError(f"{path} is whole, but not the file that {COMPLETE} names")
        found: Responses = load(path)
        return found

    def tidy(self) -> None:
        """Remove what a run left behind (shards, its lock) that was ended after it had finished the entry."""
        if not any(is_passing(path) or _SHARD.fullmatch(path.name) for path in self.folder.iterdir()):
            return
        with suppress(InputError, WriteError), folder_lock(self.folder):  # in use, or read-only: next time
            remove_leftovers(self.folder)
            self._remove("shard-*.npy")

    def discard(self) -> None:
        """Remove everything but the lock: a damaged entry is computed again."""
        self._remove(COMPLETE, "layer-*.h5", "shard-*.npy")

    def shard(self, number: int, shape: tuple[int, int], dtype: np.dtype[Any]) -> np.ndarray | None:
        """Return a finished shard (mapped, read-only), or None where it has to be computed."""
        for path in sorted(self.folder.glob(f"shard-{number:05d}-*.npy")):
            match = _SHARD.fullmatch(path.name)
            if match and _sha256(path) == match[1]:
                block: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
                if block.shape == shape and block.dtype == dtype:
                    return block
            path.unlink()
        return None

    def write_shard(self, number: int, block: np.ndarray) -> None:
        """Write a shard, whole or not at all; its name holds the sha256 of its bytes."""
        waiting = temporary_name(self.folder)
        try:
            with refusals(self.folder / f"shard-{number:05d}", needed=block.nbytes):
                with open(waiting, "wb") as file:
                    # what numpy.save writes; its own write in C says of a full disk only how much arrived
                    header = np.lib.format.header_data_from_array_1_0(block)
                    np.lib.format.write_array_header_1_0(file, header)
                    file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
                sync(waiting)
            move(waiting, self.folder / f"shard-{number:05d}-{_sha256(waiting)}.npy")
        except BaseException:
            with suppress(OSError):
                waiting.unlink()
            raise

    def finish(self, layers: dict[str, Responses]) -> None:
        """Write one file per layer, then the mark that all are there, then drop the shards."""
        names = []
        for number, (name, responses) in enumerate(layers.items()):
            file = f"layer-{number:03d}-{re.sub(r'[^A-Za-z0-9_.]+', '-', name)[:80]}.h5"
            save(responses, self.folder / file)
            names.append([name, file, content_digest(self.folder / file)])
        write_record(self.folder / COMPLETE, {"layers": names})
        self._remove("shard-*.npy")

    def _remove(self, *patterns: str) -> None:
        with refusals(self.folder):
            for path in [p for pattern in patterns for p in self.folder.glob(pattern)]:
                path.unlink()

    def damages(self) -> list[tuple[Path, str]]:
        """Read every byte of the entry; return each damaged, absent or foreign file and what is wrong.

        The shards of an extraction that is not finished are checked as well.
        """
        found = [*self._damaged_key()]
        expected = {KEY}
        complete = self.folder / COMPLETE
        try:
            layers = finished_layers(read_record(complete))
            expected |= {COMPLETE, *(file for _, file, _ in layers)}
            found += [d for _, file, content in layers for d in self._damaged_layer(file, content)]
        except FileNotFoundError:
            pass
        except CorruptFileError as error:
            return [*found, (complete, str(error))]  # which layers belong here is not known
        for path in sorted(self.folder.iterdir()):
            match = _SHARD.fullmatch(path.name)
            if match and _sha256(path) != match[1]:
                found.append((path, "the sha256 in its name does not fit its content"))
            elif not match and path.name not in expected and not is_passing(path):
                found.append((path, "is not a file of this entry"))
        return found

    def _damaged_key(self) -> Iterator[tuple[Path, str]]:
        path = self.folder / KEY
        try:
            if digest(read_record(path)) != self.folder.name:
                yield path, "describes another entry than the one whose folder it lies in"
        except FileNotFoundError:
            yield path, "is gone"
        except CorruptFileError as error:
            yield path, str(error)

    def _damaged_layer(self, file: str, content: str) -> Iterator[tuple[Path, str]]:
        path = self.folder / file
        try:
            if verify(path)["sha256"] != content:
                yield path, f"is whole, but not the file that {COMPLETE} names"
        except DataNotFoundError:
            yield path, "is gone"
        except BrainAlignError as error:
            yield path, str(error)

    def check_space(self, n_bytes: int) -> None:
        """Refuse before the first forward pass what the disk cannot hold (shards and merged files)."""
        there = sum(path.stat().st_size for path in self.folder.iterdir())  # of an interrupted extraction
        free = shutil.disk_usage(self.folder).free
        if 2 * n_bytes - there > free:
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


def finished_layers(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, file and content digest of each layer in `complete.json`."""
    try:
        return [(str(name), str(file), str(content)) for name, file, content in record["layers"]]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{COMPLETE} does not list layers ({error!r})") from error
