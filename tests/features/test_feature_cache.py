"""The cache: what makes a key, interruption and resumption, damage, locks."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from feature_cases import TinyNet, make_images, make_stimuli, to_tensor
from torch import nn

from brainalign.errors import CorruptFileError, InputError, MemoryBudgetError
from brainalign.features import cache as cache_module
from brainalign.features import extract_features, extraction, fingerprint, keys
from brainalign.storage.atomic import LOCK_NAME

IMAGES = make_images(5)


class CountingNet(TinyNet):
    """Counts the stimuli that it has seen, outside of what identifies it."""

    seen: list[int] = []  # noqa: RUF012 - shared on purpose

    def forward(self, x):
        CountingNet.seen.append(len(x))
        return super().forward(x)


def extract(cache, model=None, stimuli=None, **options):
    options = {"transform": to_tensor, "progress": False, "device": "cpu", "layers": "down"} | options
    stimuli = make_stimuli(IMAGES) if stimuli is None else stimuli
    return extract_features(TinyNet() if model is None else model, stimuli, cache=cache, **options)


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def doubled(image):
    return 2 * to_tensor(image)


def scaled(factor):
    return lambda image: factor * to_tensor(image)


def halves(output):
    return output / 2


def thirds(output):
    return output / 3


def plain_forward(model, batch):
    return model(batch)


def other_forward(model, batch):
    return model(1.0 * batch)


def changed_weight():
    net = TinyNet()
    net.twice.bias.data[0] += 1e-6  # behind the wanted layer, and tiny
    return net


def with_buffer():
    net = TinyNet()
    net.register_buffer("offset", torch.ones(1), persistent=False)
    return net


def with_hook():
    net = TinyNet()
    net.down.register_forward_hook(lambda module, inputs, output: output + 1)
    return net


class OtherCode(TinyNet):
    def forward(self, x):
        return super().forward(1 - x)


CHANGES = {
    "weights": lambda: {"model": changed_weight()},
    "buffers": lambda: {"model": with_buffer()},
    "plain attribute": lambda: {"model": TinyNet(scale=2.0)},
    "code of the module": lambda: {"model": OtherCode()},
    "hook of the module": lambda: {"model": with_hook()},
    "transform": lambda: {"transform": doubled},
    "closure of the transform": lambda: {"transform": scaled(2.0)},
    "partial": lambda: {"transform": functools.partial(doubled)},
    "transform_id": lambda: {"transform_id": "mine"},
    "forward": lambda: {"forward": plain_forward},
    "other forward": lambda: {"forward": other_forward},
    "layers": lambda: {"layers": ["down", "stem"]},
    "pool": lambda: {"pool": "mean"},
    "pool per layer": lambda: {"pool": {"down": "mean"}},
    "callable pool": lambda: {"pool": halves},
    "other callable pool": lambda: {"pool": thirds},
    "dtype": lambda: {"dtype": "float64"},
    "one pixel": lambda: {"stimuli": make_stimuli({**IMAGES, "s002": IMAGES["s002"] ^ 1})},
    "order": lambda: {"stimuli": make_stimuli(IMAGES).select(list(IMAGES)[::-1])},
    "fewer stimuli": lambda: {"stimuli": make_stimuli(IMAGES).select(list(IMAGES)[:4])},
    "id": lambda: {"stimuli": make_stimuli({f"x{k}": v for k, v in IMAGES.items()})},
}


def test_every_change_is_a_miss_and_no_change_a_hit(tmp_path):
    """Each part of the key makes an entry of its own; the same call again makes none."""
    first = extract(tmp_path)["down"].array()
    seen = {"nothing": entries(tmp_path)}
    for name, change in CHANGES.items():
        extract(tmp_path, **change())
        new = entries(tmp_path) - set().union(*seen.values())
        assert len(new) == 1, name
        seen[name] = new
    extract(tmp_path, transform=scaled(3.0))
    assert len(entries(tmp_path)) == len(seen) + 1, "another closure value is another entry"
    before = entries(tmp_path)
    assert np.array_equal(extract(tmp_path)["down"].array(), first)
    extract(tmp_path, batch_size=2, progress=False)
    assert entries(tmp_path) == before


@pytest.mark.parametrize(
    "patch",
    [
        (keys, "code_digest", lambda: "other code"),
        (keys.torch, "__version__", "9.9"),
        (keys, "__version__", "9.9"),
        (keys.np, "__version__", "9.9"),
        (extraction, "numerics_of", lambda device: {"device": "H200", "tf32": True}),
    ],
    ids=["code", "torch", "brainalign", "numpy", "device"],
)
def test_another_version_or_device_is_a_miss(tmp_path, monkeypatch, patch):
    """Code, library versions and kind of device belong to the key."""
    extract(tmp_path)
    monkeypatch.setattr(*patch)
    extract(tmp_path)
    assert len(entries(tmp_path)) == 2


def test_named_models_key_their_preprocessing_and_seed(tmp_path):
    """image_size is part of the key of a named model."""
    for size in (None, 16, 16, 32):
        extract_features("pixels", make_stimuli(IMAGES), image_size=size, cache=tmp_path, progress=False)
    assert len(entries(tmp_path)) == 3, "32 by default and 32 by request differ in image_size only"


def test_a_hit_runs_nothing_and_equals_memory(tmp_path):
    """The second call runs no forward pass and gives values, tables and info of the first."""
    memory = extract(None, layers="**")
    stored = extract(tmp_path, layers="**", model=CountingNet())
    CountingNet.seen.clear()
    again = extract(tmp_path, layers="**", model=CountingNet())
    assert CountingNet.seen == []
    assert list(memory) == list(stored) == list(again)
    for name, part in memory.items():
        assert np.array_equal(part.values, again[name].array())
        pd.testing.assert_frame_equal(part.units, again[name].units)
        pd.testing.assert_frame_equal(part.samples, again[name].samples)
        different = {k for k, v in part.info.items() if again[name].info[k] != v}
        assert different == {"model", "weights_digest"}, "class names differ, nothing else"


@pytest.mark.parametrize("missing", [True, False])
def test_an_interrupted_extraction_goes_on_and_ends_the_same(tmp_path, missing):
    """After an exception in the third shard the first two are kept; the end is bit-identical."""
    images = make_images(200)
    whole = extract(tmp_path / "whole", stimuli=make_stimuli(images))["down"].array()
    loads: list[str] = []

    def breaking(name, limit):
        loads.append(name)
        if len(loads) > limit:
            raise KeyboardInterrupt
        return images[name]

    def run(limit):
        loads.clear()
        stimuli = make_stimuli(images)
        object.__setattr__(stimuli, "loader", lambda name: breaking(name, limit))
        return extract(tmp_path / "broken", stimuli=stimuli)

    with pytest.raises(KeyboardInterrupt):
        run(150)
    (folder,) = (tmp_path / "broken").iterdir()
    shards = sorted(folder.glob("shard-*"))
    assert len(shards) == 2
    if not missing:
        shards[0].write_bytes(shards[0].read_bytes()[:-1] + b"\x7f")
    found = run(1000)["down"].array()
    assert len(loads) == 1 + 200 - (128 if missing else 64), "one for the plan, then what was missing"
    assert np.array_equal(found, whole)
    assert not list(folder.glob("shard-*"))


KILLED = """
import os, sys, numpy as np
sys.path.insert(0, {here!r})
from feature_cases import TinyNet, make_images, make_stimuli, to_tensor
from brainalign.features import extract_features
images, loads = make_images(200), []
def loader(name):
    loads.append(name)
    if len(loads) > 150:
        os.kill(os.getpid(), 9)
    return images[name]
stimuli = make_stimuli(images)
object.__setattr__(stimuli, "loader", loader)
extract_features(TinyNet(), stimuli, transform=to_tensor, layers="down", cache={cache!r},
                 progress=False, device="cpu")
"""


def test_a_killed_process_leaves_a_lock_that_is_taken_over(tmp_path):
    """After kill -9 the next run takes the dead lock, keeps the shards and ends the same."""
    code = KILLED.format(here=str(Path(__file__).parent), cache=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -9
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("shard-*"))) == 2
    images = make_images(200)
    found = extract(tmp_path, stimuli=make_stimuli(images))["down"].array()
    assert list(tmp_path.iterdir()) == [folder], "the same key"
    assert np.array_equal(found, extract(None, stimuli=make_stimuli(images))["down"].values)


class Gate(nn.Module):
    """Holds the forward pass until the test opens it."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.down(x)


def test_a_second_extraction_waits_for_the_first(tmp_path, caplog):
    """Two calls for one entry compute it once; the second says that it waits."""
    torch.manual_seed(0)
    net, opened, entered = Gate(), threading.Event(), threading.Event()
    loads: list[str] = []

    def loader(name):
        loads.append(name)
        entered.set()
        assert opened.wait(30)
        return IMAGES[name]

    stimuli = make_stimuli(IMAGES)
    object.__setattr__(stimuli, "loader", loader)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(extract(tmp_path, net, stimuli)["down"].array()))
        for _ in range(2)
    ]
    threads[0].start()
    assert entered.wait(30)
    watch = threading.Event()
    caplog.handler.emit = lambda record: watch.set() if "waiting" in record.getMessage() else None
    threads[1].start()
    assert watch.wait(30), "the second said that it waits"
    opened.set()
    for thread in threads:
        thread.join(30)
    assert len(loads) == 1 + len(IMAGES)
    assert np.array_equal(*found)


def test_a_lock_of_another_host_is_named(tmp_path, monkeypatch):
    """Whoever waits for a process of another host is told which, and which file to delete."""
    extract(tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "complete.json").unlink()
    lock = folder / LOCK_NAME
    lock.write_text(json.dumps({"host": socket.gethostname() + "-other", "pid": os.getpid(), "start": "1"}))
    messages = []

    def warn(text, reason):
        messages.append(text % reason)
        lock.unlink()

    monkeypatch.setattr(cache_module.LOG, "warning", warn)
    extract(tmp_path)
    assert "waiting: the folder" in messages[0]
    assert "-other" in messages[0]
    assert "delete" in messages[0]


@pytest.mark.parametrize("damage", ["layer", "missing layer", "complete.json"])
def test_a_damaged_entry_is_extracted_again_with_a_warning(tmp_path, damage):
    """A truncated or absent file of an entry is never returned and never in the way."""
    first = extract(tmp_path)["down"].array()
    (folder,) = tmp_path.iterdir()
    (layer,) = folder.glob("layer-*.h5")
    if damage == "layer":
        layer.write_bytes(layer.read_bytes()[:-100])
    elif damage == "missing layer":
        layer.unlink()
    else:
        (folder / "complete.json").write_text("{")
    with pytest.warns(UserWarning, match="a cache entry is damaged and is extracted again"):
        again = extract(tmp_path)["down"].array()
    assert np.array_equal(first, again)


def test_a_disk_that_loses_a_shard_is_refused(tmp_path, monkeypatch):
    """A shard that does not come back as written is an error, not a gap."""
    monkeypatch.setattr(cache_module.CacheEntry, "shard", lambda *arguments: None)
    with pytest.raises(CorruptFileError, match=r"shard 0 in .* does not hold what was just written"):
        extract(tmp_path)


def test_a_full_disk_is_said_before_the_first_shard(tmp_path, monkeypatch):
    """Activations that do not fit on the disk are refused with their size."""
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda folder: Usage())
    with pytest.raises(MemoryBudgetError, match=r"twice that while they are merged; 1e-09 GB are free"):
        extract(tmp_path)


class Usage:
    free = 1


def test_a_cache_folder_that_cannot_be_made_is_refused(tmp_path):
    """A path below a regular file names the folder and the ways out."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cache folder .* cannot be made .*or use cache=None"):
        extract(tmp_path / "file" / "cache")


def test_auto_is_the_folder_of_the_environment(tmp_path, monkeypatch):
    """cache='auto' obeys BRAINALIGN_CACHE."""
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path))
    extract("auto")
    assert len(entries(tmp_path / "features")) == 1
    monkeypatch.delenv("BRAINALIGN_CACHE")
    monkeypatch.setattr(cache_module.pooch, "os_cache", lambda name: tmp_path / name)
    extract("auto")
    assert len(entries(tmp_path / "brainalign" / "features")) == 1


def sourceless(text):
    space = {"to_tensor": to_tensor, "nn": nn}
    exec(text, space)
    return space


def test_what_cannot_be_identified_is_not_cached(tmp_path):
    """Code without source is refused with the next step; transform_id or cache=None work."""
    hidden = sourceless("def f(image):\n    return to_tensor(image)")["f"]
    with pytest.raises(InputError, match=r"transform cannot be identified.*give transform_id="):
        extract(tmp_path, transform=hidden)
    assert extract(None, transform=hidden)["down"].n_samples == 5
    assert extract(tmp_path, transform=hidden, transform_id="v1")["down"].n_samples == 5
    extract(tmp_path, transform=hidden, transform_id="v2")
    assert len(entries(tmp_path)) == 2
    with pytest.raises(InputError, match=r"pool cannot be identified.*use a named pooling"):
        extract(tmp_path, pool=sourceless("def f(x):\n    return x")["f"])
    net = TinyNet()
    net.rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="the module cannot be identified"):
        extract(tmp_path, model=net)
    assert extract(tmp_path, model=net, transform_id="v1")["down"].n_samples == 5


FACTOR = 1.0


def uses_global(image):
    return to_tensor(image) * FACTOR


class Callable_:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, image):
        return to_tensor(image) * self.factor

    def method(self, image):
        return self(image)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (scaled(1.0), scaled(2.0)),
        (Callable_(1), Callable_(2)),
        (Callable_(1).method, Callable_(2).method),
        (functools.partial(max, 1), functools.partial(max, 2)),
        ({"a": [1, (2, {3})]}, {"a": [1, (2, {4})]}),
        (np.float32(1), np.float64(1)),
        (np.arange(3), np.arange(3)[::-1]),
        (torch.ones(2), torch.zeros(2)),
        (torch.relu, torch.tanh),
        ([1].append, [2].append),
        (nn.Linear, nn.Conv2d),
        (TinyNet(), TinyNet(1)),
        (np, torch),
        (keys, fingerprint),
        (Path("a"), Path("b")),
        (float("nan"), float("inf")),
    ],
)
def test_descriptions_tell_values_apart_and_equal_themselves(one, other):
    """What behaves differently is described differently, the same thing always the same."""
    texts = [json.dumps(fingerprint.describe(x), sort_keys=True) for x in (one, one, other)]
    assert texts[0] == texts[1] != texts[2]


def test_a_global_that_the_transform_reads_belongs_to_its_identity(monkeypatch):
    """Another value of a constant that the code names is another transform."""
    before = fingerprint.describe(uses_global)
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    assert fingerprint.describe(uses_global) != before


def test_cycles_end_and_unknown_objects_are_refused():
    """An object that holds itself is described; one without readable state is not."""
    loop: list[object] = [1]
    loop.append(loop)
    assert fingerprint.describe(loop) == ["list", [1, ["seen", 0]]]
    with pytest.raises(fingerprint.NoIdentityError, match=r"an object of type _thread.lock"):
        fingerprint.describe(threading.Lock())
