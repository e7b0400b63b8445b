"""The way of one run's process to the server: what it was told it does not ask, and notes it sends later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.objects import FlowRunPolicy as Policy
from prefect.context import SyncClientContext
from prefect.logging import get_logger
from prefect.settings import get_current_settings

#: So long after a flow has begun it is labelled, unless that is wanted before.
_AFTER_S = 0.25

#: So long what else is noted waits for a change of the run that it can go along with.
_ALONG_S = 5.0


class RunClient(SyncPrefectClient):
    """
    Prefect's own, which begins one run with a single request: that it is Running.

    Prefect notes on a run which version its flow has, and a hook whose process works for it; nobody waits for
    either before the first step. Then it reads the run, which we were given a moment ago. All that comes
    after goes its usual way, in its order, and takes along what was noted.

    Args:
        run: As it was when it was taken; Prefect notes in it that it runs.
        before_begun: Called before each request until the run has begun, also before one that is sent again;
            what it raises ends the run.
        is_known: Whether the server was there a moment ago: one that cannot be reached is asked again then.
    """

    def __init__(self, run: FlowRun, before_begun: Callable[[], None], *, is_known: bool) -> None:
        api = get_current_settings().api
        super().__init__(
            str(api.url),
            auth_string=api.auth_string.get_secret_value() if api.auth_string else None,
            api_key=api.key.get_secret_value() if api.key else None,
        )
        self._client.event_hooks = {"request": [lambda _: None if self._has_begun else before_begun()]}
        # Prefect gives up at once on a server that this client has never reached: its address may be wrong.
        sending: Any = self._client  # which is not known to be Prefect's own
        sending._has_connected = is_known  # noqa: SLF001
        self._run = run
        self._has_begun = False
        self._tags = list(run.tags)
        self._labels: list[Callable[[], object]] = []
        self._fields = dict[str, Any]()
        self._sending: threading.Thread | None = None
        self._hurry = threading.Event()
        self._one_at_a_time = threading.Lock()

    def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        """The run; for the first time as we know it."""
        if flow_run_id != self._run.id:
            return super().read_flow_run(flow_run_id)
        state = self._run.state
        if self._has_begun or state is None or not state.is_running():
            self.settle()
            return super().read_flow_run(flow_run_id)
        self._has_begun = True
        self._sending = threading.Thread(target=self._send, name="notes", daemon=True)
        self._sending.start()
        # As the server counts: it has begun once more.
        return self._run.model_copy(
            update={
                "run_count": self._run.run_count + 1,
                "start_time": self._run.start_time or state.timestamp,
                "tags": self._tags,
            }
        )

    def update_flow_run(
        self,
        flow_run_id: UUID,
        flow_version: str | None = None,
        parameters: dict[str, Any] | None = None,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        empirical_policy: Policy | None = None,
        infrastructure_pid: str | None = None,
        job_variables: dict[str, Any] | None = None,
    ) -> httpx.Response:
        """Change a run; what is noted on ours before it begins, later. So is not how often it is retried."""
        given: dict[str, Any] = {
            "flow_version": flow_version,
            "parameters": parameters,
            "name": name,
            "tags": tags,
            "empirical_policy": empirical_policy,
            "infrastructure_pid": infrastructure_pid,
            "job_variables": job_variables,
        }
        given = {each: value for each, value in given.items() if value is not None}
        if flow_run_id != self._run.id:
            return super().update_flow_run(flow_run_id, **given)
        if tags is not None:
            self._tags = given["tags"] = list(tags)
        is_retried = empirical_policy is not None and bool(empirical_policy.retries)
        if self._is_note(flow_run_id) and not is_retried:
            self._fields |= given
            return httpx.Response(HTTPStatus.ACCEPTED)
        return self._change(given)

    def update_flow_run_labels(self, flow_run_id: UUID, labels: Any) -> None:
        """Label a run; ours before it begins, later."""
        label = partial(super().update_flow_run_labels, flow_run_id, labels)
        if self._is_note(flow_run_id):
            self._labels.append(label)
        else:
            label()

    def set_flow_run_state(
        self,
        flow_run_id: UUID | str,
        state: State[Any],
        force: bool = False,  # noqa: FBT001, FBT002 - as Prefect has it
    ) -> OrchestrationResult[Any]:
        """Propose a state; all is noted on our run before it ends, since ends are searched for by tags."""
        if state.is_final() and str(flow_run_id) == str(self._run.id):
            self.settle()
        return super().set_flow_run_state(flow_run_id, state, force=force)

    def settle(self) -> None:
        """Have all notes sent."""
        self._hurry.set()
        if self._sending is not None:
            self._sending.join()
        else:
            self._send()

    def _is_note(self, flow_run_id: UUID) -> bool:
        return flow_run_id == self._run.id and not self._has_begun

    def _change(self, given: dict[str, Any]) -> httpx.Response:
        """Change our run, together with what was noted before."""
        with self._one_at_a_time:
            fields = self._fields | given
            answer = super().update_flow_run(self._run.id, **fields)
            self._fields = {}
            return answer

    def _send(self) -> None:
        # The first step comes first, also where both are at work at once.
        self._hurry.wait(_AFTER_S)
        while self._labels:
            self._try(self._labels.pop(0))
        self._hurry.wait(_ALONG_S)
        if self._fields:
            self._try(partial(self._change, {}))

    @staticmethod
    def _try(note: Callable[[], object]) -> None:
        try:
            note()
        except Exception as exc:  # noqa: BLE001 - the run does not end because of a note
            get_logger("medic8").warning("a note on the run was not taken: %s", exc)


@contextmanager
def client_for(run: FlowRun, before_begun: Callable[[], None], *, is_known: bool) -> Iterator[None]:
    """A block in which Prefect asks by a `RunClient` that is given these; all is told when it ends."""
    client = RunClient(run, before_begun, is_known=is_known)
    with SyncClientContext.model_construct(client=client):
        try:
            yield
        finally:
            client.settle()
