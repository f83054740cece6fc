"""What was presented."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import AlignmentError, InputError
from brainalign.types._tables import make_table


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What was shown, heard or read.

    Parameters
    ----------
    table : DataFrame, one row per stimulus, index (or column) `stimulus_id`
        Columns where known: `modality`, `path` (relative), `duration` [s],
        `content_hash` (sha256 of the decoded content), `split`, `condition`.
    loader : callable, optional
        ``loader(stimulus_id)`` returns the content: for images an array
        (height, width, 3), uint8 RGB.
    info : mapping, optional
        Source, licence, citation.

    Examples
    --------
    >>> import pandas as pd
    >>> stimuli = Stimuli(pd.DataFrame({"stimulus_id": ["a", "b"], "modality": "image"}))
    >>> len(stimuli), list(stimuli.ids)
    (2, ['a', 'b'])
    """

    table: pd.DataFrame
    loader: Callable[[str], Any] | None = field(default=None, repr=False)
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", make_table("stimuli table", self.table, "stimulus_id"))
        object.__setattr__(self, "info", dict(self.info))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> np.ndarray:
        """Stimulus ids in the order of the table, (n_stimuli,) object array of str."""
        return np.asarray(self.table.index, dtype=object)

    def load(self, stimulus_id: str) -> Any:
        """Return the content of one stimulus."""
        if stimulus_id not in self.table.index:
            raise AlignmentError(f"stimulus_id {stimulus_id!r} is not in this table of {len(self)} stimuli")
        if self.loader is None:
            raise InputError("these stimuli have no content to load, only a table; give Stimuli(loader=...)")
        return self.loader(stimulus_id)

    def select(self, stimulus_ids: Sequence[str]) -> Stimuli:
        """Return the stimuli of these ids, in this order."""
        missing = [s for s in stimulus_ids if s not in self.table.index]
        if missing:
            raise AlignmentError(f"{len(missing)} stimulus ids are not in the table, first {missing[0]!r}")
        return replace(self, table=self.table.loc[list(stimulus_ids)])
