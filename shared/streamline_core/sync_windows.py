"""Sync windows: the times of day, and the days of the week, in which a node may sync.

Rule: a window belongs to the day on which it opens, and may reach into the next; no window means always. Times are local ones: who asks
says what the local time is. Knows nothing of clocks or links.
"""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 1440
WEEK_MINUTES = 7 * DAY_MINUTES
MINUTE_MS = 60000
WEEKDAY_OF_1970 = 3  # 1 January 1970 was a Thursday


class Window:
    """days: which of DAYS, as bits; start, end: minutes of the day (0 to 1439, 1 to 1440); where end is not after start it is of the day
    after."""

    def __init__(self, days: int, start: int, end: int) -> None:
        self.days = days
        self.start = start
        self.minutes = (end - start) % DAY_MINUTES or DAY_MINUTES


def parse(text: str) -> Window:
    """ "22:00-06:00", "sat,sun", "mon-fri 18:00-07:30". Raises ValueError."""
    words = text.strip().lower().split(" ")
    hours = words.pop() if ":" in words[-1] else "00:00-24:00"
    days = _days(words[0]) if words else 127
    ends = hours.split("-")
    if len(words) > 1 or len(ends) != 2:
        raise ValueError(text)
    start, end = _minute(ends[0]), _minute(ends[1])
    if start == DAY_MINUTES or (start == end):
        raise ValueError(text)
    return Window(days, start, end)


def _days(text: str) -> int:
    days = 0
    for part in text.split(","):
        ends = [DAYS.index(day) for day in part.split("-")]
        if len(ends) > 2:
            raise ValueError(text)
        day = ends[0]
        while True:
            days |= 1 << day
            if day == ends[-1]:
                break
            day = (day + 1) % 7
    return days


def _minute(text: str) -> int:
    parts = text.split(":")
    if len(parts) != 2 or not all([len(part) == 2 and all([c in "0123456789" for c in part]) for part in parts]):
        raise ValueError(text)
    minute = int(parts[0]) * 60 + int(parts[1])
    if int(parts[1]) > 59 or minute > DAY_MINUTES:
        raise ValueError(text)
    return minute


def next_change(windows: "list[Window]", local_ms: int) -> "tuple[bool, int]":
    """Whether any window is open at a local time (ms since 1970), and in how many ms that may change (0: never)."""
    if not windows:
        return True, 0
    minute = (local_ms // MINUTE_MS + WEEKDAY_OF_1970 * DAY_MINUTES) % WEEK_MINUTES
    opened, change = False, WEEK_MINUTES
    for window in windows:
        for day in range(7):
            if window.days >> day & 1:
                since = (minute - day * DAY_MINUTES - window.start) % WEEK_MINUTES
                if since < window.minutes:
                    opened = True
                    change = min(change, window.minutes - since)
                else:
                    change = min(change, WEEK_MINUTES - since)
    return opened, change * MINUTE_MS - local_ms % MINUTE_MS
