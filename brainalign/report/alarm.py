"""One standing alarm: how loud it is, what it found, and how a quiet one reads."""

from __future__ import annotations

from dataclasses import dataclass

ALARM, NOTE, QUIET, OPEN = "alarm", "note", "quiet", "open"
# what is said of a check that found nothing: its title alone would read as its opposite
_FINDINGS = {
    "A guard was overruled": "No guard was overruled",
    "Below chance": "No score below chance",
    "Above the noise ceiling": "No score above its ceiling",
    "Control as good as the model": "No control as good as its model",
    "Units without a score": "No unit without a score",
    "Constant predictions": "No constant prediction",
    "Penalties at the edge of their grid": "No crowd of penalties at the edge of their grid",
    "Folds disagree": "No disagreement of folds",
    "Few test rows": "No test set of few rows",
    "Training scores like test scores": "No training score like its test score",
    "Slow drift in the responses": "No notable drift in the responses",
    "No control for time": "A control that knows the time alone was scored",
}


@dataclass(frozen=True)
class Alarm:
    """One check: `level` is "alarm", "note", "quiet" or "open" (could not be made); `where` names
    the results that it looked at.
    """

    level: str
    title: str
    text: str
    where: str = ""

    @property
    def finding(self) -> str:
        """What is said where the check found nothing: a statement, with its numbers if any."""
        said = _FINDINGS.get(self.title, f"Nothing found: {self.title}")
        return said if not self.text or self.text.startswith("No ") else f"{said}: {self.text}"
