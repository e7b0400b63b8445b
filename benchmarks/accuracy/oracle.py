"""
Whether applications are served and their data are whole, seen by a plain client.

Shares no code with the diagnostics: nothing of Medic8 is imported here, which a test holds.

Run as a program it is the background load: one line of JSON for every half second goes to a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import valkey
import valkey.exceptions

KEYS = 2000
_STATIC = KEYS // 2
_PER_S = 100
_WINDOW_S = 0.5

#: Of a grid's format: so many bytes of cells begin a data block, in pages of so many.
CELLS_OF_A_BLOCK, _PAGE = 65_536, 4_096

#: The application's objective: of its commands so many fail at most, and nineteen of twenty are so fast.
MOST_ERRORS = 0.01
MOST_P95_MS = 250.0


@dataclass(frozen=True)
class Service:
    """
    What the application had of its server in a time.

    Attributes:
        commands: How many it sent.
        errors: How many of them failed.
        p95_ms: Nineteen of twenty were answered faster.
    """

    commands: int
    errors: int
    p95_ms: float

    @property
    def is_met(self) -> bool:
        """Whether that is what the application needs."""
        return self.commands > 0 and self.errors <= MOST_ERRORS * self.commands and self.p95_ms <= MOST_P95_MS


def fill(client: valkey.Valkey, name: str) -> None:
    """An application's keys: half of them nobody writes again."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(KEYS):
            key = f"{name}:{number}"
            if number % 4 == 0:
                pipe.hset(key, mapping={"name": f"n{number}", "at": number})
            else:
                pipe.set(key, f"value {number} " * 5, ex=86_400 if number % 4 == 1 else None)
        pipe.execute()


def contents(client: valkey.Valkey, keys: Iterable[str]) -> dict[str, str]:
    """A digest of value, type and absolute expiry of each of *keys*; a missing one is empty."""
    return {key: _digest(client, key) for key in keys}


def static_keys(name: str) -> list[str]:
    """The application's keys that nobody writes again."""
    return [f"{name}:{number}" for number in range(_STATIC)]


def grid_contents(client: valkey.Valkey, grid: str) -> dict[str, str]:
    """A digest of the cells of each data block of a grid, without what checksums stand after them."""
    keys = sorted(
        key.decode()
        for key in client.scan_iter(f"m8:{{{grid}/*}}:*", count=1000)
        if key.split(b"}:")[1].isdigit()
    )
    return {key: _digest_of(client.getrange(key, 0, CELLS_OF_A_BLOCK - 1)) for key in keys}


def harm(original: Mapping[str, str], broken: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was whole when it was found, and is not any more."""
    return [key for key, was in original.items() if broken.get(key, "") == was and after.get(key, "") != was]


def mishealed(
    original: Mapping[str, str],
    broken: Mapping[str, str],
    after: Mapping[str, str],
    given_up: Collection[str],
) -> list[str]:
    """
    What was damaged when it was found, and is now neither as it was found nor as it was before the damage.

    Args:
        original: Digests before anything was broken.
        broken: Digests when it was broken.
        after: Digests now; what is missing is empty.
        given_up: Whose right value is not the original one, or known to nobody.
    """
    return [
        f"{key}: not the original"
        for key, was in original.items()
        if key not in given_up
        and broken.get(key, "") != was
        and after.get(key, "") not in {was, broken.get(key, "")}
    ]


def _digest(client: valkey.Valkey, key: str) -> str:
    kind = client.type(key)
    if kind == b"none":
        return ""
    value = sorted(client.hgetall(key).items()) if kind == b"hash" else client.get(key)
    said = repr((kind, value, client.execute_command("PEXPIRETIME", key)))
    return _digest_of(said.encode())


def _digest_of(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest() if value else ""


def service(file: Path, *, after_s: float) -> Service:
    """What the load wrote of the time from *after_s* (monotonic) on."""
    lines = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
    lines = [each for each in lines if each["from_s"] >= after_s]
    took = sorted(ms for each in lines for ms in each["took_ms"])
    errors = sum(each["errors"] for each in lines)
    return Service(len(took) + errors, errors, took[int(len(took) * 0.95)] if took else 0.0)


def work(url: str, name: str, seed: int, file: Path, grid: str = "") -> None:
    """Read and write as an application does, for ever; pages of a grid are only read."""
    rng = random.Random(seed)
    client = valkey.Valkey.from_url(url, socket_timeout=5, retry=None, client_name=f"{name}-app")
    with file.open("a") as out:
        while True:
            began_s, took, errors = time.monotonic(), list[float](), 0
            while (now_s := time.monotonic()) < began_s + _WINDOW_S:
                try:
                    _one(client, name, rng)
                    if grid:
                        _page(client, grid, rng)
                    took.append(round((time.monotonic() - now_s) * 1000, 2))
                except valkey.exceptions.ValkeyError:
                    errors += 1
                    with contextlib.suppress(Exception):
                        client.connection_pool.disconnect()
                time.sleep(1 / _PER_S)
            out.write(json.dumps({"from_s": began_s, "took_ms": took, "errors": errors}) + "\n")
            out.flush()


def _one(client: valkey.Valkey, name: str, rng: random.Random) -> None:
    number = rng.randrange(KEYS)
    key = f"{name}:{number}"
    if number >= _STATIC and number % 4 and rng.random() < 0.3:
        client.set(key, f"value {rng.random()}", keepttl=True)
    elif number % 4 == 0:
        client.hgetall(key)
    else:
        client.get(key)


def _page(client: valkey.Valkey, grid: str, rng: random.Random) -> None:
    key = f"m8:{{{grid}/{rng.randrange(64)}}}:{rng.randrange(4)}"
    at = rng.randrange(CELLS_OF_A_BLOCK // _PAGE) * _PAGE
    client.getrange(key, at, at + _PAGE - 1)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5])
