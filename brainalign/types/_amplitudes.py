"""Whether the values of sensors are of the size that brains make: volt or microvolt, tesla or femtotesla."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainalign.errors import InputError

# smallest and largest robust amplitude (1.4826 x median absolute deviation over time) of a
# recording or an average, and a usual one; unshielded and invasive recordings included
LIMITS = {
    "eeg": (1e-8, 5e-3, 2e-5, "V"),
    "seeg": (1e-8, 2e-2, 5e-5, "V"),
    "ecog": (1e-8, 2e-2, 5e-5, "V"),
    "dbs": (1e-8, 2e-2, 5e-5, "V"),
    "mag": (5e-16, 5e-9, 5e-13, "T"),
    "grad": (5e-15, 5e-8, 5e-12, "T/m"),
}
_WORDS = {"V": "volt", "T": "tesla", "T/m": "tesla per metre"}
_PREFIXES = {"milli": 1e-3, "micro": 1e-6, "nano": 1e-9, "pico": 1e-12, "femto": 1e-15}
_MOST_SAMPLES = 20_000
# against the median of its type: a mistaken prefix, and what rounding leaves of a reference
_ONE_CHANNEL, _FLAT = 1e4, 1e-8


def robust_amplitudes(values: np.ndarray) -> np.ndarray:
    """1.4826 x median absolute deviation of each channel, (n_channels,); 0 where it is constant.

    Parameters
    ----------
    values : (n_rows, n_channels) or (n_rows, n_channels, n_times); at most 20,000 samples
        of each channel are used, evenly spaced
    """
    flat = values if values.ndim == 2 else np.moveaxis(values, 1, 2).reshape(-1, values.shape[1])
    picked = flat[:: max(1, len(flat) // _MOST_SAMPLES)].astype(np.float64)
    picked[:, np.isnan(picked).all(axis=0)] = 0.0
    centred = picked - np.nanmedian(picked, axis=0)
    out = 1.4826 * np.nanmedian(np.abs(centred), axis=0)
    # a channel that rests most of the time has no median deviation
    return np.where(out > 0, out, np.sqrt(np.nanmean(centred**2, axis=0)))


def check_amplitudes(amplitudes: np.ndarray, names: Sequence[str], types: Sequence[str]) -> list[str]:
    """Refuse channels whose amplitude no brain makes; return the names of the flat ones.

    Raises
    ------
    InputError
        A type of channel, or one channel, is off by what a mistaken unit makes of it.
    """
    flat: list[str] = []
    for kind in dict.fromkeys(types):
        index = [i for i, t in enumerate(types) if t == kind]
        live = [i for i in index if amplitudes[i] > 0]
        median = float(np.median(amplitudes[live])) if len(live) else 0.0
        flat += [names[i] for i in index if amplitudes[i] <= _FLAT * median]
        if kind in LIMITS and median > 0:
            _check_type(kind, median, amplitudes[live], [names[i] for i in live])
    return flat


def _check_type(kind: str, median: float, amplitudes: np.ndarray, names: Sequence[str]) -> None:
    low, high, usual, unit = LIMITS[kind]
    if not low <= median <= high:
        typical = int(np.argmin(np.abs(amplitudes - median)))
        raise InputError(
            f"the {len(names)} {kind} channels have a robust amplitude of {median:.3g} {unit} (median; for "
            f"instance {names[typical]!r}); expected {low:g} to {high:g} {unit}. "
            f"{_explain(median, usual, unit)}; check_amplitude=False takes them as they are"
        )
    ratio = amplitudes / median
    odd = ((ratio > _ONE_CHANNEL) & (amplitudes > high)) | ((ratio < 1 / _ONE_CHANNEL) & (ratio > _FLAT))
    if odd.any():
        first = int(np.flatnonzero(odd)[0])
        raise InputError(
            f"{kind} channel {names[first]!r} has a robust amplitude of {amplitudes[first]:.3g} {unit}, "
            f"{kind} channels have {median:.3g} (median); {int(odd.sum())} such. "
            f"{_explain(float(amplitudes[first]), median, unit)}; mark it as bad, or check_amplitude=False"
        )


def _explain(amplitude: float, usual: float, unit: str) -> str:
    """Name the prefix that would make the amplitude usual."""
    powers = {(name, sign): factor**sign for name, factor in _PREFIXES.items() for sign in (1, -1)}
    prefix, sign = min(powers, key=lambda key: abs(np.log10(amplitude * powers[key] / usual)))
    factor = powers[prefix, sign]
    if sign == 1:
        return f"They look like {prefix}{_WORDS[unit]} stored as {_WORDS[unit]} (multiply by {factor:g})"
    return f"They look like {_WORDS[unit]} scaled twice (multiply by {factor:g})"
