"""Tell keys that a scan has given before, in two bytes of memory for each key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

#: Bits for each key that is expected; with six probes one key in a thousand is doubted for nothing.
_BITS = 16
_PROBES = 6
_LEAST_BITS = 1 << 20
_MOST_BITS = 1 << 32


class SeenKeys:
    """
    A Bloom filter: what it calls new is new, what it does not may have been seen.

    Source: B. H. Bloom, Space/time trade-offs in hash coding with allowable errors, CACM 13 (1970).

    Args:
        expected: Keys that will come, about; more make it doubt more of them, and nothing worse.
    """

    def __init__(self, expected: int) -> None:
        wanted = max(_LEAST_BITS, min(_BITS * expected, _MOST_BITS))
        self._bits = 1 << (wanted - 1).bit_length()
        self._filter = np.zeros(self._bits // 8, dtype=np.uint8)

    def sort(self, names: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        """
        Split *names* into those that are certainly new, and those that may have been seen.

        Returns:
            Both in the order given; all of them count as seen afterwards.
        """
        names = list(dict.fromkeys(names))
        if not names:
            return [], []
        halves = np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, names)), dtype="<u8").reshape(-1, 2)
        steps = np.arange(_PROBES, dtype=np.uint64)
        # Probes on a line through two hashes serve as well as independent ones (Kirsch, Mitzenmacher 2006).
        places = (halves[:, :1] + halves[:, 1:] * steps) & np.uint64(self._bits - 1)
        cells, masks = places >> np.uint64(3), np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)
        is_doubtful = (self._filter[cells] & masks).all(axis=1)
        np.bitwise_or.at(self._filter, cells, masks)
        # Names of one batch are different ones, so they may share bits without being doubted.
        new = [name for name, is_in in zip(names, is_doubtful, strict=True) if not is_in]
        return new, [name for name, is_in in zip(names, is_doubtful, strict=True) if is_in]
