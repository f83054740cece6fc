"""From the pixels of an image to the tensor that an image network reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image

from brainalign._checks import one_of
from brainalign.errors import InputError, ShapeError

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resize the short side, crop the centre square, scale to [0, 1], normalise.

    Parameters
    ----------
    resize : int
        Length of the short side after resizing, pixels.
    crop : int
        Side of the centre square that is kept, pixels; at most `resize`.
    mean, std : three floats
        Subtracted from and divided into the RGB values in [0, 1].
    interpolation : ``"bicubic"``, ``"bilinear"``, ``"area"`` or ``"lanczos"``
        Filter of Pillow, always antialiased; the result is rounded to 8 bits.

    Raises
    ------
    InputError
        `crop` is larger than `resize`, a length is not positive, the filter is unknown.

    Examples
    --------
    >>> prepare = ImagePreprocessing(resize=8, crop=8)
    >>> tuple(prepare(np.full((16, 20, 3), 255, np.uint8)).shape)
    (3, 8, 8)
    """

    resize: int
    crop: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        one_of("interpolation", self.interpolation, _FILTERS)
        if not 1 <= self.crop <= self.resize:
            raise InputError(
                f"crop={self.crop} and resize={self.resize}; expected 1 <= crop <= resize (pixels)"
            )

    def whole_image(self, image_size: int) -> ImagePreprocessing:
        """Return the same preprocessing at another size that throws no context away.

        The short side becomes `image_size` and the centre square of that side is kept,
        so a square image is seen whole. (Networks are mostly tested on a centre crop of
        7/8; neurons and voxels saw all of the image.)
        """
        if isinstance(image_size, bool) or not isinstance(image_size, (int, np.integer)) or image_size < 1:
            raise InputError(f"image_size={image_size!r}; expected a number of pixels, 1 or more")
        return replace(self, resize=int(image_size), crop=int(image_size))

    def __call__(self, image: Any) -> torch.Tensor:
        """Return a float32 tensor (3, crop, crop) of an image (height, width, 3), uint8 RGB."""
        pixels = _centre_square(self._resized(_check_image(image)), self.crop)
        tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(255)
        mean = torch.tensor(self.mean).view(3, 1, 1)
        return tensor.sub_(mean).div_(torch.tensor(self.std).view(3, 1, 1))

    def _resized(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        short = min(height, width)
        if short == self.resize:
            return image
        size = (max(round(width * self.resize / short), 1), max(round(height * self.resize / short), 1))
        return np.asarray(Image.fromarray(image).resize(size, _FILTERS[self.interpolation]))

    def describe(self) -> dict[str, Any]:
        """Everything that decides the tensor, as plain values (for provenance and cache keys)."""
        fields = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        return {
            "kind": "image",
            **fields,
            "antialias": True,
            "context": "whole short side" if self.resize == self.crop else "centre crop",
            "pillow": PIL.__version__,
        }


def _check_image(image: Any) -> np.ndarray:
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ShapeError(f"the image has shape {array.shape}; expected (height, width, 3)")
    if array.dtype != np.uint8:
        raise InputError(f"the image has dtype {array.dtype}; expected uint8 RGB from 0 to 255")
    if 0 in array.shape:
        raise ShapeError(f"the image has shape {array.shape}; expected at least one pixel")
    return array


def _centre_square(image: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]
