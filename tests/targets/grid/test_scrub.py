from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import valkey

from medic8.errors import ConfigurationError, RefusedError
from medic8.targets.grid import checksum
from medic8.targets.grid.compare_and_write import HoldsExactly
from medic8.targets.grid.diagnose import diagnose_grid, risks
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.manifest import grow_manifest, read_manifest
from medic8.targets.grid.rebuild import (
    inspect_group,
    inspect_manifest,
    present,
    proven,
    rebuild_group,
    swap,
)
from medic8.targets.grid.scrub import ScrubOptions, scrub

RNG = np.random.default_rng(4)
STOCK = RNG.integers(0, 256, (8, 65_536), dtype=np.uint8).view(CELL)


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get a grid of 40 layers: a whole extent with two members of each group, and a partial one."""
    made = Grid.create(client, "lab", 40)
    made.fill(lambda number: STOCK[number % 8] if number < 128 or number >= 1024 else None)
    return made


@pytest.fixture
def small(client: valkey.Valkey) -> Grid:
    """Get a grid of which only groups 5 and 6 were written, with two blocks each."""
    made = Grid.create(client, "lab", 40)
    made.fill(lambda number: STOCK[number % 8] if number < 128 else None, groups=[5, 6])
    return made


def dump(client: valkey.Valkey) -> dict[bytes, bytes | None]:
    """Every string of the server."""
    keys = sorted(client.scan_iter())
    return dict(zip(keys, client.mget(keys), strict=True))


def nth(grid: Grid, group: int, role: int) -> str:
    """Key of a role, or of the record for role 18."""
    return role_key("lab", group, role) if role < 18 else sums_key(grid.manifest.name, group)


HARMS = {
    "missing": lambda c, key: c.delete(key),
    "damaged": lambda c, key: c.setrange(key, 4 * 4096 + 5, b"????"),
    "checksums": lambda c, key: c.setrange(key, 65_600, b"?" * 16),
    "truncated": lambda c, key: c.append(key, b"x"),
    "wrong_type": lambda c, key: (c.delete(key), c.rpush(key, "x")),
    "foreign": lambda c, key: c.set(key, c.get(key.replace("{lab/", "{other/"))),
    "misplaced": lambda c, key: c.copy(key.replace("{lab/5}", "{lab/6}"), key, replace=True),
}


@pytest.mark.parametrize("role", [0, 1, 16, 17])
@pytest.mark.parametrize("nature", HARMS)
def test_every_kind_of_damage_is_found_named_and_undone(
    client: valkey.Valkey, small: Grid, nature: str, role: int
) -> None:
    """The scrub names block and nature, and the rebuild leaves every byte as it was."""
    other = Grid.create(client, "other", 40)
    other.fill(lambda number: STOCK[(number + 1) % 8] if number < 128 else None, groups=[5])
    before = dump(client)
    HARMS[nature](client, nth(grid, 5, role))
    found = scrub(client, small.manifest).report
    assert (found.damaged_groups, found.suspicions, found.is_complete) == (1, 1, True)
    (damage,) = found.damage[0].blocks
    assert (damage.group, damage.nature.value, damage.can_be_rebuilt) == (5, nature, True)
    assert damage.block == (5 + 64 * role if role < 16 else None)
    if nature == "damaged":
        assert damage.pages == (4,)
    (item,) = inspect_group(client, small.manifest, 5).items
    assert item.is_restorable == (nature != "wrong_type")
    rebuild_group(client, small.manifest, 5)
    assert dump(client) == before
    assert scrub(client, small.manifest, ScrubOptions(is_deep=True)).report.is_clean


def test_a_stray_block_is_found_in_groups_that_exist_and_in_those_that_do_not(
    client: valkey.Valkey, grid: Grid
) -> None:
    """What was never written is looked for as well."""
    before = dump(client)
    client.set(role_key("lab", 7, 9), b"x")
    client.rpush(role_key("lab", 8, 9), "x")
    grid.grow(70)
    client.set(role_key("lab", 128, 3), b"x")
    found = scrub(client, grid.manifest).report
    natures = [(d.group, b.nature.value, b.block) for d in found.damage for b in d.blocks]
    assert natures[:2] == [(7, "stray", 7 + 9 * 64), (8, "stray", 8 + 9 * 64)]
    assert found.damaged_groups == 3
    for group in (7, 8):
        rebuild_group(client, grid.manifest, group)
    client.delete(role_key("lab", 128, 3))
    after = dump(client)
    assert {k: v for k, v in after.items() if b"manifest" not in k} == {
        k: v for k, v in before.items() if b"manifest" not in k
    }


def test_a_scrub_counts_what_it_saw_and_shows_progress(client: valkey.Valkey, grid: Grid) -> None:
    """Groups, values and bytes are those of the grid; progress counts data blocks and ends at the total."""
    steps: list[tuple[int, int]] = []
    result = scrub(
        client, grid.manifest, ScrubOptions(on_progress=lambda done, total: steps.append((done, total)))
    )
    report = result.report
    existing = 128 + 256
    assert result.blocks_existing == existing
    assert (report.groups_checked, report.groups_total) == (128, 128)
    assert report.blocks_checked == existing + 2 * 128
    assert report.bytes_read == report.blocks_checked * 65_704 + 128 * 2_344
    assert steps[0] == (16, 1280)
    assert steps[-1] == (1280, 1280)
    assert (report.suspicions, report.lost_cells, report.is_complete) == (0, 0, True)
    assert result.performance.reads_timed == 2
    assert result.performance.throughput_bytes_per_s > 0


def test_a_scrub_looks_at_the_groups_asked_for_in_their_order(client: valkey.Valkey, grid: Grid) -> None:
    """Damage elsewhere is not seen; a group that does not exist is refused before anything is read."""
    client.delete(role_key("lab", 5, 0))
    assert scrub(client, grid.manifest, ScrubOptions(groups=[9, 4])).report.is_clean
    assert not scrub(client, grid.manifest, ScrubOptions(groups=[9, 5])).report.is_clean
    with pytest.raises(ConfigurationError, match="parity group 128: the grid has groups 0 to 127"):
        scrub(client, grid.manifest, ScrubOptions(groups=[0, 128]))


@pytest.mark.parametrize("after", [0, 1, 63, 64, 70])
def test_a_scrub_that_is_stopped_says_so_and_leaves_the_connection_usable(
    client: valkey.Valkey, grid: Grid, after: int
) -> None:
    """What was looked at counts, and no answers are left on their way."""
    done: list[int] = []
    options = ScrubOptions(on_progress=lambda *_: done.append(1), should_stop=lambda: len(done) >= after)
    report = scrub(client, grid.manifest, options).report
    assert (report.groups_checked, report.is_complete) == (after, False)
    assert client.ping() is True
    assert scrub(client, grid.manifest).report.is_clean


def test_a_scrub_keeps_to_its_limit(client: valkey.Valkey, grid: Grid) -> None:
    """At a megabyte a second the pauses add up to the bytes read, and none is longer than one group takes."""
    now, pauses = [100.0], []

    def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        now[0] += pause_s

    options = ScrubOptions(limit_bytes_per_s=1e6, clock=lambda: now[0], sleep=sleep)
    report = scrub(client, grid.manifest, options).report
    assert report.duration_s == pytest.approx(report.bytes_read / 1e6)
    assert max(pauses) < 0.6
    assert scrub(client, grid.manifest, ScrubOptions(sleep=sleep)).report.is_clean
    assert report.duration_s == pytest.approx(sum(pauses))


def test_the_report_describes_a_bounded_number_of_groups_and_counts_all(
    client: valkey.Valkey, grid: Grid
) -> None:
    """A grid that is damaged everywhere does not make the report grow without bound."""
    for group in range(20):
        for role in (0, 1, 16):
            client.delete(role_key("lab", group, role))
    report = scrub(client, grid.manifest, ScrubOptions(most_damage_kept=3)).report
    assert (len(report.damage), report.damaged_groups) == (3, 20)
    assert report.lost_cells == 20 * 2 * 2048


def test_the_memory_of_a_scrub_does_not_grow_with_the_grid(client: valkey.Valkey, grid: Grid) -> None:
    """A few groups are held at once, clean or damaged, however many there are."""
    grid.fill(lambda number: STOCK[number % 8], groups=range(64))
    client.delete(role_key("lab", 3, 2))
    scrub(client, grid.manifest, ScrubOptions(groups=[3]))
    tracemalloc.start()
    report = scrub(client, grid.manifest).report
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.bytes_read > 60 << 20
    assert peak < 10 << 20


def test_lost_blocks_are_located_to_their_cells(client: valkey.Valkey, small: Grid) -> None:
    """Two blocks and P gone: all cells of both blocks, and nothing else."""
    for role in (0, 1, 16):
        client.delete(role_key("lab", 5, role))
    report = scrub(client, small.manifest).report
    assert report.lost_cells == 2 * 2048
    ranges = report.damage[0].lost_cells
    assert [(cells.first, cells.count) for cells in ranges] == [(5 * 2048, 2048), (69 * 2048, 2048)]
    assert inspect_group(client, small.manifest, 5).items == ()


def test_parity_that_fits_no_data_is_found_by_a_deep_scrub_only(client: valkey.Valkey, small: Grid) -> None:
    """P with a wrong byte under checksums that fit it everywhere: Q and the data convict it."""
    before = dump(client)
    key = role_key("lab", 5, 16)
    value, record = bytearray(client.get(key)), bytearray(client.get(sums_key("lab", 5)))
    value[3 * 4096] ^= 1
    keys = checksum.place_keys(checksum.grid_key(small.manifest.uuid), 5)
    wrong = checksum.hash_page(bytes(value[3 * 4096 : 4 * 4096])) ^ int(keys[16, 3])
    value[65_568 + 24 : 65_568 + 32] = wrong.to_bytes(8, "little")
    record[32 + 16 * 128 + 24 : 32 + 16 * 128 + 32] = wrong.to_bytes(8, "little")
    client.set(key, bytes(value[:-8]) + checksum.seal(bytes(value[65_536:-8])))
    client.set(sums_key("lab", 5), bytes(record[:-8]) + checksum.seal(bytes(record[:-8])))
    assert scrub(client, small.manifest).report.is_clean
    report = scrub(client, small.manifest, ScrubOptions(is_deep=True)).report
    natures = [(block.role.value, block.nature.value, block.pages) for block in report.damage[0].blocks]
    assert natures[0] == ("p", "parity", (3,))
    rebuild_group(client, small.manifest, 5)
    assert dump(client) == before
    assert scrub(client, small.manifest, ScrubOptions(is_deep=True)).report.is_clean


def test_a_diagnosis_speaks_of_health_consistency_and_performance(client: valkey.Valkey, grid: Grid) -> None:
    """The report of a sound grid on a server that keeps its keys."""
    report = diagnose_grid(client, "lab")
    assert (report.health.manifest_copies_good, report.health.risks) == (2, ())
    assert (report.health.blocks_existing, report.health.blocks_total) == (384, 1280)
    assert report.consistency.is_consistent
    assert report.performance.read_median_s > 0
    assert report.health.uuid == str(grid.manifest.uuid)


def test_a_server_that_may_drop_keys_is_a_risk(client: valkey.Valkey, grid: Grid) -> None:
    """An evicting policy and an expiry on any of the grid's keys are each named; others are none."""
    client.config_set("maxmemory-policy", "volatile-lru")
    assert risks(client, grid.manifest) == ()
    client.config_set("maxmemory-policy", "allkeys-lfu")
    client.expire(sums_key("lab", 3), 1000)
    assert [risk.split(":")[0] for risk in risks(client, grid.manifest)] == [
        "the server may evict any key",
        "1 of 386 sampled keys of the grid expire; none of a grid's keys should",
    ]


def test_a_damaged_copy_of_the_manifest_is_written_from_the_other(client: valkey.Valkey, small: Grid) -> None:
    """Either copy, and every kind of damage to it."""
    assert inspect_manifest(client, "lab") == ()
    before = dump(client)
    for number, key in enumerate(manifest_keys("lab")):
        for harm in ("missing", "truncated", "wrong_type"):
            HARMS[harm](client, key)
            (item,) = inspect_manifest(client, "lab")
            assert (item.role.value, item.number) == ("manifest", number)
            assert diagnose_grid(client, "lab", ScrubOptions(groups=[0])).health.manifest_copies_good == 1
            assert swap(client, item, present(client, item), proven(client, item)).is_written
            assert dump(client) == before
    assert small.layout.depth == 40


@pytest.mark.parametrize("nature", [n for n in HARMS if n not in {"wrong_type", "foreign"}])
def test_a_rebuild_can_be_taken_back_and_done_again(client: valkey.Valkey, small: Grid, nature: str) -> None:
    """Exchanging the two values of a swap puts back exactly what was there; a moved fence stops both."""
    assert small.layout.depth == 40
    HARMS[nature](client, role_key("lab", 5, 1))
    hurt = dump(client)
    client.set("claim", b"1")
    (item,) = inspect_group(client, small.manifest, 5).items
    old, new = present(client, item), proven(client, item)
    assert item.size_bytes == len(new)
    assert swap(client, item, old, new, [HoldsExactly("claim", b"2")]).answer == "fenced"
    fence = [HoldsExactly("claim", b"1")]
    assert swap(client, item, old, new, fence).is_written
    if nature not in {"missing", "truncated"}:
        assert swap(client, item, old, new, fence).answer == "changed"
    assert present(client, item) == proven(client, item) == new
    assert swap(client, item, new, old, fence).is_written
    client.delete("claim")
    assert dump(client) == hurt


def test_what_a_damaged_page_must_have_been_does_not_change_under_other_writes(
    client: valkey.Valkey, small: Grid
) -> None:
    """A repair read before a legitimate write to another member is still right after it."""
    key = role_key("lab", 5, 1)
    client.setrange(key, 4 * 4096 + 5, b"????")
    (item,) = inspect_group(client, small.manifest, 5).items
    old, new = present(client, item), proven(client, item)
    small.write_cells([5 * 2048 + 4 * 128 + 3, 5 * 2048], STOCK[3][:2])  # same offset, other member
    small.write_cells([69 * 2048 + 7 * 128], STOCK[3][2:3])  # another page of the damaged block
    assert (present(client, item), proven(client, item)) == (old, new)
    assert swap(client, item, old, new).is_written
    assert scrub(client, small.manifest, ScrubOptions(is_deep=True)).report.is_clean


def test_a_repair_that_was_overtaken_by_a_fill_changes_nothing(client: valkey.Valkey, small: Grid) -> None:
    """A whole group replaced at once is the one way a damaged page can change."""
    client.setrange(role_key("lab", 5, 1), 4 * 4096 + 5, b"????")
    (item,) = inspect_group(client, small.manifest, 5).items
    old, new = present(client, item), proven(client, item)
    small.fill(lambda number: STOCK[(number + 3) % 8], groups=[5])
    after = dump(client)
    assert swap(client, item, old, new).answer == "changed"
    assert dump(client) == after


def test_a_grid_created_anew_is_not_repaired_by_an_old_plan(client: valkey.Valkey, small: Grid) -> None:
    """The plan names the grid's UUID."""
    client.delete(role_key("lab", 5, 1))
    (item,) = inspect_group(client, small.manifest, 5).items
    client.flushall()
    Grid.create(client, "lab", 40)
    with pytest.raises(Exception, match="and was"):
        proven(client, item)


@pytest.mark.parametrize("role", [1, 16, 18])
def test_a_value_stretched_to_20_mib_takes_no_more_memory_than_a_good_one(
    client: valkey.Valkey, small: Grid, role: int
) -> None:
    """It is named and could be proven, but what is there is too long to be kept for undo."""
    client.setrange(nth(small, 5, role), 20 * 2**20 - 1, b"x")
    tracemalloc.start()
    report = diagnose_grid(client, "lab", ScrubOptions(is_deep=True)).consistency.scrub
    (item,) = inspect_group(client, small.manifest, 5).items
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (damage,) = report.damage[0].blocks
    assert (damage.nature.value, damage.can_be_rebuilt) == ("truncated", True)
    assert report.bytes_read < 1_000_000
    assert peak < 16_000_000
    with pytest.raises(RefusedError, match=f"{item.number}: it is 20971520 bytes long, and at most 8388608"):
        present(client, item)


def test_an_empty_value_and_an_empty_record_are_no_missing_ones(client: valkey.Valkey, small: Grid) -> None:
    """A range of a missing key is empty as well; the second look tells the two apart."""
    client.set(sums_key("lab", 9), b"")
    client.set(role_key("lab", 5, 1), b"")
    client.delete(role_key("lab", 6, 1))
    found = scrub(client, small.manifest).report
    assert [group.group for group in found.damage] == [5, 6, 9]
    assert [group.blocks[0].nature.value for group in found.damage[:2]] == ["truncated", "missing"]


def test_a_manifest_that_is_too_long_is_not_read_whole(client: valkey.Valkey, small: Grid) -> None:
    """One byte more than a good one shows what is wrong with it."""
    client.setrange(manifest_keys("lab")[1], 20 * 2**20 - 1, b"x")
    state = read_manifest(client, "lab")
    assert (len(state.values[1]), state.good_copies) == (113, 1)
    with pytest.raises(GridDamagedError, match="repair it first"):
        grow_manifest(client, small.manifest)
