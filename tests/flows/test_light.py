"""Tasks whose arguments Prefect does not look through."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from prefect import flow
from prefect.context import TaskRunContext
from pydantic import BaseModel

from tasks import light


class Inner(BaseModel):
    """What must not be looked through; of what a task returns Prefect sees what is directly in it."""

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        raise AssertionError("it is looked through")


class Large(BaseModel):
    """What has much in it."""

    name: str = "large"
    inner: Inner = Inner()


@light.task(task_run_name="make {name}")
def make(name: str) -> Large:
    return Large(name=name)


@light.task(task_run_name="use {large.name}")
def use(large: Large, made: dict[str, Large], names: list[str]) -> tuple[str, dict[str, Any]]:
    context = TaskRunContext.get()
    assert context is not None
    assert (type(large), type(made), type(names)) == (Large, dict, list)
    inputs = {name: len(found) for name, found in context.task_run.task_inputs.items()}
    return f"{context.task_run.name}: {made['a'].name} {names[0]}", inputs


@pytest.mark.usefixtures("prefect_api")
def test_a_task_is_given_what_it_was_called_with_and_shows_whose_results_it_uses() -> None:
    """Nothing is looked through, also by a copy with other options; results of other tasks are seen."""

    @flow
    def both() -> list[tuple[str, dict[str, Any]]]:
        made = {"a": make("one"), "b": make("two")}
        return [each(Large(), made, names=["x"]) for each in (use, use.with_options(retries=1))]

    assert both() == [("use large: one x", {"large": 0, "made": 2, "names": 0})] * 2
