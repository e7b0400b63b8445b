"""The demo's second part: a recovery whose verification must fail, and its undo."""

from __future__ import annotations

from contextlib import ExitStack

import valkey

from medic8.local.demo.child import child
from medic8.local.demo.site import FREE, OWNED, SERVER
from medic8.local.demo.stage import Stage
from medic8.local.lab.settings import change_setting, put_settings_back
from medic8.model.recovery import StepState
from medic8.model.resolution import Outcome
from medic8.targets.valkey.client import connection, setting

_AGENT = "medic8.local.demo.agent"
_HEARD_WITHIN_S = 30.0

#: Both outside of what the demo's configuration asks for.
_OWNED_VALUE, _FREE_VALUE = "10", "300"

#: Where the server remembers what the settings were before the demo.
_BEFORE = "medic8:demo:settings"


def play(stage: Stage) -> None:
    """Play the second part."""
    with ExitStack() as ends:
        client = ends.enter_context(connection(stage.valkey_url, name="medic8-demo"))
        put_settings_back(client, before=_BEFORE)  # an earlier demo may have been killed
        ends.callback(_put_back, stage.valkey_url)
        change_setting(client, OWNED, _OWNED_VALUE, before=_BEFORE)
        change_setting(client, FREE, _FREE_VALUE, before=_BEFORE)
        with stage.phase("A recovery that must fail, and its undo") as scene:
            agent = ends.enter_context(child(_AGENT, stage.valkey_url, OWNED, _OWNED_VALUE))
            agent.hear(_HEARD_WITHIN_S)
            scene.say(
                f"{OWNED} is {_OWNED_VALUE} and {FREE} is {_FREE_VALUE}; the site wants 1000 or more, "
                "and 60 to 120. What Medic8 cannot know: another program owns "
                f"{OWNED}, and sets it back within milliseconds.",
            )
            treatment = stage.flows.heal(SERVER, dry_run=False)
            now = _values(client)
            times = agent.finish(_HEARD_WITHIN_S)
            resolution = treatment.resolutions[0] if len(treatment.resolutions) == 1 else None
            outcome = resolution.outcome.value if resolution is not None else "no resolution"
            if resolution is not None:
                scene.list(tuple(f"{step.title}: {step.state.value}" for step in resolution.steps), 4)
                scene.say(resolution.reason)
            scene.check(f"Medic8 did change {OWNED}, and its owner set it back", int(times) > 0, f"{times} x")
            scene.check(
                "both steps were undone",
                resolution is not None
                and [step.state for step in resolution.steps] == [StepState.UNDONE, StepState.UNDONE],
                ", ".join(step.state.value for step in resolution.steps)
                if resolution is not None
                else "none",
            )
            scene.check(
                f"{FREE}, which had been set and would have stayed, is what it was before",
                now == (_OWNED_VALUE, _FREE_VALUE),
                f"{OWNED} {now[0]}, {FREE} {now[1]}",
            )
            scene.check(
                "the outcome is restored, and not a success", outcome == Outcome.RESTORED.value, outcome
            )


def _put_back(address: str) -> None:
    # On a connection of its own: Ctrl-C may have come while an answer was being read on the other.
    with connection(address, name="medic8-demo") as client:
        put_settings_back(client, before=_BEFORE)


def _values(client: valkey.Valkey) -> tuple[str | None, str | None]:
    return setting(client, OWNED), setting(client, FREE)
