"""Temporal filters of MNE without phase shift: an event stays where it was."""

from __future__ import annotations

import copy
from typing import Any

from brainalign.errors import InputError

FIR = "FIR filter of MNE (windowed sinc, no shift in time)"
BUTTERWORTH = "Butterworth filter of order 4, forward and backward (no shift in time)"
_METHODS: dict[str, dict[str, Any]] = {
    FIR: {"method": "fir"},
    BUTTERWORTH: {
        "method": "iir",
        "phase": "zero",
        # padding at both ends as scipy.signal.sosfiltfilt has it for a band of this order
        "iir_params": {"order": 4, "ftype": "butter", "output": "sos", "padlen": 27},
    },
}


def check_band(high_pass_hz: float | None, low_pass_hz: float | None, sampling_rate: float) -> None:
    """Refuse a band that the sampling rate cannot hold.

    Raises
    ------
    InputError
        A corner is not positive, not under half of the sampling rate, or they are crossed.
    """
    nyquist = sampling_rate / 2
    for name, corner in (("high_pass_hz", high_pass_hz), ("low_pass_hz", low_pass_hz)):
        if corner is not None and not 0 < corner < nyquist:
            raise InputError(
                f"{name}={corner!r} must lie between 0 and {nyquist:g} Hz, half of the sampling rate of "
                f"{sampling_rate:g} Hz; None leaves it out"
            )
    if high_pass_hz is not None and low_pass_hz is not None and high_pass_hz >= low_pass_hz:
        raise InputError(
            f"high_pass_hz={high_pass_hz:g} is not under low_pass_hz={low_pass_hz:g}; nothing would pass"
        )


def filtered(
    raw: Any, band: tuple[float | None, float | None], *, method: str = FIR, picks: Any = None
) -> tuple[Any, list[str]]:
    """Filter an MNE raw recording in place; return it and what was done, in words.

    `method` is `FIR` (Hamming window; transition bands min(max(0.25 l, 2), l) Hz and
    min(max(0.25 h, 2), nyquist - h) Hz) or `BUTTERWORTH` (6 dB at the corners). The
    recording is loaded.
    """
    check_band(*band, float(raw.info["sfreq"]))
    raw.load_data(verbose="WARNING")
    if band == (None, None):
        return raw, []
    # MNE writes the coefficients into iir_params
    raw.filter(*band, picks=picks, verbose="WARNING", **copy.deepcopy(_METHODS[method]))
    low = "0" if band[0] is None else f"{band[0]:g}"
    high = "half the sampling rate" if band[1] is None else f"{band[1]:g}"
    return raw, [f"{low} to {high} Hz, {method}, whole run, before epoching"]
