"""What the rows of scores are: stimuli, trials of unknown stimuli, or samples in time."""

from __future__ import annotations

import re

from brainalign.report.naming import mapping
from brainalign.types import Scores

# how the folds of trials are made where no row says which stimulus it showed
_UNKNOWN_STIMULI = re.compile(r"\bfolds of (whole runs|rows)\b")


def row_noun(scores: Scores) -> str:
    """What a test row is: "stimulus", "trial" (which stimulus it showed is not known) or "sample".

    Examples
    --------
    >>> row_noun(Scores([0.0], info={"design": "blocks"}))
    'sample'
    >>> row_noun(Scores([0.0], info={"design": "trials", "splits": {"method": "6 folds of whole runs"}}))
    'trial'
    """
    if scores.identity["analysis"] in ("rsa", "cka"):
        return "stimulus"
    if scores.info.get("design") != "trials":
        return "sample"
    unknown = _UNKNOWN_STIMULI.search(str(mapping(scores.info, "splits").get("method") or ""))
    return "trial" if unknown else "stimulus"


def rows_noun(scores: Scores) -> str:
    """The plural of `row_noun`."""
    noun = row_noun(scores)
    return "stimuli" if noun == "stimulus" else f"{noun}s"


def in_rows(scores: Scores, text: str) -> str:
    """Text that speaks of stimuli, in the word for what the rows are."""
    return text if row_noun(scores) == "stimulus" else re.sub(r"\bstimuli\b", rows_noun(scores), text)


def why_no_ceiling(scores: Scores) -> str:
    """Why there is no noise ceiling, "" where the scores do not say so."""
    reason = str(scores.info.get("no_ceiling") or "")
    if not reason.startswith("no stimulus was presented twice") or row_noun(scores) == "stimulus":
        return reason
    if row_noun(scores) == "trial":
        return "which stimulus a trial showed is not known, so that repeats cannot be told"
    return "no stretch of the recording is known to repeat another"
