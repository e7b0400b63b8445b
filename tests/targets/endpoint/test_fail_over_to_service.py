"""A standby that a real supervisord keeps comes to serve an endpoint, and is taken back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.endpoint import FailOver
from medic8.targets.endpoint.kind import KIND
from medic8.targets.endpoint.service import STARTED, STOPPED
from medic8.targets.endpoint.session import EndpointSession, open_session
from tests.targets.endpoint.services import around
from tests.targets.endpoint.supervised_pair import Pair, pair
from tests.targets.endpoint.test_fail_over import CLAIM, diagnosed, planned
from tests.targets.process.supervised import MISSING


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Get one that is ill and its standby; skipped without supervisord, which in CI is a failure."""
    if MISSING:
        assert not os.environ.get("CI"), MISSING
        pytest.skip(MISSING)
    with pair(tmp_path_factory.mktemp("s")) as both:
        yield both


def steps_taken(session: EndpointSession, services: Pair, *, asks: bool) -> list[str]:
    """Take the steps of a plan in their order, as a recovery does; who was told what."""
    told = []
    for step in planned(services.target(asks=asks)).units[0].steps:
        saved, new = session.capture(step), session.prepare(step)
        session.swap(step, expected=saved, new=new, claim=CLAIM)
        assert session.capture(step) == new
        told.append(f"{step.arguments['role']} {(new or b'').decode()}")
    return told


@pytest.mark.parametrize("asks", [True, False], ids=["it is asked first", "it has no address of its own"])
def test_a_service_is_started_in_the_place_of_another_and_taken_back(
    services: Pair, tmp_path: Path, *, asks: bool
) -> None:
    """What can be asked is started first, else the address is freed first; both are put back exactly."""
    services.anew()
    target = services.target(asks=asks)
    plan = planned(target)
    assert not plan.needs_approval
    order = ["standby started", "serving stopped"]
    with open_session(target, around(tmp_path)) as session:
        session.take_claim(CLAIM, lasts_s=60)
        assert steps_taken(session, services, asks=asks) == (order if asks else order[::-1])
        session.verify(plan.units[0])
        assert diagnosed(target).issues == ()
        for step in reversed(plan.units[0].steps):
            written = session.capture(step)
            saved = STOPPED if written == STARTED else STARTED
            session.swap(step, expected=written, new=saved, claim=CLAIM)
            with pytest.raises(ChangedError, match="by now"):
                session.swap(step, expected=written, new=saved, claim=CLAIM)
            assert session.by_hand(step, saved, file="", offset=0)[0].startswith("supervisorctl -s unix://")
        assert (services.runs("first"), services.runs("second")) == (True, False)


def test_nothing_is_stopped_for_a_standby_that_does_not_serve(tmp_path: Path) -> None:
    """It was started and answers badly: whoever serves goes on, and the standby is stopped again by undo."""
    if MISSING:
        pytest.skip(MISSING)
    with pair(tmp_path / "s", second=503) as ill:
        target = ill.target(timeout_s=0.5)
        start, stop = planned(target).units[0].steps
        with open_session(target, around(tmp_path)) as session:
            session.take_claim(CLAIM, lasts_s=60)
            session.swap(start, expected=STOPPED, new=STARTED, claim=CLAIM)
            with pytest.raises(VerifyError, match="status 503"):
                session.prepare(stop)
            assert ill.runs("first")


def test_a_standby_that_runs_already_is_no_remedy_by_itself(services: Pair, tmp_path: Path) -> None:
    """There is nothing to be started, and nothing that is stopped for it."""
    services.anew()
    target = services.target(replaces=None)
    (step,) = planned(target).units[0].steps
    services.program.keeper("second").start({})
    with (
        open_session(target, around(tmp_path)) as session,
        pytest.raises(RefusedError, match="is started already"),
    ):
        session.prepare(step)


def test_a_data_server_is_never_stopped_for_a_standby(services: Pair, tmp_path: Path) -> None:
    """Started again it would hold nothing of what it held."""
    services.anew()
    target = services.target(asks=False, replaces=services.program.url_of("data"))
    (stop, _) = planned(target).units[0].steps
    with open_session(target, around(tmp_path)) as session, pytest.raises(RefusedError, match="holds data"):
        session.prepare(stop)


def test_a_plan_names_no_other_program_than_the_configuration(services: Pair, tmp_path: Path) -> None:
    """Whoever writes plans has nobody's programs stopped."""
    services.anew()
    (step, _) = planned(services.target()).units[0].steps
    other = step.model_copy(update={"arguments": {**step.arguments, "program": "program worker of another"}})
    with (
        open_session(services.target(), around(tmp_path)) as session,
        pytest.raises(RefusedError, match="is not"),
    ):
        session.capture(other)


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        ({"service": "a", "file": "/etc/x", "standby": "http://a/"}, "needs either file, haproxy or service"),
        ({"file": "/etc/x", "active": "a", "spare": "b"}, "needs standby"),
        (
            {"file": "/etc/x", "active": "a", "spare": "b", "standby": "http://a/", "replaces": "c"},
            "replaces goes",
        ),
        ({"service": "a", "replaces": "a"}, "the same program"),
    ],
)
def test_a_hook_that_says_too_much_or_too_little_is_refused(hook: dict[str, str], why: str) -> None:
    """One way to fail over, and all that it needs."""
    with pytest.raises(ValidationError, match=why):
        FailOver.model_validate(hook)


def test_only_programs_of_a_supervisord_of_this_host_are_services(services: Pair) -> None:
    """Others cannot be told to start and stop in a way that can be taken back; passwords are not repeated."""
    assert KIND.requires(services.target()) == ()
    for address in ("systemd:web.service", "supervisor+http://u:hush@10.0.0.1:9001?program=web"):
        (problem,) = KIND.requires(services.target(service=address))
        assert problem.startswith("field 'fail_over.service': expected")
        assert "hush" not in problem
