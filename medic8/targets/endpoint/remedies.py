"""What to do about findings of an endpoint that tell of slowness or of a shortage."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.analysis.remedy import Remedy

REMEDIES: Mapping[str, Remedy] = {
    "endpoint.slow": Remedy(
        resource="one part of a request",
        text="Make the part of the request faster that takes the most",
        effort="some minutes of looking, then it depends on the part",
        risk="none: only looking",
        effect="a request takes what its other parts take",
    ),
    "endpoint.flapping": Remedy(
        resource="some of its servers",
        text="Find which of the servers behind it fails, and take it out",
        effort="some minutes",
        risk="the others have to carry its load",
        effect="clients no longer wait for requests that fail",
        is_short=True,
    ),
    "endpoint.address_down": Remedy(
        resource="address {about}",
        text="Take the address out until its host serves again",
        effort="a change of the name",
        risk="the others have to carry its load",
        effect="no client waits for an address that does not serve",
        is_short=True,
    ),
    "endpoint.status": Remedy(
        resource="requests",
        text="Find out why the service refuses or fails",
        effort="some minutes of looking",
        risk="none: only looking",
        effect="requests are answered",
        slows=False,
        is_short=True,
    ),
}
