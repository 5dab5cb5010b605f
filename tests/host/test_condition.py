"""`sync.condition`: what holds, and what does not."""

import asyncio
import sys
from pathlib import Path

import pytest

from streamline_edge import condition
from streamline_edge.condition import Condition


def holds(text: str) -> bool:
    return asyncio.run(Condition(text, lambda _: None).holds())


def test_a_file_holds_when_it_is_there_and_does_not_say_no(tmp_path: Path) -> None:
    parked = tmp_path / "parked"
    assert not holds(f"file:{parked}") and holds(f"no file:{parked}")
    for text, there in (("", True), ("1\n", True), ("0\n", False), (" OFF ", False), ("yes", True)):
        parked.write_text(text)
        assert holds(f"file:{parked}") == there and holds(f"no file:{parked}") != there, text


def test_a_command_holds_when_it_ends_well() -> None:
    assert holds("command:true") and not holds("command:false")
    assert holds(f"command:{sys.executable} -c 'import sys; sys.exit(sys.stdin.read() != \"\")'")


def test_what_cannot_be_looked_at_does_not_hold_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for text in ("command:/no/such/program", "command:'", f"file:{tmp_path}"):
        caplog.clear()
        looked = Condition(text, lambda _: None)
        assert not asyncio.run(looked.holds()) and not asyncio.run(looked.holds())
        assert len(caplog.records) == 1, text


def test_a_command_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition, "COMMAND_SECS_MAX", 0.2)
    assert not holds("command:sleep 1000")
