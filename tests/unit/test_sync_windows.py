"""Sync windows: when they are open, and when that changes."""

from harness import raises
from streamline_core.sync_windows import next_change, parse

HOUR = 3600000
MONDAY = 4 * 24 * HOUR  # 5 January 1970


def at(texts, day, hour, minute=0):
    return next_change([parse(text) for text in texts], MONDAY + (day * 24 + hour) * HOUR + minute * 60000)


def test_without_windows_it_is_always_open():
    assert next_change([], MONDAY) == (True, 0)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens():
    night = ["mon-fri 22:00-06:00"]
    assert at(night, 0, 5) == (False, 17 * HOUR)  # the night before was Sunday's
    assert at(night, 0, 22) == (True, 8 * HOUR)
    assert at(night, 5, 5, 30) == (True, HOUR // 2)  # Saturday morning: Friday's
    assert at(night, 5, 6) == (False, 64 * HOUR)  # until Monday evening


def test_days_and_hours_and_lists_of_both():
    assert at(["sat,sun"], 5, 0) == (True, 24 * HOUR) and at(["sat,sun"], 4, 23) == (False, HOUR)
    assert at(["12:00-13:00", "wed 08:00-09:30"], 2, 9) == (True, HOUR // 2)
    assert at(["12:00-13:00", "wed 08:00-09:30"], 1, 13) == (False, 19 * HOUR)
    assert at(["fri-mon"], 0, 3)[0] and not at(["fri-mon"], 1, 3)[0]
    assert at(["00:00-24:00"], 3, 7)[0]
    assert next_change([parse("12:00-13:00")], MONDAY + 12 * HOUR - 1) == (False, 1)


def test_what_is_no_window_is_refused():
    wrong = ("", "25:00-26:00", "12:00", "12:00-12:00", "12:60-13:00", "mon 1:00-2:00", "mo", "mon-", "mon tue", "24:00-01:00")
    for text in wrong + ("10:00-11:00 mon", "mon,, 10:00-11:00"):
        raises(ValueError, parse, text)
