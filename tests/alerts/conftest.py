"""What tests of alerts ask for: a journal on each kind of database that it may have."""

from __future__ import annotations

from tests.recovery.conftest import journal, journal_url, postgres_url

__all__ = ["journal", "journal_url", "postgres_url"]
