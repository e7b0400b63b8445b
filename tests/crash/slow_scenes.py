"""
Servers that are slow or at a limit, and what is exact about bringing them out of it.

Clients: a connection that is to be closed leaves by itself, or sends something else and is no longer what it
was to be closed for. A plan names connections, and none is ever the same again, so each staging brings
others, and the plan means those. Between CLIENT LIST and CLIENT KILL lies one round trip in which a client
may have sent something (docs/recovery.md says so), so they do so right *after* any write, which is everywhere
else.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import valkey
import valkey.exceptions

from medic8.local.scratch import scratch_valkey
from medic8.model.plan import Plan, Unit
from medic8.model.target import Target
from tests.crash.memory_scenes import ServerScene
from tests.crash.reader import Ended, Verdict, misplaced, problems_of_claims
from tests.crash.scenes import Expected, Scene, SceneMaker, Written, around, everything_in, plain, plan_by
from tests.crash.settings_scene import Cast, scene_of
from tests.holding_up import ENDLESS, delete_large, end_script, wait_until_busy
from tests.raw_clients import RawClient, connected

_LIMIT = 32 << 20

#: Longer than any experiment takes, so that whoever has sent something is not idle again within it.
_IDLE_S = 5
_MEANT = 2
_POOL = 60


def _fill(client: valkey.Valkey) -> None:
    """Fill the server up to 94 % of its memory limit."""
    info = cast("dict[str, Any]", client.info("memory"))
    client.setrange("filler", int(_LIMIT * 0.94) - int(info["used_memory"]), b"x")


_MEMORY = Cast(
    strategy="raise_memory_limit",
    found={"maxmemory": str(_LIMIT)},
    good={"maxmemory": str(_LIMIT // 4 * 5)},
    theirs={"maxmemory": range(60 << 20, 70 << 20)},
    prepare=_fill,
)


_LAZY = Cast(
    strategy="free_lazily",
    found={"lazyfree-lazy-user-del": "no"},
    good={"lazyfree-lazy-user-del": "yes"},
    theirs={},
    suffer=delete_large,
)


class ClientScene:
    """Two clients to be closed, and one beside them that must stay; see `tests.crash.scenes.Scene`."""

    exact_before = False
    plan: Plan

    def __init__(self, url: str, strategy: str, folder: Path) -> None:
        self.target = Target(
            name="server",
            kind="valkey",
            url=url,
            mode="act",
            allow=(strategy,),
            idle_client_age_s=_IDLE_S,
        )
        self._are_idle = strategy == "kill_idle_clients"
        self._pool: list[RawClient] = []
        self._meant = [RawClient(url, "worker") for _ in range(_MEANT)]
        self._bystander = RawClient(url, "worker")
        if self._are_idle:
            self._wait_until_idle()
            self._bystander.ask(b"PING")
        else:
            self._meant = [each.is_expensive(4) for each in self._meant]
        with plain(url) as client:
            most = client.config_get("maxclients")["maxclients"]
            if self._are_idle:  # of 5, the two, the one beside them, and whoever looks
                client.config_set("maxclients", 5)
        self._made = plan_by(strategy, self.target, around(folder))
        with plain(url) as client:
            client.config_set("maxclients", most)
        self.stage()

    def close(self) -> None:
        """Let all clients go."""
        for each in (*self._pool, *self._meant, self._bystander):
            each.leave()

    def stage(self) -> None:
        """Have two others to be closed, and the plan mean them."""
        with plain(self.target.address) as client:
            client.execute_command("FLUSHALL", "SYNC")
        while self._meant:
            self._meant.pop().leave()
        if len(self._pool) < _MEANT:
            self._pool = [RawClient(self.target.address, "worker") for _ in range(_POOL)]
            if self._are_idle:
                self._wait_until_idle()
        self._meant = [self._pool.pop() for _ in range(_MEANT)]
        if not self._are_idle:
            self._meant = [each.is_expensive(cheaply=True) for each in self._meant]
        units = zip(self._made.units, self._meant, strict=True)
        self.plan = self._made.model_copy(
            update={"units": tuple(_meaning(unit, each) for unit, each in units)}
        )

    def _wait_until_idle(self) -> None:
        last = (self._pool or self._meant)[-1].id
        with plain(self.target.address) as client:
            while int(connected(client)[last]["idle"]) < _IDLE_S:
                time.sleep(0.1)

    def meddle(self, rng: random.Random) -> Written:
        """One of the two leaves, or sends something else, or both do."""
        written: Written = {}
        for each in [rng.choice(self._meant)] if rng.random() < 0.7 else self._meant:
            if rng.random() < 0.5:
                each.leave()
                written[f"client {each.id}"] = "left"
            elif each.ask(b"PING") == b"+PONG":
                written[f"client {each.id}"] = "awake"
        return written

    def wander(self, rng: random.Random) -> Written:
        """A key."""
        with plain(self.target.address) as client:
            name, value = f"other:{rng.randrange(8)}", rng.randbytes(16)
            client.set(name, value)
            return {f"key {name}": value.hex()}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Who is not connected was closed or has left; whoever did something else stays."""
        verdict = Verdict("not_opened" if ended is None else ended.state)
        with plain(self.target.address) as client:
            claim = [(client.get("medic8:claim"), client.pttl("medic8:claim"))]
            verdict.is_claimed, problem = problems_of_claims(claim, ended)
            here = connected(client)
            for place, value in written.items():
                what, name = place.split()
                is_there = int(name) in here if value == "awake" else True
                if not (is_there if what == "client" else client.get(name) == bytes.fromhex(value)):
                    verdict.lost.append(place)
        verdict.wrong += [problem] if problem else []
        if self._bystander.id not in here:
            verdict.wrong.append("a client that nobody meant was closed")
        steps = {int(step.arguments["client"]): step for step in ended.steps} if ended else {}
        for each in self._meant:
            theirs = written.get(f"client {each.id}") == "left"
            holds = "saved" if each.id in here else "other" if theirs else "written"
            if ended is None:
                if holds == "written":
                    verdict.wrong.append(f"client {each.id} was closed, and nothing was begun")
            elif problem := misplaced(steps[each.id], holds, theirs=theirs, ended=ended):
                verdict.wrong.append(f"client {each.id}: {problem}")
        return verdict

    def contents(self) -> Mapping[str, bytes]:
        """All keys."""
        return everything_in(self.target.address)


class ScriptScene:
    """A script that never ends, on a server that tells nothing meanwhile; see `tests.crash.scenes.Scene`."""

    exact_before = True

    def __init__(self, url: str, folder: Path) -> None:
        self.target = Target(name="server", kind="valkey", url=url, mode="act", allow=("kill_script",))
        self._caller: RawClient | None = None
        self.stage()
        self.plan = plan_by("kill_script", self.target, around(folder))

    def close(self) -> None:
        """End the script, so that the server can stop."""
        with plain(self.target.address) as client:
            end_script(client)

    def stage(self) -> None:
        """Have a script run that never ends."""
        with plain(self.target.address) as client:
            end_script(client)
            client.execute_command("FLUSHALL", "SYNC")
            if self._caller is not None:
                self._caller.leave()
            self._caller = RawClient(self.target.address)
            self._caller.send(b"EVAL", ENDLESS, b"1", b"written", b"0")
            wait_until_busy(client)

    def meddle(self, rng: random.Random) -> Written:
        """Somebody else ends the script."""
        del rng
        with plain(self.target.address) as client:
            return {"script": "ended"} if end_script(client) else {}

    def wander(self, rng: random.Random) -> Written:
        """A key, if the server takes any."""
        with plain(self.target.address) as client, contextlib.suppress(valkey.exceptions.ResponseError):
            name, value = f"other:{rng.randrange(8)}", rng.randbytes(16)
            client.set(name, value)
            return {f"key {name}": value.hex()}
        return {}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Whether it runs is as the journal says; then what the server holds, when it answers again."""
        verdict = Verdict("not_opened" if ended is None else ended.state)
        with plain(self.target.address) as client:
            runs = end_script(client)
            claim = [(client.get("medic8:claim"), client.pttl("medic8:claim"))]
            verdict.is_claimed, problem = problems_of_claims(claim, ended)
            verdict.lost = [
                place
                for place, value in written.items()
                if place != "script" and client.get(place.removeprefix("key ")) != bytes.fromhex(value)
            ]
        verdict.wrong += [problem] if problem else []
        theirs = "script" in written
        holds = "saved" if runs else "other" if theirs else "written"
        if ended is None:
            verdict.wrong += ["the script was ended, and nothing was begun"] if holds == "written" else []
        elif problem := misplaced(ended.steps[0], holds, theirs=theirs, ended=ended):
            verdict.wrong.append(problem)
        return verdict

    def contents(self) -> Mapping[str, bytes]:
        """All keys, once the server answers."""
        with plain(self.target.address) as client:
            end_script(client)
        return everything_in(self.target.address)


class ScaleScene(ServerScene):
    """A full server, and a command of the site that notes its calls; see `tests.crash.scenes.Scene`."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, "scale_out")
        self._calls = folder / "calls"
        hook = {"command": ("sh", "-c", 'echo "$MEDIC8_TARGET" >> "$0"', str(self._calls))}
        self.target = Target.model_validate({**self.target.model_dump(), "scale": hook})
        self.stage()
        self.plan = plan_by("scale_out", self.target, around(folder))

    def stage(self) -> None:
        """Fill the server, and forget the calls."""
        self._calls.write_text("")
        with plain(self.target.address) as client:
            client.execute_command("FLUSHALL", "SYNC")
            client.config_set("maxmemory", _LIMIT)
            _fill(client)

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """At most one call; one if it counts as done, none if not; a person is asked if nobody knows."""
        verdict = super().judge(ended, written)
        calls = self._calls.read_text().splitlines()
        state = ended.steps[0].state if ended else "planned"
        fits = {"planned": {0}, "undone": {0}, "committed": {1}, "done": {1}, "conflict": {0, 1}}
        if len(calls) not in fits.get(state, set()) or (state == "conflict") != (
            verdict.state == "needs_person"
        ):
            verdict.wrong.append(f"{len(calls)} calls, and the step is {state} in a {verdict.state} recovery")
        return verdict


def _meaning(unit: Unit, client: RawClient) -> Unit:
    (step,) = unit.steps
    arguments = {**step.arguments, "client": client.id, "address": client.address}
    return unit.model_copy(update={"steps": (step.model_copy(update={"arguments": arguments}),)})


def _clients(strategy: str) -> SceneMaker:
    @contextlib.contextmanager
    def scene(folder: Path) -> Iterator[Scene]:
        (folder / "server").mkdir(parents=True)
        with scratch_valkey(folder / "server") as server:
            made = ClientScene(server.url, strategy, folder)
            try:
                yield made
            finally:
                made.close()

    return scene


@contextlib.contextmanager
def _scale(folder: Path) -> Iterator[Scene]:
    (folder / "server").mkdir(parents=True)
    with scratch_valkey(folder / "server") as server:
        yield ScaleScene(server.url, folder)


@contextlib.contextmanager
def _script(folder: Path) -> Iterator[Scene]:
    (folder / "server").mkdir(parents=True)
    with scratch_valkey(folder / "server", config={"busy-reply-threshold": "10"}) as server:
        made = ScriptScene(server.url, folder)
        try:
            yield made
        finally:
            made.close()


SCENES: dict[str, Expected] = {
    **{each.strategy: Expected(scene_of(each)) for each in (_MEMORY, _LAZY)},
    **{name: Expected(_clients(name)) for name in ("kill_idle_clients", "kill_slow_client")},
    "kill_script": Expected(_script),
    "scale_out": Expected(_scale, may_need_person=True),
}
