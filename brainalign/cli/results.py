"""Commands for results that are there: report, explain, and `brainalign results`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainalign.cli.options import Device, Folder, Json, Results, Root, Settings, say, tell
from brainalign.cli.tables import difference_text, entry_line, wrapped

if TYPE_CHECKING:
    from brainalign.study.differences import Difference

app = typer.Typer(help="Results: list, diff, rerun.", no_args_is_help=True, rich_markup_mode=None)
Tolerance = Annotated[
    float, typer.Option(min=0.0, help="Largest difference of a number that counts as equal.")
]


def report(
    results: Results,
    output: Annotated[Path | None, typer.Option(help="The HTML file to write.")] = None,
) -> None:
    """Write the report of results anew.

    Example: brainalign report results/macaque_v4
    """
    from brainalign.study.report import report_from

    typer.echo(str(report_from(results, output)))


@app.command("list")
def list_studies(
    folder: Annotated[Path, typer.Argument(help="Where to look, with all folders below.")] = Path("."),
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte and compare it.")] = False,
    json_: Json = False,
) -> None:
    """List the studies below a folder.

    Newest first, with date, state, cells, dataset, subjects, models and version.

    Example: brainalign results list results
    """
    from brainalign.study.history import list_results

    found = list_results(folder, verify=verify)
    if json_:
        typer.echo(json.dumps([entry.to_json() for entry in found], indent=1))
        return
    if not found:
        tell(f"no study at or below {folder}")
    for entry in found:
        tell(entry_line(entry))


@app.command()
def diff(a: Folder, b: Folder, tolerance: Tolerance = 1e-4, json_: Json = False) -> None:
    """Compare two studies number by number.

    Settings, versions, inputs, test rows and every number. The exit code is 1 where they differ.

    Example: brainalign results diff results/monday results/tuesday
    """
    from brainalign.study.differences import diff_results

    _tell_difference(diff_results(a, b, tolerance=tolerance), json_)


@app.command()
def rerun(
    results: Folder,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the new results (default: RESULTS-rerun).")
    ] = None,
    device: Device = "auto",
    root: Root = None,
    set_: Settings = None,
    tolerance: Tolerance = 1e-4,
    json_: Json = False,
) -> None:
    """Run a recorded study anew and compare.

    The exit code is 1 where the results differ.

    Example: brainalign results rerun results/macaque_v4
    """
    from brainalign.study.history import rerun as run_anew

    target, found = run_anew(
        results, output, root=root, device=device, overrides=set_ or [], tolerance=tolerance, log=say
    )
    say(f"the new results are in {target}")
    _tell_difference(found, json_)


def _tell_difference(found: Difference, json_: bool) -> None:
    tell(json.dumps(found.to_json(), indent=1) if json_ else difference_text(found))
    if not found.equal:
        raise typer.Exit(1)


def explain(
    results: Results,
    roi: Annotated[str | None, typer.Option(help="Numbers of this region.")] = None,
    model: Annotated[str | None, typer.Option(help="Numbers of this model.")] = None,
    analysis: Annotated[str | None, typer.Option(help="encoding, rsa or cka.")] = None,
    json_: Json = False,
) -> None:
    """Say in words how each number came about.

    Split, repeats, scaling, preparation, metric, penalty, layer, ceiling, interval, p-value.

    Example: brainalign explain results/macaque_v4 --roi all --analysis encoding
    """
    from brainalign.study.explain import explain_results, explanation_text

    found = explain_results(results, roi=roi, model=model, analysis=analysis)
    if json_:
        typer.echo(json.dumps([number.to_json() for number in found], indent=1))
        return
    text = explanation_text(found)
    tell(wrapped(text) if sys.stdout.isatty() else text)
