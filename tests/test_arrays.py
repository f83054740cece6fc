"""Devices and free memory."""

from __future__ import annotations

import pytest
import torch

from brainalign import _memory
from brainalign._arrays import resolve_device
from brainalign._memory import available_memory
from brainalign.errors import DeviceError


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    """'auto' takes CUDA when present and the CPU otherwise; devices pass through."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device() == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    """A missing device is an error that names it; nothing falls back to the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device, match in (
        ("cuda", "device='cuda' was asked for and torch .* finds no CUDA device"),
        (torch.device("cuda:0"), "device='cuda:0' was asked for"),
        ("gpu", "device='gpu' names no device; expected 'auto'"),
        (3.5, "device=3.5 names no device"),
        ("mps", "device='mps' is not available here"),
        ("meta", "device='meta' is not supported"),
    ):
        with pytest.raises(DeviceError, match=match):
            resolve_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="there are 2 CUDA devices, numbered from 0"):
        resolve_device("cuda:2")


def test_free_memory_is_the_smaller_of_machine_and_container(tmp_path, monkeypatch):
    """The limit of the control group counts, less its use, plus the cache that can be dropped."""
    machine = available_memory()
    assert 2**20 < machine < 2**50
    for name, text in (("max", "1000000"), ("current", "600000"), ("stat", "anon 5\ninactive_file 100000\n")):
        (tmp_path / name).write_text(text)
    files = tuple(str(tmp_path / name) for name in ("max", "current", "stat"))
    monkeypatch.setattr(_memory, "_CGROUP_FILES", (("/nowhere", "/nowhere", "/nowhere"), files))
    assert available_memory() == 500000
    (tmp_path / "stat").unlink()
    assert available_memory() == 400000
    (tmp_path / "max").write_text("max")
    assert available_memory() > 2**20
