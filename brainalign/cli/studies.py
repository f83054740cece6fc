"""`brainalign init`, `check` and `run`: from a folder of recordings to results."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainalign.cli.options import Device, Json, Output, Replace, Root, Settings, StudyFile, say, tell
from brainalign.cli.tables import plan_text, planted_text, result_text

if TYPE_CHECKING:
    from brainalign.study.settings import Study


def init(
    folder: Annotated[Path, typer.Argument(help="A folder of recordings.", metavar="FOLDER")],
    output: Annotated[Path | None, typer.Option(help="The study file to write.")] = None,
) -> None:
    """Write a study file for a folder of recordings.

    Looks at what lies there (fMRIPrep derivatives, .fif, .npy); the study file is commented.

    Example: brainalign init derivatives/fmriprep --output study.toml
    """
    from brainalign.study.scaffold import scaffold

    made = scaffold(folder, output)
    for line in [made.found] if isinstance(made.found, str) else made.found:
        say(str(line))
    say(f"next: brainalign check {made.path}, then brainalign run {made.path}")
    typer.echo(str(made.path))


def run(
    study: StudyFile,
    output: Output = None,
    device: Device = "auto",
    root: Root = None,
    set_: Settings = None,
    replace: Replace = False,
    json_: Json = False,
) -> None:
    """Run a study, or finish an interrupted one.

    Example: brainalign run study.toml --output results --set encoding.n_folds=3
    """
    from brainalign.study.settings import read_study

    settings = read_study(study, overrides=set_ or [])
    run_and_print(settings, output or Path("results") / settings.name, device, root, replace, json_)


def run_and_print(
    study: Study, output: Path, device: str, root: Path | None, replace: bool, json_: bool
) -> None:
    """Run a study, print its results, and say loudly what stands above them."""
    from brainalign.study.run import run_study
    from brainalign.study.stored import planted_layers, standing_notes

    result = run_study(study, output, device=device, root=root, log=say, replace=replace)
    notes = standing_notes(result.output)
    planted = planted_layers(result.output) if study.simulate is not None else []
    if json_:
        facts = {
            "run_id": result.run_id,
            "computed": result.computed,
            "kept": result.kept,
            "notes": notes,
            "planted": planted,
            "output": str(result.output),
        }
        rows = json.loads(result.table.to_json(orient="records"))
        typer.echo(json.dumps({**facts, "results": rows}, indent=1))
        return
    tell(result_text(result, notes))
    if planted:
        tell(planted_text(planted))


def check(
    study: StudyFile,
    device: Device = "auto",
    root: Root = None,
    set_: Settings = None,
    json_: Json = False,
) -> None:
    """Check a study without computing a score.

    Shapes, design, folds, leaks, memory, disk and time.

    Example: brainalign check study.toml
    """
    from brainalign.study.settings import read_study

    settings = read_study(study, overrides=set_ or [])
    _check_names(settings)
    from brainalign.study.estimate import plan_study

    plan = plan_study(settings, root=root, device=device)
    tell(json.dumps(asdict(plan), indent=1) if json_ else plan_text(plan))


def _check_names(study: Study) -> None:
    """Refuse an unknown dataset or option before any heavy package is imported."""
    import data_loaders
    from brainalign._checks import unknown_name

    card = data_loaders.describe(study.dataset.name)
    for option in study.dataset.options:
        if option not in card.options:
            raise unknown_name(f"option of the dataset {study.dataset.name!r}", option, card.options)
