"""How often a task is tried: on errors that may pass by themselves, and on no others."""

from __future__ import annotations

from typing import Any, Final, TypedDict

from prefect.cache_policies import NO_CACHE

from medic8.errors import TransientError, UnreachableError


class TaskOptions(TypedDict):
    """Options that all tasks share."""

    retries: int
    retry_delay_seconds: list[float]
    retry_jitter_factor: float
    retry_condition_fn: Any
    cache_policy: Any
    persist_result: bool


def only_transient(_task: Any, _task_run: Any, state: Any) -> bool:
    """Whether the error of *state* may pass by itself."""
    return isinstance(state.result(raise_on_failure=False), TransientError | UnreachableError)


#: For a look or a change; neither is ever answered from a cache.
ATTEMPTS: Final[TaskOptions] = {
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": only_transient,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}

#: For a judgement: it has no side and would judge the same again.
ONCE: Final[dict[str, Any]] = {"cache_policy": NO_CACHE, "persist_result": False}


def longest_s(attempt_s: float) -> float:
    """The longest that a task takes whose attempts take *attempt_s* at most, with the waits between them."""
    delays = ATTEMPTS["retry_delay_seconds"]
    return (len(delays) + 1) * attempt_s + sum(delays) * (1 + ATTEMPTS["retry_jitter_factor"])
