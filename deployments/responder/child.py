"""What the process of one run does: becomes a clean process, runs the flow, tells the rest, and is gone."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

import anyio._backends._asyncio  # noqa: F401 - as the others that are not named below: else each run imports it
import prefect.flow_engine
import prefect.main
import prefect.task_engine
import prefect.utilities.visualization
from prefect import Flow
from prefect._flow_run_suspension import (
    FlowRunSuspensionRequest,
    mark_flow_run_suspension_requested,
)
from prefect._internal import control_listener
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import SettingsContext, get_settings_context
from prefect.events.worker import EventsWorker
from prefect.exceptions import Abort, Pause, TerminationSignal
from prefect.flow_engine import load_flow, run_flow
from prefect.flows import load_flow_from_entrypoint
from prefect.logging.handlers import APILogWorker
from prefect.logging.loggers import flow_run_logger
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    Settings,
    temporary_settings,
)
from pydantic import BaseModel

from deployments.responder.client import client_for
from deployments.responder.orders import CANCELS, SUSPENDS, TOLD, TOO_LATE, Order, now_s
from deployments.responder.shortening import (
    know_names,
    know_storage,
    named,
    tell_of_tasks_that_run,
    trust_once,
)
from flows.interruption import noting_interruption

#: For how long the last lines for the server are waited for.
_FLUSH_S = 10.0

#: For how long after it should have begun a run may wait for the server's word. Together with that it is less
#: than `lost.PATIENCE`, after which others may take it.
_ANSWER_S = 20.0

_LAST_WORDS = "last-words"


@contextlib.contextmanager
def warmed() -> Iterator[None]:
    """What every run begins with."""
    # A run of a deployment would make a connection before it begins, to hear of its suspension; we tell it.
    prefect.flow_engine.observe_flow_run_suspension = _told_of_suspension  # type: ignore[attr-defined]
    trust_once(PREFECT_API_URL.value() or "")
    tell_of_tasks_that_run()
    # Prefect leaves it to the first use of each of its models to make what reads and writes it.
    for model in _models(BaseModel):
        if model.__module__.startswith(("prefect.client", "prefect.events")):
            model.model_rebuild(raise_errors=False)
    with unheld():
        yield


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in model.__subclasses__():
        yield each
        yield from _models(each)


@contextlib.contextmanager
def unheld() -> Iterator[None]:
    """The setting that lets a run end at once."""
    # The thread of a flow's heartbeat holds it for a second at its end; we see whether the process lives.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@contextlib.contextmanager
def _told_of_suspension(
    flow_run_id: UUID, suspension_request: FlowRunSuspensionRequest, polling_interval: float = 10
) -> Iterator[None]:
    """`observe_flow_run_suspension` of Prefect, where somebody else observes."""
    del flow_run_id, suspension_request, polling_interval
    yield


def last_words(order: Order) -> str:
    """Why a process says that it could not go on; empty = it said nothing."""
    try:
        return (Path(order.folder) / _LAST_WORDS).read_text(encoding="utf-8")
    except OSError:
        return ""


def carry_out(order: Order) -> int:
    """Run the flow of *order* in this process, which was forked for it; what the process is to end with."""
    os.setsid()
    signal.signal(signal.SIGTERM, _end)
    signal.signal(CANCELS, _cancel)
    signal.signal(SUSPENDS, functools.partial(_suspend, UUID(order.run)))
    with contextlib.ExitStack() as around:
        try:
            status = _run(order, around)
        except _TooLateError:
            status = TOO_LATE
        except (Abort, Pause):
            status = TOLD
        except TerminationSignal:
            status = TOLD
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is told, and the process ends
            _leave_word(order, str(exc) if isinstance(exc, _UnloadableError) else _told(exc))
            status = 1
        # What is told now is the end of the run, and no signal makes it shorter.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _flush()
    return status


class _TooLateError(Abort):
    """The run may have been given to somebody else."""


class _UnloadableError(Exception):
    """The flow of a run cannot be loaded; why."""


def _told(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"


def _run(order: Order, around: contextlib.ExitStack) -> int:
    if now_s() > order.begin_by_s:
        return TOO_LATE
    known = PREFECT_API_URL.value()
    _become(order, around)
    is_known = PREFECT_API_URL.value() == known
    flow_run = FlowRun.model_validate_json(order.flow_run)
    logger = flow_run_logger(flow_run)
    logger.info("Process %s begins the run", os.getpid())
    try:
        flow = _flow_of(order, flow_run)
    except Exception as exc:
        logger.exception("The flow cannot be loaded")
        raise _UnloadableError(f"its flow cannot be loaded: {_told(exc)}") from exc
    flow = named(flow, flow_run)
    know_names(flow, flow_run, order.deployment)
    if order.is_storage_known:
        know_storage(order.storage)
    last_s = order.begin_by_s + _ANSWER_S
    flow = _in_time(flow, last_s)
    in_time = functools.partial(_raise_after, last_s)
    around.enter_context(client_for(flow_run, in_time, is_known=is_known))
    around.enter_context(noting_interruption())
    adapter: Any = logger  # which is none by its type
    _drive(flow, run_flow(flow, flow_run=flow_run, error_logger=adapter, return_type="state"))
    return TOLD


def _become(order: Order, around: contextlib.ExitStack) -> None:
    """Leave what this process has of its parent: environment, settings, working folder."""
    mine = _of_prefect(dict(os.environ))
    os.environ.clear()
    os.environ.update(order.environment)
    if _of_prefect(order.environment) != mine:
        around.enter_context(SettingsContext(profile=get_settings_context().profile, settings=Settings()))
        around.enter_context(unheld())
    folder = order.working_folder
    if folder is None:
        folder = str(Path(order.folder) / "work")
        Path(folder).mkdir(mode=0o700, parents=True)
    os.chdir(folder)


def _of_prefect(environment: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PREFECT_") and not name.startswith("PREFECT__")
    }


def _flow_of(order: Order, flow_run: FlowRun) -> Flow[..., Any]:
    if order.entrypoint is None:
        return load_flow(flow_run)
    return load_flow_from_entrypoint(order.entrypoint, use_placeholder_flow=False)


def _raise_after(last_s: float) -> None:
    if now_s() > last_s:
        raise _TooLateError


def _in_time(flow: Flow[..., Any], last_s: float) -> Flow[..., Any]:
    """A copy of *flow* that is not begun after *last_s*, by when the run is nobody else's for certain."""
    # Our client bounds for how long the server is asked; its answer may come later, and others may ask it.
    called = list[None]()

    @functools.wraps(flow.fn)
    def begun(*args: Any, **kwargs: Any) -> Any:
        if not called:
            _raise_after(last_s)
        called.append(None)  # a retry, or who goes on after a pause, has all the time
        return flow.fn(*args, **kwargs)

    timely = copy.copy(flow)
    timely.fn = begun
    return timely


def _drive(flow: Flow[..., Any], returned: Any) -> None:
    if flow.isgenerator and flow.isasync:
        asyncio.run(_exhaust(returned))
    elif flow.isgenerator:
        for _ in returned:
            pass
    elif flow.isasync:
        asyncio.run(returned)


async def _exhaust(generator: Any) -> None:
    async for _ in generator:
        pass


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    raise TerminationSignal(signal=number)


def _cancel(number: int, frame: FrameType | None) -> None:
    del number, frame
    control_listener._set_intent("cancel")  # noqa: SLF001 - what Prefect's worker has its own listener do


def _suspend(run: UUID, number: int, frame: FrameType | None) -> None:
    del number, frame
    mark_flow_run_suspension_requested(run, State(type=StateType.PAUSED, name="Suspended"))


def _flush() -> None:
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=_FLUSH_S)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _leave_word(order: Order, words: str) -> None:
    with contextlib.suppress(OSError):
        Path(order.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        (Path(order.folder) / _LAST_WORDS).write_text(words, encoding="utf-8")
