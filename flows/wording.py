"""Say in one line that a run has ended as Failed, where Prefect's engine shows where in itself it noticed."""

from __future__ import annotations

import logging

#: The logger of the process that a process worker starts for a run.
ENGINE = "prefect.engine"

#: What the engine makes of a state that a flow has returned: by its name, and by how it begins.
_RETURNED = ("FailedRun", "Unexpected result for failed state")


class InOneLine(logging.Filter):
    """Leaves out the traceback of a run that nothing was raised in: its flow has returned how it ended."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change *record*, and let it pass."""
        failure = record.exc_info[1] if record.exc_info else None
        kind, start = _RETURNED
        if type(failure).__name__ == kind or str(failure).startswith(start):
            record.msg = "The run has ended as Failed; its state says why."
            record.args, record.exc_info = (), None
        return True
