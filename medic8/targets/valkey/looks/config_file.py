"""Whether a server runs with other settings than its file has, so that a restart would change them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.server_log import is_here, read_end

#: Compared is what has one plain value: no secrets, nothing that stands several times, nothing that the
#: server writes in a form of its own.
_LEFT_OUT = re.compile(
    r"pass|user|auth|include|rename|module|save|buffer-limit|bind|replicaof|slaveof|acl|notify|oom-score"
)
_NAME = re.compile(r"[a-z][a-z0-9-]{1,63}")
_MOST = 100

#: Source: valkey.conf, "Note on units".
_UNITS = {"k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30, "b": 1}
_SIZE = re.compile(r"(\d+)([kmg]?b?)")

#: What a server's process is called.
_PROGRAMS = ("valkey", "redis", "keydb")


def look_at_config_file(target: Target, around: Surroundings) -> DiagnosticResult:
    """The file that the server was started with, if it lies here, against the settings that it runs with."""
    with looking(target) as server:
        facts = server.info("server")
        name = facts.get("config_file", "")
        if not name:
            if facts:
                server.unseen.append("the server's file of settings: it was started without one")
            return server.result("config_file", around)
        if not is_here(target) or not _runs_here(facts.get("process_id", "")):
            server.unseen.append("the server's file of settings: the server is not seen on this machine")
            return server.result("config_file", around)
        try:
            on_disk = parse_file(read_end(Path(name)).decode("utf-8", "replace"))
        except OSError as exc:
            server.unseen.append(f"the server's file of settings {shown(name, 200)}: {exc.strerror}")
            return server.result("config_file", around)
        running = server.settings(*on_disk) if on_disk else {}
        other = differing(on_disk, running)
        return server.result(
            "config_file",
            around,
            [reading("config_file.compared", len(running), "count")],
            judge_differing(other, name),
        )


def parse_file(text: str) -> dict[str, str]:
    """The settings of a file that have one plain value; of several lines the last one counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        try:
            words = shlex.split(line, comments=False) if not line.lstrip().startswith("#") else []
        except ValueError:
            continue
        if len(words) != 2:  # noqa: PLR2004 - a name and its value
            continue
        name = words[0].lower()
        if _NAME.fullmatch(name) and not _LEFT_OUT.search(name):
            found[name] = words[1]
    return dict(list(found.items())[:_MOST])


def differing(on_disk: Mapping[str, str], running: Mapping[str, str]) -> list[str]:
    """The names of settings that differ, whatever way their values are written; never their values."""
    return sorted(
        name for name, value in on_disk.items() if name in running and plain(value) != plain(running[name])
    )


def plain(value: str) -> str:
    """A value in one way of writing: sizes in bytes, words in small letters."""
    value = value.strip().lower()
    size = _SIZE.fullmatch(value)
    return str(int(size[1]) * _UNITS[size[2] or "b"]) if size else value


def judge_differing(names: list[str], file: str) -> tuple[Finding, ...]:
    """
    What a restart would change; worth knowing, since somebody may have set it on purpose.

    Args:
        names: The settings.
        file: Where the others are.
    """
    if not names:
        return ()
    listed = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")  # noqa: PLR2004
    return fact(
        "settings.unsaved",
        Severity.INFO,
        f"{len(names)} settings differ from the server's file, and a restart sets them back: {listed}",
        about="file of settings",
        evidence=(Evidence(what="file", seen=shown(file, 200)),),
        advice=(
            "CONFIG REWRITE writes the present settings into the file, if they are the right ones",
            "CONFIG SET NAME VALUE sets one to what the file has, if that is right",
        ),
    )


def _runs_here(process: str) -> bool:
    """Whether the server's process is one of this machine: an address may lead through a tunnel elsewhere."""
    if not process.isdecimal():
        return False
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8").startswith(_PROGRAMS)
    except OSError:
        return False
