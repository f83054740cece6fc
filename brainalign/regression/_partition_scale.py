"""The size of a feature space, and the number that makes it 1."""

from __future__ import annotations

from collections.abc import Sequence

# of the variance over all rows: below it the training rows vary by no more than rounding
_CONSTANT = 1e-12


def space_sizes(
    traces: Sequence[float], whole: Sequence[float], *, equal_trace: bool
) -> tuple[list[float], list[float]]:
    """Mean squared norm of a training row in each space after scaling, and the factor of its kernel.

    Parameters
    ----------
    traces : trace of the centred kernel of the training rows over their weight, one per space
    whole : the same of all rows: what a space that is constant in training is measured by
    equal_trace : make all sizes 1 (0 where a space is constant: it can explain nothing)
    """
    varies = [size > _CONSTANT * total for size, total in zip(traces, whole, strict=True)]
    sizes = [size if vary else 0.0 for size, vary in zip(traces, varies, strict=True)]
    if not equal_trace:
        return sizes, [float(vary) for vary in varies]
    return [float(vary) for vary in varies], [1 / size if size > 0 else 0.0 for size in sizes]
