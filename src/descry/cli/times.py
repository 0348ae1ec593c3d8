"""Times as people write them on the command line."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from ..errors import UsageError


def moment(text: str, option: str, end: bool = False) -> datetime | None:
    """A naive local time, None for "". end: a day alone means its last moment. UsageError for what is no time."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise UsageError(f"{option} {text} is no time; write it as 2026-01-31 or 2026-01-31T14:05") from None
    return time + timedelta(days=1, microseconds=-1) if end and len(text) == 10 else time


def day(text: str, option: str) -> date:
    """A day as 2027-01-31. UsageError for what is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text} is no day; write it as 2027-01-31") from None
