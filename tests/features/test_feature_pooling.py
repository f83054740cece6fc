"""Poolings: shapes, values, unit tables, one choice per layer."""

from __future__ import annotations

import pytest
import torch
from feature_cases import TinyNet, make_images, make_stimuli, to_tensor

from brainalign.errors import InputError, ShapeError, UnknownNameError
from brainalign.features import extract_features
from brainalign.features.pooling import apply_pool, resolve_pool, unit_table

MAP = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
TOKENS = torch.arange(2 * 5 * 3, dtype=torch.float32).reshape(2, 5, 3)
VECTOR = torch.ones(2, 7)


@pytest.mark.parametrize(
    ("spec", "output", "expected"),
    [
        ("none", MAP, MAP),
        ("flatten", TOKENS, TOKENS),
        ("mean", MAP, MAP.mean((2, 3))),
        ("max", MAP, MAP.amax((2, 3))),
        ("mean", TOKENS, TOKENS.mean(1)),
        ("max", TOKENS, TOKENS.amax(1)),
        ("mean", MAP[:, :, None], MAP.mean((2, 3))),
        ("mean", VECTOR, VECTOR),
        ("max", VECTOR, VECTOR),
        ("cls", TOKENS, TOKENS[:, 0]),
        ("last", TOKENS, TOKENS[:, -1]),
        ("grid:2x3", MAP, MAP.reshape(2, 3, 2, 2, 3, 2).mean((3, 5))),
        ("grid:7x3", MAP, MAP.reshape(2, 3, 4, 3, 2).mean(4)),
        ("grid:9x9", MAP, MAP),
        ("grid:2x2", VECTOR, VECTOR),
        (lambda x: x[:, :1], MAP, MAP[:, :1]),
    ],
)
def test_each_pooling_is_its_definition(spec, output, expected):
    """Every pooling equals its formula; a grid never upsamples."""
    found = apply_pool(resolve_pool(spec), output, "layer")
    assert found.shape == expected.shape
    assert torch.allclose(found, expected)


def test_pooled_tensors_own_their_memory():
    """What is recorded does not change when the network goes on in place."""
    output = MAP.clone()
    kept = apply_pool(resolve_pool("none"), output, "layer")
    output.zero_()
    assert torch.equal(kept, MAP)


@pytest.mark.parametrize(
    ("spec", "output", "error", "match"),
    [
        ("cls", MAP, ShapeError, r"layer 'a': the output has shape \(2, 3, 4, 6\); 'cls' and 'last' need"),
        ("grid:2x2", TOKENS, ShapeError, r"layer 'a': .* 'grid:2x2' needs \(batch, channel, row, column\)"),
        (lambda x: x[:1], MAP, ShapeError, r"the pooling returned \(1, 3, 4, 6\) .* one row per stimulus"),
        (lambda x: 3, MAP, ShapeError, "the pooling returned int"),
        (lambda x: x.long(), MAP, InputError, r"the pooling returned torch.int64; expected a floating"),
    ],
)
def test_a_pooling_that_does_not_fit_says_why(spec, output, error, match):
    """A pooling that needs other axes, or loses the rows, is refused with the layer."""
    with pytest.raises(error, match=match):
        apply_pool(resolve_pool(spec), output, "a")


def test_unit_tables_have_the_columns_of_their_rank():
    """Maps have channel, row, column; tokens token, channel; others numbered axes."""
    assert list(unit_table((3,)).columns) == ["channel"]
    assert list(unit_table((5, 3)).columns) == ["token", "channel"]
    assert list(unit_table((3, 2, 2)).columns) == ["channel", "row", "column"]
    assert list(unit_table((3, 2, 2, 2)).columns) == ["channel", "time", "row", "column"]
    assert next(iter(unit_table((1, 1, 1, 1, 1)).columns)) == "axis_0"
    assert len(unit_table((3, 2, 2))) == 12


def test_each_layer_may_have_its_own_pooling():
    """The exact name wins over a pattern, an unnamed layer keeps every unit."""
    options = {"transform": to_tensor, "cache": None, "progress": False, "device": "cpu"}
    stimuli = make_stimuli(make_images(2))
    found = extract_features(
        TinyNet(),
        stimuli,
        layers="**",
        pool={"stem.*": "mean", "stem.0": "grid:2x2", "down": "max"},
        **options,
    )
    sizes = {name: part.n_units for name, part in found.items()}
    assert (sizes["stem.0"], sizes["stem.1"], sizes["down"], sizes["stem"]) == (16, 4, 6, 256)
    assert found["stem.1"].info["pool"] == "mean"
    with pytest.raises(UnknownNameError, match=r"layer 'dwn' does not exist; closest: down.*pool="):
        extract_features(TinyNet(), stimuli, pool={"dwn": "max"}, **options)
