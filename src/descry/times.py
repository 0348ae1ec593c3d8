"""Times as people, tables, file names and cameras write them: one reader for all of them."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from .errors import UsageError

LAYOUTS = (
    "%Y-%m-%dT%H:%M:%S",
    "%Y:%m:%d %H:%M:%S",
    "%Y%m%d_%H%M%S",
    "%Y%m%d%H%M%S",
    "%Y-%m-%d_%H-%M-%S",
    "%Y%m%dT%H%M%S",
)


def parse_time(text: str) -> datetime | None:
    """A naive local time, or None when the text is none. A time zone is dropped: cameras are compared in their own
    time.

    >>> parse_time("20260131_140509")
    datetime.datetime(2026, 1, 31, 14, 5, 9)
    """
    text = text.strip()
    if not text:
        return None
    for layout in LAYOUTS:
        try:
            return datetime.strptime(text, layout)
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def is_day(text: str) -> bool:
    """Whether a time was written as a day alone, such as 2026-01-31 or 20260131."""
    try:
        date.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


def moment(text: str, option: str, end: bool = False) -> datetime | None:
    """A naive local time, None for "". end: a day alone means its last moment. UsageError for what is no time."""
    if not text.strip():
        return None
    time = parse_time(text)
    if time is None:
        raise UsageError(f"{option} {text} is no time; write it as 2026-01-31 or 2026-01-31T14:05")
    return time + timedelta(days=1, microseconds=-1) if end and is_day(text) else time


def day(text: str, option: str) -> date:
    """A day as 2027-01-31. UsageError for what is none."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{option} {text} is no day; write it as 2027-01-31") from None
