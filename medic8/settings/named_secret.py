"""Secrets that the configuration names and does not hold, for what can do without one if need be."""

from __future__ import annotations

from medic8.settings.credentials import CredentialsError, NoSecretError, secret
from medic8.settings.document import Document
from medic8.settings.lines import KeyPath


def named_secret(
    document: Document, path: KeyPath, owner: str, variable: str | None, file: str | None, what: str
) -> tuple[str | None, str, str]:
    """
    What ``{what}_env`` or ``{what}_file`` names.

    Args:
        document: Where it is noted if what it names is wrong.
        path: Where in it the table is that names it.
        owner: What the table is about, for people.
        variable: The variable; None if a file has it, or nothing.
        file: The file; None if a variable has it, or nothing.
        what: How the fields begin.
    Returns:
        The secret, None if there is none; the field that it comes from; and why it cannot be had here and
        now, which says nothing against the configuration.
    """
    fields = (f"{what}_env", f"{what}_file")
    try:
        found, field, warnings = secret(variable, file, fields, document.environ, document.folder)
    except NoSecretError as exc:
        return None, "", f'{owner}: field "{exc.field}": {exc}'
    except CredentialsError as exc:
        document.wrong_field(owner, path, (exc.field,), str(exc))
        return None, "", ""
    document.warnings += [f"{owner}: {warning}" for warning in warnings]
    return found, field, ""
