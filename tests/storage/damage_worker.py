"""Run as a script: damage a file at one place after the other and report what reading it gives.

The time limit of a read is an alarm without a handler: a read that hangs, in Python or in C,
ends this process by a signal, which the caller counts as a failure.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd

from brainalign.errors import CorruptFileError
from brainalign.storage import load

READ_LIMIT_S = 10.0
PLACES = (
    "the array '",
    "the header",
    "the index",
    "the HDF5 structure",
    "truncated",
    "brainalign.save",
    "0 bytes",
)


def fingerprint(value: object) -> str:
    """A digest of every bit of a noun, made without the package under test."""
    return hashlib.sha256("\n".join(_lines(value)).encode("utf-8", "surrogatepass")).hexdigest()


def _lines(part: object) -> Iterator[str]:
    if dataclasses.is_dataclass(part):
        part = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
    elif isinstance(part, pd.DataFrame):
        part = {"index": part.index, "names": list(part.columns), "cells": [part[c] for c in part.columns]}
    if isinstance(part, dict):
        part = [x for pair in part.items() for x in pair]
    if isinstance(part, (list, tuple)):
        yield f"list of {len(part)}"
        for entry in part:
            yield from _lines(entry)
    elif isinstance(part, (pd.Series, pd.Index)):
        yield f"{part.name!r} {part.dtype} {part.tolist()!r}"
    elif hasattr(part, "dtype") and hasattr(part, "shape"):
        array = np.asarray(part)
        plain = repr(array.tolist()) if array.dtype == object else hashlib.sha256(array.tobytes()).hexdigest()
        yield f"{array.dtype.str} {array.shape} {plain}"
    else:
        yield f"{type(part).__name__} {part!r}"


def outcome(path: str, expected: str) -> str:
    """What one read gives: an error that names file and place, the same content, or a fault."""
    signal.setitimer(signal.ITIMER_REAL, READ_LIMIT_S)
    try:
        found = fingerprint(load(path))
    except CorruptFileError as error:
        text = str(error)
        named = path in text and any(place in text for place in PLACES)
        return "error" if named else f"error without a place: {text}"
    except Exception as error:
        return f"foreign error {error!r}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "same" if found == expected else "OTHER VALUE"


def main(path: str, expected: str, plan: list[list[int]]) -> dict[str, int]:
    """Each entry of `plan` is [offset, mask] (flip) or [size] (truncate); the file is restored after each."""
    with open(path, "rb") as file:
        whole = file.read()
    counts: dict[str, int] = {}
    for entry in plan:
        with open(path, "r+b") as file:
            if len(entry) == 1:
                file.truncate(entry[0])
            else:
                file.seek(entry[0])
                file.write(bytes([whole[entry[0]] ^ entry[1]]))
        found = outcome(path, expected)
        counts[found] = counts.get(found, 0) + 1
        with open(path, "r+b") as file:
            start = entry[0]
            file.seek(start)
            file.write(whole[start:] if len(entry) == 1 else whole[start : start + 1])
    assert outcome(path, expected) == "same", "the undamaged file is read"
    return counts


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    print(json.dumps(main(sys.argv[1], sys.argv[2], json.load(sys.stdin))))
    sys.stdout.flush()
    os._exit(0)
