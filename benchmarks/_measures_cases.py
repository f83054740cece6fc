"""All cases of the benchmark of measures, in full size or at a fraction of it."""

from __future__ import annotations

import _measures_dynamics
import _measures_large
import _measures_one_pass
import _measures_shapes
from _rsa_case import Case

TOPICS = (_measures_one_pass, _measures_shapes, _measures_large, _measures_dynamics)


def all_cases(quick: bool) -> list[Case]:
    """Cases of the same names in either size."""
    return [case for topic in TOPICS for case in topic.cases(quick)]
