"""Layers: patterns, order, repeated calls, structured outputs, early end."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from feature_cases import TinyNet, make_images, make_stimuli, to_tensor
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from brainalign.errors import InputError, ShapeError, UnknownNameError
from brainalign.features import extract_features, list_layers
from brainalign.features.layers import matches

IMAGE = make_images(1)["s000"]


def extract(model, layers, n=3, **options):
    options = {"transform": to_tensor, "cache": None, "progress": False, "device": "cpu"} | options
    return extract_features(model, make_stimuli(make_images(n)), layers=layers, **options)


def test_star_stays_within_a_dot_and_two_stars_do_not():
    """Globs select by name, in the order in which the layers run."""
    ran = ["stem.0", "stem.1", "stem", "down", "drop", "twice#0", "twice#1"]
    assert list(extract(TinyNet(), "**")) == ran
    assert list(extract(TinyNet(), "*")) == ran[2:]
    assert list(extract(TinyNet(), "stem.*")) == ran[:2]
    assert list(extract(TinyNet(), ["twice", "stem.?"])) == ["stem.0", "stem.1", "twice#0", "twice#1"]


@given(st.text("ab._", min_size=1, max_size=12))
def test_a_name_fits_itself_and_two_stars_fit_all(name):
    """Every name is its own pattern; one star fits exactly the names without a dot."""
    assert matches(name, name)
    assert matches("**", name)
    assert matches("*", name) == ("." not in name)


def test_relative_depth_counts_what_runs():
    """@0 is the first layer that runs, @1 the last, @0.5 the middle one."""
    assert [next(iter(extract(TinyNet(), f"@{d}"))) for d in (0, 0.5, 1)] == ["stem.0", "down", "twice#1"]
    with pytest.raises(InputError, match="layers='@2'; expected a relative depth"):
        extract(TinyNet(), "@2")
    with pytest.raises(InputError, match="layers='@half'; expected a relative depth"):
        extract(TinyNet(), "@half")


def test_a_module_that_runs_twice_gives_both_calls():
    """The two calls of one module are two layers with their own values."""
    found = extract(TinyNet(), "twice")
    assert list(found) == ["twice#0", "twice#1"]
    assert not np.allclose(found["twice#0"].values, found["twice#1"].values)


Record = namedtuple("Record", ["mask", "hidden"])


@dataclass
class Output:
    hidden: torch.Tensor
    text: str = "x"


class Emit(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(x)


class Structured(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.part, self.tail = Emit(wrap), nn.Identity()

    def forward(self, x):
        self.part(x.mean((2, 3)))
        return self.tail(x)


@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (lambda x: (x, 2 * x), "1"),
        (lambda x: [x, [0, 2 * x]], "1.1"),
        (lambda x: {"a": x, "b": 2 * x}, "b"),
        (lambda x: Record(x, 2 * x), "hidden"),
        (lambda x: (x.argmax(1), x, Output(2 * x)), "2.hidden"),
    ],
)
def test_structured_outputs_give_the_first_tensor_or_the_named_one(wrap, key):
    """Tuples, lists, mappings, named tuples and records are read; integers are passed over."""
    found = extract(Structured(wrap), ["part", f"part:{key}"])
    assert list(found) == ["part", f"part:{key}"]
    assert np.allclose(2 * found["part"].values, found[f"part:{key}"].values)
    expected = to_tensor(make_images(3)["s002"]).mean((1, 2))
    assert np.allclose(found["part"].values[2], expected)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle, self.table = (
            nn.Conv2d(3, 2, 1),
            nn.Conv2d(3, 2, 1),
            Emit(lambda x: torch.ones(1, 4)),
        )

    def forward(self, x):
        return self.used(x) + self.table(x).mean()


def test_unknown_idle_and_batchless_layers_are_told_apart():
    """An unknown name lists the closest; a module that does not run is said to exist."""
    with pytest.raises(UnknownNameError, match=r"layer 'usd' does not exist; closest: used.*list_layers"):
        extract(Unused(), "usd")
    for name in ("idle", "table"):
        with pytest.raises(UnknownNameError, match="The module exists, but it does not run"):
            extract(Unused(), name)
    assert list(extract(Unused(), "**")) == ["used"]


class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.batches = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1), 0

    def forward(self, x):
        y = self.first(x)
        self.batches += len(x) == 3
        if len(x) == 3:
            raise RuntimeError("went on after the last layer that was wanted")
        return self.second(y)


def test_the_pass_ends_after_the_last_wanted_layer_unless_forward_is_given():
    """What follows the last wanted layer is not computed; a caller's own forward runs to its end."""
    assert list(extract(Breaks(), "first")) == ["first"]
    with pytest.raises(RuntimeError, match="went on"):
        extract(Breaks(), "first", forward=lambda model, batch: model(batch))


def test_forward_reaches_unusual_inputs():
    """A transform may return a mapping; forward= unpacks it as the network wants."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.add = Emit(lambda x: x)

        def forward(self, left, right):
            return self.add(left + right)

    parts = {"transform": lambda image: {"left": image[0, 0] / 1.0, "right": image[1, 0] / 1.0}}
    plain = extract(Two(), "add", **parts)["add"]
    swapped = extract(Two(), "add", forward=lambda m, b: m(b["right"], 0 * b["left"]), **parts)["add"]
    images = make_images(3)
    assert np.allclose(plain.values[1], images["s001"][:2, 0].astype(float).sum(0))
    assert np.allclose(swapped.values[1], images["s001"][1, 0])


class Depends(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        y = self.first(x)
        return self.second(y) if len(x) == 2 else y


def test_a_layer_that_runs_for_some_stimuli_only_is_refused():
    """A layer without an activation for each stimulus is an error, not a gap."""
    with pytest.raises(InputError, match=r"layer 'second' \(call 0\) ran for the first stimulus and not"):
        extract(Depends(), "second", n=3, forward=lambda m, b: m(b))


class Folds(nn.Module):
    def __init__(self):
        super().__init__()
        self.fold = Emit(lambda x: x if len(x) == 2 else x[:1])

    def forward(self, x):
        return self.fold(x)


def test_an_output_without_a_row_per_stimulus_is_refused():
    """An output whose first axis is not the batch is said with both lengths."""
    with pytest.raises(ShapeError, match=r"layer 'fold' gave shape \(1, 3, 8, 8\) for a batch of 3"):
        extract(Folds(), "fold")


def test_scripted_modules_run_no_hooks_and_say_so():
    """Where no hook can run the error says why, instead of returning nothing."""

    class Plain(nn.Module):
        def forward(self, x):
            return 1.0

    with pytest.raises(InputError, match="no module of Plain gave a floating tensor"):
        extract(Plain(), "**")


def test_a_single_layer_is_called_output():
    """A network without submodules is one layer, 'output'."""
    assert list(extract(nn.Conv2d(3, 2, 1), "**")) == ["output"]


def test_list_layers_shows_order_shape_and_needs_a_stimulus():
    """The list is in the order of execution with shapes per stimulus."""
    found = list_layers(TinyNet(), IMAGE, transform=to_tensor)
    assert list(found.index[:4]) == ["stem.0", "stem.1", "stem", "down"]
    assert found.loc["down", "shape"] == "6x4x4"
    assert found.loc["down", "n_units"] == 96
    with pytest.raises(InputError, match="needs stimulus=: the content of one stimulus"):
        list_layers(TinyNet(), transform=to_tensor)
