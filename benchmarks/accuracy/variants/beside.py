"""The lab's faults and healthy states of processes, hosts and endpoints as variants."""

from __future__ import annotations

import contextlib
import http.client
import os
import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.accuracy.variant import (
    Answer,
    Cause,
    Kind,
    PruneSite,
    RequestSite,
    Site,
    Stage,
    Truth,
    Variant,
)
from benchmarks.accuracy.variants.lab import becomes, broken
from medic8.local.lab.breakage import Breakage
from medic8.local.lab.faults import FAULTS
from medic8.local.lab.states import STATES

_LEAK, _FULL, _NET, _SLOW = (
    Answer.MEMORY_LEAK,
    Answer.RESOURCE_EXHAUSTION,
    Answer.NETWORK,
    Answer.SLOW_OPERATIONS,
)

Look = Callable[[Stage], bool]


def _always(_: Stage) -> bool:
    return True


def _made(name: str, stage: Stage) -> Breakage:
    return Breakage.model_validate_json(stage.notes[name])


def _subjects(stage: Stage) -> list[Path]:
    """
    The lab's program of this run, by its command line: ``/proc/NUMBER``.

    The one that was there first: after a restart another one begins anew with what it did.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if b"acting.subject" in words and str(stage.folder).encode() in words:
                found.append(folder)
    if found:
        stage.notes.setdefault("subjects", " ".join(each.name for each in found))
    return [each for each in found if each.name in stage.notes["subjects"].split()]


def _status(stage: Stage, field: str) -> int:
    with contextlib.suppress(OSError):
        for folder in _subjects(stage):
            for line in (folder / "status").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    return int(line.split()[1])
    return 0


def _grows(measured: Callable[[Stage], int], least: int) -> Look:
    def look(stage: Stage) -> bool:
        before = measured(stage)
        return bool(before) and becomes(lambda: measured(stage) >= before + least)

    return look


def _descriptors(stage: Stage) -> int:
    with contextlib.suppress(OSError):
        return sum(len(list((folder / "fd").iterdir())) for folder in _subjects(stage))
    return 0


def _dead_children(stage: Stage) -> int:
    parents, found = {int(folder.name) for folder in _subjects(stage)}, 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found += fields[0] == "Z" and int(fields[1]) in parents
    return found


def _spawned(stage: Stage) -> int:
    logs = stage.folder.glob("home-*/lab-actors/*/supervisord.log")
    return sum(log.read_text().count("spawned:") for log in logs)


def _listen_overflows(_: Stage) -> int:
    names, values = (
        line.split()[1:]
        for line in Path("/proc/net/netstat").read_text().splitlines()
        if line.startswith("TcpExt")
    )
    return 1 + int(values[names.index("ListenOverflows")])


def _issuer(stage: Stage) -> str:
    """The file that the lab names as its certificate's issuer; empty for a service without TLS."""
    found = [str(each) for each in stage.folder.glob("home-*/lab-actors/certificate-*/certificate.pem")]
    return found[0] if found else ""


def _asked(name: str, stage: Stage, timeout_s: float = 3.0) -> tuple[int, float]:
    """Status and seconds of one plain request; 0 = no answer in time."""
    place, began_s = urlsplit(_made(name, stage).url), time.monotonic()
    if place.scheme == "https":
        context = ssl.create_default_context(cafile=_issuer(stage))
        talk: http.client.HTTPConnection = http.client.HTTPSConnection(
            place.netloc, timeout=timeout_s, context=context
        )
    else:
        talk = http.client.HTTPConnection(place.netloc, timeout=timeout_s)
    try:
        talk.request("GET", "/")
        answer = talk.getresponse()
        answer.read(2)
    except TimeoutError:
        return 0, time.monotonic() - began_s
    finally:
        talk.close()
    return answer.status, time.monotonic() - began_s


def _answers(name: str, status: int, least_s: float = 0.0) -> Look:
    def look(stage: Stage) -> bool:
        seen, took_s = _asked(name, stage)
        return seen == status and took_s >= least_s

    return look


def _answers_now_and_then(name: str) -> Look:
    return lambda stage: {_asked(name, stage)[0] for _ in range(40)} == {200, 500}


def _is_refused(name: str, reason: str) -> Look:
    def look(stage: Stage) -> bool:
        try:
            _asked(name, stage)
        except ssl.SSLCertVerificationError as exc:
            return reason in str(exc)
        return False

    return look


def _disk_is_full(stage: Stage) -> bool:
    (folder,) = stage.folder.glob("home-*/lab-actors/disk")
    room = os.statvfs(folder)
    return room.f_bavail < 0.15 * room.f_blocks


def _site(stage: Stage) -> Site:
    disks = [str(each) for each in stage.folder.glob("home-*/lab-actors/disk/app")]
    return Site(
        timeout_s=2.0,
        request=RequestSite(count=8, ca_file=_issuer(stage)),
        prune=tuple(PruneSite(each, ("*.log",)) for each in disks),
    )


def _true(truth: Truth, _: Stage) -> Truth:
    return truth


def _fault(
    kind: Kind,
    name: str,
    strength: tuple[int, int],
    answer: Answer,
    cause: Cause,
    look: Look,
    also: tuple[tuple[Answer, ...], tuple[Cause, ...]] = ((), ()),
) -> Variant:
    truth = Truth(answer, cause, (), *also, healable=bool(FAULTS[name].healed_by))
    return Variant(
        f"lab.{name}",
        kind,
        strength,
        partial(_true, truth),
        partial(broken, "fault", name),
        look,
        _site,
        has_server=True,
    )


def _state(kind: Kind, name: str, strength: tuple[int, int], look: Look = _always) -> Variant:
    assert name in STATES
    return Variant(
        f"lab.{name}",
        kind,
        strength,
        partial(_true, Truth(Answer.NONE)),
        partial(broken, "state", name),
        look,
        _site,
        is_healthy=True,
        alone=True,
        has_server=True,
    )


VARIANTS = (
    _fault(
        "process",
        "leaking_process",
        (2, 8),
        _LEAK,
        Cause.PROCESS_MEMORY_LEAK,
        _grows(partial(_status, field="VmRSS"), 1024),
    ),
    _fault("process", "descriptor_leak", (5, 15), _LEAK, Cause.DESCRIPTOR_LEAK, _grows(_descriptors, 3)),
    _fault(
        "process",
        "thread_leak",
        (3, 6),
        _LEAK,
        Cause.THREAD_LEAK,
        _grows(partial(_status, field="Threads"), 2),
    ),
    _fault("process", "zombies", (8, 20), _FULL, Cause.ZOMBIES, lambda stage: _dead_children(stage) >= 5),
    _fault(
        "process",
        "restart_loop",
        (1, 1),
        _NET,
        Cause.RESTARTS,
        lambda stage: becomes(lambda: _spawned(stage) >= 2),
    ),
    _fault("host", "full_queue", (20, 100), _NET, Cause.ACCEPT_QUEUE, _grows(_listen_overflows, 1)),
    _fault(
        "host",
        "full_disk",
        (91, 96),
        _FULL,
        Cause.DISK_FULL,
        _disk_is_full,
        also=((), (Cause.OLD_FILES,)),
    ),
    _fault("endpoint", "endpoint_fails", (1, 1), _NET, Cause.WRONG_STATUS, _answers("endpoint_fails", 500)),
    _fault("endpoint", "endpoint_busy", (1, 1), _NET, Cause.WRONG_STATUS, _answers("endpoint_busy", 503)),
    _fault(
        "endpoint",
        "endpoint_slow",
        (1100, 1800),
        _SLOW,
        Cause.SLOW_ANSWER,
        _answers("endpoint_slow", 200, 1.0),
    ),
    _fault(
        "endpoint", "endpoint_flaps", (30, 80), _NET, Cause.FLAPPING, _answers_now_and_then("endpoint_flaps")
    ),
    _fault(
        "endpoint",
        "endpoint_silent",
        (1, 1),
        _NET,
        Cause.SILENT,
        _answers("endpoint_silent", 0),
        also=((_SLOW,), ()),
    ),
    _fault("endpoint", "endpoint_endless", (1, 1), _NET, Cause.ENDLESS, _answers("endpoint_endless", 200)),
    _fault(
        "endpoint",
        "endpoint_expired",
        (1, 60),
        _NET,
        Cause.TLS_EXPIRED,
        _is_refused("endpoint_expired", "expired"),
    ),
    _fault("endpoint", "endpoint_ending", (1, 20), _NET, Cause.CERTIFICATE, _answers("endpoint_ending", 200)),
    _fault(
        "endpoint",
        "endpoint_other_name",
        (1, 1),
        _NET,
        Cause.TLS_NAME,
        _is_refused("endpoint_other_name", "not valid for"),
    ),
    _state("process", "sawtooth_memory", (20, 100)),
    _state("process", "warming_process", (20, 60)),
    _state("process", "page_cache", (20, 100)),
    _state("process", "log_rotation", (1, 8)),
    _state("process", "planned_restart", (1, 1)),
    _state("endpoint", "endpoint_well", (50, 500), _answers("endpoint_well", 200)),
    _state("host", "batch_load", (2, 6)),
)
