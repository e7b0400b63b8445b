from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from grid_by_hand import slow_q
from hypothesis import given
from hypothesis import strategies as st

from medic8.targets.grid.parity import inverse, p_of, power, product, q_of, solve, syndromes, times


def full_rows(width: int = 64, seed: int = 0) -> np.ndarray:
    """18 rows whose P and Q are computed by definition."""
    rows = np.random.default_rng(seed).integers(0, 256, (18, width), dtype=np.uint8)
    rows[16] = np.bitwise_xor.reduce(rows[:16], axis=0)
    rows[17] = slow_q(rows[:16])
    return rows


@given(st.integers(1, 255), st.integers(0, 255))
def test_division_undoes_multiplication(factor: int, octet: int) -> None:
    """Every field element but 0 has an inverse, and tables agree with it."""
    assert product(product(octet, factor), inverse(factor)) == octet
    assert times(np.full(8, octet, np.uint8), factor)[3] == product(octet, factor)


def test_the_generator_runs_through_every_element_but_zero() -> None:
    """2 generates the field modulo 0x11d."""
    assert {power(exponent) for exponent in range(255)} == set(range(1, 256))
    assert power(8) == 0x1D
    assert product(power(-3), power(3)) == 1


@pytest.mark.parametrize("width", [8, 4096, 65_536, 69_632])
def test_p_and_q_are_those_of_the_definition(width: int) -> None:
    """Stretches, doublings and folding give what slow arithmetic gives."""
    rows = full_rows(width)
    assert np.array_equal(p_of(rows[:16]), rows[16])
    assert np.array_equal(q_of(rows[:16]), rows[17])


def test_any_one_or_two_lost_rows_are_solved() -> None:
    """All 18 single and all 153 double losses come back."""
    rows = full_rows()
    for count in (1, 2):
        for lost in combinations(range(18), count):
            hurt = rows.copy()
            hurt[list(lost)] = 0
            assert np.array_equal(solve(hurt, lost), rows[list(lost)]), lost


def test_lost_rows_must_be_named_in_order() -> None:
    """A repeated or descending pair is a mistake of the caller."""
    with pytest.raises(ValueError, match="ascending"):
        solve(full_rows(), (5, 5))


def test_syndromes_are_zero_exactly_if_p_and_q_fit() -> None:
    """One changed bit of data shows in both, one of P or Q in its own."""
    rows = full_rows()
    assert not np.any(syndromes(rows))
    for role, shows in ((3, (True, True)), (16, (True, False)), (17, (False, True))):
        hurt = rows.copy()
        hurt[role, 5] ^= 1
        p_left, q_left = syndromes(hurt)
        assert (p_left.any(), q_left.any()) == shows
