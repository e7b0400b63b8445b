"""Who may send alerts, and what they are about: ``[alerts]`` of a configuration."""

from __future__ import annotations

from pydantic import Field, SecretStr

from medic8.model.alerting import Alerting, AlertSource, Format
from medic8.model.frozen import Frozen
from medic8.model.schedule import NAME
from medic8.model.target import Target
from medic8.settings.document import Document
from medic8.settings.lines import KeyPath
from medic8.settings.named_secret import named_secret
from medic8.settings.problems import nearest, shown

#: Shorter ones are guessed.
_SHORTEST_SECRET = 16


class SourceTable(Frozen):
    """
    ``[[alerts.source]]``: an `AlertSource` with its secrets by reference.

    Attributes:
        name: What the address ends in that its alerts are sent to.
        format: The form of its messages.
        token_env: The environment variable that holds its bearer token.
        token_file: The file that holds it.
        key_env: The environment variable that holds the key by which it signs.
        key_file: The file that holds it.
        signature_header: Where the signature stands.
        client_certificate: Whether its certificate says who it is.
        certificate_name: A name that has to stand in its certificate, which is asked for then.
    """

    name: str = Field(min_length=1, max_length=63, pattern=NAME)
    format: Format
    token_env: str | None = None
    token_file: str | None = None
    key_env: str | None = None
    key_file: str | None = None
    signature_header: str = Field(default="", max_length=100, pattern=r"^[A-Za-z0-9-]*$")
    client_certificate: bool = False
    certificate_name: str = Field(default="", max_length=253)


class AlertsTable(Alerting):
    """``[alerts]``."""

    source: tuple[SourceTable, ...] = ()  # type: ignore[assignment]  # its secrets are references here


def read_alerts(document: Document, targets: tuple[Target, ...]) -> Alerting:
    """What *document* says about alerts, with the defaults; problems are noted there."""
    table = document.parse(AlertsTable, "[alerts]", ("alerts",), document.content.get("alerts", {}))
    if table is None:
        return Alerting()
    sources = [_source(document, index, each) for index, each in enumerate(table.source)]
    _refuse_twins(document, [each.name for each in table.source], "source")
    _refuse_twins(document, [each.name for each in table.heartbeat], "heartbeat")
    _check_rules(document, table, targets)
    given = {name: getattr(table, name) for name in Alerting.model_fields}
    return Alerting.model_validate({**given, "source": tuple(sources)})


def _source(document: Document, index: int, table: SourceTable) -> AlertSource:
    path: KeyPath = ("alerts", "source", index)
    owner = f"alerts.source {shown(table.name)}"
    token, no_token = _secret(document, path, owner, table.token_env, table.token_file, "token")
    key, no_key = _secret(document, path, owner, table.key_env, table.key_file, "key")
    has_certificate = table.client_certificate or bool(table.certificate_name)
    has_secret = any((table.token_env, table.token_file, table.key_env, table.key_file))
    if not has_secret and not has_certificate:
        document.wrong(
            path, f"{owner}: anybody could send; give it token_file, key_file or client_certificate"
        )
    return AlertSource(
        name=table.name,
        format=table.format,
        token=token,
        key=key,
        signature_header=table.signature_header,
        client_certificate=has_certificate,
        certificate_name=table.certificate_name,
        problem=no_token or no_key,
    )


def _secret(
    document: Document, path: KeyPath, owner: str, variable: str | None, file: str | None, what: str
) -> tuple[SecretStr | None, str]:
    """The secret, and why it cannot be had here and now: that closes the source, and nothing else."""
    found, field, problem = named_secret(document, path, owner, variable, file, what)
    if found is not None and len(found) < _SHORTEST_SECRET:
        text = f"the {what} has {len(found)} characters, expected {_SHORTEST_SECRET} at least"
        document.wrong_field(owner, path, (field,), text)
    return (None if found is None else SecretStr(found)), problem


def _refuse_twins(document: Document, names: list[str], what: str) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            document.wrong(("alerts", what, index, "name"), f"alerts.{what} {shown(name)}: there are two")


def _check_rules(document: Document, table: AlertsTable, targets: tuple[Target, ...]) -> None:
    known = [target.name for target in targets]
    sources = [each.name for each in table.source]
    for index, rule in enumerate(table.rule):
        for field, name, names in (("target", rule.target, known), ("source", rule.source, sources)):
            if name is not None and name not in names:
                # What leads nowhere would lose alerts in silence.
                text = f"got {shown(name)}, expected the name of a {field}{nearest(name, names)}"
                document.wrong_field("[alerts]", ("alerts",), ("rule", index, field), text)
