"""
Clients that hog a server, memory that nothing uses, and what is exact about them.

*The same*: a client that is to be closed leaves by itself. A plan names connections, and none is ever the
same again, so each staging makes new ones, and the plan names those: the rest of it is as a real diagnosis
made it. Others connect, set keys, and stay.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from medic8.local.scratch import scratch_valkey
from medic8.model.plan import Plan
from medic8.model.target import ExpiryRule, Target
from medic8.targets.valkey.plans.buffers import plan_limits
from medic8.targets.valkey.plans.memory import plan_purge
from tests.crash.reader import Ended, Verdict, misplaced, problems_of_claims
from tests.crash.scenes import Expected, Scene, Written, around, everything_in, plain, plan_by
from tests.raw_clients import RawClient, clients_of, make_large
from tests.targets.valkey.looking_at import fragmented, hogged

_HOGS = 2


class ServerScene:
    """A server with keys that others write; see `tests.crash.scenes.Scene`."""

    exact_before = True
    plan: Plan

    def __init__(self, url: str, strategy: str) -> None:
        self.target = Target(name="server", kind="valkey", url=url, mode="act", allow=(strategy,))

    def stage(self) -> None:
        """Remove every key."""
        with plain(self.target.address) as client:
            client.flushall(asynchronous=False)

    def meddle(self, rng: random.Random) -> Written:
        """Keys that nobody else writes: nothing that a plan changes here is anybody's."""
        return self._set(f"theirs:{rng.randrange(8)}", rng)

    def wander(self, rng: random.Random) -> Written:
        """A key."""
        return self._set(f"other:{rng.randrange(8)}", rng)

    def _set(self, name: str, rng: random.Random) -> Written:
        with plain(self.target.address) as client:
            value = rng.randbytes(16)
            client.set(name, value)
            return {f"key {name}": value.hex()}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """What others wrote is there, and no claim of nobody's."""
        verdict = Verdict("not_opened" if ended is None else ended.state)
        with plain(self.target.address) as client:
            claim = [(client.get("medic8:claim"), client.pttl("medic8:claim"))]
            verdict.is_claimed, problem = problems_of_claims(claim, ended)
            verdict.wrong += [problem] if problem else []
            for place, value in written.items():
                what, name = place.split()
                if what == "key" and client.get(name) != bytes.fromhex(value):
                    verdict.lost.append(place)
        return verdict

    def contents(self) -> Mapping[str, bytes]:
        """All keys."""
        return everything_in(self.target.address)


class PurgeScene(ServerScene):
    """
    A purge, which nothing has to be taken back of.

    The plan is made for a server on jemalloc and carried out on the embedded one, where the command is taken
    and gives nothing back: what is killed here is the recovery.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, "purge_memory")
        report = fragmented("jemalloc-5.3.0")
        self.plan = plan_purge(report.issues[0], report, self.target)

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """A step that was begun is undone, without anything being put back, or done."""
        verdict = super().judge(ended, written)
        for step in ended.steps if ended else ():
            fits = {"done"} if verdict.state == "healthy" else {"planned", "undone"}
            if step.state not in fits:
                verdict.wrong.append(f"step {step.number} is {step.state} in a {verdict.state} recovery")
        return verdict


class HogScene(ServerScene):
    """Two clients that read nothing, and one beside them that must stay."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "kill_hogging_client")
        self._hogs: list[RawClient] = []
        self._bystander = RawClient(url, "report")
        self.stage()
        self._made = plan_by("kill_hogging_client", self.target, around(Path("/nonexistent")))
        self.stage()

    def stage(self) -> None:
        """Have two new clients stop to read, and the plan mean them."""
        super().stage()
        self.close()
        make_large(self.target.address)
        self._hogs = [RawClient(self.target.address, "report").stop_reading() for _ in range(_HOGS)]
        if hasattr(self, "_made"):
            self.plan = meaning(self._made, self._hogs)

    def close(self) -> None:
        """Let the clients that read nothing go."""
        while self._hogs:
            self._hogs.pop().__exit__(None, None, None)

    def meddle(self, rng: random.Random) -> Written:
        """One of the two leaves by itself, or both."""
        leaving = [rng.choice(self._hogs)] if rng.random() < 0.7 else self._hogs
        for each in leaving:
            each.leave()
        return {f"client {each.id}": "" for each in leaving}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Who is not connected was closed or has left; nobody else was closed."""
        verdict = super().judge(ended, written)
        connected = clients_of(self.target.address)
        if self._bystander.id not in connected:
            verdict.wrong.append("a client that nobody meant was closed")
        steps = {int(step.arguments["client"]): step for step in ended.steps} if ended else {}
        for hog in self._hogs:
            theirs = f"client {hog.id}" in written
            holds = "saved" if hog.id in connected else "other" if theirs else "written"
            if ended is None:
                if holds == "written":
                    verdict.wrong.append(f"client {hog.id} was closed, and nothing was begun")
            elif problem := misplaced(steps[hog.id], holds, theirs=theirs, ended=ended):
                verdict.wrong.append(f"client {hog.id}: {problem}")
        return verdict


def meaning(plan: Plan, clients: Sequence[RawClient]) -> Plan:
    """*plan* with each of its connections replaced by one of *clients*."""
    units = tuple(
        unit.model_copy(
            update={
                "steps": tuple(
                    step.model_copy(
                        update={"arguments": {**step.arguments, "client": each.id, "address": each.address}}
                    )
                    for step in unit.steps
                )
            }
        )
        for unit, each in zip(plan.units, clients, strict=True)
    )
    return plan.model_copy(update={"units": units})


class ScriptsScene(ServerScene):
    """A cache with more scripts than anybody needs; others drop them as well."""

    _COUNT = 1200

    def __init__(self, url: str) -> None:
        super().__init__(url, "flush_scripts")
        self.stage()
        self.plan = plan_by("flush_scripts", self.target, around(Path("/nonexistent")))

    def stage(self) -> None:
        """Cache them."""
        super().stage()
        with plain(self.target.address) as client:
            client.script_flush()
            pipe = client.pipeline(transaction=False)
            for number in range(self._COUNT):
                pipe.script_load(f"return {number}")
            pipe.execute()

    def meddle(self, rng: random.Random) -> Written:
        """Somebody else drops them, or sets a key."""
        if rng.random() < 0.5:
            return super().meddle(rng)
        with plain(self.target.address) as client:
            client.script_flush()
        return {"scripts dropped": ""}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """They are all there, or gone and somebody says so."""
        verdict = super().judge(ended, written)
        with plain(self.target.address) as client:
            are_there = int(client.info("memory")["number_of_cached_scripts"]) >= self._COUNT
        theirs = "scripts dropped" in written
        holds = "saved" if are_there else "other" if theirs else "written"
        if ended is None:
            if holds == "written":
                verdict.wrong.append("the scripts were dropped, and nothing was begun")
        elif problem := misplaced(ended.steps[0], holds, theirs=theirs, ended=ended):
            verdict.wrong.append(f"scripts: {problem}")
        return verdict


class LimitsScene(ServerScene):
    """
    Two missing limits for clients' buffers, with a plan that sets both.

    Others set them, too, right after a write: a setting cannot be watched. The plan is made for clients
    beyond both limits, of which there is none here: they would be closed.
    """

    exact_before = False
    _TOGETHER, _OUTPUT = "maxmemory-clients", "client-output-buffer-limit"
    _REPLICAS = "slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    _FOUND: ClassVar = {_TOGETHER: "0", _OUTPUT: f"normal 0 0 0 {_REPLICAS}"}
    _GOOD: ClassVar = {_TOGETHER: "5%", _OUTPUT: f"normal 268435456 67108864 60 {_REPLICAS}"}

    def __init__(self, url: str) -> None:
        super().__init__(url, "limit_client_buffers")
        report = hogged(self._FOUND)
        (issue,) = report.issues
        self.plan = plan_limits(issue, report, self.target)
        self.stage()

    def stage(self) -> None:
        """Set what is found."""
        super().stage()
        self._set_to(self._FOUND)

    def meddle(self, rng: random.Random) -> Written:
        """Set one of them to a value of theirs."""
        name = rng.choice((self._TOGETHER, self._OUTPUT))
        theirs = {
            self._TOGETHER: str(rng.randrange(200, 300) << 20),
            self._OUTPUT: f"normal {rng.randrange(300, 400) << 20} 0 0 {self._REPLICAS}",
        }
        self._set_to({name: theirs[name]})
        return {f"setting {name}": theirs[name]}

    def _set_to(self, wanted: dict[str, str]) -> None:
        with plain(self.target.address) as client:
            for name, value in wanted.items():
                client.config_set(name, value)

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Each is what was found, or what was planned, or what somebody else set last."""
        verdict = super().judge(ended, written)
        steps = {str(step.arguments["name"]): step for step in ended.steps} if ended else {}
        with plain(self.target.address) as client:
            now = {name: client.config_get(name)[name] for name in self._FOUND}
        for name, value in now.items():
            place = f"setting {name}"
            theirs = place in written
            if theirs and value != written[place]:
                verdict.lost.append(place)
            holds = (
                "saved" if value == self._FOUND[name] else "written" if value == self._GOOD[name] else "other"
            )
            if ended is None:
                if holds != "saved" and not theirs:
                    verdict.wrong.append(f"{name} is {value}, and nothing was begun")
            elif problem := misplaced(steps[name], holds, theirs=theirs, ended=ended):
                verdict.wrong.append(f"{name} is {value}: {problem}")
        return verdict


class ExpiryScene(ServerScene):
    """Keys without the expiry that is configured; others give them one of their own, write or delete them."""

    _KEYS, _AFTER_S = 3, 86_400

    def __init__(self, url: str) -> None:
        super().__init__(url, "expire_forgotten_keys")
        rule = ExpiryRule(prefix="session:", after=self._AFTER_S)
        self.target = self.target.model_copy(update={"expiry": (rule,)})
        self.stage()
        self.plan = plan_by("expire_forgotten_keys", self.target, around(Path("/nonexistent")))

    def stage(self) -> None:
        """Write them."""
        super().stage()
        with plain(self.target.address) as client:
            client.mset({f"session:{number}": "found" for number in range(self._KEYS)})

    def meddle(self, rng: random.Random) -> Written:
        """Give one an expiry of theirs, or delete it."""
        name, at_ms = f"session:{rng.randrange(self._KEYS)}", rng.randrange(10**13, 2 * 10**13)
        with plain(self.target.address) as client:
            if rng.random() < 0.5:
                client.delete(name)
                return {f"expiry {name}": "-2"}
            if not client.pexpireat(name, at_ms):
                return {}  # they had deleted it
            return {f"expiry {name}": str(at_ms)}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Each never expires, or by the plan, or as somebody else has it."""
        verdict = super().judge(ended, written)
        steps = (
            {bytes.fromhex(str(step.arguments["key"])).decode(): step for step in ended.steps}
            if ended
            else {}
        )
        with plain(self.target.address) as client:
            now = {name: client.execute_command("PEXPIRETIME", name) for name in sorted(steps)}
            least_ms = int(client.time()[0]) * 1000
        for name, at_ms in now.items():
            place = f"expiry {name}"
            theirs = place in written
            if theirs and at_ms != int(written[place]):
                verdict.lost.append(place)
            is_ours = least_ms < at_ms <= least_ms + (self._AFTER_S + 1) * 1000
            holds = "saved" if at_ms == -1 else "written" if is_ours else "other"
            if problem := misplaced(steps[name], holds, theirs=theirs, ended=ended):
                verdict.wrong.append(f"{name} expires at {at_ms}: {problem}")
        return verdict


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    (folder / "server").mkdir(parents=True)
    with scratch_valkey(folder / "server") as server:
        yield server.url


@contextlib.contextmanager
def _scripts(folder: Path) -> Iterator[Scene]:
    with _server(folder) as url:
        yield ScriptsScene(url)


@contextlib.contextmanager
def _expiry(folder: Path) -> Iterator[Scene]:
    with _server(folder) as url:
        yield ExpiryScene(url)


@contextlib.contextmanager
def _limits(folder: Path) -> Iterator[Scene]:
    with _server(folder) as url:
        yield LimitsScene(url)


@contextlib.contextmanager
def _purge(folder: Path) -> Iterator[Scene]:
    with _server(folder) as url:
        yield PurgeScene(url)


@contextlib.contextmanager
def _hogs(folder: Path) -> Iterator[Scene]:
    with _server(folder) as url:
        scene = HogScene(url)
        try:
            yield scene
        finally:
            scene.close()


SCENES: dict[str, Expected] = {
    "purge_memory": Expected(_purge),
    "limit_client_buffers": Expected(_limits),
    "expire_forgotten_keys": Expected(_expiry),
    "flush_scripts": Expected(_scripts),
    "kill_hogging_client": Expected(_hogs),
}
