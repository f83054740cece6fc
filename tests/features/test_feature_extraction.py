"""Extraction: rows, order, pooling, checks of content, modes, devices, numbers."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from feature_cases import TinyNet, make_images, make_stimuli, to_tensor
from torch import nn

import brainalign as ba
from brainalign.errors import (
    AlignmentError,
    DeviceError,
    InputError,
    MemoryBudgetError,
    ShapeError,
    UnknownNameError,
)
from brainalign.features import extract_features, extraction
from brainalign.types import Stimuli


def extract(model, stimuli, **options):
    options = {"transform": to_tensor, "cache": None, "progress": False, "device": "cpu"} | options
    return extract_features(model, stimuli, **options)


def test_public_name_is_the_function():
    """ba.extract_features is the function of the features package."""
    assert ba.extract_features is extract_features


def test_values_equal_a_plain_forward_pass():
    """Activations are those of the bare modules, row by row, before a later in-place ReLU."""
    net, images = TinyNet(), make_images(5)
    found = extract(net, make_stimuli(images), layers=["stem.0", "stem", "twice#1"], batch_size=2)
    assert list(found) == ["stem.0", "stem", "twice#1"]
    batch = torch.stack([to_tensor(i) for i in images.values()])
    net.eval()
    with torch.no_grad():
        stem = net.stem[0](batch)
        assert np.allclose(found["stem.0"].values, stem.flatten(1), atol=1e-6)
        assert (found["stem.0"].values < 0).any()
        assert np.allclose(found["stem"].values, stem.clamp(min=0).flatten(1), atol=1e-6)
        assert np.allclose(found["twice#1"].values, net(batch), atol=1e-6)


def test_rows_follow_the_table_and_carry_the_hash():
    """Samples are the stimuli in their order, and a missing content hash is computed."""
    images = make_images(4)
    with_hash = extract(TinyNet(), make_stimuli(images), layers="down")["down"]
    without = extract(TinyNet(), make_stimuli(images, hashed=False), layers="down")["down"]
    pd.testing.assert_frame_equal(with_hash.samples, without.samples)
    assert list(with_hash.samples.index) == list(images) == list(with_hash.samples["stimulus_id"])
    turned = make_stimuli(images).select(list(images)[::-1])
    assert np.allclose(
        extract(TinyNet(), turned, layers="down")["down"].values[::-1], with_hash.values, atol=1e-6
    )


def test_units_name_channel_row_and_column():
    """The unit table says where in the pooled map each column comes from."""
    net, images = TinyNet(), make_images(2)
    found = extract(net, make_stimuli(images), layers="down", pool="grid:2x4")["down"]
    with torch.no_grad():
        out = net.eval().down(net.stem(to_tensor(images["s001"])[None]))[0]
    unit = found.units.index.get_loc(found.units.query("channel == 3 and row == 1 and column == 2").index[0])
    assert found.values[1, unit] == pytest.approx(float(out[3, 2:4, 2].mean()), abs=1e-6)
    assert found.info["pooled_shape"] == [6, 2, 4]
    assert found.info["design"] == "trials"


def test_batch_size_changes_rounding_only():
    """Batches of 1, 3 and 64 agree within float32 rounding."""
    stimuli = make_stimuli(make_images(7))
    one, three, all_ = (extract(TinyNet(), stimuli, batch_size=b)["twice#1"].values for b in (1, 3, 64))
    for other in (three, all_):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max()


def test_another_content_than_the_hash_says_is_refused():
    """An id that leads to other pixels than its table says is an AlignmentError with the id."""
    images = make_images(4)
    stimuli = make_stimuli(images)
    images["s002"] = images["s001"]
    with pytest.raises(AlignmentError, match=r"stimulus 's002' has content .* its table says"):
        extract(TinyNet(), stimuli, layers="down")


def test_flags_device_and_hooks_are_given_back_even_after_an_error():
    """Mixed train and eval flags return, no hook stays, also when the forward pass fails."""
    net = TinyNet()
    net.stem.eval()
    flags = [m.training for m in net.modules()]
    extract(net, make_stimuli(make_images(2)))
    net.down.bias.data[0] = float("nan")
    with pytest.raises(InputError, match=r"layer 'down' has activations that are not finite .*'s000'"):
        extract(net, make_stimuli(make_images(2)), layers="down")
    assert [m.training for m in net.modules()] == flags
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


class Trains(nn.Module):
    def __init__(self, leaf_only=False):
        super().__init__()
        self.first, self.second, self.leaf_only = nn.Linear(3, 3), nn.Dropout(0.5), leaf_only

    def forward(self, x):
        y = self.first(x.mean((2, 3)))
        if not self.leaf_only:
            self.train()
        y = self.second(y)
        self.train()
        return y


@pytest.mark.parametrize("leaf_only", [False, True])
def test_a_forward_that_turns_training_on_is_refused(leaf_only):
    """Training mode inside the forward pass is an error wherever it is switched."""
    with pytest.raises(InputError, match="is in training mode inside the forward pass"):
        extract(Trains(leaf_only), make_stimuli(make_images(2)), layers="first")


class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.noise = nn.Linear(3, 3), nn.Identity()

    def forward(self, x):
        y = self.first(x.mean((2, 3)))
        return self.noise(nn.functional.dropout(y, 0.5))


def test_a_random_layer_is_refused_and_an_earlier_one_is_not():
    """Functional dropout left on is found by asking twice; layers before it are fine."""
    stimuli = make_stimuli(make_images(2))
    assert list(extract(Random(), stimuli, layers="first")) == ["first"]
    torch.manual_seed(1)
    with pytest.raises(InputError, match="layer 'noise' answers the same stimulus twice"):
        extract(Random(), stimuli, layers="noise")


class Grad(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)

    def forward(self, x):
        with torch.enable_grad():
            return self.first(x.mean((2, 3)))


def test_gradients_inside_the_forward_pass_are_refused():
    """A forward pass that enables gradients is an error, not a slow leak of memory."""
    with pytest.raises(InputError, match="turns gradients on"):
        extract(Grad(), make_stimuli(make_images(2)))


def test_float16_overflow_and_underflow_name_layer_and_stimulus():
    """A value that float16 cannot hold is an error, never inf and never 0."""
    images = make_images(4)
    images["s002"][:] = 255
    net = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False))
    net[0].weight.data[:] = 1e5 / 3
    for name, image in images.items():
        if name != "s002":
            image[:] = 1
    stimuli = make_stimuli(images)
    assert np.isfinite(extract(net, stimuli)["0"].values).all()
    with pytest.raises(InputError, match="'float16' overflows in layer '0' for stimulus 's002'"):
        extract(net, stimuli, dtype="float16")
    net[0].weight.data[:] = 1e-9
    with pytest.raises(InputError, match="'float16' underflows in layer '0' for stimulus 's000'"):
        extract(net, stimuli, dtype="float16")
    net[0].weight.data[:] = 0.5
    assert extract(net, stimuli, dtype="float16")["0"].values.dtype == np.float16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_an_error():
    """device='cuda' never falls back to the CPU."""
    with pytest.raises(DeviceError, match="finds no CUDA device; use device='auto'"):
        extract(TinyNet(), make_stimuli(make_images(2)), device="cuda")


def test_a_module_on_several_devices_is_refused():
    """Half a module on another device is said before the forward pass."""
    net = TinyNet()
    net.down.to("meta")
    with pytest.raises(DeviceError, match=r"lies on several devices \(cpu, meta\)"):
        extract(net, make_stimuli(make_images(2)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu_and_gives_the_module_back():
    """The GPU gives the same activations within TF32 precision; the module returns to the CPU."""
    net, stimuli = TinyNet(), make_stimuli(make_images(5))
    cpu, gpu = extract(net, stimuli)["down"], extract(net, stimuli, device="auto")["down"]
    assert np.abs(cpu.values - gpu.values).max() <= 5e-3 * np.abs(cpu.values).max()
    assert gpu.info["numerics"]["device"] != "cpu"
    assert next(net.parameters()).device.type == "cpu"


def test_memory_that_is_not_there_is_refused(monkeypatch):
    """Activations beyond the free memory are refused before they are computed."""
    monkeypatch.setattr(extraction, "available_memory", lambda: 1000)
    with pytest.raises(MemoryBudgetError, match="stream them to disk with cache='auto'"):
        extract(TinyNet(), make_stimuli(make_images(2)))


def test_streaming_memory_does_not_grow_with_stimuli(tmp_path, monkeypatch):
    """Eight times the stimuli take the same numpy memory when they are streamed."""
    image = make_images(1)["s000"]
    net = nn.Sequential(nn.Conv2d(3, 512, 1))
    peaks = []
    for n in (64, 512):
        stimuli = Stimuli(pd.DataFrame({"stimulus_id": [str(i) for i in range(n)]}), loader=lambda _: image)
        tracemalloc.start()
        found = extract(net, stimuli, cache=tmp_path)["0"]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.shape == (n, 512 * 64)
    assert peaks[1] < peaks[0] + 8e6 < 512 * 512 * 64 * 4


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"batch_size": 0}, InputError, "batch_size=0; expected an integer, 1 or more"),
        ({"dtype": "float8"}, InputError, "dtype='float8' is not one of"),
        ({"layers": []}, InputError, r"layers=\[\]; expected a layer name"),
        ({"layers": "donw"}, UnknownNameError, "layer 'donw' does not exist; closest: down"),
        ({"pool": "grid:7"}, UnknownNameError, "pooling 'grid:7' does not exist"),
        ({"pool": "men"}, UnknownNameError, "pooling 'men' does not exist; closest: mean"),
        ({"transform": None}, InputError, "needs transform=: a callable"),
        ({"transform": lambda image: "text"}, ShapeError, "'s000': the transform returned a str"),
        ({"transform": lambda image: 1 / 0}, InputError, "fails on stimulus 's000': ZeroDivisionError"),
        ({"forward": 3}, InputError, "forward is a int; expected a callable"),
        ({"image_size": 64}, InputError, "image_size= belongs to named models"),
        ({"untrained": True}, InputError, "untrained=True belongs to named models"),
        ({"random_state": 0.5}, InputError, "random_state=0.5; expected an integer"),
        ({"device": "gpu"}, DeviceError, "device='gpu' names no device"),
    ],
)
def test_wrong_options_say_what_to_do(options, error, match):
    """Each wrong option is refused with what was expected."""
    with pytest.raises(error, match=match):
        extract(TinyNet(), make_stimuli(make_images(2)), **options)


def test_wrong_inputs_say_what_to_do():
    """No stimuli, something else than stimuli, something else than a model."""
    stimuli = make_stimuli(make_images(2))
    with pytest.raises(InputError, match="there are 0 stimuli"):
        extract(TinyNet(), stimuli.select([]))
    with pytest.raises(InputError, match=r"stimuli is a list; expected brainalign.Stimuli"):
        extract(TinyNet(), ["a"])
    with pytest.raises(InputError, match=r"model is a int; expected a torch.nn.Module or one of efficient"):
        extract(3, stimuli)


def test_stimuli_of_unequal_size_share_no_batch_and_need_a_pooling():
    """Images of two sizes work with a pooling to equal shapes, and are refused without."""
    images = make_images(6)
    images["s003"] = images["s003"][:, :5]
    stimuli = make_stimuli(images)
    pooled = extract(TinyNet(), stimuli, layers="down", pool="mean")["down"].values
    alone = extract(TinyNet(), stimuli.select(["s003"]), layers="down", pool="mean")["down"].values
    assert np.allclose(pooled[3], alone[0], atol=1e-6)
    with pytest.raises(ShapeError, match=r"layer 'down' keeps shape .* for stimulus 's003'"):
        extract(TinyNet(), stimuli, layers="down")
