"""Say in one line of a log what needs no traceback: a mistyped parameter, a flow that told how it failed."""

from __future__ import annotations

import logging

from medic8.errors import ConfigurationError

#: Who tells of runs: Prefect's engines, and the process that a process worker starts for a run.
_LOGS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")

#: What the engine makes of a state that a flow has returned: by its name, and by how it begins.
_RETURNED = ("FailedRun", "Unexpected result for failed state")


class Plainly(logging.Filter):
    """
    Leaves out a traceback that tells nothing.

    The words of a `ConfigurationError` name what was given and what is allowed; and where a flow has returned
    how it ended, nothing was raised but by Prefect, which noticed.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change *record*, and let it pass."""
        failure = record.exc_info[1] if record.exc_info else None
        kind, start = _RETURNED
        text = ""
        if isinstance(failure, ConfigurationError):
            text = str(failure)
        elif type(failure).__name__ == kind or str(failure).startswith(start):
            text = "The run has ended as Failed; its state says why."
        if text:
            record.msg, record.args, record.exc_info = text, (), None
        return True


def tell_plainly() -> None:
    """Have those logs do so."""
    for name in _LOGS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, Plainly) for each in logger.filters):
            logger.addFilter(Plainly())
