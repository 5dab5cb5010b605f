"""The values of a configuration, each read by its kind, and all that is wrong with them collected.

Rule: each kind takes a value and what is allowed, returns the value to use, and raises ValueError or UsageError whose text
shows the value and says what is allowed. A value that may hold a secret is never shown. Knows nothing of keys.
"""

from .errors import UsageError
from .stream import check_node_id, check_topic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .config_error import Path, Problem
    from .sync_windows import Window

REQUIRED = object()

TEXT_CHARS_MAX = 1024
PROBLEMS_MAX = 100  # told at once; more are no help
WINDOWS_MAX = 32
CONDITIONS = ("file:", "no file:", "command:")
SCHEMES = ("mqtt", "mqtts", "ws", "wss", "https")
PORT_SCHEMES = ("socket", "rfc2217")  # of a line that a host reaches over a network
LINE_SCHEMES = ("serial", "serial+tcp")  # of a board without a network, to a gateway

# Binary everywhere: who writes 64KB for a buffer or 4GB for a card means 1024, as device tools do.
_SIZE_UNITS = (
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1 << 10),
    ("mb", 1 << 20),
    ("gb", 1 << 30),
    ("b", 1),
)
_TIME_UNITS = (("ms", 1), ("s", 1000), ("m", 60000), ("h", 3600000), ("d", 86400000))


class Check:
    """Collects problems, and reads single values by kind."""

    def __init__(self) -> None:
        self.problems: "list[Problem]" = []

    def problem(self, path: "Path", text: str) -> None:
        self.problems.append((path, text))

    def together(self, paths: "tuple[Path, ...]", text: str) -> None:
        """A problem of `paths[0]` with the others, unless one of them has a problem of its own."""
        if not any([path in paths for path, _ in self.problems]):
            self.problem(paths[0], text)

    def value(self, path: "Path", kind: "Callable[[Any, Any], Any]", given: object, default: object, allowed: object) -> "Any":
        if given is None:
            if default is REQUIRED:
                self.problem(path, "is missing")
            return default
        try:
            return kind(given, allowed)
        except (ValueError, UsageError) as e:
            self.problem(path, str(e))
            return default

    def keys(self, path: "Path", given: "dict[Any, Any]", known: "list[str]") -> None:
        for key in sorted([str(k) for k in given]):
            if key not in known and len(self.problems) < PROBLEMS_MAX:
                near = nearest(key, known)
                hint = "did you mean %r?" % near if near else "known are " + ", ".join(sorted(known))
                self.problem(path + (key,), "unknown key; " + hint)


def nearest(word: str, known: "list[str]") -> "str | None":
    """The one of `known` that `word` is most likely a slip of (at most a third of its letters wrong), or None."""
    best, best_distance = None, max(1, len(word) // 3) + 1
    for candidate in sorted(known):
        row = list(range(len(candidate) + 1))
        for i, a in enumerate(word[:64]):
            diagonal, row[0] = row[0], i + 1
            for j, b in enumerate(candidate):
                diagonal, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, diagonal + (a != b))
        if row[-1] < best_distance:
            best, best_distance = candidate, row[-1]
    return best


def show(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RuntimeError):  # a number of thousands of digits, lists in lists in lists: RecursionError is a RuntimeError
        text = "this " + type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


def read_bool(value: object, allowed: object) -> bool:
    if value is True or value is False:
        return bool(value)
    raise ValueError("%s is not allowed; use true or false" % show(value))


def read_choice(value: object, allowed: "tuple[str, ...]") -> str:
    if isinstance(value, str) and value in allowed:
        return value
    raise ValueError("%s is not allowed; use one of %s" % (show(value), ", ".join(allowed)))


def read_text(value: object, allowed: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= TEXT_CHARS_MAX:
        return value
    raise ValueError("%s is not allowed; use text of 1 to %d characters" % (show(value), TEXT_CHARS_MAX))


def read_any(value: object, allowed: object) -> object:
    return value


def read_node_id(value: object, allowed: object) -> str:
    check_node_id(value)
    return str(value)


def read_topic(value: object, allowed: object) -> str:
    check_topic(value)
    return str(value)


def read_url(value: object, allowed: "tuple[str, ...]") -> str:
    return _read_url(value, allowed, ())


def read_endpoint(value: object, allowed: object) -> str:
    return _read_url(value, (), LINE_SCHEMES)


def _read_url(value: object, allowed: "tuple[str, ...]", lines: "tuple[str, ...]") -> str:
    text = read_text(value, None)
    scheme = text.split("://")[0]
    if text in allowed or ("://" in text and (scheme in SCHEMES or scheme in lines) and len(text) > len(scheme) + 3):
        return text
    # The value itself may hold a password: only its beginning is shown.
    words = list(allowed) + ["%s://HOST" % s for s in SCHEMES] + ["%s://LINE (on a board)" % s for s in lines]
    raise ValueError("%r is not allowed; use one of %s" % (scheme[:16] if "@" not in scheme else "...", ", ".join(words)))


def read_port(value: object, allowed: object) -> str:
    text = read_text(value, None)
    scheme, found, rest = text.partition("://")
    host, _, port = rest.partition("?")[0].partition("/")[0].rpartition(":")
    if (found and scheme in PORT_SCHEMES and host and port.isdigit()) or (text[0] == "/" and len(text) > 1):
        return text
    words = " or ".join(["%s://HOST:PORT" % s for s in PORT_SCHEMES])
    raise ValueError("%s is not allowed; use a device such as /dev/ttyACM0, or %s" % (show(value), words))


def read_number(value: object, allowed: "tuple[int, int]") -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and allowed[0] <= value <= allowed[1]:
        return value
    raise ValueError("%s is not allowed; use a number from %d to %d" % (show(value), allowed[0], allowed[1]))


def _in_range(value: "int | None", given: object, allowed: "tuple[int, int]", what: str) -> int:
    if value is None or not allowed[0] <= value <= allowed[1]:
        raise ValueError("%s is not allowed; use %s from %d to %d" % (show(given), what, allowed[0], allowed[1]))
    return value


def read_int(value: object, allowed: "tuple[int, int]") -> int:
    whole = value if isinstance(value, int) and not isinstance(value, bool) else None
    return _in_range(whole, value, allowed, "a whole number")


def _with_unit(text: str, units: "tuple[tuple[str, int], ...]") -> "int | None":
    """ "4 GB" in the smallest unit, or None where it is not a whole number and a unit."""
    digits = 0
    while digits < len(text) and text[digits] in "0123456789":
        digits += 1
    unit = text[digits:].strip().lower()
    for name, factor in units:
        if unit == name and 0 < digits <= 15:
            return int(text[:digits]) * factor
    return None


def read_size(value: object, allowed: "tuple[int, int]") -> int:
    what = "bytes, or text such as '256MB' (1024-based),"
    if isinstance(value, str):
        return _in_range(_with_unit(value, _SIZE_UNITS), value, allowed, what)
    return _in_range(value if isinstance(value, int) and not isinstance(value, bool) else None, value, allowed, what)


def read_ms(value: object, allowed: "tuple[int, int]") -> int:
    what = "milliseconds, or text such as '5s',"
    if isinstance(value, str):
        return _in_range(_with_unit(value, _TIME_UNITS), value, allowed, what)
    return _in_range(value if isinstance(value, int) and not isinstance(value, bool) else None, value, allowed, what)


def read_secs(value: object, allowed: "tuple[int, int]") -> int:
    what = "whole seconds, or text such as '5m',"
    if isinstance(value, str):
        ms = _with_unit(value, _TIME_UNITS)
        return _in_range(None if ms is None or ms % 1000 else ms // 1000, value, allowed, what)
    return _in_range(value if isinstance(value, int) and not isinstance(value, bool) else None, value, allowed, what)


def read_filter(value: object, allowed: object) -> str:
    text = read_text(value, None)
    levels = text.split("/")
    for i, level in enumerate(levels):
        if ("#" in level and (level != "#" or i != len(levels) - 1)) or ("+" in level and level != "+"):
            raise ValueError("%s is not an MQTT filter; '+' and '#' stand for whole levels, '#' for the last" % show(value))
    return text


def read_windows(value: object, allowed: object) -> "list[Window]":
    if not isinstance(value, (list, tuple)) or len(value) > WINDOWS_MAX:
        raise ValueError("%s is not allowed; use a list of at most %d windows such as 'mon-fri 22:00-06:00'" % (show(value), WINDOWS_MAX))
    from .sync_windows import parse

    windows, wrong = [], []
    for one in value:
        try:
            if not isinstance(one, str):
                raise ValueError
            windows.append(parse(one))
        except ValueError:
            wrong.append(show(one))
    if wrong:
        what = ", ".join(wrong) + (" is not a window" if len(wrong) == 1 else " are no windows")
        raise ValueError("%s; use '22:00-06:00', 'sat,sun' or 'mon-fri 18:00-07:30' (local time)" % what)
    return windows


def read_condition(value: object, allowed: object) -> str:
    text = read_text(value, None)
    for kind in CONDITIONS:
        if text.startswith(kind) and text[len(kind) :].strip():
            return text
    raise ValueError("%s is not allowed; use 'file:PATH' (it is there), 'no file:PATH', or 'command:PROGRAM' (it ends well)" % show(value))


def read_priorities(value: object, allowed: object) -> "dict[str, int]":
    if not isinstance(value, dict):
        raise ValueError("%s is not allowed; use topics and their priorities, such as {alarms: 9}" % show(value))
    priorities = {}
    for name in value:
        priorities[read_topic(name, None)] = read_int(value[name], (1, 10))
    return priorities
