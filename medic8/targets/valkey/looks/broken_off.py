"""What becomes of a look that was broken off: the server comes and goes, or connections are cut."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.judging import fact, over
from medic8.errors import RefusedError, TransientError, UnreachableError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.model.wording import measured
from medic8.targets.kind import Diagnostic, Surroundings
from medic8.targets.valkey.address import redact
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.flapping import look_for_flapping
from medic8.targets.valkey.looks.not_let_in import judge_not_let_in
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of

#: So many connections are held in turn, each for so long unless it breaks, with a PING so often.
_HELD, _LEAST_S, _MOST_S, _BETWEEN_S = 3, 1.0, 5.0, 0.02

#: Of so many answers one is long.
_LONG_EACH = 10

#: So many connections are asked for what is long, after so much that is short.
_SWALLOWED, _SHORT = 2, 3

#: A connection is held for so many times what the look lasted that was broken off: lives differ.
_TIMES = 2.0


class Held(NamedTuple):
    """
    A connection that was held: for how long, the answers it gave, whether it broke, and the server's run.

    Attributes:
        lived_s: Seconds.
        answers: How many.
        is_broken: Whether it broke; else we let go of it.
        run: The run id of the server behind it; empty if it did not tell.
    """

    lived_s: float
    answers: int
    is_broken: bool
    run: str


def steadily(name: str, look: Diagnostic) -> Diagnostic:
    """
    *look*, which says what the way does to connections where that has broken it off.

    Args:
        name: The diagnostic's.
        look: It raises as `looking` does.
    """

    def looked(target: Target, around: Surroundings) -> DiagnosticResult:
        began_s = time.perf_counter()
        try:
            return look(target, around)
        except (UnreachableError, TransientError) as exc:
            lasted_s = time.perf_counter() - began_s
            is_away = isinstance(exc, UnreachableError)
            # A server that is full now and then lets one look in and turns the next one away.
            findings = judge_not_let_in(str(exc)) if is_away else ()
            findings = findings or _comes_and_goes(target) if is_away else look_for_cuts(target, lasted_s)
            if not findings and not is_away:
                findings = look_for_swallowing(target) or _comes_and_goes(target)
            if not findings:
                raise
            unseen = (f"{name}: {exc}",)
            return DiagnosticResult(diagnostic=name, findings=findings, unseen=unseen, taken_at=around.now)

    return looked


def _comes_and_goes(target: Target) -> tuple[Finding, ...]:
    return look_for_flapping(target.address, timeout_s=target.timeout_s, policy=policy_of(target))


def look_for_cuts(target: Target, lasted_s: float) -> tuple[Finding, ...]:
    """
    Hold a few connections, one after the other, and say whether they break; ends at the first that does not.

    Args:
        target: Where.
        lasted_s: For how long a look had lasted when it was broken off.
    """
    held: list[Held] = []
    for _ in range(_HELD):
        held.append(_hold(target, min(max(_LEAST_S, _TIMES * lasted_s), _MOST_S)))
        if not held[-1].is_broken:
            break
    return judge_cuts(held, redact(target.address), policy=policy_of(target))


def look_for_swallowing(target: Target) -> tuple[Finding, ...]:
    """
    Whether short answers come and longer ones do not, on each of two connections.

    So does a tunnel whose packets are smaller than both ends believe, where nobody is told. A server that
    hangs answers neither.
    """
    for _ in range(_SWALLOWED):
        asked_s = math.inf
        try:
            with looking(target) as server:
                for _ in range(_SHORT):
                    server.try_one("PING")
                asked_s = time.perf_counter()
                server.try_one("INFO")
                return ()
        except (RefusedError, UnreachableError):
            return ()
        except TransientError:
            # Whatever broke before INFO, or was closed and not waited for, is another evil.
            if time.perf_counter() - asked_s < target.timeout_s:
                return ()
    words = f"nothing came within {measured(target.timeout_s, 'seconds')}"
    return fact(
        UNREACHABLE,
        Severity.CRITICAL,
        f"{redact(target.address)} answers what is short and nothing that is long: larger packets are lost "
        "on the way back",
        about="connection",
        evidence=(
            Evidence(what="PING", seen=f"answered, {_SHORT * _SWALLOWED:,} times"),
            Evidence(what="INFO, some KiB", seen=f"{words}, {_SWALLOWED} times", limit="an answer"),
        ),
        advice=(
            "ping -M do -s 1472 HOST tells whether whole packets come through, and the largest that do",
            "have the tunnel's ends know its MTU (ip link), or let ICMP 'fragmentation needed' pass",
        ),
    )


def _hold(target: Target, most_s: float) -> Held:
    began_s, answers, run = time.perf_counter(), 0, ""
    asked_s = began_s
    with contextlib.suppress(RefusedError):
        try:
            with looking(target) as server:
                run = server.info("server").get("run_id", "")
                while time.perf_counter() < began_s + most_s:
                    asked_s = time.perf_counter()
                    # What ends a connection may count bytes, of which PINGs bring few.
                    is_long = answers % _LONG_EACH == 0
                    server.try_one(*(("INFO", "everything") if is_long else ("PING",)))
                    answers += 1
                    time.sleep(_BETWEEN_S)
        except TransientError:
            # Who is not answered in time hangs, which is another evil than a connection that ends.
            is_cut = time.perf_counter() - asked_s < target.timeout_s
            return Held(time.perf_counter() - began_s, answers, is_cut, run)
        except UnreachableError:
            pass
    return Held(time.perf_counter() - began_s, answers, is_broken=False, run=run)


def judge_cuts(held: Sequence[Held], where: str, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Whether connections break though one server goes on running behind them.

    Args:
        held: What became of each, in turn.
        where: The server's address, without its password.
        policy: How many are too many.
    """
    runs = {each.run for each in held if each.run}
    broken = [each for each in held if each.is_broken]
    if len(runs) > 1:
        return ()  # it has started anew meanwhile: that ends connections as well
    lives = ", ".join(
        f"{measured(round(each.lived_s, 2), 'seconds')} and {each.answers:,} answers" for each in broken
    )
    return over(
        "network.cut",
        policy.cut,
        len(broken),
        f"connections to {where} break in use, {{seen}} of {len(held):,} in a row, and the server goes on",
        about="connection",
        advice=(
            "look what stands between: time limits of proxies, balancers and firewalls, and their logs",
            "CLIENT LIST and the programs tell whether somebody closes connections (CLIENT KILL)",
        ),
        also=(Evidence(what="they lived for", seen=lives),) if lives else (),
    )
