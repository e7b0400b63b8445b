"""
A server with settings out of range, and what is exact about them.

A setting cannot be watched: between ``CONFIG GET`` and ``EXEC`` lies one round trip in which somebody else's
``CONFIG SET`` of the same one is written over (docs/recovery.md says so). So others set the same settings
right *after* any write, which is everywhere else, and other settings and keys at any time. What they set
stays: a value that is neither what was saved nor what was written is left alone.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medic8.local.scratch import scratch_valkey
from medic8.model.target import SettingRule, Target
from tests.crash.reader import Ended, Verdict, misplaced, problems_of_claims
from tests.crash.scenes import Expected, Scene, Written, around, everything_in, plain, plan_by

_FOUND = {"slowlog-max-len": "10", "tcp-keepalive": "300", "hz": "10"}
_RULES = (
    SettingRule(name="slowlog-max-len", minimum=1000),
    SettingRule(name="tcp-keepalive", minimum=60, maximum=120),
    SettingRule(name="hz", minimum=20),
)
#: Set by nobody else, so that a value tells who set it.
_THEIRS = {"slowlog-max-len": range(5000, 6000), "tcp-keepalive": range(400, 500), "hz": range(30, 90)}
_OTHERS = {"maxmemory-samples": range(3, 60), "slowlog-log-slower-than": range(10_000, 20_000)}


class SettingsScene:
    """A server of its own; see `tests.crash.scenes.Scene`."""

    exact_before = False

    def __init__(
        self,
        target: Target,
        folder: Path,
        *,
        found: Mapping[str, str],
        theirs: Mapping[str, Sequence[int | str]],
    ) -> None:
        self.target, self._found, self._theirs = target, found, theirs
        self.stage()
        self.plan = plan_by(target.allow[0], target, around(folder))
        planned = [step.arguments for unit in self.plan.units for step in unit.steps]
        self._good = {str(each["name"]): str(each["value"]) for each in planned}
        if self._good.keys() != found.keys():
            raise LookupError(f"the plan sets {sorted(self._good)}, and was to set {sorted(found)}")

    def stage(self) -> None:
        """Set what is found, and remove every key."""
        with plain(self.target.address) as client:
            client.flushall(asynchronous=False)
            for name, value in self._found.items():
                client.config_set(name, value)

    def meddle(self, rng: random.Random) -> Written:
        """Set one of the settings, or all of them, to a value of theirs."""
        names = [rng.choice(list(self._found))] if rng.random() < 0.7 else list(self._found)
        return self._set({name: str(rng.choice(self._theirs[name])) for name in names})

    def wander(self, rng: random.Random) -> Written:
        """Another setting, or a key."""
        if rng.random() < 0.5:
            name = rng.choice(list(_OTHERS))
            return self._set({name: str(rng.choice(_OTHERS[name]))})
        with plain(self.target.address) as client:
            name, value = f"other:{rng.randrange(8)}", rng.randbytes(16)
            client.set(name, value)
            return {f"key {name}": value.hex()}

    def _set(self, wanted: dict[str, str]) -> Written:
        with plain(self.target.address) as client:
            for name, value in wanted.items():
                client.config_set(name, value)
        return {f"setting {name}": value for name, value in wanted.items()}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Each setting is what was found, or what was planned, or what somebody else set last."""
        verdict = Verdict("not_opened" if ended is None else ended.state)
        with plain(self.target.address) as client:
            claim = [(client.get("medic8:claim"), client.pttl("medic8:claim"))]
            verdict.is_claimed, problem = problems_of_claims(claim, ended)
            now = {name: client.config_get(name)[name] for name in (*self._found, *_OTHERS)}
            for place, value in written.items():
                what, name = place.split(maxsplit=1)
                is_there = (
                    now[name] == value if what == "setting" else client.get(name) == bytes.fromhex(value)
                )
                if not is_there:
                    verdict.lost.append(place)
        verdict.wrong += [problem] if problem else []
        steps = {str(step.arguments["name"]): step for step in ended.steps} if ended else {}
        for name, found in self._found.items():
            theirs = f"setting {name}" in written
            holds = "saved" if now[name] == found else "written" if now[name] == self._good[name] else "other"
            if ended is None:
                if holds != "saved" and not theirs:
                    verdict.wrong.append(f"{name} is {now[name]}, and nothing was begun")
            elif problem := misplaced(steps[name], holds, theirs=theirs, ended=ended):
                verdict.wrong.append(f"{name} is {now[name]}: {problem}")
        return verdict

    def contents(self) -> Mapping[str, bytes]:
        """All keys, and the settings."""
        with plain(self.target.address) as client:
            settings = {name: client.config_get(name)[name].encode() for name in (*self._found, *_OTHERS)}
        return {**everything_in(self.target.address), **settings}


@contextlib.contextmanager
def _scene(folder: Path) -> Iterator[Scene]:
    (folder / "server").mkdir(parents=True)
    with scratch_valkey(folder / "server") as server:
        target = Target(
            name="server", kind="valkey", url=server.url, mode="act", allow=("set_settings",), setting=_RULES
        )
        yield SettingsScene(target, folder, found=_FOUND, theirs=_THEIRS)


SCENES: dict[str, Expected] = {"set_settings": Expected(_scene)}
