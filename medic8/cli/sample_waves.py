"""Waves to try a grid with: made up, different in every cell, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medic8.targets.grid.format import CELL
from medic8.targets.grid.layout import BLOCK_CELLS

#: 2026-01-01 00:00:00 UTC; the waves' clock starts there, so that equal seeds give equal bytes.
_EPOCH_S = 1_767_225_600


def sample_block(seed: int, number: int) -> npt.NDArray[np.void]:
    """
    The cells of a block.

    Args:
        seed: Chooses the waves; any integer.
        number: The block's number, from 0; every block has other waves.
    """
    random = np.random.default_rng([seed & 0xFFFF_FFFF_FFFF_FFFF, number])
    block = np.frombuffer(random.bytes(CELL.itemsize * BLOCK_CELLS), dtype=CELL).copy()
    block["id"] = np.arange(number * BLOCK_CELLS, (number + 1) * BLOCK_CELLS)
    block["frequency"] %= 1_000
    block["timestamp"] = _EPOCH_S + block["id"]
    return block
