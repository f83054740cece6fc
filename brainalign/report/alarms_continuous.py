"""Checks of designs in time: slow drift in the responses, and whether time alone explains them."""

from __future__ import annotations

from brainalign.design import TIME_INDEX
from brainalign.report.alarm import ALARM, NOTE, OPEN, QUIET, Alarm
from brainalign.report.describe import is_continuous, is_control
from brainalign.report.groups import Group
from brainalign.report.naming import mapping, number, percent, real

_TIMES_EXPECTED = 2.0
_NOTABLE_SHARE = 0.1


def drift(group: Group) -> Alarm | None:
    """Whether the responses drift more slowly than any effect of interest; nothing for trials.

    The share of variance below the cut-off decides, never the sign or size of a score.
    """
    found = mapping(group.lead.info, "drift")
    title = "Slow drift in the responses"
    if not found:
        continuous = is_continuous(group.lead) and group.analysis in ("", "encoding")
        return Alarm(OPEN, title, "The drift of the responses is not recorded.") if continuous else None
    share, expected = real(found.get("median_share")), real(found.get("expected_share")) or 0.0
    cutoff = number(real(found.get("cutoff_s")), 0)
    if share is None:
        return Alarm(OPEN, title, "The drift of the responses could not be measured.")
    told = (
        f"{percent(share)} of the variance of the responses (median over units) is slower than {cutoff} s; "
        f"{percent(expected)} would be expected of white noise"
    )
    if share <= _TIMES_EXPECTED * expected or share <= _NOTABLE_SHARE:
        return Alarm(QUIET, title, f"{told}.")
    return Alarm(
        ALARM,
        title,
        f"The responses hold slow drift: {told}. A feature that drifts, too, predicts it, or is "
        f"contradicted by it, whatever it means; {_remedy(group)}.",
    )


def _remedy(group: Group) -> str:
    """What has not been done against drift yet."""
    steps = group.lead.info.get("preparation") or ()
    done = " ".join(map(str, steps)) if isinstance(steps, (list, tuple)) else str(steps)
    if "high-pass" in done:
        return "a shorter preparation.high_pass_s would take more of it out"
    if "trend" in done:
        return "the linear trend is out already, set preparation.high_pass_s (128 is usual) too"
    return "set preparation.high_pass_s (128 is usual) or preparation.detrend"


def best_lag(group: Group) -> Alarm | None:
    """Whether the lag at which the features serve best lies among the delays of the model."""
    scan = mapping(group.lead.info, "lag_scan")
    delays, found = group.lead.info.get("delays"), real(scan.get("best_lag"))
    steps = [d for d in map(real, delays) if d is not None] if isinstance(delays, (list, tuple)) else []
    if not steps or found is None:
        return None
    title = "Best lag outside the delays"
    if min(steps) <= found <= max(steps):
        return Alarm(QUIET, title, "The best single lag lies among the delays of the model.")
    seconds = real(scan.get("best_lag_s"))
    where = f"{found:g} samples" + (f" ({number(seconds, 2)} s)" if seconds is not None else "")
    text = (
        f"One lag at a time, the features serve best at {where}; the model has delays of {min(steps):g} to "
        f"{max(steps):g} samples. Events may be early or late, or moved already to where the response is."
    )
    return Alarm(NOTE, title, text)


def time_control(group: Group) -> Alarm | None:
    """Whether a control that knows the time alone stands beside a continuous claim."""
    if group.analysis not in ("", "encoding") or group.lead.info.get("design") != "continuous":
        return None
    title = "No control for time"
    if any(is_control(s) and s.identity["model"] == TIME_INDEX for s in group.contenders):
        return Alarm(QUIET, title, "")
    text = (
        "No control with the time since the start of the run as its only feature was scored: how much of the "
        "score slow changes alone would reach stays open."
    )
    return Alarm(NOTE, title, text)
