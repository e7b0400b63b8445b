"""Every fault is really there, is named by a scrub, and is healed by what it says it is healed by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import valkey

from medic8.backups.place import BackupPlace
from medic8.cli.run import run
from medic8.errors import ConfigurationError, RefusedError
from medic8.local.lab import settings as lab_settings
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Breakage, make
from medic8.local.lab.faults import FAULTS, fault_named
from medic8.local.lab.reset import remove_grid, reset
from medic8.local.lab.server import lab_connection
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.grid import BlockDamage, BlockRole, ScrubReport
from medic8.model.target import SettingRule, Target
from medic8.targets.grid.backup import create_backup
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.grid.diagnose import diagnose_grid
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key, sums_key
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.grid.rebuild import inspect_manifest, rebuild_group, swap
from medic8.targets.grid.repairs import with_repairs
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.valkey.client import connection, setting

STOCK = np.random.default_rng(6).integers(0, 256, (8, 65_536), dtype=np.uint8).view(CELL)
#: What other tests try, as it takes processes.
OF_WORK = {"stale_lock", "deadlock", "lost_updates", "damage_primary_alone"}
IN_GROUPS = sorted(
    {name for name, fault in FAULTS.items() if fault.part == "grid"} - {"damage_manifest_copy", *OF_WORK}
)
BEYOND_PARITY = {"damage_three_of_a_group", "lose_pages"}
SEEDS = range(3)


def waves(number: int) -> np.ndarray:
    """The cells of a block."""
    return STOCK[number % 8]


@pytest.fixture
def client(valkey_url: str, valkey_server: ScratchValkey) -> Iterator[valkey.Valkey]:
    """Get a client of the empty shared server."""
    assert valkey_url
    with connection(valkey_server.socket_url) as found:
        yield found


@pytest.fixture
def bench(client: valkey.Valkey) -> Bench:
    """Get a full grid of six layers: 64 groups of three blocks."""
    reset(client, "lab", waves, depth=6)
    return Bench(client, "lab")


def dump(client: valkey.Valkey) -> dict[str, bytes | None]:
    """Every string of the server."""
    keys = sorted(key.decode() for key in client.scan_iter(count=1000))
    return dict(zip(keys, client.mget(keys), strict=True))


def changed(before: dict[str, bytes | None], after: dict[str, bytes | None]) -> set[str]:
    """The keys whose values differ."""
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def bits_between(before: bytes, after: bytes) -> int:
    """How many bits differ."""
    assert len(before) == len(after)
    return (int.from_bytes(before) ^ int.from_bytes(after)).bit_count()


def report_of(bench: Bench) -> ScrubReport:
    manifest = read_manifest(bench.client, "lab").manifest
    return scrub(bench.client, manifest, ScrubOptions(is_deep=True)).report


def key_of(damage: BlockDamage) -> str:
    roles = {BlockRole.P: 16, BlockRole.Q: 17}
    if damage.role is BlockRole.SUMS:
        return sums_key("lab", damage.group)
    return role_key("lab", damage.group, damage.member if damage.member is not None else roles[damage.role])


def broken(bench: Bench, fault: str, seed: int = 1, strength: int | None = None) -> Breakage:
    return make(FAULTS[fault], bench, target="lab", seed=seed, strength=strength)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", IN_GROUPS)
def test_a_fault_changes_exactly_what_it_says_and_a_scrub_names_exactly_that(
    bench: Bench, fault: str, seed: int
) -> None:
    """Nobody has to guess whether a finding of the lab is the lab's."""
    before = dump(bench.client)
    breakage = broken(bench, fault, seed)
    hurt = changed(before, dump(bench.client))
    assert breakage.what
    if fault == "stale_block":  # the write that is lost is in P, Q and the record; the block is as it was
        assert not hurt & set(breakage.keys)
    elif fault == "lose_pages":  # written as an application does, so parity and the record moved as well
        assert hurt > set(breakage.keys)
    else:
        assert hurt == set(breakage.keys)
    report = report_of(bench)
    assert {key_of(block) for group in report.damage for block in group.blocks} == set(breakage.keys)
    assert bool(report.lost_cells) == (fault in BEYOND_PARITY)


@pytest.mark.parametrize("fault", sorted(set(IN_GROUPS) - {*BEYOND_PARITY, "stale_block"}))
def test_parity_heals_what_is_said_to_be_healed_by_parity(bench: Bench, fault: str) -> None:
    """Afterwards every byte of the server is as it was."""
    assert FAULTS[fault].healed_by == "rebuild_from_parity"
    before = dump(bench.client)
    broken(bench, fault)
    for damage in report_of(bench).damage:
        rebuild_group(bench.client, bench.manifest, damage.group)
    assert dump(bench.client) == before


def test_what_was_written_after_a_backup_and_lost_is_beyond_proof(bench: Bench, tmp_path: Path) -> None:
    """A backup from before the fault heals three damaged blocks, and not pages that were written since."""
    target = Target(name="lab", kind="grid", url="valkey://unused", grid="lab")
    for fault, expected in (("damage_three_of_a_group", 0), ("lose_pages", 3)):
        reset(bench.client, "lab", waves, depth=6)
        fresh = Bench(bench.client, "lab")
        create_backup(
            bench.client,
            "lab",
            grid_repository(BackupPlace.of(tmp_path), "lab"),
            now=datetime(2026, 1, 1, tzinfo=UTC),
        )
        broken(fresh, fault)
        report = with_repairs(
            bench.client, diagnose_grid(bench.client, "lab"), target, BackupPlace.of(tmp_path)
        )
        assert sum(len(item.data) for item in report.consistency.beyond_proof) == expected


def test_a_lost_write_is_found_again(bench: Bench) -> None:
    """What comes back is the cell that was written last, not the sound block from before."""
    before = dump(bench.client)
    breakage = broken(bench, "stale_block")
    assert dump(bench.client)[breakage.keys[0]] == before[breakage.keys[0]]
    for damage in report_of(bench).damage:
        rebuild_group(bench.client, bench.manifest, damage.group)
    after = dump(bench.client)
    assert after[breakage.keys[0]] != before[breakage.keys[0]]
    assert report_of(bench).is_clean


def test_bits_are_flipped_one_by_one_and_stay_within_parity(bench: Bench) -> None:
    """However many, at most two values of a group are hurt, so the grid can always be healed."""
    before = dump(bench.client)
    breakage = broken(bench, "flip_bits", strength=500)
    after = dump(bench.client)
    assert sum(bits_between(before[key], after[key]) for key in breakage.keys) == len(breakage.what)
    assert len(breakage.what) > 490
    report = report_of(bench)
    assert max(len(group.blocks) for group in report.damage) == 2
    assert report.lost_cells == 0


def test_a_flipped_bit_is_the_one_that_is_named(bench: Bench) -> None:
    """Bit 0 is the lowest of its byte."""
    before = dump(bench.client)
    key = role_key("lab", 5, 2)
    bench.flip_bit(key, 4097, 3)
    after = bench.client.get(key)
    assert after[4097] == before[key][4097] ^ 0b1000
    assert bits_between(before[key], after) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_one_copy_of_the_manifest_is_hurt_and_never_both(bench: Bench, seed: int) -> None:
    """The other copy brings it back; a second run is refused, since it could take the grid away."""
    before = dump(bench.client)
    breakage = broken(bench, "damage_manifest_copy", seed)
    assert changed(before, dump(bench.client)) == set(breakage.keys)
    (item,) = inspect_manifest(bench.client, "lab")
    assert (item.key,) == breakage.keys
    with pytest.raises(RefusedError, match="damaged already"):
        broken(bench, "damage_manifest_copy")
    present = bench.client.get(item.key)
    assert swap(bench.client, item, present, before[item.key]).is_written
    assert dump(bench.client) == before


def test_equal_seeds_break_the_same(bench: Bench) -> None:
    """What somebody saw can be shown to somebody else."""
    first = broken(bench, "delete_blocks", seed=7)
    reset(bench.client, "lab", waves)
    assert broken(Bench(bench.client, "lab"), "delete_blocks", seed=7) == first
    reset(bench.client, "lab", waves)
    assert broken(Bench(bench.client, "lab"), "delete_blocks", seed=8) != first


def test_a_setting_leaves_its_range_and_comes_back(client: valkey.Valkey) -> None:
    """Broken twice, it is put back to what it was before the first time."""
    rules = (SettingRule(name="hz", minimum=10, maximum=100),)
    bench = Bench(client, "lab", rules)
    before = setting(client, "hz")
    for seed in range(6):
        broken(bench, "setting_out_of_range", seed)
        assert not 10 <= int(setting(client, "hz")) <= 100
    assert lab_settings.put_settings_back(client) == (f"setting hz is {before} again",)
    assert setting(client, "hz") == before
    assert dump(client) == {}


def test_a_reset_leaves_a_whole_grid_and_no_stranger_is_touched(bench: Bench) -> None:
    """Other grids and other keys of the server stay."""
    bench.client.set("m8:{laboratory}:manifest", "other")
    bench.client.set("stranger", "kept")
    broken(bench, "delete_blocks", strength=40)
    Grid.open(bench.client, "lab").grow(9)
    done = reset(bench.client, "lab", waves)
    assert (done.depth, done.blocks) == (9, 288)
    report = report_of(bench)
    assert (report.is_clean, report.blocks_checked) == (True, 288 + 2 * 64)
    remove_grid(bench.client, "lab")
    assert sorted(bench.client.keys()) == [b"m8:{laboratory}:manifest", b"stranger"]


@pytest.mark.parametrize("strength", [0, -1, 100_000])
def test_what_cannot_be_broken_is_refused_and_nothing_is_changed(bench: Bench, strength: int) -> None:
    """Half a fault would be one that nobody asked for."""
    before = dump(bench.client)
    for fault in FAULTS:
        with pytest.raises(RefusedError, match=f"strength {strength}"):
            broken(bench, fault, strength=strength)
    assert dump(bench.client) == before


def test_an_unknown_fault_names_the_known_ones() -> None:
    """A slip of the pen is answered with what could have been meant."""
    with pytest.raises(ConfigurationError, match=r'"flip_bit".*delete_blocks.*did you mean "flip_bits"'):
        fault_named("flip_bit")


def test_no_other_server_is_broken(valkey_server: ScratchValkey, tmp_path: Path) -> None:
    """By whatever address: what counts is which server answers there."""
    with (
        scratch_valkey(tmp_path) as other,
        pytest.raises(RefusedError, match="not the lab's server"),
        lab_connection(other.url, valkey_server.url),
    ):
        raise AssertionError("another server was let in")
    with lab_connection(valkey_server.socket_url, valkey_server.url) as client:
        assert client.ping()
    with pytest.raises(RefusedError, match="medic8 up"), lab_connection(valkey_server.url, None):
        raise AssertionError("there is no lab")


def test_the_command_breaks_nothing_outside_of_the_lab(
    bench: Bench, valkey_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target of the configuration is not enough: its server must be the local stack's own."""
    (tmp_path / "medic8.toml").write_text(f'[[target]]\nname = "lab"\nkind = "grid"\nurl = "{valkey_url}"\n')
    before = dump(bench.client)
    environ = {"MEDIC8_HOME": str(tmp_path)}
    assert run(["lab", "break", "flip_bits"], environ=environ) == 1
    assert "the lab's server does not run" in capsys.readouterr().err
    assert run(["lab", "reset"], environ=environ) == 1
    assert run(["lab", "break", "flip_bit"], environ=environ) == 2
    assert run(["lab", "break", "flip_bits", "--target", "lap"], environ=environ) == 2
    assert dump(bench.client) == before


def test_the_list_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """With what heals it, for programs as for people."""
    assert run(["lab", "list", "--json"], environ={}) == 0
    listed = json.loads(capsys.readouterr().out)["faults"]
    assert {each["name"]: each["healed_by"] for each in listed} == {
        name: fault.healed_by for name, fault in FAULTS.items()
    }
    assert run(["lab", "list"], environ={}) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in FAULTS)
