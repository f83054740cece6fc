"""The command `brainalign`."""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainalign import __version__
from brainalign.errors import (
    AlignmentError,
    BrainAlignError,
    CorruptFileError,
    MemoryBudgetError,
)

if TYPE_CHECKING:
    from brainalign.study.estimate import StudyPlan
    from brainalign.study.run import StudyResult
    from brainalign.study.settings import Study

app = typer.Typer(
    help="Encoding models and representational comparison of deep networks and brains.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
datasets_app = typer.Typer(help="Datasets: list, info, fetch.", no_args_is_help=True, rich_markup_mode=None)
models_app = typer.Typer(help="Networks: list, layers.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(datasets_app, name="datasets")
app.add_typer(models_app, name="models")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")]
Output = Annotated[Path | None, typer.Option(help="Folder of the results.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, e.g. encoding.n_folds=3.")]
Root = Annotated[Path | None, typer.Option(help="Folder of the datasets (default: BRAINALIGN_DATA).")]
StudyFile = Annotated[Path, typer.Argument(help="A study file (TOML).", metavar="STUDY")]


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"brainalign {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    # `main` takes --debug wherever it stands; both options are declared here for --help
    _ = debug, version


@app.command()
def demo(
    output: Output = None,
    device: Device = "auto",
    root: Root = None,
    set_: Settings = None,
    json_: Json = False,
) -> None:
    """Run the main job: macaque V4 neurons, a trained network, its untrained twin, pixels.

    Example: brainalign demo --output demo
    """
    from brainalign.study.settings import parse_study

    text = resources.files("brainalign").joinpath("studies/macaque_v4.toml").read_text(encoding="utf-8")
    study = parse_study(text, source="the demo study", overrides=set_ or [])
    _fetch_if_missing(study.dataset.name, root, study.dataset.options)
    _run(study, output or Path("demo"), device, root, json_)


def _fetch_if_missing(name: str, root: Path | None, options: Any) -> None:
    import data_loaders
    from brainalign.errors import DataNotFoundError

    try:
        data_loaders.load(name, root=root, **options)
    except DataNotFoundError:
        _say(f"{name} is not on this machine; fetching its public files")
        data_loaders.fetch(name, root=root)


@app.command()
def run(
    study: StudyFile,
    output: Output = None,
    device: Device = "auto",
    root: Root = None,
    set_: Settings = None,
    json_: Json = False,
) -> None:
    """Run a study file, or finish one that was interrupted.

    Example: brainalign run study.toml --output results --set encoding.n_folds=3
    """
    from brainalign.study.settings import read_study

    settings = read_study(study, overrides=set_ or [])
    _run(settings, output or Path("results") / settings.name, device, root, json_)


def _run(study: Study, output: Path, device: str, root: Path | None, json_: bool) -> None:
    from brainalign.study.run import run_study

    result = run_study(study, output, device=device, root=root, log=_say)
    if json_:
        facts = {"run_id": result.run_id, "computed": result.computed, "kept": result.kept}
        rows = json.loads(result.table.to_json(orient="records"))
        typer.echo(json.dumps({**facts, "output": str(result.output), "results": rows}, indent=1))
    else:
        _print_result(result)


def _print_result(result: StudyResult) -> None:
    """The claims, and the best layer of each RSA and CKA cell; the table holds every row."""
    rows: list[dict[str, Any]] = [
        dict(zip(result.table.columns, r, strict=True)) for r in result.table.to_numpy()
    ]
    best: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(str(row[k]) for k in ("subject", "model", "analysis", "roi"))
        claim = row["analysis"] != "encoding" or row["p"] == row["p"] or row["layer"] == "selected"
        if claim and (key not in best or row["value"] > best[key]["value"]):
            best[key] = row
    widths = {"model": 32, "analysis": 9, "roi": 10, "layer": 14}
    typer.echo(" ".join(f"{name:<{width}s}" for name, width in widths.items()) + _HEADINGS)
    for row in best.values():
        interval = f"{row['low']:.3f} .. {row['high']:.3f}" if row["low"] == row["low"] else "n/a"
        names = " ".join(f"{str(row[name])[-width:]:<{width}s}" for name, width in widths.items())
        numbers = " ".join(f"{_number(row[name]):>8s}" for name in ("ceiling", "p", "q"))
        typer.echo(f"{names} {row['value']:7.3f} {interval:>16s} {numbers}")
    done = (
        f"{result.computed} cells computed" if result.computed else "nothing to compute: all cells were there"
    )
    typer.echo(f"{done}; {result.kept} kept")
    typer.echo(f"wrote {result.output / 'results.tsv'} and {result.output / 'report.html'}")


_HEADINGS = f" {'value':>7s} {'95 % interval':>16s} {'ceiling':>8s} {'p':>8s} {'q':>8s}"


def _number(value: float) -> str:
    return "n/a" if value != value else f"{value:.3g}"


@app.command()
def check(
    study: StudyFile,
    device: Device = "auto",
    root: Root = None,
    set_: Settings = None,
    json_: Json = False,
) -> None:
    """Check a study: shapes, design, folds, leaks, memory, disk and time. Computes no score.

    Example: brainalign check study.toml
    """
    from brainalign.study.settings import read_study

    settings = read_study(study, overrides=set_ or [])
    _check_names(settings)
    from brainalign.study.estimate import plan_study

    plan = plan_study(settings, root=root, device=device)
    typer.echo(json.dumps(asdict(plan), indent=1) if json_ else _plan_text(plan))


def _check_names(study: Study) -> None:
    """Refuse an unknown dataset or option before any heavy package is imported."""
    import data_loaders
    from brainalign._checks import unknown_name

    card = data_loaders.describe(study.dataset.name)
    for option in study.dataset.options:
        if option not in card.options:
            raise unknown_name(f"option of the dataset {study.dataset.name!r}", option, card.options)


def _plan_text(plan: StudyPlan) -> str:
    lines = [f"study {plan.study}: {plan.n_cells} cells, device {plan.device}"]
    for subject in plan.subjects:
        regions = ", ".join(f"{name} ({n} units)" for name, n in subject.regions.items())
        lines += [
            f"subject {subject.subject or '(one)'}: {subject.n_samples} samples of "
            f"{subject.n_stimuli} stimuli, {subject.n_units} units; regions: {regions}",
            f"  design {subject.design}; {subject.split_method} (split {subject.split_hash})",
            "  folds (training / test rows): " + ", ".join(f"{a} / {b}" for a, b in subject.folds),
            f"  a score speaks of: {subject.generalisation}",
        ]
        for model in subject.models:
            times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in model.seconds.items())
            sizes = list(model.layers.values())
            lines.append(
                f"  {model.model} ({model.role}): {len(sizes)} layers, {min(sizes)} to {max(sizes)} units; "
                f"about {times}"
            )
    lines.append(
        f"about {plan.seconds:.0f} s, {plan.memory_bytes / 1e9:.2f} GB of memory, "
        f"{plan.disk_bytes / 1e6:.0f} MB on disk"
    )
    return "\n".join(lines + [f"warning: {note}" for note in plan.warnings])


@datasets_app.command("list")
def datasets_list(json_: Json = False) -> None:
    """List the datasets that can be loaded by name."""
    import data_loaders

    cards = [data_loaders.describe(name) for name in data_loaders.available()]
    if json_:
        typer.echo(json.dumps([asdict(card) for card in cards], indent=1, default=dict))
        return
    for card in cards:
        size = f"{card.size / 1e6:.1f} MB" if card.size else ""
        typer.echo(f"{card.name:<16s} {size:>9s}  {card.title}")


@datasets_app.command("info")
def datasets_info(name: Annotated[str, typer.Argument()], json_: Json = False) -> None:
    """Tell what is known of a dataset: size, licence, source, options."""
    import data_loaders

    card = data_loaders.describe(name)
    if json_:
        typer.echo(json.dumps(asdict(card), indent=1, default=dict))
        return
    fields = {
        "title": card.title,
        "species": card.species,
        "recording": card.recording,
        "subjects": ", ".join(card.subjects),
        "sessions": ", ".join(card.sessions),
        "citation": card.citation,
        "source": card.source,
        "licence": card.licence,
        "size": f"{card.size / 1e6:.1f} MB in {len(card.files)} files" if card.files else "",
        "fetch": card.command if card.base_url else card.fetch_note,
    }
    for key, value in fields.items():
        if value:
            typer.echo(f"{key:<10s} {value}")
    for option, meaning in card.options.items():
        typer.echo(f"option     {option}: {meaning}")


@datasets_app.command("fetch")
def datasets_fetch(name: Annotated[str, typer.Argument()], root: Root = None) -> None:
    """Download the public files of a dataset; sizes, licence and checksums are shown first."""
    import data_loaders

    typer.echo(str(data_loaders.fetch(name, root=root)))


@models_app.command("list")
def models_list(json_: Json = False) -> None:
    """List the networks that have a name."""
    from brainalign.features import available_models

    found = available_models()
    if json_:
        typer.echo(json.dumps(found, indent=1))
        return
    for name, text in found.items():
        typer.echo(f"{name:<24s} {text}")


@models_app.command("layers")
def models_layers(name: Annotated[str, typer.Argument()], json_: Json = False) -> None:
    """List the layers of a network in the order in which they run."""
    from brainalign.features import list_layers

    table = list_layers(name).reset_index()
    if json_:
        typer.echo(table.to_json(orient="records"))
        return
    typer.echo(table.to_string(index=False))


@app.command()
def report(
    results: Annotated[
        Path, typer.Argument(help="Folder of a study, or saved scores (.h5).", metavar="RESULTS")
    ],
    output: Annotated[Path | None, typer.Option(help="The HTML file to write.")] = None,
) -> None:
    """Write the report anew from results that are there.

    Example: brainalign report results/macaque_v4
    """
    from brainalign.study.report import report_from

    typer.echo(str(report_from(results, output)))


def main() -> None:
    """Entry point: one line for an error, exit code 2 where the input was at fault, else 1."""
    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]  # it may stand anywhere
    try:
        app(arguments)
    except (CorruptFileError, MemoryBudgetError) as error:
        _fail(error, debug, 1)
    except (BrainAlignError, AlignmentError) as error:
        _fail(error, debug, 2)
    except KeyboardInterrupt:
        _say("interrupted; what was committed is kept, the same command goes on from there")
        sys.exit(130)
    except Exception as error:
        _fail(error, debug, 1)


def _fail(error: Exception, debug: bool, code: int) -> None:
    if debug:
        traceback.print_exc()
    text = " ".join(str(error).split()) or type(error).__name__
    hint = "" if isinstance(error, BrainAlignError) or debug else " (unexpected; --debug shows where)"
    _say(f"error: {text}{hint}")
    sys.exit(code)
