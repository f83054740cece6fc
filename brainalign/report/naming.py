"""Names and numbers as a reader should see them: clean, short, free of machine paths."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# categories that are never shown: control, format (bidirectional overrides, zero width), surrogate
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# "https://" is no path, "server:/home/name" is one; a lone "/h" is a unit
# and the end of a tag, "</b>", none either
_POSIX_PATH = re.compile(
    r"(?<![\w./~…-])(?!(?<=:)//)(?:(?:/[^\s/'\"<>|;,]+){2,}/?|(?<!<)/[A-Za-z][\w.-]{2,})"
)
_FILE_URL = re.compile(r"file:/*[^\s'\"<>|;,]+", re.IGNORECASE)
_HOME_PATH = re.compile(r"~[\w.-]*(?:/[^\s/'\"<>|;,]+)+")
_WINDOWS_PATH = re.compile(r"(?<![A-Za-z])(?:[A-Za-z]:[\\/]|\\\\)[^\s'\"<>|;,]+")
_METRICS = {
    "pearson": "Pearson r",
    "spearman": "Spearman ρ",
    "tau_a": "Kendall τ-a",
    "tau_b": "Kendall τ-b",
    "rho_a": "Spearman ρ-a",
    "whitened_cosine": "whitened cosine",
    "whitened_pearson": "whitened correlation",
    "bures": "Bures similarity",
    "neg_riemannian": "negative Riemannian distance",
    "rsa_pearson": "RDM Pearson r",
    "rsa_spearman": "RDM Spearman ρ",
    "rsa_tau_a": "RDM Kendall τ-a",
    "cka": "linear CKA (debiased)",
    "cka_debiased": "CKA (debiased)",
    "cka_biased": "CKA (biased)",
    "r2": "R² against the test mean",
    "r2_train_mean": "R² against the training mean",
    "explained_variance": "explained variance",
}
_SYMBOLS = {
    "pearson": "r",
    "spearman": "ρ",
    "tau_a": "τ-a",
    "rsa_pearson": "r",
    "rsa_spearman": "ρ",
    "rsa_tau_a": "τ-a",
    "cka": "CKA",
    "cka_debiased": "CKA (debiased)",
    "cka_biased": "CKA (biased)",
    "r2": "R²",
    "r2_train_mean": "R²",
}


def clean(text: Any, limit: int = 300) -> str:
    """Return `text` on one line without invisible characters and machine paths, at most `limit` long.

    Direction overrides and zero-width characters could make a name read as another
    one; each is shown as a replacement mark.
    """
    out = "".join(
        " " if c in "\t\n\r" else REPLACEMENT if unicodedata.category(c) in _INVISIBLE else c
        for c in str(text)
    )
    out = _without_paths(" ".join(out.split()))
    return out if len(out) <= limit else out[: limit - 1] + "…"


def _without_paths(text: str) -> str:
    """Shorten every absolute path to its last part: where a file lay is nobody's business."""
    for pattern in (_FILE_URL, _WINDOWS_PATH, _HOME_PATH, _POSIX_PATH):
        text = pattern.sub(_last_part, text)
    return text


def _last_part(match: re.Match[str]) -> str:
    parts = [p for p in re.split(r"[\\/]", match.group()) if p and not p.endswith(":")]
    # a lone folder, or one directly below the homes, would name the machine or its user
    if len(parts) < 2 or parts[-2].lower() in ("home", "users"):
        return "…"
    return f"…/{parts[-1]}"


def isolate(text: Any, limit: int = 80) -> str:
    """Return a cleaned name for use inside a sentence; right-to-left names stay in their place."""
    name = clean(text, limit)
    if any(unicodedata.bidirectional(c) in ("R", "AL") for c in name):
        return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"
    return name


def short_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Return the names without the dotted prefix that all share, and that prefix."""
    prefix = names[0] if names else ""
    for name in names:
        while not name.startswith(prefix):
            prefix = prefix[:-1]
    prefix = prefix[: prefix.rfind(".") + 1]
    if len(names) < 3 or not prefix:
        return list(names), ""
    return [name[len(prefix) :] or name for name in names], prefix


def metric_name(metric: str) -> str:
    """The metric in words, for axes and column heads."""
    return _METRICS.get(metric, clean(metric.replace("_", " "), 40))


def symbol(metric: str) -> str:
    """The metric's symbol, for running text."""
    return _SYMBOLS.get(metric, metric_name(metric))


def number(value: Any, digits: int = 3) -> str:
    """A number with fixed decimals and a true minus sign; an absent one is an en dash."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """Two numbers in square brackets, or an en dash."""
    if low is None or high is None or not (np.isfinite(low) and np.isfinite(high)):
        return "–"
    return f"[{number(low, digits)}, {number(high, digits)}]"


def percent(value: Any) -> str:
    """A ratio as a whole percentage."""
    return "–" if value is None or not np.isfinite(value) else f"{100 * value:.0f}".replace("-", "−") + " %"


def p_text(value: Any) -> str:
    """A p- or q-value with two digits that count."""
    if value is None or not np.isfinite(value):
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.001 else f"{value:.3f}"


def count(n: int, one: str, many: str | None = None) -> str:
    """A count with its noun: "1 unit", "1 200 units"."""
    return f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") + " " + (one if n == 1 else many or one + "s")


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names in a row; more than `most` of them are counted."""
    shown = list(names)
    rest = len(shown) - most
    if rest > 0:
        return ", ".join(shown[:most]) + f" and {rest} more"
    return ", ".join(shown[:-1]) + " and " + shown[-1] if len(shown) > 1 else "".join(shown)


def mapping(info: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A nested mapping of `info`, empty when it is absent or something else."""
    value = info.get(key)
    return value if isinstance(value, Mapping) else {}


def integer(value: Any) -> int | None:
    """An integer of `info`, None when it is absent or something else."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    return int(value) if np.isfinite(value) else None


def real(value: Any) -> float | None:
    """A finite number of `info`, None when it is absent or something else."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    return float(value) if np.isfinite(value) else None


def split_method(splits: Mapping[str, Any]) -> str:
    """How the folds were made, without their number."""
    return re.sub(r"^\d+ (outer )?folds?,? ?", "", text_of(splits.get("method"), 120))


def text_of(value: Any, limit: int = 300) -> str:
    """Text, a list or a mapping of `info` as one line, each part cleaned and isolated; "" when absent."""
    if value is None or value == "":
        return ""
    if isinstance(value, Mapping):
        return _cut("; ".join(f"{isolate(k, 80)} {text_of(v, 80)}" for k, v in value.items()), limit)
    if isinstance(value, (list, tuple, set, frozenset)):
        return _cut(", ".join(text_of(v, 80) for v in value), limit)
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}"
    return isolate(value, limit)


def _cut(text: str, limit: int) -> str:
    """Shorten cleaned text; an isolate that the cut leaves open is closed."""
    if len(text) <= limit:
        return text
    text = text[: limit - 1]
    unclosed = text.count("\N{FIRST STRONG ISOLATE}") - text.count("\N{POP DIRECTIONAL ISOLATE}")
    return text + "…" + "\N{POP DIRECTIONAL ISOLATE}" * unclosed
