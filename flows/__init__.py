"""One module for each procedure that an operator can name."""

from flows.wording import tell_plainly

# Whoever loads a flow, its engine is told here how to speak of it.
tell_plainly()
