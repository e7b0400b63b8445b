"""What is said about an ``.m8`` file of the Mem|8 project, and about one that was repaired."""

from __future__ import annotations

from medic8.model.frozen import Frozen
from medic8.model.issue import Severity
from medic8.model.report import Health


class M8Finding(Frozen):
    """
    One thing that is wrong, or worth knowing.

    Attributes:
        code: A stable name, such as ``size_field``.
        severity: ``error``: not what a writer writes, so it is not imported; ``warning``: no writer means it,
            and every byte is there; ``info``: nothing is wrong.
        text: One sentence with the value seen and the limit.
        offset: The byte of the file it begins at.
        can_be_repaired: Whether the right bytes are known.
    """

    code: str
    severity: Severity
    text: str
    offset: int = 0
    can_be_repaired: bool = False


class M8Section(Frozen):
    """
    One section.

    Attributes:
        kind: Its type.
        name: What the type is for; empty for one we do not know.
        offset: Where its data begins.
        size_bytes: The size it says.
        held_bytes: How many of them the file has.
    """

    kind: int
    name: str
    offset: int
    size_bytes: int
    held_bytes: int


class M8FileReport(Frozen):
    """
    The diagnosis of an ``.m8`` file.

    Attributes:
        file: Its path.
        size_bytes: Its size.
        version: The format it says; None if the header is not whole. Likewise the next three.
        size_said: The size it says.
        sections_said: How many sections it says.
        written_s: When it says it was written, Unix time in seconds.
        sections: The sections that were found, at most the first 1,000.
        sections_found: How many were found.
        waves: How many whole wave records they hold.
        findings: The heaviest first.
    """

    file: str
    size_bytes: int
    version: int | None = None
    size_said: int | None = None
    sections_said: int | None = None
    written_s: int | None = None
    sections: tuple[M8Section, ...] = ()
    sections_found: int = 0
    waves: int = 0
    findings: tuple[M8Finding, ...] = ()

    @property
    def health(self) -> Health:
        """One word for the file."""
        severities = {finding.severity for finding in self.findings}
        if Severity.ERROR in severities:
            return Health.FAILING
        return Health.DEGRADED if Severity.WARNING in severities else Health.HEALTHY

    @property
    def errors(self) -> tuple[M8Finding, ...]:
        """What keeps it from being imported."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.ERROR)


class M8Repair(Frozen):
    """
    What a repair made of an ``.m8`` file.

    Attributes:
        file: The file that was read.
        written: The new file.
        size_bytes: Its size.
        changes: What is different in it, one sentence each.
        lost: What of the old file is not in it, one sentence each.
        findings: What is still to be said about the new file.
    """

    file: str
    written: str
    size_bytes: int
    changes: tuple[str, ...]
    lost: tuple[str, ...] = ()
    findings: tuple[M8Finding, ...] = ()
