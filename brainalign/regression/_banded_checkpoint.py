"""The search kept in a file after each mixture, so that an interrupted fit can go on.

Every step of the search is a function of the input and of the steps before it. The file holds
what each step has found and the weights of the best fits; a resumed search takes the steps
that are there as computed, and so ends with the same bytes as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brainalign import __version__
from brainalign.errors import CorruptFileError, InputError
from brainalign.regression._banded_visits import Plan
from brainalign.regression._banded_walk import Standing
from brainalign.regression._base import Problem
from brainalign.regression._folds import Fold
from brainalign.storage._container import Container, open_container
from brainalign.storage._write import write_container
from brainalign.storage.atomic import remove

KIND = "BandedSearch"
# writing may take this share of the time
_WRITING_SHARE = 0.1


class Journal:
    """The steps of a search, taken from a file as far as they are there.

    Parameters
    ----------
    path : the file, or None to keep nothing
    about : returns {name: text} of everything that the search depends on; not called without path
    standing : its `weights` are kept, and set when a file is there
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        about: Callable[[], Mapping[str, str]],
        standing: Standing,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.identity = {} if path is None else dict(about())
        self.standing = standing
        self.steps: list[torch.Tensor] = []
        self.at = 0
        self._writing = 0.0
        self._written = -np.inf
        if self.path is not None and self.path.exists():
            self._resume(open_container(self.path))

    def step(self, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the next step: from the file if it is there, else computed and kept."""
        if self.at == len(self.steps):
            self.steps.append(compute())
            if self.path is not None and time.monotonic() - self._written > self._writing / _WRITING_SHARE:
                self._write(self.path)
        self.at += 1
        return self.steps[self.at - 1]

    def finish(self) -> None:
        """Remove the file: the search is complete."""
        if self.path is not None:
            remove(self.path)

    def _write(self, path: Path) -> None:
        started = time.monotonic()
        steps = [step.cpu().numpy() for step in self.steps]
        text = json.dumps(self.identity).encode("ascii")
        arrays = {
            "identity": np.array([text]),
            "shapes": np.array([step.shape for step in steps], dtype=np.int64),
            "steps": np.concatenate([step.ravel() for step in steps]),
            "weights": self.standing.weights.cpu().numpy(),
        }
        write_container(path, KIND, arrays)
        self._written = time.monotonic()
        self._writing = self._written - started

    def _resume(self, container: Container) -> None:
        if container.header.kind != KIND:
            raise InputError(
                f"{container.path} holds {container.header.kind}, not an interrupted banded search; name "
                "another checkpoint file"
            )
        try:
            found = json.loads(container.read("identity")[0])
            shapes, values = container.read("shapes"), container.read("steps")
            edges = np.cumsum([0, *(rows * columns for rows, columns in shapes)])
            steps = [
                torch.as_tensor(values[a:b].reshape(shape))
                for a, b, shape in zip(edges[:-1], edges[1:], shapes, strict=True)
            ]
            weights = torch.as_tensor(container.read("weights"))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise CorruptFileError(f"{container.path} holds no steps of a banded search ({error})") from error
        self._compare(container.path, found)
        device = self.standing.weights.device
        self.steps = [step.to(device) for step in steps]
        self.standing.weights.copy_(weights)

    def _compare(self, path: Path, found: Mapping[str, str]) -> None:
        different = [name for name in self.identity if found.get(name) != self.identity[name]]
        if different:
            shown = "; ".join(
                f"{name}: there {str(found.get(name))[:60]}, here {self.identity[name][:60]}"
                for name in different
            )
            raise InputError(
                f"{path} was written by a fit of something else. Different: {shown}. Fit what it was written "
                "for, name another checkpoint, or remove the file to start again"
            )


def identity(problem: Problem, bands: Sequence[Any], folds: Sequence[Fold], plan: Plan) -> dict[str, str]:
    """Digests of the input, the folds and what was drawn, and the versions that computed."""
    rows = [part.cpu().numpy() for fold in folds for part in (fold.train, fold.test)]
    return {
        "X": digest(problem.X),
        "y": digest(problem.Y),
        "sample_weight": digest(problem.weights),
        "cv": digest(np.concatenate([np.array([len(part) for part in rows]), *rows])),
        "bands": digest(np.concatenate([np.append(band, -1) for band in bands])),
        "alphas": digest(np.array(plan.alphas)),
        "candidates": digest(plan.candidates),
        "random_state": f"folds {plan.folds}, seed {plan.seed}",
        "device": problem.device.type,
        "versions": f"brainalign {__version__}, torch {torch.__version__}",
    }


def digest(values: Any) -> str:
    """Sha256 of an array's shape, dtype and bytes, shortened to 32 digits."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.ascontiguousarray(values)
    found = hashlib.sha256(f"{array.shape} {array.dtype.str} ".encode())
    found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()[:32]
