"""The bundle of what is known of a set of stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brainalign.errors import AlignmentError
from brainalign.types.rdms import RDMs
from brainalign.types.recordings import Responses
from brainalign.types.stimuli import Stimuli


@dataclass(frozen=True, eq=False)
class Dataset:
    """Stimuli and what is known of them: responses, features, RDMs."""

    stimuli: Stimuli | None = None
    responses: Responses | None = None
    features: Mapping[str, Responses] = field(default_factory=dict)
    rdms: RDMs | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", dict(self.features))
        object.__setattr__(self, "info", dict(self.info))
        if self.stimuli is None:
            return
        known = set(self.stimuli.ids)
        named = {} if self.rdms is None else {"rdms": list(self.rdms.stimulus_id)}
        # pairs, not a mapping: features named "responses" must not hide the responses
        for name, part in [("responses", self.responses), *self.features.items()]:
            samples = None if part is None else part.samples
            if samples is not None and "stimulus_id" in samples:
                named.setdefault(name, []).extend(samples["stimulus_id"])
        for name, ids in named.items():
            foreign = [s for s in ids if s is not None and s not in known]
            if foreign:
                raise AlignmentError(
                    f"{name}: {len(foreign)} rows have a stimulus_id that is not among the "
                    f"{len(known)} stimuli, first {foreign[0]!r}"
                )
