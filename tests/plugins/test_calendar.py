"""Appointments: hours, free times, bookings, and what two at once come to."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import sqlite3
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from sartor.errors import DiskError, ToolError
from sartor.tools import Tool
from sartor.values import BotInfo, Turn
from sartor_plugins.calendar import CalendarPlugin
from sartor_plugins.calendar.hours import parse_closed, parse_hours
from sartor_plugins.calendar.settings import CalendarSettings

NOW = datetime(2026, 11, 25, 11, tzinfo=UTC)  # Wednesday noon in Paris
DAY = date(2026, 11, 27)
SETTINGS: Mapping[str, object] = {
    "timezone": "Europe/Paris",
    "hours": "mon-fri 9:00-11:00 14:00-16:00",
    "services": {
        "cut": {"title": {"en": "Haircut", "fr": "Coupe"}, "minutes": 30},
        "colour": {"minutes": 60, "gap": 30},
    },
}
TURN = Turn("t1", "c", "acme", "salon", "ann", "", started=NOW)


class Salon:
    """The tools of one bot, as functions."""

    def __init__(self, folder: Path, changes: Mapping[str, object] | None = None, tenant: str = "acme") -> None:
        settings = CalendarSettings.model_validate({**SETTINGS, **(changes or {})})
        info = BotInfo(tenant, "salon", folder, folder / tenant)
        self.tools: Mapping[str, Tool] = {one.name: one for one in CalendarPlugin(settings, folder).sartor_tools(info)}

    def __getattr__(self, name: str):
        return lambda *, turn=TURN, **told: self.tools[name].function(turn=turn, **told)

    def book(self, time: str, *, turn: Turn = TURN, day: date = DAY, **told: object) -> dict[str, str]:
        given = {"service": "cut", "name": "Ann", **told}
        return self.book_appointment(turn=turn, day=day, time=time, **given)


@pytest.fixture
def salon(tmp_path: Path) -> Salon:
    return Salon(tmp_path)


def says(turn: Turn, **changes: object) -> Turn:
    return replace(turn, **changes)  # type: ignore[arg-type]


class TestHours:
    @pytest.mark.parametrize(
        ("text", "monday", "saturday"),
        [
            ("mon-fri 9:00-12:00 14:00-18:00, sat 9:00-13:00", [(540, 720), (840, 1080)], [(540, 780)]),
            ("lundi-vendredi 9h-12h30 14h à 18h; samedi 9h00-12h", [(540, 750), (840, 1080)], [(540, 720)]),
            ("monday to friday: 9-17; Saturday closed", [(540, 1020)], []),
            ("sat-mon 22:00-24:00", [(1320, 1440)], [(1320, 1440)]),
        ],
    )
    def test_as_people_write_them(self, text, monday, saturday):
        hours = parse_hours(text)
        assert [*hours.get(0, ())] == monday and [*hours.get(5, ())] == saturday

    @pytest.mark.parametrize(
        "text",
        [
            "monday 9",
            "9:00-12:00",
            "foo 9-10",
            "mon 9-10 9:30-11",
            "mon 12-9",
            "mon 9:03-10",
            "mon 9:75-11",
            "mon 9-25",
        ],
    )
    def test_what_is_none(self, text):
        with pytest.raises(ValueError, match=r"."):
            parse_hours(text)

    def test_closed_days(self):
        closed = parse_closed(["2026-12-24", "12-25", "2026-12-30..2027-01-01"])
        assert closed == {date(2026, 12, 24), (12, 25), date(2026, 12, 30), date(2026, 12, 31), date(2027, 1, 1)}
        for wrong in ("13-40", "tomorrow", "2026-12-24..2026-12-20"):
            with pytest.raises(ValueError, match=r"."):
                parse_closed([wrong])


class TestFreeTimes:
    def test_a_day(self, salon):
        times = ["09:00", "09:30", "10:00", "10:30", "14:00", "14:30", "15:00", "15:30"]
        assert salon.free_times(day=DAY, service="cut") == times
        assert salon.free_times(day=DAY, service="Coupe") == times
        assert salon.free_times(day=DAY, service="colour") == ["09:00", "09:30", "10:00", "14:00", "14:30", "15:00"]

    def test_lead_past_and_far(self, salon):
        today = NOW.date()
        assert salon.free_times(day=today, service="cut") == ["14:00", "14:30", "15:00", "15:30"]
        later = says(TURN, started=NOW + timedelta(hours=1, minutes=10))
        assert salon.free_times(turn=later, day=today, service="cut")[0] == "14:30", "an hour ahead"
        assert salon.free_times(day=today - timedelta(1), service="cut") == []
        assert salon.free_times(day=today + timedelta(93), service="cut") == []
        assert salon.free_times(day=date(2026, 11, 28), service="cut") == [], "a Saturday"

    def test_closed_days(self, tmp_path):
        salon = Salon(tmp_path, {"closed": ["2026-11-27", "12-25"]})
        assert salon.free_times(day=DAY, service="cut") == salon.free_times(day=date(2026, 12, 25), service="cut") == []
        assert salon.free_times(day=date(2026, 11, 26), service="cut")

    def test_what_was_booked_is_gone_with_its_gap(self, salon):
        salon.book("09:00", service="colour")
        assert salon.free_times(day=DAY, service="cut")[0] == "10:30"
        assert salon.free_times(day=DAY, service="colour")[0] == "14:00", "an hour and its gap do not fit before ten"

    def test_the_clock_is_the_businesss_and_may_change(self, tmp_path):
        salon = Salon(tmp_path, {"hours": "sun 0:00-6:00", "days_ahead": 300})
        assert salon.free_times(day=date(2027, 3, 28), service="cut") == [
            "00:00", "00:30", "01:00", "01:30", "03:00", "03:30", "04:00", "04:30", "05:00", "05:30",
        ], "two o'clock is skipped"  # fmt: skip
        made = salon.book("03:00", day=date(2027, 3, 28))
        assert (made["day"], made["time"]) == ("Sunday, March 28, 2027", "03:00")

    def test_resources(self, tmp_path):
        salon = Salon(
            tmp_path,
            {
                "services": {"cut": {"minutes": 30, "resources": ["ana", "leo"]}},
                "resources": {"ana": {"title": "Ana", "hours": "fri 9-10"}, "leo": {}, "bath": {}},
            },
        )
        assert salon.free_times(day=DAY, service="cut", resource="Ana") == ["09:00", "09:30"]
        assert salon.free_times(day=DAY, service="cut", resource="bath") == []
        salon.book("09:00", resource="ana")
        assert salon.free_times(day=DAY, service="cut", resource="ana") == ["09:30"]
        salon.book("09:00", turn=says(TURN, id="t2"))
        assert salon.free_times(day=DAY, service="cut")[0] == "09:30"
        with pytest.raises(ToolError, match="not free"):
            salon.book("09:00", turn=says(TURN, id="t9"))

    def test_tables_by_seats(self, tmp_path):
        salon = Salon(
            tmp_path,
            {
                "services": {"dinner": {"minutes": 120}},
                "resources": {"large": {"seats": 6}, "small": {"seats": 2, "count": 2}},
            },
        )
        for number, people in enumerate((2, 2, 2), start=1):
            told = {"service": "dinner", "people": people, "turn": says(TURN, id=f"t{number}")}
            salon.book("09:00", **told)
        assert salon.free_times(day=DAY, people=1) == ["14:00"]
        assert salon.free_times(day=DAY, people=7) == []


class TestBooking:
    def test_it_is_kept(self, salon, tmp_path):
        made = salon.book("09:30", contact="0612345678", note="curly; long")
        assert re.fullmatch(r"[B-Z]{5}-\d{6}", made["code"])
        assert made == {
            "code": made["code"], "service": "Haircut", "day": "Friday, November 27, 2026", "time": "09:30",
            "name": "Ann",
        }  # fmt: skip
        assert "09:30" not in salon.free_times(day=DAY, service="cut")
        assert Salon(tmp_path).find_appointment(code=made["code"].lower().replace("-", " ")) == made
        french = salon.find_appointment(code=made["code"], turn=says(TURN, language="fr"))
        assert (french["service"], french["day"]) == ("Coupe", "vendredi 27 novembre 2026")

    def test_a_turn_that_is_repeated_books_once(self, salon):
        assert salon.book("09:00") == salon.book("09:00")
        assert salon.book("09:30")["code"] != salon.book("10:00")["code"]

    @pytest.mark.parametrize("time", ["09:15", "12:00", "08:30", "25:00", "soon"])
    def test_only_what_is_free(self, salon, time):
        with pytest.raises(ToolError, match="this time is not free"):
            salon.book(time)

    def test_refusals_in_the_users_language(self, salon):
        with pytest.raises(ToolError, match="cet horaire n'est pas libre"):
            salon.book("12:00", turn=says(TURN, language="fr"))

    def test_what_there_is_not(self, salon):
        with pytest.raises(ToolError, match="cannot be booked"):
            salon.book("09:00", service="massage")

    def test_so_many_for_one_user(self, tmp_path):
        salon = Salon(tmp_path, {"per_user": 2})
        salon.book("09:00")
        salon.book("09:30")
        with pytest.raises(ToolError, match="as many appointments"):
            salon.book("10:00")
        salon.book("10:00", turn=says(TURN, user="bob"))
        for time in ("14:00", "14:30", "15:00"):
            salon.book(time, turn=says(TURN, user="anonymous"))

    def test_moving(self, salon):
        code = salon.book("09:00")["code"]
        assert "09:00" in salon.free_times(day=DAY, code=code), "its own time is free for it"
        moved = salon.move_appointment(code=code, day=DAY, time="10:00")
        assert (moved["code"], moved["time"]) == (code, "10:00")
        assert salon.free_times(day=DAY, service="cut")[:3] == ["09:00", "09:30", "10:30"]
        salon.book("14:00", turn=says(TURN, id="t2"))
        with pytest.raises(ToolError, match="not free"):
            salon.move_appointment(code=code, day=DAY, time="14:00")
        assert salon.find_appointment(code=code)["time"] == "10:00", "it stays where it was"

    def test_cancelling(self, salon):
        code = salon.book("09:00")["code"]
        assert salon.cancel_appointment(code=code)["time"] == "09:00"
        assert "09:00" in salon.free_times(day=DAY, service="cut")
        for gone in (salon.cancel_appointment, salon.find_appointment):
            with pytest.raises(ToolError, match="no such appointment of yours"):
                gone(code=code)

    def test_too_late(self, tmp_path):
        salon = Salon(tmp_path, {"notice": 24 * 60})
        code = salon.book("09:00")["code"]
        late = says(TURN, started=datetime(2026, 11, 26, 9, tzinfo=UTC))
        with pytest.raises(ToolError, match="too late"):
            salon.cancel_appointment(code=code, turn=late)
        assert salon.find_appointment(code=code, turn=late)


class TestWhose:
    """A code is of use to the user who booked alone."""

    def test_another_user(self, salon):
        code = salon.book("09:00")["code"]
        other = says(TURN, user="bob")
        for call in (salon.find_appointment, salon.cancel_appointment):
            with pytest.raises(ToolError, match="no such appointment"):
                call(code=code, turn=other)
        with pytest.raises(ToolError, match="no such appointment"):
            salon.move_appointment(code=code, turn=other, day=DAY, time="10:00")
        with pytest.raises(ToolError, match="no such appointment"):
            salon.free_times(code=code, turn=other, day=DAY)

    def test_by_an_attribute(self, tmp_path):
        salon = Salon(tmp_path, {"attribute": "customer"})
        code = salon.book("09:00", turn=says(TURN, attributes={"customer": 7}))["code"]
        assert salon.find_appointment(code=code, turn=says(TURN, user="phone", attributes={"customer": 7}))
        for other in ({"customer": 8}, {}):
            with pytest.raises(ToolError, match="no such appointment"):
                salon.find_appointment(code=code, turn=says(TURN, attributes=other))

    def test_by_the_code_alone(self, tmp_path):
        salon = Salon(tmp_path, {"owner": "code"})
        code = salon.book("09:00")["code"]
        assert salon.find_appointment(code=code, turn=says(TURN, user="bob"))

    def test_another_tenant(self, tmp_path):
        code = Salon(tmp_path).book("09:00")["code"]
        other = Salon(tmp_path, tenant="borealis")
        assert "09:00" in other.free_times(day=DAY, service="cut")
        with pytest.raises(ToolError, match="no such appointment"):
            other.find_appointment(code=code)


def try_to_book(folder: Path, user: int) -> str:
    """One of many who want the same time, in a process or a thread of its own."""
    try:
        return Salon(folder, {"resources": {"chair": {"count": 3}}}).book(
            "09:00", turn=says(TURN, user=f"u{user}", id=f"t{user}")
        )["code"]
    except ToolError as error:
        return error.what


class TestAtOnce:
    @pytest.mark.parametrize("pool", ["threads", "processes"])
    def test_as_many_as_there_are_chairs(self, tmp_path, pool):
        spawn = multiprocessing.get_context("spawn")
        made = ThreadPoolExecutor(20) if pool == "threads" else ProcessPoolExecutor(4, mp_context=spawn)
        with made as workers:
            results = [*workers.map(try_to_book, [tmp_path] * 30, range(30))]
        codes = [result for result in results if re.fullmatch(r"[A-Z]{5}-\d{6}", result)]
        assert len({*codes}) == len(codes) == 3
        assert results.count("this time is not free") == 27

    async def test_in_the_event_loop_of_a_bot(self, tmp_path):
        results = await asyncio.gather(*(asyncio.to_thread(try_to_book, tmp_path, user) for user in range(12)))
        assert sum("-" in result for result in results) == 3

    def test_a_file_that_another_is_just_making(self, salon, tmp_path):
        """SQLite refuses at once, without waiting, to switch a file to its log that another holds."""
        path = tmp_path / "acme/calendar/salon.db"
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("CREATE TABLE other (a)")
            other.execute("BEGIN IMMEDIATE")
            threading.Timer(0.2, other.execute, ["COMMIT"]).start()
            assert "09:00" in salon.free_times(day=DAY, service="cut")
            assert not other.in_transaction


class TestKept:
    def test_the_calendar_file(self, salon, tmp_path):
        made = salon.book("09:30", contact="a@b.example", note="curly; long, " + "é" * 60)
        text = (tmp_path / "acme/calendar/salon.ics").read_text(encoding="utf-8")
        raw = (tmp_path / "acme/calendar/salon.ics").read_bytes()
        assert raw.count(b"\r\n") == raw.count(b"\n") and max(map(len, raw.split(b"\r\n"))) <= 75
        told = text.replace("\n ", "")
        for line in (
            "BEGIN:VCALENDAR", f"UID:{made['code']}@sartor", "DTSTART:20261127T083000Z", "DTEND:20261127T090000Z",
            "SUMMARY:Haircut: Ann", f"DESCRIPTION:a@b.example\\ncurly\\; long\\, {'é' * 60}\\n{made['code']}",
        ):  # fmt: skip
            assert f"{line}\n" in told
        salon.cancel_appointment(code=made["code"])
        assert "VEVENT" not in (tmp_path / "acme/calendar/salon.ics").read_text()

    def test_what_is_over_is_forgotten(self, tmp_path):
        salon = Salon(tmp_path, {"keep_days": 10})
        code = salon.book("09:00")["code"]
        after = says(TURN, started=NOW + timedelta(11), id="t2")
        salon.book("09:00", turn=after, day=date(2026, 12, 8))
        assert salon.find_appointment(code=code, turn=after)
        after = says(TURN, started=NOW + timedelta(13), id="t3")
        salon.book("09:30", turn=after, day=date(2026, 12, 9))
        with pytest.raises(ToolError):
            salon.find_appointment(code=code, turn=after)

    def test_two_bots_may_share_it(self, tmp_path):
        salon, same = Salon(tmp_path, {"name": "house"}), Salon(tmp_path, {"name": "house"})
        salon.book("09:00")
        assert "09:00" not in same.free_times(day=DAY, service="cut")

    def test_a_disk_that_fails(self, tmp_path):
        (tmp_path / "acme").write_text("no folder")
        with pytest.raises(DiskError, match="the bookings cannot be read or written"):
            Salon(tmp_path).free_times(day=DAY, service="cut")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"timezone": "Europe/Pari"}, "no time zone"),
        ({"hours": ""}, "never open"),
        ({"hours": "mon 9"}, "is no time"),
        ({"closed": ["Christmas"]}, "closed"),
        ({"services": {}}, "nothing can be booked"),
        ({"menu": "Check-up"}, "does not end with its minutes"),
        ({"services": {"cut": {"minutes": 7}}}, "multiple of 5"),
        ({"services": {"cut": {"minutes": 30, "resources": ["ana"]}}}, "the resource 'ana'"),
        ({"owner": "anybody"}, "owner"),
    ],
)
def test_settings_are_checked(changes, told):
    with pytest.raises(ValidationError, match=told):
        CalendarSettings.model_validate({**SETTINGS, **changes})


def test_a_menu_in_one_line(tmp_path):
    salon = Salon(tmp_path, {"menu": "Check-up 30, Détartrage 45 min; Première visite 60 minutes", "services": {}})
    assert salon.bookable_services() == ["Check-up", "Détartrage", "Première visite"]
    assert salon.book("09:00", service="Détartrage")["service"] == "Détartrage"
