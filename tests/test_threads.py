"""Calls that run side by side: in order, as many as asked for, with their share of the threads."""

from __future__ import annotations

import threading

import pytest
import torch

from brainalign._threads import side_by_side


@pytest.fixture
def six_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("at_most", "workers"), [(None, 6), (4, 4), (2, 2), (8, 6), (1, 1)])
def test_workers_share_the_threads(six_threads, at_most, workers):
    """No more calls than `at_most` run at once; each has its share of the threads, and order is kept."""
    together = threading.Barrier(workers)

    def call(number):
        together.wait(10)  # breaks unless so many run at once
        return number, threading.current_thread().name, torch.get_num_threads()

    with side_by_side(True, at_most=at_most) as run:
        found = list(run(call, range(3 * workers)))
    assert [number for number, _, _ in found] == list(range(3 * workers))
    assert len({name for _, name, _ in found}) == workers
    assert {threads for _, _, threads in found} == {6 // workers}
    assert torch.get_num_threads() == 6


def test_not_wanted_is_a_plain_map(six_threads):
    with side_by_side(False) as run:
        assert run is map
    assert torch.get_num_threads() == 6


def test_what_was_set_is_restored_after_an_error(six_threads):
    def fail(_):
        raise ValueError("in a call")

    with pytest.raises(ValueError, match="in a call"), side_by_side(True) as run:
        list(run(fail, range(3)))
    assert torch.get_num_threads() == 6
