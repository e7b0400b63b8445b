from __future__ import annotations

import dataclasses
import uuid

import numpy as np
import pytest
from grid_by_hand import GRID_KEY, block_number, make_group, sealed
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


def mended(
    image: GroupImage, *, members: int = 16, deep: bool = False, candidates: dict | None = None
) -> GroupImage:
    """*image* after everything that can be written was written."""
    for finding in findings(judge(image, GRID_KEY, members, candidates, deep=deep)):
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
    whole = {
        "missing": None,
        "type": WrongType("list"),
        "short": value[: draw(st.integers(0, len(value) - 1))],
        "long": value + b"tail",
        "zeros": bytes(len(value)),
        "footer": flip(value, len(value) - draw(st.integers(1, 168))),
    }
    way = draw(st.sampled_from(["pages", *whole]))
    if way in whole:
        return whole[way]
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


def natures(image: GroupImage, *, members: int = 16, deep: bool = False) -> dict[int, str]:
    """What is said to be wrong, by role."""
    found = findings(judge(image, GRID_KEY, members, deep=deep))
    return {finding.role: finding.damage.nature.value for finding in found}


def with_blocks(blocks: dict[int, np.ndarray]) -> GroupImage:
    """A sound group with these blocks."""
    return make_group(GROUP, blocks)


BLOCKS = {m: GENERATOR.integers(0, 256, 65_536, dtype=np.uint8) for m in (0, 2, 7, 15)}
OLD = with_blocks(BLOCKS)
NEWER_BLOCKS = {**BLOCKS, 2: BLOCKS[2].copy()}
NEWER_BLOCKS[2][3 * 4096 + 40 : 3 * 4096 + 72] ^= 0xFF
NEW = with_blocks(NEWER_BLOCKS)
OLD_OF_THREE = with_blocks({0: BLOCKS[0], 1: BLOCKS[7], 2: BLOCKS[2]})
NEW_OF_THREE = with_blocks({0: BLOCKS[0], 1: BLOCKS[7], 2: NEWER_BLOCKS[2]})


@pytest.mark.parametrize("role", [2, 16, 17])
def test_an_old_value_put_back_is_stale(role: int) -> None:
    """Its footer speaks for it, parity and the record against it: it is rebuilt to the newer state."""
    hurt = replaced(NEW, role, OLD.values[role])
    assert natures(hurt) == {role: "stale"}
    assert mended(hurt) == NEW


@pytest.mark.parametrize("pair", [(2, 16), (2, 17), (16, 17)])
def test_two_old_values_put_back_are_stale(pair: tuple[int, int]) -> None:
    """Two at one offset are still outvoted by parity and the record."""
    hurt = NEW
    for role in pair:
        hurt = replaced(hurt, role, OLD.values[role])
    assert natures(hurt) == dict.fromkeys(pair, "stale")
    assert mended(hurt) == NEW


def test_an_old_record_put_back_is_stale_and_the_pages_stay() -> None:
    """Data, P and Q agree with each other and their footers: the record is what is old."""
    hurt = replaced(NEW, SUMS_ROLE, OLD.sums)
    assert natures(hurt) == {SUMS_ROLE: "stale"}
    assert mended(hurt) == NEW


def test_an_old_record_does_not_make_a_new_block_disappear() -> None:
    """A block that the record does not know, but its footer, P and Q do, was written."""
    before = with_blocks({m: b for m, b in BLOCKS.items() if m != 7})
    hurt = replaced(OLD, SUMS_ROLE, before.sums)
    assert natures(hurt) == {SUMS_ROLE: "stale"}
    assert mended(hurt) == OLD


@pytest.mark.parametrize(("role", "members"), [(2, 16), (16, 16), (2, 3), (17, 3)])
def test_an_old_value_is_found_even_without_the_record(role: int, members: int) -> None:
    """P and Q alone convict a value that is sound in itself and older than the others."""
    old, new = (OLD, NEW) if members == 16 else (OLD_OF_THREE, NEW_OF_THREE)
    hurt = replaced(replaced(new, role, old.values[role]), SUMS_ROLE, None)
    assert natures(hurt, members=members) == {role: "stale", SUMS_ROLE: "missing"}
    assert mended(hurt, members=members) == new


def test_two_equal_blocks_lost_with_the_record_do_not_pass_for_an_old_q() -> None:
    """Equal blocks cancel in P; nothing may be concluded from Q alone while members are absent."""
    hurt = with_blocks({0: BLOCKS[0], 1: BLOCKS[2], 2: BLOCKS[2]})
    for role in (1, 2, SUMS_ROLE):
        hurt = replaced(hurt, role, None)
    assert not any(finding.expected for finding in findings(judge(hurt, GRID_KEY, 16)))


def test_a_block_of_another_grid_is_foreign() -> None:
    """Its footer names another grid."""
    other = make_group(GROUP, BLOCKS, grid=uuid.UUID(int=9))
    hurt = replaced(OLD, 7, other.values[7])
    assert natures(hurt) == {7: "foreign"}
    assert mended(hurt) == OLD
    hurt = replaced(OLD, SUMS_ROLE, other.sums)
    assert natures(hurt) == {SUMS_ROLE: "foreign"}
    assert mended(hurt) == OLD


def test_two_blocks_that_changed_places_are_misplaced() -> None:
    """Each is sound, and neither is where it belongs."""
    hurt = replaced(replaced(OLD, 7, OLD.values[2]), 2, OLD.values[7])
    assert natures(hurt) == {2: "misplaced", 7: "misplaced"}
    assert mended(hurt) == OLD
    elsewhere = make_group(GROUP + 1, BLOCKS)
    assert natures(replaced(OLD, SUMS_ROLE, elsewhere.sums)) == {SUMS_ROLE: "misplaced"}


NEVER_WRITTEN = with_blocks({**BLOCKS, 5: BLOCKS[0]}).values[5]


@pytest.mark.parametrize(
    "value",
    [
        b"what is this",
        OLD.values[2],
        WrongType("hash"),
        bytes(65_704),
        NEVER_WRITTEN,
        NEVER_WRITTEN[:-1] + b"?",
    ],
)
def test_what_was_never_written_is_a_stray(value: object) -> None:
    """A key that the record does not know, and parity neither, is to be deleted."""
    hurt = replaced(OLD, 5, value)
    assert natures(hurt) == {5: "stray"}
    assert mended(hurt) == OLD


@pytest.mark.parametrize(
    ("value", "nature"), [(None, "missing"), (WrongType("list"), "wrong_type"), (b"short", "truncated")]
)
def test_a_value_that_is_no_block_at_all_is_named(value: object, nature: str) -> None:
    """Missing, of another type, of another length: each has its name, for data and for the record."""
    assert natures(replaced(OLD, 7, value)) == {7: nature}
    assert natures(replaced(OLD, SUMS_ROLE, value)) == {SUMS_ROLE: nature}


def test_a_hurt_footer_is_said_to_be_just_that() -> None:
    """Pages that match the record are good; only the checksums beside them are written."""
    value = OLD.values[7]
    (finding,) = findings(judge(replaced(OLD, 7, flip(value, 65_600)), GRID_KEY, 16))
    assert finding.damage.nature == "checksums"
    assert finding.damage.pages == ()
    assert [(part.offset, part.length) for part in finding.ranges] == [(65_536, 168)]
    assert finding.damage.proof == "copy"


@pytest.mark.parametrize(
    ("at", "new", "nature"),
    [
        (0, b"M", "checksums"),
        (4, b"\2", "checksums"),
        (6, b"\1", "misplaced"),
        (7, b"\1", "checksums"),
        (20, b"?", "foreign"),
        (24, b"\0", "misplaced"),
        (40, bytes(8), "checksums"),
    ],
)
def test_a_footer_that_is_sound_and_wrong_is_found_and_written_anew(at: int, new: bytes, nature: str) -> None:
    """Each field counts, even where the footer's own checksum fits and every page is good."""
    value = OLD.values[7]
    footer = bytearray(value[65_536:-8])
    footer[at : at + len(new)] = new
    hurt = replaced(OLD, 7, value[:65_536] + sealed(bytes(footer)))
    assert hurt != OLD
    assert not is_clean(hurt, GRID_KEY)
    assert natures(hurt) == {7: nature}
    assert mended(hurt) == OLD


def test_a_truncated_value_still_offers_its_whole_pages() -> None:
    """Three values hurt at other offsets, one of them short: the short one's own pages help."""
    hurt = replaced(OLD, 7, OLD.values[7][: 8 * 4096])
    for role in (2, 15):
        hurt = replaced(hurt, role, flip(OLD.values[role], 5 * 4096))
    assert mended(hurt) == OLD


def test_three_pages_lost_at_one_offset_are_lost_with_their_cells() -> None:
    """Damage is located to pages and to cells; the other pages come back, and nothing is invented."""
    hurt = OLD
    for role in (0, 2, 16):
        hurt = replaced(hurt, role, flip(hurt.values[role], 3 * 4096 + 5))
    hurt = replaced(hurt, 0, flip(hurt.values[0], 9 * 4096))
    found = {finding.role: finding for finding in findings(judge(hurt, GRID_KEY, 16))}
    assert sorted(found) == [0, 2, 16]
    damage = found[0].damage
    assert (damage.pages, damage.lost_pages, damage.can_be_rebuilt) == ((3, 9), (3,), False)
    first = block_number(GROUP, 0) * 2048 + 3 * 128
    assert [(cells.first, cells.count) for cells in damage.lost_cells] == [(first, 128)]
    assert found[2].expected is None
    assert found[16].damage.lost_cells == ()
    assert found[0].expected == OLD.values[0][9 * 4096 : 10 * 4096]


def test_a_page_from_a_backup_counts_only_if_it_matches() -> None:
    """A candidate that fits a checksum makes three erasures two; one that does not changes nothing."""
    hurt = OLD
    for role in (0, 2, 7):
        hurt = replaced(hurt, role, None)
    page = OLD.values[2][3 * 4096 : 4 * 4096]
    wrong = {(2, 3): [bytes(4096), b"short", page[::-1]]}
    assert not any(finding.damage.can_be_rebuilt for finding in findings(judge(hurt, GRID_KEY, 16, wrong)))
    judgement = judge(hurt, GRID_KEY, 16, {(2, 3): [bytes(4096), page]})
    assert judgement.is_known[:, 3].all()
    assert not judgement.is_known[2, 4]
    backup = {(2, number): [OLD.values[2][number * 4096 : (number + 1) * 4096]] for number in range(16)}
    assert mended(hurt, candidates=backup) == OLD
    proofs = {f.role: f.damage.proof for f in findings(judge(hurt, GRID_KEY, 16, backup))}
    assert proofs == {0: "checksum", 2: "candidate", 7: "checksum"}


def with_parity_wrong(role: int) -> GroupImage:
    """OLD with P or Q of other data under checksums that fit it everywhere."""
    other = with_blocks({**BLOCKS, 2: NEWER_BLOCKS[2]})
    sums = bytearray(OLD.sums)
    at = 32 + role * 128
    sums[at : at + 128] = other.sums[at : at + 128]
    body = bytes(sums[:-8])
    hurt = replaced(OLD, role, other.values[role])
    return replaced(hurt, SUMS_ROLE, sealed(body))


@pytest.mark.parametrize("role", [16, 17])
def test_parity_that_fits_no_data_is_found_by_a_deep_look_only(role: int) -> None:
    """Every checksum agrees, so only the equations can tell; the other one convicts it."""
    hurt = with_parity_wrong(role)
    assert is_clean(hurt, GRID_KEY)
    assert natures(hurt) == {}
    assert not is_clean(hurt, GRID_KEY, deep=True)
    assert natures(hurt, deep=True)[role] == "parity"
    assert mended(hurt, deep=True).values == OLD.values


def test_parity_that_fits_no_data_rebuilds_nothing_wrong() -> None:
    """A solution that matches no checksum is not written, though P itself matched both of its own."""
    hurt = replaced(with_parity_wrong(16), 7, None)
    (finding,) = findings(judge(hurt, GRID_KEY, 16))
    assert finding.expected is None
    assert finding.damage.lost_pages == (3,)


def test_a_group_that_lost_everything_but_its_record_offers_nothing() -> None:
    """Every block that existed is lost, and is said to be."""
    hurt = GroupImage(OLD.grid, GROUP, (None,) * 18, OLD.sums)
    found = findings(judge(hurt, GRID_KEY, 16))
    assert [finding.role for finding in found] == [0, 2, 7, 15, 16, 17]
    assert all(finding.expected is None for finding in found)
    assert sum(cells.count for finding in found for cells in finding.damage.lost_cells) == 4 * 2048


def test_a_group_never_written_is_sound() -> None:
    """Nothing there is how it begins."""
    empty = GroupImage(OLD.grid, GROUP, (None,) * 18, None)
    assert is_clean(empty, GRID_KEY, deep=True)
    assert natures(empty) == {}


def test_members_beyond_the_grid_are_never_missed() -> None:
    """With the record gone and two blocks lost, a partial group is solved: nobody else can be absent."""
    sound = with_blocks({0: BLOCKS[0], 1: BLOCKS[2], 2: BLOCKS[7], 3: BLOCKS[0]})
    hurt = sound
    for role in (1, 2, SUMS_ROLE):
        hurt = replaced(hurt, role, None)
    assert natures(hurt, members=4) == {1: "missing", 2: "missing", SUMS_ROLE: "missing"}
    assert mended(hurt, members=4) == sound
    assert not any(finding.expected for finding in findings(judge(hurt, GRID_KEY, 16)))


def test_a_record_is_not_written_anew_while_old_and_new_blocks_disagree() -> None:
    """Without the record, two old blocks beside newer P and Q leave open which are right."""
    changed = BLOCKS[7].copy()
    changed[3 * 4096] ^= 1
    hurt = with_blocks({0: BLOCKS[0], 1: changed, 2: NEWER_BLOCKS[2]})
    hurt = replaced(hurt, SUMS_ROLE, None)
    for role in (1, 2):
        hurt = replaced(hurt, role, OLD_OF_THREE.values[role])
    (finding,) = findings(judge(hurt, GRID_KEY, 3))
    assert (finding.role, finding.damage.nature.value) == (SUMS_ROLE, "missing")
    assert (finding.damage.can_be_rebuilt, finding.expected) == (False, None)


FOURTEEN = {m: GENERATOR.integers(0, 256, 65_536, dtype=np.uint8) for m in range(14)}


def with_an_old_value(role: int, changed: int) -> tuple[GroupImage, GroupImage]:
    """A group of 14 blocks; and the same without its record, with *role* from before the last write."""
    newer = {**FOURTEEN, 3: FOURTEEN[3].copy()}
    newer[3][3 * 4096 : 3 * 4096 + changed] ^= 0xFF
    sound = with_blocks(newer)
    return sound, replaced(replaced(sound, role, with_blocks(FOURTEEN).values[role]), SUMS_ROLE, None)


@pytest.mark.parametrize("role", [3, 16])
def test_two_blocks_never_written_are_not_invented_to_explain_an_old_value(role: int) -> None:
    """Two absent blocks can explain anything, so the reading that could have failed comes first."""
    sound, hurt = with_an_old_value(role, changed=32)
    assert natures(hurt) == {role: "stale", SUMS_ROLE: "missing"}
    assert mended(hurt) == sound


def test_an_old_q_beside_two_absent_blocks_leaves_it_open() -> None:
    """Two lost blocks of equal content would look the same: neither they nor a new Q are written."""
    _, hurt = with_an_old_value(17, changed=32)
    assert not any(finding.expected for finding in findings(judge(hurt, GRID_KEY, 16)))


def test_two_lost_blocks_come_back_without_the_record_if_no_other_is_absent() -> None:
    """Where no single old value explains P and Q, the two that are absent do."""
    first, second = GENERATOR.integers(0, 256, (2, 65_536), dtype=np.uint8)
    second[4096:] = 0
    sound = with_blocks({**FOURTEEN, 14: first, 15: second})
    hurt = sound
    for role in (14, 15, SUMS_ROLE):
        hurt = replaced(hurt, role, None)
    assert mended(hurt) == sound


def test_too_few_bytes_to_tell_an_old_value_from_two_lost_blocks_leave_it_open() -> None:
    """One byte of two lost blocks can look like an old third: neither reading is written."""
    _, hurt = with_an_old_value(3, changed=7)
    found = findings(judge(hurt, GRID_KEY, 16))
    assert {finding.role for finding in found} == {14, 15, SUMS_ROLE}
    assert not any(finding.expected for finding in found)
