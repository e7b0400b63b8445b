"""Where the gateway listens that was started last, as everybody finds it who writes links to its pages."""

from __future__ import annotations

import sqlalchemy as sa

from medic8.recovery import tables
from medic8.recovery.journal import Journal

#: Where it listens if nobody says otherwise; also what is told as long as none was ever started.
USUAL = "http://127.0.0.1:4290"

_WHAT = "gateway"
_LONGEST = 64
_EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # what is listened at, and no address to go to


def address(host: str, port: int, *, is_https: bool) -> str:
    """The address of a gateway that listens at *host*; at every address: that of this machine for itself."""
    name = "127.0.0.1" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"{'https' if is_https else 'http'}://{name}:{port}"


def note(journal: Journal, url: str) -> None:
    """Keep where the gateway listens now; what is too long for that has to be said in ``[approvals]``."""
    about = tables.about
    if len(url) > _LONGEST:
        return
    with journal.transaction() as connection:
        changed = connection.execute(about.update().where(about.c.what == _WHAT).values(value=url))
        if not changed.rowcount:
            connection.execute(about.insert().values(what=_WHAT, value=url))


def known(journal: Journal) -> str:
    """Where the gateway listens that was started last."""
    about = tables.about
    with journal.transaction() as connection:
        return connection.scalar(sa.select(about.c.value).where(about.c.what == _WHAT)) or USUAL
