"""The control socket of a MicroPython edge, asked by the real command line: it says what an agent on CPython says of the same data."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mpy
from agent_process import ENVIRONMENT
from board_process import until
from lite_board import KEYED_HEAP, Running, cli, lines, lite, told, up

CHANGING = {"epoch", "stored_bytes", "bytes", "oldest_ms", "time_ms", "link_bytes", "leaves_bytes", "waits_bytes"}

pytestmark = [
    pytest.mark.micropython,
    pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed"),
]


@pytest.fixture
def both(tmp_path: Path, free_port: Callable[[], int], running: Running) -> Callable[..., tuple[Any, Any]]:
    """Ask a board and an agent with the same configuration, whose broker is away, the same; both answers."""
    port = free_port()
    topics = {"sync_topics": ["logs", {"topic": "split", "partitions": 3}], "consumers": [{"name": "dash", "topic": "here"}]}
    state = {"topic": "state", "kind": "keyed", "unchanged_max_age": "1h"}
    board = lite(tmp_path, port, local_topics=["here", state], **topics)
    board.heap = KEYED_HEAP
    up(board, running)
    (tmp_path / "agent").mkdir()
    config = tmp_path / "agent" / "edge.json"
    given = json.loads(board.config.read_text()) | {"data_dir": "d"}
    config.write_text(json.dumps(given, indent="\t"))
    with (tmp_path / "agent.log").open("wb") as log:
        running.append(subprocess.Popen([sys.executable, "-m", "streamline_edge", "--config", str(config)], env=ENVIRONMENT, stderr=log))
    until(lambda: cli(config, "topics").returncode == 0)

    def ask(*words: str, stdin: bytes = b"") -> tuple[Any, Any]:
        return cli(board.config, *words, stdin=stdin), cli(config, *words, stdin=stdin)

    return ask


def same(asked: tuple[Any, Any], code: int = 0) -> bytes:
    """Both said the same, to the byte. Returns what was printed."""
    board, agent = asked
    assert (board.returncode, board.stdout, board.stderr) == (agent.returncode, agent.stdout, agent.stderr)
    assert board.returncode == code, board
    out: bytes = board.stdout
    return out


def settled(value: Any) -> Any:
    """Without what differs between any two nodes."""
    if isinstance(value, dict):
        return {key: settled(value[key]) for key in value if key not in CHANGING}
    return [settled(item) for item in value] if isinstance(value, list) else value


def alike(asked: tuple[Any, Any], code: int = 0) -> Any:
    """As `same`, of JSON (lines) without what differs between any two nodes. Returns the board's."""
    board, agent = asked
    assert board.returncode == agent.returncode == code, asked
    assert board.stderr == agent.stderr

    def read(text: bytes) -> Any:
        try:
            return settled(json.loads(text))
        except ValueError:
            return [settled(json.loads(line)) for line in text.splitlines()]

    assert read(board.stdout) == read(agent.stdout)
    return read(board.stdout)


def test_records_in_and_out(both: Callable[..., tuple[Any, Any]]) -> None:
    for count in (500, 700):
        same(both("produce", "logs", "--producer", "p", stdin=lines(count)))
    same(both("produce", "split", "--producer", "p", "--key-field", "k", stdin=lines(900)))
    same(both("produce", "here", "--key", "k", stdin=b"\n\nno end \xff\x00\r\nlast \xc3\xbc without end"))
    same(both("produce", "here", stdin=b""))
    assert same(both("consume", "logs")) == lines(700)
    assert same(both("consume", "logs", "--from", "690")) == lines(10, 690)
    for partition in "012":
        assert len(alike(both("consume", "split", "--partition", partition, "--json"))) > 100
    assert alike(both("consume", "here", "--json"))[2]["value_base64"]
    assert same(both("consume", "logs", "--time", "2001-01-01")) == lines(700)
    assert same(both("consume", "logs", "--time", str(int(time.time() * 1000) + 60_000))) == b""
    assert len(same(both("consume", "here", "--consumer", "dash")).splitlines()) == 4
    assert same(both("consume", "here", "--consumer", "dash")) == b""
    (row,) = alike(both("consumers", "--json"))
    assert (row["name"], row["offset"], row["lag"]) == ("dash", 4, 0)
    alike(both("consumers", "forget", "dash", "--json"))
    assert len(same(both("consume", "here", "--consumer", "dash")).splitlines()) == 4
    same(both("produce", "nope", stdin=b"x\n"), 2)
    same(both("produce", "state", stdin=b"x\n"), 2)
    same(both("produce", "split", "--key-field", "no", stdin=lines(3)), 2)
    same(both("consume", "nope"), 2)
    same(both("consume", "logs", "--partition", "7"), 2)
    same(both("consume", "logs", "--feed"), 2)
    same(both("consume", "state", "--consumer", "c"), 2)
    same(both("consumers", "forget", "nobody"), 2)
    same(both("produce", "here", "--ack", "cloud", stdin=b"x\n"), 2)
    same(both("produce", "here", "--ack", "buffered", stdin=b"x\n"))


def test_how_it_is(both: Callable[..., tuple[Any, Any]]) -> None:
    same(both("produce", "logs", stdin=lines(300)))
    same(both("topics"))
    rows = alike(both("ledger", "--json"))
    assert {row["topic"]: row["produced"] for row in rows}["logs"] == 300
    board, agent = both("status", "--json")
    found, wanted = json.loads(board.stdout), json.loads(agent.stdout)
    assert settled(found["streams"]) == settled(wanted["streams"])
    for name in ("node", "state", "hub", "clock", "codec", "feeds", "tables", "storage_failures", "version"):
        assert found[name] == wanted[name], name
    assert set(wanted) - set(found) == {"pid", "serial"}  # a board carries no lines of others
    assert set(found) - set(wanted) == {"interpreter", "heap_bytes", "heap_free_bytes", "heap_peak_bytes", "heap_live_peak_bytes"}
    assert found["link"]["endpoint"] == wanted["link"]["endpoint"] and not found["link"]["connected"] and found["link"]["reason"]
    board, agent = both("status")
    assert board.stdout.splitlines()[1].split() == agent.stdout.splitlines()[1].split()  # the columns, in their order
    assert same(both("health")) == b"healthy\n"
    assert alike(both("queue", "--json"))["depth"] == 300
    plan = alike(both("sync", "plan", "--budget", "1MB", "--json"))
    assert plan["rows"][0]["leaves_records"] == 300
    for action in ("pause", "resume", "now", "status"):
        board, agent = both("sync", action, "--json")
        assert board.returncode == agent.returncode == 0 and json.loads(board.stdout)["pending"] == 300
    board, agent = both("resources", "--json")
    found, wanted = json.loads(board.stdout), json.loads(agent.stdout)
    assert set(found) == set(wanted) and {kind: set(row) for kind, row in found["resources"].items()} == {
        kind: set(row) for kind, row in wanted["resources"].items()
    }
    assert found["resources"]["connections"] == wanted["resources"]["connections"] and found["set"] == []
    board, agent = both("resources")
    assert [line.split()[0] for line in board.stdout.splitlines()[:6]] == [line.split()[0] for line in agent.stdout.splitlines()[:6]]
    board, agent = both("top", "--count", "2", "--interval", "0.2", "--json")
    assert board.returncode == agent.returncode == 0
    for found, wanted in zip(map(json.loads, board.stdout.splitlines()), map(json.loads, agent.stdout.splitlines()), strict=True):
        assert set(found) == set(wanted) and found["health"] == wanted["health"]
    same(both("mesh", "status"))
    same(both("resources", "limit", "--policy", "none"), 2)
    same(both("resources", "limit", "--storage", "1KB"), 2)


def test_keyed_topics(both: Callable[..., tuple[Any, Any]]) -> None:
    same(both("set", "state", "door/1", "open"))
    same(both("set", "state", "door/1", "closed"))
    same(both("set", "state", "door/2", "-", stdin=b"\x00\xff" * 500))
    same(both("set", "state", "gone", "x"))
    same(both("delete", "state", "gone"))
    for n in (3, 20, 1):
        same(both("set", "state", "many/%02d" % n, str(n)))
    assert same(both("get", "state", "door/1")) == b"closed\n"
    assert same(both("get", "state", "door/2")) == b"\x00\xff" * 500 + b"\n"
    assert json.loads(same(both("get", "state", "door/2", "--json")))["value"]["base64"]
    same(both("get", "state", "gone"), 1)
    same(both("get", "state", "never"), 1)
    assert same(both("keys", "state", "--prefix", "door/")) == b"door/1\ndoor/2\n"
    same(both("keys", "state", "--json"))
    same(both("conflicts"))
    same(both("conflicts", "state", "--json"))
    board, agent = both("conflicts", "explain", "state", "door/1", "--json")
    found, wanted = json.loads(board.stdout), json.loads(agent.stdout)
    for row in found["versions"] + wanted["versions"]:
        assert row.pop("time").startswith("20")
        for name in ("version", "epoch", "hlc"):
            del row[name]
        for seen in row["seen"]:
            del seen["epoch"]
    assert found == wanted and found["shown"] == "closed"
    same(both("conflicts", "explain", "state", "never"), 1)
    same(both("set", "logs", "k", "v"), 2)
    same(both("get", "nope", "k"), 2)
    same(both("keys", "logs"), 2)
    same(both("watch", "logs"), 2)
    same(both("set", "state", "k" * 1025, "v"), 2)


def test_changes_are_told_as_they_come(tmp_path: Path, free_port: Callable[[], int], running: Running) -> None:
    board = lite(tmp_path, free_port(), local_topics=["here", {"topic": "state", "kind": "keyed"}])
    board.heap = KEYED_HEAP
    up(board, running)
    start = [sys.executable, "-m", "streamline_edge.cli", "edge", "--config", str(board.config)]
    watch = subprocess.Popen([*start, "watch", "state"], env=ENVIRONMENT, stdout=subprocess.PIPE)
    follow = subprocess.Popen([*start, "consume", "here", "--follow"], env=ENVIRONMENT, stdout=subprocess.PIPE)
    running += [watch, follow]
    assert watch.stdout is not None and follow.stdout is not None
    said = b""
    while not said:  # it tells of changes once it is there
        assert cli(board.config, "set", "state", "door", "%f" % time.monotonic()).returncode == 0
        said = os.read(watch.stdout.fileno(), 4096) if select.select([watch.stdout], [], [], 0.5)[0] else b""
    assert said.startswith(b"door\t")
    assert cli(board.config, "delete", "state", "door").returncode == 0
    while not said.endswith(b"\ndoor\n"):
        assert select.select([watch.stdout], [], [], 10)[0], said
        said += os.read(watch.stdout.fileno(), 4096)
    assert cli(board.config, "produce", "here", stdin=lines(200)).returncode == 0
    got = b""
    while got != lines(200):
        assert select.select([follow.stdout], [], [], 10)[0], got
        got += os.read(follow.stdout.fileno(), 65536)
    for process in (watch, follow):
        process.kill()
        process.wait()
    assert told(board, "status")["tables"][0]["deleted"] == 1
