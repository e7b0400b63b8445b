"""How many requests a source may send: a bucket that fills at a rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Bucket:
    """
    What a source has left.

    Attributes:
        per_s: So many requests a second are given back.
        burst: So many it holds.
        left: So many are left.
        at_s: When that was so, by a clock that nobody sets.
    """

    per_s: float
    burst: float
    left: float
    at_s: float

    def spend(self, now_s: float) -> bool:
        """Whether there was one left; it is gone now."""
        self.left = min(self.burst, self.left + max(0.0, now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.left < 1:
            return False
        self.left -= 1
        return True
