"""What a report says of how its numbers were made, without a trace of the machine that made them."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import brainalign
from brainalign.report.groups import Group
from brainalign.report.methods import seeds
from brainalign.report.naming import isolate, mapping, text_of

# whose machine it was is nobody's business, whatever the caller hands over
_PRIVATE = re.compile(r"host|user|login|node|cwd|home|folder|path|address|mail", re.IGNORECASE)


def provenance_rows(groups: Sequence[Group], given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions, seeds, splits and what the caller adds, without a trace of the machine."""
    versions: dict[str, set[str]] = {"brainalign": {brainalign.__version__}}
    for scores in (s for g in groups for s in g.all):
        for name, version in mapping(scores.info, "versions").items():
            versions.setdefault(isolate(name, 40), set()).add(text_of(version, 40))
    rows = [("Versions", ", ".join(f"{n} {'/'.join(sorted(v))}" for n, v in versions.items()))]
    rows.append(("Random state", seeds(groups)))
    for group in groups:
        if group.digest:
            rows.append((f"Split hash, {group.label}", isolate(group.digest, 80)))
        weights = {text_of(mapping(s.info, "model").get("weights_digest"), 80) for s in group.all} - {""}
        if weights:
            rows.append((f"Weights, {group.label}", ", ".join(sorted(weights))))
    rows += [(isolate(k, 60), _anonymous(v)) for k, v in _flat(given)]
    return [(k, v) for k, v in rows if v]


def _flat(given: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterable[tuple[str, Any]]:
    for key, value in given.items():
        if _PRIVATE.search(str(key)):
            continue
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < 3:
            yield from _flat(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _anonymous(value: Any) -> str:
    """Text without the name of this machine or of who runs it."""
    text = text_of(value, 400)
    for name in _own_names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def _own_names() -> list[str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no account behind this process
        user = ""
    host = socket.gethostname()
    return [name for name in (host, host.split(".")[0], user) if len(name) > 3 and name != "localhost"]
