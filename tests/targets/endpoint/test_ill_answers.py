"""What a look of five requests misses, what a service says of itself, and on what its certificate rests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medic8.model.issue import Severity
from tests.targets.endpoint.services import (
    HOST,
    KIND,
    answers,
    around,
    endpoint,
    in_turn,
    look,
    only,
    service,
    status,
)
from tests.targets.valkey.bad_doors import certify


def _watched(url: str, folder: Path, watch_s: float) -> list[str]:
    told = replace(around(folder), watch_s=watch_s)
    return [each.code for each in KIND.diagnostics["requests"](endpoint(url), told).findings]


def test_what_fails_once_in_many_is_met_by_who_watches(tmp_path: Path) -> None:
    """A look of a few requests has met none, and one alone among many may be chance."""
    good, bad = answers(), status(500)
    with service(in_turn(*[good] * 8, bad, *[good] * 5, bad, *[good] * 60)) as port:
        assert _watched(f"http://{HOST}:{port}/", tmp_path, 0.0) == []
        assert _watched(f"http://{HOST}:{port}/", tmp_path, 2.0) == ["endpoint.flapping"]
    with service(in_turn(*[good] * 3, bad, *[good] * 100)) as port:
        assert _watched(f"http://{HOST}:{port}/", tmp_path, 2.0) == []


def test_who_answers_well_at_last_does_not_always_fail() -> None:
    """Five bad answers in a row are no rarity of a service that fails in three of four."""
    with service(in_turn(*[status(500)] * 6, *[answers()] * 3)) as port:
        assert only(look(endpoint(f"http://{HOST}:{port}/"))).code == "endpoint.flapping"
    with service(status(500)) as port:
        assert only(look(endpoint(f"http://{HOST}:{port}/"))).code == "endpoint.status"


@pytest.mark.parametrize(
    ("body", "is_ill"),
    [
        (b'{"status": "fail", "checks": {}}', True),
        (b' {"status": "DOWN"}', True),
        (b'{"status": "pass"}', False),
        (b'{"status": {"code": "down"}}', False),
        (b'{"status": "down"', False),
        (b"status: down", False),
    ],
)
def test_a_service_that_says_that_it_is_ill_is_believed(body: bytes, is_ill: bool) -> None:
    """Its status is 200, and who balances load by that sends people there."""
    with service(status(200, body=body)) as port:
        found = look(endpoint(f"http://{HOST}:{port}/")).findings
        assert [each.code for each in found] == (["endpoint.body"] if is_ill else [])
        asked = endpoint(f"http://{HOST}:{port}/", request={"body": "status"})
        assert look(asked).findings == (), "the site has said what is well"


def test_the_end_of_an_issuer_that_is_presented_is_seen_as_well(tmp_path: Path) -> None:
    """A certificate that is good for months is worth nothing once what it rests on has ended."""
    issuer = certify(tmp_path, "issuing", days=5)
    leaf = certify(tmp_path, "leaf", by=issuer, days=80)
    with leaf.certificate.open("ab") as file:
        file.write(issuer.certificate.read_bytes())
    with service(answers(), certified=leaf) as port:
        found = only(look(endpoint(f"https://localhost:{port}/", timeout_s=5), "certificate"))
    assert (found.code, found.severity) == ("endpoint.certificate_ends", Severity.ERROR)
    assert "of its issuer CN=issuing ends on" in found.text
