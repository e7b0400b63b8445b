"""Change who serves an endpoint, by one guarded act each."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from medic8.errors import RefusedError
from medic8.model.endpoint import FailOver
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Claim, Recovery
from medic8.model.target import Resource, Target
from medic8.owner import boot_id, machine_id
from medic8.targets.claim_file import ClaimFile, claim_folder
from medic8.targets.endpoint.address import place_of
from medic8.targets.endpoint.haproxy import MAINT, SET_SERVER_STATE, Haproxy, SetServerState
from medic8.targets.endpoint.service import SET_SERVICE, STARTED, STOPPED, Service, SetService
from medic8.targets.endpoint.standby import await_service, require_standby, standby_of
from medic8.targets.endpoint.upstream_file import (
    Reader,
    SwitchFile,
    read_file,
    replace_file,
    switched,
)
from medic8.targets.kind import Holds, Surroundings


class EndpointSession:
    """
    What decides who serves an endpoint, for changing it.

    Args:
        target: The endpoint.
        hook: How another server comes to serve it.
        folder: Where claims are.
    """

    def __init__(self, target: Target, hook: FailOver, folder: Path) -> None:
        self._target = target
        self._hook = hook
        self._claim: Claim | None = None
        addresses = {"standby": hook.service, "serving": hook.replaces}
        self._services = {
            role: Service(target, address, patience_s=hook.timeout_s)
            for role, address in addresses.items()
            if address is not None
        }
        self._mark = ClaimFile(
            f"endpoint {target.name}", [each.identity for each in self.resources()], folder=folder
        )
        self._reader = Reader(hook.file, hook, folder) if hook.file else None

    def resources(self) -> tuple[Resource, ...]:
        """The endpoint by its address, and what decides who serves it."""
        place = place_of(self._target.address)
        named = Resource(
            identity=f"endpoint:{place.scheme}://{place.host_in_url}:{place.port}", carries="the endpoint"
        )
        if self._hook.haproxy is not None:
            what = f"haproxy:{machine_id()}:{self._hook.haproxy}"
            return (named, Resource(identity=what, carries="its HAProxy"))
        if self._services:
            return (
                named,
                *(
                    Resource(identity=each.identity, carries=f"its {role} program")
                    for role, each in self._services.items()
                ),
            )
        return (named, Resource(identity=f"file:{machine_id()}:{self._hook.file}", carries="its file"))

    def stands_on(self) -> str:
        """The process of HAProxy or supervisord, with which states go; of a file the boot, as its readers."""
        if self._hook.haproxy is not None:
            return self._haproxy().process()
        if self._services:
            return f"supervisord {' '.join(each.stands_on() for each in self._services.values())}"
        return f"file {boot_id()}"

    def still_stands(self, recovery: Recovery) -> bool:
        """Whether that is the same as when *recovery* was granted."""
        return self.stands_on() == recovery.stands_on

    def still_holds(self, recovery: Recovery) -> Holds:
        """States of HAProxy and supervisord go with their process; files stay."""
        known = {resource.identity for resource in recovery.resources}
        if not known.issuperset(each.identity for each in self.resources()):
            return Holds.SOMETHING_ELSE
        if self._hook.file is not None or self.still_stands(recovery):
            return Holds.YES
        return Holds.NOTHING

    def tags_of(self, plan: Plan) -> tuple[str, ...]:
        """There is one place for the claim."""
        del plan
        return ()

    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `ClaimFile.take`."""
        self._mark.take(claim, lasts_s=lasts_s)
        self._claim = claim

    def renew_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `ClaimFile.renew`."""
        self._mark.renew(claim, lasts_s=lasts_s)
        self._claim = claim

    def release_claim(self, claim: Claim) -> None:
        """See `ClaimFile.release`."""
        self._mark.release(claim)

    def cut_off(self, claim: Claim) -> None:
        """Earlier owners hold nothing open: each act is over at once."""
        del claim

    def capture(self, step: Step) -> bytes | None:
        """What the file holds, once it was read by whoever works by it; or the state of server or service."""
        if step.action == SET_SERVER_STATE:
            ask = SetServerState.model_validate(step.arguments)
            return self._haproxy().state(ask.backend, ask.server)
        if step.action == SET_SERVICE:
            return self._service(step).state()
        if self._claim is not None and self._reader is not None and self._reader.is_needed:
            with self._mark.held(self._claim):
                pass  # it is still ours; the command itself runs without the lock, as in `swap`
            self._reader.catch_up()
        return read_file(self._file(step))

    def prepare(self, step: Step) -> bytes | None:
        """
        The same with another server in the place of the one that serves.

        Raises:
            RefusedError: the other one does not serve, or what is to be changed is not what was planned for.
        """
        if step.action == SET_SERVICE:
            return self._prepared(step)
        require_standby(self._target)
        if step.action == SET_SERVER_STATE:
            ask = SetServerState.model_validate(step.arguments)
            if not self._haproxy().others_up(ask.backend, ask.server):
                raise RefusedError(f"backend {ask.backend} has no other server that is up")
            return MAINT
        return switched(read_file(self._file(step)), SwitchFile.model_validate(step.arguments))

    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """
        Put *new* where *expected* is, under the claim.

        Raises:
            ChangedError: something else is there.
            FencedError: the claim is gone or another's.
            VerifyError: the file was changed, and could not be had read; or a service did not follow in time.
        """
        with self._mark.held(claim):
            if step.action == SET_SERVER_STATE:
                ask = SetServerState.model_validate(step.arguments)
                self._haproxy().set_state(ask.backend, ask.server, expected=expected, new=new)
                return
            if step.action == SET_SERVICE:
                self._service(step).tell(expected=expected, new=new)
            elif self._reader is not None:
                self._reader.begin()
                replace_file(self._file(step), expected, new)
        if self._reader is not None:
            self._reader.finish()  # without the lock, which everybody who repairs here waits for
        if step.action == SET_SERVICE:
            self._service(step).await_state(new)

    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        """Nothing of it passes by itself."""
        del step
        return saved

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        """How a person puts the file or the server back, and has it read."""
        if value is None:
            return ()
        if step.action == SET_SERVER_STATE:
            ask = SetServerState.model_validate(step.arguments)
            told = f"set server {ask.backend}/{ask.server} state {value.decode('ascii', 'replace')}"
            return (f"echo {shlex.quote(told)} | socat stdio {shlex.quote(ask.socket)}",)
        if step.action == SET_SERVICE:
            return (self._service(step).command(value),)
        part = f"tail -c +{offset + 1} {shlex.quote(file)} | head -c {len(value)}"
        put = f"{part} > {shlex.quote(str(self._file(step)))}"
        return (put, *((shlex.join(self._hook.reload),) if self._hook.reload else ()))

    def took_effect(self, step: Step, recovery: str) -> bool | None:
        """All steps can be taken back, so nobody asks."""
        del step, recovery
        return None

    def verify(self, unit: Unit) -> None:
        """
        The endpoint is served again.

        Raises:
            VerifyError: it is not, within the time that it may take.
        """
        del unit
        await_service(self._target, patience_s=self._hook.timeout_s)

    def _prepared(self, step: Step) -> bytes:
        """
        The standby is to run, and whoever serves is not.

        A standby with a url is asked when it runs, before whoever serves is stopped.

        Raises:
            RefusedError: the standby runs already and nothing is stopped for it, or data would be lost.
            VerifyError: it was started, and does not answer well in time.
        """
        service = self._service(step)
        if SetService.model_validate(step.arguments).role == "standby":
            if self._hook.replaces is None and service.state() == STARTED:
                raise RefusedError(f"the standby, {service.in_words}, is started already")
            return STARTED
        if self._hook.standby is not None:
            await_service(standby_of(self._target), patience_s=self._hook.timeout_s)
        service.require_no_data()
        return STOPPED

    def _service(self, step: Step) -> Service:
        """The program of *step*, which must be the configured one: a plan names no other."""
        ask = SetService.model_validate(step.arguments)
        service = self._services.get(ask.role)
        if service is None or service.in_words != ask.program:
            raise RefusedError(
                f"{ask.program} is not the {ask.role} program under fail_over of target {self._target.name}"
            )
        return service

    def _haproxy(self) -> Haproxy:
        if self._hook.haproxy is None:
            raise RefusedError(f"target {self._target.name} has no HAProxy configured under fail_over")
        return Haproxy(self._hook.haproxy, timeout_s=self._target.timeout_s)

    def _file(self, step: Step) -> Path:
        """The file of *step*, which must be the configured one: a plan names no other."""
        ask = SwitchFile.model_validate(step.arguments)
        if self._hook.file is None or ask.file != str(self._hook.file):
            raise RefusedError(
                f"file {ask.file} is not the one under fail_over of target {self._target.name}"
            )
        return self._hook.file


@contextlib.contextmanager
def open_session(target: Target, around: Surroundings) -> Iterator[EndpointSession]:
    """
    What decides who serves *target*.

    Raises:
        RefusedError: nothing is configured that could be changed, or there is no folder for claims.
    """
    if target.fail_over is None:
        raise RefusedError(
            f"target {target.name} has nothing under fail_over, so that nothing can be changed"
        )
    yield EndpointSession(target, target.fail_over, claim_folder(around.claims))
