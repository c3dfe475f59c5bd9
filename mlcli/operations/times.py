"""Times as records show them. Pure."""

from __future__ import annotations

from datetime import datetime, timezone


def iso_time(seconds: float | None) -> str | None:
    """An ISO 8601 time in UTC, None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat()
