"""Carry a plan out on a server as the flow does, without Prefect."""

from __future__ import annotations

from pathlib import Path

from medic8.model.plan import Plan
from medic8.model.recovery import Recovery, RecoveryState
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract, undo
from medic8.recovery.journal import Journal
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.strategies import STRATEGIES
from tests.recovery.steps import take_all_steps
from tests.targets.valkey.looking_at import AROUND, NOW, a_target, report_of


def planned(strategy: str, target: Target, *diagnostics: str) -> Plan:
    """What *strategy* makes of the first issue that it has something to do about."""
    report = report_of(*(DIAGNOSTICS[name](target, AROUND) for name in ("controller", *diagnostics)))
    plans = [STRATEGIES[strategy](issue, report, target) for issue in report.issues]
    return next((plan for plan in plans if plan.units), plans[0])


def carry_out(url: str, plan: Plan, folder: Path, *, taken_back: bool = False, **fields: object) -> Recovery:
    """The recovery of *plan* with a journal in *folder*, ended: healthy, or undone after its last step."""
    journal = Journal(f"sqlite:///{folder}/journal.sqlite")
    with open_session(a_target(url, **fields), AROUND) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        recovery = contract.save_state(
            journal, session, recovery, folder=folder / "saved", limit_bytes=1 << 20
        )
        reached = take_all_steps(journal, session, recovery, clock=lambda: NOW)
        if taken_back:
            return undo.undo(journal, session, recovery, clock=lambda: NOW, reached=reached)
        return contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=NOW, reached=reached)
