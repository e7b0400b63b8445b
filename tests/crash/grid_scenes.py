"""
A grid for each of its strategies, and what is exact about each.

*Other* cells are written in the very groups that are repaired: in the damaged blocks, at the offsets of the
damaged pages, so that P and Q change there. *The same*: a page that is damaged is refused to writers until
it was brought back, and taken from then on, so their writes land between a step and its undo. Nothing about a
grid is inexact: after every end each key is, byte for byte, either what its group's cells say (those of the
fill with every acknowledged write over it) or that with the bytes as found where it was damaged.
"""

from __future__ import annotations

import contextlib
import random
import time
import uuid as uuids
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from medic8.errors import TransientError
from medic8.local.scratch import scratch_valkey
from medic8.model.target import Target
from medic8.targets.grid.backup import create_backup
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.kind import KIND
from medic8.targets.valkey.client import connection
from tests.crash import grid_truth as truth
from tests.crash.grid_truth import Values, group_key, group_keys
from tests.crash.reader import Ended, EndedStep, Verdict, misplaced, problems_of_claims
from tests.crash.scenes import NOW, Expected, Scene, Written, around, everything_in, plain, plan_by

NAME = "lab"
CLAIM = "medic8:claim"
MANIFESTS = (f"m8:{{{NAME}}}:manifest", f"m8:{{{NAME}/copy}}:manifest")

#: Does to one server what its replicas are not told of, as a flipped bit or a bug there would.
_ALONE = "redis.set_repl(redis.REPL_NONE) return redis.call(unpack(ARGV))"

#: (group, suffix of the key, command, its arguments)
Harm = tuple[int, str, str, tuple[str | int, ...]]


def _within_parity() -> list[Harm]:
    """Two values of groups 0 and 1 each, of one the pages, of one a footer; and a whole record."""
    return [
        (0, "3", "SETRANGE", (5000, "damage")),
        (0, "3", "SETRANGE", (13 * 4096 + 9, "damage")),
        (0, "p", "DEL", ()),
        (1, "7", "DEL", ()),
        (1, "8", "SETRANGE", (65_536 + 40, "\x07")),
        (2, "m", "SETRANGE", (100, "\x07\x08")),
    ]


def _beyond_parity() -> list[Harm]:
    """Three whole blocks of group 0, and page 5 of three blocks of group 1."""
    return [
        *((0, member, "DEL", ()) for member in ("3", "7", "11")),
        *((1, member, "SETRANGE", (5 * 4096 + 100, "damage")) for member in ("2", "9", "13")),
    ]


def _beyond_proof() -> list[Harm]:
    """The same with Q for one of the blocks, as it is then."""
    return [
        *((0, member, "DEL", ()) for member in ("3", "7", "11")),
        *((1, member, "SETRANGE", (5 * 4096 + 100, "damage")) for member in ("2", "9", "q")),
    ]


#: What nothing proves after `_beyond_proof`: group -> (member, page).
_LOST = {0: {(m, page) for m in (3, 7, 11) for page in range(16)}, 1: {(2, 5), (9, 5)}}


class GridScene:
    """A grid of three whole groups on a server of its own; see `tests.crash.scenes.Scene`."""

    exact_before = True

    def __init__(self, url: str, strategy: str, harm: list[Harm], replica: str, folder: Path) -> None:
        self.target = Target(
            name=NAME, kind="grid", url=url, grid=NAME, mode="act", allow=tuple(KIND.strategies)
        )
        self._harm, self._replica = harm, replica
        self._gives_up = strategy == "quarantine_lost_pages"
        self._harms_manifest = strategy == "rebuild_from_parity"
        self._found: Values = {}
        self.groups = sorted({group for group, *_ in harm})
        with connection(url) as client:
            rng = np.random.default_rng(1)
            created = Grid.create(client, NAME, 32)
            created.fill(
                lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=self.groups
            )
            if strategy == "restore_from_backup":
                create_backup(client, NAME, grid_repository(around(folder).backups, NAME), now=NOW)
        self._keys = [*MANIFESTS, *(key for group in self.groups for key in group_keys(NAME, group))]
        self._good = self._read()
        self._uuid = (self._good[MANIFESTS[0]] or b"")[16:32]
        for group in self.groups:
            if self._made_anew(group, {}, set()) != {key: self._good[key] for key in group_keys(NAME, group)}:
                raise AssertionError(f"group {group} is not what docs/grid-format.md says")
        self.stage()
        self._found = self._read()
        self.plan = plan_by(strategy, self.target, around(folder))
        if self.plan.left_open:
            raise AssertionError(f"the plan leaves something open: {self.plan.left_open}")

    def stage(self) -> None:
        """Bring every key to its good value, on the replica as well, and then do the damage."""
        with plain(self.target.address) as client:
            now = self._read()
            stray = set(client.scan_iter(count=1000)) - {key.encode() for key in self._keys}
            if stray:
                client.delete(*stray)
            for key, good in self._good.items():
                if now[key] != good:
                    client.delete(key) if good is None else client.set(key, good)
            if self._replica:
                # WAIT asks for what this connection wrote, and it may have had nothing to write.
                client.set("staged", "1")
                client.delete("staged")
                if client.wait(1, 20_000) != 1:
                    raise TimeoutError("the replica did not follow within 20 s")
            for group, suffix, command, arguments in self._harm:
                key = group_key(NAME, group, suffix)
                client.eval(_ALONE, 1, key, command, key, *arguments)
            if self._harms_manifest:
                client.eval(_ALONE, 1, MANIFESTS[1], "DEL", MANIFESTS[1])
        if self._found and (now := self._read()) != self._found:
            differ = [key for key in now if now[key] != self._found[key]]
            raise AssertionError(f"staging is not repeatable: {differ}")

    def meddle(self, rng: random.Random) -> Written:
        """Cells of every damaged block and of another one, at a damaged offset and at any other."""
        places = []
        for group in self.groups:
            members = {int(suffix) for of, suffix, *_ in self._harm if of == group and suffix.isdigit()}
            for member in (*sorted(members), rng.randrange(16)):
                pages = (rng.choice((1, 5, 13)), rng.randrange(16))
                places += [(group, member, page, rng.randrange(64, 128)) for page in pages]
        rng.shuffle(places)
        return self._write(places[:8], rng)

    def wander(self, rng: random.Random) -> Written:
        """One cell anywhere in the damaged groups, half of the time at a damaged offset; or another key."""
        if rng.random() < 0.2:
            with plain(self.target.address) as client:
                name, value = f"other:{rng.randrange(8)}", rng.randbytes(16)
                client.set(name, value)
                return {f"key {name}": value.hex()}
        page = rng.choice((1, 5, 13)) if rng.random() < 0.5 else rng.randrange(16)
        return self._write([(rng.choice(self.groups), rng.randrange(16), page, rng.randrange(64))], rng)

    def _write(self, places: list[tuple[int, int, int, int]], rng: random.Random) -> Written:
        written: Written = {}
        with connection(self.target.address) as client:
            grid = Grid.open(client, NAME)
            for group, member, page, cell in places:
                content = rng.randbytes(32)
                index = (member * 64 + group) * 2048 + page * 128 + cell
                # Refused, and nothing written: the page is damaged, or others kept changing the group.
                with contextlib.suppress(GridDamagedError, TransientError):
                    grid.write_cells([index], np.frombuffer(content, dtype=CELL))
                    written[f"cell {group} {member} {page} {cell}"] = content.hex()
        return written

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Compare every key with the two values that it may have."""
        verdict = Verdict("not_opened" if ended is None else ended.state)
        now = self._read()
        with plain(self.target.address) as client:
            verdict.is_claimed, problem = problems_of_claims([(client.get(CLAIM), client.pttl(CLAIM))], ended)
            for place, content in written.items():
                if place.startswith("key ") and client.get(place[4:]) != bytes.fromhex(content):
                    verdict.lost.append(place)
        verdict.wrong += [problem] if problem else []
        cells = {
            tuple(map(int, place.split()[1:])): bytes.fromhex(content)
            for place, content in written.items()
            if place.startswith("cell ")
        }
        for (group, member, page, cell), content in cells.items():
            value, at = now[group_key(NAME, group, str(member))], page * 4096 + cell * 32
            if value is None or value[at : at + 32] != content:
                verdict.lost.append(f"cell {group} {member} {page} {cell}")
        truths: Values = {key: self._good[key] for key in MANIFESTS}
        for group in self.groups:
            truths |= self._truth(group, {place: c for place, c in cells.items() if place[0] == group})
        as_found = {key: _overlaid(self._found[key], self._good[key], truths[key]) for key in self._keys}
        if self._gives_up:
            self._judge_given_up(verdict, ended, now, as_found, cells)
        else:
            self._judge_values(verdict, ended, now, truths, as_found)
        return verdict

    def _judge_values(
        self, verdict: Verdict, ended: Ended | None, now: Values, truths: Values, as_found: Values
    ) -> None:
        steps = {_key_of(step): step for step in ended.steps} if ended else {}
        for key in self._keys:
            holds = (
                "saved" if now[key] == as_found[key] else "written" if now[key] == truths[key] else "other"
            )
            if ended is None or key not in steps:
                if now[key] != as_found[key]:
                    verdict.wrong.append(f"{key}, which no step was for, is neither as found nor as written")
            elif holds == "other":
                verdict.wrong.append(f"{key}: is neither as it was found nor what the group's cells say")
            else:
                theirs = truths[key] != self._good[key]
                if problem := misplaced(steps[key], holds, theirs=theirs, ended=ended):
                    verdict.wrong.append(f"{key}: {problem}")

    def _judge_given_up(
        self,
        verdict: Verdict,
        ended: Ended | None,
        now: Values,
        as_found: Values,
        cells: Mapping[tuple[int, ...], bytes],
    ) -> None:
        steps = {int(step.arguments["item"]["group"]): step for step in ended.steps} if ended else {}
        for group in self.groups:
            keys = group_keys(NAME, group)
            is_as_found = all(now[key] == as_found[key] for key in keys)
            if ended is None:
                if not is_as_found:
                    verdict.wrong.append(f"group {group} is not as found, and nothing was begun")
                continue
            own = {at: content for at, content in cells.items() if at[0] == group}
            given_up = self._made_anew(group, own, _LOST[group])
            given_up[group_key(NAME, group, "lost")] = truth.list_of_lost(
                self._uuid,
                group,
                _LOST[group],
                self._good[group_key(NAME, group, "m")] or b"",
                int(NOW.timestamp()),
                uuids.UUID(ended.id).bytes,
            )
            is_given_up = all(now[key] == given_up[key] for key in keys)
            holds = "saved" if is_as_found else "written" if is_given_up else "other"
            if problem := misplaced(steps[group], holds, theirs=False, ended=ended):
                verdict.wrong.append(f"group {group}: {problem}")

    def contents(self) -> Mapping[str, bytes]:
        """All that the server holds."""
        return everything_in(self.target.address)

    def _read(self) -> Values:
        with plain(self.target.address) as client:
            return dict(zip(self._keys, client.mget(self._keys), strict=True))

    def _truth(self, group: int, cells: Mapping[tuple[int, ...], bytes]) -> Values:
        """The group as the fill with *cells* over it makes it."""
        if cells:
            return self._made_anew(group, cells, set())
        return {key: self._good[key] for key in group_keys(NAME, group)}

    def _made_anew(
        self, group: int, cells: Mapping[tuple[int, ...], bytes], zeroed: set[tuple[int, int]]
    ) -> Values:
        """The same, pages in *zeroed* having been zeros before *cells*."""
        blocks = {
            member: bytearray((self._good[group_key(NAME, group, str(member))] or b"")[:65_536])
            for member in range(16)
        }
        for member, page in zeroed:
            blocks[member][page * 4096 : (page + 1) * 4096] = bytes(4096)
        for (_, member, page, cell), content in cells.items():
            at = page * 4096 + cell * 32
            blocks[member][at : at + 32] = content
        whole = {member: bytes(block) for member, block in blocks.items()}
        return truth.group_of_blocks(NAME, self._uuid, group, whole)


def _overlaid(found: bytes | None, good: bytes | None, now: bytes | None) -> bytes | None:
    """*now* with the bytes as found where they differed from the good ones."""
    if found == good:
        return now
    if found is None or good is None or now is None or len(found) != len(good):
        return found
    was, harmed = np.frombuffer(good, np.uint8), np.frombuffer(found, np.uint8)
    return np.where(was != harmed, harmed, np.frombuffer(now, np.uint8)).tobytes()


def _key_of(step: EndedStep) -> str:
    """Which key a step writes; see docs/recovery.md, "Undo by hand"."""
    item = step.arguments["item"]
    group, number = item["group"], item["number"]
    match item["role"]:
        case "manifest":
            return MANIFESTS[number]
        case "data":
            return group_key(NAME, group, str(number % 1024 // 64))
        case role:
            return group_key(NAME, group, role)


def _scene_of(
    strategy: str, harm: Callable[[], list[Harm]], *, with_replica: bool = False
) -> Callable[[Path], contextlib.AbstractContextManager[Scene]]:
    @contextlib.contextmanager
    def scene(folder: Path) -> Iterator[Scene]:
        with contextlib.ExitStack() as servers:
            (folder / "primary").mkdir(parents=True)
            config = {"repl-diskless-sync-delay": "0"}
            server = servers.enter_context(scratch_valkey(folder / "primary", config=config))
            replica = ""
            if with_replica:
                (folder / "replica").mkdir()
                config = {"replicaof": f"127.0.0.1 {server.port}"}
                replica = servers.enter_context(scratch_valkey(folder / "replica", config=config)).url
                _wait_for_link(replica)
            yield GridScene(server.url, strategy, harm(), replica, folder)

    return scene


def _wait_for_link(url: str) -> None:
    with plain(url) as client:
        deadline_s = time.monotonic() + 60
        while client.info("replication")["master_link_status"] != "up":
            if time.monotonic() > deadline_s:
                raise TimeoutError("the replica did not connect within 60 s")
            time.sleep(0.05)


SCENES: dict[str, Expected] = {
    "rebuild_from_parity": Expected(_scene_of("rebuild_from_parity", _within_parity)),
    "restore_from_replica": Expected(_scene_of("restore_from_replica", _beyond_parity, with_replica=True)),
    "restore_from_backup": Expected(_scene_of("restore_from_backup", _beyond_parity)),
    "quarantine_lost_pages": Expected(_scene_of("quarantine_lost_pages", _beyond_proof)),
}
