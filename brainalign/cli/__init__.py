"""The command `brainalign`."""

from __future__ import annotations

import errno
import sys
import traceback
from typing import Annotated

import typer

from brainalign import __version__
from brainalign.cli import datasets, demonstration, machine, networks, results, soundness, studies
from brainalign.cli.options import say, tell
from brainalign.errors import BrainAlignError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Encoding models and representational comparison of deep networks and brains.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    demonstration.demo,
    studies.init,
    studies.check,
    studies.run,
    results.report,
    results.explain,
    soundness.verify,
    soundness.repair,
    machine.doctor,
):
    app.command()(command)
app.add_typer(results.app, name="results")
app.add_typer(datasets.app, name="datasets")
app.add_typer(networks.app, name="models")

_RESUMABLE = ("demo", "run", "fetch", "rerun")
_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your quota on this disk is used up; free some space",
    errno.EROFS: "the disk is read-only; choose another folder, or have it mounted for writing",
    errno.EIO: "the disk reports an error; see that it is well, or choose another",
    errno.EACCES: "this user may not read or write it; mend its permissions, or choose another folder",
}


def _version(value: bool) -> None:
    if value:
        tell(f"brainalign {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    # `main` takes --debug wherever it stands; both options are declared here for --help
    _ = debug, version


def main() -> None:
    """Entry point: one line for an error, exit code 2 where the input was at fault, else 1."""
    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]  # it may stand anywhere
    try:
        app(arguments)
    except SystemExit as end:
        if end.code == 130:  # typer turns Ctrl-C into this exit
            say(_interrupted(arguments))
        raise
    except KeyboardInterrupt:
        say(_interrupted(arguments))
        sys.exit(130)
    except Exception as error:
        _fail(error, debug)


def _interrupted(arguments: list[str]) -> str:
    if any(word in _RESUMABLE for word in arguments[:2]):
        return "interrupted; what was committed is kept, the same command goes on from there"
    return "interrupted"


def _fail(error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    say(f"error: {_one_line(error, debug)}")
    sys.exit(2 if isinstance(error, BrainAlignError) and not _is_no_input(error) else 1)


def _is_no_input(error: BrainAlignError) -> bool:
    """Whether the machine is at fault: a damaged file, a disk that refuses, too little memory."""
    disk = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
    return disk or isinstance(error, MemoryError)


def _one_line(error: Exception, debug: bool) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, BrainAlignError):
        return text
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{_DISK_ERRORS[error.errno]}. What was committed is kept: give the same command again"
    return text if debug else f"{text} (unexpected; --debug shows where)"
