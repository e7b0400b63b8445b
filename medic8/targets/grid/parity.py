"""
P and Q of a parity group, and the solving of one or two lost members.

The field is GF(2^8) modulo 0x11d with generator 2; P is the exclusive-or of
the 16 members, Q the sum of 2^i times member i. Everything here is pure and
works on arrays of any (equal) length divisible by 8.
Source: H. P. Anvin, The mathematics of RAID-6, sections 1 to 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medic8.targets.grid.layout import MEMBERS, ROLES, P, Q

Octets = npt.NDArray[np.uint8]

_POLYNOMIAL = 0x11D
_REDUCE = np.uint8(_POLYNOMIAL & 0xFF)
_ORDER = 255

#: Stretch of a member that is carried through all 16 doublings at once; fits the second-level cache.
_STRETCH = 65_536


def _powers() -> tuple[list[int], list[int]]:
    powers, logarithms, value = [], [0] * 256, 1
    for exponent in range(_ORDER):
        powers.append(value)
        logarithms[value] = exponent
        value <<= 1
        if value & 0x100:
            value ^= _POLYNOMIAL
    return powers, logarithms


_EXP, _LOG = _powers()


def power(exponent: int) -> int:
    """2 to the *exponent* (may be negative) in the field."""
    return _EXP[exponent % _ORDER]


def product(a: int, b: int) -> int:
    """*a* times *b* in the field."""
    return 0 if a == 0 or b == 0 else _EXP[(_LOG[a] + _LOG[b]) % _ORDER]


def inverse(a: int) -> int:
    """1 divided by *a*, which is not 0, in the field."""
    return _EXP[-_LOG[a] % _ORDER]


_TABLES = [bytes(product(factor, octet) for octet in range(256)) for factor in range(256)]


def times(octets: Octets, factor: int) -> Octets:
    """Each byte of *octets* times *factor* in the field."""
    if factor == 1:
        return octets.copy()
    return np.frombuffer(octets.tobytes().translate(_TABLES[factor]), dtype=np.uint8).reshape(octets.shape)


def p_of(members: Octets) -> Octets:
    """P of the rows of *members*: their exclusive-or."""
    p: Octets = np.bitwise_xor.reduce(members.view(np.uint64), axis=0).view(np.uint8)
    return p


def q_of(members: Octets) -> Octets:
    """
    Q of the 16 rows of *members*, by Horner's rule: one doubling per member.

    A byte is doubled by adding it to itself; where its top bit was set, the
    polynomial is folded in.
    """
    q: Octets = members[MEMBERS - 1].copy()
    width = q.size
    top = np.empty(min(_STRETCH, width), dtype=np.bool_)
    for start in range(0, width, _STRETCH):
        part = q[start : start + _STRETCH]
        signed = part.view(np.int8)
        is_top = top[: part.size]
        fold = is_top.view(np.uint8)
        for member in range(MEMBERS - 2, -1, -1):
            np.less(signed, 0, out=is_top)
            np.multiply(fold, _REDUCE, out=fold)
            np.add(part, part, out=part)
            np.bitwise_xor(part, fold, out=part)
            np.bitwise_xor(part, members[member, start : start + _STRETCH], out=part)
    return q


def syndromes(rows: Octets) -> tuple[Octets, Octets]:
    """What is left of P and of Q of the 18 *rows* after the members are taken out; zeros if they agree."""
    return rows[P] ^ p_of(rows[:MEMBERS]), rows[Q] ^ q_of(rows[:MEMBERS])


def solve(rows: Octets, lost: Sequence[int]) -> Octets:
    """
    The contents of one or two lost rows of a group.

    Args:
        rows: 18 x n; the lost rows must be zeros.
        lost: One or two distinct roles, ascending.
    Returns:
        One row for each of *lost*, in their order.
    """
    members = rows[:MEMBERS]
    if len(lost) == 1:
        (role,) = lost
        if role == Q:
            return q_of(members)[np.newaxis]
        return p_of(rows[: P + 1])[np.newaxis]
    first, second = lost
    if not 0 <= first < second < ROLES:
        raise ValueError(f"lost roles {lost}: two distinct ones of 0 to {ROLES - 1}, ascending")
    if first == P:
        return np.stack((p_of(members), q_of(members)))
    if second == Q:
        (found,) = solve(rows, (first,))
        return np.stack((found, q_of(members) ^ times(found, power(first))))
    if second == P:
        found = times(rows[Q] ^ q_of(members), power(-first))
        return np.stack((found, p_of(members) ^ found))
    p_left, q_left = syndromes(rows)
    ratio = power(second - first)
    divisor = inverse(ratio ^ 1)
    found = times(p_left, product(ratio, divisor)) ^ times(q_left, product(power(-first), divisor))
    return np.stack((found, p_left ^ found))
