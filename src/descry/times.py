"""Times as people, tables, file names and cameras write them: one reader for all of them."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from .errors import UsageError

_DATE = r"(?P<year>[0-9]{4})[-_:./]?(?P<month>[0-9]{2})[-_:./]?(?P<day>[0-9]{2})"
_CLOCK = (
    r"(?P<hour>[0-9]{2})[-_:.]?(?P<minute>[0-9]{2})(?:[-_:.]?(?P<second>[0-9]{2})(?:[.,]?(?P<part>[0-9]{1,9}))?)?"
    r"(?: ?(?:[zZ]|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?))?"
)
_DAY = re.compile(_DATE)
_TIME = re.compile(rf"{_DATE}(?:[Tt _-]{{0,2}}{_CLOCK}|[Tt ](?P<only>[0-9]{{2}}))?")


def parse_time(text: str) -> datetime | None:
    """A naive local time, or None when the text is none. A time zone is dropped: cameras are compared in their own
    time.

    Read are year, month, day, and hour and minute with or without seconds and their parts, with the usual signs between
    them or none. Numbers that count seconds since 1970, weeks and years of two digits are no times here.

    >>> parse_time("20260131_140509")
    datetime.datetime(2026, 1, 31, 14, 5, 9)
    >>> parse_time("20260131_1405")
    datetime.datetime(2026, 1, 31, 14, 5)
    """
    found = _TIME.fullmatch(text.strip())
    if not found:
        return None
    values = found.groupdict()
    if re.fullmatch(r"[0-9]{15,}", text.strip()) and int(values["year"]) < 1970:
        return None  # microseconds since 1970, such as 1701012310595900
    part = int((values["part"] or "").ljust(6, "0")[:6])
    numbers = [int(values[name]) for name in ("year", "month", "day")]
    clock = [int(values[name] or 0) for name in ("hour", "minute", "second")]
    if values["only"]:
        clock[0] = int(values["only"])
    try:
        return datetime(*numbers, *clock, part)  # type: ignore[arg-type, call-arg]
    except ValueError:
        return None


def is_day(text: str) -> bool:
    """Whether a time was written as a day alone, such as 2026-01-31 or 20260131."""
    return bool(_DAY.fullmatch(text.strip())) and parse_time(text) is not None


def moment(text: str, option: str, end: bool = False) -> datetime | None:
    """A naive local time, None for "". end: a day alone means its last moment. UsageError for what is no time."""
    if not text.strip():
        return None
    time = parse_time(text)
    if time is None:
        raise UsageError(f"{option} {text} is not a time; write it as 2026-01-31 or 2026-01-31T14:05")
    return time + timedelta(days=1, microseconds=-1) if end and is_day(text) else time


def day(text: str, option: str) -> date:
    """A day as 2027-01-31. UsageError for what is none."""
    found = parse_time(text) if is_day(text) else None
    if found is None:
        raise UsageError(f"{option} {text} is not a day; write it as 2027-01-31")
    return found.date()
