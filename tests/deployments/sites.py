"""Configurations to deploy."""

from __future__ import annotations

from pathlib import Path

from medic8.settings import Settings, load_settings

#: A host, a server that can be healed on a queue of its own, and secrets that belong into no form.
SITE = """
[[target]]
name = "box"
kind = "host"
url = "host:local"

[[target]]
name = "cache"
kind = "valkey"
url = "valkey://ann:hunter2@127.0.0.1:1/0"
queue = "rack-7"
mode = "act"
allow = ["set_settings", "purge_memory"]

[target.schedule]
health = 60
backup = 86400
heal = true

[[target]]
name = "waves"
kind = "grid"
url = "valkey://127.0.0.1:1/0"
"""


def site_of(folder: Path, text: str = SITE) -> Settings:
    """The site that *text* configures, with its state in *folder*."""
    file = folder / "medic8.toml"
    file.write_text(text)
    file.chmod(0o600)
    return load_settings(file, environ={"MEDIC8_HOME": str(folder / "home")}, cwd=folder)
