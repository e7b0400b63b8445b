"""The index of resolutions as the command line reads it: from the journal, without importing Prefect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from medic8.errors import ConfigurationError, Medic8Error

if TYPE_CHECKING:
    from medic8.cli.call import Call
    from medic8.local.prefect_access import PrefectAccess
    from medic8.local.prefect_api import PrefectApi
    from medic8.model.resolution import HistoryEntry, Standing
    from medic8.model.statistics import StatisticsReport, Wanted
    from medic8.recovery.journal import Journal

Answer = TypeVar("Answer")

#: For a page of runs.
_TIMEOUT_S = 10.0


def known_journal(call: Call) -> Journal | None:
    """The site's journal; None, and that is told, if there is none yet: who only reads makes none."""
    from medic8.recovery.presence import journal_at

    if (journal := journal_at(call.settings.journal_url)) is None:
        call.screen.warn(without_journal(call))
    return journal


def without_journal(call: Call) -> str:
    """What it means that there is no journal, and what to do if there should be."""
    from medic8.recovery.presence import place_of

    return (
        f"there is no journal at {place_of(call.settings.journal_url)} yet, so nothing is known here; if "
        "there should be, name its home with MEDIC8_HOME, or with --config a configuration that says where"
    )


def require_something_known(call: Call) -> None:
    """
    See that there is a journal, or at least a Prefect server that somebody has named or that runs here.

    Raises:
        ConfigurationError: there is neither.
    """
    from medic8.local.status import running_prefect
    from medic8.recovery.faults import SilentError
    from medic8.recovery.presence import journal_at

    with suppress(SilentError):
        if journal_at(call.settings.journal_url) is None and (
            running_prefect(call.settings.home, call.environ) is None
        ):
            raise ConfigurationError(without_journal(call))


def index_of(call: Call) -> Index | None:
    """
    The index of the site's journal; None, and that is told, if there is none yet.

    Raises:
        SilentError: the journal does not answer.
    """
    from medic8.local.loopback import past_proxies
    from medic8.local.status import running_prefect

    journal = known_journal(call)
    prefect = running_prefect(call.settings.home, call.environ)
    if journal is None:
        if prefect is not None:
            call.screen.say("medic8 history --complete makes one, and reads the runs that Prefect has")
        return None
    call.environ["no_proxy"] = past_proxies(call.environ)
    return Index(journal, prefect, tell=call.screen.warn)


@dataclass
class Index:
    """
    The index of resolutions, and the Prefect server that is asked for what it cannot say.

    Attributes:
        journal: Whose index.
        prefect: The server that somebody has named or that runs here; None = none is asked.
        tell: Told what could not be found out.
    """

    journal: Journal
    prefect: PrefectAccess | None
    tell: Callable[[str], None]

    def listed(self, wanted: Wanted, limit: int) -> list[HistoryEntry]:
        """
        The resolutions that match, the newest first; at most *limit*.

        Raises:
            SilentError: the journal does not answer.
        """
        from medic8.recovery import resolutions

        return resolutions.listed(self.journal, wanted, limit, self._standings)

    def report(self, wanted: Wanted) -> StatisticsReport:
        """
        Statistics of the resolutions that match.

        Raises:
            SilentError: the journal does not answer.
        """
        from medic8.recovery import resolutions

        return resolutions.report(self.journal, wanted)

    def is_still_empty(self) -> bool:
        """
        Whether it has no resolution although Prefect has: somebody has a history from before.

        Raises:
            SilentError: the journal does not answer.
        """
        return not self._count() and bool(self.missing())

    def missing(self) -> int:
        """
        How many runs Prefect has at least that the index lacks; 0 if no server can say.

        Raises:
            SilentError: the journal does not answer.
        """
        from medic8.recovery.resolutions import RESOLVE, UNDO

        begun = self._ask(lambda api: api.begun((RESOLVE, UNDO)))
        return 0 if begun is None else max(0, begun - self._count())

    def _count(self) -> int:
        from medic8.recovery import resolutions

        return resolutions.count(self.journal)

    def _standings(self, runs: Sequence[str]) -> Mapping[str, Standing]:
        return self._ask(lambda api: api.standings(runs)) or {}

    def _ask(self, question: Callable[[PrefectApi], Answer]) -> Answer | None:
        """The answer to *question*; None if there is nobody to ask, or that is told once."""
        from medic8.local.prefect_api import api_of

        if self.prefect is None:
            return None
        try:
            with api_of(self.prefect, timeout_s=_TIMEOUT_S) as api:
                return question(api)
        except (Medic8Error, OSError) as exc:
            self.tell(f"{exc}; how runs stand that have not ended, and what the index lacks, is not known")
            self.prefect = None
            return None
