"""The programs of the lab's actors: ``python -m medic8.local.lab.acting``, with the order on standard input."""
