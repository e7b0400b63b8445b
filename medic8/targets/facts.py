"""What a target told, as text and numbers that may be missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from medic8.model.wording import shown

#: Servers and kernels count in 64 bits; with more, sums and rates would overflow.
_MOST_COUNTED = 2.0**64


class Facts(Mapping[str, str]):
    """
    Fields and values of a target, none of which has to be there or to make sense.

    Servers of other makers and versions lack fields, and what they tell may be
    anything: whatever is no number is no fact, and nothing is judged by it.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> str:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def text(self, name: str) -> str:
        """The value in words fit to be shown; empty if there is none."""
        return shown(self._fields.get(name, ""))

    def number(self, name: str) -> float | None:
        """The value as a number that one can count to in 64 bits; None if it is none."""
        try:
            value = float(self._fields[name])
        except (KeyError, ValueError):
            return None
        return value if abs(value) <= _MOST_COUNTED else None

    def whole(self, name: str) -> int | None:
        """The value as an integer; None if it is none."""
        value = self.number(name)
        return None if value is None else int(value)

    def within(self, name: str) -> Facts:
        """The pairs ``a=1,b=2`` inside of one value."""
        return pairs(self._fields.get(name, ""))

    def starting(self, prefix: str) -> Iterator[tuple[str, Facts]]:
        """What follows *prefix* in the name of each field that begins so, with the pairs of its value."""
        for name in self._fields:
            if name.startswith(prefix):
                yield name.removeprefix(prefix), self.within(name)


def pairs(text: str, separator: str = ",") -> Facts:
    """The fields of ``a=1,b=2``."""
    parts = (part.partition("=") for part in text.split(separator))
    return Facts({name: value for name, equals, value in parts if equals})


def grown(before: Facts, after: Facts, name: str) -> int | None:
    """By how much a counter grew; None if it is not there or was reset meanwhile."""
    was, is_now = before.whole(name), after.whole(name)
    return None if was is None or is_now is None or is_now < was else is_now - was
