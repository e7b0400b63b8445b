"""Up to 7.2 a full server takes nothing within MULTI: it is helped all the same, by nobody but its owner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from medic8.errors import ClaimGoneError, FencedError
from medic8.model.recovery import Claim, Fence, RecoveryState
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.claim import CLAIM_KEY, carry_out_if_full_too, guard
from tests.targets.valkey.debian_server import needs_redis, redis_server
from tests.targets.valkey.looking_at import AROUND, a_target
from tests.targets.valkey.recovering import carry_out, planned

pytestmark = needs_redis

CLAIM = Claim(journal="journal", recovery="recovery", fence=Fence(number=1, nonce="0" * 32))
OTHER = b"another recovery 7:1"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Get the address of Debian's Redis 7.0, with a key of 2 MB and a limit right below what is used."""
    with redis_server(tmp_path) as address, valkey.Valkey.from_url(address) as client:
        client.setrange("key", 2_000_000, "x")
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 100_000)
        yield address


def test_a_memory_limit_is_raised_and_the_claim_is_given_back(url: str, tmp_path: Path) -> None:
    """Claimed, renewed, set and released, although every command within MULTI is refused."""
    plan = planned("raise_memory_limit", a_target(url), "memory", "host", "replication", "persistence")
    assert carry_out(url, plan, tmp_path / "recovery").state is RecoveryState.HEALTHY
    with valkey.Valkey.from_url(url) as client:
        assert client.get(CLAIM_KEY) is None
        client.set("key", "value")


def test_whoever_lost_the_claim_changes_nothing(url: str) -> None:
    """Neither renews nor takes away what another holds, nor sets a setting."""
    plan = planned("raise_memory_limit", a_target(url), "memory", "host", "replication", "persistence")
    (step,) = plan.units[0].steps
    with open_session(a_target(url), AROUND) as session, valkey.Valkey.from_url(url) as client:
        session.take_claim(CLAIM, lasts_s=60)
        present, new = session.capture(step), session.prepare(step)
        limit = client.config_get("maxmemory")
        client.config_set("maxmemory", 0)
        client.set(CLAIM_KEY, OTHER, px=60_000)
        client.config_set("maxmemory", limit["maxmemory"])
        with pytest.raises(FencedError):
            session.swap(step, expected=present, new=new, claim=CLAIM)
        with pytest.raises(FencedError):
            session.renew_claim(CLAIM, lasts_s=3600)
        session.release_claim(CLAIM)
        assert client.get(CLAIM_KEY) == OTHER
        assert client.pttl(CLAIM_KEY) <= 60_000
        assert client.config_get("maxmemory") == limit


def test_a_claim_that_goes_in_the_last_moment_stops_what_comes_after_it(url: str) -> None:
    """It is compared once more after the server has refused MULTI."""
    with (
        open_session(a_target(url), AROUND) as session,
        valkey.Valkey.from_url(url) as client,
        client.pipeline() as pipe,
    ):
        session.take_claim(CLAIM, lasts_s=60)
        guard(pipe, CLAIM, CLAIM_KEY)
        pipe.multi()
        pipe.config_set("slowlog-max-len", "7")
        client.delete(CLAIM_KEY)
        with pytest.raises(ClaimGoneError):
            carry_out_if_full_too(pipe, CLAIM, CLAIM_KEY)
        assert client.config_get("slowlog-max-len")["slowlog-max-len"] != "7"
