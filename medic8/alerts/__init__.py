"""Alerts of other programs: taken in durably, each target looked at once."""
