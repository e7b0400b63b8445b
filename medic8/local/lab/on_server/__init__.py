"""Faults of the lab's server itself: its clients, memory, commands, replicas, files, and the way to it."""
