"""The configuration that ``medic8 up`` leaves where there is none: a grid to try things on."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import sys
import tempfile
import tomllib
from pathlib import Path

from medic8.durable import replacing
from medic8.local.lab.acting.host import APP, DISK
from medic8.local.lab.acting.program_names import latest_address
from medic8.local.lab.actors import FOLDER
from medic8.settings import CONFIGURATION

#: The command for scaling, in the home.
COMMAND = "lab-scale"

#: What senders of alerts have to know, in the home.
SHARED = "alerts.token"
_TOKEN_BYTES = 32

_COMMAND = """\
#!/bin/sh
# Written by "medic8 up": what the target lab-server calls for scaling.
exec {program}
"""

_NAMES = ("lab", "lab-server")
_ADDRESS = re.compile(r"valkey://127\.0\.0\.1:\d+/0")

_LAB = """\
# Written by "medic8 up", once: change it as you like.
# Every field is described in docs/configuration.md.

[[target]]
name = "lab"
kind = "grid"
url = "{url}"
grid = "lab"
mode = "act"
allow = [
    "rebuild_from_parity", "restore_from_replica", "restore_from_backup", "quarantine_lost_pages",
    "break_stale_lock", "release_deadlock_victim",
]

[[target]]
name = "lab-server"
kind = "valkey"
url = "{url}"
mode = "act"
allow = [
    "purge_memory", "reload_certificate", "set_settings", "keep_connections_alive", "free_lazily",
    "resize_backlog", "limit_client_buffers", "raise_memory_limit", "flush_scripts", "kill_dead_clients",
    "kill_hogging_client", "kill_idle_clients", "kill_slow_client", "kill_script", "rewrite_files",
    "resync_replica", "expire_forgotten_keys", "scale_out",
]
# A minute instead of an hour, so that idle clients can be tried.
idle_client_age_s = 60
# The files of a large grid are looked at as well, so that damage in them can be tried.
labels = {{ check-files-mib = "1024" }}

# Two settings that no client notices, so that a fault in them can be tried.
[[target.setting]]
name = "tcp-keepalive"
issue = "slow_operations"
minimum = 60
maximum = 300

[[target.setting]]
name = "slowlog-max-len"
minimum = 128

# What "medic8 lab break leaking_prefix" leaves without an expiry.
[[target.expiry]]
prefix = "medic8-lab-session:"
after = 3600

# What the lab has for scaling: 64 MiB more for this server, four times at most.
[target.scale]
command = [{scale}]
dry_run = [{scale}]

# The process that "medic8 lab break leaking_process" and its like start.
[[target]]
name = "lab-process"
kind = "process"
url = "{process}"
mode = "act"
allow = ["weigh_down", "reload_process", "restart_process"]

# Ten seconds instead of ten minutes, so that leaks can be tried.
[target.process]
warm_up_s = 10

# The host that all of it runs on.
[[target]]
name = "lab-host"
kind = "host"
url = "host:local"
mode = "act"
allow = ["prune_files", "empty_quarantine", "prune_backups"]

# What "medic8 lab break full_disk" fills with old files.
[[target.prune]]
folder = {app}
patterns = ["*.log"]
older_than = 86400

# Who may send alerts to the gateway, as Alertmanager does or as a script: who knows what is in that file.
[[alerts.source]]
name = "alertmanager"
format = "alertmanager"
token_file = "{token}"

[[alerts.source]]
name = "script"
format = "generic"
token_file = "{token}"
"""


def write_lab_configuration(home: Path, valkey_url: str) -> Path | None:
    """
    Write a configuration with the lab's targets into *home* if there is none, and the command for scaling.

    With it goes what senders of alerts have to know, drawn by lot and for its owner alone.

    One that was written here, and not changed since, follows the server to another port; one that was cut
    short while it was written is finished.

    Args:
        home: It exists.
        valkey_url: Where the lab's server is now.
    Returns:
        The file; None if there is one that is right, or somebody's own, which is left alone.
    """
    _write_scaling(home)
    file = home / CONFIGURATION
    wanted = _text(home, valkey_url)
    found = _read(file)
    if found is not None and not _is_ours(found, home):
        return None
    _write_token(home)
    if found == wanted:
        return None
    descriptor, work = tempfile.mkstemp(dir=home, prefix=f".{CONFIGURATION}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(wanted)
    if found is not None:
        Path(work).rename(file)
        return file
    try:
        file.hardlink_to(work)  # unlike a rename, it replaces nothing
    except FileExistsError:
        return None  # somebody was faster
    finally:
        Path(work).unlink()
    return file


def lost_lab_targets(home: Path, valkey_url: str) -> tuple[str, ...]:
    """
    Get the lab's targets of a configuration in *home* that lead to a port where its server is no longer.

    Nothing of a configuration that is wrong: whoever reads it says so.
    """
    try:
        content = tomllib.loads(_read(home / CONFIGURATION) or "")
    except tomllib.TOMLDecodeError:
        return ()
    targets = content.get("target", [])
    tables = [each for each in targets if isinstance(each, dict)] if isinstance(targets, list) else []
    return tuple(
        str(each["name"])
        for each in tables
        if each.get("name") in _NAMES
        and _ADDRESS.fullmatch(str(each.get("url")))
        and each["url"] != valkey_url
    )


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return "?"  # none of ours


def _is_ours(found: str, home: Path) -> bool:
    """Whether *found* is what we write, for whatever port, or the beginning of it."""
    address = _ADDRESS.search(found)
    return _text(home, address[0] if address else "").startswith(found) or not found


def _text(home: Path, url: str) -> str:
    return _LAB.format(
        url=url,
        scale=json.dumps(str(home.absolute() / COMMAND)),
        process=latest_address(home.absolute() / FOLDER),
        token=SHARED,
        app=json.dumps(str((home / FOLDER).resolve() / DISK / APP)),
    )


def _write_token(home: Path) -> None:
    """Draw what senders have to know, unless it is there."""
    descriptor, work = tempfile.mkstemp(dir=home, prefix=f".{SHARED}.")  # mode 0600
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(secrets.token_urlsafe(_TOKEN_BYTES) + "\n")
    try:
        (home / SHARED).hardlink_to(work)  # unlike a rename, it replaces nothing
    except FileExistsError:
        return
    finally:
        Path(work).unlink()


def _write_scaling(home: Path) -> None:
    """Write the command anew each time: another Python may be ours by now."""
    program = shlex.join([sys.executable, "-m", "medic8.local.lab.scaling", str(home.absolute())])
    with replacing(home / COMMAND, outlasts_power=False) as file:
        file.write(_COMMAND.format(program=program).encode())
        os.fchmod(file.fileno(), 0o700)
