from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from grid_by_hand import GRID, GRID_KEY, make_group
from hypothesis import given, settings
from hypothesis import strategies as st

from medic8.targets.grid.findings import SUMS_ROLE, findings
from medic8.targets.grid.image import GroupImage, WrongType, is_clean
from medic8.targets.grid.judgement import judge

GROUP = 70
GENERATOR = np.random.default_rng(8)


def random_group(count: int) -> GroupImage:
    """A group with *count* blocks, one of which has pages of zeros."""
    blocks = {
        int(m): GENERATOR.integers(0, 256, 65_536, dtype=np.uint8) for m in GENERATOR.permutation(16)[:count]
    }
    if blocks:
        next(iter(blocks.values()))[8192:20_480] = 0
    return make_group(GROUP, blocks)


SOUND = {count: random_group(count) for count in (1, 2, 3, 9, 14, 16)}


def flip(value: bytes, at: int) -> bytes:
    """*value* with one bit of another value."""
    return value[:at] + bytes([value[at] ^ 0x10]) + value[at + 1 :]


def replaced(image: GroupImage, role: int, value: object) -> GroupImage:
    """*image* with another value for one role."""
    if role == SUMS_ROLE:
        return dataclasses.replace(image, sums=value)
    return dataclasses.replace(image, values=(*image.values[:role], value, *image.values[role + 1 :]))


def present_of(image: GroupImage, role: int) -> object:
    """What *image* holds for a role."""
    return image.sums if role == SUMS_ROLE else image.values[role]


def mended(image: GroupImage, *, deep: bool = False, candidates: dict | None = None) -> GroupImage:
    """*image* after everything that can be written was written."""
    for finding in findings(judge(image, GRID_KEY, 16, candidates, deep=deep)):
        present = present_of(image, finding.role)
        if finding.expected is None:
            if finding.damage.nature == "stray":
                image = replaced(image, finding.role, None)
            continue
        value, at = finding.expected, 0
        if finding.ranges:
            patched = bytearray(present)
            for part in finding.ranges:
                patched[part.offset : part.offset + part.length] = value[at : at + part.length]
                at += part.length
            value = bytes(patched)
        image = replaced(image, finding.role, value)
    return image


@st.composite
def harms(draw: st.DrawFn, value: bytes) -> object:
    """One of the ways a value can be hurt."""
    way = draw(st.sampled_from(["missing", "pages", "footer", "type", "short", "long", "zeros"]))
    if way == "missing":
        return None
    if way == "type":
        return WrongType("list")
    if way == "short":
        return value[: draw(st.integers(0, len(value) - 1))]
    if way == "long":
        return value + b"tail"
    if way == "zeros":
        return bytes(len(value))
    if way == "footer":
        return flip(value, len(value) - draw(st.integers(1, 168)))
    for page in draw(st.sets(st.integers(0, 15), min_size=1, max_size=16)):
        value = flip(value, min(page * 4096 + draw(st.integers(0, 4095)), len(value) - 1))
    return value


@st.composite
def hurt_groups(draw: st.DrawFn, most: int = 2) -> tuple[GroupImage, GroupImage, list[int]]:
    """A sound group, the same with up to *most* values hurt, and which."""
    image = SOUND[draw(st.sampled_from(sorted(SOUND)))]
    roles = [*(r for r in range(18) if image.values[r] is not None), SUMS_ROLE]
    chosen = draw(st.lists(st.sampled_from(roles), min_size=1, max_size=most, unique=True))
    hurt = image
    for role in chosen:
        hurt = replaced(hurt, role, draw(harms(present_of(image, role))))
    return image, hurt, chosen


@pytest.mark.parametrize("count", sorted(SOUND))
def test_a_sound_group_has_no_findings(count: int) -> None:
    """Nothing is found in a group built from the words of the format's description."""
    assert is_clean(SOUND[count], GRID_KEY, deep=True)
    assert findings(judge(SOUND[count], GRID_KEY, 16, deep=True)) == ()


@given(hurt_groups())
@settings(max_examples=250, deadline=None)
def test_any_two_hurt_values_come_back_bit_for_bit(case: tuple[GroupImage, GroupImage, list[int]]) -> None:
    """Two hurt values, the record of checksums among them or not, are rebuilt as they were."""
    sound, hurt, _ = case
    assert is_clean(hurt, GRID_KEY) == (hurt == sound)
    assert mended(hurt) == sound


@given(hurt_groups(most=6))
@settings(max_examples=250, deadline=None)
def test_more_damage_than_parity_covers_never_yields_wrong_bytes(
    case: tuple[GroupImage, GroupImage, list[int]],
) -> None:
    """Whatever is written back is what was there before, however much is hurt."""
    sound, hurt, _ = case
    for finding in findings(judge(hurt, GRID_KEY, 16)):
        truth = present_of(sound, finding.role)
        if finding.expected is None:
            continue
        assert truth is not None
        parts = finding.ranges
        wanted = b"".join(truth[p.offset : p.offset + p.length] for p in parts) if parts else truth
        assert finding.expected == wanted
