"""The study file: what may stand in it, checked before anything runs."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from brainalign._checks import closest
from brainalign.errors import DataNotFoundError, InputError

ANALYSES = ("encoding", "rsa", "cka")
Text = str | list[str]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSettings(_Table):
    """Which dataset; `options` go to its loader."""

    name: str
    options: dict[str, str | int | float | bool | list[float] | list[str]] = Field(default_factory=dict)


class ModelSettings(_Table):
    """One network (or the dataset's own features, ``name = "features:NAME"``).

    `label` is how tables and figures call it; a `role` of ``"control"`` puts it beside the
    claim. `layers` are patterns, in which ``*`` does not cross a dot.
    """

    name: str
    label: str = ""
    role: Literal["model", "control"] = "model"
    layers: Text | None = None
    pool: str | dict[str, str] | None = None
    image_size: int | None = Field(default=None, ge=8, le=4096)
    untrained: bool = False
    batch_size: int = Field(default=32, ge=1)

    @property
    def shown(self) -> str:
        """The name for people."""
        return self.label or (f"{self.name} (untrained)" if self.untrained else self.name)


class EncodingSettings(_Table):
    """Options of `fit_encoding`."""

    n_folds: int = Field(default=5, ge=2)
    inner_folds: int = Field(default=5, ge=2)
    gap: int | None = Field(default=None, ge=0)
    repeats: Literal["average", "single", "train_single"] = "average"
    feature_scaling: Literal["trace", "column", "none"] = "trace"
    combine: Literal["select", "concat", "bands", "stack"] = "select"
    select: str = "auto"
    metric: Literal["pearson", "r2_train_mean", "r2", "explained_variance"] = "pearson"
    scoring_over: Literal["folds", "pooled"] = "folds"
    n_permutations: int = Field(default=1000, ge=0)
    permutation_block: int | None = Field(default=None, ge=1)
    n_bootstrap: int = Field(default=1000, ge=0)

    @model_validator(mode="after")
    def _p_values_of_what_is_weighed(self) -> EncodingSettings:
        if self.combine in ("bands", "stack") and self.n_permutations:
            raise ValueError(
                f"combine = {self.combine!r} has no p-values (it weighs the layers of every unit anew in "
                "each fit); set n_permutations = 0, or use combine = 'concat' or 'select'"
            )
        return self


class PreparationSettings(_Table):
    """What is done to the samples of blocks and continuous designs before any fit.

    `high_pass_s` and `detrend` act on responses and features, per run; `delays` (samples)
    on features; `confounds` names a feature space of the dataset that is regressed out
    inside every fold; `method` puts events on samples.
    """

    high_pass_s: float = Field(default=0.0, ge=0)
    detrend: bool = False
    delays: list[int] = Field(default_factory=list)
    confounds: str | None = None
    method: Literal["boxcar", "impulse", "interpolate", "lanczos"] = "boxcar"


class SimulateSettings(_Table):
    """Responses with planted truth in place of recorded ones.

    `truth` {region: layer of the first model}; `noise_std` of one trial, where the signal
    of a unit has 1.
    """

    truth: dict[str, str] = Field(min_length=1)
    n_units: int = Field(default=50, ge=1)
    n_repeats: int = Field(default=4, ge=1)
    noise_std: float = Field(default=1.0, ge=0)


class RSASettings(_Table):
    """Options of representational similarity analysis."""

    distance: Literal["correlation", "sq_euclidean"] = "correlation"
    measure: Literal["pearson", "spearman", "tau_a"] = "spearman"
    n_permutations: int = Field(default=1000, ge=0)
    n_bootstrap: int = Field(default=1000, ge=0)


class CKASettings(_Table):
    """Options of centred kernel alignment (linear, debiased)."""

    n_permutations: int = Field(default=1000, ge=0)


class Study(_Table):
    """A grid: dataset x subjects x models x analyses, over layers and regions."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,80}$")
    title: str = ""
    dataset: DatasetSettings
    subjects: list[str] | None = None
    regions: list[str] | None = None
    layers: Text = "**"
    models: list[ModelSettings] = Field(min_length=1)
    analyses: list[Literal["encoding", "rsa", "cka"]] = Field(default=["encoding"], min_length=1)
    preparation: PreparationSettings = PreparationSettings()
    simulate: SimulateSettings | None = None
    encoding: EncodingSettings = EncodingSettings()
    rsa: RSASettings = RSASettings()
    cka: CKASettings = CKASettings()
    random_state: int = Field(default=0, ge=0)
    allow: str | None = None

    @field_validator("subjects", "regions")
    @classmethod
    def _not_empty(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (not value or len(set(value)) != len(value)):
            raise ValueError("expected at least one name, each once; leave the key out for all")
        return value

    @model_validator(mode="after")
    def _distinct_models(self) -> Study:
        shown = [model.shown for model in self.models]
        twice = sorted({name for name in shown if shown.count(name) > 1})
        if twice:
            raise ValueError(f"two models are called {twice[0]!r}; give each its own label")
        return self


def read_study(path: str | Path, *, overrides: Sequence[str] = ()) -> Study:
    """Read and check a study file.

    Parameters
    ----------
    path : TOML file
    overrides : ``"KEY=VALUE"`` texts, KEY dotted (``encoding.n_folds``, ``models.0.image_size``),
        VALUE in TOML (text may stand without quotes)

    Raises
    ------
    DataNotFoundError
        There is no such file.
    InputError
        It is not TOML, a key is unknown (the closest valid one is named), a value is wrong.
    """
    file = Path(path)
    if not file.is_file():
        raise DataNotFoundError(f"no study file at {file}; give the path of a .toml file")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name} is not UTF-8 text: {error}") from error
    study = parse_study(text, source=file.name, overrides=overrides)
    path_option = study.dataset.options.get("path")
    if isinstance(path_option, str) and not Path(path_option).is_absolute():
        # a study and its recording travel together: the path counts from the study file
        found = str((file.resolve().parent / path_option).resolve())
        dataset = study.dataset.model_copy(update={"options": {**study.dataset.options, "path": found}})
        study = study.model_copy(update={"dataset": dataset})
    return study


def parse_study(text: str, *, source: str, overrides: Sequence[str] = ()) -> Study:
    """Check the text of a study file; `source` names it in errors."""
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source} is not valid TOML: {error}") from error
    for override in overrides:
        apply_override(tables, override)
    try:
        return Study.model_validate(tables)
    except ValidationError as error:
        raise InputError(f"{source}: " + "; ".join(_explain(e) for e in error.errors()[:4])) from None


def apply_override(tables: dict[str, Any], override: str) -> None:
    """Set one key of the tables of a study, ``"encoding.n_folds=3"``."""
    key, equals, raw = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {override!r}: expected KEY=VALUE, for instance encoding.n_folds=3")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw
    parts = key.strip().split(".")
    place: Any = tables
    for part in parts[:-1]:
        place = _step(place, part, override)
    if isinstance(place, list):
        place[_position(place, parts[-1], override)] = value
    elif not isinstance(place, dict):
        raise InputError(f"--set {override!r}: {parts[-2]!r} has nothing below it")
    else:
        place[parts[-1]] = value


def _step(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_position(place, part, override)]
    if not isinstance(place, dict):
        raise InputError(f"--set {override!r}: {part!r} has nothing below it")
    return place.setdefault(part, {})


def _position(place: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise InputError(f"--set {override!r}: expected a position 0..{len(place) - 1}, found {part!r}")
    return int(part)


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        valid = _valid_keys(error["loc"])
        near = closest(str(error["loc"][-1]), valid, n=1)
        hint = f"; closest: {near[0]!r}" if near else f"; valid: {', '.join(valid)}"
        return f"unknown key {where!r}{hint}"
    if error["type"] == "missing":
        return f"the key {where!r} is missing"
    found = error.get("input")
    shown = json.dumps(found, default=str)[:80] if not isinstance(found, dict) else "a table"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (found {shown})" if where else message


_TABLES: dict[str, type[BaseModel]] = {
    "dataset": DatasetSettings,
    "models": ModelSettings,
    "preparation": PreparationSettings,
    "simulate": SimulateSettings,
    "encoding": EncodingSettings,
    "rsa": RSASettings,
    "cka": CKASettings,
}


def _valid_keys(location: Sequence[Any]) -> list[str]:
    table = _TABLES.get(str(location[0])) if len(location) > 1 else Study
    return sorted((table or Study).model_fields)
