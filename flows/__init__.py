"""One module for each procedure that an operator can name."""

import logging

from flows.wording import ENGINE, InOneLine

# Whoever loads a flow, its engine is told here how to speak of it.
logging.getLogger(ENGINE).addFilter(InOneLine())
