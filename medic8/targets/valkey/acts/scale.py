"""
Have the site give the server more to live on: one-way, and told afterwards by a mark on the server.

The mark counts: a number is how often it was done, and one with a question mark
says that it was asked for once more and nothing is known of the answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import cast

from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.model.target import Scale
from medic8.targets.valkey.acts.act import Act, ActedOn
from medic8.targets.valkey.acts.scaling_hook import Answer, ask
from medic8.targets.valkey.claim import guarded_small_write

SCALE_OUT = "scale_out"

MARK_KEY = b"medic8:scaled"
_UNKNOWN = b"?"


class ScaleOut(Frozen):
    """
    Arguments of the action ``scale_out``.

    Attributes:
        issue: What it is for, in the words of the issue's title.
        hook: A digest of what the configuration calls, so that a yes is to that and to nothing else.
    """

    issue: str
    hook: str


class ScaleAct(Act):
    """Call the command or service that the target's configuration names, at most once."""

    name = SCALE_OUT
    is_of_process = False

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """The mark."""
        del step
        return cast("bytes | None", server.client.get(MARK_KEY))

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """
        The mark afterwards; a trial run comes first, where the configuration has one.

        Raises:
            ChangedError: the configuration calls something else by now.
            RefusedError: the trial failed, or nobody knows how an earlier call ended.
        """
        hook, present = _hook(server, step), self.capture(server, step) or b"0"
        if not present.isdigit():
            raise RefusedError(
                f"nobody knows how an earlier call ended; when you do: DEL {MARK_KEY.decode()}"
            )
        if hook.dry_run or hook.url is not None:
            found = ask(hook, _about(server, step), is_trial=True)
            if found.answer is not Answer.DONE:
                raise RefusedError(f"the trial run failed, and nothing was changed: {found.said}")
        return b"%d" % (int(present) + 1)

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """Mark that it is asked for, ask, and mark what came of it."""
        if new is None or int(new) <= int(expected or b"0"):
            raise RefusedError("what the site was given cannot be taken back")
        hook = _hook(server, step)
        key = server.claim_beside(claim, step)

        def mark(value: bytes | None) -> None:
            guarded_small_write(server.client, claim, key, MARK_KEY, value)

        if self.capture(server, step) != expected:
            raise ChangedError("somebody else has asked for more meanwhile")
        mark(new + _UNKNOWN)
        found = ask(hook, _about(server, step), is_trial=False)
        if found.answer is Answer.REFUSED:
            mark(expected)
            raise RefusedError(f"it was refused, and nothing was changed: {found.said}")
        if found.answer is Answer.UNKNOWN:
            raise VerifyError(f"nobody knows whether it was done: {found.said}")
        mark(new)

    def took_effect(self, server: ActedOn, step: Step, recovery: str) -> bool | None:
        """By the mark; None if it says that the answer is not known."""
        del recovery
        mark = self.capture(server, step) or b""
        return True if mark.isdigit() else None

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """The site said that it was done; whether it helped is for later diagnoses to say."""
        for step in steps:
            if not (self.capture(server, step) or b"").isdigit():
                raise VerifyError("nobody knows whether it was done")


def digest_of_hook(hook: Scale) -> str:
    """What a yes is to; a digest, since addresses may hold secrets."""
    url = hook.url.get_secret_value() if hook.url else ""
    return hashlib.sha256("\0".join((*hook.command, "", *hook.dry_run, "", url)).encode()).hexdigest()


def _hook(server: ActedOn, step: Step) -> Scale:
    hook = server.target.scale
    if hook is None or digest_of_hook(hook) != ScaleOut.model_validate(step.arguments).hook:
        raise ChangedError("the configuration calls something else by now than what the plan was made for")
    return hook


def _about(server: ActedOn, step: Step) -> dict[str, str]:
    return {"target": server.target.name, "issue": ScaleOut.model_validate(step.arguments).issue}
