"""The Prefect API that all tests of flows share."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor


def test_a_flow_runs_against_it_and_is_on_record(prefect_told: str) -> None:
    """The fixture's server takes the runs of this process, with their tasks, logs and results."""
    from prefect import flow, get_client, get_run_logger, task
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        LogFilter,
        LogFilterFlowRunId,
    )
    from prefect.settings import PREFECT_API_URL

    @task
    def double(number: int) -> int:
        get_run_logger().info("doubling")
        return 2 * number

    @flow(persist_result=True, result_serializer="json")
    def doubled(number: int) -> int:
        return double(number)

    assert PREFECT_API_URL.value() == prefect_told
    state = doubled(21, return_state=True)
    assert state.result() == 42
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        assert run.state is not None
        assert run.state.is_completed()
        tasks = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        logs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        deadline_s = time.monotonic() + 60  # both are sent by threads of their own
        while not (
            [each for each in client.read_task_runs(flow_run_filter=tasks) if each.state_name == "Completed"]
            and "doubling" in [each.message for each in client.read_logs(logs)]
        ):
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


def test_flows_in_other_threads_use_it_too(prefect_api: str) -> None:
    """A thread begins without the settings of the one that started it."""
    from prefect.settings import PREFECT_API_URL

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(PREFECT_API_URL.value).result(timeout=60) == prefect_api
