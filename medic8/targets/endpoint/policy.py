"""Every threshold that the diagnostics of an endpoint hold a value against, with its source."""

from __future__ import annotations

from medic8.analysis.threshold import Threshold, set_by
from medic8.model.frozen import Frozen
from medic8.model.target import Target

_OURS = "our choice"
_GOLDEN = "Beyer et al., Site Reliability Engineering, chapter 6, The Four Golden Signals"


class EndpointPolicy(Frozen):
    """Limits for judging an endpoint, each a `Threshold` with its source."""

    answer: Threshold = Threshold(
        what="a request from its name to the end of the answer (median)",
        warning=1.0,
        error=5.0,
        unit="seconds",
        source=f"J. Nielsen, Usability Engineering, section 5.5: from 1 s on people notice; 5 s is {_OURS}",
    )
    failing: Threshold = Threshold(
        what="requests that failed, of those to an address that also answers",
        warning=0.01,
        error=0.5,
        unit="share",
        source=f"{_GOLDEN}: errors; of a handful of requests each one counts, the limits are {_OURS}",
    )
    certificate_days: Threshold = Threshold(
        what="days until the certificate ends that is presented",
        warning=30,
        error=7,
        unit="days",
        is_floor=True,
        source="Let's Encrypt documentation, FAQ: renew 30 days before the end; 7 is our choice",
    )


POLICY = EndpointPolicy()


def policy_of(target: Target) -> EndpointPolicy:
    """The limits for judging *target*: ours, but for those that its configuration sets."""
    return set_by(POLICY, target.threshold)
