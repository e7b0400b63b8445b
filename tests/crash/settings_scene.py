"""
A server with settings to be changed, and what is exact about them.

A setting cannot be watched: between ``CONFIG GET`` and ``EXEC`` lies one round trip in which somebody else's
``CONFIG SET`` of the same one is written over (docs/recovery.md says so). So others set the same settings
right *after* any write, which is everywhere else, and other settings and keys at any time. What they set
stays: a value that is neither what was saved nor what was written is left alone.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import valkey

from medic8.local.scratch import scratch_valkey
from medic8.model.issue import IssueType
from medic8.model.target import SettingRule, Target
from tests.crash.reader import Ended, Verdict, misplaced, problems_of_claims
from tests.crash.scenes import Expected, Scene, SceneMaker, Written, around, everything_in, plain, plan_by

OTHERS = {"maxmemory-samples": range(3, 60), "slowlog-log-slower-than": range(10_000, 20_000)}


@dataclass(frozen=True)
class Cast:
    """
    Which settings play, and what they are.

    Attributes:
        strategy: Whose plan is carried out.
        found: Each setting as it is staged.
        good: As it is planned to be; empty if that depends on the load, and the plan is taken at its word.
        theirs: What somebody else sets; values that nobody else sets tell who set it. None for a yes or no,
            which cannot be told from ours.
        others: The same of settings that the plan does not touch.
        rules: The site's.
        prepare: Brings about what is found, beside the settings, on an empty server.
        suffer: What must have happened, once, for a diagnosis to find it.
    """

    strategy: str
    found: Mapping[str, str]
    good: Mapping[str, str]
    theirs: Mapping[str, Sequence[object]]
    others: Mapping[str, Sequence[object]] = field(default_factory=lambda: OTHERS)
    rules: tuple[SettingRule, ...] = ()
    prepare: Callable[[valkey.Valkey], object] = lambda _: None
    suffer: Callable[[valkey.Valkey], object] = lambda _: None


_CAST = Cast(
    strategy="set_settings",
    found={"slowlog-max-len": "10", "tcp-keepalive": "300", "hz": "10"},
    good={"slowlog-max-len": "1000", "tcp-keepalive": "120", "hz": "20"},
    theirs={"slowlog-max-len": range(5000, 6000), "tcp-keepalive": range(400, 500), "hz": range(30, 90)},
    rules=(
        SettingRule(name="slowlog-max-len", minimum=1000),
        SettingRule(name="tcp-keepalive", minimum=60, maximum=120, issue=IssueType.SLOW_OPERATIONS),
        SettingRule(name="hz", minimum=20),
    ),
)


class SettingsScene:
    """A server of its own; see `tests.crash.scenes.Scene`."""

    exact_before = False

    def __init__(self, cast: Cast, url: str, folder: Path) -> None:
        self._cast = cast
        self.target = Target(
            name="server", kind="valkey", url=url, mode="act", allow=(cast.strategy,), setting=cast.rules
        )
        self.stage()
        with plain(url) as client:
            cast.suffer(client)
        self.plan = plan_by(cast.strategy, self.target, around(folder))
        planned = [step.arguments for unit in self.plan.units for step in unit.steps]
        self._good = cast.good or {str(each["name"]): str(each["value"]) for each in planned}
        if self._good.keys() != cast.found.keys():
            raise LookupError(f"the plan sets {sorted(self._good)}, and was to set {sorted(cast.found)}")

    def stage(self) -> None:
        """Set what is found, and remove every key."""
        with plain(self.target.address) as client:
            client.execute_command("FLUSHALL", "SYNC")  # else the memory comes free later
            for name, value in self._cast.found.items():
                client.config_set(name, value)
            self._cast.prepare(client)

    def meddle(self, rng: random.Random) -> Written:
        """Set one of the settings, or all of them, to a value of theirs."""
        if not self._cast.theirs:
            return self._write(f"theirs:{rng.randrange(8)}", rng)
        names = [rng.choice(list(self._cast.found))] if rng.random() < 0.7 else list(self._cast.found)
        return self._set({name: str(rng.choice(self._cast.theirs[name])) for name in names})

    def wander(self, rng: random.Random) -> Written:
        """Another setting, or a key."""
        if rng.random() < 0.5:
            name = rng.choice(list(self._cast.others))
            return self._set({name: str(rng.choice(self._cast.others[name]))})
        return self._write(f"other:{rng.randrange(8)}", rng)

    def _write(self, name: str, rng: random.Random) -> Written:
        with plain(self.target.address) as client:
            value = rng.randbytes(16)
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
            now = {name: client.config_get(name)[name] for name in (*self._cast.found, *self._cast.others)}
            for place, value in written.items():
                what, name = place.split(maxsplit=1)
                is_there = (
                    now[name] == value if what == "setting" else client.get(name) == bytes.fromhex(value)
                )
                if not is_there:
                    verdict.lost.append(place)
        verdict.wrong += [problem] if problem else []
        steps = {str(step.arguments["name"]): step for step in ended.steps} if ended else {}
        for name, found in self._cast.found.items():
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
            settings = {
                name: client.config_get(name)[name].encode()
                for name in (*self._cast.found, *self._cast.others)
            }
        return {**everything_in(self.target.address), **settings}


def scene_of(cast: Cast) -> SceneMaker:
    """The scene of *cast* on a server of its own."""

    @contextlib.contextmanager
    def scene(folder: Path) -> Iterator[Scene]:
        (folder / "server").mkdir(parents=True)
        with scratch_valkey(folder / "server") as server:
            yield SettingsScene(cast, server.url, folder)

    return scene


SCENES: dict[str, Expected] = {_CAST.strategy: Expected(scene_of(_CAST))}
