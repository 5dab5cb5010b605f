"""A target: one decoder, the bytes to begin with, and what must hold whatever comes.

Rule: `run` returns for any bytes; every exception that leaves it is a failure, since the documented ones are caught where they are
documented. Must not know: who makes the bytes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class Target(NamedTuple):
    """name: letters, as regressions are named by it. run: takes bytes. seeds: valid inputs, made when asked for. says: what it covers, in
    a line. bytes_max: of an input that the fuzzer makes. costly: one run takes a millisecond or more."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    says: str
    bytes_max: int = 4096
    costly: bool = False


REFUSED: Any = type("Refused", (), {"__repr__": lambda self: "REFUSED"})()
"""What `attempt` returns for a documented error."""


def attempt(documented: type[Exception] | tuple[type[Exception], ...], function: Callable[..., Any], *args: Any) -> Any:
    """What `function` returns, or REFUSED where it raises what it may raise; any other exception passes."""
    try:
        return function(*args)
    except documented:
        return REFUSED


def same(a: Any, b: Any) -> bool:
    """Equal in value and in type, all the way down: 1, 1.0 and True are three values."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
