"""Put right what killed commands and servers left behind, so that what is on record is what runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medic8.local.children import let_go_on
from medic8.local.leftovers import clear_leftovers
from medic8.local.records import DamagedRecordError, StackRecord, read_record, set_aside, write_record
from medic8.local.strays import find_strays, stop_stray


def mend(home: Path, *, progress: Callable[[str], None]) -> StackRecord:
    """
    Get the record of *home*, true of what runs there.

    A damaged record is set aside. A server that is not on record is taken on it if there is no other for its
    place, else stopped, as are parts of servers that are gone: two on one folder would destroy what is in it.
    What a signal has stopped goes on, and half-made files are cleared away.

    Args:
        home: Held by us; it exists.
        progress: Told in a sentence what was found.
    Raises:
        ConfigurationError: The record cannot be read at all.
        UnreachableError: Something could not be stopped.
    """
    try:
        record = read_record(home)
    except DamagedRecordError as exc:
        aside = set_aside(home)
        progress(f"{exc}; it is kept as {aside.name}, and what runs is known by the folders it works in")
        record = StackRecord()
    for stray in find_strays(home, (home / "servers").resolve(), record):
        if stray.server is None or stray.note is None or record.is_alive(stray.name):
            what = "a part of" if stray.server is None else "a second"
            progress(f"process {stray.identity.pid} is {what} {stray.name} and not on record; stopping it")
            stop_stray(stray)
        else:
            progress(f"process {stray.identity.pid} is {stray.name} and not on record; it is now")
            record = record.started(stray.name, stray.server, stray.note)
            write_record(home, record)
    clear_leftovers(home, record)
    for name in record.notes:
        server = record.server(name)
        if server is not None and let_go_on(server.identity):
            progress(f"{name} was stopped by a signal; it goes on now")
    return record
