"""The configuration that ``medic8 up`` leaves where there is none: a grid to try things on."""

from __future__ import annotations

import os
from pathlib import Path

from medic8.settings import CONFIGURATION

_LAB = """\
# Written by "medic8 up", once: change it as you like.
# Every field is described in docs/configuration.md.

[[target]]
name = "lab"
kind = "grid"
url = "{url}"
grid = "lab"
mode = "act"
allow = ["rebuild_from_parity", "restore_from_backup"]

[[target]]
name = "lab-server"
kind = "valkey"
url = "{url}"
mode = "act"
allow = ["set_settings"]

# Two settings that no client notices, so that a fault in them can be tried.
[[target.setting]]
name = "tcp-keepalive"
minimum = 60
maximum = 300

[[target.setting]]
name = "slowlog-max-len"
minimum = 128
"""


def write_lab_configuration(home: Path, valkey_url: str) -> Path | None:
    """
    Write a configuration with the lab's targets into *home* if there is none.

    Returns:
        The file; None if there was one already, which is left alone.
    """
    file = home / CONFIGURATION
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    with os.fdopen(descriptor, "w") as stream:
        stream.write(_LAB.format(url=valkey_url))
    return file
