"""Times as people and cameras write them: one reader, the right value or none."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from descry.errors import UsageError
from descry.query import Query
from descry.times import day, is_day, moment, parse_time
from descry.web.api.jobs import TIME
from descry.web.shapes import FilterSet

AT = datetime(2026, 1, 31, 14, 5)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("20260131_1405", AT),
        ("202601311405", AT),
        ("20260131T1408", AT.replace(minute=8)),
        ("2026-01-31_14-05", AT),
        ("2026-01-31 14.05", AT),
        ("2026-01-31T14-05", AT),
        ("2026/01/31 14:05", AT),
        ("2026:01:31 14:05:09", AT.replace(second=9)),
        ("20260131140509", AT.replace(second=9)),
        ("20260131140509123", AT.replace(second=9, microsecond=123000)),
        ("2026-01-31T14:05:09.5Z", AT.replace(second=9, microsecond=500000)),
        ("2026-01-31T14:05:09-05:00", AT.replace(second=9)),
        ("2026-01-31T14:05+0100", AT),
        ("2026-01-31T14", AT.replace(minute=0)),
        ("2026-01-31", datetime(2026, 1, 31)),
        *(
            (text, None)
            for text in ("1769868420", "1769868420000", "26013114050", "2026-W05", "2026-W05-3", "26-01-31")
        ),
        ("2026-01-31T14:05-11:30", AT),
        *((text, None) for text in ("1701012310595900", "1701012310595900123", "2026-01-31T14:05:09-25:99")),
        *((text, None) for text in ("2026-02-30", "2026-01-31T24:00", "2026-01-31T14:60", "2026-13-01", "", "soon")),
        *(
            (text, None)
            for text in ("2026", "2026-01", "14:05", "31.01.2026", "2026-01-31T1", "٢٠٢٦-٠١-٣١", "2026-01-31x")
        ),
    ],
)
def test_times_are_read_right_or_not_at_all(text, time):
    assert parse_time(text) == time


SHAPES = [
    "%Y{}%m{}%d{}%H{}%M{}".format(*signs[:4], end and f"{signs[4]}%S")
    for *signs, end in product(
        "-_:", ("", "-", "_", ":"), ("T", " ", "_", "-", ""), ("", "-", ":", "."), ("", ":", "."), (0, 1)
    )
]


def test_every_shape_that_the_page_finds_in_a_path_is_read_right():
    for shape in SHAPES:
        text = AT.replace(second=9).strftime(shape)
        if re.fullmatch(TIME, text):
            assert parse_time(text) == AT.replace(second=9 if "%S" in shape else 0), text


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)))
def test_what_is_written_is_read_again(time):
    assert parse_time(time.isoformat()) == time
    assert parse_time(f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond:06d}".rstrip("0").rstrip(".")) == time
    assert parse_time(time.strftime("%Y%m%d%H%M")) == time.replace(second=0, microsecond=0)
    assert parse_time(time.date().isoformat()) == datetime.combine(time.date(), datetime.min.time())


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{1,17}", fullmatch=True) | st.from_regex(TIME, fullmatch=True))
def test_nothing_crashes_and_nothing_is_made_up(text):
    time = parse_time(text)
    if time is not None:
        digits = "".join(re.findall("[0-9]", text))
        assert digits.startswith(time.strftime("%Y%m%d").rjust(8, "0"))
        assert is_day(text) <= (time == datetime.combine(time.date(), datetime.min.time()))


@pytest.mark.parametrize("text", ["2026-01-31", "20260131", "2026:01:31", "2026/01/31", " 20260131 "])
def test_a_day_is_the_whole_day_however_it_is_written(text):
    assert moment(text, "--since") == datetime(2026, 1, 31)
    assert moment(text, "--until", end=True) == datetime(2026, 2, 1) - timedelta(microseconds=1)
    assert day(text, "--until") == date(2026, 1, 31)


@pytest.mark.parametrize("text", ["2026-W05", "1769868420", "yesterday", "2026-02-30"])
def test_what_is_no_time_is_said(text):
    with pytest.raises(UsageError, match="is not a time; write it as"):
        moment(text, "--until", end=True)
    with pytest.raises(UsageError, match="is not a day; write it as"):
        day(text, "--until")


def test_the_page_reads_times_as_the_command_line():
    filters = FilterSet.model_validate({"since": "20260131", "until": "2026-01-31"})
    assert filters.since == datetime(2026, 1, 31)
    assert filters.until == datetime(2026, 2, 1) - timedelta(microseconds=1)
    assert FilterSet.model_validate({"until": "2026-01-31T14-05"}).until == AT
    assert FilterSet.model_validate({"until": None}).until is None
    for bad in (1769868420, "1769868420", "2026-W05", "soon", True, ["2026-01-31"]):
        with pytest.raises(ValidationError, match="this is no time"):
            FilterSet.model_validate({"until": bad})


def test_no_other_module_reads_times() -> None:
    import descry

    product = Path(descry.__file__).parent
    found = {
        file.relative_to(product.parent).as_posix()
        for root in ("descry", "descry_lab", "descry_people", "descry_stores")
        for file in product.with_name(root).rglob("*.py")
        if re.search(r"\b(strptime|fromisoformat|dateutil|dateparser)\b", file.read_text("utf-8"))
    }
    assert found == {"descry/footage/reading.py"}, "what a camera writes into a video, with its time zone"


def test_a_query_that_was_written_by_hand_reads_times_as_the_command_line() -> None:
    data = Query(wanted="red").to_json()
    read = Query.from_json(data | {"filters": {"since": "20260131", "until": "2026-01-31"}}).filters
    assert (read.since, read.until) == (datetime(2026, 1, 31), datetime(2026, 2, 1) - timedelta(microseconds=1))
    with pytest.raises(UsageError, match="is not a time"):
        Query.from_json(data | {"filters": {"until": "2026-W05"}})
