"""What the rows of scores are: stimuli, trials of unknown stimuli, or samples in time."""

from __future__ import annotations

from brainalign.types import Scores


def row_noun(scores: Scores) -> str:
    """What a test row is: "stimulus", "trial" (which stimulus it showed is not known) or "sample".

    Examples
    --------
    >>> row_noun(Scores([0.0], info={"design": "blocks"}))
    'sample'
    >>> row_noun(Scores([0.0], info={"design": "trials", "rows": "trial"}))
    'trial'
    """
    if scores.identity["analysis"] in ("rsa", "cka"):
        return "stimulus"
    if scores.info.get("design") != "trials":
        return "sample"
    return "trial" if scores.info.get("rows") == "trial" else "stimulus"


def rows_noun(scores: Scores) -> str:
    """The plural of `row_noun`."""
    noun = row_noun(scores)
    return "stimuli" if noun == "stimulus" else f"{noun}s"
