"""Register every flow of a site on a Prefect server, so that people, schedules and alerts can start it."""

from __future__ import annotations

from collections.abc import Iterable

from deployments.catalogue import wanted
from deployments.comparing import Found, differences, schedule_of
from deployments.server import Server, opened
from deployments.wanted import TAG, Wanted
from medic8.errors import ConfigurationError
from medic8.local.prefect_access import PrefectAccess
from medic8.model.registration import Change, DeploymentChange, Registration
from medic8.settings import Settings


def register(site: Settings, access: PrefectAccess, *, is_dry_run: bool = False) -> Registration:
    """
    Make the deployments on a server what *site* needs; what is so already is left alone.

    May be killed at any moment and called again. What people have paused stays paused, and schedules that
    they added stay.

    Args:
        site: The configuration.
        access: The way to the server.
        is_dry_run: Only say what would be changed.
    Raises:
        ConfigurationError: there are no targets, or what is not ours has the name of one of ours.
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
    ours = {f"{server.flow_of(each)}/{each['name']}": each for each in server.ours(pool)}
    titles = {each.title for each in needed}
    for found in server.named(sorted({each.name for each in needed})):
        title = f"{server.flow_of(found)}/{found['name']}"
        if title in titles and title not in ours:
            raise ConfigurationError(
                f'the deployment "{title}" of the server is not ours: its work pool is '
                f'"{found.get("work_pool_name")}" and its tags are {found.get("tags")}, ours are in '
                f'"{pool}" with tag "{TAG}"; remove it, or name another pool in [deployments]'
            )
    return ours


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
