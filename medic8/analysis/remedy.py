"""What a kind knows of a finding that slows a target down, or that tells of a shortage."""

from __future__ import annotations

from medic8.model.frozen import Frozen


class Remedy(Frozen):
    """
    What is short or slow when something is found, and what to do about it.

    Attributes:
        resource: The resource or component, for people; ``{about}`` is the finding's object.
        text: What to do, one sentence.
        effort: What it takes.
        risk: What can go wrong.
        effect: What to expect where no number can be worked out.
        slows: Whether it makes the target slow.
        is_short: Whether it tells of a resource that runs out, is waited for, or fails.
    """

    resource: str
    text: str
    effort: str
    risk: str
    effect: str
    slows: bool = True
    is_short: bool = False
