"""The programs of the lab's actors, run by ``python -m``, with the order on standard input."""
