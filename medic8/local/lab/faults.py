"""The faults by name."""

from __future__ import annotations

from medic8.local.lab import endpoint_faults
from medic8.local.lab.breakage import Fault
from medic8.local.lab.copies import damage_manifest_copy, damage_record
from medic8.local.lab.damage import delete_blocks, flip_bits
from medic8.local.lab.groups import (
    damage_primary_alone,
    damage_three_of_a_group,
    delete_two_of_a_group,
    lose_pages,
)
from medic8.local.lab.locks import deadlock, stale_lock
from medic8.local.lab.names import named
from medic8.local.lab.on_host import hosts, processes
from medic8.local.lab.on_server import (
    client_faults,
    file_faults,
    half_open,
    memory_faults,
    replica_faults,
    save_faults,
    slowness,
    way_faults,
)
from medic8.local.lab.places import misplace_block, stale_block
from medic8.local.lab.settings import setting_out_of_range
from medic8.local.lab.updates import lost_updates

_PARITY, _BACKUP = "rebuild_from_parity", "restore_from_backup"
_QUARANTINE = "quarantine_lost_pages"

_ALL = (
    Fault("flip_bits", "flips random bits of blocks, P and Q", "bits", 8, _PARITY, flip_bits),
    Fault("delete_blocks", "deletes random blocks", "blocks", 3, _PARITY, delete_blocks),
    Fault(
        "delete_two_of_a_group",
        "deletes two values of a parity group: all that parity can bear",
        "groups",
        1,
        _PARITY,
        delete_two_of_a_group,
    ),
    Fault(
        "damage_three_of_a_group",
        "damages the same page of three blocks of a parity group: more than parity can bear",
        "groups",
        1,
        _BACKUP,
        damage_three_of_a_group,
    ),
    Fault(
        "damage_primary_alone",
        "damages as much on the primary of a replica, whose own values stay good",
        "groups",
        1,
        "restore_from_replica",
        damage_primary_alone,
    ),
    Fault(
        "lose_pages",
        "writes to the same page of three blocks of a parity group, then damages it: no backup holds that",
        "groups",
        1,
        _QUARANTINE,
        lose_pages,
    ),
    Fault("misplace_block", "writes a good block over another one", "blocks", 1, _PARITY, misplace_block),
    Fault("stale_block", "loses the last write to a block", "blocks", 1, _PARITY, stale_block),
    Fault(
        "damage_record",
        "hurts or deletes the checksums of a parity group",
        "groups",
        1,
        _PARITY,
        damage_record,
    ),
    Fault(
        "damage_manifest_copy",
        "hurts or deletes one of the two copies of the manifest",
        "1",
        1,
        _PARITY,
        damage_manifest_copy,
    ),
    Fault(
        "setting_out_of_range",
        "sets a setting of the server out of the range that the configuration asks for",
        "settings",
        1,
        "set_settings",
        setting_out_of_range,
        "server",
    ),
    Fault(
        "stale_lock",
        "takes locks of the grid in a process of its own, and kills it",
        "locks",
        2,
        "break_stale_lock",
        stale_lock,
    ),
    Fault(
        "deadlock",
        "has two processes hold a lock each and wait for each other's, and kills them so",
        "pairs",
        1,
        "release_deadlock_victim",
        deadlock,
    ),
    Fault(
        "lost_updates",
        "has processes count in one cell, two of which write over what others have counted",
        "refused writes",
        120,
        "",
        lost_updates,
        advice="read and write under grid.lock, or name grid.versions; writes=checked refuses all else",
        most=2000,
    ),
    *client_faults.FAULTS,
    *half_open.FAULTS,
    *memory_faults.FAULTS,
    *slowness.FAULTS,
    *save_faults.FAULTS,
    *file_faults.FAULTS,
    *replica_faults.FAULTS,
    *way_faults.FAULTS,
    *processes.FAULTS,
    *hosts.FAULTS,
    *endpoint_faults.FAULTS,
)

#: All faults, by name.
FAULTS = {fault.name: fault for fault in _ALL}


def fault_named(name: str) -> Fault:
    """
    The fault called *name*.

    Raises:
        ConfigurationError: there is none; the message names those that are.
    """
    return named("fault", FAULTS, name)
