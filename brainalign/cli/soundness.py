"""`brainalign verify` and `repair`: whether results are still what was written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from brainalign.cli.options import Folder, Json, Results, say, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brainalign.study.verification import Finding


def verify(results: Results, json_: Json = False) -> None:
    """Check results against their checksums.

    Reads every byte of a study's folder, of a saved file, or of a cache of activations.
    The exit code is 1 where something is wrong.

    Example: brainalign verify results/macaque_v4
    """
    from brainalign.study.verification import verify_results

    found = _verify_file(results) if results.is_file() else verify_results(results)
    _print(found, json_)
    if found:
        raise typer.Exit(1)
    if not json_:
        tell(f"{results} is whole")


def _verify_file(file: Path) -> list[Finding]:
    """Read every byte of one saved file."""
    from brainalign.errors import CorruptFileError
    from brainalign.storage import verify as verify_file
    from brainalign.study.verification import Finding

    try:
        verify_file(file)
    except CorruptFileError as error:
        step = "write it again, or take it from a copy"
        return [Finding(file.name, " ".join(str(error).split()), step)]
    return []


def repair(results: Folder, json_: Json = False) -> None:
    """Mend damaged results without computing.

    Says what the next run computes anew. The exit code is 1 where the study has to be run again.

    Example: brainalign repair results/macaque_v4
    """
    from brainalign.study.verification import repair_results, verify_results

    done = repair_results(results)
    _print(done, json_)
    left = verify_results(results)
    if not done:
        say("nothing was wrong")
    elif not left:
        say(f"{results} is whole again")
    if left:
        say("what could be mended is mended; the rest is computed by running the study again")
        raise typer.Exit(1)


def _print(findings: Sequence[Finding], json_: bool) -> None:
    if json_:
        typer.echo(json.dumps([asdict(one) for one in findings], indent=1, default=str))
        return
    for one in findings:
        tell(f"{one.path}: {one.problem}; {one.next_step}")
