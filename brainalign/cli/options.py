"""What the commands share: options that mean the same everywhere, and the stream for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")]
Output = Annotated[Path | None, typer.Option(help="Folder of the results.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, e.g. encoding.n_folds=3.")]
Root = Annotated[Path | None, typer.Option(help="Folder of the datasets (default: BRAINALIGN_DATA).")]
Replace = Annotated[
    bool,
    typer.Option("--replace", help="Remove results of other inputs, settings or versions, start anew."),
]
StudyFile = Annotated[Path, typer.Argument(help="A study file (TOML).", metavar="STUDY")]
Results = Annotated[Path, typer.Argument(help="Folder of a study, or saved scores (.h5).", metavar="RESULTS")]
Folder = Annotated[Path, typer.Argument(help="Folder of a study.", metavar="RESULTS")]
Name = Annotated[str, typer.Argument()]


_ISOLATES = "\N{FIRST STRONG ISOLATE}\N{POP DIRECTIONAL ISOLATE}"  # these hold right-to-left names in place


def printable(text: str) -> str:
    r"""Names come from files of others: nothing in them may steer the terminal.

    Examples
    --------
    >>> printable("a\x1b[31mb\nc")
    'a\ufffd[31mb\nc'
    """
    mark = "\N{REPLACEMENT CHARACTER}"
    return "".join(c if c.isprintable() or c == "\n" or c in _ISOLATES else mark for c in text)


def say(line: str) -> None:
    """Print a line for people to stderr."""
    typer.echo(printable(line), err=True)


def tell(text: str) -> None:
    """Print what the command found, in words, to stdout (JSON goes there as it is)."""
    typer.echo(printable(text))
