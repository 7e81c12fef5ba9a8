from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.nyc_taxi import Month

months = st.builds(Month, st.integers(1900, 2200), st.integers(1, 12))


def test_month_is_read_and_written_as_yyyy_mm():
    month = Month.parse("2024-01")

    assert month == Month(2024, 1)
    assert str(month) == "2024-01"
    assert str(Month(987, 6)) == "0987-06"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "january",
        "2024-13",
        "2024-00",
        "0000-01",
        "2024-1",
        "24-01",
        "202401",
        "2024/01",
        "2024-01-01",
        " 2024-01",
        "2024-01\n",
        "\u0662\u0660\u0662\u0664-\u0660\u0661",
        "../../etc",
        "2024-01'; drop table trips --",
    ],
)
def test_any_other_spelling_is_refused_with_the_value(text: str):
    with pytest.raises(ValueError, match="is not YYYY-MM") as refusal:
        Month.parse(text)

    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize(("year", "month"), [(2024, 0), (2024, 13), (0, 1), (10_000, 1), (2024, -1)])
def test_month_outside_the_calendar_is_refused(year: int, month: int):
    with pytest.raises(ValueError, match="is not one of"):
        Month(year, month)


@pytest.mark.parametrize(
    ("month", "months", "sum_"),
    [
        ("2024-01", 0, "2024-01"),
        ("2024-01", 11, "2024-12"),
        ("2024-01", 12, "2025-01"),
        ("2023-12", 1, "2024-01"),
        ("2024-01", -1, "2023-12"),
        ("2024-12", -24, "2022-12"),
    ],
)
def test_adding_months_carries_into_years(month: str, months: int, sum_: str):
    assert Month.parse(month) + months == Month.parse(sum_)
    assert Month.parse(sum_) - months == Month.parse(month)


@given(month=months, count=st.integers(-1000, 1000))
def test_adding_keeps_order_and_can_be_undone(month: Month, count: int):
    later = month + count

    assert later - count == month
    assert (later > month) == (count > 0)
    assert Month.parse(str(month)) == Month.of(month.first_day) == month


def test_range_includes_both_ends():
    found = Month.range(Month(2023, 11), Month(2024, 2))

    assert list(map(str, found)) == ["2023-11", "2023-12", "2024-01", "2024-02"]


def test_range_of_one_month_is_that_month():
    assert list(Month.range(Month(2024, 1), Month(2024, 1))) == [Month(2024, 1)]


def test_range_that_ends_before_it_begins_is_empty():
    assert list(Month.range(Month(2024, 2), Month(2024, 1))) == []


def test_months_sort_by_time():
    assert sorted([Month(2024, 1), Month(2023, 12), Month(2023, 2)]) == [
        Month(2023, 2),
        Month(2023, 12),
        Month(2024, 1),
    ]


def test_day_or_moment_is_in_its_month():
    assert Month.of(date(2024, 2, 29)) == Month.of(datetime(2024, 2, 29, 23, 59, 59)) == Month(2024, 2)


def test_first_day_stands_for_the_month():
    assert Month(2024, 2).first_day == date(2024, 2, 1)
