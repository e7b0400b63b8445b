"""A Prefect worker that takes runs as it is told of them, and has a warm process begin each."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType, WorkPool
from prefect.settings import get_current_settings
from prefect.types import DateTime
from prefect.workers.base import BaseWorker, BaseWorkerResult
from prefect.workers.process import ProcessJobConfiguration, ProcessVariables, ProcessWorker

from deployments.responder.children import Children
from deployments.responder.code import Code, hear_signals, wait_with_signals
from deployments.responder.ending import LAST_WORDS_S, LOOK_AGAIN_S, drained, idle, until_stopped
from deployments.responder.limits import Limits, is_within, limits_of
from deployments.responder.listening import listen
from deployments.responder.lost import given_back
from deployments.responder.orders import Ended
from deployments.responder.reading import Deployments, due_runs
from deployments.responder.records import Records
from deployments.responder.taking import claimed, order_of, storage_of, wants_tokens
from deployments.responder.telling import (
    LONGEST_PAUSE_S,
    PAUSE_S,
    cancel_unbegun,
    crash,
    give_back,
    stopped_by_somebody,
    surely,
    tell_end,
)
from deployments.responder.warm import MODULES, Zygote

#: How often runs are looked for that were taken and not begun.
_SWEEP_S = 60.0

#: Between two questions for runs; and at least so many times as long as a busy server took for the first.
_BREATH_S, _BREATHS = 0.02, 3

_T = TypeVar("_T")


class Responder(BaseWorker[ProcessJobConfiguration, ProcessVariables, BaseWorkerResult]):
    """
    Carries out the runs of a work pool, which a process worker may serve beside it.

    Args:
        pool: The work pool, of type ``process``.
        queues: Of the pool; empty = all.
        name: Under which Prefect shows it. Two with one name cannot work on one folder.
        folder: Where it remembers what it has begun.
        limit: Most runs at a time.
        poll_s: How often it asks for runs that it was not told of.
        drain_s: After SIGTERM, for how long runs may go on before they are told to end.
        grace_s: For how long a run that was told to end may take for that; one that was cancelled is killed
            then, any other left to go on.
        modules: What the warm process imports.
    Attributes:
        is_renewed: It has ended for other code to take its place.
    """

    type = "medic8-responder"
    job_configuration = ProcessJobConfiguration
    job_configuration_variables = ProcessVariables
    _display_name = "Medic8 responder"
    _description = (
        "Begin flow runs in processes that have imported everything already, as events tell of them."
    )

    def __init__(
        self,
        pool: str,
        *,
        queues: Sequence[str],
        name: str,
        folder: Path,
        limit: int,
        poll_s: float = 5.0,
        drain_s: float = 5.0,
        grace_s: float = 120.0,
        modules: Sequence[str] = MODULES,
    ) -> None:
        # A pool of a type that no process worker knows is not made by the way; medic8 deploy makes it.
        super().__init__(pool, list(queues), name=name, create_pool_if_not_found=False)
        self._most = limit
        self._poll_s = poll_s
        self._drain_s = drain_s
        self._grace_s = grace_s
        # What a run finds around it is what we found; what Prefect puts into our environment is about us.
        self._environment = {
            each: value for each, value in os.environ.items() if not each.startswith("PREFECT__")
        } | get_current_settings().to_environment_variables(exclude_unset=True)
        self._records = Records(folder)
        self._children = Children(
            self._records, ended=lambda *end: self._begin(self._tell(*end)), note=self.note, grace_s=grace_s
        )
        self._code = Code(modules)
        self._zygote = Zygote(self._children, modules, self._code)
        self._is_known = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._is_hearing = False
        self.is_renewed = False
        self._looked_s = 0.0
        self._storage: tuple[UUID | None] | None = None
        self._limits = Limits()
        self._deployments = Deployments()
        self._taking = set[str]()
        self._work = set[asyncio.Task[None]]()

    def note(self, text: str) -> None:
        """Write *text* down for people."""
        self._logger.info(text)

    def stop(self) -> None:
        """Take nothing more, and end when what was begun has ended; called again, tell it to end now."""
        if self._stopping.is_set():
            self._hurrying.set()
        else:
            self.note("no run is taken any more")
        self._stopping.set()
        self._wake.set()

    async def start(
        self,
        run_once: bool = False,  # noqa: FBT001, FBT002 - as it is inherited
        with_healthcheck: bool = False,  # noqa: FBT001, FBT002
        printer: Callable[..., None] = print,
    ) -> None:
        """Work until `stop` is called, also by SIGTERM or Ctrl-C; it knows no other way."""
        del run_once, with_healthcheck
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        hear_signals()
        with self._records.held(self.name):
            async with self:
                self._children.adopt(self._records.read())
                self._started_event = await self._emit_worker_started_event()
                services = [
                    asyncio.create_task(each)
                    for each in (
                        *(self._warm(), self._beat(), self._hear(), self._ask(), self._sweep()),
                        self._renew(),
                    )
                ]
                printer(f"Responder {self.name!r} works for pool {self._work_pool_name!r}")
                try:
                    await until_stopped(self._stopping, services)
                    if not self.is_renewed:
                        await drained(
                            self._children,
                            is_busy=lambda: self._is_busy,
                            hurrying=self._hurrying,
                            drain_s=self._drain_s,
                            grace_s=self._grace_s,
                            printer=printer,
                        )
                finally:
                    left = [*services, *self._work]
                    for each in left:
                        each.cancel()
                    await asyncio.gather(*left, return_exceptions=True)
                    await self._zygote.close()
        printer(f"Responder {self.name!r} {'begins anew' if self.is_renewed else 'has ended'}")

    async def run(
        self, flow_run: FlowRun, configuration: ProcessJobConfiguration, task_status: Any = None
    ) -> BaseWorkerResult:
        """Refuse: `start` takes runs by itself, and waits for none of them."""
        del configuration, task_status
        raise NotImplementedError(f"run {flow_run.id} is taken by the responder itself, or not at all")

    async def _setup_cancellation_observer(self) -> None:
        """Nothing: what is to be cancelled is heard by the same connection as what is to run."""

    def _record_work_pool_snapshot(self, work_pool: WorkPool) -> None:
        # That it is of another type than we are is as it should be, and no reason to warn.
        if self._work_pool is None and work_pool.type == ProcessWorker.type:
            self._work_pool = work_pool
        super()._record_work_pool_snapshot(work_pool)
        self._is_known.set()

    async def _renew(self) -> None:
        """End when there is other code, as soon as nothing is being begun; runs go on, and are adopted."""
        await self._code.renewed(lambda: self._environment, self.note)
        self._most = 0
        while self._taking or self._children.is_any_unbegun:  # noqa: ASYNC110 - few, and soon over
            await asyncio.sleep(LOOK_AGAIN_S)
        await idle(LAST_WORDS_S, lambda: not self._work)
        if not self._stopping.is_set():
            self.note(f"the code has changed: this begins anew, {self._children.under_way} runs go on")
            wait_with_signals()
            self.is_renewed = True
            self._stopping.set()

    @property
    def _is_busy(self) -> bool:
        return bool(len(self._children) or self._taking or self._work)

    @property
    def _is_full(self) -> bool:
        return len(self._taking) + len(self._children) >= self._most

    async def _warm(self) -> None:
        """Keep what runs begin from; what we know of the server, no run has to ask again."""
        await self._is_known.wait()
        while not self._has_successfully_synced:  # noqa: ASYNC110 - Prefect has no event for it
            await asyncio.sleep(LOOK_AGAIN_S)
        known = {
            "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
            # What a run writes stands in Prefect; here only what is wrong.
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
        }
        with self._reporting("tokens, limits of the pool, and where results are kept, are not known"):
            if not await wants_tokens(self.client):
                known["PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"] = "false"
            await self._learn()
        self._environment = known | self._environment
        self._zygote.environment = self._environment
        await self._zygote.keep()

    async def _beat(self) -> None:
        """Be seen by the server, and see the pool as it is now."""
        while True:
            await asyncio.sleep(self.heartbeat_interval_seconds if self._is_known.is_set() else 2)
            with self._reporting("the server does not hear that this responder works"):
                await self._sync_and_initialize()
                if self._is_known.is_set():
                    await self._learn()
                else:
                    self.note(f"there is no work pool {self._work_pool_name}; medic8 deploy makes it")

    async def _learn(self) -> None:
        """What no run need be asked for."""
        self._storage = await storage_of(self.client)
        self._limits = await limits_of(self.client, self._work_pool_name)

    async def _hear(self) -> None:
        await self._is_known.wait()
        await listen(
            self.work_pool.id,
            to_run=self._wake.set,
            to_cancel=self._cancel,
            to_suspend=self._children.suspend,
            connected=self._connected,
        )

    def _connected(self, is_hearing: bool, why: str) -> None:  # noqa: FBT001 - the one thing that is said
        if is_hearing != self._is_hearing:
            asks = f"asking every {self._poll_s:g} s instead"
            self.note("events are heard" if is_hearing else f"no events are heard, {asks}: {why}")
        self._is_hearing = is_hearing

    async def _ask(self) -> None:
        """Ask for runs when there may be some, and every few seconds; each that is due is taken."""
        await self._is_known.wait()
        pause_s = PAUSE_S
        while True:
            await self._zygote.is_ready.wait()
            self._wake.clear()
            wait_s, began_s = self._poll_s, time.monotonic()
            try:
                if not self._stopping.is_set():
                    wait_s = await self._look()
                await self._look_for_ended()
                pause_s = PAUSE_S
            except Exception as exc:  # noqa: BLE001 - a server that is away comes back
                self._logger.warning("the server cannot be asked for runs: %s: %s", type(exc).__name__, exc)
                wait_s, pause_s = pause_s, min(pause_s * 2, LONGEST_PAUSE_S)
                await asyncio.sleep(wait_s)
                continue
            await asyncio.sleep(max(_BREATH_S, _BREATHS * (time.monotonic() - began_s)))
            # Not `wait_for`, which may swallow that we are cancelled if we are woken at that moment.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _look(self) -> float:
        """Take what is due; in how many seconds the next is, or the next question."""
        if self._limits and self._taking:
            return self._poll_s  # the server knows the place of none of these yet; each wakes us
        now = DateTime.now(UTC)
        if self._is_full and now < self._last_polled_time + timedelta(seconds=self._poll_s):
            return self._poll_s  # each that ends wakes us
        found = await due_runs(self.client, self._work_pool_name, self._work_queues, self._poll_s + 1)
        self._last_polled_time = now
        self._deployments.found(found)
        wait_s = self._poll_s
        for run in found:
            due = run.next_scheduled_start_time or run.expected_start_time
            ahead_s = due.timestamp() - time.time() if due else 0.0
            if ahead_s > 0:
                wait_s = min(wait_s, ahead_s)
            elif str(run.id) not in self._taking and str(run.id) not in self._children:
                if self._is_full:
                    break
                self._taking.add(str(run.id))
                self._begin(self._take(run))
        return max(wait_s, 0.0)

    async def _look_for_ended(self) -> None:
        """Of what no event has told, now and then."""
        if not len(self._children) or time.monotonic() < self._looked_s + self._poll_s:
            return
        for each in await stopped_by_somebody(self.client, self._children.runs):
            tell = self._cancel if each.state_type is StateType.CANCELLING else self._children.suspend
            tell(str(each.id))
        self._looked_s = time.monotonic()

    def _cancel(self, run: str) -> None:
        self._children.cancel(run, is_ours=run in self._taking)

    async def _take(self, run: FlowRun) -> None:
        """Take *run*, unless somebody else was first, and have it begun."""
        name = str(run.id)
        try:
            deployment, since_s = await asyncio.gather(
                self._deployments.of(self.client, run), claimed(self.client, run, self.name)
            )
            if since_s is None:
                return
            if self._limits and not await is_within(self.client, run, self._work_pool_name, self._limits):
                await self._surely(give_back, run, "as many runs as may be under way are already")
                return
            try:
                order = await order_of(
                    self.client,
                    run,
                    deployment,
                    self.work_pool,
                    environment=self._environment | {"PREFECT__WORKER_NAME": self.name},
                    records=self._records,
                    storage=self._storage,
                    since_s=since_s,
                )
            except Exception as exc:  # noqa: BLE001 - a run that cannot be begun says why
                await self._surely(crash, run, f"the run cannot be begun: {exc}")
                return
            if self._children.is_cancelled(name):
                await self._surely(cancel_unbegun, name)
                return
            self._children.expect(name)
            try:
                await self._zygote.order(order)
            except ConnectionError as exc:
                self._children.forget(name)
                await self._surely(give_back, run, f"it was not begun: {exc}")
        except Exception:
            # The server is away: a run that we hold without a process is found by `_sweep`.
            self._logger.exception("run %s could not be taken", name)
        finally:
            self._taking.discard(name)
            self._children.settle(name)
            if self._limits or name not in self._children:
                self._wake.set()

    async def _tell(self, ended: Ended, was_cancelled: bool) -> None:  # noqa: FBT001 - what is known of it
        if text := await self._surely(tell_end, ended, name=self.name, was_cancelled=was_cancelled):
            self._logger.warning("run %s: %s", ended.run, text)
        self._children.forget(ended.run)
        self._wake.set()

    async def _sweep(self) -> None:
        """Give back what was taken by somebody who is gone, and was never begun."""
        await self._is_known.wait()
        while True:
            with self._reporting("runs that were taken and not begun could not be looked for"):
                ours = {*self._taking, *self._children.runs}
                for name in await given_back(self.client, self._work_pool_name, self.name, ours):
                    self.note(f"run {name} was taken by somebody who is gone; it is given back")
            await asyncio.sleep(_SWEEP_S)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _surely(self, tell: Callable[..., Awaitable[_T]], *args: Any, **kwargs: Any) -> _T | None:
        say = functools.partial(tell, self.client, *args, **kwargs)
        return await surely(say, self._logger.warning)

    @contextlib.contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as exc:  # noqa: BLE001 - the next time it may succeed
            self._logger.warning("%s: %s: %s", what, type(exc).__name__, exc)
