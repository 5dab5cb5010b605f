"""The guide's captures are what its commands print, its tables know every state, cause and policy, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import captures
from streamline_core import gaps

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "GUIDE.md").read_text()


def test_every_marked_command_prints_what_the_guide_shows() -> None:
    now = captures.play(TEXT)
    assert len(now) == len(captures.captures(TEXT)) == TEXT.count("<!-- capture ") > 8
    assert captures.differences(TEXT, now) == []


def test_a_capture_that_is_out_of_date_is_told() -> None:
    was = "topic   records  bytes\norders  500      15.3 KB\n"
    assert captures.steady(was) == captures.steady("topic      records  bytes\nreadings  7        1.0 MB\n")
    assert captures.steady(was) != captures.steady("topic   records  size\norders  500      15.3 KB\n")
    assert captures.steady("38,000 records wait, 7.7 MB\n") == captures.steady("1 records wait, 12 B\n")
    assert captures.steady("38,000 records wait\n") != captures.steady("38,000 records are owed\n")


def test_its_tables_are_complete() -> None:
    for word in (*gaps.CAUSES, "offline", "connecting", "hello", "open", "waiting", "paused"):
        assert re.search(r"^\| `%s` \|" % word, TEXT, re.M), word
    for word in ("reject", "oldest", "priority", "lru", "block", "evict"):
        assert "| `%s` |" % word in TEXT, word


def test_its_links_and_make_targets_exist() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", TEXT):
        assert re.search(r"^%s:" % target, makefile, re.M), target


def test_its_sizing_adds_up() -> None:
    """The figures of its example follow from its table."""
    overhead = int(re.search(r"waited for \(`await produce`\) \| (\d+) ", TEXT)[1])  # type: ignore[index]
    day = 10 * 86400 * (213 + overhead) / 1e6
    assert "%d MB a day" % round(day) in TEXT
    assert "%.1f GB for four weeks and the tenth" % (day * 28 * 1.1 / 1e3) in TEXT


def test_marked_commands_are_of_this_project() -> None:
    for it in captures.captures(TEXT):
        assert shlex.split(it.command)[0] in captures.MODULES
