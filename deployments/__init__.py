"""
What a site installs on a Prefect server: which flows, with which forms, schedules and queues.

Nothing here imports Prefect, which takes more than a second, but for the responder: flows are named, not
imported, and the server is spoken to over HTTP.
"""

from deployments.register import register

__all__ = ["register"]
