"""A host that is well, though it looks strange: half full disks, images without writes, bursts."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import (
    is_alive,
    mounted,
    nothing_wrong,
    number,
    run,
    started,
    used_share,
    waits_for,
)

_BACKS_UP = """
import os, sys, time
path, size = sys.argv[1], int(sys.argv[2])
print("there", flush=True)
while True:
    with open(path, "wb", buffering=0) as file:
        for _ in range(size):
            file.write(bytes(1 << 20))
            time.sleep(0.05)
    os.unlink(path)
    time.sleep(0.5)
"""

_ANSWERS = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0), backlog=256)
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    connection.recv(16)
    connection.close()
"""

_CALLS = """
import socket, sys, time
port, at_once = int(sys.argv[1]), int(sys.argv[2])
print("there", flush=True)
while True:
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(at_once)]
    for client in clients:
        client.sendall(b"ping")
    for client in clients:
        client.close()
    time.sleep(1.2)
"""


def _image(stage: Stage) -> str:
    """What a release brings along: packed, mounted without writes, and meant to be so."""
    disk = mounted(stage, "size=12m")
    (disk / "release.img").write_bytes(bytes(stage.strength << 20))
    run("mount", "-o", "remount,ro", disk)
    return ""


def _disk(stage: Stage) -> Path:
    return stage.folder / stage.word


def _is_an_image(stage: Stage) -> bool:
    return bool(os.statvfs(_disk(stage)).f_flag & os.ST_RDONLY)


def _share_used(stage: Stage) -> str:
    disk = _disk(stage)
    whole = os.statvfs(disk)
    (disk / "data").write_bytes(bytes(whole.f_blocks * whole.f_frsize * stage.strength // 100))
    return ""


def _backs_up(stage: Stage) -> str:
    started(stage, _BACKS_UP, str(_disk(stage) / "backup.part"), str(stage.strength))
    return ""


def _empty(stage: Stage) -> str:
    mounted(stage, "size=60m")
    return ""


def _many_small(stage: Stage) -> str:
    for each in range(stage.strength * 20):
        (_disk(stage) / f"mail-{each}").touch()
    return ""


def _few_inodes(stage: Stage) -> str:
    mounted(stage, "size=16m,nr_inodes=2000")
    return ""


def _bursts(stage: Stage) -> str:
    started(stage, _ANSWERS)
    stage.notes["port"] = stage.said
    stage.keep_going(_CALLS, stage.notes["port"], str(stage.strength))
    return ""


def _answers(stage: Stage) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", int(stage.notes["port"])), timeout=5):
        return True
    return False


VARIANTS = (
    Variant(
        "image_of_a_release",
        "host",
        (5, 8),
        nothing_wrong,
        lambda _: "",
        _is_an_image,
        is_healthy=True,
        prepare=_image,
    ),
    Variant(
        "half_full_and_steady",
        "host",
        (40, 70),
        nothing_wrong,
        _share_used,
        lambda stage: used_share(_disk(stage)) >= stage.strength - 2,
        is_healthy=True,
        prepare=_empty,
    ),
    Variant(
        "backup_comes_and_is_taken_away",
        "host",
        (6, 16),
        nothing_wrong,
        _backs_up,
        lambda stage: is_alive(number(stage)),
        is_healthy=True,
        prepare=_empty,
    ),
    Variant(
        "many_small_and_enough",
        "host",
        (30, 60),
        nothing_wrong,
        _many_small,
        lambda stage: len(list(_disk(stage).iterdir())) == stage.strength * 20,
        is_healthy=True,
        prepare=_few_inodes,
    ),
    Variant(
        "bursts_at_a_wide_door",
        "host",
        (10, 50),
        nothing_wrong,
        _bursts,
        lambda stage: waits_for(lambda: _answers(stage), 5),
        is_healthy=True,
    ),
)
