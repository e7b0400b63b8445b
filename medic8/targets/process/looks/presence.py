"""Whether the process runs, who it is, and how often it was started of late."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from medic8.analysis.judging import fact, over
from medic8.errors import RefusedError, UnreachableError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.sample import Sample
from medic8.model.target import Target
from medic8.model.wording import counted, shown
from medic8.targets.kind import Surroundings
from medic8.targets.process.found import age_s, called, keeper_of, process_of_keeper
from medic8.targets.process.keepers.keeper import STARTS_WITHIN_S, Kept, KeptState
from medic8.targets.process.living import GoneError, Living
from medic8.targets.process.looks.looking import Look
from medic8.targets.process.looks.our_starts import our_starts
from medic8.targets.process.looks.sampling import STARTS, run_of
from medic8.targets.process.policy import policy_of
from medic8.targets.process.setup import RUNS, Meant, setup_of

_ABOUT = "its starts"

#: Supervisord takes a program for started after a second. Source: its documentation, startsecs.
_STARTS_S = 1.2
_LOOK_EVERY_S = 0.05

#: Who starts a process that has ended waits before that: supervisord a second more after each time, systemd
#: 0.1 s, most shell loops a second or two. Source: Supervisor documentation, Process States;
#: systemd.service(5), RestartSec; three seconds are our choice.
COMES_BACK_S = 3.0
_LOOK_FOR_EVERY_S = 0.2

#: How often a process that ended meanwhile is looked for anew.
_TRIES = 3

_ADVICE = ("look into the log of the process for why it ends; a restart does not help here",)


def look_at_presence(target: Target, around: Surroundings) -> DiagnosticResult:
    """
    Look whether it is there.

    Raises:
        UnreachableError: it does not run, or nobody can tell.
    """
    look = Look("presence", around)
    for _ in range(_TRIES - 1):
        kept = _kept(target)
        try:
            return _looked(look, target, kept)
        except GoneError:
            if kept.pid is None:
                raise
            # It has ended since its keeper named it; by now that may have another one, or have given up.
    return _looked(look, target, _kept(target))


def _kept(target: Target) -> Kept:
    """What its keeper says; of one that starts, whether it stays, if that is told soon."""
    keeper, began_s = keeper_of(target), time.monotonic()
    try:
        while True:
            kept, passed_s = keeper.look(), time.monotonic() - began_s
            is_gone = kept.may_come_back and not _is_restarting(target, kept)
            if not (is_gone and passed_s < COMES_BACK_S) and not (
                kept.state is KeptState.STARTS and passed_s < _STARTS_S
            ):
                return kept
            time.sleep(_LOOK_FOR_EVERY_S if is_gone else _LOOK_EVERY_S)
    except RefusedError as exc:
        raise UnreachableError(str(exc)) from exc


def _is_restarting(target: Target, kept: Kept) -> bool:
    """Whether there is none at this moment of one that is started again and again."""
    is_often = policy_of(target).starts.severity(kept.starts) is not None
    return kept.pid is None and kept.may_come_back and is_often


def _looked(look: Look, target: Target, kept: Kept) -> DiagnosticResult:
    around = look.around
    if kept.state in {KeptState.FAILS, KeptState.GAVE_UP} or _is_restarting(target, kept):
        return look.result(
            (reading("presence.state", kept.says), reading("presence.starts", kept.starts, "count")),
            _judge_failing(target, kept),
        )
    earlier = around.samples.read(target.name) if around.samples else ()
    with process_of_keeper(kept, called(target)) as process:
        starts = max(kept.starts or 0, starts_seen(earlier, run_of(process.identity), around.now))
        # Only if it matters: the journal is asked.
        if policy_of(target).starts.severity(starts) is not None:
            starts -= our_starts(target, around)
        return look.result(
            (*_readings(look, process, kept), reading("presence.starts", starts, "count")),
            (*_runs(target, process), *judge_starts(target, starts, kept, age_s(process.identity))),
        )


def _runs(target: Target, process: Living) -> tuple[Finding, ...]:
    """Which process it is, for whoever may have to change it."""
    meant = Meant(process=process.identity, setup=setup_of(process).digests)
    return fact(
        RUNS,
        Severity.INFO,
        f"{called(target)} is process {process.pid}",
        about="the process",
        objects=(meant.model_dump(mode="json"),),
    )


def _readings(look: Look, process: Living, kept: Kept) -> tuple[Reading | None, ...]:
    stat = process.stat()
    return (
        reading("presence.state", kept.says),
        reading("presence.pid", str(process.pid)),
        reading("presence.age", round(age_s(process.identity)), "seconds"),
        reading(
            "presence.program", look.ask("program", lambda: shown(process.executable())) or shown(stat.name)
        ),
        reading("presence.parent", str(stat.parent)),
    )


def _judge_failing(target: Target, kept: Kept) -> tuple[Finding, ...]:
    gave_up = kept.state is KeptState.GAVE_UP
    does = "was given up after failing to start" if gave_up else "ends again and again"
    return fact(
        "presence.gave_up" if gave_up else "presence.restarts",
        Severity.CRITICAL if gave_up else Severity.ERROR,
        f"{called(target)} {does}: {kept.says}{f', {kept.ended}' if kept.ended else ''}",
        about=_ABOUT,
        evidence=(
            Evidence(what="its supervisor says", seen=kept.says),
            *(
                (Evidence(what="starts within 10 minutes", seen=str(kept.starts)),)
                if kept.starts is not None
                else ()
            ),
            *_how(kept),
        ),
        advice=_ADVICE,
    )


def _how(kept: Kept) -> tuple[Evidence, ...]:
    return (Evidence(what="it ended the last time with", seen=kept.ended),) if kept.ended else ()


def judge_starts(target: Target, starts: int, kept: Kept, age_s: float | None) -> tuple[Finding, ...]:
    """Whether it is started again and again; one or two restarts are planned ones."""
    return over(
        "presence.restarts",
        policy_of(target).starts,
        starts,
        f"{called(target)} was started {counted(starts, 'time')} within 10 minutes",
        about=_ABOUT,
        also=(
            *((Evidence(what="runs for", seen=f"{age_s:.0f} s"),) if age_s is not None else ()),
            *_how(kept),
        ),
        advice=_ADVICE,
    )


def starts_seen(samples: Sequence[Sample], run: str, now: datetime) -> int:
    """
    How many different processes earlier diagnoses and this one saw within `STARTS_WITHIN_S`, at least.

    Args:
        samples: Of earlier diagnoses, the oldest first; each counts the starts that were seen until then.
        run: Of the process that is there now.
        now: The time of this diagnosis.
    """
    since = now - timedelta(seconds=STARTS_WITHIN_S)
    recent = [each for each in samples if since <= each.at <= now and STARTS in each.values]
    if not recent:
        return 0
    seen = recent[-1].values[STARTS] - recent[0].values[STARTS] + 1
    return int(seen) + (recent[-1].run != run)
