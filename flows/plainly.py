"""What a person has mistyped ends in one line of the run's log, and not in a traceback of ours."""

from __future__ import annotations

import logging

from medic8.errors import ConfigurationError


class Plainly(logging.Filter):
    """Has a log tell a `ConfigurationError` by its words, which name what was given and what is allowed."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change *record*, and let it pass."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ConfigurationError):
            record.msg, record.args, record.exc_info = str(error), (), None
        return True


def tell_plainly() -> None:
    """Have the logs of flow runs and of task runs do so; those who log there are Prefect's engines."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, Plainly) for each in logger.filters):
            logger.addFilter(Plainly())
