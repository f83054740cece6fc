"""`brainalign models`: the networks that have a name, and their layers."""

from __future__ import annotations

import json

import typer

from brainalign.cli.options import Json, Name, tell

app = typer.Typer(help="Networks: list, layers.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_models(json_: Json = False) -> None:
    """List the networks that have a name.

    Example: brainalign models list
    """
    from brainalign.features import available_models

    found = available_models()
    if json_:
        typer.echo(json.dumps(found, indent=1))
        return
    for name, text in found.items():
        tell(f"{name:<24s} {text}")


@app.command()
def layers(name: Name, json_: Json = False) -> None:
    """List the layers of a network in the order in which they run.

    Example: brainalign models layers efficientnet_lite0
    """
    from brainalign.features import list_layers

    table = list_layers(name).reset_index()
    if json_:
        typer.echo(table.to_json(orient="records"))
        return
    tell(table.to_string(index=False))
