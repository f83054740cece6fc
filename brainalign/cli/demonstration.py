"""`brainalign demo`: real neurons where they can be had, else responses with planted truth."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainalign.cli.options import Device, Json, Output, Replace, Root, Settings, say
from brainalign.cli.studies import run_and_print

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brainalign.study.settings import Study

_SIMULATED = (
    "SIMULATED responses: units were made from layers of a network, with noise, and tell nothing of a brain"
)


def demo(
    output: Output = None,
    device: Device = "auto",
    root: Root = None,
    set_: Settings = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Responses with planted truth: no recordings, no network.")
    ] = False,
    replace: Replace = False,
    json_: Json = False,
) -> None:
    """Run the main job on real neurons, or simulated.

    Macaque V4 neurons, a trained network, its untrained twin, pixels.

    Where the recordings are not here and cannot be fetched, and with --simulated, the
    responses are simulated from known layers, and the layers that are found are shown
    beside them.

    Example: brainalign demo --output demo
    """
    if not simulated and not _recordings_are_here(_packaged("macaque_v4", ()), root):
        simulated = True
    study = _packaged("simulated" if simulated else "macaque_v4", set_ or ())
    if simulated:
        say(_SIMULATED)
    folder = output or Path("demo_simulated" if simulated else "demo")
    run_and_print(study, folder, device, root, replace, json_)
    if simulated:
        say(_SIMULATED)


def _packaged(name: str, overrides: Sequence[str]) -> Study:
    from brainalign.study.settings import parse_study

    text = resources.files("brainalign").joinpath(f"studies/{name}.toml").read_text(encoding="utf-8")
    return parse_study(text, source=f"the demo study {name}", overrides=overrides)


def _recordings_are_here(study: Study, root: Path | None) -> bool:
    """Look for the recordings, fetch them where they are absent; False where that fails."""
    import data_loaders
    from brainalign.errors import DataNotFoundError

    name, options = study.dataset.name, dict[str, Any](study.dataset.options)
    try:
        data_loaders.load(name, root=root, **options)
    except DataNotFoundError:
        say(f"{name} is not on this machine; looking for its public files")
    else:
        return True
    try:
        data_loaders.fetch(name, root=root)
    except DataNotFoundError as error:
        say(f"{name} cannot be fetched: {' '.join(str(error).split())}")
        return False
    return True
