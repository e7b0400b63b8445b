"""The commands that set the kernel right, now and for the next boot."""

from __future__ import annotations

#: Read at boot, after what the distribution brings along. Source: sysctl.d(5).
KEPT = "/etc/sysctl.d/60-medic8.conf"


def set_and_keep(name: str, value: str | int) -> str:
    """The command that sets *name*, and keeps it over a boot."""
    return f"sysctl -w {name}='{value}' && echo '{name} = {value}' >> {KEPT}"
