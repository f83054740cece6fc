"""From stimuli to the tensors of a batch; every content that is loaded is checked against its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from brainalign.errors import AlignmentError, BrainAlignError, InputError, ShapeError
from brainalign.types import Stimuli, content_hash

Input = torch.Tensor | dict[str, torch.Tensor]


class StimulusReader:
    """Loads, checks and transforms the stimuli of a table, by row."""

    def __init__(self, stimuli: Stimuli, transform: Callable[[Any], Any]) -> None:
        self._stimuli, self._transform = stimuli, transform
        self.ids: list[str] = list(stimuli.ids)
        column = stimuli.table.get("content_hash")
        values = [None] * len(self.ids) if column is None else list(column)
        self._hashes: list[str | None] = [None if h is None or pd.isna(h) else str(h) for h in values]

    def content(self, row: int) -> Any:
        """Return the decoded content of a stimulus.

        Raises
        ------
        AlignmentError
            The content is not the one whose hash stands in the table (or was read before).
        """
        content = self._stimuli.load(self.ids[row])
        found, expected = content_hash(content), self._hashes[row]
        if expected is not None and found != expected:
            raise AlignmentError(
                f"stimulus {self.ids[row]!r} has content {found[:12]}..., its table says {expected[:12]}...; "
                "the id leads to another content than the one that was shown: repair the path or the table"
            )
        self._hashes[row] = found
        return content

    def hashes(self) -> list[str]:
        """Return the content hash of every stimulus; those without one are loaded."""
        for row, known in enumerate(self._hashes):
            if known is None:
                self.content(row)
        return [str(h) for h in self._hashes]

    def input(self, row: int) -> Input:
        """Return the transformed stimulus, without batch axis."""
        content = self.content(row)
        try:
            return _as_input(self._transform(content))
        except BrainAlignError as error:
            raise type(error)(f"stimulus {self.ids[row]!r}: {error}") from error
        except Exception as error:
            raise InputError(
                f"the transform fails on stimulus {self.ids[row]!r}: {type(error).__name__}: {error}"
            ) from error


def _as_input(value: Any) -> Input:
    if isinstance(value, Mapping):
        return {str(key): _as_tensor(part) for key, part in value.items()}
    return _as_tensor(value)


def _as_tensor(value: Any) -> torch.Tensor:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, torch.Tensor):
        return value.detach()
    raise ShapeError(
        f"the transform returned a {type(value).__name__}; expected a tensor, an array, or a mapping of "
        "them, without batch axis"
    )


def _signature(value: Input) -> Any:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.dtype
    return tuple((key, tuple(t.shape), t.dtype) for key, t in sorted(value.items()))


def stack(inputs: list[Input], device: torch.device) -> Input:
    """Return the inputs with a batch axis in front, on the device."""
    if isinstance(inputs[0], torch.Tensor):
        return torch.stack(inputs).to(device)  # type: ignore[arg-type]
    return {key: torch.stack([i[key] for i in inputs]).to(device) for key in inputs[0]}  # type: ignore[index]


def batches(
    reader: StimulusReader, rows: range, batch_size: int, device: torch.device
) -> Iterator[tuple[range, Input]]:
    """Yield (rows, batch); neighbours of equal shape share a batch, so nothing is ever padded."""
    held: list[Input] = []
    first = rows.start
    for row in rows:
        value = reader.input(row)
        if held and (len(held) == batch_size or _signature(value) != _signature(held[0])):
            yield range(first, row), stack(held, device)
            held, first = [], row
        held.append(value)
    if held:
        yield range(first, rows.stop), stack(held, device)
