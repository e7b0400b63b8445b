"""Say how far a share that was seen may be from the true one."""

from __future__ import annotations

import math

_Z = 1.959964  # two-sided 95 %


def interval(hits: int, of: int) -> tuple[float, float]:
    """
    Between which shares the true one lies, at 95 %, when *hits* of *of* were seen; 0 to 1 of none.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical
    inference, JASA 22 (1927).
    """
    if of == 0:
        return 0.0, 1.0
    share, square = hits / of, _Z * _Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _Z * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return max(0.0, middle - half), min(1.0, middle + half)
