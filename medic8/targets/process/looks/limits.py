"""The limits that a process was given."""

from __future__ import annotations

import re

from medic8.targets.process.living import Living

_COLUMNS = re.compile(r"\s{2,}")


def limits_of(process: Living) -> dict[str, float]:
    """
    The soft limits by the kernel's names, without those that are unlimited.

    Raises:
        GoneError: the process has ended.
        UntoldError: they may not be read.
    """
    found = {}
    for line in process.read("limits").decode(errors="replace").splitlines()[1:]:
        name, soft = [*_COLUMNS.split(line), "", ""][:2]
        if soft.isdigit():
            found[name] = float(soft)
    return found
