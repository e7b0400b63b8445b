"""
The colours of a map.

What is well is blue, what is not is warm, and what is lost is white: three steps of lightness and one
difference of hue that people with any kind of colour blindness see. (Source: M. Okabe and K. Ito, *Color
Universal Design*, 2008; darkened where much of it is shown.) Marks say the same once more.
"""

from __future__ import annotations

from medic8.model.grid_map import ValueState

#: What each state is filled with, as red, green, blue.
FILLS = {
    ValueState.NOT_LOOKED_AT: (28, 33, 41),
    ValueState.NEVER_WRITTEN: (42, 49, 60),
    ValueState.GOOD: (31, 101, 158),
    ValueState.REBUILT: (86, 180, 233),
    ValueState.QUARANTINED: (204, 121, 167),
    ValueState.DAMAGED: (230, 159, 0),
    ValueState.MISSING: (213, 94, 0),
    ValueState.LOST: (255, 255, 255),
}

#: The ground, and what is written on it.
GROUND = (17, 21, 28)
INK = (226, 232, 240)
FAINT = (139, 150, 165)

#: What is written on a fill.
ON_FILL = (10, 12, 16)


def as_hex(colour: tuple[int, int, int]) -> str:
    """*colour* as style sheets spell it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
