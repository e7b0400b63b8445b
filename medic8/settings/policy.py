"""What a configuration lets programs do by themselves: ``[policy]``, ``[observer]`` and ``[approvals]``."""

from __future__ import annotations

from typing import TypedDict

from medic8.model.approving import Approvals
from medic8.model.policy import ObserverCheck, Policy
from medic8.model.target import Target
from medic8.settings.document import Document
from medic8.settings.problems import nearest, shown


class Rules(TypedDict):
    """What `Settings` takes from here."""

    policy: Policy
    observer: ObserverCheck
    approvals: Approvals


def read_rules(document: Document, targets: tuple[Target, ...] = ()) -> Rules:
    """The rules of *document*, with their defaults; problems are noted there."""
    given = document.content
    policy = document.parse(Policy, "[policy]", ("policy",), given.get("policy", {})) or Policy()
    observer = document.parse(ObserverCheck, "[observer]", ("observer",), given.get("observer", {}))
    approvals = document.parse(Approvals, "[approvals]", ("approvals",), given.get("approvals", {}))
    _check_windows(document, policy, targets)
    return Rules(policy=policy, observer=observer or ObserverCheck(), approvals=approvals or Approvals())


def _check_windows(document: Document, policy: Policy, targets: tuple[Target, ...]) -> None:
    names = [target.name for target in targets]
    labels = {f"{key}={value}" for target in targets for key, value in target.labels.items()}
    for index, window in enumerate(policy.window):
        for place, on in enumerate(window.on):
            if on not in {*names, *labels}:
                # A window that is for nothing would be taken for one that protects.
                text = f"got {shown(on)}, expected a target's name or label{nearest(on, [*names, *labels])}"
                document.wrong_field("[policy]", ("policy",), ("window", index, "on", place), text)
