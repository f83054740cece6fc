"""Many small solves: one thread each, side by side, instead of many threads on one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def side_by_side(
    wanted: bool, *, at_most: int | None = None
) -> Iterator[Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]]:
    """Yield a `map` that keeps order; with `wanted` it runs as many calls at once as there are threads.

    A matrix product of a few hundred rows gains little from a second thread, and on a
    machine with other work its threads wait for one another at every step. Inside the block
    numpy and torch use one thread per call, so results do not depend on how many run at
    once. Where no more than `at_most` calls may run, for their memory, they share the
    threads. What was set before is restored.
    """
    threads = torch.get_num_threads()
    workers = threads if at_most is None else min(threads, at_most)
    if not wanted or workers < 2:
        yield map
        return
    each = threads // workers
    with _libraries().limit(limits=each), ThreadPoolExecutor(workers) as pool:
        torch.set_num_threads(each)
        try:
            yield pool.map
        finally:
            torch.set_num_threads(threads)


@cache
def _libraries() -> ThreadpoolController:
    """The linear algebra that is loaded; to look for it takes milliseconds, so that is done once."""
    return ThreadpoolController()
