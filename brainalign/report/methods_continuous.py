"""Methods sentences of designs in time: preparation, delays, confounds, gaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brainalign.report.naming import count, integer, listed, mapping, number, real, text_of


def time_sentences(info: Mapping[str, Any]) -> list[str]:
    """What was done to the samples, at which delays features entered, and what was taken out."""
    return [s for s in (_preparation(info), _dropped(info), _delays(info), _confounds(info)) if s]


def _preparation(info: Mapping[str, Any]) -> str:
    steps = info.get("preparation")
    if isinstance(steps, (list, tuple)):
        told = "; ".join(text_of(s, 160) for s in steps[:12])
    else:
        told = text_of(steps, 400)
    return f"The responses were prepared: {told.rstrip('.')}." if told else ""


def _dropped(info: Mapping[str, Any]) -> str:
    """Trials and channels that were left out of the recording, by reason."""
    reasons = mapping(info, "dropped")
    told = [f"{integer(n)} ({text_of(reason, 80)})" for reason, n in list(reasons.items())[:8] if integer(n)]
    out = [f"Trials left out: {', '.join(told)}."] if told else []
    channels = info.get("bads_dropped")
    if isinstance(channels, (list, tuple)) and channels:
        out.append(f"Channels left out: {', '.join(text_of(c, 40) for c in channels[:12])}.")
    return " ".join(out)


def _delays(info: Mapping[str, Any]) -> str:
    samples, seconds = _numbers(info.get("delays")), _numbers(info.get("delays_s"))
    if not samples:
        return ""
    shown = listed([f"{d:g}" for d in samples], 12)
    noun = "sample" if samples == [1.0] else "samples"
    told = f" ({listed([f'{d:g}' for d in seconds], 12)} s)" if seconds else ""
    if len(samples) == 1:
        return f"Features entered {shown} {noun}{told} before the responses, within runs."
    return f"Features entered at delays of {shown} {noun}{told} within runs, each with weights of its own."


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, (list, tuple)):
        return []
    return [v for v in (real(x) for x in values) if v is not None]


def _confounds(info: Mapping[str, Any]) -> str:
    told = text_of(info.get("confounds"), 300)
    return f"Confounds: {told.rstrip('.')}." if told else ""


def gap_words(info: Mapping[str, Any]) -> str:
    """The gap between test and training in samples and seconds, "" where there is none."""
    gap = integer(mapping(info, "splits").get("gap"))
    if not gap:
        return ""
    step = seconds_per_sample(info)
    seconds = f" ({number(gap * step, 1)} s)" if step else ""
    return f"{count(gap, 'sample')}{seconds} beside each test block {'was' if gap == 1 else 'were'} left out"


def seconds_per_sample(info: Mapping[str, Any]) -> float | None:
    """Seconds between samples: the repetition time, else one over the sampling rate, else None."""
    step = real(info.get("repetition_time"))
    if step is not None and step > 0:
        return step
    rate = real(info.get("sampling_rate"))
    return 1.0 / rate if rate is not None and rate > 0 else None
