"""
The forms by which a person starts a flow, as JSON schemas.

Only what both of Prefect's interfaces show well: text, numbers, switches and choices. No union, which one of
them shows as a box for JSON, and no secret, which one of them shows as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from medic8.model.approval import Choice

Schema = dict[str, object]

#: What a person chooses who leaves the strategy to us.
ANY = "any"

_DRY_RUN = (
    "On: show what would be done, and change nothing. Off: do it. What was captured before is put back "
    "if a step fails or the target gets worse."
)


def form(**fields: Schema) -> Schema:
    """The schema of a form with *fields*, in that order; those without a default must be filled in."""
    return {
        "title": "Parameters",
        "type": "object",
        "properties": {
            name: {**schema, "position": position} for position, (name, schema) in enumerate(fields.items())
        },
        "required": [name for name, schema in fields.items() if "default" not in schema],
        "definitions": {},
    }


def defaults(schema: Schema) -> dict[str, object]:
    """What a run gets where the form is left as it is."""
    properties = schema["properties"]
    if not isinstance(properties, Mapping):
        return {}
    return {name: field["default"] for name, field in properties.items() if "default" in field}


def target(names: Sequence[str], about: str = "") -> Schema:
    """The choice of a target; one that is the only one is chosen already."""
    text = f"As the configuration calls it. {about}".strip()
    field: Schema = {"title": "Target", "type": "string", "enum": list(names), "description": text}
    return {**field, "default": names[0]} if len(names) == 1 else field


def strategy(names: Iterable[str]) -> Schema:
    """The choice of a strategy among those that targets allow."""
    return {
        "title": "Strategy",
        "type": "string",
        "enum": [ANY, *sorted(set(names))],
        "default": ANY,
        "description": "any: the cheapest that helps, causes before symptoms. Any other: this one alone, "
        "and on no other target. Only what the target allows is applied; what is risky or cannot be taken "
        "back waits for a person.",
    }


def dry_run(*, default: bool = True) -> Schema:
    """The switch that keeps everything as it is."""
    return switch("Dry run", _DRY_RUN, default=default)


def approved() -> Schema:
    """The digests of plans that a person agrees to."""
    return text(
        "Approved plan",
        "Digest of a plan, as a dry run shows it. Needed for plans of high risk, and for those that cannot "
        "be taken back, such as a restart or a deletion: read the plan first. It holds for that plan only. "
        "Empty: nothing of the kind is done.",
    )


def decision() -> Schema:
    """Yes or no; nothing is chosen before a person does."""
    return {
        "title": "Decision",
        "type": "string",
        "enum": [each.value for each in Choice],
        "description": "approve: carry out exactly that plan. deny: do not, and do not ask again for "
        "some time.",
    }


def queue(name: str) -> Schema:
    """The queue that a deployment is for."""
    return {
        "title": "Queue",
        "type": "string",
        "enum": [name],
        "default": name,
        "description": "Whose targets are meant.",
    }


def text(title: str, description: str) -> Schema:
    """A line of text, which may be empty."""
    return {"title": title, "type": "string", "default": "", "description": description}


def needed_text(title: str, description: str) -> Schema:
    """A line of text, which must be filled in."""
    return {"title": title, "type": "string", "minLength": 1, "description": description}


def seconds(title: str, description: str, *, default: int, most: int) -> Schema:
    """A number of seconds."""
    return {
        "title": title,
        "type": "number",
        "minimum": 0,
        "maximum": most,
        "default": default,
        "description": description,
    }


def switch(title: str, description: str, *, default: bool) -> Schema:
    """On or off."""
    return {"title": title, "type": "boolean", "default": default, "description": description}
