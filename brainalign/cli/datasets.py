"""`brainalign datasets`: what can be loaded by name, and getting it here whole."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from brainalign.cli.options import Json, Name, Root, tell

app = typer.Typer(help="Datasets: list, info, fetch, verify.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_datasets(json_: Json = False) -> None:
    """List the datasets that can be loaded by name.

    Example: brainalign datasets list
    """
    import data_loaders

    cards = [data_loaders.describe(name) for name in data_loaders.available()]
    if json_:
        typer.echo(json.dumps([asdict(card) for card in cards], indent=1, default=dict))
        return
    for card in cards:
        size = f"{card.size / 1e6:.1f} MB" if card.size else ""
        tell(f"{card.name:<16s} {size:>9s}  {card.title}")


@app.command()
def info(name: Name, json_: Json = False) -> None:
    """Tell what is known of a dataset: size, licence, source, options.

    Example: brainalign datasets info macaque_v4
    """
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
            tell(f"{key:<10s} {value}")
    for option, meaning in card.options.items():
        tell(f"option     {option}: {meaning}")


@app.command()
def fetch(name: Name, root: Root = None) -> None:
    """Download the public files of a dataset; sizes, licence and checksums are shown first.

    Example: brainalign datasets fetch macaque_v4
    """
    import data_loaders

    typer.echo(str(data_loaders.fetch(name, root=root)))


@app.command()
def verify(name: Name, root: Root = None, json_: Json = False) -> None:
    """Check size and sha256 of every file of a dataset.

    Reads every registered file, opens no connection. The exit code is 1 where one is wrong.

    Example: brainalign datasets verify macaque_v4
    """
    import data_loaders

    card = data_loaders.describe(name)
    found = data_loaders.verify(name, root=root)
    step = f"move it away if it is there, then: {card.command}" if card.base_url else card.fetch_note
    if json_:
        rows = [{"file": file, "problem": problem, "next_step": step} for file, problem in found]
        typer.echo(json.dumps(rows, indent=1))
    else:
        for file, problem in found:
            tell(f"{file}: {problem}; {step}")
    if found:
        raise typer.Exit(1)
    if not json_:
        tell(f"{name} is whole: {len(card.files)} files have their registered content")
