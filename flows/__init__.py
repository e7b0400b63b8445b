"""One module for each procedure that an operator can name."""

from flows.plainly import tell_plainly

tell_plainly()
