"""Crops of the photographs that scikit-image and scikit-learn ship: stimuli without a download."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import CorruptFileError, InputError, MissingDependencyError
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._read import require_file, sha256_of

if TYPE_CHECKING:
    from brainalign.types import Dataset

_CC_BY = "CC BY 2.0"
CARD = DatasetCard(
    name="photographs",
    title="Square crops of eight photographs that scikit-image and scikit-learn ship; no responses",
    licence="CC0 or public domain (six photographs of scikit-image); CC BY 2.0 (two of scikit-learn)",
    citation="scikit-image: van der Walt et al. 2014, PeerJ 2:e453, doi:10.7717/peerj.453; scikit-learn: "
    "Pedregosa et al. 2011, JMLR 12:2825. The two CC BY photographs: china by danielbuechele, flower by "
    "vultilion (flickr.com)",
    source="the installed packages scikit-image (skimage/data) and scikit-learn (sklearn/datasets/images)",
    files=(
        RemoteFile(
            "astronaut.png",
            "skimage/data/astronaut.png",
            791555,
            "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        ),
        RemoteFile(
            "camera.png",
            "skimage/data/camera.png",
            139512,
            "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        ),
        RemoteFile(
            "chelsea.png",
            "skimage/data/chelsea.png",
            240512,
            "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        ),
        RemoteFile(
            "coffee.png",
            "skimage/data/coffee.png",
            466706,
            "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        ),
        RemoteFile(
            "coins.png",
            "skimage/data/coins.png",
            75825,
            "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        ),
        RemoteFile(
            "rocket.jpg",
            "skimage/data/rocket.jpg",
            112525,
            "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        ),
        RemoteFile(
            "china.jpg",
            "sklearn/datasets/images/china.jpg",
            196653,
            "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        ),
        RemoteFile(
            "flower.jpg",
            "sklearn/datasets/images/flower.jpg",
            142987,
            "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        ),
    ),
    fetch_note="Nothing is downloaded: the photographs come with the packages. Install them with: "
    "pip install 'brainalign[demo]'",
    options={"crop": "edge of the square crops in pixels, 32 to 300; 96 by default"},
    redistributable_stimuli=True,
)
MIN_CROP, MAX_CROP = 32, 300
MIN_CONTRAST = 8.0
BLANK_RULE = (
    f"crops whose luminance (0.299 R + 0.587 G + 0.114 B, 0 to 255) has a standard deviation under "
    f"{MIN_CONTRAST:g} are left out (blank sky, blurred ground)"
)
_LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Origin:
    """Who made a photograph, where it was published, under which licence."""

    shows: str
    author: str
    licence: str
    url: str


ORIGINS = {
    "astronaut": Origin("an astronaut", "NASA", "public domain", "https://flic.kr/p/r9qvLn"),
    "camera": Origin("a man with a camera (grey)", "Lav Varshney", "CC0", "https://scikit-image.org"),
    "chelsea": Origin("a cat", "Stefan van der Walt", "CC0", "https://scikit-image.org"),
    "coffee": Origin("a cup of coffee", "Rachel Michetti", "CC0", "https://scikit-image.org"),
    "coins": Origin(
        "Greek coins (grey)",
        "Brooklyn Museum Collection",
        "no known copyright restrictions",
        "https://www.brooklynmuseum.org/opencollection/archives/image/51611",
    ),
    "rocket": Origin(
        "the launch of a rocket",
        "SpaceX",
        "public domain",
        "https://www.flickr.com/photos/spacexphotos/16511594820/",
    ),
    "china": Origin(
        "a temple", "danielbuechele", _CC_BY, "https://www.flickr.com/photos/danielbuechele/6061409035/"
    ),
    "flower": Origin("a flower", "vultilion", _CC_BY, "https://www.flickr.com/photos/vultilion/6056698931/"),
}


def load(*, crop: int = 96, root: str | os.PathLike[str] | None = None) -> Dataset:
    """Load the crops. There are no responses; nothing is ever downloaded.

    Textures, drawings, microscopy and photographs without a stated licence, which the
    packages ship too, are left out.

    Parameters
    ----------
    crop : int, 32 to 300 [pixels]
        Edge of the crops. They tile each photograph from its upper left corner without
        overlap; what remains at the right and at the bottom is not used.
    root : path, optional
        A folder that holds ``photographs/`` with copies of the files, for machines without
        scikit-image. Elsewhere, and by default, the files of the installed packages.

    Returns
    -------
    Dataset
        `stimuli`: ``astronaut_00`` ... (the number is the place in the grid, row by row,
        so a crop keeps its name whatever is left out); (crop, crop, 3) uint8 RGB; columns
        modality ("image"), condition (the photograph), path, top and left [pixels],
        content_hash. 147 crops of 96 pixels. Crops of one photograph are alike: split by
        `condition` where that matters. `info`: author, licence and address of each
        photograph, how many crops were left out and by which rule.

    Raises
    ------
    InputError
        `crop` is not a whole number from 32 to 300.
    MissingDependencyError
        scikit-image is not installed (extra ``demo``) and no copies are there.
    DataNotFoundError, CorruptFileError
        A photograph is absent, damaged, or another one than the registered.

    Notes
    -----
    Cost: eight files are decoded, 0.2 s; the crops are held in memory (4 MB at 96 pixels).

    Examples
    --------
    >>> import data_loaders
    >>> stimuli = data_loaders.load("photographs").stimuli
    >>> len(stimuli), stimuli.load("astronaut_00").shape
    (147, (96, 96, 3))
    """
    import pandas as pd

    from brainalign.types import Dataset, Stimuli, content_hash
    from data_loaders._images import ArrayImages

    _check_crop(crop)
    images: dict[str, np.ndarray] = {}
    rows: list[dict[str, Any]] = []
    n_blank = 0
    for file in CARD.files:
        name = file.name.split(".")[0]
        for number, (top, left, pixels) in enumerate(_tiles(_photograph(file, root), crop)):
            if _is_blank(pixels):
                n_blank += 1
                continue
            stimulus_id = f"{name}_{number:02d}"
            images[stimulus_id] = pixels
            rows.append(
                {
                    "stimulus_id": stimulus_id,
                    "modality": "image",
                    "path": file.source_path,
                    "condition": name,
                    "top": top,
                    "left": left,
                    "content_hash": content_hash(pixels),
                }
            )
    info = {
        **CARD.info(),
        "crop": int(crop),
        "n_blank": n_blank,
        "blank_rule": BLANK_RULE,
        "photographs": {name: dict(vars(origin)) for name, origin in ORIGINS.items()},
    }
    return Dataset(stimuli=Stimuli(pd.DataFrame(rows), ArrayImages(images), info), info=info)


def _check_crop(crop: int) -> None:
    whole = isinstance(crop, (int, np.integer)) and not isinstance(crop, bool)
    if not whole or not MIN_CROP <= crop <= MAX_CROP:
        raise InputError(
            f"crop={crop!r} is not a whole number of pixels from {MIN_CROP} to {MAX_CROP} (the smallest "
            "photograph is 300 pixels high)"
        )


def _photograph(file: RemoteFile, root: str | os.PathLike[str] | None) -> np.ndarray:
    """One photograph, (height, width, 3) uint8, which has the registered bytes."""
    from data_loaders._images import decode_image

    path = require_file(_place(file, root), CARD)
    # the bytes that are hashed are the bytes that are decoded; another release of the
    # package may ship another picture under the same name
    found = sha256_of(path)
    if found != file.sha256:
        raise CorruptFileError(
            f"{path} has sha256 {found}; expected {file.sha256}: the file is damaged, or the package ships "
            "another picture. Reinstall it with: pip install --force-reinstall --no-deps "
            f"{_package(file)[1]}"
        )
    return decode_image(path.read_bytes(), str(path))


def _package(file: RemoteFile) -> tuple[str, str]:
    """Import name and distribution name of the package that ships a file."""
    module = file.source_path.split("/")[0]
    return module, {"skimage": "scikit-image", "sklearn": "scikit-learn"}[module]


def _place(file: RemoteFile, root: str | os.PathLike[str] | None) -> Path:
    if root is not None:
        for folder in (Path(root).expanduser() / CARD.name, Path(root).expanduser()):
            if (folder / file.name).exists():
                return folder / file.name
    module, distribution = _package(file)
    # found, not imported: its functions may download, its files are enough
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            f"the dataset 'photographs' needs the package {distribution!r}, which is not installed; install "
            "it with: pip install 'brainalign[demo]'"
        )
    return Path(spec.submodule_search_locations[0]).parent / file.source_path


def _tiles(image: np.ndarray, crop: int) -> list[tuple[int, int, np.ndarray]]:
    """Upper edge, left edge and pixels of each square, row by row."""
    height, width = image.shape[:2]
    return [
        (top, left, np.ascontiguousarray(image[top : top + crop, left : left + crop]))
        for top in range(0, height - crop + 1, crop)
        for left in range(0, width - crop + 1, crop)
    ]


def _is_blank(pixels: np.ndarray) -> bool:
    return bool((pixels @ _LUMINANCE).std() < MIN_CONTRAST)
