"""
Have the responder of the local stack diagnose, and read what it found.

Prefect takes more than a second to import and 100 MB, and the responder has imported it: so the run is
carried out there, as one that a person starts in Prefect's interface, and this process only waits for its
end. Whatever is in the way of that, the caller does by itself what is asked for: a diagnosis changes
nothing, and one that is made twice does no harm.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import psutil
from pydantic import BaseModel

from medic8.errors import ConfigurationError
from medic8.local.children import Identity
from medic8.local.prefect_access import PrefectAccess
from medic8.local.records import StackRecord, read_record
from medic8.local.status import external_prefect, way_to_own
from medic8.local.worker import Worker
from medic8.model.report import DiagnosticReport
from medic8.model.schedule import DIAGNOSING
from medic8.model.target import Target
from medic8.settings import Settings, load_settings

_FLOW = "diagnose"

#: One that has not begun by then waits for others, or nobody takes it.
BEGINS_WITHIN_S = 5.0

#: Between two questions whether it has ended: a tenth of what it has taken so far, so that one that takes
#: long costs the server no more than one that does not; within these limits.
_LOOK_AGAIN = 0.1
_LEAST_S, _MOST_S = 0.05, 1.0

_REPLY_TIMEOUT_S = 10.0

#: Its server does not answer, or not as was expected; what a run has left cannot be read.
_IN_THE_WAY = (OSError, HTTPException, ValueError)

_WAITING = frozenset({"SCHEDULED", "PENDING"})
_ENDS = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


class Responder(NamedTuple):
    """
    The responder of a local stack.

    Attributes:
        process: Its process.
        access: The way to the server that it works for.
        results: Where its runs leave what they return.
    """

    process: Identity
    access: PrefectAccess
    results: Path


class _Kept(BaseModel):
    """
    Where the result of a run is. Source: Prefect 3.8, prefect/results.py, ResultRecordMetadata.

    Attributes:
        storage_key: In a local folder the file.
        storage_block_id: Of any other place; None = a local folder.
    """

    storage_key: str
    storage_block_id: str | None


class _State(BaseModel):
    type: str
    data: _Kept | None = None


class _Deployment(BaseModel):
    id: str


class _Run(BaseModel):
    id: str
    state: _State


class _Returned(BaseModel):
    """What is in that file. Source: Prefect 3.8, prefect/serializers.py, prefect_json_object_encoder."""

    data: DiagnosticReport


def responder_of(site: Settings, environment: Mapping[str, str]) -> Responder | None:
    """
    The responder of the local stack, if a run there looks at the same as one in this process would.

    It must be of this user, and read the same out of its configuration and its environment, which holds the
    passwords of targets: whoever has set another one since wants to see what comes of it.

    Args:
        site: What this process has read.
        environment: Of this process.
    Returns:
        None also where anything of that cannot be told.
    """
    with contextlib.suppress(ConfigurationError, psutil.Error, OSError):
        record = read_record(site.home)
        worker = record.worker
        if worker is not None and _works(worker, record, environment) and _reads_the_same(worker, site):
            access = way_to_own(site.home, worker.api_url, environment)
            return Responder(worker.identity, access, site.home / "results")
    return None


def _works(worker: Worker, record: StackRecord, environment: Mapping[str, str]) -> bool:
    server = record.prefect
    return (
        not worker.is_stock
        and server is not None
        and worker.api_url == server.api_url
        and record.is_alive("prefect")
        and record.is_alive("worker")
        and external_prefect(environment, record) is None
    )


def _reads_the_same(worker: Worker, site: Settings) -> bool:
    process = psutil.Process(worker.identity.pid)
    if process.uids().effective != os.geteuid():
        return False
    theirs = load_settings(worker.configuration, environ=process.environ(), cwd=Path(process.cwd()))
    return _in_effect(theirs) == _in_effect(site)


def _in_effect(site: Settings) -> Settings:
    """*site* without what is worded for the folder that it was read from."""
    return site.model_copy(update={"warnings": (), "unusable": dict.fromkeys(site.unusable, "")})


def begin_there(
    responder: Responder,
    site: Settings,
    target: Target,
    watch_s: float,
    *,
    begins_within_s: float = BEGINS_WITHIN_S,
) -> BegunDiagnosis | None:
    """
    Begin a run of the flow ``diagnose`` that *responder* carries out; None if that cannot be.

    Args:
        responder: Of `responder_of`.
        site: The configuration.
        target: What to look at.
        watch_s: See the flow.
        begins_within_s: Longest that it is waited for until it begins.
    """
    deployment = f"{_FLOW}/{site.deployments.at(DIAGNOSING, site.queue_of(target))}"
    asked = {
        "name": f"{_FLOW} {target.name}",
        "parameters": {"target": target.name, "watch_s": watch_s},
        "tags": [f"target:{target.name}"],
        "state": {"type": "SCHEDULED"},
    }
    with contextlib.suppress(*_IN_THE_WAY), _api(responder.access) as api:
        found = _Deployment.model_validate(api.ask("GET", f"/deployments/name/{quote(deployment)}"))
        made = api.ask("POST", f"/deployments/{quote(found.id)}/create_flow_run", asked)
        return BegunDiagnosis(_Run.model_validate(made), responder, begins_within_s)
    return None


class BegunDiagnosis:
    """A run that was begun."""

    def __init__(self, run: _Run, responder: Responder, begins_within_s: float) -> None:
        self._run = run
        self._responder = responder
        self._began_s = time.monotonic()
        self._begins_within_s = begins_within_s

    def report(self) -> DiagnosticReport | None:
        """
        What it returns, when it has ended; None if it does not begin, ends badly, or nobody looks after it.

        Raises:
            KeyboardInterrupt: this process was interrupted, or the run was cancelled by somebody.
        """
        with contextlib.suppress(*_IN_THE_WAY):
            try:
                state = self._end()
            except KeyboardInterrupt:
                with _api(self._responder.access) as api:
                    api.set(self._run, "CANCELLING", "Cancelling")
                raise
            # Why one did not end well is told best by one of the caller's own.
            if state is not None and state.type == "COMPLETED" and state.data is not None:
                return self._returned(state.data)
        return None

    def _end(self) -> _State | None:
        with _api(self._responder.access) as api:
            while self._run.state.type not in _ENDS:
                waited_s = time.monotonic() - self._began_s
                is_late = self._run.state.type in _WAITING and waited_s > self._begins_within_s
                if is_late or not self._responder.process.is_alive():
                    api.set(self._run, "CANCELLED", "Cancelled")
                    return None
                time.sleep(min(max(waited_s * _LOOK_AGAIN, _LEAST_S), _MOST_S))
                self._run = _Run.model_validate(api.ask("GET", f"/flow_runs/{quote(self._run.id)}"))
        if self._run.state.type == "CANCELLED":
            raise KeyboardInterrupt
        return self._run.state

    def _returned(self, kept: _Kept) -> DiagnosticReport | None:
        file = Path(kept.storage_key)
        if kept.storage_block_id is not None or file.parent != self._responder.results:
            return None
        return _Returned.model_validate_json(file.read_bytes()).data


class _Api:
    """The API of a server on this machine, over one connection."""

    def __init__(self, connection: HTTPConnection, access: PrefectAccess) -> None:
        self._connection = connection
        self._path = urlsplit(access.api_url).path
        self._headers = {**access.all_headers, "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """
        What it answers.

        Raises:
            OSError, HTTPException: it does not answer.
            ValueError: it refuses, or its answer is no JSON.
        """
        content = None if body is None else json.dumps(body)
        self._connection.request(method, f"{self._path}{path}", content, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:  # noqa: PLR2004 - where errors begin
            raise ValueError(f"{path} is answered with status {answer.status}")
        return json.loads(text)

    def set(self, run: _Run, kind: str, name: str) -> None:
        """Ask for another state of *run*."""
        self.ask("POST", f"/flow_runs/{quote(run.id)}/set_state", {"state": {"type": kind, "name": name}})


@contextlib.contextmanager
def _api(access: PrefectAccess) -> Iterator[_Api]:
    parts = urlsplit(access.api_url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_REPLY_TIMEOUT_S)
    with contextlib.closing(connection):
        yield _Api(connection, access)
