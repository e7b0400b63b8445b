"""Tasks whose arguments are taken as they are: Prefect looks for results of other tasks in all of a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.utilities.annotations import opaque

P = ParamSpec("P")
R = TypeVar("R")


class LightTask(Task[P, R]):
    """
    A task that is given no value with a future or a state within it.

    A configuration or a report has thousands of values, and each would be visited twice for each task. What
    another task has returned is still seen, also in a list or a dict, so that its run is shown as an input.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it here and now; as with any task of Prefect."""
        return super().__call__(*map(_whole, args), **_named(kwargs))

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Run it beside others; as with any task of Prefect."""
        return super().submit(*map(_whole, args), **_named(kwargs))

    def with_options(self, **options: Any) -> LightTask[P, R]:
        """A copy of it with other options."""
        copied = super().with_options(**options)
        copied.__class__ = type(self)  # Prefect copies what a task has, and not what it is
        return copied  # type: ignore[return-value]


def task(**options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """
    Make a light task of a function.

    Args:
        options: As of Prefect's decorator.
    """
    return lambda function: LightTask(function, **options)


#: What a call is told of the task's run; the function has no such argument.
_OF_PREFECT = frozenset({"return_state", "wait_for"})


def _named(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value if name in _OF_PREFECT else _whole(value) for name, value in kwargs.items()}


def _whole(value: Any) -> Any:
    if type(value) is dict:
        return {key: opaque(each) for key, each in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(opaque(each) for each in value)
    return opaque(value)
