"""Register every flow of a site on a Prefect server, so that people, schedules and alerts can start it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deployments.catalogue import wanted
from deployments.comparing import Found, differences, schedule_of
from deployments.server import Server, opened
from deployments.wanted import TAG, Wanted
from medic8.errors import ConfigurationError
from medic8.local.prefect_access import PrefectAccess
from medic8.model.registration import Change, DeploymentChange, Registration
from medic8.model.schedule import SITE, SITE_TAG
from medic8.settings import Settings

_TARGET = "target:"

_MOST_NAMED = 5


def register(
    site: Settings, access: PrefectAccess, *, is_dry_run: bool = False, may_replace: bool = False
) -> Registration:
    """
    Make the deployments on a server what *site* needs; what is so already is left alone.

    May be killed at any moment and called again. What people have paused stays paused, and schedules that
    they added stay.

    Args:
        site: The configuration.
        access: The way to the server.
        is_dry_run: Only say what would be changed.
        may_replace: Whether a site may be replaced of which no target is configured here.
    Raises:
        ConfigurationError: there are no targets, what is not ours has the name of one of ours, or all that is
            there seems to be another site's.
        UnreachableError: the server does not let us in.
        TransientError: it stopped answering half way; the same call goes on from there.
    """
    if not site.targets:
        raise ConfigurationError(f"there is nothing to deploy: {site.hint}")
    needed = wanted(site)
    pool = site.deployments.pool
    with opened(access) as server:
        is_new_pool = not server.has_pool(pool)
        there = _there(server, site, needed)
        if not may_replace:
            _refuse_another(site, there.values())
        if is_new_pool and not is_dry_run:
            server.make_pool(pool)
        changes = [
            _apply(server, each, there.pop(each.title, None), is_dry_run=is_dry_run) for each in needed
        ]
        for title, found in there.items():
            if not is_dry_run:
                server.remove(found)
            changes.append(_removed(title, found))
    return Registration(
        server=access.shown_url,
        pool=pool,
        queues=tuple(dict.fromkeys(each.queue for each in needed)),
        is_dry_run=is_dry_run,
        is_new_pool=is_new_pool,
        changes=tuple(changes),
    )


def _there(server: Server, site: Settings, needed: Iterable[Wanted]) -> dict[str, Found]:
    """What the server has of ours, by its title."""
    pool = site.deployments.pool
    ours = {f"{server.flow_of(each)}/{each['name']}": each for each in _of_site(site, server.ours(pool))}
    titles = {each.title for each in needed}
    for found in server.named(sorted({each.name for each in needed})):
        title = f"{server.flow_of(found)}/{found['name']}"
        if title in titles and title not in ours:
            raise ConfigurationError(
                f'the deployment "{title}" of the server is not ours: its work pool is '
                f'"{found.get("work_pool_name")}" and its tags are {found.get("tags")}, ours are in '
                f'"{pool}" with tags "{TAG}" and "{site.deployments.site_tag}"; remove it, or name another '
                "site or pool in [deployments]"
            )
    return ours


def _of_site(site: Settings, found: Sequence[Found]) -> tuple[Found, ...]:
    """
    Those of *found* that are this site's.

    An older Medic8 did not say whose they are. They are taken for this site's if it has no name of its own,
    as they had none, or if they are about no target that is not configured here.
    """
    mine = tuple(each for each in found if site.deployments.site_tag in each["tags"])
    older = tuple(each for each in found if not any(tag.startswith(SITE_TAG) for tag in each["tags"]))
    return mine + older if site.deployments.site == SITE or not _targets(older) - _known(site) else mine


def _refuse_another(site: Settings, there: Iterable[Found]) -> None:
    """Refuse to remove all that somebody else has deployed who has not named his site either."""
    targets, known = _targets(there), _known(site)
    if targets and not targets & known:
        names = ", ".join(sorted(targets)[:_MOST_NAMED])
        own = site.deployments
        raise ConfigurationError(
            f'the deployments of site "{own.site}" in work pool "{own.pool}" are for other targets than those'
            f" that are configured here ({names}): they seem to be another site's; name this one in "
            "[deployments] site, or replace them by medic8 deploy --replace"
        )


def _targets(found: Iterable[Found]) -> set[str]:
    tags = (tag for each in found for tag in each["tags"])
    return {tag.removeprefix(_TARGET) for tag in tags if tag.startswith(_TARGET)}


def _known(site: Settings) -> set[str]:
    return {each.name for each in site.targets}


def _apply(server: Server, each: Wanted, found: Found | None, *, is_dry_run: bool) -> DeploymentChange:
    if found is None:
        if not is_dry_run:
            server.create(each)
        return _changed(each, Change.CREATED)
    fields = differences(each, found)
    if not fields:
        return _changed(each, Change.UNCHANGED)
    if not is_dry_run:
        server.change(each, found)
    return _changed(each, Change.CHANGED).model_copy(update={"fields": fields})


def _changed(each: Wanted, change: Change) -> DeploymentChange:
    return DeploymentChange(
        deployment=each.title,
        queue=each.queue,
        every_s=each.schedule.every_s if each.schedule else 0,
        change=change,
    )


def _removed(title: str, found: Found) -> DeploymentChange:
    schedule = schedule_of(found)
    return DeploymentChange(
        deployment=title,
        queue=str(found.get("work_queue_name") or ""),
        every_s=int((schedule or {"schedule": {}})["schedule"].get("interval") or 0),
        change=Change.REMOVED,
    )
