"""Processes of this host: who they are, how they do, and what can be done about them."""
