"""All cases of the RSA benchmark, in full size or at a fraction of it."""

from __future__ import annotations

import _rsa_bootstrap
import _rsa_comparators
import _rsa_distances
import _rsa_large
import _rsa_searchlight
from _rsa_case import Case

TOPICS = (_rsa_bootstrap, _rsa_distances, _rsa_searchlight, _rsa_large, _rsa_comparators)


def all_cases(quick: bool) -> list[Case]:
    """Cases of the same names in either size."""
    return [case for topic in TOPICS for case in topic.cases(quick)]
