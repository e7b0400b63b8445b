"""Whether the snapshot and the append-only file of a server of this machine can be read."""

from __future__ import annotations

from collections.abc import Iterable

from medic8.errors import RefusedError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.data_files import SETTINGS, Part, located
from medic8.targets.valkey.file_check import damage_of
from medic8.targets.valkey.looks.asking import Refusal, looking
from medic8.targets.valkey.looks.facts import parse_flat
from medic8.targets.valkey.looks.server_log import is_here

#: Label of a target by which a person lets larger files be checked.
CHECK_FILES_MIB = "check-files-mib"

#: Larger ones are not checked unless a person says so: reading one takes a second for each 100 MiB.
_MOST_MIB = 32

#: The finding of each part.
CODES = {Part.SNAPSHOT: "persistence.snapshot_damaged", Part.AOF: "persistence.aof_damaged"}
_BUILT_IN = frozenset({"lua"})


def look_at_files(target: Target, around: Surroundings) -> DiagnosticResult:
    """A copy of each file, read by the server's own program; nothing for a server of another machine."""
    with looking(target) as server:
        facts = server.info("server", "persistence")
        settings = server.settings(*SETTINGS)
        modules = server.try_one("MODULE", "LIST")
        readings: list[Reading | None] = []
        findings: list[Finding] = []
        if not facts:  # refused, which the result says
            return server.result("files", around)
        if not is_here(target):
            server.unseen.append("snapshot and append-only file: they are on another machine")
            return server.result("files", around)
        try:
            files = located(facts, settings)
        except RefusedError as exc:
            server.unseen.append(f"snapshot and append-only file: {exc}")
            return server.result("files", around)
        for part in _parts(facts):
            try:
                if not files.files(part):
                    continue
                _require_no_modules(modules)
                damage = damage_of(files, part, most_bytes=most_bytes_of(target))
            except RefusedError as exc:
                server.unseen.append(f"{part}: {exc}")
                continue
            readings.append(reading(f"files.{part.name.lower()}", "damaged" if damage else "whole"))
            findings += judge_file(part, damage, str(files.folder))
        return server.result("files", around, readings, findings)


def judge_file(part: Part, damage: str, folder: str) -> tuple[Finding, ...]:
    """Whether a file that the server would start from can be read."""
    if not damage:
        return ()
    return (
        Finding(
            code=CODES[part],
            severity=Severity.ERROR,
            text=f"the {part} is damaged: the server would not start from it, or without what it holds",
            about=part,
            evidence=(Evidence(what=part, seen=damage, limit="a copy can be read"),),
            advice=(
                f"keep a copy of {shown(folder)} before anything else",
                "BGSAVE" if part is Part.SNAPSHOT else "BGREWRITEAOF",
                "then look for the reason: the disk's own messages, smartctl -a",
            ),
        ),
    )


def most_bytes_of(target: Target) -> int:
    """The largest files that are checked."""
    said = target.labels.get(CHECK_FILES_MIB, "")
    return (int(said) if said.isdecimal() and len(said) < 8 else _MOST_MIB) << 20  # noqa: PLR2004 - a number


def _parts(facts: Facts) -> Iterable[Part]:
    yield Part.SNAPSHOT
    # While it is written anew its parts come and go.
    is_moving = "1" in (facts.get("aof_rewrite_in_progress"), facts.get("aof_rewrite_scheduled"))
    if facts.get("aof_enabled") == "1" and not is_moving:
        yield Part.AOF


def _require_no_modules(modules: object) -> None:
    if isinstance(modules, Refusal):
        if modules.is_unknown:
            return
        raise RefusedError("whether the server has modules may not be asked (+module|list)")
    told = [parse_flat(each) for each in modules] if isinstance(modules, list) else []
    # What is part of the program has no path, as vectorset of Redis 8, or is one of Valkey's own.
    foreign = sorted(
        each.get("name", "") for each in told if each.get("path") != "" and each.get("name") not in _BUILT_IN
    )
    if foreign:
        raise RefusedError(
            f"it may have values of the module {shown(foreign[0])}, which a copy is read without"
        )
