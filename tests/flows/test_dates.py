"""Dates and times in what people write."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sartor.flows.dates import Moment, find_dates, find_times, show_date

WEDNESDAY = date(2026, 11, 25)


def dates(text: str, language: str = "en", **more: object) -> list[str]:
    alone = bool(more.pop("alone", False))
    return [found.value for found in find_dates(text, Moment(WEDNESDAY, language, **more), alone=alone)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the 14th", "2026-12-14"),
        ("no, the 26th", "2026-11-26"),
        ("tomorrow at 3pm please", "2026-11-26"),
        ("the day after tomorrow", "2026-11-27"),
        ("today", "2026-11-25"),
        ("since yesterday", "2026-11-24"),
        ("the day before yesterday", "2026-11-23"),
        ("in two weeks", "2026-12-09"),
        ("in 3 months", "2027-02-25"),
        ("Wednesday", "2026-12-02"),
        ("this wednesday", "2026-11-25"),
        ("on Friday", "2026-11-27"),
        ("next Friday", "2026-12-04"),
        ("next tuesday", "2026-12-01"),
        ("December 3rd at 10:30", "2026-12-03"),
        ("Dec 24, 2027", "2027-12-24"),
        ("the 3rd of January", "2027-01-03"),
        ("1 March", "2027-03-01"),
        ("Sat 12 Dec", "2026-12-12"),
        ("Tuesday the 1st", "2026-12-01"),
        ("12/14", "2026-12-14"),
        ("14/12", "2026-12-14"),
        ("03/04/2027", "2027-03-04"),
        ("2026-12-24", "2026-12-24"),
        ("29 February", "2028-02-29"),
    ],
)
def test_english(text, expected):
    assert dates(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("le 14", "2026-12-14"),
        ("non, plutôt le 14", "2026-12-14"),
        ("demain à 15h", "2026-11-26"),
        ("après-demain", "2026-11-27"),
        ("depuis hier", "2026-11-24"),
        ("avant-hier", "2026-11-23"),
        ("aujourd’hui", "2026-11-25"),
        ("mardi prochain", "2026-12-01"),
        ("vendredi prochain", "2026-11-27"),
        ("le 3 décembre à 10h30", "2026-12-03"),
        ("le 1er janvier", "2027-01-01"),
        ("dans deux semaines", "2026-12-09"),
        ("03/04", "2027-04-03"),
        ("mercredi 2 décembre 2026", "2026-12-02"),
    ],
)
def test_french(text, expected):
    assert dates(text, "fr") == [expected]


def test_names_and_order_of_other_languages():
    assert dates("am 14. Dezember", "de") == ["2026-12-14"]
    assert dates("14.12.2026", "de") == ["2026-12-14"]
    assert dates("el 3 de enero", "es") == ["2027-01-03"]
    assert dates("03/04/2027", "en-GB") == ["2027-04-03"]


@pytest.mark.parametrize(
    "text",
    [
        "I may come",
        "a second one",
        "it costs 3.50",
        "order BW-10011",
        "yes",
        "32/13",
        "the 45th",
        "30 February",
        "march on",
    ],
)
def test_what_is_no_date(text):
    assert dates(text) == []


def test_several_in_their_order():
    assert dates("from the 2nd to December 5th, or tomorrow") == ["2026-12-02", "2026-12-05", "2026-11-26"]


def test_a_bare_figure_is_a_day_only_where_a_date_was_asked_for():
    assert dates("14") == []
    assert dates("14", alone=True) == ["2026-12-14"]


def test_a_day_of_the_month_that_was_spoken_of():
    assert dates("no, the 14th", near=date(2027, 1, 12)) == ["2027-01-14"]


def test_the_past():
    assert dates("the 14th", past=True) == ["2026-11-14"]
    assert dates("12 December", past=True) == ["2025-12-12"]
    assert dates("monday", past=True) == ["2026-11-23"]
    assert dates("three days ago", past=True) == ["2026-11-22"]
    assert dates("il y a 2 semaines", "fr", past=True) == ["2026-11-11"]


@pytest.mark.parametrize(
    ("text", "expected", "also"),
    [
        ("14:00", "14:00", ""),
        ("at 3", "15:00", "03:00"),
        ("at 9", "09:00", "21:00"),
        ("3pm", "15:00", ""),
        ("9:30 a.m.", "09:30", ""),
        ("12 am", "00:00", ""),
        ("12pm", "12:00", ""),
        ("half past two", "14:30", "02:30"),
        ("quarter to 9", "08:45", "20:45"),
        ("15h", "15:00", ""),
        ("9 h 30", "09:30", ""),
        ("quinze heures", "15:00", ""),
        ("à midi", "12:00", ""),
        ("at 9.30", "09:30", "21:30"),
    ],
)
def test_times(text, expected, also):
    assert [(found.value, found.also) for found in find_times(text)] == [(expected, also)]


@pytest.mark.parametrize("text", ["it costs 3.50", "at 10% more", "il y a 3 jours", "25:00", "10 of them", "at 12/14"])
def test_what_is_no_time(text):
    assert find_times(text) == []


def test_a_bare_figure_is_an_hour_only_where_a_time_was_asked_for():
    assert find_times("10") == []
    assert [found.value for found in find_times("10", alone=True)] == ["10:00"]


def test_a_date_as_people_write_it():
    assert show_date("2026-12-14", "fr") == "lundi 14 décembre 2026"
    assert show_date("2026-12-14", "en") == "Monday, December 14, 2026"
    assert show_date("2026-12-14", "xx") == "2026-12-14"
    assert show_date("soon", "en") == "soon"


@given(st.dates(date(2026, 11, 26), date(2027, 11, 24)), st.sampled_from(["en", "fr", "de", "es"]))
def test_what_is_shown_is_understood_again(day, language):
    assert dates(show_date(day.isoformat(), language), language) == [day.isoformat()]


@given(st.text(max_size=60))
def test_any_text_is_read_and_places_are_within_it(text):
    for found in (*find_dates(text, Moment(WEDNESDAY)), *find_times(text)):
        assert 0 <= found.start < found.end <= len(text)


@given(st.integers(-400, 400))
def test_a_date_without_its_year_is_in_front_of_today(days):
    day = WEDNESDAY + timedelta(days)
    [found] = dates(f"{day.day}/{day.month}", "fr")
    assert WEDNESDAY <= date.fromisoformat(found) <= WEDNESDAY + timedelta(4 * 366)
